//! Decisions without values: drawn with given ratios, the same for the same seed.

use super::Scenario;
use crate::policy::{Method, PairCoupling};
use fastcar_arch::isa::Command;
use fastcar_arch::program::Program;
use fastcar_arch::step::{ACTIVE, PAIRED, StepTable};
use fastcar_golden::Decisions;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// What drawn decisions look like.
#[derive(Clone, PartialEq, Debug)]
pub struct Statistics {
    /// Share of all (layer, position) that would replay, those of the first frame (which cannot) included: of each row,
    /// before the rows of a pair settle. Where one decision is made for both, of both.
    pub replay: f64,
    /// Weight of each layer in the replays, cyclic; empty for all alike. The mean over the layers stays `replay`.
    pub profile: Vec<f64>,
    /// Correlation of the two decisions of a guided pair: 0 independent, 1 always the same.
    pub correlation: f64,
    /// Delta decode: share of active blocks of the inputs of qkv, o, up and down.
    pub active_blocks: [f64; 4],
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for Statistics {
    fn default() -> Self {
        Self { replay: 0.0, profile: Vec::new(), correlation: 0.0, active_blocks: [1.0; 4], seed: 0 }
    }
}

/// Statistics that no decisions can have.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecisionError {
    /// A share outside 0 to its limit.
    #[error("{what} is {found}: it lies between 0 and {limit:.4}{reason}")]
    Share {
        /// Which.
        what: &'static str,
        /// What was asked.
        found: f64,
        /// Limit.
        limit: f64,
        /// Why.
        reason: String,
    },
}

fn share(what: &'static str, found: f64, limit: f64, reason: &str) -> Result<(), DecisionError> {
    if (0.0..=limit + 1e-9).contains(&found) {
        return Ok(());
    }
    Err(DecisionError::Share { what, found, limit, reason: reason.to_owned() })
}

/// Draws decisions.
pub(super) struct Source {
    statistics: Statistics,
    /// Probability of a replay where one is possible, by layer.
    layers: Vec<f64>,
    coupling: PairCoupling,
    delta: bool,
}

impl Source {
    pub(super) fn new(scenario: &Scenario) -> Result<Self, DecisionError> {
        let statistics = scenario.statistics.clone();
        let method = scenario.policy.method();
        let delta = matches!(method, Method::Delta { .. });
        share("correlation", statistics.correlation, 1.0, "")?;
        for active in statistics.active_blocks {
            share("share of active blocks", active, 1.0, "")?;
        }
        let mut layers = Vec::new();
        let mut pairs = PairCoupling::default();
        if let Method::Replay { coupling, .. } = method {
            pairs = *coupling;
            let limit = scenario.replay_limit();
            share("replay", statistics.replay, limit, ", since the first frame has nothing to replay")?;
            let mean = if limit == 0.0 { 0.0 } else { (statistics.replay / limit).min(1.0) };
            layers = per_layer(mean, &statistics.profile, scenario.workload.model().body.shape.layers)?;
        }
        Ok(Self { statistics, layers, coupling: pairs, delta })
    }

    /// The decisions of one run; a generated position's are drawn, all others' are dense.
    pub(super) fn decide(&self, program: &Program, table: &StepTable, generated: Option<u32>) -> Decisions {
        let gates = table.gates.len();
        let mut out =
            Decisions { replay: vec![0; gates], blocks: vec![Vec::new(); gates], ..Decisions::default() };
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.statistics.seed.to_le_bytes());
        seed[8..12].copy_from_slice(&generated.unwrap_or(u32::MAX).to_le_bytes());
        let mut draws = Draws(ChaCha8Rng::from_seed(seed));
        if self.delta {
            self.blocks(program, table, &mut draws, &mut out);
        } else {
            for (layer, (gate, &p)) in out.replay.iter_mut().zip(&self.layers).enumerate() {
                *gate = self.replay(table, table.gates[layer].allow, p, &mut draws);
            }
        }
        out
    }

    fn replay(&self, table: &StepTable, allow: u32, p: f64, draws: &mut Draws) -> u32 {
        let paired = table.mask(PAIRED);
        let (mut out, mut pair) = (0, 0.0);
        for slot in 0..table.slots.len() {
            let own = draws.unit();
            if slot % 2 == 0 {
                pair = own;
            }
            // The second row of a pair follows the first one's draw as often as they are correlated.
            let second = slot % 2 == 1 && paired >> slot & 1 == 1;
            let follows = second && draws.unit() < self.statistics.correlation;
            let draw = if follows || second && self.coupling == PairCoupling::Mean { pair } else { own };
            out |= u32::from(draw < p) << slot;
        }
        out &= allow & table.mask(ACTIVE);
        if self.coupling == PairCoupling::BothAgree {
            let (first, second) = (out & 0x5555_5555, out >> 1 & 0x5555_5555);
            let both = (first & second) * 3;
            out = out & !paired | both & paired;
        }
        out
    }

    fn blocks(&self, program: &Program, table: &StepTable, draws: &mut Draws, out: &mut Decisions) {
        for command in program.commands() {
            let Command::Delta(c) = command else { continue };
            let gate = usize::from(c.gate);
            let p = self.statistics.active_blocks[gate % 4];
            let known = table.gates[gate].allow;
            let slots = (0..table.slots.len()).filter(|&s| table.slots[s].has(ACTIVE));
            let slots: Vec<(usize, bool)> =
                slots.map(|s| (s, known >> s & 1 == 1 && table.slots[s].ring().is_some())).collect();
            let mut block = || {
                let active = |&(s, known): &(usize, bool)| u32::from(!known || draws.unit() < p) << s;
                slots.iter().map(active).sum()
            };
            out.blocks[gate] = (0..c.blocks).map(|_| block()).collect();
        }
    }
}

/// Probabilities whose mean is `mean` and that follow a profile as far as no layer exceeds 1.
fn per_layer(mean: f64, profile: &[f64], layers: u32) -> Result<Vec<f64>, DecisionError> {
    let layers = layers as usize;
    if profile.is_empty() {
        return Ok(vec![mean; layers]);
    }
    let weights: Vec<f64> = profile.iter().copied().cycle().take(layers).collect();
    for &weight in &weights {
        share("weight of a layer", weight, 1e6, "")?;
    }
    // Raise the common factor until the mean is met; layers at 1 stay there.
    let total = |factor: f64| weights.iter().map(|w| (w * factor).min(1.0)).sum::<f64>() / layers as f64;
    let (mut low, mut high) = (0.0, 1.0);
    while total(high) < mean - 1e-12 && high < 1e12 {
        high *= 2.0;
    }
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if total(middle) < mean { low = middle } else { high = middle }
    }
    share("replay", mean, total(1e12), " of what can replay, since the other layers have weight 0")?;
    Ok(weights.iter().map(|w| (w * high).min(1.0)).collect())
}

struct Draws(ChaCha8Rng);

impl Draws {
    /// A number in [0, 1).
    fn unit(&mut self) -> f64 {
        f64::from(self.0.next_u32()) / (f64::from(u32::MAX) + 1.0)
    }
}
