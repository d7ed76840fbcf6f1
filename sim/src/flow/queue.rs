//! What both flows queue and count: reads and writes cut into bursts, acknowledgements, occupied cycles.

use super::Tag;
use crate::dram::Cycle;
use crate::memory::Burst;
use crate::plan::Segment;
use fastcar_arch::config::BURST_BYTES;
use std::rc::Rc;

/// How far a port is with the segments of an item.
pub(super) struct Cursor {
    segments: Rc<[Segment]>,
    segment: usize,
    offset: u64,
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
    pub(super) tag: Tag,
    pub(super) ready: Cycle,
    pub(super) cursor: Cursor,
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

/// Acknowledgements of one command's writes, by class of channels.
pub(super) struct Writes {
    pub(super) closed: bool,
    pub(super) left: Vec<u32>,
    pub(super) acknowledged: Vec<Cycle>,
}

/// Writes are counted by command; the report's stand alone.
pub(super) fn write_key(tag: Tag) -> (usize, usize) {
    tag.command().unwrap_or((usize::MAX, 0))
}
