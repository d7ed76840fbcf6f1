//! A function table: segments, quadratic coefficients, their construction and their evaluation.

use super::exact::P;
use num_bigint::{BigInt, BigUint};

/// Fraction bits of a table's result.
pub const OUT_FRAC_BITS: u32 = 24;

/// Bits below the result that evaluation carries and then drops.
pub const GUARD_BITS: u32 = 4;

/// Width of `c0`, unsigned.
pub const C0_BITS: u32 = 29;

/// Width of `c1`, signed.
pub const C1_BITS: u32 = 25;

/// Width of `c2`, signed.
pub const C2_BITS: u32 = 18;

/// Width of a packed entry: as wide as a 36 Kb block RAM with 512 words.
pub const WORD_BITS: u32 = C0_BITS + C1_BITS + C2_BITS;

/// The coefficients of one segment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    /// The value at the middle of the segment, in units of 2^-28, with half a unit of the result added.
    pub c0: u32,
    /// The slope.
    pub c1: i32,
    /// The curvature.
    pub c2: i32,
}

/// A function as segments of equal length, a quadratic polynomial on each.
///
/// With `d` the distance of the input from the middle of its segment,
/// `y = (c0 + ((d * (c1 + ((d * c2) >> k2))) >> k1)) >> guard_bits`, all shifts rounding down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FuncTable {
    /// The function.
    pub name: &'static str,
    /// High bits of the input, which select the segment.
    pub index_bits: u32,
    /// Low bits of the input, which place it in the segment.
    pub offset_bits: u32,
    /// Width of `c0`, unsigned.
    pub c0_bits: u32,
    /// Width of `c1`, signed.
    pub c1_bits: u32,
    /// Width of `c2`, signed.
    pub c2_bits: u32,
    /// Shift after the outer product.
    pub k1: u32,
    /// Shift after the inner product.
    pub k2: u32,
    /// Bits dropped at the end.
    pub guard_bits: u32,
    /// The coefficients, 2^index_bits of them.
    pub entries: Vec<Entry>,
}

impl FuncTable {
    /// Builds the table of `f`, which gives values in units of 2^-160.
    pub(super) fn build(
        name: &'static str,
        index_bits: u32,
        offset_bits: u32,
        f: fn(u32) -> BigUint,
    ) -> Self {
        let (k1, k2) = (offset_bits + 2, offset_bits + 1);
        let entries = (0..1 << index_bits).map(|i| fit(i, offset_bits, k1, k2, f)).collect();
        FuncTable {
            name,
            index_bits,
            offset_bits,
            c0_bits: C0_BITS,
            c1_bits: C1_BITS,
            c2_bits: C2_BITS,
            k1,
            k2,
            guard_bits: GUARD_BITS,
            entries,
        }
    }

    /// The function at `x`, which has `index_bits + offset_bits` bits, in units of 2^-24.
    #[inline]
    #[must_use]
    pub fn eval(&self, x: u32) -> u32 {
        let c = self.entries[(x >> self.offset_bits) as usize];
        let d = i64::from(x & ((1 << self.offset_bits) - 1)) - (1 << (self.offset_bits - 1));
        let slope = i64::from(c.c1) + ((d * i64::from(c.c2)) >> self.k2);
        let y = i64::from(c.c0) + ((d * slope) >> self.k1);
        (y >> self.guard_bits) as u32
    }

    /// Entry `i` as a memory word of 72 bits: `c0` in the low bits, then `c1`, then `c2`, in two's complement.
    #[must_use]
    pub fn word(&self, i: usize) -> u128 {
        let Entry { c0, c1, c2 } = self.entries[i];
        let field = |v: i32, bits: u32| u128::from(v as u32 & ((1 << bits) - 1));
        u128::from(c0) | field(c1, C1_BITS) << C0_BITS | field(c2, C2_BITS) << (C0_BITS + C1_BITS)
    }

    /// blake3 of all words in order, nine bytes each, least significant first.
    #[must_use]
    pub fn hash(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for i in 0..self.entries.len() {
            hasher.update(&self.word(i).to_le_bytes()[..(WORD_BITS / 8) as usize]);
        }
        hasher.finalize()
    }
}

/// The parabola through three points of segment `i`: its middle, and a distance of cos(30 degrees) of half its length
/// to either side, where a Chebyshev polynomial of degree 3 has its zeros.
fn fit(i: u32, offset_bits: u32, k1: u32, k2: u32, f: fn(u32) -> BigUint) -> Entry {
    let middle = (i << offset_bits) + (1 << (offset_bits - 1));
    let a = (3u64 << (2 * offset_bits - 4)).isqrt() as u32;
    let value = |x: u32| BigInt::from(f(x));
    let (low, mid, high) = (value(middle - a), value(middle), value(middle + a));
    let unit = OUT_FRAC_BITS + GUARD_BITS;
    let c1 = (&high - &low) << (unit + k1);
    let c2 = (high + low - &mid * 2) << (unit + k1 + k2);
    let (a, one) = (BigInt::from(a), BigInt::from(1) << P);
    Entry {
        c0: nearest(mid << unit, &one) as u32 + (1 << (GUARD_BITS - 1)),
        c1: nearest(c1, &(&a * 2 * &one)),
        c2: nearest(c2, &(&a * &a * 2 * &one)),
    }
}

/// `n / d` to the nearest integer, for `d > 0`. A quotient is small by construction; saturated, a test of the widths
/// would find it.
fn nearest(n: BigInt, d: &BigInt) -> i32 {
    let doubled: BigInt = n * 2;
    let half = if doubled < BigInt::ZERO { -d } else { d.clone() };
    let quotient = (doubled + half) / (d * 2);
    i32::try_from(quotient).unwrap_or(i32::MAX)
}
