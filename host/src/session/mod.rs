//! Decode sessions: sequences that advance together, one position a step, on a backend.
//!
//! A sequence occupies one slot, or a pair of slots when it is guided (conditional row in the even slot,
//! unconditional row in the odd one). What a sequence yields depends on its request alone, not on its neighbours.

mod advance;
mod lists;
mod masks;
mod rules;
mod snapshot;
mod stats;
mod stream;

pub(crate) use rules::Rules;
pub use snapshot::{SequenceSnapshot, Snapshot, SnapshotError};
pub use stats::{DecodeStats, LayerCount, PositionStats};

use crate::backend::{Activity, Backend, BackendError};
use crate::compile::{
    CompileError, CompileOptions, Compiled, ListRecords, SlotRecords, compile, compile_streamed,
};
use crate::packed::PackedModel;
use crate::policy::Policy;
use crate::sampler::{Sampling, SamplingError};
use advance::Prepared;
use fastcar_arch::step::{StepReport, StepTable};
use fastcar_arch::units::Bytes;
use lists::WrittenLists;
use masks::Ages;
use serde::{Deserialize, Serialize};
use stats::LayerBytes;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use stream::Windows;

/// Names a sequence of a session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct SequenceId(pub(crate) u64);

impl SequenceId {
    /// The sequence of a number, as another language or a restored session's owner knows it.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number; a session counts from 0 and gives none twice.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

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
    /// A snapshot has none: it moves to whichever are free.
    #[serde(skip)]
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
        self.yields_at(self.next)
    }

    /// Whether a step at a position makes a new one.
    fn yields_at(&self, next: u32) -> bool {
        next + 1 >= self.prompt_len()
    }

    /// Which of a number of inputs reads the next tokens: the first prompts, the last generated positions.
    fn input(&self, inputs: usize) -> usize {
        if self.next < self.prompt_len() { 0 } else { inputs - 1 }
    }

    /// Tokens that the next step reads for a row.
    fn inputs(&self, row: usize) -> &[u32] {
        if let Some(position) = self.next.checked_sub(self.prompt_len()) {
            return &self.tokens[position as usize];
        }
        let prompt = match (&self.request.guidance, row) {
            (Some((prompt, _)), 1) => prompt,
            _ => &self.request.prompt,
        };
        &prompt[self.next as usize..][..1]
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
    /// What the hardware counted, from backends where it does.
    #[cfg(feature = "rtl")]
    pub counted: Option<&'a crate::backend::Counted>,
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
    /// By slot: what the last run that made any has left of them on the device.
    logits: Vec<Vec<f32>>,
    prepared: Option<Prepared>,
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
        let words = compiled.logits.iter().map(|l| l.words as usize).sum();
        Self {
            backend,
            logits: vec![vec![0.0; words]; options.slots as usize],
            prepared: None,
            bytes: LayerBytes::of(model.image()),
            lists: WrittenLists::new(compiled.lists.len(), options.slots),
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

    /// What the device was busy with so far, where it keeps time.
    #[must_use]
    pub fn activity(&self) -> Option<Activity> {
        self.backend.activity()
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
        self.rules().check(&request)?;
        self.check_lists(&request)?;
        let slots = self.claim(request.rows())?;
        let layers = self.model.image().body.shape.layers;
        let ages = slots.iter().map(|_| Ages::new(&self.policy, layers, self.period)).collect();
        let stats = DecodeStats::new(layers as usize);
        let id = SequenceId(self.next_id);
        self.next_id += 1;
        self.sequences.insert(id, Sequence { request, slots, tokens: Vec::new(), next: 0, ages, stats });
        Ok(id)
    }

    /// Refuses a sequence whose attention needs longer lists than there is room for.
    fn check_lists(&self, request: &Request) -> Result<(), SessionError> {
        let prompt = request.prompt.len() as u32;
        let tokens = prompt + request.positions;
        let overflow = |list: &ListRecords| Some(list.no_room(list.overflow(prompt, self.period, tokens)?));
        match self.compiled.lists.iter().find_map(overflow) {
            None => Ok(()),
            Some(limit) => {
                Err(SessionError::Request { what: "positions", found: request.positions.into(), limit })
            }
        }
    }

    /// What requests may ask for.
    pub(crate) fn rules(&self) -> Rules {
        Rules::new(self.model.image(), &self.compiled, self.options)
    }

    /// Tokens of a position.
    fn codes(&self) -> usize {
        self.compiled.depth.len().max(1)
    }

    /// Whether a request finds its slots free.
    #[must_use]
    pub fn has_room(&self, request: &Request) -> bool {
        self.claim(request.rows()).is_ok()
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

    /// The sequences that are neither finished nor cancelled, in the order in which they were started.
    pub fn sequences(&self) -> impl Iterator<Item = SequenceId> + '_ {
        self.sequences.keys().copied()
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
