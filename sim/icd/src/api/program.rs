//! Programs.

use super::handle;
use super::host::Raw;
use super::info::{self, Place};
use super::platform;
use super::table::BuildNotify;
use crate::context::Context;
use crate::device::Device;
use crate::program::Program;
use crate::refusal::{Answer, Refusal};
use opencl_sys as cl;
use opencl_sys::{cl_context, cl_device_id, cl_int, cl_program, cl_uint};
use std::ffi::{c_char, c_uchar, c_void};
use std::sync::Arc;

pub(super) unsafe fn create(
    context: cl_context,
    count: cl_uint,
    devices: *const cl_device_id,
    lengths: *const usize,
    binaries: *mut *const c_uchar,
    status: *mut cl_int,
) -> Answer<cl_program> {
    let object = handle::get::<Context>(context)?;
    // A list of devices, and a binary with a length for each.
    if count == 0 || devices.is_null() || lengths.is_null() || binaries.is_null() {
        return Err(Refusal::value("devices, and a binary with its length for each, are needed"));
    }
    // SAFETY: what the specification asks of the caller: a handle, a length and a pointer for each device.
    let (devices, images) =
        unsafe { (platform::devices(devices, count)?, images(count as usize, lengths, binaries)) };
    if let Some(stranger) = devices.iter().find(|d| !object.has(d)) {
        let text = format!("device {} does not belong to the context", stranger.index);
        return Err(Refusal::new(cl::CL_INVALID_DEVICE, text));
    }
    let loaded = images.and_then(|images| {
        if images.iter().any(|image| *image != images[0]) {
            let text = "the devices of one program are given different images: make a program for each";
            return Err(Refusal::new(cl::CL_INVALID_BINARY, text));
        }
        Program::load(object, devices, images[0])
    });
    if !status.is_null() {
        let found = loaded.as_ref().err().map_or(cl::CL_SUCCESS, |refusal| refusal.status);
        for i in 0..count as usize {
            // SAFETY: the caller gives room for a status for each device.
            unsafe { status.add(i).write(found) };
        }
    }
    Ok(handle::create(Arc::new(loaded?), &[context]))
}

/// The binaries; none of them is null or empty.
unsafe fn images<'a>(
    count: usize,
    lengths: *const usize,
    binaries: *mut *const c_uchar,
) -> Answer<Vec<&'a [u8]>> {
    // SAFETY: what the caller promises.
    let (lengths, binaries) =
        unsafe { (info::list(lengths, count), info::list(binaries.cast_const(), count)) };
    let pairs = lengths.iter().zip(binaries);
    pairs
        .map(|(&length, &binary)| {
            // Nothing in memory is longer than a half of the address space.
            if length == 0 || length > isize::MAX as usize || binary.is_null() {
                return Err(Refusal::value(format!("a binary of {length} bytes at {binary:p}")));
            }
            // SAFETY: the caller gives as many bytes at each pointer as it says.
            Ok(unsafe { info::list(binary, length) })
        })
        .collect()
}

pub(super) unsafe fn retain(program: cl_program) -> Answer<()> {
    handle::retain::<Program>(program)
}

pub(super) unsafe fn release(program: cl_program) -> Answer<()> {
    handle::release::<Program>(program)
}

/// The device is one of the program's.
fn check_device(program: &Program, device: cl_device_id) -> Answer<()> {
    let device = handle::get::<Device>(device)?;
    if program.devices.iter().any(|d| Arc::ptr_eq(d, &device)) {
        return Ok(());
    }
    let text = format!("the program is not loaded on device {}", device.index);
    Err(Refusal::new(cl::CL_INVALID_DEVICE, text))
}

pub(super) unsafe fn build(
    program: cl_program,
    count: cl_uint,
    devices: *const cl_device_id,
    _options: *const c_char,
    notify: BuildNotify,
    user_data: *mut c_void,
) -> Answer<()> {
    let object = handle::get::<Program>(program)?;
    // A number of devices goes with a list, and data with a function.
    if (count == 0) != devices.is_null() || notify.is_none() && !user_data.is_null() {
        return Err(Refusal::value(format!("{count} devices at {devices:p}, data {user_data:p}")));
    }
    // SAFETY: what the specification asks of the caller.
    let devices = unsafe { info::list(devices, count as usize) };
    devices.iter().try_for_each(|d| check_device(&object, *d))?;
    // An image is built already.
    if let Some(function) = notify {
        let data = Raw(user_data);
        // SAFETY: the caller's function, with its own data.
        unsafe { function(program, data.0) };
    }
    Ok(())
}

pub(super) unsafe fn info(
    handle: cl_program,
    query: cl_uint,
    size: usize,
    value: *mut c_void,
    size_ret: *mut usize,
) -> Answer<()> {
    let program = handle::get::<Program>(handle)?;
    let place = Place { size, value, size_ret };
    let devices = program.devices.len();
    let bytes = match query {
        cl::CL_PROGRAM_REFERENCE_COUNT => info::u32(handle::references(handle)),
        cl::CL_PROGRAM_CONTEXT => info::handle(handle::parent::<Context>(handle)),
        cl::CL_PROGRAM_NUM_DEVICES => info::u32(devices as u32),
        cl::CL_PROGRAM_DEVICES => {
            let devices = program.devices.iter().map(|d| platform::device_handle(d));
            info::handles(&devices.collect::<Answer<Vec<_>>>()?)
        }
        // There is none.
        cl::CL_PROGRAM_SOURCE => info::text(""),
        cl::CL_PROGRAM_BINARY_SIZES => info::sizes(&vec![program.image.bytes.len(); devices]),
        // SAFETY: what the specification asks of the caller.
        cl::CL_PROGRAM_BINARIES => return unsafe { give_binaries(&program, place) },
        cl::CL_PROGRAM_NUM_KERNELS => info::size(1),
        cl::CL_PROGRAM_KERNEL_NAMES => info::text(&program.image.info.kernel.name),
        _ => return Err(info::unknown(query)),
    };
    // SAFETY: as above.
    unsafe { place.give(&bytes) }
}

/// The value holds a pointer for each device, to where its binary goes; a null pointer asks for none.
unsafe fn give_binaries(program: &Program, place: Place) -> Answer<()> {
    let devices = program.devices.len();
    let needed = devices * size_of::<*mut c_uchar>();
    if !place.value.is_null() {
        if place.size < needed {
            let found = place.size;
            return Err(Refusal::value(format!("{needed} bytes of pointers are needed, {found} are given")));
        }
        // SAFETY: the caller gives that many pointers.
        for &target in unsafe { info::list(place.value.cast::<*mut c_uchar>(), devices) } {
            if !target.is_null() {
                // SAFETY: each has room for the binary, whose size the caller has asked for.
                unsafe { Raw(target.cast()).write(&program.image.bytes) };
            }
        }
    }
    // SAFETY: null or writable.
    unsafe { info::set(place.size_ret, needed) };
    Ok(())
}

pub(super) unsafe fn build_info(
    handle: cl_program,
    device: cl_device_id,
    query: cl_uint,
    size: usize,
    value: *mut c_void,
    size_ret: *mut usize,
) -> Answer<()> {
    let program = handle::get::<Program>(handle)?;
    check_device(&program, device)?;
    let bytes = match query {
        cl::CL_PROGRAM_BUILD_STATUS => info::i32(cl::CL_BUILD_SUCCESS),
        cl::CL_PROGRAM_BUILD_OPTIONS => info::text(""),
        cl::CL_PROGRAM_BUILD_LOG => info::text(&program.log()),
        cl::CL_PROGRAM_BINARY_TYPE => info::u32(cl::CL_PROGRAM_BINARY_TYPE_EXECUTABLE),
        _ => return Err(info::unknown(query)),
    };
    // SAFETY: what the specification asks of the caller.
    unsafe { Place { size, value, size_ret }.give(&bytes) }
}
