//! Arithmetic on binary32: the rules of section 3 of `docs/numerics.md`, and sums that do not depend on order (section 4).
//!
//! Everything here is a *pipe*: `valid` travels with the data, one result a cycle, and whatever follows must take it in the
//! cycle in which it appears. Subnormal inputs count as zeros of their sign, a tiny result is a zero of its sign, and the
//! only NaN is [`CANONICAL_NAN`].

pub mod adder;
pub mod align;
pub mod compare;
pub mod integer;
pub mod multiplier;
pub mod sums;
pub mod window;

pub use adder::Adder;
pub use align::Align;
pub use compare::{Greater, MaxExponent};
pub use integer::FromInteger;
pub use multiplier::Multiplier;
pub use sums::SquareSum;
pub use window::FromWindow;

use crate::prim::DelayLine;
use crate::rtl::{Builder, RtlError, Wire};
use fastcar_arch::num::fp::CANONICAL_NAN;

/// Width of a number.
const WORD: u32 = 32;
/// Bits of the exponent's field.
const FIELD: u32 = 8;
/// Bits of the mantissa, without the one that is not stored.
const MANTISSA: u32 = 23;
/// Bits of a significand, with the one that is not stored.
const SIGNIFICAND: u32 = MANTISSA + 1;
/// The field of 1.
const BIAS: u64 = 127;
/// The field of infinities and NaN.
const SPECIAL: u64 = 255;

/// The parts of a number.
#[derive(Clone, Copy)]
struct Parts<'m> {
    sign: Wire<'m>,
    field: Wire<'m>,
    mantissa: Wire<'m>,
    /// Zero, or subnormal, which counts as zero.
    zero: Wire<'m>,
    infinite: Wire<'m>,
    nan: Wire<'m>,
}

impl<'m> Parts<'m> {
    fn of(word: Wire<'m>) -> Self {
        let (field, mantissa) = (word.slice(MANTISSA, FIELD), word.slice(0, MANTISSA));
        let (special, fraction) = (field.all(), mantissa.any());
        Self {
            sign: word.msb(),
            field,
            mantissa,
            zero: field.is_zero(),
            infinite: special & !fraction,
            nan: special & fraction,
        }
    }
}

/// What a result is if it is not a number that has been rounded. The first that is set decides.
struct Exceptions<'m> {
    nan: Wire<'m>,
    infinite: Wire<'m>,
    zero: Wire<'m>,
}

/// A result: sign, and field and mantissa of a rounded number. Rounding may have carried it from the largest number to
/// infinity, whose mantissa then is zero as it should be.
fn result<'m>(m: &'m Builder, sign: Wire<'m>, rounded: Wire<'m>, except: &Exceptions<'m>) -> Wire<'m> {
    let infinity = m.lit(WORD - 1, SPECIAL << MANTISSA);
    let finite = except.zero.mux(m.lit(WORD - 1, 0), rounded);
    let magnitude = except.infinite.mux(infinity, finite);
    except.nan.mux(m.lit(WORD, u64::from(CANONICAL_NAN.to_bits())), sign.cat(magnitude))
}

/// A value some cycles later.
fn hold<'m>(m: &'m Builder, name: &str, cycles: u32, value: Wire<'m>) -> Result<Wire<'m>, RtlError> {
    Ok(DelayLine::new(value.width(), cycles)?.build(m, name, value))
}

/// `valid`, or what travels like it, some cycles later; zero after reset.
fn hold_valid<'m>(m: &'m Builder, name: &str, cycles: u32, valid: Wire<'m>) -> Wire<'m> {
    (1..=cycles).fold(valid, |valid, stage| m.register_valid(&format!("{name}_{stage}"), valid))
}

/// How many zeros stand above the highest one; anything if there is no one.
fn leading_zeros<'m>(value: Wire<'m>) -> Wire<'m> {
    let (m, width) = (value.builder(), value.width());
    let padded = width.next_power_of_two().max(2);
    let value = if padded == width { value } else { value.cat(m.lit(padded - width, 0)) };
    if padded == 2 {
        return !value.msb();
    }
    let (high, low) = (value.slice(padded / 2, padded / 2), value.slice(0, padded / 2));
    let none = high.is_zero();
    none.cat(none.mux(leading_zeros(low), leading_zeros(high)))
}

/// Shifted right, and whether a one was lost on the way.
fn shift_and_lost<'m>(value: Wire<'m>, count: Wire<'m>) -> (Wire<'m>, Wire<'m>) {
    let none = value.builder().lit(1, 0);
    (0..count.width()).rev().fold((value, none), |(value, lost), bit| {
        let far = count.bit(bit);
        let out = (1 << bit).min(value.width());
        (far.mux(value >> out, value), lost | (far & value.trunc(out).any()))
    })
}

/// Whether a number is to be rounded up, to nearest even: the last bit kept, the first one dropped, and whether any other
/// dropped bit is set.
fn rounds_up<'m>(last: Wire<'m>, half: Wire<'m>, rest: Wire<'m>) -> Wire<'m> {
    half & (rest | last)
}

/// The sum and a carry into its lowest bit: one carry chain.
fn add_carry<'m>(a: Wire<'m>, b: Wire<'m>, carry: Wire<'m>) -> Wire<'m> {
    let one = a.builder().lit(1, 1);
    (a.cat(one) + b.cat(carry)).slice(1, a.width())
}
