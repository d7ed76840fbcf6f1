//! `dot_lane`: one exact int8 dot product per cycle, fully pipelined.
//!
//! # Purpose
//!
//! The innermost block of the matrix-vector engine. Each cycle it takes `lanes` activations and `lanes` weights,
//! multiplies them pairwise and adds the products in a balanced tree.
//!
//! # Interface
//!
//! A *pipe*: `valid` travels with the data and there is no back-pressure, so whatever follows must take a result in the
//! cycle in which it appears.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears `valid` only |
//! | `valid_i` | in | 1 | operands are sampled on this edge |
//! | `act_i` | in | 8 x lanes | activations, lane 0 in the low byte |
//! | `weight_i` | in | 8 x lanes | weights, lane 0 in the low byte |
//! | `valid_o` | out | 1 | there is a result |
//! | `dot_o` | out | [`DotLane::out_width`] | signed sum |
//!
//! # Timing
//!
//! Latency [`DotLane::latency`]: 1 (multiply) + log2(lanes) (tree), one result per cycle. Operands sampled on edge `e` give a
//! result that is sampled on edge `e + latency`.
//!
//! # Numeric contract
//!
//! Exact: the output is wide enough for `lanes` products of -128 x -128, so nothing rounds, saturates or wraps. Reference:
//! [`fastcar_arch::num::dot::dot_int8`].
//!
//! # Cost
//!
//! `lanes` multipliers, each a DSP block, and `lanes - 1` adders; every level of the tree is registered.
//!
//! # Verification
//!
//! `tests/tests/rtl_dot_lane.rs`: values, latency, gaps; `tests/tests/rtl_synthesis.rs`: one DSP block per lane.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::pe::DotLane;
//!
//! let lane = DotLane::new(4)?;
//! assert_eq!((lane.latency(), lane.out_width()), (3, 18));
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use crate::rtl::{Block, Builder, Module, RtlError, Wire};
use std::sync::Arc;

/// An int8 dot product. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DotLane {
    lanes: u32,
}

impl DotLane {
    /// A product of vectors of `lanes` elements.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(lanes: u32) -> Result<Self, RtlError> {
        if !lanes.is_power_of_two() || lanes > 1 << 16 {
            let allowed = "a power of two up to 65536";
            return Err(RtlError::Parameter {
                block: "dot lane",
                parameter: "lanes",
                asked: u64::from(lanes),
                allowed,
            });
        }
        Ok(Self { lanes })
    }

    /// Cycles from operands to their result.
    #[must_use]
    pub fn latency(&self) -> u32 {
        1 + self.lanes.ilog2()
    }

    /// Width of the result: a product of two bytes has 16 bits, each level of the tree adds one.
    #[must_use]
    pub fn out_width(&self) -> u32 {
        16 + self.lanes.ilog2()
    }
}

impl Block for DotLane {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("dot_lane_int8_n{}", self.lanes));
        let mut valid = m.input("valid_i", 1);
        let act = m.input("act_i", 8 * self.lanes);
        let weight = m.input("weight_i", 8 * self.lanes);
        let mut level: Vec<Wire<'_>> = (0..)
            .zip(act.chunks(8).into_iter().zip(weight.chunks(8)))
            .map(|(n, (a, w)): (u32, _)| m.register(&format!("product_{n}"), a.mul_signed(w)))
            .collect();
        valid = m.register_valid("valid_0", valid);
        for depth in 1..self.latency() {
            let sums = (0..).zip(level.chunks_exact(2)).map(|(n, pair): (u32, _)| {
                let width = pair[0].width() + 1;
                m.register(&format!("sum_{depth}_{n}"), pair[0].sext(width) + pair[1].sext(width))
            });
            level = sums.collect();
            valid = m.register_valid(&format!("valid_{depth}"), valid);
        }
        m.output("valid_o", valid);
        m.output("dot_o", level[0]);
        m.finish()
    }
}
