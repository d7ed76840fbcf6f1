//! `fp::sums`: exact sums of numbers, or of their squares, two groups of lanes a cycle.
//!
//! # Purpose
//!
//! Norms, distances and limits: the vector unit's lanes take a word from either bank of the vector buffer in each cycle.
//!
//! # Interface
//!
//! A pipe of groups; a vector is the groups from `first` to `last`, with or without gaps.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears `valid` only |
//! | `valid_i` | in | 1 | words are sampled on this edge |
//! | `first_i` | in | 1 | a vector begins |
//! | `last_i` | in | 1 | a vector ends |
//! | `squares_i` | in | 1 | squares are added; the same for all groups of a vector |
//! | `emax_i` | in | 8 | largest field of the vector; the same for all groups |
//! | `words_i` | in | 64 x lanes | numbers, two a lane; +0 where there is none |
//! | `valid_o` | out | 1 | there is a sum |
//! | `sum_o` | out | [`SUM_BITS`] | the sum, signed |
//! | `exponent_o` | out | 10 | its unit's exponent |
//! | `nan_o` | out | 1 | `emax` is 255: the sum is NaN |
//!
//! Sum, exponent and NaN are the operands of a [`FromInteger`](super::FromInteger) of [`SUM_BITS`] bits.
//!
//! # Timing
//!
//! [`fastcar_arch::timing::SUMSQ_LATENCY`] + log2(lanes) from the last group to the sum: input, align (3), operands, two
//! products one after the other (3), tree, accumulator. A group each cycle; a vector may follow another without a gap.
//!
//! # Numeric contract
//!
//! [`fastcar_arch::num::sumsq::partial_squares`] and [`fastcar_arch::num::sumsq::partial_sum`], bit for bit, for up to
//! [`MAX_TERMS`](fastcar_arch::num::sumsq::MAX_TERMS) numbers of one vector.
//!
//! # Cost
//!
//! Two [`Align`] and two DSP blocks a lane: the second one adds its product to the first one's. Figures:
//! `tests/baselines/rtl/fp_sums.toml`.
//!
//! # Verification
//!
//! Testpoint `hw.fp.sums` of `docs/verification.md`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::fp::SquareSum;
//!
//! assert_eq!(SquareSum::new(32)?.latency(), 9 + 5);
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::align::{ALIGNED_BITS, Align};
use super::integer::EXPONENT_BITS;
use super::{BIAS, FIELD, WORD, hold, hold_valid};
use crate::rtl::{Block, Builder, Module, RtlError, Wire};
use fastcar_arch::num::sumsq::FRAC_BITS;
use fastcar_arch::timing::SUMSQ_LATENCY;
use std::sync::Arc;

/// Width of a sum: squares come to 2^48, sums to 2^31 on either side.
pub const SUM_BITS: u32 = 50;
/// Operand of a square: the wider one is a DSP block's other operand.
const NARROW: u32 = ALIGNED_BITS - 1;
/// Two squares of at most 2^34, with a sign.
const PAIR_BITS: u32 = 37;
/// Cycles from words to aligned operands, the second's lie a cycle later.
const OPERANDS: u32 = 1 + Align::LATENCY;

/// The adding lanes. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SquareSum {
    lanes: u32,
}

/// What goes to all lanes, one cycle after the ports.
struct Shared<'m> {
    valid: Wire<'m>,
    emax: Wire<'m>,
    /// Beside the words.
    squares: Wire<'m>,
    /// Beside the aligned numbers.
    squares_late: Wire<'m>,
}

impl SquareSum {
    /// Lanes that take two words a cycle each.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(lanes: u32) -> Result<Self, RtlError> {
        if !lanes.is_power_of_two() || lanes > 256 {
            let (block, parameter, allowed) = ("sum of squares", "lanes", "a power of two up to 256");
            return Err(RtlError::Parameter { block, parameter, asked: u64::from(lanes), allowed });
        }
        Ok(Self { lanes })
    }

    /// Cycles from the last words to their sum.
    #[must_use]
    pub fn latency(&self) -> u32 {
        SUMSQ_LATENCY as u32 + self.lanes.ilog2()
    }

    /// The sum of two words' products with themselves or with one.
    fn lane<'m>(
        m: &'m Builder,
        lane: usize,
        words: Wire<'m>,
        shared: &Shared<'m>,
    ) -> Result<Wire<'m>, RtlError> {
        let mut products = Vec::new();
        for (word, x) in (0..).zip(words.chunks(WORD)) {
            let align = m.instance(&format!("align_{lane}_{word}"), &Align)?;
            align.set("valid_i", shared.valid);
            align.set("x_i", x);
            align.set("emax_i", shared.emax);
            align.set("square_i", shared.squares);
            let wide = align.get("aligned_o");
            let narrow = shared.squares_late.mux(wide.trunc(NARROW), m.lit(NARROW, 1));
            let operand = |name: &str, value| hold(m, &format!("{name}_{lane}_{word}"), 1 + word, value);
            let (wide, narrow) = (operand("wide", wide)?, operand("narrow", narrow)?);
            products.push(m.register(&format!("product_{lane}_{word}"), wide.mul_signed(narrow)));
        }
        let first = m.register(&format!("first_{lane}"), products[0]);
        let both = m.register(&format!("both_{lane}"), products[1] + first);
        Ok(both.trunc(PAIR_BITS))
    }

    /// Adds up two at a time, a level a cycle.
    fn tree<'m>(m: &'m Builder, mut level: Vec<Wire<'m>>) -> Wire<'m> {
        let mut depth = 0;
        while level.len() > 1 {
            let width = level[0].width() + 1;
            let sums = level.chunks(2).enumerate().map(|(n, pair)| {
                m.register(&format!("tree_{depth}_{n}"), pair[0].sext(width) + pair[1].sext(width))
            });
            level = sums.collect();
            depth += 1;
        }
        level[0]
    }
}

impl Block for SquareSum {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("fp_square_sum_n{}", self.lanes));
        let (valid, first, last) = (m.input("valid_i", 1), m.input("first_i", 1), m.input("last_i", 1));
        let squares = m.register("squares", m.input("squares_i", 1));
        let emax = m.register("emax", m.input("emax_i", FIELD));
        let words = m.register("words", m.input("words_i", 2 * WORD * self.lanes));
        let shared = Shared {
            valid: m.register_valid("valid_in", valid),
            emax,
            squares,
            squares_late: hold(&m, "squares_to", OPERANDS - 1, squares)?,
        };
        let lanes = words.chunks(2 * WORD).into_iter().enumerate();
        let lanes = lanes.map(|(lane, words)| Self::lane(&m, lane, words, &shared));
        let group = Self::tree(&m, lanes.collect::<Result<_, _>>()?).sext(SUM_BITS);

        let before = self.latency() - 1;
        let passes = hold_valid(&m, "valid", before, valid);
        let begins = hold(&m, "first_to", before, first)?;
        let ends = hold_valid(&m, "last", before, valid & last);
        let sum = m.reg("sum", SUM_BITS);
        sum.set_when(passes, (!begins.repeat(SUM_BITS) & sum.q()) + group);
        let unit = emax.zext(EXPONENT_BITS) - (BIAS + FRAC_BITS as u64);
        let exponent = hold(&m, "exponent", before, squares.mux(unit << 1, unit))?;
        m.output("valid_o", m.register_valid("done", ends));
        m.output("sum_o", sum.q());
        m.output("exponent_o", exponent);
        m.output("nan_o", hold(&m, "nan", before, emax.all())?);
        m.finish()
    }
}
