//! What a walk is told of a block that a list names.

use super::NUMBER;
use crate::cmd::fields::cut;
use crate::prim::times;
use crate::rtl::{Builder, Wire, index_width};
use crate::walk::appends::{SCALES, TOKEN};
use crate::walk::heads::CacheSizes;
use fastcar_arch::config::KV_BLOCK_TOKENS;

/// A block that a list names. Beats are counted from the first of the keys, or values, of the head's first block here.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'m> {
    /// The list has none; nothing else but `last` counts.
    pub none: Wire<'m>,
    /// It is the list's last.
    pub last: Wire<'m>,
    /// The block's number among the head's blocks here.
    pub row: Wire<'m>,
    /// First beat, and beats: of values, of keys if `split` is not set, else of the scale bytes of keys.
    pub at: Wire<'m>,
    /// See `at`.
    pub beats: Wire<'m>,
    /// The elements of the keys do not begin with the first token.
    pub split: Wire<'m>,
    /// Beats of a block's elements before its first, and its own.
    pub skip: Wire<'m>,
    /// See `skip`.
    pub elements: Wire<'m>,
    /// First token that is attended to, and last.
    pub first_token: Wire<'m>,
    /// See `first_token`.
    pub last_token: Wire<'m>,
    /// All of them.
    pub mask: Wire<'m>,
}

impl<'m> Entry<'m> {
    fn widths(s: &CacheSizes) -> [u32; 11] {
        let run = s.run();
        [1, 1, NUMBER, s.common.address, run, 1, run, run, TOKEN, TOKEN, KV_BLOCK_TOKENS]
    }

    pub(super) fn width(s: &CacheSizes) -> u32 {
        Self::widths(s).iter().sum()
    }

    /// All in one word.
    #[must_use]
    pub fn word(&self, m: &'m Builder) -> Wire<'m> {
        let Self { none, last, row, at, beats, split, skip, elements, first_token, last_token, mask } = *self;
        m.pack(&[none, last, row, at, beats, split, skip, elements, first_token, last_token, mask])
    }

    /// What stands in a word.
    #[must_use]
    pub fn of(s: &CacheSizes, word: Wire<'m>) -> Self {
        let [none, last, row, at, beats, split, skip, elements, first_token, last_token, mask] =
            Self::widths(s).map(cut(word));
        Self { none, last, row, at, beats, split, skip, elements, first_token, last_token, mask }
    }
}

/// An entry as it stands in a list.
pub(super) struct Tokens<'m> {
    pub(super) mask: Wire<'m>,
    pub(super) none: Wire<'m>,
    pub(super) last: Wire<'m>,
    pub(super) row: Wire<'m>,
    pub(super) values: Wire<'m>,
    pub(super) scales: Wire<'m>,
}

/// The place of the lowest bit that is set.
fn lowest_place<'m>(m: &'m Builder, mask: Wire<'m>) -> Wire<'m> {
    let width = index_width(mask.width().into());
    let cases: Vec<_> =
        mask.bits().into_iter().enumerate().map(|(n, bit)| (bit, m.lit(width, n as u64))).collect();
    m.tree(&cases.iter().map(|(bit, place)| bit.cat(*place)).collect::<Vec<_>>(), |low, high| {
        low.msb().mux(low, high)
    })
    .trunc(width)
}

impl<'m> Tokens<'m> {
    /// Cycles from an entry to what it comes to.
    pub(super) const LATENCY: u32 = 3;

    /// What it comes to.
    pub(super) fn entry(&self, m: &'m Builder, stream: &str, s: &CacheSizes) -> Entry<'m> {
        let later = |name: &str, wire: Wire<'m>| m.register(&format!("{stream}_{name}"), wire);
        // First: the tokens.
        let turned = m.pack(&self.mask.bits().into_iter().rev().collect::<Vec<_>>());
        let first = later("first", lowest_place(m, self.mask));
        let last_token = !later("back", lowest_place(m, turned));
        let [row, scales] =
            [("row", self.row), ("scales", self.scales)].map(|(name, wire)| later(name, wire));

        // Second: their blocks of 32 words, from the first to before the last; those of all blocks before this.
        let width = TOKEN + SCALES;
        let skip = later("skip_blocks", times(first, scales));
        let end = later("end_blocks", times(last_token, scales) + scales.zext(width) - 1);
        let blocks = later("blocks", row.trunc(NUMBER - 1).mul_unsigned(scales));
        let scales = later("scales_on", scales);

        // Third: beats.
        let (skip, end) = (to_beats(s, skip, 0), to_beats(s, end, 1));
        let elements = end - skip + 1;
        let scale_beats = s.block(scales).scales;
        let address = s.common.address;
        // A block of keys and values is 2112 bytes for each 32 words of a head.
        let wide = blocks.zext(address.max(blocks.width() + 8));
        let base = (((wide << 5) + wide) << (6 - s.common.beat)).trunc(address);
        let on = |name: &str, wire: Wire<'m>, cycles: u32| {
            (0..cycles).fold(wire, |wire, n| later(&format!("{name}_{n}"), wire))
        };
        let values = on("values", self.values, 2);
        let split = on("split", first.any(), 1) & !values;
        let before = skip & values.repeat(s.run());
        let keys = scale_beats + (elements & (!split).repeat(s.run()));
        Entry {
            none: on("none", self.none, 3),
            last: on("last", self.last, 3),
            row: on("row_on", row, 2),
            at: later("at", base + before.zext(address)),
            beats: later("beats", values.mux(elements, keys)),
            split: later("split", split),
            skip: later("skip", skip),
            elements: later("elements", elements),
            first_token: on("first_on", first, 2),
            last_token: on("last_on", last_token, 2),
            mask: on("mask", self.mask, 3),
        }
    }
}

/// Blocks of 32 words as beats: rounded down, or those up to behind the last one, less one.
fn to_beats<'m>(s: &CacheSizes, blocks: Wire<'m>, last: u64) -> Wire<'m> {
    let wide = blocks.zext(s.run().max(blocks.width() + 2));
    let beats = match s.common.beat {
        4 => (wide << 1) + last,
        5 => wide,
        _ => wide >> 1,
    };
    beats.trunc(s.run())
}
