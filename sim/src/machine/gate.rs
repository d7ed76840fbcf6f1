//! The gate unit: temporal attention scores, and the settling of every kind of gate into the Index Register.

use super::control::keys_end;
use super::{Due, GATE, Machine};
use crate::dram::Cycle;
use crate::flow::{Flow, Tag};
use crate::plan::{Lanes, Past};
use fastcar_arch::isa::Command;
use fastcar_arch::timing;

/// State of the gate unit.
#[derive(Default)]
pub(super) struct GateUnit {
    /// When it can look at the next slot.
    free: Cycle,
    /// Since when it takes keys.
    taking: Option<Cycle>,
}

impl<F: Flow> Machine<'_, F> {
    pub(super) fn begin_gate(&mut self) -> bool {
        let mut begun = false;
        for wave in 0..self.waves.len() {
            begun |= self.advance_gate(wave);
        }
        begun
    }

    /// Goes on with the front gate command of a wave.
    fn advance_gate(&mut self, wave: usize) -> bool {
        let w = &self.waves[wave];
        let Some(&command) = w.gate.front().filter(|_| !w.settling) else { return false };
        let state = &w.states[command];
        let Some(work) = state.work.clone() else { return false };
        match self.command(command) {
            Command::GateTas(_) => {}
            Command::GateDelta(_) if state.mask_groups < usize::MAX => return false,
            _ => {
                self.settle(wave, command, self.now);
                return true;
            }
        }
        let part = w.gate_part;
        let Some(past) = work.past.get(part) else {
            let scores = w.gate_scores.max(self.gate.free).max(self.now);
            self.settle(wave, command, scores);
            return true;
        };
        let addressed = state.addressed.get(part).is_some_and(|&at| at <= self.now);
        if !addressed || self.gate.taking.is_some() || self.now < self.gate.free {
            return false;
        }
        self.look_at(wave, command, part, past)
    }

    /// Passes over a slot without past keys, or begins to take those of another.
    fn look_at(&mut self, wave: usize, command: usize, part: usize, past: &Past) -> bool {
        if past.keys.is_none() {
            let next = self.now + 1;
            self.gate.free = next;
            self.at(next, Due::Look);
            self.through(wave, command, next);
            return true;
        }
        let w = &self.waves[wave];
        let tag = Tag::Keys { wave, command, part, elements: false };
        if w.records.front() != Some(&tag) || !w.filled(w.states[command].operands, 1 << past.slot) {
            return false;
        }
        self.gate.taking = Some(self.now);
        self.flow.take(wave, tag, self.now + timing::KEYS_START);
        true
    }

    /// Is through with a slot in cycle `at`.
    fn through(&mut self, wave: usize, command: usize, at: Cycle) {
        let w = &mut self.waves[wave];
        w.gate_part += 1;
        if w.states[command].work.as_ref().is_some_and(|work| work.past.len() == w.gate_part) {
            self.at(at, Due::KeysOver { wave, command });
        }
    }

    /// What is behind the keys of a command in the record stream has its turn.
    pub(super) fn keys_over(&mut self, wave: usize, command: usize) {
        let w = &mut self.waves[wave];
        let Some(work) = &w.states[command].work else { return };
        let end = keys_end(wave, command, work);
        w.records.retain(|tag| *tag != end);
    }

    /// The gate unit took the scale bytes of a slot's keys, or their elements.
    pub(super) fn keys_taken(&mut self, tag: Tag) {
        let Tag::Keys { wave, command, part, elements } = tag else { return };
        if !elements {
            self.flow.take(wave, Tag::Keys { wave, command, part, elements: true }, self.now);
            return;
        }
        let w = &mut self.waves[wave];
        w.gate_scores = self.now + timing::TAS_LATENCY;
        let (Some(since), Some(work)) = (self.gate.taking.take(), w.states[command].work.clone()) else {
            return;
        };
        let past = &work.past[part];
        let cycles = past.keys.iter().flatten().map(|record| self.cycles(&record.lanes)).sum::<u64>();
        self.counters.units[GATE].busy += cycles;
        self.span(GATE, wave, command, 1 << past.slot, since..self.now);
        self.through(wave, command, self.now);
    }

    /// Cycles that a record takes, if its beats are there.
    fn cycles(&self, lanes: &Lanes) -> u64 {
        let beat = self.config.beat().get();
        let of = |class| lanes.get(class).iter().map(|s| s.bytes / beat * u64::from(s.pace)).sum();
        (0..self.sizes.len()).map(of).max().unwrap_or(0)
    }

    /// All scores are there in cycle `scores`.
    fn settle(&mut self, wave: usize, command: usize, scores: Cycle) {
        self.waves[wave].settling = true;
        self.counters.units[GATE].busy += timing::SETTLE;
        self.at(scores + timing::SETTLE, Due::Settled { wave, command });
    }

    /// The Index Register holds the decision.
    pub(super) fn settled(&mut self, wave: usize, command: usize) {
        let gate = match self.command(command) {
            Command::GateTas(c) => c.gate,
            Command::GateDelta(c) => c.gate,
            Command::GateHost(c) => c.gate,
            _ => return,
        };
        let w = &mut self.waves[wave];
        w.gate.pop_front();
        (w.gate_part, w.gate_scores, w.settling) = (0, 0, false);
        let active = w.states[command].work.as_ref().map_or(0, |k| k.mask());
        let before = w.states[command].pred_gate.map_or(0, |g| w.states[g].replay);
        let decided = self.planner.decisions.replay[usize::from(gate)] & active;
        let state = &mut w.states[command];
        state.replay = before & !active | decided;
        state.gate_finished = true;
        self.counters.replays += u64::from(decided.count_ones());
        self.counters.computes += u64::from((active & !decided).count_ones());
    }
}
