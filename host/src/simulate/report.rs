//! What a timing run found.

use super::Simulation;
use fastcar_arch::config::KV_BLOCK_TOKENS;
use fastcar_arch::isa::{Attn, Command, Pred, WeightFormat};
use fastcar_arch::program::Program;
use fastcar_arch::step::{ACTIVE, OUTPUT, StepTable};
use fastcar_arch::units::Hertz;
use fastcar_golden::Decisions;
use fastcar_sim::Counters;
use std::ops::AddAssign;

/// Steps of one kind, summed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Phase {
    /// Runs.
    pub steps: u64,
    /// Counters.
    pub counters: Counters,
    /// Bytes of weights, keys and values that the decisions leave to be read, without padding: what a machine that
    /// only waits for memory must move.
    pub needed_bytes: u64,
}

impl AddAssign<&Phase> for Phase {
    fn add_assign(&mut self, other: &Self) {
        self.steps += other.steps;
        self.counters += &other.counters;
        self.needed_bytes += other.needed_bytes;
    }
}

/// A whole video.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// Kernel clock.
    pub clock: Hertz,
    /// Bytes a second that the memory could move at most.
    pub peak_bytes_per_second: u64,
    /// Prompt tokens.
    pub prompt: Phase,
    /// The body at the generated positions.
    pub body: Phase,
    /// Cycles of the body, position by position.
    pub cycles: Vec<u64>,
    /// The residual codes of all positions.
    pub codes: Phase,
    /// Rows that each position advances.
    pub rows: u32,
    /// Generated positions that `body` and `codes` stand for; more than their steps where only a sample was simulated.
    pub positions: u32,
    /// Prompt tokens that `prompt` stands for.
    pub prompt_tokens: u32,
}

impl Report {
    pub(super) fn new(
        simulation: &Simulation,
        prompt: &[Phase],
        body: &[Phase],
        codes: &[Phase],
        peak_bytes_per_second: u64,
    ) -> Self {
        let sum = |phases: &[Phase]| {
            let mut sum = Phase::default();
            phases.iter().for_each(|p| sum += p);
            sum
        };
        let mut all_codes = Phase::default();
        let one = sum(codes);
        body.iter().for_each(|_| all_codes += &one);
        Self {
            clock: simulation.timer.config().clock(),
            peak_bytes_per_second,
            prompt: sum(prompt),
            cycles: body.iter().map(|p| p.counters.cycles).collect(),
            body: sum(body),
            codes: all_codes,
            rows: simulation.scenario().batch.rows,
            positions: simulation.scenario().range().len() as u32,
            prompt_tokens: simulation.scenario().workload.prompt(),
        }
    }

    /// Seconds of some cycles.
    #[must_use]
    pub fn seconds(&self, cycles: u64) -> f64 {
        cycles as f64 / self.clock.get() as f64
    }

    /// Cycles of the generated positions, body and codes.
    #[must_use]
    pub fn decode_cycles(&self) -> u64 {
        self.body.counters.cycles + self.codes.counters.cycles
    }

    /// Seconds of the prompt, of the body and of the codes over all that the report stands for.
    #[must_use]
    pub fn phase_seconds(&self) -> [f64; 3] {
        let all =
            |cycles: u64, of: u32, steps: u64| self.seconds(cycles) * f64::from(of) / (steps as f64).max(1.0);
        [
            all(self.prompt.counters.cycles, self.prompt_tokens, self.prompt.steps),
            all(self.body.counters.cycles, self.positions, self.body.steps),
            all(self.codes.counters.cycles, self.positions, self.body.steps),
        ]
    }

    /// Seconds of the whole video, prompt included.
    #[must_use]
    pub fn video_seconds(&self) -> f64 {
        self.phase_seconds().iter().sum()
    }

    /// Generated positions a second.
    #[must_use]
    pub fn positions_per_second(&self) -> f64 {
        self.body.steps as f64 / self.seconds(self.decode_cycles())
    }

    /// Share of peak bandwidth that the generated positions use, over everything read and written.
    #[must_use]
    pub fn share_of_peak(&self) -> f64 {
        let bytes = self.body.counters.bytes() + self.codes.counters.bytes();
        bytes as f64 / (self.peak_bytes_per_second as f64 * self.seconds(self.decode_cycles()))
    }

    /// Seconds that the generated positions would take at peak bandwidth with no byte too many.
    #[must_use]
    pub fn bound_seconds(&self) -> f64 {
        (self.body.needed_bytes + self.codes.needed_bytes) as f64 / self.peak_bytes_per_second as f64
    }

    /// The least time of the generated positions, at peak bandwidth and with no byte too many, over what they took.
    #[must_use]
    pub fn share_of_roofline(&self) -> f64 {
        self.bound_seconds() / self.seconds(self.decode_cycles())
    }
}

/// Bytes of weights, keys and values that a run has to read for its decisions.
pub(super) fn needed_bytes(program: &Program, table: &StepTable, decisions: &Decisions) -> u64 {
    let active = table.mask(ACTIVE);
    let (mut replay, mut masks) = (0u32, None);
    let mut bytes = 0;
    for (index, command) in program.commands().iter().enumerate() {
        match command {
            Command::GateTas(c) => replay = decisions.replay[usize::from(c.gate)],
            Command::GateDelta(c) => replay = decisions.replay[usize::from(c.gate)],
            Command::GateHost(c) => replay = decisions.replay[usize::from(c.gate)],
            Command::Delta(c) => masks = Some(&decisions.blocks[usize::from(c.gate)]),
            Command::Attn(c) => bytes += attended_bytes(index, c, table, decisions),
            Command::Matvec(c) => {
                let slots = match c.pred {
                    Pred::All => active,
                    Pred::Compute => active & !replay,
                    Pred::Replay => active & replay,
                    Pred::Output => table.mask(OUTPUT),
                };
                let blocks = match masks.filter(|_| c.delta) {
                    Some(masks) => masks.iter().filter(|&&m| m & slots != 0).count() as u64,
                    None => u64::from(c.blocks) * u64::from(slots != 0),
                };
                let block_bytes = if c.format == WeightFormat::Fp4 { 17 } else { 33 };
                bytes += u64::from(c.rows) * blocks * block_bytes;
            }
            _ => {}
        }
    }
    bytes
}

fn attended_bytes(index: usize, c: &Attn, table: &StepTable, decisions: &Decisions) -> u64 {
    let token_bytes = 2 * u64::from(c.head_dim) * 33 / 32;
    let mut tokens = 0u64;
    for (slot, entry) in table.slots.iter().enumerate().filter(|(_, s)| s.has(ACTIVE)) {
        for head in 0..u32::from(c.kv_heads) {
            tokens += match decisions.lists.get(&(index as u32, slot as u32, head)) {
                Some(list) if c.list_entries > 0 => {
                    let visible = |&(block, mask): &(u32, u32)| {
                        let seen = (entry.pos + 1).saturating_sub(block * KV_BLOCK_TOKENS).min(32);
                        u64::from((u64::from(mask) & ((1u64 << seen) - 1)).count_ones())
                    };
                    list.iter().map(visible).sum()
                }
                _ => u64::from(entry.pos) + 1,
            };
        }
    }
    tokens * token_bytes
}
