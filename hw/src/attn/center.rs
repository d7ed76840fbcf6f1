//! `attn_center`: when keys and values of attention are armed.
//!
//! # Purpose
//!
//! Stands in the middle. While attention is in front of the array it arms the *phases* of its rounds, keys, then values, when queries, room and scores are there, and tells the others how far the channels are. A phase takes two
//! cycles, one for what streams of older blocks, one for that of the own block.
//!
//! # Interface
//!
//! A *round* is a head on every channel. Rounds of a command: slot by slot, in these place by place of heads.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i`, `start_i` | in | 1 | nothing is under way; a run begins |
//! | `heads_valid_i`, `heads_slots_i`, `heads_room_i`, `heads_word_i` | in | 1, slots, 1, [`Cluster::address_width`] | as [`Sequencer`] says them; the last is `product_word_o` |
//! | `note_i` | in | [`Center::note_bits`] | with it: the command's [`Note`] |
//! | `heads_need_o`, `heads_arms_o`, `heads_last_o`, `heads_through_o` | out | room, 1, 1, 1 | as the sequencer takes them |
//! | `queries_valid_o`, `queries_<field>_o` | out | | as [`Queries`](super::Queries) takes a command: `first`, `last_block`, `last_query`, `last_unit`, `last_head`, `share` |
//! | `sent_i`, `used_o` | in, out | 1 | as it says, and takes it |
//! | `keys_done_i`, `values_done_i` | in | channels | a channel is through with its next keys, or values: the last beat was used up [`HOP`] cycles ago |
//! | `frees_i` | in | 1 | the vector unit has the result of the oldest round's part |
//! | `phase_valid_o`, `phase_o` | out | 1, [`Spans::phase_bits`](super::Spans::phase_bits) | a phase is armed: for all channels, a [`Phase`] |
//! | `send_o`, `ask_o` | out | 1 | for all channels: the largest are to be sent, [`Attention::SEND`] cycles behind the slowest one's last sum, as it is there; sums of weights are to be sent |
//! | `share_o` | out | [`CacheSizes::share`] | how many channels share a head of the round whose largest are sent next, or whose sums of weights are |
//! | `round_valid_o`, `round_o` | out | 1, [`Sums::round_bits`] | values of a round are armed: a [`Round`] |
//! | `through_o` | out | 1 | all channels are through with the values of the oldest round for which that was not yet said |
//!
//! # Timing
//!
//! By the rules of `docs/cycles.md` (MAC array). Queries of a command may be sent [`HEADS_MAP`] cycles after the first cycle in which it is in front. A phase is armed a cycle at most. What comes in a cycle counts in that cycle.
//!
//! # Numeric contract
//!
//! None.
//!
//! # Cost
//!
//! A divider of a bit a cycle, counters for each channel. Figures: `tests/baselines/rtl/attn_middle.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_attn/center.rs`: with [`Queries`](super::Queries), beside a model of each cycle; cells and depth.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{attn::Center, rtl::Block};
//!
//! let center = Center::new(&AccelConfig::preset("edge")?)?;
//! assert_eq!(center.module()?.name(), "attn_center_edge");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod facts;
mod turns;

use super::queries::BLOCK_BITS;
use super::sums::Round;
use super::{Attention, Phase, Shape, Sums};
use crate::array::Sequencer;
use crate::cmd::Fields;
use crate::cmd::fields::cut;
use crate::func::{cycles, later_valid};
use crate::pe::Cluster;
use crate::prim::{Fifo, lowest, within};
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Stream, Wire, index_width};
use crate::walk::CacheWalker;
use crate::walk::heads::CacheSizes;
use facts::Facts;
use fastcar_arch::config::{AccelConfig, LINE_WORDS};
use fastcar_arch::timing::{
    HEADS_MAP, HEADS_UNDER_WAY, HOP, MAC_LATENCY, MAC_MAP, SCORE_LATENCY, value_words,
};
use std::sync::Arc;

/// Bits of a number of heads, or of query heads, of a command.
const HEADS_BITS: u32 = 16;
const FACTOR: u32 = 32;
/// Bits of a number of rounds that are under way.
const COUNT: u32 = index_bits(HEADS_UNDER_WAY);

const fn index_bits(most: usize) -> u32 {
    usize::BITS - most.leading_zeros()
}

/// What is known of attention beside its slots.
#[derive(Clone, Copy, Debug)]
pub struct Note<'m> {
    /// First block of the queries.
    pub src: Wire<'m>,
    /// Query heads.
    pub heads: Wire<'m>,
    /// Heads.
    pub kv_heads: Wire<'m>,
    /// Blocks of a query head.
    pub blocks: Wire<'m>,
    /// What scores are scaled by.
    pub factor: Wire<'m>,
    /// Older blocks come by the read-ahead stream.
    pub ahead: Wire<'m>,
}

impl<'m> Note<'m> {
    /// That of an `attn`.
    ///
    /// # Errors
    /// As [`Fields::field`].
    pub fn new(center: &Center, c: &Fields<'m>) -> Result<Self, RtlError> {
        let field = |name| c.field("attn", name);
        Ok(Self {
            src: field("src")?.trunc(center.block_width()),
            heads: field("heads")?.trunc(HEADS_BITS),
            kv_heads: field("kv_heads")?.trunc(HEADS_BITS),
            blocks: field("head_dim")?.slice(LINE_WORDS.ilog2(), BLOCK_BITS + 1),
            factor: field("scale")?,
            ahead: field("ahead")?.bit(0),
        })
    }

    /// All in one word.
    #[must_use]
    pub fn word(&self, m: &'m Builder) -> Wire<'m> {
        let Self { src, heads, kv_heads, blocks, factor, ahead } = *self;
        m.pack(&[src, heads, kv_heads, blocks, factor, ahead])
    }

    fn of(center: &Center, word: Wire<'m>) -> Self {
        let mut take = cut(word);
        Self {
            src: take(center.block_width()),
            heads: take(HEADS_BITS),
            kv_heads: take(HEADS_BITS),
            blocks: take(BLOCK_BITS + 1),
            factor: take(FACTOR),
            ahead: take(1),
        }
    }
}

/// The sequence of attention. See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Center {
    name: String,
    sizes: CacheSizes,
    shape: Shape,
    caches: CacheWalker,
    /// Bytes of a beat, blocks of the activation buffer, lines of the vector buffer.
    beat: u32,
    blocks: u32,
    line: u32,
    /// Width of the number of a query head, of a word of the accumulators or of the sums of values, of the latter's number.
    query: u32,
    word: u32,
    value: u32,
    /// Words of the sums of values.
    values: u32,
    /// Width of a number of words of the accumulators, and of such a word.
    room: u32,
    key: u32,
}

impl Center {
    /// Cycles for what follows from the number of query heads of a head, beside one for each of its bits.
    const KNOWN: u32 = 5;

    /// For a configuration.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(config: &AccelConfig) -> Result<Self, RtlError> {
        let (sums, cluster) = (Sums::new(config)?, Cluster::new(config)?);
        let known = Self::KNOWN..=cycles(HEADS_MAP - MAC_MAP);
        let allowed = "so few that they are counted in HEADS_MAP cycles";
        within(
            "attention's center",
            "bits of a query head's number",
            sums.query_bits() + Self::KNOWN,
            known,
            allowed,
        )?;
        Ok(Self {
            name: format!("attn_center_{}", config.name()),
            sizes: CacheSizes::new(config),
            shape: Shape::of(config)?,
            caches: CacheWalker::new(config),
            beat: config.fields().beat_bytes,
            blocks: config.ab_blocks(),
            line: sums.line_bits(),
            query: sums.query_bits(),
            word: cluster.word_width(),
            value: cluster.value_address_width(),
            values: value_words(config),
            room: Sequencer::new(config, 1)?.room_bits(),
            key: cluster.address_width(),
        })
    }

    /// Width of the number of a block of the activation buffer.
    #[must_use]
    pub fn block_width(&self) -> u32 {
        index_width(self.blocks.into())
    }

    /// Width of a [`Note`].
    #[must_use]
    pub fn note_bits(&self) -> u32 {
        self.block_width() + 2 * HEADS_BITS + BLOCK_BITS + 1 + FACTOR + 1
    }

    /// Slots, which are as many as the sequencer says.
    fn slots(&self) -> u32 {
        self.sizes.common.slots
    }
}

impl Block for Center {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(self.name.clone());
        let start = m.input("start_i", 1);
        let note = Note::of(self, m.input("note_i", self.note_bits()));
        let valid = m.input("heads_valid_i", 1);
        let facts = self.facts(&m, valid, &note);
        self.tell_queries(&m, &note, &facts);
        self.arm(&m, start, &note, &facts)?;
        m.finish()
    }
}

impl Center {
    fn tell_queries(&self, m: &Builder, note: &Note<'_>, facts: &Facts<'_>) {
        let fields = [
            ("valid", facts.known),
            ("first", note.src),
            ("last_block", facts.last_block),
            ("last_query", facts.last_query),
            ("last_unit", facts.last_unit),
            ("last_head", facts.last_head),
            ("share", facts.share),
        ];
        fields.iter().for_each(|(name, wire)| m.output(&format!("queries_{name}_o"), m.own(*wire)));
    }
}
