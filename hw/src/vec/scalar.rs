//! `vector_scalar`: from a sum to the mean of a vector, and to the reciprocal root of its mean square.
//!
//! # Purpose
//!
//! What a norm needs once for a vector, and a change for every block.
//!
//! # Interface
//!
//! A pipe.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears `valid` only |
//! | `valid_i` | in | 1 | there is a sum |
//! | `sum_i` | in | [`SUM_BITS`] | the sum, signed |
//! | `exponent_i` | in | [`EXPONENT_BITS`] | its unit's exponent |
//! | `nan_i` | in | 1 | it is NaN |
//! | `inv_words_i` | in | 32 | what one word counts in the mean; what the sum of a change or a gate is multiplied by |
//! | `eps_i` | in | 32 | added to the mean |
//! | `number_valid_o`, `number_o` | out | 1, 32 | the sum as a number |
//! | `mean_valid_o`, `mean_o` | out | 1, 32 | `sum * inv_words` |
//! | `root_valid_o`, `root_o` | out | 1, 32 | `rsqrt(mean + eps)` |
//!
//! # Timing
//!
//! [`Scalar::number_latency`], [`Scalar::mean_latency`] and [`Scalar::root_latency`], one sum a cycle.
//!
//! # Numeric contract
//!
//! [`fastcar_arch::num::scaled_int_to_f32`], [`fastcar_arch::num::fp`] and [`fastcar_arch::num::func::rsqrt`], bit for bit.
//!
//! # Cost
//!
//! One conversion, multiplier, adder and function unit. Figures: `tests/baselines/rtl/vec_scalar.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_vec.rs`, within the unit; `cells_and_depth_are_held`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::vec::Scalar;
//!
//! assert_eq!((Scalar::mean_latency(), Scalar::root_latency()), (9, 25));
//! ```

use super::WORD;
use crate::fp::integer::EXPONENT_BITS;
use crate::fp::sums::SUM_BITS;
use crate::fp::{Adder, FromInteger, Multiplier};
use crate::func::{FuncUnit, Function, cycles};
use crate::rtl::{Block, Builder, Module, RtlError};
use fastcar_arch::timing::{ADD_LATENCY, CONVERT_LATENCY, FUNC_LATENCY, MUL_LATENCY};
use std::sync::Arc;

/// The scalar path. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scalar;

impl Scalar {
    /// Cycles from a sum to its number.
    #[must_use]
    pub fn number_latency() -> u32 {
        cycles(CONVERT_LATENCY)
    }

    /// Cycles from a sum to the mean.
    #[must_use]
    pub fn mean_latency() -> u32 {
        Self::number_latency() + cycles(MUL_LATENCY)
    }

    /// Cycles from a sum to the reciprocal root.
    #[must_use]
    pub fn root_latency() -> u32 {
        Self::mean_latency() + cycles(ADD_LATENCY + FUNC_LATENCY)
    }
}

impl Block for Scalar {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new("vec_scalar");
        let convert = m.instance("u_convert", &FromInteger::new(SUM_BITS)?)?;
        convert.set("valid_i", m.input("valid_i", 1));
        convert.set("value_i", m.input("sum_i", SUM_BITS));
        convert.set("exponent_i", m.input("exponent_i", EXPONENT_BITS));
        convert.set("nan_i", m.input("nan_i", 1));
        let mean = m.instance("u_mean", &Multiplier)?;
        mean.set("valid_i", convert.get("valid_o"));
        mean.set("a_i", convert.get("result_o"));
        mean.set("b_i", m.input("inv_words_i", WORD));
        let sum = m.instance("u_sum", &Adder)?;
        sum.set("valid_i", mean.get("valid_o"));
        sum.set("subtract_i", m.lit(1, 0));
        sum.set("a_i", mean.get("product_o"));
        sum.set("b_i", m.input("eps_i", WORD));
        let root = m.instance("u_root", &FuncUnit::new(&[Function::Rsqrt])?)?;
        root.set("valid_i", sum.get("valid_o"));
        root.set("x_i", sum.get("sum_o"));
        m.output("number_valid_o", convert.get("valid_o"));
        m.output("number_o", convert.get("result_o"));
        m.output("mean_valid_o", mean.get("valid_o"));
        m.output("mean_o", mean.get("product_o"));
        m.output("root_valid_o", root.get("valid_o"));
        m.output("root_o", root.get("y_o"));
        m.finish()
    }
}
