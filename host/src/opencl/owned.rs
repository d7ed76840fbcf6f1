//! OpenCL objects that are released quietly.
//!
//! The binding panics where a release fails. A device that has failed may make it fail, and nobody could do anything
//! about it: it is logged instead.
#![allow(unsafe_code, reason = "objects are released here instead of by the binding")]

use opencl3::command_queue::{CommandQueue, release_command_queue};
use opencl3::context::Context;
use opencl3::context::context::release_context;
use opencl3::error_codes::error_text;
use opencl3::event::{Event, release_event};
use opencl3::kernel::{Kernel, release_kernel};
use opencl3::memory::{Buffer, ClMem, release_mem_object};
use opencl3::program::{Program, release_program};
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};

/// An object of the binding, released when it is dropped.
pub(super) struct Owned<T: Release>(ManuallyDrop<T>);

impl<T: Release> Owned<T> {
    pub(super) fn new(object: T) -> Self {
        Self(ManuallyDrop::new(object))
    }
}

impl<T: Release> Deref for Owned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Release> DerefMut for Owned<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Release> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the object holds one reference, which is given back once.
        if let Err(code) = unsafe { self.0.release() } {
            tracing::warn!("{} answered {} ({code})", T::CALL, error_text(code));
        }
    }
}

/// Objects that have a reference to give back.
pub(super) trait Release {
    /// The call.
    const CALL: &'static str;

    /// Gives the reference back.
    ///
    /// # Safety
    /// Called once for each object, which is not used afterwards.
    unsafe fn release(&self) -> Result<(), i32>;
}

macro_rules! release {
    ($($object:ty, $call:literal, $release:ident);+ $(;)?) => {$(
        impl Release for $object {
            const CALL: &'static str = $call;

            unsafe fn release(&self) -> Result<(), i32> {
                // SAFETY: as this function's.
                unsafe { $release(self.get()) }
            }
        }
    )+};
}

release! {
    Context, "clReleaseContext", release_context;
    CommandQueue, "clReleaseCommandQueue", release_command_queue;
    Program, "clReleaseProgram", release_program;
    Kernel, "clReleaseKernel", release_kernel;
    Buffer<u8>, "clReleaseMemObject", release_mem_object;
    Event, "clReleaseEvent", release_event;
}
