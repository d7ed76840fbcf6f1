//! The part of a policy that does not depend on a step's data: where a replay is possible, where it is forced.

use crate::compile::gates;
use crate::policy::{Gate, Method, Policy};
use fastcar_arch::step::{GateEntry, StepReport};
use serde::{Deserialize, Serialize};

/// Where one slot stands in the frame sequence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotPosition {
    pub(crate) slot: usize,
    /// Frame of the position, counted from the first generated one.
    pub(crate) frame: u32,
    /// Position in the frame.
    pub(crate) ring: u32,
    /// What a random gate hashes beside seed, layer and position: the same for the same row of the same request.
    pub(crate) key: u64,
}

/// How often in a row each (gate, position in the frame) of a slot has been replayed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Ages {
    gates: usize,
    ages: Vec<u32>,
}

impl Ages {
    pub(crate) fn new(policy: &Policy, layers: u32, period: u32) -> Self {
        let gates = gates(policy, layers) as usize;
        Self { gates, ages: vec![0; gates * period as usize] }
    }

    /// Whether this has the gates and positions of another.
    pub(crate) fn same_shape(&self, other: &Self) -> bool {
        (self.gates, self.ages.len()) == (other.gates, other.ages.len())
    }

    /// Whether all of this can have come about in so many steps.
    pub(crate) fn within(&self, steps: u32) -> bool {
        self.ages.iter().all(|&age| age <= steps)
    }

    fn index(&self, gate: usize, ring: u32) -> usize {
        ring as usize * self.gates + gate
    }

    /// Counts what a step did at a position.
    pub(crate) fn record(&mut self, position: SlotPosition, report: &StepReport) {
        for (gate, entry) in report.gates.iter().enumerate() {
            let index = self.index(gate, position.ring);
            let age = &mut self.ages[index];
            *age = if entry.replay >> position.slot & 1 == 1 { *age + 1 } else { 0 };
        }
    }
}

/// Adds one slot's bits to the gate entries of a step table.
pub(crate) fn mark(
    entries: &mut [GateEntry],
    policy: &Policy,
    position: SlotPosition,
    period: u32,
    ages: &Ages,
) {
    if position.frame == 0 {
        return;
    }
    let bit = 1 << position.slot;
    for (gate, entry) in entries.iter_mut().enumerate() {
        let young = policy.max_age().is_none_or(|limit| ages.ages[ages.index(gate, position.ring)] < limit);
        if !young || matches!(policy.method(), Method::Replay { gate: Gate::Never, .. }) {
            continue;
        }
        entry.allow |= bit;
        if let Method::Replay { gate: kind, .. } = policy.method() {
            entry.force |= if forced(kind, gate as u64, position, period) { bit } else { 0 };
        }
    }
}

/// Whether a gate replays whatever the data.
fn forced(kind: &Gate, layer: u64, at: SlotPosition, period: u32) -> bool {
    let index = u64::from(at.frame) * u64::from(period) + u64::from(at.ring);
    match kind {
        Gate::Always => true,
        Gate::Random { ratio, seed } => {
            let hash = [at.key, layer, index].into_iter().fold(*seed, |h, x| mix(h ^ mix(x)));
            ((hash >> 11) as f64 / (1u64 << 53) as f64) < f64::from(*ratio)
        }
        Gate::Budget { ratio } => {
            // Of the first n tokens of a layer, floor(n * ratio + offset) replay; layers start at different offsets.
            let offset = f64::from((layer % 16) as u32) / 16.0;
            let count = |n: u64| (n as f64 * f64::from(*ratio) + offset).floor();
            count(index + 1) > count(index)
        }
        Gate::Tas { .. } | Gate::InputDelta { .. } | Gate::Never => false,
    }
}

/// A bijective mixing of 64 bits (two rounds of multiply and shift).
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 29)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    x ^ (x >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(kind: &Gate) -> f64 {
        let mut replays = 0;
        for layer in 0..4 {
            for i in 0..2000u32 {
                let at = SlotPosition { slot: 0, frame: 1 + i / 64, ring: i % 64, key: 5 };
                replays += u32::from(forced(kind, layer, at, 64));
            }
        }
        f64::from(replays) / 8000.0
    }

    #[test]
    fn ratios_are_kept() {
        for ratio in [0.0f32, 0.25, 0.8, 1.0] {
            let random = share(&Gate::Random { ratio, seed: 1 });
            assert!((random - f64::from(ratio)).abs() < 0.03, "random {ratio}: {random}");
            let budget = share(&Gate::Budget { ratio });
            assert!((budget - f64::from(ratio)).abs() < 0.001, "budget {ratio}: {budget}");
        }
    }
}
