//! The sequencer of the MAC array: which product the clusters may begin when.

use super::control::stream_of;
use super::{Due, MAC, Machine};
use crate::flow::{Armed, Flow, Tag};
use crate::plan::MacOp;
use crate::wave::Mlp;
use fastcar_arch::timing;

impl<F: Flow> Machine<'_, F> {
    /// Arms the next products of a wave whose operands are there.
    pub(super) fn arm(&mut self, wave: usize) -> bool {
        let mut begun = false;
        while let Some(&command) = self.waves[wave].arming.front() {
            let Some(work) = self.waves[wave].states[command].work.clone() else { break };
            let op = self.waves[wave].arm_op;
            let Some(product) = work.mac.get(op) else {
                self.armed_all(wave, command, work.mac.len());
                begun = true;
                continue;
            };
            if !self.can_arm(wave, command, op, product) {
                break;
            }
            let stream = stream_of(self.command(command), product, wave);
            self.accumulators += product.rows;
            let start = self.now + timing::MAC_START;
            let tag = Tag::Mac { wave, command, op };
            self.count_mlp(wave, command, product);
            if let Some(recorder) = &mut self.recorder {
                recorder.armed((wave, command, op), start);
            }
            self.flow.arm(wave, Armed { tag, stream, start }, &product.lanes);
            self.waves[wave].arm_op += 1;
            begun = true;
        }
        begun
    }

    fn armed_all(&mut self, wave: usize, command: usize, products: usize) {
        let w = &mut self.waves[wave];
        w.arming.pop_front();
        w.arm_op = 0;
        if products == 0 {
            w.states[command].mac_finished = true;
            w.mac.retain(|&c| c != command);
        }
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

    /// The array has taken the last beat of a product.
    pub(super) fn multiplied(&mut self, tag: Tag) {
        let Tag::Mac { wave, command, op } = tag else { return };
        let result = self.now + timing::MAC_LATENCY;
        let w = &mut self.waves[wave];
        let state = &mut w.states[command];
        state.products[op] = Some(result);
        state.multiplied += 1;
        if state.multiplied == state.products.len() {
            state.mac_finished = true;
            w.mac.retain(|&c| c != command);
        }
        let scores = state.work.as_ref().is_some_and(|k| k.mac.get(op + 1).is_some_and(|p| p.after_scores));
        let slots = state.work.as_ref().map_or(0, |k| k.mac[op].slots);
        if let Some(recorder) = &mut self.recorder {
            let cycles = recorder.multiplied((wave, command, op), self.now);
            self.span(MAC, wave, command, slots, cycles);
        }
        self.at(result, Due::Look);
        if scores {
            self.at(result + timing::SCORE_LATENCY, Due::Look);
        }
    }
}
