//! Delta decode: which input blocks changed, and by how much.

use crate::golden::Golden;
use crate::slot::ZERO_BLOCK;
use crate::vector::record_addr;
use fastcar_arch::isa::{Delta, IndexBy};
use fastcar_arch::num::mx::{self, BLOCK, Int8Block};
use fastcar_arch::num::{fp, sumsq};
use fastcar_arch::step::{GateReport, StepReport, StepTable};

pub(crate) fn delta(
    machine: &mut Golden,
    c: &Delta,
    active: &[usize],
    table: &StepTable,
    report: &mut StepReport,
) {
    let blocks = usize::from(c.blocks);
    let allow = table.gates[usize::from(c.gate)].allow;
    let mut out = GateReport { blocks: c.blocks.into(), ..GateReport::default() };
    let mut union = vec![false; blocks];
    for &s in active {
        let strides = (c.addr.0, c.slot_stride, c.index_stride);
        let addr = record_addr(machine, s, IndexBy::Ring, strides);
        let fresh = addr.is_none() || allow >> s & 1 == 0;
        let mut reference = vec![0.0; blocks * BLOCK];
        if let (Some(addr), false) = (addr, fresh) {
            machine.memory.read_vector(addr, &mut reference);
        }
        let slot = &mut machine.slots[s];
        slot.fresh = fresh;
        let x = slot.words(c.src, blocks * BLOCK).to_vec();
        slot.mask = change(&x, &mut reference, fresh, c.tau_sq.get(), &mut slot.ab[usize::from(c.dst.0)..]);
        if let Some(addr) = addr {
            machine.memory.write_vector(addr, &reference);
        }
        let mask = &machine.slots[s].mask;
        union.iter_mut().zip(mask).for_each(|(u, &m)| *u |= m);
        out.active |= 1 << s;
        out.replay |= u32::from(!fresh) << s;
        out.active_blocks[s] = mask.iter().filter(|&&m| m).count() as u32;
    }
    out.union_blocks = union.iter().filter(|&&m| m).count() as u32;
    report.gates[usize::from(c.gate)] = out;
}

/// Quantises the change of the active blocks into `ab`, moves the reference by it, and returns the block mask.
fn change(x: &[f32], reference: &mut [f32], fresh: bool, tau_sq: f32, ab: &mut [Int8Block]) -> Vec<bool> {
    let limit = fp::mul(tau_sq, sumsq::sum_squares(x));
    let blocks = x.as_chunks::<BLOCK>().0.iter().zip(reference.as_chunks_mut::<BLOCK>().0).zip(ab);
    let mask = blocks.map(|((x, reference), out)| {
        let diff: [f32; BLOCK] = std::array::from_fn(|i| fp::sub(x[i], reference[i]));
        let distance = sumsq::sum_squares(&diff);
        let changed = fp::gt(distance, limit) || distance.is_nan() || limit.is_nan();
        let active = fresh || changed;
        *out = if active { mx::quantise_int8(&diff) } else { ZERO_BLOCK };
        if active {
            for (r, d) in reference.iter_mut().zip(out.dequantise()) {
                *r = fp::add(*r, d);
            }
        }
        active
    });
    mask.collect()
}
