//! The lanes.

use super::super::lane::Lane;
use super::super::sequence::SUM;
use super::super::{Op, READ, Rotation, WORD};
use super::Unit;
use super::delta::Moved;
use super::marks::{Marks, Pair, Pipes};
use super::norm::Norm;
use super::rope::Rotated;
use super::rows::{Cross, Window};
use crate::fp::Multiplier;
use crate::func::later;
use crate::rtl::{Builder, Instance, RtlError, Wire};
use fastcar_arch::num::window::ACC_BITS;

/// What the lanes give.
pub(super) struct Words<'m> {
    pub(super) first: Wire<'m>,
    pub(super) second: Wire<'m>,
    pub(super) first_sum: Wire<'m>,
    pub(super) second_sum: Wire<'m>,
    /// Rows with their references, and with their bias.
    pub(super) reference: Wire<'m>,
    pub(super) row: Wire<'m>,
    pub(super) product: Wire<'m>,
    pub(super) write: Wire<'m>,
}

impl<'m> Words<'m> {
    pub(super) fn of(m: &'m Builder, lanes: &[Instance<'m>]) -> Self {
        let all = |port: &str| m.pack(&lanes.iter().map(|lane| lane.get(port)).collect::<Vec<_>>());
        Self {
            first: all("first_o"),
            second: all("second_o"),
            first_sum: all("first_sum_o"),
            second_sum: all("second_sum_o"),
            reference: all("reference_o"),
            row: all("row_o"),
            product: all("product_o"),
            write: all("write_o"),
        }
    }
}

/// What the lanes take beside the vector buffer's words.
pub(super) struct With<'m> {
    pub(super) record: Wire<'m>,
    pub(super) norm: Norm<'m>,
    pub(super) rotated: Rotated<'m>,
    pub(super) cross: Cross<'m>,
    pub(super) moved: Moved<'m>,
    pub(super) window: Window<'m>,
    /// What a gate takes stored words from.
    pub(super) present: Wire<'m>,
}

impl<'m> Unit<'m> {
    pub(super) fn lanes(
        &self,
        pipes: &Pipes<'m>,
        odd_first: Wire<'m>,
        keep: &[Wire<'m>],
        with: &With<'m>,
    ) -> Result<Vec<Instance<'m>>, RtlError> {
        let (m, part) = (self.m, &self.part);
        let accumulate = part.accumulate.was;
        let load = part.was(&[Op::Load]);
        let (layer, rope) = (part.was(&[Op::Layer]), part.was(&[Op::Rope]));
        let With { record, norm, rotated, cross, moved, window, present } = with;
        let (delta, gate) = (part.was(&[Op::Delta]), part.was(&[Op::GateDelta]));
        let first = later(m, "rotated_first", rotated.first, Multiplier.latency())?;
        let chunk = Rotation::new(self.shape).chunk();
        // Words are added up for the mean while the part before still has its betas added.
        let two = pipes.pairs.valid(READ) & layer & !Pair::of(pipes.pairs.marks(READ)).pass.eq(SUM);
        let sums = m.input("sums_data_i", self.shape.lanes * ACC_BITS);
        let reference = delta.mux(moved.reference, self.reference(pipes, *record)?);
        let reference = gate.mux(*present, reference);
        let added = (delta | gate).mux(moved.change, norm.beta);
        let attn = part.was(&[Op::Attn]);
        let factor = attn.mux(window.reciprocal, norm.root);
        let mut lanes = Vec::new();
        for lane in 0..self.shape.lanes {
            let unit = m.instance(&format!("u_lane_{lane}"), &Lane)?;
            let word = |group: Wire<'m>| group.slice(lane * WORD, WORD);
            unit.set("load_i", load & !accumulate);
            unit.set("accumulate_i", load & accumulate);
            unit.set("add_i", part.was(&[Op::Add]));
            unit.set("rms_i", part.was(&[Op::Rms]));
            unit.set("layer_i", layer);
            unit.set("rope_i", rope);
            unit.set("change_i", delta);
            unit.set("compare_i", gate);
            unit.set("matvec_i", part.was(&[Op::Matvec]));
            unit.set("delta_i", part.delta.was);
            unit.set("bias_i", part.bias.was);
            unit.set("gate_i", part.pair.was | part.gelu.was);
            unit.set("pair_i", part.pair.was);
            unit.set("gelu_i", part.gelu.was);
            unit.set("onto_i", accumulate);
            unit.set("sum_i", sums.slice(lane * ACC_BITS, ACC_BITS));
            unit.set("attn_i", attn);
            unit.set("base_i", window.base);
            unit.set("nan_i", window.nan);
            unit.set("fp4_i", window.fp4);
            unit.set("reference_i", word(reference));
            unit.set("up_i", word(cross.up));
            unit.set("paired_i", word(cross.paired));
            unit.set("same_i", part.same.was);
            unit.set("odd_first_i", odd_first);
            unit.set("two_i", two);
            unit.set("keep_i", keep[lane as usize]);
            unit.set("subtract_i", layer | delta | gate | (rope & first.bit(lane / chunk)));
            unit.set("even_i", word(self.buffer.get("even_o")));
            unit.set("odd_i", word(self.buffer.get("odd_o")));
            unit.set("record_i", word(*record));
            unit.set("mean_i", norm.mean);
            unit.set("factor_i", factor);
            let groups = [
                ("gamma_i", norm.gamma),
                ("beta_i", added),
                ("own_i", rotated.own),
                ("partner_i", rotated.partner),
                ("cos_i", rotated.cos),
                ("sin_i", rotated.sin),
            ];
            for (port, group) in groups {
                unit.set(port, word(group));
            }
            lanes.push(unit);
        }
        Ok(lanes)
    }

    /// By lanes: the word is not of the vector.
    pub(super) fn keeps(&self, marks: &Marks<'m>) -> Vec<Wire<'m>> {
        let (m, within) = (self.m, self.shape.within());
        let keep = |lane: u32| {
            let lane_bits = self.shape.lanes.ilog2();
            let word = m.lit(lane_bits, lane.into());
            let word = if within == 0 { word } else { marks.address.trunc(within).cat(word) };
            m.register(&format!("keep_{lane}"), marks.partial & word.ge(self.part.rest.was))
        };
        (0..self.shape.lanes).map(keep).collect()
    }
}
