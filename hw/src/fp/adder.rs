//! `fp::adder`: `a + b` or `a - b`, one a cycle.
//!
//! # Purpose
//!
//! The addition of the vector lanes and of whatever else adds two binary32 numbers.
//!
//! # Interface
//!
//! A pipe.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears `valid` only |
//! | `valid_i` | in | 1 | operands are sampled on this edge |
//! | `subtract_i` | in | 1 | `a - b` |
//! | `a_i` | in | 32 | first operand |
//! | `b_i` | in | 32 | second operand |
//! | `valid_o` | out | 1 | there is a result |
//! | `sum_o` | out | 32 | the result |
//!
//! # Timing
//!
//! [`fastcar_arch::timing::ADD_LATENCY`], one result per cycle: compare and subtract the fields; swap; align; add; normalise to
//! a group of four bits; normalise to the bit, round.
//!
//! # Numeric contract
//!
//! [`fastcar_arch::num::fp::add`] and [`fastcar_arch::num::fp::sub`], bit for bit.
//!
//! # Cost
//!
//! Look-up tables and registers alone: two shifters of 24 and 28 bits, three carry chains. Figures:
//! `tests/baselines/rtl/fp_adder.toml`.
//!
//! # Verification
//!
//! Testpoint `hw.fp.adder` of `docs/verification.md`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{fp::Adder, rtl::Block};
//!
//! assert_eq!(Adder.latency(), 6);
//! assert_eq!(Adder.module()?.name(), "fp_adder");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::{
    Exceptions, FIELD, MANTISSA, Parts, SIGNIFICAND, SPECIAL, WORD, add_carry, hold, hold_valid,
    leading_zeros, result, rounds_up, shift_and_lost,
};
use crate::rtl::{Block, Builder, Module, RtlError, Wire};
use fastcar_arch::timing::ADD_LATENCY;
use std::sync::Arc;

/// Bits behind the significand: the first dropped, one more for the shift to the left, and whether anything is below.
const GUARD: u32 = 3;
/// Significand, guard bits, and the carry above.
const SUM: u32 = SIGNIFICAND + GUARD + 1;
/// Bits by which the first part of the normalisation shifts.
const GROUP: u32 = 4;
/// A result's exponent while it may be below zero.
const EXPONENT: u32 = FIELD + 2;

/// The adder. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adder;

impl Adder {
    /// Cycles from operands to their result.
    #[must_use]
    pub fn latency(&self) -> u32 {
        ADD_LATENCY as u32
    }
}

impl Block for Adder {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new("fp_adder");
        let valid = m.input("valid_i", 1);
        let subtract = m.input("subtract_i", 1);
        let (a, b) = (m.input("a_i", WORD), m.input("b_i", WORD));
        let ordered = Ordered::of(&m, a, (b.msb() ^ subtract).cat(b.trunc(WORD - 1)));
        let sum = ordered.sum(&m)?;
        m.output("valid_o", hold_valid(&m, "valid", self.latency(), valid));
        m.output("sum_o", sum.rounded(&m));
        m.finish()
    }
}

/// After two cycles: the operands, the larger one first.
struct Ordered<'m> {
    sign: Wire<'m>,
    field: Wire<'m>,
    large: Wire<'m>,
    small: Wire<'m>,
    /// By how much the smaller one is to be shifted; the largest count stands for all above.
    distance: Wire<'m>,
    /// The signs differ.
    differ: Wire<'m>,
    /// The sign of a sum that is exactly zero.
    zero_sign: Wire<'m>,
    nan: Wire<'m>,
    infinite: Wire<'m>,
}

impl<'m> Ordered<'m> {
    fn of(m: &'m Builder, a: Wire<'m>, b: Wire<'m>) -> Self {
        let flags = |name: &str, word: Wire<'m>| {
            let parts = Parts::of(word);
            m.register(name, m.concat(&[parts.zero, parts.infinite, parts.nan]))
        };
        let wide = |parts: Parts<'m>| parts.field.zext(FIELD + 1);
        let (fa, fb) = (wide(Parts::of(a)), wide(Parts::of(b)));
        let (down, up) = (m.register("a_less_b", fa - fb), m.register("b_less_a", fb - fa));
        // Subnormal operands need no flush here: of two of them it does not matter which is the larger.
        let swap = m.register("swap", a.trunc(WORD - 1).lt(b.trunc(WORD - 1)));
        let (af, bf) = (flags("a_flags", a), flags("b_flags", b));
        let (a, b) = (m.register("a", a), m.register("b", b));
        let (large, small) = (swap.mux(b, a), swap.mux(a, b));
        let zero = |b_is: Wire<'m>| b_is.mux(bf.bit(2), af.bit(2));
        let significand = |word: Wire<'m>, zero: Wire<'m>| {
            !zero.repeat(SIGNIFICAND) & m.lit(1, 1).cat(word.trunc(MANTISSA))
        };
        let distance = swap.mux(up, down);
        let far = distance.slice(5, FIELD - 5).any();
        let differ = a.msb() ^ b.msb();
        let nan = af.bit(0) | bf.bit(0) | (af.bit(1) & bf.bit(1) & differ);
        Self {
            sign: m.register("sign_2", large.msb()),
            field: m.register("field_2", large.slice(MANTISSA, FIELD)),
            large: m.register("larger", significand(large, zero(swap))),
            small: m.register("smaller", significand(small, zero(!swap))),
            distance: m.register("distance", far.repeat(5) | distance.trunc(5)),
            differ: m.register("differ", differ),
            zero_sign: m.register("zero_sign_2", a.msb() & b.msb()),
            nan: m.register("nan_2", nan),
            infinite: m.register("infinite_2", af.bit(1) | bf.bit(1)),
        }
    }

    /// After five: added up, and shifted to the left by a multiple of the group.
    fn sum(self, m: &'m Builder) -> Result<Sum<'m>, RtlError> {
        // A one that is lost counts as one bit below all others.
        let (near, lost) = shift_and_lost(self.small.cat(m.lit(GUARD - 1, 0)), self.distance);
        let near = m.register("near", near.cat(lost));
        let large = m.register("larger_3", self.large);
        let differ = m.register("differ_3", self.differ);
        let large = large.cat(m.lit(GUARD, 0)).zext(SUM);
        let sum = m.register("sum", add_carry(large, near.zext(SUM) ^ differ.repeat(SUM), differ));
        let field = hold(m, "field_to_4", 2, self.field)?;
        let groups: Vec<_> = sum.chunks(GROUP).into_iter().map(Wire::any).collect();
        let count = leading_zeros(m.pack(&groups));
        let choices: Vec<_> = (0..groups.len() as u32).map(|group| sum << (group * GROUP)).collect();
        // Two more than the exponent: one for the carry's place, one that the rounding takes off again.
        let exponent = field.zext(EXPONENT) + 2 - (count.zext(EXPONENT) << GROUP.ilog2());
        let overflow = field.eq(SPECIAL - 1) & sum.msb();
        let infinite = hold(m, "infinite_to_4", 2, self.infinite)?;
        Ok(Sum {
            bits: m.register("normal", count.choose(&choices)),
            exponent: m.register("exponent", exponent),
            sign: hold(m, "sign_to_5", 3, self.sign)?,
            zero_sign: hold(m, "zero_sign_to_5", 3, self.zero_sign)?,
            zero: m.register("zero", sum.is_zero()),
            nan: hold(m, "nan_to_5", 3, self.nan)?,
            infinite: m.register("infinite", infinite | overflow),
        })
    }
}

/// A sum whose highest one is among the highest four bits.
struct Sum<'m> {
    bits: Wire<'m>,
    exponent: Wire<'m>,
    sign: Wire<'m>,
    zero_sign: Wire<'m>,
    zero: Wire<'m>,
    nan: Wire<'m>,
    infinite: Wire<'m>,
}

impl<'m> Sum<'m> {
    fn rounded(&self, m: &'m Builder) -> Wire<'m> {
        let fine = leading_zeros(self.bits.slice(SUM - GROUP, GROUP));
        let choices: Vec<_> = (0..GROUP).map(|count| self.bits << count).collect();
        let bits = fine.choose(&choices);
        let dropped = SUM - SIGNIFICAND;
        let up = rounds_up(bits.bit(dropped), bits.bit(dropped - 1), bits.trunc(dropped - 1).any());
        // `!fine` is -1 - fine, and the carry chain takes the exponent with it.
        let less = m.lit(EXPONENT - fine.width(), 0).cat(fine);
        let fraction = bits.slice(dropped, MANTISSA);
        let rounded = add_carry(self.exponent.cat(m.lit(MANTISSA, 0)), (!less).cat(fraction), up);
        // Such a sum is exact: it is tiny before rounding as it is after.
        let tiny = self.exponent.le_signed(fine.zext(EXPONENT) + 1);
        let sign = self.zero.mux(self.zero_sign, self.sign);
        let except = Exceptions { nan: self.nan, infinite: self.infinite, zero: self.zero | tiny };
        m.register("result", result(m, sign, rounded.trunc(WORD - 1), &except))
    }
}
