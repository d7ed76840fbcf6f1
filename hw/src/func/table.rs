//! `func_table`: one or more functions by table, a quadratic polynomial on each segment.
//!
//! # Purpose
//!
//! The arithmetic behind reciprocal, reciprocal square root, sigmoid, normal distribution function and exp2, on arguments that are
//! integers already. Several functions share one memory and one polynomial; the function is chosen with each operand.
//!
//! # Interface
//!
//! A *pipe*.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears `valid` only |
//! | `valid_i` | in | 1 | operands are sampled on this edge |
//! | `function_i` | in | log2(functions) | which one, in the order given; not there with one function |
//! | `x_i` | in | [`Table::in_width`] | table input; bits above the function's own are not looked at |
//! | `valid_o` | out | 1 | there is a result |
//! | `y_o` | out | 25 | the function in units of 2^-24 |
//!
//! # Timing
//!
//! Latency [`Table::latency`], one result a cycle: memory (1 cycle; block RAM: 2, the second being its output register), and two cycles for
//! each product with its sum, which are the product and the sum register of a DSP block.
//!
//! # Numeric contract
//!
//! [`FuncTable::eval`] exactly, its shifts moved behind the sums, which rounding down allows: `(a << k) + b >> k` is `a + (b >>
//! k)`. Functions with
//! fewer offset bits have their offset moved up to the widest one's place; their shifts, which are offset bits and a constant,
//! are the same then.
//!
//! # Cost
//!
//! Two DSP blocks; the memory: 72 bits for each segment. Each function with 512 segments fills a block RAM, those with 256 half
//! of one, which is why
//! functions share.
//!
//! # Verification
//!
//! `tests/tests/rtl_func.rs`: `tables_are_exact`; every input in the long run `every_input_of_every_table_and_function`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::func::{Function, Store, Table};
//!
//! let table = Table::new(&[Function::Recip, Function::Rsqrt], Store::BlockRam)?;
//! assert_eq!((table.in_width(), table.latency()), (24, 6));
//! assert!(Table::new(&[], Store::Luts).is_err());
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::{later, later_valid};
use crate::rtl::{Bits, Block, Builder, Module, RamStyle, RtlError, Wire, index_width};
use fastcar_arch::num::func::{
    self, C0_BITS, C1_BITS, C2_BITS, FuncTable, GUARD_BITS, OUT_FRAC_BITS, WORD_BITS,
};
use std::cmp::Reverse;
use std::sync::Arc;

/// A function that has a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Function {
    /// 2^-x on [0, 1).
    Exp2Neg,
    /// 1 / x.
    Recip,
    /// 1 / sqrt(x).
    Rsqrt,
    /// 1 / (1 + e^-x).
    Sigmoid,
    /// The normal distribution function.
    Phi,
}

impl Function {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Exp2Neg, Self::Recip, Self::Rsqrt, Self::Sigmoid, Self::Phi];

    /// Its table.
    #[must_use]
    pub fn table(self) -> &'static FuncTable {
        match self {
            Self::Exp2Neg => func::exp2_neg_table(),
            Self::Recip => func::recip_table(),
            Self::Rsqrt => func::rsqrt_table(),
            Self::Sigmoid => func::sigmoid_table(),
            Self::Phi => func::phi_table(),
        }
    }
}

/// Where a table is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Store {
    /// Look-up tables: for 64 segments one for each bit.
    Luts,
    /// Block RAM with its output register.
    BlockRam,
}

/// Functions by table. See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    functions: Vec<Function>,
    store: Store,
}

/// Width of a result: 1 is 2^24.
pub(crate) const OUT_WIDTH: u32 = OUT_FRAC_BITS + 1;

impl Table {
    /// Functions that share a memory, each of them once.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(functions: &[Function], store: Store) -> Result<Self, RtlError> {
        distinct("function table", functions)?;
        Ok(Self { functions: functions.to_vec(), store })
    }

    /// Cycles from an operand to its result.
    #[must_use]
    pub fn latency(&self) -> u32 {
        self.read_cycles() + 4
    }

    /// Width of `x_i`: that of the widest input.
    #[must_use]
    pub fn in_width(&self) -> u32 {
        self.most(|table| table.index_bits + table.offset_bits)
    }

    /// The functions, in the order in which `function_i` counts them.
    #[must_use]
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    fn read_cycles(&self) -> u32 {
        match self.store {
            Store::Luts => 1,
            Store::BlockRam => 2,
        }
    }

    fn most(&self, of: impl Fn(&FuncTable) -> u32) -> u32 {
        self.functions.iter().map(|function| of(function.table())).max().unwrap_or_default()
    }

    /// The functions as they lie in memory: the longest first, so that each begins at a multiple of its length.
    fn placed(&self) -> Vec<Function> {
        let mut placed = self.functions.clone();
        placed.sort_by_key(|function| Reverse(function.table().entries.len()));
        placed
    }

    fn words(&self) -> Vec<Bits> {
        let tables = self.placed().into_iter().map(Function::table);
        let words = tables.flat_map(|table| (0..table.entries.len()).map(|entry| table.word(entry)));
        words.map(|word| Bits::from_u128(WORD_BITS, word)).collect()
    }

    /// Where in memory a function begins.
    fn base(&self, function: Function) -> u64 {
        let before = self.placed().into_iter().take_while(|other| *other != function);
        before.map(|other| other.table().entries.len() as u64).sum()
    }

    /// Address and offset of a function's input.
    fn split<'m>(&self, m: &'m Builder, function: Function, x: Wire<'m>, address_width: u32) -> Wire<'m> {
        let table = function.table();
        let (index, offset) = (table.index_bits, table.offset_bits);
        let segment = x.slice(offset, index);
        let address = match address_width - index {
            0 => segment,
            high => m.lit(high, self.base(function) >> index).cat(segment),
        };
        address.cat(x.trunc(offset)).cat_zeros(self.most(|table| table.offset_bits) - offset)
    }
}

/// At least one function, none twice.
pub(super) fn distinct(block: &'static str, functions: &[Function]) -> Result<(), RtlError> {
    let once = functions.iter().enumerate().all(|(index, function)| !functions[..index].contains(function));
    if once && !functions.is_empty() {
        return Ok(());
    }
    Err(RtlError::Parameter {
        block,
        parameter: "number of functions",
        asked: functions.len() as u64,
        allowed: "one or more, none of them twice",
    })
}

/// The part of a module's name that tells the functions.
pub(super) fn joined(functions: &[Function]) -> String {
    functions.iter().map(|function| function.table().name).collect::<Vec<_>>().join("_")
}

/// The value for the function at hand.
#[track_caller]
pub(super) fn by_function<'m>(
    functions: &[Function],
    select: Option<Wire<'m>>,
    of: impl FnMut(Function) -> Wire<'m>,
) -> Wire<'m> {
    let values: Vec<_> = functions.iter().copied().map(of).collect();
    select.map_or_else(|| values[0], |select| select.choose(&values))
}

/// `function_i`, where there is a choice.
pub(super) fn function_input<'m>(m: &'m Builder, functions: &[Function]) -> Option<Wire<'m>> {
    let count = functions.len() as u64;
    (count > 1).then(|| m.input("function_i", index_width(count)))
}

impl Block for Table {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let style = match self.store {
            Store::Luts => RamStyle::Distributed,
            Store::BlockRam => RamStyle::Block,
        };
        let m = Builder::new(format!("func_table_{}_{}", joined(&self.functions), style.attribute()));
        let valid = m.input("valid_i", 1);
        let select = function_input(&m, &self.functions);
        let x = m.input("x_i", self.in_width());
        let memory = m.table("segments", WORD_BITS, style, self.words());
        let width = memory.address_width();
        let place = by_function(&self.functions, select, |function| self.split(&m, function, x, width));
        let offset_bits = place.width() - width;
        let word = m.register("word", memory.read(place.slice(offset_bits, width).named("address")));
        let word = later(&m, "word_out", word, self.read_cycles() - 1)?;
        // The middle of a segment is at zero: the highest bit becomes the sign.
        let d = place.trunc(offset_bits) ^ (1 << (offset_bits - 1));
        let d = later(&m, "d", d, self.read_cycles())?;
        m.output("valid_o", later_valid(&m, "valid", valid, self.latency()));
        m.output("y_o", polynomial(&m, word, d)?);
        m.finish()
    }
}

/// The polynomial of a segment at a distance from its middle, four cycles later.
fn polynomial<'m>(m: &'m Builder, word: Wire<'m>, d: Wire<'m>) -> Result<Wire<'m>, RtlError> {
    let (k1, k2) = (d.width() + 2, d.width() + 1);
    let c0 = word.trunc(C0_BITS);
    let c1 = word.slice(C0_BITS, C1_BITS);
    let c2 = word.slice(C0_BITS + C1_BITS, C2_BITS);
    let product = m.register("curve", d.mul_signed(c2));
    let c1 = m.register("c1", c1);
    let slope = m.register("slope", product.sext(C1_BITS + 1 + k2) + c1.sext(C1_BITS + 1).cat_zeros(k2));
    let slope = slope.slice(k2, C1_BITS + 1);
    let product = m.register("rise", later(m, "d_late", d, 2)?.mul_signed(slope));
    let width = C0_BITS + 1 + k1;
    let c0 = later(m, "c0", c0, 3)?;
    let value = m.register("value", product.sext(width) + c0.zext(C0_BITS + 1).cat_zeros(k1));
    Ok(value.slice(k1 + GUARD_BITS, OUT_WIDTH))
}
