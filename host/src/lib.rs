//! Host runtime of the fastcar accelerator: from a checkpoint on disk to tokens.
//!
//! [`model`] reads Hugging Face folders, [`pack`] lays their weights out for a configuration, [`compile`] turns a
//! packed model and a [`policy`] into step programs, and a [`session`] runs them on a [`backend`]. An [`engine`]
//! shares devices among threads. The [`oracle`] is the same model in plain binary32, to measure against.

pub mod attention;
pub mod backend;
pub mod calibrate;
pub mod compile;
pub mod engine;
mod files;
pub mod image;
mod mmap;
pub mod model;
#[cfg(feature = "opencl")]
pub mod opencl;
pub mod oracle;
pub mod pack;
pub mod packed;
pub mod plan;
pub mod policy;
pub mod quality;
mod rope;
pub mod sampler;
pub mod session;
#[cfg(feature = "sim")]
pub mod simulate;
pub mod workload;
