//! One step of a session: what every sequence is to process, the runs of the programs, and what comes of them.

use super::masks::{self, SlotPosition};
use super::{
    Generated, ObservedRun, Observer, ProgramIndex, Sequence, SequenceId, Session, SessionError,
    SessionOptions,
};
use crate::attention::Place;
use crate::backend::{RecordRead, Step};
use crate::compile::{Compiled, SlotRecords};
use crate::policy::Policy;
use crate::sampler::{guide, sample};
use fastcar_arch::step::{
    ACTIVE, GateEntry, GateReport, NO_RING, OUTPUT, PAIRED, SlotEntry, StepReport, StepTable,
};
use std::collections::BTreeMap;

/// A step table made ahead: right for one input, if these sequences are at these positions. Tokens are missing.
pub(super) struct Prepared {
    input: usize,
    at: Vec<(SequenceId, u32)>,
    table: StepTable,
}

/// What a table is made from.
#[derive(Clone, Copy)]
struct Tables<'a> {
    sequences: &'a BTreeMap<SequenceId, Sequence>,
    policy: &'a Policy,
    period: u32,
    slots: usize,
    gates: usize,
}

impl<'a> Tables<'a> {
    fn new(
        compiled: &Compiled,
        input: usize,
        sequences: &'a BTreeMap<SequenceId, Sequence>,
        policy: &'a Policy,
        options: SessionOptions,
        period: u32,
    ) -> Self {
        let first = compiled.passes[input][0].program;
        let gates = compiled.body[first].limits().gates as usize;
        Self { sequences, policy, period, slots: options.slots as usize, gates }
    }

    /// The entries of sequences at positions, without tokens.
    fn at(self, at: &[(SequenceId, u32)]) -> StepTable {
        let mut table = StepTable::new(self.slots, self.gates);
        for (id, next) in at {
            let Some(sequence) = self.sequences.get(id) else { continue };
            let paired = if sequence.slots.len() == 2 { PAIRED } else { 0 };
            let output = if sequence.yields_at(*next) { OUTPUT } else { 0 };
            for (row, &slot) in sequence.slots.iter().enumerate() {
                let position = position(sequence, row, *next, self.period);
                let ring = position.map_or(NO_RING, |p| p.ring);
                table.slots[slot] =
                    SlotEntry { flags: ACTIVE | paired | output, pos: *next, ring, ..SlotEntry::idle() };
                if let Some(position) = position {
                    let ages = &sequence.ages[row];
                    masks::mark(&mut table.gates, self.policy, position, self.period, ages);
                }
            }
        }
        table
    }
}

impl Session {
    /// One position of each of some sequences; gives those that were made.
    pub(super) fn advance(
        &mut self,
        ids: &[SequenceId],
        observer: &mut Observer<'_>,
    ) -> Result<Vec<Generated>, SessionError> {
        let inputs = self.compiled.passes.len();
        for input in 0..inputs {
            let group: Vec<SequenceId> =
                ids.iter().copied().filter(|id| self.sequences[id].input(inputs) == input).collect();
            if !group.is_empty() {
                self.run_body(input, &group, observer)?;
            }
        }
        let yielding: Vec<SequenceId> =
            ids.iter().copied().filter(|id| self.sequences[id].yields()).collect();
        let generated = self.choose(&yielding, observer)?;
        for id in ids {
            if let Some(sequence) = self.sequences.get_mut(id) {
                sequence.next += 1;
            }
        }
        Ok(generated)
    }

    /// The passes of the body for some sequences with the same input, and their book-keeping.
    fn run_body(
        &mut self,
        input: usize,
        ids: &[SequenceId],
        observer: &mut Observer<'_>,
    ) -> Result<(), SessionError> {
        let table = self.table(input, ids);
        self.enter_lists(ids);
        let mut report = StepReport { gates: vec![GateReport::default(); table.gates.len()] };
        let passes = self.compiled.passes[input].len();
        for pass in 0..passes {
            let last = (pass + 1 == passes).then_some(ids);
            self.run_pass(input, pass, last, &table, &mut report, observer)?;
        }
        let allow: Vec<u32> = table.gates.iter().map(|g| g.allow).collect();
        for id in ids {
            self.record(*id, &allow, &report);
        }
        Ok(())
    }

    /// The step table of some sequences: what was made of it during the run before, or a new one, and the tokens.
    fn table(&mut self, input: usize, ids: &[SequenceId]) -> StepTable {
        let at: Vec<_> = ids.iter().map(|id| (*id, self.sequences[id].next)).collect();
        let prepared = self.prepared.take().filter(|p| p.input == input && p.at == at);
        let mut table = prepared.map_or_else(|| self.tables(input).at(&at), |p| p.table);
        for sequence in ids.iter().filter_map(|id| self.sequences.get(id)) {
            for (row, &slot) in sequence.slots.iter().enumerate() {
                table.slots[slot].token = four(sequence.inputs(row));
            }
        }
        table
    }

    fn tables(&self, input: usize) -> Tables<'_> {
        let Self { compiled, sequences, policy, options, period, .. } = self;
        Tables::new(compiled, input, sequences, policy, *options, *period)
    }

    /// Block lists of sequences for their next tokens, to be written before the next run.
    fn enter_lists(&mut self, ids: &[SequenceId]) {
        for sequence in ids.iter().filter_map(|id| self.sequences.get(id)) {
            let place = Place { token: sequence.next, prompt: sequence.prompt_len(), period: self.period };
            for &slot in &sequence.slots {
                self.lists.enter(&self.compiled.lists, slot, place);
            }
        }
    }

    /// One pass: its weights are there before it begins, and what it decides is added to the report. Behind the last
    /// one, logits of these sequences are read, unless they come from a depth transformer.
    fn run_pass(
        &mut self,
        input: usize,
        index: usize,
        last: Option<&[SequenceId]>,
        table: &StepTable,
        report: &mut StepReport,
        observer: &mut Observer<'_>,
    ) -> Result<(), SessionError> {
        let passes = &self.compiled.passes[input];
        let pass = &passes[index];
        self.windows.prepare(&mut *self.backend, &self.model, passes, index, table, report)?;
        let (program, decided) = (pass.program, pass.decided.map(usize::from));
        let carried = decided.map(|gate| carried_out(table, gate, report));
        let table = carried.as_ref().unwrap_or(table);
        let logits = last.filter(|_| self.compiled.depth.is_empty()).map_or(Vec::new(), |ids| self.made(ids));
        // An age that this run is still to tell may decide where a replay can follow.
        let next = last.filter(|_| self.policy.max_age().is_none());
        let next = next.map(|ids| (input, ids.iter().map(|id| (*id, self.sequences[id].next + 1)).collect()));
        let own = self.run(ProgramIndex::Body(program), table, &logits, next, observer)?;
        for (gate, entry) in own.gates.into_iter().enumerate() {
            if entry.active != 0 && decided != Some(gate) {
                report.gates[gate] = entry;
            }
        }
        Ok(())
    }

    /// Slots whose next logits are for choosing from.
    fn made(&self, ids: &[SequenceId]) -> Vec<usize> {
        let sequences = ids.iter().filter_map(|id| self.sequences.get(id));
        let mut slots: Vec<usize> =
            sequences.filter(|s| s.yields()).flat_map(|s| s.slots.iter().copied()).collect();
        slots.sort_unstable();
        slots
    }

    /// One run, and the logits of some slots behind it. While the device works, the table of a next step is made.
    fn run(
        &mut self,
        index: ProgramIndex,
        table: &StepTable,
        slots: &[usize],
        next: Option<(usize, Vec<(SequenceId, u32)>)>,
        observer: &mut Observer<'_>,
    ) -> Result<StepReport, SessionError> {
        let Self { backend, compiled, sequences, policy, lists, logits, options, period, prepared, .. } =
            self;
        let program = match index {
            ProgramIndex::Body(index) => &compiled.body[index],
            ProgramIndex::Depth(index) => &compiled.depth[index],
        };
        let reads = reads(&compiled.logits, logits, slots);
        let mut meanwhile = || {
            if let Some((input, at)) = &next {
                let tables = Tables::new(compiled, *input, sequences, policy, *options, *period);
                *prepared = Some(Prepared { input: *input, at: at.clone(), table: tables.at(at) });
            }
        };
        let report = backend.step(Step { program, table, writes: lists.take(), reads }, &mut meanwhile)?;
        observer(ObservedRun {
            program: index,
            table,
            report: &report,
            #[cfg(feature = "sim")]
            details: backend.last_run(),
            #[cfg(feature = "rtl")]
            counted: backend.last_counted(),
            device_time: backend.last_run_time(),
        });
        Ok(report)
    }

    fn record(&mut self, id: SequenceId, allow: &[u32], report: &StepReport) {
        let period = self.period;
        let Some(sequence) = self.sequences.get_mut(&id) else { return };
        for row in 0..sequence.slots.len() {
            if let Some(position) = position(sequence, row, sequence.next, period) {
                sequence.ages[row].record(position, report);
            }
        }
        if sequence.next >= sequence.prompt_len() {
            let later = position(sequence, 0, sequence.next, period).is_some_and(|p| p.frame > 0);
            sequence.stats.record(&self.policy, &self.bytes, &sequence.slots, later, allow, report);
        }
    }

    /// Chooses the tokens of the next position of each sequence: one, or one per code by the depth transformer.
    fn choose(
        &mut self,
        ids: &[SequenceId],
        observer: &mut Observer<'_>,
    ) -> Result<Vec<Generated>, SessionError> {
        let codes = self.codes();
        let mut tokens = vec![Vec::with_capacity(codes); ids.len()];
        let mut chosen = vec![Vec::with_capacity(codes); ids.len()];
        for code in 0..codes {
            if code < self.compiled.depth.len() && !ids.is_empty() {
                let table = self.depth_table(code, ids, &tokens);
                self.run(ProgramIndex::Depth(code), &table, &self.made(ids), None, observer)?;
            }
            for (i, id) in ids.iter().enumerate() {
                let sequence = &self.sequences[id];
                let position = sequence.tokens.len();
                let token = self.sample(sequence, position * codes + code);
                chosen[i].push(token);
                tokens[i].push(sequence.request.given.get(position).map_or(token, |given| given[code]));
            }
        }
        let mut out = Vec::with_capacity(ids.len());
        for ((id, tokens), chosen) in ids.iter().zip(tokens).zip(chosen) {
            let Some(sequence) = self.sequences.get_mut(id) else { continue };
            let position = sequence.tokens.len() as u32;
            sequence.tokens.push(tokens.clone());
            out.push(Generated { sequence: *id, position, tokens, chosen });
        }
        Ok(out)
    }

    fn depth_table(&self, code: usize, ids: &[SequenceId], tokens: &[Vec<u32>]) -> StepTable {
        let mut table = StepTable::new(self.options.slots as usize, 0);
        for (id, tokens) in ids.iter().zip(tokens) {
            for &slot in &self.sequences[id].slots {
                let token = four(tokens);
                table.slots[slot] =
                    SlotEntry { flags: ACTIVE | OUTPUT, pos: code as u32, token, ..SlotEntry::idle() };
            }
        }
        table
    }

    fn sample(&self, sequence: &Sequence, draw: usize) -> u32 {
        let cond = &self.logits[sequence.slots[0]];
        let (allowed, sampling) = (sequence.request.allowed.clone(), &sequence.request.sampling);
        match (&sequence.request.guidance, sequence.slots.get(1)) {
            (Some((_, scale)), Some(&slot)) => {
                sample(&guide(cond, &self.logits[slot], *scale), allowed, sampling, draw as u64)
            }
            _ => sample(cond, allowed, sampling, draw as u64),
        }
    }
}

/// What has to be read for the logits of some slots, in ascending order.
fn reads<'a>(records: &[SlotRecords], logits: &'a mut [Vec<f32>], slots: &[usize]) -> Vec<RecordRead<'a>> {
    let wanted = logits.iter_mut().enumerate().filter(|(slot, _)| slots.contains(slot));
    let mut reads = Vec::new();
    for (slot, mut rest) in wanted.map(|(slot, logits)| (slot as u64, &mut logits[..])) {
        for &SlotRecords { addr, stride, words } in records {
            let (record, behind) = rest.split_at_mut(words as usize);
            reads.push(RecordRead { addr: addr + slot * stride, out: bytemuck::cast_slice_mut(record) });
            rest = behind;
        }
    }
    reads
}

/// A step table by which `gate_host` repeats what a gate has decided.
fn carried_out(table: &StepTable, gate: usize, report: &StepReport) -> StepTable {
    let mut table = table.clone();
    let replay = report.gates[gate].replay;
    table.gates[gate] = GateEntry { allow: replay, force: replay };
    table
}

/// Where a row of a sequence stands in its frames at a position; none in the prompt, or without frames.
fn position(sequence: &Sequence, row: usize, next: u32, period: u32) -> Option<SlotPosition> {
    let generated = next.checked_sub(sequence.prompt_len())?;
    let frame = generated.checked_div(period)?;
    let key = sequence.request.sampling.seed.wrapping_mul(2).wrapping_add(row as u64);
    Some(SlotPosition { slot: sequence.slots[row], frame, ring: generated % period, key })
}

fn four(tokens: &[u32]) -> [u32; 4] {
    std::array::from_fn(|i| tokens.get(i).copied().unwrap_or(0))
}
