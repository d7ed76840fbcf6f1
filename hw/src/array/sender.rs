//! `sender`: operands of products on their way to the clusters.
//!
//! # Purpose
//!
//! Sends the activation blocks of each product's slots to all clusters, weight block by weight block, as long as every cluster has room
//! for them; says of each slot where its sums begin and what they count in; and sends the product itself. Of a masked product it sends the blocks that its [`Finder`] finds.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i`, `start_i` | in | 1 | nothing is under way; a run begins |
//! | `product_valid_i`, `product_slots_i`, `product_counts_i`, `product_places_i`, `product_word_i`, `product_note_i` | in | | a product that is armed, as [`Sequencer`](super::Sequencer) says it, with a [`Note`] |
//! | `read_slot_o`, `read_block_o`, `read_first_o` | out | log2(slots), log2(blocks), log2(blocks) | a block of the activation buffer is asked for, and the first one of its vector |
//! | `read_scale_i`, `read_elems_i`, `read_largest_i` | in | 8, 256, 8 | two cycles later: it, and the largest scale of the vector |
//! | `look_o`, `look_i`, `block_group_o`, `block_masks_i` | | | masks, as in [`Finder`] |
//! | `credits_i` | in | channels x log2(passes + 1) | sets of operands that a cluster gives back |
//! | `operand_valid_o`, `operand_header_o`, `operand_data_o` | out | 1, 1, [`Operands::width`] | as in [`Operands`] |
//! | `passes_o`, `streamed_o`, `skipped_o` | out | [`EVENT_BITS`] | a product is sent: passes of its round, blocks of it that were sent, and that were not; else 0 |
//! | `feed_valid_o`, `feed_o` | out | 1, [`Feeder::product_bits`] | the product for the [`Feeder`]s |
//! | `place_valid_o`, `place_product_o`, `place_slot_o`, `place_o` | out | 1, [`Results::NUMBER`], log2(slots), [`Results::place_width`] | as in [`Results`] |
//!
//! # Timing
//!
//! A product that is armed in cycle t has its header in hand in t + 1, when the ones before are sent, and in each cycle behind an operand; block follows
//! block without a gap as long as there is room. One of n groups of masks has its first header n + [`MASK_SEEK`](fastcar_arch::timing::MASK_SEEK) cycles later, and one for each slot without an active block; if there is no block at all, a header and a cycle
//! stand for one. What is in hand in cycle h is on `operand_data_o` in h + 2; `feed_valid_o` comes in the cycle behind the first block's last operand.
//!
//! # Numeric contract
//!
//! The base is the largest scale of the matrix plus that of the vector, NaN where one is 255, as [`Base`](fastcar_arch::num::window::Base).
//!
//! # Cost
//!
//! A counter of sets for each channel, the queue of products.
//!
//! # Verification
//!
//! `tests/tests/rtl_core`: cycles of whole runs.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{array::Sender, rtl::Block};
//!
//! let sender = Sender::new(&AccelConfig::preset("tiny")?)?;
//! assert_eq!(sender.module()?.name(), "sender_s4_c2_h1_b64");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::feeder::Feeder;
use super::operands::{OPERAND_SETS, Operands};
use super::{Finder, Mapping, Results};
use crate::axi::control::EVENT_BITS;
use crate::cmd::fields::cut;
use crate::pe::Cluster;
use crate::prim::{DelayLine, Fifo, lowest, number};
use crate::rtl::{Block, Builder, Instance, Module, RamStyle, RtlError, Stream, Wire, index_width};
use fastcar_arch::config::{AccelConfig, ROW_GRANULE};
use fastcar_arch::timing::MASK_BLOCKS;
use std::sync::Arc;

/// Bits of a scale byte, and of the elements of a block.
const SCALE: u32 = 8;
const ELEMS: u32 = 256;
/// Bits of a window base.
const BASE: u32 = 9;
/// What is known of the products of a command beside their slots.
#[derive(Clone, Copy, Debug)]
pub struct Note<'m> {
    /// First block of the operand.
    pub first: Wire<'m>,
    /// Blocks, less one.
    pub last_block: Wire<'m>,
    /// Sixteens of rows in a chunk, less one.
    pub last_granule: Wire<'m>,
    /// Weights are MXFP4.
    pub fp4: Wire<'m>,
    /// They come by the read-ahead stream.
    pub ahead: Wire<'m>,
    /// The largest scale of the matrix.
    pub scale_max: Wire<'m>,
    /// Only blocks whose masks are set take part.
    pub masked: Wire<'m>,
}

impl<'m> Note<'m> {
    /// All in one word.
    #[must_use]
    pub fn word(&self, m: &'m Builder) -> Wire<'m> {
        let Self { first, last_block, last_granule, fp4, ahead, scale_max, masked } = *self;
        m.pack(&[first, last_block, last_granule, fp4, ahead, scale_max, masked])
    }

    fn of(s: &Sender, word: Wire<'m>) -> Self {
        let mut take = cut(word);
        Self {
            first: take(s.block_bits()),
            last_block: take(s.finder.block_bits()),
            last_granule: take(s.feeder.product().last_granule),
            fp4: take(1),
            ahead: take(1),
            scale_max: take(SCALE),
            masked: take(1),
        }
    }
}

/// The way of operands. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    slots: u32,
    channels: u32,
    columns: u32,
    blocks: u32,
    mapping: Mapping,
    finder: Finder,
    feeder: Feeder,
    results: Results,
    /// Width of a word of the accumulators, and words of a sixteen of rows.
    word: u32,
    words: u32,
}

impl Sender {
    /// Cycles from a block that is asked for to the block.
    pub const READ: u32 = 2;

    /// That of a configuration.
    ///
    /// # Errors
    /// As [`Feeder::new`].
    pub fn new(config: &AccelConfig) -> Result<Self, RtlError> {
        let cluster = Cluster::new(config)?;
        Ok(Self {
            slots: config.slots(),
            channels: config.channels(),
            columns: config.columns(),
            blocks: config.ab_blocks(),
            mapping: Mapping::new(config),
            finder: Finder::new(config),
            feeder: Feeder::new(config)?,
            results: Results::new(config)?,
            word: cluster.address_width(),
            words: ROW_GRANULE / cluster.rows(),
        })
    }

    /// Width of the number of a block.
    #[must_use]
    pub fn block_bits(&self) -> u32 {
        index_width(self.blocks.into())
    }

    /// Width of a [`Note`].
    #[must_use]
    pub fn note_bits(&self) -> u32 {
        self.block_bits() + self.last_block_bits() + self.feeder.product().last_granule + 3 + SCALE
    }

    /// Width of [`Note::last_block`].
    #[must_use]
    pub fn last_block_bits(&self) -> u32 {
        self.finder.block_bits()
    }

    fn operands(&self) -> Operands {
        self.feeder.operands()
    }
}

/// The product in hand.
struct InHand<'m> {
    valid: Wire<'m>,
    slots: Wire<'m>,
    counts: Wire<'m>,
    places: Wire<'m>,
    word: Wire<'m>,
    note: Note<'m>,
}

impl<'m> InHand<'m> {
    /// The front of the queue of products; `done` takes it off.
    fn new(s: &Sender, m: &'m Builder, done: Wire<'m>) -> Result<Self, RtlError> {
        let widths = [
            ("slots", s.slots),
            ("counts", s.columns * s.mapping.count_bits()),
            ("places", s.slots * s.mapping.place_bits()),
            ("word", s.word),
            ("note", s.note_bits()),
        ];
        let fields: Vec<_> =
            widths.iter().map(|(name, width)| m.input(&format!("product_{name}_i"), *width)).collect();
        let data = m.pack(&fields);
        let input = Stream { valid: m.input("product_valid_i", 1), data, ready: m.later("product_room", 1) };
        let queue = Fifo::new(data.width(), Results::PRODUCTS, RamStyle::Distributed)?;
        let queue = queue.registered().after(m, "u_products", input)?;
        queue.ready.set(done);
        let mut take = cut(queue.data);
        let [slots, counts, places, word, note] = widths.map(|width| take(width.1));
        Ok(Self { valid: queue.valid, slots, counts, places, word, note: Note::of(s, note) })
    }

    /// Accumulators' words of a chunk.
    fn chunk(&self, s: &Sender) -> Wire<'m> {
        let granules = self.note.last_granule.zext(s.word.max(self.note.last_granule.width()));
        (granules.trunc(s.word) + 1) << s.words.ilog2()
    }
}

/// The weight block whose operands are sent next: every one of a product, or those that take part in some slot.
struct Next<'m> {
    /// It may be sent; before it, slots that take part in none are told, which are known the cycle before.
    there: Wire<'m>,
    silent: Wire<'m>,
    /// It is one, and does not just stand for one in a product without any.
    real: Wire<'m>,
    number: Wire<'m>,
    slots: Wire<'m>,
    last: Wire<'m>,
    /// Columns that take part in each pass.
    columns: Vec<Wire<'m>>,
}

/// What is sent in a cycle: a header or an operand; or a slot is told that has none.
struct Turn<'m> {
    header: Wire<'m>,
    operand: Wire<'m>,
    tells: Wire<'m>,
    /// The slot's sums begin with it.
    begins: Wire<'m>,
    /// Its block is the product's first; it is its block's last operand.
    first: Wire<'m>,
    ends_block: Wire<'m>,
    /// One of the slots.
    slot: Wire<'m>,
    block: Wire<'m>,
    done: Wire<'m>,
}

impl Sender {
    /// Columns that take part in each pass.
    fn columns<'m>(&self, m: &'m Builder, counts: Wire<'m>) -> Vec<Wire<'m>> {
        let counts = counts.chunks(self.mapping.count_bits());
        let of =
            |pass: u32| m.pack(&counts.iter().map(|count| count.gt(u64::from(pass))).collect::<Vec<_>>());
        (0..self.operands().passes()).map(of).collect()
    }

    /// The last pass in which columns take part: pass by pass there are no more of them.
    fn last_pass<'m>(&self, m: &'m Builder, columns: &[Wire<'m>]) -> Wire<'m> {
        let behind: Vec<_> = columns.iter().skip(1).map(|columns| columns.any()).collect();
        let is_last = |pass: usize| {
            let taken = if pass == 0 { m.lit(1, 1) } else { behind[pass - 1] };
            behind.get(pass).map_or(taken, |further| taken & !*further)
        };
        number(m.pack(&(0..columns.len()).map(is_last).collect::<Vec<_>>()))
    }

    /// Whether every cluster had room for the sets of any block in the cycle before. No block comes in the cycle behind another's header.
    fn credit<'m>(&self, m: &'m Builder, clear: Wire<'m>, header: Wire<'m>, last_pass: Wire<'m>) -> Wire<'m> {
        let bits = index_width(u64::from(OPERAND_SETS) + 1);
        let given = index_width(u64::from(self.operands().passes()) + 1);
        let wide = |wire: Wire<'m>| wire.zext(bits.max(wire.width())).trunc(bits);
        let taken = (wide(last_pass) + 1) & header.repeat(bits);
        let back = m.input("credits_i", self.channels * given).chunks(given);
        let room: Vec<_> = back
            .into_iter()
            .enumerate()
            .map(|(channel, back)| {
                let sets = m.reg(&format!("sets_{channel}"), bits).reset(OPERAND_SETS.into());
                sets.set(clear.mux(m.lit(bits, OPERAND_SETS.into()), sets.q() + wide(back) - taken));
                sets.q().ge(u64::from(self.operands().passes()))
            })
            .collect();
        m.register_valid("room", m.pack(&room).all())
    }

    /// The next block; `header` when its header is sent, `ends` when its operands are, `done` when those of the product are.
    fn next<'m>(
        &self,
        m: &'m Builder,
        product: &InHand<'m>,
        [clear, header, ends, done]: [Wire<'m>; 4],
    ) -> Result<Next<'m>, RtlError> {
        let note = &product.note;
        let finder = m.instance("u_finder", &self.finder)?;
        let first_group = note.first >> MASK_BLOCKS.ilog2();
        let groups = self.finder.group_bits();
        finder.set("product_i", product.valid & note.masked);
        finder.set("first_group_i", first_group.zext(groups.max(first_group.width())).trunc(groups));
        finder.set("last_block_i", note.last_block);
        finder.set("slots_i", product.slots);
        finder.set("columns_i", m.pack(&self.mapping.by_column(m, product.places)));
        finder.set("done_i", done & note.masked);
        finder.set("block_ready_i", header & note.masked);
        pass_masks(m, &finder);

        let number = m.reg("number", note.last_block.width()).reset(0);
        let none = m.lit(number.q().width(), 0);
        number.update(&[(clear | done, none), (ends, number.q() + 1)]);
        let found = finder.get("block_valid_o");
        let dense = (number.q(), product.slots, product.counts, number.q().eq(note.last_block));
        let get = |name: &str| finder.get(&format!("block_{name}_o"));
        let only = |wire: Wire<'m>| wire & found.repeat(wire.width());
        let counts = note.masked.mux(only(get("counts")), dense.2);
        Ok(Next {
            there: product.valid & (!note.masked | finder.get("ready_o")),
            silent: finder.get("none_o") & (product.valid & note.masked).repeat(self.slots),
            real: !note.masked | found,
            number: note.masked.mux(m.own(finder.get("block_o")), dense.0),
            slots: note.masked.mux(only(get("slots")), dense.1),
            last: note.masked.mux(!found | get("last"), dense.3),
            columns: self.columns(m, counts),
        })
    }

    /// The walk over blocks, passes and columns.
    fn turn<'m>(
        &self,
        m: &'m Builder,
        clear: Wire<'m>,
        product: &InHand<'m>,
        next: &Next<'m>,
        room: Wire<'m>,
    ) -> Turn<'m> {
        let flag = m.reg("operands", 1).reset(0);
        // Slots that have to be told that there is nothing for them, and the first of them.
        let (silent, some) = (m.reg("silent", self.slots).reset(0), m.reg("some_silent", 1).reset(0));
        let untold = m.reg("untold", self.slots).reset(0);
        let left = next.there.mux(silent.q() & !untold.q(), next.silent);
        silent.set(left);
        untold.set(lowest(left));
        some.set(left.any());
        let tells = (next.there & some.q()).named("tells");
        let header = (next.there & !tells & !flag.q() & room).named("header");
        let keep = |name: &str, wire: Wire<'m>| {
            let reg = m.reg(name, wire.width());
            reg.set_when(header, wire);
            reg.q()
        };
        let (last, number) = (keep("last", next.last), keep("block", next.number));
        let columns = keep("columns", m.pack(&next.columns)).chunks(self.columns);

        // The column and the slot that have their turn are found the cycle before.
        let (left, turn) = (m.reg("left", self.slots), m.reg("turn", self.columns));
        let (column, slot) = (m.reg("column", self.columns), m.reg("slot", self.slots));
        let slot_of = |left: Wire<'m>, column: Wire<'m>| {
            let places = product.places.chunks(self.mapping.place_bits()).into_iter();
            let own = places.map(|place| place.trunc(self.mapping.column_bits()).choose(&column.bits()));
            lowest(left & m.pack(&own.collect::<Vec<_>>()))
        };
        let rest = left.q() & !slot.q();
        let ends_block = (flag.q() & rest.is_zero()).named("ends_block");
        let of_pass = turn.q() & !column.q();
        let ends_pass = of_pass.is_zero();
        let operand = flag.q() & turn.q().any();

        let pass = m.reg("pass", self.operands().pass_width());
        let behind: Vec<_> =
            (0..columns.len()).map(|pass| columns.get(pass + 1).copied().unwrap_or(columns[0])).collect();
        let zero = m.lit(pass.q().width(), 0);
        pass.update(&[(header, zero), (operand & ends_pass, pass.q() + 1)]);
        let (first_pass, next_pass) = (next.columns[0], ends_pass.mux(pass.q().choose(&behind), of_pass));
        let [first_column, next_column] = [first_pass, next_pass].map(lowest);
        turn.update(&[(header, first_pass), (operand, next_pass)]);
        column.update(&[(header, first_column), (operand, next_column)]);
        left.update(&[(header, next.slots), (operand, rest)]);
        slot.update(&[(header, slot_of(next.slots, first_column)), (operand, slot_of(rest, next_column))]);

        let done = (ends_block & last).named("product_sent");
        flag.update(&[(clear | ends_block, m.lit(1, 0)), (header, m.lit(1, 1))]);
        let opened = m.reg("opened", 1).reset(0);
        opened.update(&[(clear | done, m.lit(1, 0)), (ends_block, m.lit(1, 1))]);
        // Slots whose sums have begun.
        let begun = m.reg("begun", self.slots).reset(0);
        begun.update(&[(clear | done, m.lit(self.slots, 0)), (operand, begun.q() | slot.q())]);
        let begins = !(slot.q() & begun.q()).any();
        let slot = tells.mux(untold.q(), slot.q());
        let bits = self.block_bits();
        let within = number.zext(bits.max(number.width())).trunc(bits);
        let block = product.note.first + within;
        Turn { header, operand, tells, begins, first: !opened.q(), ends_block, slot, block, done }
    }

    /// A header: number of passes, whether the block is the last, and for each pass the columns that take part.
    fn header<'m>(&self, m: &'m Builder, next: &Next<'m>, last_pass: Wire<'m>) -> Wire<'m> {
        m.pack(&[&[last_pass, next.last], &next.columns[..]].concat())
    }

    /// A slot's column, and the first word of its accumulators, [`Sender::READ`] cycles later.
    fn place<'m>(&self, m: &'m Builder, product: &InHand<'m>, slot: Wire<'m>) -> [Wire<'m>; 2] {
        let places = product.places.chunks(self.mapping.place_bits());
        let place = m.one_hot(&slot.bits().into_iter().zip(places).collect::<Vec<_>>());
        let place = m.register("place_of_slot", place);
        let (word, chunk) = (m.register("word", product.word), m.register("chunk", product.chunk(self)));
        let column = self.mapping.column_bits();
        let pass = place.slice(column, place.width() - column);
        let offset = pass.mul_unsigned(chunk);
        let offset = offset.zext(self.word.max(offset.width())).trunc(self.word);
        [m.register("place_column", place.trunc(column)), m.register("place_word", word + offset)]
    }

    /// Operands and headers, and where slots' sums are, from what is in hand.
    fn send<'m>(
        &self,
        m: &'m Builder,
        product: &InHand<'m>,
        turn: &Turn<'m>,
        header: Wire<'m>,
    ) -> Result<(), RtlError> {
        let later = |name: &str, wire: Wire<'m>| -> Result<Wire<'m>, RtlError> {
            Ok(DelayLine::new(wire.width(), Self::READ)?.build(m, name, wire))
        };
        let valid = |name: &str, wire: Wire<'m>| {
            (0..Self::READ).fold(wire, |wire, n| m.register_valid(&format!("{name}_{n}"), wire))
        };
        let largest = m.input("read_largest_i", SCALE);
        let of_matrix = later("scale_max", product.note.scale_max)?;
        let base = largest.zext(BASE) + of_matrix.zext(BASE);
        let nan = largest.all() | of_matrix.all();
        let [column, word] = self.place(m, product, turn.slot);
        let begins = later("begins", turn.begins)?;
        let act = m.pack(&[m.input("read_elems_i", ELEMS), m.input("read_scale_i", SCALE)]);
        let widths = self.operands().operand();
        let operand = m.pack(&[act, base, word.zext(widths.word), begins]);
        let bits = self.operands().width();
        let header = later("header_word", header)?;
        let is_header = valid("is_header", turn.header);
        m.output("operand_valid_o", is_header | valid("is_operand", turn.operand));
        m.output("operand_header_o", is_header);
        m.output("operand_data_o", is_header.mux(header.zext(bits), operand.zext(bits)));

        m.output("place_valid_o", valid("place", turn.operand & turn.begins | turn.tells));
        m.output("place_slot_o", later("place_slot", number(turn.slot))?);
        let place = self.results.place();
        let none = later("place_none", turn.tells)?;
        m.output("place_o", m.pack(&[column.zext(place.column), word.zext(place.word), base, nan, none]));
        Ok(())
    }
}

impl Sender {
    /// What is counted of a product when it is sent; `block` with each of its blocks.
    fn count<'m>(
        &self,
        m: &'m Builder,
        clear: Wire<'m>,
        product: &InHand<'m>,
        (block, done): (Wire<'m>, Wire<'m>),
    ) {
        let blocks = m.reg("blocks", EVENT_BITS).reset(0);
        blocks.update(&[(clear | done, m.lit(EVENT_BITS, 0)), (block, blocks.q() + 1)]);
        let passes = self.last_pass(m, &self.columns(m, product.counts)).zext(EVENT_BITS);
        let skipped = product.note.last_block.zext(EVENT_BITS) - blocks.q();
        // A cycle later, so that they are no longer on the way of what decides that the product is sent.
        let done = m.register_valid("counted", done);
        for (name, count, more) in
            [("passes", passes, 1), ("streamed", blocks.q(), 0), ("skipped", skipped, 1)]
        {
            let count = m.register(&format!("{name}_of_product"), count) + more;
            m.output(&format!("{name}_o"), count & done.repeat(EVENT_BITS));
        }
    }
}

/// The ports by which masks are read.
fn pass_masks<'m>(m: &'m Builder, finder: &Instance<'m>) {
    for pin in finder.module().ports() {
        match pin.name.as_str() {
            "look_i" | "block_masks_i" => finder.set(&pin.name, m.input(&pin.name, pin.width)),
            "look_o" | "block_group_o" => m.output(&pin.name, finder.get(&pin.name)),
            _ => {}
        }
    }
}

impl Block for Sender {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Self { slots, channels, columns, blocks, .. } = *self;
        let m = Builder::new(format!("sender_s{slots}_c{columns}_h{channels}_b{blocks}"));
        let clear = m.input("start_i", 1);
        let [sends_header, ends, done] =
            ["sends_header", "ends_operands", "done"].map(|name| m.later(name, 1));
        let product = InHand::new(self, &m, done.wire())?;
        let next = self.next(&m, &product, [clear, sends_header.wire(), ends.wire(), done.wire()])?;
        let last_pass = self.last_pass(&m, &next.columns);
        let room = self.credit(&m, clear, sends_header.wire(), last_pass);
        let turn = self.turn(&m, clear, &product, &next, room);
        sends_header.set(turn.header);
        ends.set(turn.ends_block);
        done.set(turn.done);

        m.output("read_slot_o", number(turn.slot));
        m.output("read_block_o", turn.block);
        m.output("read_first_o", product.note.first);
        let word = self.header(&m, &next, last_pass);
        self.send(&m, &product, &turn, word)?;
        let bits = Results::NUMBER;
        let sent = m.reg("sent", bits).reset(0);
        sent.update(&[(clear, m.lit(bits, 0)), (turn.done, sent.q() + 1)]);
        m.output("place_product_o", DelayLine::new(bits, Self::READ)?.build(&m, "place_product", sent.q()));

        self.count(&m, clear, &product, (turn.header & next.real, turn.done));
        let Note { last_granule, fp4, ahead, .. } = product.note;
        m.output("feed_valid_o", m.register_valid("feed_valid", turn.ends_block & turn.first));
        m.output("feed_o", m.register("feed", m.pack(&[last_granule, fp4, ahead])));
        m.finish()
    }
}
