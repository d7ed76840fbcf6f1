//! Runs of a kernel.

use super::{Case, NULL, case, garbage};
use crate::opencl::api::{Outcome, done, made, must, status};
use crate::opencl::world::{COMMANDS, World};
use opencl_sys::*;
use std::ptr::{null, null_mut};

pub(super) fn cases() -> Vec<Case> {
    [tasks(), ranges(), waits()].into_iter().flatten().collect()
}

fn tasks() -> Vec<Case> {
    vec![
        case("launch.task", |w| status!(w, clEnqueueTask(w.queue()?, w.armed()?, 0, null(), null_mut()))),
        case("launch.task.finish", |w| {
            must!(w, clEnqueueTask(w.queue()?, w.armed()?, 0, null(), null_mut()));
            status!(w, clFinish(w.queue()?))
        }),
        case("launch.task.twice_finish", |w| {
            let (queue, kernel) = (w.queue()?, w.armed()?);
            must!(w, clEnqueueTask(queue, kernel, 0, null(), null_mut()));
            must!(w, clEnqueueTask(queue, kernel, 0, null(), null_mut()));
            status!(w, clFinish(queue))
        }),
        case("launch.task.out_of_order", |w| {
            let queue = w.queue_with(CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE)?;
            must!(w, clEnqueueTask(queue, w.armed()?, 0, null(), null_mut()));
            status!(w, clFinish(queue))
        }),
        case("launch.task.null_queue", |w| {
            status!(w, clEnqueueTask(NULL, w.armed()?, 0, null(), null_mut()))
        }),
        case("launch.task.garbage_queue", |w| {
            status!(w, clEnqueueTask(garbage(), w.armed()?, 0, null(), null_mut()))
        }),
        case("launch.task.null_kernel", |w| {
            status!(w, clEnqueueTask(w.queue()?, NULL, 0, null(), null_mut()))
        }),
        case("launch.task.foreign_queue", |w| {
            status!(w, clEnqueueTask(w.foreign_queue()?, w.armed()?, 0, null(), null_mut()))
        }),
        case("launch.task.no_arguments", |w| {
            status!(w, clEnqueueTask(w.queue()?, w.kernel()?, 0, null(), null_mut()))
        }),
        case("launch.task.pointers_only_one", |w| {
            let kernel = w.kernel()?;
            done("clSetKernelArg", w.set_buffer(kernel, 0, w.bank(0)?)?)?;
            status!(w, clEnqueueTask(w.queue()?, kernel, 0, null(), null_mut()))
        }),
        case("launch.task.number_only", |w| {
            let (kernel, commands) = (w.kernel()?, 0_u32);
            must!(w, clSetKernelArg(kernel, COMMANDS, 4, (&raw const commands).cast()));
            status!(w, clEnqueueTask(w.queue()?, kernel, 0, null(), null_mut()))
        }),
        case("launch.task.after_release_of_program", |w| {
            let kernel = w.armed()?;
            must!(w, clReleaseProgram(w.program()?));
            status!(w, clEnqueueTask(w.queue()?, kernel, 0, null(), null_mut()))
        }),
        case("launch.native", |w| {
            let queue = w.queue()?;
            status!(
                w,
                clEnqueueNativeKernel(queue, None, NULL, 0, 0, null(), null_mut(), 0, null(), null_mut())
            )
        }),
    ]
}

/// Enqueues a range with these sizes.
fn range(w: &World, sizes: &[usize], offset: Option<usize>, local: Option<&[usize]>) -> Outcome {
    let (queue, kernel, dimensions) = (w.queue()?, w.armed()?, sizes.len() as cl_uint);
    let offsets = offset.map(|first| [first, 0, 0]);
    let offsets = offsets.as_ref().map_or(null(), |o| o.as_ptr());
    let local = local.map_or(null(), <[usize]>::as_ptr);
    let none = null_mut();
    status!(
        w,
        clEnqueueNDRangeKernel(queue, kernel, dimensions, offsets, sizes.as_ptr(), local, 0, null(), none)
    )
}

/// Name, sizes, offset, sizes of a group.
type Range = (&'static str, &'static [usize], Option<usize>, Option<&'static [usize]>);

const RANGES: [Range; 13] = [
    ("one", &[1], None, None),
    ("one_by_one", &[1, 1], None, None),
    ("three_dimensions", &[1, 1, 1], None, Some(&[1, 1, 1])),
    ("local_one", &[1], None, Some(&[1])),
    ("two", &[2], None, None),
    ("two_in_one_group", &[2], None, Some(&[2])),
    ("two_in_two_groups", &[2], None, Some(&[1])),
    ("zero", &[0], None, None),
    ("local_zero", &[1], None, Some(&[0])),
    ("local_too_big", &[1], None, Some(&[2])),
    ("offset", &[1], Some(1), None),
    ("no_dimensions", &[], None, None),
    ("four_dimensions", &[1, 1, 1, 1], None, None),
];

fn ranges() -> Vec<Case> {
    let ranges = RANGES.into_iter().map(|(name, sizes, offset, local)| {
        case(format!("launch.range.{name}"), move |w| range(w, sizes, offset, local))
    });
    let mut cases: Vec<Case> = ranges.collect();
    cases.extend([
        case("launch.range.null_sizes", |w| {
            let (queue, kernel) = (w.queue()?, w.armed()?);
            status!(
                w,
                clEnqueueNDRangeKernel(queue, kernel, 1, null(), null(), null(), 0, null(), null_mut())
            )
        }),
        case("launch.range.null_queue", |w| {
            let (kernel, size) = (w.armed()?, 1_usize);
            let sizes = &raw const size;
            status!(w, clEnqueueNDRangeKernel(NULL, kernel, 1, null(), sizes, null(), 0, null(), null_mut()))
        }),
        case("launch.range.null_kernel", |w| {
            let (queue, size) = (w.queue()?, 1_usize);
            let sizes = &raw const size;
            status!(w, clEnqueueNDRangeKernel(queue, NULL, 1, null(), sizes, null(), 0, null(), null_mut()))
        }),
        case("launch.range.no_arguments", |w| {
            let (queue, kernel, size) = (w.queue()?, w.kernel()?, 1_usize);
            let sizes = &raw const size;
            status!(w, clEnqueueNDRangeKernel(queue, kernel, 1, null(), sizes, null(), 0, null(), null_mut()))
        }),
    ]);
    cases
}

/// Enqueues a run with a wait list.
fn after(w: &World, count: cl_uint, list: *const cl_event) -> Outcome {
    status!(w, clEnqueueTask(w.queue()?, w.armed()?, count, list, null_mut()))
}

fn waits() -> Vec<Case> {
    vec![
        case("launch.wait.ended", |w| {
            let event = w.write_event(w.queue()?)?;
            after(w, 1, &raw const event)
        }),
        case("launch.wait.user", |w| {
            let event = w.user_event()?;
            after(w, 1, &raw const event)?;
            must!(w, clSetUserEventStatus(event, CL_COMPLETE));
            status!(w, clFinish(w.queue()?))
        }),
        case("launch.wait.null_list", |w| after(w, 1, null())),
        case("launch.wait.list_without_count", |w| {
            let event = w.write_event(w.queue()?)?;
            after(w, 0, &raw const event)
        }),
        case("launch.wait.null_event", |w| {
            let event = NULL;
            after(w, 1, &raw const event)
        }),
        case("launch.wait.garbage_event", |w| {
            let event = garbage();
            after(w, 1, &raw const event)
        }),
        case("launch.wait.foreign_event", |w| {
            let event = made!(w, clCreateUserEvent(w.new_context()?));
            must!(w, clSetUserEventStatus(event, CL_COMPLETE));
            after(w, 1, &raw const event)
        }),
        case("launch.wait.failed_user_event", |w| {
            let event = w.user_event()?;
            must!(w, clSetUserEventStatus(event, -5));
            after(w, 1, &raw const event)
        }),
    ]
}
