//! The vector unit: one part of a command at a time (one slot, or one round of heads), results behind its latency.

use super::control::writes_to;
use super::{Due, Machine, VECTOR};
use crate::counters::Traffic;
use crate::dram::Cycle;
use crate::flow::{Flow, Tag};
use crate::wave::Mlp;
use fastcar_arch::isa::{Command, IndexBy};
use fastcar_arch::timing::{self, VectorTime, vector_time};
use std::collections::VecDeque;

/// What the unit's input is taken by.
struct Running {
    wave: usize,
    command: usize,
    part: usize,
    start: Cycle,
    time: VectorTime,
    /// Records still to take, the first under way.
    records: VecDeque<Tag>,
}

/// State of the vector unit.
#[derive(Default)]
pub(super) struct VectorUnit {
    running: Option<Running>,
    free: Cycle,
    last_wave: usize,
    /// When the next round of heads may begin: their words come one a cycle.
    heads_free: Cycle,
    /// A part could begin if the write buffer had room.
    pub(super) wants_room: bool,
}

impl VectorUnit {
    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }
}

impl<F: Flow> Machine<'_, F> {
    pub(super) fn begin_vector(&mut self) -> bool {
        self.vector.wants_room = false;
        if self.vector.running.is_some() || self.now < self.vector.free {
            return false;
        }
        let waves = self.waves.len();
        let order = (1..=waves).map(|i| (self.vector.last_wave + i) % waves);
        let ready: Vec<usize> = order.filter(|&wave| self.vector_is_ready(wave)).collect();
        let Some(&wave) = ready.iter().find(|&&wave| self.has_write_room(wave)) else {
            self.vector.wants_room = !ready.is_empty();
            return false;
        };
        self.vector.last_wave = wave;
        let w = &mut self.waves[wave];
        let (Some(&command), part) = (w.vector.front(), w.vector_part) else { return false };
        let Some(work) = w.states[command].work.clone() else { return false };
        let Some(slot) = work.slots.get(part) else {
            // Nothing to do for any slot: the queue entry takes a cycle.
            self.skip_vector(wave, command);
            return true;
        };
        let mut records = VecDeque::new();
        if part == 0 && work.shared.is_some() {
            records.push_back(Tag::Record { wave, command, part: 0 });
        }
        if slot.record.is_some() {
            records.push_back(Tag::Record { wave, command, part: part + 1 });
        }
        if let Some(lanes) = &slot.write {
            self.write_beats += self.buffered(lanes);
        }
        let time = match self.command(command) {
            Command::Attn(c) => {
                self.vector.heads_free = self.now + timing::attn_words(c);
                let free = self.vector.heads_free;
                self.at(free, Due::Look);
                timing::attn_time(self.config, c, slot.heads)
            }
            command => vector_time(self.config, command).unwrap_or_default(),
        };
        let first = records.front().copied();
        self.vector.running = Some(Running { wave, command, part, start: self.now, time, records });
        let last = part + 1 == work.slots.len();
        match first {
            Some(tag) => self.flow.take(wave, tag, self.now + time.lead),
            None => {
                if last {
                    self.compare_all(wave, command, self.now + time.lead);
                }
                self.vector_issued(self.now);
            }
        }
        true
    }

    /// The last slot of a delta command has no reference: its blocks pass without waiting for anything from `start` on.
    fn compare_all(&mut self, wave: usize, command: usize, start: Cycle) {
        let Command::Delta(c) = self.command(command) else { return };
        let groups = u32::from(c.blocks).div_ceil(timing::MASK_BLOCKS);
        for group in 1..groups {
            let words = timing::masked_words(group, c.blocks.into());
            let issued = start + words.div_ceil(self.config.vector_lanes().into());
            self.masks_at(wave, command, group as usize, issued);
        }
    }

    /// The blocks of so many groups of masks of the last slot of a delta command have been taken.
    pub(super) fn compared(&mut self, tag: Tag, groups: usize) {
        let Some((wave, command)) = tag.command() else { return };
        self.masks_at(wave, command, groups, self.now);
    }

    fn masks_at(&mut self, wave: usize, command: usize, groups: usize, issued: Cycle) {
        let latency = vector_time(self.config, self.command(command)).unwrap_or_default().latency;
        self.at(issued + latency + timing::MASK_LATENCY, Due::Masks { wave, command, groups });
    }

    /// Whether there is room for what the next part of a wave's front command writes, or nothing else is in the buffer.
    fn has_write_room(&self, wave: usize) -> bool {
        let w = &self.waves[wave];
        let work = w.vector.front().and_then(|&command| w.states[command].work.as_ref());
        let lanes = work.and_then(|work| work.slots.get(w.vector_part)?.write.as_ref());
        let beats = self.write_beats + lanes.map_or(0, |lanes| self.buffered(lanes));
        self.write_beats == 0 || lanes.is_none() || beats <= self.config.write_beats().into()
    }

    /// Whether the front command of a wave can begin its next part, if there is room for what it writes.
    fn vector_is_ready(&self, wave: usize) -> bool {
        let w = &self.waves[wave];
        let Some(&command) = w.vector.front() else { return false };
        let state = &w.states[command];
        let Some(work) = &state.work else { return false };
        let part = w.vector_part;
        if part == 0 {
            // Commands of a wave do not overlap in the unit; the slots of one command do.
            // Its first part is made out in the cycle in which it is in front and its slots are known.
            if self.now <= w.vector_since.max(state.resolved) {
                return false;
            }
            // That the array is through is known in the cycle behind.
            let through = |at: Cycle| at < self.now;
            let mac = state.read_by_mac.is_none_or(|c| w.states[c].mac_finished.is_some_and(through));
            let gate = state.read_by_gate.is_none_or(|c| w.states[c].gate_finished);
            // A gate's scores come when all gates before it have decided.
            let turn =
                !matches!(self.command(command), Command::GateDelta(_)) || w.gate.front() == Some(&command);
            if self.now < w.vector_result || !mac || !gate || !turn {
                return false;
            }
        }
        let Some(slot) = work.slots.get(part) else { return true };
        // What makes beats of keys and values has to know their place.
        let placed = || state.addressed.get(part).is_some_and(|at| *at <= self.now + timing::WRITE_QUEUE);
        if matches!(self.command(command), Command::KvAppend(_)) && !placed() {
            return false;
        }
        if matches!(self.command(command), Command::Attn(_)) && self.now < self.vector.heads_free {
            return false;
        }
        let product = |op: usize| state.products[op].is_some_and(|at| at <= self.now);
        if !slot.after_mac.is_none_or(product) {
            return false;
        }
        let shared = (part == 0 && work.shared.is_some()).then_some(0);
        let record = shared.or(slot.record.as_ref().map(|_| part + 1));
        record.is_none_or(|part| w.records.front() == Some(&Tag::Record { wave, command, part }))
    }

    fn skip_vector(&mut self, wave: usize, command: usize) {
        let w = &mut self.waves[wave];
        w.states[command].vector_finished = true;
        w.states[command].mask_groups = usize::MAX;
        self.vector.free = self.now + 1;
        self.part_leaves(wave, command, 0, self.now + 1);
        self.pop_vector(wave);
    }

    /// A record has been taken by the vector or by the gate unit.
    pub(super) fn taken(&mut self, tag: Tag) {
        self.waves[tag.wave()].records.pop_front();
        let Some(running) = self.vector.running.as_mut().filter(|r| r.records.front() == Some(&tag)) else {
            return self.keys_taken(tag);
        };
        running.records.pop_front();
        let tail = running.time.tail;
        match running.records.front().copied() {
            Some(next) => {
                let wave = running.wave;
                self.flow.take(wave, next, self.now);
            }
            None => self.vector_issued(self.now + tail),
        }
    }

    /// What the part has to wait for has come, and what follows the last record is over, in cycle `at`: its input is free when
    /// all is issued.
    fn vector_issued(&mut self, at: Cycle) {
        let Some(Running { wave, command, part, start, time, .. }) = self.vector.running.take() else {
            return;
        };
        let issued = at.max(start + time.issue);
        self.counters.units[VECTOR].busy += time.work;
        self.vector.free = issued;
        let result = issued + time.latency;
        let w = &mut self.waves[wave];
        w.vector_result = result;
        let slot = w.states[command].work.as_ref().map_or(0, |k| k.slots[part].slot);
        self.span(VECTOR, wave, command, 1 << slot, start..issued);
        self.at(issued, Due::Issued { wave });
        self.at(result, Due::Vector { wave, command, part });
    }

    /// The unit's input is free: the next part may begin, or the next command comes to the front.
    pub(super) fn issued(&mut self, wave: usize) {
        let w = &mut self.waves[wave];
        w.vector_part += 1;
        let parts = w.vector.front().and_then(|&c| w.states[c].work.as_ref()).map_or(0, |k| k.slots.len());
        if w.vector_part >= parts {
            self.pop_vector(wave);
        }
    }

    /// The front command leaves the queue; the one behind it can be seen in the next cycle.
    fn pop_vector(&mut self, wave: usize) {
        let w = &mut self.waves[wave];
        w.vector.pop_front();
        w.vector_part = 0;
        w.vector_since = self.now + 1;
        self.at(self.now + 1, Due::Look);
        self.at(self.now + 2, Due::Look);
    }

    /// Results may be used: writes go out, accumulators are free again, masks and scores go on.
    pub(super) fn vector_result(&mut self, wave: usize, command: usize, part: usize) {
        let Some(work) = self.waves[wave].states[command].work.clone() else { return };
        let slot = &work.slots[part];
        self.accumulators -= slot.frees;
        self.value_words -= slot.frees_values;
        self.heads -= usize::from(slot.heads > 0);
        self.part_leaves(wave, command, part, self.now);
        let state = &mut self.waves[wave].states[command];
        state.vector_slots |= 1 << slot.slot;
        state.vector_parts += 1;
        if state.vector_parts < work.slots.len() {
            return;
        }
        state.vector_finished = true;
        let all = Due::Masks { wave, command, groups: usize::MAX };
        self.at(self.now + timing::MASK_LATENCY, all);
        if self.roles[command] == Mlp::Last
            && let Some(since) = self.waves[wave].mlp_since.take()
        {
            self.counters.mlp_cycles += self.now - since;
        }
    }

    /// A part of a command has its result in cycle `at`, or the command was for no slot: what it writes is on its way.
    fn part_leaves(&mut self, wave: usize, command: usize, part: usize, at: Cycle) {
        if writes_to(self.command(command)).is_some() {
            self.waves[wave].commits.push_back((command, part, at + timing::WRITE_QUEUE));
            self.commit(wave);
        }
    }

    /// Sends on what parts write, in order, one a cycle, as soon as it is known where to.
    pub(super) fn commit(&mut self, wave: usize) {
        while let Some(&(command, part, at)) = self.waves[wave].commits.front() {
            let w = &mut self.waves[wave];
            let state = &w.states[command];
            let writes =
                state.work.as_ref().is_some_and(|k| k.slots.get(part).is_some_and(|s| s.write.is_some()));
            let addressed = match state.addressed.get(part) {
                Some(&at) => at,
                None if writes => return,
                None => 0,
            };
            let at = at.max(addressed).max(w.committed + 1);
            w.committed = at;
            w.commits.pop_front();
            self.at(at, Due::Write { wave, command, part });
        }
    }

    /// What a part of a command writes is at its port.
    pub(super) fn queue_write(&mut self, wave: usize, command: usize, part: usize) {
        let Some(work) = self.waves[wave].states[command].work.clone() else { return };
        if let Some(lanes) = work.slots.get(part).and_then(|slot| slot.write.as_ref()) {
            self.unwritten.push_back(((wave, command, part), false));
            let traffic = match self.command(command) {
                Command::KvAppend(_) => Traffic::KvWrite,
                Command::Store(c) if c.index == IndexBy::None => Traffic::RecordWrite,
                _ => Traffic::RingWrite,
            };
            self.count(traffic, lanes);
            self.flow.write(Tag::Write { wave, command, part }, lanes, self.now);
            if let Some(recorder) = &mut self.recorder {
                recorder.writing((wave, command, part), self.now);
            }
        }
        if part + 1 >= work.slots.len() {
            self.flow.close_writes(wave, command, self.now);
        }
    }
}
