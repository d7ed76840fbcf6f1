//! `fp::compare`: which number is larger, and the largest field of many.
//!
//! # Purpose
//!
//! [`Greater`] compares scores with thresholds and distances with limits. [`MaxExponent`] finds the exponent that a line of the
//! vector buffer is aligned or quantised under.
//!
//! # Interface
//!
//! Pipes. [`Greater`]:
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears `valid` only |
//! | `valid_i` | in | 1 | operands are sampled on this edge |
//! | `a_i` | in | 32 | first operand |
//! | `b_i` | in | 32 | second operand |
//! | `valid_o` | out | 1 | there is a result |
//! | `greater_o` | out | 1 | a > b |
//!
//! [`MaxExponent`]:
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears `valid` only |
//! | `valid_i` | in | 1 | words are sampled on this edge |
//! | `words_i` | in | 32 x words | numbers, the first one low |
//! | `valid_o` | out | 1 | there is a result |
//! | `field_o` | out | 8 | the largest field |
//!
//! # Timing
//!
//! Latency [`Greater::LATENCY`] and [`MaxExponent::latency`] (two levels of the tree a cycle), one result per cycle.
//!
//! # Numeric contract
//!
//! [`fastcar_arch::num::fp::gt`] and [`fastcar_arch::num::fp::max_exp_field`], bit for bit.
//!
//! # Cost
//!
//! Two carry chains of 31 bits; `words - 1` comparisons of 8 bits. Figures: `tests/baselines/rtl/fp_greater.toml` and
//! `tests/baselines/rtl/fp_max_exponent.toml`.
//!
//! # Verification
//!
//! Testpoint `hw.fp.compare` of `docs/verification.md`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::fp::{Greater, MaxExponent};
//!
//! assert_eq!((Greater::LATENCY, MaxExponent::new(32)?.latency()), (1, 3));
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::{FIELD, MANTISSA, Parts, WORD, hold_valid};
use crate::rtl::{Block, Builder, Module, RtlError};
use std::sync::Arc;

/// The comparison. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greater;

impl Greater {
    /// Cycles from operands to their result.
    pub const LATENCY: u32 = 1;
}

impl Block for Greater {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new("fp_greater");
        let valid = m.input("valid_i", 1);
        let (a, b) = (m.input("a_i", WORD), m.input("b_i", WORD));
        let (x, y) = (Parts::of(a), Parts::of(b));
        let (x_magnitude, y_magnitude) = (a.trunc(WORD - 1), b.trunc(WORD - 1));
        // Where one is subnormal the order of magnitudes is right all the same; where both are, they are equal.
        let alike = x.sign.mux(x_magnitude.lt(y_magnitude), y_magnitude.lt(x_magnitude));
        let ordered = (x.sign ^ y.sign).mux(y.sign, alike);
        let greater = ordered & !(x.zero & y.zero) & !x.nan & !y.nan;
        m.output("valid_o", hold_valid(&m, "valid", Self::LATENCY, valid));
        m.output("greater_o", m.register("greater", greater));
        m.finish()
    }
}

/// The largest field. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxExponent {
    words: u32,
}

/// Operands of a node of the tree.
const RADIX: usize = 4;

impl MaxExponent {
    /// The largest of so many words.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(words: u32) -> Result<Self, RtlError> {
        if !words.is_power_of_two() || !(2..=1024).contains(&words) {
            let (block, parameter) = ("largest exponent", "words");
            let allowed = "a power of two from 2 to 1024";
            return Err(RtlError::Parameter { block, parameter, asked: u64::from(words), allowed });
        }
        Ok(Self { words })
    }

    /// Cycles from words to their largest field.
    #[must_use]
    pub fn latency(&self) -> u32 {
        self.words.ilog2().div_ceil(RADIX.ilog2())
    }
}

impl Block for MaxExponent {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("fp_max_exponent_n{}", self.words));
        let valid = m.input("valid_i", 1);
        let words = m.input("words_i", WORD * self.words).chunks(WORD);
        let mut level: Vec<_> = words.into_iter().map(|word| word.slice(MANTISSA, FIELD)).collect();
        for stage in 0..self.latency() {
            let largest = level.chunks(RADIX).enumerate().map(|(n, fields)| {
                m.register(&format!("largest_{stage}_{n}"), m.tree(fields, |a, b| a.lt(b).mux(b, a)))
            });
            level = largest.collect();
        }
        m.output("valid_o", hold_valid(&m, "valid", self.latency(), valid));
        m.output("field_o", level[0]);
        m.finish()
    }
}
