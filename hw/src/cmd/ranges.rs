//! `ranges`: which of the last commands touched a part of a buffer.
//!
//! # Purpose
//!
//! Keeps the ranges of blocks that the last commands of one kind use, and finds the latest that overlaps a new one. Commands of a
//! kind are done in order, so waiting for the latest is waiting for all.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i`, `clear_i` | in | 1 | forgets all |
//! | `start_i`, `end_i` | in | width, width + 1 | the range that is asked for: first block, and the one behind the last |
//! | `found_o`, `number_o` | out | 1, number | whether a range overlaps, and the number of the latest that does |
//! | `push_i`, `push_start_i`, `push_end_i`, `push_number_i` | in | 1, width, width + 1, number | a range is added, the oldest forgotten |
//!
//! # Timing
//!
//! The answer is there [`Ranges::LATENCY`] cycles after the question and knows of what was added before it. A question and an addition a cycle.
//!
//! # Numeric contract
//!
//! Half-open ranges; an empty one overlaps nothing.
//!
//! # Cost
//!
//! Two comparisons and `2 * width + number + 2` registers for each range.
//!
//! # Verification
//!
//! `tests/tests/rtl_cmd.rs::the_latest_overlap_is_found`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{cmd::Ranges, rtl::Block};
//!
//! assert_eq!(Ranges::new(16, 8, 32)?.module()?.name(), "ranges_w16_n8_d32");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use crate::prim::within;
use crate::rtl::{Block, Builder, Module, RtlError, Wire};
use std::sync::Arc;

/// The last ranges. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranges {
    width: u32,
    number: u32,
    depth: u32,
}

impl Ranges {
    /// Cycles from a question to its answer.
    pub const LATENCY: u32 = 2;

    /// The last `depth` ranges of blocks of `width` bits, with numbers of `number` bits.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(width: u32, number: u32, depth: u32) -> Result<Self, RtlError> {
        Ok(Self {
            width: within("ranges", "width", width, 1..=32, "1 to 32 bits")?,
            number: within("ranges", "number", number, 1..=32, "1 to 32 bits")?,
            depth: within("ranges", "depth", depth, 1..=256, "1 to 256")?,
        })
    }
}

/// A range that is kept.
#[derive(Clone, Copy)]
struct Kept<'m> {
    valid: Wire<'m>,
    start: Wire<'m>,
    end: Wire<'m>,
    number: Wire<'m>,
}

impl<'m> Kept<'m> {
    /// The same, one place on when another comes; gone when all are forgotten.
    fn next(self, m: &'m Builder, place: u32, push: Wire<'m>, clear: Wire<'m>) -> Self {
        let keep = |name: &str, value: Wire<'m>| {
            let reg = m.reg(&format!("{name}_{place}"), value.width());
            reg.set_when(push, value);
            reg.q()
        };
        let valid = m.reg(&format!("valid_{place}"), 1).reset(0);
        valid.update(&[(clear, m.lit(1, 0)), (push, self.valid)]);
        let (start, end) = (keep("start", self.start), keep("end", self.end));
        Self { valid: valid.q(), start, end, number: keep("number", self.number) }
    }
}

impl Block for Ranges {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Self { width, number, depth } = *self;
        let m = Builder::new(format!("ranges_w{width}_n{number}_d{depth}"));
        let (push, clear) = (m.input("push_i", 1), m.input("clear_i", 1));
        let (start, end) = (m.input("start_i", width), m.input("end_i", width + 1));
        let mut kept = Kept {
            valid: m.lit(1, 1),
            start: m.input("push_start_i", width),
            end: m.input("push_end_i", width + 1),
            number: m.input("push_number_i", number),
        };
        let mut answers = Vec::new();
        for place in 0..depth {
            kept = kept.next(&m, place, push, clear);
            // Both first blocks lie before the other's end, and neither is empty.
            let meets = kept.start.zext(width + 1).lt(end) & start.zext(width + 1).lt(kept.end);
            let empty = kept.start.zext(width + 1).eq(kept.end) | start.zext(width + 1).eq(end);
            let meets = m.register(&format!("meets_{place}"), kept.valid & meets & !empty);
            // The ranges move on while the answer is made: the number goes along.
            let met = m.register(&format!("met_{place}"), kept.number);
            answers.push(meets.cat(met));
        }
        // The later of two is the one in front.
        let latest = m.tree(&answers, |later, earlier| later.msb().mux(later, earlier));
        m.output("found_o", m.register("found", latest.msb()));
        m.output("number_o", m.register("latest", latest.trunc(number)));
        m.finish()
    }
}
