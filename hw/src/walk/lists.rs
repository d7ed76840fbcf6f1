//! `list_keeper`: a channel's block lists.
//!
//! # Purpose
//!
//! Keeps the block lists that a channel has been sent for the slots of two commands, and reads them out in the order in which the walks over keys and values need
//! them: for [`Heads`](super::Heads) of the read-ahead stream a word for each older block, for that of the main stream one for each own block.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | nothing under way |
//! | `note_valid_i`, `note_data_i`, `note_ready_o` | | 1, [`Lists::note_bits`], 1 | *stream* of what the port's control queue is asked for, see [`Note`] |
//! | `beat_valid_i`, `beat_data_i` | in | 1, beat | what it brings, in the same order: a *pipe* |
//! | `other_o` | out | 1 | the beat is not of a list |
//! | `arrived_o` | out | 2 | the beat is the last of a command's lists: a bit for each bank |
//! | `main_job_{valid,data}_i`, `_ready_o`, `ahead_job_...` | | 1, [`Lists::job_bits`], 1 | *streams* of commands whose lists have come and are walked, see [`ListJob`] |
//! | `own_{valid,data}_o`, `own_ready_i` | | 1, [`Lists::entry_bits`], 1 | *stream* of [`Entry`]s for main: slot by slot and place by place the own block, once for the keys and once for the values |
//! | `older_{valid,data}_o`, `older_ready_i` | | 1, same, 1 | *stream* for read-ahead: slot by slot and place by place the list for the keys, and once more for the values; of a list without an entry one that is none |
//! | `wrong_o` | out | 2 | a list is wrong that is walked: a bit for each bank |
//!
//! # Timing
//!
//! One entry a cycle, also from place to place and from slot to slot, as long as they are taken. The first older one is there [`Lists::LATENCY`] cycles after its job, the first own one a cycle earlier. The walk does not stop for what is wrong: the run ends.
//!
//! # Numeric contract
//!
//! As [`ListLayout`]; places within the caches as [`KvLayout`](fastcar_arch::layout::KvLayout), in beats, modulo 2^address.
//!
//! # Cost
//!
//! [`LIST_BEATS`] rows of 43 bits for each entry of a beat, in block RAM; headers in distributed memory, up to 64 rows. Figures: `tests/baselines/rtl/walk_lists.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_walk/lists.rs`: `lists_are_read_out`; wrong ones in `tests/tests/rtl_core`: `wrong_lists_*`.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{rtl::Block, walk::Lists};
//!
//! let lists = Lists::new(&AccelConfig::preset("u55c")?);
//! assert_eq!(lists.module()?.name(), "list_keeper_s32_c32_b6_a23");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod entry;
mod job;

pub use entry::Entry;
pub use job::{ListJob, Listed, Note};

use super::appends::BLOCK_BITS;
use super::heads::CacheSizes;
use crate::cmd::fields::cut;
use crate::prim::{Fifo, lowest, number, times};
use crate::rtl::{Block, Builder, Memory, Module, RamStyle, RtlError, Stream, Wire, index_width};
use entry::Tokens;
use fastcar_arch::config::{AccelConfig, KV_BLOCK_TOKENS};
use fastcar_arch::layout::{LIST_BANKS, LIST_BEATS, LIST_PLACES, ListLayout};
use std::sync::Arc;

/// What the control queue is asked for, at most, while it has not come.
const NOTES: u32 = 32;
/// Entries that wait for a walk, or are on their way.
const WAITING: u32 = 16;
/// Bits of a word of a list.
const WORD: u32 = 64;
/// Bits of the number of a row of entries of a command's.
const ROWS: u32 = (LIST_BEATS / LIST_BANKS).ilog2();
/// Rows of a memory from which on it is block RAM.
const SHALLOW: u32 = 64;
/// Bits of a number of which what is above [`BLOCK_BITS`] counts as one: a row, a number of entries.
const NUMBER: u32 = BLOCK_BITS + 1;

/// Keeps block lists. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lists {
    sizes: CacheSizes,
    /// Beats of headers that are kept of a slot.
    header_beats: u32,
}

impl Lists {
    /// Cycles from a job to its first entry.
    pub const LATENCY: u32 = 9;

    /// For a configuration.
    #[must_use]
    pub fn new(config: &AccelConfig) -> Self {
        let header_beats = ListLayout::header_beats(config).next_power_of_two();
        Self { sizes: CacheSizes::new(config), header_beats }
    }

    /// Words of a beat.
    fn words(&self) -> u32 {
        (8 << self.sizes.common.beat) / WORD
    }

    /// Bits of a slot's number.
    #[must_use]
    pub fn slot_bits(&self) -> u32 {
        index_width(self.sizes.common.slots.into())
    }

    /// Bits of an entry's place among those that a command may have.
    fn place_bits(&self) -> u32 {
        ROWS + self.words().ilog2()
    }

    /// Bits of a number of beats of headers.
    #[must_use]
    pub fn header_bits(&self) -> u32 {
        index_width(u64::from(self.header_beats) + 1)
    }

    /// Width of a note.
    #[must_use]
    pub fn note_bits(&self) -> u32 {
        Note::width(self)
    }

    /// Width of a job.
    #[must_use]
    pub fn job_bits(&self) -> u32 {
        ListJob::width(self)
    }

    /// Width of an entry.
    #[must_use]
    pub fn entry_bits(&self) -> u32 {
        Entry::width(&self.sizes)
    }

    fn style(rows: u32) -> RamStyle {
        if rows > SHALLOW { RamStyle::Block } else { RamStyle::Distributed }
    }
}

/// A number of 32 bits, which is more than all that count where it has more than so many.
fn saturated(number: Wire<'_>) -> Wire<'_> {
    let high = number.slice(BLOCK_BITS, number.width() - BLOCK_BITS).any();
    high.cat(number.trunc(BLOCK_BITS))
}

/// A number of entries, with what the walk asks of it in the cycle in which it is read.
struct Count<'m> {
    entries: Wire<'m>,
    none: Wire<'m>,
    one: Wire<'m>,
}

impl<'m> Count<'m> {
    const WIDTH: u32 = NUMBER + 2;

    fn new(entries: Wire<'m>) -> Self {
        Self { entries, none: entries.is_zero(), one: entries.eq(1) }
    }

    fn word(&self, m: &'m Builder) -> Wire<'m> {
        m.pack(&[self.entries, self.none, self.one])
    }

    fn of(word: Wire<'m>) -> Self {
        let [entries, none, one] = [NUMBER, 1, 1].map(cut(word));
        Self { entries, none, one }
    }
}

/// What is there with an enable, from the next cycle on.
fn kept_from<'m>(m: &'m Builder, name: &str, enable: Wire<'m>, wire: Wire<'m>) -> Wire<'m> {
    let reg = m.reg(name, wire.width());
    reg.set_when(enable, wire);
    reg.q()
}

/// The lists of two commands.
struct Kept<'m> {
    counts: Memory<'m>,
    masks: Memory<'m>,
    entries: Memory<'m>,
    /// Rows of entries of each slot, by bank.
    rows: [Wire<'m>; LIST_BANKS as usize],
}

impl Lists {
    /// What comes by the control queue is kept, or goes on.
    fn keep<'m>(&self, m: &'m Builder) -> Result<Kept<'m>, RtlError> {
        let notes = m.stream_in("note", self.note_bits());
        let note = Fifo::new(self.note_bits(), NOTES, RamStyle::Distributed)?.after(m, "u_notes", notes)?;
        let now = Note::of(self, note.data);
        let beat = m.input("beat_valid_i", 1);
        let data = m.input("beat_data_i", 8 << self.sizes.common.beat);
        let list = (beat & now.list).named("list");
        m.output("other_o", beat & !now.list);

        // Which beat of what was asked for it is.
        let left = m.reg("behind", now.beats.width());
        let begun = m.reg("begun", 1).reset(0);
        let behind = begun.q().mux(left.q(), now.beats - 1);
        let last = (beat & behind.is_zero()).named("last_beat");
        note.ready.set(last);
        left.set_when(beat, behind - 1);
        begun.update(&[(last, m.lit(1, 0)), (beat, m.lit(1, 1))]);
        let arrives = list & last & now.last;
        m.output("arrived_o", m.pack(&[arrives & !now.bank, arrives & now.bank]));

        let headers = m.reg("header_row", index_width(u64::from(self.header_beats) + 1)).reset(0);
        let rows = m.reg("entry_row", ROWS).reset(0);
        let header = (list & headers.q().ne(now.headers.zext(headers.q().width()))).named("header");
        headers.update(&[(last, m.lit(headers.q().width(), 0)), (header, headers.q() + 1)]);
        let entry = list & !header;
        rows.update(&[(last, m.lit(rows.q().width(), 0)), (entry, rows.q() + 1)]);

        let bits = index_width(self.header_beats.into());
        let at = self.row(
            m,
            [now.bank, now.slot],
            headers.q().zext(bits.max(headers.q().width())).trunc(bits),
            self.header_beats,
        );
        let depth = LIST_BANKS * self.sizes.common.slots.next_power_of_two();
        let words = data.chunks(WORD);
        let low = |word: &Wire<'m>| saturated(word.trunc(32));
        let count = |word: &Wire<'m>| Count::new(low(word)).word(m);
        let high = |word: &Wire<'m>| word.slice(32, 32);
        let memory = |name: &str, width: u32, rows: u32| {
            m.memory(name, width * self.words(), depth * rows, Self::style(depth * rows))
        };
        let counts = memory("counts", Count::WIDTH, self.header_beats);
        let masks = memory("own_masks", KV_BLOCK_TOKENS, self.header_beats);
        counts.write(header, at, m.pack(&words.iter().map(count).collect::<Vec<_>>()));
        masks.write(header, at, m.pack(&words.iter().map(high).collect::<Vec<_>>()));
        // The slots of a command have as many rows each. It takes a beat of headers until the first entry.
        let of_slot = (now.beats - now.headers.zext(now.beats.width())).trunc(ROWS);
        let before = m.register("rows_before", times(now.slot, of_slot).zext(2 * ROWS).trunc(ROWS));
        let word = |word: &Wire<'m>| high(word).cat(low(word));
        let entries = m.memory(
            "entries",
            (NUMBER + KV_BLOCK_TOKENS) * self.words(),
            LIST_BEATS,
            Self::style(LIST_BEATS),
        );
        let at = now.bank.cat(before + rows.q());
        entries.write(entry, at, m.pack(&words.iter().map(word).collect::<Vec<_>>()));
        let rows = [("rows_0", header & !now.bank), ("rows_1", header & now.bank)]
            .map(|(name, here)| kept_from(m, name, here, of_slot));
        Ok(Kept { counts, masks, entries, rows })
    }

    /// A row of a slot's in a memory that has so many for each.
    fn row<'m>(&self, m: &'m Builder, [bank, slot]: [Wire<'m>; 2], row: Wire<'m>, rows: u32) -> Wire<'m> {
        let slots = self.sizes.common.slots;
        let high = if slots > 1 { bank.cat(slot) } else { m.own(bank) };
        if rows > 1 { high.cat(row) } else { high }
    }

    /// The row of a word, and the word's place there.
    fn split<'m>(&self, m: &'m Builder, word: Wire<'m>) -> [Wire<'m>; 2] {
        let low = self.words().ilog2();
        let row = if word.width() > low { word.slice(low, word.width() - low) } else { m.lit(1, 0) };
        [row, word.trunc(low)]
    }
}

/// A place of heads whose list is read.
struct Place<'m> {
    valid: Wire<'m>,
    job: ListJob<'m>,
    slot: Wire<'m>,
    unit: Wire<'m>,
    /// Where its entries begin among those of the slot.
    base: Wire<'m>,
}

impl Lists {
    /// Goes through slots and places of a stream's commands, one with each `go`.
    fn places<'m>(&self, m: &'m Builder, stream: &str, go: Wire<'m>) -> Result<Place<'m>, RtlError> {
        let name = |what: &str| format!("{stream}_{what}");
        let jobs = self.first_found(m, m.stream_in(&name("job"), self.job_bits()));
        let bits = self.job_bits() + self.slot_bits();
        let jobs = Fifo::new(bits, LIST_BANKS, RamStyle::Distributed)?.after(m, &name("jobs"), jobs)?;
        let (coming, first) =
            (ListJob::of(self, jobs.data), jobs.data.slice(self.job_bits(), self.slot_bits()));
        let word = m.reg(&name("job"), self.job_bits());
        let job = ListJob::of(self, word.q());
        let busy = m.reg(&name("busy"), 1).reset(0);
        let (slot, rest) =
            (m.reg(&name("slot"), self.slot_bits()), m.reg(&name("rest"), coming.slots.width()));
        let unit = m.reg(&name("unit"), index_width(LIST_PLACES.into()));
        let base = m.reg(&name("base"), self.place_bits());
        let (following, no_more) = (m.reg(&name("following"), self.slot_bits()), m.reg(&name("no_more"), 1));
        let ends = go & unit.q().eq(job.last_place);
        let done = ends & no_more.q();
        jobs.ready.set(!busy.q() | done);
        let taken = jobs.passes();
        word.set_when(taken, jobs.data.trunc(self.job_bits()));
        busy.update(&[(taken, m.lit(1, 1)), (done, m.lit(1, 0))]);
        slot.update(&[(taken, first), (ends, following.q())]);

        // From its second cycle on a slot knows the next: it lasts for two entries at least, but for the first of a job.
        let next = lowest(rest.q());
        rest.update(&[(taken, coming.slots), (ends, rest.q() & !next)]);
        let number_of = |mask| number(lowest(mask)).zext(self.slot_bits());
        following.set(taken.mux(number_of(coming.slots), number_of(rest.q())));
        no_more.set(taken.mux(coming.slots.is_zero(), rest.q().is_zero()));
        unit.update(&[(taken | ends, m.lit(unit.q().width(), 0)), (go, unit.q() + 1)]);
        base.update(&[
            (taken | ends, m.lit(base.q().width(), 0)),
            (go, base.q() + job.room.trunc(self.place_bits())),
        ]);
        Ok(Place { valid: busy.q(), job, slot: slot.q(), unit: unit.q(), base: base.q() })
    }

    /// Jobs with their first slot behind them, and without it in them.
    fn first_found<'m>(&self, m: &'m Builder, jobs: Stream<'m>) -> Stream<'m> {
        let job = ListJob::of(self, jobs.data);
        let first = lowest(job.slots);
        let word = ListJob { slots: job.slots & !first, ..job }.word(m);
        Stream { data: m.pack(&[word, number(first).zext(self.slot_bits())]), ..jobs }
    }

    /// Where a place's header is.
    fn header<'m>(&self, m: &'m Builder, place: &Place<'m>) -> [Wire<'m>; 2] {
        let bits = index_width(self.header_beats.into());
        let [row, lane] = self.split(m, place.unit);
        let row = row.zext(bits.max(row.width())).trunc(bits);
        [self.row(m, [place.job.bank, place.slot], row, self.header_beats), lane]
    }

    /// The own blocks' entries, for keys and for values.
    fn own<'m>(&self, m: &'m Builder, kept: &Kept<'m>) -> Result<(), RtlError> {
        let go = m.later("own_goes", 1);
        let place = self.places(m, "main", go.wire())?;
        let [row, lane] = self.header(m, &place);
        let read = kept.masks.read_registered("own_read", go.wire(), row);
        let keep = |name: &str, wire: Wire<'m>| kept_from(m, name, go.wire(), wire);
        let (lane, scales) = (keep("own_lane", lane), keep("own_scales_read", place.job.scales));
        let (there, values) = (m.reg("own_there", 1).reset(0), m.reg("own_half", 1));
        let free = m.later("own_free", 1);
        let step = (there.q() & free.wire()).named("own_step");
        let moves = step & values.q();
        go.set(place.valid & (!there.q() | moves));
        there.update(&[(go.wire(), m.lit(1, 1)), (moves, m.lit(1, 0))]);
        values.update(&[(go.wire(), m.lit(1, 0)), (step, m.lit(1, 1))]);

        let mask = m.register("own_mask_read", lane.choose(&read.chunks(KV_BLOCK_TOKENS)));
        let tokens = Tokens {
            mask,
            none: mask.is_zero(),
            last: m.lit(1, 1),
            row: m.lit(NUMBER, 0),
            values: m.register("own_half_read", values.q()),
            scales: m.register("own_scales_out", scales),
        };
        let valid = m.register_valid("own_valid", step);
        free.set(self.entries(m, "own", (valid, &tokens), step)?);
        Ok(())
    }

    /// Older blocks' entries.
    fn older<'m>(&self, m: &'m Builder, kept: &Kept<'m>) -> Result<(), RtlError> {
        let go = m.later("older_goes", 1);
        let place = self.places(m, "ahead", go.wire())?;
        let [row, lane] = self.header(m, &place);
        let read = kept.counts.read_registered("older_read", go.wire(), row);
        let keep = |name: &str, wire: Wire<'m>| kept_from(m, name, go.wire(), wire);
        let count =
            Count::of(keep("older_lane", lane).choose(&read.chunks(Count::WIDTH)).named("older_count"));
        let [bank, base] = [("bank", place.job.bank), ("base", place.base)]
            .map(|(name, wire)| keep(&format!("older_{name}"), wire));
        let header_bank = bank;
        let rows = times(place.slot, place.job.bank.choose(&kept.rows)).zext(2 * ROWS).trunc(ROWS);
        let before = keep("older_rows", rows);
        let (room, scales) = (keep("older_room", place.job.room), keep("older_scales", place.job.scales));

        // One entry after the other, for keys and then for values.
        let there = m.reg("older_there", 1).reset(0);
        let free = m.later("older_free", 1);
        let step = (there.q() & free.wire()).named("older_step");
        let (values, first) = (m.reg("older_values", 1), m.reg("older_first", 1));
        let at = m.reg("older_at", self.place_bits());
        let (left, last_left) = (m.reg("older_left", NUMBER), m.reg("older_last_left", 1));
        let none = count.none;
        let last = first.q().mux(none | count.one, last_left.q());
        let moves = (step & last & values.q()).named("older_moves");
        go.set(place.valid & (!there.q() | moves));
        there.update(&[(go.wire(), m.lit(1, 1)), (moves, m.lit(1, 0))]);
        values.update(&[(go.wire(), m.lit(1, 0)), (step & last, m.lit(1, 1))]);
        first.update(&[(go.wire() | step & last, m.lit(1, 1)), (step, m.lit(1, 0))]);
        let of_these = first.q().mux(count.entries, left.q());
        left.set_when(step, of_these - 1);
        last_left.set_when(step, of_these.eq(2));
        at.update(&[(go.wire(), place.base), (step & last, base), (step, at.q() + 1)]);

        // Out of the memory, and out of its row.
        let [row, lane] = self.split(m, at.q());
        let read = kept.entries.read_registered("entry_read", m.lit(1, 1), bank.cat(before + row));
        let stage = |name: &str, wire: Wire<'m>| m.register(&format!("entry_{name}"), wire);
        let word = stage("lane", lane).choose(&read.chunks(NUMBER + KV_BLOCK_TOKENS));
        let word = m.register("entry_word", word);
        let twice = |name: &str, wire: Wire<'m>| stage(&format!("{name}_out"), stage(name, wire));
        let (row, mask) = (word.trunc(NUMBER), word.slice(NUMBER, KV_BLOCK_TOKENS));
        let [none, last, values, first, bank] =
            [("none", none), ("last", last), ("values", values.q()), ("first", first.q()), ("bank", bank)]
                .map(|(name, wire)| twice(name, wire));
        let valid = m.register_valid("entry_valid_1", m.register_valid("entry_valid_0", step));

        // Rows ascend.
        let before = m.reg("row_before", NUMBER);
        before.set_when(valid, row);
        let wrong = valid & !none & (mask.is_zero() | !first & row.le(before.q()));
        let wrong = m.register_valid("entry_wrong", wrong);
        let bank = m.register("wrong_bank", bank);
        let counted = m.register("count_read", count.entries);
        let [room, of_header] = [("room", room), ("bank", header_bank)]
            .map(|(name, wire)| m.register(&format!("count_{name}"), wire));
        let there = m.register_valid("count_there", there.q());
        let width = NUMBER.max(room.width());
        let long = m.register_valid("older_long", there & counted.zext(width).gt(room.zext(width)));
        let [of_entry, of_header] = [(wrong, bank), (long, m.register("long_bank", of_header))]
            .map(|(wrong, bank)| m.pack(&[wrong & !bank, wrong & bank]));
        m.output("wrong_o", of_entry | of_header);

        let tokens = Tokens { mask, none, last, row, values, scales: twice("scales", scales) };
        free.set(self.entries(m, "older", (valid, &tokens), step)?);
        Ok(())
    }

    /// Finds what entries come to in beats, and keeps them until they are taken. Whether there is room for one more; `begins` says that it is on its way.
    fn entries<'m>(
        &self,
        m: &'m Builder,
        stream: &str,
        (valid, tokens): (Wire<'m>, &Tokens<'m>),
        begins: Wire<'m>,
    ) -> Result<Wire<'m>, RtlError> {
        let name = |what: &str| format!("{stream}_{what}");
        let word = tokens.entry(m, &name("entry"), &self.sizes).word(m);
        let valid = (0..Tokens::LATENCY)
            .fold(valid, |valid, n| m.register_valid(&name(&format!("found_{n}")), valid));
        let found = Stream { valid, data: word, ready: m.later(&name("fits"), 1) };
        let waiting = Fifo::new(self.entry_bits(), WAITING, RamStyle::Distributed)?.after(
            m,
            &name("entries"),
            found,
        )?;
        let leaves = waiting.valid & waiting.ready.wire();
        m.stream_out(stream, waiting);
        let count = m.reg(&name("count"), index_width(u64::from(WAITING) + 1)).reset(0);
        count.update(&[(begins & !leaves, count.q() + 1), (leaves & !begins, count.q() - 1)]);
        Ok(count.q().ne(u64::from(WAITING)))
    }
}

impl Block for Lists {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let s = &self.sizes;
        let (slots, beat, address) = (s.common.slots, s.common.beat, s.common.address);
        let m = Builder::new(format!("list_keeper_s{slots}_c{}_b{beat}_a{address}", s.channels));
        let kept = self.keep(&m)?;
        self.own(&m, &kept)?;
        self.older(&m, &kept)?;
        m.finish()
    }
}
