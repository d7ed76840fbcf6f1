//! `results`: the rows of products on their way from the clusters to the vector unit.
//!
//! # Purpose
//!
//! Stands in the middle. Notes when every cluster is through with a product, asks all of them for its rows as soon as these may be asked for, and gives
//! them to the vector unit in groups of its lanes.
//!
//! # Interface
//!
//! Products are served in the order in which they are armed, and have numbers: from 0 in each run, modulo [`Results::PRODUCTS`]. At most so many are *under way*, that is
//! armed, and not all of their parts begun and rows taken. `C` are the channels, `L` the lanes of the vector unit; a cycle brings an *entry*, one row of each cluster. A group is
//! made from `k = L / C` entries, or, where there are more channels than lanes (`k = 1`), an entry makes `C / L` groups.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | nothing is under way |
//! | `start_i` | in | 1 | a run begins, with number 0; nothing is under way then |
//! | `product_valid_i` | in | 1 | a product is armed; with it: |
//! | `product_slots_i`, `product_rows_i` | in | slots, [`Results::rows_width`] | its slots, at least one, and the entries to bring for each of them: a multiple of `k`, up to [`Results::most_rows`] |
//! | `place_valid_i` | in | 1 | where a slot's sums of a product are, and what they count in: for each slot of a product, no earlier than its `product_valid_i`, and at least 4 cycles before its last `done_i`; with it: |
//! | `place_product_i`, `place_slot_i`, `place_i` | in | [`Results::NUMBER`], log2(slots), [`Results::place_width`] | the product's number, the slot, a [`Place`] |
//! | `done_i` | in | C | a cluster is through with its next product: the last beat was used up [`HOP`] cycles ago |
//! | `through_o` | out | 1 | all clusters are through with the oldest product for which that was not yet said |
//! | `request_valid_o` | out | 1 | a row is asked for of every cluster; with it: |
//! | `request_column_o`, `request_word_o`, `request_row_o` | out | | as [`Drain`] has them |
//! | `row_valid_i`, `rows_i` | in | 1, C x 48 | the entry, channel 0's row low: [`ROUND_TRIP`] cycles later |
//! | `ready_o` | out | 1 | as far as its sums go, parts of the product in turn may begin |
//! | `slots_o` | out | slots | with `ready_o`: the product's slots whose parts have not begun |
//! | `last_o` | out | 1 | with `ready_o`: there is only one of them |
//! | `begin_i` | in | 1 | with `ready_o`: the part of the lowest of them begins; with the last one the next product is in turn from the next cycle on |
//! | `slot_i`, `base_o`, `nan_o` | in, out, out | log2(slots), 9, 1 | a slot, and what the sums of the product in turn count in there |
//! | `sums_{valid,data}_o`, `sums_ready_i` | | 1, 48 x L, 1 | *stream*: rows in order, slot by slot |
//!
//! # Timing
//!
//! * `through_o` comes in the cycle of the last `done_i`: each product once, in order, one a cycle.
//! * A product's first request leaves `MAC_LATENCY - 2 * HOP` cycles after its `through_o` at the earliest, which is at the clusters [`MAC_LATENCY`] cycles after the last beat. Requests leave in
//!   every cycle, row by row, slot by slot in ascending order, product by product, without a gap if the next one's time has come.
//! * A request leaves [`ASK`] cycles after it was decided for, and that is done when of all decided for fewer than [`DEPTH`] were not used up in the cycles before: so many that a vector unit that uses up one
//!   in each cycle never waits, also after a pause.
//! * `ready_o` is set [`Results::latency`] cycles after `through_o`, which is when the first entry arrives if no others are asked for, and stays until the last part has begun. `base_o` and `nan_o` are of the same cycle.
//! * An entry can be used in the cycle in which it comes, and is only while `sums_ready_i` is set, one a cycle at most: `sums_valid_o` is set with the group's last entry. So group g of a part that begins in cycle b
//!   is taken in `b + (g + 1) * k - 1` if the vector unit does not wait for anything else; with more channels than lanes, in `b + g`.
//!
//! # Numeric contract
//!
//! None: bits are bits.
//!
//! # Cost
//!
//! Distributed memory of [`DEPTH`] entries, of the places and windows of all slots of 64 products, and counters for each channel.
//!
//! # Verification
//!
//! `tests/tests/rtl_results.rs`: with [`Drain`], beside a model of each cycle, at four sizes; cells and depth.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{array::Results, rtl::Block};
//!
//! let results = Results::new(&AccelConfig::preset("u55c")?)?;
//! assert_eq!(results.module()?.name(), "results_c32_l32_s32_n2048_p2_w9_r4");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::Drain;
use crate::cmd::fields::cut;
use crate::pe::cluster::BASE_BITS;
use crate::prim::{Counter, CreditCounter, DelayLine, Fifo, lowest, number};
use crate::rtl::{Block, Builder, Memory, Module, RamStyle, RtlError, Stream, Wire, index_width};
use fastcar_arch::config::{AccelConfig, LINE_WORDS};
use fastcar_arch::num::window::ACC_BITS;
use fastcar_arch::timing::{DRAIN_LATENCY, HOP, MAC_LATENCY, RESULT_LATENCY};
use std::sync::Arc;

/// Cycles from a request to its entry.
pub const ROUND_TRIP: u64 = HOP + DRAIN_LATENCY + HOP;
/// Cycles from the decision for a request until it leaves: the slot's place is read, the row added.
pub const ASK: u64 = 3;
/// Entries that are decided for and not used up, at most: one for each cycle from a decision to the first that counts its use.
pub const DEPTH: u32 = (ASK + ROUND_TRIP + 1).next_power_of_two() as u32;

/// Cycles from `through_o` until a product counts as due: it is taken up in the next one, and decided for in the one behind.
const DUE: u64 = MAC_LATENCY - 2 * HOP - ASK - 2;
/// Cycles from `through_o` until a product counts as ready, less the one in which it is counted.
const READY: u64 = RESULT_LATENCY - HOP - 1;
const _: () = assert!(DUE < READY && RESULT_LATENCY - HOP == MAC_LATENCY - 2 * HOP + ROUND_TRIP);

/// Where a slot's sums of a product are; the first part in the lowest bits.
#[derive(Clone, Copy, Debug)]
pub struct Place<T> {
    /// Column of the clusters.
    pub column: T,
    /// First word.
    pub word: T,
    /// Base of the window that the sums count in.
    pub base: T,
    /// A scale is NaN, and so are all rows.
    pub nan: T,
    /// No block takes part: all sums are zero, whatever the words hold.
    pub none: T,
}

/// The way of rows to the vector unit. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Results {
    drain: Drain,
    channels: u32,
    lanes: u32,
    slots: u32,
    most_rows: u32,
}

impl Results {
    /// Products that are under way, at most.
    pub const PRODUCTS: u32 = 64;
    /// Width of a product's number.
    pub const NUMBER: u32 = Self::PRODUCTS.ilog2();

    /// For a configuration.
    ///
    /// # Errors
    /// As [`Drain::new`].
    pub fn new(config: &AccelConfig) -> Result<Self, RtlError> {
        Ok(Self {
            drain: Drain::new(config)?,
            channels: config.channels(),
            lanes: config.vector_lanes(),
            slots: config.slots(),
            most_rows: config.acc_rows().next_multiple_of(LINE_WORDS),
        })
    }

    /// Cycles from `through_o` to `ready_o`.
    #[must_use]
    pub fn latency(&self) -> u32 {
        (READY + 1) as u32
    }

    /// Most rows that each cluster gives for a slot: its accumulators', in whole lines of the vector buffer.
    #[must_use]
    pub fn most_rows(&self) -> u32 {
        self.most_rows
    }

    /// Width of `product_rows_i`.
    #[must_use]
    pub fn rows_width(&self) -> u32 {
        index_width(u64::from(self.most_rows) + 1)
    }

    /// Width of a slot's number.
    #[must_use]
    pub fn slot_width(&self) -> u32 {
        index_width(self.slots.into())
    }

    /// Widths of a place's parts.
    #[must_use]
    pub fn place(&self) -> Place<u32> {
        Place {
            column: self.drain.column_width(),
            word: self.drain.word_width(),
            base: BASE_BITS,
            nan: 1,
            none: 1,
        }
    }

    /// Width of a place.
    #[must_use]
    pub fn place_width(&self) -> u32 {
        let Place { column, word, base, nan, none } = self.place();
        column + word + base + nan + none
    }

    /// Width of the number of a row, of those of a slot.
    fn row_bits(&self) -> u32 {
        index_width(self.most_rows.into())
    }

    fn name(&self) -> String {
        let Self { channels, lanes, slots, most_rows, .. } = *self;
        let Place { column, word, .. } = self.place();
        let rows = self.drain.rows();
        format!("results_c{channels}_l{lanes}_s{slots}_n{most_rows}_p{column}_w{word}_r{rows}")
    }
}

/// A bit in each of so many cycles: as it is, a cycle later, ...
fn late<'m>(m: &'m Builder, name: &str, cycles: u64, bit: Wire<'m>) -> Vec<Wire<'m>> {
    let mut all = vec![bit];
    for cycle in 0..cycles {
        all.push(m.register_valid(&format!("{name}_{cycle}"), all[cycle as usize]));
    }
    all
}

/// A product's number: the next one with each step, 0 when a run begins.
fn numbered<'m>(m: &'m Builder, name: &str, start: Wire<'m>, step: Wire<'m>) -> Wire<'m> {
    let product = m.reg(name, Results::NUMBER).reset(0);
    product.update(&[(start, m.lit(Results::NUMBER, 0)), (step, product.q() + 1)]);
    product.q()
}

/// Whether there are more products of one kind than of another.
fn ahead<'m>(m: &'m Builder, name: &str, more: Wire<'m>, fewer: Wire<'m>) -> Wire<'m> {
    let count = m.reg(name, Results::NUMBER + 1).reset(0);
    let some = m.reg(&format!("{name}_some"), 1).reset(0);
    let (up, down) = (more & !fewer, fewer & !more);
    count.update(&[(up, count.q() + 1), (down, count.q() - 1)]);
    some.update(&[(up, m.lit(1, 1)), (down, count.q().ne(1))]);
    some.q()
}

/// What is known of the products that are under way.
struct Products<'m> {
    /// By number: the slots, and above them the number of the last row.
    products: Memory<'m>,
    /// By slot and number: column, word, and whether there is none; what sums count in.
    places: Memory<'m>,
    windows: Memory<'m>,
}

impl<'m> Products<'m> {
    fn new(r: &Results, m: &'m Builder, start: Wire<'m>) -> Self {
        let memory = |name: &str, width: u32, depth: u32| m.memory(name, width, depth, RamStyle::Distributed);
        let armed = m.input("product_valid_i", 1);
        let last_row = (m.input("product_rows_i", r.rows_width()) - 1).trunc(r.row_bits());
        let product = last_row.cat(m.input("product_slots_i", r.slots));
        let products = memory("products", product.width(), Results::PRODUCTS);
        products.write(armed, numbered(m, "armed", start, armed), product);

        let valid = m.input("place_valid_i", 1);
        let slot = m.input("place_slot_i", r.slot_width());
        let address = slot.cat(m.input("place_product_i", Results::NUMBER));
        let place = m.input("place_i", r.place_width());
        let mut take = cut(place);
        let Place { column, word, base, nan, none } = r.place();
        let [[column, word], [base, nan]] = [[column, word], [base, nan]].map(|widths| widths.map(&mut take));
        let halves = [("places", take(none).cat(word).cat(column)), ("windows", nan.cat(base))];
        let [places, windows] = halves.map(|(name, data)| {
            let memory = memory(name, data.width(), Results::PRODUCTS << r.slot_width());
            memory.write(valid, address, data);
            memory
        });
        Self { products, places, windows }
    }
}

impl Results {
    /// Says when a product is through in all clusters.
    fn through<'m>(&self, m: &'m Builder) -> Wire<'m> {
        let through = m.later("through", 1);
        let done = m.input("done_i", self.channels).bits().into_iter().enumerate();
        let done = done.map(|(c, done)| done | ahead(m, &format!("done_{c}"), done, through.wire()));
        through.set(m.pack(&done.collect::<Vec<_>>()).all());
        m.output("through_o", through.wire());
        through.wire()
    }

    /// Asks for the rows of products that are due; whether the entry that comes is of a slot without sums.
    fn ask<'m>(
        &self,
        m: &'m Builder,
        p: &Products<'m>,
        [start, due, used]: [Wire<'m>; 3],
    ) -> Result<Wire<'m>, RtlError> {
        let (taken, goes) = (m.later("product_taken", 1), m.later("row_goes", 1));
        let waits = ahead(m, "due", due, taken.wire());
        let next = numbered(m, "next", start, taken.wire());
        let product = p.products.read(next);

        let room = m.instance("u_room", &CreditCounter::new(DEPTH)?)?;
        room.set("take_i", goes.wire());
        room.set("give_i", used);
        let active = m.reg("active", 1).reset(0);
        goes.set(active.q() & room.get("available_o"));
        let last_row = m.reg("last_row", self.row_bits());
        let (row, left) = (m.reg("row", self.row_bits()), m.reg("slots_left", self.slots));
        let slot = lowest(left.q());
        let rest = left.q() & !slot;
        let ends_slot = goes.wire() & row.q().eq(last_row.q());
        let ends = ends_slot & rest.is_zero();
        let take = waits & (!active.q() | ends);
        taken.set(take);

        let current = m.reg("product", Self::NUMBER);
        active.update(&[(take, m.lit(1, 1)), (ends, m.lit(1, 0))]);
        current.set_when(take, next);
        last_row.set_when(take, product.slice(self.slots, self.row_bits()));
        left.update(&[(take, product.trunc(self.slots)), (ends_slot, rest)]);
        row.update(&[(take | ends_slot, m.lit(self.row_bits(), 0)), (goes.wire(), row.q() + 1)]);
        self.request(m, p, [goes.wire(), number(slot).cat(current.q()), row.q()])
    }

    /// The request for a row, [`ASK`] cycles after the decision: of which slot of which product, and which of its rows.
    /// Whether its slot has no sums, when its entry comes.
    fn request<'m>(
        &self,
        m: &'m Builder,
        p: &Products<'m>,
        [goes, of, row]: [Wire<'m>; 3],
    ) -> Result<Wire<'m>, RtlError> {
        let of = m.register("request_of", of);
        let row = m.register("request_row_1", m.register("request_row_0", row));
        let place = m.register("request_place", p.places.read(of));
        let (column, word) = (self.drain.column_width(), self.drain.word_width());
        // The rows of a word are a power of two.
        let within = self.drain.rows().ilog2();
        let first = place.slice(column, word).zext(word.max(row.width()));
        let word = (first + (row >> within).zext(first.width())).trunc(word);
        let row = if within == 0 { m.lit(1, 0) } else { row.trunc(within) };
        let valid = late(m, "request_valid", ASK, goes);
        m.output("request_valid_o", valid[ASK as usize]);
        m.output("request_column_o", m.register("request_column", place.trunc(column)));
        let none = m.register("request_none", place.msb());
        m.output("request_word_o", m.register("request_word", word));
        m.output("request_row_o", m.register("request_row", row));
        DelayLine::new(1, ROUND_TRIP as u32).map(|line| line.build(m, "none", none))
    }

    /// The product in turn and its parts.
    fn turn<'m>(&self, m: &'m Builder, p: &Products<'m>, [start, ready]: [Wire<'m>; 2]) {
        let begin = m.input("begin_i", 1);
        let left = m.reg("turn_slots", self.slots);
        let rest = left.q() & !lowest(left.q());
        let last = rest.is_zero();
        let ends = begin & last;
        m.output("ready_o", ahead(m, "ready", ready, ends));
        m.output("slots_o", left.q());
        m.output("last_o", last);

        let turn = numbered(m, "turn", start, ends);
        // Until its first part begins the product's slots are looked up in each cycle: it may just have been armed.
        let begun = m.reg("turn_begun", 1).reset(0);
        begun.set_when(begin, !last);
        let slots = |product: Wire<'m>| p.products.read(product).trunc(self.slots);
        left.update(&[(begin & !last, rest), (ends, slots(turn + 1)), (!begun.q(), slots(turn))]);

        let window = p.windows.read(m.input("slot_i", self.slot_width()).cat(turn));
        m.output("base_o", window.trunc(BASE_BITS));
        m.output("nan_o", window.msb());
    }

    /// The rows that have come, in groups for the vector unit; when an entry is used up.
    fn groups<'m>(&self, m: &'m Builder, none: Wire<'m>, used: Wire<'m>) -> Result<Wire<'m>, RtlError> {
        let comes = m.input("row_valid_i", 1);
        let rows = m.input("rows_i", self.channels * ACC_BITS);
        let rows = rows & (!none).repeat(rows.width());
        let ready = m.input("sums_ready_i", 1);
        // What comes is there at once if nothing waits before it.
        let waits = m.later("waits", 1);
        let stays =
            Stream { valid: comes & !(used & !waits.wire()), data: rows, ready: m.later("queue_room", 1) };
        let queue = Fifo::new(rows.width(), DEPTH, RamStyle::Distributed)?.after(m, "u_queue", stays)?;
        waits.set(queue.valid);
        queue.ready.set(used);
        let (there, entry) = (queue.valid | comes, queue.valid.mux(queue.data, rows));
        let passes = there & ready;
        if self.channels > self.lanes {
            let groups = entry.chunks(self.lanes * ACC_BITS);
            let (group, last) = Counter::new(groups.len() as u32)?.build(m, "group", passes);
            m.output("sums_valid_o", there);
            m.output("sums_data_o", group.choose(&groups));
            return Ok(passes & last);
        }
        let (part, last) = Counter::new(self.lanes / self.channels)?.build(m, "part", passes);
        let mut group: Vec<_> = (1..self.lanes / self.channels)
            .map(|n| {
                let kept = m.reg(&format!("part_{n}"), entry.width());
                kept.set_when(passes & part.eq(u64::from(n - 1)), entry);
                kept.q()
            })
            .collect();
        group.push(entry);
        m.output("sums_valid_o", there & last);
        m.output("sums_data_o", m.pack(&group));
        Ok(passes)
    }
}

impl Block for Results {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(self.name());
        let start = m.input("start_i", 1);
        let products = Products::new(self, &m, start);
        let through = late(&m, "through", READY, self.through(&m));
        let used = m.later("used", 1);
        let none = self.ask(&m, &products, [start, through[DUE as usize], used.wire()])?;
        self.turn(&m, &products, [start, through[READY as usize]]);
        used.set(self.groups(&m, none, used.wire())?);
        m.finish()
    }
}
