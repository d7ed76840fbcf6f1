//! The MX block formats: to MXINT8 blocks, back to binary32, and MXFP4 codes to integers.

pub mod dequantiser;
pub mod half_units;
pub mod quantiser;

pub use dequantiser::Dequantiser;
pub use half_units::HalfUnits;
pub use quantiser::Quantiser;

use crate::rtl::RtlError;
use fastcar_arch::config::LINE_WORDS;

/// Elements of a block, as hardware counts them.
pub(crate) const BLOCK: u32 = LINE_WORDS;

/// A number of lanes that divides a block.
fn lanes(block: &'static str, lanes: u32) -> Result<u32, RtlError> {
    if lanes.is_power_of_two() && lanes <= BLOCK {
        return Ok(lanes);
    }
    let allowed = "a power of two from 1 to 32, so that a block is whole groups of lanes";
    Err(RtlError::Parameter { block, parameter: "lanes", asked: u64::from(lanes), allowed })
}
