//! What the beats of a block of the cache mean.

use crate::cmd::fields::cut;
use crate::rtl::{Builder, Wire};
use crate::walk::appends::TOKEN;
use fastcar_arch::config::KV_BLOCK_TOKENS;

/// What a channel streams of one block of keys or values, or that an item has no block here. Spans come in the order of the items' beats: of
/// each slot and place of heads the keys of older blocks, of the own block, the values of older blocks, of the own block, each
/// item's on the stream that it goes through.
///
/// With `s = head_dim / 32`, the beats of a span are:
///
/// * of keys, first the scale bytes of all 32 tokens of the block, `s` a token: those of the keys, then those of the values, `64 * s` bytes, which are whole
///   beats; also where the block is the slot's own and not full;
/// * then the elements of the tokens from `first` to `last`, `32 * s` bytes a token, counted from the block's first token: the beats from
///   `first * 32 * s / beat`, rounded down, to `(last + 1) * 32 * s / beat`, rounded up. A beat of 64 bytes that two tokens of 32 bytes share may so have one
///   that lies outside of the span.
///
/// Tokens of the span that `mask` leaves out are streamed and not attended to.
#[derive(Clone, Copy, Debug)]
pub struct Span<'m> {
    /// Of values, not of keys.
    pub values: Wire<'m>,
    /// The item has no block on this channel: no beats, and `last_block`. Nothing else below counts.
    pub none: Wire<'m>,
    /// It is the item's last.
    pub last_block: Wire<'m>,
    /// First token of the block that is attended to; its place in the block.
    pub first: Wire<'m>,
    /// The last one.
    pub last: Wire<'m>,
    /// The tokens of the block that are attended to, token 0 low: bits `first` and `last` are set, none outside.
    pub mask: Wire<'m>,
}

impl<'m> Span<'m> {
    /// Width of [`Span::word`].
    pub const WIDTH: u32 = 3 + 2 * TOKEN + KV_BLOCK_TOKENS;

    /// All in one word.
    #[must_use]
    pub fn word(&self, m: &'m Builder) -> Wire<'m> {
        let Self { values, none, last_block, first, last, mask } = *self;
        m.pack(&[values, none, last_block, first, last, mask])
    }

    /// What stands in a word.
    #[must_use]
    pub fn of(word: Wire<'m>) -> Self {
        let mut take = cut(word);
        Self {
            values: take(1),
            none: take(1),
            last_block: take(1),
            first: take(TOKEN),
            last: take(TOKEN),
            mask: take(KV_BLOCK_TOKENS),
        }
    }
}
