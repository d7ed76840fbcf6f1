//! What is read of the vector buffer, and written.

use super::super::{Op, READ};
use super::Unit;
use super::marks::{Marks, Pipes};
use crate::func::later;
use crate::rtl::{RtlError, Wire};

/// What is read of the vector buffer, and written.
pub(super) struct Addresses<'m> {
    pub(super) first: Wire<'m>,
    pub(super) second: Wire<'m>,
    pub(super) odd_first: Wire<'m>,
    pub(super) write: Wire<'m>,
}

impl<'m> Unit<'m> {
    /// First group of a line.
    pub(super) fn group(&self, line: Wire<'m>) -> Wire<'m> {
        line.zext(self.shape.group_bits()) << self.shape.within()
    }

    /// A group's number that counts from the pass's first one.
    fn count(&self, name: &str, from: Wire<'m>, step: Wire<'m>) -> Wire<'m> {
        let reg = self.m.reg(name, self.shape.group_bits());
        let now = self.issue.first.mux(from, reg.q());
        reg.set_when(self.issue.main | self.issue.pair, now + step);
        now
    }

    /// The first group's address, the second one's, and whether there is a first one; and the group that the result belongs to.
    pub(super) fn addresses(&self) -> Addresses<'m> {
        let (m, part, issue) = (self.m, &self.part, &self.issue);
        let bits = self.shape.group_bits();
        let one = m.lit(bits, 1);
        let (to, from) = (self.group(part.to.now), self.group(part.from.now));
        let destination = part.is(&[Op::Load, Op::Add, Op::Rope]);
        let step = issue.pair.mux(m.lit(bits, 2), one);
        // Values follow the keys.
        let reg = m.reg("read_group", bits);
        let keys = part.lines.was.zext(self.shape.index_bits()) << self.shape.within();
        let values = part.was(&[Op::KvAppend]) & issue.index.eq(keys);
        let now = m.select(reg.q(), &[(issue.first, destination.mux(to, from)), (values, to)]);
        let there = issue.main | issue.pair;
        reg.set_when(there, now + step);
        let source = self.count("source_group", from, one);
        let half = (self.halves() & !issue.index.bit(0)).repeat(bits);
        let write = self.count("write_group", to, one & !half);

        // Where both vectors begin in one bank, the second one is read a cycle later.
        let slot = part.slot.now;
        let source = slot.cat(source);
        let before = m.reg("source_before", source.width());
        before.set_when(issue.main, source);
        let second = part.is(&[Op::Add]).mux(part.same.now.mux(before.q(), source), slot.cat(now + 1));
        let odd_first = there.mux(now.bit(0), !before.q().bit(0));
        Addresses { first: slot.cat(now), second, odd_first, write }
    }

    /// Asks the vector buffer; gives whether the first words come from the odd bank. Where rows go their destination is read when they
    /// are there.
    pub(super) fn read(&self, addresses: &Addresses<'m>, pipes: &Pipes<'m>) -> Result<Wire<'m>, RtlError> {
        let m = self.m;
        let cases: Vec<_> = self
            .rows()?
            .into_iter()
            .map(|(cycle, here)| (here, Marks::of(&self.shape, pipes.main.marks(cycle - READ - 1)).address))
            .collect();
        let late = m.register("row_address", m.one_hot(&cases));
        let rows = self.part.is(&[Op::Matvec]);
        let first = rows.mux(late, addresses.first);
        let odd_first = rows.mux(late.bit(0), addresses.odd_first).named("odd_first");
        let row = |address: Wire<'m>| address.slice(1, address.width() - 1);
        self.buffer.set("even_row_i", odd_first.mux(row(addresses.second), row(first)));
        self.buffer.set("odd_row_i", odd_first.mux(row(first), row(addresses.second)));
        later(m, "odd_first_to", odd_first, READ)
    }
}
