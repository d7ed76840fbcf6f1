//! Where every datum lies in device memory: the spread of records, weights and caches over the memory channels.
//!
//! An address in a command is *channel-local*. Each layout maps a datum's index to a [`Place`]: a channel and the
//! byte offset from the command's address on that channel. The steady streams (weights, keys, values) are laid out
//! in the order in which a cluster consumes them, so that each channel delivers one useful beat per cycle.
//! Which bytes lie where depends on the configuration; the values computed never do.

use crate::config::{AccelConfig, KV_BLOCK_TOKENS, LINE_WORDS, ROW_GRANULE};
use crate::isa::WeightFormat;
use crate::units::Bytes;
use std::ops::Range;

mod lists;

pub use lists::{LIST_BANKS, LIST_BEATS, LIST_PLACES, ListLayout, ListPlace};

/// Version of the layouts; part of the identity hash.
pub const LAYOUT_VERSION: u32 = 4;

/// Elements of an MX block.
const BLOCK: u64 = LINE_WORDS as u64;

/// A channel and a byte offset from the command's address on it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place {
    /// Memory channel.
    pub channel: usize,
    /// Local byte offset.
    pub offset: u64,
}

/// Records: byte strings striped over the channels, beat by beat. What the device writes is whole beats on every channel; behind
/// the record they are zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordLayout {
    channels: u64,
    beat: u64,
}

impl RecordLayout {
    /// The record layout of a configuration.
    #[must_use]
    pub fn new(config: &AccelConfig) -> Self {
        Self { channels: config.channels().into(), beat: config.beat().get() }
    }

    /// Bytes that a record of `bytes` bytes occupies on each channel: whole beats, the same on all.
    #[must_use]
    pub fn local_bytes(&self, bytes: u64) -> Bytes {
        Bytes(bytes.div_ceil(self.channels * self.beat) * self.beat)
    }

    /// Bytes of a vector record of `words` binary32 words on each channel.
    #[must_use]
    pub fn vector_bytes(&self, words: u64) -> Bytes {
        self.local_bytes(words * 4)
    }

    /// Bytes of an MXINT8 record on each channel: all elements, then all scale bytes.
    #[must_use]
    pub fn act_bytes(&self, blocks: u64) -> Bytes {
        self.local_bytes(blocks * (BLOCK + 1))
    }

    /// The pieces of a record in order: each a place, and the range of the record's bytes that lies there.
    pub fn pieces(&self, bytes: u64) -> impl Iterator<Item = (Place, std::ops::Range<usize>)> + use<> {
        let Self { channels, beat } = *self;
        (0..bytes.div_ceil(beat)).map(move |i| {
            let start = i * beat;
            let end = bytes.min(start + beat);
            let place = Place { channel: (i % channels) as usize, offset: i / channels * beat };
            (place, start as usize..end as usize)
        })
    }
}

/// One weight matrix, block-major.
///
/// Rows are dealt to the channels one by one: row r lies on channel `r % channels`, as row `r / channels` of its chunk, so
/// that clusters that each give out a row a cycle give out a matrix's rows in order. On a channel, for each 32-input block
/// in turn, the chunk's rows follow in groups of `beat` rows: one beat of scale bytes (one a row), then the rows'
/// elements. Skipping an input block therefore skips one contiguous run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WeightLayout {
    channels: u64,
    rows: u64,
    blocks: u64,
    chunk_rows: u64,
    beat: u64,
    elem_bytes: u64,
}

impl WeightLayout {
    /// The layout of a matrix of `rows` rows of `blocks` blocks.
    #[must_use]
    pub fn new(config: &AccelConfig, rows: u32, blocks: u32, format: WeightFormat) -> Self {
        Self {
            channels: config.channels().into(),
            rows: rows.into(),
            blocks: blocks.into(),
            chunk_rows: Self::chunk_rows_of(config, rows).into(),
            beat: config.beat().get(),
            elem_bytes: Self::elem_bytes_of(format),
        }
    }

    /// Rows that each channel has room for of a matrix of `rows` rows: whole granules.
    #[must_use]
    pub fn chunk_rows_of(config: &AccelConfig, rows: u32) -> u32 {
        rows.div_ceil(config.channels() * ROW_GRANULE) * ROW_GRANULE
    }

    /// Bytes of a block's elements.
    #[must_use]
    pub fn elem_bytes_of(format: WeightFormat) -> u64 {
        match format {
            WeightFormat::Int8 => BLOCK,
            WeightFormat::Fp4 => BLOCK / 2,
        }
    }

    /// Rows that each channel has room for.
    #[must_use]
    pub fn chunk_rows(&self) -> u64 {
        self.chunk_rows
    }

    /// The matrix rows that a channel holds, in the order of its chunk.
    pub fn rows_of(&self, channel: usize) -> impl Iterator<Item = u64> + Clone + use<> {
        (channel as u64..self.rows).step_by(self.channels as usize)
    }

    /// Bytes of one input block of the whole chunk on a channel: the run that a cleared mask bit skips.
    #[must_use]
    pub fn block_run(&self) -> Bytes {
        let full = self.chunk_rows / self.beat * (self.beat + self.beat * self.elem_bytes);
        let rest = self.chunk_rows % self.beat;
        let tail = if rest == 0 { 0 } else { self.beat + rest * self.elem_bytes };
        Bytes(full + tail)
    }

    /// Bytes of the matrix on each channel.
    #[must_use]
    pub fn local_bytes(&self) -> Bytes {
        Bytes(self.blocks * self.block_run().get())
    }

    /// Groups of a chunk's rows: for each, its first row (counted in the chunk), its number of rows, and the offsets
    /// of its scale bytes and of its elements from the start of the block run.
    pub fn groups(&self) -> impl Iterator<Item = WeightGroup> + use<> {
        let Self { chunk_rows, beat, elem_bytes, .. } = *self;
        let stride = beat + beat * elem_bytes;
        (0..chunk_rows.div_ceil(beat)).map(move |g| WeightGroup {
            first_row: g * beat,
            rows: beat.min(chunk_rows - g * beat),
            scales: g * stride,
            elements: g * stride + beat,
        })
    }

    /// Where row `row` of block `block` lies: its scale byte, and its elements.
    #[must_use]
    pub fn place(&self, row: u64, block: u64) -> (Place, Place) {
        let (channel, row) = ((row % self.channels) as usize, row / self.channels);
        let (group, within) = (row / self.beat, row % self.beat);
        let start = block * self.block_run().get() + group * (self.beat + self.beat * self.elem_bytes);
        let at = |offset| Place { channel, offset };
        (at(start + within), at(start + self.beat + within * self.elem_bytes))
    }
}

/// A run of consecutive rows of a chunk that share one beat of scale bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WeightGroup {
    /// First row, counted in the chunk.
    pub first_row: u64,
    /// Number of rows.
    pub rows: u64,
    /// Offset of the scale bytes from the start of the block run.
    pub scales: u64,
    /// Offset of the elements from the start of the block run.
    pub elements: u64,
}

/// The KV cache of one slot in one layer.
///
/// Blocks of 32 tokens of one key/value head are contiguous on one channel: the tokens' key scale bytes, their value
/// scale bytes (so that the largest value scale is known before the first value arrives), their keys, their values.
/// With fewer heads than channels the blocks of a head are dealt to `channels / kv_heads` channels in turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KvLayout {
    channels: u64,
    interleave: u64,
    kv_heads: u64,
    head_dim: u64,
    blocks: u64,
}

/// Places of one token's record of one key/value head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KvPlaces {
    /// Memory channel of all four.
    pub channel: usize,
    /// Offset of the key's scale bytes, `head_dim / 32` of them.
    pub key_scales: u64,
    /// Offset of the value's scale bytes.
    pub value_scales: u64,
    /// Offset of the key's elements, `head_dim` bytes.
    pub key: u64,
    /// Offset of the value's elements.
    pub value: u64,
}

impl KvLayout {
    /// The layout of a cache for `tokens` positions.
    #[must_use]
    pub fn new(config: &AccelConfig, kv_heads: u32, head_dim: u32, tokens: u32) -> Self {
        let channels = u64::from(config.channels());
        let kv_heads = u64::from(kv_heads);
        Self {
            channels,
            interleave: (channels / kv_heads).max(1),
            kv_heads,
            head_dim: head_dim.into(),
            blocks: tokens.div_ceil(KV_BLOCK_TOKENS).into(),
        }
    }

    /// Blocks of 32 tokens that a head has room for.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Bytes of one block.
    #[must_use]
    pub fn block_bytes(&self) -> Bytes {
        Bytes(2 * u64::from(KV_BLOCK_TOKENS) * (self.head_dim + self.scales()))
    }

    /// Bytes of one slot's cache of one layer on each channel.
    #[must_use]
    pub fn local_bytes(&self) -> Bytes {
        let units = (self.kv_heads * self.interleave).div_ceil(self.channels);
        Bytes(units * self.blocks.div_ceil(self.interleave) * self.block_bytes().get())
    }

    /// The channel and offset of a block.
    #[must_use]
    pub fn block_place(&self, kv_head: u64, block: u64) -> Place {
        let unit = kv_head * self.interleave + block % self.interleave;
        let row = unit / self.channels * self.blocks.div_ceil(self.interleave) + block / self.interleave;
        Place { channel: (unit % self.channels) as usize, offset: row * self.block_bytes().get() }
    }

    /// What the blocks of the first `tokens` tokens occupy: the same ranges of offsets on every channel. How long they
    /// are does not depend on how many positions there is room for.
    pub fn used(&self, tokens: u64) -> impl Iterator<Item = Range<u64>> + use<> {
        let units = (self.kv_heads * self.interleave).div_ceil(self.channels);
        let rows = self.blocks.div_ceil(self.interleave);
        let used = tokens.div_ceil(u64::from(KV_BLOCK_TOKENS)).div_ceil(self.interleave).min(rows);
        let block = self.block_bytes().get();
        (0..units).map(move |unit| unit * rows * block..(unit * rows + used) * block)
    }

    /// The places of one token's record.
    #[must_use]
    pub fn token(&self, kv_head: u64, token: u64) -> KvPlaces {
        let tokens = u64::from(KV_BLOCK_TOKENS);
        let Place { channel, offset } = self.block_place(kv_head, token / tokens);
        let (at, scales) = (token % tokens, self.scales());
        let keys = offset + 2 * tokens * scales;
        KvPlaces {
            channel,
            key_scales: offset + at * scales,
            value_scales: offset + (tokens + at) * scales,
            key: keys + at * self.head_dim,
            value: keys + (tokens + at) * self.head_dim,
        }
    }

    fn scales(&self) -> u64 {
        self.head_dim / BLOCK
    }
}

/// A named range of channel-local memory, the same on every channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Region {
    /// What it holds.
    pub name: String,
    /// First local byte.
    pub start: u64,
    /// Size on each channel.
    pub size: Bytes,
}

/// The regions of a model's memory, allocated upwards from 0 on 4 KB pages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemoryMap {
    capacity: Bytes,
    regions: Vec<Region>,
}

/// The channel is full.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "memory map: region '{region}' needs {asked} on each channel, {left} of {capacity} are left; use fewer slots, a smaller weight format, or a board with more memory"
)]
pub struct MemoryFull {
    /// The region that did not fit.
    pub region: String,
    /// Its size on each channel.
    pub asked: Bytes,
    /// What is left on each channel.
    pub left: Bytes,
    /// Capacity of a channel.
    pub capacity: Bytes,
}

/// Regions start on pages of this many bytes: a burst never crosses one.
pub const PAGE_BYTES: u64 = 4096;

impl MemoryMap {
    /// An empty map of a configuration's channels.
    #[must_use]
    pub fn new(config: &AccelConfig) -> Self {
        Self::with_capacity(config.channel_capacity())
    }

    /// An empty map of channels of some capacity.
    #[must_use]
    pub fn with_capacity(capacity: Bytes) -> Self {
        Self { capacity, regions: Vec::new() }
    }

    /// Allocates a region and returns its first local byte.
    ///
    /// # Errors
    /// [`MemoryFull`].
    pub fn allocate(&mut self, name: impl Into<String>, size: Bytes) -> Result<u64, MemoryFull> {
        let (name, start) = (name.into(), self.used().get());
        let left = Bytes(self.capacity.get() - start);
        let rounded = size.get().checked_next_multiple_of(PAGE_BYTES).filter(|&s| s <= left.get());
        let Some(rounded) = rounded else {
            return Err(MemoryFull { region: name, asked: size, left, capacity: self.capacity });
        };
        self.regions.push(Region { name, start, size: Bytes(rounded) });
        Ok(start)
    }

    /// What a channel holds.
    #[must_use]
    pub fn capacity(&self) -> Bytes {
        self.capacity
    }

    /// The regions in address order.
    #[must_use]
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// Bytes in use on each channel.
    #[must_use]
    pub fn used(&self) -> Bytes {
        Bytes(self.regions.last().map_or(0, |r| r.start + r.size.get()))
    }
}
