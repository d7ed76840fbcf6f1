//! Every function of the interface, listed once: the dispatch table that loaders follow, and the exported symbols.
//!
//! The table points at functions that are not exported: a pointer at an exported one would be bound to the symbol of
//! the same name that comes first in the process, which is the loader's.

use super::{context, enqueue, event, info, kernel, memory, platform, program, queue, stub};
use crate::refusal::{Answer, Refusal, log};
use opencl_sys as cl;
use opencl_sys::cl_icd::cl_icd_dispatch;
use opencl_sys::{
    cl_bitfield, cl_bool, cl_buffer_create_type, cl_command_queue, cl_context, cl_context_properties,
};
use opencl_sys::{
    cl_device_id, cl_event, cl_int, cl_kernel, cl_map_flags, cl_mem, cl_mem_flags, cl_platform_id,
};
use opencl_sys::{cl_mem_migration_flags, cl_mem_properties, cl_program, cl_queue_properties, cl_uint};
use std::ffi::{CStr, c_char, c_uchar, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Told when a program is built.
pub(super) type BuildNotify = Option<unsafe extern "C" fn(program: cl_program, user_data: *mut c_void)>;
/// Told of errors in a context.
pub(super) type ContextNotify = Option<
    unsafe extern "C" fn(
        errinfo: *const c_char,
        private_info: *const c_void,
        cb: usize,
        user_data: *mut c_void,
    ),
>;
/// Told of an event's status.
pub(super) type EventNotify =
    Option<unsafe extern "C" fn(event: cl_event, event_command_status: cl_int, user_data: *mut c_void)>;
/// Told that a memory object is gone.
pub(super) type MemNotify = Option<unsafe extern "C" fn(memobj: cl_mem, user_data: *mut c_void)>;

/// Runs a function's body: no panic leaves it, and what it refuses is logged.
fn guarded<T>(name: &str, body: impl FnOnce() -> Answer<T>) -> Answer<T> {
    let broken = || Refusal::new(cl::CL_OUT_OF_RESOURCES, "the simulator itself has failed");
    let answer = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| Err(broken()));
    answer.inspect_err(|refusal| log(|| format!("{name} = {}: {refusal}", refusal.status)))
}

fn status(name: &str, body: impl FnOnce() -> Answer<()>) -> cl_int {
    guarded(name, body).map_or_else(|refusal| refusal.status, |()| cl::CL_SUCCESS)
}

/// The object, or null; and the status to where the caller wants it.
///
/// # Safety
/// `code` is null or writable.
unsafe fn object(name: &str, code: *mut cl_int, body: impl FnOnce() -> Answer<*mut c_void>) -> *mut c_void {
    let answer = guarded(name, body);
    let found = answer.as_ref().map_or_else(|refusal| refusal.status, |_| cl::CL_SUCCESS);
    // SAFETY: as the caller promises.
    unsafe { info::set(code, found) };
    answer.unwrap_or(std::ptr::null_mut())
}

macro_rules! functions {
    (
        status { $($s:ident ($($sa:ident: $st:ty),* $(,)?) => $sb:path;)* }
        object { $($o:ident ($($oa:ident: $ot:ty),* $(,)?) => $ob:path;)* }
        refuse { $($r:ident ($($ra:ident)*) = $rc:ident;)* }
        refuse_object { $($q:ident ($($qa:ident)*) = $qc:ident;)* }
        unexported { $($u:ident = $ux:expr;)* }
        other { $($x:ident ($($xa:ident: $xt:ty),*) -> $xr:ty = $xb:path;)* }
    ) => {
        /// What the table points at.
        #[allow(non_snake_case, reason = "named as the functions of the interface")]
        mod inner {
            use super::*;
            $(pub(super) unsafe extern "C" fn $s($($sa: $st),*) -> cl_int {
                // SAFETY: the caller gives what the specification asks of this function's arguments.
                status(stringify!($s), || unsafe { $sb($($sa),*) })
            })*
            $(pub(super) unsafe extern "C" fn $o($($oa: $ot,)* errcode_ret: *mut cl_int) -> *mut c_void {
                // SAFETY: as above; `errcode_ret` is null or writable.
                unsafe { object(stringify!($o), errcode_ret, || $ob($($oa),*)) }
            })*
            $(pub(super) unsafe extern "C" fn $x($($xa: $xt),*) -> $xr {
                // SAFETY: as above.
                unsafe { $xb($($xa),*) }
            })*
        }

        /// The exported symbols.
        #[allow(non_snake_case, reason = "named as the functions of the interface")]
        mod exported {
            use super::*;
            $(#[unsafe(no_mangle)]
            pub(super) unsafe extern "C" fn $s($($sa: $st),*) -> cl_int {
                // SAFETY: the same function under another name.
                unsafe { inner::$s($($sa),*) }
            })*
            $(#[unsafe(no_mangle)]
            pub(super) unsafe extern "C" fn $o($($oa: $ot,)* errcode_ret: *mut cl_int) -> *mut c_void {
                // SAFETY: the same function under another name.
                unsafe { inner::$o($($oa,)* errcode_ret) }
            })*
            $(#[unsafe(no_mangle)]
            pub(super) unsafe extern "C" fn $x($($xa: $xt),*) -> $xr {
                // SAFETY: the same function under another name.
                unsafe { inner::$x($($xa),*) }
            })*
            // Every argument of these is an integer or a pointer, so a word; none is looked at.
            $(#[unsafe(no_mangle)]
            pub(super) unsafe extern "C" fn $r($(_: functions!(@word $ra)),*) -> cl_int {
                cl::$rc
            })*
            $(#[unsafe(no_mangle)]
            pub(super) unsafe extern "C" fn $q(
                $(_: functions!(@word $qa),)*
                errcode_ret: *mut cl_int,
            ) -> *mut c_void {
                // SAFETY: null or writable, as every function that makes an object asks.
                unsafe { info::set(errcode_ret, cl::$qc) };
                std::ptr::null_mut()
            })*
        }

        static DISPATCH: cl_icd_dispatch = cl_icd_dispatch {
            $($s: Some(inner::$s),)*
            $($o: Some(inner::$o),)*
            $($x: Some(inner::$x),)*
            $($r: stub::refuse::<{ cl::$rc }, _>(),)*
            $($q: stub::refuse_object::<{ cl::$qc }, _>(),)*
            $($u: $ux,)*
        };

        /// The addresses of the exported symbols: whoever uses them keeps the linker from leaving them out.
        pub(crate) fn keep() -> Vec<*const ()> {
            vec![
                $(exported::$s as *const (),)*
                $(exported::$o as *const (),)*
                $(exported::$x as *const (),)*
                $(exported::$r as *const (),)*
                $(exported::$q as *const (),)*
                clIcdGetPlatformIDsKHR as *const (),
            ]
        }
    };
    (@word $name:ident) => { usize };
}

functions! {
    status {
        clGetPlatformIDs(num_entries: cl_uint, platforms: *mut cl_platform_id, num_platforms: *mut cl_uint)
            => platform::ids;
        clGetPlatformInfo(platform: cl_platform_id, query: cl_uint, size: usize, value: *mut c_void, size_ret: *mut usize)
            => platform::info;
        clGetDeviceIDs(
            platform: cl_platform_id, device_type: cl_bitfield, num_entries: cl_uint, devices: *mut cl_device_id,
            num_devices: *mut cl_uint,
        ) => platform::device_ids;
        clGetDeviceInfo(device: cl_device_id, query: cl_uint, size: usize, value: *mut c_void, size_ret: *mut usize)
            => platform::device_info;
        clRetainDevice(device: cl_device_id) => platform::retain_device;
        clReleaseDevice(device: cl_device_id) => platform::retain_device;
        clUnloadPlatformCompiler(platform: cl_platform_id) => platform::unload_compiler;
        clRetainContext(context: cl_context) => context::retain;
        clReleaseContext(context: cl_context) => context::release;
        clGetContextInfo(context: cl_context, query: cl_uint, size: usize, value: *mut c_void, size_ret: *mut usize)
            => context::info;
        clRetainCommandQueue(queue: cl_command_queue) => queue::retain;
        clReleaseCommandQueue(queue: cl_command_queue) => queue::release;
        clGetCommandQueueInfo(
            queue: cl_command_queue, query: cl_uint, size: usize, value: *mut c_void, size_ret: *mut usize,
        ) => queue::info;
        clFlush(queue: cl_command_queue) => queue::flush;
        clFinish(queue: cl_command_queue) => queue::finish;
        clRetainMemObject(memobj: cl_mem) => memory::retain;
        clReleaseMemObject(memobj: cl_mem) => memory::release;
        clGetMemObjectInfo(memobj: cl_mem, query: cl_uint, size: usize, value: *mut c_void, size_ret: *mut usize)
            => memory::info;
        clSetMemObjectDestructorCallback(memobj: cl_mem, notify: MemNotify, user_data: *mut c_void)
            => memory::set_destructor_callback;
        clRetainProgram(program: cl_program) => program::retain;
        clReleaseProgram(program: cl_program) => program::release;
        clBuildProgram(
            program: cl_program, num_devices: cl_uint, devices: *const cl_device_id, options: *const c_char,
            notify: BuildNotify, user_data: *mut c_void,
        ) => program::build;
        clGetProgramInfo(program: cl_program, query: cl_uint, size: usize, value: *mut c_void, size_ret: *mut usize)
            => program::info;
        clGetProgramBuildInfo(
            program: cl_program, device: cl_device_id, query: cl_uint, size: usize, value: *mut c_void,
            size_ret: *mut usize,
        ) => program::build_info;
        clCreateKernelsInProgram(
            program: cl_program, num_kernels: cl_uint, kernels: *mut cl_kernel, num_kernels_ret: *mut cl_uint,
        ) => kernel::create_all;
        clRetainKernel(kernel: cl_kernel) => kernel::retain;
        clReleaseKernel(kernel: cl_kernel) => kernel::release;
        clSetKernelArg(kernel: cl_kernel, index: cl_uint, size: usize, value: *const c_void) => kernel::set_arg;
        clGetKernelInfo(kernel: cl_kernel, query: cl_uint, size: usize, value: *mut c_void, size_ret: *mut usize)
            => kernel::info;
        clGetKernelArgInfo(
            kernel: cl_kernel, index: cl_uint, query: cl_uint, size: usize, value: *mut c_void, size_ret: *mut usize,
        ) => kernel::arg_info;
        clGetKernelWorkGroupInfo(
            kernel: cl_kernel, device: cl_device_id, query: cl_uint, size: usize, value: *mut c_void,
            size_ret: *mut usize,
        ) => kernel::work_group_info;
        clWaitForEvents(num_events: cl_uint, events: *const cl_event) => event::wait;
        clGetEventInfo(event: cl_event, query: cl_uint, size: usize, value: *mut c_void, size_ret: *mut usize)
            => event::info;
        clGetEventProfilingInfo(event: cl_event, query: cl_uint, size: usize, value: *mut c_void, size_ret: *mut usize)
            => event::profiling_info;
        clRetainEvent(event: cl_event) => event::retain;
        clReleaseEvent(event: cl_event) => event::release;
        clSetEventCallback(event: cl_event, status: cl_int, notify: EventNotify, user_data: *mut c_void)
            => event::set_callback;
        clSetUserEventStatus(event: cl_event, status: cl_int) => event::set_user_status;
        clEnqueueReadBuffer(
            queue: cl_command_queue, buffer: cl_mem, blocking: cl_bool, offset: usize, size: usize, ptr: *mut c_void,
            num_events: cl_uint, events: *const cl_event, event: *mut cl_event,
        ) => enqueue::read_buffer;
        clEnqueueWriteBuffer(
            queue: cl_command_queue, buffer: cl_mem, blocking: cl_bool, offset: usize, size: usize, ptr: *const c_void,
            num_events: cl_uint, events: *const cl_event, event: *mut cl_event,
        ) => enqueue::write_buffer;
        clEnqueueReadBufferRect(
            queue: cl_command_queue, buffer: cl_mem, blocking: cl_bool, buffer_origin: *const usize,
            host_origin: *const usize, region: *const usize, buffer_row_pitch: usize, buffer_slice_pitch: usize,
            host_row_pitch: usize, host_slice_pitch: usize, ptr: *mut c_void, num_events: cl_uint,
            events: *const cl_event, event: *mut cl_event,
        ) => enqueue::read_buffer_rect;
        clEnqueueWriteBufferRect(
            queue: cl_command_queue, buffer: cl_mem, blocking: cl_bool, buffer_origin: *const usize,
            host_origin: *const usize, region: *const usize, buffer_row_pitch: usize, buffer_slice_pitch: usize,
            host_row_pitch: usize, host_slice_pitch: usize, ptr: *const c_void, num_events: cl_uint,
            events: *const cl_event, event: *mut cl_event,
        ) => enqueue::write_buffer_rect;
        clEnqueueCopyBuffer(
            queue: cl_command_queue, src: cl_mem, dst: cl_mem, src_offset: usize, dst_offset: usize, size: usize,
            num_events: cl_uint, events: *const cl_event, event: *mut cl_event,
        ) => enqueue::copy_buffer;
        clEnqueueCopyBufferRect(
            queue: cl_command_queue, src: cl_mem, dst: cl_mem, src_origin: *const usize, dst_origin: *const usize,
            region: *const usize, src_row_pitch: usize, src_slice_pitch: usize, dst_row_pitch: usize,
            dst_slice_pitch: usize, num_events: cl_uint, events: *const cl_event, event: *mut cl_event,
        ) => enqueue::copy_buffer_rect;
        clEnqueueFillBuffer(
            queue: cl_command_queue, buffer: cl_mem, pattern: *const c_void, pattern_size: usize, offset: usize,
            size: usize, num_events: cl_uint, events: *const cl_event, event: *mut cl_event,
        ) => enqueue::fill_buffer;
        clEnqueueUnmapMemObject(
            queue: cl_command_queue, memobj: cl_mem, mapped_ptr: *mut c_void, num_events: cl_uint,
            events: *const cl_event, event: *mut cl_event,
        ) => enqueue::unmap;
        clEnqueueMigrateMemObjects(
            queue: cl_command_queue, num_mem_objects: cl_uint, mem_objects: *const cl_mem,
            flags: cl_mem_migration_flags, num_events: cl_uint, events: *const cl_event, event: *mut cl_event,
        ) => enqueue::migrate;
        clEnqueueNDRangeKernel(
            queue: cl_command_queue, kernel: cl_kernel, work_dim: cl_uint, global_work_offset: *const usize,
            global_work_size: *const usize, local_work_size: *const usize, num_events: cl_uint,
            events: *const cl_event, event: *mut cl_event,
        ) => enqueue::nd_range_kernel;
        clEnqueueTask(
            queue: cl_command_queue, kernel: cl_kernel, num_events: cl_uint, events: *const cl_event,
            event: *mut cl_event,
        ) => enqueue::task;
        clEnqueueMarker(queue: cl_command_queue, event: *mut cl_event) => enqueue::marker;
        clEnqueueBarrier(queue: cl_command_queue) => enqueue::barrier;
        clEnqueueWaitForEvents(queue: cl_command_queue, num_events: cl_uint, events: *const cl_event)
            => enqueue::wait_for_events;
        clEnqueueMarkerWithWaitList(
            queue: cl_command_queue, num_events: cl_uint, events: *const cl_event, event: *mut cl_event,
        ) => enqueue::marker_with_list;
        clEnqueueBarrierWithWaitList(
            queue: cl_command_queue, num_events: cl_uint, events: *const cl_event, event: *mut cl_event,
        ) => enqueue::barrier_with_list;
    }
    object {
        clCreateContext(
            properties: *const cl_context_properties, num_devices: cl_uint, devices: *const cl_device_id,
            notify: ContextNotify, user_data: *mut c_void,
        ) => context::create;
        clCreateContextFromType(
            properties: *const cl_context_properties, device_type: cl_bitfield, notify: ContextNotify,
            user_data: *mut c_void,
        ) => context::create_from_type;
        clCreateCommandQueue(context: cl_context, device: cl_device_id, properties: cl_bitfield) => queue::create;
        clCreateCommandQueueWithProperties(
            context: cl_context, device: cl_device_id, properties: *const cl_queue_properties,
        ) => queue::create_with_properties;
        clCreateBuffer(context: cl_context, flags: cl_mem_flags, size: usize, host_ptr: *mut c_void) => memory::create;
        clCreateBufferWithProperties(
            context: cl_context, properties: *const cl_mem_properties, flags: cl_mem_flags, size: usize,
            host_ptr: *mut c_void,
        ) => memory::create_with_properties;
        clCreateSubBuffer(
            buffer: cl_mem, flags: cl_mem_flags, create_type: cl_buffer_create_type, create_info: *const c_void,
        ) => memory::create_sub;
        clCreateProgramWithBinary(
            context: cl_context, num_devices: cl_uint, devices: *const cl_device_id, lengths: *const usize,
            binaries: *mut *const c_uchar, binary_status: *mut cl_int,
        ) => program::create;
        clCreateKernel(program: cl_program, name: *const c_char) => kernel::create;
        clCreateUserEvent(context: cl_context) => event::create_user;
        clEnqueueMapBuffer(
            queue: cl_command_queue, buffer: cl_mem, blocking: cl_bool, flags: cl_map_flags, offset: usize,
            size: usize, num_events: cl_uint, events: *const cl_event, event: *mut cl_event,
        ) => enqueue::map;
    }
    // What a device without images, samplers, pipes, a compiler or shared virtual memory lets these answer.
    refuse {
        clSetCommandQueueProperty(a b c d) = CL_INVALID_OPERATION;
        clGetSupportedImageFormats(a b c d e f) = CL_INVALID_OPERATION;
        clGetImageInfo(a b c d e) = CL_INVALID_MEM_OBJECT;
        clRetainSampler(a) = CL_INVALID_SAMPLER;
        clReleaseSampler(a) = CL_INVALID_SAMPLER;
        clGetSamplerInfo(a b c d e) = CL_INVALID_SAMPLER;
        clUnloadCompiler() = CL_SUCCESS;
        clEnqueueReadImage(a b c d e f g h i j k) = CL_INVALID_OPERATION;
        clEnqueueWriteImage(a b c d e f g h i j k) = CL_INVALID_OPERATION;
        clEnqueueCopyImage(a b c d e f g h i) = CL_INVALID_OPERATION;
        clEnqueueCopyImageToBuffer(a b c d e f g h i) = CL_INVALID_OPERATION;
        clEnqueueCopyBufferToImage(a b c d e f g h i) = CL_INVALID_OPERATION;
        clEnqueueFillImage(a b c d e f g h) = CL_INVALID_OPERATION;
        clEnqueueNativeKernel(a b c d e f g h i j) = CL_INVALID_OPERATION;
        clCreateSubDevices(a b c d e) = CL_INVALID_VALUE;
        clCompileProgram(a b c d e f g h i) = CL_COMPILER_NOT_AVAILABLE;
        clGetPipeInfo(a b c d e) = CL_INVALID_MEM_OBJECT;
        clEnqueueSVMFree(a b c d e f g h) = CL_INVALID_OPERATION;
        clEnqueueSVMMemcpy(a b c d e f g h) = CL_INVALID_OPERATION;
        clEnqueueSVMMemFill(a b c d e f g h) = CL_INVALID_OPERATION;
        clEnqueueSVMMap(a b c d e f g h) = CL_INVALID_OPERATION;
        clEnqueueSVMUnmap(a b c d e) = CL_INVALID_OPERATION;
        clEnqueueSVMMigrateMem(a b c d e f g h) = CL_INVALID_OPERATION;
        clSetKernelArgSVMPointer(a b c) = CL_INVALID_OPERATION;
        clSetKernelExecInfo(a b c d) = CL_INVALID_OPERATION;
        clGetKernelSubGroupInfo(a b c d e f g h) = CL_INVALID_OPERATION;
        clGetDeviceAndHostTimer(a b c) = CL_INVALID_OPERATION;
        clGetHostTimer(a b) = CL_INVALID_OPERATION;
        clSetDefaultDeviceCommandQueue(a b c) = CL_INVALID_OPERATION;
        clSetProgramReleaseCallback(a b c) = CL_INVALID_OPERATION;
        clSetProgramSpecializationConstant(a b c d) = CL_INVALID_OPERATION;
        clSetContextDestructorCallback(a b c) = CL_INVALID_OPERATION;
    }
    refuse_object {
        clCreateImage2D(a b c d e f g) = CL_INVALID_OPERATION;
        clCreateImage3D(a b c d e f g h i) = CL_INVALID_OPERATION;
        clCreateImage(a b c d e) = CL_INVALID_OPERATION;
        clCreateImageWithProperties(a b c d e f) = CL_INVALID_OPERATION;
        clCreateSampler(a b c d) = CL_INVALID_OPERATION;
        clCreateSamplerWithProperties(a b) = CL_INVALID_OPERATION;
        clCreatePipe(a b c d e) = CL_INVALID_OPERATION;
        clEnqueueMapImage(a b c d e f g h i j k) = CL_INVALID_OPERATION;
        clCreateProgramWithSource(a b c d) = CL_COMPILER_NOT_AVAILABLE;
        clCreateProgramWithIL(a b c) = CL_INVALID_OPERATION;
        clCreateProgramWithBuiltInKernels(a b c d) = CL_INVALID_VALUE;
        clLinkProgram(a b c d e f g h) = CL_LINKER_NOT_AVAILABLE;
        clCloneKernel(a) = CL_INVALID_OPERATION;
    }
    unexported {
        clCreateFromGLBuffer = stub::refuse_object::<{ cl::CL_INVALID_OPERATION }, _>();
        clCreateFromGLTexture2D = stub::refuse_object::<{ cl::CL_INVALID_OPERATION }, _>();
        clCreateFromGLTexture3D = stub::refuse_object::<{ cl::CL_INVALID_OPERATION }, _>();
        clCreateFromGLRenderbuffer = stub::refuse_object::<{ cl::CL_INVALID_OPERATION }, _>();
        clCreateFromGLTexture = stub::refuse_object::<{ cl::CL_INVALID_OPERATION }, _>();
        clGetGLObjectInfo = stub::refuse::<{ cl::CL_INVALID_OPERATION }, _>();
        clGetGLTextureInfo = stub::refuse::<{ cl::CL_INVALID_OPERATION }, _>();
        clEnqueueAcquireGLObjects = stub::refuse::<{ cl::CL_INVALID_OPERATION }, _>();
        clEnqueueReleaseGLObjects = stub::refuse::<{ cl::CL_INVALID_OPERATION }, _>();
        clGetGLContextInfoKHR = stub::refuse::<{ cl::CL_INVALID_OPERATION }, _>();
        clCreateEventFromGLsyncKHR = stub::refuse_object::<{ cl::CL_INVALID_OPERATION }, _>();
        clGetDeviceIDsFromD3D10KHR = stub::refuse::<{ cl::CL_INVALID_OPERATION }, _>();
        clCreateFromD3D10BufferKHR = stub::refuse_object::<{ cl::CL_INVALID_OPERATION }, _>();
        clCreateFromD3D10Texture2DKHR = stub::refuse_object::<{ cl::CL_INVALID_OPERATION }, _>();
        clCreateFromD3D10Texture3DKHR = stub::refuse_object::<{ cl::CL_INVALID_OPERATION }, _>();
        clEnqueueAcquireD3D10ObjectsKHR = stub::refuse::<{ cl::CL_INVALID_OPERATION }, _>();
        clEnqueueReleaseD3D10ObjectsKHR = stub::refuse::<{ cl::CL_INVALID_OPERATION }, _>();
        clGetDeviceIDsFromD3D11KHR = stub::refuse::<{ cl::CL_INVALID_OPERATION }, _>();
        clCreateFromD3D11BufferKHR = stub::refuse_object::<{ cl::CL_INVALID_OPERATION }, _>();
        clCreateFromD3D11Texture2DKHR = stub::refuse_object::<{ cl::CL_INVALID_OPERATION }, _>();
        clCreateFromD3D11Texture3DKHR = stub::refuse_object::<{ cl::CL_INVALID_OPERATION }, _>();
        clEnqueueAcquireD3D11ObjectsKHR = stub::refuse::<{ cl::CL_INVALID_OPERATION }, _>();
        clEnqueueReleaseD3D11ObjectsKHR = stub::refuse::<{ cl::CL_INVALID_OPERATION }, _>();
        clGetDeviceIDsFromDX9MediaAdapterKHR = stub::refuse::<{ cl::CL_INVALID_OPERATION }, _>();
        clCreateFromDX9MediaSurfaceKHR = stub::refuse_object::<{ cl::CL_INVALID_OPERATION }, _>();
        clEnqueueAcquireDX9MediaSurfacesKHR = stub::refuse::<{ cl::CL_INVALID_OPERATION }, _>();
        clEnqueueReleaseDX9MediaSurfacesKHR = stub::refuse::<{ cl::CL_INVALID_OPERATION }, _>();
        clCreateFromEGLImageKHR = stub::refuse_object::<{ cl::CL_INVALID_OPERATION }, _>();
        clEnqueueAcquireEGLObjectsKHR = stub::refuse::<{ cl::CL_INVALID_OPERATION }, _>();
        clEnqueueReleaseEGLObjectsKHR = stub::refuse::<{ cl::CL_INVALID_OPERATION }, _>();
        clCreateEventFromEGLSyncKHR = stub::refuse_object::<{ cl::CL_INVALID_OPERATION }, _>();
        clCreateSubDevicesEXT = stub::refuse::<{ cl::CL_INVALID_VALUE }, _>();
        clRetainDeviceEXT = Some(inner::clRetainDevice);
        clReleaseDeviceEXT = Some(inner::clReleaseDevice);
        clGetKernelSubGroupInfoKHR = stub::refuse::<{ cl::CL_INVALID_OPERATION }, _>();
        clGetKernelSuggestedLocalWorkSize = 0;
    }
    other {
        clGetExtensionFunctionAddress(name: *const c_char) -> *mut c_void = extension_function;
        clGetExtensionFunctionAddressForPlatform(platform: cl_platform_id, name: *const c_char) -> *mut c_void
            = platform_extension_function;
        clSVMAlloc(context: cl_context, flags: cl_bitfield, size: usize, alignment: cl_uint) -> *mut c_void
            = no_shared_memory;
        clSVMFree(context: cl_context, pointer: *mut c_void) -> () = nothing_to_free;
    }
}

/// The dispatch table that every object points at.
pub(super) fn dispatch() -> &'static cl_icd_dispatch {
    &DISPATCH
}

/// The extension through which a loader finds the platform.
#[unsafe(no_mangle)]
unsafe extern "C" fn clIcdGetPlatformIDsKHR(
    num_entries: cl_uint,
    platforms: *mut cl_platform_id,
    num_platforms: *mut cl_uint,
) -> cl_int {
    // SAFETY: the same function under another name.
    unsafe { inner::clGetPlatformIDs(num_entries, platforms, num_platforms) }
}

/// # Safety
/// `name` is null or ends with a zero byte.
unsafe fn extension_function(name: *const c_char) -> *mut c_void {
    if name.is_null() {
        return std::ptr::null_mut();
    }
    // SAFETY: as the caller promises.
    let name = unsafe { CStr::from_ptr(name) };
    match name.to_bytes() {
        b"clIcdGetPlatformIDsKHR" => inner::clGetPlatformIDs as *mut c_void,
        _ => std::ptr::null_mut(),
    }
}

/// # Safety
/// As [`extension_function`].
unsafe fn platform_extension_function(_: cl_platform_id, name: *const c_char) -> *mut c_void {
    // SAFETY: as the caller promises.
    unsafe { extension_function(name) }
}

/// No device has shared virtual memory: none is given.
unsafe fn no_shared_memory(_: cl_context, _: cl_bitfield, _: usize, _: cl_uint) -> *mut c_void {
    std::ptr::null_mut()
}

/// There is never any.
unsafe fn nothing_to_free(_: cl_context, _: *mut c_void) {}
