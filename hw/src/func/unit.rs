//! `func_unit`: reciprocal, reciprocal square root, sigmoid and normal distribution function of binary32 numbers.
//!
//! # Purpose
//!
//! A vector lane has one for sigmoid and normal distribution function (the epilogues' gates), the vector unit one more for reciprocal and
//! reciprocal square root. A unit is built for any set of functions, chosen with each operand.
//!
//! # Interface
//!
//! A *pipe*.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears `valid` only |
//! | `valid_i` | in | 1 | operands are sampled on this edge |
//! | `function_i` | in | log2(functions) | which one, in the order given ([`FuncUnit::number`]); not there with one function |
//! | `x_i` | in | 32 | argument, binary32 |
//! | `valid_o` | out | 1 | there is a result |
//! | `y_o` | out | 32 | the function, binary32 |
//!
//! # Timing
//!
//! Latency [`FUNC_LATENCY`], one result a cycle: argument to fixed point (2), [`Table`] in
//! block RAM (6), result to
//! binary32 (2).
//!
//! # Numeric contract
//!
//! Bit for bit [`recip`](fastcar_arch::num::func::recip), [`rsqrt`](fastcar_arch::num::func::rsqrt),
//! [`sigmoid`](fastcar_arch::num::func::sigmoid) and [`phi`](fastcar_arch::num::func::phi), for every one of the 2^32 arguments.
//!
//! # Cost
//!
//! Two DSP blocks however many functions there are; one block RAM for reciprocal and root together, one for each of the others.
//! What is not shared is
//! small: the argument's shift (sigmoid, phi) and the choice between the functions. Hence one unit with a choice where
//! functions take turns (a lane's
//! epilogue, the scalars of a norm or a head), and separate units only where two are needed in the same cycle.
//!
//! # Verification
//!
//! `tests/tests/rtl_func.rs`: `functions_are_exact_and_take_their_latency`, `special_cases_and_every_exponent`; every mantissa
//! and every fixed-point argument in
//! the long run `every_input_of_every_table_and_function`; cells and depth: `cells_and_depth_are_held`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::func::{FuncUnit, Function};
//!
//! let lane = FuncUnit::new(&[Function::Sigmoid, Function::Phi])?;
//! assert_eq!((lane.latency(), lane.number(Function::Phi)), (10, Some(1)));
//! // exp2 has an integer argument, see `Exp2`.
//! assert!(FuncUnit::new(&[Function::Exp2Neg]).is_err());
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::shift::{BIAS, Fields, SIGNIFICAND, Shifted, exceeds};
use super::table::{Function, OUT_WIDTH, Store, Table, by_function, distinct, function_input, joined};
use super::{cycles, later, later_valid};
use crate::rtl::{Block, Builder, Module, RtlError, Wire};
use fastcar_arch::num::func::{ARG_FRAC_BITS, OUT_FRAC_BITS};
use fastcar_arch::timing::FUNC_LATENCY;
use std::sync::Arc;

/// Cycles before the table.
const BEFORE: u32 = 2;
/// Cycles after the table.
const AFTER: u32 = 2;
/// Width of an exponent field.
const FIELD: u32 = 8;

/// Functions of binary32 numbers. See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FuncUnit {
    functions: Vec<Function>,
    table: Table,
}

impl FuncUnit {
    /// A unit for one or more of reciprocal, reciprocal square root, sigmoid and normal distribution function.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(functions: &[Function]) -> Result<Self, RtlError> {
        distinct("function unit", functions)?;
        if functions.contains(&Function::Exp2Neg) {
            return Err(RtlError::Parameter {
                block: "function unit",
                parameter: "number of functions that take an integer",
                asked: 1,
                allowed: "0: exp2_neg is the table's or the softmax weight's",
            });
        }
        let table = Table::new(functions, Store::BlockRam)?;
        Ok(Self { functions: functions.to_vec(), table })
    }

    /// Cycles from an argument to its result.
    #[must_use]
    pub fn latency(&self) -> u32 {
        cycles(FUNC_LATENCY)
    }

    /// What `function_i` is for a function.
    #[must_use]
    pub fn number(&self, function: Function) -> Option<u64> {
        self.functions.iter().position(|own| *own == function).map(|at| at as u64)
    }

    fn has_symmetric(&self) -> bool {
        self.functions.iter().any(|function| symmetric(*function))
    }
}

/// Whether f(-x) = 1 - f(x), on a table over |x|.
fn symmetric(function: Function) -> bool {
    matches!(function, Function::Sigmoid | Function::Phi)
}

/// What is known of a result beside the table's value.
#[derive(Clone, Copy)]
struct Outcome<'m> {
    /// The table's value does not count.
    special: Wire<'m>,
    /// Exponent field: of a special result, or for a value in [2^23, 2^24).
    field: Wire<'m>,
    /// The special result is NaN.
    nan: Wire<'m>,
    sign: Wire<'m>,
    /// One less the table's value is wanted.
    negate: Wire<'m>,
}

/// The argument after the first stage.
#[derive(Clone, Copy)]
struct Argument<'m> {
    x: Fields<'m>,
    /// Subnormals are zeros.
    zero: Wire<'m>,
    nan: Wire<'m>,
    infinite: Wire<'m>,
    fixed: Option<Fixed<'m>>,
}

/// The argument's magnitude as the symmetric functions' tables take it.
#[derive(Clone, Copy)]
struct Fixed<'m> {
    /// One bit more than the widest table takes.
    value: Wire<'m>,
    /// There are more bits than that.
    exceeds: Wire<'m>,
}

impl<'m> Fixed<'m> {
    /// The first stage, and the rounding of the second.
    fn new(m: &'m Builder, x: Fields<'m>) -> Self {
        let shifted = Shifted::magnitude(x, SIGNIFICAND, ARG_FRAC_BITS).registered("shifted");
        Self {
            value: shifted.kept.zext(SIGNIFICAND + 1) + shifted.up().zext(SIGNIFICAND + 1),
            exceeds: m.register("exceeds", exceeds(x, SIGNIFICAND, ARG_FRAC_BITS)),
        }
    }

    /// Whether it is beyond the table of a function.
    fn beyond(self, function: Function) -> Wire<'m> {
        let table = function.table();
        let bits = table.index_bits + table.offset_bits;
        self.exceeds | self.value.slice(bits, self.value.width() - bits).any()
    }
}

impl<'m> Argument<'m> {
    fn new(m: &'m Builder, x: Wire<'m>, to_fixed: bool) -> Self {
        let at = Fields::of(x);
        Self {
            x: Fields::of(m.register("x", x)),
            zero: m.register("zero", !at.field.any()),
            nan: m.register("nan", at.is_nan()),
            infinite: m.register("infinite", at.is_special() & !at.mantissa.any()),
            fixed: to_fixed.then(|| Fixed::new(m, at)),
        }
    }

    /// The table's input.
    fn input(&self, function: Function) -> Wire<'m> {
        match self.fixed {
            Some(fixed) if symmetric(function) => fixed.value.trunc(SIGNIFICAND),
            // The significand lies between 1 and 4: an odd exponent (an even field) leaves a factor of 2 with it.
            _ => (!self.x.field.bit(0)).cat(self.x.mantissa),
        }
    }

    fn outcome(&self, m: &'m Builder, function: Function) -> Outcome<'m> {
        match function {
            Function::Recip => self.recip(m),
            Function::Rsqrt => self.rsqrt(m),
            Function::Exp2Neg | Function::Sigmoid | Function::Phi => self.symmetric(m, function),
        }
    }

    /// `y * 2^(127 - field - 24)`.
    fn recip(&self, m: &'m Builder) -> Outcome<'m> {
        let vanishes = self.infinite | self.x.field.eq(254);
        let large = self.nan | self.zero;
        let field = m.lit(FIELD, u64::from(2 * BIAS - 1)) - self.x.field;
        Outcome {
            special: vanishes | large,
            field: m.select(field, &[(large, m.lit(FIELD, 255)), (vanishes, m.lit(FIELD, 0))]),
            nan: self.nan,
            sign: self.x.sign & !self.nan,
            negate: m.lit(1, 0),
        }
    }

    /// `y * 2^(-floor((field - 127) / 2) - 24)`.
    fn rsqrt(&self, m: &'m Builder) -> Outcome<'m> {
        let nan = self.nan | (self.x.sign & !self.zero);
        let large = nan | self.zero;
        let half = (self.x.field >> 1) + self.x.field.bit(0).zext(FIELD);
        let field = m.lit(FIELD, u64::from(BIAS - 1 + BIAS.div_ceil(2))) - half;
        Outcome {
            special: large | self.infinite,
            field: m.select(field, &[(large, m.lit(FIELD, 255)), (self.infinite, m.lit(FIELD, 0))]),
            nan,
            sign: m.lit(1, 0),
            negate: m.lit(1, 0),
        }
    }

    /// `y * 2^-24`, and 1 or 0 beyond the table.
    fn symmetric(&self, m: &'m Builder, function: Function) -> Outcome<'m> {
        let beyond = self.fixed.map_or(m.lit(1, 0), |fixed| fixed.beyond(function));
        let end = self.x.sign.mux(m.lit(FIELD, 0), m.lit(FIELD, u64::from(BIAS)));
        let within = m.lit(FIELD, u64::from(BIAS - 1));
        Outcome {
            special: beyond | self.nan,
            field: m.select(within, &[(self.nan, m.lit(FIELD, 255)), (beyond, end)]),
            nan: self.nan,
            sign: m.lit(1, 0),
            negate: self.x.sign,
        }
    }
}

impl<'m> Outcome<'m> {
    fn packed(self, m: &'m Builder) -> Wire<'m> {
        m.concat(&[self.special, self.nan, self.sign, self.negate, self.field])
    }

    fn unpacked(bits: Wire<'m>) -> Self {
        let bit = |index| bits.bit(FIELD + index);
        Self { negate: bit(0), sign: bit(1), nan: bit(2), special: bit(3), field: bits.trunc(FIELD) }
    }

    /// The table's value in binary32, two cycles later.
    fn finish(self, m: &'m Builder, y: Wire<'m>, has_symmetric: bool) -> Wire<'m> {
        let value = if has_symmetric { one_less(m, y, self.negate) } else { y };
        let below = value.trunc(OUT_FRAC_BITS);
        let (top, nothing) = (m.register("top", value.msb()), m.register("nothing", !value.any()));
        let known = Self::unpacked(m.register("outcome", self.packed(m)));
        let (mantissa, change) = if has_symmetric {
            let zeros = m.register("zeros", leading_zeros(below));
            let shifted = m.register("below", below).shl_by(zeros);
            (shifted, top.mux(m.lit(FIELD, 1), zeros.zext(FIELD).negated()))
        } else {
            (m.register("below", below), top.zext(FIELD))
        };
        let change = change & (!known.special).repeat(FIELD);
        let field = (known.field + change).named("field");
        // Below the smallest field: flushed.
        let flushed = !known.special & (nothing | !field.any());
        let kept = mantissa.trunc(23) & (!(known.special | flushed)).repeat(23);
        let quiet = known.nan.cat_zeros(22);
        let field = field & (!flushed).repeat(FIELD);
        m.register("y", m.concat(&[known.sign, field, kept | quiet]))
    }
}

/// `2^24 - y` where asked for, else `y`: with one adder, since `-y` is `!y + 1`.
fn one_less<'m>(m: &'m Builder, y: Wire<'m>, negate: Wire<'m>) -> Wire<'m> {
    let one = m.concat(&[negate, m.lit(OUT_WIDTH - 2, 0), negate]);
    (y ^ negate.repeat(OUT_WIDTH)) + one
}

/// How many zeros there are above the highest one; anything if there is none.
fn leading_zeros(value: Wire<'_>) -> Wire<'_> {
    let width = value.width().next_power_of_two();
    count_zeros(value.cat_zeros(width - value.width())).0
}

/// Leading zeros of a power of two of bits, and whether there is a one.
fn count_zeros(value: Wire<'_>) -> (Wire<'_>, Wire<'_>) {
    let half = value.width() / 2;
    if half == 1 {
        return (!value.bit(1), value.any());
    }
    let (high, some_high) = count_zeros(value.slice(half, half));
    let (low, some_low) = count_zeros(value.trunc(half));
    ((!some_high).cat(some_high.mux(high, low)), some_high | some_low)
}

impl Block for FuncUnit {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("func_unit_{}", joined(&self.functions)));
        let valid = m.input("valid_i", 1);
        let select = function_input(&m, &self.functions).map(|select| m.register("which", select));
        let x = m.input("x_i", 32);
        let argument = Argument::new(&m, x, self.has_symmetric());
        let input = by_function(&self.functions, select, |function| argument.input(function));
        let input = m.register("table_input", input);
        let outcome =
            by_function(&self.functions, select, |function| argument.outcome(&m, function).packed(&m));
        let outcome = m.register("outcome_early", outcome);
        let table = m.instance("u_table", &self.table)?;
        table.set("valid_i", later_valid(&m, "valid_before", valid, BEFORE));
        table.set("x_i", input.trunc(self.table.in_width()));
        if let Some(select) = select {
            table.set("function_i", m.register("table_function", select));
        }
        let outcome = Outcome::unpacked(later(&m, "outcome_late", outcome, self.table.latency())?);
        m.output("y_o", outcome.finish(&m, table.get("y_o"), self.has_symmetric()));
        m.output("valid_o", later_valid(&m, "valid_after", table.get("valid_o"), AFTER));
        m.finish()
    }
}
