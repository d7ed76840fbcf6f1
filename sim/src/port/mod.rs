//! One channel's AXI port, cycle by cycle: which address goes out when, and which beats can be used when.
//!
//! # Purpose
//!
//! The reference for the hardware of a port, and the port of the stepping simulation. Reads wait in queues and their
//! beats in buffers, writes wait for gaps; a port decides for at most one burst a cycle, by what it knows in that cycle.
//!
//! # Interface
//!
//! In each cycle, in this order: what comes to the port in that cycle ([`Port::read`], [`Port::write`], [`Port::close`],
//! [`Port::want_room`]), then [`Port::decide`], then what leaves the buffers ([`Port::front`], [`Port::pop`]).
//! Queue 0 is *control*, whose beats leave at once; behind it come, in order of priority, the *record*, *main* and
//! *read-ahead* queues, each once a wave.
//!
//! # Timing
//!
//! `docs/cycles.md`, Streams. A burst that is decided for in cycle `t` is on AXI in `t + `[`PORT_ISSUE`]; its last beat or
//! its response counts for decisions from [`PORT_RETURN`] cycles after it was on the bus.
//!
//! # Verification
//!
//! Against the closed formulas of the other way to advance: `sim/tests/random_programs.rs`. Against the hardware:
//! `tests/tests/rtl_port.rs`.

pub(crate) mod queue;

use crate::dram::Cycle;
use crate::memory::{Arrival, Burst, MemorySystem, Written};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::timing::{PORT_ISSUE, PORT_RETURN};
use queue::{Guards, Job, WriteQueue, enter};
use std::collections::VecDeque;
use std::rc::Rc;

/// A run of consecutive bytes on one channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// First byte, on the channel: a whole number of beats.
    pub addr: u64,
    /// Size in bytes: whole beats.
    pub bytes: u64,
    /// Cycles for which the consumer needs each beat.
    pub pace: u32,
    /// Cycles less for its last beat, of which not all is needed.
    pub spare: u32,
    /// Whether older writes of the item's family may touch it.
    pub guarded: bool,
}

impl Segment {
    /// Cycles less for the last beat of one of its bursts.
    pub(crate) fn spare_in(&self, burst: &Burst) -> u64 {
        let last = burst.addr + u64::from(burst.bytes) == self.addr + self.bytes;
        if last { self.spare.into() } else { 0 }
    }
}

/// A command that writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Writer {
    /// Its wave.
    pub wave: usize,
    /// Its place in the program: later commands write later.
    pub command: usize,
}

/// Something to read: segments in order.
#[derive(Clone, Debug)]
pub struct Item<T> {
    /// What its user knows it by.
    pub label: T,
    /// What to read.
    pub segments: Rc<[Segment]>,
    /// First cycle in which it may be decided for.
    pub ready: Cycle,
    /// Guarded segments wait until the writes up to this one are acknowledged.
    pub after: Option<Writer>,
}

/// A beat in a buffer, or on its way there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Beat<T> {
    /// Of which item.
    pub label: T,
    /// The cycle in which it is on the bus; it can be used from the next one on.
    pub arrives: Cycle,
    /// Cycles for which its consumer needs it.
    pub pace: u64,
    /// Beats of its burst, on the last of them: the room that is free when it is used up. Else 0.
    pub frees: u64,
}

/// What a port decided for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision<T> {
    /// A burst is read.
    Read {
        /// From which queue.
        queue: usize,
        /// Of which item.
        label: T,
        /// Which.
        burst: Burst,
        /// It is the last of its item.
        last: bool,
        /// When its beats come; none when the port is stuck.
        arrival: Option<Arrival>,
    },
    /// A burst is written.
    Write {
        /// Of which job.
        label: T,
        /// Which.
        burst: Burst,
        /// It is the last of its job.
        last: bool,
        /// When it is through; none when the port is stuck.
        written: Option<Written>,
    },
}

/// What holds up a read that could otherwise be decided for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hold {
    /// Its buffer has no room for all of it.
    Room,
    /// A write that it has to come behind is not acknowledged.
    Writes,
    /// As many bursts are under way as may be.
    Places,
}

struct ReadQueue<T> {
    jobs: VecDeque<Job<T>>,
    walked: Cycle,
    capacity: u64,
    reserved: u64,
    freed: Vec<(Cycle, u64)>,
    beats: VecDeque<Beat<T>>,
}

/// One channel's port. See the [module](self).
pub struct Port<T> {
    channel: u32,
    beat: u64,
    read_bursts: usize,
    queues: Vec<ReadQueue<T>>,
    writes: WriteQueue<T>,
    guards: Guards,
    /// For each burst under way, when its place is free.
    places: Vec<Cycle>,
    /// When the data of the writes so far has gone.
    writes_free: Cycle,
    /// From when on the acknowledgements of all writes so far count.
    acknowledged: Cycle,
    stuck: bool,
    reading: u64,
    writing: u64,
}

impl<T: Copy> Port<T> {
    /// The port of a channel, with its buffers divided between so many waves.
    #[must_use]
    pub fn new(config: &AccelConfig, channel: u32, waves: usize) -> Self {
        let buffers = [config.record_beats(), config.main_beats(), config.ahead_beats()];
        let shares = buffers.iter().flat_map(|&beats| vec![u64::from(beats) / waves as u64; waves]);
        let queue = |capacity| ReadQueue {
            jobs: VecDeque::new(),
            walked: 0,
            capacity,
            reserved: 0,
            freed: Vec::new(),
            beats: VecDeque::new(),
        };
        Self {
            channel,
            beat: config.beat().get(),
            read_bursts: config.read_bursts() as usize,
            queues: std::iter::once(u64::MAX).chain(shares).map(queue).collect(),
            writes: WriteQueue::new(config),
            guards: Guards::new(waves),
            places: Vec::new(),
            writes_free: 0,
            acknowledged: 0,
            stuck: false,
            reading: 0,
            writing: 0,
        }
    }

    /// The channel.
    #[must_use]
    pub fn channel(&self) -> u32 {
        self.channel
    }

    /// Queues an item. One without segments only takes a cycle of the walker that feeds the queue.
    pub fn read(&mut self, queue: usize, item: Item<T>) -> Cycle {
        let queue = &mut self.queues[queue];
        let ready = enter(&mut queue.walked, item.ready, item.segments.len());
        if !item.segments.is_empty() {
            queue.jobs.push_back(Job::new(item.label, ready, item.after, item.segments));
        }
        ready
    }

    /// Queues what a command of a wave writes, which is there in cycle `now`.
    pub fn write(&mut self, label: T, wave: usize, segments: &Rc<[Segment]>, now: Cycle) {
        self.writes.push(label, wave, segments, now);
    }

    /// A command will queue no more writes.
    pub fn close(&mut self, writer: Writer, now: Cycle) {
        self.guards.close(&mut self.writes, writer, now);
    }

    /// Somebody begins or ceases to wait for room in the write buffer.
    pub fn want_room(&mut self, wanted: bool, now: Cycle) {
        self.writes.want(wanted, now);
    }

    /// Decides for at most one burst in cycle `now`: control, then writes that cannot wait for a gap, then the other
    /// queues in order, then other writes.
    pub fn decide(&mut self, now: Cycle, memory: &mut MemorySystem) -> Option<Decision<T>> {
        self.count(now);
        let wanted: Vec<usize> = (0..self.queues.len()).filter(|&queue| self.wants(queue, now)).collect();
        let place = self.places.len() < self.read_bursts;
        let write = self.can_write(now) && (wanted.is_empty() || self.urgent(now));
        match wanted.first() {
            Some(&queue) if place && (queue == 0 || !write) => self.issue_read(queue, now, memory),
            _ if write => self.issue_write(now, memory),
            _ => None,
        }
    }

    /// The next beat of a queue, if it can be used in cycle `now`.
    #[must_use]
    pub fn front(&self, queue: usize, now: Cycle) -> Option<&Beat<T>> {
        self.queues[queue].beats.front().filter(|beat| beat.arrives < now)
    }

    /// Takes the next beat of a queue; the port counts its burst's room as free from cycle `free` on.
    pub fn pop(&mut self, queue: usize, free: Cycle) {
        let queue = &mut self.queues[queue];
        if let Some(beat) = queue.beats.pop_front()
            && beat.frees > 0
        {
            queue.freed.push((free, beat.frees));
        }
    }

    /// What holds up the next read of a queue in cycle `now`, if it is there.
    #[must_use]
    pub fn held(&self, queue: usize, now: Cycle) -> Option<Hold> {
        let job = self.queues[queue].jobs.front().filter(|job| job.ready <= now)?;
        if self.awaits(job, now) {
            return Some(Hold::Writes);
        }
        match self.wants(queue, now) {
            false => Some(Hold::Room),
            true => (self.places.len() >= self.read_bursts).then_some(Hold::Places),
        }
    }

    /// Whether writes go before reads in cycle `now` because too many wait or somebody waits for them.
    #[must_use]
    pub fn draining(&self, now: Cycle) -> bool {
        self.writes.draining().is_some_and(|since| since <= now)
    }

    /// The last command of a wave of which all that was written is acknowledged, as is counted in cycle `now`.
    #[must_use]
    pub fn acknowledged(&self, wave: usize, now: Cycle) -> Option<usize> {
        self.guards.last(wave, now)
    }

    /// Cycles in which reads were queued or under way, and in which writes were queued or not acknowledged.
    #[must_use]
    pub fn occupied(&self) -> (u64, u64) {
        (self.reading, self.writing)
    }

    /// Labels of the items that are next, by queue, and jobs that are to be written.
    pub fn waiting(&self) -> (impl Iterator<Item = Option<T>>, usize) {
        (self.queues.iter().map(|queue| queue.jobs.front().map(|job| job.label)), self.writes.len())
    }

    /// What is registered when cycle `now` begins.
    fn count(&mut self, now: Cycle) {
        for queue in &mut self.queues {
            queue.reserved -= queue.freed.iter().filter(|f| f.0 <= now).map(|f| f.1).sum::<u64>();
            queue.freed.retain(|f| f.0 > now);
        }
        self.places.retain(|&free| free > now);
        let queued = self.queues.iter().any(|queue| queue.jobs.front().is_some_and(|job| job.ready <= now));
        self.reading += u64::from(queued || !self.places.is_empty());
        self.writing += u64::from(!self.writes.is_empty() || self.acknowledged > now);
    }

    /// Whether a queue's next read could go out, if it were not for the number of bursts under way.
    fn wants(&self, index: usize, now: Cycle) -> bool {
        let queue = &self.queues[index];
        let Some(job) = queue.jobs.front().filter(|job| job.ready <= now && !self.stuck) else {
            return false;
        };
        let Some((_, burst)) = job.cursor.head() else { return false };
        let room = queue.reserved + u64::from(burst.bytes) / self.beat <= queue.capacity;
        room && !self.awaits(job, now)
    }

    /// Whether a read waits for writes.
    fn awaits(&self, job: &Job<T>, now: Cycle) -> bool {
        let counts = |writer| self.guards.acknowledged(writer).is_some_and(|at| at <= now);
        job.ready <= now && job.guard().is_some_and(|writer| !counts(writer))
    }

    /// Whether writes cannot wait for a gap.
    fn urgent(&self, now: Cycle) -> bool {
        let mut fronts = self.queues.iter().filter_map(|queue| queue.jobs.front());
        fronts.any(|job| self.awaits(job, now)) || self.draining(now)
    }

    fn can_write(&self, now: Cycle) -> bool {
        self.writes.ready().is_some_and(|ready| ready <= now) && self.writes_free <= now && !self.stuck
    }

    fn issue_read(&mut self, index: usize, now: Cycle, memory: &mut MemorySystem) -> Option<Decision<T>> {
        let queue = &mut self.queues[index];
        let job = queue.jobs.front_mut()?;
        let (segment, burst) = job.cursor.head()?;
        let (label, pace) = (job.label, u64::from(segment.pace));
        let spare = segment.spare_in(&burst);
        let last = job.cursor.advance();
        if last {
            queue.jobs.pop_front();
        }
        let arrival = memory.read(self.channel, now + PORT_ISSUE, burst);
        match &arrival {
            Some(arrival) => {
                self.places.push(arrival.last() + PORT_RETURN);
                if index > 0 {
                    queue.expect(label, (pace, spare), arrival);
                }
            }
            None => self.stuck = true,
        }
        Some(Decision::Read { queue: index, label, burst, last, arrival })
    }

    fn issue_write(&mut self, now: Cycle, memory: &mut MemorySystem) -> Option<Decision<T>> {
        let sent = self.writes.next(now)?;
        let written = memory.write(self.channel, now + PORT_ISSUE, sent.burst);
        match &written {
            Some(written) => {
                self.writes_free = written.last_beat + 1 - PORT_ISSUE;
                self.acknowledged = written.response + PORT_RETURN;
                self.guards.sent(&sent, now, self.acknowledged);
            }
            None => self.stuck = true,
        }
        Some(Decision::Write { label: sent.label, burst: sent.burst, last: sent.last, written })
    }
}

impl<T: Copy> ReadQueue<T> {
    fn expect(&mut self, label: T, (pace, spare): (u64, u64), arrival: &Arrival) {
        let beats = arrival.beats();
        self.reserved += u64::from(beats);
        for i in 0..beats {
            let last = i + 1 == beats;
            let frees = if last { u64::from(beats) } else { 0 };
            let pace = if last { pace - spare } else { pace };
            self.beats.push_back(Beat { label, arrives: arrival.beat(i), pace, frees });
        }
    }
}
