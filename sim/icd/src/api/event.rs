//! Events.

use super::handle::{self, EventObject, Hold};
use super::host::Raw;
use super::info::{self, Place};
use super::platform;
use super::table::EventNotify;
use crate::context::{Context, Queue};
use crate::engine::{self, status};
use crate::refusal::{Answer, Refusal};
use opencl_sys as cl;
use opencl_sys::{cl_context, cl_event, cl_int, cl_uint};
use std::ffi::c_void;
use std::sync::Arc;

/// The events of a wait list.
///
/// # Safety
/// `start` points to `count` handles, or is null.
pub(super) unsafe fn wait_list(
    context: &Arc<Context>,
    count: cl_uint,
    start: *const cl_event,
) -> Answer<Vec<Arc<engine::Event>>> {
    let invalid = |text: String| Refusal::new(cl::CL_INVALID_EVENT_WAIT_LIST, text);
    // A number goes with a list.
    if (count == 0) != start.is_null() {
        return Err(invalid(format!("{count} events at {start:p}")));
    }
    // SAFETY: as the caller promises.
    let list = unsafe { info::list(start, count as usize) };
    let mut events = Vec::with_capacity(list.len());
    for &event in list {
        let event = handle::get::<EventObject>(event).map_err(|e| invalid(e.text))?;
        // Events and queue are of the same context.
        if !Arc::ptr_eq(&event.context, context) {
            let text = "an event of the wait list belongs to another context";
            return Err(Refusal::new(cl::CL_INVALID_CONTEXT, text));
        }
        events.push(event.event.clone());
    }
    Ok(events)
}

pub(super) unsafe fn wait(count: cl_uint, events: *const cl_event) -> Answer<()> {
    if count == 0 || events.is_null() {
        return Err(Refusal::value("no events to wait for"));
    }
    // SAFETY: what the specification asks of the caller.
    let first = handle::get::<EventObject>(unsafe { events.read() })?;
    // SAFETY: as above.
    let list = unsafe { wait_list(&first.context, count, events) };
    // A handle that is none is an event that is not valid here, where there is no list of a command.
    let list = list.map_err(|refusal| match refusal.status {
        cl::CL_INVALID_EVENT_WAIT_LIST => Refusal::new(cl::CL_INVALID_EVENT, refusal.text),
        _ => refusal,
    })?;
    failed_wait(platform::the_platform()?.engine.wait(&list))
}

/// What a wait answers where an event has failed.
pub(super) fn failed_wait(result: Result<(), i32>) -> Answer<()> {
    result.map_err(|code| {
        let text = format!("an event that was waited for has failed with status {code}");
        Refusal::new(cl::CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, text)
    })
}

pub(super) unsafe fn create_user(context: cl_context) -> Answer<cl_event> {
    let object = handle::get::<Context>(context)?;
    let event = platform::the_platform()?.engine.user_event();
    let event = EventObject { event, context: object, command: cl::CL_COMMAND_USER, profiles: false };
    Ok(handle::create(Arc::new(event), &[context]))
}

pub(super) unsafe fn set_user_status(event: cl_event, code: cl_int) -> Answer<()> {
    let object = handle::get::<EventObject>(event)?;
    if !object.event.is_user() {
        return Err(Refusal::new(cl::CL_INVALID_EVENT, "the event is a command's, not a user event"));
    }
    // A user event is complete or has failed.
    if code > status::COMPLETE {
        return Err(Refusal::value(format!("status {code}: must be CL_COMPLETE or an error below 0")));
    }
    match platform::the_platform()?.engine.set_user_status(&object.event, code) {
        true => Ok(()),
        false => {
            // The status is set once.
            Err(Refusal::new(cl::CL_INVALID_OPERATION, "the event's status has been set before"))
        }
    }
}

pub(super) unsafe fn retain(event: cl_event) -> Answer<()> {
    handle::retain::<EventObject>(event)
}

pub(super) unsafe fn release(event: cl_event) -> Answer<()> {
    handle::release::<EventObject>(event)
}

pub(super) unsafe fn set_callback(
    event: cl_event,
    trigger: cl_int,
    notify: EventNotify,
    user_data: *mut c_void,
) -> Answer<()> {
    let object = handle::get::<EventObject>(event)?;
    let function = notify.ok_or_else(|| Refusal::value("no function to call"))?;
    // The statuses that can be waited for.
    if !(status::COMPLETE..=status::SUBMITTED).contains(&trigger) {
        let text = format!("status {trigger}: must be CL_SUBMITTED, CL_RUNNING or CL_COMPLETE");
        return Err(Refusal::value(text));
    }
    // The event lives until its callbacks have been called.
    let hold = Hold::new(event);
    let (event, data) = (Raw(event), Raw(user_data));
    let callback = move |status| {
        let (event, data, _hold) = (event, data, hold);
        // SAFETY: the caller's function, with its own data and the event that it named.
        unsafe { function(event.0, status, data.0) };
    };
    platform::the_platform()?.engine.on_status(&object.event, trigger, Box::new(callback));
    Ok(())
}

pub(super) unsafe fn info(
    handle: cl_event,
    query: cl_uint,
    size: usize,
    value: *mut c_void,
    size_ret: *mut usize,
) -> Answer<()> {
    let object = handle::get::<EventObject>(handle)?;
    let bytes = match query {
        // Null for a user event.
        cl::CL_EVENT_COMMAND_QUEUE => info::handle(handle::parent::<Queue>(handle)),
        cl::CL_EVENT_CONTEXT => info::handle(handle::parent::<Context>(handle)),
        cl::CL_EVENT_COMMAND_TYPE => info::u32(object.command),
        cl::CL_EVENT_COMMAND_EXECUTION_STATUS => {
            info::i32(platform::the_platform()?.engine.status(&object.event))
        }
        cl::CL_EVENT_REFERENCE_COUNT => info::u32(handle::references(handle)),
        _ => return Err(info::unknown(query)),
    };
    // SAFETY: what the specification asks of the caller.
    unsafe { Place { size, value, size_ret }.give(&bytes) }
}

pub(super) unsafe fn profiling_info(
    handle: cl_event,
    query: cl_uint,
    size: usize,
    value: *mut c_void,
    size_ret: *mut usize,
) -> Answer<()> {
    let object = handle::get::<EventObject>(handle)?;
    // Times are there for a command that is complete, of a queue that keeps them, and not for a user event.
    let stamps = object.event.stamps().filter(|_| object.profiles).ok_or_else(|| {
        let text = "no times: a user event, a command that is not complete, or a queue without CL_QUEUE_PROFILING_ENABLE";
        Refusal::new(cl::CL_PROFILING_INFO_NOT_AVAILABLE, text)
    })?;
    let time = match query {
        cl::CL_PROFILING_COMMAND_QUEUED => stamps.queued,
        cl::CL_PROFILING_COMMAND_SUBMIT => stamps.submit,
        cl::CL_PROFILING_COMMAND_START => stamps.start,
        cl::CL_PROFILING_COMMAND_END => stamps.end,
        _ => return Err(info::unknown(query)),
    };
    // SAFETY: what the specification asks of the caller.
    unsafe { Place { size, value, size_ret }.give(&info::u64(time)) }
}
