//! `attn_value_scales`: the scale bytes of a head's values, and the largest.
//!
//! # Purpose
//!
//! The scale bytes of values come with those of the keys, so that the largest is known before the first value. They
//! wait here until the weights of the values are made, which are the smaller the smaller the scale.
//!
//! # Interface
//!
//! *Pipes*: bytes come, bytes are asked for. Lane 0 is low.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | a head without a token |
//! | `start_i` | in | 1 | a head begins, with this edge's bytes or later |
//! | `valid_i` | in | 1 | the scale bytes of what a beat of values holds; where blocks take two beats, of a block |
//! | `scale_i` | in | lanes x 8 | the bytes |
//! | `attended_i` | in | lanes | its token is attended to |
//! | `largest_o` | out | 8 | the largest byte of tokens that are attended to; 0 without any |
//! | `read_address_i` | in | [`ValueScales::address_width`] | the number of such a part, from the head's start on |
//! | `read_o` | out | lanes x 8 | its bytes |
//!
//! # Timing
//!
//! Bytes sampled on edge `e` are in `largest_o` and in what is asked for on edge `e +` [`ValueScales::LATENCY`].
//! `read_o` follows its address by [`Scores::READ`] edges.
//!
//! # Numeric contract
//!
//! [`E8M0::max_of`](fastcar_arch::num::mx::E8M0::max_of): the byte of NaN is the largest.
//!
//! # Cost
//!
//! A memory of four bytes for each token of [`Shape::tokens`], which is that of heads of 128; longer heads have room
//! for as many fewer tokens. Beyond it addresses begin again. Figures: `tests/baselines/rtl/attn_value_scales.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_attn.rs`: `value_scales_*`.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{attn::{Shape, ValueScales}, rtl::Block};
//!
//! let scales = ValueScales::new(Shape::of(&AccelConfig::preset("u55c")?)?)?;
//! assert_eq!(scales.module()?.name(), "attn_value_scales_l2_d16384");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::{BYTE, Scores, Shape, larger, style};
use crate::rtl::{Block, Builder, Module, RtlError, index_width};
use std::sync::Arc;

/// Blocks of a token for which there is room at the longest context.
const BLOCKS: u32 = 4;

/// The scale bytes of values. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueScales {
    lanes: u32,
    depth: u32,
}

impl ValueScales {
    /// Cycles from bytes to the largest.
    pub const LATENCY: u32 = 2;

    /// For a shape.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(shape: Shape) -> Result<Self, RtlError> {
        let shape = shape.checked()?;
        Ok(Self { lanes: shape.lanes, depth: shape.tokens * BLOCKS / shape.lanes })
    }

    /// Width of an address.
    #[must_use]
    pub fn address_width(&self) -> u32 {
        index_width(self.depth.into())
    }
}

impl Block for ValueScales {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("attn_value_scales_l{}_d{}", self.lanes, self.depth));
        let (start, valid) = (m.input("start_i", 1), m.input("valid_i", 1));
        let bytes = m.input("scale_i", self.lanes * BYTE);
        let attended = m.input("attended_i", self.lanes).bits();

        let counted = bytes.chunks(BYTE).into_iter().zip(attended).map(|(byte, bit)| byte & bit.repeat(BYTE));
        let beat = m.register("beat", m.tree(&counted.collect::<Vec<_>>(), larger));
        let (starts, comes) = (m.register_valid("starts", start), m.register_valid("comes", valid));
        let largest = m.reg("largest", BYTE).reset(0);
        let before = starts.mux(m.lit(BYTE, 0), largest.q());
        largest.update(&[(comes, larger(before, beat)), (starts, before)]);
        m.output("largest_o", largest.q());

        let address = m.reg("address", self.address_width()).reset(0);
        let here = start.mux(m.lit(self.address_width(), 0), address.q());
        address.update(&[(valid, here + 1), (start, here)]);
        let memory = m.memory("scales", bytes.width(), self.depth, style(bytes.width(), self.depth));
        memory.write(valid, here, bytes);
        let mut found =
            memory.read_registered("read", m.lit(1, 1), m.input("read_address_i", self.address_width()));
        for cycle in 1..Scores::READ {
            found = m.register(&format!("found_{cycle}"), found);
        }
        m.output("read_o", found);
        m.finish()
    }
}
