//! `attn_value_drain`: gives out one sum of values a cycle.
//!
//! # Purpose
//!
//! A cluster keeps the sums of weighted values in words of a beat's bytes for each pair of columns. This block stands beside it, asks it for a word and chooses the
//! byte that the middle asked for. Where a beat holds two tokens, their sums are added up.
//!
//! # Interface
//!
//! *Pipes*: sums are asked for and come.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears `valid` only |
//! | `request_valid_i` | in | 1 | a sum is asked for; with it: |
//! | `request_address_i`, `request_pair_i`, `request_byte_i` | in | [`Cluster::value_address_width`], log2(pairs), log2(bytes) | which word, which pair of columns, which byte of the beat |
//! | `request_narrow_i` | in | 1 | two lanes: the sum of the byte and of the one half a beat behind it |
//! | `value_valid_o`, `value_address_o` | out | 1, [`Cluster::value_address_width`] | to the cluster: a word is asked for |
//! | `value_valid_i`, `value_sum_i` | in | 1, pairs x bytes x 48 | from the cluster: the word |
//! | `sum_valid_o`, `sum_o` | out | 1, 48 | the sum |
//!
//! Where there is only one pair its number has a bit that is 0.
//!
//! # Timing
//!
//! A sum a cycle, [`VALUE_DRAIN_LATENCY`] cycles after it was asked for. The cluster is asked in the same cycle.
//!
//! # Numeric contract
//!
//! Modulo 2^48.
//!
//! # Cost
//!
//! A choice among the sums of a word in two steps.
//!
//! # Verification
//!
//! `tests/tests/rtl_attn/value_drain.rs`.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{attn::ValueDrain, rtl::Block};
//!
//! let drain = ValueDrain::new(&AccelConfig::preset("u55c")?)?;
//! assert_eq!(drain.module()?.name(), "attn_value_drain_p2_b64_w5");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::Shape;
use crate::func::{cycles, later, later_valid};
use crate::pe::Cluster;
use crate::rtl::{Block, Builder, Module, RtlError, Wire, index_width};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::num::window::ACC_BITS;
use fastcar_arch::timing::VALUE_DRAIN_LATENCY;
use std::sync::Arc;

/// Cycles of a cluster from a question to its word.
const WORD: u32 = 2;
/// Sums among which one is chosen in the first step.
const FIRST: u32 = 8;
/// Steps: two choices, and a sum.
const CHOICE: u32 = 3;
const _: () = assert!(WORD + CHOICE == cycles(VALUE_DRAIN_LATENCY));

/// The way of sums of values out of a cluster. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueDrain {
    pairs: u32,
    bytes: u32,
    lanes: u32,
    address: u32,
}

impl ValueDrain {
    /// For the clusters of a configuration.
    ///
    /// # Errors
    /// As [`Shape::of`] and [`Cluster::new`].
    pub fn new(config: &AccelConfig) -> Result<Self, RtlError> {
        let (shape, cluster) = (Shape::of(config)?, Cluster::new(config)?);
        let bytes = config.fields().beat_bytes;
        Ok(Self { pairs: shape.pairs(), bytes, lanes: shape.lanes, address: cluster.value_address_width() })
    }

    /// Width of the number of a pair.
    #[must_use]
    pub fn pair_width(&self) -> u32 {
        index_width(self.pairs.into())
    }

    /// Width of the number of a byte.
    #[must_use]
    pub fn byte_width(&self) -> u32 {
        index_width(self.bytes.into())
    }

    /// Width of the number of a word.
    #[must_use]
    pub fn address_width(&self) -> u32 {
        self.address
    }
}

impl Block for ValueDrain {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Self { pairs, bytes, lanes, address } = *self;
        let m = Builder::new(format!("attn_value_drain_p{pairs}_b{bytes}_w{address}"));
        m.output("value_valid_o", m.input("request_valid_i", 1));
        m.output("value_address_o", m.input("request_address_i", address));
        let input = |name: &str, width: u32| m.input(&format!("request_{name}_i"), width);
        let byte = later(&m, "byte", input("byte", self.byte_width()), WORD)?;
        let pair = later(&m, "pair", input("pair", self.pair_width()), WORD + 1)?;
        let sums = m.input("value_sum_i", pairs * bytes * ACC_BITS).chunks(ACC_BITS);

        // One of eight, then which eight of which pair: in either half of the beat where there are two tokens.
        let low = byte.trunc(FIRST.ilog2());
        let near: Vec<_> = sums.chunks(FIRST as usize).map(|eight| low.choose(eight)).collect();
        let near: Vec<_> =
            near.into_iter().enumerate().map(|(n, sum)| m.register(&format!("near_{n}"), sum)).collect();
        let high = m.register("high", byte.slice(FIRST.ilog2(), byte.width() - FIRST.ilog2()));
        let eights = (bytes / FIRST) as usize;
        let per_lane = eights / lanes as usize;
        let within = high.trunc(index_width(per_lane as u64));
        let of_half = |half: usize| -> Wire<'_> {
            let of_pair = |pair: usize| {
                let first = pair * eights + half * per_lane;
                let sums = &near[first..first + per_lane];
                if per_lane == 1 { sums[0] } else { within.choose(sums) }
            };
            let all: Vec<_> = (0..pairs as usize).map(of_pair).collect();
            m.register(&format!("half_{half}"), if pairs == 1 { all[0] } else { pair.choose(&all) })
        };
        let sum = if lanes == 1 {
            of_half(0)
        } else {
            let narrow = later(&m, "narrow", input("narrow", 1), WORD + 2)?;
            let upper = m.register("upper", high.msb());
            let halves = [of_half(0), of_half(1)];
            let own = upper.mux(halves[1], halves[0]);
            let other = halves[1] & narrow.repeat(ACC_BITS);
            own + other
        };
        m.output("sum_o", m.register("sum", sum));
        m.output("sum_valid_o", later_valid(&m, "sum_valid", m.input("value_valid_i", 1), CHOICE));
        m.finish()
    }
}
