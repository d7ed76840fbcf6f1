//! The command processor: from the program in memory to the units' queues.

pub mod check;
pub mod decode;
pub mod dispatch;
pub mod fields;
pub mod prefetch;
pub mod ranges;
pub mod table;
pub mod writers;

use crate::rtl::RtlError;

pub use check::Check;
pub use decode::Classes;
pub use dispatch::{Dispatch, NUMBER_BITS};
pub use fields::{COMMAND_BITS, Fields};
pub use prefetch::Prefetch;
pub use ranges::Ranges;
pub use table::TableReader;
pub use writers::Writers;

/// Bytes of a memory beat, if they are what a channel can have.
fn beat_bytes(block: &'static str, bytes: u32) -> Result<u32, RtlError> {
    if [16, 32, 64].contains(&bytes) {
        return Ok(bytes);
    }
    Err(RtlError::Parameter { block, parameter: "beat_bytes", asked: bytes.into(), allowed: "16, 32 or 64" })
}
