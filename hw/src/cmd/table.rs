//! `step_table`: what the host says of a step.
//!
//! # Purpose
//!
//! Reads the step table, first its head, which says how much follows, and keeps it for the units.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | no table |
//! | `start_i` | in | 1 | a run begins: the table is to be read |
//! | `request_valid_o`, `request_data_o`, `request_ready_i` | | 1, 2 x 16, 1 | *stream* of two runs of beats: the first beat, from the table's start, high; beats low |
//! | `beat_valid_i`, `beat_data_i` | in | 1, 8 x bytes | *pipe* of their beats, in order |
//! | `ready_o` | out | 1 | commands may be dispatched; what follows may be used from the cycle before on |
//! | `there_o` | out | 1 | the whole table has come: from the cycle behind its last beat on |
//! | `wrong_o` | out | 1 | the head names no slot, or more slots or gates than there can be: nothing more is read |
//! | `gates_o`, `positions_o` | out | 16, 32 | numbers of the head |
//! | `active_o`, `output_o`, `paired_o`, `ring_o` | out | slots | slots with a flag (and active), slots with a ring position |
//! | `slot_<n>_i`, `entry_<n>_o` | | log2(slots), [`ENTRY_BITS`] | the entry of a slot, in the same cycle, for reader n: position, ring, four tokens, the first low |
//! | `gate_i`, `gate_o` | | 16, 64 | the entry of a gate, two cycles later: `allow` low, `force` high |
//!
//! # Timing
//!
//! The head is asked for in the cycle after `start_i`, the rest two cycles after the head's last beat. `ready_o` comes `STEP_DECODE` cycles after the table's last beat and stays until `start_i`.
//!
//! # Numeric contract
//!
//! As [`StepTable`](fastcar_arch::step::StepTable).
//!
//! # Cost
//!
//! A memory of 32 KB for the gates, one of `slots` words for each reader.
//!
//! # Verification
//!
//! `tests/tests/rtl_cmd.rs::step_tables_are_read`.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{cmd::TableReader, rtl::Block};
//!
//! assert_eq!(TableReader::new(&AccelConfig::preset("tiny")?, 2)?.module()?.name(), "step_table_b16_s4_r2");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::prim::within;
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Wire, index_width};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::program::MAX_GATES;
use fastcar_arch::step::{ACTIVE, GateEntry, NO_RING, OUTPUT, PAIRED, SLOT_BYTES};
use fastcar_arch::timing::STEP_DECODE;
use std::sync::Arc;

/// Bits of a slot's entry as it is kept: position, ring, four tokens.
pub const ENTRY_BITS: u32 = 32 * 6;
/// Bits of a number of beats.
const BEAT_BITS: u32 = 16;
/// Bits of a gate's entry.
const GATE_BITS: u32 = 8 * size_of::<GateEntry>() as u32;
/// Bits of a gate's number.
const GATE_NUMBER_BITS: u32 = 16;

/// The reading of the step table. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableReader {
    beat_bytes: u32,
    slots: u32,
    readers: u32,
}

impl TableReader {
    /// For a configuration's channels and slots, with so many readers of slot entries.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(config: &AccelConfig, readers: u32) -> Result<Self, RtlError> {
        let readers = within("step table", "readers", readers, 1..=16, "1 to 16")?;
        Ok(Self { beat_bytes: config.fields().beat_bytes, slots: config.slots(), readers })
    }

    /// Cycles from the question for a gate's entry to the entry.
    pub const GATE_LATENCY: u64 = 2;

    /// Beats of the head, and of a slot's entry.
    fn entry_beats(&self) -> u32 {
        SLOT_BYTES as u32 / self.beat_bytes
    }

    /// Gates in a beat.
    fn gates_a_beat(&self) -> u32 {
        8 * self.beat_bytes / GATE_BITS
    }
}

/// A beat of the table and where it stands.
struct Place<'m> {
    m: &'m Builder,
    start: Wire<'m>,
    valid: Wire<'m>,
    data: Wire<'m>,
    /// Its number in the table.
    number: Wire<'m>,
}

impl<'m> Place<'m> {
    fn new(table: &TableReader, m: &'m Builder, start: Wire<'m>) -> Self {
        let valid = m.input("beat_valid_i", 1);
        let number = m.reg("beat", BEAT_BITS).reset(0);
        number.update(&[(start, m.lit(BEAT_BITS, 0)), (valid, number.q() + 1)]);
        Self { m, start, valid, data: m.input("beat_data_i", 8 * table.beat_bytes), number: number.q() }
    }

    /// A word of 32 bits of the entry that begins with beat `first`, kept from when it comes.
    fn kept(&self, table: &TableReader, name: &str, first: u32, word: u32) -> Wire<'m> {
        let words = table.beat_bytes / 4;
        let here = self.valid & self.number.eq(u64::from(first + word / words));
        let kept = self.m.reg(name, 32).reset(0);
        kept.update(&[(self.start, self.m.lit(32, 0)), (here, self.data.slice(32 * (word % words), 32))]);
        kept.q()
    }
}

/// What the head says.
struct Head<'m> {
    slots: Wire<'m>,
    gates: Wire<'m>,
    positions: Wire<'m>,
    /// There, for two cycles or more, and good or not.
    there: Wire<'m>,
    wrong: Wire<'m>,
}

impl<'m> Head<'m> {
    fn new(table: &TableReader, m: &'m Builder, place: &Place<'m>) -> Self {
        let word = |name: &str, index| place.kept(table, name, 0, index);
        let (slots, gates) = (word("head_slots", 0), word("head_gates", 1));
        let come = place.number.ge(u64::from(table.entry_beats()));
        let bad = slots.is_zero() | slots.gt(u64::from(table.slots)) | gates.gt(u64::from(MAX_GATES));
        let wrong = m.register_valid("wrong", come & bad & !place.start);
        let there = m.register_valid("head_there", come & !bad & !place.start);
        Self { slots, gates, positions: word("head_positions", 2), there, wrong }
    }

    /// Beats of the whole table.
    fn beats(&self, table: &TableReader, m: &'m Builder) -> Wire<'m> {
        let per_entry = table.entry_beats().ilog2();
        let slots = (self.slots.trunc(BEAT_BITS) + 1) << per_entry;
        let whole = table.gates_a_beat().ilog2();
        let gates = (self.gates.trunc(BEAT_BITS) + u64::from(table.gates_a_beat() - 1)) >> whole;
        m.register("beats", slots + gates)
    }
}

/// Asks for the head, then for the rest.
fn ask<'m>(table: &TableReader, m: &'m Builder, start: Wire<'m>, head: &Head<'m>, beats: Wire<'m>) {
    let (first, rest) = (m.reg("ask_head", 1).reset(0), m.reg("ask_rest", 1).reset(0));
    let length = u64::from(table.entry_beats());
    let whole = m.register_valid("rest_there", head.there & !start);
    let run = first.q().mux(m.lit(2 * BEAT_BITS, length), m.lit(BEAT_BITS, length).cat(beats - length));
    let request = m.stream("request_ready", first.q() | rest.q() & whole, run);
    m.stream_out("request", request);
    let (passes, clear) = (request.passes(), m.lit(1, 0));
    first.update(&[(start, m.lit(1, 1)), (passes, clear)]);
    rest.update(&[(start, m.lit(1, 1)), (passes & !first.q(), clear)]);
}

/// Masks over the slots, from their entries as they pass.
fn slots<'m>(table: &TableReader, m: &'m Builder, place: &Place<'m>, head: &Head<'m>) {
    let words = table.beat_bytes / 4;
    let beats = table.entry_beats();
    let entry = place.number - u64::from(beats);
    let (slot, part) = (entry >> beats.ilog2(), entry.trunc(beats.ilog2().max(1)));
    let known = head.slots.trunc(BEAT_BITS);
    let in_slots = place.valid & head.there & slot.lt(known);
    let flags = place.data.trunc(32);
    let active = flags.bit(ACTIVE.ilog2());
    let ring = place.data.slice(64, 32).ne(u64::from(NO_RING));
    let first = if beats == 1 { in_slots } else { in_slots & part.is_zero() };
    for (name, bit) in [
        ("active", active),
        ("output", active & flags.bit(OUTPUT.ilog2())),
        ("paired", active & flags.bit(PAIRED.ilog2())),
        ("ring", ring),
    ] {
        let bits: Vec<_> = (0..table.slots)
            .map(|n| {
                let kept = m.reg(&format!("{name}_{n}"), 1).reset(0);
                kept.update(&[(place.start, m.lit(1, 0)), (first & slot.eq(u64::from(n)), bit)]);
                kept.q()
            })
            .collect();
        m.output(&format!("{name}_o"), m.pack(&bits));
    }
    // Position, ring and first token, then the other tokens: in one beat, or in two.
    let width = index_width(table.slots.into());
    let halves: &[(u32, u32, u32)] = if words >= 8 { &[(0, 1, 6)] } else { &[(0, 1, 3), (1, 0, 3)] };
    let memories: Vec<_> = halves
        .iter()
        .map(|&(at, word, count)| {
            let memory = m.memory(&format!("entries_{at}"), 32 * count, table.slots, RamStyle::Distributed);
            let here = if beats == 1 { in_slots } else { in_slots & part.eq(u64::from(at)) };
            memory.write(here, slot.trunc(width), place.data.slice(32 * word, 32 * count));
            memory
        })
        .collect();
    for reader in 0..table.readers {
        let at = m.input(&format!("slot_{reader}_i"), width);
        let parts: Vec<_> = memories.iter().map(|memory| memory.read(at)).collect();
        m.output(&format!("entry_{reader}_o"), m.pack(&parts));
    }
}

/// The gates' entries, a beat of them in a word.
fn gates<'m>(table: &TableReader, m: &'m Builder, place: &Place<'m>, head: &Head<'m>) {
    let depth = MAX_GATES / table.gates_a_beat();
    let memory = m.memory("gates", 8 * table.beat_bytes, depth, RamStyle::Block);
    let per_entry = table.entry_beats().ilog2();
    let first = m.register("first_gate", (head.slots.trunc(BEAT_BITS) + 1) << per_entry);
    let at = place.number - first;
    let here = place.valid & head.there & place.number.ge(first);
    memory.write(here, at.trunc(memory.address_width()), place.data);
    let gate = m.input("gate_i", GATE_NUMBER_BITS);
    let within = table.gates_a_beat().ilog2();
    let word = gate.slice(within, memory.address_width());
    let beat = memory.read_registered("gates_read", m.lit(1, 1), word);
    let which = m.register("gate_within", gate.trunc(within));
    m.output("gate_o", m.register("gate", which.choose(&beat.chunks(GATE_BITS))));
}

impl Block for TableReader {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Self { beat_bytes, slots: count, readers } = *self;
        let m = Builder::new(format!("step_table_b{beat_bytes}_s{count}_r{readers}"));
        let start = m.input("start_i", 1);
        let place = Place::new(self, &m, start);
        let head = Head::new(self, &m, &place);
        let beats = head.beats(self, &m);
        ask(self, &m, start, &head, beats);
        slots(self, &m, &place, &head);
        gates(self, &m, &place, &head);

        let last = place.valid & head.there & (place.number + 1).eq(beats);
        let there = m.reg("there", 1).reset(0);
        there.update(&[(start, m.lit(1, 0)), (last, m.lit(1, 1))]);
        m.output("there_o", there.q());
        let mut ready = last;
        for stage in 1..STEP_DECODE {
            ready = m.register_valid(&format!("ready_{stage}"), ready & !start);
        }
        let done = m.reg("done", 1).reset(0);
        done.update(&[(start, m.lit(1, 0)), (ready, m.lit(1, 1))]);
        m.output("ready_o", done.q());
        m.output("wrong_o", head.wrong);
        m.output("gates_o", head.gates.trunc(GATE_NUMBER_BITS));
        m.output("positions_o", head.positions);
        m.finish()
    }
}
