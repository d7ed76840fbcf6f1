//! Transfers: reads and writes; copies, maps and what arrives in modules of their own.

mod copies;
mod maps;
mod values;

use super::{Case, NULL, case, garbage};
use crate::opencl::api::{Outcome, Show, Stop, done, info, must, status};
use crate::opencl::world::{PAGE, World};
use maps::map;
use opencl_sys::*;
use std::ffi::c_void;
use std::ptr::{null, null_mut};

pub(super) fn cases() -> Vec<Case> {
    [
        reads_and_writes(),
        unplaced(),
        values::values(),
        copies::copies(),
        copies::rectangles(),
        copies::fills(),
        maps::maps(),
        maps::migrations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A queue of a context with a loaded image, so that buffers have a place.
fn queue(w: &World) -> Result<cl_command_queue, Stop> {
    w.program()?;
    w.queue()
}

fn read_into(w: &World, buffer: cl_mem, offset: usize, size: usize, to: *mut c_void) -> Outcome {
    status!(w, clEnqueueReadBuffer(queue(w)?, buffer, CL_TRUE, offset, size, to, 0, null(), null_mut()))
}

fn write_from(w: &World, buffer: cl_mem, offset: usize, size: usize, from: *const c_void) -> Outcome {
    status!(w, clEnqueueWriteBuffer(queue(w)?, buffer, CL_TRUE, offset, size, from, 0, null(), null_mut()))
}

fn reads_and_writes() -> Vec<Case> {
    const RANGES: [(&str, usize, usize); 7] = [
        ("all", 0, PAGE),
        ("part", 64, 64),
        ("odd", 3, 7),
        ("empty", 0, 0),
        ("too_long", 0, PAGE + 1),
        ("beyond", PAGE, 1),
        ("wrapping", usize::MAX, 2),
    ];
    let reads = RANGES.into_iter().map(|(name, offset, size)| {
        case(format!("transfer.read.{name}"), move |w| {
            let mut data = [0_u8; 2 * PAGE];
            read_into(w, w.placed()?, offset, size, data.as_mut_ptr().cast())
        })
    });
    let writes = RANGES.into_iter().map(|(name, offset, size)| {
        case(format!("transfer.write.{name}"), move |w| {
            let data = [0_u8; 2 * PAGE];
            write_from(w, w.placed()?, offset, size, data.as_ptr().cast())
        })
    });
    reads.chain(writes).chain(wrong_objects()).collect()
}

fn wrong_objects() -> Vec<Case> {
    vec![
        case("transfer.read.null_memory", |w| read_into(w, w.placed()?, 0, 64, NULL)),
        case("transfer.write.null_memory", |w| write_from(w, w.placed()?, 0, 64, null())),
        case("transfer.read.null_buffer", |w| read_into(w, NULL, 0, 64, [0_u8; 64].as_mut_ptr().cast())),
        case("transfer.write.null_buffer", |w| write_from(w, NULL, 0, 64, [0_u8; 64].as_ptr().cast())),
        case("transfer.write.garbage_buffer", |w| {
            write_from(w, garbage(), 0, 64, [0_u8; 64].as_ptr().cast())
        }),
        case("transfer.write.foreign_buffer", |w| {
            write_from(w, w.foreign_buffer()?, 0, 64, [0_u8; 64].as_ptr().cast())
        }),
        case("transfer.write.null_queue", |w| {
            let (buffer, data) = (w.placed()?, [0_u8; 64]);
            let from = data.as_ptr().cast();
            status!(w, clEnqueueWriteBuffer(NULL, buffer, CL_TRUE, 0, 64, from, 0, null(), null_mut()))
        }),
        case("transfer.write.before_program", |w| {
            let (buffer, data) = (w.buffer()?, [0_u8; 64]);
            let from = data.as_ptr().cast();
            status!(w, clEnqueueWriteBuffer(w.queue()?, buffer, CL_TRUE, 0, 64, from, 0, null(), null_mut()))
        }),
        case("transfer.write.null_wait_list", |w| {
            let (buffer, data) = (w.placed()?, [0_u8; 64]);
            let from = data.as_ptr().cast();
            status!(w, clEnqueueWriteBuffer(queue(w)?, buffer, CL_TRUE, 0, 64, from, 1, null(), null_mut()))
        }),
        case("transfer.write.to_host_read_only", |w| {
            let buffer = w.placed_with(CL_MEM_READ_WRITE | CL_MEM_HOST_READ_ONLY, PAGE)?;
            write_from(w, buffer, 0, 64, [0_u8; 64].as_ptr().cast())
        }),
        case("transfer.read.of_host_write_only", |w| {
            let buffer = w.placed_with(CL_MEM_READ_WRITE | CL_MEM_HOST_WRITE_ONLY, PAGE)?;
            read_into(w, buffer, 0, 64, [0_u8; 64].as_mut_ptr().cast())
        }),
        case("transfer.read.without_waiting", |w| {
            let (buffer, mut data) = (w.placed()?, [0_u8; 64]);
            let (queue, to) = (queue(w)?, data.as_mut_ptr().cast());
            must!(w, clEnqueueReadBuffer(queue, buffer, CL_FALSE, 0, 64, to, 0, null(), null_mut()));
            status!(w, clFinish(queue))
        }),
    ]
}

/// Transfers of buffers that no flag and no argument places.
fn unplaced() -> Vec<Case> {
    vec![
        case("transfer.unplaced.write", |w| write_from(w, w.buffer()?, 0, 64, [0_u8; 64].as_ptr().cast())),
        case("transfer.unplaced.read", |w| read_into(w, w.buffer()?, 0, 64, [0_u8; 64].as_mut_ptr().cast())),
        case("transfer.unplaced.write_twice", |w| {
            let (buffer, data) = (w.buffer()?, [0_u8; 64]);
            write_from(w, buffer, 0, 64, data.as_ptr().cast())?;
            write_from(w, buffer, 0, 64, data.as_ptr().cast())
        }),
        case("transfer.unplaced.status_of_write", |w| {
            let (queue, buffer, data, mut event) = (queue(w)?, w.buffer()?, [0_u8; 64], NULL);
            let from = data.as_ptr().cast();
            must!(w, clEnqueueWriteBuffer(queue, buffer, CL_TRUE, 0, 64, from, 0, null(), &raw mut event));
            info!(w, Show::Number, clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS))
        }),
        case("transfer.unplaced.map", |w| map(w, w.buffer()?, CL_MAP_READ, 0, 64)),
        case("transfer.unplaced.placed_by_argument", |w| {
            let (kernel, buffer) = (w.kernel()?, w.buffer()?);
            done("clSetKernelArg", w.set_buffer(kernel, 0, buffer)?)?;
            map(w, buffer, CL_MAP_READ, 0, 64)
        }),
    ]
}
