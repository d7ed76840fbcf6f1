//! The gate unit: temporal attention scores, and the settling of every kind of gate into the Index Register.

use super::{Due, GATE, Machine};
use crate::dram::Cycle;
use crate::flow::{Flow, Tag};
use fastcar_arch::isa::Command;
use fastcar_arch::timing;

/// State of the gate unit.
#[derive(Default)]
pub(super) struct GateUnit {
    /// Wave whose key record is being taken, and since when.
    taking: Option<(usize, Cycle)>,
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
        let Some(&command) = w.gate.front() else { return false };
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
        let Some(slot) = work.slots.get(w.gate_part) else {
            let scores = w.gate_scores.max(self.now);
            self.settle(wave, command, scores);
            return true;
        };
        if !w.filled(state.operands, 1 << slot.slot) {
            return false;
        }
        if slot.record.is_none() {
            self.waves[wave].gate_part += 1;
            return true;
        }
        let tag = Tag::Record { wave, command, part: w.gate_part + 1 };
        if self.gate.taking.is_some() || self.flow.turn(wave) != Some(tag) {
            return false;
        }
        self.gate.taking = Some((wave, self.now));
        self.flow.take(wave, tag, self.now);
        true
    }

    /// A slot's keys have been taken.
    pub(super) fn key_taken(&mut self, tag: Tag) {
        let (Some((wave, since)), Some((_, command))) = (self.gate.taking.take(), tag.command()) else {
            return;
        };
        let scores = self.now + timing::tas_latency(self.config);
        let w = &mut self.waves[wave];
        w.gate_scores = scores;
        w.gate_part += 1;
        let Some(work) = w.states[command].work.clone() else { return };
        let part = &work.slots[w.gate_part - 1];
        let beat = self.config.beat().get();
        let keys = part.record.iter().flat_map(|r| r.lanes.get(0).iter());
        self.counters.units[GATE].busy += keys.map(|s| s.bytes / beat * u64::from(s.pace)).sum::<u64>();
        let slot = part.slot;
        self.span(GATE, wave, command, 1 << slot, since..self.now);
    }

    /// All scores are there in cycle `scores`.
    fn settle(&mut self, wave: usize, command: usize, scores: Cycle) {
        let w = &mut self.waves[wave];
        w.gate.pop_front();
        (w.gate_part, w.gate_scores) = (0, 0);
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
