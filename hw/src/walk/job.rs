//! What walkers need of a command: a record or a cache for each of its slots, and up to two records that all share.

use super::appends::{POSITION, SCALES};
use crate::cmd::Fields;
use crate::cmd::fields::cut;
use crate::rtl::{Builder, RtlError, Wire, index_width};
use fastcar_arch::config::{AccelConfig, LINE_WORDS};
use fastcar_arch::isa::IndexBy;
use fastcar_arch::num::mx::BLOCK;

/// Bits of a record's size in bytes.
const RECORD_BITS: u32 = 24;

/// Sizes that walkers are built by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Slots.
    pub slots: u32,
    /// Bits of a local address, in beats.
    pub address: u32,
    /// Bytes of a beat, as a power of two.
    pub beat: u32,
    /// Bytes of a beat of every channel, as a power of two.
    pub row: u32,
    /// Bits of a number of key/value heads.
    pub heads: u32,
}

impl Sizes {
    /// Those of a configuration.
    #[must_use]
    pub fn new(config: &AccelConfig) -> Self {
        let beat = config.fields().beat_bytes.ilog2();
        let beats = config.channel_capacity().get() >> beat;
        let row = beat + config.channels().ilog2();
        // A head is a line at least.
        let heads = index_width(u64::from(config.vb_lines().max(config.channels())) + 1);
        Self { slots: config.slots(), address: index_width(beats), beat, row, heads }
    }

    /// Bits of the number of beats of a record: the vector buffer holds 2^21 words, which is 2^23 bytes.
    #[must_use]
    pub fn length(&self) -> u32 {
        RECORD_BITS + 1 - self.row
    }

    /// A byte address or stride of a command, in beats.
    pub(crate) fn beats<'m>(&self, bytes: Wire<'m>) -> Wire<'m> {
        bytes.slice(self.beat, self.address)
    }
}

/// Bits of [`IndexBy`].
pub const INDEX_BITS: u32 = 3;
/// Bits of a number of tokens that may be more than there are positions.
pub(crate) const PERIOD: u32 = POSITION + 1;

/// What a command alone says of its records.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'m> {
    /// Its slots have one each, if the conditions below hold.
    pub own: Wire<'m>,
    /// Only slots with a ring position.
    pub ringed: Wire<'m>,
    /// Only slots that may use their reference.
    pub referenced: Wire<'m>,
    /// Older writes may touch the slots' records.
    pub guarded: Wire<'m>,
    /// Record of slot 0 and index 0.
    pub addr: Wire<'m>,
    /// From slot to slot.
    pub slot_stride: Wire<'m>,
    /// From index to index.
    pub index_stride: Wire<'m>,
    /// What indexes them: [`IndexBy`].
    pub index: Wire<'m>,
    /// Beats of a record on each channel.
    pub length: Wire<'m>,
    /// Records that all slots share: one, or two.
    pub shared: [Wire<'m>; 2],
    /// Where they lie.
    pub shared_addr: [Wire<'m>; 2],
    /// Key/value heads of a cache, 0: it is no cache; blocks of a head.
    pub heads: Wire<'m>,
    /// See `heads`.
    pub scales: Wire<'m>,
    /// They are past keys, which are walked over also for no slot; tokens that lie between, as far as there can be.
    pub keys: Wire<'m>,
    /// See `keys`.
    pub period: Wire<'m>,
}

impl<'m> Shape<'m> {
    /// Width of [`Shape::word`].
    #[must_use]
    pub fn width(s: &Sizes) -> u32 {
        7 + 5 * s.address + INDEX_BITS + s.length() + s.heads + SCALES + PERIOD
    }

    /// All in one word.
    #[must_use]
    pub fn word(&self, m: &'m Builder) -> Wire<'m> {
        let [first, second] = self.shared;
        let [first_addr, second_addr] = self.shared_addr;
        let flags = [self.own, self.ringed, self.referenced, self.guarded, first, second, self.keys];
        let addresses = [self.addr, self.slot_stride, self.index_stride, first_addr, second_addr];
        let rest = [self.index, self.length, self.heads, self.scales, self.period];
        m.pack(&[&flags[..], &addresses[..], &rest].concat())
    }

    /// What stands in a word.
    #[must_use]
    pub fn of(s: &Sizes, word: Wire<'m>) -> Self {
        let mut take = cut(word);
        let [own, ringed, referenced, guarded, first, second, keys] = [1; 7].map(&mut take);
        let [addr, slot_stride, index_stride, first_addr, second_addr] = [s.address; 5].map(&mut take);
        Self {
            own,
            ringed,
            referenced,
            guarded,
            addr,
            slot_stride,
            index_stride,
            index: take(INDEX_BITS),
            length: take(s.length()),
            shared: [first, second],
            shared_addr: [first_addr, second_addr],
            heads: take(s.heads),
            scales: take(SCALES),
            keys,
            period: take(PERIOD),
        }
    }

    /// The records of the slots that the command runs for.
    #[must_use]
    pub fn job(&self, s: &Sizes, known: &Known<'m>) -> Job<'m> {
        let all = |wire: Wire<'m>| wire.repeat(s.slots);
        let may = (all(!self.ringed) | known.ring) & (all(!self.referenced) | known.allow);
        let some = known.slots.any();
        let shared = self.shared.map(|shared| shared & some);
        Job { slots: known.slots & may & all(self.own), shape: Self { shared, ..*self } }
    }
}

/// What a command's records depend on beside its fields.
#[derive(Clone, Copy, Debug)]
pub struct Known<'m> {
    /// Slots that it runs for.
    pub slots: Wire<'m>,
    /// Slots with a ring position.
    pub ring: Wire<'m>,
    /// Slots that may use their reference: of the command's gate, of a masked product's that of its `delta`.
    pub allow: Wire<'m>,
}

/// The records of a command.
#[derive(Clone, Copy, Debug)]
pub struct Job<'m> {
    /// Slots that have one.
    pub slots: Wire<'m>,
    /// What they are.
    pub shape: Shape<'m>,
}

impl<'m> Job<'m> {
    /// Width of [`Job::word`].
    #[must_use]
    pub fn width(s: &Sizes) -> u32 {
        s.slots + Shape::width(s)
    }

    /// All in one word.
    #[must_use]
    pub fn word(&self, m: &'m Builder) -> Wire<'m> {
        self.shape.word(m).cat(self.slots)
    }

    /// What stands in a word.
    #[must_use]
    pub fn of(s: &Sizes, word: Wire<'m>) -> Self {
        let mut take = cut(word);
        Self { slots: take(s.slots), shape: Shape::of(s, take(Shape::width(s))) }
    }

    /// Whether there is a record, or the walk has to be made all the same.
    #[must_use]
    pub fn some(&self) -> Wire<'m> {
        self.slots.any() | self.shape.shared[0] | self.shape.keys
    }
}

/// Beats on each channel of so many bytes, striped.
fn beats_of<'m>(s: &Sizes, m: &'m Builder, bytes: Wire<'m>) -> Wire<'m> {
    let width = bytes.width() + 1;
    let up = bytes.zext(width) + m.lit(width, (1 << s.row) - 1);
    up.slice(s.row, s.length())
}

/// Bytes of the record that a command names by words, blocks, rows or head size.
fn bytes<'m>(m: &'m Builder, c: &Fields<'m>) -> Result<Wire<'m>, RtlError> {
    let is = |name| c.is(name);
    let words = |count: Wire<'m>| count.zext(RECORD_BITS.max(count.width())).trunc(RECORD_BITS) << 2;
    let blocks = |count: Wire<'m>| {
        let count = count.zext(RECORD_BITS);
        (count << BLOCK.ilog2()) + count
    };
    let of_words = is("load")? | is("store")? | is("norm")?;
    Ok(m.one_hot(&[
        (of_words, words(c.field("load", "words")?)),
        (is("rope")?, words(c.field("rope", "head_dim")?)),
        (is("delta")?, words(c.field("delta", "blocks")?.zext(RECORD_BITS) << LINE_WORDS.ilog2())),
        (is("matvec")?, words(c.field("matvec", "rows")?)),
        (is("store_act")? | is("gate_delta")?, blocks(c.field("gate_delta", "blocks")?)),
    ]))
}

/// Address, strides and index of the slots' records.
fn place<'m>(s: &Sizes, m: &'m Builder, c: &Fields<'m>) -> Result<[Wire<'m>; 4], RtlError> {
    let (matvec, rope) = (c.is("matvec")?, c.is("rope")?);
    let pick = |of_matvec, other| {
        Ok::<_, RtlError>(s.beats(matvec.mux(c.field("matvec", of_matvec)?, c.field("load", other)?)))
    };
    let none = m.lit(s.address, 0);
    let index = |by: IndexBy| m.lit(INDEX_BITS, by as u64);
    let given = c.is_any(&["load", "store"])?.mux(c.field("load", "index")?, c.field("store_act", "index")?);
    let by = m.select(
        given.trunc(INDEX_BITS),
        &[
            (rope | c.is_any(&["kv_append", "gate_tas"])?, index(IndexBy::Position)),
            (matvec | c.is_any(&["delta", "gate_delta"])?, index(IndexBy::Ring)),
        ],
    );
    // The table of `rope` has no stride from slot to slot, and caches have none from index to index: these bytes are zero there.
    let slot_stride = rope.mux(none, pick("slot_stride", "slot_stride")?);
    Ok([pick("ring", "addr")?, slot_stride, pick("index_stride", "index_stride")?, by])
}

/// Which records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Those that a command reads.
    Read,
    /// Those that it writes.
    Write,
}

/// What a command says of its records.
///
/// # Errors
/// As [`Fields::field`].
pub fn shape<'m>(
    s: &Sizes,
    m: &'m Builder,
    c: &Fields<'m>,
    direction: Direction,
) -> Result<Shape<'m>, RtlError> {
    let [addr, slot_stride, index_stride, index] = place(s, m, c)?;
    let flag = |command, name| Ok::<_, RtlError>(c.is(command)? & c.field(command, name)?.bit(0));
    let masked = flag("matvec", "delta")?;
    let read = m.lit(1, u64::from(direction == Direction::Read));
    let own: &[&'static str] = match direction {
        Direction::Read => &["load", "rope", "delta", "gate_delta", "gate_tas"],
        Direction::Write => &["store", "store_act", "delta", "kv_append"],
    };
    let (rope, norm) = (c.is("rope")?, c.is("norm")?);
    let own = c.is_any(own)? | masked;
    let layer = c.field("norm", "kind")?.bit(0);
    let cache = c.is("kv_append")?;
    let keys = read & c.is("gate_tas")?;
    let of_cache =
        |name| Ok::<_, RtlError>(keys.mux(c.field("gate_tas", name)?, c.field("kv_append", name)?));
    let heads = of_cache("kv_heads")?.trunc(s.heads.min(16)).zext(s.heads);
    let scales = of_cache("head_dim")?.slice(LINE_WORDS.ilog2(), SCALES);
    let period = c.field("gate_tas", "period")?;
    let far = (period >> POSITION).any();
    let first = norm.mux(c.field("norm", "gamma")?, c.field("matvec", "bias")?);
    Ok(Shape {
        own,
        ringed: index.eq(IndexBy::Ring as u64),
        referenced: read & (masked | c.is_any(&["delta", "gate_delta", "gate_tas"])?),
        guarded: read & own & !rope & !keys,
        addr,
        slot_stride,
        index_stride,
        index,
        length: beats_of(s, m, bytes(m, c)?),
        shared: [read & (norm | flag("matvec", "has_bias")?), read & norm & layer],
        shared_addr: [s.beats(first), s.beats(c.field("norm", "beta")?)],
        heads: heads & ((cache & !read) | keys).repeat(s.heads),
        scales,
        keys,
        period: far.cat(period.trunc(POSITION) & (!far).repeat(POSITION)),
    })
}
