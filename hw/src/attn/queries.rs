//! `attn_queries`: queries of a round of heads on their way to the channels.
//!
//! # Purpose
//!
//! Reads the queries of attention's slots from the activation buffer and sends each head's to the channels that have it, block by block, before its keys are armed.
//!
//! # Interface
//!
//! A *round* is a head on every channel. Rounds of a command: slot by slot, in these place by place of heads.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i`, `start_i` | in | 1 | nothing is under way; a run begins |
//! | `command_valid_i` | in | 1 | attention is in front, and what follows is known and stays; until it leaves |
//! | `slots_i` | in | slots | its slots, already in the cycle before |
//! | `first_i` | in | log2(blocks) | first block of its queries |
//! | `last_block_i`, `last_query_i`, `last_unit_i`, `last_head_i` | in | 5, [`Sums::query_bits`], units, log2(channels) | less one: blocks of a query head, query heads of a head, places of heads, heads of the last place |
//! | `share_i` | in | [`CacheSizes::share`] | how many channels share a head, as in [`Visit`](crate::walk::heads::Visit) |
//! | `leaves_i` | in | 1 | it leaves |
//! | `turn_i` | in | 1 | its first round may be sent: nothing else is |
//! | `missing_i` | in | slots | slots whose queries are not there |
//! | `used_i` | in | 1 | all channels have used up the queries of a round |
//! | `sent_o` | out | 1 | the queries of a round are sent: its last block was asked for in the cycle before |
//! | `read_valid_o`, `read_slot_o`, `read_block_o` | out | 1, log2(slots), log2(blocks) | a block of the activation buffer is asked for |
//! | `read_scale_i` | in | 8 | two cycles later: its scale; its elements go to the channels beside what follows |
//! | `query_valid_o`, `query_channels_o` | out | 1, channels | then: a block goes to these channels |
//! | `query_row_o`, `query_pass_o`, `query_column_o` | out | [`Queries::row_bits`], [`Sums::query_bits`], log2(columns) | the pass over the keys that its query head belongs to times the blocks of that, plus its own number; that pass; the column in it |
//! | `query_bank_o` | out | 1 | the number of the round, modulo 2 |
//! | `query_narrow_o` | out | 1 | a beat has two tokens |
//! | `query_largest_o` | out | 8 | the largest scale of the query head's blocks so far |
//!
//! # Timing
//!
//! A round's queries are begun in the first cycle in which those before are sent, its slot's are there (of the first of a command: it is its turn), and with it no more than [`HEADS_KEPT`] rounds are begun and not used up: `used_i`
//! counts in its cycle. Then a block is asked for in every cycle.
//!
//! # Numeric contract
//!
//! None.
//!
//! # Cost
//!
//! Counters. Figures: `tests/baselines/rtl/attn_middle.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_attn/center.rs`: with [`Center`](super::Center), beside a model of each cycle; cells and depth.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{attn::Queries, rtl::Block};
//!
//! let queries = Queries::new(&AccelConfig::preset("edge")?)?;
//! assert_eq!(queries.module()?.name(), "attn_queries_n4_s8_b1024_q7");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::{BYTE, Shape, Sums};
use crate::func::later;
use crate::prim::{lowest, number};
use crate::rtl::{Block, Builder, Module, RtlError, Wire, index_width};
use crate::walk::heads::CacheSizes;
use fastcar_arch::config::{AccelConfig, LINE_WORDS};
use fastcar_arch::program::MAX_HEAD_DIM;
use fastcar_arch::timing::HEADS_KEPT;
use std::sync::Arc;

/// Bits of the number of a block of a query head.
pub(super) const BLOCK_BITS: u32 = MAX_HEAD_DIM.ilog2() - LINE_WORDS.ilog2();
const KEPT: u64 = HEADS_KEPT as u64;

/// The way of queries. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queries {
    sizes: CacheSizes,
    slots: u32,
    blocks: u32,
    query: u32,
    columns: u32,
    lanes: u32,
}

/// A block that is asked for in this cycle.
struct Step<'m> {
    goes: Wire<'m>,
    /// It is its query head's first; its round's last.
    opens: Wire<'m>,
    ends: Wire<'m>,
    head: Wire<'m>,
    row: Wire<'m>,
    pass: Wire<'m>,
    column: Wire<'m>,
    bank: Wire<'m>,
    narrow: Wire<'m>,
}

impl Queries {
    /// Cycles from a block that is asked for to the block.
    pub const READ: u32 = 2;

    /// For a configuration.
    ///
    /// # Errors
    /// As [`Sums::new`].
    pub fn new(config: &AccelConfig) -> Result<Self, RtlError> {
        let (query, shape) = (Sums::new(config)?.query_bits(), Shape::of(config)?);
        let (slots, blocks) = (config.slots(), config.ab_blocks());
        let (columns, lanes) = (shape.columns, shape.lanes);
        Ok(Self { sizes: CacheSizes::new(config), slots, blocks, query, columns, lanes })
    }

    /// Width of a row's number.
    #[must_use]
    pub fn row_bits(&self) -> u32 {
        self.query + BLOCK_BITS
    }

    fn slot_width(&self) -> u32 {
        index_width(self.slots.into())
    }

    fn block_width(&self) -> u32 {
        index_width(self.blocks.into())
    }

    /// A number that goes up to a last one and begins again, when something `goes` and all within it is at its end; whether it is, too, at its end.
    fn walk<'m>(
        &self,
        m: &'m Builder,
        name: &str,
        [clear, goes, within, last]: [Wire<'m>; 4],
    ) -> (Wire<'m>, Wire<'m>) {
        let count = m.reg(name, last.width()).reset(0);
        let ends = count.q().eq(last);
        let none = m.lit(last.width(), 0);
        count.update(&[(clear, none), (goes & within, ends.mux(none, count.q() + 1))]);
        (count.q(), within & ends)
    }

    /// The walk over a command's rounds, and in these over heads, query heads and blocks.
    fn step<'m>(&self, m: &'m Builder, start: Wire<'m>) -> Step<'m> {
        let (valid, leaves) = (m.input("command_valid_i", 1), m.input("leaves_i", 1));
        let clear = start | leaves;
        let [one, zero] = [1, 0].map(|bit| m.lit(1, bit));
        let flag = |name: &str, cases: &[(Wire<'m>, Wire<'m>)]| {
            let reg = m.reg(name, 1).reset(0);
            reg.update(&[&[(clear, zero)], cases].concat());
            reg.q()
        };
        let (begins, ends) = (m.later("round_begins", 1), m.later("round_ends", 1));
        // Of its slots those that are left, from the first round on.
        let begun = flag("begun", &[(begins.wire(), one)]);
        // They stand in registers, and so does the first of them.
        let (left, slot, some) = (m.reg("left", self.slots), m.reg("slot", self.slots), m.reg("some", 1));

        let kept = m.reg("kept", 2).reset(0);
        let used = m.input("used_i", 1);
        let (up, down) = (begins.wire() & !used, used & !begins.wire());
        kept.update(&[(start, m.lit(2, 0)), (up, kept.q() + 1), (down, kept.q() - 1)]);
        let room = used | kept.q().lt(KEPT);
        let there = (m.input("missing_i", self.slots) & slot.q()).is_zero();
        let active = flag("active", &[(ends.wire(), zero), (begins.wire(), one)]);
        let turn = begun | m.input("turn_i", 1);
        begins.set((valid & !active & some.q() & turn & room & there).named("begins"));
        let goes = active | begins.wire();

        let last_block = m.input("last_block_i", BLOCK_BITS);
        let (block, at_query) = self.walk(m, "block", [clear, goes, one, last_block]);
        let last_query = m.input("last_query_i", self.query);
        let (_, at_head) = self.walk(m, "query", [clear, goes, at_query, last_query]);
        let last_unit = m.later("last_unit", 1);
        let full = m.lit(self.sizes.lane(), (self.sizes.channels - 1).into());
        let last_head = last_unit.wire().mux(m.input("last_head_i", self.sizes.lane()), full);
        let (head, at_round) = self.walk(m, "head", [clear, goes, at_head, last_head]);
        let last = m.input("last_unit_i", self.sizes.units());
        let (unit, at_slot) = self.walk(m, "unit", [clear, goes, at_round, last]);
        let [ends_query, ends_head, ends_round, ends_slot] =
            [at_query, at_head, at_round, at_slot].map(|at| goes & at);
        last_unit.set(unit.eq(last));
        ends.set(ends_round);
        let (all, rest) = (m.input("slots_i", self.slots), left.q() & !slot.q());
        left.set(ends_slot.mux(rest, begun.mux(left.q(), all)));
        slot.set(ends_slot.mux(lowest(rest), begun.mux(slot.q(), lowest(all))));
        some.set(ends_slot.mux(rest.any(), begun.mux(some.q(), all.any())));

        // A slot's blocks follow each other.
        let first = m.input("first_i", self.block_width());
        let place = m.reg("place", self.block_width());
        let at = begun.mux(place.q(), first);
        place.set(ends_slot.mux(first, at + goes.zext(at.width())));
        m.output("read_slot_o", number(slot.q()).zext(self.slot_width()));
        m.output("read_block_o", at);
        let [row, pass, column] = self.place(m, [clear | ends_head, goes, ends_query]);
        let bank = m.reg("bank", 1).reset(0);
        bank.update(&[(start, zero), (ends_round, !bank.q())]);
        let narrow = if self.lanes > 1 { last_block.is_zero() } else { zero };
        Step {
            goes,
            opens: block.is_zero(),
            ends: ends_round,
            head,
            row,
            pass,
            column,
            bank: bank.q(),
            narrow,
        }
    }

    /// Where the blocks of a head's queries belong: a query head in each column of a pass, then the next pass.
    fn place<'m>(&self, m: &'m Builder, [clear, goes, ends_query]: [Wire<'m>; 3]) -> [Wire<'m>; 3] {
        let column = m.reg("column", index_width(self.columns.into())).reset(0);
        let wraps = column.q().eq(u64::from(self.columns - 1));
        let first = m.lit(column.q().width(), 0);
        column.update(&[(clear, first), (ends_query, wraps.mux(first, column.q() + 1))]);
        let [row, of_pass] = ["row", "row_of_pass"].map(|name| m.reg(name, self.row_bits()).reset(0));
        let (none, next) = (m.lit(self.row_bits(), 0), row.q() + 1);
        row.update(&[(clear, none), (ends_query & !wraps, of_pass.q()), (goes, next)]);
        of_pass.update(&[(clear, none), (ends_query & wraps, next)]);
        let pass = m.reg("pass", self.query).reset(0);
        pass.update(&[(clear, m.lit(self.query, 0)), (ends_query & wraps, pass.q() + 1)]);
        [row.q(), pass.q(), column.q()]
    }

    /// The channels that have a head of a round.
    fn channels<'m>(&self, m: &'m Builder, head: Wire<'m>) -> Wire<'m> {
        let (share, lane) = (m.input("share_i", self.sizes.share()), self.sizes.lane());
        let shares = self.sizes.shares();
        let has = |channel: u32| {
            let heads: Vec<_> = shares.iter().map(|share| m.lit(lane, (channel / share).into())).collect();
            share.choose(&heads).eq(head)
        };
        m.pack(&(0..self.sizes.channels).map(has).collect::<Vec<_>>())
    }
}

impl Block for Queries {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let channels = self.sizes.channels;
        let name = format!("attn_queries_n{channels}_s{}_b{}_q{}", self.slots, self.blocks, self.query);
        let m = Builder::new(name);
        let start = m.input("start_i", 1);
        let step = self.step(&m, start);
        m.output("read_valid_o", step.goes);
        m.output("sent_o", m.register_valid("sent", step.ends & !start));
        let goes = m.register_valid("goes", step.goes & !start);
        m.output("query_valid_o", m.register_valid("query_valid", goes));
        let late = |name: &str, wire| later(&m, name, wire, Self::READ);
        let chosen = m.register("channels", self.channels(&m, step.head));
        m.output("query_channels_o", m.register("query_channels", chosen));
        let places = [
            ("row", step.row),
            ("pass", step.pass),
            ("column", step.column),
            ("bank", step.bank),
            ("narrow", step.narrow),
        ];
        for (name, wire) in places {
            m.output(&format!("query_{name}_o"), late(&format!("late_{name}"), wire)?);
        }
        let scale = m.input("read_scale_i", BYTE);
        let largest = m.reg("largest", BYTE);
        let opens = late("opens", step.opens)?;
        let so_far = (opens | scale.gt(largest.q())).mux(scale, largest.q());
        largest.set(so_far);
        m.output("query_largest_o", so_far);
        m.finish()
    }
}
