//! `fp4_half_units`: MXFP4 codes as integers.
//!
//! # Purpose
//!
//! Twice the value of an E2M1 code is an integer, which the MAC array multiplies.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `codes_i` | in | 4 x lanes | codes, lane 0 in the low nibble |
//! | `units_o` | out | 5 x lanes | two's complement, lane 0 in the low bits |
//!
//! # Timing
//!
//! No registers: within the cycle.
//!
//! # Numeric contract
//!
//! [`e2m1_to_half_units`]: 0, 1, 2, 3, 4, 6, 8, 12, negative where bit 3 is set; both zeros are 0.
//!
//! # Cost
//!
//! At most five look-up tables a lane, one deep.
//!
//! # Verification
//!
//! `tests/tests/rtl_mx.rs::every_code_in_every_lane`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::mx::HalfUnits;
//!
//! assert!(HalfUnits::new(64).is_err());
//! assert_eq!(HalfUnits::WIDTH, 5);
//! # HalfUnits::new(32)?;
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::lanes;
use crate::rtl::{Bits, Block, Builder, Module, RtlError, Wire};
use fastcar_arch::num::e2m1_to_half_units;
use std::sync::Arc;

/// Bits of a code.
const CODE: u32 = 4;

/// Codes to half units. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfUnits {
    lanes: u32,
}

impl HalfUnits {
    /// Width of an integer: -12 to 12.
    pub const WIDTH: u32 = 5;

    /// A number of codes at a time, at most a block.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(number: u32) -> Result<Self, RtlError> {
        Ok(Self { lanes: lanes("fp4 half units", number)? })
    }

    /// One code within another module.
    #[must_use]
    #[track_caller]
    pub fn build<'m>(m: &'m Builder, code: Wire<'m>) -> Wire<'m> {
        let value = |code| Bits::from_i64(Self::WIDTH, i64::from(e2m1_to_half_units(code)));
        let values: Vec<_> = (0..1 << CODE).map(|code| m.constant(value(code))).collect();
        code.choose(&values)
    }
}

impl Block for HalfUnits {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("fp4_half_units_n{}", self.lanes));
        let codes = m.input("codes_i", CODE * self.lanes).chunks(CODE);
        let units: Vec<_> = codes.into_iter().map(|code| Self::build(&m, code)).collect();
        m.output("units_o", m.pack(&units));
        m.finish()
    }
}
