//! Softmax in base 2 with integer weights.
//!
//! Scores come as binary32, already multiplied by log2(e) / sqrt(head_dim). They become fixed-point numbers with 16
//! fraction bits; the maximum is rounded up to an integer, so that moving it is a shift of every weight.

use super::fp::{CANONICAL_NAN, mul, round_low32, scaled_int_to_f32};
use super::func::{exp2_neg, recip};
use super::mx::E8M0;

/// Fraction bits of a score.
pub const SCORE_FRAC_BITS: u32 = 16;

/// Fraction bits of a weight: 2^24 stands for 1.
pub const PROB_FRAC_BITS: u32 = 24;

/// The most tokens that one sum over V may add.
pub const MAX_TOKENS: usize = 32768;

// The largest weight times the largest element times the number of tokens fits the 48-bit accumulator.
const _: () = assert!((128i64 << PROB_FRAC_BITS) * (MAX_TOKENS as i64) < 1 << 47);

/// A score in units of 2^-16: nearest even, saturated to 32 bits (infinities too). `None` for NaN: then every output
/// of this softmax is the canonical NaN.
#[inline]
#[must_use]
pub fn score_fixed(s: f32) -> Option<i32> {
    if s.is_nan() {
        return None;
    }
    let scaled = f64::from(s) * 65536.0;
    let limited = scaled.clamp(f64::from(i32::MIN), f64::from(i32::MAX));
    Some(round_low32(limited) as i32)
}

/// The integer maximum: the least integer that is not below the largest score.
#[inline]
#[must_use]
pub const fn max_int(score_max: i32) -> i32 {
    ((score_max as i64 + 0xFFFF) >> SCORE_FRAC_BITS) as i32
}

/// How far a score lies below the integer maximum, in units of 2^-16. A score above it counts as equal to it.
#[inline]
#[must_use]
pub const fn distance(max_int: i32, score: i32) -> u64 {
    let d = ((max_int as i64) << SCORE_FRAC_BITS) - score as i64;
    if d < 0 { 0 } else { d as u64 }
}

/// The weight `2^-(distance / 2^16) / 2^extra_shift` in units of 2^-24, to nearest even; at most 2^24.
#[inline]
#[must_use]
pub fn prob(distance: u64, extra_shift: u32) -> u32 {
    let shift = (distance >> SCORE_FRAC_BITS) + u64::from(extra_shift);
    if shift > 25 {
        return 0;
    }
    let value = exp2_neg(distance as u16);
    let kept = value >> shift;
    // Half of the last place kept, less one where `kept` is even, so that a tie moves only odd numbers up.
    let bias = ((1u32 << shift) >> 1).wrapping_sub(1).wrapping_add(kept & 1);
    if shift == 0 { value } else { (value + bias) >> shift }
}

/// The softmax output for one channel of V: `acc` is the sum of weight times element, `ev` the largest scale of V
/// among the attended tokens (the weights carry the distance of each block's scale to it as `extra_shift`), `denom`
/// the sum of `prob(distance, 0)`. NaN where `ev` is NaN.
#[inline]
#[must_use]
pub fn output(acc: i64, ev: E8M0, denom: u64) -> f32 {
    output_scaled(acc, ev, inverse(denom))
}

/// The factor that is the same for all channels: the reciprocal of the denominator.
#[inline]
#[must_use]
pub fn inverse(denom: u64) -> f32 {
    recip(scaled_int_to_f32(i64::try_from(denom).unwrap_or(i64::MAX), -(PROB_FRAC_BITS as i32)))
}

/// [`output`] with the [`inverse`] of the denominator at hand.
#[inline]
#[must_use]
pub fn output_scaled(acc: i64, ev: E8M0, inverse: f32) -> f32 {
    if ev.is_nan() {
        return CANONICAL_NAN;
    }
    mul(scaled_int_to_f32(acc, i32::from(ev.0) - 127 - 6 - PROB_FRAC_BITS as i32), inverse)
}
