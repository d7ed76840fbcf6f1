//! Events, markers and barriers.

use crate::cases;
use crate::world::{World, event, made, query};
use opencl_sys::*;
use std::ffi::c_void;
use std::ptr::{null, null_mut};

unsafe extern "C" fn ignore(_: cl_event, _: cl_int, _: *mut c_void) {}

/// A time of an event.
fn time(w: &World, of: cl_event, what: u32, size: usize) -> cl_int {
    // SAFETY: room as said.
    query(size, |s, v, r| unsafe { (w.rig.cl.clGetEventProfilingInfo)(of, what, s, v, r) })
}

/// A fresh user event, whose status is set to each of these; what the last call answers.
fn user(w: &World, statuses: &[cl_int]) -> cl_int {
    let (cl, mut code) = (&w.rig.cl, 99);
    // SAFETY: a live event.
    unsafe {
        let event = (cl.clCreateUserEvent)(w.rig.context, &raw mut code);
        let code = statuses.iter().fold(code, |_, status| (cl.clSetUserEventStatus)(event, *status));
        assert_eq!((cl.clReleaseEvent)(event), 0);
        code
    }
}

const END: u32 = CL_PROFILING_COMMAND_END;

cases! {
    "clWaitForEvents: done" CL_SUCCESS |w, cl| (cl.clWaitForEvents)(1, &raw const w.done_event);
    "clWaitForEvents: none" CL_INVALID_VALUE |_, cl| (cl.clWaitForEvents)(0, null());
    "clWaitForEvents: no list" CL_INVALID_VALUE |_, cl| (cl.clWaitForEvents)(1, null());
    "clWaitForEvents: dead" CL_INVALID_EVENT |w, cl| (cl.clWaitForEvents)(1, &raw const w.dead_event);
    "clWaitForEvents: of two contexts" CL_INVALID_CONTEXT |w, cl| (cl.clWaitForEvents)(2, [w.done_event, w.other_event].as_ptr());
    "clWaitForEvents: failed" CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST |w, cl| (cl.clWaitForEvents)(2, [w.done_event, w.failed_event].as_ptr());
    "clCreateUserEvent: open" CL_SUCCESS |w, cl| made(cl.clReleaseEvent, |code| (cl.clCreateUserEvent)(w.rig.context, code));
    "clCreateUserEvent: null context" CL_INVALID_CONTEXT |_, cl| made(cl.clReleaseEvent, |code| (cl.clCreateUserEvent)(null_mut(), code));
    "clSetUserEventStatus: complete" CL_SUCCESS |w, _| user(w, &[CL_COMPLETE]);
    "clSetUserEventStatus: failed" CL_SUCCESS |w, _| user(w, &[-1]);
    "clSetUserEventStatus: running" CL_INVALID_VALUE |w, _| user(w, &[CL_RUNNING]);
    "clSetUserEventStatus: twice" CL_INVALID_OPERATION |w, _| user(w, &[CL_COMPLETE, CL_COMPLETE]);
    "clSetUserEventStatus: a command" CL_INVALID_EVENT |w, cl| (cl.clSetUserEventStatus)(w.done_event, CL_COMPLETE);
    "clSetUserEventStatus: null" CL_INVALID_EVENT |_, cl| (cl.clSetUserEventStatus)(null_mut(), CL_COMPLETE);
    "clSetEventCallback: done" CL_SUCCESS |w, cl| (cl.clSetEventCallback)(w.done_event, CL_COMPLETE, Some(ignore), null_mut());
    "clSetEventCallback: no function" CL_INVALID_VALUE |w, cl| (cl.clSetEventCallback)(w.done_event, CL_COMPLETE, None, null_mut());
    "clSetEventCallback: queued" CL_INVALID_VALUE |w, cl| (cl.clSetEventCallback)(w.done_event, CL_QUEUED, Some(ignore), null_mut());
    "clSetEventCallback: dead" CL_INVALID_EVENT |w, cl| (cl.clSetEventCallback)(w.dead_event, CL_COMPLETE, Some(ignore), null_mut());
    "clGetEventInfo: status" CL_SUCCESS |w, cl| query(4, |s, v, r| (cl.clGetEventInfo)(w.open_event, CL_EVENT_COMMAND_EXECUTION_STATUS, s, v, r));
    "clGetEventInfo: queue" CL_SUCCESS |w, cl| query(8, |s, v, r| (cl.clGetEventInfo)(w.done_event, CL_EVENT_COMMAND_QUEUE, s, v, r));
    "clGetEventInfo: unknown" CL_INVALID_VALUE |w, cl| query(8, |s, v, r| (cl.clGetEventInfo)(w.done_event, 1, s, v, r));
    "clGetEventInfo: a buffer" CL_INVALID_EVENT |w, cl| query(8, |s, v, r| (cl.clGetEventInfo)(w.part, CL_EVENT_COMMAND_QUEUE, s, v, r));
    "clGetEventProfilingInfo: end" CL_SUCCESS |w, _| time(w, w.done_event, END, 8);
    "clGetEventProfilingInfo: half the room" CL_INVALID_VALUE |w, _| time(w, w.done_event, END, 4);
    "clGetEventProfilingInfo: unknown" CL_INVALID_VALUE |w, _| time(w, w.done_event, 1, 8);
    "clGetEventProfilingInfo: no times kept" CL_PROFILING_INFO_NOT_AVAILABLE |w, _| time(w, w.plain_event, END, 8);
    "clGetEventProfilingInfo: a user event" CL_PROFILING_INFO_NOT_AVAILABLE |w, _| time(w, w.failed_event, END, 8);
    "clGetEventProfilingInfo: dead" CL_INVALID_EVENT |w, _| time(w, w.dead_event, END, 8);
    "clRetainEvent: dead" CL_INVALID_EVENT |w, cl| (cl.clRetainEvent)(w.dead_event);
    "clReleaseEvent: null" CL_INVALID_EVENT |_, cl| (cl.clReleaseEvent)(null_mut());
    "clEnqueueMarker: with its event" CL_SUCCESS |w, cl| event(w, |e| (cl.clEnqueueMarker)(w.plain_queue, e));
    "clEnqueueMarker: without" CL_INVALID_VALUE |w, cl| (cl.clEnqueueMarker)(w.plain_queue, null_mut());
    "clEnqueueMarkerWithWaitList: behind an event" CL_SUCCESS |w, cl| event(w, |e| (cl.clEnqueueMarkerWithWaitList)(w.plain_queue, 1, &raw const w.done_event, e));
    "clEnqueueMarkerWithWaitList: a number without a list" CL_INVALID_EVENT_WAIT_LIST |w, cl| event(w, |e| (cl.clEnqueueMarkerWithWaitList)(w.plain_queue, 1, null(), e));
    "clEnqueueBarrier: queue" CL_SUCCESS |w, cl| (cl.clEnqueueBarrier)(w.plain_queue);
    "clEnqueueBarrier: null" CL_INVALID_COMMAND_QUEUE |_, cl| (cl.clEnqueueBarrier)(null_mut());
    "clEnqueueBarrierWithWaitList: behind an event" CL_SUCCESS |w, cl| event(w, |e| (cl.clEnqueueBarrierWithWaitList)(w.plain_queue, 1, &raw const w.done_event, e));
    "clEnqueueWaitForEvents: done" CL_SUCCESS |w, cl| (cl.clEnqueueWaitForEvents)(w.plain_queue, 1, &raw const w.done_event);
    "clEnqueueWaitForEvents: none" CL_INVALID_VALUE |w, cl| (cl.clEnqueueWaitForEvents)(w.plain_queue, 0, null());
    "clSVMAlloc: no shared memory" CL_SUCCESS |w, cl| cl_int::from(!(cl.clSVMAlloc)(w.rig.context, 0, 64, 0).is_null());
    "clGetSupportedImageFormats: no images" CL_INVALID_OPERATION |w, cl| (cl.clGetSupportedImageFormats)(w.rig.context, 0, CL_MEM_OBJECT_IMAGE2D, 0, null_mut(), null_mut());
}
