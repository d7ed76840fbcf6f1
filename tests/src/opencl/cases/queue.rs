//! Command queues.

use super::{Case, NULL, case, garbage};
use crate::opencl::api::{Show, create, info, must, status};
use opencl_sys::*;
use std::ptr::{null, null_mut};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = creation();
    cases.extend(use_of());
    cases
}

fn creation() -> Vec<Case> {
    const KINDS: [(&str, cl_command_queue_properties); 6] = [
        ("in_order", 0),
        ("out_of_order", CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE),
        ("profiling", CL_QUEUE_PROFILING_ENABLE),
        ("both", CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE | CL_QUEUE_PROFILING_ENABLE),
        ("on_device", CL_QUEUE_ON_DEVICE),
        ("unknown_property", 1 << 20),
    ];
    let kinds = KINDS.into_iter().map(|(name, properties)| {
        case(format!("queue.create.{name}"), move |w| {
            create!(w, clCreateCommandQueue(w.context()?, w.device()?, properties))
        })
    });
    let mut cases: Vec<Case> = kinds.collect();
    cases.extend([
        case("queue.create.null_context", |w| create!(w, clCreateCommandQueue(NULL, w.device()?, 0))),
        case("queue.create.null_device", |w| create!(w, clCreateCommandQueue(w.context()?, NULL, 0))),
        case("queue.create.garbage_context", |w| create!(w, clCreateCommandQueue(garbage(), w.device()?, 0))),
        case("queue.create.garbage_device", |w| create!(w, clCreateCommandQueue(w.context()?, garbage(), 0))),
        case("queue.create.with_properties", |w| {
            create!(w, clCreateCommandQueueWithProperties(w.context()?, w.device()?, null()))
        }),
        case("queue.create.second", |w| {
            w.queue()?;
            create!(w, clCreateCommandQueue(w.context()?, w.device()?, 0))
        }),
    ]);
    cases
}

fn use_of() -> Vec<Case> {
    const PROPERTIES: [(&str, cl_command_queue_info, Show); 5] = [
        ("context", CL_QUEUE_CONTEXT, Show::Size),
        ("device", CL_QUEUE_DEVICE, Show::Size),
        ("reference_count", CL_QUEUE_REFERENCE_COUNT, Show::Number),
        ("properties", CL_QUEUE_PROPERTIES, Show::Number),
        ("unknown", 0x9999, Show::Nothing),
    ];
    let info = PROPERTIES.into_iter().map(|(name, param, show)| {
        case(format!("queue.info.{name}"), move |w| {
            info!(w, show, clGetCommandQueueInfo(w.queue_with(CL_QUEUE_PROFILING_ENABLE)?, param))
        })
    });
    let mut cases: Vec<Case> = info.collect();
    cases.extend([
        case("queue.info.null", |w| {
            info!(w, Show::Number, clGetCommandQueueInfo(NULL, CL_QUEUE_REFERENCE_COUNT))
        }),
        case("queue.info.too_small", |w| {
            let (mut byte, queue) = (0_u8, w.queue()?);
            let value = (&raw mut byte).cast();
            status!(w, clGetCommandQueueInfo(queue, CL_QUEUE_PROPERTIES, 1, value, null_mut()))
        }),
        case("queue.set_property", |w| {
            let queue = w.queue()?;
            status!(w, clSetCommandQueueProperty(queue, CL_QUEUE_PROFILING_ENABLE, CL_TRUE, null_mut()))
        }),
        case("queue.retain", |w| status!(w, clRetainCommandQueue(w.queue()?))),
        case("queue.retain.null", |w| status!(w, clRetainCommandQueue(NULL))),
        case("queue.release", |w| status!(w, clReleaseCommandQueue(w.queue()?))),
        case("queue.release.null", |w| status!(w, clReleaseCommandQueue(NULL))),
        case("queue.release.garbage", |w| status!(w, clReleaseCommandQueue(garbage()))),
        case("queue.release.twice", |w| {
            let queue = w.queue_with(0)?;
            must!(w, clReleaseCommandQueue(queue));
            status!(w, clReleaseCommandQueue(queue))
        }),
        case("queue.release.pending", |w| {
            let (queue, event) = (w.queue_with(0)?, w.user_event()?);
            must!(w, clEnqueueWaitForEvents(queue, 1, &raw const event));
            must!(w, clSetUserEventStatus(event, CL_COMPLETE));
            status!(w, clReleaseCommandQueue(queue))
        }),
        case("queue.flush", |w| status!(w, clFlush(w.queue()?))),
        case("queue.flush.null", |w| status!(w, clFlush(NULL))),
        case("queue.finish", |w| status!(w, clFinish(w.queue()?))),
        case("queue.finish.null", |w| status!(w, clFinish(NULL))),
        case("queue.finish.garbage", |w| status!(w, clFinish(garbage()))),
        case("queue.finish.context", |w| status!(w, clFinish(w.context()?))),
        case("queue.finish.released", |w| {
            let queue = w.queue_with(0)?;
            must!(w, clReleaseCommandQueue(queue));
            status!(w, clFinish(queue))
        }),
    ]);
    cases
}
