//! Whole bursts at a time: the cycle of every hand-over follows from the one before by a maximum of linear terms.
//!
//! Within a burst the beats arrive at `max(start + i, ceil(d0 + i * delta))`, the array takes one beat every `pace`
//! cycles, and both are linear in `i` with `pace >= 1`; so the cycle in which the array is free again after the burst
//! has its maximum at one of the ends and needs no walk over the beats ([`after_burst`]).

use super::queue::{Marks, ReadLog, Span};
use super::{Armed, Flow, Item, MacCycles, Signal, Stream, Tag};
use crate::dram::Cycle;
use crate::memory::{Arrival, MemorySystem};
use crate::plan::Lanes;
use crate::port::queue::{Guards, Job, WriteQueue, enter};
use crate::port::{Segment, Writer};
use fastcar_arch::config::{AccelConfig, BURST_BYTES};
use fastcar_arch::timing::{HOP, NONE_KNOWN, PORT_ISSUE, PORT_RETURN};
use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::ops::Range;

/// The cycle in which a consumer that is free from `free` on has taken a burst's beats, each for `pace` cycles.
pub(super) fn after_burst(free: Cycle, arrival: &Arrival, pace: u64) -> Cycle {
    after_beats(free, arrival, arrival.beats(), pace, 0)
}

/// The same for its first beats, which are at least one, and a consumer that is `hop` cycles away.
fn after_beats(free: Cycle, arrival: &Arrival, beats: u32, pace: u64, hop: u64) -> Cycle {
    let taken = free.max(arrival.start() + 1 + hop) + u64::from(beats) * pace;
    taken.max(arrival.beat(beats - 1) + 1 + hop + pace)
}

/// A burst in a stream buffer, or on its way there.
struct Held {
    tag: Tag,
    arrival: Arrival,
    pace: u32,
    /// Cycles less for its last beat.
    spare: u64,
}

impl Held {
    /// The cycle in which a consumer that is free from `free` on, and `hop` cycles away, has taken its first beats.
    fn after_beats(&self, free: Cycle, beats: u32, hop: u64) -> Cycle {
        let spare = if beats == self.arrival.beats() { self.spare } else { 0 };
        after_beats(free, &self.arrival, beats, self.pace.into(), hop) - spare
    }
}

/// One read queue of a port with its buffer.
struct Queue {
    jobs: VecDeque<Job<Tag>>,
    walked: Cycle,
    capacity: u64,
    reserved: u64,
    freed: VecDeque<(Cycle, u64)>,
    held: VecDeque<Held>,
}

impl Queue {
    /// First cycle, not before `from`, in which so many beats are free; none while that depends on the future.
    fn room(&self, beats: u64, from: Cycle) -> Option<Cycle> {
        let mut reserved = self.reserved;
        let mut freed = self.freed.iter();
        let mut at = from;
        while reserved + beats > self.capacity {
            let &(cycle, count) = freed.next()?;
            at = at.max(cycle);
            reserved -= count;
        }
        Some(at)
    }

    fn reserve(&mut self, beats: u64, now: Cycle) {
        while let Some(&(_, count)) = self.freed.front().filter(|f| f.0 <= now) {
            self.reserved -= count;
            self.freed.pop_front();
        }
        self.reserved += beats;
    }
}

/// A product under way in one cluster.
struct ArmedHere {
    tag: Tag,
    stream: usize,
    start: Cycle,
    beats: u64,
    heads: bool,
}

/// The MAC array of one cluster.
#[derive(Default)]
struct Cluster {
    free: Cycle,
    /// Keys and values of which there are none here, and when that is known.
    nones: HashMap<Tag, Cycle>,
    armed: Vec<VecDeque<ArmedHere>>,
    last_wave: usize,
    cycles: MacCycles,
}

/// What a port does next.
#[derive(Clone, Copy)]
enum Action {
    Read(usize),
    Write,
    Multiply(usize),
}

struct Port {
    leader: u32,
    free: Cycle,
    /// For each burst under way, when its place is free.
    places: VecDeque<Cycle>,
    writes_free: Cycle,
    streams: Vec<Queue>,
    writes: WriteQueue<Tag>,
    guards: Guards,
    cluster: Cluster,
    next: Option<(Cycle, Action)>,
    stale: bool,
    reading: Span,
    writing: Span,
}

impl Port {
    fn count_writing(&mut self, now: Cycle) {
        self.writing.count(now, if self.writes.is_empty() { Cycle::MAX } else { 0 });
    }
}

/// A record on its way to the vector or gate unit.
struct Taking {
    tag: Tag,
    /// When it may be taken, and what has been taken is behind; none before its turn.
    taken: Option<Cycle>,
    /// Bursts that have not been taken, by class. Those of some classes may be the first ones of others.
    left: Vec<u32>,
    /// Beats that have been taken, and where to tell so.
    beats: u64,
    marks: Marks,
}

/// Moves whole bursts.
pub(crate) struct BulkFlow {
    memory: MemorySystem,
    beat: u64,
    waves: usize,
    read_bursts: usize,
    ports: Vec<Port>,
    records: Vec<VecDeque<Taking>>,
    /// Classes in which a product or control item is not finished yet, and the latest cycle so far.
    open: HashMap<Tag, (usize, Cycle)>,
    told: Vec<(Cycle, Signal)>,
    log: ReadLog,
}

fn bursts(segments: &[Segment]) -> u32 {
    let count = |s: &Segment| (s.addr + s.bytes).div_ceil(BURST_BYTES) - s.addr / BURST_BYTES;
    segments.iter().map(count).sum::<u64>() as u32
}

impl Flow for BulkFlow {
    fn new(config: &AccelConfig, memory: MemorySystem, waves: usize, leaders: &[u32], log: bool) -> Self {
        let share = |beats: u32| u64::from(beats) / waves as u64;
        let capacity = |stream: usize| match stream {
            0 => u64::MAX,
            s if s <= waves => share(config.record_beats()),
            s if s <= 2 * waves => share(config.main_beats()),
            _ => share(config.ahead_beats()),
        };
        let queue = |stream| Queue {
            jobs: VecDeque::new(),
            walked: 0,
            capacity: capacity(stream),
            reserved: 0,
            freed: VecDeque::new(),
            held: VecDeque::new(),
        };
        let port = |&leader: &u32| Port {
            leader,
            free: 0,
            places: VecDeque::new(),
            writes_free: 0,
            streams: (0..Stream::count(waves)).map(queue).collect(),
            writes: WriteQueue::new(config),
            guards: Guards::new(waves),
            cluster: Cluster { armed: (0..waves).map(|_| VecDeque::new()).collect(), ..Cluster::default() },
            next: None,
            stale: true,
            reading: Span::default(),
            writing: Span::default(),
        };
        Self {
            memory,
            beat: config.beat().get(),
            waves,
            read_bursts: config.read_bursts() as usize,
            ports: leaders.iter().map(port).collect(),
            records: (0..waves).map(|_| VecDeque::new()).collect(),
            open: HashMap::new(),
            told: Vec::new(),
            log: ReadLog::new(log),
        }
    }

    fn push(&mut self, stream: Stream, item: Item) {
        let index = stream.index(self.waves);
        match item.tag {
            Tag::Record { .. } | Tag::Keys { .. } => self.expect_record(stream, &item),
            Tag::Mac { .. } => {}
            _ => self.expect_control(&item),
        }
        let after = item.writer();
        for class in 0..self.ports.len() {
            let port = &mut self.ports[class];
            let segments = item.lanes.get(class);
            // Control items concern channel 0 alone, but for the block lists.
            if stream == Stream::Control && segments.is_empty() {
                continue;
            }
            let ready = enter(&mut port.streams[index].walked, item.ready, segments.len());
            if !segments.is_empty() {
                let job = Job::new(item.tag, ready, after, segments.clone());
                port.streams[index].jobs.push_back(job);
                port.stale = true;
            } else if item.heads {
                port.cluster.nones.insert(item.tag, ready + NONE_KNOWN);
                port.stale = true;
                self.multiply_ready(class);
            }
        }
    }

    fn take(&mut self, wave: usize, tag: Tag, at: Cycle) {
        if let Some(record) = self.records[wave].iter_mut().find(|r| r.tag == tag) {
            record.taken = Some(at);
        }
        self.take_records(wave);
    }

    fn arm(&mut self, wave: usize, armed: Armed, lanes: &Lanes) {
        let stream = armed.stream.index(self.waves);
        self.open.insert(armed.tag, (self.ports.len(), armed.start));
        for class in 0..self.ports.len() {
            let beats = lanes.beats(class, self.beat);
            let port = &mut self.ports[class];
            let here = ArmedHere { tag: armed.tag, stream, start: armed.start, beats, heads: armed.heads };
            port.cluster.armed[wave].push_back(here);
            port.stale = true;
            self.multiply_ready(class);
        }
    }

    fn write(&mut self, tag: Tag, lanes: &Lanes, now: Cycle) {
        let mut writing = 0;
        for (class, port) in self.ports.iter_mut().enumerate() {
            let segments = lanes.get(class);
            if !segments.is_empty() {
                writing += 1;
                port.count_writing(now);
                port.writes.push(tag, tag.wave(), segments, now);
                port.stale = true;
            }
        }
        self.open.insert(tag, (writing, now));
    }

    fn close_writes(&mut self, wave: usize, command: usize, now: Cycle) {
        for port in &mut self.ports {
            port.guards.close(&mut port.writes, Writer { wave, command }, now);
            port.stale = true;
        }
    }

    fn want_room(&mut self, wanted: bool, now: Cycle) {
        for port in &mut self.ports {
            port.writes.want(wanted, now);
            port.stale = true;
        }
    }

    fn next(&mut self) -> Option<Cycle> {
        for class in 0..self.ports.len() {
            if self.ports[class].stale {
                self.ports[class].next = self.plan(class);
                self.ports[class].stale = false;
            }
        }
        self.ports.iter().filter_map(|p| p.next.map(|n| n.0)).min().filter(|&at| at < Cycle::MAX)
    }

    fn signals(&mut self) -> &mut Vec<(Cycle, Signal)> {
        &mut self.told
    }

    fn advance(&mut self, now: Cycle) {
        for class in 0..self.ports.len() {
            if self.ports[class].stale {
                self.ports[class].next = self.plan(class);
                self.ports[class].stale = false;
            }
            if let Some((_, action)) = self.ports[class].next.filter(|n| n.0 <= now) {
                self.ports[class].stale = true;
                match action {
                    Action::Read(stream) => self.read(class, stream, now),
                    Action::Write => self.issue_write(class, now),
                    Action::Multiply(wave) => self.multiply(class, wave),
                }
            }
        }
    }

    fn memory(&self) -> &MemorySystem {
        &self.memory
    }

    fn mac_cycles(&self) -> MacCycles {
        self.ports[0].cluster.cycles
    }

    fn reads(&self) -> &[(Tag, Range<Cycle>)] {
        self.log.done()
    }

    fn occupied(&self) -> (u64, u64) {
        (self.ports[0].reading.total(), self.ports[0].writing.total())
    }

    fn describe(&self) -> String {
        let mut out = String::new();
        for (wave, records) in self.records.iter().enumerate() {
            if let Some(front) = records.front() {
                let _ = writeln!(
                    out,
                    "wave {wave}: record {:?} is next, {:?} bursts left",
                    front.tag, front.left
                );
            }
        }
        for port in &self.ports {
            let _ = write!(out, "channel {}:", port.leader);
            for (index, queue) in port.streams.iter().enumerate() {
                if let Some(job) = queue.jobs.front() {
                    let _ = write!(
                        out,
                        " stream {index} waits with {:?} ({} beats held);",
                        job.label, queue.reserved
                    );
                }
            }
            for armed in port.cluster.armed.iter().filter_map(VecDeque::front) {
                let _ = write!(out, " MAC waits for {} beats of {:?};", armed.beats, armed.tag);
            }
            let _ = writeln!(out, " {} writes queued", port.writes.len());
        }
        out
    }
}

impl BulkFlow {
    fn expect_record(&mut self, stream: Stream, item: &Item) {
        let Stream::Record(wave) = stream else { return };
        let left = (0..self.ports.len()).map(|class| bursts(item.lanes.get(class))).collect();
        let marks = Marks::new(item.marks.clone());
        self.records[wave].push_back(Taking { tag: item.tag, taken: None, left, beats: 0, marks });
    }

    fn expect_control(&mut self, item: &Item) {
        let classes = (0..self.ports.len()).filter(|&class| !item.lanes.get(class).is_empty()).count();
        self.open.insert(item.tag, (classes, 0));
    }

    /// What a port does next, and when, as far as it is known.
    fn plan(&self, class: usize) -> Option<(Cycle, Action)> {
        let port = &self.ports[class];
        let mut best: Option<(Cycle, Action)> = None;
        let mut offer = |at: Cycle, action| {
            if best.is_none_or(|b| at < b.0) {
                best = Some((at, action));
            }
        };
        // With as many bursts under way as may be, a read waits for the end of one; it keeps lazy writes back all the same.
        let burst = match port.places.len() >= self.read_bursts {
            true => port.places[port.places.len() - self.read_bursts],
            false => 0,
        };
        let wanted = |index: usize| self.read_at(port, index);
        let read_at = |index: usize| wanted(index).map(|at| at.max(burst));
        if let Some(at) = read_at(0) {
            offer(at, Action::Read(0));
        }
        if let Some(ready) = port.writes.ready() {
            let at = ready.max(port.free).max(port.writes_free);
            let fronts = port.streams.iter().filter_map(|s| s.jobs.front());
            let awaited = fronts.filter_map(|job| awaits(port, job, at));
            let draining = port.writes.draining().map(|since| at.max(since));
            if (0..port.streams.len()).filter_map(wanted).all(|read| read > at) {
                offer(at, Action::Write);
            } else if let Some(urgent) = awaited.chain(draining).min() {
                offer(urgent, Action::Write);
            }
        }
        for index in 1..port.streams.len() {
            if let Some(at) = read_at(index) {
                offer(at, Action::Read(index));
            }
        }
        if self.waves > 1 {
            for wave in 0..self.waves {
                let wave = (wave + port.cluster.last_wave + 1) % self.waves;
                if let Some((at, _)) = candidate(port, wave) {
                    offer(at, Action::Multiply(wave));
                }
            }
        }
        best
    }

    fn read_at(&self, port: &Port, stream: usize) -> Option<Cycle> {
        let queue = &port.streams[stream];
        let job = queue.jobs.front()?;
        let (_, burst) = job.cursor.head()?;
        let written = job.guard().map_or(Some(0), |writer| port.guards.acknowledged(writer))?;
        queue.room(u64::from(burst.bytes) / self.beat, port.free.max(job.ready).max(written))
    }

    fn read(&mut self, class: usize, stream: usize, now: Cycle) {
        let port = &mut self.ports[class];
        port.free = now + 1;
        let ready = port.streams.iter().filter_map(|s| s.jobs.front()).map(|job| job.ready).min();
        port.reading.count(now, ready.unwrap_or(Cycle::MAX));
        while port.places.front().is_some_and(|&free| free <= now) {
            port.places.pop_front();
        }
        let queue = &mut port.streams[stream];
        let Some(job) = queue.jobs.front_mut() else { return };
        let Some((segment, burst)) = job.cursor.head() else { return };
        let (tag, pace, spare) = (job.label, segment.pace, segment.spare_in(&burst));
        let last = job.cursor.advance();
        if last {
            queue.jobs.pop_front();
        }
        queue.reserve(u64::from(burst.bytes) / self.beat, now);
        let Some(arrival) = self.memory.read(port.leader, now + PORT_ISSUE, burst) else {
            // The channel never answers: nothing more can be asked of it either.
            port.places.extend(std::iter::repeat_n(Cycle::MAX, self.read_bursts));
            return;
        };
        port.places.push_back(arrival.last() + PORT_RETURN);
        port.reading.until(arrival.last() + PORT_RETURN);
        if class == 0 {
            self.log.note(tag, now + PORT_ISSUE, arrival.last() + 1, last);
        }
        if let Some(kind) = arrival.fault() {
            let channel = port.leader;
            self.told.push((arrival.last(), Signal::Fault { tag, channel, kind, write: false }));
        }
        match tag {
            Tag::Mac { .. } => {
                queue.held.push_back(Held { tag, arrival, pace, spare });
                self.multiply_ready(class);
            }
            Tag::Record { wave, .. } | Tag::Keys { wave, .. } => {
                queue.held.push_back(Held { tag, arrival, pace, spare });
                self.take_records(wave);
            }
            _ => {
                // Control items leave their small buffers at once.
                queue.reserved -= u64::from(burst.bytes) / self.beat;
                if last {
                    self.finish(tag, arrival.last() + 1, Signal::Arrived(tag));
                }
            }
        }
    }

    /// One class is done with an item; tells when all are.
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

    /// With one wave the order of products is fixed, so each burst is accounted for as soon as it is on its way.
    fn multiply_ready(&mut self, class: usize) {
        if self.waves == 1 {
            while candidate(&self.ports[class], 0).is_some() {
                self.multiply(class, 0);
            }
        }
    }

    /// Takes the next burst of a wave's product, or, in a cycle, passes over a product that has no beats here.
    fn multiply(&mut self, class: usize, wave: usize) {
        let Some((start, held)) = candidate(&self.ports[class], wave) else { return };
        let port = &mut self.ports[class];
        let cluster = &mut port.cluster;
        // The array starves from when any wave's front product could have had its next beat.
        let fronts = cluster.armed.iter().filter_map(|w| w.front().filter(|a| a.beats > 0));
        let hungry = fronts.map(|a| a.start).min().map_or(start, |at| at.max(cluster.free));
        let Some(armed) = cluster.armed[wave].front_mut() else { return };
        if held {
            let queue = &mut port.streams[armed.stream];
            let Some(burst) = queue.held.pop_front() else { return };
            let (beats, pace) = (u64::from(burst.arrival.beats()), u64::from(burst.pace));
            let ready = cluster.free.max(armed.start);
            cluster.free = after_burst(ready, &burst.arrival, pace);
            cluster.cycles.busy += beats * pace;
            cluster.cycles.starved += cluster.free - hungry - beats * pace;
            queue.freed.push_back((cluster.free, beats));
            armed.beats -= beats;
            cluster.last_wave = wave;
            if armed.beats > 0 {
                return;
            }
        } else {
            cluster.cycles.starved += start.saturating_sub(hungry);
            cluster.free = start + 1;
            cluster.nones.remove(&armed.tag);
        }
        let (tag, at) = (armed.tag, cluster.free);
        cluster.armed[wave].pop_front();
        self.finish(tag, at, Signal::Multiplied(tag));
    }

    /// Takes what has come of the record whose turn it is.
    fn take_records(&mut self, wave: usize) {
        let stream = Stream::Record(wave).index(self.waves);
        let Some(front) = self.records[wave].front_mut() else { return };
        let Some(at) = take_in_step(front, &mut self.ports, stream, &mut self.told) else { return };
        self.told.push((at, Signal::Taken(front.tag)));
        self.records[wave].pop_front();
    }

    fn issue_write(&mut self, class: usize, now: Cycle) {
        let port = &mut self.ports[class];
        port.free = now + 1;
        port.count_writing(now);
        let Some(sent) = port.writes.next(now) else { return };
        let (tag, leader) = (sent.label, port.leader);
        let Some(written) = self.memory.write(leader, now + PORT_ISSUE, sent.burst) else {
            port.writes_free = Cycle::MAX;
            return;
        };
        port.writes_free = written.last_beat + 1 - PORT_ISSUE;
        let acknowledged = written.response + PORT_RETURN;
        port.writing.until(acknowledged);
        port.guards.sent(&sent, now, acknowledged);
        if let Some(kind) = written.fault {
            let fault = Signal::Fault { tag, channel: leader, kind, write: true };
            self.told.push((written.response, fault));
        }
        if sent.last {
            // Responses come in order, so the last burst's is the last.
            self.finish(tag, acknowledged, Signal::Written(tag));
        }
    }
}

/// The first cycle, not before `from`, in which a read waits for writes.
fn awaits(port: &Port, job: &Job<Tag>, from: Cycle) -> Option<Cycle> {
    let at = job.ready.max(from);
    let counts = port.guards.acknowledged(job.guard()?).unwrap_or(Cycle::MAX);
    (at < counts).then_some(at)
}

/// When a wave's front product can go on in a cluster, and whether with a burst (or else it has none).
fn candidate(port: &Port, wave: usize) -> Option<(Cycle, bool)> {
    let armed = port.cluster.armed[wave].front()?;
    let ready = port.cluster.free.max(armed.start);
    if armed.beats == 0 {
        let known = if armed.heads { *port.cluster.nones.get(&armed.tag)? } else { 0 };
        return Some((ready.max(known), false));
    }
    let burst = port.streams[armed.stream].held.front().filter(|h| h.tag == armed.tag)?;
    Some((ready.max(burst.arrival.start() + 1), true))
}

/// A unit takes a row of beats, one from every channel that has some left, every `pace` cycles. When all are taken.
fn take_in_step(
    front: &mut Taking,
    ports: &mut [Port],
    stream: usize,
    told: &mut Vec<(Cycle, Signal)>,
) -> Option<Cycle> {
    let mut from = front.taken?;
    while front.left.iter().any(|&left| left > 0) {
        let some = ports.iter().zip(&front.left).filter(|(_, left)| **left > 0);
        let fronts = some.map(|(port, _)| port.streams[stream].held.front().filter(|h| h.tag == front.tag));
        let helds = fronts.collect::<Option<Vec<_>>>()?;
        let burst = helds[0].arrival.beats();
        let after =
            |beats: u32| helds.iter().map(|held| held.after_beats(from, beats, HOP)).max().unwrap_or(from);
        while let Some((mark, reached)) = front.marks.pass(front.beats + u64::from(burst)) {
            told.push((after((mark - front.beats) as u32), Signal::Reached(front.tag, reached)));
        }
        from = after(burst);
        (front.taken, front.beats) = (Some(from), front.beats + u64::from(burst));
        for (port, left) in ports.iter_mut().zip(&mut front.left).filter(|(_, left)| **left > 0) {
            free_front(port, stream, from + HOP);
            *left -= 1;
        }
    }
    Some(from)
}

fn free_front(port: &mut Port, stream: usize, at: Cycle) {
    if let Some(held) = port.streams[stream].held.pop_front() {
        port.streams[stream].freed.push_back((at, held.arrival.beats().into()));
        port.stale = true;
    }
}
