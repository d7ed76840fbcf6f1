//! Runs of a kernel.

use super::Target;
use crate::api::handle;
use crate::api::info;
use crate::engine::{Command, Unit, Work};
use crate::kernel::Kernel;
use crate::refusal::{Answer, Refusal};
use opencl_sys as cl;
use opencl_sys::{cl_kernel, cl_uint};
use std::sync::Arc;

/// The work of a run of a kernel on the queue's device.
fn prepare(target: &Target, kernel: cl_kernel) -> Answer<Work> {
    let kernel = handle::get::<Kernel>(kernel)?;
    let device = &target.queue.device;
    if !Arc::ptr_eq(&kernel.program.context, &target.queue.context) {
        let text = "the kernel belongs to another context than the queue";
        return Err(Refusal::new(cl::CL_INVALID_CONTEXT, text));
    }
    if !kernel.program.devices.iter().any(|d| Arc::ptr_eq(d, device)) {
        let text = format!("the kernel's program is not loaded on device {}", device.index);
        return Err(Refusal::new(cl::CL_INVALID_PROGRAM_EXECUTABLE, text));
    }
    let program = kernel.program.clone();
    let report = move |text: &str| {
        program.note(text);
        program.context.notify(text);
    };
    Ok(device.launch(kernel.launch(device)?, report))
}

/// # Safety
/// As [`Target::new`].
pub(in crate::api) unsafe fn task(target: Target, kernel: cl_kernel) -> Answer<()> {
    let work = prepare(&target, kernel)?;
    // SAFETY: as the caller promises.
    unsafe { target.submit(cl::CL_COMMAND_TASK, Command::Run(Unit::Kernel, work), false) }
}

/// Work items: so many numbers at each pointer that is not null.
pub(in crate::api) struct Range {
    pub(in crate::api) dimensions: cl_uint,
    pub(in crate::api) offset: *const usize,
    pub(in crate::api) global: *const usize,
    pub(in crate::api) local: *const usize,
}

/// # Safety
/// The pointers of the range are as it says.
pub(in crate::api) unsafe fn nd_range_kernel(target: Target, kernel: cl_kernel, range: Range) -> Answer<()> {
    handle::get::<Kernel>(kernel)?;
    let dimensions = range.dimensions;
    if !(1..=3).contains(&dimensions) {
        let text = format!("{dimensions} dimensions: there are 1 to 3");
        return Err(Refusal::new(cl::CL_INVALID_WORK_DIMENSION, text));
    }
    // SAFETY: as the caller promises.
    let numbers = |start: *const usize| unsafe { info::list(start, dimensions as usize) };
    let (offset, global, local) = (numbers(range.offset), numbers(range.global), numbers(range.local));
    let size = |text: String| Err(Refusal::new(cl::CL_INVALID_GLOBAL_WORK_SIZE, text));
    if global.is_empty() || global.contains(&0) {
        return size(format!("global work size {global:?}: must be given, and above 0"));
    }
    let work = prepare(&target, kernel)?;
    // The kernel has a fixed size of work groups, so that size has to be given.
    if local.is_empty() || local.iter().any(|&n| n != 1) {
        let text = format!("work-group size {local:?}: must be given, and 1");
        return Err(Refusal::new(cl::CL_INVALID_WORK_GROUP_SIZE, text));
    }
    // A run is one work item: others would overwrite its report.
    if global.iter().any(|&n| n != 1) {
        return size(format!("global work size {global:?}: a run is one work item"));
    }
    if offset.iter().any(|&n| n != 0) {
        let text = format!("global work offset {offset:?}: must be 0");
        return Err(Refusal::new(cl::CL_INVALID_GLOBAL_OFFSET, text));
    }
    // SAFETY: as the caller promises.
    unsafe { target.submit(cl::CL_COMMAND_NDRANGE_KERNEL, Command::Run(Unit::Kernel, work), false) }
}
