//! On-chip state of one slot.

use fastcar_arch::config::{AccelConfig, LINE_WORDS};
use fastcar_arch::isa::{AbBlock, IndexBy, VbLine};
use fastcar_arch::num::mx::{BLOCK, E8M0, Int8Block};
use fastcar_arch::step::SlotEntry;
use std::ops::Range;

const WORDS: usize = LINE_WORDS as usize;

/// What an unused or unchanged block of the activation buffer holds.
pub(crate) const ZERO_BLOCK: Int8Block = Int8Block { scale: E8M0(0), elems: [0; BLOCK] };

/// Vector buffer, activation buffer and block mask of one slot.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) entry: SlotEntry,
    pub(crate) vb: Vec<f32>,
    pub(crate) ab: Vec<Int8Block>,
    /// Block mask of the last `delta` command.
    pub(crate) mask: Vec<bool>,
    /// Whether the last `delta` command had no reference to start from.
    pub(crate) fresh: bool,
}

impl Slot {
    pub(crate) fn new(config: &AccelConfig) -> Self {
        Self {
            entry: SlotEntry::idle(),
            vb: vec![0.0; config.vb_lines() as usize * WORDS],
            ab: vec![ZERO_BLOCK; config.ab_blocks() as usize],
            mask: Vec::new(),
            fresh: true,
        }
    }

    /// Words of the vector buffer.
    pub(crate) fn words(&self, first: VbLine, words: usize) -> &[f32] {
        &self.vb[range(first, words)]
    }

    /// Words of the vector buffer, to write.
    pub(crate) fn words_mut(&mut self, first: VbLine, words: usize) -> &mut [f32] {
        &mut self.vb[range(first, words)]
    }

    /// Blocks of the activation buffer.
    pub(crate) fn blocks(&self, first: AbBlock, blocks: usize) -> &[Int8Block] {
        &self.ab[usize::from(first.0)..usize::from(first.0) + blocks]
    }

    /// The slot's index into a memory operand; `None` where there is none and the access is skipped.
    pub(crate) fn index(&self, by: IndexBy) -> Option<u64> {
        match by {
            IndexBy::None => Some(0),
            IndexBy::Position => Some(self.entry.pos.into()),
            IndexBy::Ring => self.entry.ring().map(u64::from),
            IndexBy::Token0 => Some(self.entry.token[0].into()),
            IndexBy::Token1 => Some(self.entry.token[1].into()),
            IndexBy::Token2 => Some(self.entry.token[2].into()),
            IndexBy::Token3 => Some(self.entry.token[3].into()),
        }
    }
}

/// Word range of a vector in the vector buffer.
pub(crate) fn range(first: VbLine, words: usize) -> Range<usize> {
    let start = usize::from(first.0) * WORDS;
    start..start + words
}
