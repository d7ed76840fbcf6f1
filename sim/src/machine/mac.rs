//! The sequencer of the MAC array: which product the clusters may begin when.

use super::control::stream_of;
use super::{Due, MAC, Machine};
use crate::dram::Cycle;
use crate::flow::{Armed, Flow, Tag};
use crate::plan::{MacOp, Operands};
use crate::wave::Mlp;
use fastcar_arch::isa::Command;
use fastcar_arch::timing;

/// Phases of a round of heads: keys of older blocks, of the own block, values of both.
const PHASES: usize = 4;
const OWN_KEYS: usize = 1;

impl<F: Flow> Machine<'_, F> {
    /// Arms the next product of a wave if its operands are there; a command without products takes its turn as well.
    pub(super) fn arm(&mut self, wave: usize) -> bool {
        let w = &self.waves[wave];
        let Some(&command) = w.arming.front() else { return false };
        let state = &w.states[command];
        let Some(work) = state.work.clone() else { return false };
        let op = w.arm_op;
        let maps = op == 0 || matches!(self.command(command), Command::Matvec(_));
        let mapped = w.arm_free.max(state.resolved) + if maps { timing::MAC_MAP } else { 0 };
        if self.now < mapped {
            return false;
        }
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
            self.at(next + timing::MAC_MAP, Due::Look);
            self.at(next + timing::HEADS_MAP, Due::Look);
        }
        true
    }

    fn arm_product(&mut self, wave: usize, command: usize, op: usize, product: &MacOp) {
        let stream = stream_of(self.command(command), product, wave);
        self.accumulators += product.rows;
        self.value_words += product.values;
        self.heads += usize::from(product.queries > 0);
        let start = self.send_operands(product) + timing::MAC_START;
        let tag = Tag::Mac { wave, command, op };
        self.count_mlp(wave, command, product);
        if let Some(recorder) = &mut self.recorder {
            recorder.armed((wave, command, op), start);
        }
        let heads = matches!(self.command(command), Command::Attn(_));
        self.flow.arm(wave, Armed { tag, stream, start, heads }, &product.lanes);
    }

    /// Sends a product's operands, when those of the products before are sent; when it would have been armed if these had all been
    /// sent before, and it had but one slot.
    fn send_operands(&mut self, product: &MacOp) -> Cycle {
        let Operands { before, first, cycles } = product.operands;
        if cycles == 0 {
            return self.now;
        }
        let begun = self.now.max(self.operands_sent);
        self.operands_sent = begun + cycles;
        begun + before + first - 1
    }

    /// Sends the queries of the next round of heads of the command in front, if they are there and the clusters have room for them.
    pub(super) fn send_queries(&mut self, wave: usize) -> bool {
        let w = &self.waves[wave];
        let Some(&command) = w.arming.front() else { return false };
        let (state, round) = (&w.states[command], w.queries.len());
        let Some(product) = state.work.as_ref().and_then(|work| work.mac.get(round * PHASES)) else {
            return false;
        };
        if product.queries == 0 || self.now < self.operands_sent {
            return false;
        }
        // The first wait until the array is through with the commands before: so those of weights are sent.
        let turn = match round {
            0 => {
                let mapped = w.arm_free.max(state.resolved) + timing::HEADS_MAP;
                w.mac.front() == Some(&command) && self.now >= mapped
            }
            _ => true,
        };
        let used_up = |before: usize| state.products[before * PHASES + OWN_KEYS].is_some();
        let room = round.checked_sub(timing::HEADS_KEPT).is_none_or(used_up);
        if !turn || !room || !w.filled(state.operands, product.slots) {
            return false;
        }
        let sent = self.now + product.queries;
        self.operands_sent = sent;
        self.waves[wave].queries.push(sent);
        self.at(sent, Due::Look);
        true
    }

    fn armed_all(&mut self, wave: usize, command: usize) {
        let w = &mut self.waves[wave];
        w.arming.pop_front();
        w.arm_op = 0;
        w.queries.clear();
        w.states[command].armed = true;
        self.at(self.now + 1, Due::Products { wave });
    }

    /// Lets go of the oldest command that the array is through with, one a cycle.
    pub(super) fn end_products(&mut self, wave: usize) {
        let (now, w) = (self.now, &mut self.waves[wave]);
        if now < w.mac_ended && w.products_are_done() {
            let at = w.mac_ended;
            self.at(at, Due::Products { wave });
        } else if let Some(command) = w.mac.pop_front_if(|&mut c| w.states[c].products_are_done()) {
            w.states[command].mac_finished = Some(now);
            w.mac_ended = now + 1;
            self.at(now + 1, Due::Products { wave });
        }
    }

    fn can_arm(&self, wave: usize, command: usize, op: usize, product: &MacOp) -> bool {
        let w = &self.waves[wave];
        let state = &w.states[command];
        let scores = match product.after_scores {
            true => state.products[op - 1].is_some_and(|at| at + timing::SCORE_LATENCY <= self.now),
            false => true,
        };
        let room = self.accumulators + product.rows <= self.config.acc_rows().into()
            && (product.queries == 0 || self.has_room_for_heads(product));
        let asked = product.queries == 0 || w.queries.get(op / PHASES).is_some_and(|&at| at <= self.now);
        scores && room && asked && w.filled(state.operands, product.slots)
    }

    /// Whether another round of heads may be under way.
    fn has_room_for_heads(&self, product: &MacOp) -> bool {
        let words = u64::from(timing::value_words(self.config));
        self.heads < timing::HEADS_UNDER_WAY && self.value_words + product.values <= words
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
        let state = &mut self.waves[wave].states[command];
        state.multiplied += 1;
        let work = state.work.as_ref();
        let scores = work.is_some_and(|k| k.mac.get(op + 1).is_some_and(|p| p.after_scores));
        let slots = work.map_or(0, |k| k.mac[op].slots);
        // Scores stay in the clusters.
        let attention = matches!(self.command(command), Command::Attn(_));
        let result = multiplied
            + match attention {
                _ if scores => timing::MAC_LATENCY,
                true => timing::attn_latency(self.config),
                false => timing::RESULT_LATENCY,
            };
        let state = &mut self.waves[wave].states[command];
        state.products[op] = Some(result);
        self.end_products(wave);
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
