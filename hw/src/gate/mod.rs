//! The gate unit: temporal attention scores, from past keys on the record stream to the gates that they settle.
//!
//! The unit stands in the middle of the machine. Its keys come as records do, in rows of beats; it dots a block of keys with a block of queries a cycle, one channel after the other.

pub mod keys;
pub mod score;
pub mod tas;

pub use keys::Keys;
pub use score::Score;
pub use tas::{Tas, WaitingKeys};

use crate::cmd::fields::cut;
use crate::rtl::{Builder, Wire, index_width};
use fastcar_arch::config::{AccelConfig, LINE_WORDS};
use fastcar_arch::num::mx::BLOCK;

/// Bits of the number of a head's blocks.
pub(crate) use crate::walk::appends::SCALES;

/// Sizes of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sizes {
    channels: u32,
    /// Bytes of a beat.
    beat: u32,
    slots: u32,
    /// Blocks of the activation buffer: so many heads there are at most.
    blocks: u32,
}

impl Sizes {
    fn new(config: &AccelConfig) -> Self {
        let (channels, beat) = (config.channels(), config.fields().beat_bytes);
        Self { channels, beat, slots: config.slots(), blocks: config.ab_blocks() }
    }

    fn name(&self, what: &str) -> String {
        let Self { channels, beat, slots, blocks } = self;
        format!("{what}_c{channels}_b{beat}_s{slots}_q{blocks}")
    }

    fn channel_bits(&self) -> u32 {
        index_width(self.channels.into())
    }

    fn slot_bits(&self) -> u32 {
        index_width(self.slots.into())
    }

    fn block_bits(&self) -> u32 {
        index_width(self.blocks.into())
    }

    /// Bits of a number of heads.
    fn heads_bits(&self) -> u32 {
        index_width(u64::from(self.blocks.max(self.channels)) + 1)
    }

    fn byte_bits(&self) -> u32 {
        self.beat.ilog2()
    }

    /// Bits of a number of bytes from the start of a beat to the end of a head's scale bytes.
    fn run_bits(&self) -> u32 {
        (self.byte_bits() + 1).max(SCALES)
    }

    /// Elements that are dotted in a cycle: a block, or a beat where that is shorter.
    fn lanes(&self) -> u32 {
        self.beat.min(BLOCK as u32)
    }

    /// A beat holds half a block.
    fn is_half(&self) -> bool {
        self.beat < LINE_WORDS
    }

    fn widths(&self) -> [u32; 12] {
        let byte = self.byte_bits();
        let [slot, channel, block] = [self.slot_bits(), self.channel_bits(), self.block_bits()];
        [slot, 1, 1, 1, channel, block, byte, byte + 1, 1, 1, block, block]
    }

    fn token_bits(&self) -> u32 {
        self.widths().iter().sum()
    }
}

/// What is done with a channel's beat in a cycle.
#[derive(Clone, Copy, Debug)]
struct Token<'m> {
    slot: Wire<'m>,
    /// It is a beat of elements, else of scale bytes.
    elements: Wire<'m>,
    /// The slot's first beat of scale bytes; no block before it has been dotted as a whole.
    first: Wire<'m>,
    /// The slot's last block.
    last: Wire<'m>,
    channel: Wire<'m>,
    /// Where scale bytes are kept: those of the beat, or the block's.
    kept: Wire<'m>,
    /// The first scale byte of the beat that counts, or the block's; the one behind the last that counts.
    low: Wire<'m>,
    high: Wire<'m>,
    /// Which half of a beat of two blocks, and of a block of two beats.
    half: Wire<'m>,
    upper: Wire<'m>,
    /// The block of queries, and how many came before with the same row.
    block: Wire<'m>,
    place: Wire<'m>,
}

impl<'m> Token<'m> {
    fn word(&self, m: &'m Builder) -> Wire<'m> {
        let Self { slot, elements, first, last, channel, kept, low, high, half, upper, block, place } = *self;
        m.pack(&[slot, elements, first, last, channel, kept, low, high, half, upper, block, place])
    }

    fn of(s: &Sizes, word: Wire<'m>) -> Self {
        let [slot, elements, first, last, channel, kept, low, high, half, upper, block, place] =
            s.widths().map(cut(word));
        Self { slot, elements, first, last, channel, kept, low, high, half, upper, block, place }
    }
}
