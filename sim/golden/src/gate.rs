//! Replay decisions: temporal attention score, input delta, host; coupling of slot pairs; the Index Register.

use crate::attention::{Cache, dot};
use crate::golden::Golden;
use crate::vector::{act_from_bytes, record_addr};
use fastcar_arch::isa::{Coupling, GateDelta, GateHost, GateTas, IndexBy};
use fastcar_arch::num::mx::{BLOCK, Int8Block};
use fastcar_arch::num::{fp, func, sumsq};
use fastcar_arch::step::{ACTIVE, GateEntry, GateReport, PAIRED, StepReport, StepTable};

/// Which side of the threshold replays.
#[derive(Clone, Copy)]
enum Side {
    Above,
    Below,
}

impl Side {
    fn replays(self, score: f32, threshold: f32) -> bool {
        match self {
            Self::Above => fp::gt(score, threshold),
            Self::Below => fp::gt(threshold, score),
        }
    }
}

pub(crate) fn tas(
    machine: &mut Golden,
    c: &GateTas,
    active: &[usize],
    table: &StepTable,
    report: &mut StepReport,
) {
    let entry = table.gates[usize::from(c.gate)];
    let mut scores = GateReport::default().score;
    for &s in active.iter().filter(|&&s| entry.allow >> s & 1 == 1) {
        if let Some(past) = machine.slots[s].entry.pos.checked_sub(c.period) {
            scores[s] = fp::mul(tas_sum(machine, c, s, past), c.scale.get());
        }
    }
    let rule = Rule { side: Side::Above, threshold: c.threshold.get(), coupling: c.coupling };
    settle(machine, rule, entry, active, scores, &mut report.gates[usize::from(c.gate)]);
}

/// `sum over heads of q_h . k_h[past]` in one window.
fn tas_sum(machine: &Golden, c: &GateTas, slot: usize, past: u32) -> f32 {
    let (heads, dim) = (usize::from(c.heads), usize::from(c.head_dim));
    let cache = Cache::new(machine, slot, c.kv_heads, c.head_dim, c.addr.0, c.slot_stride);
    let group = heads / usize::from(c.kv_heads);
    let keys: Vec<_> = (0..heads).map(|h| cache.key(h / group, past)).collect();
    dot(machine.slots[slot].blocks(c.src, heads * dim / BLOCK), &keys)
}

pub(crate) fn input_delta(
    machine: &mut Golden,
    c: &GateDelta,
    active: &[usize],
    table: &StepTable,
    report: &mut StepReport,
) {
    let entry = table.gates[usize::from(c.gate)];
    let blocks = usize::from(c.blocks);
    let mut scores = GateReport::default().score;
    let mut bytes = vec![0; blocks * (BLOCK + 1)];
    for &s in active.iter().filter(|&&s| entry.allow >> s & 1 == 1) {
        let strides = (c.addr.0, c.slot_stride, c.index_stride);
        let Some(addr) = record_addr(machine, s, IndexBy::Ring, strides) else { continue };
        machine.memory.read_record(addr, &mut bytes);
        let present = dequantise(machine.slots[s].blocks(c.src, blocks));
        let reference = dequantise(&act_from_bytes(&bytes, blocks));
        let change: Vec<f32> = present.iter().zip(&reference).map(|(&a, &r)| fp::sub(a, r)).collect();
        scores[s] = fp::mul(sumsq::sum_squares(&change), func::recip(sumsq::sum_squares(&present)));
    }
    let rule = Rule { side: Side::Below, threshold: c.threshold.get(), coupling: c.coupling };
    settle(machine, rule, entry, active, scores, &mut report.gates[usize::from(c.gate)]);
}

/// The values of MXINT8 blocks.
pub(crate) fn dequantise(blocks: &[Int8Block]) -> Vec<f32> {
    blocks.iter().flat_map(Int8Block::dequantise).collect()
}

pub(crate) fn host(
    machine: &mut Golden,
    c: &GateHost,
    active: &[usize],
    table: &StepTable,
    report: &mut StepReport,
) {
    let entry = table.gates[usize::from(c.gate)];
    let rule = Rule { side: Side::Above, threshold: f32::INFINITY, coupling: Coupling::Independent };
    let scores = GateReport::default().score;
    settle(machine, rule, entry, active, scores, &mut report.gates[usize::from(c.gate)]);
}

#[derive(Clone, Copy)]
struct Rule {
    side: Side,
    threshold: f32,
    coupling: Coupling,
}

/// Turns scores into decisions, writes the Index Register and the report.
fn settle(
    machine: &mut Golden,
    rule: Rule,
    entry: GateEntry,
    active: &[usize],
    scores: [f32; 32],
    report: &mut GateReport,
) {
    let coupled = |s: usize| {
        let pair = [s, s ^ 1]
            .map(|i| machine.slots.get(i).is_some_and(|x| x.entry.has(ACTIVE) && x.entry.has(PAIRED)));
        rule.coupling != Coupling::Independent && pair == [true, true]
    };
    let alone = |s: usize, score: f32| {
        entry.allow >> s & 1 == 1 && (entry.force >> s & 1 == 1 || rule.side.replays(score, rule.threshold))
    };
    let decide = |s: usize| match rule.coupling {
        _ if !coupled(s) => alone(s, scores[s]),
        Coupling::Independent => alone(s, scores[s]),
        Coupling::BothAgree => alone(s, scores[s]) && alone(s ^ 1, scores[s ^ 1]),
        Coupling::Mean => {
            // The even slot's score first: both slots of the pair must see the same bits.
            let mean = fp::mul(fp::add(scores[s & !1], scores[s | 1]), 0.5);
            alone(s, mean) && alone(s ^ 1, mean)
        }
    };
    let replay: u32 = active.iter().filter(|&&s| decide(s)).map(|&s| 1 << s).sum();
    let mask: u32 = active.iter().map(|&s| 1 << s).sum();
    machine.compute = machine.compute & !mask | mask & !replay;
    *report = GateReport { active: mask, replay, score: scores, ..GateReport::default() };
}
