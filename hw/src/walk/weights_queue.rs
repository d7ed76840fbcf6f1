//! `weight_queue`: products that wait to have their weights read.
//!
//! # Purpose
//!
//! Holds product commands until it is known which slots they run for, counts in how many rounds those are taken, and makes jobs of them for the [`WeightWalker`](super::WeightWalker), in order.
//! Weights are constants: no older write can touch them.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | empty |
//! | `push_valid_i`, `push_i` | in | 1, [`WeightQueue::width`] | a command, see [`WaitingProduct`] |
//! | `front_valid_o`, `front_o` | out | 1, 8 | whether there is one, and the low bits of the number of the first |
//! | `leaves_o` | out | 1 | it leaves |
//! | `pred_o`, `decision_valid_o`, `decision_o` | out | 2, 1, 8 | of the first: asks [`Decisions`](crate::drs::Decisions), which answer |
//! | `known_i`, `slots_i` | in | 1, slots | in the same cycle |
//! | `compact_i` | in | 1 | the k-th slot that runs has column `k % columns`; else slot s has column `s % columns` |
//! | `filled_o`, `filler_o` | out | 1, 8 | [`WeightQueue::masked`], of the first: whether the `delta` of a masked product may be under way, and its number |
//! | `all_i` | in | 1 | in the same cycle: all its masks may be used |
//! | `job_valid_o`, `job_data_o`, `job_ready_i` | | 1, [`WeightWalker::job_bits`](super::WeightWalker::job_bits) or [`MaskedJob::width`], 1 | *stream* of jobs |
//!
//! # Timing
//!
//! As [`RecordQueue`](super::RecordQueue) without a guard: the first command leaves [`Writers::LATENCY`] cycles after the cycle in which its slots are known, in the cycle in which its job goes (one for no slot, or whose
//! weights another queue brings, makes none). The next can leave `STREAM_STEP` cycles later. A masked product's job goes then too, but it leaves only
//! as many cycles after the first in which all its masks may be used.
//!
//! # Numeric contract
//!
//! Passes are the slots of the fullest column. A round has as many passes as `acc_rows` holds chunks, and one at least.
//!
//! # Cost
//!
//! Distributed memory for [`WINDOW`] commands, the number of slots of each column, and comparisons of the chunk with a constant for each number of passes.
//!
//! # Verification
//!
//! `tests/tests/rtl_walk.rs::products_become_jobs`.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{rtl::Block, walk::WeightQueue};
//!
//! let queue = WeightQueue::new(&AccelConfig::preset("tiny")?);
//! assert_eq!(queue.module()?.name(), "weight_queue_s4_c2_g64_a24");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::job::Sizes;
use super::weights::{Matrix, WeightSizes};
use super::{MaskedJob, RunFinder};
use crate::array::Mapping;
use crate::cmd::fields::cut;
use crate::cmd::{NUMBER_BITS, Writers};
use crate::prim::{Fifo, ones};
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Stream, Wire, index_width};
use fastcar_arch::config::{AccelConfig, ROW_GRANULE};
use fastcar_arch::timing::{MASK_BLOCKS, WINDOW};
use std::sync::Arc;

/// Cycles in which the rounds are found: slots, their numbers, rounds. They are there when the command may leave.
const STAGES: u32 = 3;
const _: () = assert!(STAGES <= Writers::LATENCY);

/// The queue of products. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightQueue {
    sizes: WeightSizes,
    columns: u32,
    /// Granules that the accumulators of a column have room for.
    room: u32,
    /// Products may be masked.
    masks: Option<(RunFinder, Mapping)>,
}

/// A product that waits.
#[derive(Clone, Copy, Debug)]
pub struct WaitingProduct<'m> {
    /// The low bits of its number in the program.
    pub index: Wire<'m>,
    /// Its predicate, and the gate that it waits for, if there is one.
    pub pred: Wire<'m>,
    /// Whether there is a gate before it.
    pub decides: Wire<'m>,
    /// The number of that gate.
    pub decision: Wire<'m>,
    /// Its weights come by this queue; a product that is read ahead only has its turn in the main one.
    pub reads: Wire<'m>,
    /// Its weights.
    pub matrix: Matrix<'m>,
    /// It streams the active blocks of its operand only.
    pub masked: Wire<'m>,
    /// The first block of that.
    pub first: Wire<'m>,
    /// Whether a command of the vector unit that may be under way fills it, and the number of that one.
    pub filled: Wire<'m>,
    /// See `filled`.
    pub filler: Wire<'m>,
}

/// Bits of the number of a block of the activation buffer in a command.
const BLOCK_BITS: u32 = 16;

impl<'m> WaitingProduct<'m> {
    fn width(s: &WeightSizes) -> u32 {
        3 * NUMBER_BITS + 6 + Matrix::width(s) + BLOCK_BITS
    }

    /// All in one word.
    #[must_use]
    pub fn word(&self, m: &'m Builder) -> Wire<'m> {
        let Self { index, pred, decides, decision, reads, matrix, masked, first, filled, filler } = *self;
        m.pack(&[index, pred, decides, decision, reads, matrix.word(m), masked, first, filled, filler])
    }

    fn of(s: &WeightSizes, word: Wire<'m>) -> Self {
        let mut take = cut(word);
        Self {
            index: take(NUMBER_BITS),
            pred: take(2),
            decides: take(1),
            decision: take(NUMBER_BITS),
            reads: take(1),
            matrix: Matrix::of(s, take(Matrix::width(s))),
            masked: take(1),
            first: take(BLOCK_BITS),
            filled: take(1),
            filler: take(NUMBER_BITS),
        }
    }
}

impl WeightQueue {
    /// For a configuration.
    #[must_use]
    pub fn new(config: &AccelConfig) -> Self {
        Self {
            sizes: WeightSizes::new(config),
            columns: config.columns(),
            room: config.acc_rows() / ROW_GRANULE,
            masks: None,
        }
    }

    /// For products that may be masked, with jobs for a [`RunFinder`].
    #[must_use]
    pub fn masked(config: &AccelConfig) -> Self {
        Self { masks: Some((RunFinder::new(config), Mapping::new(config))), ..Self::new(config) }
    }

    /// Width of what is pushed.
    #[must_use]
    pub fn width(&self) -> u32 {
        WaitingProduct::width(&self.sizes)
    }

    /// Most passes of a product.
    fn most(&self) -> u32 {
        self.sizes.common.slots.div_ceil(self.columns)
    }

    /// How many slots there are, and how many the fullest column has under `static`.
    fn counts<'m>(&self, m: &'m Builder, slots: Wire<'m>) -> [Wire<'m>; 2] {
        let bits = slots.bits();
        let width = index_width(u64::from(self.most()) + 1);
        let column = |c: u32| bits.iter().skip(c as usize).step_by(self.columns as usize).copied();
        let columns = (0..self.columns).map(|c| ones(m, &column(c).collect::<Vec<_>>(), width));
        let columns: Vec<_> = columns.collect();
        let all = ones(m, &columns, index_width(u64::from(self.sizes.common.slots) + 1));
        [all, m.tree(&columns, |a, b| a.lt(b).mux(b, a))]
    }

    /// Passes of so many slots, of which the fullest column has `fullest` under `static`.
    fn passes<'m>(&self, m: &'m Builder, [all, fullest]: [Wire<'m>; 2], compact: Wire<'m>) -> Wire<'m> {
        let dealt = |slots: u32| m.lit(fullest.width(), slots.div_ceil(self.columns).into());
        let by_count: Vec<_> = (0..=self.sizes.common.slots).map(dealt).collect();
        compact.mux(all.choose(&by_count), fullest)
    }

    /// The number of the last round of so many passes, where `fits[k - 1]` says whether the accumulators hold k chunks.
    fn last_round<'m>(&self, m: &'m Builder, passes: Wire<'m>, fits: Wire<'m>) -> Wire<'m> {
        let rounds = self.sizes.rounds;
        let fits = fits.bits();
        let with = |per_round: u32| {
            let last = |passes: u32| m.lit(rounds, (passes.max(1).div_ceil(per_round) - 1).into());
            let no_more = fits.get(per_round as usize).map_or(m.lit(1, 1), |more| !*more);
            let exactly = fits[per_round as usize - 1] & no_more;
            (exactly, passes.choose(&(0..=self.most()).map(last).collect::<Vec<_>>()))
        };
        m.one_hot(&(1..=self.most()).map(with).collect::<Vec<_>>())
    }

    /// Whether a job is there to be made, and the number of its last round, [`STAGES`] cycles after its slots.
    fn rounds<'m>(
        &self,
        m: &'m Builder,
        product: &WaitingProduct<'m>,
        [slots, compact]: [Wire<'m>; 2],
    ) -> (Wire<'m>, Wire<'m>) {
        let [all, fullest] = self.counts(m, m.register("slots", slots));
        let counts = [m.register("all", all), m.register("fullest", fullest)];
        let passes = self.passes(m, counts, compact);
        let chunk = product.matrix.last_granule;
        // A chunk of g granules is held k times if g is no more than the k-th part of the room.
        let fits = |k: u32| if k == 1 { m.lit(1, 1) } else { chunk.lt(u64::from(self.room / k)) };
        let fits = m.register("fits", m.pack(&(1..=self.most()).map(fits).collect::<Vec<_>>()));
        let some = m.register("some", passes.any());
        (some & product.reads, m.register("last_round", self.last_round(m, passes, fits)))
    }

    /// A job for the [`RunFinder`], as late as its rounds.
    fn masked_job<'m>(
        &self,
        m: &'m Builder,
        (finder, mapping): (&RunFinder, &Mapping),
        product: &WaitingProduct<'m>,
        ([slots, compact], last_round): ([Wire<'m>; 2], Wire<'m>),
    ) -> Result<Wire<'m>, RtlError> {
        let columns = m.instance("u_mapping", mapping)?;
        columns.set("compact_i", compact);
        columns.set("slots_i", slots);
        columns.set("granules_i", product.matrix.last_granule.zext(mapping.granule_bits()) + 1);
        let group = product.first >> MASK_BLOCKS.ilog2();
        let job = MaskedJob {
            matrix: product.matrix,
            last_round,
            masked: product.masked,
            first_group: group.zext(BLOCK_BITS).trunc(finder.group_bits()),
            filled: product.filled,
            filler: product.filler,
            slots,
            round: columns.get("round_o"),
            places: columns.get("places_o"),
        };
        Ok(job.word(m))
    }
}

/// Commands in, the first of them out. Nobody pushes more than there is room for.
fn waiting<'m>(q: &WeightQueue, m: &'m Builder) -> Result<Stream<'m>, RtlError> {
    let input = Stream {
        valid: m.input("push_valid_i", 1),
        data: m.input("push_i", q.width()),
        ready: m.later("room", 1),
    };
    Fifo::new(q.width(), WINDOW as u32, RamStyle::Distributed)?.after(m, "u_waiting", input)
}

impl Block for WeightQueue {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let s = &self.sizes;
        let Sizes { slots, address, .. } = s.common;
        let masked = if self.masks.is_some() { "_masked" } else { "" };
        let m = Builder::new(format!(
            "weight_queue_s{slots}_c{}_g{}_a{address}{masked}",
            self.columns, self.room
        ));
        let front = waiting(self, &m)?;
        let first = WaitingProduct::of(s, front.data);
        let leaves = m.later("leaves", 1);
        front.ready.set(leaves.wire());

        let known = front.valid & m.input("known_i", 1);
        let given = [m.input("slots_i", slots), m.input("compact_i", 1)];
        let (some, last_round) = self.rounds(&m, &first, given);
        let (word, complete) = match &self.masks {
            None => (last_round.cat(first.matrix.word(&m)), None),
            Some((finder, mapping)) => {
                m.output("filled_o", front.valid & first.masked & first.filled);
                m.output("filler_o", first.filler);
                let complete = !first.masked | !first.filled | m.input("all_i", 1);
                (self.masked_job(&m, (finder, mapping), &first, (given, last_round))?, Some(complete))
            }
        };
        // What is found belongs to the first command when it has been the first, with its slots, for long enough.
        let waits = |name: &str, since: Wire<'_>| {
            (0..Writers::LATENCY).fold(m.own(since), |bit, stage| {
                m.register_valid(&format!("{name}_{stage}"), bit & !leaves.wire())
            })
        };
        let asked = waits("asked", known);
        // A job goes once, also where its command stays until all masks are there.
        let gone = m.reg("gone", 1).reset(0);
        let jobs = m.stream("job_ready", asked & some & !gone.q(), word);
        m.stream_out("job", jobs);
        let goes = jobs.passes();
        gone.update(&[(leaves.wire(), m.lit(1, 0)), (goes, m.lit(1, 1))]);
        let complete = complete.map_or(asked, |complete| waits("complete", known & complete));
        leaves.set(asked & (!some | (complete & (goes | gone.q()))));

        m.output("front_valid_o", front.valid);
        m.output("leaves_o", leaves.wire());
        m.output("front_o", first.index);
        m.output("pred_o", first.pred);
        m.output("decision_valid_o", first.decides);
        m.output("decision_o", first.decision);
        m.finish()
    }
}
