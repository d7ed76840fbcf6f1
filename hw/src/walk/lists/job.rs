//! What a channel is told of block lists.

use super::Lists;
use crate::cmd::Fields;
use crate::cmd::fields::cut;
use crate::rtl::{Builder, RtlError, Wire, index_width};
use crate::walk::appends::SCALES;
use fastcar_arch::layout::LIST_PLACES;

/// Bits of a number of beats that the control queue is asked for.
pub(crate) const BEATS: u32 = 16;

/// What the control queue of a channel is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Note<'m> {
    /// Its beats.
    pub beats: Wire<'m>,
    /// The lists of a slot. If it is none, nothing else counts.
    pub list: Wire<'m>,
    /// The command's last slot.
    pub last: Wire<'m>,
    /// Which of the two commands' lists.
    pub bank: Wire<'m>,
    /// The slot.
    pub slot: Wire<'m>,
    /// Beats of headers.
    pub headers: Wire<'m>,
}

impl<'m> Note<'m> {
    fn widths(s: &Lists) -> [u32; 6] {
        [BEATS, 1, 1, 1, s.slot_bits(), s.header_bits()]
    }

    pub(super) fn width(s: &Lists) -> u32 {
        Self::widths(s).iter().sum()
    }

    /// All in one word.
    #[must_use]
    pub fn word(&self, m: &'m Builder) -> Wire<'m> {
        let Self { beats, list, last, bank, slot, headers } = *self;
        m.pack(&[beats, list, last, bank, slot, headers])
    }

    /// What stands in a word.
    #[must_use]
    pub fn of(s: &Lists, word: Wire<'m>) -> Self {
        let [beats, list, last, bank, slot, headers] = Self::widths(s).map(cut(word));
        Self { beats, list, last, bank, slot, headers }
    }
}

/// What an `attn` says of its lists.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'m> {
    /// It has lists.
    pub some: Wire<'m>,
    /// Which of two commands' lists they are.
    pub bank: Wire<'m>,
    /// Entries for which a list has room.
    pub room: Wire<'m>,
}

impl<'m> Listed<'m> {
    /// Those of an `attn`.
    ///
    /// # Errors
    /// As [`Fields::field`].
    pub fn new(s: &Lists, fields: &Fields<'m>, bank: Wire<'m>) -> Result<Self, RtlError> {
        let entries = fields.field("attn", "list_entries")?;
        Ok(Self { some: entries.any(), bank, room: entries.trunc(Self::room_bits(s)) })
    }

    fn room_bits(s: &Lists) -> u32 {
        s.place_bits() + 1
    }

    /// Width of [`Listed::word`].
    #[must_use]
    pub fn width(s: &Lists) -> u32 {
        2 + Self::room_bits(s)
    }

    /// All in one word.
    #[must_use]
    pub fn word(&self, m: &'m Builder) -> Wire<'m> {
        m.pack(&[self.some, self.bank, self.room])
    }

    /// What stands in a word.
    #[must_use]
    pub fn of(s: &Lists, word: Wire<'m>) -> Self {
        let [some, bank, room] = [1, 1, Self::room_bits(s)].map(cut(word));
        Self { some, bank, room }
    }
}

/// An `attn` whose lists are to be read out.
#[derive(Clone, Copy, Debug)]
pub struct ListJob<'m> {
    /// Its slots: one at least.
    pub slots: Wire<'m>,
    /// Which of two commands' lists.
    pub bank: Wire<'m>,
    /// A channel's places of heads, less one.
    pub last_place: Wire<'m>,
    /// Entries for which a list has room.
    pub room: Wire<'m>,
    /// Blocks of a head: `head_dim / 32`.
    pub scales: Wire<'m>,
}

impl<'m> ListJob<'m> {
    fn widths(s: &Lists) -> [u32; 5] {
        [s.sizes.common.slots, 1, index_width(LIST_PLACES.into()), Listed::room_bits(s), SCALES]
    }

    pub(super) fn width(s: &Lists) -> u32 {
        Self::widths(s).iter().sum()
    }

    /// Bits of [`ListJob::last_place`].
    #[must_use]
    pub fn place_bits() -> u32 {
        index_width(LIST_PLACES.into())
    }

    /// All in one word.
    #[must_use]
    pub fn word(&self, m: &'m Builder) -> Wire<'m> {
        let Self { slots, bank, last_place, room, scales } = *self;
        m.pack(&[slots, bank, last_place, room, scales])
    }

    /// What stands in a word.
    #[must_use]
    pub fn of(s: &Lists, word: Wire<'m>) -> Self {
        let [slots, bank, last_place, room, scales] = Self::widths(s).map(cut(word));
        Self { slots, bank, last_place, room, scales }
    }
}
