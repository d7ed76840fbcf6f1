//! The objects that the calls use.

use crate::common::{CHANNEL, Cl, LIMITS, Rig, copying, image, step};
use opencl_sys::*;
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::{null, null_mut};

pub struct World {
    /// Device 0: its context, queue, program, kernel and buffers.
    pub rig: Rig,
    /// Device 1, which is not in the rig's context, with a context, a queue and a buffer of its own.
    pub other_device: cl_device_id,
    pub other_context: cl_context,
    pub other_queue: cl_command_queue,
    pub other_buffer: cl_mem,
    pub other_event: cl_event,
    /// A queue without profiling, out of order.
    pub plain_queue: cl_command_queue,
    /// A kernel without arguments.
    pub bare_kernel: cl_kernel,
    /// Buffers that the host may not read, or write.
    pub write_only: cl_mem,
    pub read_only: cl_mem,
    pub part: cl_mem,
    /// A user event that stays open, a complete command, and one that has failed.
    pub open_event: cl_event,
    pub done_event: cl_event,
    pub plain_event: cl_event,
    pub failed_event: cl_event,
    /// Handles of objects that are gone.
    pub dead: cl_mem,
    pub dead_event: cl_event,
    pub image: Vec<u8>,
    /// Bytes that transfers use.
    pub bytes: Box<[u8; CHANNEL]>,
}

/// What a case's expression gives: a status, or a status behind an object, which is released.
pub trait Found {
    fn status(self, world: &World) -> cl_int;
}

impl Found for cl_int {
    fn status(self, _: &World) -> cl_int {
        self
    }
}

/// An object that a call has made, the status it gave, and how to release it.
pub struct Made(pub *mut c_void, pub cl_int, pub unsafe extern "C" fn(*mut c_void) -> cl_int);

impl Found for Made {
    fn status(self, _: &World) -> cl_int {
        let Self(object, code, release) = self;
        assert_eq!(object.is_null(), code != CL_SUCCESS, "an object exactly where the call succeeds");
        if !object.is_null() {
            // SAFETY: a live object with one reference.
            assert_eq!(unsafe { release(object) }, CL_SUCCESS);
        }
        code
    }
}

/// Makes a case's call.
///
/// # Safety
/// The call is one that the world's objects stand.
pub unsafe fn call<F: Found>(world: &World, case: impl FnOnce(&World, &Cl) -> F) -> cl_int {
    case(world, &world.rig.cl).status(world)
}

/// Gives a call a place for its status.
pub fn made(
    release: unsafe extern "C" fn(*mut c_void) -> cl_int,
    call: impl FnOnce(*mut cl_int) -> *mut c_void,
) -> Made {
    let code = Cell::new(99);
    let object = call(code.as_ptr());
    Made(object, code.get(), release)
}

/// Gives a call a place for its event, which is released.
pub fn event(w: &World, call: impl FnOnce(*mut cl_event) -> cl_int) -> cl_int {
    let mut event = null_mut();
    let code = call(&raw mut event);
    assert_eq!(event.is_null(), code != CL_SUCCESS, "an event exactly where the call succeeds");
    if !event.is_null() {
        w.rig.release_event(event);
    }
    code
}

/// Gives a query room for a value of so many bytes.
pub fn query(size: usize, call: impl FnOnce(usize, *mut c_void, *mut usize) -> cl_int) -> cl_int {
    let (mut value, mut found) = (vec![0u8; size.max(1)], usize::MAX);
    let code = call(size, value.as_mut_ptr().cast(), &raw mut found);
    assert!(code != CL_SUCCESS || found <= size, "{found} bytes of {size}");
    code
}

impl World {
    pub fn new() -> Self {
        let rig = Rig::new(Cl::linked(), "tiny", CL_QUEUE_PROFILING_ENABLE);
        rig.load(&copying(&rig.config));
        rig.write(rig.buffers[1], 0, &step(&rig.config, 1).to_bytes(LIMITS));
        // SAFETY: every call is as the specification asks.
        unsafe { Self::around(rig) }
    }

    unsafe fn around(rig: Rig) -> Self {
        let (mut devices, mut code) = ([null_mut(); 2], -1);
        let cl = &rig.cl;
        // SAFETY: as the caller says, here and below.
        unsafe {
            let kind = CL_DEVICE_TYPE_ALL;
            assert_eq!((cl.clGetDeviceIDs)(rig.platform, kind, 2, devices.as_mut_ptr(), null_mut()), 0);
            let other_device = devices[1];
            let context = |device: cl_device_id, code: *mut cl_int| {
                (cl.clCreateContext)(null(), 1, &raw const device, null_mut(), null_mut(), code)
            };
            let other_context = context(other_device, &raw mut code);
            let other_queue = (cl.clCreateCommandQueue)(other_context, other_device, 0, &raw mut code);
            let buffer = |context, flags, code: *mut cl_int| {
                (cl.clCreateBuffer)(context, flags, CHANNEL, null_mut(), code)
            };
            let other_buffer = buffer(other_context, CL_MEM_READ_WRITE, &raw mut code);
            let other_event = (cl.clCreateUserEvent)(other_context, &raw mut code);
            let out_of_order = CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE;
            let plain_queue = (cl.clCreateCommandQueue)(rig.context, rig.device, out_of_order, &raw mut code);
            let bare_kernel = (cl.clCreateKernel)(rig.program, c"fastcar".as_ptr(), &raw mut code);
            let write_only = buffer(rig.context, CL_MEM_HOST_WRITE_ONLY, &raw mut code);
            let read_only = buffer(rig.context, CL_MEM_HOST_READ_ONLY, &raw mut code);
            let region = cl_buffer_region { origin: 4096, size: 4096 };
            let info = (&raw const region).cast();
            let part =
                (cl.clCreateSubBuffer)(rig.buffers[3], 0, CL_BUFFER_CREATE_TYPE_REGION, info, &raw mut code);
            let open_event = (cl.clCreateUserEvent)(rig.context, &raw mut code);
            let failed_event = (cl.clCreateUserEvent)(rig.context, &raw mut code);
            assert_eq!((cl.clSetUserEventStatus)(failed_event, -77), 0);
            let marker = |queue| {
                let mut event = null_mut();
                assert_eq!((cl.clEnqueueMarker)(queue, &raw mut event), 0);
                assert_eq!((cl.clWaitForEvents)(1, &raw const event), 0);
                event
            };
            let (done_event, plain_event) = (marker(rig.queue), marker(plain_queue));
            let dead = buffer(rig.context, CL_MEM_READ_WRITE, &raw mut code);
            assert_eq!((cl.clReleaseMemObject)(dead), 0);
            let dead_event = (cl.clCreateUserEvent)(rig.context, &raw mut code);
            assert_eq!((cl.clReleaseEvent)(dead_event), 0);
            Self {
                other_device,
                other_context,
                other_queue,
                other_buffer,
                other_event,
                plain_queue,
                bare_kernel,
                write_only,
                read_only,
                part,
                open_event,
                done_event,
                plain_event,
                failed_event,
                dead,
                dead_event,
                image: image("tiny"),
                bytes: Box::new([0; CHANNEL]),
                rig,
            }
        }
    }

    /// Where transfers read and write on the host.
    pub fn host(&self) -> *mut c_void {
        self.bytes.as_ptr().cast_mut().cast()
    }

    /// Releases everything.
    pub fn close(self) {
        let cl = &self.rig.cl;
        // SAFETY: every object is released once.
        unsafe {
            for mem in [self.part, self.read_only, self.write_only, self.other_buffer] {
                assert_eq!((cl.clReleaseMemObject)(mem), 0);
            }
            let events =
                [self.open_event, self.done_event, self.plain_event, self.failed_event, self.other_event];
            for event in events {
                assert_eq!((cl.clReleaseEvent)(event), 0);
            }
            assert_eq!((cl.clReleaseKernel)(self.bare_kernel), 0);
            assert_eq!((cl.clReleaseCommandQueue)(self.plain_queue), 0);
            assert_eq!((cl.clReleaseCommandQueue)(self.other_queue), 0);
            assert_eq!((cl.clReleaseContext)(self.other_context), 0);
        }
        self.rig.close();
    }
}
