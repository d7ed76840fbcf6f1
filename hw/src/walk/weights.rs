//! `weight_walker`: where a product's weights lie.
//!
//! # Purpose
//!
//! Gives the run of beats of a matrix, the same on every channel ([`WeightLayout`]), once for each round of the product. All blocks that are streamed
//! follow each other, so a round is one run; the ports cut it into bursts.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | nothing to do |
//! | `job_valid_i`, `job_data_i`, `job_ready_o` | | 1, [`WeightWalker::job_bits`], 1 | *stream* of products: [`Matrix`] low, rounds less one above it |
//! | `go_i` | in | 1 | a run may be given [`WeightWalker::latency`] cycles from now |
//! | `run_valid_o` | out | 1 | a run of beats |
//! | `run_address_o`, `run_length_o` | out | address, address | its first beat, number of beats |
//! | `run_last_o` | out | 1 | it is the product's last |
//!
//! # Timing
//!
//! A run a cycle while `go_i` is set, also from product to product; the first of one [`WeightWalker::latency`] cycles after its job was taken: as [`RecordWalker`].
//!
//! # Numeric contract
//!
//! A block of a chunk of `g` granules of 16 rows has `g * 16 * elem_bytes / beat` beats of elements, and one of scale bytes for each group of `beat` rows. Addresses and lengths count beats,
//! modulo 2^address.
//!
//! # Cost
//!
//! One product, of the number of blocks with the beats of one: a DSP block.
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
//! assert_eq!(walker.module()?.name(), "weight_walker_a23_b6_g7_r3_l7");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::RecordWalker;
use super::job::Sizes;
use crate::cmd::Fields;
use crate::cmd::fields::cut;
use crate::prim::{DelayLine, within};
use crate::rtl::{Block, Builder, Module, RtlError, Wire, index_width};
use fastcar_arch::config::{AccelConfig, ROW_GRANULE};
use fastcar_arch::isa::WeightFormat;
use fastcar_arch::layout::WeightLayout;
use std::sync::Arc;

/// Bits of a number of blocks.
const BLOCKS_BITS: u32 = 16;
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
}

impl WeightWalker {
    /// For a configuration.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(config: &AccelConfig) -> Result<Self, RtlError> {
        let latency = RecordWalker::new(config, 1)?.latency();
        let latency =
            within("weight walker", "latency", latency, STAGES..=64, "what the product takes to 64")?;
        Ok(Self { sizes: WeightSizes::new(config), latency })
    }

    /// Cycles from a job that is taken to its first run: those of a [`RecordWalker`], so that what follows is the same.
    #[must_use]
    pub fn latency(&self) -> u32 {
        self.latency
    }

    /// Width of a job.
    #[must_use]
    pub fn job_bits(&self) -> u32 {
        Matrix::width(&self.sizes) + self.sizes.rounds
    }
}

/// A step of the walk: a round of a product.
struct Step<'m> {
    valid: Wire<'m>,
    last: Wire<'m>,
    matrix: Matrix<'m>,
}

/// Takes jobs, and gives their rounds one by one.
fn steps<'m>(s: &WeightSizes, m: &'m Builder) -> Step<'m> {
    let width = Matrix::width(s);
    let input = m.stream_in("job", width + s.rounds);
    let go = m.input("go_i", 1);
    let matrix = m.reg("matrix", width);
    matrix.set_when(input.passes(), input.data.trunc(width));
    let left = m.reg("left", s.rounds);
    let busy = m.reg("busy", 1).reset(0);
    let last = left.q().is_zero();
    let done = busy.q() & go & last;
    input.ready.set(!busy.q() | done);
    left.update(&[(input.passes(), input.data.slice(width, s.rounds)), (busy.q() & go, left.q() - 1)]);
    busy.update(&[(input.passes(), m.lit(1, 1)), (done, m.lit(1, 0))]);
    Step { valid: busy.q() & go, last, matrix: Matrix::of(s, matrix.q()) }
}

impl Block for WeightWalker {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let s = &self.sizes;
        let Sizes { address, beat, .. } = s.common;
        let name =
            format!("weight_walker_a{address}_b{beat}_g{}_r{}_l{}", s.granules, s.rounds, self.latency);
        let m = Builder::new(name);
        let step = steps(s, &m);
        let late = |name: &str, cycles: u32, wire: Wire<'_>| {
            DelayLine::new(wire.width(), cycles).map(|line| line.build(&m, name, m.own(wire)))
        };
        let block = m.register("block", step.matrix.block_beats(s));
        let blocks = m.register("blocks", step.matrix.blocks);
        let length = blocks.mul_unsigned(block);
        let length = length.zext(address.max(length.width())).trunc(address);
        m.output("run_length_o", late("length", PRODUCT + self.latency - STAGES, length)?);

        let all = self.latency - 1;
        m.output("run_address_o", late("address", all, step.matrix.addr)?);
        m.output("run_last_o", late("last", all, step.last)?);
        let valid = (0..all).fold(step.valid, |valid, n| m.register_valid(&format!("valid_{n}"), valid));
        m.output("run_valid_o", valid);
        m.finish()
    }
}
