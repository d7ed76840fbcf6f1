//! What flows: beats from memory through the stream buffers into the MAC array and the vector unit, and back.
//!
//! The units' sequencing ([`crate::machine`]) is separate from the beats' movement, which exists twice behind
//! [`Flow`]: [`bulk::BulkFlow`] moves whole bursts by closed formulas and skips the cycles between, [`step::StepFlow`]
//! moves one beat a cycle and looks at every cycle. Both must yield the same cycles; tests compare them.

pub(crate) mod bulk;
mod queue;
pub(crate) mod step;

use crate::dram::Cycle;
use crate::memory::{FaultKind, MemorySystem};
use crate::plan::Lanes;
use crate::port::Writer;
use fastcar_arch::config::AccelConfig;
use std::ops::Range;
use std::rc::Rc;

/// Which of a channel's read queues an item goes through.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Stream {
    /// Step table, commands and block lists; shared by the waves.
    Control,
    /// Vectors for the vector and gate units of a wave.
    Record(usize),
    /// A wave's main stream.
    Main(usize),
    /// A wave's read-ahead stream.
    Ahead(usize),
}

impl Stream {
    /// Number of streams with so many waves.
    pub(crate) fn count(waves: usize) -> usize {
        1 + 3 * waves
    }

    /// Dense number, in order of priority: control, then all records, all main streams, all read-ahead streams.
    pub(crate) fn index(self, waves: usize) -> usize {
        match self {
            Self::Control => 0,
            Self::Record(wave) => 1 + wave,
            Self::Main(wave) => 1 + waves + wave,
            Self::Ahead(wave) => 1 + 2 * waves + wave,
        }
    }
}

/// Names a thing that flows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Tag {
    /// The step table's head.
    TableHead,
    /// The rest of the step table.
    Table,
    /// A burst of commands for a wave.
    Commands { wave: usize, burst: usize },
    /// A slot's block lists.
    List { wave: usize, command: usize, slot: u32 },
    /// The n-th record of a command, that shared by its slots first.
    Record { wave: usize, command: usize, part: usize },
    /// The past keys of the n-th slot that a `gate_tas` looks at: their scale bytes, or their elements.
    Keys { wave: usize, command: usize, part: usize, elements: bool },
    /// The n-th product of a command.
    Mac { wave: usize, command: usize, op: usize },
    /// What a part of a command writes.
    Write { wave: usize, command: usize, part: usize },
    /// The report.
    Report,
}

impl Tag {
    /// Wave and command, where the thing belongs to a command.
    pub(crate) fn command(self) -> Option<(usize, usize)> {
        match self {
            Self::List { wave, command, .. }
            | Self::Record { wave, command, .. }
            | Self::Keys { wave, command, .. }
            | Self::Mac { wave, command, .. }
            | Self::Write { wave, command, .. } => Some((wave, command)),
            Self::TableHead | Self::Table | Self::Commands { .. } | Self::Report => None,
        }
    }

    /// The wave by whose rules it is written.
    pub(crate) fn wave(self) -> usize {
        self.command().map_or(0, |command| command.0)
    }
}

/// Something to read.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) tag: Tag,
    pub(crate) lanes: Lanes,
    /// First cycle in which an address may go out.
    pub(crate) ready: Cycle,
    /// Command of the wave whose writes, and those before, guarded segments wait for.
    pub(crate) after: Option<usize>,
    /// Records: numbers of beats of a channel behind which the flow tells how far the record is.
    pub(crate) marks: Rc<[u64]>,
    /// Keys or values of a round of heads: a cluster that has none of them learns that from the walk.
    pub(crate) heads: bool,
}

impl Item {
    /// An item that waits for no writes.
    pub(crate) fn free(tag: Tag, lanes: Lanes, ready: Cycle) -> Self {
        Self { tag, lanes, ready, after: None, marks: Rc::default(), heads: false }
    }

    /// The writer that its guarded segments wait for.
    fn writer(&self) -> Option<Writer> {
        self.after.map(|command| Writer { wave: self.tag.wave(), command })
    }
}

/// A product that the MAC array may begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Armed {
    pub(crate) tag: Tag,
    pub(crate) stream: Stream,
    /// First cycle in which a beat may be taken.
    pub(crate) start: Cycle,
    /// As in [`Item`].
    pub(crate) heads: bool,
}

/// What the flow tells the units, which hear of the channels [`HOP`](fastcar_arch::timing::HOP) later. A time lies at or
/// behind the cycle in which it is told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Signal {
    /// An item of the control stream is in.
    Arrived(Tag),
    /// So many of a record's marks lie behind its unit.
    Reached(Tag, usize),
    /// A record has been taken by its unit.
    Taken(Tag),
    /// The last beat of a product is in the MAC array of every cluster.
    Multiplied(Tag),
    /// Every write of a part of a command is acknowledged.
    Written(Tag),
    /// A memory answered with an error.
    Fault { tag: Tag, channel: u32, kind: FaultKind, write: bool },
}

/// Cycles of the MAC array of channel 0, by what it did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct MacCycles {
    /// Beats taken, times the cycles that each needs.
    pub(crate) busy: u64,
    /// A product was armed, and its beats had not come.
    pub(crate) starved: u64,
}

/// The movement of beats. Calls and signals carry cycles that never decrease.
pub(crate) trait Flow {
    /// A flow for a machine with so many waves and classes of channels, each represented by its first channel; `log` if
    /// reads are to be logged.
    fn new(config: &AccelConfig, memory: MemorySystem, waves: usize, leaders: &[u32], log: bool) -> Self;

    /// Queues an item on a stream.
    fn push(&mut self, stream: Stream, item: Item);

    /// Lets a unit take the beats of a record from cycle `at` on, one at a time from every channel that has some of it. It is
    /// the first of its wave's record stream that is not taken.
    fn take(&mut self, wave: usize, tag: Tag, at: Cycle);

    /// Lets the clusters begin a product as soon as they are done with the one before.
    fn arm(&mut self, wave: usize, armed: Armed, lanes: &Lanes);

    /// Queues writes.
    fn write(&mut self, tag: Tag, lanes: &Lanes, now: Cycle);

    /// Says that a command of a wave will queue no more writes.
    fn close_writes(&mut self, wave: usize, command: usize, now: Cycle);

    /// Says that the vector unit begins or ceases to wait for room in the write buffer.
    fn want_room(&mut self, wanted: bool, now: Cycle);

    /// The next cycle in which something moves; none when nothing can until a call.
    fn next(&mut self) -> Option<Cycle>;

    /// Does what happens in cycle `now`, which is the next one.
    fn advance(&mut self, now: Cycle);

    /// What the units are to be told, and in which cycle; whoever asks empties it.
    fn signals(&mut self) -> &mut Vec<(Cycle, Signal)>;

    /// The memory, with its counters.
    fn memory(&self) -> &MemorySystem;

    /// Cycles of channel 0's MAC array.
    fn mac_cycles(&self) -> MacCycles;

    /// Cycles in which channel 0 had reads queued or under way, and in which it had writes.
    fn occupied(&self) -> (u64, u64);

    /// What channel 0 read when, if that was to be logged.
    fn reads(&self) -> &[(Tag, Range<Cycle>)];

    /// What each class of channels waits for, for a state dump.
    fn describe(&self) -> String;
}
