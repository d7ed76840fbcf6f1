//! `vec_writes`: what the vector unit writes, as beats of the channels.
//!
//! # Purpose
//!
//! Takes the words and the blocks that [`VectorUnit`](super::VectorUnit) gives out for memory, part after part, and makes each channel's
//! beats of them: records of words, records of blocks, and keys and values for the caches.
//!
//! # Interface
//!
//! All inputs are *pipes*; nothing is ever held up. The beats of a part are the [`RecordLayout`](fastcar_arch::layout::RecordLayout)'s, or those of
//! the runs that [`Appends`](crate::walk::Appends) gives, in their order: the elements of the channel's keys, head by head and behind each head its scale
//! bytes, then the values in the same way.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | drops whatever is under way |
//! | `start_i` | in | 1 | a part that writes begins in the unit, or will: at least 3 cycles before its first words or block |
//! | `kind_i` | in | [`Written::BITS`] | what it writes |
//! | `count_i` | in | [`Writes::COUNT_BITS`] | its words, blocks, or heads |
//! | `scales_i`, `token_i` | in | 6, 5 | caches: blocks of a head; the position's place in its block of the cache |
//! | `channel_i`, `step_i` | in | log2(channels) | caches: channel of the first head; from head to head, modulo the channels |
//! | `word_valid_i`, `word_data_i` | in | 1, 32 x lanes | a group of words |
//! | `block_valid_i`, `block_scale_i`, `block_elems_i` | in | 1, 8, 256 | a block for memory |
//! | `done_i` | in | 1 | the unit's `done_o`: the cycle behind a part's last word or block |
//! | `room_o` | out | 1 | the next part may begin, as far as this block goes |
//! | `beat_valid<c>_o` | out | 1 | a beat for channel c |
//! | `beat_data<c>_o`, `beat_bytes<c>_o` | out | 8 x beat, beat | it, and which of its bytes are to be written |
//!
//! A token's scale bytes share their beats with those of its neighbours, and with 64-byte beats an odd number of blocks shares a beat of elements too: only
//! the bytes that `beat_bytes` names may change. All other beats are whole; what a record's last row has behind the record is zero.
//!
//! # Timing
//!
//! A *step* is a group of words, or as many blocks as a beat holds (one at least; the last alone counts from `done_i`), or, for caches, as much of it as
//! one channel takes a cycle. A step is taken in the cycle in which its last word or block comes, or in the cycle behind the step before, and its beats are on the outputs a cycle later. Scale bytes
//! follow behind the last step of their record or head, one beat a cycle, beside the next steps; a step waits for them
//! where it is of another record, or of the same channel as the head before.
//!
//! So, counted from a part's `done_i`, beat i of each channel is there after i cycles at the latest for words and caches, and after i + 2
//! for records of blocks, where nothing waits. What waits stands in a queue. It cannot become full as long as parts begin only
//! while `room_o` is set, which it ceases to be only where one channel takes all heads' beats and gets more of them than there are cycles.
//! (The core's parts take [`append_pause`](fastcar_arch::timing::append_pause) cycles more then, so that it does not happen there.)
//!
//! # Numeric contract
//!
//! None: bytes stay as they are.
//!
//! # Cost
//!
//! A register and a choice of two for each bit of a beat of every channel, the queue in distributed memory, a beat that collects scale
//! bytes. Figures: `tests/baselines/rtl/vec_writes.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_writes.rs`: `parts_become_beats_of_one_channel`, `..._of_four_channels`, `..._of_eight_channels`,
//! `..._of_thirty_two_channels`, `native_simulation_agrees`, `cells_and_depth_are_held`; the long run `parts_for_long`.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{rtl::Block, vec::Writes};
//!
//! let writes = Writes::of(&AccelConfig::preset("edge")?)?;
//! assert_eq!(writes.module()?.name(), "vec_writes_c4_b16_l16_a1024");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::{BYTE, WORD};
use crate::cmd::fields::cut;
use crate::prim::Fifo;
use crate::rtl::{Block, Builder, Later, Module, RamStyle, Reg, RtlError, Stream, Wire, index_width};
use fastcar_arch::config::{AccelConfig, LINE_WORDS};
use fastcar_arch::program::MAX_HEAD_DIM;
use std::sync::Arc;

/// What a part writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// A record of words.
    Words,
    /// A record of blocks: all elements, then all scale bytes.
    Blocks,
    /// A token's keys and values.
    Cache,
}

impl Written {
    /// Width of a code.
    pub const BITS: u32 = 2;

    /// What `kind_i` is for it.
    #[must_use]
    pub fn code(self) -> u64 {
        self as u64
    }
}

/// Bits of the number of scale bytes of a head.
const SCALES: u32 = (MAX_HEAD_DIM / LINE_WORDS).ilog2() + 1;
/// Bits of a token's place in its block of the cache.
const TOKEN: u32 = LINE_WORDS.ilog2();
/// Bytes of a block's elements.
const ELEMS: u32 = LINE_WORDS;
/// Steps that may still come of parts that have begun when there is no more room.
const BEGUN: u32 = 32;
/// Bits of the number of records and heads whose scale bytes are owed.
const OWED: u32 = 3;

/// From words and blocks to beats. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writes {
    channels: u32,
    beat: u32,
    lanes: u32,
    blocks: u32,
}

impl Writes {
    /// Width of `count_i`: a matrix has at most 2^21 rows.
    pub const COUNT_BITS: u32 = 22;

    /// That of a configuration.
    ///
    /// # Errors
    /// [`RtlError::Parameter`] where a group is not whole beats of different channels, or blocks come faster than a channel takes them.
    pub fn of(config: &AccelConfig) -> Result<Self, RtlError> {
        let (channels, beat) = (config.channels(), config.beat().get() as u32);
        let lanes = config.vector_lanes();
        let allowed = "a number whose words fill at least a beat and at most one of each channel";
        let group = lanes * WORD / BYTE;
        let fails = |allowed| {
            let (block, parameter) = ("writes", "vector lanes");
            Err(RtlError::Parameter { block, parameter, asked: lanes.into(), allowed })
        };
        if !(beat..=channels * beat).contains(&group) {
            return fails(allowed);
        }
        if lanes > beat {
            return fails("at most the bytes of a beat: a channel takes no more than a beat a cycle");
        }
        Ok(Self { channels, beat, lanes, blocks: config.ab_blocks() })
    }

    /// Beats in a group of words.
    fn beats(&self) -> u32 {
        self.lanes * WORD / BYTE / self.beat
    }

    /// Blocks in an entry of the queue.
    fn pair(&self) -> bool {
        self.beat > ELEMS
    }

    /// Whether a block is two beats.
    fn split(&self) -> bool {
        self.beat < ELEMS
    }

    /// Width of a channel's number.
    fn channel_bits(&self) -> u32 {
        index_width(self.channels.into())
    }

    /// Beats of scale bytes of the longest record.
    fn tail(&self) -> u32 {
        self.blocks.div_ceil(self.beat) + 1
    }

    /// Entries of the queue: as many as come while scale bytes leave, and those that come when there is no more room.
    fn depth(&self) -> u32 {
        (self.tail() + BEGUN + 1).next_power_of_two()
    }

    /// Width of an entry: a group, or the blocks of a beat with their scale bytes.
    fn entry_bits(&self) -> u32 {
        let blocks = if self.pair() { 2 } else { 1 };
        (self.lanes * WORD).max(blocks * BYTE * (ELEMS + 1))
    }
}

/// The part in turn.
struct Part<'m> {
    valid: Wire<'m>,
    /// What it writes.
    words: Wire<'m>,
    blocks: Wire<'m>,
    cache: Wire<'m>,
    /// Number of the last step; caches: of the last head.
    last: Wire<'m>,
    /// Words in the last group, 0 for all.
    rest: Wire<'m>,
    /// The last entry has one block.
    odd: Wire<'m>,
    /// Channel of the first beat of scale bytes.
    tail: Wire<'m>,
    /// Number of a head's last block.
    scales: Wire<'m>,
    /// Where in its beat the first scale byte goes, of records, or of keys and values.
    at: Wire<'m>,
    values_at: Wire<'m>,
    /// A head's first block is the second one of its beat.
    half: Wire<'m>,
    channel: Wire<'m>,
    step: Wire<'m>,
    ends: Later<'m>,
}

impl<'m> Part<'m> {
    /// What a part is made out to be, a cycle after it is said: the fields in their order, from `words` to `step`.
    fn made_out(m: &'m Builder, w: &Writes) -> Vec<Wire<'m>> {
        let (beat, channel_bits) = (w.beat.ilog2(), w.channel_bits());
        let input = |name: &str, width| m.register(name, m.input(&format!("{name}_i"), width));
        let kind = input("kind", Written::BITS);
        let is = |which: Written| kind.eq(which.code());
        let asked = m.input("count_i", Writes::COUNT_BITS);
        let (count, less) = (m.register("count", asked), m.register("count_less", asked - 1));
        let (scales, token) = (m.input("scales_i", SCALES), m.input("token_i", TOKEN));
        let place = m.register("place", scales.mul_unsigned(token));
        let scales = m.register("scales", scales);

        let steps = is(Written::Blocks).mux(less >> u32::from(w.pair()), less);
        let last = is(Written::Words).mux(less >> w.lanes.ilog2(), steps);
        let (none, half) = (m.lit(1, 0), |odd: Wire<'m>| odd.zext(beat) << (beat - 1));
        let (odd, odd_head) = if w.pair() { (count.bit(0), scales.bit(0)) } else { (none, none) };
        let at = is(Written::Cache).mux(place.trunc(beat), half(odd));
        vec![
            is(Written::Words),
            is(Written::Blocks),
            is(Written::Cache),
            last,
            count.trunc(w.lanes.ilog2()),
            odd,
            (steps + 1).trunc(channel_bits) << u32::from(w.split()),
            (scales - 1).trunc(SCALES - 1),
            at,
            // The scale bytes of 32 tokens' keys lie between.
            at ^ half(odd_head),
            place.bit(0),
            input("channel", channel_bits),
            input("step", channel_bits),
        ]
    }

    /// The queue of parts.
    fn new(m: &'m Builder, w: &Writes) -> Result<Self, RtlError> {
        let fields = Self::made_out(m, w);
        let start = m.register_valid("start", m.input("start_i", 1));
        let all = m.pack(&fields);
        let queue = Fifo::new(all.width(), w.depth(), RamStyle::Distributed)?;
        let queue = queue.after(m, "u_parts", m.stream("parts_ready", start, all))?;
        // The part in turn has a register of its own.
        let ends = m.later("part_ends", 1);
        let (there, part) = (m.reg("part_there", 1).reset(0), m.reg("part", all.width()));
        let next = (!there.q() | ends.wire()).named("part_next");
        queue.ready.set(next);
        there.set_when(next, queue.valid);
        part.set_when(next, queue.data);
        let (mut take, mut widths) = (cut(part.q()), fields.iter().map(|field| field.width()));
        let mut field = || take(widths.next().unwrap_or(1));
        Ok(Self {
            valid: there.q(),
            words: field(),
            blocks: field(),
            cache: field(),
            last: field(),
            rest: field(),
            odd: field(),
            tail: field(),
            scales: field(),
            at: field(),
            values_at: field(),
            half: field(),
            channel: field(),
            step: field(),
            ends,
        })
    }
}

/// A group of words or the blocks of a beat.
struct Entry<'m> {
    valid: Wire<'m>,
    words: Wire<'m>,
    /// Elements and scale byte of each block.
    blocks: Vec<(Wire<'m>, Wire<'m>)>,
    ready: Later<'m>,
}

impl Writes {
    /// What the unit gives, as entries.
    fn comes<'m>(&self, m: &'m Builder) -> (Wire<'m>, Wire<'m>) {
        let (word, words) = (m.input("word_valid_i", 1), m.input("word_data_i", self.lanes * WORD));
        let block = m.input("block_valid_i", 1);
        let (scale, elems) = (m.input("block_scale_i", BYTE), m.input("block_elems_i", BYTE * ELEMS));
        let done = m.input("done_i", 1);
        let width = self.entry_bits();
        let (there, blocks) = if self.pair() {
            // The first of two is kept; when its part is done it is the last.
            let held = m.reg("held", 1).reset(0);
            let alone = held.q() & done;
            let keeps = block & (!held.q() | done);
            held.update(&[(keeps, m.lit(1, 1)), (block | done, m.lit(1, 0))]);
            let (first, first_scale) = (m.reg("first_elems", elems.width()), m.reg("first_scale", BYTE));
            first.set_when(keeps, elems);
            first_scale.set_when(keeps, scale);
            let both = !alone;
            let (second, second_scale) = (elems & both.repeat(elems.width()), scale & both.repeat(BYTE));
            (held.q() & (block | done), m.pack(&[first.q(), second, first_scale.q(), second_scale]))
        } else {
            (block, m.pack(&[elems, scale]))
        };
        (word | there, word.mux(words.zext(width), blocks.zext(width)))
    }

    /// The queue, which an entry passes by when nothing is in it.
    fn entries<'m>(&self, m: &'m Builder) -> Result<Entry<'m>, RtlError> {
        let (comes, data) = self.comes(m);
        let queue = m.instance("u_queue", &Fifo::new(data.width(), self.depth(), RamStyle::Distributed)?)?;
        let ready = m.later("entry_ready", 1);
        let waits = queue.get("out_valid_o");
        queue.set("in_valid_i", comes & (waits | !ready.wire()));
        queue.set("in_data_i", data);
        queue.set("out_ready_i", ready.wire());
        let count = queue.get("count_o");
        let room = count.lt(u64::from(self.depth() - BEGUN));
        m.output("room_o", m.register_valid("room", room));
        let data = waits.mux(queue.get("out_data_o"), data);
        let elems = BYTE * ELEMS;
        let blocks = if self.pair() {
            let scale = |n: u32| data.slice(2 * elems + n * BYTE, BYTE);
            vec![(data.trunc(elems), scale(0)), (data.slice(elems, elems), scale(1))]
        } else {
            vec![(data.trunc(elems), data.slice(elems, BYTE))]
        };
        Ok(Entry { valid: waits | comes, words: data.trunc(self.lanes * WORD), blocks, ready })
    }
}

/// A beat of scale bytes that leaves.
struct Tail<'m> {
    valid: Wire<'m>,
    data: Wire<'m>,
    bytes: Wire<'m>,
    channel: Wire<'m>,
    /// It is its record's last.
    fills: Wire<'m>,
}

/// The step in turn.
struct Step<'m> {
    go: Wire<'m>,
    /// The second half of an entry, where it is taken in two.
    second: Wire<'m>,
    /// Number of the step or head, and whether it is the last.
    index: Wire<'m>,
    last: Wire<'m>,
    /// Caches: the head's last block, its channel, whether it is of the values.
    head_last: Wire<'m>,
    channel: Wire<'m>,
    values: Wire<'m>,
    /// Scale bytes come with it, of the entry or of the block; they are the last of their record or head.
    collects: Wire<'m>,
    closes: Wire<'m>,
}

/// Scale bytes that come.
struct Scales<'m> {
    /// They are the first of their record or head.
    opens: Wire<'m>,
    /// The record's first beat of them; where its blocks are odd in number, the second half goes with the last block.
    first: Wire<'m>,
    /// That takes all there are.
    whole: Wire<'m>,
    /// Beats of them that are to leave.
    tails: Stream<'m>,
}

/// Records and heads whose scale bytes are still to leave.
struct Owed<'m> {
    count: Reg<'m>,
    /// Channel of the last of them, and whether it is a record.
    channel: Reg<'m>,
    record: Reg<'m>,
}

/// What goes to a channel.
struct Goes<'m> {
    step: Wire<'m>,
    scales: Wire<'m>,
    zeros: Wire<'m>,
}

/// Whether a channel is in the group of `size` channels that another is in, and whether behind it.
fn in_group<'m>(at: Wire<'m>, channels: u32, size: u32, channel: u32) -> (Wire<'m>, Wire<'m>) {
    let (m, low) = (at.builder(), size.ilog2());
    if channels <= size {
        return (m.lit(1, 1), m.lit(1, 0));
    }
    let (group, here) = (u64::from(channel / size), at.slice(low, at.width() - low));
    (here.eq(group), here.lt(group))
}

struct Engine<'m> {
    m: &'m Builder,
    w: Writes,
    part: Part<'m>,
    entry: Entry<'m>,
}

impl<'m> Engine<'m> {
    /// Whether an entry is taken in two.
    fn in_two(&self) -> Wire<'m> {
        let (w, part) = (&self.w, &self.part);
        match (w.pair(), w.split()) {
            (true, _) => part.cache,
            (_, true) if w.beats() == 1 => part.cache | part.blocks,
            (_, true) => part.cache,
            _ => self.m.lit(1, 0),
        }
    }

    /// Goes on by a step, if there is one and `waits` is not set for its channel.
    fn step(&self, waits: impl FnOnce(Wire<'m>) -> Wire<'m>) -> Step<'m> {
        let (m, w, part) = (self.m, &self.w, &self.part);
        let (zeroth, moved) = (m.reg("zeroth", 1).reset(1), m.reg("moved", w.channel_bits()));
        let channel = if w.channels == 1 { m.lit(1, 0) } else { zeroth.q().mux(part.channel, moved.q()) };
        let go = (self.entry.valid & part.valid & !waits(channel)).named("go");
        let (second, two) = (m.reg("second", 1).reset(0), self.in_two());
        second.set_when(go, two & !second.q());
        let pops = (go & (!two | second.q())).named("pops");
        self.entry.ready.set(pops);

        let block = part.cache & if w.pair() { go } else { pops };
        let place = m.reg("place_in_head", SCALES - 1).reset(0);
        let head_last = place.q().eq(part.scales).named("head_last");
        place.set_when(block, head_last.mux(m.lit(SCALES - 1, 0), place.q() + 1));
        let advances = part.cache.mux(block & head_last, pops).named("advances");
        let index = m.reg("index", Writes::COUNT_BITS).reset(0);
        let last = index.q().eq(part.last).named("last");
        index.set_when(advances, last.mux(m.lit(Writes::COUNT_BITS, 0), index.q() + 1));
        zeroth.set_when(advances, last);
        moved.set_when(advances, channel + part.step);
        let values = m.reg("values", 1).reset(0);
        values.set_when(advances & part.cache & last, !values.q());
        part.ends.set(advances & last & (!part.cache | values.q()));
        Step {
            go,
            second: second.q(),
            index: index.q(),
            last,
            head_last,
            channel,
            values: values.q(),
            collects: part.cache.mux(block, pops & part.blocks).named("collects"),
            closes: part.cache.mux(head_last, last).named("closes"),
        }
    }

    /// Whether two scale bytes come at once.
    fn twin(&self) -> Wire<'m> {
        if self.w.pair() { self.part.blocks } else { self.m.lit(1, 0) }
    }

    /// By bytes of the beat that collects: the scale byte that goes there, and whether one does.
    fn placed(&self, step: &Step<'m>, at: Wire<'m>) -> Vec<(Wire<'m>, Wire<'m>)> {
        let (m, twin) = (self.m, self.twin());
        let scale = |byte: u32| match &self.entry.blocks[..] {
            [(_, first), (_, second)] => {
                let which = twin.mux(m.lit(1, u64::from(byte % 2)), step.second);
                which.mux(*second, *first)
            }
            blocks => blocks[0].1,
        };
        let high = at.width() - 1;
        let hit = |byte: u32| {
            let pair = at.slice(1, high).eq(u64::from(byte / 2));
            pair & (twin | at.bit(0).eq(u64::from(byte % 2)))
        };
        (0..self.w.beat).map(|byte| (scale(byte), hit(byte))).collect()
    }

    /// Where the scale byte in turn goes in its beat, and whether it is the last one there.
    fn scale_at(&self, step: &Step<'m>, opens: Wire<'m>) -> (Wire<'m>, Wire<'m>) {
        let (m, part, beat, twin) = (self.m, &self.part, self.w.beat.ilog2(), self.twin());
        let next = m.reg("scale_at", beat);
        let begin = (part.cache & step.values).mux(part.values_at, part.at);
        let at = opens.mux(begin, next.q()).named("at");
        next.set_when(step.collects, at + twin.mux(m.lit(beat, 2), m.lit(beat, 1)));
        (at, at.slice(1, beat - 1).all() & (twin | at.bit(0)))
    }

    /// The beat that collects, with the scale bytes in turn: its bytes, and which are there.
    fn collected(&self, step: &Step<'m>, at: Wire<'m>, complete: Wire<'m>) -> (Wire<'m>, Wire<'m>) {
        let (m, w) = (self.m, &self.w);
        let blank = m.reg("blank", 1).reset(1);
        blank.set_when(step.collects, complete);
        let (bytes, marks) = (m.reg("scale_bytes", BYTE * w.beat), m.reg("scale_marks", w.beat));
        let kept = !blank.q();
        let before = bytes.q().chunks(BYTE).into_iter().zip(marks.q().bits());
        let now = before.zip(self.placed(step, at)).map(|((byte, mark), (scale, hit))| {
            (hit.mux(scale, byte & kept.repeat(BYTE)), hit | (mark & kept))
        });
        let (data, mark): (Vec<_>, Vec<_>) = now.unzip();
        let (data, mark) = (m.pack(&data).named("collected"), m.pack(&mark).named("marked"));
        bytes.set_when(step.collects, data);
        marks.set_when(step.collects, mark);
        (data, mark)
    }

    /// The scale bytes that come.
    fn scales(&self, step: &Step<'m>) -> Scales<'m> {
        let (m, w, part, bits) = (self.m, &self.w, &self.part, self.w.channel_bits());
        let opens = m.reg("opens", 1).reset(1);
        opens.set_when(step.collects, step.closes);
        let (at, full) = self.scale_at(step, opens.q());
        let complete = (step.collects & (full | step.closes)).named("complete");
        let (data, mark) = self.collected(step, at, complete);

        let first = m.reg("first_scales", 1).reset(1);
        first.set_when(complete, step.closes);
        let along = part.blocks & part.odd & first.q();
        let shared = m.reg("shared", BYTE * w.beat);
        shared.set_when(step.collects & first.q(), data);
        let leaves = (complete & !along).named("scales_leave");
        let places = m.reg("tail_place", bits).reset(0);
        places.set_when(complete, step.closes.mux(m.lit(bits, 0), places.q() + leaves.zext(bits)));
        let channel = part.cache.mux(step.channel, part.tail + places.q());
        let channel = if w.channels == 1 { m.lit(1, 0) } else { channel };
        let mark = mark | part.blocks.repeat(w.beat);
        let beat = m.pack(&[data, mark, channel, part.blocks, step.closes]);
        Scales {
            opens: opens.q(),
            first: first.q().mux(data, shared.q()),
            whole: along & step.closes,
            tails: m.stream("tails_ready", leaves, beat),
        }
    }

    /// Scale bytes on their way out.
    fn tails(&self, step: &Step<'m>, tails: Stream<'m>, owed: &Owed<'m>) -> Result<Tail<'m>, RtlError> {
        let (m, w) = (self.m, &self.w);
        let more = tails.valid & step.closes;
        let queue = Fifo::new(tails.data.width(), w.tail() + 2, RamStyle::Distributed)?;
        let queue = queue.after(m, "u_tails", tails)?;
        let valid = owed.count.q().any();
        queue.ready.set(valid);
        let mut take = cut(queue.data);
        let (data, bytes, at) = (take(BYTE * w.beat), take(w.beat), take(w.channel_bits()));
        let (record, last) = (take(1), take(1));
        let less = valid & last;
        owed.count.update(&[(more & !less, owed.count.q() + 1), (less & !more, owed.count.q() - 1)]);
        owed.channel.set_when(more, step.channel);
        owed.record.set_when(more, self.part.blocks);
        Ok(Tail { valid, data, bytes, channel: at, fills: less & record })
    }

    /// A group's words, those behind the record's end zero.
    fn words(&self, step: &Step<'m>) -> Wire<'m> {
        let (m, rest) = (self.m, self.part.rest);
        let ends = step.last & rest.any();
        let words = self.entry.words.chunks(WORD).into_iter().zip(0..).map(|(word, lane)| {
            let behind = ends & rest.le(m.lit(rest.width(), lane));
            word & (!behind).repeat(WORD)
        });
        m.pack(&words.collect::<Vec<_>>())
    }

    /// A beat for each channel of a group: elements, or words; and which bytes of it count.
    fn beats(&self, step: &Step<'m>, scales: &Scales<'m>) -> (Vec<Wire<'m>>, Wire<'m>) {
        let (m, w, part) = (self.m, &self.w, &self.part);
        let all = m.lit(1, 1).repeat(w.beat);
        let (blocks, bytes) = match self.entry.blocks[..] {
            [(first, _), (second, _)] => {
                let (pair, bytes) = self.halves(step, (first, second), scales);
                (vec![pair], bytes)
            }
            _ => (self.entry.blocks[0].0.chunks(BYTE * w.beat.min(ELEMS)), all),
        };
        let turn = if blocks.len() == 2 { step.second.choose(&blocks) } else { blocks[0] };
        let lane = |(lane, word): (usize, &Wire<'m>)| {
            let wide = if w.beats() == 1 { turn } else { blocks[lane % blocks.len()] };
            m.select(*word, &[(part.cache, turn), (part.blocks, wide)])
        };
        let words = self.words(step).chunks(BYTE * w.beat);
        (words.iter().enumerate().map(lane).collect(), bytes)
    }

    /// Two blocks of a beat: those of a record, or a head's, whose first one may be the second of its beat.
    fn halves(
        &self,
        step: &Step<'m>,
        (first, second): (Wire<'m>, Wire<'m>),
        scales: &Scales<'m>,
    ) -> (Wire<'m>, Wire<'m>) {
        let (m, part) = (self.m, &self.part);
        let next = m.reg("half", 1);
        let high = scales.opens.mux(part.half, next.q()).named("high");
        next.set_when(step.collects, !high);
        let block = step.second.mux(second, first);
        let low = m.reg("low_block", block.width());
        low.set_when(step.collects, block);
        let alone = part.blocks & step.last & part.odd;
        let shared = scales.first.slice(BYTE * ELEMS, BYTE * ELEMS);
        let upper = m.select(second, &[(part.cache, block), (alone, shared)]);
        let lower = m.select(first, &[(part.cache & high, low.q()), (part.cache, block)]);
        let bytes = |there: Wire<'m>| (there | !part.cache).repeat(ELEMS);
        (upper.cat(lower), bytes(high).cat(bytes(!(high & scales.opens))))
    }

    /// Whether a step has a beat: of two blocks of a head that share one, the second.
    fn beat_leaves(&self, step: &Step<'m>, bytes: Wire<'m>) -> Wire<'m> {
        if !self.w.pair() {
            return step.go;
        }
        step.go & (!self.part.cache | step.head_last | bytes.msb())
    }

    /// By channel: whether the step's beat, scale bytes, or the zeros behind a record's end go there.
    fn channels(&self, step: &Step<'m>, leaves: Wire<'m>, whole: Wire<'m>, tail: &Tail<'m>) -> Vec<Goes<'m>> {
        let (m, w, part) = (self.m, &self.w, &self.part);
        let index = step.index.trunc(w.channel_bits());
        // The first channel of the step's words, and of its blocks.
        let words_at = index << w.beats().ilog2();
        let narrow = step.second & (part.blocks & self.in_two());
        let doubled = (index << 1) | narrow.zext(w.channel_bits());
        let (blocks_at, size) = if w.split() { (doubled, w.beats().min(2)) } else { (index, 1) };
        let ends = step.go & step.last;
        let goes = |channel: u32| {
            let at = |first: Wire<'m>, size: u32| in_group(first, w.channels, size, channel);
            let (word, behind_word) = at(words_at, w.beats());
            let (block, behind_block) = at(blocks_at, size);
            let (scales, behind_scales) = at(tail.channel, 1);
            let head = at(step.channel, 1).0;
            let takes = m.one_hot(&[(part.words, word), (part.blocks, block), (part.cache, head)]);
            let behind = (part.words & behind_word) | (whole & behind_block);
            Goes {
                step: leaves & takes,
                scales: tail.valid & scales,
                zeros: (ends & behind) | (tail.fills & behind_scales),
            }
        };
        (0..w.channels).map(goes).collect()
    }

    /// Beats leave.
    fn outputs(&self, goes: &[Goes<'m>], beats: (&[Wire<'m>], Wire<'m>), tail: &Tail<'m>) {
        let m = self.m;
        for (channel, goes) in goes.iter().enumerate() {
            let (lane, bytes) = (beats.0[channel % beats.0.len()], beats.1);
            let data = goes.scales.mux(tail.data, lane) & (!goes.zeros).repeat(lane.width());
            let bytes = goes.scales.mux(tail.bytes, bytes) | goes.zeros.repeat(bytes.width());
            let valid = goes.step | goes.scales | goes.zeros;
            let name = |what: &str| format!("{what}{channel}");
            m.output(&format!("beat_valid{channel}_o"), m.register_valid(&name("valid"), valid));
            m.output(&format!("beat_data{channel}_o"), m.register(&name("data"), data));
            m.output(&format!("beat_bytes{channel}_o"), m.register(&name("bytes"), bytes));
        }
    }
}

impl Block for Writes {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Self { channels, beat, lanes, blocks } = *self;
        let m = Builder::new(format!("vec_writes_c{channels}_b{beat}_l{lanes}_a{blocks}"));
        let (part, entry) = (Part::new(&m, self)?, self.entries(&m)?);
        let engine = Engine { m: &m, w: *self, part, entry };
        let owed = Owed {
            count: m.reg("owed", OWED).reset(0),
            channel: m.reg("owed_channel", self.channel_bits()),
            record: m.reg("owed_record", 1),
        };
        let cache = engine.part.cache;
        let step = engine.step(|channel| {
            let apart = cache & !owed.record.q() & owed.channel.q().ne(channel);
            owed.count.q().any() & !apart
        });
        let scales = engine.scales(&step);
        let tail = engine.tails(&step, scales.tails, &owed)?;
        let (beats, bytes) = engine.beats(&step, &scales);
        let leaves = engine.beat_leaves(&step, bytes);
        let goes = engine.channels(&step, leaves, scales.whole, &tail);
        engine.outputs(&goes, (&beats, bytes), &tail);
        m.finish()
    }
}
