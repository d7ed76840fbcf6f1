//! Platform and devices.

use super::handle::{self, PlatformObject};
use super::host::Raw;
use super::info::{self, Place};
use crate::context::QUEUE_PROPERTIES;
use crate::device::Device;
use crate::memory::ALIGNMENT;
use crate::platform::Platform;
use crate::refusal::{Answer, Refusal};
use opencl_sys as cl;
use opencl_sys::{cl_bitfield, cl_device_id, cl_platform_id, cl_uint};
use std::ffi::c_void;
use std::sync::{Arc, OnceLock};

/// What a loader asks a platform to have.
const EXTENSIONS: &str = "cl_khr_icd";
/// Suffix of functions of this platform's own, of which there are none.
const SUFFIX: &str = "FASTCAR";

/// The handles that are never released.
struct Lasting {
    platform: Raw,
    devices: Vec<Raw>,
}

fn lasting() -> Answer<(&'static Platform, &'static Lasting)> {
    static HANDLES: OnceLock<Lasting> = OnceLock::new();
    let none = |e: &crate::settings::SettingsError| {
        // The extension for loaders has a status for "no platforms"; the reason has been printed.
        Refusal::new(cl::CL_PLATFORM_NOT_FOUND_KHR, e.to_string())
    };
    let platform = Platform::get().map_err(none)?;
    let handles = HANDLES.get_or_init(|| Lasting {
        platform: Raw(handle::create(Arc::new(PlatformObject), &[])),
        devices: platform.devices.iter().map(|d| Raw(handle::create(d.clone(), &[]))).collect(),
    });
    Ok((platform, handles))
}

/// The platform, if this is its handle.
pub(super) fn platform(handle: cl_platform_id) -> Answer<&'static Platform> {
    let (platform, _) = lasting()?;
    handle::get::<PlatformObject>(handle).map(|_| platform)
}

/// The platform, whose handle a device's has come from.
pub(super) fn the_platform() -> Answer<&'static Platform> {
    lasting().map(|l| l.0)
}

/// The handle of a device.
pub(super) fn device_handle(device: &Device) -> Answer<cl_device_id> {
    Ok(lasting()?.1.devices[device.index].0)
}

/// The devices of a list of handles.
///
/// # Safety
/// `start` points to `count` handles, or is null.
pub(super) unsafe fn devices(start: *const cl_device_id, count: cl_uint) -> Answer<Vec<Arc<Device>>> {
    // SAFETY: as the caller promises.
    let list = unsafe { info::list(start, count as usize) };
    list.iter().map(|d| handle::get::<Device>(*d)).collect()
}

/// Devices of a type.
pub(super) fn devices_of(kind: cl_bitfield) -> Answer<Vec<Arc<Device>>> {
    const KNOWN: cl_bitfield = cl::CL_DEVICE_TYPE_DEFAULT
        | cl::CL_DEVICE_TYPE_CPU
        | cl::CL_DEVICE_TYPE_GPU
        | cl::CL_DEVICE_TYPE_ACCELERATOR
        | cl::CL_DEVICE_TYPE_CUSTOM;
    // The type is a bit field of known bits, or CL_DEVICE_TYPE_ALL.
    if kind == 0 || kind != cl::CL_DEVICE_TYPE_ALL && kind & !KNOWN != 0 {
        return Err(Refusal::new(cl::CL_INVALID_DEVICE_TYPE, format!("device type {kind:#x} is not known")));
    }
    if kind & (cl::CL_DEVICE_TYPE_DEFAULT | cl::CL_DEVICE_TYPE_ACCELERATOR) == 0 {
        let text = format!("device type {kind:#x}: all devices are accelerators");
        return Err(Refusal::new(cl::CL_DEVICE_NOT_FOUND, text));
    }
    Ok(lasting()?.0.devices.clone())
}

/// As many handles as there is room for, and how many there are.
unsafe fn give_handles(
    found: &[*mut c_void],
    room: cl_uint,
    out: *mut *mut c_void,
    count: *mut cl_uint,
) -> Answer<()> {
    // A list needs room for at least one; a call that asks neither for a list nor for a number asks nothing.
    if room == 0 && !out.is_null() || out.is_null() && count.is_null() {
        return Err(Refusal::value("neither room for a list nor a place for its length is given"));
    }
    if !out.is_null() {
        for (i, handle) in found.iter().take(room as usize).enumerate() {
            // SAFETY: the caller gives room for `room` handles.
            unsafe { out.add(i).write(*handle) };
        }
    }
    // SAFETY: null or writable.
    unsafe { info::set(count, found.len() as cl_uint) };
    Ok(())
}

pub(super) unsafe fn ids(room: cl_uint, out: *mut cl_platform_id, count: *mut cl_uint) -> Answer<()> {
    let (_, handles) = lasting()?;
    // SAFETY: what the specification asks of the caller.
    unsafe { give_handles(&[handles.platform.0], room, out, count) }
}

pub(super) unsafe fn device_ids(
    handle: cl_platform_id,
    kind: cl_bitfield,
    room: cl_uint,
    out: *mut cl_device_id,
    count: *mut cl_uint,
) -> Answer<()> {
    platform(handle)?;
    let found: Vec<_> = devices_of(kind)?.iter().map(|d| device_handle(d)).collect::<Answer<_>>()?;
    // SAFETY: what the specification asks of the caller.
    unsafe { give_handles(&found, room, out, count) }
}

pub(super) unsafe fn retain_device(device: cl_device_id) -> Answer<()> {
    // The devices of a platform are no sub-devices, so counting their references has no effect.
    handle::get::<Device>(device).map(|_| ())
}

pub(super) unsafe fn unload_compiler(handle: cl_platform_id) -> Answer<()> {
    platform(handle).map(|_| ())
}

pub(super) unsafe fn info(
    handle: cl_platform_id,
    query: cl_uint,
    size: usize,
    value: *mut c_void,
    size_ret: *mut usize,
) -> Answer<()> {
    let platform = platform(handle)?;
    let text = match query {
        cl::CL_PLATFORM_NAME => platform.name(),
        cl::CL_PLATFORM_VENDOR => platform.vendor(),
        cl::CL_PLATFORM_VERSION => platform.version(),
        cl::CL_PLATFORM_PROFILE => platform.profile(),
        cl::CL_PLATFORM_EXTENSIONS => EXTENSIONS,
        cl::CL_PLATFORM_ICD_SUFFIX_KHR => SUFFIX,
        _ => return Err(info::unknown(query)),
    };
    // SAFETY: what the specification asks of the caller.
    unsafe { Place { size, value, size_ret }.give(&info::text(text)) }
}

pub(super) unsafe fn device_info(
    handle: cl_device_id,
    query: cl_uint,
    size: usize,
    value: *mut c_void,
    size_ret: *mut usize,
) -> Answer<()> {
    let device = handle::get::<Device>(handle)?;
    let (platform, handles) = lasting()?;
    let bytes = match query {
        cl::CL_DEVICE_PLATFORM => Some(info::handle(handles.platform.0)),
        cl::CL_DEVICE_PARENT_DEVICE => Some(info::handle(std::ptr::null_mut())),
        _ => texts(&device, platform, query)
            .map(|t| info::text(&t))
            .or_else(|| memory_figures(&device, query))
            .or_else(|| work_figures(&device, query))
            .or_else(|| features(&device, query)),
    };
    let bytes = bytes.ok_or_else(|| info::unknown(query))?;
    // SAFETY: what the specification asks of the caller.
    unsafe { Place { size, value, size_ret }.give(&bytes) }
}

fn texts(device: &Device, platform: &Platform, query: cl_uint) -> Option<String> {
    Some(match query {
        cl::CL_DEVICE_NAME => device.name(),
        cl::CL_DEVICE_VENDOR => platform.vendor().to_owned(),
        cl::CL_DRIVER_VERSION => env!("CARGO_PKG_VERSION").to_owned(),
        cl::CL_DEVICE_VERSION => platform.version().to_owned(),
        cl::CL_DEVICE_PROFILE => platform.profile().to_owned(),
        cl::CL_DEVICE_OPENCL_C_VERSION => "OpenCL C 1.0".to_owned(),
        cl::CL_DEVICE_EXTENSIONS => EXTENSIONS.to_owned(),
        cl::CL_DEVICE_BUILT_IN_KERNELS => String::new(),
        _ => return None,
    })
}

fn memory_figures(device: &Device, query: cl_uint) -> Option<Vec<u8>> {
    let banks = device.banks();
    let free_kib = (device.free_bytes() / 1024) as usize;
    Some(match query {
        cl::CL_DEVICE_GLOBAL_MEM_SIZE => info::u64(banks.capacities().sum()),
        cl::CL_DEVICE_MAX_MEM_ALLOC_SIZE => info::u64(banks.capacities().max().unwrap_or(0)),
        cl::CL_DEVICE_GLOBAL_FREE_MEMORY_AMD => info::sizes(&[free_kib]),
        // In bits.
        cl::CL_DEVICE_MEM_BASE_ADDR_ALIGN => info::u32(ALIGNMENT as u32 * 8),
        cl::CL_DEVICE_MIN_DATA_TYPE_ALIGN_SIZE => info::u32(ALIGNMENT as u32),
        cl::CL_DEVICE_GLOBAL_MEM_CACHE_TYPE => info::u32(cl::CL_NONE),
        cl::CL_DEVICE_GLOBAL_MEM_CACHELINE_SIZE => info::u32(0),
        cl::CL_DEVICE_GLOBAL_MEM_CACHE_SIZE => info::u64(0),
        cl::CL_DEVICE_LOCAL_MEM_TYPE => info::u32(cl::CL_LOCAL),
        // What an embedded profile has at least.
        cl::CL_DEVICE_LOCAL_MEM_SIZE | cl::CL_DEVICE_MAX_CONSTANT_BUFFER_SIZE => info::u64(1024),
        cl::CL_DEVICE_MAX_CONSTANT_ARGS => info::u32(4),
        cl::CL_DEVICE_PRINTF_BUFFER_SIZE => info::size(1024),
        cl::CL_DEVICE_ERROR_CORRECTION_SUPPORT => info::u32(cl::CL_TRUE),
        cl::CL_DEVICE_HOST_UNIFIED_MEMORY => info::u32(cl::CL_FALSE),
        _ => return None,
    })
}

fn work_figures(device: &Device, query: cl_uint) -> Option<Vec<u8>> {
    let config = device.image().map_or_else(|| device.preset.clone(), |i| i.info.config.clone());
    Some(match query {
        cl::CL_DEVICE_TYPE => info::u64(cl::CL_DEVICE_TYPE_ACCELERATOR),
        cl::CL_DEVICE_VENDOR_ID => info::u32(0),
        cl::CL_DEVICE_MAX_COMPUTE_UNITS => info::u32(1),
        cl::CL_DEVICE_MAX_WORK_ITEM_DIMENSIONS => info::u32(3),
        cl::CL_DEVICE_MAX_WORK_GROUP_SIZE => info::size(1),
        cl::CL_DEVICE_MAX_WORK_ITEM_SIZES => info::sizes(&[1; 3]),
        cl::CL_DEVICE_PREFERRED_VECTOR_WIDTH_CHAR..=cl::CL_DEVICE_PREFERRED_VECTOR_WIDTH_FLOAT
        | cl::CL_DEVICE_NATIVE_VECTOR_WIDTH_CHAR..=cl::CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT => info::u32(1),
        // 0: the type is not supported.
        cl::CL_DEVICE_PREFERRED_VECTOR_WIDTH_DOUBLE
        | cl::CL_DEVICE_NATIVE_VECTOR_WIDTH_DOUBLE
        | cl::CL_DEVICE_PREFERRED_VECTOR_WIDTH_HALF
        | cl::CL_DEVICE_NATIVE_VECTOR_WIDTH_HALF => info::u32(0),
        cl::CL_DEVICE_MAX_CLOCK_FREQUENCY => info::u32((config.clock().get() / 1_000_000) as u32),
        cl::CL_DEVICE_ADDRESS_BITS => info::u32(64),
        cl::CL_DEVICE_MAX_PARAMETER_SIZE => info::size(1024),
        cl::CL_DEVICE_SINGLE_FP_CONFIG => info::u64(cl::CL_FP_INF_NAN | cl::CL_FP_ROUND_TO_NEAREST),
        cl::CL_DEVICE_DOUBLE_FP_CONFIG | cl::CL_DEVICE_HALF_FP_CONFIG => info::u64(0),
        cl::CL_DEVICE_PROFILING_TIMER_RESOLUTION => info::size(1),
        cl::CL_DEVICE_EXECUTION_CAPABILITIES => info::u64(cl::CL_EXEC_KERNEL),
        cl::CL_DEVICE_QUEUE_PROPERTIES => info::u64(QUEUE_PROPERTIES),
        cl::CL_DEVICE_REFERENCE_COUNT => info::u32(1),
        _ => return None,
    })
}

fn features(device: &Device, query: cl_uint) -> Option<Vec<u8>> {
    Some(match query {
        cl::CL_DEVICE_ENDIAN_LITTLE => info::u32(cl::CL_TRUE),
        cl::CL_DEVICE_AVAILABLE => info::u32(device.is_available().into()),
        cl::CL_DEVICE_COMPILER_AVAILABLE | cl::CL_DEVICE_LINKER_AVAILABLE => info::u32(cl::CL_FALSE),
        cl::CL_DEVICE_PREFERRED_INTEROP_USER_SYNC => info::u32(cl::CL_TRUE),
        cl::CL_DEVICE_IMAGE_SUPPORT => info::u32(cl::CL_FALSE),
        cl::CL_DEVICE_MAX_READ_IMAGE_ARGS
        | cl::CL_DEVICE_MAX_WRITE_IMAGE_ARGS
        | cl::CL_DEVICE_MAX_SAMPLERS => info::u32(0),
        cl::CL_DEVICE_IMAGE2D_MAX_WIDTH
        | cl::CL_DEVICE_IMAGE2D_MAX_HEIGHT
        | cl::CL_DEVICE_IMAGE3D_MAX_WIDTH
        | cl::CL_DEVICE_IMAGE3D_MAX_HEIGHT
        | cl::CL_DEVICE_IMAGE3D_MAX_DEPTH
        | cl::CL_DEVICE_IMAGE_MAX_BUFFER_SIZE
        | cl::CL_DEVICE_IMAGE_MAX_ARRAY_SIZE => info::size(0),
        cl::CL_DEVICE_PARTITION_MAX_SUB_DEVICES => info::u32(0),
        // Lists without entries: this device cannot be partitioned.
        cl::CL_DEVICE_PARTITION_PROPERTIES | cl::CL_DEVICE_PARTITION_TYPE => info::size(0),
        cl::CL_DEVICE_PARTITION_AFFINITY_DOMAIN => info::u64(0),
        _ => return None,
    })
}
