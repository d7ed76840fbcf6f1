//! `run_finder`: runs of active blocks of masked products, among whole ones.
//!
//! # Purpose
//!
//! Takes the jobs of a stream of weights in order. Of a masked product it looks at the masks group by group, as soon as they are there, and finds the runs of blocks that lie side by side and take as many passes; a whole product
//! goes by as it is.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | nothing to do |
//! | `compact_i` | in | 1 | as in [`Mapping`] |
//! | `job_valid_i`, `job_data_i`, `job_ready_o` | | 1, [`MaskedJob::width`], 1 | *stream* of [`MaskedJob`]s |
//! | `filled_o`, `filler_o` | out | 1, 8 | whether the `delta` of the masked product in hand may be under way, and its number in the vector unit |
//! | `all_i`, `groups_i` | in | 1, group | in the same cycle: all its masks may be used; so many groups of them |
//! | `look_o`, `look_i` | out, in | group, [`MASK_BLOCKS`] x slots | a group of the activation buffer; in the same cycle the masks of its blocks, the first low |
//! | `piece_valid_o`, `piece_data_o`, `piece_ready_i` | | 1, [`Piece::width`], 1 | *stream* of [`Piece`]s |
//! | `idle_o` | out | 1 | of all that has come there is at most the piece that is shown |
//!
//! # Timing
//!
//! A whole product that comes when no other waits is there in the next cycle. A masked one that comes in cycle t has its first group looked at in t + 1, if its masks may be used then, and one in each cycle behind; its piece is there [`RunFinder::LATENCY`]
//! cycles later. Between two rounds there are [`MASK_ROUND`] empty pieces. What comes behind others is there as early as if it had come alone, or when these are used up: as long as jobs come `STREAM_STEP` cycles apart, and twice as long behind the last masks of
//! the one before.
//!
//! # Numeric contract
//!
//! None.
//!
//! # Cost
//!
//! For each block of a group and each column the sum of the column's slots; [`Mapping`].
//!
//! # Verification
//!
//! `tests/tests/rtl_walk.rs::weights_are_walked`, with the walker.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{rtl::Block, walk::RunFinder};
//!
//! let finder = RunFinder::new(&AccelConfig::preset("tiny")?);
//! assert_eq!(finder.module()?.name(), "run_finder_s4_c2_b64_a24");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::weights::{BLOCKS_BITS, Matrix, WeightSizes};
use crate::array::Mapping;
use crate::cmd::NUMBER_BITS;
use crate::cmd::fields::cut;
use crate::prim::{DelayLine, Fifo, ones};
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Wire, index_width};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::timing::{MASK_BLOCKS, MASK_ROUND};
use std::sync::Arc;

/// Bits of a block's number in its group.
const WITHIN: u32 = MASK_BLOCKS.ilog2();
/// Bits of the number of a group in an operand.
pub(super) const GROUP_BITS: u32 = BLOCKS_BITS - WITHIN;
/// Pieces that wait, and those of them that may be on their way when the last is found to have room.
const PIECES: u32 = 16;
const COMING: u32 = 4;

const _: () = assert!(Mapping::LATENCY as u64 == MASK_ROUND);

/// A product whose weights are to be read, perhaps by masks.
#[derive(Clone, Copy, Debug)]
pub struct MaskedJob<'m> {
    /// Its weights.
    pub matrix: Matrix<'m>,
    /// Rounds, less one.
    pub last_round: Wire<'m>,
    /// Only active blocks are read.
    pub masked: Wire<'m>,
    /// The first group of masks of its operand.
    pub first_group: Wire<'m>,
    /// Whether a command of the vector unit that may be under way fills its operand.
    pub filled: Wire<'m>,
    /// The number of that command.
    pub filler: Wire<'m>,
    /// Its slots.
    pub slots: Wire<'m>,
    /// Those of its first round.
    pub round: Wire<'m>,
    /// Their places, see [`Mapping`].
    pub places: Wire<'m>,
}

impl<'m> MaskedJob<'m> {
    /// Width of [`MaskedJob::word`].
    #[must_use]
    pub fn width(f: &RunFinder) -> u32 {
        let s = &f.sizes;
        let slots = s.common.slots;
        Matrix::width(s) + s.rounds + 2 + f.group_bits() + NUMBER_BITS + slots * (2 + f.mapping.place_bits())
    }

    /// All in one word.
    #[must_use]
    pub fn word(&self, m: &'m Builder) -> Wire<'m> {
        let Self { matrix, last_round, masked, first_group, filled, filler, slots, round, places } = *self;
        m.pack(&[matrix.word(m), last_round, masked, first_group, filled, filler, slots, round, places])
    }

    fn of(f: &RunFinder, word: Wire<'m>) -> Self {
        let s = &f.sizes;
        let mut take = cut(word);
        Self {
            matrix: Matrix::of(s, take(Matrix::width(s))),
            last_round: take(s.rounds),
            masked: take(1),
            first_group: take(f.group_bits()),
            filled: take(1),
            filler: take(NUMBER_BITS),
            slots: take(s.common.slots),
            round: take(s.common.slots),
            places: take(s.common.slots * f.mapping.place_bits()),
        }
    }
}

/// What a walker is to give runs of: a whole product as often as it has rounds, or the runs of a group of blocks.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'m> {
    /// The product's weights.
    pub matrix: Matrix<'m>,
    /// Of a whole product, rounds less one.
    pub last_round: Wire<'m>,
    /// It is a group of a masked product.
    pub masked: Wire<'m>,
    /// The group's number.
    pub group: Wire<'m>,
    /// Blocks with which a run begins, the first low.
    pub begins: Wire<'m>,
    /// Blocks with which one ends.
    pub ends: Wire<'m>,
}

impl<'m> Piece<'m> {
    /// Width of [`Piece::word`].
    #[must_use]
    pub fn width(s: &WeightSizes) -> u32 {
        Matrix::width(s) + s.rounds + 1 + GROUP_BITS + 2 * MASK_BLOCKS
    }

    /// All in one word.
    #[must_use]
    pub fn word(&self, m: &'m Builder) -> Wire<'m> {
        let Self { matrix, last_round, masked, group, begins, ends } = *self;
        m.pack(&[matrix.word(m), last_round, masked, group, begins, ends])
    }

    /// What stands in a word.
    #[must_use]
    pub fn of(s: &WeightSizes, word: Wire<'m>) -> Self {
        let mut take = cut(word);
        Self {
            matrix: Matrix::of(s, take(Matrix::width(s))),
            last_round: take(s.rounds),
            masked: take(1),
            group: take(GROUP_BITS),
            begins: take(MASK_BLOCKS),
            ends: take(MASK_BLOCKS),
        }
    }
}

/// The search for runs. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunFinder {
    sizes: WeightSizes,
    mapping: Mapping,
    blocks: u32,
    columns: u32,
}

impl RunFinder {
    /// Cycles from a group that is looked at to its piece: its masks, slots of each column, passes, the queue.
    pub const LATENCY: u32 = 4;

    /// For a configuration.
    #[must_use]
    pub fn new(config: &AccelConfig) -> Self {
        Self {
            sizes: WeightSizes::new(config),
            mapping: Mapping::new(config),
            blocks: config.ab_blocks(),
            columns: config.columns(),
        }
    }

    /// Width of the number of a group of the activation buffer.
    #[must_use]
    pub fn group_bits(&self) -> u32 {
        index_width(self.blocks.div_ceil(MASK_BLOCKS).into())
    }
}

/// What is looked at in a cycle.
struct Look<'m> {
    valid: Wire<'m>,
    /// The piece, but for its runs.
    head: Wire<'m>,
    /// The masks of the round's slots, block by block; none of a whole product, nor between rounds.
    masks: Vec<Wire<'m>>,
    /// The slots of each column.
    by_column: Vec<Wire<'m>>,
}

/// The walk over the groups of the product in hand.
struct Walk<'m> {
    group: Wire<'m>,
    /// It is the last one of the operand.
    last: Wire<'m>,
    /// Between two rounds.
    pauses: Wire<'m>,
    /// It is not the first round.
    later: Wire<'m>,
    /// Slots of this round and of those behind it.
    left: Wire<'m>,
    done: Wire<'m>,
}

impl RunFinder {
    /// Goes on by a group, or by a cycle between rounds, with each `goes`; `round` are the slots of this one.
    fn walk<'m>(
        &self,
        m: &'m Builder,
        job: &MaskedJob<'m>,
        [takes, goes]: [Wire<'m>; 2],
        round: Wire<'m>,
    ) -> Walk<'m> {
        let last_group = (job.matrix.blocks - 1).slice(WITHIN, GROUP_BITS);
        let (group, number) = (m.reg("group", GROUP_BITS), m.reg("round", self.sizes.rounds));
        let pause = m.reg("pause", index_width(MASK_ROUND + 1)).reset(0);
        let pauses = pause.q().any();
        let last = group.q().eq(last_group) | !job.masked;
        let ends = goes & !pauses & last;
        let last_round = !job.masked | number.q().eq(job.last_round);
        let (none, first) = (m.lit(GROUP_BITS, 0), m.lit(number.q().width(), 0));
        group.update(&[(takes | ends, none), (goes & !pauses, group.q() + 1)]);
        number.update(&[(takes, first), (ends, number.q() + 1)]);
        pause.update(&[
            (ends & !last_round, m.lit(pause.q().width(), MASK_ROUND)),
            (goes & pauses, pause.q() - 1),
        ]);
        let later = number.q().any();
        let left = m.reg("left", self.sizes.common.slots);
        left.set_when(ends, later.mux(left.q(), job.slots) & !round);
        Walk { group: group.q(), last, pauses, later, left: left.q(), done: ends & last_round }
    }

    /// Slots of a round behind the first, and their places.
    fn later_round<'m>(
        &self,
        m: &'m Builder,
        job: &MaskedJob<'m>,
        left: Wire<'m>,
    ) -> Result<[Wire<'m>; 2], RtlError> {
        let mapping = m.instance("u_mapping", &self.mapping)?;
        let granules = self.mapping.granule_bits();
        mapping.set("compact_i", m.input("compact_i", 1));
        mapping.set("granules_i", job.matrix.last_granule.zext(granules) + 1);
        mapping.set("slots_i", left);
        Ok(["round_o", "places_o"].map(|name| mapping.get(name)))
    }

    /// The product in hand, group by group as its masks come; and whether another may be taken.
    fn look<'m>(
        &self,
        m: &'m Builder,
        room: Wire<'m>,
        (takes, data): (Wire<'m>, Wire<'m>),
    ) -> Result<(Look<'m>, Wire<'m>, Wire<'m>), RtlError> {
        let busy = m.reg("busy", 1).reset(0);
        let hand = m.reg("hand", data.width());
        hand.set_when(takes, data);
        let job = MaskedJob::of(self, hand.q());
        let [left, later, known] = [("slots_left", self.sizes.common.slots), ("later", 1), ("known", 1)]
            .map(|(name, width)| m.later(name, width));
        let of_later = self.later_round(m, &job, left.wire())?;
        let [round, places] = [(of_later[0], job.round), (of_later[1], job.places)]
            .map(|(of_later, first)| later.wire().mux(of_later, first));
        let goes = (busy.q() & room & known.wire()).named("goes");
        let walk = self.walk(m, &job, [takes, goes], round);
        left.set(walk.left);
        later.set(walk.later);
        busy.update(&[(takes, m.lit(1, 1)), (walk.done, m.lit(1, 0))]);

        m.output("filled_o", busy.q() & job.masked & job.filled);
        m.output("filler_o", job.filler);
        // Behind the first round all masks have been there.
        let all = m.input("all_i", 1) | !job.filled | walk.later;
        let groups = m.input("groups_i", self.group_bits());
        let width = GROUP_BITS.max(groups.width());
        known.set(!job.masked | all | walk.group.zext(width).lt(groups.zext(width)));

        let (slots, group_bits) = (self.sizes.common.slots, self.group_bits());
        let group = walk.group.zext(group_bits.max(GROUP_BITS)).trunc(group_bits);
        m.output("look_o", job.first_group + group);
        let within = (job.matrix.blocks - 1).trunc(WITHIN);
        let some = job.masked & !walk.pauses;
        let masks = m.input("look_i", MASK_BLOCKS * slots).chunks(slots).into_iter().zip(0..);
        let masks = masks.map(|(mask, lane)| {
            let here = some & (!walk.last | within.ge(lane));
            mask & round & here.repeat(slots)
        });
        let piece =
            |job: &MaskedJob<'m>, group| m.pack(&[job.matrix.word(m), job.last_round, job.masked, group]);
        let (head, by_column) = (piece(&job, walk.group), self.mapping.by_column(m, places));
        let look = Look { valid: goes, head, masks: masks.collect(), by_column };
        Ok((look, busy.q(), walk.done))
    }

    /// Runs of blocks that take as many passes, [`RunFinder::LATENCY`] less a cycle later: where they begin and end.
    fn runs<'m>(&self, m: &'m Builder, look: &Look<'m>) -> [Wire<'m>; 2] {
        let keep = |name: &str, words: &[Wire<'m>]| -> Vec<Wire<'m>> {
            words.iter().enumerate().map(|(n, word)| m.register(&format!("{name}_{n}"), *word)).collect()
        };
        let (masks, own) = (keep("masks", &look.masks), keep("own", &look.by_column));
        let width = self.mapping.count_bits();
        let counts = |mask: &Wire<'m>| -> Vec<Wire<'m>> {
            own.iter().map(|own| ones(m, &(*mask & *own).bits(), width)).collect()
        };
        let counts: Vec<_> = masks.iter().map(|mask| m.pack(&counts(mask))).collect();
        let counts = keep("counts", &counts);
        let passes: Vec<_> =
            counts.iter().map(|counts| m.tree(&counts.chunks(width), |a, b| a.gt(b).mux(a, b))).collect();
        let passes = keep("passes", &passes);
        let differs = |n: usize, other: Option<usize>| {
            let other = other.and_then(|other| passes.get(other));
            passes[n].any() & other.map_or(m.lit(1, 1), |other| passes[n].ne(*other))
        };
        let lanes = 0..passes.len();
        let begins: Vec<_> = lanes.clone().map(|n| differs(n, n.checked_sub(1))).collect();
        let ends: Vec<_> = lanes.map(|n| differs(n, Some(n + 1))).collect();
        [m.pack(&begins), m.pack(&ends)]
    }
}

impl Block for RunFinder {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let s = &self.sizes;
        let (slots, address) = (s.common.slots, s.common.address);
        let m = Builder::new(format!("run_finder_s{slots}_c{}_b{}_a{address}", self.columns, self.blocks));
        let jobs = m.stream_in("job", MaskedJob::width(self));
        let [takes, room] = ["takes", "room"].map(|name| m.later(name, 1));
        let (look, busy, done) = self.look(&m, room.wire(), (takes.wire(), jobs.data))?;

        // A group's piece is put together while those behind it are looked at.
        let stages = Self::LATENCY - 1;
        let mut coming = vec![look.valid];
        for stage in 0..stages as usize {
            coming.push(m.register_valid(&format!("coming_{stage}"), coming[stage]));
        }
        let head = DelayLine::new(look.head.width(), stages)?.build(&m, "head", look.head);
        let runs = m.pack(&[&[head][..], &self.runs(&m, &look)].concat());
        let comes = coming[stages as usize];

        // A whole product that nothing stands before goes by.
        let job = MaskedJob::of(self, jobs.data);
        let none = m.pack(&coming[1..]).is_zero() & !busy;
        let passes = (jobs.valid & !job.masked & none & room.wire()).named("goes_by");
        let whole = m.pack(&[job.matrix.word(&m), job.last_round, job.masked]);
        // Behind another it follows that through the stages; behind one that is in these only it is no later for waiting.
        let free = done | (!busy & job.masked);
        takes.set(jobs.valid & free);
        jobs.ready.set(passes | free);

        let queue = m.instance("u_pieces", &Fifo::new(runs.width(), PIECES, RamStyle::Distributed)?)?;
        queue.set("in_valid_i", comes | passes);
        queue.set("in_data_i", comes.mux(runs, whole.zext(runs.width())));
        room.set(queue.get("count_o").lt(u64::from(PIECES - COMING)));
        let last = queue.get("count_o").le(1) & none;
        m.output("idle_o", last);
        m.stream_out("piece", queue.stream_out("out"));
        m.finish()
    }
}
