//! `report`: what the gates of a run decided, kept until its end and then written to memory.
//!
//! # Purpose
//!
//! Keeps one entry for each gate of the step table, of gates their scores and of `delta` commands their numbers of active blocks, and writes all of them as
//! [`StepReport`](fastcar_arch::step::StepReport) has them.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i`, `start_i` | in | 1 | nothing is kept; a run begins |
//! | `score_valid_i`, `score_slot_i`, `score_i` | in | 1, log2(slots), 32 | a score of the gate that decides next |
//! | `gate_valid_i`, `gate_entry_i` | in | 1, 16 | it has decided; its number in the step table |
//! | `gate_active_i`, `gate_replay_i` | in | slots | with it: slots that it ran for, and that replay |
//! | `count_valid_i`, `count_slot_i`, `count_i` | in | 1, log2(slots), 16 | active blocks of a slot of the `delta` that ends next |
//! | `delta_valid_i`, `nobody_i`, `delta_entry_i` | in | 1, 1, 16 | it has ended; one for no slot has; its number in the step table |
//! | `delta_active_i`, `delta_replay_i` | in | slots | with it: slots that it ran for, and that had a reference |
//! | `delta_blocks_i`, `delta_union_i` | in | 16 | with it: blocks, and those that are active in a slot |
//! | `write_i`, `gates_i`, `address_i` | in | 1, 16, address | the run is over: so many entries go to this local beat of channel 0; both stay to its end |
//! | `run_valid_o`, `run_o` | out | 1, 2 x address | the run of beats: its first low, how many high |
//! | `beat_valid_o`, `beat_o` | out | 1, beat | its data |
//! | `free_i` | in | 1 | a beat has left the write buffer |
//! | `commit_o`, `beats_o` | out | 1, count | all of it may go; its beats |
//!
//! # Timing
//!
//! What comes with `write_i` at the latest is in the report. A gate, or `delta` for some slots, comes no sooner than its entry's rows after the one before. The run comes with `write_i`, the commit as many cycles later as the simulator's rule (`ADDRESS`) leaves for the way to the port; data comes a beat a cycle while the port's
//! write buffer has room.
//!
//! # Numeric contract
//!
//! None. A score that did not come is NaN.
//!
//! # Cost
//!
//! `4 + slots` words for each of [`MAX_GATES`] gates, and as many twice in registers.
//!
//! # Verification
//!
//! `tests/tests/rtl_core`: memory of whole runs with gates.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{core::Report, rtl::Block};
//!
//! let report = Report::new(&AccelConfig::preset("tiny")?)?;
//! assert_eq!(report.module()?.name(), "report_b16_s4_a24_w128_n16");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::drs::gates::ENTRY_BITS;
use crate::port::Port;
use crate::prim::{CreditCounter, within};
use crate::rtl::{Bits, Block, Builder, Module, RamStyle, RtlError, Wire, index_width};
use crate::walk::Sizes;
use fastcar_arch::config::{AccelConfig, MAX_SLOTS};
use fastcar_arch::program::MAX_GATES;
use fastcar_arch::step::GateReport;
use fastcar_arch::timing::{ADDRESS, COMMAND_DECODE, HOP, PORT_ISSUE, SETTLE, STEP_DECODE};
use std::mem::{offset_of, size_of};
use std::sync::Arc;

/// Bits of a word of an entry.
const WORD: u32 = 32;
/// Words of an entry before those of the slots, the one with the number of blocks, and where the numbers of active blocks begin.
const HEADER: u32 = (offset_of!(GateReport, score) / 4) as u32;
const BLOCKS: u32 = (offset_of!(GateReport, blocks) / 4) as u32;
const COUNTS: u32 = (offset_of!(GateReport, active_blocks) / 4) as u32;
/// Bits of a number of blocks.
const COUNT_BITS: u32 = 16;
/// Gates whose marks stand in one word.
const MARKS: u32 = 32;
/// From the end of a run to the commit of its report.
const COMMIT: u64 = ADDRESS - PORT_ISSUE - Port::COMMIT_LATENCY - HOP;

// The marks of all gates are forgotten before the first can have decided.
const _: () = assert!((MAX_GATES / MARKS) as u64 <= 2 * ADDRESS + STEP_DECODE + COMMAND_DECODE + SETTLE);
const _: () = assert!(HEADER == 4 && COUNTS == HEADER + MAX_SLOTS);

/// The memory of the report. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    beat_bytes: u32,
    slots: u32,
    address: u32,
    write_beats: u32,
    count: u32,
}

/// A row of an entry on its way to the memory.
struct Row<'m> {
    valid: Wire<'m>,
    entry: Wire<'m>,
    number: Wire<'m>,
    words: Wire<'m>,
}

/// An entry that is whole.
struct Entry<'m> {
    valid: Wire<'m>,
    number: Wire<'m>,
    header: [Wire<'m>; HEADER as usize],
}

impl Report {
    /// For a configuration.
    ///
    /// # Errors
    /// As [`Port::new`]; [`RtlError::Parameter`].
    pub fn new(config: &AccelConfig) -> Result<Self, RtlError> {
        let report = Self {
            beat_bytes: config.fields().beat_bytes,
            slots: config.slots(),
            address: Sizes::new(config).address,
            write_beats: config.write_beats(),
            count: Port::new(config)?.count_bits(),
        };
        // A gate's rows are away before the next decides, and all before the first beat is wanted.
        within("report", "rows of an entry", report.rows(), 1..=(COMMIT - 3) as u32, "1 to 9")?;
        Ok(report)
    }

    /// Words of a row, which is a beat.
    fn words(&self) -> u32 {
        8 * self.beat_bytes / WORD
    }

    /// Rows that are kept of an entry.
    fn rows(&self) -> u32 {
        (HEADER + self.slots).div_ceil(self.words())
    }

    /// Beats of an entry.
    fn beats(&self) -> u32 {
        size_of::<GateReport>() as u32 / self.beat_bytes
    }

    fn row_bits(&self) -> u32 {
        index_width(self.rows().into())
    }

    /// Collects the words of slots, `fill` where none came, and shifts rows out when the entry is whole.
    fn collect<'m>(
        &self,
        m: &'m Builder,
        name: &str,
        fill: u32,
        (start, goes): (Wire<'m>, Wire<'m>),
        (set, slot, word): (Wire<'m>, Wire<'m>, Wire<'m>),
        entry: &Entry<'m>,
    ) -> Row<'m> {
        let (all, words) = (HEADER + self.slots, self.words());
        let fill = || m.lit(WORD, fill.into());
        let busy = m.reg(&format!("{name}_busy"), 1).reset(0);
        let moves = (busy.q() & goes).named(&format!("{name}_moves"));
        let kept: Vec<_> = (0..all).map(|n| m.reg(&format!("{name}_{n}"), WORD)).collect();
        let of = |n: u32| kept.get(n as usize).map_or_else(fill, |reg| reg.q());
        for n in 0..all {
            let own = match n.checked_sub(HEADER) {
                None => (entry.valid, entry.header[n as usize]),
                Some(at) => (set & slot.eq(u64::from(at)), word),
            };
            kept[n as usize].update(&[(start, fill()), own, (moves, of(n + words))]);
        }
        let (at, number) =
            (m.reg(&format!("{name}_row"), self.row_bits()), m.reg(&format!("{name}_entry"), ENTRY_BITS));
        number.set_when(entry.valid, entry.number);
        at.update(&[(entry.valid, m.lit(self.row_bits(), 0)), (moves, at.q() + 1)]);
        let last = moves & at.q().eq(u64::from(self.rows() - 1));
        busy.update(&[(start | last, m.lit(1, 0)), (entry.valid, m.lit(1, 1))]);
        let row = m.pack(&(0..words).map(of).collect::<Vec<_>>());
        Row { valid: busy.q(), entry: number.q(), number: at.q(), words: row }
    }

    /// Rows of gates and of `delta` commands; whether a row is of the latter.
    fn rows_of<'m>(&self, m: &'m Builder, start: Wire<'m>) -> (Row<'m>, Wire<'m>, [Wire<'m>; 2]) {
        let bit = |name: &str| m.input(&format!("{name}_i"), 1);
        let word = |name: &str, width: u32| m.input(&format!("{name}_i"), width);
        let slots = |name: &str| word(name, self.slots).zext(WORD);
        let slot = |name: &str| word(&format!("{name}_slot"), index_width(self.slots.into()));
        let zero = m.lit(WORD, 0);
        let gate = Entry {
            valid: bit("gate_valid"),
            number: word("gate_entry", ENTRY_BITS),
            header: [slots("gate_active"), slots("gate_replay"), zero, zero],
        };
        let score = (bit("score_valid"), slot("score"), word("score", WORD));
        let always = m.lit(1, 1);
        let gates = self.collect(m, "score", f32::NAN.to_bits(), (start, always), score, &gate);
        let (entry, all) = (word("delta_entry", ENTRY_BITS), word("delta_blocks", COUNT_BITS));
        let delta = Entry {
            valid: bit("delta_valid"),
            number: entry,
            header: [
                slots("delta_active"),
                slots("delta_replay"),
                all.zext(WORD),
                word("delta_union", COUNT_BITS).zext(WORD),
            ],
        };
        let count = (bit("count_valid"), slot("count"), word("count", COUNT_BITS).zext(WORD));
        let deltas = self.collect(m, "count", 0, (start, !gates.valid), count, &delta);
        let of = |a: Wire<'m>, b: Wire<'m>| gates.valid.mux(a, b);
        let row = Row {
            valid: gates.valid | deltas.valid,
            entry: of(gates.entry, deltas.entry),
            number: of(gates.number, deltas.number),
            words: of(gates.words, deltas.words),
        };
        (row, !gates.valid, [entry, all])
    }

    /// Marks of the entries of the table, forgotten when a run begins: sets those that are written, and answers `ask` in the same cycle.
    fn marks<'m>(
        &self,
        m: &'m Builder,
        name: &str,
        start: Wire<'m>,
        (valid, entry, mark): (Wire<'m>, Wire<'m>, Wire<'m>),
        ask: Wire<'m>,
    ) -> Wire<'m> {
        let (depth, width) = (MAX_GATES / MARKS, mark.width());
        let (low, high) = (MARKS.ilog2(), depth.ilog2());
        let memory = m.memory(name, width * MARKS, depth, RamStyle::Distributed);
        let clears = m.reg(&format!("{name}_clear"), 1).reset(0);
        let at = m.reg(&format!("{name}_cleared"), high);
        clears.update(&[(start, m.lit(1, 1)), (at.q().eq(u64::from(depth - 1)), m.lit(1, 0))]);
        at.update(&[(start, m.lit(high, 0)), (clears.q(), at.q() + 1)]);
        let place = |entry: Wire<'m>| (entry.slice(low, high), entry.trunc(low));
        let (word, within) = place(entry);
        let old = memory.read(word).chunks(width);
        let new: Vec<_> =
            old.iter().enumerate().map(|(n, old)| within.eq(n as u64).mux(mark, *old)).collect();
        let none = m.constant(Bits::zero(width * MARKS));
        memory.write(clears.q() | valid, clears.q().mux(at.q(), word), clears.q().mux(none, m.pack(&new)));
        let (word, within) = place(ask);
        within.choose(&memory.read(word).chunks(width))
    }

    /// What stands in an entry: a gate, a `delta`, one for no slot; a bit each. Of the latter the number of its blocks, a cycle later.
    fn kinds<'m>(
        &self,
        m: &'m Builder,
        start: Wire<'m>,
        (row, delta): (&Row<'m>, Wire<'m>),
        (entry, blocks): (Wire<'m>, Wire<'m>),
        ask: Wire<'m>,
    ) -> [Wire<'m>; 2] {
        let nobody = m.input("nobody_i", 1);
        let kind = self.marks(m, "kinds", start, (row.valid, row.entry, delta.cat(!delta)), ask);
        let none = self.marks(m, "nobodies", start, (nobody, entry, m.lit(1, 1)), ask);
        let memory = m.memory("nobodys_blocks", COUNT_BITS, MAX_GATES, RamStyle::Block);
        let place = |entry: Wire<'m>| entry.trunc(MAX_GATES.ilog2());
        memory.write(nobody, place(entry), blocks);
        [none.cat(kind), memory.read_registered("blocks_read", m.lit(1, 1), place(ask))]
    }

    /// A beat of an entry of some kind, of the row that was read for it.
    fn beat<'m>(
        &self,
        m: &'m Builder,
        number: Wire<'m>,
        [kind, blocks]: [Wire<'m>; 2],
        row: Wire<'m>,
    ) -> Wire<'m> {
        let (beats, words) = (self.beats(), self.words());
        let by_beat = |lane: u32, is: &dyn Fn(u32) -> bool| {
            let bits: Vec<_> = (0..beats).map(|n| m.lit(1, is(n * words + lane).into())).collect();
            number.choose(&bits)
        };
        let of_slots = |first: u32, word: u32| (first..first + self.slots).contains(&word);
        let lane = |(lane, word): (usize, Wire<'m>)| {
            let lane = lane as u32;
            let header = by_beat(lane, &|n| n < HEADER);
            let gate = by_beat(lane, &|n| of_slots(HEADER, n));
            let delta = by_beat(lane, &|n| of_slots(COUNTS, n));
            let there = (header & kind.trunc(2).any()) | (gate & kind.bit(0)) | (delta & kind.bit(1));
            let score = by_beat(lane, &|n| (HEADER..COUNTS).contains(&n));
            let rest = score.mux(m.lit(WORD, f32::NAN.to_bits().into()), m.lit(WORD, 0));
            let none = by_beat(lane, &|n| n == BLOCKS) & kind.bit(2);
            m.select(rest, &[(none, blocks.zext(WORD)), (there, word)])
        };
        m.pack(&row.chunks(WORD).into_iter().enumerate().map(lane).collect::<Vec<_>>())
    }
}

/// Entries and their beats, one after the other, as long as there is room.
struct Walk<'m> {
    valid: Wire<'m>,
    entry: Wire<'m>,
    beat: Wire<'m>,
}

impl<'m> Walk<'m> {
    fn new(report: &Report, m: &'m Builder, write: Wire<'m>, gates: Wire<'m>) -> Result<Self, RtlError> {
        let beat_bits = index_width(report.beats().into());
        let room = m.instance("u_room", &CreditCounter::new(report.write_beats)?)?;
        room.set("give_i", m.input("free_i", 1));
        let going = m.reg("going", 1).reset(0);
        let (entry, beat) = (m.reg("entry", ENTRY_BITS), m.reg("beat", beat_bits));
        let moves = going.q() & room.get("available_o");
        room.set("take_i", moves);
        let ends = beat.q().eq(u64::from(report.beats() - 1));
        let last = moves & ends & (entry.q() + 1).eq(gates);
        going.update(&[(write & gates.any(), m.lit(1, 1)), (last, m.lit(1, 0))]);
        let zero = m.lit(beat_bits, 0);
        beat.update(&[(write, zero), (moves, ends.mux(zero, beat.q() + 1))]);
        entry.update(&[(write, m.lit(ENTRY_BITS, 0)), (moves & ends, entry.q() + 1)]);
        Ok(Self { valid: moves, entry: entry.q(), beat: beat.q() })
    }
}

impl Block for Report {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Self { beat_bytes, slots, address, write_beats, count } = *self;
        let m = Builder::new(format!("report_b{beat_bytes}_s{slots}_a{address}_w{write_beats}_n{count}"));
        let start = m.input("start_i", 1);
        let (row, delta, [entry, blocks]) = self.rows_of(&m, start);
        let (write, gates) = (m.input("write_i", 1), m.input("gates_i", ENTRY_BITS));
        // The last entry may still be on its way to the memory.
        let begins =
            (0..self.rows() + 2).fold(write, |begins, n| m.register_valid(&format!("begins_{n}"), begins));
        let walk = Walk::new(self, &m, begins, gates)?;
        let [kind, blocks] = self.kinds(&m, start, (&row, delta), (entry, blocks), walk.entry);

        let entry_bits = MAX_GATES.ilog2();
        let place = |row: Wire<'_>, entry: Wire<'_>| m.own(row).cat(m.own(entry).trunc(entry_bits));
        let depth = MAX_GATES << self.row_bits();
        let memory = m.memory("rows", 8 * beat_bytes, depth, RamStyle::Block);
        memory.write(row.valid, place(row.number, row.entry), row.words);
        // Numbers of active blocks stand where scores do.
        let later = u64::from(MAX_SLOTS / self.words());
        let moved = kind.bit(1) & walk.beat.ge(later);
        let wanted = moved.mux(walk.beat - later, walk.beat);
        let wanted = wanted.zext(self.row_bits().max(wanted.width())).trunc(self.row_bits());
        let read = memory.read_registered("row_read", m.lit(1, 1), place(wanted, walk.entry));
        let (number, kind) = (m.register("beat_read", walk.beat), m.register("kind_read", kind));
        m.output("beat_o", m.register("beat_out", self.beat(&m, number, [kind, blocks], read)));
        let valid = (0..2).fold(walk.valid, |valid, n| m.register_valid(&format!("beat_valid_{n}"), valid));
        m.output("beat_valid_o", valid);

        let beats = gates.mul_unsigned(m.lit(index_width(u64::from(self.beats()) + 1), self.beats().into()));
        let fit = |width: u32| beats.zext(width.max(beats.width())).trunc(width);
        m.output("run_valid_o", write & gates.any());
        m.output("run_o", fit(address).cat(m.input("address_i", address)));
        m.output("beats_o", fit(count));
        let goes = write & gates.any();
        m.output(
            "commit_o",
            (0..COMMIT).fold(goes, |goes, n| m.register_valid(&format!("commit_{n}"), goes)),
        );
        m.finish()
    }
}
