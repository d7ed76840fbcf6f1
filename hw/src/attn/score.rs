//! `attn_score`: the sum of a key's block dots as a score in fixed point.
//!
//! # Purpose
//!
//! What a query and a key come to in the accumulation window becomes binary32, is scaled, and becomes an integer, so
//! that largest score and distance are exact.
//!
//! # Interface
//!
//! A *pipe*.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears `valid` only |
//! | `valid_i` | in | 1 | operands are sampled on this edge |
//! | `acc_i` | in | 48 | signed sum of the window's terms |
//! | `base_i`, `nan_i` | in | 9, 1 | the window's base; a scale of the query or of the key is NaN |
//! | `factor_i` | in | 32 | log2(e) / sqrt(head_dim), binary32; stays as it is while there are scores |
//! | `valid_o` | out | 1 | there is a result |
//! | `fixed_o` | out | 32 | the score in units of 2^-16, two's complement; anything for NaN |
//! | `nan_o` | out | 1 | the score is NaN |
//!
//! # Timing
//!
//! Latency [`Score::LATENCY`], one score a cycle: [`FromWindow`], [`Multiplier`], [`ScoreFixed`].
//!
//! # Numeric contract
//!
//! [`window::to_f32`](fastcar_arch::num::window::to_f32), [`fp::mul`](fastcar_arch::num::fp::mul),
//! [`softmax::score_fixed`](fastcar_arch::num::softmax::score_fixed), bit for bit.
//!
//! # Cost
//!
//! Two DSP blocks. Figures: `tests/baselines/rtl/attn_score.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_attn.rs`: `sums_become_scores`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{attn::Score, rtl::Block};
//!
//! assert_eq!((Score.module()?.name(), Score::LATENCY), ("attn_score", 11));
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use crate::fp::{FromWindow, Multiplier};
use crate::func::ScoreFixed;
use crate::rtl::{Block, Builder, Module, RtlError};
use fastcar_arch::num::window::ACC_BITS;
use fastcar_arch::timing::{CONVERT_LATENCY, MUL_LATENCY};
use std::sync::Arc;

/// Width of a window's base: two scale bytes added up.
pub(super) const BASE_BITS: u32 = 9;

/// A key's score. See the [module](self).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score;

impl Score {
    /// Cycles from a sum to its score.
    pub const LATENCY: u32 = CONVERT_LATENCY as u32 + MUL_LATENCY as u32 + ScoreFixed::LATENCY;
}

impl Block for Score {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new("attn_score");
        let convert = m.instance("u_convert", &FromWindow)?;
        convert.set("valid_i", m.input("valid_i", 1));
        convert.set("acc_i", m.input("acc_i", ACC_BITS));
        convert.set("base_i", m.input("base_i", BASE_BITS));
        convert.set("nan_i", m.input("nan_i", 1));
        // Keys are MXINT8.
        convert.set("fp4_i", m.lit(1, 0));
        let scaled = m.instance("u_scale", &Multiplier)?;
        scaled.set("valid_i", convert.get("valid_o"));
        scaled.set("a_i", convert.get("result_o"));
        scaled.set("b_i", m.input("factor_i", 32));
        let fixed = m.instance("u_fixed", &ScoreFixed)?;
        fixed.set("valid_i", scaled.get("valid_o"));
        fixed.set("score_i", scaled.get("product_o"));
        for name in ["valid_o", "fixed_o", "nan_o"] {
            m.output(name, fixed.get(name));
        }
        m.finish()
    }
}
