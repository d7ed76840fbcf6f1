//! The units in step with each other: command processor, vector unit, gate unit, MAC sequencer, readers and writers.
//!
//! A run is one or two *waves*: slots that go through the program together. Each wave has its own command queues; the
//! units are shared. Within a wave every unit takes its commands in program order, and the dispatcher, which knows the
//! ranges of the activation buffer that commands under way use, tells each command what to wait for in other units.
//!
//! Time only moves from one cycle in which something is due to the next; in such a cycle everything due happens first,
//! then every unit that can begin something does, then the beats move ([`Flow`]).

mod control;
mod gate;
mod mac;
mod vector;

use crate::counters::{Counters, Traffic};
use crate::dram::Cycle;
use crate::error::SimError;
use crate::flow::{Flow, Signal, Tag};
use crate::plan::{Lanes, Planner};
use crate::run::Placement;
use crate::trace::{Recorder, Span};
use crate::wave::{Mlp, Wave, mlp_roles};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa::Command;
use fastcar_arch::program::Program;
use fastcar_arch::regs::UNITS;
use fastcar_arch::step::StepTable;
use fastcar_arch::timing;
use gate::GateUnit;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use vector::VectorUnit;

/// Positions of the units in [`UNITS`].
const COMMAND: usize = 0;
const READ: usize = 1;
const WRITE: usize = 2;
const MAC: usize = 3;
const VECTOR: usize = 4;
const GATE: usize = 5;

/// Something that is due in a known cycle.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Due {
    /// The vector unit's results of a part of a command may be used.
    Vector { wave: usize, command: usize, part: usize },
    /// So many groups of a delta command's masks may be used.
    Masks { wave: usize, command: usize, groups: usize },
    /// A gate has decided.
    Settled { wave: usize, command: usize },
    /// The gate unit is through with the keys of a command.
    KeysOver { wave: usize, command: usize },
    /// The ports learn whether the vector unit waits for room in the write buffer. What is queued in the same cycle knows it.
    Room(bool),
    /// What a part of a command writes is at the ports; of one for no slot, that there is nothing.
    Write { wave: usize, command: usize, part: usize },
    /// The next of the parts that are written is looked at.
    Retire,
    /// The MAC array may let go of a command.
    Products { wave: usize },
    /// The oldest of the commands that write is done.
    WriterEnds { wave: usize },
    /// The report is at its port.
    Report,
    /// The vector unit's input is free.
    Issued { wave: usize },
    /// The commands of a burst may be dispatched.
    Decoded { wave: usize },
    /// A command stands in its units' queues.
    Dispatched { wave: usize, command: usize },
    /// A stream is through with the command that it took.
    Streamed { wave: usize, stream: usize },
    /// Block lists of a slot may be walked.
    Listed { wave: usize, command: usize },
    /// The flow tells something.
    Signal(Signal),
    /// A unit is free, or a pipeline's result is there: look again.
    Look,
}

/// Cycles in which a unit had work at hand.
#[derive(Default)]
struct Occupied {
    since: Option<Cycle>,
    total: u64,
}

impl Occupied {
    fn observe(&mut self, now: Cycle, occupied: bool) {
        match (self.since, occupied) {
            (None, true) => self.since = Some(now),
            (Some(since), false) => {
                self.total += now - since;
                self.since = None;
            }
            _ => {}
        }
    }
}

/// One run.
pub(crate) struct Machine<'a, F> {
    config: &'a AccelConfig,
    program: &'a Program,
    table: &'a StepTable,
    placement: Placement,
    planner: Planner<'a>,
    /// Channels in each class.
    sizes: &'a [u64],
    flow: F,
    now: Cycle,
    /// Last cycle in which something was due.
    moved: Cycle,
    /// What is due, earliest first. All of a cycle happens before anything begins in it; within a cycle only [`Due::Room`]
    /// has to come before [`Due::Write`].
    due: BinaryHeap<Reverse<(Cycle, Due)>>,
    waves: Vec<Wave>,
    roles: Vec<Mlp>,
    table_ready: bool,
    vector: VectorUnit,
    gate: GateUnit,
    /// Accumulator rows and write-buffer beats in use.
    accumulators: u64,
    /// Rounds of heads whose keys are armed and whose results are not there, and words of the sums of values that they take.
    heads: usize,
    value_words: u64,
    /// When the operands of the products that are armed, and the queries that were begun, are sent.
    operands_sent: Cycle,
    write_beats: u64,
    /// The vector unit waits for room in the write buffer.
    room_wanted: bool,
    /// What is queued at the ports, by wave, command and part, in order, whether it is acknowledged, and when the next may be taken off.
    unwritten: VecDeque<((usize, usize, usize), bool)>,
    retire_free: Cycle,
    /// When the walker of what the control queues read is free.
    control_walked: Cycle,
    reporting: bool,
    done_at: Option<Cycle>,
    counters: Counters,
    occupied: [Occupied; 3],
    recorder: Option<Recorder>,
}

/// What a run was asked for.
pub(crate) struct Job<'a> {
    pub(crate) config: &'a AccelConfig,
    pub(crate) program: &'a Program,
    pub(crate) table: &'a StepTable,
    pub(crate) placement: Placement,
    pub(crate) planner: Planner<'a>,
    pub(crate) sizes: &'a [u64],
    pub(crate) waves: Vec<u32>,
    pub(crate) trace: bool,
}

impl<'a, F: Flow> Machine<'a, F> {
    pub(crate) fn new(job: Job<'a>, flow: F) -> Self {
        let Job { config, program, table, placement, planner, sizes, waves, trace } = job;
        let commands = program.commands().len();
        Self {
            config,
            program,
            table,
            placement,
            planner,
            sizes,
            flow,
            now: 0,
            moved: 0,
            due: BinaryHeap::new(),
            waves: waves.iter().map(|&slots| Wave::new(slots, commands)).collect(),
            roles: mlp_roles(program),
            table_ready: false,
            vector: VectorUnit::default(),
            gate: GateUnit::default(),
            accumulators: 0,
            heads: 0,
            value_words: 0,
            operands_sent: 0,
            write_beats: 0,
            room_wanted: false,
            unwritten: VecDeque::new(),
            retire_free: 0,
            control_walked: 0,
            reporting: false,
            done_at: None,
            counters: Counters::default(),
            occupied: Default::default(),
            recorder: trace.then(Recorder::default),
        }
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// A memory fault, or a stall.
    pub(crate) fn run(mut self) -> Result<(Counters, Vec<Span>, F), SimError> {
        self.read_table();
        loop {
            self.begin_what_can();
            self.collect();
            if let Some(at) = self.done_at.filter(|_| self.due.is_empty()) {
                return Ok(self.finish(at));
            }
            let due = self.due_at().unwrap_or(Cycle::MAX);
            self.flow_until(due);
            let Some(at) = self.due_at() else { return Err(self.stalled()) };
            (self.now, self.moved) = (at, at);
            while self.due_at() == Some(at) {
                let Some(Reverse((_, due))) = self.due.pop() else { break };
                self.happen(due)?;
            }
        }
    }

    /// Moves beats as long as nothing is due before.
    fn flow_until(&mut self, mut due: Cycle) {
        while let Some(at) = self.flow.next().filter(|&at| at < due) {
            self.now = at;
            self.flow.advance(at);
            if !self.flow.signals().is_empty() {
                self.collect();
                due = self.due_at().unwrap_or(Cycle::MAX);
            }
        }
    }

    /// Takes over what the flow has to tell.
    fn collect(&mut self) {
        let now = self.now;
        for (at, signal) in self.flow.signals().drain(..) {
            self.due.push(Reverse((at.max(now), Due::Signal(signal))));
        }
    }

    fn at(&mut self, at: Cycle, due: Due) {
        self.due.push(Reverse((at, due)));
    }

    fn due_at(&self) -> Option<Cycle> {
        self.due.peek().map(|Reverse(due)| due.0)
    }

    fn happen(&mut self, due: Due) -> Result<(), SimError> {
        match due {
            Due::Look => {}
            Due::Vector { wave, command, part } => self.vector_result(wave, command, part),
            Due::Masks { wave, command, groups } => {
                self.waves[wave].states[command].mask_groups = groups;
            }
            Due::Settled { wave, command } => self.settled(wave, command),
            Due::KeysOver { wave, command } => self.keys_over(wave, command),
            Due::Issued { wave } => self.issued(wave),
            Due::Decoded { wave } => self.decoded(wave),
            Due::Dispatched { wave, command } => self.dispatched(wave, command),
            Due::Listed { wave, command } => self.waves[wave].states[command].lists -= 1,
            Due::Streamed { wave, stream } => self.streamed(wave, stream),
            Due::Room(wanted) => self.flow.want_room(wanted, self.now),
            Due::Write { wave, command, part } => self.queue_write(wave, command, part),
            Due::Retire => self.retire(),
            Due::Products { wave } => self.end_products(wave),
            Due::WriterEnds { wave } => self.end_writer(wave),
            Due::Report => self.write_report(),
            Due::Signal(Signal::Arrived(tag)) => self.arrived(tag),
            Due::Signal(Signal::Reached(tag, groups)) => self.compared(tag, groups),
            Due::Signal(Signal::Taken(tag)) => self.taken(tag),
            Due::Signal(Signal::Multiplied(tag)) => self.multiplied(tag),
            Due::Signal(Signal::Written(tag)) => self.written(tag),
            Due::Signal(Signal::Fault { tag, channel, kind, write }) => {
                return Err(self.fault(tag, channel, kind, write));
            }
        }
        Ok(())
    }

    /// Lets every unit begin what it can, until none can begin anything more in this cycle.
    fn begin_what_can(&mut self) {
        loop {
            let mut begun = false;
            for wave in 0..self.waves.len() {
                begun |= self.fetch(wave);
                begun |= self.dispatch(wave);
                begun |= self.resolve(wave);
                begun |= self.queue_streams(wave);
                begun |= self.send_queries(wave);
                begun |= self.arm(wave);
            }
            begun |= self.begin_vector();
            begun |= self.begin_gate();
            if !begun {
                break;
            }
        }
        if self.vector.wants_room != self.room_wanted {
            self.room_wanted = self.vector.wants_room;
            self.at(self.now + timing::HOP, Due::Room(self.room_wanted));
        }
        self.report_when_idle();
        self.observe();
    }

    fn observe(&mut self) {
        let busy = |f: fn(&Wave) -> bool| self.waves.iter().any(f);
        let mac = busy(|w| !w.mac.is_empty());
        let vector = busy(|w| !w.vector.is_empty()) || self.vector.is_running();
        let gate = busy(|w| !w.gate.is_empty());
        for (occupied, is) in self.occupied.iter_mut().zip([mac, vector, gate]) {
            occupied.observe(self.now, is);
        }
    }

    fn command(&self, index: usize) -> &'a Command {
        &self.program.commands()[index]
    }

    fn span(&mut self, unit: usize, wave: usize, command: usize, slots: u32, cycles: std::ops::Range<Cycle>) {
        let name = self.command(command).info().mnemonic;
        if let Some(recorder) = &mut self.recorder {
            let (start, end) = (cycles.start, cycles.end);
            recorder.add(Span { unit: UNITS[unit].name, wave, command, name, slots, start, end });
        }
    }

    /// Counts bytes that go over the channels.
    fn count(&mut self, traffic: Traffic, lanes: &Lanes) {
        let bytes =
            |(class, size): (usize, &u64)| size * lanes.get(class).iter().map(|s| s.bytes).sum::<u64>();
        self.counters.traffic[traffic as usize] += self.sizes.iter().enumerate().map(bytes).sum::<u64>();
    }

    fn finish(mut self, at: Cycle) -> (Counters, Vec<Span>, F) {
        self.now = at;
        self.observe();
        self.record_reads();
        let c = &mut self.counters;
        c.cycles = at;
        let (reading, writing) = self.flow.occupied();
        let mac = self.flow.mac_cycles();
        c.mac_starved = mac.starved;
        c.units[MAC].busy = mac.busy;
        c.units[COMMAND].busy = c.commands * timing::DISPATCH;
        let port = self.flow.memory().counters(0);
        let beat = self.config.beat().get();
        c.units[READ].busy = port.read_bytes / beat;
        c.units[WRITE].busy = port.written_bytes / beat;
        let [mac, vector, gate] = self.occupied.map(|o| o.total);
        let occupied = [c.units[COMMAND].stalled, reading, writing, mac, vector, gate];
        for (unit, occupied) in c.units.iter_mut().zip(occupied) {
            unit.stalled = occupied.saturating_sub(unit.busy);
        }
        (self.counters, self.recorder.map(Recorder::into_spans).unwrap_or_default(), self.flow)
    }

    /// Adds what channel 0 read to the trace.
    fn record_reads(&mut self) {
        for (tag, cycles) in self.flow.reads().to_vec() {
            let Some((wave, command)) = tag.command() else { continue };
            let work = self.waves[wave].states[command].work.as_ref();
            let slots = work.map_or(0, |work| match tag {
                Tag::Mac { op, .. } => work.mac[op].slots,
                Tag::Record { part, .. } if part > 0 => 1 << work.slots[part - 1].slot,
                Tag::Keys { part, .. } => 1 << work.past[part].slot,
                _ => work.mask(),
            });
            self.span(READ, wave, command, slots, cycles);
        }
    }

    /// The oldest command that is not done, and the unit that it waits in.
    fn oldest(&self) -> (usize, &'static str) {
        let head = |f: fn(&Wave) -> Option<usize>, unit| {
            self.waves.iter().filter_map(f).min().map(|command| (command, unit))
        };
        let heads = [
            head(|w| w.mac.front().copied(), "MAC array"),
            head(|w| w.vector.front().copied(), "vector unit"),
            head(|w| w.gate.front().copied(), "gate unit"),
            head(|w| w.writers.front().copied(), "memory writer"),
        ];
        let next =
            self.waves.iter().map(|w| w.next).min().unwrap_or(0).min(self.program.commands().len() - 1);
        heads.into_iter().flatten().min().unwrap_or((next, "command processor"))
    }

    fn stalled(&self) -> SimError {
        let (command, unit) = self.oldest();
        let mut state = String::new();
        for (index, wave) in self.waves.iter().enumerate() {
            state += &format!(
                "wave {index}: next to dispatch {}, vector {:?}, MAC {:?}, gate {:?}, unresolved {:?}\n",
                wave.next, wave.vector, wave.mac, wave.gate, wave.unresolved
            );
        }
        state += &self.flow.describe();
        let mnemonic = self.command(command).info().mnemonic;
        SimError::Stalled { cycle: self.moved, command, mnemonic, unit, state }
    }

    fn fault(&self, tag: Tag, channel: u32, kind: crate::memory::FaultKind, write: bool) -> SimError {
        let last = self.program.commands().len() - 1;
        let command = tag.command().map_or(last, |c| c.1);
        SimError::Fault {
            cycle: self.now,
            channel,
            direction: if write { "write" } else { "read" },
            unit: match tag {
                Tag::Mac { .. } => "MAC array",
                Tag::Keys { .. } => "gate unit",
                Tag::Record { .. } => "vector unit",
                Tag::Write { .. } => "memory writer",
                Tag::TableHead | Tag::Table | Tag::Commands { .. } | Tag::List { .. } | Tag::Report => {
                    "command processor"
                }
            },
            command,
            mnemonic: self.command(command).info().mnemonic,
            kind,
            status: if write { "write" } else { "read" },
        }
    }
}
