//! Kernels.

use super::handle;
use super::info::{self, Place};
use super::memory::MemObject;
use crate::context::Context;
use crate::device::Device;
use crate::kernel::{Given, Kernel};
use crate::program::Program;
use crate::refusal::{Answer, Refusal};
use opencl_sys as cl;
use opencl_sys::{cl_device_id, cl_kernel, cl_mem, cl_program, cl_uint};
use std::ffi::{c_char, c_void};
use std::sync::Arc;

fn make(program: cl_program, name: &str) -> Answer<cl_kernel> {
    let object = handle::get::<Program>(program)?;
    let kernel = Kernel::new(object, name)?;
    Ok(handle::create(Arc::new(kernel), &[program, handle::parent::<Context>(program)]))
}

pub(super) unsafe fn create(program: cl_program, name: *const c_char) -> Answer<cl_kernel> {
    handle::get::<Program>(program)?;
    // SAFETY: what the specification asks of the caller.
    make(program, unsafe { info::str(name)? })
}

pub(super) unsafe fn create_all(
    program: cl_program,
    room: cl_uint,
    kernels: *mut cl_kernel,
    count: *mut cl_uint,
) -> Answer<()> {
    let object = handle::get::<Program>(program)?;
    if !kernels.is_null() {
        // Room for a list is room for all.
        if room == 0 {
            return Err(Refusal::value("room for 0 kernels; the program has 1"));
        }
        let kernel = make(program, &object.image.info.kernel.name)?;
        // SAFETY: the caller gives room for at least one.
        unsafe { kernels.write(kernel) };
    }
    // SAFETY: null or writable.
    unsafe { info::set(count, 1) };
    Ok(())
}

pub(super) unsafe fn retain(kernel: cl_kernel) -> Answer<()> {
    handle::retain::<Kernel>(kernel)
}

pub(super) unsafe fn release(kernel: cl_kernel) -> Answer<()> {
    handle::release::<Kernel>(kernel)
}

pub(super) unsafe fn set_arg(
    kernel: cl_kernel,
    index: cl_uint,
    size: usize,
    value: *const c_void,
) -> Answer<()> {
    let kernel = handle::get::<Kernel>(kernel)?;
    let expected = match kernel.is_pointer(index)? {
        true => size_of::<cl_mem>(),
        false => kernel.argument_bytes(index)? as usize,
    };
    // The size is that of the argument, or of a handle for a buffer.
    if size != expected {
        let text = format!("argument {index} is given as {size} bytes, it has {expected}");
        return Err(Refusal::new(cl::CL_INVALID_ARG_SIZE, text));
    }
    if value.is_null() {
        let text = format!("argument {index} is given as a null pointer: the kernel needs a value");
        return Err(Refusal::new(cl::CL_INVALID_ARG_VALUE, text));
    }
    if !kernel.is_pointer(index)? {
        // SAFETY: the caller gives `size` bytes.
        return kernel.set(index, Given::Bytes(unsafe { info::list(value.cast(), size) }));
    }
    // SAFETY: as above: a handle.
    let mem = handle::get::<MemObject>(unsafe { value.cast::<cl_mem>().read_unaligned() })?;
    if !Arc::ptr_eq(&mem.context, &kernel.program.context) {
        let text = format!("argument {index}: the buffer belongs to another context");
        return Err(Refusal::new(cl::CL_INVALID_MEM_OBJECT, text));
    }
    kernel.set(index, Given::Buffer(mem.buffer.clone()))
}

pub(super) unsafe fn info(
    handle: cl_kernel,
    query: cl_uint,
    size: usize,
    value: *mut c_void,
    size_ret: *mut usize,
) -> Answer<()> {
    let kernel = handle::get::<Kernel>(handle)?;
    let image = &kernel.program.image.info.kernel;
    let bytes = match query {
        cl::CL_KERNEL_FUNCTION_NAME => info::text(&image.name),
        cl::CL_KERNEL_NUM_ARGS => info::u32(image.arguments.len() as u32),
        cl::CL_KERNEL_REFERENCE_COUNT => info::u32(handle::references(handle)),
        cl::CL_KERNEL_CONTEXT => info::handle(handle::parent::<Context>(handle)),
        cl::CL_KERNEL_PROGRAM => info::handle(handle::parent::<Program>(handle)),
        cl::CL_KERNEL_ATTRIBUTES => info::text(""),
        _ => return Err(info::unknown(query)),
    };
    // SAFETY: what the specification asks of the caller.
    unsafe { Place { size, value, size_ret }.give(&bytes) }
}

pub(super) unsafe fn arg_info(
    kernel: cl_kernel,
    index: cl_uint,
    query: cl_uint,
    size: usize,
    value: *mut c_void,
    size_ret: *mut usize,
) -> Answer<()> {
    let kernel = handle::get::<Kernel>(kernel)?;
    let argument = kernel.argument(index)?;
    let pointer = kernel.is_pointer(index)?;
    let bytes = match query {
        cl::CL_KERNEL_ARG_ADDRESS_QUALIFIER => info::u32(match pointer {
            true => cl::CL_KERNEL_ARG_ADDRESS_GLOBAL,
            false => cl::CL_KERNEL_ARG_ADDRESS_PRIVATE,
        }),
        cl::CL_KERNEL_ARG_ACCESS_QUALIFIER => info::u32(cl::CL_KERNEL_ARG_ACCESS_NONE),
        cl::CL_KERNEL_ARG_TYPE_QUALIFIER => info::u64(cl::CL_KERNEL_ARG_TYPE_NONE.into()),
        cl::CL_KERNEL_ARG_TYPE_NAME => info::text(&argument.ty),
        cl::CL_KERNEL_ARG_NAME => info::text(&argument.name),
        _ => return Err(info::unknown(query)),
    };
    // SAFETY: what the specification asks of the caller.
    unsafe { Place { size, value, size_ret }.give(&bytes) }
}

pub(super) unsafe fn work_group_info(
    kernel: cl_kernel,
    device: cl_device_id,
    query: cl_uint,
    size: usize,
    value: *mut c_void,
    size_ret: *mut usize,
) -> Answer<()> {
    let kernel = handle::get::<Kernel>(kernel)?;
    let devices = &kernel.program.devices;
    // No device may be named where the program has only one.
    let known = match device.is_null() {
        true => devices.len() == 1,
        false => handle::get::<Device>(device).is_ok_and(|d| devices.iter().any(|e| Arc::ptr_eq(e, &d))),
    };
    if !known {
        return Err(Refusal::new(
            cl::CL_INVALID_DEVICE,
            format!("device {device:p} is none of the kernel's"),
        ));
    }
    let bytes = match query {
        cl::CL_KERNEL_WORK_GROUP_SIZE | cl::CL_KERNEL_PREFERRED_WORK_GROUP_SIZE_MULTIPLE => info::size(1),
        cl::CL_KERNEL_COMPILE_WORK_GROUP_SIZE => info::sizes(&[1; 3]),
        cl::CL_KERNEL_LOCAL_MEM_SIZE | cl::CL_KERNEL_PRIVATE_MEM_SIZE => info::u64(0),
        _ => return Err(info::unknown(query)),
    };
    // SAFETY: what the specification asks of the caller.
    unsafe { Place { size, value, size_ret }.give(&bytes) }
}
