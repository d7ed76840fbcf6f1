//! Every function of the interface, listed once: the dispatch table that loaders follow, and the exported symbols.
//!
//! The table points at functions that are not exported: a pointer at an exported one would be bound to the symbol of
//! the same name that comes first in the process, which is the loader's.

use super::enqueue::{Host, Part, Range, Target};
use super::functions::{functions, object, status};
use super::rect::Area;
use super::{context, enqueue, event, info, kernel, memory, platform, program, queue, stub};
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
        clEnqueueMarker(queue: cl_command_queue, event: *mut cl_event) => enqueue::marker;
        clEnqueueBarrier(queue: cl_command_queue) => enqueue::barrier;
        clEnqueueWaitForEvents(queue: cl_command_queue, num_events: cl_uint, events: *const cl_event)
            => enqueue::wait_for_events;
    }
    // Between the queue, and the wait list and the place of the event.
    enqueue {
        clEnqueueReadBuffer(buffer: cl_mem, blocking: cl_bool, offset: usize, size: usize, ptr: *mut c_void)
            => enqueue::read(cl::CL_COMMAND_READ_BUFFER, Part::line(buffer, offset, size), Host::line(ptr, size, blocking));
        clEnqueueWriteBuffer(buffer: cl_mem, blocking: cl_bool, offset: usize, size: usize, ptr: *const c_void)
            => enqueue::write(cl::CL_COMMAND_WRITE_BUFFER, Host::line(ptr, size, blocking), Part::line(buffer, offset, size));
        clEnqueueReadBufferRect(
            buffer: cl_mem, blocking: cl_bool, buffer_origin: *const usize, host_origin: *const usize,
            region: *const usize, buffer_row_pitch: usize, buffer_slice_pitch: usize, host_row_pitch: usize,
            host_slice_pitch: usize, ptr: *mut c_void,
        ) => enqueue::read(
            cl::CL_COMMAND_READ_BUFFER_RECT,
            Part::of(buffer, Area::boxed(buffer_origin, region, buffer_row_pitch, buffer_slice_pitch)),
            Host::of(ptr, Area::boxed(host_origin, region, host_row_pitch, host_slice_pitch), blocking),
        );
        clEnqueueWriteBufferRect(
            buffer: cl_mem, blocking: cl_bool, buffer_origin: *const usize, host_origin: *const usize,
            region: *const usize, buffer_row_pitch: usize, buffer_slice_pitch: usize, host_row_pitch: usize,
            host_slice_pitch: usize, ptr: *const c_void,
        ) => enqueue::write(
            cl::CL_COMMAND_WRITE_BUFFER_RECT,
            Host::of(ptr, Area::boxed(host_origin, region, host_row_pitch, host_slice_pitch), blocking),
            Part::of(buffer, Area::boxed(buffer_origin, region, buffer_row_pitch, buffer_slice_pitch)),
        );
        clEnqueueCopyBuffer(src: cl_mem, dst: cl_mem, src_offset: usize, dst_offset: usize, size: usize)
            => enqueue::copy(cl::CL_COMMAND_COPY_BUFFER, Part::line(src, src_offset, size), Part::line(dst, dst_offset, size));
        clEnqueueCopyBufferRect(
            src: cl_mem, dst: cl_mem, src_origin: *const usize, dst_origin: *const usize, region: *const usize,
            src_row_pitch: usize, src_slice_pitch: usize, dst_row_pitch: usize, dst_slice_pitch: usize,
        ) => enqueue::copy(
            cl::CL_COMMAND_COPY_BUFFER_RECT,
            Part::of(src, Area::boxed(src_origin, region, src_row_pitch, src_slice_pitch)),
            Part::of(dst, Area::boxed(dst_origin, region, dst_row_pitch, dst_slice_pitch)),
        );
        clEnqueueFillBuffer(
            buffer: cl_mem, pattern: *const c_void, pattern_size: usize, offset: usize, size: usize,
        ) => enqueue::fill(Part::line(buffer, offset, size), pattern, pattern_size);
        clEnqueueUnmapMemObject(memobj: cl_mem, mapped_ptr: *mut c_void) => enqueue::unmap(memobj, mapped_ptr);
        clEnqueueMigrateMemObjects(num_mem_objects: cl_uint, mem_objects: *const cl_mem, flags: cl_mem_migration_flags)
            => enqueue::migrate(num_mem_objects, mem_objects, flags);
        clEnqueueNDRangeKernel(
            kernel: cl_kernel, work_dim: cl_uint, global_work_offset: *const usize, global_work_size: *const usize,
            local_work_size: *const usize,
        ) => enqueue::nd_range_kernel(
            kernel,
            Range {
                dimensions: work_dim, offset: global_work_offset, global: global_work_size, local: local_work_size,
            },
        );
        clEnqueueTask(kernel: cl_kernel) => enqueue::task(kernel);
        clEnqueueMarkerWithWaitList() => enqueue::marker_with_list();
        clEnqueueBarrierWithWaitList() => enqueue::barrier_with_list();
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
