//! `head_walker`: where a channel's keys and values lie.
//!
//! # Purpose
//!
//! One for each channel and stream, main or read-ahead. Finds from what is told of a slot's cache the channel's own blocks, gives their runs of beats to the port, and tells what takes the beats what they are. Runs of
//! weights, which are the same on all channels, pass in their turn.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | nothing to do |
//! | `channel_i` | in | log2(channels) | the channel's number: a constant |
//! | `visit_valid_i`, `visit_data_i`, `visit_ready_o` | | 1, [`Visit::width`], 1 | *stream* of slots' caches and of weights |
//! | `entry_valid_i`, `entry_data_i`, `entry_ready_o` | | 1, [`Lists::entry_bits`], 1 | *stream* of what block lists name, as [`Lists`] gives it for this stream |
//! | `segment_valid_o`, `segment_data_o`, `segment_ready_i` | | 1, [`Heads::segment_bits`], 1 | *stream* of runs, as the port takes them: first beat low, beats, in main the guard |
//! | `span_valid_o`, `span_data_o`, `span_ready_i` | | 1, [`Span::WIDTH`], 1 | *stream* of what the beats of keys and values are |
//! | `wrong_o` | out | 2 | a list names a row or a token that is not before the slot's own: a bit for each bank |
//!
//! Of each of a slot's places of heads on the channel come the keys of older blocks, the keys of the slot's own block, the values of older blocks, the values of the own block: in main, where
//! the command is not read ahead, all of them; where it is, main has those of the own block, read-ahead the older ones. Older blocks ascend. Keys are one run, from the block's scale bytes to the last
//! key. Runs of an own block are guarded. Where the command has block lists, items have the blocks of these; of a block whose first token is not attended to the scale bytes and the keys
//! from the first that is are runs of their own.
//!
//! # Timing
//!
//! A run a cycle, and a cycle for an item without a block here, as long as the port takes them and there is room for spans; also from slot to slot. The first run, or none, of a slot [`Heads::LATENCY`] cycles after the
//! slot was taken, if its entry is there. A run's span comes [`Heads::SPAN_LATENCY`] cycles after its run, when those before are taken.
//!
//! # Numeric contract
//!
//! As [`KvLayout`](fastcar_arch::layout::KvLayout), in beats, modulo 2^address.
//!
//! # Cost
//!
//! Five adders of an address; a memory for as many spans as the stream's buffer can hold, of which in read-ahead, where lists may name single tokens, each may be a beat. Figures: `tests/baselines/rtl/walk_heads.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_walk/heads.rs`: `heads_are_walked`, and `heads_come_in_time` with the whole way.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{rtl::Block, walk::{Heads, heads::Items}};
//!
//! let config = AccelConfig::preset("u55c")?;
//! assert_eq!(Heads::new(&config, Items::All).module()?.name(), "head_walker_c32_b6_a23_h12_s128_own");
//! assert_eq!(Heads::new(&config, Items::Older).module()?.name(), "head_walker_c32_b6_a23_h12_s4096");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod span;
mod visit;

pub use span::Span;
pub use visit::{CacheSizes, Caches, Visit};

use super::appends::{BLOCK_BITS, TOKEN};
use super::{Entry, Lists};
use crate::cmd::fields::cut;
use crate::port::{BeatBuffer, WRITER_BITS};
use crate::prim::Fifo;
use crate::rtl::{Bits, Block, Builder, Later, Module, RamStyle, RtlError, Stream, Wire};
use fastcar_arch::config::{AccelConfig, KV_BLOCK_TOKENS, LINE_WORDS};
use std::sync::Arc;

/// Spans that are kept beside those whose beats fill the stream's buffer: runs that wait at the port, items without a block.
const SPARE_SPANS: u32 = 64;

/// Which items a stream brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Items {
    /// Main: those of own blocks, and of older ones where the command says so.
    All,
    /// Read-ahead: those of older blocks.
    Older,
}

/// The walk over a channel's keys and values. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    sizes: CacheSizes,
    lists: Lists,
    items: Items,
    spans: u32,
}

impl Heads {
    /// Cycles from a slot, or weights, that are taken to the first run.
    pub const LATENCY: u32 = 2;
    /// Cycles from a run to its span, when those before are taken.
    pub const SPAN_LATENCY: u32 = 2;

    /// For a stream of a configuration's channels.
    #[must_use]
    pub fn new(config: &AccelConfig, items: Items) -> Self {
        let block = KV_BLOCK_TOKENS * LINE_WORDS / config.fields().beat_bytes;
        // A list may name single tokens.
        let spans = match items {
            Items::All => config.main_beats() / block,
            Items::Older => config.ahead_beats(),
        };
        let spans = (spans + SPARE_SPANS).next_power_of_two();
        Self { sizes: CacheSizes::new(config), lists: Lists::new(config), items, spans }
    }

    /// Width of a run as the port takes it.
    #[must_use]
    pub fn segment_bits(&self) -> u32 {
        2 * self.sizes.common.address + if self.own() { WRITER_BITS + 1 } else { 0 }
    }

    /// Spans that are kept.
    #[must_use]
    pub fn spans(&self) -> u32 {
        self.spans
    }

    fn style(&self) -> RamStyle {
        if self.spans < BeatBuffer::ULTRA { RamStyle::Block } else { RamStyle::Ultra }
    }

    fn own(&self) -> bool {
        self.items == Items::All
    }

    fn name(&self) -> String {
        let (s, common) = (&self.sizes, &self.sizes.common);
        let own = if self.own() { "_own" } else { "" };
        let (beat, address, heads) = (common.beat, common.address, common.heads);
        format!("head_walker_c{}_b{beat}_a{address}_h{heads}_s{}{own}", s.channels, self.spans)
    }

    /// The channel's number among those that share a head: its number modulo so many.
    fn residue<'m>(&self, m: &'m Builder, channel: Wire<'m>, share: Wire<'m>) -> Wire<'m> {
        let (channels, lane) = (self.sizes.channels, self.sizes.lane());
        let shares = self.sizes.shares();
        let of = |channel: u32| {
            let by_share = |&share: &u32| m.lit(lane, (channel % share).into());
            share.choose(&shares.iter().map(by_share).collect::<Vec<_>>())
        };
        channel.choose(&(0..channels).map(of).collect::<Vec<_>>())
    }
}

/// A slot's cache as the channel sees it.
struct Cache<'m> {
    weights: Wire<'m>,
    base: Wire<'m>,
    /// The own block; of weights their beats.
    own_base: Wire<'m>,
    /// From the values of one place of heads to the keys of the next.
    next: Wire<'m>,
    scales: Wire<'m>,
    /// Older blocks, but for one more with `one_more`.
    rows: Wire<'m>,
    one_more: Wire<'m>,
    /// The channel holds the own block; it holds something in the last place.
    holds_own: Wire<'m>,
    full: Wire<'m>,
    last_unit: Wire<'m>,
    token: Wire<'m>,
    own: Wire<'m>,
    older: Wire<'m>,
    listed: Wire<'m>,
    bank: Wire<'m>,
    guard: Wire<'m>,
}

impl<'m> Cache<'m> {
    fn new(w: &Heads, m: &'m Builder, v: &Visit<'m>) -> Self {
        let channel = m.input("channel_i", w.sizes.lane());
        let residue = w.residue(m, channel, v.share);
        let values = w.sizes.block(v.scales).keys.zext(w.sizes.common.address);
        Self {
            weights: v.weights,
            base: v.base,
            own_base: v.weights.mux(v.extent, v.base + v.extent),
            next: v.stride - values,
            scales: v.scales,
            rows: v.rows,
            one_more: residue.lt(v.residue),
            holds_own: residue.eq(v.residue),
            full: v.spread.gt(channel.zext(v.spread.width())),
            last_unit: v.last_unit,
            token: v.token,
            own: v.own,
            older: v.older | v.weights,
            listed: v.listed,
            bank: v.bank,
            guard: v.guard,
        }
    }

    /// The same a register later.
    fn held(&self, m: &'m Builder, enable: Wire<'m>) -> Self {
        let places = [self.weights, self.base, self.own_base, self.next, self.scales, self.rows];
        let here = [self.one_more, self.holds_own, self.full, self.last_unit];
        let rest = [self.token, self.own, self.older, self.listed, self.bank, self.guard];
        let packed = m.pack(&[&places[..], &here, &rest].concat());
        let reg = m.reg("cache", packed.width());
        reg.set_when(enable, packed);
        let mut take = cut(reg.q());
        let mut like = |wire: Wire<'m>| take(wire.width());
        Self {
            weights: like(self.weights),
            base: like(self.base),
            own_base: like(self.own_base),
            next: like(self.next),
            scales: like(self.scales),
            rows: like(self.rows),
            one_more: like(self.one_more),
            holds_own: like(self.holds_own),
            full: like(self.full),
            last_unit: like(self.last_unit),
            token: like(self.token),
            own: like(self.own),
            older: like(self.older),
            listed: like(self.listed),
            bank: like(self.bank),
            guard: like(self.guard),
        }
    }
}

/// Where the walk is, and what it does in this cycle if it goes on.
struct Step<'m> {
    /// The item is of the own block; of values.
    own: Wire<'m>,
    values: Wire<'m>,
    /// It has no block here; this is its last.
    none: Wire<'m>,
    item_ends: Wire<'m>,
    /// From the first beat of the cache, or of the own block.
    at: Wire<'m>,
    /// Of a block that comes in two runs, the second.
    second: Wire<'m>,
    /// The block is through.
    moves: Wire<'m>,
    done: Wire<'m>,
}

impl Heads {
    /// Goes through the items of a cache, a run, or an item without one, with each `go`.
    fn step<'m>(&self, m: &'m Builder, c: &Cache<'m>, entry: &Entry<'m>, go: Wire<'m>) -> Step<'m> {
        let address = self.sizes.common.address;
        let (own_turn, values) = (m.reg("own_turn", 1).reset(0), m.reg("values", 1).reset(0));
        let (row, unit) = (m.reg("row", BLOCK_BITS).reset(0), m.reg("unit", self.sizes.units()).reset(0));
        let own = if self.own() { own_turn.q() | !c.older } else { m.lit(1, 0) };
        let last_unit = unit.q().eq(c.last_unit);
        let here = own.mux(c.holds_own, c.one_more | c.rows.any()) & (c.full | !last_unit);
        let absent = (!here & !c.weights).named("absent");
        let none = absent | c.listed & entry.none;
        let last_row = row.q().eq(c.one_more.mux(c.rows, c.rows - 1));
        let item_ends = (absent | own | c.listed.mux(entry.last, last_row) | c.weights).named("item_ends");
        let last_item = if self.own() { own } else { m.lit(1, 1) };
        let half_ends = (item_ends & last_item & !c.weights).named("half_ends");
        let unit_ends = half_ends & values.q();
        let done = (c.weights | unit_ends & last_unit).named("done");

        let second = m.reg("second_run", 1).reset(0);
        let first_of_two = (c.listed & entry.split & !none & !second.q()).named("first_of_two");
        second.set_when(go, first_of_two);
        let moves = (go & !first_of_two).named("moves");
        self.tell_wrong(m, c, entry, (moves, absent, own));

        own_turn.set_when(moves & item_ends, !half_ends & !c.weights);
        values.set_when(moves & half_ends, !values.q());
        row.update(&[(moves & item_ends, m.lit(BLOCK_BITS, 0)), (moves, row.q() + 1)]);
        unit.update(&[(moves & done, m.lit(unit.q().width(), 0)), (moves & unit_ends, unit.q() + 1)]);

        // Where this place's keys, or values, begin; and the block in turn.
        let (half, at) = (m.reg("half", address).reset(0), m.reg("at", address).reset(0));
        let block = self.sizes.block(c.scales);
        let begin = half.q() + values.q().mux(c.next, block.keys.zext(address));
        let none_yet = m.lit(address, 0);
        half.update(&[(moves & done, none_yet), (moves & half_ends, begin)]);
        let onward = at.q() + block.all().zext(address);
        at.update(&[
            (moves & done, none_yet),
            (moves & half_ends, begin),
            (moves & item_ends, half.q()),
            (moves, onward),
        ]);
        let elements = m.register("elements_at", entry.at + (block.scales + entry.skip).zext(address));
        let listed = half.q() + second.q().mux(elements, entry.at);
        let at = c.listed.mux(listed, at.q());
        Step { own, values: values.q(), none, item_ends, at, second: second.q(), moves, done }
    }

    /// Whether an entry is no block before the slot's own one, or has a token behind the slot's.
    fn tell_wrong<'m>(
        &self,
        m: &'m Builder,
        c: &Cache<'m>,
        entry: &Entry<'m>,
        (moves, absent, own): (Wire<'m>, Wire<'m>, Wire<'m>),
    ) {
        let rows = c.rows.zext(entry.row.width()) + c.one_more.zext(entry.row.width());
        let beyond = own.mux(!absent & entry.last_token.gt(c.token), absent | entry.row.ge(rows));
        let wrong = moves & c.listed & !entry.none & beyond;
        m.output("wrong_o", m.register_valid("wrong", m.pack(&[wrong & !c.bank, wrong & c.bank])));
    }

    /// The run of a step, as the port takes it.
    fn run<'m>(&self, m: &'m Builder, c: &Cache<'m>, entry: &Entry<'m>, step: &Step<'m>) -> Wire<'m> {
        let Step { own, values, at, .. } = *step;
        let address = self.sizes.common.address;
        let block = self.sizes.block(c.scales);
        let elements = own.mux(c.own, block.values);
        let beats = elements + (block.scales & (!values).repeat(elements.width()));
        let beats = c.listed.mux(step.second.mux(entry.elements, entry.beats), beats).zext(address);
        let length = c.weights.mux(c.own_base, beats);
        let first = own.mux(c.own_base, c.base) + at;
        let guard = c.guard & own.repeat(c.guard.width());
        if self.own() { m.pack(&[first, length, guard]) } else { m.pack(&[first, length]) }
    }

    /// What the beats of a step are.
    fn span<'m>(&self, m: &'m Builder, c: &Cache<'m>, entry: &Entry<'m>, step: &Step<'m>) -> Wire<'m> {
        // The tokens up to each.
        let tokens = KV_BLOCK_TOKENS;
        let upto = |token: u32| m.constant(Bits::ones(tokens).shr(u64::from(tokens - 1 - token)));
        let masks: Vec<_> = (0..tokens).map(upto).collect();
        let last = step.own.mux(c.token, m.lit(TOKEN, u64::from(tokens) - 1));
        let span = Span {
            values: step.values,
            none: step.none,
            last_block: step.item_ends,
            first: entry.first_token & c.listed.repeat(TOKEN),
            last: c.listed.mux(entry.last_token, last),
            mask: c.listed.mux(entry.mask, last.choose(&masks)),
        };
        span.word(m)
    }
}

/// A word that waits for who takes it, and whether one may come in its place.
fn waits<'m>(
    m: &'m Builder,
    name: &str,
    [go, some]: [Wire<'m>; 2],
    word: Wire<'m>,
    free: Later<'m>,
) -> Stream<'m> {
    let valid = m.reg(&format!("{name}_valid"), 1).reset(0);
    let data = m.reg(&format!("{name}_data"), word.width());
    data.set_when(go, word);
    let stream = m.stream(&format!("{name}_ready"), valid.q(), data.q());
    valid.update(&[(go, some), (stream.ready.wire(), m.lit(1, 0))]);
    free.set(!valid.q() | stream.ready.wire());
    stream
}

impl Block for Heads {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(self.name());
        let visits = m.stream_in("visit", Visit::width(&self.sizes));
        let busy = m.reg("busy", 1).reset(0);
        let [run_free, span_free] = ["run_free", "span_free"].map(|name| m.later(name, 1));
        let visit = Visit::of(&self.sizes, visits.data);
        let done = m.later("done_now", 1);
        visits.ready.set(!busy.q() | done.wire());
        busy.update(&[(visits.passes(), m.lit(1, 1)), (done.wire(), m.lit(1, 0))]);
        let cache = Cache::new(self, &m, &visit).held(&m, visits.passes());

        let entries = m.stream_in("entry", self.lists.entry_bits());
        let entry = Entry::of(&self.sizes, entries.data);
        let there = !cache.listed | entries.valid;
        let go = (busy.q() & run_free.wire() & span_free.wire() & there).named("goes");
        let step = self.step(&m, &cache, &entry, go);
        entries.ready.set(step.moves & cache.listed);
        done.set(step.moves & step.done);
        let run = waits(&m, "run", [go, !step.none], self.run(&m, &cache, &entry, &step), run_free);
        m.stream_out("segment", run);
        let span = self.span(&m, &cache, &entry, &step);
        let tells = go & !step.second;
        let span = waits(&m, "span", [tells, !cache.weights], span, span_free);
        let spans = Fifo::new(Span::WIDTH, self.spans, self.style())?.after(&m, "u_spans", span)?;
        m.stream_out("span", spans);
        m.finish()
    }
}
