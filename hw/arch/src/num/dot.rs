//! Exact integer dot products of two blocks.
//!
//! Scales play no part here: [`window`](super::window) applies them to the sum.

use super::mx::{BLOCK, half_units};

/// Sum of products of two MXINT8 blocks, in units of 2^-12 of the product of their scales; at most 2^19 in magnitude.
#[inline]
#[must_use]
pub fn dot_int8(w: &[i8; BLOCK], a: &[i8; BLOCK]) -> i32 {
    w.iter().zip(a).map(|(&w, &a)| i32::from(w) * i32::from(a)).sum()
}

/// Sum of products of an MXFP4 block (its codes) and an MXINT8 block, in units of 2^-7 of the product of their
/// scales; at most 49152 in magnitude.
#[inline]
#[must_use]
pub fn dot_fp4(w: &[u8; BLOCK / 2], a: &[i8; BLOCK]) -> i32 {
    dot_int8(&half_units(w), a)
}
