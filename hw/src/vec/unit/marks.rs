//! What travels beside the words, and where it leaves.

use super::super::taps::Taps;
use super::super::{Op, Shape};
use super::gate::COMPARED;
use super::{Unit, result};
use crate::fp::Adder;
use crate::rtl::{RtlError, Wire};

/// A group's marks, on its way to the result.
#[derive(Clone, Copy)]
pub(super) struct Marks<'m> {
    pub(super) last: Wire<'m>,
    pub(super) live: Wire<'m>,
    pub(super) partial: Wire<'m>,
    /// The slot has no reference.
    pub(super) fresh: Wire<'m>,
    /// It is a row to be written to memory.
    pub(super) ring: Wire<'m>,
    /// Slot and group, where the result belongs.
    pub(super) address: Wire<'m>,
    pub(super) index: Wire<'m>,
}

impl<'m> Marks<'m> {
    pub(super) fn packed(&self) -> Wire<'m> {
        let Self { last, live, partial, fresh, ring, address, index } = *self;
        last.builder().concat(&[address, index, ring, fresh, partial, live, last])
    }

    pub(super) fn of(shape: &Shape, packed: Wire<'m>) -> Self {
        let index = shape.index_bits();
        Self {
            last: packed.bit(0),
            live: packed.bit(1),
            partial: packed.bit(2),
            fresh: packed.bit(3),
            ring: packed.bit(4),
            index: packed.slice(5, index),
            address: packed.slice(5 + index, shape.address_bits()),
        }
    }
}

/// The marks of two groups, on their way to a sum.
#[derive(Clone, Copy)]
pub(super) struct Pair<'m> {
    pub(super) first: Wire<'m>,
    pub(super) last: Wire<'m>,
    pub(super) second: Wire<'m>,
    pub(super) pass: Wire<'m>,
}

impl<'m> Pair<'m> {
    pub(super) fn of(packed: Wire<'m>) -> Self {
        Self { first: packed.bit(0), last: packed.bit(1), second: packed.bit(2), pass: packed.slice(3, 2) }
    }
}

/// Groups on their way to results.
pub(super) struct Pipes<'m> {
    pub(super) main: Taps<'m>,
    pub(super) pairs: Taps<'m>,
    pub(super) rotated: Taps<'m>,
    /// Where groups leave the main one, a cycle before their results: by cycle, whether it is the one.
    exits: Vec<(u32, Wire<'m>)>,
}

impl<'m> Unit<'m> {
    pub(super) fn pipes(&self, write: Wire<'m>) -> Result<Pipes<'m>, RtlError> {
        let (m, issue) = (self.m, &self.issue);
        let recorded = self.part.is(&[Op::Load, Op::Store, Op::StoreAct, Op::GateDelta]);
        let attn = self.part.is(&[Op::Attn]);
        let number = m.input("sums_group_i", self.shape.group_bits());
        // Of two rows' groups the second one has the result.
        let half = self.halves() & !issue.index.bit(0);
        let marks = Marks {
            last: issue.last,
            live: (self.part.access.now | !recorded) & !half & !issue.alone,
            partial: issue.partial,
            fresh: !self.part.access.now,
            ring: self.part.ring.now & !issue.spare & !issue.alone,
            address: self.part.slot.now.cat(attn.mux(number + self.group(self.part.to.now), write)),
            index: issue.index,
        };
        let pair = m.concat(&[issue.pass, issue.second, issue.last, issue.first]);
        let rows = self.rows_after(true, true, true)? + Adder.latency();
        let longest = rows.max(result(self.shape, Op::Delta, false) + 1);
        let sums = COMPARED + Adder.latency();
        let direct = (issue.main & !self.part.is(&[Op::Rope])) | issue.alone;
        let exits = self.exits()?;
        Ok(Pipes {
            main: Taps::new(m, "main", (direct, marks.packed()), longest - 1, &exits),
            pairs: Taps::new(m, "pair", (issue.pair, pair), sums, &[]),
            rotated: self.leaving(&marks),
            exits,
        })
    }

    fn exits(&self) -> Result<Vec<(u32, Wire<'m>)>, RtlError> {
        let is = |ops: &[Op]| self.part.was(ops);
        let onto = self.part.accumulate.was;
        let adds = is(&[Op::Load]) & onto;
        let at = |op: Op, accumulate: bool| result(self.shape, op, accumulate) - 1;
        let mut exits = vec![
            (at(Op::Load, false), is(&[Op::Load, Op::Store, Op::StoreAct]) & !adds),
            (at(Op::Load, true), adds),
            (at(Op::Add, false), is(&[Op::Add])),
            (at(Op::Rms, false), is(&[Op::Rms, Op::Quant, Op::KvAppend])),
            (at(Op::Layer, false), is(&[Op::Layer])),
            (at(Op::Attn, false), is(&[Op::Attn])),
            (at(Op::Delta, false), is(&[Op::Delta])),
            (at(Op::GateDelta, false), is(&[Op::GateDelta])),
        ];
        for (cycle, here) in self.rows()? {
            exits.push((cycle - 1, here & !onto));
            exits.push((cycle - 1 + Adder.latency(), here & onto));
        }
        // The first exit is too near the start for another register.
        let known = |(at, (cycle, here)): (usize, (u32, Wire<'m>))| {
            (cycle, if cycle > 1 { self.m.register(&format!("exit_{at}"), here) } else { here })
        };
        Ok(exits.into_iter().enumerate().map(known).collect())
    }

    /// A group's marks in the cycle before its result.
    pub(super) fn nearly(&self, pipes: &Pipes<'m>) -> (Wire<'m>, Wire<'m>) {
        let (m, exits) = (self.m, &pipes.exits);
        let rotated = result(self.shape, Op::Rope, false) - 1;
        let leaves: Vec<_> = exits.iter().map(|&(cycle, here)| pipes.main.valid(cycle) & here).collect();
        let mut marks = exits.iter().map(|&(cycle, here)| (here, pipes.main.marks(cycle)));
        let first = marks.next();
        let valid = m.tree(&leaves, |a, b| a | b) | pipes.rotated.valid(rotated);
        let rope = self.part.was(&[Op::Rope]);
        let others: Vec<_> = marks.chain([(rope, pipes.rotated.marks(rotated))]).collect();
        // In a command's second cycle the other exits' conditions are still those of the command before.
        (valid, m.select(m.one_hot(&others), first.as_slice()))
    }
}
