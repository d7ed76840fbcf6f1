//! The accumulation window: a 48-bit signed integer under a base that the operand tensors fix beforehand.
//!
//! A block sum P whose operands carry the scale bytes `we` and `ae` enters the window shifted right by
//! `s = base - (we + ae)`, where `base` is the largest scale byte of the one tensor plus the largest of the other.
//! Every term is an integer, so the sum depends on the set of terms alone, not on their order.
//!
//! ```
//! use fastcar_arch::num::{E8M0, window};
//!
//! let base = window::Base::new(E8M0(127), E8M0(128));
//! let acc = window::term(4096, base.shift(E8M0(127), E8M0(128))) + window::term(3, base.shift(E8M0(120), E8M0(118)));
//! assert_eq!(acc, (4096 << 16) + 2); // 3 * 2^16 / 2^17 = 1.5, and halves round up
//! assert_eq!(window::to_f32(acc, base, window::Pair::Int8Int8), 2.0);
//! ```

use super::dot::{dot_fp4, dot_int8};
use super::fp::{CANONICAL_NAN, scaled_int_to_f32};
use super::mx::{E8M0, Fp4Block, Int8Block};

/// Bits of the window below the unit of a block sum at the base.
pub const FRAC_BITS: u32 = 16;

/// Width of the accumulator, sign included.
pub const ACC_BITS: u32 = 48;

/// The most blocks one accumulation may add.
pub const MAX_BLOCKS: usize = 2048;

/// The largest magnitude of a block sum: 32 products of -128 and -128.
pub const MAX_BLOCK_SUM: i32 = 1 << 19;

// The accumulator cannot overflow.
const _: () = assert!(((MAX_BLOCK_SUM as i64) << FRAC_BITS) * (MAX_BLOCKS as i64) < 1 << (ACC_BITS - 1));

/// Which formats are multiplied: it gives the unit of a block sum.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Pair {
    /// MXINT8 by MXINT8.
    Int8Int8,
    /// MXFP4 by MXINT8.
    Fp4Int8,
}

impl Pair {
    /// Exponent of the unit of a block sum, relative to the product of the two scales.
    #[must_use]
    pub const fn unit_exp2(self) -> i32 {
        match self {
            Pair::Int8Int8 => -12,
            Pair::Fp4Int8 => -7,
        }
    }
}

/// The base of a window: the sum of the largest scale bytes of the two operand tensors, and whether one is NaN.
///
/// The NaN byte is the largest, so a tensor with a NaN scale anywhere has a NaN maximum, and the result is NaN.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Base {
    sum: u16,
    nan: bool,
}

impl Base {
    /// The base for tensors whose largest scales are `w_max` and `a_max` (see [`E8M0::max_of`]).
    #[must_use]
    pub const fn new(w_max: E8M0, a_max: E8M0) -> Base {
        Base { sum: w_max.0 as u16 + a_max.0 as u16, nan: w_max.is_nan() || a_max.is_nan() }
    }

    /// Whether the result will be NaN.
    #[must_use]
    pub const fn is_nan(self) -> bool {
        self.nan
    }

    /// The sum of the two bytes.
    #[must_use]
    pub const fn sum(self) -> u16 {
        self.sum
    }

    /// How far a block sum under these scales is shifted right. Neither may exceed the maximum that the base was made
    /// from; a sum above the base counts as the base.
    #[inline]
    #[must_use]
    pub const fn shift(self, w: E8M0, a: E8M0) -> u32 {
        self.sum.saturating_sub(w.0 as u16 + a.0 as u16) as u32
    }
}

/// A block sum as a term of the window: `p * 2^16 / 2^s`, rounded to nearest with halves up, that is, shifted right
/// with the last bit shifted out as carry-in. Exact up to `s = 16`; zero from `s = 37` on.
#[inline]
#[must_use]
pub const fn term(p: i32, s: u32) -> i64 {
    // One bit more than needed, so that the last bit shifted out is still there to round with.
    let doubled = (p as i64) << (FRAC_BITS + 1);
    let s = if s < 63 { s } else { 63 };
    ((doubled >> s) + 1) >> 1
}

/// The accumulated sum in binary32; NaN where the base is NaN.
#[inline]
#[must_use]
pub fn to_f32(acc: i64, base: Base, pair: Pair) -> f32 {
    if base.nan {
        return CANONICAL_NAN;
    }
    scaled_int_to_f32(acc, i32::from(base.sum) - 254 + pair.unit_exp2() - FRAC_BITS as i32)
}

/// Window sum of two MXINT8 rows of equal length.
#[must_use]
pub fn row_int8(w: &[Int8Block], a: &[Int8Block], base: Base) -> i64 {
    debug_assert_eq!(w.len(), a.len(), "rows of different length");
    w.iter().zip(a).map(|(w, a)| term(dot_int8(&w.elems, &a.elems), base.shift(w.scale, a.scale))).sum()
}

/// Window sum of an MXFP4 row and an MXINT8 row of equal length.
#[must_use]
pub fn row_fp4(w: &[Fp4Block], a: &[Int8Block], base: Base) -> i64 {
    debug_assert_eq!(w.len(), a.len(), "rows of different length");
    w.iter().zip(a).map(|(w, a)| term(dot_fp4(&w.codes, &a.elems), base.shift(w.scale, a.scale))).sum()
}
