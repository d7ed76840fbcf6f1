//! `softmax_weight`: the weight of a token, from its score and the integer maximum.
//!
//! # Purpose
//!
//! `2^-(max - score)`, as an integer. The weight of a token's value block is less by the distance of the block's scale from the
//! largest one.
//!
//! # Interface
//!
//! A *pipe*.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears `valid` only |
//! | `valid_i` | in | 1 | operands are sampled on this edge |
//! | `max_i` | in | 17 | integer maximum, two's complement |
//! | `score_i` | in | 32 | score in units of 2^-16, two's complement |
//! | `extra_i` | in | 8 | distance of the block's scale |
//! | `valid_o` | out | 1 | there is a result |
//! | `prob_o` | out | 25 | the weight in units of 2^-24 |
//! | `plain_o` | out | 25 | what it is with an extra distance of 0: of the denominator |
//!
//! # Timing
//!
//! Latency [`Exp2::LATENCY`]: distance (1), table (5), shift (1), round (1); one result a cycle. With [`ScoreFixed`] and
//! [`MaxInt`] that is [`Exp2::CHAIN`] cycles, without the largest score over clusters.
//!
//! # Numeric contract
//!
//! [`softmax::prob`](fastcar_arch::num::softmax::prob) of [`softmax::distance`](fastcar_arch::num::softmax::distance) bit for
//! bit, for all operands: a score above the maximum
//! counts as equal to it.
//!
//! # Cost
//!
//! Two DSP blocks, and a table of 64 words in look-up tables. What is not used of the two results is not built.
//!
//! # Verification
//!
//! `tests/tests/rtl_func.rs`: `weights_are_exact_and_take_their_latency`, `every_fraction_at_every_shift`.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::timing::SCORE_LATENCY;
//! use fastcar_hw::func::Exp2;
//!
//! // A tree over 32 clusters takes 5 cycles, and the way there and back 2.
//! assert!(u64::from(Exp2::CHAIN) + 5 + 2 <= SCORE_LATENCY);
//! ```

use super::score::{MAX_WIDTH, MaxInt, SCORE_WIDTH, ScoreFixed};
use super::shift::Shifted;
use super::table::{Function, Store, Table};
use super::{later, later_valid};
use crate::rtl::{Block, Builder, Module, RtlError, Wire};
use fastcar_arch::num::softmax::{PROB_FRAC_BITS, SCORE_FRAC_BITS};
use std::sync::Arc;

/// Width of a scale's distance.
const EXTRA_WIDTH: u32 = 8;
/// Width of a shift that leaves something of a weight.
const SHIFT_WIDTH: u32 = 5;
/// Width of a distance: maxima are below 2^16 and scores above -2^15, in whole units.
const DISTANCE_WIDTH: u32 = MAX_WIDTH + SCORE_FRAC_BITS;

/// A token's softmax weight. See the [module](self).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exp2;

impl Exp2 {
    /// Cycles from maximum and score to the weight.
    pub const LATENCY: u32 = 8;
    /// Cycles from a score to its weight, without finding the largest.
    pub const CHAIN: u32 = ScoreFixed::LATENCY + MaxInt::LATENCY + Self::LATENCY;
    /// Width of a weight: 1 is 2^24.
    pub const WIDTH: u32 = PROB_FRAC_BITS + 1;
}

/// How far the score lies below the maximum, and not above.
fn distance<'m>(max: Wire<'m>, score: Wire<'m>) -> Wire<'m> {
    let width = DISTANCE_WIDTH + 1;
    let difference = max.sext(MAX_WIDTH + 1).cat_zeros(SCORE_FRAC_BITS) - score.sext(width);
    difference.trunc(DISTANCE_WIDTH) & (!difference.msb()).repeat(DISTANCE_WIDTH)
}

/// A function's value, which comes some cycles after the count, shifted and rounded in two cycles.
fn shifted<'m>(
    m: &'m Builder,
    name: &str,
    value: Wire<'m>,
    count: Wire<'m>,
    cycles: u32,
) -> Result<Wire<'m>, RtlError> {
    let part = |what: &str| format!("{name}_{what}");
    let count = m.register(&part("count"), count);
    let nothing = later(m, &part("nothing"), count.gt(u64::from(PROB_FRAC_BITS)), cycles - 1)?;
    let count = later(m, &part("count_late"), count.trunc(SHIFT_WIDTH), cycles - 1)?;
    let shifted = Shifted::right(value, count).registered(&part("shifted"));
    let kept = shifted.kept + shifted.up().zext(Exp2::WIDTH);
    Ok(m.register(name, kept & (!m.register(&part("nothing_out"), nothing)).repeat(Exp2::WIDTH)))
}

impl Block for Exp2 {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new("softmax_weight");
        let valid = m.input("valid_i", 1);
        let (max, score) = (m.input("max_i", MAX_WIDTH), m.input("score_i", SCORE_WIDTH));
        let extra = m.register("extra", m.input("extra_i", EXTRA_WIDTH));
        let distance = m.register("distance", distance(max, score));
        let table = Table::new(&[Function::Exp2Neg], Store::Luts)?;
        let inner = m.instance("u_table", &table)?;
        inner.set("valid_i", later_valid(&m, "valid_before", valid, 1));
        inner.set("x_i", distance.trunc(SCORE_FRAC_BITS));
        // The shift: beyond what leaves something it does not matter how far.
        let whole = distance.slice(SCORE_FRAC_BITS, MAX_WIDTH).zext(MAX_WIDTH + 1);
        let y = inner.get("y_o");
        let prob = shifted(&m, "prob", y, whole + extra.zext(MAX_WIDTH + 1), table.latency())?;
        let plain = shifted(&m, "plain", y, whole, table.latency())?;
        m.output("valid_o", later_valid(&m, "valid_after", inner.get("valid_o"), 2));
        m.output("prob_o", prob);
        m.output("plain_o", plain);
        m.finish()
    }
}
