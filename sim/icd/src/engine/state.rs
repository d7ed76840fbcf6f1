//! What the engine's lock guards: which command waits for which, and when each runs.

use super::event::{Callback, Dependant, Event, status};
use super::{Command, LineId, Nanos, Outcome, Time, Unit, Work};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What is left to do when the lock is free again.
#[derive(Default)]
pub(super) struct Effects {
    callbacks: Vec<(Callback, i32)>,
    /// Work of commands that have failed before they began: what it holds is dropped outside the lock.
    unused: Vec<Work>,
    lanes: Vec<(usize, Worker)>,
    wake_hosts: bool,
}

/// What a lane's worker does.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Worker {
    /// Works, or will look for work once more before it sleeps.
    #[default]
    Awake,
    /// Sleeps, and has not been told to wake up.
    Asleep,
}

impl Effects {
    /// The lanes that have something new to do, and what their workers were doing.
    pub(super) fn lanes(&self) -> &[(usize, Worker)] {
        &self.lanes
    }

    /// Whether threads of the host sleep that may have waited for what has ended.
    pub(super) fn wake_hosts(&self) -> bool {
        self.wake_hosts
    }

    pub(super) fn run(self) {
        drop(self.unused);
        self.callbacks.into_iter().for_each(|(callback, status)| callback(status));
    }
}

/// A command on its way.
struct Node {
    event: Arc<Event>,
    lane: usize,
    work: Option<(Unit, Work)>,
    /// Events that have not ended yet.
    waiting: usize,
    /// End of all it waits for.
    ready: Nanos,
    /// An event of its list has failed.
    failed: bool,
}

/// A command that a worker is busy with.
pub(super) struct Running {
    event: Arc<Event>,
    lane: usize,
    unit: Unit,
    ready: Nanos,
}

struct Line {
    ordered: bool,
    closed: bool,
    /// Commands that have not ended, by number.
    pending: BTreeMap<u64, Arc<Event>>,
    /// End of the latest command.
    end: Nanos,
    /// The latest barrier that has not ended, and the end of those that have.
    barrier: Option<Arc<Event>>,
    open_from: Nanos,
}

#[derive(Default)]
struct Lane {
    worker: Worker,
    ready: Vec<Node>,
    units: [Busy; Unit::COUNT],
    hung: [bool; Unit::COUNT],
}

/// Until when a unit is taken.
#[derive(Default)]
struct Busy {
    /// By the latest commands that it has in hand, in no order; fewer than it can have where it never had more.
    channels: Vec<Nanos>,
    /// By those that have it to themselves.
    all: Nanos,
}

impl Busy {
    /// Takes a unit for a command that is ready; gives its start and end.
    fn take(&mut self, ready: Nanos, time: Time) -> (Nanos, Nanos) {
        let first = (0..self.channels.len()).min_by_key(|&c| self.channels[c]);
        let channel = first.filter(|_| self.channels.len() == time.channels).unwrap_or_else(|| {
            self.channels.push(0);
            self.channels.len() - 1
        });
        let start = ready.max(self.channels[channel]);
        let end = start.saturating_add(time.setup).max(self.all).saturating_add(time.busy);
        (self.channels[channel], self.all) = (end, end);
        (start, end)
    }
}

pub(super) struct State {
    /// Where the host stands.
    now: Nanos,
    next: u64,
    /// Workers end.
    pub(super) stopped: bool,
    /// Threads of the host that sleep until something ends.
    pub(super) hosts: usize,
    waiting: HashMap<u64, Node>,
    lanes: Vec<Lane>,
    lines: HashMap<u64, Line>,
}

impl State {
    pub(super) fn new(lanes: usize) -> Self {
        Self {
            now: 0,
            next: 0,
            stopped: false,
            hosts: 0,
            waiting: HashMap::new(),
            lanes: (0..lanes).map(|_| Lane::default()).collect(),
            lines: HashMap::new(),
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The host has seen something end.
    pub(super) fn seen(&mut self, end: Nanos) {
        self.now = self.now.max(end);
    }

    pub(super) fn open(&mut self, lane: usize, ordered: bool) -> LineId {
        let number = self.number();
        let pending = BTreeMap::new();
        let line = Line { ordered, closed: false, pending, end: 0, barrier: None, open_from: 0 };
        self.lines.insert(number, line);
        LineId { number, lane }
    }

    pub(super) fn close(&mut self, line: LineId) {
        if let Some(entry) = self.lines.get_mut(&line.number) {
            entry.closed = true;
            if entry.pending.is_empty() {
                self.lines.remove(&line.number);
            }
        }
    }

    pub(super) fn user_event(&mut self) -> Arc<Event> {
        let id = self.number();
        Arc::new(Event::new(id, None, status::SUBMITTED, self.now))
    }

    pub(super) fn set_user_status(&mut self, event: &Arc<Event>, status: i32, effects: &mut Effects) -> bool {
        if !event.is_user() || event.status_and_end().0 <= status::COMPLETE {
            return false;
        }
        self.complete(event, status, (self.now, self.now), effects);
        true
    }

    pub(super) fn submit(
        &mut self,
        line: LineId,
        command: Command,
        list: &[Arc<Event>],
        effects: &mut Effects,
    ) -> Arc<Event> {
        let id = self.number();
        let event = Arc::new(Event::new(id, Some(line), status::QUEUED, self.now));
        let barrier = matches!(command, Command::Barrier);
        let work = match command {
            Command::Run(unit, work) => Some((unit, work)),
            Command::Marker | Command::Barrier => None,
        };
        let mut node =
            Node { event: event.clone(), lane: line.lane, work, waiting: 0, ready: self.now, failed: false };
        list.iter().for_each(|e| node.wait_for(e, true));
        if let Some(entry) = self.lines.get_mut(&line.number) {
            entry.order(&mut node, list.is_empty());
            entry.pending.insert(id, event.clone());
            if barrier {
                entry.barrier = Some(event.clone());
            }
        }
        match node.waiting {
            0 => self.release(node, effects),
            _ => drop(self.waiting.insert(id, node)),
        }
        event
    }

    /// Nothing holds a command up any more: it may run, or it ends here.
    fn release(&mut self, node: Node, effects: &mut Effects) {
        let at = (node.ready, node.ready);
        if node.failed {
            effects.unused.extend(node.work.map(|w| w.1));
            self.complete(&node.event, status::FAILED_DEPENDENCY, at, effects);
        } else if node.work.is_none() {
            self.complete(&node.event, status::COMPLETE, at, effects);
        } else {
            effects.callbacks.extend(node.event.advance(status::SUBMITTED));
            let lane = &mut self.lanes[node.lane];
            effects.lanes.push((node.lane, std::mem::take(&mut lane.worker)));
            lane.ready.push(node);
        }
    }

    /// Ends a command, and every marker and failed command that waited only for it.
    fn complete(
        &mut self,
        event: &Arc<Event>,
        status: i32,
        (start, end): (Nanos, Nanos),
        effects: &mut Effects,
    ) {
        let mut ended = vec![(event.clone(), status, start, end)];
        while let Some((event, status, start, end)) = ended.pop() {
            let (dependants, callbacks) = event.complete(status, start, end);
            effects.wake_hosts = self.hosts > 0;
            effects.callbacks.extend(callbacks);
            self.leave_line(&event, end);
            for dependant in dependants {
                let Some(node) = self.waiting.get_mut(&dependant.id) else { continue };
                node.ended(status, end, dependant.fails);
                if node.waiting > 0 {
                    continue;
                }
                let Some(node) = self.waiting.remove(&dependant.id) else { continue };
                match (&node.work, node.failed) {
                    (Some(_), false) => self.release(node, effects),
                    (_, failed) => {
                        let status = if failed { status::FAILED_DEPENDENCY } else { status::COMPLETE };
                        ended.push((node.event, status, node.ready, node.ready));
                        effects.unused.extend(node.work.map(|w| w.1));
                    }
                }
            }
        }
    }

    fn leave_line(&mut self, event: &Event, end: Nanos) {
        let Some(id) = event.line else { return };
        let Some(line) = self.lines.get_mut(&id.number) else { return };
        line.pending.remove(&event.id);
        line.end = line.end.max(end);
        if line.barrier.as_ref().is_some_and(|b| b.id == event.id) {
            line.barrier = None;
            line.open_from = end;
        }
        if line.closed && line.pending.is_empty() {
            self.lines.remove(&id.number);
        }
    }

    /// The lane's worker is about to sleep.
    pub(super) fn sleeps(&mut self, lane: usize) {
        self.lanes[lane].worker = Worker::Asleep;
    }

    /// The lane's next command: of those whose unit does not hang, the one that could begin first.
    pub(super) fn begin(&mut self, lane: usize, effects: &mut Effects) -> Option<(Running, Work)> {
        let Lane { ready, hung, .. } = &mut self.lanes[lane];
        let unit = |node: &Node| node.work.as_ref().map(|w| w.0);
        let runs = |node: &Node| unit(node).is_some_and(|u| !hung[u as usize]);
        let candidates = ready.iter().enumerate().filter(|(_, n)| runs(n));
        let (index, _) = candidates.min_by_key(|(_, n)| (n.ready, n.event.id))?;
        let node = ready.swap_remove(index);
        let (unit, work) = node.work?;
        effects.callbacks.extend(node.event.advance(status::RUNNING));
        Some((Running { event: node.event, lane, unit, ready: node.ready }, work))
    }

    /// Takes down what became of a command.
    pub(super) fn end(&mut self, running: Running, outcome: Outcome, effects: &mut Effects) {
        let Running { event, lane, unit, ready } = running;
        let Lane { units, hung, .. } = &mut self.lanes[lane];
        let (status, time) = match outcome {
            Outcome::Never => {
                hung[unit as usize] = true;
                return;
            }
            Outcome::Done(time) => (status::COMPLETE, time),
            Outcome::Failed(code) => (code, Time::from(0)),
        };
        let span = units[unit as usize].take(ready, time);
        self.complete(&event, status, span, effects);
    }
}

impl Node {
    fn wait_for(&mut self, event: &Event, fails: bool) {
        match event.add_dependant(Dependant { id: self.event.id, fails }) {
            None => self.waiting += 1,
            Some((status, end)) => self.note(status, end, fails),
        }
    }

    fn ended(&mut self, status: i32, end: Nanos, fails: bool) {
        self.waiting -= 1;
        self.note(status, end, fails);
    }

    fn note(&mut self, status: i32, end: Nanos, fails: bool) {
        self.ready = self.ready.max(end);
        self.failed |= fails && status < status::COMPLETE;
    }
}

impl Line {
    /// Makes a command wait for what its line's order asks: the one before; out of order the last barrier, and for a
    /// marker without a list everything.
    fn order(&self, node: &mut Node, no_list: bool) {
        let everything = node.work.is_none() && no_list;
        if self.ordered || everything {
            node.ready = node.ready.max(self.end);
        }
        node.ready = node.ready.max(self.open_from);
        if everything {
            self.pending.values().for_each(|event| node.wait_for(event, false));
        } else if self.ordered {
            self.pending.last_key_value().into_iter().for_each(|(_, event)| node.wait_for(event, false));
        } else {
            self.barrier.iter().for_each(|event| node.wait_for(event, false));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_transfer_is_set_up_while_another_has_the_link() {
        let mut link = Busy::default();
        let time = Time { setup: 20, busy: 100, channels: 2 };
        let spans = [0, 0, 0, 0].map(|ready| link.take(ready, time));
        assert_eq!(spans, [(0, 120), (0, 220), (120, 320), (220, 420)]);
        assert_eq!(link.take(1000, time), (1000, 1120));
        // Short transfers are bound by the setup: two of them at a time.
        let short = Time { busy: 1, ..time };
        assert_eq!([0, 0, 0].map(|_| link.take(2000, short)), [(2000, 2021), (2000, 2022), (2021, 2042)]);
        let mut kernel = Busy::default();
        assert_eq!([5, 5].map(|ready| kernel.take(ready, Time::from(7))), [(5, 12), (12, 19)]);
    }
}
