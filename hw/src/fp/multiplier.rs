//! `fp::multiplier`: `a * b`, one a cycle.
//!
//! # Purpose
//!
//! The multiplication of the vector lanes and of whatever else multiplies two binary32 numbers.
//!
//! # Interface
//!
//! A pipe.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears `valid` only |
//! | `valid_i` | in | 1 | operands are sampled on this edge |
//! | `a_i` | in | 32 | first operand |
//! | `b_i` | in | 32 | second operand |
//! | `valid_o` | out | 1 | there is a result |
//! | `product_o` | out | 32 | the result |
//!
//! # Timing
//!
//! [`fastcar_arch::timing::MUL_LATENCY`], one result per cycle: operands; two partial products; their sum; normalise, round.
//!
//! # Numeric contract
//!
//! [`fastcar_arch::num::fp::mul`], bit for bit: a product below 2^-126 before rounding is a zero of its sign.
//!
//! # Cost
//!
//! Two DSP blocks: the first significand by the low 17 and by the high 7 bits of the second. Figures:
//! `tests/baselines/rtl/fp_multiplier.toml`.
//!
//! # Verification
//!
//! Testpoint `hw.fp.multiplier` of `docs/verification.md`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{fp::Multiplier, rtl::Block};
//!
//! assert_eq!(Multiplier.latency(), 4);
//! assert_eq!(Multiplier.module()?.name(), "fp_multiplier");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::{
    BIAS, Exceptions, FIELD, MANTISSA, Parts, SIGNIFICAND, SPECIAL, WORD, add_carry, hold, hold_valid,
    result, rounds_up,
};
use crate::rtl::{Block, Builder, Module, RtlError, Wire};
use fastcar_arch::timing::MUL_LATENCY;
use std::sync::Arc;

/// Bits of the second significand in the first product: a DSP block's narrow operand has 18 bits, one of them the sign.
const LOW: u32 = 17;
/// Bits of the product that are above the low part of the first one.
const TOP: u32 = 2 * SIGNIFICAND - LOW;
/// A result's exponent while it may be below zero.
const EXPONENT: u32 = FIELD + 2;

/// The multiplier. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Multiplier;

impl Multiplier {
    /// Cycles from operands to their result.
    #[must_use]
    pub fn latency(&self) -> u32 {
        MUL_LATENCY as u32
    }
}

impl Block for Multiplier {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new("fp_multiplier");
        let valid = m.input("valid_i", 1);
        let (a, b) = (Parts::of(m.input("a_i", WORD)), Parts::of(m.input("b_i", WORD)));
        let (top, lost) = significands(&m, a.mantissa, b.mantissa);
        let exponent = m.register("field_sum", a.field.zext(EXPONENT) + b.field.zext(EXPONENT));
        let exponent = hold(&m, "exponent", 2, exponent - BIAS)?;
        let zero = a.zero | b.zero;
        let infinite = a.infinite | b.infinite;
        let later = |name: &str, value| hold(&m, name, 3, value);
        let except = Exceptions {
            nan: later("nan", a.nan | b.nan | (infinite & zero))?,
            infinite: later("infinite", infinite)?,
            zero: later("zero", zero)?,
        };
        let sign = later("sign", a.sign ^ b.sign)?;
        m.output("valid_o", hold_valid(&m, "valid", self.latency(), valid));
        m.output("product_o", rounded(&m, sign, exponent, top, lost, except));
        m.finish()
    }
}

/// After three cycles: the product's high bits, and whether any other is set.
fn significands<'m>(m: &'m Builder, a: Wire<'m>, b: Wire<'m>) -> (Wire<'m>, Wire<'m>) {
    let one = m.lit(1, 1);
    let (a, b) = (one.cat(m.register("a", a)), one.cat(m.register("b", b)));
    let low = m.register("low", a.mul_unsigned(b.trunc(LOW)));
    let high = m.register("high", a.mul_unsigned(b.slice(LOW, SIGNIFICAND - LOW)));
    let top = high + low.slice(LOW, SIGNIFICAND).zext(TOP);
    (m.register("top", top), m.register("lost", low.trunc(LOW).any()))
}

fn rounded<'m>(
    m: &'m Builder,
    sign: Wire<'m>,
    exponent: Wire<'m>,
    top: Wire<'m>,
    lost: Wire<'m>,
    except: Exceptions<'m>,
) -> Wire<'m> {
    // The product of two numbers from 1 on and below 2 lies below 4.
    let two = top.msb();
    let bits = two.mux(top, top << 1);
    let dropped = TOP - SIGNIFICAND;
    let rest = bits.trunc(dropped - 1).any() | lost;
    let up = rounds_up(bits.bit(dropped), bits.bit(dropped - 1), rest);
    let fraction = bits.slice(dropped, MANTISSA);
    let rounded =
        add_carry(exponent.cat(m.lit(MANTISSA, 0)), two.zext(EXPONENT).cat(fraction), up).trunc(WORD - 1);
    // Both are decided before rounding; a number that rounding makes too large becomes an infinity by itself.
    let tiny = exponent.msb() | (exponent.is_zero() & !two);
    let large = SPECIAL - 1;
    let overflow = !exponent.msb() & (exponent.gt(large) | (exponent.eq(large) & two));
    let zero = except.zero | (tiny & !except.infinite);
    let infinite = except.infinite | (overflow & !except.zero);
    m.register("result", result(m, sign, rounded, &Exceptions { nan: except.nan, infinite, zero }))
}
