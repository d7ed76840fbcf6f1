//! `window_term`: a block sum, shifted to its place in the accumulation window.
//!
//! # Purpose
//!
//! Block sums under different scales are added in one window of 48 bits, whose base is fixed beforehand. This block
//! finds from the scale bytes how far a sum lies below the base, shifts it there and rounds.
//!
//! # Interface
//!
//! A *pipe*: `valid` travels with the data and there is no back-pressure.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears `valid` only |
//! | `valid_i` | in | 1 | operands are sampled on this edge |
//! | `sum_i` | in | width | signed block sum |
//! | `weight_scale_i` | in | 8 | scale byte of the one block, one cycle before the sum |
//! | `left_i` | in | 10 | what the other block's scale byte leaves of the base: the largest scale byte of the one tensor plus that of the other, less that byte; one cycle before the sum too |
//! | `valid_o` | out | 1 | there is a term |
//! | `term_o`, `carry_o` | out | [`WindowTerm::out_width`], 1 | signed term, rounded down, and whether it is one more |
//!
//! # Timing
//!
//! Latency [`WindowTerm::latency`], one term a cycle: shift by 16s and 4s, shift by ones. The distance is found before.
//!
//! # Numeric contract
//!
//! `term_o + carry_o` is [`fastcar_arch::num::window::term`] of the sum and
//! [`Base::shift`](fastcar_arch::num::window::Base::shift): halves
//! round up, scales above the base count as the base, and sums of at most 2^19 in magnitude are zero from a distance
//! of 37 on. NaN scales are treated as the number 255: the base tells that the result is NaN.
//!
//! # Cost
//!
//! Three levels of choices of four for each bit, and the adder of the scale byte. Whoever adds the term up adds the carry
//! too. No DSP.
//!
//! # Verification
//!
//! `tests/tests/rtl_mac.rs`: every pair of scale bytes under every base, values against the reference, latency, gaps.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::pe::WindowTerm;
//!
//! let term = WindowTerm::new(21)?;
//! assert_eq!((term.latency(), term.out_width()), (2, 37));
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use crate::prim::within;
use crate::rtl::{Block, Builder, Module, RtlError, Wire};
use fastcar_arch::num::window::FRAC_BITS;
use std::sync::Arc;

/// Bits of a distance below the base: larger ones count as the largest, under which nothing is left of a sum.
const SHIFT_BITS: u32 = 6;
/// Bits of what a scale byte leaves of the base: it may be below zero.
pub const LEFT_BITS: u32 = 10;

/// A block sum's way into the window. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowTerm {
    width: u32,
}

impl WindowTerm {
    /// For block sums of a width.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(width: u32) -> Result<Self, RtlError> {
        // A wider sum would have bits left after the largest shift.
        Ok(Self { width: within("window term", "width", width, 2..=32, "2 to 32 bits")? })
    }

    /// Cycles from a sum to its term.
    #[must_use]
    pub fn latency(&self) -> u32 {
        2
    }

    /// Width of a term.
    #[must_use]
    pub fn out_width(&self) -> u32 {
        self.width + FRAC_BITS
    }
}

/// How far a sum lies below the base, limited to what makes a difference.
fn distance<'m>(m: &'m Builder, weight: Wire<'m>, left: Wire<'m>) -> Wire<'m> {
    let difference = left - weight.zext(LEFT_BITS);
    let (above, far) = (difference.msb(), difference.slice(SHIFT_BITS, LEFT_BITS - 1 - SHIFT_BITS).any());
    let near = far.mux(m.lit(SHIFT_BITS, (1 << SHIFT_BITS) - 1), difference.trunc(SHIFT_BITS));
    above.mux(m.lit(SHIFT_BITS, 0), near)
}

/// Shifted right by four times as much from choice to choice, the sign coming in.
fn shifted<'m>(value: Wire<'m>, count: Wire<'m>, unit: u32) -> Wire<'m> {
    count.choose(&[0, 1, 2, 3].map(|times| value.sar(times * unit)))
}

impl Block for WindowTerm {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("window_term_w{}", self.width));
        let mut valid = m.input("valid_i", 1);
        let sum = m.input("sum_i", self.width);
        let weight = m.input("weight_scale_i", 8);
        let shift = m.register("shift", distance(&m, weight, m.input("left_i", LEFT_BITS)));

        // One bit more than the term has: the last one shifted out rounds.
        let by_16 = shifted(sum.cat(m.lit(FRAC_BITS + 1, 0)), shift.slice(4, 2), 16);
        let coarse = m.register("coarse", shifted(by_16, shift.slice(2, 2), 4));
        let ones = m.register("ones", shift.trunc(2));
        let fine = m.register("fine", shifted(coarse, ones, 1));
        for stage in 1..=self.latency() {
            valid = m.register_valid(&format!("valid_{stage}"), valid);
        }
        m.output("valid_o", valid);
        m.output("term_o", fine.slice(1, self.out_width()));
        m.output("carry_o", fine.bit(0));
        m.finish()
    }
}
