//! The commands of one wave: what each waits for, and how far it is.

use crate::dram::Cycle;
use crate::flow::Tag;
use crate::plan::Work;
use fastcar_arch::isa::{Command, Epilogue};
use fastcar_arch::program::Program;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

/// A command's place in a layer's MLP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Mlp {
    /// No product of an MLP.
    #[default]
    None,
    /// A product of an MLP.
    Inside,
    /// The last product of an MLP.
    Last,
}

/// The MLP products of a program: from a product with an activation function to the last plain product behind it.
pub(crate) fn mlp_roles(program: &Program) -> Vec<Mlp> {
    let mut roles = vec![Mlp::None; program.commands().len()];
    let mut last: Option<usize> = None;
    let mut inside = false;
    for (index, command) in program.commands().iter().enumerate() {
        match command {
            Command::Matvec(c) if c.epilogue != Epilogue::None => {
                (inside, roles[index]) = (true, Mlp::Inside);
            }
            Command::Matvec(_) if inside => {
                roles[index] = Mlp::Inside;
                last = Some(index);
            }
            Command::Quant(_) | Command::Delta(_) => {}
            _ => {
                inside = false;
                if let Some(index) = last.take() {
                    roles[index] = Mlp::Last;
                }
            }
        }
    }
    roles
}

/// How far a command is.
#[derive(Default)]
pub(crate) struct State {
    /// Gate whose decision its predicate names.
    pub(crate) pred_gate: Option<usize>,
    /// Delta command, and its gate, whose masks it uses.
    pub(crate) delta: Option<(usize, u16)>,
    /// Vector command that fills the part of the activation buffer that it reads in another unit.
    pub(crate) operands: Option<usize>,
    /// MAC command that must have read what it overwrites.
    pub(crate) read_by_mac: Option<usize>,
    /// Gate command that must have read what it overwrites.
    pub(crate) read_by_gate: Option<usize>,
    /// When a stream took it.
    pub(crate) streamed: Option<Cycle>,
    /// Product of a masked command that is being queued, and groups of masks whose part of it is.
    pub(crate) queued: (usize, usize),
    /// Block lists that have not come yet.
    pub(crate) lists: u32,
    /// What it asks of the units; known once its predicate is. Of masked streams only what `mask_groups` says may be used.
    pub(crate) work: Option<Rc<Work>>,
    /// Since when that is known.
    pub(crate) resolved: Cycle,
    /// Slots whose results of the vector unit may be used.
    pub(crate) vector_slots: u32,
    /// Parts whose results of the vector unit may be used.
    pub(crate) vector_parts: usize,
    /// The vector unit is through with it.
    pub(crate) vector_finished: bool,
    /// Groups of the masks, or of the distances, that it made and that may be used; the largest number: all.
    pub(crate) mask_groups: usize,
    /// When the addresses of what its parts write, or of the keys of the slots that it looks at, are at the ports.
    pub(crate) addressed: Vec<Cycle>,
    /// Parts whose writes are not acknowledged.
    pub(crate) writes: usize,
    /// When each product's results may be used.
    pub(crate) products: Vec<Option<Cycle>>,
    /// All products are armed.
    pub(crate) armed: bool,
    /// Products that the array has finished.
    pub(crate) multiplied: usize,
    /// When the MAC array was through with it, and with those before it.
    pub(crate) mac_finished: Option<Cycle>,
    /// The gate unit is through with it.
    pub(crate) gate_finished: bool,
    /// Slots that replay behind it (gates).
    pub(crate) replay: u32,
}

impl State {
    /// Whether all products are armed and finished.
    pub(crate) fn products_are_done(&self) -> bool {
        self.armed && self.multiplied == self.products.len()
    }
}

/// The slots that go through the program together, and where they are.
pub(crate) struct Wave {
    pub(crate) slots: u32,
    pub(crate) states: Vec<State>,
    /// Commands that the prefetch buffer has got, and bursts of them asked for.
    pub(crate) available: usize,
    pub(crate) requested: usize,
    /// Next command to dispatch, commands in their queues, and when the dispatcher is free for the next.
    pub(crate) next: usize,
    pub(crate) dispatched: usize,
    pub(crate) dispatch_at: Cycle,
    pub(crate) unresolved: Vec<usize>,
    /// Commands whose stream items are not queued yet: record, main, read-ahead, writes.
    pub(crate) streams: [VecDeque<usize>; 4],
    /// Whether each of these has taken its first command, and is not yet through with it.
    pub(crate) streams_taken: [bool; 4],
    /// When the walker of the writes is through with what it has.
    pub(crate) writes_walked: Cycle,
    /// Parts of commands that write whose results are there, in order, and when they could be queued; when the last one is.
    pub(crate) commits: VecDeque<(usize, usize, Cycle)>,
    pub(crate) committed: Cycle,
    /// Records of the command that the record stream has taken.
    pub(crate) records_coming: Vec<Tag>,
    /// When the walker of the records is through with what it has.
    pub(crate) records_walked: Cycle,
    /// Records queued and not taken; behind the keys of each `gate_tas` one that stands for its end.
    pub(crate) records: VecDeque<Tag>,
    pub(crate) vector: VecDeque<usize>,
    pub(crate) vector_part: usize,
    /// Since when the front command is in front.
    pub(crate) vector_since: Cycle,
    /// When the results of the last command that left the vector unit may be used.
    pub(crate) vector_result: Cycle,
    pub(crate) mac: VecDeque<usize>,
    /// Commands with products not armed yet, and the next product of the first.
    pub(crate) arming: VecDeque<usize>,
    pub(crate) arm_op: usize,
    /// Attention in front: when the queries of its rounds of heads are sent.
    pub(crate) queries: Vec<Cycle>,
    /// When the next product may be armed.
    pub(crate) arm_free: Cycle,
    /// When the array may let go of the next command.
    pub(crate) mac_ended: Cycle,
    pub(crate) gate: VecDeque<usize>,
    pub(crate) gate_part: usize,
    /// The front gate is settling.
    pub(crate) settling: bool,
    /// When the scores so far of the gate command under way are there.
    pub(crate) gate_scores: Cycle,
    pub(crate) last_gate: Option<usize>,
    pub(crate) last_delta: Option<(usize, u16)>,
    /// Commands whose writes, or those of one before, are not all acknowledged, and whether the first is about to be let go.
    pub(crate) writers: VecDeque<usize>,
    pub(crate) writer_ends: bool,
    /// Parts of the activation buffer under way: what the vector unit fills, what other units read.
    fills: Vec<(Range<u32>, usize)>,
    mac_reads: Vec<(Range<u32>, usize)>,
    gate_reads: Vec<(Range<u32>, usize)>,
    /// When the MLP phase under way began.
    pub(crate) mlp_since: Option<Cycle>,
}

/// The part of the activation buffer that a command fills, in the vector unit.
fn fills(command: &Command) -> Option<Range<u32>> {
    let range = |first: u16, blocks: u16| u32::from(first)..u32::from(first) + u32::from(blocks);
    match command {
        Command::Quant(c) => Some(range(c.dst.0, c.blocks)),
        Command::Delta(c) => Some(range(c.dst.0, c.blocks)),
        _ => None,
    }
}

/// The part of the activation buffer that a command reads in the MAC array or in the gate unit.
fn reads(command: &Command) -> Option<Range<u32>> {
    let heads = |first: u16, heads: u16, dim: u16| {
        let first = u32::from(first);
        first..first + u32::from(heads) * u32::from(dim) / 32
    };
    match command {
        Command::Matvec(c) => Some(u32::from(c.src.0)..u32::from(c.src.0) + u32::from(c.blocks)),
        Command::Attn(c) => Some(heads(c.src.0, c.heads, c.head_dim)),
        Command::GateTas(c) => Some(heads(c.src.0, c.heads, c.head_dim)),
        _ => None,
    }
}

/// The latest of some users of a buffer that touches a range.
fn latest(users: &[(Range<u32>, usize)], range: &Range<u32>) -> Option<usize> {
    users.iter().rev().find(|(r, _)| r.start < range.end && range.start < r.end).map(|u| u.1)
}

impl Wave {
    pub(crate) fn new(slots: u32, commands: usize) -> Self {
        Self {
            slots,
            states: (0..commands).map(|_| State::default()).collect(),
            available: 0,
            requested: 0,
            next: 0,
            dispatched: 0,
            dispatch_at: 0,
            unresolved: Vec::new(),
            streams: Default::default(),
            streams_taken: [false; 4],
            writes_walked: 0,
            commits: VecDeque::new(),
            committed: 0,
            records_coming: Vec::new(),
            records_walked: 0,
            records: VecDeque::new(),
            vector: VecDeque::new(),
            vector_part: 0,
            vector_since: 0,
            vector_result: 0,
            mac: VecDeque::new(),
            arming: VecDeque::new(),
            arm_op: 0,
            queries: Vec::new(),
            arm_free: 0,
            mac_ended: 0,
            gate: VecDeque::new(),
            gate_part: 0,
            settling: false,
            gate_scores: 0,
            last_gate: None,
            last_delta: None,
            writers: VecDeque::new(),
            writer_ends: false,
            fills: Vec::new(),
            mac_reads: Vec::new(),
            gate_reads: Vec::new(),
            mlp_since: None,
        }
    }

    /// Notes at dispatch what a command waits for in other units, and what later ones may wait for it.
    pub(crate) fn track(&mut self, index: usize, command: &Command) {
        let states = &self.states;
        self.fills.retain(|u| !states[u.1].vector_finished);
        self.mac_reads.retain(|u| states[u.1].mac_finished.is_none());
        self.gate_reads.retain(|u| !states[u.1].gate_finished);
        let state = &mut self.states[index];
        state.pred_gate = self.last_gate;
        if let Some(range) = reads(command) {
            state.operands = latest(&self.fills, &range);
            match command {
                Command::GateTas(_) => self.gate_reads.push((range, index)),
                _ => self.mac_reads.push((range, index)),
            }
        }
        if let Some(range) = fills(command) {
            state.read_by_mac = latest(&self.mac_reads, &range);
            state.read_by_gate = latest(&self.gate_reads, &range);
            self.fills.push((range, index));
        }
        match command {
            Command::Matvec(c) if c.delta => state.delta = self.last_delta,
            Command::Delta(c) => self.last_delta = Some((index, c.gate)),
            Command::GateTas(_) | Command::GateDelta(_) | Command::GateHost(_) => {
                self.last_gate = Some(index)
            }
            _ => {}
        }
    }

    /// Whether the vector unit's results of a command may be used for some slots.
    pub(crate) fn filled(&self, command: Option<usize>, slots: u32) -> bool {
        let Some(state) = command.map(|c| &self.states[c]) else { return true };
        let missing = state.work.as_ref().map_or(slots, |w| w.mask() & slots & !state.vector_slots);
        // Only the command in the unit is looked at slot by slot.
        state.vector_finished || (state.vector_slots != 0 && missing == 0)
    }

    /// Whether nothing is on its way of the oldest writer.
    pub(crate) fn writer_is_done(&self) -> bool {
        let done = |state: &State| state.work.is_some() && state.writes == 0;
        self.writers.front().is_some_and(|&c| done(&self.states[c]))
    }

    /// Whether the MAC array is through with the oldest command in it.
    pub(crate) fn products_are_done(&self) -> bool {
        self.mac.front().is_some_and(|&command| self.states[command].products_are_done())
    }

    /// The commands in front of the queues.
    pub(crate) fn fronts(&self) -> impl Iterator<Item = usize> {
        let units = [&self.vector, &self.mac, &self.gate];
        units.into_iter().chain(&self.streams).filter_map(|queue| queue.front().copied())
    }

    /// Whether everything is dispatched and done, writes apart.
    pub(crate) fn idle(&self) -> bool {
        self.dispatched == self.states.len()
            && self.vector.is_empty()
            && self.mac.is_empty()
            && self.gate.is_empty()
    }
}
