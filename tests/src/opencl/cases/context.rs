//! Contexts.

use super::{Case, NULL, case, garbage};
use crate::opencl::api::{Answer, Show, call, create, info, must, status};
use opencl_sys::*;
use std::ffi::{c_char, c_void};
use std::ptr::{null, null_mut};

unsafe extern "C" fn notified(_: *const c_char, _: *const c_void, _: usize, _: *mut c_void) {}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = creation();
    cases.extend(use_of());
    cases
}

fn creation() -> Vec<Case> {
    vec![
        case("context.create", |w| {
            let device = w.device()?;
            create!(w, clCreateContext(null(), 1, &raw const device, None, NULL))
        }),
        case("context.create.platform", |w| {
            let (device, list) = (w.device()?, [CL_CONTEXT_PLATFORM, w.platform() as isize, 0]);
            create!(w, clCreateContext(list.as_ptr(), 1, &raw const device, None, NULL))
        }),
        case("context.create.no_status", |w| {
            let device = w.device()?;
            let object = call!(w, clCreateContext(null(), 1, &raw const device, None, NULL, null_mut()));
            Ok(Answer::object(object, CL_SUCCESS))
        }),
        case("context.create.no_devices", |w| {
            let device = w.device()?;
            create!(w, clCreateContext(null(), 0, &raw const device, None, NULL))
        }),
        case("context.create.null_devices", |w| create!(w, clCreateContext(null(), 1, null(), None, NULL))),
        case("context.create.null_device", |w| {
            let device = NULL;
            create!(w, clCreateContext(null(), 1, &raw const device, None, NULL))
        }),
        case("context.create.garbage_device", |w| {
            let device = garbage();
            create!(w, clCreateContext(null(), 1, &raw const device, None, NULL))
        }),
        case("context.create.unknown_property", |w| {
            let (device, list) = (w.device()?, [0x7777, 1, 0]);
            create!(w, clCreateContext(list.as_ptr(), 1, &raw const device, None, NULL))
        }),
        case("context.create.null_platform", |w| {
            let (device, list) = (w.device()?, [CL_CONTEXT_PLATFORM, 0, 0]);
            create!(w, clCreateContext(list.as_ptr(), 1, &raw const device, None, NULL))
        }),
        case("context.create.user_data_only", |w| {
            let (device, mut data) = (w.device()?, 0_u8);
            create!(w, clCreateContext(null(), 1, &raw const device, None, (&raw mut data).cast()))
        }),
        case("context.create.notified", |w| {
            let device = w.device()?;
            create!(w, clCreateContext(null(), 1, &raw const device, Some(notified), NULL))
        }),
        case("context.create.device_twice", |w| {
            let devices = [w.device()?; 2];
            create!(w, clCreateContext(null(), 2, devices.as_ptr(), None, NULL))
        }),
        case("context.from_type.accelerator", |w| {
            create!(w, clCreateContextFromType(null(), CL_DEVICE_TYPE_ACCELERATOR, None, NULL))
        }),
        case("context.from_type.all", |w| {
            let list = [CL_CONTEXT_PLATFORM, w.platform() as isize, 0];
            create!(w, clCreateContextFromType(list.as_ptr(), CL_DEVICE_TYPE_ALL, None, NULL))
        }),
        case("context.from_type.cpu", |w| {
            create!(w, clCreateContextFromType(null(), CL_DEVICE_TYPE_CPU, None, NULL))
        }),
        case("context.from_type.none", |w| create!(w, clCreateContextFromType(null(), 0, None, NULL))),
    ]
}

fn use_of() -> Vec<Case> {
    const PROPERTIES: [(&str, cl_context_info, Show); 5] = [
        ("reference_count", CL_CONTEXT_REFERENCE_COUNT, Show::Number),
        ("num_devices", CL_CONTEXT_NUM_DEVICES, Show::Number),
        ("devices", CL_CONTEXT_DEVICES, Show::Size),
        ("properties", CL_CONTEXT_PROPERTIES, Show::Size),
        ("unknown", 0x9999, Show::Nothing),
    ];
    let info = PROPERTIES.into_iter().map(|(name, param, show)| {
        case(format!("context.info.{name}"), move |w| info!(w, show, clGetContextInfo(w.context()?, param)))
    });
    let mut cases: Vec<Case> = info.collect();
    cases.extend([
        case("context.info.null", |w| {
            info!(w, Show::Number, clGetContextInfo(NULL, CL_CONTEXT_REFERENCE_COUNT))
        }),
        case("context.info.too_small", |w| {
            let (mut byte, context) = (0_u8, w.context()?);
            let value = (&raw mut byte).cast();
            status!(w, clGetContextInfo(context, CL_CONTEXT_REFERENCE_COUNT, 1, value, null_mut()))
        }),
        case("context.info.after_retain", |w| {
            must!(w, clRetainContext(w.context()?));
            info!(w, Show::Number, clGetContextInfo(w.context()?, CL_CONTEXT_REFERENCE_COUNT))
        }),
        case("context.retain", |w| status!(w, clRetainContext(w.context()?))),
        case("context.retain.null", |w| status!(w, clRetainContext(NULL))),
        case("context.release", |w| status!(w, clReleaseContext(w.context()?))),
        case("context.release.null", |w| status!(w, clReleaseContext(NULL))),
        case("context.release.garbage", |w| status!(w, clReleaseContext(garbage()))),
        case("context.release.queue", |w| status!(w, clReleaseContext(w.queue()?))),
        case("context.release.twice", |w| {
            let context = w.new_context()?;
            must!(w, clReleaseContext(context));
            status!(w, clReleaseContext(context))
        }),
        case("context.release.in_use", |w| {
            let queue = w.queue()?;
            must!(w, clReleaseContext(w.context()?));
            status!(w, clFinish(queue))
        }),
    ]);
    cases
}
