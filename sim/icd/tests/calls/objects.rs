//! Platform, devices, contexts, queues, memory, programs, kernels.

use crate::cases;
use crate::common::{CHANNEL, EXTENSION, Extension, TOPOLOGY};
use crate::world::{Made, World, made, query};
use opencl_sys::*;
use std::ffi::c_void;
use std::ptr::{null, null_mut};

/// A context with properties.
fn context(w: &World, properties: &[isize]) -> Made {
    let cl = &w.rig.cl;
    made(cl.clReleaseContext, |code| {
        // SAFETY: the properties end with a 0, and the device is one.
        unsafe {
            (cl.clCreateContext)(
                properties.as_ptr(),
                1,
                &raw const w.rig.device,
                null_mut(),
                null_mut(),
                code,
            )
        }
    })
}

fn queue_of(w: &World, properties: &[u64]) -> Made {
    let cl = &w.rig.cl;
    made(cl.clReleaseCommandQueue, |code| {
        // SAFETY: the properties end with a 0.
        unsafe {
            (cl.clCreateCommandQueueWithProperties)(w.rig.context, w.rig.device, properties.as_ptr(), code)
        }
    })
}

fn buffer(w: &World, flags: u64, size: usize, pointer: *mut c_void) -> Made {
    let cl = &w.rig.cl;
    // SAFETY: the pointer is null or points to as many bytes.
    made(cl.clReleaseMemObject, |code| unsafe {
        (cl.clCreateBuffer)(w.rig.context, flags, size, pointer, code)
    })
}

fn extended(w: &World, flags: u32, param: *mut c_void) -> Made {
    let mut extension = Extension { flags, host_ptr: null_mut(), param };
    buffer(w, CL_MEM_READ_WRITE | EXTENSION, 4096, (&raw mut extension).cast())
}

fn part(w: &World, of: cl_mem, flags: u64, kind: u32, region: Option<(usize, usize)>) -> Made {
    let cl = &w.rig.cl;
    let region = region.map(|(origin, size)| cl_buffer_region { origin, size });
    let info = region.as_ref().map_or(null(), |r| std::ptr::from_ref(r).cast());
    // SAFETY: the region is there or null.
    made(cl.clReleaseMemObject, |code| unsafe { (cl.clCreateSubBuffer)(of, flags, kind, info, code) })
}

/// A program on a device from these bytes; the status for the binary is that of the call.
fn program(w: &World, device: cl_device_id, bytes: &[u8]) -> Made {
    let cl = &w.rig.cl;
    let (length, start, mut status) = (bytes.len(), bytes.as_ptr(), 99);
    let found = made(cl.clReleaseProgram, |code| {
        // SAFETY: one device, one length, one binary.
        unsafe {
            (cl.clCreateProgramWithBinary)(
                w.rig.context,
                1,
                &raw const device,
                &raw const length,
                &raw const start,
                &raw mut status,
                code,
            )
        }
    });
    assert!(status == 99 || status == found.1, "{status}");
    found
}

fn kernel(w: &World, name: *const i8) -> Made {
    let cl = &w.rig.cl;
    // SAFETY: the name is null or ends with a zero byte.
    made(cl.clReleaseKernel, |code| unsafe { (cl.clCreateKernel)(w.rig.program, name, code) })
}

/// Sets an argument of the kernel without arguments.
fn argument<T>(w: &World, index: u32, value: &T) -> cl_int {
    // SAFETY: the value is there.
    unsafe {
        (w.rig.cl.clSetKernelArg)(w.bare_kernel, index, size_of::<T>(), std::ptr::from_ref(value).cast())
    }
}

const PLATFORM: isize = CL_CONTEXT_PLATFORM;
const REGION: u32 = CL_BUFFER_CREATE_TYPE_REGION;
const RW: u64 = CL_MEM_READ_WRITE;

cases! {
    "clGetPlatformIDs: nothing asked" CL_INVALID_VALUE |_, cl| (cl.clGetPlatformIDs)(0, null_mut(), null_mut());
    "clGetPlatformIDs: room for none" CL_INVALID_VALUE |_, cl| (cl.clGetPlatformIDs)(0, &mut null_mut(), null_mut());
    "clGetPlatformIDs: number only" CL_SUCCESS |_, cl| (cl.clGetPlatformIDs)(0, null_mut(), &mut 0);
    "clGetPlatformInfo: null" CL_INVALID_PLATFORM |_, cl| query(64, |s, v, r| (cl.clGetPlatformInfo)(null_mut(), CL_PLATFORM_NAME, s, v, r));
    "clGetPlatformInfo: a device" CL_INVALID_PLATFORM |w, cl| query(64, |s, v, r| (cl.clGetPlatformInfo)(w.rig.device, CL_PLATFORM_NAME, s, v, r));
    "clGetPlatformInfo: name" CL_SUCCESS |w, cl| query(64, |s, v, r| (cl.clGetPlatformInfo)(w.rig.platform, CL_PLATFORM_NAME, s, v, r));
    "clGetPlatformInfo: suffix" CL_SUCCESS |w, cl| query(64, |s, v, r| (cl.clGetPlatformInfo)(w.rig.platform, 0x0920, s, v, r));
    "clGetPlatformInfo: no room" CL_INVALID_VALUE |w, cl| query(1, |s, v, r| (cl.clGetPlatformInfo)(w.rig.platform, CL_PLATFORM_NAME, s, v, r));
    "clGetPlatformInfo: unknown" CL_INVALID_VALUE |w, cl| query(64, |s, v, r| (cl.clGetPlatformInfo)(w.rig.platform, 0x1234, s, v, r));
    "clGetDeviceIDs: null" CL_INVALID_PLATFORM |_, cl| (cl.clGetDeviceIDs)(null_mut(), CL_DEVICE_TYPE_ALL, 0, null_mut(), &mut 0);
    "clGetDeviceIDs: accelerators" CL_SUCCESS |w, cl| (cl.clGetDeviceIDs)(w.rig.platform, CL_DEVICE_TYPE_ACCELERATOR, 0, null_mut(), &mut 0);
    "clGetDeviceIDs: all" CL_SUCCESS |w, cl| (cl.clGetDeviceIDs)(w.rig.platform, CL_DEVICE_TYPE_ALL, 0, null_mut(), &mut 0);
    "clGetDeviceIDs: default" CL_SUCCESS |w, cl| (cl.clGetDeviceIDs)(w.rig.platform, CL_DEVICE_TYPE_DEFAULT, 0, null_mut(), &mut 0);
    "clGetDeviceIDs: gpu" CL_DEVICE_NOT_FOUND |w, cl| (cl.clGetDeviceIDs)(w.rig.platform, CL_DEVICE_TYPE_GPU, 0, null_mut(), &mut 0);
    "clGetDeviceIDs: no type" CL_INVALID_DEVICE_TYPE |w, cl| (cl.clGetDeviceIDs)(w.rig.platform, 0, 0, null_mut(), &mut 0);
    "clGetDeviceIDs: unknown type" CL_INVALID_DEVICE_TYPE |w, cl| (cl.clGetDeviceIDs)(w.rig.platform, 1 << 20, 0, null_mut(), &mut 0);
    "clGetDeviceIDs: nothing asked" CL_INVALID_VALUE |w, cl| (cl.clGetDeviceIDs)(w.rig.platform, CL_DEVICE_TYPE_ALL, 0, null_mut(), null_mut());
    "clGetDeviceInfo: name" CL_SUCCESS |w, cl| query(64, |s, v, r| (cl.clGetDeviceInfo)(w.rig.device, CL_DEVICE_NAME, s, v, r));
    "clGetDeviceInfo: memory" CL_SUCCESS |w, cl| query(8, |s, v, r| (cl.clGetDeviceInfo)(w.rig.device, CL_DEVICE_GLOBAL_MEM_SIZE, s, v, r));
    "clGetDeviceInfo: half the room" CL_INVALID_VALUE |w, cl| query(4, |s, v, r| (cl.clGetDeviceInfo)(w.rig.device, CL_DEVICE_GLOBAL_MEM_SIZE, s, v, r));
    "clGetDeviceInfo: a platform" CL_INVALID_DEVICE |w, cl| query(64, |s, v, r| (cl.clGetDeviceInfo)(w.rig.platform, CL_DEVICE_NAME, s, v, r));
    "clGetDeviceInfo: unknown" CL_INVALID_VALUE |w, cl| query(64, |s, v, r| (cl.clGetDeviceInfo)(w.rig.device, 1, s, v, r));

    "clCreateContext: platform named" CL_SUCCESS |w, _| context(w, &[PLATFORM, w.rig.platform.expose_provenance() as isize, 0]);
    "clCreateContext: platform null" CL_INVALID_PLATFORM |w, _| context(w, &[PLATFORM, 0, 0]);
    "clCreateContext: unknown property" CL_INVALID_PROPERTY |w, _| context(w, &[0x7777, 0, 0]);
    "clCreateContext: property twice" CL_INVALID_PROPERTY |w, _| { let p = w.rig.platform.expose_provenance() as isize; context(w, &[PLATFORM, p, PLATFORM, p, 0]) };
    "clCreateContext: no devices" CL_INVALID_VALUE |_, cl| made(cl.clReleaseContext, |code| (cl.clCreateContext)(null(), 0, null(), null_mut(), null_mut(), code));
    "clCreateContext: bad device" CL_INVALID_DEVICE |_, cl| made(cl.clReleaseContext, |code| (cl.clCreateContext)(null(), 1, &null_mut(), null_mut(), null_mut(), code));
    "clCreateContext: data for nobody" CL_INVALID_VALUE |w, cl| made(cl.clReleaseContext, |code| (cl.clCreateContext)(null(), 1, &raw const w.rig.device, null_mut(), w.host(), code));
    "clCreateContextFromType: accelerators" CL_SUCCESS |_, cl| made(cl.clReleaseContext, |code| (cl.clCreateContextFromType)(null(), CL_DEVICE_TYPE_ACCELERATOR, null_mut(), null_mut(), code));
    "clCreateContextFromType: cpu" CL_DEVICE_NOT_FOUND |_, cl| made(cl.clReleaseContext, |code| (cl.clCreateContextFromType)(null(), CL_DEVICE_TYPE_CPU, null_mut(), null_mut(), code));
    "clRetainContext: null" CL_INVALID_CONTEXT |_, cl| (cl.clRetainContext)(null_mut());
    "clReleaseContext: a queue" CL_INVALID_CONTEXT |w, cl| (cl.clReleaseContext)(w.rig.queue);
    "clGetContextInfo: devices" CL_SUCCESS |w, cl| query(8, |s, v, r| (cl.clGetContextInfo)(w.rig.context, CL_CONTEXT_DEVICES, s, v, r));
    "clGetContextInfo: unknown" CL_INVALID_VALUE |w, cl| query(8, |s, v, r| (cl.clGetContextInfo)(w.rig.context, 1, s, v, r));

    "clCreateCommandQueue: profiling" CL_SUCCESS |w, cl| made(cl.clReleaseCommandQueue, |code| (cl.clCreateCommandQueue)(w.rig.context, w.rig.device, CL_QUEUE_PROFILING_ENABLE, code));
    "clCreateCommandQueue: unknown property" CL_INVALID_VALUE |w, cl| made(cl.clReleaseCommandQueue, |code| (cl.clCreateCommandQueue)(w.rig.context, w.rig.device, 1 << 9, code));
    "clCreateCommandQueue: device of no part" CL_INVALID_DEVICE |w, cl| made(cl.clReleaseCommandQueue, |code| (cl.clCreateCommandQueue)(w.rig.context, w.other_device, 0, code));
    "clCreateCommandQueue: null context" CL_INVALID_CONTEXT |w, cl| made(cl.clReleaseCommandQueue, |code| (cl.clCreateCommandQueue)(null_mut(), w.rig.device, 0, code));
    "clCreateCommandQueueWithProperties: profiling" CL_SUCCESS |w, _| queue_of(w, &[CL_QUEUE_PROPERTIES.into(), CL_QUEUE_PROFILING_ENABLE, 0]);
    "clCreateCommandQueueWithProperties: none" CL_SUCCESS |w, _| queue_of(w, &[0]);
    "clCreateCommandQueueWithProperties: unknown" CL_INVALID_VALUE |w, _| queue_of(w, &[0x7777, 0, 0]);
    "clCreateCommandQueueWithProperties: on the device" CL_INVALID_QUEUE_PROPERTIES |w, _| queue_of(w, &[CL_QUEUE_SIZE.into(), 4096, 0]);
    "clGetCommandQueueInfo: device" CL_SUCCESS |w, cl| query(8, |s, v, r| (cl.clGetCommandQueueInfo)(w.rig.queue, CL_QUEUE_DEVICE, s, v, r));
    "clGetCommandQueueInfo: unknown" CL_INVALID_VALUE |w, cl| query(8, |s, v, r| (cl.clGetCommandQueueInfo)(w.rig.queue, 1, s, v, r));
    "clRetainCommandQueue: null" CL_INVALID_COMMAND_QUEUE |_, cl| (cl.clRetainCommandQueue)(null_mut());
    "clReleaseCommandQueue: dead" CL_INVALID_COMMAND_QUEUE |w, cl| (cl.clReleaseCommandQueue)(w.dead);
    "clFlush: null" CL_INVALID_COMMAND_QUEUE |_, cl| (cl.clFlush)(null_mut());
    "clFlush: queue" CL_SUCCESS |w, cl| (cl.clFlush)(w.rig.queue);
    "clFinish: null" CL_INVALID_COMMAND_QUEUE |_, cl| (cl.clFinish)(null_mut());
    "clFinish: queue" CL_SUCCESS |w, cl| (cl.clFinish)(w.plain_queue);
    "clSetCommandQueueProperty: gone from the standard" CL_INVALID_OPERATION |w, cl| (cl.clSetCommandQueueProperty)(w.rig.queue, 0, 0, null_mut());

    "clCreateBuffer: plain" CL_SUCCESS |w, _| buffer(w, RW, 4096, null_mut());
    "clCreateBuffer: no flags" CL_SUCCESS |w, _| buffer(w, 0, 4096, null_mut());
    "clCreateBuffer: a copy" CL_SUCCESS |w, _| buffer(w, RW | CL_MEM_COPY_HOST_PTR, 4096, w.host());
    "clCreateBuffer: memory of the host" CL_SUCCESS |w, _| buffer(w, RW | CL_MEM_USE_HOST_PTR, 4096, w.host());
    "clCreateBuffer: pinned" CL_SUCCESS |w, _| buffer(w, RW | CL_MEM_ALLOC_HOST_PTR, 4096, null_mut());
    "clCreateBuffer: nothing" CL_INVALID_BUFFER_SIZE |w, _| buffer(w, RW, 0, null_mut());
    "clCreateBuffer: more than a bank" CL_INVALID_BUFFER_SIZE |w, _| buffer(w, RW, (256 << 20) + 1, null_mut());
    "clCreateBuffer: two accesses" CL_INVALID_VALUE |w, _| buffer(w, RW | CL_MEM_READ_ONLY, 4096, null_mut());
    "clCreateBuffer: unknown flag" CL_INVALID_VALUE |w, _| buffer(w, 1 << 20, 4096, null_mut());
    "clCreateBuffer: used and copied" CL_INVALID_VALUE |w, _| buffer(w, CL_MEM_USE_HOST_PTR | CL_MEM_COPY_HOST_PTR, 4096, w.host());
    "clCreateBuffer: a pointer for nothing" CL_INVALID_HOST_PTR |w, _| buffer(w, RW, 4096, w.host());
    "clCreateBuffer: a copy of nothing" CL_INVALID_HOST_PTR |w, _| buffer(w, CL_MEM_COPY_HOST_PTR, 4096, null_mut());
    "clCreateBuffer: null context" CL_INVALID_CONTEXT |_, cl| made(cl.clReleaseMemObject, |code| (cl.clCreateBuffer)(null_mut(), RW, 4096, null_mut(), code));
    "clCreateBuffer: bank 0" CL_SUCCESS |w, _| extended(w, TOPOLOGY, null_mut());
    "clCreateBuffer: bank 1 of 1" CL_MEM_OBJECT_ALLOCATION_FAILURE |w, _| extended(w, TOPOLOGY | 1, null_mut());
    "clCreateBuffer: legacy bank 0" CL_SUCCESS |w, _| extended(w, 1, null_mut());
    "clCreateBuffer: legacy bank 3" CL_MEM_OBJECT_ALLOCATION_FAILURE |w, _| extended(w, 8, null_mut());
    "clCreateBuffer: no bank yet" CL_SUCCESS |w, _| extended(w, 0, null_mut());
    "clCreateBuffer: bank of an argument" CL_SUCCESS |w, _| extended(w, 4, w.rig.kernel);
    "clCreateBuffer: bank of a number" CL_INVALID_ARG_INDEX |w, _| extended(w, 1, w.rig.kernel);
    "clCreateBuffer: bank of no argument" CL_INVALID_ARG_INDEX |w, _| extended(w, 5, w.rig.kernel);
    "clCreateBuffer: bank of no kernel" CL_INVALID_KERNEL |w, _| extended(w, 0, w.rig.queue);
    "clCreateBuffer: no extension" CL_INVALID_HOST_PTR |w, _| buffer(w, RW | EXTENSION, 4096, null_mut());
    "clCreateBuffer: flag with its sign" CL_INVALID_HOST_PTR |w, _| buffer(w, RW | 0xffff_ffff_8000_0000, 4096, null_mut());
    "clCreateSubBuffer: a part" CL_SUCCESS |w, _| part(w, w.rig.buffers[3], 0, REGION, Some((4096, 10)));
    "clCreateSubBuffer: of a part" CL_INVALID_MEM_OBJECT |w, _| part(w, w.part, 0, REGION, Some((0, 10)));
    "clCreateSubBuffer: not aligned" CL_MISALIGNED_SUB_BUFFER_OFFSET |w, _| part(w, w.rig.buffers[3], 0, REGION, Some((64, 10)));
    "clCreateSubBuffer: too long" CL_INVALID_VALUE |w, _| part(w, w.rig.buffers[3], 0, REGION, Some((4096, CHANNEL)));
    "clCreateSubBuffer: too far" CL_INVALID_VALUE |w, _| part(w, w.rig.buffers[3], 0, REGION, Some((usize::MAX - 4095, 8192)));
    "clCreateSubBuffer: empty" CL_INVALID_BUFFER_SIZE |w, _| part(w, w.rig.buffers[3], 0, REGION, Some((0, 0)));
    "clCreateSubBuffer: no region" CL_INVALID_VALUE |w, _| part(w, w.rig.buffers[3], 0, REGION, None);
    "clCreateSubBuffer: unknown type" CL_INVALID_VALUE |w, _| part(w, w.rig.buffers[3], 0, 7, Some((0, 10)));
    "clCreateSubBuffer: more than the whole allows" CL_INVALID_VALUE |w, _| part(w, w.read_only, CL_MEM_HOST_WRITE_ONLY, REGION, Some((0, 10)));
    "clCreateSubBuffer: a pointer flag" CL_INVALID_VALUE |w, _| part(w, w.rig.buffers[3], CL_MEM_USE_HOST_PTR, REGION, Some((0, 10)));
    "clRetainMemObject: dead" CL_INVALID_MEM_OBJECT |w, cl| (cl.clRetainMemObject)(w.dead);
    "clReleaseMemObject: dead" CL_INVALID_MEM_OBJECT |w, cl| (cl.clReleaseMemObject)(w.dead);
    "clGetMemObjectInfo: size" CL_SUCCESS |w, cl| query(8, |s, v, r| (cl.clGetMemObjectInfo)(w.part, CL_MEM_SIZE, s, v, r));
    "clGetMemObjectInfo: unknown" CL_INVALID_VALUE |w, cl| query(8, |s, v, r| (cl.clGetMemObjectInfo)(w.part, 1, s, v, r));
    "clGetMemObjectInfo: an event" CL_INVALID_MEM_OBJECT |w, cl| query(8, |s, v, r| (cl.clGetMemObjectInfo)(w.open_event, CL_MEM_SIZE, s, v, r));
    "clSetMemObjectDestructorCallback: no function" CL_INVALID_VALUE |w, cl| (cl.clSetMemObjectDestructorCallback)(w.part, None, null_mut());
    "clCreateImage2D: no images" CL_INVALID_OPERATION |w, cl| made(cl.clReleaseMemObject, |code| (cl.clCreateImage2D)(w.rig.context, RW, null_mut(), 8, 8, 0, null_mut(), code));
    "clCreateSampler: no samplers" CL_INVALID_OPERATION |w, cl| made(cl.clReleaseMemObject, |code| (cl.clCreateSampler)(w.rig.context, 0, 0, 0, code));

    "clCreateProgramWithBinary: the image again" CL_SUCCESS |w, _| program(w, w.rig.device, &w.image);
    "clCreateProgramWithBinary: device of no part" CL_INVALID_DEVICE |w, _| program(w, w.other_device, &w.image);
    "clCreateProgramWithBinary: cut off" CL_INVALID_BINARY |w, _| program(w, w.rig.device, &w.image[..w.image.len() - 1]);
    "clCreateProgramWithBinary: a header" CL_INVALID_BINARY |w, _| program(w, w.rig.device, &w.image[..456]);
    "clCreateProgramWithBinary: no image" CL_INVALID_BINARY |w, _| program(w, w.rig.device, b"xclbin2");
    "clCreateProgramWithBinary: empty" CL_INVALID_VALUE |w, _| program(w, w.rig.device, &[]);
    "clCreateProgramWithBinary: null context" CL_INVALID_CONTEXT |w, cl| { let (length, start) = (w.image.len(), w.image.as_ptr()); made(cl.clReleaseProgram, |code| (cl.clCreateProgramWithBinary)(null_mut(), 1, &raw const w.rig.device, &raw const length, &raw const start, null_mut(), code)) };
    "clCreateProgramWithBinary: no devices" CL_INVALID_VALUE |w, cl| { let (length, start) = (w.image.len(), w.image.as_ptr()); made(cl.clReleaseProgram, |code| (cl.clCreateProgramWithBinary)(w.rig.context, 0, null(), &raw const length, &raw const start, null_mut(), code)) };
    "clCreateProgramWithSource: no compiler" CL_COMPILER_NOT_AVAILABLE |w, cl| made(cl.clReleaseProgram, |code| (cl.clCreateProgramWithSource)(w.rig.context, 1, null_mut(), null(), code));
    "clCompileProgram: no compiler" CL_COMPILER_NOT_AVAILABLE |w, cl| (cl.clCompileProgram)(w.rig.program, 0, null_mut(), null_mut(), 0, null_mut(), null_mut(), null_mut(), null_mut());
    "clLinkProgram: no linker" CL_LINKER_NOT_AVAILABLE |w, cl| made(cl.clReleaseProgram, |code| (cl.clLinkProgram)(w.rig.context, 0, null_mut(), null_mut(), 0, null_mut(), null_mut(), null_mut(), code));
    "clBuildProgram: built already" CL_SUCCESS |w, cl| (cl.clBuildProgram)(w.rig.program, 0, null(), null(), null_mut(), null_mut());
    "clBuildProgram: for its device" CL_SUCCESS |w, cl| (cl.clBuildProgram)(w.rig.program, 1, &raw const w.rig.device, c"-g".as_ptr(), null_mut(), null_mut());
    "clBuildProgram: for another device" CL_INVALID_DEVICE |w, cl| (cl.clBuildProgram)(w.rig.program, 1, &raw const w.other_device, null(), null_mut(), null_mut());
    "clBuildProgram: a number without a list" CL_INVALID_VALUE |w, cl| (cl.clBuildProgram)(w.rig.program, 1, null(), null(), null_mut(), null_mut());
    "clBuildProgram: a kernel" CL_INVALID_PROGRAM |w, cl| (cl.clBuildProgram)(w.rig.kernel, 0, null(), null(), null_mut(), null_mut());
    "clGetProgramInfo: kernels" CL_SUCCESS |w, cl| query(64, |s, v, r| (cl.clGetProgramInfo)(w.rig.program, CL_PROGRAM_KERNEL_NAMES, s, v, r));
    "clGetProgramInfo: sizes" CL_SUCCESS |w, cl| query(8, |s, v, r| (cl.clGetProgramInfo)(w.rig.program, CL_PROGRAM_BINARY_SIZES, s, v, r));
    "clGetProgramInfo: binaries without room" CL_INVALID_VALUE |w, cl| query(4, |s, v, r| (cl.clGetProgramInfo)(w.rig.program, CL_PROGRAM_BINARIES, s, v, r));
    "clGetProgramInfo: unknown" CL_INVALID_VALUE |w, cl| query(8, |s, v, r| (cl.clGetProgramInfo)(w.rig.program, 1, s, v, r));
    "clGetProgramBuildInfo: status" CL_SUCCESS |w, cl| query(4, |s, v, r| (cl.clGetProgramBuildInfo)(w.rig.program, w.rig.device, CL_PROGRAM_BUILD_STATUS, s, v, r));
    "clGetProgramBuildInfo: another device" CL_INVALID_DEVICE |w, cl| query(4, |s, v, r| (cl.clGetProgramBuildInfo)(w.rig.program, w.other_device, CL_PROGRAM_BUILD_STATUS, s, v, r));
    "clRetainProgram: null" CL_INVALID_PROGRAM |_, cl| (cl.clRetainProgram)(null_mut());

    "clCreateKernel: its name" CL_SUCCESS |w, _| kernel(w, c"fastcar".as_ptr());
    "clCreateKernel: with its unit" CL_SUCCESS |w, _| kernel(w, c"fastcar:{fastcar_1}".as_ptr());
    "clCreateKernel: a unit without braces" CL_INVALID_KERNEL_NAME |w, _| kernel(w, c"fastcar:fastcar_1".as_ptr());
    "clCreateKernel: with another unit" CL_INVALID_KERNEL_NAME |w, _| kernel(w, c"fastcar:{fastcar_2}".as_ptr());
    "clCreateKernel: another name" CL_INVALID_KERNEL_NAME |w, _| kernel(w, c"fastcart".as_ptr());
    "clCreateKernel: null" CL_INVALID_VALUE |w, _| kernel(w, null());
    "clCreateKernelsInProgram: number" CL_SUCCESS |w, cl| (cl.clCreateKernelsInProgram)(w.rig.program, 0, null_mut(), &mut 0);
    "clCreateKernelsInProgram: no room" CL_INVALID_VALUE |w, cl| (cl.clCreateKernelsInProgram)(w.rig.program, 0, &mut null_mut(), &mut 0);
    "clRetainKernel: null" CL_INVALID_KERNEL |_, cl| (cl.clRetainKernel)(null_mut());
    "clGetKernelInfo: arguments" CL_SUCCESS |w, cl| query(4, |s, v, r| (cl.clGetKernelInfo)(w.rig.kernel, CL_KERNEL_NUM_ARGS, s, v, r));
    "clGetKernelInfo: unknown" CL_INVALID_VALUE |w, cl| query(4, |s, v, r| (cl.clGetKernelInfo)(w.rig.kernel, 1, s, v, r));
    "clGetKernelArgInfo: name" CL_SUCCESS |w, cl| query(64, |s, v, r| (cl.clGetKernelArgInfo)(w.rig.kernel, 4, CL_KERNEL_ARG_NAME, s, v, r));
    "clGetKernelArgInfo: beyond" CL_INVALID_ARG_INDEX |w, cl| query(64, |s, v, r| (cl.clGetKernelArgInfo)(w.rig.kernel, 5, CL_KERNEL_ARG_NAME, s, v, r));
    "clGetKernelWorkGroupInfo: its device" CL_SUCCESS |w, cl| query(24, |s, v, r| (cl.clGetKernelWorkGroupInfo)(w.rig.kernel, w.rig.device, CL_KERNEL_COMPILE_WORK_GROUP_SIZE, s, v, r));
    "clGetKernelWorkGroupInfo: its only device" CL_SUCCESS |w, cl| query(8, |s, v, r| (cl.clGetKernelWorkGroupInfo)(w.rig.kernel, null_mut(), CL_KERNEL_WORK_GROUP_SIZE, s, v, r));
    "clGetKernelWorkGroupInfo: another device" CL_INVALID_DEVICE |w, cl| query(8, |s, v, r| (cl.clGetKernelWorkGroupInfo)(w.rig.kernel, w.other_device, CL_KERNEL_WORK_GROUP_SIZE, s, v, r));
    "clSetKernelArg: a number" CL_SUCCESS |w, _| argument(w, 1, &3u32);
    "clSetKernelArg: a long number" CL_INVALID_ARG_SIZE |w, _| argument(w, 1, &3u64);
    "clSetKernelArg: a short number" CL_INVALID_ARG_SIZE |w, _| argument(w, 1, &3u16);
    "clSetKernelArg: a number for a buffer" CL_INVALID_ARG_SIZE |w, _| argument(w, 0, &3u32);
    "clSetKernelArg: a buffer" CL_SUCCESS |w, _| argument(w, 4, &w.rig.buffers[3]);
    "clSetKernelArg: a part" CL_SUCCESS |w, _| argument(w, 2, &w.part);
    "clSetKernelArg: beyond" CL_INVALID_ARG_INDEX |w, _| argument(w, 5, &w.rig.buffers[3]);
    "clSetKernelArg: a dead buffer" CL_INVALID_MEM_OBJECT |w, _| argument(w, 0, &w.dead);
    "clSetKernelArg: a queue" CL_INVALID_MEM_OBJECT |w, _| argument(w, 0, &w.rig.queue);
    "clSetKernelArg: a null handle" CL_INVALID_MEM_OBJECT |w, _| argument(w, 0, &null_mut::<c_void>());
    "clSetKernelArg: a null value" CL_INVALID_ARG_VALUE |w, cl| (cl.clSetKernelArg)(w.bare_kernel, 0, 8, null());
    "clSetKernelArg: a stranger's buffer" CL_INVALID_MEM_OBJECT |w, _| argument(w, 0, &w.other_buffer);
    "clSetKernelArg: null kernel" CL_INVALID_KERNEL |_, cl| (cl.clSetKernelArg)(null_mut(), 0, 8, null());
}
