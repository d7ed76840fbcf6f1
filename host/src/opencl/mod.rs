//! The accelerator as an OpenCL device: a card behind its vendor's runtime, or the simulator's platform.
//!
//! [`library`] settles which OpenCL library is asked, [`platform`] finds devices in it and chooses one, [`image`] reads
//! what a device is configured with and checks that it is the accelerator that the weights were packed for, and
//! [`Device`] holds the memory and runs the kernel. Nothing here asks which platform answers: what differs between a
//! card and the simulator is data (names, banks, images).
//!
//! Everything that a vendor's runtime is known to crash on is checked here first: images are parsed, banks have room,
//! every kernel argument is set.

mod banks;
mod device;
mod error;
mod gather;
mod host_memory;
pub mod image;
pub mod library;
mod meter;
mod owned;
pub mod platform;
mod raw;
mod status;
mod step;
mod transfer;
mod watchdog;

pub use device::{Device, DeviceOptions};
pub use error::OpenClError;
pub use transfer::{LinkUse, LoadReport, LoadWatch};
