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

/// Cycles during which something was queued or under way.
#[derive(Default)]
pub(super) struct Span {
    /// Cycles before this one are counted.
    counted: Cycle,
    /// Something is under way until before this cycle.
    end: Cycle,
    total: u64,
}

impl Span {
    /// Counts the cycles before `now`, in which nothing has left the queue; something waits in it from cycle `queued` on.
    pub(super) fn count(&mut self, now: Cycle, queued: Cycle) {
        let under_way = self.end.min(now).max(self.counted);
        self.total += under_way - self.counted + now.saturating_sub(queued.max(under_way));
        self.counted = self.counted.max(now);
    }

    /// What is under way ends no earlier than before cycle `at`.
    pub(super) fn until(&mut self, at: Cycle) {
        self.end = self.end.max(at);
    }

    /// With nothing queued any more.
    pub(super) fn total(&self) -> u64 {
        self.total + self.end.saturating_sub(self.counted)
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
