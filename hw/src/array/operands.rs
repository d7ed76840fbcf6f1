//! `operands`: the activation blocks that a cluster's next beats meet.
//!
//! # Purpose
//!
//! Keeps the operands of the next weight blocks of a stream, for all passes and columns, and gives those of one pass a
//! cycle, as often as the weight block has beats.
//!
//! # Interface
//!
//! Words come by a *pipe*. For each weight block that is streamed, in order: a [header](OperandHeader), then its
//! [operands](Operand), pass by pass and in a pass column by column, of those columns that take part; in each pass there
//! is at least one. A pass takes a *set*: one operand for each column. There are [`OPERAND_SETS`], and who sends has one
//! for each pass before the header goes. A product of which no block is streamed has a header of one pass without any column, and a set.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | forgets everything |
//! | `in_valid_i` | in | 1 | a word comes |
//! | `in_header_i` | in | 1 | it is a header |
//! | `in_data_i` | in | [`Operands::width`] | the header or the operand, in the low bits |
//! | `front_valid_o`, `front_o` | out | 1, header | the header of the next weight block is there |
//! | `front_whole_o` | out | 1 | so are all its operands |
//! | `take_i` | in | 1 | pass 0 of the next weight block is used from the next cycle on |
//! | `last_i` | in | 1 | with `take_i`: for the last time; the block behind it is the next one then |
//! | `step_i` | in | 1 | the next pass is used from the next cycle on |
//! | `act_o`, `base_o`, `word_o`, `first_o` | out | columns x 264, x 9, x word, x 1 | the operands of the pass in use, column 0's low; of columns that take no part, anything |
//!
//! # Timing
//!
//! A word a cycle. A header is on `front_o`, and `front_whole_o` is set, in the cycle after the (last) word came if no
//! other block is in front. `act_o` follows `take_i` and `step_i` one cycle later. A set may be written again from the
//! last cycle in which it is used on.
//!
//! # Numeric contract
//!
//! None: bits are bits.
//!
//! # Cost
//!
//! Distributed memory: [`OPERAND_SETS`] operands for each column, and as many headers.
//!
//! # Verification
//!
//! `tests/tests/rtl_array.rs`, within the feeder.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{array::Operands, rtl::Block};
//!
//! let operands = Operands::new(&AccelConfig::preset("u55c")?)?;
//! assert_eq!(operands.module()?.name(), "operands_c4_p8_w9");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::cmd::fields::cut;
use crate::pe::Cluster;
use crate::pe::cluster::{ACT_BITS, BASE_BITS};
use crate::prim::{Fifo, within};
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Wire, index_width};
use fastcar_arch::config::AccelConfig;
use std::sync::Arc;

/// Sets of one operand for each column.
pub const OPERAND_SETS: u32 = 32;

/// What comes before the operands of a weight block.
#[derive(Clone, Debug)]
pub struct OperandHeader<T> {
    /// Number of passes, less one; in the lowest bits.
    pub last_pass: T,
    /// It is its product's last block.
    pub last_block: T,
    /// By pass: the columns that take part.
    pub columns: Vec<T>,
}

/// What a column's part of a pass is made of, the first in the lowest bits.
#[derive(Clone, Debug)]
pub struct Operand<T> {
    /// The activation block: 32 elements, the scale byte above them.
    pub act: T,
    /// Base of the window.
    pub base: T,
    /// The word of the accumulators in which the sums of the chunk's first rows stand.
    pub word: T,
    /// The sums begin with this block.
    pub first: T,
}

/// The operands of a cluster. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operands {
    columns: u32,
    passes: u32,
    word: u32,
}

impl Operands {
    /// For the clusters of a configuration.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(config: &AccelConfig) -> Result<Self, RtlError> {
        let columns = config.columns();
        let passes = config.slots().div_ceil(columns);
        let allowed = "at most the sets of operands, 32";
        let passes = within("operands", "passes", passes, 1..=OPERAND_SETS, allowed)?;
        Ok(Self { columns, passes, word: Cluster::new(config)?.word_width() })
    }

    /// The most passes of a block.
    #[must_use]
    pub fn passes(&self) -> u32 {
        self.passes
    }

    /// Width of the number of a pass.
    #[must_use]
    pub fn pass_width(&self) -> u32 {
        index_width(self.passes.into())
    }

    /// Widths of a header's parts.
    #[must_use]
    pub fn header(&self) -> OperandHeader<u32> {
        let (last_pass, columns) = (self.pass_width(), vec![self.columns; self.passes as usize]);
        OperandHeader { last_pass, last_block: 1, columns }
    }

    /// Widths of an operand's parts.
    #[must_use]
    pub fn operand(&self) -> Operand<u32> {
        Operand { act: ACT_BITS, base: BASE_BITS, word: self.word, first: 1 }
    }

    fn header_bits(&self) -> u32 {
        self.pass_width() + 1 + self.columns * self.passes
    }

    fn operand_bits(&self) -> u32 {
        ACT_BITS + BASE_BITS + self.word + 1
    }

    /// Width of a word that comes.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.header_bits().max(self.operand_bits())
    }

    /// A header's parts.
    pub(super) fn parts<'m>(&self, header: Wire<'m>) -> OperandHeader<Wire<'m>> {
        let mut take = cut(header);
        OperandHeader {
            last_pass: take(self.pass_width()),
            last_block: take(1),
            columns: (0..self.passes).map(|_| take(self.columns)).collect(),
        }
    }

    /// Where an operand goes that comes: whether it is the last one of its weight block, its column, its set.
    fn place<'m>(&self, m: &'m Builder, header: Wire<'m>, operand: Wire<'m>, data: Wire<'m>) -> Place<'m> {
        let columns = m.pack(&self.parts(data.trunc(self.header_bits())).columns);
        // A header without any has its set all the same, and is whole.
        let empty = header & columns.is_zero();
        // Columns whose operands have not come, the pass in turn in the low bits.
        let left = m.reg("left", self.columns * self.passes);
        let turn = left.q().trunc(self.columns);
        let column = turn & turn.negated();
        let (rest, later) = (turn & !column, left.q() >> self.columns);
        let filled = operand & rest.is_zero();
        let same = match self.passes {
            1 => rest,
            _ => left.q().slice(self.columns, self.columns * (self.passes - 1)).cat(rest),
        };
        left.update(&[(header, columns), (filled, later), (operand, same)]);
        let set = m.reg("fill_set", index_width(OPERAND_SETS.into())).reset(0);
        set.set_when(filled | empty, set.q() + 1);
        Place {
            last: (filled & later.is_zero()) | empty,
            column: column & operand.repeat(self.columns),
            set: set.q(),
        }
    }
}

/// Where an operand goes.
struct Place<'m> {
    last: Wire<'m>,
    /// A bit for each column.
    column: Wire<'m>,
    set: Wire<'m>,
}

/// The set in use: that of the next block's pass 0, or the one behind the set before.
fn set_in_use<'m>(m: &'m Builder, take: Wire<'m>, last: Wire<'m>, last_pass: Wire<'m>) -> Wire<'m> {
    let width = index_width(OPERAND_SETS.into());
    let (front, set) = (m.reg("front_set", width).reset(0), m.reg("set", width));
    let passes = last_pass.zext(last_pass.width().max(width)).trunc(width) + 1;
    front.set_when(take & last, front.q() + passes);
    set.update(&[(take, front.q()), (m.input("step_i", 1), set.q() + 1)]);
    set.q()
}

impl Block for Operands {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("operands_c{}_p{}_w{}", self.columns, self.passes, self.word));
        let (valid, header) = (m.input("in_valid_i", 1), m.input("in_header_i", 1));
        let data = m.input("in_data_i", self.width());
        let place = self.place(&m, valid & header, valid & !header, data);

        let headers =
            m.instance("u_headers", &Fifo::new(self.header_bits(), OPERAND_SETS, RamStyle::Distributed)?)?;
        headers.set("in_valid_i", valid & header);
        headers.set("in_data_i", data.trunc(self.header_bits()));
        let (take, last) = (m.input("take_i", 1), m.input("last_i", 1));
        headers.set("out_ready_i", take & last);
        let front = headers.get("out_data_o");
        m.output("front_valid_o", headers.get("out_valid_o"));
        m.output("front_o", front);

        let over = (take & last).named("over");
        let whole = m.reg("whole", index_width(u64::from(OPERAND_SETS) + 1)).reset(0);
        whole.update(&[(place.last & !over, whole.q() + 1), (over & !place.last, whole.q() - 1)]);
        m.output("front_whole_o", whole.q().any());

        let set = set_in_use(&m, take, last, self.parts(front).last_pass);
        let word = |column: u32| {
            let memory = m.memory(
                &format!("column_{column}"),
                self.operand_bits(),
                OPERAND_SETS,
                RamStyle::Distributed,
            );
            memory.write(place.column.bit(column), place.set, data.trunc(self.operand_bits()));
            memory.read(set)
        };
        let words: Vec<_> = (0..self.columns).map(word).collect();
        let part =
            |low: u32, width: u32| m.pack(&words.iter().map(|w| w.slice(low, width)).collect::<Vec<_>>());
        m.output("act_o", part(0, ACT_BITS));
        m.output("base_o", part(ACT_BITS, BASE_BITS));
        m.output("word_o", part(ACT_BITS + BASE_BITS, self.word));
        m.output("first_o", part(ACT_BITS + BASE_BITS + self.word, 1));
        m.finish()
    }
}
