//! `feeder`: gives a cluster of the MAC array the beats of one product after the other.
//!
//! # Purpose
//!
//! Takes the beats of weights from the stream buffers as memory holds them
//! ([`WeightLayout`](fastcar_arch::layout::WeightLayout)), each as soon as it may be, and says for each pass what it is,
//! which operands it meets and where its sums belong.
//!
//! # Interface
//!
//! Products and beats come by *streams*, operands by a pipe; a pipe goes to the cluster. `<stream>` is `main` and
//! `ahead`.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | forgets everything |
//! | `product_{valid,data}_i`, `_ready_o` | | 1, [`Feeder::product_bits`], 1 | the next [`Product`]; [`Feeder::PRODUCTS`] wait |
//! | `<stream>_beat_{valid,data}_i`, `_ready_o` | | 1, beat + 1, 1 | beats; last of its burst in the top bit |
//! | `<stream>_free_o`, `<stream>_free_last_o` | out | 1, 1 | a beat of the stream is used up in the next cycle; it is the last of its burst |
//! | `operand_valid_i`, `operand_header_i`, `operand_data_i` | in | 1, 1, [`Operands::width`] | as in [`Operands`] |
//! | `credit_o` | out | log2(passes + 1) | so many sets of operands are given back |
//! | `turn_i` | in | 1 | a beat may be taken: it is weights' turn ([`Turn`](crate::attn::Turn)), and no beat of another is in use |
//! | `over_o` | out | 1 | a product's last beat is taken |
//! | `free_o` | out | 1 | all beats that were taken are used up by the end of the cycle |
//! | `scale_o`, `scales_o`, `valid_o`, `beat_o`, `advance_o`, `fp4_o`, `upper_o`, `pass_o`, `address_o`, `enable_o`, `first_o`, `act_o`, `base_o` | out | | as the inputs of [`Cluster`] |
//! | `done_o` | out | 1 | a product's last beat is used up |
//! | `busy_o` | out | 1 | a cycle more that a beat occupied |
//! | `starved_o` | out | 1 | a product may go on, it is its turn, and its beat is not there |
//!
//! A product of which nothing is streamed, as its header says, is passed over. Only one of the streams is ready at a time. A weight block's columns have accumulators of their own, each
//! operand saying which: so slots of different passes of a command meet in one pass of a masked block.
//!
//! # Timing
//!
//! A product that comes in cycle c may begin in c + 1: who sends it sees to its start. A beat is taken in the first cycle
//! in which its product may go on, it is its turn, all beats before it are used up, it is there, and so is the header of its weight
//! block's operands; the first beat of elements waits for all of these. It occupies as many cycles as the block has
//! passes, scale bytes too: taken in cycle t with p passes it goes to the cluster in t + 1 to t + p, is used up in t + p,
//! and sums are there [`MAC_LATENCY`](fastcar_arch::timing::MAC_LATENCY) later. `done_o` comes in the cycle t + p,
//! `credit_o` too, `free_o` in the one before, since a port's decisions count it a cycle later.
//!
//! # Numeric contract
//!
//! None: bits are bits.
//!
//! # Cost
//!
//! [`Operands`], a register of a beat, an adder of a word's width for each column.
//!
//! # Verification
//!
//! `tests/tests/rtl_array.rs`: beside a model of each cycle, with the cluster behind it, at three presets; cells and depth.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{array::Feeder, rtl::Block};
//!
//! let feeder = Feeder::new(&AccelConfig::preset("u55c")?)?;
//! assert_eq!(feeder.module()?.name(), "feeder_b64_c4_p8_w9_g7");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::operands::{OPERAND_SETS, Operands};
use super::walk::{Next, Sizes, walk};
use crate::cmd::fields::cut;
use crate::pe::Cluster;
use crate::pe::cluster::{ACT_BITS, BASE_BITS};
use crate::prim::Fifo;
use crate::rtl::{Block, Builder, Instance, Module, RamStyle, Reg, RtlError, Stream, Wire, index_width};
use fastcar_arch::config::{AccelConfig, ROW_GRANULE};
use std::sync::Arc;

/// A product of a chunk of weights; the first part in the lowest bits.
#[derive(Clone, Copy, Debug)]
pub struct Product<T> {
    /// The chunk's rows in sixteens, less one.
    pub last_granule: T,
    /// Weights are MXFP4.
    pub fp4: T,
    /// It comes by the read-ahead stream.
    pub ahead: T,
}

/// Feeds a cluster. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feeder {
    operands: Operands,
    cluster: Cluster,
    beat: u32,
    columns: u32,
    sizes: Sizes,
}

impl Feeder {
    /// Products that wait or are under way: each has a set of operands at least.
    pub const PRODUCTS: u32 = OPERAND_SETS;

    /// For the clusters of a configuration.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(config: &AccelConfig) -> Result<Self, RtlError> {
        let cluster = Cluster::new(config)?;
        let beat = config.fields().beat_bytes;
        let sizes = Sizes {
            granules: beat / ROW_GRANULE,
            chunk: index_width((config.acc_rows() / ROW_GRANULE).into()),
            word: cluster.word_width(),
        };
        Ok(Self { operands: Operands::new(config)?, cluster, beat, columns: config.columns(), sizes })
    }

    /// What the words of operands are made of.
    #[must_use]
    pub fn operands(&self) -> Operands {
        self.operands
    }

    /// Widths of a product's parts.
    #[must_use]
    pub fn product(&self) -> Product<u32> {
        Product { last_granule: self.sizes.chunk, fp4: 1, ahead: 1 }
    }

    /// Width of a product.
    #[must_use]
    pub fn product_bits(&self) -> u32 {
        self.sizes.chunk + 2
    }

    fn product_of<'m>(&self, word: Wire<'m>) -> Product<Wire<'m>> {
        let mut take = cut(word);
        Product { last_granule: take(self.sizes.chunk), fp4: take(1), ahead: take(1) }
    }

    /// Gives the beats of the product's stream out of both; whether it is there.
    fn beats<'m>(&self, m: &'m Builder, ahead: Wire<'m>, ready: Wire<'m>) -> (Wire<'m>, Wire<'m>) {
        let [main, other] = ["main_beat", "ahead_beat"].map(|bus| m.stream_in(bus, 8 * self.beat + 1));
        main.ready.set(ready & !ahead);
        other.ready.set(ready & ahead);
        (ahead.mux(other.valid, main.valid), ahead.mux(other.data, main.data))
    }

    /// The instance of the operands, with what comes from outside.
    fn operands_in<'m>(&self, m: &'m Builder) -> Result<Instance<'m>, RtlError> {
        let operands = m.instance("u_operands", &self.operands)?;
        operands.set("in_valid_i", m.input("operand_valid_i", 1));
        operands.set("in_header_i", m.input("operand_header_i", 1));
        operands.set("in_data_i", m.input("operand_data_i", self.operands.width()));
        Ok(operands)
    }
}

/// The passes of a beat, one a cycle.
struct Passes<'m> {
    /// A pass goes to the cluster; it is the beat's last one; another follows.
    valid: Wire<'m>,
    last: Wire<'m>,
    steps: Wire<'m>,
    number: Wire<'m>,
    /// Passes of the block, less one.
    count: Wire<'m>,
    /// Columns that take part.
    columns: Wire<'m>,
    /// There are none: it is a product without beats.
    empty: Wire<'m>,
    /// Of a product's last block.
    last_block: Wire<'m>,
    /// The beat is used up in the next cycle.
    ending: Wire<'m>,
}

impl<'m> Passes<'m> {
    /// Nothing is under way, or its last pass is.
    fn free(valid: Wire<'m>, left: Wire<'m>) -> Wire<'m> {
        !valid | left.is_zero()
    }

    /// The passes of what is taken; `valid` and `left` are its registers, the latter of the passes behind the one in turn.
    fn new(f: &Feeder, m: &'m Builder, take: Wire<'m>, front: Wire<'m>, regs: [Reg<'m>; 2]) -> Self {
        let header = f.operands.parts(front);
        let [valid, left] = regs;
        let last = left.q().is_zero();
        let steps = (valid.q() & !last).named("steps");
        valid.update(&[(take, m.lit(1, 1)), (last, m.lit(1, 0))]);
        left.update(&[(take, header.last_pass), (steps, left.q() - 1)]);
        let (number, count) = (m.reg("pass", left.q().width()), m.reg("last_pass", left.q().width()));
        number.update(&[(take, m.lit(left.q().width(), 0)), (steps, number.q() + 1)]);
        count.set_when(take, header.last_pass);
        let all = m.pack(&header.columns);
        let columns = m.reg("enables", all.width());
        columns.update(&[(take, all), (steps, columns.q() >> f.columns)]);
        let flag = |name: &str, value: Wire<'m>| {
            let reg = m.reg(name, 1);
            reg.set_when(take, value);
            reg.q()
        };
        let empty = flag("empty", !all.any());
        let last_block = flag("last_block", header.last_block);
        let ending = (take & header.last_pass.is_zero() & all.any()) | (steps & left.q().eq(1));
        let columns = columns.q().trunc(f.columns);
        let (valid, number, count) = (valid.q(), number.q(), count.q());
        Self { valid, last, steps, number, count, columns, empty, last_block, ending }
    }
}

/// A beat that was taken, for its passes.
struct Taken<'m> {
    beat: Wire<'m>,
    last_of_burst: Wire<'m>,
    fp4: Wire<'m>,
    ahead: Wire<'m>,
    next: Next<'m>,
}

impl<'m> Taken<'m> {
    fn new(
        m: &'m Builder,
        take: Wire<'m>,
        data: Wire<'m>,
        product: &Product<Wire<'m>>,
        next: &Next<'m>,
    ) -> Self {
        let keep = |name: &str, value: Wire<'m>| {
            let reg = m.reg(name, value.width());
            reg.set_when(take, value);
            reg.q()
        };
        Self {
            beat: keep("beat", data.trunc(data.width() - 1)),
            last_of_burst: keep("last_of_burst", data.msb()),
            fp4: keep("fp4", product.fp4),
            ahead: keep("ahead", product.ahead),
            next: Next {
                scale: keep("scale", next.scale),
                upper: keep("upper", next.upper),
                word: keep("word", next.word),
                ends_block: keep("ends_block", next.ends_block),
            },
        }
    }
}

impl Feeder {
    /// What the cluster is given.
    fn drive<'m>(&self, m: &'m Builder, taken: &Taken<'m>, passes: &Passes<'m>, operands: &Instance<'m>) {
        let next = &taken.next;
        // A block of INT8 takes two beats where these are halves of it.
        let ends = if self.beat < 32 { taken.fp4 | next.upper } else { m.lit(1, 1) };
        let words = operands.get("word_o").chunks(self.sizes.word);
        let words: Vec<_> = words.into_iter().map(|first| first + next.word).collect();
        let acts = operands.get("act_o").chunks(ACT_BITS);
        let acts = acts.into_iter().flat_map(|act| vec![act; self.cluster.groups() as usize]);
        let bases = operands.get("base_o").chunks(BASE_BITS);
        let bases = bases.into_iter().flat_map(|base| vec![base; self.cluster.groups() as usize]);
        let valid = passes.valid & !passes.empty;
        m.output("scale_o", valid & next.scale);
        m.output("scales_o", taken.beat);
        m.output("valid_o", valid & !next.scale);
        m.output("beat_o", taken.beat);
        m.output("advance_o", passes.last & ends);
        m.output("fp4_o", taken.fp4);
        m.output("upper_o", next.upper);
        m.output("pass_o", passes.number.zext(self.cluster.pass_width()));
        m.output("address_o", m.pack(&words));
        m.output("enable_o", passes.columns);
        m.output("first_o", operands.get("first_o"));
        m.output("act_o", m.pack(&acts.collect::<Vec<_>>()));
        m.output("base_o", m.pack(&bases.collect::<Vec<_>>()));
    }

    /// What is told when a beat is used up: `begins` says of what is taken whether it comes ahead and ends a burst.
    fn tell<'m>(&self, m: &'m Builder, taken: &Taken<'m>, passes: &Passes<'m>, begins: [Wire<'m>; 3]) {
        let [take, ahead, last] = begins;
        let (ahead, last) = (take.mux(ahead, taken.ahead), take.mux(last, taken.last_of_burst));
        for (stream, own) in [("main", !ahead), ("ahead", ahead)] {
            m.output(&format!("{stream}_free_o"), passes.ending & own);
            m.output(&format!("{stream}_free_last_o"), last);
        }
        let used = passes.valid & passes.last;
        let count =
            passes.count.zext(index_width(u64::from(self.operands.passes()) + 1).max(passes.count.width()));
        let sets = count + 1;
        let ends = used & (taken.next.ends_block | passes.empty);
        m.output("credit_o", ends.repeat(sets.width()) & sets);
        m.output("done_o", ends & passes.last_block);
        m.output("busy_o", passes.valid & !passes.empty);
    }
}

impl Block for Feeder {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let (passes, word, chunk) = (self.operands.passes(), self.sizes.word, self.sizes.chunk);
        let m = Builder::new(format!("feeder_b{}_c{}_p{passes}_w{word}_g{chunk}", self.beat, self.columns));
        let queue = Fifo::new(self.product_bits(), Self::PRODUCTS, RamStyle::Distributed)?;
        let products: Stream<'_> =
            queue.after(&m, "u_products", m.stream_in("product", self.product_bits()))?;
        let product = self.product_of(products.data);
        let operands = self.operands_in(&m)?;

        // What may be taken, and what is.
        let valid = m.reg("valid", 1).reset(0);
        let left = m.reg("passes_left", self.operands.pass_width()).reset(0);
        let free = Passes::free(valid.q(), left.q());
        m.output("free_o", free);
        let may = (products.valid & m.input("turn_i", 1) & free).named("may");
        let front = self.operands.parts(operands.get("front_o"));
        let empty = (operands.get("front_valid_o") & !m.pack(&front.columns).any()).named("is_empty");
        let prepared = m.later("prepared", 1);
        let ready = (may & prepared.wire() & !empty).named("ready");
        let (there, data) = self.beats(&m, product.ahead, ready);
        let beat = (ready & there).named("takes_beat");
        let passed = (may & empty).named("passes_over");
        let take = (beat | passed).named("take");
        m.output("starved_o", may & !there & !empty);
        let next = walk(&m, &self.sizes, &product, beat);
        prepared.set(next.scale.mux(operands.get("front_valid_o"), operands.get("front_whole_o")));
        let ends_block = next.ends_block | empty;
        let over = take & ends_block & front.last_block;
        products.ready.set(over);
        m.output("over_o", over);

        let passes = Passes::new(self, &m, take, operands.get("front_o"), [valid, left]);
        let taken = Taken::new(&m, take, data, &product, &next);
        operands.set("take_i", take);
        operands.set("last_i", ends_block);
        operands.set("step_i", passes.steps);
        self.drive(&m, &taken, &passes, &operands);
        self.tell(&m, &taken, &passes, [take, product.ahead, data.msb()]);
        m.finish()
    }
}
