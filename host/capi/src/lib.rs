//! The host runtime as a C library.
//!
//! The C interface is `include/fastcar.h`, which cbindgen makes of these modules: what a function does, who owns what and
//! which threads may call stand there, in the words of the comments here. A function checks its pointers and copies what
//! it needs ([`memory`]), calls `fastcar-host`, and turns an error into a status and a message ([`status`]); nothing
//! unwinds into C.
#![allow(non_camel_case_types, reason = "the names are those of the C interface")]
#![allow(
    clippy::missing_safety_doc,
    reason = "what holds for every pointer stands once, at the head of the C interface"
)]

mod device;
mod memory;
mod model;
mod policy;
mod progress;
mod session;
mod status;
mod stored;
mod version;

pub use device::*;
pub use model::*;
pub use policy::*;
pub use progress::fastcar_progress;
pub use session::*;
pub use status::{fastcar_last_error, fastcar_status, fastcar_status_name};
pub use stored::*;
pub use version::*;

/// Handles go from thread to thread, and those of models and policies are used by several at a time.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<fastcar_model>();
    shared::<fastcar_policy>();
    shared::<fastcar_session>();
};
