//! `progress`: how far the vector unit is, for those that use its results.
//!
//! # Purpose
//!
//! Counts the commands of the vector unit whose results are all there, and says of the one in the unit which slots' results are missing.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i`, `start_i` | in | 1 | nothing is under way; a run begins |
//! | `begins_i`, `slots_i` | in | 1, slots | the first part of a command begins; the slots that it runs for |
//! | `skips_i` | in | 1 | a command for no slot leaves |
//! | `done_i` | in | 1 | a part has its result: they come in ascending order of slots |
//! | `finished_o` | out | 8 | commands whose results are all there, those of this cycle too |
//! | `<reader>_valid_i`, `<reader>_i` | in | 1, 8 | whether a vector command is waited for, and its number |
//! | `<reader>_missing_o` | out | slots | slots for which it is, of those that it runs for; all until its first result is there |
//!
//! # Timing
//!
//! A result of a cycle is seen in that cycle. Commands do not overlap in the unit: the first part of one begins with the last result of the one before, or
//! later.
//!
//! # Numeric contract
//!
//! None.
//!
//! # Cost
//!
//! A mask and a number.
//!
//! # Verification
//!
//! `tests/tests/rtl_core`: cycles of whole runs.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{core::Progress, rtl::Block};
//!
//! assert_eq!(Progress::new(8, &["product"])?.module()?.name(), "progress_s8_product");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use crate::cmd::NUMBER_BITS;
use crate::prim::{lowest, within};
use crate::rtl::{Block, Builder, Module, RtlError};
use fastcar_arch::config::MAX_SLOTS;
use std::sync::Arc;

/// How far the vector unit is. See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    slots: u32,
    readers: Vec<&'static str>,
}

impl Progress {
    /// For so many slots, and readers of some names.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(slots: u32, readers: &[&'static str]) -> Result<Self, RtlError> {
        let slots = within("progress", "slots", slots, 1..=MAX_SLOTS, "1 to 32")?;
        Ok(Self { slots, readers: readers.to_vec() })
    }
}

impl Block for Progress {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("progress_s{}_{}", self.slots, self.readers.join("_")));
        let (clear, begins) = (m.input("start_i", 1), m.input("begins_i", 1));
        let (slots, done) = (m.input("slots_i", self.slots), m.input("done_i", 1));
        let none = m.lit(self.slots, 0);
        let pending = m.reg("pending", self.slots).reset(0);
        let left = done.mux(pending.q() & !lowest(pending.q()), pending.q());
        pending.set(clear.mux(none, begins.mux(slots, left)));
        let last = done & left.is_zero();
        let skips = m.input("skips_i", 1);
        // A result of the command in the unit is there, but not all of them.
        let seen = m.reg("seen", 1).reset(0);
        seen.update(&[(clear | begins | last, m.lit(1, 0)), (done, m.lit(1, 1))]);
        let some = (seen.q() | done) & !last;
        let count = m.reg("finished", NUMBER_BITS).reset(0);
        // A command for nobody may leave with the last result of the one before.
        let finished = count.q() + last.zext(NUMBER_BITS) + skips.zext(NUMBER_BITS);
        count.set(clear.mux(m.lit(NUMBER_BITS, 0), finished));
        m.output("finished_o", finished);
        for reader in &self.readers {
            let waits = m.input(&format!("{reader}_valid_i"), 1);
            let ahead = m.input(&format!("{reader}_i"), NUMBER_BITS) - finished;
            let all = (ahead.any() & !ahead.msb()) | !some;
            let missing = (left | all.repeat(self.slots)) & (waits & !ahead.msb()).repeat(self.slots);
            m.output(&format!("{reader}_missing_o"), missing);
        }
        m.finish()
    }
}
