//! Distance of the activation buffer's blocks from a stored record of blocks.
//!
//! The record's elements come before its scales, so they are kept. Meanwhile the buffer's blocks are looked through for the largest
//! exponent of what they hold; with the scales there are differences, whose largest exponent is found while the squares of the
//! present words are added up; then theirs are. The buffer's words take the place of the vector buffer's in the lanes, a cycle later.

use super::super::{BYTE, Op, READ, Scalar, Shape, WORD, style};
use super::Unit;
use super::marks::{Marks, Pair, Pipes};
use crate::fp::{Adder, SquareSum};
use crate::func::{FuncUnit, Function, cycles, later, later_valid};
use crate::mx::Dequantiser;
use crate::rtl::{RtlError, Wire, index_width};
use fastcar_arch::timing::{DEQUANT_LATENCY, SUMSQ_LATENCY};

/// Cycles from a group to its words, present and stored.
pub(super) const COMPARED: u32 = READ + cycles(DEQUANT_LATENCY);

/// Cycles from the last group to the score.
pub(super) fn result(shape: Shape) -> u32 {
    let sum = cycles(SUMSQ_LATENCY) + shape.lanes.ilog2();
    COMPARED + Adder.latency() + sum + Scalar::mean_latency()
}

/// Groups of a pass where they are looked at.
#[derive(Clone, Copy)]
pub(super) struct Pass<'m> {
    pub(super) valid: Wire<'m>,
    pub(super) first: Wire<'m>,
    pub(super) last: Wire<'m>,
}

/// What is compared, and what is known of it.
pub(super) struct Gate<'m> {
    /// Words of the activation buffer.
    pub(super) present: Wire<'m>,
    /// Looked through for their largest exponent: beside them.
    pub(super) scan: Pass<'m>,
    /// Squares of them are added up.
    pub(super) squares: Pass<'m>,
    /// Differences are looked through for theirs, and their squares added up: beside them.
    pub(super) differences: Pass<'m>,
    pub(super) changes: Pass<'m>,
}

impl<'m> Unit<'m> {
    /// Groups of the vector, from the part's second cycle on.
    fn gate_groups(&self) -> Wire<'m> {
        self.part.lines.was.zext(self.shape.index_bits()) << self.shape.within()
    }

    /// The group of the record that is taken has elements.
    fn has_elements(&self) -> Wire<'m> {
        self.part.start | self.issue.index.lt(self.gate_groups())
    }

    /// A block of the activation buffer is asked for.
    pub(super) fn gate_asks(&self) -> Wire<'m> {
        let issue = &self.issue;
        let some = (issue.taken & self.has_elements()) | issue.pair | issue.main;
        some & self.part.is(&[Op::GateDelta]) & self.part.access.now
    }

    pub(super) fn gate(&self, pipes: &Pipes<'m>) -> Result<Gate<'m>, RtlError> {
        let (m, issue, is) = (self.m, &self.issue, self.part.was(&[Op::GateDelta]));
        let differ = COMPARED + Adder.latency();
        let of_pairs = |cycle| {
            let marks = Pair::of(pipes.pairs.marks(cycle));
            Pass { valid: pipes.pairs.valid(cycle) & is, first: marks.first, last: marks.last }
        };
        let changes = Marks::of(&self.shape, pipes.main.marks(differ));
        let looked = issue.taken & self.has_elements() & self.part.is(&[Op::GateDelta]);
        let index = m.register("scan_index", issue.index);
        let scan = Pass {
            valid: later_valid(m, "scan_to", looked, COMPARED),
            first: later(m, "scan_first", index.is_zero(), COMPARED - 1)?,
            last: later(m, "scan_last", index.eq(self.gate_groups() - 1), COMPARED - 1)?,
        };
        Ok(Gate {
            present: self.present()?,
            scan,
            squares: of_pairs(COMPARED),
            differences: of_pairs(differ),
            changes: Pass {
                valid: pipes.main.valid(differ) & is,
                first: changes.index.is_zero(),
                last: changes.last,
            },
        })
    }

    /// Words of the activation buffer's blocks.
    fn present(&self) -> Result<Wire<'m>, RtlError> {
        let (m, within) = (self.m, self.shape.within());
        let groups = self.block.elements.chunks(BYTE * self.shape.lanes);
        let elements = if within == 0 {
            groups[0]
        } else {
            later(m, "present_group", self.issue.index.trunc(within), READ)?.choose(&groups)
        };
        let dequantiser = m.instance("u_present", &Dequantiser::new(self.shape.lanes)?)?;
        dequantiser.set("valid_i", m.lit(1, 0));
        dequantiser.set("scale_i", self.block.scale);
        dequantiser.set("elems_i", elements);
        Ok(dequantiser.get("words_o"))
    }

    /// Scale and elements of a group of the record, `READ` cycles after it.
    pub(super) fn stored(&self) -> (Wire<'m>, Wire<'m>) {
        let (m, shape, within) = (self.m, &self.shape, self.shape.within());
        let (width, lane_bits) = (BYTE * shape.lanes, shape.lanes.ilog2());
        let taken = m.register_valid("stored_taken", self.issue.taken & self.part.is(&[Op::GateDelta]));
        let of_elements = m.register("stored_elements", self.has_elements());
        let index = m.register("stored_index", self.issue.index);
        let bytes = self.record.trunc(width);
        let memory = |name: &str, depth: u32, write, row: Wire<'m>, read: Wire<'m>| {
            let depth = depth.next_power_of_two().max(2);
            let bits = index_width(depth.into());
            let fit = |wire: Wire<'m>| if wire.width() < bits { wire.zext(bits) } else { wire.trunc(bits) };
            let memory = m.memory(name, width, depth, style(depth));
            memory.write(write, fit(row), bytes);
            memory.read_registered(&format!("{name}_first"), m.lit(1, 1), fit(read))
        };
        let read = self.issue.index;
        let elements = memory("stored_group", shape.blocks << within, taken & of_elements, index, read);
        let row = index - self.gate_groups();
        let block = read.slice(within, read.width() - within);
        let scales = memory(
            "stored_scales",
            shape.blocks.div_ceil(shape.lanes),
            taken & !of_elements,
            row,
            block.slice(lane_bits, block.width() - lane_bits),
        );
        let place = m.register("stored_place", block.trunc(lane_bits));
        let scale = m.register("stored_scale", place.choose(&scales.chunks(BYTE)));
        (scale, m.register("stored_words", elements))
    }

    /// The reciprocal of the present words' sum of squares, kept from the function's result.
    pub(super) fn inverse(&self, gate: &Gate<'m>, reciprocal: Wire<'m>) -> Result<Wire<'m>, RtlError> {
        let m = self.m;
        let function = FuncUnit::new(&[Function::Recip])?;
        let after =
            SquareSum::new(self.shape.lanes)?.latency() + Scalar::number_latency() + function.latency();
        let inverse = m.reg("inverse", WORD);
        let there = later_valid(m, "inverse_valid", gate.squares.valid & gate.squares.last, after);
        inverse.set_when(there, reciprocal);
        Ok(inverse.q())
    }
}
