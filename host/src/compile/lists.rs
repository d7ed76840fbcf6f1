//! Block lists in device memory.

use crate::attention::{Pattern, Place};
use fastcar_arch::config::{AccelConfig, KV_BLOCK_TOKENS};
use fastcar_arch::layout::{ListLayout, MemoryFull, MemoryMap};
use fastcar_arch::units::Bytes;

/// The block lists of all slots for the layers whose heads have the same patterns: one record per slot, which the host
/// writes before each step in which it changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListRecords {
    /// Record of slot 0: the `list` operand of the `attn` commands that read it.
    pub addr: u64,
    /// Local bytes from one slot's record to the next.
    pub stride: u64,
    /// What a record looks like.
    pub layout: ListLayout,
    /// The pattern of each key/value head.
    pub patterns: Vec<Pattern>,
}

impl ListRecords {
    /// Allocates the records of `slots` sequences of up to `positions` tokens.
    pub(super) fn allocate(
        map: &mut MemoryMap,
        config: &AccelConfig,
        name: String,
        patterns: Vec<Pattern>,
        slots: u32,
        positions: u32,
    ) -> Result<Self, MemoryFull> {
        let kv_heads = patterns.len() as u32;
        let share = ListLayout::new(config, kv_heads, 0).share();
        let most = patterns.iter().map(|p| p.most_entries(positions)).max().unwrap_or(0);
        // Longer lists may never come: sequences are looked at when they begin.
        let all = positions.div_ceil(KV_BLOCK_TOKENS).div_ceil(share);
        let entries = most.min(all).min(ListLayout::most_entries(config, slots, kv_heads)).max(1);
        let layout = ListLayout::new(config, kv_heads, entries);
        let stride = layout.local_bytes().get();
        let addr = map.allocate(name, Bytes(stride * u64::from(slots)))?;
        Ok(Self { addr, stride, layout, patterns })
    }

    /// The list of each key/value head for a token: block numbers, each with the mask of its tokens.
    #[must_use]
    pub fn lists(&self, place: Place) -> Vec<Vec<(u32, u32)>> {
        self.patterns.iter().map(|p| p.blocks(place)).collect()
    }

    /// Entries of the longest list of a sequence with so many tokens, if a list has no room for them.
    #[must_use]
    pub fn overflow(&self, prompt: u32, period: u32, tokens: u32) -> Option<u32> {
        let share = self.layout.share();
        let of = |place: Place, pattern: &Pattern| {
            let own = place.token / KV_BLOCK_TOKENS;
            let older: Vec<_> =
                pattern.blocks(place).into_iter().map(|b| b.0).filter(|&block| block < own).collect();
            let on = |residue| older.iter().filter(|&&block| block % share == residue).count() as u32;
            (0..share).map(on).max().unwrap_or(0)
        };
        let mut patterns: Vec<&Pattern> = Vec::new();
        for pattern in &self.patterns {
            if !patterns.contains(&pattern) {
                patterns.push(pattern);
            }
        }
        let of_token = |token| patterns.iter().map(move |p| of(Place { token, prompt, period }, p)).max();
        let longest = (0..tokens).filter_map(of_token).max().unwrap_or(0);
        (longest > self.layout.entries()).then_some(longest)
    }

    /// What to say of a list without room.
    pub(crate) fn no_room(&self, needed: u32) -> String {
        format!(
            "its attention needs block lists of {needed} entries, a channel of this configuration keeps {} for a head: ask for fewer slots or positions, or for a narrower pattern",
            self.layout.entries()
        )
    }

    /// A slot's record for a token, by channel.
    #[must_use]
    pub fn record(&self, place: Place) -> Vec<Vec<u8>> {
        self.layout.record(place.token, &self.lists(place))
    }
}
