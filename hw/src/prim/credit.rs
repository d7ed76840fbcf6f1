//! `credit`: how much may still be under way.
//!
//! # Purpose
//!
//! Lets a pipe without back-pressure feed something with limited room: each word that goes in takes a credit, each that has left
//! gives one back.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | all credits are there |
//! | `take_i` | in | 1 | one is taken; ignored while none is there |
//! | `give_i` | in | 1 | one comes back; ignored while all are there and none is taken |
//! | `available_o` | out | 1 | at least one is there |
//! | `count_o` | out | log2(credits + 1) | how many |
//!
//! # Timing
//!
//! Outputs come from registers. One taken and one given in the same cycle change nothing, also at either end.
//!
//! # Numeric contract
//!
//! `count_o` is 0 to `credits`.
//!
//! # Cost
//!
//! `log2(credits + 1) + 1` registers, an adder.
//!
//! # Verification
//!
//! `tests/tests/rtl_primitives/control.rs::credits_are_kept`, `tests/tests/rtl_formal.rs::credit_counter`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{prim::CreditCounter, rtl::Block};
//!
//! assert_eq!(CreditCounter::new(16)?.module()?.name(), "credit_n16");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::within;
use crate::rtl::{Block, Builder, Module, RtlError, index_width};
use std::sync::Arc;

/// A credit counter. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreditCounter {
    credits: u32,
}

impl CreditCounter {
    /// A counter that begins with all its credits.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(credits: u32) -> Result<Self, RtlError> {
        Ok(Self { credits: within("credit counter", "credits", credits, 1..=1 << 20, "1 to 1048576")? })
    }
}

impl Block for CreditCounter {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let all = u64::from(self.credits);
        let m = Builder::new(format!("credit_n{all}"));
        let (take, give) = (m.input("take_i", 1), m.input("give_i", 1));
        let count = m.reg("count", index_width(all + 1)).reset(all);
        let available = m.reg("available", 1).reset(1);
        let taken = (take & available.q()).named("taken");
        let given = (give & (taken | count.q().ne(all))).named("given");
        count.update(&[(taken & !given, count.q() - 1), (given & !taken, count.q() + 1)]);
        available.update(&[(taken & !given, count.q().ne(1)), (given & !taken, m.lit(1, 1))]);
        m.output("available_o", available.q());
        m.output("count_o", count.q());
        m.finish()
    }
}
