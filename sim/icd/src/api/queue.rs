//! Command queues.

use super::handle;
use super::info::{self, Place};
use super::platform;
use crate::context::{Context, Queue};
use crate::device::Device;
use crate::refusal::{Answer, Refusal};
use opencl_sys as cl;
use opencl_sys::{cl_command_queue, cl_command_queue_properties, cl_context, cl_device_id};
use opencl_sys::{cl_queue_properties, cl_uint};
use std::ffi::c_void;
use std::sync::Arc;

pub(super) unsafe fn create(
    context: cl_context,
    device: cl_device_id,
    properties: cl_command_queue_properties,
) -> Answer<cl_command_queue> {
    let (object, device) = (handle::get::<Context>(context)?, handle::get::<Device>(device)?);
    let engine = platform::the_platform()?.engine_for(&device);
    let engine =
        engine.map_err(|e| Refusal::new(cl::CL_OUT_OF_RESOURCES, format!("no worker thread: {e}")))?;
    let queue = Queue::new(engine, object, device, properties)?;
    Ok(handle::create(Arc::new(queue), &[context]))
}

pub(super) unsafe fn create_with_properties(
    context: cl_context,
    device: cl_device_id,
    list: *const cl_queue_properties,
) -> Answer<cl_command_queue> {
    let mut properties = 0;
    let mut at = list;
    // SAFETY: a list of names and values that ends with a 0, or null.
    while let Some(&name) = unsafe { at.as_ref() } {
        if name == 0 {
            break;
        }
        // SAFETY: each name is followed by a value, and that by a name or the closing 0.
        let value = unsafe { at.add(1).read() };
        match name as cl_uint {
            cl::CL_QUEUE_PROPERTIES => properties = value,
            // A name that is known, of a device queue: there are none.
            cl::CL_QUEUE_SIZE => {
                let text = "queues on the device are not supported";
                return Err(Refusal::new(cl::CL_INVALID_QUEUE_PROPERTIES, text));
            }
            _ => return Err(Refusal::value(format!("queue property {name:#x} is not known"))),
        }
        // SAFETY: as above.
        at = unsafe { at.add(2) };
    }
    // SAFETY: handles only.
    unsafe { create(context, device, properties) }
}

pub(super) unsafe fn retain(queue: cl_command_queue) -> Answer<()> {
    handle::retain::<Queue>(queue)
}

pub(super) unsafe fn release(queue: cl_command_queue) -> Answer<()> {
    handle::release::<Queue>(queue)
}

pub(super) unsafe fn flush(queue: cl_command_queue) -> Answer<()> {
    handle::get::<Queue>(queue)?.engine.flush();
    Ok(())
}

pub(super) unsafe fn finish(queue: cl_command_queue) -> Answer<()> {
    let queue = handle::get::<Queue>(queue)?;
    queue.engine.finish(queue.line);
    Ok(())
}

pub(super) unsafe fn info(
    handle: cl_command_queue,
    query: cl_uint,
    size: usize,
    value: *mut c_void,
    size_ret: *mut usize,
) -> Answer<()> {
    let queue = handle::get::<Queue>(handle)?;
    let bytes = match query {
        cl::CL_QUEUE_CONTEXT => info::handle(handle::parent::<Context>(handle)),
        cl::CL_QUEUE_DEVICE => info::handle(platform::device_handle(&queue.device)?),
        cl::CL_QUEUE_REFERENCE_COUNT => info::u32(handle::references(handle)),
        cl::CL_QUEUE_PROPERTIES => info::u64(queue.properties),
        _ => return Err(info::unknown(query)),
    };
    // SAFETY: what the specification asks of the caller.
    unsafe { Place { size, value, size_ret }.give(&bytes) }
}
