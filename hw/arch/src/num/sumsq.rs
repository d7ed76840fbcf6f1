//! Sums and sums of squares of binary32 numbers that do not depend on order.
//!
//! All inputs are aligned to the largest exponent among them, as integers of 18 bits, and summed as such. Where the
//! sum is made in parts, every part uses the same exponent, and the parts add up as integers.

use super::fp::{CANONICAL_NAN, flush, max_exp_field, pow2_pair, round_small, scaled_int_to_f32};

/// Fraction bits of an aligned input.
pub const FRAC_BITS: i32 = 16;

/// The most inputs of one sum.
pub const MAX_TERMS: usize = 16384;

/// Unit exponent of inputs aligned to the exponent field `emax`.
#[inline]
fn unit_exp2(emax: u8) -> i32 {
    i32::from(emax) - 127 - FRAC_BITS
}

/// `x` in units of `2^(emax - 127 - 16)`, to nearest even; at most 2^17 in magnitude. No exponent field in `x` may
/// exceed `emax`, and `emax` is not 255.
#[inline]
#[must_use]
pub fn align(x: f32, emax: u8) -> i32 {
    let (p, q) = pow2_pair(-unit_exp2(emax));
    round_small(flush(x) * p * q)
}

/// Sum of squares of the aligned inputs: exact, at most 2^48 for [`MAX_TERMS`] inputs.
#[must_use]
pub fn partial_squares(x: &[f32], emax: u8) -> u64 {
    aligned(x, emax).map(|v| u64::from(v.unsigned_abs()) * u64::from(v.unsigned_abs())).sum()
}

/// Sum of the aligned inputs: exact, at most 2^31 in magnitude for [`MAX_TERMS`] inputs.
#[must_use]
pub fn partial_sum(x: &[f32], emax: u8) -> i64 {
    aligned(x, emax).map(i64::from).sum()
}

/// Every input aligned; all zero where `emax` is 255 and the result NaN in any case.
#[inline]
fn aligned(x: &[f32], emax: u8) -> impl Iterator<Item = i32> {
    let x = if emax == 0xFF { &[] } else { x };
    x.iter().map(move |&v| align(v, emax))
}

/// A sum of aligned squares in binary32; NaN where `emax` is 255.
#[must_use]
pub fn squares_to_f32(sum: u64, emax: u8) -> f32 {
    to_f32(i64::try_from(sum).unwrap_or(i64::MAX), 2 * unit_exp2(emax), emax)
}

/// A sum of aligned inputs in binary32; NaN where `emax` is 255.
#[must_use]
pub fn sum_to_f32(sum: i64, emax: u8) -> f32 {
    to_f32(sum, unit_exp2(emax), emax)
}

fn to_f32(v: i64, exp2: i32, emax: u8) -> f32 {
    if emax == 0xFF { CANONICAL_NAN } else { scaled_int_to_f32(v, exp2) }
}

/// Sum of squares of up to [`MAX_TERMS`] numbers.
#[must_use]
pub fn sum_squares(x: &[f32]) -> f32 {
    let emax = max_exp_field(x);
    squares_to_f32(partial_squares(x, emax), emax)
}

/// Sum of up to [`MAX_TERMS`] numbers.
#[must_use]
pub fn sum(x: &[f32]) -> f32 {
    let emax = max_exp_field(x);
    sum_to_f32(partial_sum(x, emax), emax)
}
