//! Binary32 to fixed point: a significand shifted right and rounded to nearest even, in two stages.

use crate::rtl::Wire;

/// Width of a significand with its hidden bit.
pub(crate) const SIGNIFICAND: u32 = 24;
/// Bias of an exponent field.
pub(crate) const BIAS: u32 = 127;

/// The fields of a binary32 number.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'m> {
    pub sign: Wire<'m>,
    pub field: Wire<'m>,
    pub mantissa: Wire<'m>,
}

impl<'m> Fields<'m> {
    #[track_caller]
    pub fn of(x: Wire<'m>) -> Self {
        Self { sign: x.bit(31), field: x.slice(23, 8), mantissa: x.trunc(23) }
    }

    /// Infinite or NaN.
    pub fn is_special(self) -> Wire<'m> {
        self.field.all()
    }

    pub fn is_nan(self) -> Wire<'m> {
        self.is_special() & self.mantissa.any()
    }

    /// With the hidden bit: of a number that is not subnormal.
    pub fn significand(self) -> Wire<'m> {
        let m = self.field.builder();
        m.lit(1, 1).cat(self.mantissa)
    }
}

/// A number shifted right: what is left, and what was shifted out.
#[derive(Clone, Copy)]
pub(crate) struct Shifted<'m> {
    pub kept: Wire<'m>,
    /// The highest bit shifted out.
    pub half: Wire<'m>,
    /// Whether a bit below it was set.
    pub rest: Wire<'m>,
}

impl<'m> Shifted<'m> {
    /// `value >> count`.
    #[track_caller]
    pub fn right(value: Wire<'m>, count: Wire<'m>) -> Self {
        let m = value.builder();
        let dropped = (1 << count.width()) - 1;
        let shifted = value.cat(m.lit(dropped, 0)).shr_by(count);
        Self {
            kept: shifted.slice(dropped, value.width()),
            half: shifted.bit(dropped - 1),
            rest: shifted.trunc(dropped - 1).any(),
        }
    }

    /// The magnitude of a binary32 number in units of 2^-`fraction`, cut to `width` bits, at least 24 and at most 32. Below half
    /// a unit it is zero; a number that does not fit `width` bits gives anything, see [`exceeds`].
    #[track_caller]
    pub fn magnitude(x: Fields<'m>, width: u32, fraction: u32) -> Self {
        let m = x.field.builder();
        let top = u64::from(top_field(width, fraction));
        let aligned = x.significand().cat_zeros(width - SIGNIFICAND);
        // Modulo 32, which is exact for the fields that shift by 0 to 31.
        let shifted = Self::right(aligned, m.lit(5, top % 32) - x.field.trunc(5));
        let there = x.field.ge(top - 31);
        Self { kept: shifted.kept & there.repeat(width), half: shifted.half & there, ..shifted }
    }

    /// The three parts a cycle later.
    #[track_caller]
    pub fn registered(self, name: &str) -> Self {
        let m = self.kept.builder();
        let register = |part: &str, wire| m.register(&format!("{name}_{part}"), wire);
        Self {
            kept: register("kept", self.kept),
            half: register("half", self.half),
            rest: register("rest", self.rest),
        }
    }

    /// Whether rounding to nearest even adds one.
    pub fn up(self) -> Wire<'m> {
        self.half & (self.rest | self.kept.bit(0))
    }
}

/// The exponent field of numbers whose leading one is the highest of `width` bits in units of 2^-`fraction`.
fn top_field(width: u32, fraction: u32) -> u32 {
    BIAS + width - 1 - fraction
}

/// Whether a magnitude in units of 2^-`fraction` has more than `width` bits before it is rounded; infinities and NaN have.
#[track_caller]
pub(crate) fn exceeds<'m>(x: Fields<'m>, width: u32, fraction: u32) -> Wire<'m> {
    x.field.gt(u64::from(top_field(width, fraction)))
}

impl<'m> Wire<'m> {
    /// Zeros below.
    #[track_caller]
    pub(crate) fn cat_zeros(self, count: u32) -> Self {
        if count == 0 { self } else { self.cat(self.builder().lit(count, 0)) }
    }

    /// This value where `negate` is not set, its two's complement where it is, plus `up` towards larger magnitudes. One adder:
    /// -(v + up) = !v + !up.
    #[track_caller]
    pub(crate) fn signed(self, negate: Self, up: Self) -> Self {
        let width = self.width();
        (self ^ negate.repeat(width)) + (negate ^ up).zext(width)
    }
}
