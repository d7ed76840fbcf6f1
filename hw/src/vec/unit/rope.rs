//! Rotation.

use super::super::sequence::HEAD_BITS;
use super::super::taps::Taps;
use super::super::{Op, READ, Rotation};
use super::marks::{Marks, Pipes};
use super::{Unit, result};
use crate::func::{later, later_valid};
use crate::rtl::{RtlError, Wire};
use fastcar_arch::config::LINE_WORDS;

/// Cycles from a group of a rotated vector, counted where it leaves, to its words and their partners.
pub(super) const ROTATED: u32 = READ + 2;

/// Half of the shortest head.
const HALF_LINE: u32 = LINE_WORDS / 2;

/// What is rotated.
pub(super) struct Rotated<'m> {
    pub(super) own: Wire<'m>,
    pub(super) partner: Wire<'m>,
    pub(super) cos: Wire<'m>,
    pub(super) sin: Wire<'m>,
    /// By chunks: of the head's first half.
    pub(super) first: Wire<'m>,
}

impl<'m> Unit<'m> {
    /// Groups of rotated vectors leave half a head after they came.
    pub(super) fn leaving(&self, marks: &Marks<'m>) -> Taps<'m> {
        let (m, bits) = (self.m, self.shape.index_bits());
        let begin = self.issue.main & self.issue.first & self.part.is(&[Op::Rope]);
        let (left, wait) = (m.reg("rotated_left", bits).reset(0), m.reg("rotated_wait", bits));
        let leaves = (left.q().any() & wait.q().is_zero()).named("leaves");
        let groups = self.part.lines.was.zext(bits) << self.shape.within();
        left.update(&[(begin, groups), (leaves, left.q() - 1)]);
        let waits = (self.half_groups().zext(bits) - 1).named("half_less");
        wait.update(&[(begin, waits), (wait.q().any(), wait.q() - 1)]);
        let address = m.reg("rotated_address", self.shape.address_bits());
        address.update(&[(begin, marks.address), (leaves, address.q() + 1)]);
        let here = Marks {
            last: left.q().eq(1),
            live: m.lit(1, 1),
            partial: m.lit(1, 0),
            fresh: m.lit(1, 0),
            ring: m.lit(1, 0),
            address: address.q(),
            index: m.lit(bits, 0),
        };
        Taps::new(m, "rotated", (leaves, here.packed()), result(self.shape, Op::Rope, false) - 1, &[])
    }

    /// Half a head in groups, rounded up.
    fn half_groups(&self) -> Wire<'m> {
        let lines = self.part.head_lines.was;
        let bits = self.shape.index_bits().max(HEAD_BITS + LINE_WORDS.ilog2());
        let half = if self.shape.lanes == LINE_WORDS {
            (lines.zext(bits) + 1) >> 1
        } else {
            lines.zext(bits) << (self.shape.within() - 1)
        };
        half.trunc(self.shape.index_bits())
    }

    /// A group's place in its head, and the head's parity.
    fn in_head(&self, name: &str, begin: Wire<'m>, step: Wire<'m>) -> (Wire<'m>, Wire<'m>) {
        let (m, bits) = (self.m, Rotation::new(self.shape).row_bits() - 1);
        let (place, parity) = (m.reg(&format!("{name}_place"), bits), m.reg(&format!("{name}_head"), 1));
        let (here, head) = (!begin.repeat(bits) & place.q(), !begin & parity.q());
        let groups =
            (self.part.head_lines.was.zext(HEAD_BITS + LINE_WORDS.ilog2()) << self.shape.within()) - 1;
        let (groups, zero) = (groups.trunc(bits), m.lit(bits, 0));
        let end = begin.mux(groups.is_zero(), place.q().eq(groups));
        place.update(&[(step & end, zero), (begin, step.zext(bits)), (step, place.q() + 1)]);
        parity.set_when(step | begin, head ^ (step & end));
        (here, head)
    }

    pub(super) fn rotated(&self, pipes: &Pipes<'m>, words: Wire<'m>) -> Result<Rotated<'m>, RtlError> {
        let (m, issue) = (self.m, &self.issue);
        let block = Rotation::new(self.shape);
        let rotation = m.instance("u_rotation", &block)?;
        let rope = self.part.is(&[Op::Rope]);
        let comes = issue.main & rope;
        let begin = comes & issue.first;
        // The next part's table comes while this one's is still in use.
        let (table, used) = (m.reg("table_now", 1).reset(0), m.reg("table_used", 1));
        table.set_when(begin, !table.q());
        used.set_when(begin, table.q());
        let row_bits = block.row_bits();
        let taken = m.register_valid("table_write", issue.taken & self.part.is(&[Op::Rope]));
        rotation.set("table_write_i", taken);
        let index = issue.index.zext(row_bits.max(issue.index.width())).trunc(row_bits - 1);
        rotation.set("table_row_i", m.register("table_row", table.q().cat(index)));
        rotation.set("table_words_i", self.record);
        let (place, head) = self.in_head("coming", begin, comes);
        rotation.set("head_write_i", later_valid(m, "head_write", comes, READ));
        rotation.set("head_row_i", later(m, "head_row", head.cat(place), READ)?);
        rotation.set("head_words_i", words);
        let (place, head) = self.in_head("leaving", begin, pipes.rotated.valid(0));
        let late = |name: &str, wire| later(m, name, wire, READ);
        rotation.set("table_parity_i", late("table_parity", used.q())?);
        rotation.set("head_parity_i", late("head_parity", head)?);
        rotation.set("group_i", late("leaving_group", place)?);
        let per_line = HALF_LINE / block.chunk();
        let bits = block.half_bits().max(HEAD_BITS + per_line.ilog2());
        let half = (self.part.head_lines.was.zext(bits) << per_line.ilog2()).trunc(block.half_bits());
        rotation.set("half_i", half);
        let get = |name: &str| rotation.get(&format!("{name}_o"));
        Ok(Rotated {
            own: get("own"),
            partner: get("partner"),
            cos: get("cos"),
            sin: get("sin"),
            first: get("first"),
        })
    }
}
