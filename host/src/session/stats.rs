//! What a decode did: replays per layer and position, and the weight traffic it needed.

use crate::compile::DELTAS_PER_LAYER;
use crate::image::{Format, Image, Matrix};
use crate::policy::{Method, Policy};
use fastcar_arch::step::StepReport;
use serde::{Deserialize, Serialize};

/// Counts of one layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LayerCount {
    /// Tokens (slot rows) that could replay.
    pub eligible: u64,
    /// Tokens that did.
    pub replayed: u64,
}

/// Bytes of weights of one layer's matrices, in the order qkv, o, up, down.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct LayerBytes([f64; 4]);

impl LayerBytes {
    /// The layers of a model's body.
    pub(crate) fn of(image: &Image) -> Vec<Self> {
        let layer = |l: &crate::image::Layer| Self([&l.qkv, &l.o, &l.up, &l.down].map(matrix_bytes));
        image.body.layers.iter().map(layer).collect()
    }

    fn all(&self) -> f64 {
        self.0.iter().sum()
    }

    fn mlp(&self) -> f64 {
        self.0[2] + self.0[3]
    }
}

fn matrix_bytes(m: &Matrix) -> f64 {
    let block = match m.format {
        Format::MxInt8 => 33.0,
        Format::MxFp4 => 17.0,
    };
    f64::from(m.rows) * f64::from(m.blocks) * block
}

/// What one sequence's rows did at one position.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct PositionStats {
    /// Whether the position has a predecessor in the frame before, so that something could be skipped (unless the bound
    /// on age forbids it).
    pub eligible: bool,
    /// Replay: share of layers in which the (conditional) row replayed. Delta: share of weight bytes not needed.
    pub skipped: f32,
    /// Weight bytes that the (conditional) row alone needed, over those of a dense step.
    pub traffic: f32,
}

/// Totals of a sequence.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct DecodeStats {
    /// Per layer, over all rows.
    pub layers: Vec<LayerCount>,
    /// (layer, position) pairs where every row of the sequence replayed.
    pub joint: u64,
    /// (layer, position) pairs where every row could.
    pub joint_eligible: u64,
    /// Per generated position, of the conditional row.
    pub positions: Vec<PositionStats>,
}

impl DecodeStats {
    pub(crate) fn new(layers: usize) -> Self {
        Self { layers: vec![LayerCount::default(); layers], ..Self::default() }
    }

    /// Whether this can be what `rows` rows did in so many steps behind the prompt.
    pub(crate) fn fits(&self, layers: usize, rows: usize, steps: u32) -> bool {
        let (tokens, steps) = (rows as u64 * u64::from(steps), steps as usize);
        self.layers.len() == layers
            && self.layers.iter().all(|l| l.replayed <= l.eligible && l.eligible <= tokens)
            && self.joint_eligible <= (layers * steps) as u64
            && self.joint <= self.joint_eligible
            && self.positions.len() == steps
    }

    /// Share of eligible (row, layer, position) that replayed.
    #[must_use]
    pub fn replay_ratio(&self) -> f64 {
        let (eligible, replayed) =
            self.layers.iter().fold((0, 0), |(e, r), l| (e + l.eligible, r + l.replayed));
        replayed as f64 / (eligible as f64).max(1.0)
    }

    /// Share of (layer, position) where all rows replayed: what saves traffic when the rows share a stream.
    #[must_use]
    pub fn joint_ratio(&self) -> f64 {
        self.joint as f64 / (self.joint_eligible as f64).max(1.0)
    }

    /// Weight traffic of the conditional row over the dense one's, over the positions from the second frame on.
    #[must_use]
    pub fn traffic(&self) -> f64 {
        let eligible: Vec<f64> =
            self.positions.iter().filter(|p| p.eligible).map(|p| f64::from(p.traffic)).collect();
        if eligible.is_empty() { 1.0 } else { eligible.iter().sum::<f64>() / eligible.len() as f64 }
    }

    /// Counts one step at a generated position for the sequence's slots, the conditional one first; `eligible` says
    /// whether it is behind the first frame.
    pub(crate) fn record(
        &mut self,
        policy: &Policy,
        bytes: &[LayerBytes],
        slots: &[usize],
        eligible: bool,
        allow: &[u32],
        report: &StepReport,
    ) {
        let mask: u32 = slots.iter().map(|s| 1 << s).sum();
        let position = match policy.method() {
            Method::Dense => PositionStats { traffic: 1.0, ..PositionStats::default() },
            Method::Replay { .. } => {
                PositionStats { eligible, ..self.record_replay(bytes, slots[0], mask, allow, report) }
            }
            Method::Delta { .. } => PositionStats { eligible, ..delta_position(bytes, slots[0], report) },
        };
        self.positions.push(position);
    }

    fn record_replay(
        &mut self,
        bytes: &[LayerBytes],
        first: usize,
        mask: u32,
        allow: &[u32],
        report: &StepReport,
    ) -> PositionStats {
        let (mut needed, mut total, mut replays) = (0.0, 0.0, 0);
        for (layer, gate) in report.gates.iter().enumerate() {
            let (eligible, replay) = (allow[layer] & mask, gate.replay & mask);
            self.layers[layer].eligible += u64::from(eligible.count_ones());
            self.layers[layer].replayed += u64::from(replay.count_ones());
            self.joint_eligible += u64::from(eligible == mask);
            self.joint += u64::from(replay == mask);
            let replayed = replay >> first & 1 == 1;
            replays += u32::from(replayed);
            total += bytes[layer].all();
            needed += bytes[layer].all() - if replayed { bytes[layer].mlp() } else { 0.0 };
        }
        PositionStats {
            eligible: false,
            skipped: replays as f32 / report.gates.len().max(1) as f32,
            traffic: (needed / total) as f32,
        }
    }
}

fn delta_position(bytes: &[LayerBytes], first: usize, report: &StepReport) -> PositionStats {
    let (mut needed, mut total) = (0.0, 0.0);
    for (i, gate) in report.gates.iter().enumerate() {
        let (layer, which) = (i / DELTAS_PER_LAYER as usize, i % DELTAS_PER_LAYER as usize);
        let matrix = bytes[layer].0[which];
        total += matrix;
        needed += matrix * f64::from(gate.active_blocks[first]) / f64::from(gate.blocks.max(1));
    }
    let traffic = (needed / total) as f32;
    PositionStats { eligible: false, skipped: 1.0 - traffic, traffic }
}
