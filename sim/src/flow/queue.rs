//! What both flows queue and count: reads and writes cut into bursts, acknowledgements, occupied cycles.

use super::Tag;
use crate::dram::Cycle;
use crate::memory::Burst;
use crate::plan::Segment;
use fastcar_arch::config::{AccelConfig, BURST_BYTES};
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::rc::Rc;

/// How far a port is with the segments of an item.
pub(super) struct Cursor {
    segments: Rc<[Segment]>,
    segment: usize,
    offset: u64,
}

/// What channel 0 read when: from an item's first address to its last beat. Kept for traces only.
#[derive(Default)]
pub(super) struct ReadLog {
    begun: HashMap<Tag, Cycle>,
    done: Option<Vec<(Tag, Range<Cycle>)>>,
}

impl ReadLog {
    pub(super) fn new(keep: bool) -> Self {
        Self { begun: HashMap::new(), done: keep.then(Vec::new) }
    }

    /// An item's burst was addressed in cycle `at` and comes until `end`; `last` says whether that is all.
    pub(super) fn note(&mut self, tag: Tag, at: Cycle, end: Cycle, last: bool) {
        let Some(done) = &mut self.done else { return };
        let begun = *self.begun.entry(tag).or_insert(at);
        if last {
            self.begun.remove(&tag);
            done.push((tag, begun..end));
        }
    }

    pub(super) fn done(&self) -> &[(Tag, Range<Cycle>)] {
        self.done.as_deref().unwrap_or_default()
    }
}

impl Cursor {
    pub(super) fn new(segments: Rc<[Segment]>) -> Self {
        Self { segments, segment: 0, offset: 0 }
    }

    /// The next burst and the segment that it belongs to; none behind the last.
    pub(super) fn head(&self) -> Option<(&Segment, Burst)> {
        let segment = self.segments.get(self.segment)?;
        let addr = segment.addr + self.offset;
        let bytes = (BURST_BYTES - addr % BURST_BYTES).min(segment.bytes - self.offset);
        Some((segment, Burst { addr, bytes: bytes as u32 }))
    }

    /// Goes past the next burst and says whether that was the last.
    pub(super) fn advance(&mut self) -> bool {
        if let Some((segment, burst)) = self.head() {
            let end = self.offset + u64::from(burst.bytes);
            (self.segment, self.offset) =
                if end == segment.bytes { (self.segment + 1, 0) } else { (self.segment, end) };
        }
        self.segment == self.segments.len()
    }
}

/// A read item that a port works on.
pub(super) struct Job {
    pub(super) tag: Tag,
    pub(super) ready: Cycle,
    pub(super) after: Rc<[usize]>,
    pub(super) cursor: Cursor,
}

/// Something that a port writes.
pub(super) struct WriteJob {
    tag: Tag,
    pub(super) ready: Cycle,
    cursor: Cursor,
}

impl Job {
    /// Since when its next burst waits for writes of a class that have not gone out.
    pub(super) fn awaits(&self, writes: &HashMap<(usize, usize), Writes>, class: usize) -> Option<Cycle> {
        let out = |&command: &usize| {
            let key = self.tag.command().map(|c| (c.0, command));
            key.and_then(|k| writes.get(&k)).is_some_and(|w| w.out(class))
        };
        (self.cursor.head()?.0.guarded && !self.after.iter().all(out)).then_some(self.ready)
    }
}

/// What a port has to write. Writes wait for gaps between the reads, so that the memory seldom turns around, unless the
/// port *drains*: from when more than half of the write buffer is queued here, or somebody waits for room in it, until
/// nothing is.
pub(super) struct WriteQueue {
    jobs: VecDeque<WriteJob>,
    beat: u64,
    beats: u64,
    most: u64,
    /// Since when it drains.
    draining: Option<Cycle>,
}

impl WriteQueue {
    pub(super) fn new(config: &AccelConfig) -> Self {
        let most = u64::from(config.write_beats()) / 2;
        Self { jobs: VecDeque::new(), beat: config.beat().get(), beats: 0, most, draining: None }
    }

    pub(super) fn front(&self) -> Option<&WriteJob> {
        self.jobs.front()
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn draining(&self) -> Option<Cycle> {
        self.draining
    }

    pub(super) fn push(&mut self, tag: Tag, segments: &Rc<[Segment]>, ready: Cycle) {
        self.beats += segments.iter().map(|s| s.bytes / self.beat).sum::<u64>();
        self.jobs.push_back(WriteJob { tag, ready, cursor: Cursor::new(segments.clone()) });
        if self.beats > self.most {
            self.drain(ready);
        }
    }

    pub(super) fn drain(&mut self, now: Cycle) {
        if !self.jobs.is_empty() {
            self.draining.get_or_insert(now);
        }
    }

    /// Takes the next burst, and says whether it is the last of its job.
    pub(super) fn next(&mut self) -> Option<(Tag, Burst, bool)> {
        let job = self.jobs.front_mut()?;
        let (_, burst) = job.cursor.head()?;
        let (tag, last) = (job.tag, job.cursor.advance());
        self.beats -= u64::from(burst.bytes) / self.beat;
        if last {
            self.jobs.pop_front();
        }
        if self.jobs.is_empty() {
            self.draining = None;
        }
        Some((tag, burst, last))
    }
}

/// Cycles during which something was under way, as a union of intervals that begin in order.
#[derive(Default)]
pub(super) struct Span {
    start: Cycle,
    end: Cycle,
    closed: u64,
}

impl Span {
    /// Something begins in cycle `at`, behind everything before unless that is still under way.
    pub(super) fn begin(&mut self, at: Cycle) {
        if at > self.end {
            self.closed += self.end - self.start;
            (self.start, self.end) = (at, at);
        }
    }

    /// What is under way ends no earlier than before cycle `at`.
    pub(super) fn until(&mut self, at: Cycle) {
        self.end = self.end.max(at);
    }

    pub(super) fn total(&self) -> u64 {
        self.closed + self.end - self.start
    }
}

/// Marks of a record, and how many of them are behind.
#[derive(Default)]
pub(super) struct Marks {
    marks: Rc<[u64]>,
    reached: usize,
}

impl Marks {
    pub(super) fn new(marks: Rc<[u64]>) -> Self {
        Self { marks, reached: 0 }
    }

    /// Goes past the next mark if it is not behind so many beats: its own number of beats, and its number from 1 on.
    pub(super) fn pass(&mut self, beats: u64) -> Option<(u64, usize)> {
        let mark = *self.marks.get(self.reached).filter(|&&mark| mark <= beats)?;
        self.reached += 1;
        Some((mark, self.reached))
    }
}

/// Acknowledgements of one command's writes, by class of channels.
pub(super) struct Writes {
    pub(super) closed: bool,
    pub(super) left: Vec<u32>,
    pub(super) acknowledged: Vec<Cycle>,
}

impl Writes {
    /// Whether all of a class's writes have gone out.
    pub(super) fn out(&self, class: usize) -> bool {
        self.closed && self.left[class] == 0
    }
}

/// Writes are counted by command; the report's stand alone.
pub(super) fn write_key(tag: Tag) -> (usize, usize) {
    tag.command().unwrap_or((usize::MAX, 0))
}
