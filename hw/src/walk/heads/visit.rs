//! What the middle tells the channels of a slot's cache.

use crate::cmd::Fields;
use crate::cmd::fields::cut;
use crate::port::WRITER_BITS;
use crate::rtl::{Builder, RtlError, Wire, index_width};
use crate::walk::appends::{BLOCK_BITS, SCALES, TOKEN};
use crate::walk::{Listed, Sizes};
use fastcar_arch::config::{AccelConfig, KV_BLOCK_TOKENS, LINE_WORDS};

/// Bytes of a block's scale bytes for each 32 words of a head: those of keys and of values.
const SCALE_BYTES: u32 = 2 * KV_BLOCK_TOKENS;

/// Sizes that walkers of keys and values are built by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSizes {
    /// Those of all walkers.
    pub common: Sizes,
    /// Channels.
    pub channels: u32,
}

impl CacheSizes {
    /// Those of a configuration. Its beats have 64 bytes at most, so that the scale bytes of a block are whole beats.
    #[must_use]
    pub fn new(config: &AccelConfig) -> Self {
        Self { common: Sizes::new(config), channels: config.channels() }
    }

    /// Bits of a channel's number.
    #[must_use]
    pub fn lane(&self) -> u32 {
        index_width(self.channels.into())
    }

    /// Bits of a number of channels.
    #[must_use]
    pub fn spread(&self) -> u32 {
        self.lane() + 1
    }

    /// How many channels may share a head, in descending order.
    #[must_use]
    pub fn shares(&self) -> Vec<u32> {
        let mut shares: Vec<u32> = (1..=self.channels).map(|heads| self.channels / heads).collect();
        shares.dedup();
        shares
    }

    /// Bits of the place of a number in [`CacheSizes::shares`].
    #[must_use]
    pub fn share(&self) -> u32 {
        index_width(self.shares().len() as u64)
    }

    /// Bits of the number of a channel's place of heads.
    #[must_use]
    pub fn units(&self) -> u32 {
        (self.common.heads - self.channels.ilog2()).max(1)
    }

    /// The number of a channel's last place of heads.
    pub(crate) fn last_unit<'m>(&self, heads: Wire<'m>) -> Wire<'m> {
        ((heads - 1) >> self.channels.ilog2()).trunc(self.units())
    }

    /// Bits of a number of beats of a block: fewer than 2^17 bytes.
    #[must_use]
    pub fn run(&self) -> u32 {
        17 - self.common.beat
    }

    /// Beats of a block by its scale bytes for one token.
    pub(crate) fn block<'m>(&self, scales: Wire<'m>) -> BlockBeats<'m> {
        let scales = scales.zext(self.run()) << (SCALE_BYTES.ilog2() - self.common.beat);
        let values = scales << (KV_BLOCK_TOKENS * LINE_WORDS / SCALE_BYTES).ilog2();
        BlockBeats { scales, values, keys: values + scales }
    }
}

/// Beats of a block of the cache.
pub(crate) struct BlockBeats<'m> {
    /// All scale bytes.
    pub(crate) scales: Wire<'m>,
    /// Elements of the values, or of the keys.
    pub(crate) values: Wire<'m>,
    /// Scale bytes and elements of the keys.
    pub(crate) keys: Wire<'m>,
}

impl<'m> BlockBeats<'m> {
    /// The whole block.
    pub(crate) fn all(&self) -> Wire<'m> {
        self.keys + self.values
    }
}

/// What a command says of its caches.
#[derive(Clone, Copy, Debug)]
pub struct Caches<'m> {
    /// First beat of slot 0's.
    pub addr: Wire<'m>,
    /// Beats from slot to slot.
    pub slot_stride: Wire<'m>,
    /// Key/value heads.
    pub heads: Wire<'m>,
    /// Blocks of a head: `head_dim / 32`.
    pub scales: Wire<'m>,
    /// Older blocks come by this stream.
    pub older: Wire<'m>,
    /// It reads what its block lists name, and which of two commands' lists these are.
    pub listed: Wire<'m>,
    /// See `listed`.
    pub bank: Wire<'m>,
}

impl<'m> Caches<'m> {
    /// Those of an `attn`, with whether this stream brings older blocks, and its lists.
    ///
    /// # Errors
    /// As [`Fields::field`].
    pub fn new(
        s: &CacheSizes,
        c: &Fields<'m>,
        older: Wire<'m>,
        lists: &Listed<'m>,
    ) -> Result<Self, RtlError> {
        let common = &s.common;
        let heads = c.field("attn", "kv_heads")?;
        Ok(Self {
            addr: common.beats(c.field("attn", "addr")?),
            slot_stride: common.beats(c.field("attn", "slot_stride")?),
            heads: heads.trunc(common.heads.min(heads.width())).zext(common.heads),
            scales: c.field("attn", "head_dim")?.slice(LINE_WORDS.ilog2(), SCALES),
            older,
            listed: lists.some,
            bank: lists.bank,
        })
    }

    /// Width of [`Caches::word`].
    #[must_use]
    pub fn width(s: &CacheSizes) -> u32 {
        2 * s.common.address + s.common.heads + SCALES + 3
    }

    /// All in one word.
    #[must_use]
    pub fn word(&self, m: &'m Builder) -> Wire<'m> {
        let Self { addr, slot_stride, heads, scales, older, listed, bank } = *self;
        m.pack(&[addr, slot_stride, heads, scales, older, listed, bank])
    }

    /// What stands in a word.
    #[must_use]
    pub fn of(s: &CacheSizes, word: Wire<'m>) -> Self {
        let mut take = cut(word);
        let [addr, slot_stride] = [s.common.address; 2].map(&mut take);
        let (heads, scales) = (take(s.common.heads), take(SCALES));
        Self { addr, slot_stride, heads, scales, older: take(1), listed: take(1), bank: take(1) }
    }
}

/// A job of a stream's walkers at the channels: the cache of a slot, or a run of weights, which is the same on all channels and has its turn
/// among them.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'m> {
    /// It is a run of weights: `base` is its first beat, `extent` the number of its beats, and nothing else counts.
    pub weights: Wire<'m>,
    /// First beat of the cache.
    pub base: Wire<'m>,
    /// Beats from there to the own block, in the first place of heads of the channels that hold it.
    pub extent: Wire<'m>,
    /// Beats from a channel's place of heads to its next.
    pub stride: Wire<'m>,
    /// Blocks of a head: `head_dim / 32`.
    pub scales: Wire<'m>,
    /// The own block's number, divided by the number of channels that share a head: quotient and remainder.
    pub rows: Wire<'m>,
    /// See `rows`.
    pub residue: Wire<'m>,
    /// Channels that share a head: the place of their number in [`CacheSizes::shares`].
    pub share: Wire<'m>,
    /// Places of heads of a channel, less one.
    pub last_unit: Wire<'m>,
    /// Channels that hold something in the last place, from channel 0 on.
    pub spread: Wire<'m>,
    /// The slot's position in its block.
    pub token: Wire<'m>,
    /// Beats of the elements of the own block's keys, or values, up to the position.
    pub own: Wire<'m>,
    /// Older blocks come by this stream.
    pub older: Wire<'m>,
    /// Blocks come as its lists say, and which of two commands' lists these are.
    pub listed: Wire<'m>,
    /// See `listed`.
    pub bank: Wire<'m>,
    /// The write that the own block's reads wait for: as a port's segment has it.
    pub guard: Wire<'m>,
}

impl<'m> Visit<'m> {
    /// Width of [`Visit::word`].
    #[must_use]
    pub fn width(s: &CacheSizes) -> u32 {
        let heads = s.lane() + s.share() + s.units() + s.spread();
        let own = TOKEN + s.run() + 4 + WRITER_BITS;
        1 + 3 * s.common.address + SCALES + BLOCK_BITS + heads + own
    }

    /// All in one word.
    #[must_use]
    pub fn word(&self, m: &'m Builder) -> Wire<'m> {
        let places = [self.weights, self.base, self.extent, self.stride, self.scales, self.rows];
        let heads = [self.residue, self.share, self.last_unit, self.spread];
        m.pack(
            &[&places[..], &heads, &[self.token, self.own, self.older, self.listed, self.bank, self.guard]]
                .concat(),
        )
    }

    /// What stands in a word.
    #[must_use]
    pub fn of(s: &CacheSizes, word: Wire<'m>) -> Self {
        let mut take = cut(word);
        let weights = take(1);
        let [base, extent, stride] = [s.common.address; 3].map(&mut take);
        Self {
            weights,
            base,
            extent,
            stride,
            scales: take(SCALES),
            rows: take(BLOCK_BITS),
            residue: take(s.lane()),
            share: take(s.share()),
            last_unit: take(s.units()),
            spread: take(s.spread()),
            token: take(TOKEN),
            own: take(s.run()),
            older: take(1),
            listed: take(1),
            bank: take(1),
            guard: take(WRITER_BITS + 1),
        }
    }

    /// The word of a run of weights.
    #[must_use]
    pub fn of_weights(s: &CacheSizes, m: &'m Builder, address: Wire<'m>, length: Wire<'m>) -> Wire<'m> {
        m.pack(&[m.lit(1, 1), address, length.zext(s.common.address)]).zext(Self::width(s))
    }
}
