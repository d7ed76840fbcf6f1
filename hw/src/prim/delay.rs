//! `delay`: a value, some cycles later.
//!
//! # Purpose
//!
//! Brings a value to where others are that took longer. Synthesis makes shift registers in look-up tables of it.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `data_i` | in | width | sampled on every edge |
//! | `data_o` | out | width | `data_i` of `cycles` edges before |
//!
//! # Timing
//!
//! Latency `cycles`, one value per cycle, no reset: the first `cycles` values are anything. A line of 0 cycles is a wire.
//!
//! # Numeric contract
//!
//! None: bits are bits.
//!
//! # Cost
//!
//! `width * cycles` register bits; on Xilinx devices one SRL per bit and 32 cycles.
//!
//! # Verification
//!
//! `tests/tests/rtl_primitives/control.rs::delay_lines_delay`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{prim::DelayLine, rtl::{Block, Builder}};
//!
//! let m = Builder::new("late_by_3");
//! let late = DelayLine::new(8, 3)?.build(&m, "late", m.input("data_i", 8));
//! m.output("data_o", late);
//! assert_eq!(m.finish()?.ports().len(), 2);
//! assert_eq!(DelayLine::new(8, 3)?.module()?.name(), "delay_w8_n3");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::{data_width, within};
use crate::rtl::{Block, Builder, Module, RtlError, Wire};
use std::sync::Arc;

/// A delay line. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelayLine {
    width: u32,
    cycles: u32,
}

impl DelayLine {
    /// A line of a width and a number of cycles.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(width: u32, cycles: u32) -> Result<Self, RtlError> {
        let cycles = within("delay line", "cycles", cycles, 0..=4096, "0 to 4096")?;
        Ok(Self { width: data_width("delay line", width)?, cycles })
    }

    /// The registers within another module: cheaper than an instance where the name of the registers is enough.
    #[track_caller]
    pub fn build<'m>(&self, m: &'m Builder, name: &str, value: Wire<'m>) -> Wire<'m> {
        (0..self.cycles).fold(value, |value, cycle| m.register(&format!("{name}_{cycle}"), value))
    }
}

impl Block for DelayLine {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("delay_w{}_n{}", self.width, self.cycles));
        let late = self.build(&m, "stage", m.input("data_i", self.width));
        m.output("data_o", late);
        m.finish()
    }
}
