//! Decode sessions: sequences that advance together, one position a step, on a backend.
//!
//! A sequence occupies one slot, or a pair of slots when it is guided (conditional row in the even slot,
//! unconditional row in the odd one). What a sequence yields depends on its request alone, not on its neighbours.

mod lists;
mod masks;
mod snapshot;
mod stats;
mod stream;

pub use snapshot::{Snapshot, SnapshotError};
pub use stats::{DecodeStats, LayerCount, PositionStats};

use crate::attention::Place;
use crate::backend::{Backend, BackendError};
use crate::compile::{CompileError, CompileOptions, Compiled, SlotRecords, compile, compile_streamed};
use crate::packed::PackedModel;
use crate::policy::Policy;
use crate::sampler::{Sampling, SamplingError, guide, sample};
use fastcar_arch::step::{
    ACTIVE, GateEntry, GateReport, NO_RING, OUTPUT, PAIRED, SlotEntry, StepReport, StepTable,
};
use fastcar_arch::units::Bytes;
use lists::WrittenLists;
use masks::{Ages, SlotPosition};
use serde::{Deserialize, Serialize};
use stats::LayerBytes;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use stream::Windows;

/// Names a sequence of a session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct SequenceId(u64);

/// What a sequence is to generate.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Prompt tokens.
    pub prompt: Vec<u32>,
    /// Guidance: the prompt of the unconditional row, and the scale. Both prompts have the same length.
    pub guidance: Option<(Vec<u32>, f32)>,
    /// Positions to generate.
    pub positions: u32,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Tokens that may be chosen.
    pub allowed: Range<u32>,
    /// The first positions' tokens, given instead of chosen (one per code of a position): a true first frame, or a
    /// whole video to measure against.
    pub given: Vec<Vec<u32>>,
}

/// One generated position.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Generated {
    /// Whose.
    pub sequence: SequenceId,
    /// Which, counted from 0 behind the prompt.
    pub position: u32,
    /// Its tokens: one, or one per code.
    pub tokens: Vec<u32>,
    /// What would have been chosen: differs from `tokens` only where these were given.
    pub chosen: Vec<u32>,
}

/// Why a session refuses or fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The model does not compile.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The device.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A sampling setting.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// All slots are taken.
    #[error(
        "the sequence needs {asked} adjacent slots, {free} of {slots} are free: wait for a sequence to end or cancel one"
    )]
    Full {
        /// Slots needed.
        asked: usize,
        /// Slots free.
        free: usize,
        /// Slots in all.
        slots: usize,
    },
    /// A request that cannot be served.
    #[error("request.{what} is {found}: {limit}")]
    Request {
        /// Field.
        what: &'static str,
        /// Value found.
        found: u64,
        /// What is allowed.
        limit: String,
    },
    /// No such sequence.
    #[error("sequence {id} is not in this session: it has ended or was cancelled")]
    Unknown {
        /// Number asked for.
        id: u64,
    },
    /// A snapshot that does not fit.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

/// A sequence and its progress.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Sequence {
    request: Request,
    slots: Vec<usize>,
    /// Tokens of the positions generated so far.
    tokens: Vec<Vec<u32>>,
    /// Position that the next step processes: an index into prompt and generated positions together.
    next: u32,
    ages: Vec<Ages>,
    stats: DecodeStats,
}

impl Sequence {
    fn prompt_len(&self) -> u32 {
        self.request.prompt.len() as u32
    }

    /// Whether all positions are generated.
    fn done(&self) -> bool {
        self.tokens.len() as u32 >= self.request.positions
    }

    /// Whether the next step makes a new position.
    fn yields(&self) -> bool {
        self.next + 1 >= self.prompt_len()
    }

    /// Tokens that the next step reads for a row, and the number of the body program that reads them.
    fn input(&self, row: usize, programs: usize) -> (Vec<u32>, usize) {
        match self.next.checked_sub(self.prompt_len()) {
            Some(position) => (self.tokens[position as usize].clone(), programs - 1),
            None => {
                let prompt = match (&self.request.guidance, row) {
                    (Some((prompt, _)), 1) => prompt,
                    _ => &self.request.prompt,
                };
                (vec![prompt[self.next as usize]], 0)
            }
        }
    }
}

/// Which program of [`Compiled`] a run executes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ProgramIndex {
    /// Of [`Compiled::body`].
    Body(usize),
    /// Of [`Compiled::depth`].
    Depth(usize),
}

/// One run of a program, for an observer: what was asked of the device and what it reported.
#[derive(Clone, Copy, Debug)]
pub struct ObservedRun<'a> {
    /// Which program.
    pub program: ProgramIndex,
    /// Slots, positions and masks.
    pub table: &'a StepTable,
    /// Decisions, scores and active blocks; no gates where a depth transformer ran.
    pub report: &'a StepReport,
    /// Decisions and timing, from backends that take them down.
    #[cfg(feature = "sim")]
    pub details: Option<&'a crate::backend::RunDetails>,
    /// Time that the device took, from backends that keep it.
    pub device_time: Option<Duration>,
}

/// Told of every run.
pub type Observer<'a> = dyn FnMut(ObservedRun<'_>) + 'a;

/// Options of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionOptions {
    /// Slots: sequences at a time, counting a guided one twice.
    pub slots: u32,
    /// Longest sequence, prompt included.
    pub positions: u32,
}

/// Sequences advancing on one backend.
pub struct Session {
    backend: Box<dyn Backend>,
    model: Arc<PackedModel>,
    policy: Policy,
    options: SessionOptions,
    compiled: Compiled,
    lists: WrittenLists,
    windows: Windows,
    bytes: Vec<LayerBytes>,
    period: u32,
    sequences: BTreeMap<SequenceId, Sequence>,
    next_id: u64,
}

impl Session {
    /// Compiles a model under a policy and loads it.
    ///
    /// # Errors
    /// The model does not fit, or the device fails.
    pub fn open(
        mut backend: Box<dyn Backend>,
        model: Arc<PackedModel>,
        policy: Policy,
        options: SessionOptions,
    ) -> Result<Self, SessionError> {
        let period = model.image().period.unwrap_or(0);
        let SessionOptions { slots, positions } = options;
        let compiled = compile(model.plan(), &policy, CompileOptions { slots, positions, period })?;
        backend.load(&model, compiled.map.used())?;
        Ok(Self::with(backend, model, policy, options, compiled))
    }

    /// As [`Session::open`], with at most `memory` bytes on each channel: what does not fit of the layers' weights is
    /// copied to the device step by step. A layer in which every slot replays needs no copy of its MLP.
    ///
    /// # Errors
    /// What must be in memory at a time does not fit, or the device fails.
    pub fn open_streamed(
        mut backend: Box<dyn Backend>,
        model: Arc<PackedModel>,
        policy: Policy,
        options: SessionOptions,
        memory: Bytes,
    ) -> Result<Self, SessionError> {
        let period = model.image().period.unwrap_or(0);
        let SessionOptions { slots, positions } = options;
        let compiling = CompileOptions { slots, positions, period };
        let compiled = compile_streamed(model.plan(), &policy, compiling, memory)?;
        backend.load_parts(&model, &compiled.resident, compiled.map.used())?;
        Ok(Self::with(backend, model, policy, options, compiled))
    }

    fn with(
        backend: Box<dyn Backend>,
        model: Arc<PackedModel>,
        policy: Policy,
        options: SessionOptions,
        compiled: Compiled,
    ) -> Self {
        Self {
            backend,
            bytes: LayerBytes::of(model.image()),
            lists: WrittenLists::new(model.config(), compiled.lists.len(), options.slots),
            period: model.image().period.unwrap_or(0),
            windows: Windows::default(),
            model,
            policy,
            options,
            compiled,
            sequences: BTreeMap::new(),
            next_id: 0,
        }
    }

    /// Bytes of weights copied to each channel while decoding.
    #[must_use]
    pub fn streamed(&self) -> Bytes {
        self.windows.copied()
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &PackedModel {
        &self.model
    }

    /// Slots and positions that there is room for.
    #[must_use]
    pub fn options(&self) -> SessionOptions {
        self.options
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Programs and memory map.
    #[must_use]
    pub fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    /// Starts a sequence; its first step comes with the next [`Session::step`].
    ///
    /// # Errors
    /// [`SessionError::Request`], [`SessionError::Sampling`], or [`SessionError::Full`] when no slot is free.
    pub fn start(&mut self, request: Request) -> Result<SequenceId, SessionError> {
        self.check(&request)?;
        let slots = self.claim(if request.guidance.is_some() { 2 } else { 1 })?;
        let layers = self.model.image().body.shape.layers;
        let ages = slots.iter().map(|_| Ages::new(&self.policy, layers, self.period)).collect();
        let stats = DecodeStats::new(layers as usize);
        let id = SequenceId(self.next_id);
        self.next_id += 1;
        self.sequences.insert(id, Sequence { request, slots, tokens: Vec::new(), next: 0, ages, stats });
        Ok(id)
    }

    fn check(&self, request: &Request) -> Result<(), SessionError> {
        let refuse = |what, found: usize, limit: String| {
            Err(SessionError::Request { what, found: found as u64, limit })
        };
        request.sampling.check()?;
        let image = self.model.image();
        let (prompt, total) = (request.prompt.len(), request.prompt.len() + request.positions as usize);
        if prompt == 0 {
            return refuse("prompt", 0, "a prompt has at least one token".to_owned());
        }
        if request.positions == 0 {
            return refuse("positions", 0, "at least one position is generated".to_owned());
        }
        if total > self.options.positions as usize {
            return refuse(
                "positions",
                total,
                format!("the session holds {} positions, prompt included", self.options.positions),
            );
        }
        let vocabulary = entries(&image.inputs[0]);
        let null = request.guidance.iter().flat_map(|g| &g.0);
        if let Some(&bad) = request.prompt.iter().chain(null).find(|&&t| t as usize >= vocabulary) {
            return refuse("prompt", bad as usize, format!("the vocabulary has {vocabulary} tokens"));
        }
        if let Some((null, _)) = request.guidance.as_ref().filter(|g| g.0.len() != prompt) {
            return refuse(
                "guidance",
                null.len(),
                format!("both prompts of a guided sequence have the same length, {prompt} here"),
            );
        }
        let codes = self.codes();
        let choices = self.choices();
        if request.allowed.is_empty() || request.allowed.end as usize > choices {
            return refuse(
                "allowed",
                request.allowed.end as usize,
                format!("a non-empty range within 0..{choices}"),
            );
        }
        if let Some(bad) = request.given.iter().find(|g| g.len() != codes) {
            return refuse("given", bad.len(), format!("a position has {codes} tokens"));
        }
        if let Some(&bad) = request.given.iter().flatten().find(|&&t| t as usize >= choices) {
            return refuse("given", bad as usize, format!("tokens are below {choices}"));
        }
        Ok(())
    }

    /// Tokens that have logits and can be read back as an input.
    fn choices(&self) -> usize {
        let logits: u32 = self.compiled.logits.iter().map(|l| l.words).sum();
        self.model.image().inputs.last().map_or(0, entries).min(logits as usize)
    }

    /// Tokens of a position.
    fn codes(&self) -> usize {
        self.compiled.depth.len().max(1)
    }

    /// Free slots: one, or an even one and its neighbour.
    fn claim(&self, count: usize) -> Result<Vec<usize>, SessionError> {
        let slots = self.options.slots as usize;
        let taken: Vec<usize> = self.sequences.values().flat_map(|s| s.slots.iter().copied()).collect();
        let fits =
            |&first: &usize| first + count <= slots && (first..first + count).all(|s| !taken.contains(&s));
        // A single row takes an odd slot first where one is free beside a taken one, to keep pairs whole.
        let alone = |&s: &usize| count == 1 && fits(&s) && taken.contains(&(s ^ 1));
        let found = (0..slots).find(alone).or_else(|| (0..slots).step_by(count).find(fits));
        match found {
            Some(first) => Ok((first..first + count).collect()),
            None => Err(SessionError::Full { asked: count, free: slots - taken.len(), slots }),
        }
    }

    /// Ends a sequence at once and frees its slots.
    ///
    /// # Errors
    /// [`SessionError::Unknown`].
    pub fn cancel(&mut self, id: SequenceId) -> Result<(), SessionError> {
        self.sequences.remove(&id).map(|_| ()).ok_or(SessionError::Unknown { id: id.0 })
    }

    /// Ends a sequence and returns what it did.
    ///
    /// # Errors
    /// [`SessionError::Unknown`].
    pub fn finish(&mut self, id: SequenceId) -> Result<DecodeStats, SessionError> {
        self.sequences.remove(&id).map(|s| s.stats).ok_or(SessionError::Unknown { id: id.0 })
    }

    /// Whether a sequence has all its positions.
    ///
    /// # Errors
    /// [`SessionError::Unknown`].
    pub fn is_done(&self, id: SequenceId) -> Result<bool, SessionError> {
        self.sequences.get(&id).map(Sequence::done).ok_or(SessionError::Unknown { id: id.0 })
    }

    /// Counts so far of a sequence.
    ///
    /// # Errors
    /// [`SessionError::Unknown`].
    pub fn stats(&self, id: SequenceId) -> Result<&DecodeStats, SessionError> {
        self.sequences.get(&id).map(|s| &s.stats).ok_or(SessionError::Unknown { id: id.0 })
    }

    /// Advances every sequence through its prompt, up to where its next step makes a position.
    ///
    /// # Errors
    /// The device fails.
    pub fn prefill(&mut self) -> Result<(), SessionError> {
        loop {
            let ids: Vec<SequenceId> =
                self.sequences.iter().filter(|(_, s)| !s.yields()).map(|(&id, _)| id).collect();
            if ids.is_empty() {
                return Ok(());
            }
            self.advance(&ids, &mut |_| {})?;
        }
    }

    /// Advances every sequence that is not done by one position; returns the positions made.
    ///
    /// # Errors
    /// The device fails.
    pub fn step(&mut self) -> Result<Vec<Generated>, SessionError> {
        self.step_with(&mut |_| {})
    }

    /// As [`Session::step`], telling an observer of every run: scores for a calibration, decisions for a recording,
    /// cycles for a simulation.
    ///
    /// # Errors
    /// The device fails.
    pub fn step_with(&mut self, observer: &mut Observer<'_>) -> Result<Vec<Generated>, SessionError> {
        let ids: Vec<SequenceId> =
            self.sequences.iter().filter(|(_, s)| !s.done()).map(|(&id, _)| id).collect();
        self.advance(&ids, observer)
    }

    /// Steps until every sequence is done, yielding positions as they are made.
    pub fn generate(&mut self) -> Generate<'_> {
        Generate { session: self, ready: Vec::new().into_iter(), failed: false }
    }

    fn advance(
        &mut self,
        ids: &[SequenceId],
        observer: &mut Observer<'_>,
    ) -> Result<Vec<Generated>, SessionError> {
        let inputs = self.compiled.passes.len();
        for input in 0..inputs {
            let group: Vec<SequenceId> =
                ids.iter().copied().filter(|id| self.sequences[id].input(0, inputs).1 == input).collect();
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
        let first = self.compiled.passes[input][0].program;
        let gates = self.compiled.body[first].limits().gates as usize;
        let mut table = StepTable::new(self.options.slots as usize, gates);
        for id in ids {
            self.enter(*id, &mut table);
            self.write_lists(*id)?;
        }
        let mut report = StepReport { gates: vec![GateReport::default(); gates] };
        for pass in 0..self.compiled.passes[input].len() {
            self.run_pass(input, pass, &table, &mut report, observer)?;
        }
        let allow: Vec<u32> = table.gates.iter().map(|g| g.allow).collect();
        for id in ids {
            self.record(*id, &allow, &report);
        }
        Ok(())
    }

    /// One pass: its weights are there before it begins, and what it decides is added to the report.
    fn run_pass(
        &mut self,
        input: usize,
        index: usize,
        table: &StepTable,
        report: &mut StepReport,
        observer: &mut Observer<'_>,
    ) -> Result<(), SessionError> {
        let passes = &self.compiled.passes[input];
        let pass = &passes[index];
        self.windows.prepare(&mut *self.backend, &self.model, passes, index, report)?;
        let carried = pass.decided.map(|gate| carried_out(table, usize::from(gate), report));
        let table = carried.as_ref().unwrap_or(table);
        let own = self.backend.run(&self.compiled.body[pass.program], table)?;
        self.tell(observer, ProgramIndex::Body(pass.program), table, &own);
        for (gate, entry) in own.gates.into_iter().enumerate() {
            let new = entry.active != 0 && pass.decided.is_none_or(|decided| usize::from(decided) != gate);
            if new {
                report.gates[gate] = entry;
            }
        }
        Ok(())
    }

    fn tell(
        &self,
        observer: &mut Observer<'_>,
        program: ProgramIndex,
        table: &StepTable,
        report: &StepReport,
    ) {
        observer(ObservedRun {
            program,
            table,
            report,
            #[cfg(feature = "sim")]
            details: self.backend.last_run(),
            device_time: self.backend.last_run_time(),
        });
    }

    /// Writes a sequence's slot and gate entries.
    fn enter(&mut self, id: SequenceId, table: &mut StepTable) {
        let (programs, period) = (self.compiled.passes.len(), self.period);
        let Some(sequence) = self.sequences.get_mut(&id) else { return };
        let paired = if sequence.slots.len() == 2 { PAIRED } else { 0 };
        let output = if sequence.yields() { OUTPUT } else { 0 };
        for row in 0..sequence.slots.len() {
            let (tokens, _) = sequence.input(row, programs);
            let position = position(sequence, row, period);
            table.slots[sequence.slots[row]] = SlotEntry {
                flags: ACTIVE | paired | output,
                pos: sequence.next,
                ring: position.map_or(NO_RING, |p| p.ring),
                token: four(&tokens),
                ..SlotEntry::idle()
            };
            if let Some(position) = position {
                masks::mark(&mut table.gates, &self.policy, position, period, &mut sequence.ages[row]);
            }
        }
    }

    /// Block lists of a sequence's slots for its next token.
    fn write_lists(&mut self, id: SequenceId) -> Result<(), SessionError> {
        let Some(sequence) = self.sequences.get(&id) else { return Ok(()) };
        let place = Place { token: sequence.next, prompt: sequence.prompt_len(), period: self.period };
        for &slot in &sequence.slots {
            self.lists.write(&mut *self.backend, &self.compiled.lists, slot, place)?;
        }
        Ok(())
    }

    fn record(&mut self, id: SequenceId, allow: &[u32], report: &StepReport) {
        let period = self.period;
        let Some(sequence) = self.sequences.get_mut(&id) else { return };
        for row in 0..sequence.slots.len() {
            if let Some(position) = position(sequence, row, period) {
                sequence.ages[row].record(position, report);
            }
        }
        if sequence.next >= sequence.prompt_len() {
            let later = position(sequence, 0, period).is_some_and(|p| p.frame > 0);
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
            if let (Some(program), false) = (self.compiled.depth.get(code), ids.is_empty()) {
                let table = self.depth_table(code, ids, &tokens);
                let report = self.backend.run(program, &table)?;
                self.tell(observer, ProgramIndex::Depth(code), &table, &report);
            }
            for (i, id) in ids.iter().enumerate() {
                let sequence = &self.sequences[id];
                let position = sequence.tokens.len();
                let token = self.sample(sequence, position * codes + code)?;
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

    fn sample(&self, sequence: &Sequence, draw: usize) -> Result<u32, SessionError> {
        let cond = self.logits(sequence.slots[0])?;
        let logits = match (&sequence.request.guidance, sequence.slots.get(1)) {
            (Some((_, scale)), Some(&slot)) => guide(&cond, &self.logits(slot)?, *scale),
            _ => cond,
        };
        Ok(sample(&logits, sequence.request.allowed.clone(), &sequence.request.sampling, draw as u64))
    }

    /// Logits that a slot's last run left, one per token of the head.
    ///
    /// # Errors
    /// The device fails.
    pub fn logits(&self, slot: usize) -> Result<Vec<f32>, SessionError> {
        let mut out = vec![0.0f32; self.compiled.logits.iter().map(|l| l.words as usize).sum()];
        let mut at = 0;
        for &SlotRecords { addr, stride, words } in &self.compiled.logits {
            let part = &mut out[at..at + words as usize];
            self.backend.read_record(addr + slot as u64 * stride, bytemuck::cast_slice_mut(part))?;
            at += words as usize;
        }
        Ok(out)
    }

    /// Slots of a sequence, the conditional row first.
    ///
    /// # Errors
    /// [`SessionError::Unknown`].
    pub fn slots(&self, id: SequenceId) -> Result<&[usize], SessionError> {
        self.sequences.get(&id).map(|s| &s.slots[..]).ok_or(SessionError::Unknown { id: id.0 })
    }
}

/// A step table by which `gate_host` repeats what a gate has decided.
fn carried_out(table: &StepTable, gate: usize, report: &StepReport) -> StepTable {
    let mut table = table.clone();
    let replay = report.gates[gate].replay;
    table.gates[gate] = GateEntry { allow: replay, force: replay };
    table
}

/// Tokens that an input can look up.
fn entries(input: &crate::image::Input) -> usize {
    input.tables.iter().map(|t| t.entries as usize).min().unwrap_or(0)
}

/// Where a row of a sequence stands in its frames; none in the prompt, or without frames.
fn position(sequence: &Sequence, row: usize, period: u32) -> Option<SlotPosition> {
    let generated = sequence.next.checked_sub(sequence.prompt_len())?;
    let frame = generated.checked_div(period)?;
    let key = sequence.request.sampling.seed.wrapping_mul(2).wrapping_add(row as u64);
    Some(SlotPosition { slot: sequence.slots[row], frame, ring: generated % period, key })
}

fn four(tokens: &[u32]) -> [u32; 4] {
    std::array::from_fn(|i| tokens.get(i).copied().unwrap_or(0))
}

/// Positions of a running session, in the order in which they are made.
pub struct Generate<'a> {
    session: &'a mut Session,
    ready: std::vec::IntoIter<Generated>,
    failed: bool,
}

impl Iterator for Generate<'_> {
    type Item = Result<Generated, SessionError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(generated) = self.ready.next() {
                return Some(Ok(generated));
            }
            if self.failed || self.session.sequences.values().all(Sequence::done) {
                return None;
            }
            match self.session.step() {
                Ok(positions) => self.ready = positions.into_iter(),
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
    }
}
