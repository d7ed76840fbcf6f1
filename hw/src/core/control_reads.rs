//! `control_reads`: what the command processor reads, on its way to channel 0.
//!
//! # Purpose
//!
//! Brings the requests for the step table and the program to channel 0's control queue, and those for block lists to the control queues of all channels, in order and each in the time that `docs/cycles.md` gives it.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | nothing is on its way |
//! | `base_i` | in | 64 | device address of the channel's local byte 0 |
//! | `step_i`, `program_i` | in | 64 | device addresses of step table and program |
//! | `table_{valid,data}_i`, `table_ready_o` | | 1, 32, 1 | runs of the table, as [`TableReader`](crate::cmd::TableReader) asks for them |
//! | `program_{valid,data}_i`, `program_ready_o` | | 1, 37, 1 | bursts of the program, as [`Prefetch`](crate::cmd::Prefetch) asks for them |
//! | `list_valid_i`, `list_i` | in | 1, [`ControlReads::list_bits`] | lists that are asked for, [`ControlReads::LISTS`] cycles after it is known that they are: a *pipe* of [`ListRead`]s |
//! | `go_i` | in | 1 | a run may be given [`ControlReads::AHEAD`] cycles from now |
//! | `run_valid_o`, `run_o`, `list_o` | out | 1, [`ControlReads::run_bits`], 1 | a run for the ports: first beat low, then its [`Note`]; whether it is of lists, and so for all channels |
//!
//! # Timing
//!
//! One run a cycle. The port can decide for it `ADDRESS - PORT_ISSUE` cycles after what it is asked for because of: the start of the run (and `START`) for the table's head, the head's last beat for the rest, the
//! table's last beat or a dispatch for a burst of the program, or for lists, of which each further slot comes a cycle later. No two runs of table and program are asked for in one cycle.
//!
//! # Numeric contract
//!
//! None.
//!
//! # Cost
//!
//! Two subtractions of 64 bits, a product, shift registers.
//!
//! # Verification
//!
//! `tests/tests/rtl_core`: total cycles of the core.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{core::ControlReads, rtl::Block};
//!
//! let reads = ControlReads::new(&AccelConfig::preset("tiny")?);
//! assert_eq!(reads.module()?.name(), "control_reads_a24_b4_s4");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::Segments;
use crate::cmd::fields::cut;
use crate::port::Port;
use crate::prim::{Fifo, lowest, number};
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Stream, Wire};
use crate::walk::{Lists, Note, Sizes};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa::COMMAND_BYTES;
use fastcar_arch::timing::{ADDRESS, PORT_ISSUE, START};
use std::sync::Arc;

/// Cycles from an event to the request that it causes: the table's head is asked for behind the start, the rest behind
/// the head's last beat, a burst behind the table's last beat or a dispatch.
const HEAD: u64 = 1;
const REST: u64 = 3;
const BURST: u64 = 1;
/// Requests that may be on their way: the bursts of a whole prefetch buffer.
const DEPTH: u32 = 8;
/// Cycles of both queues here, and of the job.
const QUEUES: u64 = 3;
/// Cycles from an event to the port.
const WAY: u64 = ADDRESS - PORT_ISSUE - Port::SEGMENT_LATENCY - Segments::LATENCY;
/// Of these, what is left behind the walk.
const REMAINS: u64 = WAY - REST - QUEUES - ControlReads::ADDRESSES;
/// Bits of a number of beats.
const BEATS: u32 = 16;

/// Requests of the command processor. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlReads {
    sizes: Sizes,
    lists: Lists,
}

impl ControlReads {
    /// Cycles from what lists are asked for because of to the request.
    pub const LISTS: u64 = REST;
    /// Cycles from a step that may be taken to its run.
    pub const AHEAD: u32 = (Self::ADDRESSES + REMAINS) as u32;

    /// For a configuration.
    #[must_use]
    pub fn new(config: &AccelConfig) -> Self {
        Self { sizes: Sizes::new(config), lists: Lists::new(config) }
    }

    /// A device address as a local one, in beats.
    fn local<'m>(&self, m: &'m Builder, name: &str, base: Wire<'m>) -> Wire<'m> {
        let bytes = m.input(&format!("{name}_i"), 64) - base;
        m.register(&format!("{name}_local"), self.sizes.beats(bytes))
    }
}

/// A segment on its way.
#[derive(Clone, Copy)]
struct OnWay<'m> {
    valid: Wire<'m>,
    segment: Wire<'m>,
}

impl<'m> OnWay<'m> {
    /// The same, some cycles later.
    fn later(self, m: &'m Builder, name: &str, cycles: u64) -> Self {
        (0..cycles).fold(self, |way, n| Self {
            valid: m.register_valid(&format!("{name}_valid_{n}"), way.valid),
            segment: m.register(&format!("{name}_{n}"), way.segment),
        })
    }

    /// One of two of which never both are there.
    fn or(self, other: Self) -> Self {
        Self { valid: self.valid | other.valid, segment: self.valid.mux(self.segment, other.segment) }
    }
}

/// The lists of an `attn` that are asked for.
#[derive(Clone, Copy, Debug)]
pub struct ListRead<'m> {
    /// Slots whose lists these are.
    pub slots: Wire<'m>,
    /// First beat of slot 0's.
    pub addr: Wire<'m>,
    /// Beats from slot to slot.
    pub stride: Wire<'m>,
    /// Beats of a slot's, and of their headers.
    pub beats: Wire<'m>,
    /// See `beats`.
    pub headers: Wire<'m>,
    /// Which of two commands' lists they are.
    pub bank: Wire<'m>,
}

impl<'m> ListRead<'m> {
    fn widths(s: &ControlReads) -> [u32; 6] {
        [s.sizes.slots, s.sizes.address, s.sizes.address, BEATS, s.lists.header_bits(), 1]
    }

    fn width(s: &ControlReads) -> u32 {
        Self::widths(s).iter().sum()
    }

    /// All in one word.
    #[must_use]
    pub fn word(&self, m: &'m Builder) -> Wire<'m> {
        let Self { slots, addr, stride, beats, headers, bank } = *self;
        m.pack(&[slots, addr, stride, beats, headers, bank])
    }

    fn of(s: &ControlReads, word: Wire<'m>) -> Self {
        let [slots, addr, stride, beats, headers, bank] = Self::widths(s).map(cut(word));
        Self { slots, addr, stride, beats, headers, bank }
    }
}

/// A run that is given: it is not yet known where a slot's lists are.
struct Step<'m> {
    valid: Wire<'m>,
    list: Wire<'m>,
    slot: Wire<'m>,
    last: Wire<'m>,
    what: ListRead<'m>,
}

impl ControlReads {
    /// Cycles from a step to its run: slot, product, sum.
    const ADDRESSES: u64 = 3;

    /// Takes what is asked for in order, lists before a run of the same cycle, and gives runs one by one.
    fn steps<'m>(&self, m: &'m Builder, way: OnWay<'m>, go: Wire<'m>) -> Result<Step<'m>, RtlError> {
        let runs = Stream { valid: way.valid, data: way.segment, ready: m.later("runs_room", 1) };
        let runs = Fifo::new(way.segment.width(), DEPTH, RamStyle::Distributed)?.after(m, "u_runs", runs)?;
        let list = m.register_valid("list_valid", m.input("list_valid_i", 1));
        let read = ListRead::of(self, m.register("list_read", m.input("list_i", self.list_bits())));
        let address = self.sizes.address;
        let plain = ListRead {
            slots: m.lit(self.sizes.slots, 0),
            addr: runs.data.trunc(address),
            stride: m.lit(address, 0),
            beats: runs.data.slice(address, BEATS),
            headers: m.lit(read.headers.width(), 0),
            bank: m.lit(1, 0),
        };
        let word = list.cat(list.mux(read.word(m), plain.word(m)));
        let asked = m.stream("asked_room", list | runs.valid, word);
        runs.ready.set(!list & asked.ready.wire());
        let asked = Fifo::new(word.width(), DEPTH, RamStyle::Distributed)?.after(m, "u_asked", asked)?;

        let coming = ListRead::of(self, asked.data.trunc(self.list_bits()));
        let (job, is_list) = (m.reg("job", self.list_bits()), m.reg("is_list", 1));
        let (left, busy) = (m.reg("left", self.sizes.slots), m.reg("busy", 1).reset(0));
        let bit = lowest(left.q());
        let rest = left.q() & !bit;
        let goes = (busy.q() & go).named("goes");
        let done = goes & rest.is_zero();
        asked.ready.set(!busy.q() | done);
        let taken = asked.passes();
        job.set_when(taken, asked.data.trunc(self.list_bits()));
        is_list.set_when(taken, asked.data.msb());
        left.update(&[(taken, coming.slots), (goes, rest)]);
        busy.update(&[(taken, m.lit(1, 1)), (done, m.lit(1, 0))]);
        let what = ListRead::of(self, job.q());
        Ok(Step { valid: goes, list: is_list.q(), slot: number(bit), last: rest.is_zero(), what })
    }

    /// Width of what lists are asked for by.
    #[must_use]
    pub fn list_bits(&self) -> u32 {
        ListRead::width(self)
    }

    /// Width of a run.
    #[must_use]
    pub fn run_bits(&self) -> u32 {
        self.sizes.address + self.lists.note_bits()
    }
}

impl Block for ControlReads {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Sizes { address, beat, slots, .. } = self.sizes;
        let m = Builder::new(format!("control_reads_a{address}_b{beat}_s{slots}"));
        let base = m.input("base_i", 64);
        let (step, program) = (self.local(&m, "step", base), self.local(&m, "program", base));
        let (table, burst) = (m.stream_in("table", 32), m.stream_in("program", 37));
        table.ready.set(m.lit(1, 1));
        burst.ready.set(m.lit(1, 1));
        let (first, beats) = (table.data.slice(16, BEATS), table.data.trunc(BEATS));
        let segment = |first: Wire<'_>, beats: Wire<'_>| m.own(beats).cat(m.own(first));
        let of_table = segment(step + first.zext(address.max(BEATS)).trunc(address), beats);
        // The rest does not begin at the table's first beat.
        let is_head = first.is_zero();
        let head = OnWay { valid: table.valid & is_head, segment: of_table };
        let rest = OnWay { valid: table.valid & !is_head, segment: of_table };
        let per_command = (COMMAND_BYTES as u32).ilog2() - beat;
        let (index, count) = (burst.data.slice(5, 32), burst.data.trunc(5));
        let first = program + (index.zext(address.max(32)) << per_command).trunc(address);
        let burst = OnWay { valid: burst.valid, segment: segment(first, count.zext(BEATS) << per_command) };

        let way = head.later(&m, "head", START + BURST - HEAD).or(burst);
        let way = way.later(&m, "burst", REST - BURST).or(rest);
        let step = self.steps(&m, way, m.input("go_i", 1))?;
        let later = |name: &str, cycles: u64, wire: Wire<'_>| {
            (0..cycles).fold(m.own(wire), |wire, n| m.register(&format!("{name}_{n}"), wire))
        };
        // The slot, its product, the sum; and the rest of the way.
        let product = later("slot", 1, step.slot).mul_unsigned(later("stride", 1, step.what.stride));
        let product = m.register("by_slot", product.zext(product.width().max(address)).trunc(address));
        let sum = m.register("first", later("addr", 2, step.what.addr) + product);
        let note = Note {
            beats: step.what.beats,
            list: step.list,
            last: step.last,
            bank: step.what.bank,
            slot: step.slot.zext(self.lists.slot_bits()),
            headers: step.what.headers,
        };
        let run = later("note", Self::ADDRESSES, note.word(&m)).cat(sum);
        let valid = (0..Self::ADDRESSES + REMAINS)
            .fold(step.valid, |valid, n| m.register_valid(&format!("valid_{n}"), valid));
        m.output("run_valid_o", valid);
        m.output("run_o", later("run", REMAINS, run));
        m.output("list_o", later("is_list", Self::ADDRESSES + REMAINS, step.list));
        m.finish()
    }
}
