//! Rows of a product and weighted sums of values.

use super::super::lane::{self, Lane};
use super::super::{BYTE, Op, READ, WORD};
use super::marks::{Marks, Pipes};
use super::{TOTAL, Unit};
use crate::fp::integer::EXPONENT_BITS;
use crate::fp::{Adder, FromInteger, FromWindow};
use crate::func::{FuncUnit, Function, later};
use crate::rtl::{Bits, Instance, RtlError, Wire};
use fastcar_arch::num::softmax::PROB_FRAC_BITS;

/// What a scale of values is above a window's base: a weighted sum counts in units of `2^(scale - 127 - 6 - 24)`.
const VALUES: u64 = 282 - 157;

/// What sums count in, and what weighted sums are multiplied by.
pub(super) struct Window<'m> {
    pub(super) base: Wire<'m>,
    pub(super) nan: Wire<'m>,
    pub(super) fp4: Wire<'m>,
    pub(super) reciprocal: Wire<'m>,
    /// The reciprocal as it is.
    pub(super) function: Wire<'m>,
}

/// What goes from lane to lane.
pub(super) struct Cross<'m> {
    pub(super) up: Wire<'m>,
    pub(super) paired: Wire<'m>,
}

impl<'m> Unit<'m> {
    /// Two rows' groups make one of the result.
    pub(super) fn halves(&self) -> Wire<'m> {
        self.part.is(&[Op::Matvec]) & self.part.pair.now
    }

    /// Cycles from sums to rows before they are added to their destination.
    pub(super) fn rows_after(&self, delta: bool, bias: bool, epilogue: bool) -> Result<u32, RtlError> {
        let sums = u32::from(delta) + u32::from(bias);
        let epilogue = if epilogue { Lane::epilogue()? } else { 0 };
        Ok(Lane::convert() + sums * Adder.latency() + epilogue)
    }

    /// The same for each kind, and whether the parts in the pipeline are of it.
    pub(super) fn rows(&self) -> Result<Vec<(u32, Wire<'m>)>, RtlError> {
        let part = &self.part;
        let gate = part.pair.was | part.gelu.was;
        let mut rows: Vec<(u32, Wire<'m>)> = Vec::new();
        for kind in 0..8 {
            let (delta, bias, epilogue) = (kind & 1 > 0, kind & 2 > 0, kind & 4 > 0);
            let same = |wire: Wire<'m>, is: bool| if is { wire } else { !wire };
            let here = part.was(&[Op::Matvec])
                & same(part.delta.was, delta)
                & same(part.bias.was, bias)
                & same(gate, epilogue);
            let cycle = self.rows_after(delta, bias, epilogue)?;
            match rows.iter_mut().find(|row| row.0 == cycle) {
                Some(row) => row.1 = row.1 | here,
                None => rows.push((cycle, here)),
            }
        }
        Ok(rows)
    }

    /// What the sums count in. Weighted sums of values come with their heads' sums of weights.
    pub(super) fn window(&self, scalar: &Instance<'m>) -> Result<Window<'m>, RtlError> {
        let (m, part) = (self.m, &self.part);
        let attn = part.is(&[Op::Attn]);
        let scale = m.input("sums_scale_i", BYTE);
        let nan = m.input("sums_nan_i", 1) | scale.all();
        let convert = m.instance("u_total", &FromInteger::new(TOTAL + 1)?)?;
        convert.set("valid_i", m.lit(1, 0));
        convert.set("nan_i", m.lit(1, 0));
        convert.set("value_i", m.input("sums_total_i", TOTAL).zext(TOTAL + 1));
        let unit = Bits::from_i64(EXPONENT_BITS, -i64::from(PROB_FRAC_BITS));
        convert.set("exponent_i", m.constant(unit));
        let function = FuncUnit::new(&[Function::Recip])?;
        let recip = m.instance("u_reciprocal", &function)?;
        recip.set("valid_i", m.lit(1, 0));
        let gate = part.was(&[Op::GateDelta]);
        recip.set("x_i", gate.mux(scalar.get("number_o"), convert.get("result_o")));
        let none = m.input("sums_none_i", 1);
        let none = later(m, "none", none, FromWindow.latency() + function.latency())?;
        Ok(Window {
            base: attn.mux(scale.zext(lane::BASE) + VALUES, part.base.now),
            nan: attn.mux(nan, part.nan.now),
            fp4: !attn & part.fp4.now,
            reciprocal: none.mux(m.lit(WORD, 0), recip.get("y_o")),
            function: recip.get("y_o"),
        })
    }

    /// Rows' references; where the slot has none, what changes nothing when it is added.
    pub(super) fn reference(&self, pipes: &Pipes<'m>, record: Wire<'m>) -> Result<Wire<'m>, RtlError> {
        let at = Lane::convert();
        let fresh = Marks::of(&self.shape, pipes.main.marks(at)).fresh;
        let words = later(self.m, "reference", record, at - READ)?.chunks(WORD);
        let minus_zero = self.m.lit(WORD, 1 << (WORD - 1));
        Ok(self.m.pack(&words.into_iter().map(|word| fresh.mux(minus_zero, word)).collect::<Vec<_>>()))
    }

    /// From lane to lane: rows to the lanes below, and the results of pairs of rows side by side, those of the group before low.
    pub(super) fn crossed(
        &self,
        pipes: &Pipes<'m>,
        rows: Wire<'m>,
        products: Wire<'m>,
    ) -> Result<Cross<'m>, RtlError> {
        let m = self.m;
        let rows = rows.chunks(WORD);
        let next: Vec<_> = (0..rows.len()).map(|lane| rows[lane | 1]).collect();
        let even: Vec<_> = products.chunks(WORD).into_iter().step_by(2).collect();
        let here = m.pack(&even);
        // Products come where rows are added to their destination; only those of pairs are kept.
        let mut first = Vec::new();
        for (delta, bias) in [(false, false), (false, true), (true, false), (true, true)] {
            let cycle = self.rows_after(delta, bias, true)? - 1;
            let same = |wire: Wire<'m>, is: bool| if is { wire } else { !wire };
            let here = same(self.part.delta.was, delta) & same(self.part.bias.was, bias);
            let marks = Marks::of(&self.shape, pipes.main.marks(cycle));
            first.push(here & pipes.main.valid(cycle) & !marks.index.bit(0));
        }
        let before = m.reg("pairs_before", here.width());
        before.set_when(m.register_valid("pairs_begin", m.tree(&first, |a, b| a | b)), here);
        Ok(Cross { up: m.pack(&next), paired: here.cat(before.q()) })
    }
}
