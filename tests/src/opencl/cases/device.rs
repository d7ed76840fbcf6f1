//! Devices.

use super::{Case, NULL, case, garbage};
use crate::opencl::api::{Show, info, status};
use opencl_sys::*;
use std::ptr::null_mut;

/// Properties of a device and what of them is compared: sizes, where the value is the device's own.
const PROPERTIES: &[(&str, cl_device_info, Show)] = &[
    ("type", CL_DEVICE_TYPE, Show::Number),
    ("vendor_id", CL_DEVICE_VENDOR_ID, Show::Size),
    ("max_compute_units", CL_DEVICE_MAX_COMPUTE_UNITS, Show::Size),
    ("max_work_item_dimensions", CL_DEVICE_MAX_WORK_ITEM_DIMENSIONS, Show::Number),
    ("max_work_group_size", CL_DEVICE_MAX_WORK_GROUP_SIZE, Show::Size),
    ("max_work_item_sizes", CL_DEVICE_MAX_WORK_ITEM_SIZES, Show::Size),
    ("preferred_vector_width_int", CL_DEVICE_PREFERRED_VECTOR_WIDTH_INT, Show::Size),
    ("native_vector_width_int", CL_DEVICE_NATIVE_VECTOR_WIDTH_INT, Show::Size),
    ("max_clock_frequency", CL_DEVICE_MAX_CLOCK_FREQUENCY, Show::Size),
    ("address_bits", CL_DEVICE_ADDRESS_BITS, Show::Number),
    ("max_mem_alloc_size", CL_DEVICE_MAX_MEM_ALLOC_SIZE, Show::Size),
    ("image_support", CL_DEVICE_IMAGE_SUPPORT, Show::Size),
    ("image2d_max_width", CL_DEVICE_IMAGE2D_MAX_WIDTH, Show::Size),
    ("max_parameter_size", CL_DEVICE_MAX_PARAMETER_SIZE, Show::Size),
    ("max_samplers", CL_DEVICE_MAX_SAMPLERS, Show::Size),
    ("mem_base_addr_align", CL_DEVICE_MEM_BASE_ADDR_ALIGN, Show::Size),
    ("min_data_type_align_size", CL_DEVICE_MIN_DATA_TYPE_ALIGN_SIZE, Show::Size),
    ("single_fp_config", CL_DEVICE_SINGLE_FP_CONFIG, Show::Size),
    ("global_mem_cache_type", CL_DEVICE_GLOBAL_MEM_CACHE_TYPE, Show::Size),
    ("global_mem_cacheline_size", CL_DEVICE_GLOBAL_MEM_CACHELINE_SIZE, Show::Size),
    ("global_mem_cache_size", CL_DEVICE_GLOBAL_MEM_CACHE_SIZE, Show::Size),
    ("global_mem_size", CL_DEVICE_GLOBAL_MEM_SIZE, Show::Size),
    ("max_constant_buffer_size", CL_DEVICE_MAX_CONSTANT_BUFFER_SIZE, Show::Size),
    ("max_constant_args", CL_DEVICE_MAX_CONSTANT_ARGS, Show::Size),
    ("local_mem_type", CL_DEVICE_LOCAL_MEM_TYPE, Show::Size),
    ("local_mem_size", CL_DEVICE_LOCAL_MEM_SIZE, Show::Size),
    ("error_correction_support", CL_DEVICE_ERROR_CORRECTION_SUPPORT, Show::Size),
    ("host_unified_memory", CL_DEVICE_HOST_UNIFIED_MEMORY, Show::Size),
    ("profiling_timer_resolution", CL_DEVICE_PROFILING_TIMER_RESOLUTION, Show::Size),
    ("endian_little", CL_DEVICE_ENDIAN_LITTLE, Show::Number),
    ("available", CL_DEVICE_AVAILABLE, Show::Number),
    ("compiler_available", CL_DEVICE_COMPILER_AVAILABLE, Show::Number),
    ("linker_available", CL_DEVICE_LINKER_AVAILABLE, Show::Number),
    ("execution_capabilities", CL_DEVICE_EXECUTION_CAPABILITIES, Show::Number),
    ("queue_properties", CL_DEVICE_QUEUE_PROPERTIES, Show::Number),
    ("built_in_kernels", CL_DEVICE_BUILT_IN_KERNELS, Show::Text),
    ("platform", CL_DEVICE_PLATFORM, Show::Size),
    ("name", CL_DEVICE_NAME, Show::Text),
    ("vendor", CL_DEVICE_VENDOR, Show::Exact),
    ("driver_version", CL_DRIVER_VERSION, Show::Text),
    ("profile", CL_DEVICE_PROFILE, Show::Exact),
    ("version", CL_DEVICE_VERSION, Show::Text),
    ("opencl_c_version", CL_DEVICE_OPENCL_C_VERSION, Show::Text),
    ("extensions", CL_DEVICE_EXTENSIONS, Show::Text),
    ("printf_buffer_size", CL_DEVICE_PRINTF_BUFFER_SIZE, Show::Size),
    ("preferred_interop_user_sync", CL_DEVICE_PREFERRED_INTEROP_USER_SYNC, Show::Size),
    ("parent_device", CL_DEVICE_PARENT_DEVICE, Show::Size),
    ("partition_max_sub_devices", CL_DEVICE_PARTITION_MAX_SUB_DEVICES, Show::Size),
    ("partition_properties", CL_DEVICE_PARTITION_PROPERTIES, Show::Nothing),
    ("reference_count", CL_DEVICE_REFERENCE_COUNT, Show::Size),
    ("svm_capabilities", CL_DEVICE_SVM_CAPABILITIES, Show::Nothing),
    ("unknown", 0x9999, Show::Nothing),
];

const TYPES: [(&str, cl_device_type); 7] = [
    ("all", CL_DEVICE_TYPE_ALL),
    ("accelerator", CL_DEVICE_TYPE_ACCELERATOR),
    ("default", CL_DEVICE_TYPE_DEFAULT),
    ("cpu", CL_DEVICE_TYPE_CPU),
    ("gpu", CL_DEVICE_TYPE_GPU),
    ("custom", CL_DEVICE_TYPE_CUSTOM),
    ("none", 0),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = TYPES
        .into_iter()
        .map(|(name, kind)| {
            case(format!("device.ids.{name}"), move |w| {
                let (mut device, mut count) = (NULL, 0);
                status!(w, clGetDeviceIDs(w.platform(), kind, 1, &raw mut device, &raw mut count))
            })
        })
        .collect();
    cases.extend(PROPERTIES.iter().map(|&(name, param, show)| {
        case(format!("device.info.{name}"), move |w| info!(w, show, clGetDeviceInfo(w.device()?, param)))
    }));
    cases.extend(others());
    cases
}

fn others() -> Vec<Case> {
    vec![
        case("device.ids.count", |w| {
            let mut count = 0;
            status!(w, clGetDeviceIDs(w.platform(), CL_DEVICE_TYPE_ALL, 0, null_mut(), &raw mut count))
        }),
        case("device.ids.nothing_asked", |w| {
            status!(w, clGetDeviceIDs(w.platform(), CL_DEVICE_TYPE_ALL, 0, null_mut(), null_mut()))
        }),
        case("device.ids.no_room", |w| {
            let mut device = NULL;
            status!(w, clGetDeviceIDs(w.platform(), CL_DEVICE_TYPE_ALL, 0, &raw mut device, null_mut()))
        }),
        case("device.ids.null_platform", |w| {
            let mut device = NULL;
            status!(w, clGetDeviceIDs(NULL, CL_DEVICE_TYPE_ALL, 1, &raw mut device, null_mut()))
        }),
        case("device.ids.unknown_type", |w| {
            let mut device = NULL;
            status!(w, clGetDeviceIDs(w.platform(), 1 << 20, 1, &raw mut device, null_mut()))
        }),
        case("device.info.null_device", |w| info!(w, Show::Text, clGetDeviceInfo(NULL, CL_DEVICE_NAME))),
        case("device.info.garbage_device", |w| {
            info!(w, Show::Text, clGetDeviceInfo(garbage(), CL_DEVICE_NAME))
        }),
        case("device.info.too_small", |w| {
            let mut byte = 0_u8;
            let value = (&raw mut byte).cast();
            status!(w, clGetDeviceInfo(w.device()?, CL_DEVICE_TYPE, 1, value, null_mut()))
        }),
        case("device.info.nothing_asked", |w| {
            status!(w, clGetDeviceInfo(w.device()?, CL_DEVICE_TYPE, 0, NULL, null_mut()))
        }),
        case("device.retain", |w| status!(w, clRetainDevice(w.device()?))),
        case("device.retain.null", |w| status!(w, clRetainDevice(NULL))),
        case("device.release", |w| status!(w, clReleaseDevice(w.device()?))),
        case("device.release.null", |w| status!(w, clReleaseDevice(NULL))),
        case("device.sub_devices", |w| {
            let properties = [CL_DEVICE_PARTITION_EQUALLY, 1, 0];
            let mut count = 0;
            let (from, device) = (properties.as_ptr(), w.device()?);
            status!(w, clCreateSubDevices(device, from, 0, null_mut(), &raw mut count))
        }),
    ]
}
