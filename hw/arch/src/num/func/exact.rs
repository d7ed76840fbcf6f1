//! The functions behind the tables, in fixed-point big integers: no binary floating point, so the same bits anywhere.
//!
//! Every value is returned in units of 2^-[`P`]. The steps truncate, which costs some units out of 2^160; a
//! coefficient would notice only if its exact value lay within about 2^-100 of a tie.

use num_bigint::BigUint;

/// Fraction bits of a value.
pub(super) const P: u32 = 160;

fn one() -> BigUint {
    BigUint::from(1u32) << P
}

/// `2^-(x / 2^16)`, for `x` below 2^16: a product of repeated square roots of 1/2, one for each bit of `x`.
pub(super) fn exp2_neg(x: u32) -> BigUint {
    let mut root = one() >> 1u32;
    let mut product = one();
    for bit in (0..16).rev() {
        root = (root << P).sqrt();
        if x >> bit & 1 == 1 {
            product = (product * &root) >> P;
        }
    }
    product
}

/// `1 / (1 + x / 2^23)`.
pub(super) fn recip(x: u32) -> BigUint {
    (one() << 23u32) / ((1 << 23) + x)
}

/// `1 / sqrt(m)`, where `m = 1 + (x mod 2^23) / 2^23`, doubled where bit 23 of `x` is set.
pub(super) fn rsqrt(x: u32) -> BigUint {
    let m = ((1 << 23) + (x & 0x7F_FFFF)) << (x >> 23);
    ((one() << (P + 23)) / m).sqrt()
}

/// `1 / (1 + e^-(x / 2^20))`.
pub(super) fn sigmoid(x: u32) -> BigUint {
    let e = exp(&(BigUint::from(x) << (P - 20)));
    (&e << P) / (one() + &e)
}

/// The normal distribution function at `x / 2^20`, by the series
/// `1/2 + e^(-t^2 / 2) / sqrt(2 pi) * (t + t^3 / 3 + t^5 / (3 * 5) + ...)`.
pub(super) fn phi(x: u32) -> BigUint {
    let square = u64::from(x) * u64::from(x);
    let mut term = BigUint::from(x) << (P - 20);
    let mut sum = BigUint::ZERO;
    let mut odd = 1u32;
    while term != BigUint::ZERO {
        sum += &term;
        odd += 2;
        term = ((term * square) >> 40u32) / odd;
    }
    let e = exp(&(BigUint::from(square) << (P - 41)));
    let density = (inv_sqrt_two_pi() << P) / e;
    (one() >> 1u32) + ((sum * density) >> P)
}

/// `e^v`: the power series at `v / 2^10`, then ten squarings.
fn exp(v: &BigUint) -> BigUint {
    let v = v >> 10u32;
    let mut term = one();
    let mut sum = BigUint::ZERO;
    let mut n = 0u32;
    while term != BigUint::ZERO {
        sum += &term;
        n += 1;
        term = ((term * &v) >> P) / n;
    }
    for _ in 0..10 {
        sum = (&sum * &sum) >> P;
    }
    sum
}

/// `1 / sqrt(2 pi)`, with pi by Machin's formula: `pi / 4 = 4 atan(1/5) - atan(1/239)`.
fn inv_sqrt_two_pi() -> BigUint {
    let pi = (atan_inv(5) * 4u32 - atan_inv(239)) * 4u32;
    ((one() << (2 * P)) / (pi * 2u32)).sqrt()
}

/// `atan(1 / n)`.
fn atan_inv(n: u32) -> BigUint {
    let mut power = one() / n;
    let (mut plus, mut minus) = (BigUint::ZERO, BigUint::ZERO);
    let mut odd = 1u32;
    while power != BigUint::ZERO {
        let side = if odd % 4 == 1 { &mut plus } else { &mut minus };
        *side += &power / odd;
        power /= n * n;
        odd += 2;
    }
    plus - minus
}
