//! `attn_exchange` and `attn_totals`: what the channels that share a head agree upon.
//!
//! # Purpose
//!
//! With fewer heads than channels the tokens of a head are dealt to several of them. Each finds the largest score and
//! the largest scale of its own tokens, and the sum of their weights. In the middle of the machine [`Exchange`] makes
//! the largest of all of them for each, and [`Totals`] the sum.
//!
//! # Interface
//!
//! *Pipes*. The channels of a head lie side by side. Channel 0 is low, its pair 0 lowest.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears `valid` only |
//! | `head_i` | in | channels x log2(channels) | which head each channel has: channels of one have the same number; not there with one channel |
//! | `in_valid_i` | in | 1 | every channel's words come |
//! | `in_first_i` | in | 1 | [`Exchange`]: what [`Scores`](super::Scores) sends with them |
//! | `in_i` | in | channels x pairs x width | the words: 17 bits, or sums of 40 |
//! | `out_valid_o`, `out_first_o` | out | 1, 1 | the same when the result is there |
//! | `out_o` | out | channels x pairs x width | [`Exchange`]: the largest of the channel's head; [`Totals`]: the sum over its head's channels from this one on, of the head's first channel so that of all |
//!
//! `head_i` stays as it is from two cycles before words come until their results have gone.
//!
//! # Timing
//!
//! [`Exchange::latency`] and [`Totals::latency`]: a cycle for each doubling of the channels; every channel's words in
//! every cycle. With one channel a wire.
//!
//! # Numeric contract
//!
//! Unsigned and exact: [words](super::WORD) are made so that 0 is no token and NaN the largest; a head's tokens are so
//! few that sums do not wrap.
//!
//! # Cost
//!
//! For each channel, pair and doubling the larger of three words, or an adder, and registers. Figures:
//! `tests/baselines/rtl/attn_exchange.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_attn.rs`: `channels_agree`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{attn::{Exchange, Totals}, rtl::Block};
//!
//! let exchange = Exchange::new(32, 2)?;
//! assert_eq!((exchange.latency(), exchange.module()?.name()), (5, "attn_exchange_n32_p2"));
//! assert_eq!(Totals::new(4, 1)?.module()?.name(), "attn_totals_n4_p1");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::weights::TOTAL;
use super::{WORD, larger};
use crate::func::{later, later_valid};
use crate::prim::within;
use crate::rtl::{Block, Builder, Module, RtlError, Wire, index_width};
use std::sync::Arc;

/// Channels, and words of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sizes {
    channels: u32,
    pairs: u32,
}

impl Sizes {
    fn new(block: &'static str, channels: u32, pairs: u32) -> Result<Self, RtlError> {
        if !channels.is_power_of_two() || channels > 32 {
            let (asked, allowed) = (u64::from(channels), "a power of two up to 32");
            return Err(RtlError::Parameter { block, parameter: "channels", asked, allowed });
        }
        Ok(Self { channels, pairs: within(block, "pairs", pairs, 1..=16, "1 to 16")? })
    }

    fn latency(&self) -> u32 {
        self.channels.ilog2()
    }

    /// Words after all doublings: `step` makes a channel's word, and those so far before and behind it on channels of
    /// the same head, into the next one.
    fn doubled<'m>(
        &self,
        m: &'m Builder,
        width: u32,
        step: impl Fn(Wire<'m>, Option<Wire<'m>>, Option<Wire<'m>>) -> Wire<'m>,
    ) -> Wire<'m> {
        let count = self.channels as usize;
        let words = m.input("in_i", self.channels * self.pairs * width).chunks(width);
        if count == 1 {
            return m.pack(&words);
        }
        let heads = m.input("head_i", self.channels * index_width(self.channels.into()));
        let heads = heads.chunks(index_width(self.channels.into()));
        let mut level: Vec<Vec<_>> = words.chunks(self.pairs as usize).map(<[_]>::to_vec).collect();
        for doubling in 0..self.latency() {
            let far = 1 << doubling;
            // Whether the channel so far behind has the same head.
            let same: Vec<_> = (0..count - far)
                .map(|n| m.register(&format!("same_{far}_{n}"), heads[n].eq(heads[n + far])))
                .collect();
            let next = |n: usize, pair: usize| {
                let masked = |bit: Wire<'m>, word: Wire<'m>| word & bit.repeat(width);
                let before = n.checked_sub(far).map(|other| masked(same[other], level[other][pair]));
                let behind = same.get(n).map(|bit| masked(*bit, level[n + far][pair]));
                m.register(&format!("word_{far}_{n}_{pair}"), step(level[n][pair], before, behind))
            };
            level =
                (0..count).map(|n| (0..self.pairs as usize).map(|pair| next(n, pair)).collect()).collect();
        }
        m.pack(&level.concat())
    }
}

/// The largest over channels. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    sizes: Sizes,
}

impl Exchange {
    /// For so many channels, and pairs of columns in each.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(channels: u32, pairs: u32) -> Result<Self, RtlError> {
        Ok(Self { sizes: Sizes::new("attention's exchange", channels, pairs)? })
    }

    /// Cycles from words to the largest.
    #[must_use]
    pub fn latency(&self) -> u32 {
        self.sizes.latency()
    }
}

impl Block for Exchange {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Sizes { channels, pairs } = self.sizes;
        let m = Builder::new(format!("attn_exchange_n{channels}_p{pairs}"));
        let (valid, first) = (m.input("in_valid_i", 1), m.input("in_first_i", 1));
        // A word may be counted twice, so that both sides are looked at in the same cycle.
        let largest = self
            .sizes
            .doubled(&m, WORD, |own, before, behind| before.into_iter().chain(behind).fold(own, larger));
        m.output("out_valid_o", later_valid(&m, "valid", valid, self.latency()));
        m.output("out_first_o", later(&m, "first", first, self.latency())?);
        m.output("out_o", largest);
        m.finish()
    }
}

/// Sums over channels. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    sizes: Sizes,
}

impl Totals {
    /// For so many channels, and pairs of columns in each.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(channels: u32, pairs: u32) -> Result<Self, RtlError> {
        Ok(Self { sizes: Sizes::new("attention's totals", channels, pairs)? })
    }

    /// Cycles from sums of channels to those of heads.
    #[must_use]
    pub fn latency(&self) -> u32 {
        self.sizes.latency()
    }
}

impl Block for Totals {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Sizes { channels, pairs } = self.sizes;
        let m = Builder::new(format!("attn_totals_n{channels}_p{pairs}"));
        let valid = m.input("in_valid_i", 1);
        let sums = self.sizes.doubled(&m, TOTAL, |own, _, behind| behind.map_or(own, |behind| own + behind));
        m.output("out_valid_o", later_valid(&m, "valid", valid, self.latency()));
        m.output("out_o", sums);
        m.finish()
    }
}
