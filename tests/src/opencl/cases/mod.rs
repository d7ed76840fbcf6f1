//! The table of calls. Each area of OpenCL has a file; a case's name starts with the area.

mod arguments;
mod buffer;
mod context;
mod device;
mod event;
mod kernel;
mod launch;
mod other;
mod platform;
mod program;
mod queue;
mod transfer;

use super::World;
use super::api::Outcome;
use std::ffi::c_void;
use std::ptr;

/// One call, with what it needs before.
pub struct Case {
    /// Its name.
    pub name: String,
    run: Box<dyn Fn(&World) -> Outcome>,
}

impl Case {
    /// Makes the call.
    ///
    /// # Errors
    /// [`super::Stop`] when the call cannot be made.
    pub fn run(&self, world: &World) -> Outcome {
        (self.run)(world)
    }
}

/// A case.
fn case(name: impl Into<String>, run: impl Fn(&World) -> Outcome + 'static) -> Case {
    Case { name: name.into(), run: Box::new(run) }
}

/// Every case, in order.
#[must_use]
pub fn cases() -> Vec<Case> {
    let areas = [
        platform::cases,
        device::cases,
        context::cases,
        queue::cases,
        buffer::cases,
        program::cases,
        kernel::cases,
        arguments::cases,
        launch::cases,
        transfer::cases,
        event::cases,
        other::cases,
    ];
    areas.iter().flat_map(|area| area()).collect()
}

/// No object.
const NULL: *mut c_void = ptr::null_mut();

/// Memory that is no object: where the table of functions should be stands nothing.
fn garbage() -> *mut c_void {
    Box::leak(Box::new([0_u64; 512])).as_mut_ptr().cast()
}
