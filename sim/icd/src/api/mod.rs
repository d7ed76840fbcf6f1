//! The C interface: entry points, handles, and the memory of the caller.
//!
//! [`table`] lists every function once, and [`functions`] makes of it the dispatch table and the exported symbol. The other modules
//! hold what the functions do; each check says which sentence of the OpenCL specification it answers to.
#![allow(unsafe_code, reason = "a C interface: pointers of the caller are read and written")]

mod context;
mod enqueue;
mod event;
mod functions;
mod handle;
mod host;
mod info;
mod kernel;
mod memory;
mod platform;
mod program;
mod queue;
mod rect;
mod stub;
mod table;

pub(crate) use handle::live;
pub(crate) use table::keep;
