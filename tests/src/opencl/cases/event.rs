//! Events, waiting, callbacks, profiling, markers.

use super::{Case, NULL, case, garbage};
use crate::opencl::api::{Answer, Outcome, Show, UNTOUCHED, call, create, info, made, must, status};
use crate::opencl::world::World;
use opencl_sys::*;
use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

pub(super) fn cases() -> Vec<Case> {
    [users(), waits(), properties(), profiling(), callbacks(), markers()].into_iter().flatten().collect()
}

fn users() -> Vec<Case> {
    const STATES: [(&str, cl_int); 6] = [
        ("complete", CL_COMPLETE),
        ("error", -5),
        ("running", CL_RUNNING),
        ("submitted", CL_SUBMITTED),
        ("queued", CL_QUEUED),
        ("unknown", 77),
    ];
    let states = STATES.into_iter().map(|(name, state)| {
        case(format!("event.user.set_{name}"), move |w| {
            status!(w, clSetUserEventStatus(w.user_event()?, state))
        })
    });
    let mut cases: Vec<Case> = states.collect();
    cases.extend([
        case("event.user.create", |w| create!(w, clCreateUserEvent(w.context()?))),
        case("event.user.create.null_context", |w| create!(w, clCreateUserEvent(NULL))),
        case("event.user.set_twice", |w| {
            let event = w.user_event()?;
            must!(w, clSetUserEventStatus(event, CL_COMPLETE));
            status!(w, clSetUserEventStatus(event, CL_COMPLETE))
        }),
        case("event.user.set_null", |w| status!(w, clSetUserEventStatus(NULL, CL_COMPLETE))),
        case("event.user.set_garbage", |w| status!(w, clSetUserEventStatus(garbage(), CL_COMPLETE))),
        case("event.user.set_of_a_command", |w| {
            status!(w, clSetUserEventStatus(w.write_event(w.queue()?)?, CL_COMPLETE))
        }),
        case("event.retain", |w| status!(w, clRetainEvent(w.user_event()?))),
        case("event.retain.null", |w| status!(w, clRetainEvent(NULL))),
        case("event.release", |w| status!(w, clReleaseEvent(w.user_event()?))),
        case("event.release.null", |w| status!(w, clReleaseEvent(NULL))),
        case("event.release.garbage", |w| status!(w, clReleaseEvent(garbage()))),
        case("event.release.twice", |w| {
            let event = w.user_event()?;
            must!(w, clReleaseEvent(event));
            status!(w, clReleaseEvent(event))
        }),
        case("event.release.of_a_command", |w| status!(w, clReleaseEvent(w.write_event(w.queue()?)?))),
    ]);
    cases
}

fn wait(w: &World, events: &[cl_event]) -> Outcome {
    status!(w, clWaitForEvents(events.len() as cl_uint, events.as_ptr()))
}

fn waits() -> Vec<Case> {
    vec![
        case("event.wait.command", |w| wait(w, &[w.write_event(w.queue()?)?])),
        case("event.wait.run", |w| {
            let (queue, mut event) = (w.queue()?, NULL);
            must!(w, clEnqueueTask(queue, w.armed()?, 0, null(), &raw mut event));
            wait(w, &[event])
        }),
        case("event.wait.user", |w| {
            let event = w.user_event()?;
            must!(w, clSetUserEventStatus(event, CL_COMPLETE));
            wait(w, &[event])
        }),
        case("event.wait.failed_user", |w| {
            let event = w.user_event()?;
            must!(w, clSetUserEventStatus(event, -5));
            wait(w, &[event])
        }),
        case("event.wait.none", |w| wait(w, &[])),
        case("event.wait.null_list", |w| status!(w, clWaitForEvents(1, null()))),
        case("event.wait.null_event", |w| wait(w, &[NULL])),
        case("event.wait.garbage_event", |w| wait(w, &[garbage()])),
        case("event.wait.two_contexts", |w| {
            let other = made!(w, clCreateUserEvent(w.new_context()?));
            let own = w.user_event()?;
            must!(w, clSetUserEventStatus(other, CL_COMPLETE));
            must!(w, clSetUserEventStatus(own, CL_COMPLETE));
            wait(w, &[own, other])
        }),
    ]
}

fn properties() -> Vec<Case> {
    const PROPERTIES: [(&str, cl_event_info, Show); 6] = [
        ("queue", CL_EVENT_COMMAND_QUEUE, Show::Size),
        ("context", CL_EVENT_CONTEXT, Show::Size),
        ("command_type", CL_EVENT_COMMAND_TYPE, Show::Number),
        ("execution_status", CL_EVENT_COMMAND_EXECUTION_STATUS, Show::Number),
        ("reference_count", CL_EVENT_REFERENCE_COUNT, Show::Nothing),
        ("unknown", 0x9999, Show::Nothing),
    ];
    let commands = PROPERTIES.into_iter().map(|(name, param, show)| {
        case(format!("event.info.{name}"), move |w| {
            info!(w, show, clGetEventInfo(w.write_event(w.queue()?)?, param))
        })
    });
    let users = PROPERTIES.into_iter().map(|(name, param, show)| {
        case(format!("event.user_info.{name}"), move |w| {
            info!(w, show, clGetEventInfo(w.user_event()?, param))
        })
    });
    let mut cases: Vec<Case> = commands.chain(users).collect();
    cases.extend([
        case("event.info.type_of_a_task", |w| {
            info!(w, Show::Number, clGetEventInfo(w.run_event(w.queue()?)?, CL_EVENT_COMMAND_TYPE))
        }),
        case("event.info.status_of_a_run", |w| {
            info!(
                w,
                Show::Number,
                clGetEventInfo(w.run_event(w.queue()?)?, CL_EVENT_COMMAND_EXECUTION_STATUS)
            )
        }),
        case("event.info.null", |w| info!(w, Show::Number, clGetEventInfo(NULL, CL_EVENT_COMMAND_TYPE))),
        case("event.info.too_small", |w| {
            let (mut byte, event) = (0_u8, w.user_event()?);
            let value = (&raw mut byte).cast();
            status!(w, clGetEventInfo(event, CL_EVENT_COMMAND_TYPE, 1, value, null_mut()))
        }),
    ]);
    cases
}

fn profiling() -> Vec<Case> {
    const TIMES: [(&str, cl_profiling_info); 5] = [
        ("queued", CL_PROFILING_COMMAND_QUEUED),
        ("submit", CL_PROFILING_COMMAND_SUBMIT),
        ("start", CL_PROFILING_COMMAND_START),
        ("end", CL_PROFILING_COMMAND_END),
        ("unknown", 0x9999),
    ];
    let times = TIMES.into_iter().map(|(name, param)| {
        case(format!("event.profile.{name}"), move |w| {
            let event = w.write_event(w.queue_with(CL_QUEUE_PROFILING_ENABLE)?)?;
            info!(w, Show::Size, clGetEventProfilingInfo(event, param))
        })
    });
    let mut cases: Vec<Case> = times.collect();
    cases.extend([
        case("event.profile.run", |w| {
            let event = w.run_event(w.queue_with(CL_QUEUE_PROFILING_ENABLE)?)?;
            info!(w, Show::Size, clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END))
        }),
        case("event.profile.ordered", |w| {
            let event = w.run_event(w.queue_with(CL_QUEUE_PROFILING_ENABLE)?)?;
            let mut times = [0_u64; 4];
            for (time, (_, param)) in times.iter_mut().zip(TIMES) {
                let value = std::ptr::from_mut(time).cast();
                must!(w, clGetEventProfilingInfo(event, param, size_of::<u64>(), value, null_mut()));
            }
            let value = if times.is_sorted() { "in order" } else { "out of order" };
            Ok(Answer { status: CL_SUCCESS, value: value.to_owned() })
        }),
        case("event.profile.not_enabled", |w| {
            let event = w.write_event(w.queue()?)?;
            info!(w, Show::Size, clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END))
        }),
        case("event.profile.user", |w| {
            info!(w, Show::Size, clGetEventProfilingInfo(w.user_event()?, CL_PROFILING_COMMAND_END))
        }),
        case("event.profile.null", |w| {
            info!(w, Show::Size, clGetEventProfilingInfo(NULL, CL_PROFILING_COMMAND_END))
        }),
        case("event.profile.too_small", |w| {
            let event = w.write_event(w.queue_with(CL_QUEUE_PROFILING_ENABLE)?)?;
            let mut byte = 0_u8;
            let value = (&raw mut byte).cast();
            status!(w, clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, 1, value, null_mut()))
        }),
    ]);
    cases
}

/// What the callback was told; [`UNTOUCHED`] before.
static TOLD: AtomicI32 = AtomicI32::new(UNTOUCHED);

unsafe extern "C" fn told(_: cl_event, state: cl_int, _: *mut c_void) {
    TOLD.store(state, Ordering::SeqCst);
}

/// The status of registering, and what the callback was told within two seconds.
fn after_callback(status: cl_int) -> Answer {
    let end = Instant::now() + Duration::from_secs(2);
    while TOLD.load(Ordering::SeqCst) == UNTOUCHED && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    let value = match TOLD.load(Ordering::SeqCst) {
        UNTOUCHED => "not called".to_owned(),
        state => format!("told {state}"),
    };
    Answer { status, value }
}

fn callbacks() -> Vec<Case> {
    vec![
        case("event.callback.ended", |w| {
            let event = w.write_event(w.queue()?)?;
            let status = call!(w, clSetEventCallback(event, CL_COMPLETE, Some(told), NULL));
            Ok(after_callback(status))
        }),
        case("event.callback.user", |w| {
            let event = w.user_event()?;
            let status = call!(w, clSetEventCallback(event, CL_COMPLETE, Some(told), NULL));
            must!(w, clSetUserEventStatus(event, CL_COMPLETE));
            Ok(after_callback(status))
        }),
        case("event.callback.failed_user", |w| {
            let event = w.user_event()?;
            let status = call!(w, clSetEventCallback(event, CL_COMPLETE, Some(told), NULL));
            must!(w, clSetUserEventStatus(event, -5));
            Ok(after_callback(status))
        }),
        case("event.callback.running", |w| {
            status!(w, clSetEventCallback(w.user_event()?, CL_RUNNING, Some(told), NULL))
        }),
        case("event.callback.queued", |w| {
            status!(w, clSetEventCallback(w.user_event()?, CL_QUEUED, Some(told), NULL))
        }),
        case("event.callback.none", |w| {
            status!(w, clSetEventCallback(w.user_event()?, CL_COMPLETE, None, NULL))
        }),
        case("event.callback.null", |w| status!(w, clSetEventCallback(NULL, CL_COMPLETE, Some(told), NULL))),
    ]
}

fn markers() -> Vec<Case> {
    vec![
        case("event.marker", |w| {
            let mut event = NULL;
            status!(w, clEnqueueMarker(w.queue()?, &raw mut event))
        }),
        case("event.marker.no_event", |w| status!(w, clEnqueueMarker(w.queue()?, null_mut()))),
        case("event.marker.null_queue", |w| {
            let mut event = NULL;
            status!(w, clEnqueueMarker(NULL, &raw mut event))
        }),
        case("event.marker.with_list", |w| {
            let (event, mut marker) = (w.write_event(w.queue()?)?, NULL);
            let list = &raw const event;
            status!(w, clEnqueueMarkerWithWaitList(w.queue()?, 1, list, &raw mut marker))
        }),
        case("event.marker.null_list", |w| {
            status!(w, clEnqueueMarkerWithWaitList(w.queue()?, 1, null(), null_mut()))
        }),
        case("event.barrier", |w| status!(w, clEnqueueBarrier(w.queue()?))),
        case("event.barrier.null", |w| status!(w, clEnqueueBarrier(NULL))),
        case("event.barrier.with_list", |w| {
            let event = w.write_event(w.queue()?)?;
            let list = &raw const event;
            status!(w, clEnqueueBarrierWithWaitList(w.queue()?, 1, list, null_mut()))
        }),
        case("event.queue_wait", |w| {
            let event = w.write_event(w.queue()?)?;
            status!(w, clEnqueueWaitForEvents(w.queue()?, 1, &raw const event))
        }),
        case("event.queue_wait.none", |w| status!(w, clEnqueueWaitForEvents(w.queue()?, 0, null()))),
        case("event.queue_wait.null_queue", |w| {
            let event = w.user_event()?;
            status!(w, clEnqueueWaitForEvents(NULL, 1, &raw const event))
        }),
    ]
}
