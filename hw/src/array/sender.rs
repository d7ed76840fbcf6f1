//! `sender`: operands of products on their way to the clusters.
//!
//! # Purpose
//!
//! Sends the activation blocks of each product's slots to all clusters, weight block by weight block, as long as every cluster has room
//! for them; says of each slot where its sums begin and what they count in; and sends the product itself.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i`, `start_i` | in | 1 | nothing is under way; a run begins |
//! | `compact_i` | in | 1 | as in [`Mapping`] |
//! | `product_valid_i`, `product_slots_i`, `product_counts_i`, `product_passes_i`, `product_word_i`, `product_note_i` | in | | a product that is armed, as [`Sequencer`](super::Sequencer) says it, with a [`Note`] |
//! | `read_slot_o`, `read_block_o`, `read_first_o` | out | log2(slots), log2(blocks), log2(blocks) | a block of the activation buffer is asked for, and the first one of its vector |
//! | `read_scale_i`, `read_elems_i`, `read_largest_i` | in | 8, 256, 8 | two cycles later: it, and the largest scale of the vector |
//! | `credits_i` | in | channels x log2(passes + 1) | sets of operands that a cluster gives back |
//! | `operand_valid_o`, `operand_header_o`, `operand_data_o` | out | 1, 1, [`Operands::width`] | as in [`Operands`] |
//! | `feed_valid_o`, `feed_o` | out | 1, [`Feeder::product_bits`] | the product for the [`Feeder`]s |
//! | `place_valid_o`, `place_product_o`, `place_slot_o`, `place_o` | out | 1, [`Results::NUMBER`], log2(slots), [`Results::place_width`] | as in [`Results`] |
//!
//! # Timing
//!
//! A product that is armed in cycle t has its header in hand in t + 1, when the ones before are sent, and in each cycle behind an operand; block follows
//! block without a gap as long as there is room. What is in hand in cycle h is on `operand_data_o` in h + 2; `feed_valid_o` comes in the cycle behind the first block's last operand.
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
use super::{Mapping, Results};
use crate::cmd::fields::cut;
use crate::pe::Cluster;
use crate::prim::{DelayLine, Fifo, lowest, number};
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Stream, Wire, index_width};
use fastcar_arch::config::{AccelConfig, ROW_GRANULE};
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
}

impl<'m> Note<'m> {
    /// All in one word.
    #[must_use]
    pub fn word(&self, m: &'m Builder) -> Wire<'m> {
        let Self { first, last_block, last_granule, fp4, ahead, scale_max } = *self;
        m.pack(&[first, last_block, last_granule, fp4, ahead, scale_max])
    }

    fn of(s: &Sender, word: Wire<'m>) -> Self {
        let mut take = cut(word);
        let product = s.feeder.product();
        Self {
            first: take(s.block_bits()),
            last_block: take(product.last_block),
            last_granule: take(product.last_granule),
            fp4: take(1),
            ahead: take(1),
            scale_max: take(SCALE),
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
        let product = self.feeder.product();
        self.block_bits() + product.last_block + product.last_granule + 2 + SCALE
    }

    fn operands(&self) -> Operands {
        self.feeder.operands()
    }
}

/// The product in hand.
struct InHand<'m> {
    valid: Wire<'m>,
    slots: Wire<'m>,
    counts: Vec<Wire<'m>>,
    passes: Wire<'m>,
    word: Wire<'m>,
    note: Note<'m>,
}

impl<'m> InHand<'m> {
    /// The front of the queue of products; `done` takes it off.
    fn new(s: &Sender, m: &'m Builder, done: Wire<'m>) -> Result<Self, RtlError> {
        let count = s.mapping.count_bits();
        let widths = [
            ("slots", s.slots),
            ("counts", s.columns * count),
            ("passes", count),
            ("word", s.word),
            ("note", s.note_bits()),
        ];
        let fields: Vec<_> =
            widths.iter().map(|(name, width)| m.input(&format!("product_{name}_i"), *width)).collect();
        let data = m.pack(&fields);
        let input = Stream { valid: m.input("product_valid_i", 1), data, ready: m.later("product_room", 1) };
        let queue = Fifo::new(data.width(), Results::PRODUCTS, RamStyle::Distributed)?;
        let queue = queue.after(m, "u_products", input)?;
        queue.ready.set(done);
        let mut take = cut(queue.data);
        let [slots, counts, passes, word, note] = widths.map(|width| take(width.1));
        let counts = counts.chunks(count);
        Ok(Self { valid: queue.valid, slots, counts, passes, word, note: Note::of(s, note) })
    }

    /// Columns that take part in each pass.
    fn columns(&self, s: &Sender, m: &'m Builder) -> Vec<Wire<'m>> {
        let of = |pass: u32| {
            m.pack(&self.counts.iter().map(|count| count.gt(u64::from(pass))).collect::<Vec<_>>())
        };
        (0..s.operands().passes()).map(of).collect()
    }
}

/// What is sent in a cycle: a header or an operand.
struct Turn<'m> {
    header: Wire<'m>,
    operand: Wire<'m>,
    /// It is of the product's first block; it is its block's last operand.
    first: Wire<'m>,
    ends_block: Wire<'m>,
    slot: Wire<'m>,
    block: Wire<'m>,
    /// One of the columns.
    column: Wire<'m>,
    word: Wire<'m>,
    done: Wire<'m>,
}

impl Sender {
    /// Whether every cluster had room for the sets of any block in the cycle before. No block comes in the cycle behind another's header.
    fn credit<'m>(&self, m: &'m Builder, clear: Wire<'m>, header: Wire<'m>, passes: Wire<'m>) -> Wire<'m> {
        let bits = index_width(u64::from(OPERAND_SETS) + 1);
        let given = index_width(u64::from(self.operands().passes()) + 1);
        let wide = |wire: Wire<'m>| wire.zext(bits.max(wire.width())).trunc(bits);
        let taken = wide(passes) & header.repeat(bits);
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

    /// The walk over blocks, passes and columns.
    fn turn<'m>(
        &self,
        m: &'m Builder,
        clear: Wire<'m>,
        product: &InHand<'m>,
        columns: &[Wire<'m>],
        room: Wire<'m>,
    ) -> Turn<'m> {
        let flag = m.reg("operands", 1).reset(0);
        let operand = flag.q();
        let header = (product.valid & !operand & room).named("header");
        let (left, turn) = (m.reg("left", self.slots), m.reg("turn", self.columns));
        let column = lowest(turn.q());
        let compact = m.input("compact_i", 1);
        let own: Vec<_> = (0..self.slots).map(|slot| column.bit(slot % self.columns)).collect();
        let slot = lowest(left.q() & (m.pack(&own) | compact.repeat(self.slots)));
        let rest = left.q() & !slot;
        let ends_block = (operand & rest.is_zero()).named("ends_block");
        let of_pass = turn.q() & !column;
        let ends_pass = of_pass.is_zero();

        let pass = m.reg("pass", self.operands().pass_width());
        let next: Vec<_> =
            (0..columns.len()).map(|pass| columns.get(pass + 1).copied().unwrap_or(columns[0])).collect();
        let zero = m.lit(pass.q().width(), 0);
        pass.update(&[(header, zero), (operand & ends_pass, pass.q() + 1)]);
        turn.update(&[(header, columns[0]), (operand, ends_pass.mux(pass.q().choose(&next), of_pass))]);
        left.update(&[(header, product.slots), (operand, rest)]);
        let word = m.reg("word", self.word);
        let granules = product.note.last_granule.zext(self.word.max(product.note.last_granule.width()));
        let chunk = (granules.trunc(self.word) + 1) << self.words.ilog2();
        word.update(&[(header, product.word), (operand & ends_pass, word.q() + chunk)]);

        // Blocks that are sent of the product.
        let number_of = m.reg("block", product.note.last_block.width()).reset(0);
        let last = number_of.q().eq(product.note.last_block);
        let done = (ends_block & last).named("product_sent");
        let none = m.lit(number_of.q().width(), 0);
        number_of.update(&[(clear | done, none), (ends_block, number_of.q() + 1)]);
        flag.update(&[(clear | ends_block, m.lit(1, 0)), (header, m.lit(1, 1))]);
        let first = number_of.q().is_zero();
        let bits = self.block_bits();
        let within = number_of.q().zext(bits.max(number_of.q().width())).trunc(bits);
        let block = product.note.first + within;
        Turn { header, operand, first, ends_block, slot: number(slot), block, column, word: word.q(), done }
    }

    /// A header: number of passes, and for each the columns that take part and whose sums begin.
    fn header<'m>(
        &self,
        m: &'m Builder,
        product: &InHand<'m>,
        columns: &[Wire<'m>],
        first: Wire<'m>,
    ) -> Wire<'m> {
        let last_pass = (product.passes - 1).trunc(self.operands().pass_width());
        let begins = first.repeat(self.columns);
        let each = columns.iter().flat_map(|pass| [*pass, *pass & begins]);
        m.pack(&[last_pass].into_iter().chain(each).collect::<Vec<_>>())
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
        let word = later("operand_word", turn.word)?;
        let act = m.pack(&[m.input("read_elems_i", ELEMS), m.input("read_scale_i", SCALE)]);
        let widths = self.operands().operand();
        let operand = m.pack(&[act, base, word.zext(widths.word)]);
        let bits = self.operands().width();
        let header = later("header_word", header)?;
        let is_header = valid("is_header", turn.header);
        m.output("operand_valid_o", is_header | valid("is_operand", turn.operand));
        m.output("operand_header_o", is_header);
        m.output("operand_data_o", is_header.mux(header.zext(bits), operand.zext(bits)));

        m.output("place_valid_o", valid("place", turn.operand & turn.first));
        m.output("place_slot_o", later("place_slot", turn.slot)?);
        let column = later("place_column", number(turn.column))?;
        let place = self.results.place();
        m.output("place_o", m.pack(&[column.zext(place.column), word.zext(place.word), base, nan]));
        Ok(())
    }
}

impl Block for Sender {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Self { slots, channels, columns, blocks, .. } = *self;
        let m = Builder::new(format!("sender_s{slots}_c{columns}_h{channels}_b{blocks}"));
        let clear = m.input("start_i", 1);
        let done = m.later("done", 1);
        let product = InHand::new(self, &m, done.wire())?;
        let columns = product.columns(self, &m);
        let header = m.later("sends_header", 1);
        let room = self.credit(&m, clear, header.wire(), product.passes);
        let turn = self.turn(&m, clear, &product, &columns, room);
        header.set(turn.header);
        done.set(turn.done);

        m.output("read_slot_o", turn.slot);
        m.output("read_block_o", turn.block);
        m.output("read_first_o", product.note.first);
        let word = self.header(&m, &product, &columns, turn.first);
        self.send(&m, &product, &turn, word)?;
        let bits = Results::NUMBER;
        let sent = m.reg("sent", bits).reset(0);
        sent.update(&[(clear, m.lit(bits, 0)), (turn.done, sent.q() + 1)]);
        m.output("place_product_o", DelayLine::new(bits, Self::READ)?.build(&m, "place_product", sent.q()));

        let Note { last_block, last_granule, fp4, ahead, .. } = product.note;
        m.output("feed_valid_o", m.register_valid("feed_valid", turn.ends_block & turn.first));
        m.output("feed_o", m.register("feed", m.pack(&[last_block, last_granule, fp4, ahead])));
        m.finish()
    }
}
