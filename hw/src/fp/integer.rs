//! `fp::integer`: an integer times a power of two, as binary32, one a cycle.
//!
//! # Purpose
//!
//! What every exact sum ends with: the accumulators of the MAC array, sums of squares, the softmax denominator.
//!
//! # Interface
//!
//! A pipe.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears `valid` only |
//! | `valid_i` | in | 1 | operands are sampled on this edge |
//! | `nan_i` | in | 1 | the result is NaN |
//! | `value_i` | in | width | signed integer v |
//! | `exponent_i` | in | [`EXPONENT_BITS`] | signed integer e |
//! | `valid_o` | out | 1 | there is a result |
//! | `result_o` | out | 32 | v x 2^e |
//!
//! # Timing
//!
//! [`fastcar_arch::timing::CONVERT_LATENCY`], one result per cycle: magnitude; leading zeros; shift; dropped bits; round.
//!
//! # Numeric contract
//!
//! [`fastcar_arch::num::scaled_int_to_f32`], bit for bit, for every v of the width and every e of the port.
//!
//! # Cost
//!
//! Look-up tables and registers alone: a shifter of the width and two carry chains. Figures:
//! `tests/baselines/rtl/fp_integer.toml`.
//!
//! # Verification
//!
//! Testpoint `hw.fp.integer` of `docs/verification.md`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{fp::FromInteger, rtl::Block};
//!
//! let convert = FromInteger::new(48)?;
//! assert_eq!(convert.latency(), 5);
//! assert_eq!(convert.module()?.name(), "fp_from_integer_w48");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::{
    BIAS, Exceptions, MANTISSA, SIGNIFICAND, SPECIAL, WORD, add_carry, hold, hold_valid, leading_zeros,
    result, rounds_up,
};
use crate::rtl::{Block, Builder, Module, RtlError, Wire};
use fastcar_arch::timing::CONVERT_LATENCY;
use std::sync::Arc;

/// Width of the exponent port: what the units of windows, sums of squares, weights and reciprocals need.
pub const EXPONENT_BITS: u32 = 10;
/// A result's field while it may be out of range.
const FIELD_BITS: u32 = EXPONENT_BITS + 2;

/// The conversion. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FromInteger {
    width: u32,
}

impl FromInteger {
    /// A conversion of integers of a width, sign included.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(width: u32) -> Result<Self, RtlError> {
        if !(2..=64).contains(&width) {
            let (block, parameter, allowed) = ("integer to binary32", "width", "2 to 64 bits");
            return Err(RtlError::Parameter { block, parameter, asked: u64::from(width), allowed });
        }
        Ok(Self { width })
    }

    /// Cycles from operands to their result.
    #[must_use]
    pub fn latency(&self) -> u32 {
        CONVERT_LATENCY as u32
    }

    /// The circuit within another module: three cycles from magnitude to dropped bits, then the result.
    fn build<'m>(
        &self,
        m: &'m Builder,
        value: Wire<'m>,
        exponent: Wire<'m>,
        nan: Wire<'m>,
    ) -> Result<Wire<'m>, RtlError> {
        let sign = value.msb();
        let zeros = m.lit(self.width, 0);
        let magnitude = m.register("magnitude", add_carry(zeros, value ^ sign.repeat(self.width), sign));
        let count = m.register("count", leading_zeros(magnitude));
        let shifted = m.register("magnitude_2", magnitude).shl_by(count);
        let normal = m.register("normal", shifted);
        // Two bits at least are dropped, for the sake of rounding.
        let wide = self.width.max(SIGNIFICAND + 2);
        let normal = if wide == self.width { normal } else { normal.cat(m.lit(wide - self.width, 0)) };
        let dropped = wide - SIGNIFICAND;
        let field = self.field(m, exponent, count)?;
        let up = rounds_up(normal.bit(dropped), normal.bit(dropped - 1), normal.trunc(dropped - 1).any());
        let fraction = m.register("fraction", normal.slice(dropped, MANTISSA));
        let rounded = add_carry(
            m.register("field", field.trunc(8)).cat(m.lit(MANTISSA, 0)),
            fraction.zext(WORD - 1),
            m.register("up", up),
        );
        let nothing = !normal.msb();
        let except = Exceptions {
            nan: hold(m, "nan", 4, nan)?,
            infinite: m.register("infinite", normal.msb() & !field.lt_signed(SPECIAL)),
            zero: m.register("zero", nothing | field.msb() | field.is_zero()),
        };
        let sign = m.register("sign_4", hold(m, "sign", 3, sign)? & !nothing);
        Ok(m.register("result", result(m, sign, rounded, &except)))
    }

    /// After three cycles: the result's field, wherever it is.
    fn field<'m>(&self, m: &'m Builder, exponent: Wire<'m>, count: Wire<'m>) -> Result<Wire<'m>, RtlError> {
        let highest = u64::from(self.width) - 1;
        let exponent = hold(m, "exponent", 2, exponent)?;
        let field = exponent.sext(FIELD_BITS) - count.zext(FIELD_BITS) + (BIAS + highest);
        Ok(m.register("field_3", field))
    }
}

impl Block for FromInteger {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("fp_from_integer_w{}", self.width));
        let valid = m.input("valid_i", 1);
        let nan = m.input("nan_i", 1);
        let (value, exponent) = (m.input("value_i", self.width), m.input("exponent_i", EXPONENT_BITS));
        m.output("valid_o", hold_valid(&m, "valid", self.latency(), valid));
        m.output("result_o", self.build(&m, value, exponent, nan)?);
        m.finish()
    }
}
