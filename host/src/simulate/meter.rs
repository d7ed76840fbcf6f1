//! What a session takes on the simulator, position by position, beside what a dense one would take.

use super::report::needed_bytes;
use super::{Phase, Progress, Report, SimulateError};
use crate::compile::{CompileOptions, Compiled, compile};
use crate::policy::Policy;
use crate::session::{ObservedRun, ProgramIndex, Session};
use fastcar_arch::program::Program;
use fastcar_arch::step::{ACTIVE, StepTable};
use fastcar_golden::Decisions;
use fastcar_sim::{SimOptions, Timer};
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};

/// Cycles of one position: its token is processed, and the next position's is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PositionCycles {
    /// Body of the model.
    pub body: u64,
    /// Residual codes.
    pub codes: u64,
    /// What both would take if nothing were skipped and every token attended.
    pub dense: u64,
}

impl PositionCycles {
    /// Body and codes.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.body + self.codes
    }
}

/// What a session took.
#[derive(Clone, PartialEq, Debug)]
pub struct SessionReport {
    /// Counters of prompt, body and codes, and the figures that follow from them.
    pub totals: Report,
    /// Position by position, from the first generated one.
    pub positions: Vec<PositionCycles>,
}

impl SessionReport {
    /// Cycles of the same positions in a dense session over the cycles of this one.
    #[must_use]
    pub fn speed_up(&self) -> f64 {
        speed_up(&self.positions)
    }

    /// Cycles and speed-up frame by frame, `period` positions each; the last may be shorter.
    #[must_use]
    pub fn frames(&self, period: u32) -> Vec<(u64, f64)> {
        let frame = |p: &[PositionCycles]| (p.iter().map(PositionCycles::all).sum(), speed_up(p));
        self.positions.chunks(period.max(1) as usize).map(frame).collect()
    }
}

fn speed_up(positions: &[PositionCycles]) -> f64 {
    let sum = |f: fn(&PositionCycles) -> u64| positions.iter().map(f).sum::<u64>() as f64;
    sum(|p| p.dense) / sum(PositionCycles::all)
}

/// All that the cycles of a dense run depend on: program, and flags and position of each slot.
type DenseKey = (ProgramIndex, Vec<(u32, u32)>);

/// A dense run that a report will need.
struct DenseRun {
    position: Option<u32>,
    key: DenseKey,
}

/// Watches the runs of a session on the simulator. All its sequences have prompts of one length and start together.
pub struct Meter {
    timer: Timer,
    compiled: Compiled,
    dense: Compiled,
    prompt_tokens: u32,
    /// Position of the last body run, which the residual codes behind it belong to.
    position: Option<u32>,
    dense_runs: Vec<DenseRun>,
    prompt: Phase,
    body: Phase,
    codes: Phase,
    positions: Vec<PositionCycles>,
    rows: u32,
}

impl Meter {
    /// For a session that runs on a machine with these options, and whose prompts have `prompt_tokens` tokens.
    ///
    /// # Errors
    /// The dense programs do not fit the machine, or the options are refused.
    pub fn new(session: &Session, options: SimOptions, prompt_tokens: u32) -> Result<Self, SimulateError> {
        let model = session.model();
        let period = model.image().period.unwrap_or(0);
        let (slots, positions) = (session.options().slots, session.options().positions);
        let dense = compile(model.plan(), &Policy::dense(), CompileOptions { slots, positions, period })?;
        // The reference is not at fault where the machine is.
        let options = SimOptions { trace: false, faults: Vec::new(), ..options };
        Ok(Self {
            timer: Timer::new(model.config().clone(), options)?,
            compiled: session.compiled().clone(),
            dense,
            prompt_tokens,
            position: None,
            dense_runs: Vec::new(),
            prompt: Phase::default(),
            body: Phase::default(),
            codes: Phase::default(),
            positions: Vec::new(),
            rows: 0,
        })
    }

    /// Takes a run down. Runs of backends that keep no time are passed over.
    pub fn observe(&mut self, run: &ObservedRun<'_>) {
        let Some(details) = run.details else { return };
        let Some(timing) = &details.timing else { return };
        let active = run.table.slots.iter().filter(|s| s.has(ACTIVE));
        if let ProgramIndex::Body(_) = run.program {
            self.rows = self.rows.max(active.clone().count() as u32);
            self.position = active.map(|s| s.pos).max().and_then(|p| p.checked_sub(self.prompt_tokens));
        }
        let needed_bytes = needed_bytes(program(&self.compiled, run.program), run.table, &details.decisions);
        // Codes behind the prompt belong to its last token.
        let steps = u64::from(self.position.is_some() || matches!(run.program, ProgramIndex::Body(_)));
        let phase = Phase { steps, counters: timing.counters.clone(), needed_bytes };
        *self.phase(run.program) += &phase;
        if let Some(at) = self.position {
            let at = at as usize;
            self.positions.resize(self.positions.len().max(at + 1), PositionCycles::default());
            match run.program {
                ProgramIndex::Body(_) => self.positions[at].body += timing.cycles(),
                ProgramIndex::Depth(_) => self.positions[at].codes += timing.cycles(),
            }
        }
        let slots = run.table.slots.iter().map(|s| (s.flags, s.pos)).collect();
        self.dense_runs.push(DenseRun { position: self.position, key: (run.program, slots) });
    }

    /// Runs that the dense reference of what was seen so far simulates.
    #[must_use]
    pub fn dense_runs(&self) -> u64 {
        self.dense_keys().len() as u64
    }

    fn dense_keys(&self) -> HashSet<&DenseKey> {
        let needed = self.dense_runs.iter().filter(|r| r.position.is_some());
        needed.map(|r| &r.key).collect()
    }

    fn phase(&mut self, program: ProgramIndex) -> &mut Phase {
        match (self.position, program) {
            (None, _) => &mut self.prompt,
            (Some(_), ProgramIndex::Body(_)) => &mut self.body,
            (Some(_), ProgramIndex::Depth(_)) => &mut self.codes,
        }
    }

    /// Simulates the dense runs, and sums up.
    ///
    /// # Errors
    /// A stall of the machine, or cancelled.
    pub fn finish(mut self, progress: &dyn Progress) -> Result<SessionReport, SimulateError> {
        let cycles = self.dense_cycles(progress)?;
        for run in &self.dense_runs {
            if let Some(at) = run.position {
                self.positions[at as usize].dense += cycles[&run.key];
            }
        }
        let totals = Report {
            clock: self.timer.config().clock(),
            peak_bytes_per_second: self.timer.peak_bytes_per_second()?,
            prompt_tokens: self.prompt.steps as u32,
            positions: self.positions.len() as u32,
            prompt: self.prompt,
            cycles: self.positions.iter().map(|p| p.body).collect(),
            body: self.body,
            codes: self.codes,
            rows: self.rows,
        };
        Ok(SessionReport { totals, positions: self.positions })
    }

    /// Every dense run of a generated position once.
    fn dense_cycles(&self, progress: &dyn Progress) -> Result<HashMap<DenseKey, u64>, SimulateError> {
        let keys = self.dense_keys();
        let total = keys.len() as u64;
        let time = |key: &DenseKey| {
            if progress.cancelled() {
                return Err(SimulateError::Cancelled);
            }
            let program = program(&self.dense, key.0);
            let mut table = StepTable::new(key.1.len(), 0);
            for (slot, &(flags, pos)) in table.slots.iter_mut().zip(&key.1) {
                (slot.flags, slot.pos) = (flags, pos);
            }
            let timing = self.timer.run(program, &table, &Decisions::default(), self.dense.map.used())?;
            progress.step(total);
            Ok((key.clone(), timing.cycles()))
        };
        keys.into_par_iter().map(time).collect()
    }
}

fn program(compiled: &Compiled, index: ProgramIndex) -> &Program {
    match index {
        ProgramIndex::Body(i) => &compiled.body[i],
        ProgramIndex::Depth(i) => &compiled.depth[i],
    }
}
