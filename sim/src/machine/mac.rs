//! The sequencer of the MAC array: which product the clusters may begin when.

use super::control::stream_of;
use super::{Due, MAC, Machine};
use crate::flow::{Armed, Flow, Tag};
use crate::plan::MacOp;
use crate::wave::Mlp;
use fastcar_arch::timing;

impl<F: Flow> Machine<'_, F> {
    /// Arms the next product of a wave if its operands are there; a command without products takes its turn as well.
    pub(super) fn arm(&mut self, wave: usize) -> bool {
        let w = &self.waves[wave];
        let Some(&command) = w.arming.front().filter(|_| w.arm_free <= self.now) else { return false };
        let Some(work) = w.states[command].work.clone() else { return false };
        let op = w.arm_op;
        if let Some(product) = work.mac.get(op) {
            if !self.can_arm(wave, command, op, product) {
                return false;
            }
            self.arm_product(wave, command, op, product);
        }
        let next = self.now + 1;
        let w = &mut self.waves[wave];
        w.arm_op += 1;
        w.arm_free = next;
        if w.arm_op >= work.mac.len() {
            self.armed_all(wave, command);
        }
        if !self.waves[wave].arming.is_empty() {
            self.at(next, Due::Look);
        }
        true
    }

    fn arm_product(&mut self, wave: usize, command: usize, op: usize, product: &MacOp) {
        let stream = stream_of(self.command(command), product, wave);
        self.accumulators += product.rows;
        let start = self.now + timing::MAC_START;
        let tag = Tag::Mac { wave, command, op };
        self.count_mlp(wave, command, product);
        if let Some(recorder) = &mut self.recorder {
            recorder.armed((wave, command, op), start);
        }
        self.flow.arm(wave, Armed { tag, stream, start }, &product.lanes);
    }

    fn armed_all(&mut self, wave: usize, command: usize) {
        let w = &mut self.waves[wave];
        w.arming.pop_front();
        w.arm_op = 0;
        w.states[command].armed = true;
        w.end_products();
    }

    fn can_arm(&self, wave: usize, command: usize, op: usize, product: &MacOp) -> bool {
        let w = &self.waves[wave];
        let state = &w.states[command];
        let scores = match product.after_scores {
            true => state.products[op - 1].is_some_and(|at| at + timing::SCORE_LATENCY <= self.now),
            false => true,
        };
        let room = self.accumulators + product.rows <= self.config.acc_rows().into();
        scores && room && w.filled(state.operands, product.slots)
    }

    fn count_mlp(&mut self, wave: usize, command: usize, product: &MacOp) {
        if self.roles[command] == Mlp::None {
            return;
        }
        let now = self.now;
        self.waves[wave].mlp_since.get_or_insert(now);
        let beat = self.config.beat().get();
        let work: u64 = product.lanes.get(0).iter().map(|s| s.bytes / beat * u64::from(s.pace)).sum();
        self.counters.mlp_work += work;
    }

    /// The array took the last beat of a product a hop ago.
    pub(super) fn multiplied(&mut self, tag: Tag) {
        let Tag::Mac { wave, command, op } = tag else { return };
        let multiplied = self.now - timing::HOP;
        let result = multiplied + timing::MAC_LATENCY;
        let w = &mut self.waves[wave];
        let state = &mut w.states[command];
        state.products[op] = Some(result);
        state.multiplied += 1;
        let scores = state.work.as_ref().is_some_and(|k| k.mac.get(op + 1).is_some_and(|p| p.after_scores));
        let slots = state.work.as_ref().map_or(0, |k| k.mac[op].slots);
        w.end_products();
        if let Some(recorder) = &mut self.recorder {
            let cycles = recorder.multiplied((wave, command, op), multiplied);
            self.span(MAC, wave, command, slots, cycles);
        }
        self.at(result, Due::Look);
        if scores {
            self.at(result + timing::SCORE_LATENCY, Due::Look);
        }
    }
}
