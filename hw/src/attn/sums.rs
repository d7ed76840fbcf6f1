//! `attn_sums`: weighted sums of values on their way from the clusters to the vector unit.
//!
//! # Purpose
//!
//! Stands in the middle. When all clusters are through with the values of a *round*, a head on every channel, it asks them for the round's sums, one of each cluster a cycle, adds up those of
//! channels that share a head, and gives them to the vector unit in groups, with what that needs of each head.
//!
//! # Interface
//!
//! Rounds are served in the order in which their values are armed; at most [`HEADS_UNDER_WAY`] of them are under way. A *line* is 32 words of a query head, of every channel's head at once.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i`, `start_i` | in | 1 | nothing is under way; a run begins |
//! | `round_valid_i`, `round_i` | in | 1, [`Sums::round_bits`] | values of a round are armed: a [`Round`] |
//! | `through_i` | in | 1 | all clusters are through with the values of the oldest round for which that was not yet said |
//! | `request_valid_o` | out | 1 | a sum is asked for of every cluster; with it: |
//! | `request_{address,pair,byte}_o`, `request_narrow_o` | out | | as [`ValueDrain`] has them; the last with two lanes |
//! | `sum_valid_i`, `sums_i` | in | 1, channels x 48 | the sums, [`Sums::ROUND_TRIP`] cycles later |
//! | `tokens_round_o`, `tokens_i` | | | as in [`Agreement`] |
//! | `ask_{round,pass,pair,channel}_o`, `scale_i`, `nan_i`, `none_i`, `total_i` | | | as in [`Agreement`] |
//! | `ready_o` | out | 1 | the part of the round in turn may begin |
//! | `lines_o` | out | [`Sums::lines_bits`] | its lines, of all heads; before `ready_o` |
//! | `begin_i` | in | 1 | with `ready_o`: it does |
//! | `group_valid_o`, `group_data_o`, `group_ready_i` | | 1, 48 x lanes, 1 | *stream* of groups: line by line, in these head by head |
//! | `group_number_o`, `group_scale_o`, `group_nan_o`, `group_none_o`, `group_total_o` | out | group, 8, 1, 1, 40 | with a group, as the vector unit has them |
//!
//! # Timing
//!
//! * The first request of a round leaves [`SUMS_ASK`] cycles after its `through_i`, if those before have left; then one in each cycle, as long as there is room for lines.
//! * `ready_o` comes [`attn_latency`](fastcar_arch::timing::attn_latency)` - HOP` cycles after `through_i` at the earliest: with the first group.
//!   A part begins no earlier than 32 cycles for each line behind the one before: as fast as lines come.
//! * The groups of line n, from 0 on, of a part that begins in cycle b may be taken from `b + 32 * n` on, one a cycle; they are all there by then.
//!
//! # Numeric contract
//!
//! Modulo 2^48. A channel without a token of the head counts nothing.
//!
//! # Cost
//!
//! [`Lines`], an adder for each channel and doubling of channels. Figures: `tests/baselines/rtl/attn_middle.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_attn/sums.rs`: with [`Agreement`], beside a model of each cycle, at three sizes; cells and depth.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{attn::Sums, rtl::Block};
//!
//! let sums = Sums::new(&AccelConfig::preset("edge")?)?;
//! assert_eq!(sums.module()?.name(), "attn_sums_n4_p1_b16_w256_l16_v1024");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ask;
mod give;

use super::{Agreement, Lines, Shape, ValueDrain};
use crate::cmd::fields::cut;
use crate::func::cycles;
use crate::prim::Fifo;
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Stream, Wire, index_width};
use crate::walk::heads::CacheSizes;
use fastcar_arch::config::{AccelConfig, LINE_WORDS};
use fastcar_arch::program::MAX_HEAD_DIM;
use fastcar_arch::timing::{HEADS_UNDER_WAY, HOP, SUMS_ASK, SUMS_TURN, VALUE_DRAIN_LATENCY};
use std::sync::Arc;

/// Bits of a word's place in its line.
const WORD_BITS: u32 = LINE_WORDS.ilog2();
/// Bits of the number of a line of a query head.
const LINE_BITS: u32 = MAX_HEAD_DIM.ilog2() - WORD_BITS;
/// Groups that wait for the vector unit, or are being read.
const GROUPS: u32 = 8;
const _: () = assert!(SUMS_TURN == 1 + 1 + Lines::READ as u64 + 1 && SUMS_ASK == 3);
const _: () = assert!(Agreement::READ == Lines::READ);

/// A round of heads, one on each channel.
#[derive(Clone, Copy, Debug)]
pub struct Round<'m> {
    /// Query heads of a head, less one.
    pub last_query: Wire<'m>,
    /// Lines of a query head, less one.
    pub last_line: Wire<'m>,
    /// Heads of the round, less one.
    pub last_head: Wire<'m>,
    /// How many channels share one, as in [`Visit`](crate::walk::heads::Visit).
    pub share: Wire<'m>,
    /// Line of the destination where the first head's words begin, and lines from head to head.
    pub first_line: Wire<'m>,
    /// See `first_line`.
    pub head_lines: Wire<'m>,
    /// First word of the sums of values.
    pub address: Wire<'m>,
}

impl<'m> Round<'m> {
    /// All in one word.
    #[must_use]
    pub fn word(&self, m: &'m Builder) -> Wire<'m> {
        let Self { last_query, last_line, last_head, share, first_line, head_lines, address } = *self;
        m.pack(&[last_query, last_line, last_head, share, first_line, head_lines, address])
    }

    /// What stands in a word.
    #[must_use]
    pub fn of(s: &Sums, word: Wire<'m>) -> Self {
        let mut take = cut(word);
        Self {
            last_query: take(s.query_bits()),
            last_line: take(LINE_BITS),
            last_head: take(s.sizes.lane()),
            share: take(s.sizes.share()),
            first_line: take(s.line_bits()),
            head_lines: take(s.line_bits()),
            address: take(s.drain.address_width()),
        }
    }
}

/// The way of sums of values. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums {
    sizes: CacheSizes,
    shape: Shape,
    agreement: Agreement,
    drain: ValueDrain,
    bytes: u32,
    lanes: u32,
    lines: u32,
}

impl Sums {
    /// Cycles from a request to its sums.
    pub const ROUND_TRIP: u32 = cycles(HOP + VALUE_DRAIN_LATENCY + HOP);

    /// For a configuration.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(config: &AccelConfig) -> Result<Self, RtlError> {
        Lines::new(config.channels(), config.vector_lanes())?;
        Ok(Self {
            sizes: CacheSizes::new(config),
            shape: Shape::of(config)?,
            agreement: Agreement::new(config)?,
            drain: ValueDrain::new(config)?,
            bytes: config.fields().beat_bytes,
            lanes: config.vector_lanes(),
            lines: config.vb_lines(),
        })
    }

    /// Width of the number of a query head in its group.
    #[must_use]
    pub fn query_bits(&self) -> u32 {
        index_width(u64::from(self.shape.passes * self.shape.pairs()))
    }

    /// Width of the number of a line of the vector buffer.
    #[must_use]
    pub fn line_bits(&self) -> u32 {
        index_width(self.lines.into())
    }

    /// Width of a number of lines.
    #[must_use]
    pub fn lines_bits(&self) -> u32 {
        index_width(u64::from(self.lines) + 1)
    }

    /// Width of a [`Round`].
    #[must_use]
    pub fn round_bits(&self) -> u32 {
        let heads = self.sizes.lane() + self.sizes.share();
        self.query_bits() + LINE_BITS + heads + 2 * self.line_bits() + self.drain.address_width()
    }

    /// Groups of a line.
    fn groups(&self) -> u32 {
        LINE_WORDS / self.lanes
    }

    /// Rounds that wait, from the oldest on.
    fn waiting<'m>(
        &self,
        m: &'m Builder,
        name: &str,
        (valid, data): (Wire<'m>, Wire<'m>),
        taken: Wire<'m>,
    ) -> Result<Stream<'m>, RtlError> {
        let input = Stream { valid, data, ready: m.later(&format!("{name}_room"), 1) };
        let queue = Fifo::new(data.width(), HEADS_UNDER_WAY as u32, RamStyle::Distributed)?;
        let queue = queue.after(m, &format!("u_{name}"), input)?;
        queue.ready.set(taken);
        Ok(queue)
    }

    /// What tells modules of different sizes apart.
    fn name(&self) -> String {
        let (channels, pairs, bytes) = (self.sizes.channels, self.shape.pairs(), self.bytes);
        let words = 1 << self.drain.address_width();
        format!("attn_sums_n{channels}_p{pairs}_b{bytes}_w{words}_l{}_v{}", self.lanes, self.lines)
    }
}

/// Whether there are more of one kind than of another, from the next cycle on; never more than eight.
fn ahead<'m>(m: &'m Builder, name: &str, start: Wire<'m>, more: Wire<'m>, fewer: Wire<'m>) -> Wire<'m> {
    let count = m.reg(name, 4).reset(0);
    let some = m.reg(&format!("{name}_some"), 1).reset(0);
    let (up, down) = (more & !fewer, fewer & !more);
    count.update(&[(start, m.lit(4, 0)), (up, count.q() + 1), (down, count.q() - 1)]);
    some.update(&[(start, m.lit(1, 0)), (up, m.lit(1, 1)), (down, count.q().ne(1))]);
    some.q()
}

/// A number that begins with 0 in each run, and again behind its last value.
fn counted<'m>(
    m: &'m Builder,
    name: &str,
    width: u32,
    start: Wire<'m>,
    step: Wire<'m>,
    clear: Wire<'m>,
) -> Wire<'m> {
    let count = m.reg(name, width).reset(0);
    count.update(&[(start | clear, m.lit(width, 0)), (step, count.q() + 1)]);
    count.q()
}

impl Block for Sums {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(self.name());
        let start = m.input("start_i", 1);
        let armed = (m.input("round_valid_i", 1), m.input("round_i", self.round_bits()));
        let freed = m.later("line_freed", 1);
        let lines = m.instance("u_lines", &Lines::new(self.sizes.channels, self.lanes)?)?;
        lines.set("start_i", start);
        self.ask(&m, [start, m.input("through_i", 1), freed.wire()], armed, &lines)?;
        freed.set(self.give(&m, start, armed, &lines)?);
        m.finish()
    }
}
