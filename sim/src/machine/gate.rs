//! The gate unit: temporal attention scores, and the settling of every kind of gate into the Index Register.

use super::{Due, GATE, Machine};
use crate::dram::Cycle;
use crate::flow::{Flow, Tag};
use fastcar_arch::isa::Command;
use fastcar_arch::timing;
use std::collections::VecDeque;

/// State of the gate unit.
#[derive(Default)]
pub(super) struct GateUnit {
    /// When it can look at the next slot.
    free: Cycle,
    /// Wave whose keys are under way, and since when each record is.
    wave: usize,
    armed: VecDeque<Cycle>,
    /// When the last keys had been taken.
    taken: Cycle,
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
        let under_way = !self.gate.armed.is_empty();
        let Some(slot) = work.slots.get(w.gate_part) else {
            if under_way && self.gate.wave == wave {
                return false;
            }
            let scores = w.gate_scores.max(self.now);
            self.settle(wave, command, scores);
            return true;
        };
        if self.now < self.gate.free || !w.filled(state.operands, 1 << slot.slot) {
            return false;
        }
        if slot.record.is_some() {
            let tag = Tag::Record { wave, command, part: w.gate_part + 1 };
            let turn = w.records.get(w.keys_armed) == Some(&tag);
            if !turn || under_way && self.gate.wave != wave {
                return false;
            }
            self.arm_keys(wave, tag);
        }
        self.waves[wave].gate_part += 1;
        self.gate.free = self.now + 1;
        self.at(self.now + 1, Due::Look);
        true
    }

    /// Lets the clusters take a slot's keys as soon as they are through with those before.
    fn arm_keys(&mut self, wave: usize, tag: Tag) {
        self.gate.wave = wave;
        self.gate.armed.push_back(self.now);
        self.waves[wave].keys_armed += 1;
        self.flow.take(wave, tag, self.now + timing::HOP);
    }

    /// The clusters took a slot's keys a hop ago.
    pub(super) fn keys_taken(&mut self, tag: Tag) {
        let (Some(armed), Tag::Record { wave, command, part }) = (self.gate.armed.pop_front(), tag) else {
            return;
        };
        let taken = self.now - timing::HOP;
        let since = armed.max(self.gate.taken);
        self.gate.taken = taken;
        let w = &mut self.waves[wave];
        w.keys_armed -= 1;
        w.gate_scores = taken + timing::tas_latency(self.config);
        let Some(work) = w.states[command].work.clone() else { return };
        let part = &work.slots[part - 1];
        let beat = self.config.beat().get();
        let keys = part.record.iter().flat_map(|r| r.lanes.get(0).iter());
        self.counters.units[GATE].busy += keys.map(|s| s.bytes / beat * u64::from(s.pace)).sum::<u64>();
        self.span(GATE, wave, command, 1 << part.slot, since..taken);
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
