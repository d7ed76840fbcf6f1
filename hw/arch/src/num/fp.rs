//! IEEE-754 binary32, round to nearest even, without subnormals.
//!
//! Subnormal inputs count as zeros of their sign. A result whose exact value is not zero and lies below 2^-126 in
//! magnitude becomes a zero of its sign; the test is made *before* rounding. A NaN result is always
//! [`CANONICAL_NAN`]. Everything else, signed zeros and infinities included, is as IEEE-754 has it.

/// The only NaN that arithmetic produces: `0x7FC0_0000`.
pub const CANONICAL_NAN: f32 = f32::from_bits(0x7FC0_0000);

const EXP_MASK: u32 = 0x7F80_0000;
const SIGN_MASK: u32 = 0x8000_0000;
const MIN_NORMAL: f64 = f32::MIN_POSITIVE as f64;

/// `x`, or a zero of the same sign where `x` is subnormal.
#[inline]
#[must_use]
pub fn flush(x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits(if bits & EXP_MASK == 0 { bits & SIGN_MASK } else { bits })
}

/// Flushes a result and makes a NaN canonical.
#[inline]
fn finish(x: f32) -> f32 {
    if x.is_nan() { CANONICAL_NAN } else { flush(x) }
}

/// `a + b`.
#[inline]
#[must_use]
pub fn add(a: f32, b: f32) -> f32 {
    // A sum of two normal numbers below 2^-126 is exact, so that the flush sees the unrounded value.
    finish(flush(a) + flush(b))
}

/// `a - b`.
#[inline]
#[must_use]
pub fn sub(a: f32, b: f32) -> f32 {
    finish(flush(a) - flush(b))
}

/// `a * b`.
#[inline]
#[must_use]
pub fn mul(a: f32, b: f32) -> f32 {
    // The product of two 24-bit significands is exact in binary64, which shows a tiny result before it is rounded.
    let exact = f64::from(flush(a)) * f64::from(flush(b));
    let rounded = if exact.abs() < MIN_NORMAL { 0f32.copysign(exact as f32) } else { exact as f32 };
    if rounded.is_nan() { CANONICAL_NAN } else { rounded }
}

/// `a > b`; false where either is NaN. Subnormals compare as zeros.
#[inline]
#[must_use]
pub fn gt(a: f32, b: f32) -> bool {
    flush(a) > flush(b)
}

/// The largest biased exponent field in `x`: 0 where all are zero (or subnormal, which is the same), 255 where one
/// is NaN or infinite.
#[inline]
#[must_use]
pub fn max_exp_field(x: &[f32]) -> u8 {
    let largest = x.iter().fold(0, |m, v| m.max(v.to_bits() & EXP_MASK));
    (largest >> 23) as u8
}

/// `out[i] = a[i] + b[i]`, over the shortest of the three.
pub fn add_slice(out: &mut [f32], a: &[f32], b: &[f32]) {
    for ((o, &a), &b) in out.iter_mut().zip(a).zip(b) {
        *o = add(a, b);
    }
}

/// `out[i] = a[i] * b[i]`, over the shortest of the three.
pub fn mul_slice(out: &mut [f32], a: &[f32], b: &[f32]) {
    for ((o, &a), &b) in out.iter_mut().zip(a).zip(b) {
        *o = mul(a, b);
    }
}

/// `out[i] = a[i] * s`, over the shorter of the two.
pub fn scale_slice(out: &mut [f32], a: &[f32], s: f32) {
    for (o, &a) in out.iter_mut().zip(a) {
        *o = mul(a, s);
    }
}

/// `v * 2^exp2` in binary32: nearest even; below 2^-126 before rounding, a zero of the sign of `v`; too large, an
/// infinity. Zero gives +0.
#[inline]
#[must_use]
pub fn scaled_int_to_f32(v: i64, exp2: i32) -> f32 {
    let magnitude = v.unsigned_abs();
    let sign = if v < 0 { SIGN_MASK } else { 0 };
    if magnitude == 0 {
        return 0.0;
    }
    let lead = magnitude.leading_zeros();
    let exponent = i64::from(63 - lead) + i64::from(exp2);
    if exponent < -126 {
        return f32::from_bits(sign);
    }
    if exponent > 127 {
        return f32::from_bits(sign | EXP_MASK);
    }
    let normal = magnitude << lead;
    let kept = (normal >> 40) as u32;
    let dropped = normal & ((1 << 40) - 1);
    let half = 1 << 39;
    let up = u32::from(dropped > half || (dropped == half && kept & 1 == 1));
    // The hidden bit of `kept` adds one to the exponent field, hence 126. A carry out of the significand moves into
    // the exponent, and out of the largest finite number into infinity.
    let field = ((exponent + 126) as u32) << 23;
    f32::from_bits(sign | (field + kept + up))
}

/// Two powers of two whose product is `2^k`, each of them normal, for |k| <= 250.
///
/// `(x * p.0) * p.1` is then `x * 2^k`: exact, or infinite, or so far below 2^-126 that callers drop it.
#[inline]
pub(crate) fn pow2_pair(k: i32) -> (f32, f32) {
    let half = k >> 1;
    let pow2 = |e: i32| f32::from_bits(((e + 127) as u32) << 23);
    (pow2(half), pow2(k - half))
}

/// `x` to the nearest integer, ties to even, for |x| <= 2^22.
///
/// Adding 1.5 * 2^23 leaves no fraction bits, so the addition itself rounds; vector units have it, and `round` they
/// may not.
#[inline]
pub(crate) fn round_small(x: f32) -> i32 {
    const MAGIC: f32 = 12_582_912.0;
    (x + MAGIC).to_bits() as i32 - MAGIC.to_bits() as i32
}

/// `x` to the nearest integer, ties to even, for |x| <= 2^51 (the low 32 bits of it).
#[inline]
pub(crate) fn round_low32(x: f64) -> u32 {
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    (x + MAGIC).to_bits() as u32
}
