//! What the platform does not do (images, samplers, pipes, shared memory), and extension functions.

use super::{Case, NULL, case};
use crate::opencl::api::{Answer, call, create, status};
use opencl_sys::*;
use std::ffi::CStr;
use std::ptr::{null, null_mut};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = extensions();
    cases.extend(images());
    cases.extend(shared_memory());
    cases
}

fn extensions() -> Vec<Case> {
    const NAMES: [(&str, &CStr); 4] = [
        ("icd", c"clIcdGetPlatformIDsKHR"),
        ("device_address", c"xclGetMemObjDeviceAddress"),
        ("unknown", c"clNoSuchFunctionFCAR"),
        ("empty", c""),
    ];
    let found = |address: *mut std::ffi::c_void| {
        let value = if address.is_null() { "null" } else { "function" };
        Answer { status: CL_SUCCESS, value: value.to_owned() }
    };
    let names = NAMES.into_iter().map(move |(name, function)| {
        case(format!("other.extension.{name}"), move |w| {
            Ok(found(call!(w, clGetExtensionFunctionAddress(function.as_ptr()))))
        })
    });
    let mut cases: Vec<Case> = names.collect();
    cases.push(case("other.extension.for_platform", move |w| {
        let (platform, name) = (w.platform(), c"clIcdGetPlatformIDsKHR".as_ptr());
        Ok(found(call!(w, clGetExtensionFunctionAddressForPlatform(platform, name))))
    }));
    cases
}

const FORMAT: cl_image_format =
    cl_image_format { image_channel_order: CL_RGBA, image_channel_data_type: CL_UNSIGNED_INT8 };

fn images() -> Vec<Case> {
    vec![
        case("other.image.formats", |w| {
            let (mut count, context) = (0, w.context()?);
            let (kind, flags) = (CL_MEM_OBJECT_IMAGE2D, CL_MEM_READ_WRITE);
            status!(w, clGetSupportedImageFormats(context, flags, kind, 0, null_mut(), &raw mut count))
        }),
        case("other.image.formats.null_context", |w| {
            let mut count = 0;
            let (kind, flags) = (CL_MEM_OBJECT_IMAGE2D, CL_MEM_READ_WRITE);
            status!(w, clGetSupportedImageFormats(NULL, flags, kind, 0, null_mut(), &raw mut count))
        }),
        case("other.image.null_format", |w| {
            create!(w, clCreateImage2D(w.context()?, CL_MEM_READ_WRITE, null(), 8, 8, 0, NULL))
        }),
        case("other.image.null_context", |w| {
            let format = FORMAT;
            create!(w, clCreateImage2D(NULL, CL_MEM_READ_WRITE, &raw const format, 8, 8, 0, NULL))
        }),
        case("other.image.sampler", |w| {
            create!(w, clCreateSampler(w.context()?, CL_FALSE, CL_ADDRESS_NONE, CL_FILTER_NEAREST))
        }),
        case("other.image.sampler.release_null", |w| status!(w, clReleaseSampler(NULL))),
    ]
}

fn shared_memory() -> Vec<Case> {
    vec![
        case("other.svm.empty", |w| {
            let place = call!(w, clSVMAlloc(w.context()?, CL_MEM_READ_WRITE, 0, 0));
            Ok(Answer::object(place, CL_SUCCESS))
        }),
        case("other.svm.null_context", |w| {
            let place = call!(w, clSVMAlloc(NULL, CL_MEM_READ_WRITE, 64, 0));
            Ok(Answer::object(place, CL_SUCCESS))
        }),
        case("other.pipe.empty", |w| create!(w, clCreatePipe(w.context()?, CL_MEM_READ_WRITE, 0, 0, null()))),
    ]
}
