//! The vector unit's data path: vector buffer, lanes, and the unit that runs one part of a command after the other.
//!
//! A *group* is as many words as there are lanes; a line of the vector buffer is one group or several. A *part* is one command
//! for one slot.

pub mod buffer;
mod change;
pub mod exponents;
pub mod lane;
pub mod records;
pub mod rotation;
pub mod scalar;
pub mod sequence;
mod taps;
pub mod unit;
pub mod writes;

pub use buffer::VectorBuffer;
pub use exponents::LineExponents;
pub use lane::Lane;
pub use records::Records;
pub use rotation::Rotation;
pub use scalar::Scalar;
pub use sequence::Sequence;
pub use unit::VectorUnit;
pub use writes::{Writes, Written};

use crate::rtl::{Builder, RamStyle, RtlError, Wire, index_width};
use fastcar_arch::config::{AccelConfig, LINE_WORDS};
use fastcar_arch::num::sumsq::MAX_TERMS;
use fastcar_arch::program::MAX_HEAD_DIM;

/// Width of a word.
const WORD: u32 = 32;
/// Bits of an exponent's field.
const FIELD: u32 = 8;
/// Bits of an MX element, and of a scale.
const BYTE: u32 = 8;
/// Cycles from an address of the vector buffer to its words: memory, output register.
const READ: u32 = 2;

/// What the unit can be asked to do: a command, or a kind of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// A record to the vector buffer, or added to it.
    Load,
    /// Words of the vector buffer to memory.
    Store,
    /// Blocks of the activation buffer to memory.
    StoreAct,
    /// Root mean square normalisation.
    Rms,
    /// Layer normalisation.
    Layer,
    /// Words to blocks of the activation buffer.
    Quant,
    /// One vector added to another.
    Add,
    /// Rotation by the position.
    Rope,
    /// Keys and values to blocks for memory.
    KvAppend,
    /// Rows of a product to the vector buffer.
    Matvec,
    /// Weighted sums of values to the vector buffer.
    Attn,
    /// What has changed to blocks of the activation buffer.
    Delta,
    /// How far blocks of the activation buffer are from stored ones.
    GateDelta,
}

impl Op {
    /// All of them, by code.
    pub const ALL: [Self; 13] = [
        Self::Load,
        Self::Store,
        Self::StoreAct,
        Self::Rms,
        Self::Layer,
        Self::Quant,
        Self::Add,
        Self::Rope,
        Self::KvAppend,
        Self::Matvec,
        Self::Attn,
        Self::Delta,
        Self::GateDelta,
    ];
    /// Width of a code.
    pub const BITS: u32 = 4;

    /// What `op_i` is for it.
    #[must_use]
    pub fn code(self) -> u64 {
        self as u64
    }

    /// Whether a code is one of some.
    fn is_any<'m>(code: Wire<'m>, ops: &[Self]) -> Wire<'m> {
        let each: Vec<_> = ops.iter().map(|op| code.eq(op.code())).collect();
        code.builder().tree(&each, |a, b| a | b)
    }
}

/// The sizes that the unit depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    lanes: u32,
    slots: u32,
    lines: u32,
    blocks: u32,
    rows: u32,
}

impl Shape {
    /// So many lanes, slots, lines of the vector buffer and blocks of the activation buffer per slot, and rows of the largest matrix.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(lanes: u32, slots: u32, lines: u32, blocks: u32, rows: u32) -> Result<Self, RtlError> {
        let fails = |parameter, asked: u32, allowed| {
            Err(RtlError::Parameter { block: "vector unit", parameter, asked: asked.into(), allowed })
        };
        if !lanes.is_power_of_two() || !(2..=LINE_WORDS).contains(&lanes) {
            return fails("lanes", lanes, "a power of two from 2 to 32, so that a line is whole groups");
        }
        if !(1..=32).contains(&slots) {
            return fails("slots", slots, "1 to 32: the Index Register has 32 bits");
        }
        if !(16..=65_536).contains(&lines) {
            return fails("lines", lines, "16 to 65536: a command names a line in 16 bits");
        }
        if !(4..=65_536).contains(&blocks) {
            return fails("blocks", blocks, "4 to 65536: a command names a block in 16 bits");
        }
        if !(16..=1 << 21).contains(&rows) {
            return fails("rows", rows, "16 to 2097152: what the accumulators of all clusters hold");
        }
        Ok(Self { lanes, slots, lines, blocks, rows })
    }

    /// The sizes of a configuration.
    ///
    /// # Errors
    /// [`RtlError::Parameter`] for a single lane, which no unit is built of.
    pub fn of(config: &AccelConfig) -> Result<Self, RtlError> {
        let rows = config.acc_rows() * config.channels();
        Self::new(config.vector_lanes(), config.slots(), config.vb_lines(), config.ab_blocks(), rows)
    }

    /// Words in a group.
    #[must_use]
    pub fn lanes(&self) -> u32 {
        self.lanes
    }

    /// Width of a group.
    #[must_use]
    pub fn group_width(&self) -> u32 {
        self.lanes * WORD
    }

    /// Groups in a line.
    fn groups(&self) -> u32 {
        LINE_WORDS / self.lanes
    }

    /// Bits that tell the groups of a line apart; there may be none.
    fn within(&self) -> u32 {
        self.groups().ilog2()
    }

    /// Width of a slot's number.
    #[must_use]
    pub fn slot_bits(&self) -> u32 {
        index_width(self.slots.into())
    }

    /// Width of a line's number.
    #[must_use]
    pub fn line_bits(&self) -> u32 {
        index_width(self.lines.into())
    }

    /// Width of a number of lines, up to twice those that a slot has.
    #[must_use]
    pub fn lines_bits(&self) -> u32 {
        index_width(2 * u64::from(self.lines) + 1)
    }

    /// Width of a block's number.
    #[must_use]
    pub fn block_bits(&self) -> u32 {
        index_width(self.blocks.into())
    }

    /// Width of a group's number within a slot.
    fn group_bits(&self) -> u32 {
        self.line_bits() + self.within()
    }

    /// Width of the number of a group within a part, which may be twice those of a vector.
    fn index_bits(&self) -> u32 {
        self.lines_bits() + self.within()
    }

    /// Width of a group's address: slot and group.
    #[must_use]
    pub fn address_bits(&self) -> u32 {
        self.slot_bits() + self.group_bits()
    }

    /// Groups of the longest vector that is normalised.
    fn norm_groups(&self) -> u32 {
        (self.lines * LINE_WORDS).min(MAX_TERMS as u32) / self.lanes
    }

    /// Groups of the longest bias: that of a matrix whose rows are gates and what they let through takes twice its lines.
    fn bias_groups(&self) -> u32 {
        (2 * self.lines * LINE_WORDS).min(self.rows).div_ceil(self.lanes).max(self.norm_groups())
    }

    /// Groups of the longest head.
    fn head_groups(&self) -> u32 {
        (MAX_HEAD_DIM / self.lanes).next_power_of_two()
    }

    /// Cycles for the largest field of so many groups.
    fn compare_cycles(&self, groups: u32) -> u32 {
        (self.lanes * groups).ilog2().div_ceil(2)
    }

    /// Cycles by which exponents of lines come later than the lines' words can be read.
    #[must_use]
    pub fn exponents_late(&self) -> u32 {
        self.compare_cycles(1)
    }

    /// Cycles from a group of words to the largest field of them and all before, two groups at a time.
    fn largest_latency(&self) -> u32 {
        self.compare_cycles(2) + 1
    }

    /// What tells modules of different shapes apart.
    fn name(&self) -> String {
        format!("l{}_s{}_v{}_a{}_r{}", self.lanes, self.slots, self.lines, self.blocks, self.rows)
    }
}

/// Fields of a part, which are given a cycle before it begins.
struct Field<'m> {
    /// In the part's first cycle.
    next: Wire<'m>,
    /// From the part's first cycle on.
    now: Wire<'m>,
    /// From the second on.
    was: Wire<'m>,
}

/// A value that is sampled on every edge and, where the part begins then, kept from there on.
fn held<'m>(m: &'m Builder, name: &str, start: Wire<'m>, value: Wire<'m>) -> Field<'m> {
    let next = m.register(&format!("{name}_next"), value);
    let reg = m.reg(name, value.width());
    reg.set_when(start, next);
    Field { next, now: start.mux(next, reg.q()), was: reg.q() }
}

/// What a memory of a depth is made of.
fn style(depth: u32) -> RamStyle {
    match depth {
        0..=128 => RamStyle::Distributed,
        129..=2048 => RamStyle::Block,
        _ => RamStyle::Ultra,
    }
}

/// The larger one of two exponents' fields.
fn larger<'m>(a: Wire<'m>, b: Wire<'m>) -> Wire<'m> {
    a.lt(b).mux(b, a)
}
