//! What both flows count and log.

use super::Tag;
use crate::dram::Cycle;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

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

/// Cycles during which something was queued or under way, as a union of intervals.
#[derive(Default)]
pub(super) struct Span {
    /// End of the interval before.
    floor: Cycle,
    start: Cycle,
    end: Cycle,
    closed: u64,
}

impl Span {
    /// Something is queued from cycle `at` on; `idle` if nothing else is queued.
    pub(super) fn begin(&mut self, at: Cycle, idle: bool) {
        if idle && at > self.end {
            self.closed += self.end - self.start;
            self.floor = self.end;
            (self.start, self.end) = (at, at);
        } else if at < self.start {
            self.start = at.max(self.floor);
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
