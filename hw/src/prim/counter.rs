//! `counter`: counts from 0 to a limit, over and over.
//!
//! # Purpose
//!
//! Addresses, positions and beats: a number that goes up on demand and begins again after its last value.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | back to 0 |
//! | `step_i` | in | 1 | count on this edge |
//! | `count_o` | out | log2(limit) | 0 to `limit - 1` |
//! | `last_o` | out | 1 | `count_o` is `limit - 1`: the next step goes to 0 |
//!
//! # Timing
//!
//! A step on edge `e` is seen after it. One step per cycle.
//!
//! # Numeric contract
//!
//! Unsigned, modulo `limit`, which need not be a power of two.
//!
//! # Cost
//!
//! `log2(limit)` registers, an incrementer and a comparison.
//!
//! # Verification
//!
//! `tests/tests/rtl_primitives/control.rs::counters_count`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{prim::Counter, rtl::{Block, Builder}};
//!
//! let m = Builder::new("beats");
//! let (count, last) = Counter::new(10)?.build(&m, "beat", m.input("step_i", 1));
//! m.output("count_o", count);
//! m.output("last_o", last);
//! assert_eq!(m.finish()?.ports()[1].width, 4);
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::within;
use crate::rtl::{Block, Builder, Module, RtlError, Wire, index_width};
use std::sync::Arc;

/// A counter. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    limit: u32,
}

impl Counter {
    /// A counter with `limit` values.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(limit: u32) -> Result<Self, RtlError> {
        Ok(Self { limit: within("counter", "limit", limit, 1..=u32::MAX, "at least 1")? })
    }

    /// A counter of a limit that was checked before.
    pub(super) fn modulo(limit: u32) -> Self {
        Self { limit: limit.max(1) }
    }

    /// The counter within another module: its value, and whether that is the last.
    #[track_caller]
    pub fn build<'m>(&self, m: &'m Builder, name: &str, step: Wire<'m>) -> (Wire<'m>, Wire<'m>) {
        let count = m.reg(name, index_width(u64::from(self.limit))).reset(0);
        let last = count.q().eq(u64::from(self.limit - 1));
        let zero = m.lit(count.q().width(), 0);
        count.set_when(step, last.mux(zero, count.q() + 1));
        (count.q(), last)
    }
}

impl Block for Counter {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("counter_n{}", self.limit));
        let (count, last) = self.build(&m, "count", m.input("step_i", 1));
        m.output("count_o", count);
        m.output("last_o", last);
        m.finish()
    }
}
