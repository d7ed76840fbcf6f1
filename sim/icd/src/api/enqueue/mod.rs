//! Commands, by kind. The table of functions makes a [`Target`] of what all of them are given, and a typed request of
//! the rest.

mod map;
mod order;
mod run;
mod transfer;

pub(super) use map::{map, migrate, unmap};
pub(super) use order::{barrier, barrier_with_list, marker, marker_with_list, wait_for_events};
pub(super) use run::{Range, nd_range_kernel, task};
pub(super) use transfer::{Host, Part, copy, fill, read, write};

use super::event::{failed_wait, wait_list};
use super::handle::{self, EventObject};
use super::memory::MemObject;
use crate::context::{Context, Queue};
use crate::engine::{Command, Event, Time, Unit};
use crate::refusal::{Answer, Refusal};
use opencl_sys as cl;
use opencl_sys::{cl_command_queue, cl_command_type, cl_event, cl_mem, cl_uint};
use std::ffi::c_void;
use std::sync::Arc;

/// A command queue, what the command waits for and where its event goes.
pub(super) struct Target {
    queue: Arc<Queue>,
    handle: cl_command_queue,
    list: Vec<Arc<Event>>,
    event: *mut cl_event,
}

impl Target {
    /// Checks queue and wait list.
    ///
    /// # Safety
    /// `events` points to `count` handles, or is null; `event` is null or writable.
    pub(super) unsafe fn new(
        handle: cl_command_queue,
        count: cl_uint,
        events: *const cl_event,
        event: *mut cl_event,
    ) -> Answer<Self> {
        let queue = handle::get::<Queue>(handle)?;
        // SAFETY: as the caller promises.
        let list = unsafe { wait_list(&queue.context, count, events)? };
        Ok(Self { queue, handle, list, event })
    }

    /// A buffer of the queue's context, in the memory of its device.
    fn memory(&self, mem: cl_mem) -> Answer<Arc<MemObject>> {
        let mem = handle::get::<MemObject>(mem)?;
        if !Arc::ptr_eq(&mem.context, &self.queue.context) {
            let text = "the buffer belongs to another context than the queue";
            return Err(Refusal::new(cl::CL_INVALID_CONTEXT, text));
        }
        let device = &self.queue.device;
        mem.buffer.settle_on_only(&device.banks())?;
        mem.buffer.reside(device.index, &device.banks())?;
        Ok(mem)
    }

    /// Enqueues; waits, if that is asked for; and gives the event.
    ///
    /// # Safety
    /// As [`Target::new`].
    unsafe fn submit(self, kind: cl_command_type, command: Command, blocking: bool) -> Answer<()> {
        let queue = &self.queue;
        let event = queue.engine.submit(queue.line, command, &self.list);
        if blocking {
            failed_wait(queue.engine.wait(std::slice::from_ref(&event)))?;
        }
        if !self.event.is_null() {
            let (context, profiles) = (queue.context.clone(), queue.profiles());
            let object = EventObject { event, context, command: kind, profiles };
            let parents = [handle::parent::<Context>(self.handle), self.handle];
            // SAFETY: writable, as the caller promises.
            unsafe { self.event.write(handle::create(Arc::new(object), &parents)) };
        }
        Ok(())
    }

    /// Enqueues a transfer.
    ///
    /// # Safety
    /// As [`Target::new`].
    unsafe fn transfer(
        self,
        kind: cl_command_type,
        unit: Unit,
        time: Time,
        blocking: bool,
        copy: impl FnOnce() + Send + 'static,
    ) -> Answer<()> {
        let work = self.queue.device.transfer(time, copy);
        // SAFETY: as the caller promises.
        unsafe { self.submit(kind, Command::Run(unit, work), blocking) }
    }

    fn to_device(&self, bytes: u64) -> Time {
        self.queue.device.link.to_device(bytes)
    }

    fn to_host(&self, bytes: u64) -> Time {
        self.queue.device.link.to_host(bytes)
    }
}

fn check_pointer(pointer: *const c_void) -> Answer<()> {
    if pointer.is_null() { Err(Refusal::value("a null pointer for the host's memory")) } else { Ok(()) }
}

/// The host may not read, or write, a buffer that was made so.
fn check_host_access(mem: &MemObject, forbidden: cl::cl_mem_flags) -> Answer<()> {
    if mem.flags & (forbidden | cl::CL_MEM_HOST_NO_ACCESS) == 0 {
        return Ok(());
    }
    let text = format!("the buffer's flags {:#x} forbid this access of the host", mem.flags);
    Err(Refusal::new(cl::CL_INVALID_OPERATION, text))
}
