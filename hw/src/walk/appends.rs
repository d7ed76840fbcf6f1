//! `append_walker`: where a token's keys and values go.
//!
//! # Purpose
//!
//! Gives the runs of beats that one part of `kv_append` writes, those of all channels at once: the addresses are the same on every channel that
//! holds the position's block, and the others have none. Records pass in their turn, as parts of one run on all channels.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | nothing to do |
//! | `job_valid_i`, `job_ready_o` | | 1 | *stream* of parts: |
//! | `base_i` | in | address | first beat of the slot's cache, or of the record |
//! | `length_i` | in | length | beats of the record |
//! | `position_i` | in | 15 | the slot's position |
//! | `heads_i` | in | [`Appends::heads_bits`] | key/value heads; 0: a record |
//! | `scales_i` | in | 6 | blocks of a head: `head_dim / 32` |
//! | `blocks_i` | in | 11 | blocks of the cache that a head has room for: `ceil(positions / 32)` |
//! | `go_i` | in | 1 | a run may be given in the next cycle |
//! | `run_valid_o` | out | 1 | a run of beats |
//! | `run_address_o`, `run_length_o` | out | address, length | its first beat, number of beats |
//! | `run_channels_o` | out | channels | the channels that have it |
//! | `run_last_o` | out | channels | those of them whose last one of the part it is |
//! | `part_first_o`, `part_last_o` | out | 1 | it is the first, the last of the part |
//! | `part_placed_o` | out | 1 | it is the part's fourth, or a record's only one |
//! | `part_cache_o`, `part_token_o` | out | 1, 5 | with the part's runs: it is no record; the position's place in its block |
//! | `part_channel_o`, `part_step_o` | out | log2(channels) | with the part's runs: channel of the first head; from head to head, modulo the channels |
//! | `part_channels_o` | out | channels | with the part's runs: the channels with the most heads |
//! | `part_beats_o`, `part_fewer_o` | out | length | with the part's runs: beats of each of these; of each of the others |
//!
//! A channel's runs, in order: of each of its heads the keys' elements and their scale bytes, then of each the values' and theirs. That is the order in which
//! the vector unit makes them, so that [`Writes`](crate::vec::Writes) need keep no block.
//!
//! # Timing
//!
//! A run a cycle while `go_i` is set, also from part to part; the first [`Appends::latency`] cycles after the part was taken.
//!
//! # Numeric contract
//!
//! Addresses are those of [`KvLayout`](fastcar_arch::layout::KvLayout), in beats, modulo 2^address. A block's number is divided by the number of channels that share a
//! head by a product with its reciprocal, which is exact for all 1024 blocks.
//!
//! # Cost
//!
//! Five products; a table of the channels by number of heads. Figures: `tests/baselines/rtl/vec_writes_walk.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_writes.rs`: `appends_are_walked`.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{rtl::Block, walk::Appends};
//!
//! let walker = Appends::new(&AccelConfig::preset("u55c")?);
//! assert_eq!(walker.module()?.name(), "append_walker_c32_b64_a23_h12_l14");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::Sizes;
use crate::cmd::fields::cut;
use crate::rtl::{Bits, Block, Builder, Later, Module, RtlError, Wire, index_width};
use fastcar_arch::config::{AccelConfig, KV_BLOCK_TOKENS, LINE_WORDS};
use fastcar_arch::program::MAX_HEAD_DIM;
use std::sync::Arc;

/// Bits of a position: a cache has at most 32768.
pub(crate) const POSITION: u32 = 15;
/// Bits of a token's place in its block.
pub(crate) const TOKEN: u32 = KV_BLOCK_TOKENS.ilog2();
/// Bits of a block's number.
pub(crate) const BLOCK_BITS: u32 = POSITION - TOKEN;
/// Bits of the number of a head's scale bytes.
pub(crate) const SCALES: u32 = (MAX_HEAD_DIM / LINE_WORDS).ilog2() + 1;
/// Bits of a reciprocal's fraction.
const FRACTION: u32 = 16;
/// Bytes of a head's keys and values of a block of the cache, for each of its scale bytes.
pub(super) const BLOCK_BYTES: u64 = 2 * KV_BLOCK_TOKENS as u64 * (LINE_WORDS as u64 + 1);
/// Bits of the number of beats of a head's run: 1024 bytes.
pub(crate) const RUN: u32 = 7;
/// Bits of the number of beats of a head.
const HEAD: u32 = RUN + 2;
/// Runs of a part behind which it counts as placed.
const PLACED: u64 = 4;
/// Cycles from a part to what its runs are made of.
const STAGES: u32 = 5;

/// The walk over a part's runs. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appends {
    channels: u32,
    beat: u32,
    address: u32,
    /// Bits of a number of heads, and of a number of beats.
    heads: u32,
    length: u32,
}

impl Appends {
    /// That of a configuration.
    #[must_use]
    pub fn new(config: &AccelConfig) -> Self {
        let beat = config.fields().beat_bytes;
        let sizes = Sizes::new(config);
        let (address, heads, length) = (sizes.address, sizes.heads, sizes.length());
        Self { channels: config.channels(), beat, address, heads, length }
    }

    /// Width of the number of heads.
    #[must_use]
    pub fn heads_bits(&self) -> u32 {
        self.heads
    }

    /// Width of a number of beats.
    #[must_use]
    pub fn length_bits(&self) -> u32 {
        self.length
    }

    /// Cycles from a part that is taken to its first run.
    #[must_use]
    pub fn latency(&self) -> u32 {
        STAGES + 2
    }

    pub(crate) fn channel_bits(&self) -> u32 {
        index_width(self.channels.into())
    }

    /// Channels that share so many heads' blocks in turns.
    pub(crate) fn interleave(&self, heads: u32) -> u32 {
        (self.channels / heads.max(1)).max(1)
    }

    /// By the number of heads, as long as there are fewer than channels, what a closure makes of it.
    pub(crate) fn by_heads<'m>(&self, m: &'m Builder, heads: Wire<'m>, f: impl Fn(u32) -> Bits) -> Wire<'m> {
        let each: Vec<_> = (0..self.channels).map(|heads| m.constant(f(heads))).collect();
        heads.trunc(self.channel_bits()).choose(&each)
    }

    /// Rounded up to beats.
    pub(super) fn up<'m>(&self, bytes: Wire<'m>) -> Wire<'m> {
        let width = bytes.width() + 1;
        let up = bytes.zext(width) + u64::from(self.beat - 1);
        (up >> self.beat.ilog2()).trunc(RUN)
    }
}

/// What runs are made of.
#[derive(Clone, Copy)]
struct Runs<'m> {
    /// First beat of the head's first block, and from one of the channel's heads to the next.
    base: Wire<'m>,
    stride: Wire<'m>,
    /// From the block's first beat, and beats: elements of keys and of values, scale bytes of keys and of values.
    offsets: [Wire<'m>; 4],
    lengths: [Wire<'m>; 4],
    /// Beats of a head; it is a record, and that one's.
    head: Wire<'m>,
    record: Wire<'m>,
    record_beats: Wire<'m>,
    /// Heads before the last one, on the channels with the most.
    before: Wire<'m>,
    most: Wire<'m>,
    token: Wire<'m>,
    channel: Wire<'m>,
    step: Wire<'m>,
}

impl<'m> Runs<'m> {
    fn parts(&self) -> Vec<Wire<'m>> {
        let rest = [self.head, self.record, self.record_beats, self.before, self.most, self.token];
        let rest = [&rest[..], &[self.channel, self.step]].concat();
        [&[self.base, self.stride][..], &self.offsets, &self.lengths, &rest].concat()
    }

    /// The same a register later.
    fn held(&self, m: &'m Builder, name: &str, enable: Wire<'m>) -> Self {
        let packed = m.pack(&self.parts());
        let reg = m.reg(name, packed.width());
        reg.set_when(enable, packed);
        let mut take = cut(reg.q());
        let mut like = |wire: Wire<'m>| take(wire.width());
        Self {
            base: like(self.base),
            stride: like(self.stride),
            offsets: self.offsets.map(&mut like),
            lengths: self.lengths.map(&mut like),
            head: like(self.head),
            record: like(self.record),
            record_beats: like(self.record_beats),
            before: like(self.before),
            most: like(self.most),
            token: like(self.token),
            channel: like(self.channel),
            step: like(self.step),
        }
    }
}

/// The parts on their way to their runs: all move together.
pub(super) struct Pipe<'m> {
    pub(super) m: &'m Builder,
    pub(super) w: Appends,
    pub(super) moves: Wire<'m>,
}

impl<'m> Pipe<'m> {
    pub(super) fn later(&self, name: &str, wire: Wire<'m>, cycles: u32) -> Wire<'m> {
        (0..cycles).fold(wire, |wire, n| {
            let reg = self.m.reg(&format!("{name}_{n}"), wire.width());
            reg.set_when(self.moves, wire);
            reg.q()
        })
    }

    /// Each a register later.
    fn four(&self, name: &str, wires: [Wire<'m>; 4]) -> [Wire<'m>; 4] {
        let mut kinds = ["keys", "values", "key_scales", "value_scales"].into_iter();
        wires.map(|wire| self.later(&format!("{name}_{}", kinds.next().unwrap_or_default()), wire, 1))
    }

    /// Where in its beat a token's scale bytes begin and how many beats they are; the beats before.
    pub(super) fn scales(&self, at: Wire<'m>, scales: Wire<'m>) -> (Wire<'m>, Wire<'m>) {
        let (low, address) = (self.w.beat.ilog2(), self.w.address);
        let within = at.trunc(low).zext(at.width()) + scales.zext(at.width());
        ((at >> low).zext(address), self.w.up(within))
    }

    /// Offsets and lengths of a token's runs, from `token * scales`, in two cycles.
    fn token(&self, place: Wire<'m>, scales: Wire<'m>) -> ([Wire<'m>; 4], [Wire<'m>; 4]) {
        let (low, line, address) = (self.w.beat.ilog2(), LINE_WORDS.ilog2(), self.w.address);
        let wide = |wire: Wire<'m>| wire.zext(2 * (TOKEN + SCALES));
        let beats = |bytes: Wire<'m>| (bytes >> low).zext(address.max(bytes.width())).trunc(address);
        // Keys lie behind the scale bytes of all keys and values.
        let key = (wide(scales) << (line + 1)) + (wide(place) << line);
        let key = self.later("key", key, 1);
        let scales_1 = self.later("token_scales", scales, 1);
        let value = key + (wide(scales_1) << (line + TOKEN));
        let within = key.trunc(low).zext(key.width()) + (wide(scales_1) << line);
        let length = self.w.up(within);
        let place_1 = self.later("token_place", place.zext(TOKEN + SCALES + 1), 1);
        let value_place = place_1 + (scales_1.zext(TOKEN + SCALES + 1) << TOKEN);
        let (key_scales, key_length) = self.scales(place_1, scales_1);
        let (value_scales, value_length) = self.scales(value_place, scales_1);
        let offsets = [beats(key), beats(value), key_scales, value_scales];
        let lengths = [length, length, key_length, value_length];
        (self.four("offset", offsets), self.four("length", lengths))
    }
}

impl Appends {
    /// A block's number divided by the channels that share a head: these after a cycle, the quotient after two, the remainder after
    /// three.
    pub(super) fn divided<'m>(&self, pipe: &Pipe<'m>, heads: Wire<'m>, block: Wire<'m>) -> [Wire<'m>; 3] {
        let (m, bits) = (pipe.m, self.channel_bits());
        let few = heads.lt(u64::from(self.channels));
        let of = |heads: u32| u64::from(self.interleave(heads));
        let parts = |n| Bits::from_u64(FRACTION + 1, (1_u64 << FRACTION).div_ceil(of(n)));
        let reciprocal = few.mux(self.by_heads(m, heads, parts), m.lit(FRACTION + 1, 1 << FRACTION));
        let share = self.by_heads(m, heads, |n| Bits::from_u64(bits + 1, of(n)));
        let share = pipe.later("share", few.mux(share, m.lit(bits + 1, 1)), 1);
        let block = pipe.later("block", block, 1);
        let quotient =
            block.mul_unsigned(pipe.later("reciprocal", reciprocal, 1)).slice(FRACTION, BLOCK_BITS);
        let row = pipe.later("row", quotient, 1);
        let whole = row.trunc(bits).mul_unsigned(pipe.later("share_again", share, 1)).trunc(bits);
        let residue = pipe.later("block_again", block, 1).trunc(bits) - whole;
        [share, row, pipe.later("residue", residue, 1)]
    }

    /// Runs of the parts that come, [`STAGES`] cycles later.
    fn runs<'m>(&self, pipe: &Pipe<'m>) -> Runs<'m> {
        let m = pipe.m;
        let input = |name: &str, width| pipe.later(name, m.input(&format!("{name}_i"), width), 1);
        let (base, position) = (input("base", self.address), input("position", POSITION));
        let (heads, scales) = (input("heads", self.heads), input("scales", SCALES));
        let room = input("blocks", BLOCK_BITS + 1);
        let [share, row, residue] = self.divided(pipe, heads, position.slice(TOKEN, BLOCK_BITS));

        let unit = BLOCK_BYTES / u64::from(self.beat);
        let beats = pipe.later("block_beats", scales.mul_unsigned(m.lit(index_width(unit + 1), unit)), 2);
        let place = pipe.later("place", position.trunc(TOKEN).mul_unsigned(scales), 1);
        let (offsets, lengths) = pipe.token(place, pipe.later("scales_again", scales, 1));
        let fit = |wire: Wire<'m>| wire.zext(self.address.max(wire.width())).trunc(self.address);
        let record = pipe.later("record", heads.is_zero(), 3);
        let at = fit(pipe.later("row_beats", row.mul_unsigned(beats), 1));
        let stride = fit(pipe.later("stride", pipe.later("room", room, 2).mul_unsigned(beats), 1));

        let base = pipe.later("base_again", base, 3) + (at & (!record).repeat(at.width()));
        let (before, most) = self.spread(m, pipe.later("heads_again", heads, 3), residue);
        Runs {
            base: pipe.later("base_at", base, 1),
            stride: pipe.later("stride_again", stride, 1),
            offsets: pipe.four("offset_again", offsets),
            lengths: pipe.four("length_again", lengths),
            head: pipe.later("head_beats", m.tree(&lengths.map(|wire| wire.zext(HEAD)), |a, b| a + b), 1),
            record: pipe.later("record_again", record, 1),
            record_beats: pipe.later("record_beats", input("length", self.length), STAGES - 1),
            before: pipe.later("before", before, 1),
            most: pipe.later("most", most | record.repeat(self.channels), 1),
            token: pipe.later("token", position.trunc(TOKEN), STAGES - 1),
            channel: pipe.later("channel", residue, 1),
            step: pipe.later("step", share.trunc(self.channel_bits()), 3),
        }
    }

    /// Heads before the last one, and the channels that have so many.
    fn spread<'m>(&self, m: &'m Builder, heads: Wire<'m>, residue: Wire<'m>) -> (Wire<'m>, Wire<'m>) {
        ((heads - 1) >> self.channels.ilog2(), self.last_channels(m, heads).at(residue))
    }

    /// The channels that have a head in the last place of heads.
    pub(super) fn last_channels<'m>(&self, m: &'m Builder, heads: Wire<'m>) -> LastChannels<'m> {
        // Heads that share channels lie apart by as many as share one.
        let mask = |heads: u32| {
            let step = self.interleave(heads);
            (0..heads).fold(Bits::zero(self.channels), |mask, head| {
                mask.or(&Bits::from_u64(self.channels, 1).shl(u64::from(head * step)))
            })
        };
        let low = self.channels.ilog2();
        let rest = heads.trunc(low.max(1));
        let first = |channel: u32| match low {
            0 => m.lit(1, 1),
            _ => rest.is_zero() | rest.gt(u64::from(channel)),
        };
        LastChannels {
            few: heads.lt(u64::from(self.channels)),
            apart: self.by_heads(m, heads, mask),
            first: m.pack(&(0..self.channels).map(first).collect::<Vec<_>>()),
        }
    }
}

/// Channels of the last place of heads, by where the first of few heads lies.
#[derive(Clone, Copy)]
pub(super) struct LastChannels<'m> {
    few: Wire<'m>,
    apart: Wire<'m>,
    first: Wire<'m>,
}

impl<'m> LastChannels<'m> {
    /// The same, of other wires.
    pub(super) fn map(self, mut f: impl FnMut(&'static str, Wire<'m>) -> Wire<'m>) -> Self {
        Self {
            few: f("few_heads", self.few),
            apart: f("heads_apart", self.apart),
            first: f("first_heads", self.first),
        }
    }

    /// Where the first of few heads lies on a channel.
    pub(super) fn at(self, residue: Wire<'m>) -> Wire<'m> {
        self.few.mux(self.apart.shl_by(residue), self.first)
    }
}

impl Block for Appends {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Self { channels, beat, address, heads, length } = *self;
        let m = Builder::new(format!("append_walker_c{channels}_b{beat}_a{address}_h{heads}_l{length}"));
        let busy = m.reg("busy", 1).reset(0);
        let done = m.later("done", 1);
        let moves = (!busy.q() | done.wire()).named("moves");
        m.output("job_ready_o", moves);
        let mut valid = m.input("job_valid_i", 1);
        for stage in 0..STAGES {
            let reg = m.reg(&format!("valid_{stage}"), 1).reset(0);
            reg.set_when(moves, valid);
            valid = reg.q();
        }
        busy.set_when(moves, valid);
        let runs = self.runs(&Pipe { m: &m, w: *self, moves });
        let part = runs.held(&m, "part", moves);
        self.walk(&m, (busy.q(), moves), &runs, &part, done);
        m.finish()
    }
}

impl Appends {
    /// Gives the runs of the part in turn; `next` is the one behind it.
    fn walk<'m>(
        &self,
        m: &'m Builder,
        (busy, moves): (Wire<'m>, Wire<'m>),
        next: &Runs<'m>,
        part: &Runs<'m>,
        done: Later<'m>,
    ) {
        let go = (busy & m.input("go_i", 1)).named("goes");
        let head = (go & !part.record).named("head_goes");
        let (values, scales) = (m.reg("values", 1).reset(0), m.reg("scales_next", 1).reset(0));
        let fresh = m.reg("fresh", 1).reset(1);
        let (left, unit) = (m.reg("left", part.before.width()), m.reg("unit", self.address));
        let final_head = left.q().is_zero().named("final_head");
        let half_ends = (head & scales.q() & final_head).named("half_ends");
        done.set((half_ends & values.q()) | (go & part.record));
        scales.set_when(head, !scales.q());
        values.set_when(half_ends, !values.q());
        fresh.set_when(go, done.wire());
        left.update(&[(moves, next.before), (half_ends, part.before), (go & scales.q(), left.q() - 1)]);
        unit.update(&[(moves, next.base), (half_ends, part.base), (go & scales.q(), unit.q() + part.stride)]);

        let choose = |of: &[Wire<'m>; 4]| scales.q().cat(values.q()).choose(of);
        let offset = choose(&part.offsets) & (!part.record).repeat(self.address);
        let length = part.record.mux(part.record_beats, choose(&part.lengths).zext(self.length));
        m.output("run_address_o", m.register("run_address", unit.q() + offset));
        m.output("run_length_o", m.register("run_length", length));
        m.output("run_valid_o", m.register_valid("run_valid", go));
        let all = |bit: Wire<'m>| bit.repeat(self.channels);
        let channels = part.most | all(!final_head);
        m.output("run_channels_o", m.register("run_channels", channels));
        let nearly = left.q().eq(1);
        let last = (part.most & all(final_head)) | (!part.most & all(nearly));
        let last = (last & all(scales.q() & values.q())) | all(part.record);
        m.output("run_last_o", m.register("run_last", last));
        m.output("part_first_o", m.register("part_first", fresh.q()));
        m.output("part_last_o", m.register("part_last", done.wire()));
        self.part(m, (go, fresh.q(), moves), next, part);
    }

    /// What is said of the part with its runs.
    fn part<'m>(
        &self,
        m: &'m Builder,
        (go, fresh, moves): (Wire<'m>, Wire<'m>, Wire<'m>),
        next: &Runs<'m>,
        part: &Runs<'m>,
    ) {
        let bits = PLACED.ilog2() + 1;
        let given = m.reg("given", bits);
        let before = given.q() & (!fresh).repeat(bits);
        let counts = before.lt(PLACED);
        given.set_when(go, before + counts.zext(bits));
        m.output("part_placed_o", m.register_valid("placed", go & (part.record | before.eq(PLACED - 1))));

        let fit = |wire: Wire<'m>| wire.zext(self.length.max(wire.width())).trunc(self.length);
        let product = m.reg("beats_before", self.length);
        product.set_when(moves, fit(next.head.mul_unsigned(next.before)));
        let cache = !part.record;
        let fewer = product.q() & cache.repeat(self.length);
        let beats = part.record.mux(part.record_beats, product.q() + fit(part.head));
        m.output("part_beats_o", m.register("part_beats", beats));
        m.output("part_fewer_o", m.register("part_fewer", fewer));
        m.output("part_cache_o", m.register("part_cache", cache));
        m.output("part_token_o", m.register("part_token", part.token));
        m.output("part_channel_o", m.register("part_channel", part.channel));
        m.output("part_step_o", m.register("part_step", part.step));
        m.output("part_channels_o", m.register("part_channels", part.most));
    }
}
