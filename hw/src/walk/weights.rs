//! `weight_walker`: where a product's weights lie.
//!
//! # Purpose
//!
//! Gives the run of beats of a matrix, the same on every channel ([`WeightLayout`]), once for each round of the product. All blocks that are streamed
//! follow each other, so a round is one run; the ports cut it into bursts. Where products may be masked, gives the runs of blocks that a [`RunFinder`](super::RunFinder) found too.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | nothing to do |
//! | `job_valid_i`, `job_data_i`, `job_ready_o` | | 1, [`WeightWalker::job_bits`], 1 | *stream* of products: [`Matrix`] low, rounds less one above it; or, [`WeightWalker::masked`], of [`Piece`]s |
//! | `go_i` | in | 1 | a run may be given [`WeightWalker::latency`] cycles from now |
//! | `run_valid_o` | out | 1 | a run of beats |
//! | `run_address_o`, `run_length_o` | out | address, address | its first beat, number of beats |
//!
//! # Timing
//!
//! A run a cycle while `go_i` is set, also from job to job, and a cycle for a group of blocks without one; the first of a job that is taken in cycle t in t + [`WeightWalker::latency`]. A piece is used while it waits:
//! its first run comes as if it had been taken in the cycle before it was there.
//!
//! # Numeric contract
//!
//! A block of a chunk of `g` granules of 16 rows has `g * 16 * elem_bytes / beat` beats of elements, and one of scale bytes for each group of `beat` rows. Addresses and lengths count beats,
//! modulo 2^address.
//!
//! # Cost
//!
//! The product of the number of blocks with the beats of one: a DSP block; masked, another for where they begin.
//!
//! # Verification
//!
//! `tests/tests/rtl_walk.rs::weights_are_walked`.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{rtl::Block, walk::WeightWalker};
//!
//! let walker = WeightWalker::new(&AccelConfig::preset("u55c")?)?;
//! assert_eq!(walker.module()?.name(), "weight_walker_a23_b6_g7_r3_l5");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::job::Sizes;
use super::{Heads, Piece, RecordWalker};
use crate::cmd::Fields;
use crate::cmd::fields::cut;
use crate::prim::{DelayLine, lowest, number, within};
use crate::rtl::{Block, Builder, Module, RtlError, Wire, index_width};
use fastcar_arch::config::{AccelConfig, ROW_GRANULE};
use fastcar_arch::isa::WeightFormat;
use fastcar_arch::layout::WeightLayout;
use std::sync::Arc;

/// Bits of a number of blocks.
pub(super) const BLOCKS_BITS: u32 = 16;
/// Rows of a granule, as a power of two.
const GRANULE: u32 = ROW_GRANULE.ilog2();
/// Registers of the product.
const PRODUCT: u32 = 3;
/// Cycles from a job that is taken to the length of its run: the job, the beats of a block, the product.
const STAGES: u32 = 2 + PRODUCT;

/// Sizes that walkers of weights are built by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightSizes {
    /// Channels, as a power of two.
    pub channels: u32,
    /// Bits of the number of a granule of a chunk.
    pub granules: u32,
    /// Bits of the number of a product's round.
    pub rounds: u32,
    /// Those of all walkers.
    pub common: Sizes,
}

impl WeightSizes {
    /// Those of a configuration.
    #[must_use]
    pub fn new(config: &AccelConfig) -> Self {
        Self {
            channels: config.channels().ilog2(),
            granules: index_width((config.acc_rows() / ROW_GRANULE).into()),
            rounds: index_width(config.slots().div_ceil(config.columns()).into()),
            common: Sizes::new(config),
        }
    }
}

/// What a product command says of its weights.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'m> {
    /// First beat.
    pub addr: Wire<'m>,
    /// Blocks in a row.
    pub blocks: Wire<'m>,
    /// Granules of a channel's chunk of rows, less one.
    pub last_granule: Wire<'m>,
    /// Weights are MXFP4.
    pub fp4: Wire<'m>,
}

impl<'m> Matrix<'m> {
    /// That of a `matvec`.
    ///
    /// # Errors
    /// As [`Fields::field`].
    pub fn new(s: &WeightSizes, m: &'m Builder, c: &Fields<'m>) -> Result<Self, RtlError> {
        let below = s.channels + GRANULE;
        // All rows fit the accumulators, so that those of the last granule tell how many there are.
        let last_row = m.own(c.field("matvec", "rows")?.trunc(below + s.granules) - 1);
        Ok(Self {
            addr: s.common.beats(c.field("matvec", "addr")?),
            blocks: c.field("matvec", "blocks")?,
            last_granule: last_row.slice(below, s.granules),
            fp4: c.field("matvec", "format")?.eq(WeightFormat::Fp4 as u64),
        })
    }

    /// Width of [`Matrix::word`].
    #[must_use]
    pub fn width(s: &WeightSizes) -> u32 {
        s.common.address + BLOCKS_BITS + s.granules + 1
    }

    /// All in one word.
    #[must_use]
    pub fn word(&self, m: &'m Builder) -> Wire<'m> {
        m.pack(&[self.addr, self.blocks, self.last_granule, self.fp4])
    }

    /// What stands in a word.
    #[must_use]
    pub fn of(s: &WeightSizes, word: Wire<'m>) -> Self {
        let mut take = cut(word);
        Self {
            addr: take(s.common.address),
            blocks: take(BLOCKS_BITS),
            last_granule: take(s.granules),
            fp4: take(1),
        }
    }

    /// Beats of one block of the chunk.
    fn block_beats(&self, s: &WeightSizes) -> Wire<'m> {
        // A granule's elements are a power of two of beats in either format.
        let elements = |format| GRANULE + WeightLayout::elem_bytes_of(format).ilog2() - s.common.beat;
        let (int8, fp4) = (elements(WeightFormat::Int8), elements(WeightFormat::Fp4));
        let width = s.granules + int8 + 2;
        let granules = self.last_granule.zext(width) + 1;
        let elements = self.fp4.mux(granules << fp4, granules << int8);
        let last_group = self.last_granule.zext(width) >> (s.common.beat - GRANULE);
        elements + last_group + 1
    }
}

/// The walk over products' weights. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightWalker {
    sizes: WeightSizes,
    latency: u32,
    masked: bool,
}

impl WeightWalker {
    /// For a configuration.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(config: &AccelConfig) -> Result<Self, RtlError> {
        let latency = RecordWalker::new(config, 1)?.latency() - Heads::LATENCY;
        let latency =
            within("weight walker", "latency", latency, STAGES..=64, "what the product takes to 64")?;
        Ok(Self { sizes: WeightSizes::new(config), latency, masked: false })
    }

    /// The same for pieces of products.
    #[must_use]
    pub fn masked(self) -> Self {
        Self { masked: true, ..self }
    }

    /// Cycles from a job that is taken to its first run: with those of [`Heads`], through which runs go, as many as a [`RecordWalker`] has.
    #[must_use]
    pub fn latency(&self) -> u32 {
        self.latency
    }

    /// Width of a job.
    #[must_use]
    pub fn job_bits(&self) -> u32 {
        if self.masked { Piece::width(&self.sizes) } else { Matrix::width(&self.sizes) + self.sizes.rounds }
    }
}

/// A step of the walk: a round of a product, or a run of its blocks.
struct Step<'m> {
    valid: Wire<'m>,
    matrix: Matrix<'m>,
    /// Blocks, and, of a run, those before it.
    blocks: Wire<'m>,
    before: Option<Wire<'m>>,
}

/// Takes jobs, and gives their rounds one by one.
fn rounds<'m>(s: &WeightSizes, m: &'m Builder) -> Step<'m> {
    let width = Matrix::width(s);
    let input = m.stream_in("job", width + s.rounds);
    let go = m.input("go_i", 1);
    let matrix = m.reg("matrix", width);
    matrix.set_when(input.passes(), input.data.trunc(width));
    let left = m.reg("left", s.rounds);
    let busy = m.reg("busy", 1).reset(0);
    let done = busy.q() & go & left.q().is_zero();
    input.ready.set(!busy.q() | done);
    left.update(&[(input.passes(), input.data.slice(width, s.rounds)), (busy.q() & go, left.q() - 1)]);
    busy.update(&[(input.passes(), m.lit(1, 1)), (done, m.lit(1, 0))]);
    let matrix = Matrix::of(s, matrix.q());
    Step { valid: busy.q() & go, matrix, blocks: matrix.blocks, before: None }
}

/// Gives the rounds and runs of the piece that waits, one by one.
fn pieces<'m>(s: &WeightSizes, m: &'m Builder) -> Step<'m> {
    let input = m.stream_in("job", Piece::width(s));
    let piece = Piece::of(s, input.data);
    let goes = (input.valid & m.input("go_i", 1)).named("goes");
    // What has gone of it.
    let (begun, round) = (m.reg("begun", 1).reset(0), m.reg("round", s.rounds).reset(0));
    let [begins, ends] = [("begins", piece.begins), ("ends", piece.ends)].map(|(name, of_piece)| {
        let left = m.reg(name, of_piece.width());
        let now = begun.q().mux(left.q(), of_piece);
        let first = lowest(now);
        left.set_when(goes, now & !first);
        (first, now & !first)
    });
    let done = goes & piece.masked.mux(begins.1.is_zero(), round.q().eq(piece.last_round));
    begun.update(&[(done, m.lit(1, 0)), (goes, m.lit(1, 1))]);
    round.update(&[(done, m.lit(s.rounds, 0)), (goes, round.q() + 1)]);
    input.ready.set(done);

    let [first, last] = [begins.0, ends.0].map(number);
    let run = (last - first).zext(BLOCKS_BITS) + 1;
    let blocks = piece.masked.mux(run, piece.matrix.blocks);
    let before = piece.group.cat(first) & piece.masked.repeat(BLOCKS_BITS);
    let valid = goes & (!piece.masked | begins.0.any());
    Step { valid, matrix: piece.matrix, blocks, before: Some(before) }
}

impl Block for WeightWalker {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let s = &self.sizes;
        let Sizes { address, beat, .. } = s.common;
        let masked = if self.masked { "_masked" } else { "" };
        let (granules, latency) = (s.granules, self.latency);
        let name = format!("weight_walker_a{address}_b{beat}_g{granules}_r{}_l{latency}{masked}", s.rounds);
        let m = Builder::new(name);
        let step = if self.masked { pieces(s, &m) } else { rounds(s, &m) };
        let late = |name: &str, cycles: u32, wire: Wire<'_>| {
            DelayLine::new(wire.width(), cycles).map(|line| line.build(&m, name, m.own(wire)))
        };
        let block = m.register("block", step.matrix.block_beats(s));
        let beats = |blocks: Wire<'_>| {
            let beats = m.own(blocks).mul_unsigned(block);
            beats.zext(address.max(beats.width())).trunc(address)
        };
        let length = beats(m.register("blocks", step.blocks));
        m.output("run_length_o", late("length", PRODUCT + latency - STAGES, length)?);

        let all = latency - 1;
        let run = match step.before {
            None => late("address", all, step.matrix.addr)?,
            Some(before) => {
                let offset = late("offset", PRODUCT - 1, beats(m.register("blocks_before", before)))?;
                let first = late("address", PRODUCT, step.matrix.addr)?;
                late("run", 1 + latency - STAGES, first + offset)?
            }
        };
        m.output("run_address_o", run);
        let valid = (0..all).fold(step.valid, |valid, n| m.register_valid(&format!("valid_{n}"), valid));
        m.output("run_valid_o", valid);
        m.finish()
    }
}
