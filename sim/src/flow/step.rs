//! One beat and one cycle at a time: slow, without any closed formula, the reference for [`super::bulk`].

use super::queue::{Marks, ReadLog};
use super::{Armed, Flow, Item, MacCycles, Signal, Stream, Tag};
use crate::dram::Cycle;
use crate::memory::{Arrival, MemorySystem, Written};
use crate::plan::Lanes;
use crate::port::{self, Decision, Port, Writer};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::timing::{HOP, NONE_KNOWN, PORT_ISSUE, PORT_RETURN};
use std::collections::{HashMap, VecDeque};
use std::ops::Range;

/// Cycles without any movement after which nothing is expected to move by itself.
const QUIET: u64 = 1 << 16;

struct ArmedHere {
    tag: Tag,
    stream: usize,
    start: Cycle,
    beats: u64,
    heads: bool,
}

/// The MAC array of a cluster.
struct Cluster {
    armed: Vec<VecDeque<ArmedHere>>,
    free: Cycle,
    last_wave: usize,
    /// Keys and values of which there are none here, and when that is known.
    nones: HashMap<Tag, Cycle>,
    /// Wave whose burst is being taken.
    in_burst: Option<usize>,
    cycles: MacCycles,
}

struct Taking {
    tag: Tag,
    /// When it may be taken, and the unit is through with what it has taken; none before its turn.
    free: Option<Cycle>,
    /// Beats not taken, by class. Those of some classes may be the first ones of others.
    left: Vec<u64>,
    /// Beats that have been taken, and where to tell so.
    beats: u64,
    marks: Marks,
}

/// Moves one beat a cycle.
pub(crate) struct StepFlow {
    memory: MemorySystem,
    beat: u64,
    waves: usize,
    ports: Vec<Port<Tag>>,
    clusters: Vec<Cluster>,
    records: Vec<VecDeque<Taking>>,
    open: HashMap<Tag, (usize, Cycle)>,
    told: Vec<(Cycle, Signal)>,
    log: ReadLog,
    cycle: Cycle,
    quiet: u64,
}

impl Flow for StepFlow {
    fn new(config: &AccelConfig, memory: MemorySystem, waves: usize, leaders: &[u32], log: bool) -> Self {
        let cluster = |_: &u32| Cluster {
            armed: (0..waves).map(|_| VecDeque::new()).collect(),
            free: 0,
            last_wave: 0,
            nones: HashMap::new(),
            in_burst: None,
            cycles: MacCycles::default(),
        };
        Self {
            memory,
            beat: config.beat().get(),
            waves,
            ports: leaders.iter().map(|&leader| Port::new(config, leader, waves)).collect(),
            clusters: leaders.iter().map(cluster).collect(),
            records: (0..waves).map(|_| VecDeque::new()).collect(),
            open: HashMap::new(),
            told: Vec::new(),
            log: ReadLog::new(log),
            cycle: 0,
            quiet: 0,
        }
    }

    fn push(&mut self, stream: Stream, from: Item) {
        self.quiet = 0;
        if let Stream::Record(wave) = stream {
            let left = (0..self.ports.len()).map(|class| from.lanes.beats(class, self.beat)).collect();
            let marks = Marks::new(from.marks.clone());
            self.records[wave].push_back(Taking { tag: from.tag, free: None, left, beats: 0, marks });
        } else if stream == Stream::Control {
            let classes = (0..self.ports.len()).filter(|&c| !from.lanes.get(c).is_empty()).count();
            self.open.insert(from.tag, (classes, 0));
        }
        for (class, port) in self.ports.iter_mut().enumerate() {
            let segments = from.lanes.get(class).clone();
            // Control items concern channel 0 alone, but for the block lists.
            if stream != Stream::Control || !segments.is_empty() {
                let (label, ready, after) = (from.tag, from.ready, from.writer());
                let item = port::Item { label, segments, ready, after };
                let none = from.heads && item.segments.is_empty();
                let walked = port.read(stream.index(self.waves), item);
                if none {
                    self.clusters[class].nones.insert(from.tag, walked + NONE_KNOWN);
                }
            }
        }
    }

    fn take(&mut self, wave: usize, tag: Tag, at: Cycle) {
        self.quiet = 0;
        if let Some(record) = self.records[wave].iter_mut().find(|r| r.tag == tag) {
            record.free = Some(at);
        }
    }

    fn arm(&mut self, wave: usize, armed: Armed, lanes: &Lanes) {
        self.quiet = 0;
        let stream = armed.stream.index(self.waves);
        self.open.insert(armed.tag, (self.ports.len(), armed.start));
        for (class, cluster) in self.clusters.iter_mut().enumerate() {
            let beats = lanes.beats(class, self.beat);
            cluster.armed[wave].push_back(ArmedHere {
                tag: armed.tag,
                stream,
                start: armed.start,
                beats,
                heads: armed.heads,
            });
        }
    }

    fn write(&mut self, tag: Tag, lanes: &Lanes, now: Cycle) {
        self.quiet = 0;
        let mut writing = 0;
        for (class, port) in self.ports.iter_mut().enumerate() {
            let segments = lanes.get(class);
            if !segments.is_empty() {
                writing += 1;
                port.write(tag, tag.wave(), segments, now);
            }
        }
        self.open.insert(tag, (writing, now));
    }

    fn close_writes(&mut self, wave: usize, command: usize, now: Cycle) {
        self.quiet = 0;
        self.ports.iter_mut().for_each(|port| port.close(Writer { wave, command }, now));
    }

    fn want_room(&mut self, wanted: bool, now: Cycle) {
        self.ports.iter_mut().for_each(|port| port.want_room(wanted, now));
    }

    fn next(&mut self) -> Option<Cycle> {
        (self.quiet < QUIET).then_some(self.cycle)
    }

    fn advance(&mut self, now: Cycle) {
        self.cycle = now + 1;
        self.quiet += 1;
        for class in 0..self.ports.len() {
            if let Some(decision) = self.ports[class].decide(now, &mut self.memory) {
                self.quiet = 0;
                self.decided(class, now, decision);
            }
            self.multiply(class, now);
        }
        for wave in 0..self.waves {
            self.take_records(wave, now);
        }
    }

    fn signals(&mut self) -> &mut Vec<(Cycle, Signal)> {
        &mut self.told
    }

    fn memory(&self) -> &MemorySystem {
        &self.memory
    }

    fn mac_cycles(&self) -> MacCycles {
        self.clusters[0].cycles
    }

    fn reads(&self) -> &[(Tag, Range<Cycle>)] {
        self.log.done()
    }

    fn occupied(&self) -> (u64, u64) {
        self.ports[0].occupied()
    }

    fn describe(&self) -> String {
        let line = |port: &Port<Tag>| {
            let (jobs, writes) = port.waiting();
            let jobs: Vec<Option<Tag>> = jobs.collect();
            format!("channel {}: streams wait with {jobs:?}, {writes} writes queued\n", port.channel())
        };
        self.ports.iter().map(line).collect()
    }
}

impl StepFlow {
    fn decided(&mut self, class: usize, now: Cycle, decision: Decision<Tag>) {
        match decision {
            Decision::Read { queue, label, last, arrival: Some(arrival), .. } => {
                self.reading(class, now, (queue == 0, label, last), &arrival);
            }
            Decision::Write { label, last, written: Some(written), .. } => {
                self.writing(class, label, last, &written);
            }
            Decision::Read { .. } | Decision::Write { .. } => {}
        }
    }

    fn reading(&mut self, class: usize, now: Cycle, item: (bool, Tag, bool), arrival: &Arrival) {
        let (control, tag, last) = item;
        if class == 0 {
            self.log.note(tag, now + PORT_ISSUE, arrival.last() + 1, last);
        }
        if let Some(kind) = arrival.fault() {
            let channel = self.ports[class].channel();
            self.told.push((arrival.last(), Signal::Fault { tag, channel, kind, write: false }));
        }
        if control && last {
            self.finish(tag, arrival.last() + 1, Signal::Arrived(tag));
        }
    }

    fn writing(&mut self, class: usize, tag: Tag, last: bool, written: &Written) {
        if let Some(kind) = written.fault {
            let channel = self.ports[class].channel();
            self.told.push((written.response, Signal::Fault { tag, channel, kind, write: true }));
        }
        if last {
            self.finish(tag, written.response + PORT_RETURN, Signal::Written(tag));
        }
    }

    fn finish(&mut self, tag: Tag, at: Cycle, signal: Signal) {
        if let Some((left, latest)) = self.open.get_mut(&tag) {
            *left -= 1;
            *latest = (*latest).max(at);
            if *left == 0 {
                let at = *latest;
                self.open.remove(&tag);
                self.told.push((at + HOP, signal));
            }
        }
    }

    /// Gives the array of a cluster its next beat, if it is free and there is one.
    fn multiply(&mut self, class: usize, now: Cycle) {
        let cluster = &self.clusters[class];
        if now < cluster.free {
            return;
        }
        let order: Vec<usize> = match cluster.in_burst {
            Some(wave) => vec![wave],
            None => (1..=self.waves).map(|i| (cluster.last_wave + i) % self.waves).collect(),
        };
        for wave in order {
            if self.pass_over(class, wave, now) || self.multiply_wave(class, wave, now) {
                return;
            }
        }
        let cluster = &mut self.clusters[class];
        let waits = |a: &ArmedHere| a.start <= now && a.beats > 0;
        if cluster.armed.iter().any(|w| w.front().is_some_and(waits)) {
            cluster.cycles.starved += 1;
        }
    }

    /// Gives the array the next beat of a wave, if there is one.
    fn multiply_wave(&mut self, class: usize, wave: usize, now: Cycle) -> bool {
        let (cluster, port) = (&mut self.clusters[class], &mut self.ports[class]);
        let Some(armed) = cluster.armed[wave].front_mut().filter(|a| a.start <= now) else { return false };
        let Some(&beat) = port.front(armed.stream, now).filter(|b| b.label == armed.tag) else {
            return false;
        };
        self.quiet = 0;
        armed.beats -= 1;
        cluster.free = now + beat.pace;
        cluster.cycles.busy += beat.pace;
        port.pop(armed.stream, cluster.free);
        cluster.in_burst = (beat.frees == 0).then_some(wave);
        if beat.frees > 0 {
            cluster.last_wave = wave;
        }
        if armed.beats == 0 {
            let (tag, at) = (armed.tag, cluster.free);
            cluster.armed[wave].pop_front();
            self.finish(tag, at, Signal::Multiplied(tag));
        }
        true
    }

    /// Passes over a product that has no beats on this channel, which takes a cycle.
    fn pass_over(&mut self, class: usize, wave: usize, now: Cycle) -> bool {
        let cluster = &mut self.clusters[class];
        let Cluster { armed, nones, .. } = &mut *cluster;
        let known = |a: &ArmedHere| !a.heads || nones.get(&a.tag).is_some_and(|&at| at <= now);
        let empty = |a: &mut ArmedHere| a.beats == 0 && a.start <= now && known(a);
        let Some(ArmedHere { tag, .. }) = armed[wave].pop_front_if(empty) else { return false };
        nones.remove(&tag);
        self.quiet = 0;
        cluster.free = now + 1;
        self.finish(tag, now + 1, Signal::Multiplied(tag));
        true
    }

    /// A unit takes a beat from every channel that has some left of the record in front, a hop away.
    fn take_records(&mut self, wave: usize, now: Cycle) {
        let stream = Stream::Record(wave).index(self.waves);
        let Some(front) = self.records[wave].front_mut() else { return };
        if front.free.is_none_or(|free| now < free) || now < HOP {
            return;
        }
        let some = |left: &&u64| **left > 0;
        let beats = self.ports.iter().zip(&front.left).filter(|(_, left)| some(left)).map(|(port, _)| {
            port.front(stream, now - HOP).filter(|beat| beat.label == front.tag).map(|beat| beat.pace)
        });
        let Some(pace) = beats.collect::<Option<Vec<u64>>>().and_then(|paces| paces.into_iter().max()) else {
            return;
        };
        self.quiet = 0;
        let free = now + pace;
        front.free = Some(free);
        for (port, left) in self.ports.iter_mut().zip(&mut front.left).filter(|(_, left)| **left > 0) {
            port.pop(stream, free + HOP);
            *left -= 1;
        }
        front.beats += 1;
        if let Some((_, reached)) = front.marks.pass(front.beats) {
            self.told.push((free, Signal::Reached(front.tag, reached)));
        }
        if front.left.iter().all(|&left| left == 0) {
            self.told.push((free, Signal::Taken(front.tag)));
            self.records[wave].pop_front();
        }
    }
}
