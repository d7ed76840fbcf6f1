//! Results leave: to the vector buffer, as words, as blocks.

use super::super::change::Change;
use super::super::lane::Lane;
use super::super::{Op, READ};
use super::Unit;
use super::delta::Moved;
use super::lanes::Words;
use super::marks::{Marks, Pipes};
use crate::fp::Adder;
use crate::func::later_valid;
use crate::rtl::{Instance, Wire};

impl<'m> Unit<'m> {
    /// Results leave: to the vector buffer, as words, as blocks.
    pub(super) fn results(
        &self,
        pipes: &Pipes<'m>,
        (valid, marks): (Wire<'m>, &Marks<'m>),
        words: &Words<'m>,
        (moved, active): (&Moved<'m>, Wire<'m>),
        (quantiser, scalar): (&Instance<'m>, &Instance<'m>),
    ) {
        let m = self.m;
        let is = |ops: &[Op]| self.part.was(ops);
        let live = valid & marks.live;
        let writes = is(&[Op::Load, Op::Add, Op::Rms, Op::Layer, Op::Rope, Op::Matvec, Op::Attn]);
        self.buffer.set("write_valid_i", m.register_valid("writes", live & writes));
        self.buffer.set("write_group_i", m.register("written", marks.address));
        self.buffer.set("write_words_i", words.write);
        let referred = Lane::convert() + Adder.latency();
        let nearly = referred - 1;
        let row = pipes.main.valid(nearly) & Marks::of(&self.shape, pipes.main.marks(nearly)).ring;
        let row = m.register_valid("row_leaves", row & is(&[Op::Matvec]) & self.part.delta.was);
        m.output(
            "word_valid_o",
            m.register_valid("word", (live & is(&[Op::Store])) | row | self.references_leave(pipes)),
        );
        let changed = active.mux(words.second_sum, moved.kept);
        let cases = [(is(&[Op::Store]), words.first), (is(&[Op::Delta]), changed)];
        let leaves = m.select(words.reference, &cases);
        m.output("word_data_o", m.register("words", leaves));
        m.output("done_o", later_valid(m, "done", valid & marks.last, 2));
        self.quantise(pipes, words, quantiser);
        self.blocks(live, marks, (moved, active), quantiser);
        let scored = live & marks.last & is(&[Op::GateDelta]);
        m.output("score_valid_o", m.register_valid("score_there", scored));
        m.output("score_o", m.register("score", scalar.get("mean_o")));
    }

    /// Words to the quantiser.
    fn quantise(&self, pipes: &Pipes<'m>, words: &Words<'m>, quantiser: &Instance<'m>) {
        let (m, delta) = (self.m, self.part.was(&[Op::Delta]));
        let read = later_valid(m, "quantised", self.issue.main, READ);
        let read = read & self.part.was(&[Op::Quant, Op::KvAppend]);
        quantiser.set("valid_i", read | (pipes.main.valid(Change::differences()) & delta));
        quantiser.set("words_i", delta.mux(words.first_sum, words.first));
    }

    /// Whether a group is the last one of a line, and the line's number in the part.
    fn of_line(&self, index: Wire<'m>) -> (Wire<'m>, Wire<'m>) {
        let (within, bits) = (self.shape.within(), self.shape.block_bits());
        let end = if within == 0 { self.m.lit(1, 1) } else { index.trunc(within).all() };
        let number = index.slice(within, index.width() - within);
        (end, if number.width() >= bits { number.trunc(bits) } else { number.zext(bits) })
    }

    fn blocks(
        &self,
        live: Wire<'m>,
        marks: &Marks<'m>,
        (moved, active): (&Moved<'m>, Wire<'m>),
        quantiser: &Instance<'m>,
    ) {
        let (m, shape, part) = (self.m, &self.shape, &self.part);
        let (end, number) = self.of_line(self.issue.index);
        let asks = self.issue.main & part.is(&[Op::StoreAct]) & part.access.now & end;
        m.output("ab_read_o", asks | self.gate_asks());
        m.output("ab_slot_o", part.slot.now);
        m.output("ab_block_o", part.block.now + number);
        let quantised = part.was(&[Op::Quant, Op::KvAppend]);
        let (end, number) = self.of_line(marks.index);
        let (delta, stored) = (part.was(&[Op::Delta]), part.was(&[Op::StoreAct]));
        let kept = part.was(&[Op::Quant, Op::Delta]);
        let base = kept.repeat(shape.block_bits()) & part.block.was;
        let of = |quantised: Wire<'m>, changed: Wire<'m>, stored_is: Wire<'m>| {
            let changed = changed & active.repeat(changed.width());
            m.select(quantised, &[(delta, changed), (stored, stored_is)])
        };
        let block = of(quantiser.get("scale_o"), moved.block.scale, self.block.scale);
        let elements = of(quantiser.get("elems_o"), moved.block.elements, self.block.elements);
        m.output("block_valid_o", m.register_valid("block_there", live & end & (quantised | kept | stored)));
        m.output("mask_valid_o", m.register_valid("mask_there", live & end & delta));
        m.output("mask_o", m.register("mask", active));
        m.output("block_memory_o", m.register("block_memory", !kept));
        let group_bits = shape.group_bits();
        let slot = marks.address.slice(group_bits, shape.slot_bits());
        m.output("block_slot_o", m.register("block_slot", slot));
        m.output("block_number_o", m.register("block_number", base + number));
        m.output("block_scale_o", m.register("block_scale", block));
        m.output("block_elems_o", m.register("block_elems", elements));
    }
}
