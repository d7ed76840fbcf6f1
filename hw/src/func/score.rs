//! `score_fixed` and `max_int`: softmax scores as fixed-point numbers, and their integer maximum.
//!
//! # Purpose
//!
//! A score comes as binary32; largest score and distance are taken in fixed point, where they are exact. The maximum is rounded up to an
//! integer, so that moving it is a shift of every weight.
//!
//! # Interface
//!
//! Two *pipes*. [`ScoreFixed`]:
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears `valid` only |
//! | `valid_i`, `score_i` | in | 1, 32 | a score, binary32 |
//! | `valid_o` | out | 1 | there is a result |
//! | `fixed_o` | out | 32 | the score in units of 2^-16, two's complement; anything for NaN |
//! | `nan_o` | out | 1 | the score is NaN |
//!
//! [`MaxInt`]:
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears `valid` only |
//! | `valid_i`, `score_i` | in | 1, 32 | the largest score in units of 2^-16 |
//! | `valid_o` | out | 1 | there is a result |
//! | `max_o` | out | 17 | the least integer that is not below it, two's complement |
//!
//! # Timing
//!
//! Latency [`ScoreFixed::LATENCY`]: 2 (shift; round, negate, saturate) and [`MaxInt::LATENCY`]: 1, one result a cycle.
//!
//! # Numeric contract
//!
//! [`softmax::score_fixed`](fastcar_arch::num::softmax::score_fixed) and
//! [`softmax::max_int`](fastcar_arch::num::softmax::max_int) bit for bit.
//!
//! # Cost
//!
//! Look-up tables only: a shift of 31 bits and an adder of 32; an adder of 17.
//!
//! # Verification
//!
//! `tests/tests/rtl_func.rs`: `scores_become_fixed` (every exponent among them), `maxima_are_rounded_up`, `cells_and_depth_are_held`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{func::{MaxInt, ScoreFixed}, rtl::Block};
//!
//! assert_eq!((ScoreFixed.module()?.name(), ScoreFixed::LATENCY), ("score_fixed", 2));
//! assert_eq!((MaxInt.module()?.name(), MaxInt::LATENCY), ("max_int", 1));
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::later_valid;
use super::shift::{Fields, Shifted, exceeds};
use crate::rtl::{Block, Builder, Module, RtlError};
use fastcar_arch::num::softmax::SCORE_FRAC_BITS;
use std::sync::Arc;

/// Width of a score in fixed point.
pub const SCORE_WIDTH: u32 = 32;
/// Width of an integer maximum: one more than the integer part of a score, for what is rounded up.
pub const MAX_WIDTH: u32 = SCORE_WIDTH - SCORE_FRAC_BITS + 1;

/// Score to fixed point. See the [module](self).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScoreFixed;

impl ScoreFixed {
    /// Cycles from a score to its fixed point.
    pub const LATENCY: u32 = 2;
}

impl Block for ScoreFixed {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new("score_fixed");
        let valid = m.input("valid_i", 1);
        let x = Fields::of(m.input("score_i", 32));
        let magnitude = SCORE_WIDTH - 1;
        let shifted = Shifted::magnitude(x, magnitude, SCORE_FRAC_BITS).registered("shifted");
        let sign = m.register("sign", x.sign);
        let beyond = m.register("beyond", exceeds(x, magnitude, SCORE_FRAC_BITS));
        let nan = m.register("nan", x.is_nan());
        // A number of so many bits was not rounded, so that rounding never makes one bit more.
        let fixed = shifted.kept.zext(SCORE_WIDTH).signed(sign, shifted.up());
        let end = sign.cat((!sign).repeat(magnitude));
        m.output("valid_o", later_valid(&m, "valid", valid, Self::LATENCY));
        m.output("fixed_o", m.register("fixed", beyond.mux(end, fixed)));
        m.output("nan_o", m.register("nan_out", nan));
        m.finish()
    }
}

/// Largest score to integer maximum. See the [module](self).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaxInt;

impl MaxInt {
    /// Cycles from the largest score to the maximum.
    pub const LATENCY: u32 = 1;
}

impl Block for MaxInt {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new("max_int");
        let valid = m.input("valid_i", 1);
        let score = m.input("score_i", SCORE_WIDTH);
        let whole = score.slice(SCORE_FRAC_BITS, SCORE_WIDTH - SCORE_FRAC_BITS).sext(MAX_WIDTH);
        let up = score.trunc(SCORE_FRAC_BITS).any().zext(MAX_WIDTH);
        m.output("valid_o", later_valid(&m, "valid", valid, Self::LATENCY));
        m.output("max_o", m.register("max", whole + up));
        m.finish()
    }
}
