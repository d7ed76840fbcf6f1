//! Blocks that every design needs.
//!
//! A **pipe** has `valid` only: who takes it must do so at once. A **stream** has `valid` and `ready`, see
//! [`Stream`](crate::rtl::Stream). Reset is synchronous and reaches control only, never data.

pub mod arbiter;
pub mod counter;
pub mod credit;
pub mod delay;
pub mod fifo;
pub mod fork;
mod one_hot;
pub mod ram;
pub mod skid;
pub mod width;

pub use arbiter::RoundRobin;
pub use counter::Counter;
pub use credit::CreditCounter;
pub use delay::DelayLine;
pub use fifo::Fifo;
pub use fork::{Fork, Join};
pub(crate) use one_hot::{lowest, number, ones, times};
pub use ram::Ram;
pub use skid::SkidBuffer;
pub use width::{Narrower, Wider};

use crate::rtl::{MAX_WIDTH, RtlError};

/// A parameter within limits, or the error that says so.
pub(crate) fn within(
    block: &'static str,
    parameter: &'static str,
    asked: u32,
    limits: std::ops::RangeInclusive<u32>,
    allowed: &'static str,
) -> Result<u32, RtlError> {
    if limits.contains(&asked) {
        return Ok(asked);
    }
    Err(RtlError::Parameter { block, parameter, asked: u64::from(asked), allowed })
}

/// A width that data may have.
fn data_width(block: &'static str, width: u32) -> Result<u32, RtlError> {
    within(block, "width", width, 1..=MAX_WIDTH, "1 to 1048576 bits")
}
