//! Block lists in device memory.

use crate::attention::{Pattern, Place};
use fastcar_arch::layout::{MemoryFull, MemoryMap, RecordLayout};
use fastcar_arch::units::Bytes;

/// The block lists of all slots for the layers whose heads have the same patterns: one record per slot, which the host
/// writes before each step in which it changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListRecords {
    /// Record of slot 0: the `list` operand of the `attn` commands that read it.
    pub addr: u64,
    /// Local bytes from one slot's record to the next.
    pub stride: u64,
    /// Entries for which each head's list has room.
    pub entries: u16,
    /// The pattern of each key/value head.
    pub patterns: Vec<Pattern>,
}

impl ListRecords {
    /// Allocates the records of `slots` sequences of up to `positions` tokens.
    pub(super) fn allocate(
        map: &mut MemoryMap,
        layout: &RecordLayout,
        name: String,
        patterns: Vec<Pattern>,
        slots: u32,
        positions: u32,
    ) -> Result<Self, MemoryFull> {
        let entries = patterns.iter().map(|p| p.most_entries(positions)).max().unwrap_or(0);
        let stride = layout.list_bytes(patterns.len() as u64, entries.into()).get();
        let addr = map.allocate(name, Bytes(stride * u64::from(slots)))?;
        Ok(Self { addr, stride, entries: entries as u16, patterns })
    }

    /// The list of each key/value head for a token: block numbers, each with the mask of its tokens.
    #[must_use]
    pub fn lists(&self, place: Place) -> Vec<Vec<(u32, u32)>> {
        self.patterns.iter().map(|p| p.blocks(place)).collect()
    }

    /// A slot's record for a token: per head the number of entries, 0, then room for the entries.
    #[must_use]
    pub fn record(&self, place: Place) -> Vec<u32> {
        let room = usize::from(self.entries);
        let mut words = Vec::with_capacity(self.patterns.len() * 2 * (room + 1));
        for list in self.lists(place) {
            words.extend([list.len() as u32, 0]);
            let rest = room.saturating_sub(list.len());
            words.extend(list.iter().flat_map(|&(block, mask)| [block, mask]));
            words.extend(std::iter::repeat_n(0, 2 * rest));
        }
        words
    }
}
