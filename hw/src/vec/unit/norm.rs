//! What a vector is normalised with, and the records that slots share.

use super::super::lane::Lane;
use super::super::{Op, READ, Scalar, WORD, style};
use super::Unit;
use super::marks::{Marks, Pipes};
use crate::fp::{Adder, Multiplier};
use crate::rtl::{Instance, RtlError, Wire, index_width};

/// What a vector is normalised with.
pub(super) struct Norm<'m> {
    pub(super) mean: Wire<'m>,
    pub(super) root: Wire<'m>,
    pub(super) gamma: Wire<'m>,
    pub(super) beta: Wire<'m>,
}

impl<'m> Unit<'m> {
    /// What becomes of sums; `inverse` is what a gate's are multiplied by.
    pub(super) fn scalar(&self, sums: &Instance<'m>, inverse: Wire<'m>) -> Result<Instance<'m>, RtlError> {
        let scalar = self.m.instance("u_scalar", &Scalar)?;
        for port in ["valid", "sum", "exponent", "nan"] {
            scalar.set(&format!("{port}_i"), sums.get(&format!("{port}_o")));
        }
        let gate = self.part.was(&[Op::GateDelta]);
        scalar.set("inv_words_i", gate.mux(inverse, self.part.inv_words.was));
        scalar.set("eps_i", self.part.eps.was);
        Ok(scalar)
    }

    pub(super) fn norm(&self, pipes: &Pipes<'m>, scalar: &Instance<'m>) -> Norm<'m> {
        let (m, part, issue) = (self.m, &self.part, &self.issue);
        // The first sum of a layer norm is the mean's.
        let centres = m.reg("centres", 1).reset(0);
        let found = scalar.get("mean_valid_o");
        centres.update(&[(part.start, part.is(&[Op::Layer])), (found, m.lit(1, 0))]);
        let (mean, root) = (m.reg("mean", WORD), m.reg("root", WORD));
        mean.set_when(found & centres.q(), scalar.get("mean_o"));
        root.set_when(scalar.get("root_valid_o"), scalar.get("root_o"));

        let index = |cycle| Marks::of(&self.shape, pipes.main.marks(cycle)).index;
        let layer = part.is(&[Op::Layer]);
        let scaled = Multiplier.latency();
        let centred = Adder.latency() + scaled;
        let gamma = issue.taken & (part.is(&[Op::Rms]) | (layer & !issue.main));
        let address = part.was(&[Op::Layer]).mux(index(centred), index(scaled));
        // The bias of a matrix lies where beta does.
        let biased = part.is(&[Op::Matvec]) & part.shared.now & !(issue.main & part.access.now);
        let beta = issue.taken & ((layer & issue.main) | biased);
        let before = Lane::convert() - READ;
        let row = part.delta.was.mux(index(before + Adder.latency()), index(before));
        let address_after = part.was(&[Op::Matvec]).mux(row, index(centred + scaled));
        Norm {
            mean: mean.q(),
            root: root.q(),
            gamma: self.shared("gamma", self.shape.norm_groups(), gamma, address),
            beta: self.shared("beta", self.shape.bias_groups(), beta, address_after),
        }
    }

    /// A record that all slots share: written as it comes, read where it is needed.
    fn shared(&self, name: &str, groups: u32, written: Wire<'m>, address: Wire<'m>) -> Wire<'m> {
        let (m, depth) = (self.m, groups.next_power_of_two());
        let bits = index_width(depth.into());
        let memory = m.memory(name, self.shape.group_width(), depth, style(depth));
        let write = m.register_valid(&format!("{name}_write"), written);
        let index = |wire: Wire<'m>| if wire.width() < bits { wire.zext(bits) } else { wire.trunc(bits) };
        let row = m.register(&format!("{name}_row"), index(self.issue.index));
        memory.write(write, row, self.record);
        let words = memory.read_registered(&format!("{name}_first"), m.lit(1, 1), index(address));
        m.register(&format!("{name}_words"), words)
    }
}
