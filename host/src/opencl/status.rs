//! What an OpenCL status means for whoever uses the accelerator: the one table of all codes.

use super::OpenClError;
use opencl3::error_codes::*;

/// Codes of OpenCL 1.0 to 3.0, of its loader, and of the dynamic loading of the library, each with what to do.
const HINTS: &[(i32, &str)] = &[
    (
        CL_DEVICE_NOT_FOUND,
        "the platform has no device: check that the card is seated and its driver is loaded",
    ),
    (
        CL_DEVICE_NOT_AVAILABLE,
        "the device is lost or another process holds the device: end that process, reset the device (for a card, xbutil reset), or choose another with --device",
    ),
    (CL_COMPILER_NOT_AVAILABLE, NOT_ASKED),
    (
        CL_MEM_OBJECT_ALLOCATION_FAILURE,
        "the memory bank is full: use fewer slots or shorter sequences, or end other users of the device",
    ),
    (
        CL_OUT_OF_RESOURCES,
        "the device ran out of resources or failed: reset it (for a card, xbutil reset) and try again",
    ),
    (CL_OUT_OF_HOST_MEMORY, "this computer is out of memory: end other programs"),
    (CL_PROFILING_INFO_NOT_AVAILABLE, "the command has no times yet, or the queue does not profile"),
    (CL_MEM_COPY_OVERLAP, INTERNAL),
    (CL_IMAGE_FORMAT_MISMATCH, NOT_ASKED),
    (CL_IMAGE_FORMAT_NOT_SUPPORTED, NOT_ASKED),
    (CL_BUILD_PROGRAM_FAILURE, "the image does not load: make it again for this device"),
    (CL_MAP_FAILURE, "the runtime cannot map device memory: check the locked-memory limit (ulimit -l)"),
    (CL_MISALIGNED_SUB_BUFFER_OFFSET, INTERNAL),
    (CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, "a command before this one failed"),
    (CL_COMPILE_PROGRAM_FAILURE, NOT_ASKED),
    (CL_LINKER_NOT_AVAILABLE, NOT_ASKED),
    (CL_LINK_PROGRAM_FAILURE, NOT_ASKED),
    (CL_DEVICE_PARTITION_FAILED, NOT_ASKED),
    (CL_KERNEL_ARG_INFO_NOT_AVAILABLE, NOT_ASKED),
    (CL_INVALID_VALUE, INTERNAL),
    (CL_INVALID_DEVICE_TYPE, INTERNAL),
    (CL_INVALID_PLATFORM, INTERNAL),
    (CL_INVALID_DEVICE, "the device is gone, or the image was made for another one"),
    (CL_INVALID_CONTEXT, INTERNAL),
    (CL_INVALID_QUEUE_PROPERTIES, "the device has no out-of-order queue with profiling: update its runtime"),
    (CL_INVALID_COMMAND_QUEUE, INTERNAL),
    (CL_INVALID_HOST_PTR, INTERNAL),
    (CL_INVALID_MEM_OBJECT, INTERNAL),
    (CL_INVALID_IMAGE_FORMAT_DESCRIPTOR, NOT_ASKED),
    (CL_INVALID_IMAGE_SIZE, NOT_ASKED),
    (CL_INVALID_SAMPLER, NOT_ASKED),
    (
        CL_INVALID_BINARY,
        "the image is not for this device: choose another image (--xclbin) or another device (--device)",
    ),
    (CL_INVALID_BUILD_OPTIONS, INTERNAL),
    (CL_INVALID_PROGRAM, INTERNAL),
    (CL_INVALID_PROGRAM_EXECUTABLE, "the image is not loaded on this device"),
    (CL_INVALID_KERNEL_NAME, "the image holds no kernel of that name: it is no fastcar image"),
    (CL_INVALID_KERNEL_DEFINITION, "the image's kernel differs from its description: make the image again"),
    (CL_INVALID_KERNEL, INTERNAL),
    (CL_INVALID_ARG_INDEX, "the image's kernel has other arguments: make the image again with this version"),
    (CL_INVALID_ARG_VALUE, INTERNAL),
    (CL_INVALID_ARG_SIZE, "the image's kernel has other arguments: make the image again with this version"),
    (CL_INVALID_KERNEL_ARGS, INTERNAL),
    (CL_INVALID_WORK_DIMENSION, INTERNAL),
    (CL_INVALID_WORK_GROUP_SIZE, INTERNAL),
    (CL_INVALID_WORK_ITEM_SIZE, INTERNAL),
    (CL_INVALID_GLOBAL_OFFSET, INTERNAL),
    (CL_INVALID_EVENT_WAIT_LIST, INTERNAL),
    (CL_INVALID_EVENT, INTERNAL),
    (CL_INVALID_OPERATION, "the device does not do this: update its runtime"),
    (CL_INVALID_GL_OBJECT, NOT_ASKED),
    (
        CL_INVALID_BUFFER_SIZE,
        "the device has no memory object of that size: use fewer slots or shorter sequences",
    ),
    (CL_INVALID_MIP_LEVEL, NOT_ASKED),
    (CL_INVALID_GLOBAL_WORK_SIZE, INTERNAL),
    (CL_INVALID_PROPERTY, INTERNAL),
    (CL_INVALID_IMAGE_DESCRIPTOR, NOT_ASKED),
    (CL_INVALID_COMPILER_OPTIONS, NOT_ASKED),
    (CL_INVALID_LINKER_OPTIONS, NOT_ASKED),
    (CL_INVALID_DEVICE_PARTITION_COUNT, NOT_ASKED),
    (CL_INVALID_PIPE_SIZE, NOT_ASKED),
    (CL_INVALID_DEVICE_QUEUE, NOT_ASKED),
    (CL_INVALID_SPEC_ID, NOT_ASKED),
    (CL_MAX_SIZE_RESTRICTION_EXCEEDED, NOT_ASKED),
    (CL_INVALID_GL_SHAREGROUP_REFERENCE_KHR, NOT_ASKED),
    (
        CL_PLATFORM_NOT_FOUND_KHR,
        "the OpenCL loader knows no platform: install the device's runtime (for a card, XRT)",
    ),
    (
        DLOPEN_RUNTIME_LOAD_FAILED,
        "no OpenCL library: install an OpenCL loader (ocl-icd-libopencl1) or name a library by OPENCL_DYLIB_PATH",
    ),
    (
        DLOPEN_FUNCTION_NOT_AVAILABLE,
        "the library is no OpenCL library, or lacks this call: check OPENCL_DYLIB_PATH",
    ),
];

/// Statuses that only a mistake of this program or of the runtime can cause.
const INTERNAL: &str = "this is a defect of fastcar or of the device's runtime: please report it";
/// Statuses of calls that this program never makes.
const NOT_ASKED: &str = "fastcar never asks for this: the device's runtime is at fault";
const UNKNOWN: &str =
    "the code is not of OpenCL's specification: see the documentation of the device's runtime";

/// A failed call as an error.
pub(super) fn failure(call: &'static str, code: i32, context: impl Into<String>) -> OpenClError {
    // XRT's answer where the driver says that the card is busy.
    if (call, code) == ("clCreateProgramWithBinary", CL_INVALID_PROGRAM) {
        return OpenClError::InUse { what: context.into() };
    }
    let hint = HINTS.iter().find(|h| h.0 == code).map_or(UNKNOWN, |h| h.1);
    OpenClError::Call { call, code, name: error_text(code), hint, context: context.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_specification_has_one_row() {
        // -1 to -19 and -30 to -72 without the gap of -20 to -29 are the specification's errors.
        for code in (1..=19).chain(30..=72).map(|c: i32| -c) {
            let rows = HINTS.iter().filter(|h| h.0 == code).count();
            assert_eq!((code, rows), (code, 1), "{}", error_text(code));
        }
        for (code, hint) in HINTS {
            assert!(error_text(*code) != "UNKNOWN_ERROR" && !hint.is_empty(), "{code}");
        }
    }

    #[test]
    fn a_failure_names_call_code_place_and_way_out() {
        let text = failure("clCreateBuffer", -4, "channel 3 on bank 3").to_string();
        let expected = "clCreateBuffer answered CL_MEM_OBJECT_ALLOCATION_FAILURE (-4) for channel 3 on bank 3: \
                        the memory bank is full: use fewer slots or shorter sequences, or end other users of the device";
        assert_eq!(text, expected);
        assert!(failure("clFlush", -12345, "x").to_string().contains("UNKNOWN_ERROR (-12345)"));
        assert!(matches!(failure("clCreateProgramWithBinary", -44, "x"), OpenClError::InUse { .. }));
        assert!(matches!(failure("clCreateKernel", -44, "x"), OpenClError::Call { .. }));
    }
}
