//! What a configuration takes of an FPGA: a model of LUTs, flip-flops, DSPs and memories, block by block.
//!
//! The model counts what the structure of the machine implies (multipliers, adder trees, memory shapes) and takes the
//! rest from named figures, each with its reason (docs/resources.md lists them). It stands before synthesis, to size
//! configurations; synthesis reports will correct its figures. Nothing else depends on it: neither bits nor cycles.
//!
//! ```
//! use fastcar_arch::{board::Board, config::AccelConfig, resources::Resources};
//!
//! let (config, board) = (AccelConfig::preset("tiny")?, Board::named("zcu104")?);
//! assert!(Resources::of(&config).fit(&board).iter().all(|r| r.fits()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod assumptions;
mod cluster;
mod memory;
mod page;
mod shared;

pub use cluster::code_multipliers;
pub use page::{BLESS, markdown};

use crate::board::{Board, Family};
use crate::config::AccelConfig;
use crate::regs::RegisterMap;
use assumptions::{CARD_COLUMN_PERCENT, CARD_LOGIC_PERCENT, SMALL_PERCENT};
use serde::Serialize;
use std::fmt;
use std::ops::{Add, Mul};

/// A kind of FPGA resource.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// Look-up tables of 6 inputs, as logic or as memory.
    Lut,
    /// Flip-flops.
    Ff,
    /// DSP48E2 slices.
    Dsp,
    /// Block RAMs of 36 Kb.
    Bram36,
    /// UltraRAMs of 288 Kb.
    Uram,
}

impl Resource {
    /// All, in the order of [`Amounts`].
    pub const ALL: [Self; 5] = [Self::Lut, Self::Ff, Self::Dsp, Self::Bram36, Self::Uram];

    /// The largest share of a board's resource up to which a design is expected to be placed and to close timing.
    #[must_use]
    pub fn limit(self, board: &Board) -> f64 {
        let percent = match (board.fields().family, self) {
            (Family::VirtexUplusHbm, Self::Lut | Self::Ff) => CARD_LOGIC_PERCENT,
            (Family::VirtexUplusHbm, _) => CARD_COLUMN_PERCENT,
            (Family::ZynqUplus, _) => SMALL_PERCENT,
        };
        percent as f64 / 100.0
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lut => "LUT",
            Self::Ff => "FF",
            Self::Dsp => "DSP",
            Self::Bram36 => "BRAM36",
            Self::Uram => "URAM",
        })
    }
}

/// Numbers of each resource.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct Amounts {
    /// Look-up tables of 6 inputs, as logic or as memory.
    pub lut: u64,
    /// Flip-flops.
    pub ff: u64,
    /// DSP48E2 slices.
    pub dsp: u64,
    /// Block RAMs of 36 Kb.
    pub bram36: u64,
    /// UltraRAMs of 288 Kb.
    pub uram: u64,
}

impl Amounts {
    /// The number of one resource.
    #[must_use]
    pub fn get(&self, resource: Resource) -> u64 {
        match resource {
            Resource::Lut => self.lut,
            Resource::Ff => self.ff,
            Resource::Dsp => self.dsp,
            Resource::Bram36 => self.bram36,
            Resource::Uram => self.uram,
        }
    }
}

impl Add for Amounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            lut: self.lut + other.lut,
            ff: self.ff + other.ff,
            dsp: self.dsp + other.dsp,
            bram36: self.bram36 + other.bram36,
            uram: self.uram + other.uram,
        }
    }
}

impl Mul<u64> for Amounts {
    type Output = Self;

    fn mul(self, count: u64) -> Self {
        Self {
            lut: self.lut * count,
            ff: self.ff * count,
            dsp: self.dsp * count,
            bram36: self.bram36 * count,
            uram: self.uram * count,
        }
    }
}

/// A block of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct BlockResources {
    /// Name.
    pub name: &'static str,
    /// How many there are.
    pub count: u64,
    /// What one of them takes.
    #[serde(flatten)]
    pub each: Amounts,
}

impl BlockResources {
    /// What all of them take.
    #[must_use]
    pub fn total(&self) -> Amounts {
        self.each * self.count
    }
}

/// What a configuration takes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Resources {
    /// Block by block: first what stands once per memory channel, then what is shared.
    pub blocks: Vec<BlockResources>,
}

/// One resource of a board and what a configuration takes of it.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct ResourceUse {
    /// Resource.
    pub resource: Resource,
    /// What the configuration takes.
    pub used: u64,
    /// What the board has.
    pub available: u64,
    /// `used / available`; 0 where both are 0.
    pub share: f64,
    /// [`Resource::limit`].
    pub limit: f64,
}

impl ResourceUse {
    /// Whether the share is within its limit.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.share <= self.limit
    }
}

impl Resources {
    /// Counts a configuration's resources.
    #[must_use]
    pub fn of(config: &AccelConfig) -> Self {
        let sizes = Sizes::of(config);
        let mut blocks = cluster::blocks(&sizes);
        blocks.extend(shared::blocks(&sizes));
        Self { blocks }
    }

    /// The sum over the blocks.
    #[must_use]
    pub fn total(&self) -> Amounts {
        self.blocks.iter().map(BlockResources::total).fold(Amounts::default(), Add::add)
    }

    /// The shares of a board. On a board without UltraRAM each becomes eight block RAMs, which are as wide and as deep
    /// together.
    #[must_use]
    pub fn fit(&self, board: &Board) -> Vec<ResourceUse> {
        let r = board.fields().resources;
        let has = |n: u32| u64::from(n);
        let (lut, ff, dsp) = (has(r.lut), has(r.ff), has(r.dsp));
        let available = Amounts { lut, ff, dsp, bram36: has(r.bram36), uram: has(r.uram) };
        let mut used = self.total();
        if available.uram == 0 {
            (used.bram36, used.uram) = (used.bram36 + 8 * used.uram, 0);
        }
        let share = |used: u64, available: u64| if used == 0 { 0.0 } else { used as f64 / available as f64 };
        let one = |resource: Resource| {
            let (used, available) = (used.get(resource), available.get(resource));
            let limit = resource.limit(board);
            ResourceUse { resource, used, available, share: share(used, available), limit }
        };
        Resource::ALL.map(one).to_vec()
    }
}

/// The sizes of a configuration that resources depend on, as wide as the arithmetic with them.
struct Sizes {
    channels: u64,
    beat_bytes: u64,
    slots: u64,
    columns: u64,
    vector_lanes: u64,
    vb_lines: u64,
    ab_blocks: u64,
    acc_rows: u64,
    score_tokens: u64,
    /// Of both streams, and of read-ahead alone.
    stream_beats: u64,
    ahead_beats: u64,
    record_beats: u64,
    write_beats: u64,
    /// Registers that the host can read.
    registers: u64,
}

impl Sizes {
    fn of(config: &AccelConfig) -> Self {
        Self {
            channels: config.channels().into(),
            beat_bytes: config.beat().get(),
            slots: config.slots().into(),
            columns: config.columns().into(),
            vector_lanes: config.vector_lanes().into(),
            vb_lines: config.vb_lines().into(),
            ab_blocks: config.ab_blocks().into(),
            acc_rows: config.acc_rows().into(),
            score_tokens: config.score_tokens().into(),
            stream_beats: u64::from(config.main_beats()) + u64::from(config.ahead_beats()),
            ahead_beats: config.ahead_beats().into(),
            record_beats: config.record_beats().into(),
            write_beats: config.write_beats().into(),
            registers: RegisterMap::new(config).registers().len() as u64,
        }
    }
}
