//! The sums of the passes that come before.

use super::super::sequence::{LARGEST, SQUARES, SUM};
use super::super::{FIELD, Op, READ, Scalar, WORD, larger};
use super::Unit;
use super::gate::{Gate, Pass};
use super::lanes::Words;
use super::marks::{Pair, Pipes};
use crate::fp::{Adder, MaxExponent, SquareSum};
use crate::func::{later, later_valid};
use crate::rtl::{Instance, RtlError, Wire};

/// Largest fields.
struct Largest<'m> {
    /// Of a pair of groups, or a group.
    field: Wire<'m>,
    /// Of all centred words.
    centred: Wire<'m>,
    /// Of what a gate compares: the present words, and the differences.
    present: Wire<'m>,
    changes: Wire<'m>,
}

impl<'m> Unit<'m> {
    /// The sums of the passes that come before; the lanes' words are given later.
    pub(super) fn sums(
        &self,
        pipes: &Pipes<'m>,
        words: &Words<'m>,
        gate: &Gate<'m>,
        sums: &Instance<'m>,
    ) -> Result<(), RtlError> {
        let m = self.m;
        let centred = READ + Adder.latency();
        let early = Pair::of(pipes.pairs.marks(READ));
        let late = Pair::of(pipes.pairs.marks(centred));
        let layer = self.part.was(&[Op::Layer]);
        let squares = pipes.pairs.valid(centred) & layer & late.pass.eq(SQUARES);
        let plain = pipes.pairs.valid(READ) & (early.pass.eq(SUM) | (!layer & early.pass.eq(SQUARES)));
        let largest = self.largest(pipes, words, gate)?;
        let row = self.row(pipes, words.first_sum, largest.field)?;
        let (present, changes, two) = (gate.squares, gate.changes, !self.part.was(&[Op::GateDelta]));
        let pairs = |first: Wire<'m>, second: Wire<'m>, there: Wire<'m>| {
            let both = first.chunks(WORD).into_iter().zip(second.chunks(WORD));
            m.pack(&both.flat_map(|(a, b)| [a, b & there.repeat(WORD)]).collect::<Vec<_>>())
        };
        // Of what meets here there is never more than one.
        let of = |plain, squares_of, row_of, present_of, changes_of| {
            let gate = [(present.valid, present_of), (changes.valid, changes_of)];
            m.select(plain, &[(squares, squares_of), (row.valid, row_of), gate[0], gate[1]])
        };
        sums.set("valid_i", squares | plain | row.valid | present.valid | changes.valid);
        sums.set("first_i", of(early.first, late.first, row.first, present.first, changes.first));
        sums.set("last_i", of(early.last, late.last, row.last, present.last, changes.last));
        sums.set("squares_i", squares | row.valid | !two | early.pass.eq(SQUARES));
        let read = self.buffer.get("largest_o");
        sums.set("emax_i", of(read, largest.centred, row.largest, largest.present, largest.changes));
        let read = pairs(words.first, words.second, early.second);
        let centred = pairs(words.first_sum, words.second_sum, late.second & two);
        let held = pairs(gate.present, m.lit(self.shape.group_width(), 0), two);
        let made = [(squares | changes.valid, centred), (row.valid, row.words), (present.valid, held)];
        sums.set("words_i", m.select(read, &made));
        Ok(())
    }

    /// The vector buffer is asked for the largest exponent of the vector.
    pub(super) fn scan(&self) {
        let part = &self.part;
        let scan = part.start & part.is(&[Op::Rms, Op::Layer, Op::Delta]);
        let scan = later_valid(self.m, "scan", scan, self.shape.exponents_late() - 1);
        self.buffer.set("scan_i", scan);
        self.buffer.set("scan_line_i", part.slot.now.cat(part.from.now));
        self.buffer.set("scan_lines_i", part.lines.now);
    }

    /// A limit is there: what a delta command's first sum of squares has become, times the threshold.
    pub(super) fn limits(&self, pipes: &Pipes<'m>) -> Result<Wire<'m>, RtlError> {
        let pair = Pair::of(pipes.pairs.marks(READ));
        let last = pipes.pairs.valid(READ) & pair.last & self.part.was(&[Op::Delta]);
        let after = SquareSum::new(self.shape.lanes)?.latency() + Scalar::mean_latency();
        Ok(later_valid(self.m, "limit_valid", last, after))
    }

    /// The largest fields of words that have been made.
    fn largest(
        &self,
        pipes: &Pipes<'m>,
        words: &Words<'m>,
        gate: &Gate<'m>,
    ) -> Result<Largest<'m>, RtlError> {
        let (m, layer) = (self.m, self.part.was(&[Op::Layer]));
        let at = READ + Adder.latency();
        let marks = Pair::of(pipes.pairs.marks(at));
        let compare = MaxExponent::new(2 * self.shape.lanes)?;
        let instance = m.instance("u_largest", &compare)?;
        let (scan, differences) = (gate.scan, gate.differences);
        let centred = pipes.pairs.valid(at) & marks.pass.eq(LARGEST) & layer;
        instance.set("valid_i", centred | scan.valid | differences.valid);
        let there = (marks.second & layer).repeat(self.shape.group_width());
        // A gate's words take the place of the second of two groups, alone.
        let alone = scan.valid.repeat(self.shape.group_width());
        let second = (words.second_sum & there) | (gate.present & alone);
        instance.set("words_i", second.cat(words.first_sum & !alone));
        let first = layer.mux(marks.first, scan.valid.mux(scan.first, differences.first));
        let first = later(m, "largest_first", first, compare.latency())?;
        let largest = m.reg("largest", FIELD);
        let field = instance.get("field_o");
        let all = first.mux(field, larger(field, largest.q()));
        largest.set_when(instance.get("valid_o"), all);
        let kept = |name: &str, pass: Pass<'m>| {
            let kept = m.reg(name, FIELD);
            kept.set_when(
                later_valid(m, &format!("{name}_valid"), pass.valid & pass.last, compare.latency()),
                all,
            );
            kept.q()
        };
        Ok(Largest {
            field,
            centred: largest.q(),
            present: kept("largest_present", scan),
            changes: kept("largest_change", differences),
        })
    }
}
