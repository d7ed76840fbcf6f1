//! OpenCL as a host program meets it: one table of calls, made on any implementation, and what each answered.
//!
//! The table ([`cases()`]) is run against AMD's own runtime (XRT, whose device computes nothing) and against the
//! simulator's platform; where the two differ, [`differences`] says why. A case has a process of its own
//! ([`record`]), since a runtime may crash on a call that OpenCL calls an error, or leave something behind.
#![allow(unsafe_code, reason = "calls of a C interface, wrong ones on purpose")]

pub mod api;
pub mod bundle;
mod cases;
pub mod differences;
pub mod page;
pub mod platforms;
pub mod record;
mod world;

pub use api::{Answer, Api, Stop};
pub use cases::{Case, cases};
pub use world::World;

use fastcar_arch::config::{AccelConfig, ConfigError};
use fastcar_xclbin::image::{FastcarImage, ImageError};

/// The preset whose image the recordings are made with: several banks, but not many.
pub const PRESET: &str = "edge";

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum NoImage {
    /// No such preset.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The preset has no image.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// The simulator's image of a preset.
///
/// # Errors
/// [`NoImage`].
pub fn image(preset: &str) -> Result<Vec<u8>, NoImage> {
    Ok(FastcarImage::simulator(&AccelConfig::preset(preset)?)?.to_bytes())
}
