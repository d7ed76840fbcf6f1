//! `attention`: what a channel's cluster has for attention beside its products.
//!
//! # Purpose
//!
//! [`Scores`], [`ValueScales`] and [`Weights`] with their memories joined, and what comes with a key held until its
//! sums are there: so the walk over keys and values says everything with the beat that it concerns.
//!
//! # Interface
//!
//! Words, lanes, passes and pairs are told in the [module above](super); the first is low everywhere.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | no head |
//! | `start_i` | in | 1 | a head begins, with this edge's beat or later; on all channels that share it before its last key anywhere is over |
//! | `factor_i`, `last_pass_i`, `last_beat_i`, `narrow_i` | in | 32, pass, [`Weights::BEAT_BITS`], 1 | as there; they stay from `start_i` until all weights have been taken; `narrow_i` with two lanes |
//! | `attended_i` | in | lanes | of the beat of keys at the cluster on this edge: the token is attended to; one token: lane 0's |
//! | `part_valid_i`, `part_i` | in | 1, lanes x 8 | the scale bytes of the value parts that lie where this beat's parts do, once; where blocks take two beats, with the second |
//! | `key_valid_i`, `key_scale_i`, `query_scale_i` | in | 1, lanes x 8, columns x 8 | it is the last one of a word in a pass over the keys; the largest scale bytes of keys and queries |
//! | `sum_i` | in | columns x [`Cluster::rows`] x 48 | the cluster's `sum_o` |
//! | `send_i`, `out_valid_o`, `out_first_o`, `out_o` | | | as in [`Scores`] |
//! | `in_valid_i`, `in_first_i`, `in_i` | | | as in [`Weights`] |
//! | `weight_valid_o`, `weight_data_o`, `weight_ready_i` | | | as in [`Weights`]: a beat of values takes one in each pass |
//! | `ask_i`, `total_valid_o`, `total_o` | | | as in [`Weights`] |
//!
//! # Timing
//!
//! With the last key at the cluster on edge `e`, its sums are there on edge `T = e +` [`MAC_LATENCY`], and `send_i` may
//! come on edge [`Attention::SEND`] behind T. The rest is the table in the [module above](super).
//!
//! # Numeric contract
//!
//! Of the parts.
//!
//! # Cost
//!
//! The parts, and shift registers for what comes with a key.
//!
//! # Verification
//!
//! `tests/tests/rtl_attn.rs`: `heads_*`: with clusters, on one and on several channels, against the functional model.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{attn::Attention, rtl::Block};
//!
//! let attention = Attention::new(&AccelConfig::preset("tiny")?)?;
//! assert_eq!(attention.module()?.name(), "attention_c2_l1_p32_t1024_b2_r1");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::{BYTE, Scores, Shape, ValueScales, Weights};
use crate::func::{cycles, later, later_valid};
use crate::pe::Cluster;
use crate::rtl::{Block, Builder, Instance, Module, RtlError, Wire};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::num::window::ACC_BITS;
use fastcar_arch::timing::MAC_LATENCY;
use std::sync::Arc;

/// A channel's attention. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attention {
    shape: Shape,
    /// Sums of each column in a word of the accumulators.
    rows: u32,
}

impl Attention {
    /// Cycles from the last key's sums to `send_i`: the scale leaves a cycle later, the first scores two.
    pub const SEND: u32 = Scores::LATENCY - 2;

    /// For the clusters of a configuration.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(config: &AccelConfig) -> Result<Self, RtlError> {
        Ok(Self { shape: Shape::of(config)?, rows: Cluster::new(config)?.rows() })
    }

    /// The sums of INT8 blocks: the first rows of each column, as many as lanes.
    fn sums<'m>(&self, m: &'m Builder) -> Wire<'m> {
        let s = &self.shape;
        let columns = m.input("sum_i", s.columns * self.rows * ACC_BITS).chunks(self.rows * ACC_BITS);
        m.pack(&columns.iter().map(|column| column.trunc(s.lanes * ACC_BITS)).collect::<Vec<_>>())
    }

    /// Scale bytes of values, from the stream of keys; the start of their head.
    fn scales<'m>(&self, m: &'m Builder, [start, attended]: [Wire<'m>; 2]) -> Result<Instance<'m>, RtlError> {
        let scales = m.instance("u_scales", &ValueScales::new(self.shape)?)?;
        scales.set("start_i", start);
        scales.set("valid_i", m.input("part_valid_i", 1));
        scales.set("scale_i", m.input("part_i", self.shape.lanes * BYTE));
        scales.set("attended_i", attended);
        Ok(scales)
    }
}

/// Ports of this name, of an instance's own.
fn pass_on<'m>(m: &'m Builder, of: &Instance<'m>, inputs: &[&str], outputs: &[&str]) {
    for port in of.module().ports() {
        if port.input && inputs.contains(&port.name.as_str()) {
            of.set(&port.name, m.input(&port.name, port.width));
        } else if !port.input && outputs.contains(&port.name.as_str()) {
            m.output(&port.name, of.get(&port.name));
        }
    }
}

impl Block for Attention {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let s = &self.shape;
        let m = Builder::new(format!("attention_{}_b{}_r{}", s.name(), s.block_beats, self.rows));
        let (start, attended) = (m.input("start_i", 1), m.input("attended_i", s.lanes));
        let constants = [m.input("last_pass_i", s.pass_width()), m.input("last_beat_i", Weights::BEAT_BITS)];
        let narrow = (s.lanes > 1).then(|| m.input("narrow_i", 1));
        // A token's parts are all attended to, or none.
        let of_parts = match narrow {
            Some(narrow) => narrow.mux(attended, attended.bit(0).repeat(s.lanes)),
            None => attended,
        };
        let scales = self.scales(&m, [start, of_parts])?;

        let scores = m.instance("u_scores", &Scores::new(*s)?)?;
        let after = cycles(MAC_LATENCY);
        let late = |name: &str, width: u32| later(&m, name, m.input(&format!("{name}_i"), width), after);
        scores.set("start_i", later_valid(&m, "start", start, after));
        scores.set("valid_i", later_valid(&m, "key_valid", m.input("key_valid_i", 1), after));
        scores.set("key_scale_i", late("key_scale", s.lanes * BYTE)?);
        scores.set("query_scale_i", late("query_scale", s.columns * BYTE)?);
        scores.set("attended_i", later(&m, "attended", attended, after)?);
        scores.set("sum_i", self.sums(&m));
        scores.set("last_pass_i", constants[0]);
        scores.set("value_scale_i", scales.get("largest_o"));
        pass_on(&m, &scores, &["factor_i", "send_i"], &["out_valid_o", "out_first_o", "out_o"]);

        let weights = m.instance("u_weights", &Weights::new(*s)?)?;
        weights.set("last_pass_i", constants[0]);
        weights.set("last_beat_i", constants[1]);
        weights.set("count_i", scores.get("count_o"));
        scores.set("read_address_i", weights.get("score_address_o"));
        weights.set("score_i", scores.get("read_o"));
        scales.set("read_address_i", weights.get("scale_address_o"));
        weights.set("scale_i", scales.get("read_o"));
        if let Some(narrow) = narrow {
            scores.set("narrow_i", narrow);
            weights.set("narrow_i", narrow);
        }
        let inputs = ["in_valid_i", "in_first_i", "in_i", "weight_ready_i", "ask_i"];
        pass_on(&m, &weights, &inputs, &["weight_valid_o", "weight_data_o", "total_valid_o", "total_o"]);
        m.finish()
    }
}
