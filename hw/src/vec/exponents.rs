//! `line_exponents`: the largest exponent of every line of the vector buffer, and of a vector.
//!
//! # Purpose
//!
//! Sums of squares are aligned under the largest exponent of a vector. It has to be known before the first word is aligned, so it is
//! kept of every line as the line is written, and 32 lines are looked at in a cycle.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears control only |
//! | `write_valid_i` | in | 1 | a group is written to the vector buffer on this edge |
//! | `write_group_i` | in | [`Shape::address_bits`] | its slot and number; the groups of a line come one after the other, all of them |
//! | `write_words_i` | in | 32 x lanes | its words |
//! | `scan_i` | in | 1 | a vector is to be looked at |
//! | `scan_line_i` | in | slot and line | its first line |
//! | `scan_lines_i` | in | [`Shape::lines_bits`] | how many lines it has, at least one |
//! | `largest_o` | out | 8 | the largest field |
//!
//! # Timing
//!
//! A line that is written with its last group on edge `e` may be looked at by a `scan_i` on edge `e` + [`Shape::exponents_late`] or later. `largest_o` is
//! sampled [`LineExponents::latency`] edges after `scan_i`, and stays until the next scan gives its first one.
//!
//! # Numeric contract
//!
//! [`fastcar_arch::num::fp::max_exp_field`] of all words of the lines.
//!
//! # Cost
//!
//! A byte for every line in 32 memories, and `lanes + 31` comparisons of 8 bits. Figures: `tests/baselines/rtl/vec_exponents.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_vec.rs`: `words_stay_where_they_were_written_and_exponents_are_their_lines`, `cells_and_depth_are_held`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::vec::{LineExponents, Shape};
//!
//! let exponents = LineExponents::new(Shape::new(4, 4, 64, 64, 1024)?);
//! assert_eq!((exponents.latency(1), exponents.latency(33)), (5, 6));
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::{FIELD, Shape, WORD, larger, style};
use crate::fp::MaxExponent;
use crate::func::{later, later_valid};
use crate::rtl::{Block, Builder, Module, RtlError, Wire};
use std::sync::Arc;

/// Lines that are looked at in a cycle.
const AT_ONCE: u32 = 32;
/// Bits that tell them apart.
const BANK_BITS: u32 = AT_ONCE.ilog2();
/// Cycles from the address of lines to the largest field: memory, 32 to 8, to 2, to 1 and with those before.
const AFTER_ADDRESS: u32 = 4;

/// The exponents. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineExponents {
    shape: Shape,
}

/// A look at up to 32 lines.
struct Look<'m> {
    valid: Wire<'m>,
    first: Wire<'m>,
    line: Wire<'m>,
    left: Wire<'m>,
}

impl LineExponents {
    /// The exponents of a unit's lines.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        Self { shape }
    }

    /// Cycles from a scan of so many lines to the largest field.
    #[must_use]
    pub fn latency(&self, lines: u32) -> u32 {
        lines.div_ceil(AT_ONCE) + AFTER_ADDRESS
    }

    /// Bits of slot and line, at least as many as tell memories apart and a row more.
    fn line_bits(&self) -> u32 {
        (self.shape.slot_bits() + self.shape.line_bits()).max(BANK_BITS + 1)
    }

    /// The line that has become whole, with its largest field.
    fn written<'m>(&self, m: &'m Builder) -> Result<(Wire<'m>, Wire<'m>, Wire<'m>), RtlError> {
        let (lanes, within) = (self.shape.lanes, self.shape.within());
        let compare = m.instance("u_largest", &MaxExponent::new(lanes)?)?;
        let valid = m.input("write_valid_i", 1);
        let group = m.input("write_group_i", self.shape.address_bits());
        compare.set("valid_i", valid);
        compare.set("words_i", m.input("write_words_i", WORD * lanes));
        let (valid, field) = (compare.get("valid_o"), compare.get("field_o"));
        let group = later(m, "group", group, self.shape.exponents_late())?;
        if within == 0 {
            return Ok((valid, group, field));
        }
        let (place, line) = (group.trunc(within), group.slice(within, group.width() - within));
        let running = m.reg("running", FIELD);
        let all = place.any().mux(larger(field, running.q()), field);
        running.set_when(valid, all);
        Ok((valid & place.all(), line, all))
    }

    /// A vector's lines, 32 a cycle.
    fn looks<'m>(&self, m: &'m Builder) -> Look<'m> {
        let (line_bits, left_bits) = (self.line_bits(), self.shape.lines_bits().max(BANK_BITS + 1));
        let scan = m.input("scan_i", 1);
        let from = m.input("scan_line_i", self.shape.slot_bits() + self.shape.line_bits()).zext(line_bits);
        let lines = m.input("scan_lines_i", self.shape.lines_bits()).zext(left_bits);
        let valid = m.reg("looks", 1).reset(0);
        let (line, left) = (m.reg("line", line_bits), m.reg("left", left_bits));
        let at_once = u64::from(AT_ONCE);
        line.update(&[(scan, from), (valid.q(), line.q() + at_once)]);
        left.update(&[(scan, lines), (valid.q(), left.q() - at_once)]);
        valid.set_when(scan | valid.q(), scan | left.q().gt(at_once));
        let first = m.register("first", scan);
        Look { valid: valid.q(), first, line: line.q(), left: left.q() }
    }
}

impl Block for LineExponents {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("vec_exponents_{}", self.shape.name()));
        let (write, line, field) = self.written(&m)?;
        let line = line.zext(self.line_bits());
        let look = self.looks(&m);
        let row_bits = self.line_bits() - BANK_BITS;
        let depth = 1 << row_bits;
        let low = look.line.trunc(BANK_BITS);
        let row = look.line.slice(BANK_BITS, row_bits);
        let next = row + 1;
        let many = look.left.slice(BANK_BITS, look.left.width() - BANK_BITS).any();
        let always = m.lit(1, 1);
        let mut fields = Vec::new();
        for bank in 0..u64::from(AT_ONCE) {
            let here = m.lit(BANK_BITS, bank);
            let memory = m.memory(&format!("bank_{bank}"), FIELD, depth, style(depth));
            let mine = write & line.trunc(BANK_BITS).eq(bank);
            memory.write(mine, line.slice(BANK_BITS, row_bits), field);
            let row = here.lt(low).mux(next, row);
            let word = memory.read_registered(&format!("field_{bank}"), always, row);
            let there = many | (here - low).lt(look.left.trunc(BANK_BITS));
            fields.push(word & m.register(&format!("there_{bank}"), there).repeat(FIELD));
        }
        m.output("largest_o", largest(&m, fields, &look)?);
        m.finish()
    }
}

/// The largest of 32 fields and of those before.
fn largest<'m>(m: &'m Builder, mut level: Vec<Wire<'m>>, look: &Look<'m>) -> Result<Wire<'m>, RtlError> {
    for stage in 0..2 {
        let four = level.chunks(4).enumerate();
        level = four.map(|(n, four)| m.register(&format!("of_{stage}_{n}"), m.tree(four, larger))).collect();
    }
    let before = AFTER_ADDRESS - 1;
    let (valid, first) =
        (later_valid(m, "valid", look.valid, before), later(m, "begins", look.first, before)?);
    let result = m.reg("largest", FIELD);
    let here = larger(level[0], level[1]);
    result.set_when(valid, first.mux(here, larger(here, result.q())));
    Ok(result.q())
}
