//! `fp::window`: the sum of an accumulation window as binary32, one a cycle.
//!
//! # Purpose
//!
//! From an accumulator of the MAC array to the word that the vector unit takes.
//!
//! # Interface
//!
//! A pipe.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears `valid` only |
//! | `valid_i` | in | 1 | operands are sampled on this edge |
//! | `acc_i` | in | 48 | the accumulator, signed |
//! | `base_i` | in | 9 | sum of the two largest scale bytes |
//! | `nan_i` | in | 1 | one of the two is NaN |
//! | `fp4_i` | in | 1 | the weights are MXFP4, else MXINT8 |
//! | `valid_o` | out | 1 | there is a result |
//! | `result_o` | out | 32 | the sum |
//!
//! # Timing
//!
//! [`fastcar_arch::timing::CONVERT_LATENCY`], one result per cycle.
//!
//! # Numeric contract
//!
//! [`fastcar_arch::num::window::to_f32`], bit for bit.
//!
//! # Cost
//!
//! A [`FromInteger`] of 48 bits and an addition of 10. Figures: `tests/baselines/rtl/fp_window.toml`.
//!
//! # Verification
//!
//! Testpoint `hw.fp.window` of `docs/verification.md`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{fp::FromWindow, rtl::Block};
//!
//! assert_eq!(FromWindow.module()?.name(), "fp_from_window");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::FromInteger;
use super::integer::EXPONENT_BITS;
use crate::rtl::{Bits, Block, Builder, Module, RtlError};
use fastcar_arch::num::window::{ACC_BITS, FRAC_BITS, Pair};
use fastcar_arch::timing::CONVERT_LATENCY;
use std::sync::Arc;

/// Width of a base: two bytes added up.
const BASE_BITS: u32 = 9;
/// Twice the bias of a scale byte.
const BIASES: i32 = 254;

/// The conversion. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FromWindow;

impl FromWindow {
    /// Cycles from operands to their result.
    #[must_use]
    pub fn latency(&self) -> u32 {
        CONVERT_LATENCY as u32
    }
}

impl Block for FromWindow {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new("fp_from_window");
        let unit = |pair: Pair| {
            let exponent = pair.unit_exp2() - BIASES - FRAC_BITS as i32;
            m.constant(Bits::from_i64(EXPONENT_BITS, i64::from(exponent)))
        };
        let convert = m.instance("convert", &FromInteger::new(ACC_BITS)?)?;
        convert.set("valid_i", m.input("valid_i", 1));
        convert.set("value_i", m.input("acc_i", ACC_BITS));
        let unit = m.input("fp4_i", 1).mux(unit(Pair::Fp4Int8), unit(Pair::Int8Int8));
        convert.set("exponent_i", m.input("base_i", BASE_BITS).zext(EXPONENT_BITS) + unit);
        convert.set("nan_i", m.input("nan_i", 1));
        m.output("valid_o", convert.get("valid_o"));
        m.output("result_o", convert.get("result_o"));
        m.finish()
    }
}
