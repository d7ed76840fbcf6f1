//! The block lists of attention in device memory.

use super::Place;
use crate::config::{AccelConfig, KV_BLOCK_TOKENS};
use crate::units::Bytes;

/// Key/value heads, or parts of heads, of a channel that may have lists: a channel keeps a header for each of them, in every slot.
pub const LIST_PLACES: u32 = 8;
/// Beats of entries that a channel keeps, of all slots of two commands: a block RAM is as deep.
pub const LIST_BEATS: u32 = 512;
/// Commands whose lists a channel keeps.
pub const LIST_BANKS: u32 = 2;
/// Bytes of an entry, and of a header.
const WORD: u64 = 8;

/// The block lists of one slot for one `attn`.
///
/// Each channel has the lists of its own heads. Where channels share a head ([`KvLayout`](super::KvLayout)), a block is in the list of the
/// channel that holds it. First come the headers of all the channel's places of heads: how many entries the list has, and the mask of those tokens of
/// the slot's own block that are attended to. Behind these, from a new beat on, comes for each place room for so many entries: which row, the number of the block among those
/// of the head on this channel, and the mask of its tokens. All are 32 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListLayout {
    channels: u32,
    share: u32,
    kv_heads: u32,
    beat: u64,
    entries: u32,
}

/// Where one list lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListPlace {
    /// Channel and offset of the header.
    pub header: Place,
    /// Offset of the first entry.
    pub entries: u64,
}

impl ListLayout {
    /// Lists with room for `entries` older blocks each.
    #[must_use]
    pub fn new(config: &AccelConfig, kv_heads: u32, entries: u32) -> Self {
        let channels = config.channels();
        let share = (channels / kv_heads).max(1);
        Self { channels, share, kv_heads, beat: config.beat().get(), entries }
    }

    /// Beats of headers of a slot that a channel keeps.
    #[must_use]
    pub fn header_beats(config: &AccelConfig) -> u32 {
        (u64::from(LIST_PLACES) * WORD).div_ceil(config.beat().get()) as u32
    }

    /// The most entries that lists of so many heads may have room for, in a program for so many slots.
    #[must_use]
    pub fn most_entries(config: &AccelConfig, slots: u32, kv_heads: u32) -> u32 {
        let beats = LIST_BEATS / LIST_BANKS / slots.max(1);
        beats * (config.beat().get() / WORD) as u32 / Self::new(config, kv_heads, 0).places()
    }

    /// Places of heads, or parts of heads, of a channel.
    #[must_use]
    pub fn places(&self) -> u32 {
        (self.kv_heads * self.share).div_ceil(self.channels)
    }

    /// Channels that share a head.
    #[must_use]
    pub fn share(&self) -> u32 {
        self.share
    }

    /// Entries that a list has room for.
    #[must_use]
    pub fn entries(&self) -> u32 {
        self.entries
    }

    /// Bytes of the headers on each channel, in whole beats.
    #[must_use]
    pub fn header_bytes(&self) -> Bytes {
        Bytes((u64::from(self.places()) * WORD).next_multiple_of(self.beat))
    }

    /// Bytes of a slot's lists on each channel, in whole beats.
    #[must_use]
    pub fn local_bytes(&self) -> Bytes {
        let entries = u64::from(self.places()) * u64::from(self.entries) * WORD;
        Bytes(self.header_bytes().get() + entries.next_multiple_of(self.beat))
    }

    /// The list of those blocks of a head whose number has this remainder, divided by [`ListLayout::share`].
    #[must_use]
    pub fn place(&self, kv_head: u32, residue: u32) -> ListPlace {
        let unit = kv_head * self.share + residue;
        let place = u64::from(unit / self.channels);
        let header = Place { channel: (unit % self.channels) as usize, offset: place * WORD };
        let entries = self.header_bytes().get() + place * u64::from(self.entries) * WORD;
        ListPlace { header, entries }
    }

    /// Where headers stand for which there is no head: on some of the channels, where the heads do not come out even.
    pub fn headless(&self) -> impl Iterator<Item = Place> {
        let channels = self.channels;
        let place = move |unit: u32| Place {
            channel: (unit % channels) as usize,
            offset: u64::from(unit / channels) * WORD,
        };
        (self.kv_heads * self.share..self.places() * channels).map(place)
    }

    /// Older blocks than a slot's own one that are in the lists of a residue.
    #[must_use]
    pub fn rows(&self, own: u32, residue: u32) -> u32 {
        own / self.share + u32::from(residue < own % self.share)
    }

    /// What each channel holds for a slot at position `pos`, of the lists of all heads: block numbers, ascending, and masks. Tokens beyond the position, entries
    /// without a token and those without room are left out.
    #[must_use]
    pub fn record(&self, pos: u32, lists: &[Vec<(u32, u32)>]) -> Vec<Vec<u8>> {
        let own = pos / KV_BLOCK_TOKENS;
        let seen = u32::MAX >> (KV_BLOCK_TOKENS - 1 - pos % KV_BLOCK_TOKENS);
        let mut out = vec![vec![0; self.local_bytes().get() as usize]; self.channels as usize];
        let put = |bytes: &mut [u8], at: u64, words: [u32; 2]| {
            bytes[at as usize..][..WORD as usize].copy_from_slice(bytemuck::bytes_of(&words.map(u32::to_le)));
        };
        for (head, list) in (0..).zip(lists) {
            for residue in 0..self.share {
                let place = self.place(head, residue);
                let bytes = &mut out[place.header.channel];
                let here = |entry: &&(u32, u32)| entry.0 % self.share == residue;
                let older = list.iter().filter(here).filter(|entry| entry.0 < own && entry.1 != 0);
                let mut count = 0;
                for &(block, mask) in older.take(self.entries as usize) {
                    put(bytes, place.entries + u64::from(count) * WORD, [block / self.share, mask]);
                    count += 1;
                }
                let own =
                    list.iter().filter(here).find(|entry| entry.0 == own).map_or(0, |entry| entry.1 & seen);
                put(bytes, place.header.offset, [count, own]);
            }
        }
        out
    }
}
