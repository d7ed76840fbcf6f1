//! `attn_agreement`: what the channels of a head agree upon, and what the vector unit needs of it.
//!
//! # Purpose
//!
//! Stands in the middle. Makes the largest scores and scale of what the channels send, and the sums of their weights, and keeps for each round of heads, until its sums of
//! values are given to the vector unit: the largest scale, whether a score is NaN, whether there is a token, the sums of weights, and which channels have a token.
//!
//! # Interface
//!
//! *Pipes*. A *round* is a head on every channel; [`HEADS_UNDER_WAY`] of them are kept, with as many passes as clusters have words of sums of values. Rounds and passes have numbers from 0 in each
//! run, modulo these.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i`, `start_i` | in | 1 | nothing is kept; a run begins |
//! | `share_i` | in | [`CacheSizes::share`] | how many channels share a head, as in [`Visit`](crate::walk::heads::Visit); from three cycles before words come until their results have gone |
//! | `words_valid_i`, `words_first_i`, `words_i` | in | 1, 1, channels x pairs x 17 | what every channel sends ([`Scores`](super::Scores)) |
//! | `largest_valid_o`, `largest_first_o`, `largest_o` | out | 1, 1, channels x pairs x 17 | for all channels ([`Weights`](super::Weights)), [`Exchange::latency`] cycles later |
//! | `totals_valid_i`, `totals_i` | in | 1, channels x pairs x 40 | sums of weights of every channel |
//! | `tokens_round_i`, `tokens_o` | in, out | log2(rounds), channels | a round: the channels that have a token of it, in the same cycle |
//! | `ask_round_i`, `ask_pass_i`, `ask_pair_i`, `ask_channel_i` | in | log2(rounds), log2(words), log2(pairs), log2(channels) | a query head: its round, the number of its pass, its pair, the first channel of its head; [`Agreement::READ`] cycles later: |
//! | `scale_o`, `nan_o`, `none_o`, `total_o` | out | 8, 1, 1, 40 | as the vector unit takes them |
//!
//! # Timing
//!
//! What comes in a cycle can be asked for [`Exchange::latency`]` + 1` cycles later.
//!
//! # Numeric contract
//!
//! Of [`Exchange`] and [`Totals`].
//!
//! # Cost
//!
//! These, and distributed memory. Figures: `tests/baselines/rtl/attn_middle.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_attn/sums.rs`: with [`Sums`](super::Sums).
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{attn::Agreement, rtl::Block};
//!
//! let agreement = Agreement::new(&AccelConfig::preset("edge")?)?;
//! assert_eq!(agreement.module()?.name(), "attn_agreement_n4_p1_w256");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::weights::TOTAL;
use super::{BYTE, Exchange, NAN, Shape, Totals, WORD};
use crate::rtl::{Block, Builder, Memory, Module, RamStyle, RtlError, Wire, index_width};
use crate::walk::heads::CacheSizes;
use fastcar_arch::config::AccelConfig;
use fastcar_arch::timing::{HEADS_UNDER_WAY, value_words};
use std::sync::Arc;

/// Rounds of heads that are kept.
const ROUNDS: u32 = HEADS_UNDER_WAY as u32;
const _: () = assert!(ROUNDS.is_power_of_two());

/// The agreement of channels. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    sizes: CacheSizes,
    pairs: u32,
    words: u32,
}

impl Agreement {
    /// Cycles from a question to its answer: memory and pair, channel.
    pub const READ: u32 = 2;
    /// Width of a round's number.
    pub const ROUND_BITS: u32 = ROUNDS.ilog2();

    /// For a configuration.
    ///
    /// # Errors
    /// [`RtlError::Parameter`], also where the words of sums of values are no power of two.
    pub fn new(config: &AccelConfig) -> Result<Self, RtlError> {
        let words = value_words(config);
        if !words.is_power_of_two() {
            let (block, parameter, asked) = ("attention's agreement", "acc_rows / beat_bytes", words.into());
            let allowed = "a power of two: heads follow each other around the sums of values";
            return Err(RtlError::Parameter { block, parameter, asked, allowed });
        }
        Ok(Self { sizes: CacheSizes::new(config), pairs: Shape::of(config)?.pairs(), words })
    }

    /// Width of the number of a pass.
    #[must_use]
    pub fn pass_width(&self) -> u32 {
        index_width(self.words.into())
    }

    /// Width of the number of a pair.
    #[must_use]
    pub fn pair_width(&self) -> u32 {
        index_width(self.pairs.into())
    }

    /// The head of each channel, by how many share one.
    fn heads<'m>(&self, m: &'m Builder, share: Wire<'m>) -> Wire<'m> {
        let (channels, lane) = (self.sizes.channels, self.sizes.lane());
        let shares = self.sizes.shares();
        let of = |channel: u32| {
            let heads: Vec<_> = shares.iter().map(|share| m.lit(lane, (channel / share).into())).collect();
            m.register(&format!("head_{channel}"), share.choose(&heads))
        };
        m.pack(&(0..channels).map(of).collect::<Vec<_>>())
    }

    /// What is asked for, of each channel and pair: those of the pair, then that of the channel.
    fn chosen<'m>(
        &self,
        m: &'m Builder,
        name: &str,
        words: Wire<'m>,
        [pair, channel]: [Wire<'m>; 2],
    ) -> Wire<'m> {
        let of_channels = words.chunks(words.width() / self.sizes.channels);
        let own: Vec<_> = of_channels
            .into_iter()
            .enumerate()
            .map(|(n, words)| {
                let each = words.chunks(words.width() / self.pairs);
                let own = if self.pairs == 1 { each[0] } else { pair.choose(&each) };
                m.register(&format!("{name}_{n}"), own)
            })
            .collect();
        let word = if own.len() == 1 { own[0] } else { channel.choose(&own) };
        m.register(name, word)
    }
}

/// A number that begins with 0 in each run.
fn counted<'m>(m: &'m Builder, name: &str, width: u32, start: Wire<'m>, step: Wire<'m>) -> Wire<'m> {
    let count = m.reg(name, width).reset(0);
    count.update(&[(start, m.lit(width, 0)), (step, count.q() + 1)]);
    count.q()
}

impl Block for Agreement {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Self { sizes, pairs, words: depth } = *self;
        let channels = sizes.channels;
        let m = Builder::new(format!("attn_agreement_n{channels}_p{pairs}_w{depth}"));
        let start = m.input("start_i", 1);
        let heads = self.heads(&m, m.input("share_i", sizes.share()));
        let exchange = m.instance("u_exchange", &Exchange::new(channels, pairs)?)?;
        let totals = m.instance("u_totals", &Totals::new(channels, pairs)?)?;
        if channels > 1 {
            exchange.set("head_i", heads);
            totals.set("head_i", heads);
        }
        let (valid, first) = (m.input("words_valid_i", 1), m.input("words_first_i", 1));
        let words = m.input("words_i", channels * pairs * WORD);
        for (name, wire) in [("valid", valid), ("first", first)] {
            exchange.set(&format!("in_{name}_i"), wire);
        }
        exchange.set("in_i", words);
        totals.set("in_valid_i", m.input("totals_valid_i", 1));
        totals.set("in_i", m.input("totals_i", channels * pairs * TOTAL));

        let memory = |name: &str, width, depth| m.memory(name, width, depth, RamStyle::Distributed);
        // Which channels have a token, from their own words: the first pair has a head in the first pass.
        let opens = m.reg("opens", 1).reset(0);
        opens.set_when(valid, first);
        let there: Vec<_> = words.chunks(pairs * WORD).iter().map(|word| word.trunc(WORD).any()).collect();
        let tokens = memory("tokens", channels, ROUNDS);
        let round = counted(&m, "tokens_round", Self::ROUND_BITS, start, valid & !first & opens.q());
        tokens.write(valid & !first & opens.q(), round, m.pack(&there));
        m.output("tokens_o", tokens.read(m.input("tokens_round_i", Self::ROUND_BITS)));

        let get = |name: &str| exchange.get(&format!("out_{name}"));
        let (valid, first, largest) = (get("valid_o"), get("first_o"), get("o"));
        for (name, wire) in [("valid_o", valid), ("first_o", first), ("o", largest)] {
            m.output(&format!("largest_{name}"), wire);
        }
        let each = largest.chunks(WORD);
        let scales: Vec<_> = each.iter().step_by(pairs as usize).map(|word| word.trunc(BYTE)).collect();
        let kept = memory("scales", channels * BYTE, ROUNDS);
        let round = counted(&m, "scale_round", Self::ROUND_BITS, start, valid & first);
        kept.write(valid & first, round, m.pack(&scales));
        let marks: Vec<_> = each.iter().map(|word| word.eq(NAN).cat(word.is_zero())).collect();
        let of_passes = memory("marks", channels * pairs * 2, depth);
        let pass = counted(&m, "mark_pass", self.pass_width(), start, valid & !first);
        of_passes.write(valid & !first, pass, m.pack(&marks));
        let sums = memory("totals", channels * pairs * TOTAL, depth);
        let comes = totals.get("out_valid_o");
        let pass = counted(&m, "total_pass", self.pass_width(), start, comes);
        sums.write(comes, pass, totals.get("out_o"));
        self.answer(&m, (kept, of_passes, sums));
        m.finish()
    }
}

impl Agreement {
    /// Answers what is asked of a query head.
    fn answer<'m>(&self, m: &'m Builder, (scales, marks, totals): (Memory<'m>, Memory<'m>, Memory<'m>)) {
        let round = m.input("ask_round_i", Self::ROUND_BITS);
        let pass = m.input("ask_pass_i", self.pass_width());
        let pair = m.input("ask_pair_i", self.pair_width());
        let channel = m.register("asked_channel", m.input("ask_channel_i", self.sizes.lane()));
        let scales = m.register("scales_read", scales.read(round)).chunks(BYTE);
        let scale = if scales.len() == 1 { scales[0] } else { channel.choose(&scales) };
        m.output("scale_o", m.register("scale", scale));
        let marks = self.chosen(m, "marks_read", marks.read(pass), [pair, channel]);
        m.output("none_o", marks.bit(0));
        m.output("nan_o", marks.bit(1));
        m.output("total_o", self.chosen(m, "totals_read", totals.read(pass), [pair, channel]));
    }
}
