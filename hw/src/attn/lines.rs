//! `attn_lines`: words that come from all channels at once, as groups of one channel's words.
//!
//! # Purpose
//!
//! Every channel gives a word a cycle; the vector unit takes a group of consecutive words of one of them. This block keeps *rounds*: a line of each channel, and
//! gives any group of a round.
//!
//! # Interface
//!
//! *Pipes*: words come, groups are asked for and come. `C` are the channels, `L` the lanes, of which there are as many or more.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i`, `start_i` | in | 1 | nothing is kept; the next word is the first of round 0 |
//! | `word_valid_i`, `words_i` | in | 1, C x 48 | the next word of each channel's line, channel 0 low |
//! | `whole_o` | out | 1 | a round is whole, a cycle after its last word: it may be asked for from the next cycle on |
//! | `ask_round_i`, `ask_channel_i`, `ask_group_i` | in | log2([`Lines::ROUNDS`]), log2(C), log2(32 / L) | a group: of which round, channel, which part of the line |
//! | `group_o` | out | L x 48 | the group, [`Lines::READ`] cycles later |
//!
//! Rounds have numbers modulo [`Lines::ROUNDS`]. Who asks for words sees to it that no round comes whose place is in use.
//!
//! # Timing
//!
//! A word of each channel, and a group, a cycle.
//!
//! # Numeric contract
//!
//! None: bits are bits.
//!
//! # Cost
//!
//! A memory for each lane: word `w` of channel `c` lies in that of lane `(c + w) mod L`, so that all channels' words can be written and all words of a group read in one cycle. They are
//! turned to their lanes, and back.
//!
//! # Verification
//!
//! `tests/tests/rtl_attn/lines.rs`: beside a model, at three sizes.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{attn::Lines, rtl::Block};
//!
//! assert_eq!(Lines::new(4, 16)?.module()?.name(), "attn_lines_c4_l16");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::style;
use crate::prim::within;
use crate::rtl::{Block, Builder, Module, RtlError, Wire, index_width};
use fastcar_arch::config::LINE_WORDS;
use fastcar_arch::num::window::ACC_BITS;
use std::sync::Arc;

/// Lines of all channels. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines {
    channels: u32,
    lanes: u32,
}

impl Lines {
    /// Rounds that are kept.
    pub const ROUNDS: u32 = 8;
    /// Cycles from the question for a group to the group: read, turned.
    pub const READ: u32 = 2;

    /// For so many channels and lanes.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(channels: u32, lanes: u32) -> Result<Self, RtlError> {
        const NAME: &str = "attention's lines";
        let power = |parameter, asked: u32| {
            let (block, allowed) = (NAME, "a power of two");
            let asked = if asked.is_power_of_two() { return Ok(asked) } else { asked.into() };
            Err(RtlError::Parameter { block, parameter, asked, allowed })
        };
        let lanes = power("lanes", within(NAME, "lanes", lanes, 2..=LINE_WORDS, "2 to 32")?)?;
        let channels = within(NAME, "channels", channels, 1..=lanes, "1 to as many as lanes")?;
        Ok(Self { channels: power("channels", channels)?, lanes })
    }

    /// Groups of a line.
    #[must_use]
    pub fn groups(&self) -> u32 {
        LINE_WORDS / self.lanes
    }

    /// Width of a channel's number.
    #[must_use]
    pub fn channel_width(&self) -> u32 {
        index_width(self.channels.into())
    }

    /// Width of the number of a group in its line.
    #[must_use]
    pub fn group_width(&self) -> u32 {
        index_width(self.groups().into())
    }

    /// The address of a round's group of a channel.
    fn address<'m>(&self, round: Wire<'m>, group: Wire<'m>, channel: Wire<'m>) -> Wire<'m> {
        let group = if self.groups() == 1 { round } else { round.cat(group) };
        if self.channels == 1 { group } else { group.cat(channel) }
    }
}

/// Words moved up by so many places, those beyond the last to the first.
fn turned<'m>(words: Vec<Wire<'m>>, by: Wire<'m>) -> Vec<Wire<'m>> {
    let count = words.len();
    let places = count.ilog2();
    (0..places).fold(words, |words, bit| {
        let from = |n: usize| words[(n + count - (1 << bit)) % count];
        (0..count).map(|n| by.bit(bit).mux(from(n), words[n])).collect()
    })
}

impl Block for Lines {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Self { channels, lanes } = *self;
        let m = Builder::new(format!("attn_lines_c{channels}_l{lanes}"));
        let (start, valid) = (m.input("start_i", 1), m.input("word_valid_i", 1));
        let round_bits = Self::ROUNDS.ilog2();
        let place = m.reg("place", round_bits + LINE_WORDS.ilog2()).reset(0);
        place.update(&[(start, m.lit(place.q().width(), 0)), (valid, place.q() + 1)]);
        let words = turned(m.input("words_i", channels * ACC_BITS).chunks(ACC_BITS), place.q());
        let words: Vec<_> =
            words.into_iter().enumerate().map(|(n, word)| m.register(&format!("turned_{n}"), word)).collect();
        let comes = m.register_valid("comes", valid);
        let at = m.register("at", place.q());
        m.output("whole_o", comes & at.trunc(LINE_WORDS.ilog2()).all());

        let asked_channel = m.input("ask_channel_i", self.channel_width());
        let asked = self.address(
            m.input("ask_round_i", round_bits),
            m.input("ask_group_i", self.group_width()),
            asked_channel,
        );
        let round = at.slice(LINE_WORDS.ilog2(), round_bits);
        let found: Vec<_> =
            (0..lanes).map(|lane| self.lane(&m, lane, (comes, at, round), &words, asked)).collect();
        // Word 0 of a channel's group is in the lane of its number.
        let group = if channels == 1 {
            found
        } else {
            let channel = m.register("asked_channel", asked_channel);
            turned(found, channel.zext(lanes.ilog2()).negated())
        };
        m.output("group_o", m.register("group", m.pack(&group)));
        m.finish()
    }
}

impl Lines {
    /// A lane's memory: what is read of it.
    fn lane<'m>(
        &self,
        m: &'m Builder,
        lane: u32,
        (comes, at, round): (Wire<'m>, Wire<'m>, Wire<'m>),
        words: &[Wire<'m>],
        asked: Wire<'m>,
    ) -> Wire<'m> {
        let Self { channels, lanes } = *self;
        let bits = lanes.ilog2();
        let depth = Self::ROUNDS * self.groups() * channels;
        let memory = m.memory(&format!("lane_{lane}"), ACC_BITS, depth, style(ACC_BITS, depth));
        // The channel whose word belongs here, if there is one.
        let channel = m.lit(bits, lane.into()) - at.trunc(bits);
        let here = if channels == lanes { comes } else { comes & channel.lt(u64::from(channels)) };
        let group = at.slice(bits.min(LINE_WORDS.ilog2() - 1), self.group_width());
        let address = self.address(round, group, channel.trunc(self.channel_width()));
        memory.write(here, address, words[(lane % channels) as usize]);
        memory.read_registered(&format!("found_{lane}"), m.lit(1, 1), asked)
    }
}
