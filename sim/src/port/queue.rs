//! What a port has to do: reads and writes cut into bursts, and the writes that reads wait for.

use super::{Segment, Writer};
use crate::dram::Cycle;
use crate::memory::Burst;
use fastcar_arch::config::{AccelConfig, BURST_BYTES};
use std::collections::VecDeque;
use std::rc::Rc;

/// How far a port is with the segments of an item.
pub(crate) struct Cursor {
    segments: Rc<[Segment]>,
    segment: usize,
    offset: u64,
}

impl Cursor {
    pub(crate) fn new(segments: Rc<[Segment]>) -> Self {
        Self { segments, segment: 0, offset: 0 }
    }

    /// The next burst and the segment that it belongs to; none behind the last.
    pub(crate) fn head(&self) -> Option<(&Segment, Burst)> {
        let segment = self.segments.get(self.segment)?;
        let addr = segment.addr + self.offset;
        let bytes = (BURST_BYTES - addr % BURST_BYTES).min(segment.bytes - self.offset);
        Some((segment, Burst { addr, bytes: bytes as u32 }))
    }

    /// Goes past the next burst and says whether that was the last.
    pub(crate) fn advance(&mut self) -> bool {
        if let Some((segment, burst)) = self.head() {
            let end = self.offset + u64::from(burst.bytes);
            (self.segment, self.offset) =
                if end == segment.bytes { (self.segment + 1, 0) } else { (self.segment, end) };
        }
        self.segment == self.segments.len()
    }
}

/// A read item that a port works on.
pub(crate) struct Job<T> {
    pub(crate) label: T,
    pub(crate) ready: Cycle,
    after: Option<Writer>,
    pub(crate) cursor: Cursor,
}

impl<T> Job<T> {
    pub(crate) fn new(label: T, ready: Cycle, after: Option<Writer>, segments: Rc<[Segment]>) -> Self {
        Self { label, ready, after, cursor: Cursor::new(segments) }
    }

    /// The writer that its next burst has to come behind.
    pub(crate) fn guard(&self) -> Option<Writer> {
        self.after.filter(|_| self.cursor.head().is_some_and(|head| head.0.guarded))
    }
}

/// The cycle in which an item enters its queue, from which it may be addressed: its walker gives one run of bytes a cycle,
/// and takes one to find that there is none.
pub(crate) fn enter(walked: &mut Cycle, ready: Cycle, segments: usize) -> Cycle {
    let entry = ready.max(*walked);
    *walked = entry + segments.max(1) as Cycle;
    entry
}

/// Something that a port writes.
struct WriteJob<T> {
    label: T,
    wave: usize,
    ready: Cycle,
    cursor: Cursor,
    /// Commands that have nothing more to write behind it.
    closes: Vec<usize>,
}

/// A burst that goes out.
pub(crate) struct WriteBurst<T> {
    pub(crate) label: T,
    pub(crate) burst: Burst,
    /// It is the last of its job.
    pub(crate) last: bool,
    wave: usize,
    /// Commands that have nothing more to write behind it.
    closes: Vec<usize>,
}

/// What a port has to write. Writes wait for gaps between the reads, so that the memory seldom turns around, unless the
/// port *drains*: from behind a cycle in which more than half of the write buffer is queued here, or somebody waits for
/// room in it, until behind one in which nothing is queued.
pub(crate) struct WriteQueue<T> {
    jobs: VecDeque<WriteJob<T>>,
    beat: u64,
    beats: u64,
    most: u64,
    /// Somebody waits for room.
    wanted: bool,
    /// Since when it drains, if there is something to write.
    draining: Option<Cycle>,
    /// When the last burst of all went out.
    emptied: Cycle,
}

impl<T: Copy> WriteQueue<T> {
    pub(crate) fn new(config: &AccelConfig) -> Self {
        let most = u64::from(config.write_beats()) / 2;
        let beat = config.beat().get();
        Self { jobs: VecDeque::new(), beat, beats: 0, most, wanted: false, draining: None, emptied: 0 }
    }

    /// When the first job was queued.
    pub(crate) fn ready(&self) -> Option<Cycle> {
        self.jobs.front().map(|job| job.ready)
    }

    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(crate) fn draining(&self) -> Option<Cycle> {
        self.draining
    }

    pub(crate) fn push(&mut self, label: T, wave: usize, segments: &Rc<[Segment]>, ready: Cycle) {
        if self.jobs.is_empty() && ready > self.emptied + 1 {
            self.draining = None;
        }
        self.beats += segments.iter().map(|s| s.bytes / self.beat).sum::<u64>();
        let cursor = Cursor::new(segments.clone());
        self.jobs.push_back(WriteJob { label, wave, ready, cursor, closes: Vec::new() });
        if self.beats > self.most || self.wanted {
            self.draining.get_or_insert(ready + 1);
        }
    }

    /// A command has nothing more to write; says whether all of its wave has gone out.
    fn close(&mut self, writer: Writer) -> bool {
        let job = self.jobs.iter_mut().rfind(|job| job.wave == writer.wave);
        let open = job.is_some();
        if let Some(job) = job {
            job.closes.push(writer.command);
        }
        !open
    }

    /// Somebody begins or ceases to wait for room.
    pub(crate) fn want(&mut self, wanted: bool, now: Cycle) {
        self.wanted = wanted;
        if wanted && !self.jobs.is_empty() {
            self.draining.get_or_insert(now + 1);
        }
    }

    /// Takes the next burst in cycle `now`.
    pub(crate) fn next(&mut self, now: Cycle) -> Option<WriteBurst<T>> {
        let job = self.jobs.front_mut()?;
        let (_, burst) = job.cursor.head()?;
        let (label, wave, last) = (job.label, job.wave, job.cursor.advance());
        let closes = if last { std::mem::take(&mut job.closes) } else { Vec::new() };
        self.beats -= u64::from(burst.bytes) / self.beat;
        if last {
            self.jobs.pop_front();
        }
        self.emptied = now;
        Some(WriteBurst { label, burst, last, wave, closes })
    }
}

/// How far a port is with the writes of a wave's commands. They go out and are acknowledged in the order of the commands,
/// so that one stands for all before it; one a cycle is found to be acknowledged.
#[derive(Clone, Default)]
struct Wrote {
    /// When the last write of the wave that went out is acknowledged.
    latest: Cycle,
    /// Commands of which everything has gone out, and when they are acknowledged, in order.
    acknowledged: VecDeque<(usize, Cycle)>,
}

/// How far a port is with the writes that its reads wait for.
pub(crate) struct Guards {
    waves: Vec<Wrote>,
}

impl Guards {
    pub(crate) fn new(waves: usize) -> Self {
        Self { waves: vec![Wrote::default(); waves] }
    }

    /// A command has nothing more to write.
    pub(crate) fn close<T: Copy>(&mut self, writes: &mut WriteQueue<T>, writer: Writer, now: Cycle) {
        if writes.close(writer) {
            self.pass(writer, now, now);
        }
    }

    /// A burst goes out in cycle `now` whose acknowledgement counts from cycle `at` on.
    pub(crate) fn sent<T>(&mut self, burst: &WriteBurst<T>, now: Cycle, at: Cycle) {
        self.waves[burst.wave].latest = at;
        for &command in &burst.closes {
            self.pass(Writer { wave: burst.wave, command }, now, at);
        }
    }

    fn pass(&mut self, Writer { wave, command }: Writer, now: Cycle, at: Cycle) {
        let wrote = &mut self.waves[wave];
        while wrote.acknowledged.get(1).is_some_and(|next| next.1 <= now) {
            wrote.acknowledged.pop_front();
        }
        let next = wrote.acknowledged.back().map_or(0, |last| last.1 + 1);
        wrote.acknowledged.push_back((command, wrote.latest.max(at).max(next)));
    }

    /// The last command of a wave whose acknowledgements count in cycle `now`.
    pub(crate) fn last(&self, wave: usize, now: Cycle) -> Option<usize> {
        self.waves[wave].acknowledged.iter().take_while(|a| a.1 <= now).last().map(|a| a.0)
    }

    /// From when on the acknowledgements of everything up to a command count; none where it has not all gone out.
    pub(crate) fn acknowledged(&self, writer: Writer) -> Option<Cycle> {
        let wrote = &self.waves[writer.wave];
        wrote.acknowledged.iter().find(|a| a.0 >= writer.command).map(|a| a.1)
    }
}
