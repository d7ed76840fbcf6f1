//! Change against a reference, block by block.
//!
//! A block's differences are quantised as they come, and wait in rows for the block's largest exponent, with which their squares are
//! added up. The reference waits for the block, is moved by what its elements are worth, and leaves with or without that when the
//! distance is known. All of a block happens in cycles counted from its last group ([`Change`]).

use super::super::change::Change;
use super::super::{BYTE, FIELD, Op, READ, WORD, larger};
use super::marks::{Marks, Pipes};
use super::{QUANTISED, Unit};
use crate::fp::{Adder, Greater};
use crate::func::later;
use crate::mx::Dequantiser;
use crate::prim::Counter;
use crate::rtl::{Instance, RamStyle, RtlError, Wire};
use fastcar_arch::config::LINE_WORDS;

/// A block's scale and elements.
#[derive(Clone, Copy)]
pub(super) struct Quantised<'m> {
    pub(super) scale: Wire<'m>,
    pub(super) elements: Wire<'m>,
}

impl<'m> Quantised<'m> {
    fn packed(self) -> Wire<'m> {
        self.elements.cat(self.scale)
    }

    fn of(packed: Wire<'m>) -> Self {
        Self { scale: packed.trunc(BYTE), elements: packed.slice(BYTE, BYTE * LINE_WORDS) }
    }
}

/// What goes where squares are added up.
pub(super) struct Row<'m> {
    pub(super) valid: Wire<'m>,
    pub(super) first: Wire<'m>,
    pub(super) last: Wire<'m>,
    pub(super) largest: Wire<'m>,
    /// As many words as there are banks and lanes.
    pub(super) words: Wire<'m>,
}

/// What moves the references.
pub(super) struct Moved<'m> {
    /// Beside each other: what they were, and what is added to them; a gate's stored words.
    pub(super) reference: Wire<'m>,
    pub(super) change: Wire<'m>,
    /// What they were, with the sum of the two.
    pub(super) kept: Wire<'m>,
    /// The block as it was quantised, where results are.
    pub(super) block: Quantised<'m>,
}

impl<'m> Unit<'m> {
    fn change(&self) -> Change {
        Change::new(self.shape)
    }

    /// The last group of a block came so many cycles ago.
    fn block_at(&self, pipes: &Pipes<'m>, cycle: u32) -> Wire<'m> {
        let within = self.shape.within();
        let marks = Marks::of(&self.shape, pipes.main.marks(cycle));
        let there = pipes.main.valid(cycle) & self.part.was(&[Op::Delta]);
        if within == 0 { there } else { there & marks.index.trunc(within).all() }
    }

    /// The same for any of some cycles that follow each other.
    fn block_in(&self, pipes: &Pipes<'m>, first: u32, cycles: u32) -> Wire<'m> {
        let each: Vec<_> = (first..first + cycles).map(|cycle| self.block_at(pipes, cycle)).collect();
        self.m.tree(&each, |a, b| a | b)
    }

    /// Words of the reference record, beside those of the vector: all zero where the slot has none.
    pub(super) fn compared_with(&self, pipes: &Pipes<'m>, record: Wire<'m>) -> Wire<'m> {
        let fresh = Marks::of(&self.shape, pipes.main.marks(READ - 1)).fresh;
        let none = self.m.register("without_reference", fresh & self.part.was(&[Op::Delta]));
        !none.repeat(record.width()) & record
    }

    /// The block's largest exponent, from the cycle on in which its first row goes where squares are added up.
    fn block_largest(&self, pipes: &Pipes<'m>, field: Wire<'m>) -> Wire<'m> {
        let (m, within) = (self.m, self.shape.within());
        if within == 0 {
            return field;
        }
        let at = self.change().squares();
        let place = Marks::of(&self.shape, pipes.main.marks(at)).index.trunc(within);
        let running = m.reg("block_running", FIELD);
        let all = place.any().mux(larger(field, running.q()), field);
        running.set_when(pipes.main.valid(at), all);
        let largest = m.reg("block_largest", FIELD);
        let whole = self.block_at(pipes, at);
        largest.set_when(whole, all);
        whole.mux(all, largest.q())
    }

    /// Differences, on their way to where squares are added up, with the largest field of each group of them.
    pub(super) fn row(
        &self,
        pipes: &Pipes<'m>,
        differences: Wire<'m>,
        field: Wire<'m>,
    ) -> Result<Row<'m>, RtlError> {
        let (m, change) = (self.m, self.change());
        let rows = change.rows();
        let came = pipes.main.valid(Change::differences()) & self.part.was(&[Op::Delta]);
        let (write, row) = if change.row_groups() == 1 {
            (came, differences)
        } else {
            let odd = Marks::of(&self.shape, pipes.main.marks(Change::differences())).index.bit(0);
            let before = m.reg("differences_before", differences.width());
            before.set_when(came, differences);
            (came & odd, differences.cat(before.q()))
        };
        let valid = self.block_in(pipes, change.squares(), rows);
        let row =
            self.waiting("differences", (2 * rows + self.shape.compare_cycles(2), write, row), valid)?;
        Ok(Row {
            valid,
            first: self.block_at(pipes, change.squares()),
            last: self.block_at(pipes, change.squares() + rows - 1),
            largest: self.block_largest(pipes, field),
            words: row.zext(2 * self.shape.group_width()),
        })
    }

    /// Words that wait, at most so many, written and read in order.
    fn waiting(
        &self,
        name: &str,
        (most, write, words): (u32, Wire<'m>, Wire<'m>),
        read: Wire<'m>,
    ) -> Result<Wire<'m>, RtlError> {
        let (m, depth) = (self.m, (most + 1).next_power_of_two());
        let memory = m.memory(name, words.width(), depth, RamStyle::Distributed);
        let pointer = Counter::new(depth)?;
        memory.write(write, pointer.build(m, &format!("{name}_write"), write).0, words);
        Ok(memory.read(pointer.build(m, &format!("{name}_read"), read).0))
    }

    /// The references and what moves them.
    pub(super) fn moved(
        &self,
        pipes: &Pipes<'m>,
        record: Wire<'m>,
        quantiser: &Instance<'m>,
    ) -> Result<Moved<'m>, RtlError> {
        let (m, change, groups) = (self.m, self.change(), self.shape.groups());
        let came = pipes.main.valid(READ) & self.part.was(&[Op::Delta]);
        // Read a cycle before.
        let read = self.block_in(pipes, change.moves() - 1, groups);
        let most = change.moves() + groups;
        let reference = m.register("moving", self.waiting("references", (most, came, record), read)?);
        let block = Quantised { scale: quantiser.get("scale_o"), elements: quantiser.get("elems_o") };
        let waits = change.elements() - Change::differences() - QUANTISED;
        let block = later(m, "block_waits", block.packed(), waits)?;
        Ok(Moved {
            reference,
            change: self.worth(pipes, Quantised::of(block))?,
            kept: later(m, "kept_reference", reference, Adder.latency())?,
            block: Quantised::of(later(m, "block_goes", block, change.result() - change.elements())?),
        })
    }

    /// What the elements of a block are worth, group by group.
    fn worth(&self, pipes: &Pipes<'m>, block: Quantised<'m>) -> Result<Wire<'m>, RtlError> {
        let m = self.m;
        let begins = self.block_at(pipes, self.change().elements());
        let group = BYTE * self.shape.lanes;
        let (scale, elements) = (m.reg("moves_scale", BYTE), m.reg("moves_elements", BYTE * LINE_WORDS));
        let now = begins.mux(block.packed(), elements.q().cat(scale.q()));
        let now = Quantised::of(now);
        scale.set(now.scale);
        elements.set(now.elements >> group);
        // A gate compares with stored elements.
        let (gate, stored) = (self.part.was(&[Op::GateDelta]), self.stored());
        let dequantiser = m.instance("u_dequantiser", &Dequantiser::new(self.shape.lanes)?)?;
        dequantiser.set("valid_i", m.lit(1, 0));
        dequantiser.set("scale_i", gate.mux(stored.0, now.scale));
        dequantiser.set("elems_i", gate.mux(stored.1, now.elements.trunc(group)));
        Ok(dequantiser.get("words_o"))
    }

    /// Whether the block at hand is active, from the cycle on in which its reference leaves.
    pub(super) fn active(
        &self,
        pipes: &Pipes<'m>,
        scalar: &Instance<'m>,
        limits: Wire<'m>,
    ) -> Result<Wire<'m>, RtlError> {
        let (m, at) = (self.m, self.change().active());
        let limit = m.reg("limit", WORD);
        limit.set_when(limits, scalar.get("mean_o"));
        let distance = scalar.get("number_o");
        let greater = m.instance("u_greater", &Greater)?;
        greater.set("valid_i", m.lit(1, 0));
        greater.set("a_i", distance);
        greater.set("b_i", limit.q());
        let unknown = m.register("unknown", is_nan(distance) | is_nan(limit.q()));
        let fresh = Marks::of(&self.shape, pipes.main.marks(at)).fresh;
        let changed = greater.get("greater_o") | unknown | fresh;
        let active = m.reg("active_block", 1);
        let here = m.register_valid("block_compared", self.block_at(pipes, at - 1));
        let now = here.mux(changed, active.q()).named("active");
        active.set(now);
        Ok(now)
    }

    /// A group of references leaves after this cycle, to memory.
    pub(super) fn references_leave(&self, pipes: &Pipes<'m>) -> Wire<'m> {
        let first = self.change().active() - 1;
        let of_ring =
            |cycle| self.block_at(pipes, cycle) & Marks::of(&self.shape, pipes.main.marks(cycle)).ring;
        let each: Vec<_> = (first..first + self.shape.groups()).map(of_ring).collect();
        self.m.register_valid("references_leave", self.m.tree(&each, |a, b| a | b))
    }
}

/// Whether it is NaN.
fn is_nan(word: Wire<'_>) -> Wire<'_> {
    let mantissa = WORD - 1 - FIELD;
    word.slice(mantissa, FIELD).all() & word.trunc(mantissa).any()
}
