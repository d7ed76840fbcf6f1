//! What a session takes on the simulator, position by position, beside what a dense one would take.

use super::report::needed_bytes;
use super::{Phase, Progress, Report, SimulateError};
use crate::compile::{CompileOptions, Compiled, compile};
use crate::policy::Policy;
use crate::session::{ObservedRun, ProgramIndex, Session};
use fastcar_arch::program::Program;
use fastcar_arch::step::{ACTIVE, NO_RING, SlotEntry, StepTable};
use fastcar_golden::Decisions;
use fastcar_sim::{SimOptions, Timer};
use rayon::prelude::*;

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

/// A dense run that a report will need: a program, and slots without their places in the frame.
struct DenseRun {
    position: u32,
    program: ProgramIndex,
    slots: Vec<SlotEntry>,
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
        if let Some(position) = self.position {
            let slots = run.table.slots.iter().map(|&s| SlotEntry { ring: NO_RING, ..s }).collect();
            self.dense_runs.push(DenseRun { position, program: run.program, slots });
        }
    }

    /// Runs that the dense reference of what was seen so far simulates.
    #[must_use]
    pub fn dense_runs(&self) -> u64 {
        self.dense_runs.len() as u64
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
        for (run, cycles) in self.dense_runs.iter().zip(cycles) {
            self.positions[run.position as usize].dense += cycles;
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

    fn dense_cycles(&self, progress: &dyn Progress) -> Result<Vec<u64>, SimulateError> {
        let time = |run: &DenseRun| {
            if progress.cancelled() {
                return Err(SimulateError::Cancelled);
            }
            let program = program(&self.dense, run.program);
            let table = StepTable { slots: run.slots.clone(), gates: Vec::new() };
            let timing = self.timer.run(program, &table, &Decisions::default(), self.dense.map.used())?;
            progress.step(self.dense_runs());
            Ok(timing.cycles())
        };
        self.dense_runs.par_iter().map(time).collect()
    }
}

fn program(compiled: &Compiled, index: ProgramIndex) -> &Program {
    match index {
        ProgramIndex::Body(i) => &compiled.body[i],
        ProgramIndex::Depth(i) => &compiled.depth[i],
    }
}
