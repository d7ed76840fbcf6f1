//! One beat and one cycle at a time: slow, without any closed formula, the reference for [`super::bulk`].

use super::queue::{Cursor, Job, Marks, ReadLog, Span, WriteQueue, Writes, write_key};
use super::{Armed, Flow, Item, MacCycles, Signal, Stream, Tag};
use crate::dram::Cycle;
use crate::memory::MemorySystem;
use crate::plan::Lanes;
use fastcar_arch::config::AccelConfig;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;

/// Cycles without any movement after which nothing is expected to move by itself.
const QUIET: u64 = 1 << 16;

/// A beat in a stream buffer, or on its way there.
#[derive(Clone, Copy)]
struct Beat {
    tag: Tag,
    arrives: Cycle,
    pace: u64,
    /// Beats of its burst, on the last of them: room that is free when it is taken.
    frees: u64,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    reserved: u64,
    freed: Vec<(Cycle, u64)>,
    beats: VecDeque<Beat>,
}

struct ArmedHere {
    tag: Tag,
    stream: usize,
    start: Cycle,
    beats: u64,
}

struct Port {
    leader: u32,
    reads: Vec<Cycle>,
    writes_free: Cycle,
    stuck: bool,
    streams: Vec<Queue>,
    writes: WriteQueue,
    armed: Vec<VecDeque<ArmedHere>>,
    mac_free: Cycle,
    last_wave: usize,
    /// Wave whose burst is being taken.
    in_burst: Option<usize>,
    cycles: MacCycles,
    reading: Span,
    writing: Span,
}

struct Taking {
    tag: Tag,
    in_step: bool,
    started: bool,
    /// Beats not taken, by class.
    left: Vec<u64>,
    /// Beats that have been taken in step, and where to tell so.
    beats: u64,
    marks: Marks,
    free: Vec<Cycle>,
}

/// Moves one beat a cycle.
pub(crate) struct StepFlow {
    memory: MemorySystem,
    beat: u64,
    waves: usize,
    read_bursts: usize,
    capacity: Vec<u64>,
    ports: Vec<Port>,
    records: Vec<VecDeque<Taking>>,
    open: HashMap<Tag, (usize, Cycle)>,
    writes: HashMap<(usize, usize), Writes>,
    told: Vec<(Cycle, Signal)>,
    log: ReadLog,
    cycle: Cycle,
    quiet: u64,
}

impl Flow for StepFlow {
    fn new(config: &AccelConfig, memory: MemorySystem, waves: usize, leaders: &[u32], log: bool) -> Self {
        let share = |beats: u32| vec![u64::from(beats) / waves as u64; waves];
        let mut capacity = vec![u64::MAX];
        capacity.extend(share(config.record_beats()));
        capacity.extend(share(config.main_beats()));
        capacity.extend(share(config.ahead_beats()));
        let port = |&leader: &u32| Port {
            leader,
            reads: Vec::new(),
            writes_free: 0,
            stuck: false,
            streams: (0..Stream::count(waves)).map(|_| Queue::default()).collect(),
            writes: WriteQueue::new(config),
            armed: (0..waves).map(|_| VecDeque::new()).collect(),
            mac_free: 0,
            last_wave: 0,
            in_burst: None,
            cycles: MacCycles::default(),
            reading: Span::default(),
            writing: Span::default(),
        };
        Self {
            memory,
            beat: config.beat().get(),
            waves,
            read_bursts: config.read_bursts() as usize,
            capacity,
            ports: leaders.iter().map(port).collect(),
            records: (0..waves).map(|_| VecDeque::new()).collect(),
            open: HashMap::new(),
            writes: HashMap::new(),
            told: Vec::new(),
            log: ReadLog::new(log),
            cycle: 0,
            quiet: 0,
        }
    }

    fn push(&mut self, stream: Stream, item: Item) {
        self.quiet = 0;
        if let (Stream::Record(wave), Tag::Record { .. }) = (stream, item.tag) {
            let left: Vec<u64> = (0..self.ports.len()).map(|c| item.lanes.beats(c, self.beat)).collect();
            let free = vec![0; left.len()];
            let marks = Marks::new(item.marks.clone());
            let taking =
                Taking { tag: item.tag, in_step: item.in_step, started: false, left, beats: 0, marks, free };
            self.records[wave].push_back(taking);
        } else if stream == Stream::Control {
            let classes = (0..self.ports.len()).filter(|&c| !item.lanes.get(c).is_empty()).count();
            self.open.insert(item.tag, (classes, 0));
        }
        for (class, port) in self.ports.iter_mut().enumerate() {
            let segments = item.lanes.get(class).clone();
            if segments.is_empty() {
                continue;
            }
            if port.streams.iter().all(|s| s.jobs.is_empty()) {
                port.reading.begin(item.ready);
            }
            port.streams[stream.index(self.waves)].jobs.push_back(Job {
                tag: item.tag,
                ready: item.ready,
                after: item.after.clone().into(),
                cursor: Cursor::new(segments),
            });
        }
    }

    fn take(&mut self, wave: usize, tag: Tag, at: Cycle) {
        self.quiet = 0;
        if let Some(front) = self.records[wave].front_mut().filter(|f| f.tag == tag) {
            front.started = true;
            front.free.iter_mut().for_each(|f| *f = at);
        }
    }

    fn turn(&self, wave: usize) -> Option<Tag> {
        self.records[wave].front().map(|f| f.tag)
    }

    fn arm(&mut self, wave: usize, armed: Armed, lanes: &Lanes) {
        self.quiet = 0;
        let stream = armed.stream.index(self.waves);
        self.open.insert(armed.tag, (self.ports.len(), armed.start));
        for (class, port) in self.ports.iter_mut().enumerate() {
            let beats = lanes.beats(class, self.beat);
            port.armed[wave].push_back(ArmedHere { tag: armed.tag, stream, start: armed.start, beats });
        }
    }

    fn write(&mut self, tag: Tag, lanes: &Lanes, ready: Cycle) {
        self.quiet = 0;
        let classes = self.ports.len();
        let fresh = || Writes { closed: false, left: vec![0; classes], acknowledged: vec![0; classes] };
        let state = self.writes.entry(write_key(tag)).or_insert_with(fresh);
        let mut writing = 0;
        for (class, port) in self.ports.iter_mut().enumerate() {
            let segments = lanes.get(class);
            if !segments.is_empty() {
                state.left[class] += 1;
                writing += 1;
                if port.writes.len() == 0 {
                    port.writing.begin(ready);
                }
                port.writes.push(tag, segments, ready);
            }
        }
        self.open.insert(tag, (writing, ready));
    }

    fn close_writes(&mut self, wave: usize, command: usize) {
        self.quiet = 0;
        if let Some(state) = self.writes.get_mut(&(wave, command)) {
            state.closed = true;
        }
    }

    fn drain_writes(&mut self, now: Cycle) {
        self.ports.iter_mut().for_each(|p| p.writes.drain(now));
    }

    fn next(&mut self) -> Option<Cycle> {
        (self.quiet < QUIET).then_some(self.cycle)
    }

    fn advance(&mut self, now: Cycle) {
        self.cycle = now + 1;
        self.quiet += 1;
        for class in 0..self.ports.len() {
            self.free_room(class, now);
        }
        for class in 0..self.ports.len() {
            self.address(class, now);
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
        self.ports[0].cycles
    }

    fn reads(&self) -> &[(Tag, Range<Cycle>)] {
        self.log.done()
    }

    fn occupied(&self) -> (u64, u64) {
        (self.ports[0].reading.total(), self.ports[0].writing.total())
    }

    fn describe(&self) -> String {
        let line = |p: &Port| {
            let jobs: Vec<Option<Tag>> = p.streams.iter().map(|s| s.jobs.front().map(|j| j.tag)).collect();
            format!("channel {}: streams wait with {jobs:?}, {} writes queued\n", p.leader, p.writes.len())
        };
        self.ports.iter().map(line).collect()
    }
}

impl StepFlow {
    fn free_room(&mut self, class: usize, now: Cycle) {
        for queue in &mut self.ports[class].streams {
            let freed: u64 = queue.freed.iter().filter(|f| f.0 <= now).map(|f| f.1).sum();
            queue.reserved -= freed;
            queue.freed.retain(|f| f.0 > now);
        }
        self.ports[class].reads.retain(|&done| done > now);
    }

    /// Sends at most one address: control, then writes that cannot wait for a gap, then the other streams in order, then
    /// other writes.
    fn address(&mut self, class: usize, now: Cycle) {
        let streams = 0..Stream::count(self.waves);
        let port = &self.ports[class];
        let wanted = streams.filter(|&stream| self.wants_read(class, stream, now)).collect::<Vec<_>>();
        let reads = port.reads.len() < self.read_bursts;
        let fronts = port.streams.iter().filter_map(|s| s.jobs.front());
        let awaited = fronts.filter_map(|job| job.awaits(&self.writes, class));
        let urgent = awaited.chain(port.writes.draining()).any(|since| since <= now);
        let write = self.can_write(class, now) && (urgent || wanted.is_empty());
        match wanted.first() {
            Some(&stream) if reads && (stream == 0 || !write) => self.read(class, stream, now),
            _ if write => self.issue_write(class, now),
            _ => {}
        }
    }

    /// Whether a queue's next read could go out, if it were not for the number of bursts under way.
    fn wants_read(&self, class: usize, stream: usize, now: Cycle) -> bool {
        let port = &self.ports[class];
        let queue = &port.streams[stream];
        let Some(job) = queue.jobs.front().filter(|j| j.ready <= now) else { return false };
        let Some((segment, burst)) = job.cursor.head() else { return false };
        let room = queue.reserved + u64::from(burst.bytes) / self.beat <= self.capacity[stream];
        let written = |&command: &usize| {
            let key = job.tag.command().map(|c| (c.0, command));
            key.and_then(|k| self.writes.get(&k))
                .is_some_and(|w| w.out(class) && w.acknowledged[class] <= now)
        };
        let safe = !segment.guarded || job.after.iter().all(written);
        room && safe && !port.stuck
    }

    fn read(&mut self, class: usize, stream: usize, now: Cycle) {
        self.quiet = 0;
        let port = &mut self.ports[class];
        let queue = &mut port.streams[stream];
        let Some(job) = queue.jobs.front_mut() else { return };
        let Some((segment, burst)) = job.cursor.head() else { return };
        let (tag, pace) = (job.tag, u64::from(segment.pace));
        let last = job.cursor.advance();
        if last {
            queue.jobs.pop_front();
        }
        let Some(arrival) = self.memory.read(port.leader, now, burst) else {
            port.stuck = true;
            return;
        };
        port.reads.push(arrival.last());
        port.reading.until(arrival.last() + 1);
        if class == 0 {
            self.log.note(tag, now, arrival.last() + 1, last);
        }
        if let Some(kind) = arrival.fault() {
            let fault = Signal::Fault { tag, channel: port.leader, kind, write: false };
            self.told.push((arrival.last(), fault));
        }
        if stream == 0 {
            if last {
                self.finish(tag, arrival.last() + 1, Signal::Arrived(tag));
            }
            return;
        }
        let beats = arrival.beats();
        queue.reserved += u64::from(beats);
        for i in 0..beats {
            let frees = if i + 1 == beats { u64::from(beats) } else { 0 };
            queue.beats.push_back(Beat { tag, arrives: arrival.beat(i), pace, frees });
        }
    }

    fn can_write(&self, class: usize, now: Cycle) -> bool {
        let port = &self.ports[class];
        let ready = port.writes.front().is_some_and(|j| j.ready <= now);
        ready && port.writes_free <= now && !port.stuck
    }

    fn issue_write(&mut self, class: usize, now: Cycle) {
        self.quiet = 0;
        let port = &mut self.ports[class];
        let Some((tag, burst, last)) = port.writes.next() else { return };
        let leader = port.leader;
        let Some(written) = self.memory.write(leader, now, burst) else {
            port.stuck = true;
            return;
        };
        port.writes_free = written.last_beat + 1;
        port.writing.until(written.response + 1);
        if let Some(kind) = written.fault {
            self.told.push((written.response, Signal::Fault { tag, channel: leader, kind, write: true }));
        }
        if last {
            if let Some(state) = self.writes.get_mut(&write_key(tag)) {
                state.left[class] -= 1;
                state.acknowledged[class] = state.acknowledged[class].max(written.response + 1);
            }
            self.finish(tag, written.response + 1, Signal::Written(tag));
        }
    }

    fn finish(&mut self, tag: Tag, at: Cycle, signal: Signal) {
        if let Some((left, latest)) = self.open.get_mut(&tag) {
            *left -= 1;
            *latest = (*latest).max(at);
            if *left == 0 {
                let at = *latest;
                self.open.remove(&tag);
                self.told.push((at, signal));
            }
        }
    }

    /// Gives the array of a cluster its next beat, if it is free and there is one.
    fn multiply(&mut self, class: usize, now: Cycle) {
        if now < self.ports[class].mac_free {
            return;
        }
        let order = match self.ports[class].in_burst {
            Some(wave) => vec![wave],
            None => {
                (1..=self.waves).map(|i| (self.ports[class].last_wave + i) % self.waves).collect::<Vec<_>>()
            }
        };
        for wave in order {
            self.end_empty(class, wave, now);
            let port = &mut self.ports[class];
            let Some(armed) = port.armed[wave].front_mut().filter(|a| a.start <= now) else { continue };
            let queue = &mut port.streams[armed.stream];
            let here = |b: &&Beat| b.tag == armed.tag && b.arrives < now;
            let Some(&beat) = queue.beats.front().filter(here) else { continue };
            queue.beats.pop_front();
            self.quiet = 0;
            armed.beats -= 1;
            port.mac_free = now + beat.pace;
            port.cycles.busy += beat.pace;
            port.in_burst = (beat.frees == 0).then_some(wave);
            if beat.frees > 0 {
                queue.freed.push((port.mac_free, beat.frees));
                port.last_wave = wave;
            }
            if armed.beats == 0 {
                let (tag, at) = (armed.tag, port.mac_free);
                port.armed[wave].pop_front();
                self.finish(tag, at, Signal::Multiplied(tag));
            }
            return;
        }
        let port = &mut self.ports[class];
        let waits = |a: &ArmedHere| a.start <= now && a.beats > 0;
        if port.armed.iter().any(|w| w.front().is_some_and(waits)) {
            port.cycles.starved += 1;
        }
    }

    /// Ends products that have no beats on this channel.
    fn end_empty(&mut self, class: usize, wave: usize, now: Cycle) {
        loop {
            let armed = &mut self.ports[class].armed[wave];
            let Some(tag) = armed.front().filter(|a| a.beats == 0 && a.start <= now).map(|a| a.tag) else {
                return;
            };
            armed.pop_front();
            self.finish(tag, now, Signal::Multiplied(tag));
        }
    }

    fn take_records(&mut self, wave: usize, now: Cycle) {
        let stream = Stream::Record(wave).index(self.waves);
        let Some(front) = self.records[wave].front_mut().filter(|f| f.started) else { return };
        let ports = &mut self.ports;
        let here = |port: &Port| {
            port.streams[stream].beats.front().is_some_and(|b| b.tag == front.tag && b.arrives < now)
        };
        let in_step = front.in_step && !ports.iter().all(here);
        let mut taken = false;
        for (class, port) in ports.iter_mut().enumerate() {
            if in_step || now < front.free[class] || !here(port) {
                continue;
            }
            let queue = &mut port.streams[stream];
            if let Some(beat) = queue.beats.pop_front() {
                self.quiet = 0;
                taken = true;
                front.left[class] -= 1;
                front.free[class] = now + beat.pace;
                if beat.frees > 0 {
                    queue.freed.push((front.free[class], beat.frees));
                }
            }
        }
        if taken && front.in_step {
            front.beats += 1;
            if let Some((_, reached)) = front.marks.pass(front.beats) {
                self.told.push((front.free[0], Signal::Reached(front.tag, reached)));
            }
        }
        if front.left.iter().all(|&l| l == 0) {
            let at = front.free.iter().copied().max().unwrap_or(now);
            self.told.push((at, Signal::Taken(front.tag)));
            self.records[wave].pop_front();
        }
    }
}
