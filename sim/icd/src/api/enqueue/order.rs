//! Markers and barriers.

use super::Target;
use crate::api::handle;
use crate::context::Queue;
use crate::engine::Command;
use crate::refusal::{Answer, Refusal};
use opencl_sys as cl;
use opencl_sys::{cl_command_queue, cl_event, cl_uint};

pub(in crate::api) unsafe fn marker(queue: cl_command_queue, event: *mut cl_event) -> Answer<()> {
    // SAFETY: what the specification asks of the caller.
    let target = unsafe { Target::new(queue, 0, std::ptr::null(), event)? };
    // This marker is nothing but its event.
    if event.is_null() {
        return Err(Refusal::value("a marker without a place for its event"));
    }
    // SAFETY: as above.
    unsafe { target.submit(cl::CL_COMMAND_MARKER, Command::Marker, false) }
}

pub(in crate::api) unsafe fn barrier(queue: cl_command_queue) -> Answer<()> {
    // SAFETY: no pointers are given.
    unsafe { barrier_with_list(Target::new(queue, 0, std::ptr::null(), std::ptr::null_mut())?) }
}

pub(in crate::api) unsafe fn wait_for_events(
    queue: cl_command_queue,
    count: cl_uint,
    events: *const cl_event,
) -> Answer<()> {
    handle::get::<Queue>(queue)?;
    if count == 0 || events.is_null() {
        return Err(Refusal::value("no events to wait for"));
    }
    // SAFETY: what the specification asks of the caller. What follows in the queue waits for these events.
    unsafe { barrier_with_list(Target::new(queue, count, events, std::ptr::null_mut())?) }
}

/// # Safety
/// As [`Target::new`].
pub(in crate::api) unsafe fn marker_with_list(target: Target) -> Answer<()> {
    // SAFETY: as the caller promises.
    unsafe { target.submit(cl::CL_COMMAND_MARKER, Command::Marker, false) }
}

/// # Safety
/// As [`Target::new`].
pub(in crate::api) unsafe fn barrier_with_list(target: Target) -> Answer<()> {
    // SAFETY: as the caller promises.
    unsafe { target.submit(cl::CL_COMMAND_BARRIER, Command::Barrier, false) }
}
