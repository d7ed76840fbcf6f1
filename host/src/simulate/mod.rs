//! Timing runs: how long a whole video takes on a machine, without weights and without values.
//!
//! A [`Scenario`] says what is decoded, on which machine, and where the decisions that values would make come from. Its
//! steps do not depend on each other (each begins with idle memory), so they are simulated in parallel, and the result
//! does not depend on the number of threads.

mod decisions;
mod lists;
mod meter;
mod recorded;
mod report;

pub use decisions::{DecisionError, Statistics};
pub use meter::{Meter, PositionCycles, SessionReport};
pub use recorded::{Recorder, Recording, RecordingError, RecordingHead};
pub use report::{Phase, Report};

use crate::compile::{CompileError, CompileOptions, Compiled, ListRecords, compile};
use crate::pack::PackOptions;
use crate::plan::PlanError;
use crate::policy::{Method, Policy};
use crate::workload::Workload;
use decisions::Source;
use fastcar_arch::config::AccelConfig;
use fastcar_arch::program::Program;
use fastcar_arch::step::{ACTIVE, NO_RING, OUTPUT, PAIRED, SlotEntry, StepTable};
use fastcar_sim::{SimError, SimOptions, Span, Timer};
use rayon::prelude::*;
use std::ops::Range;

/// Sequences that are decoded together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Batch {
    /// Slots in use.
    pub rows: u32,
    /// Whether neighbouring rows are pairs of a guided sequence (conditional, unconditional).
    pub paired: bool,
}

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Model sizes and video length.
    pub workload: Workload,
    /// Machine.
    pub config: AccelConfig,
    /// Formats of the weights.
    pub formats: PackOptions,
    /// What is skipped, and which tokens are attended. Thresholds do not matter here.
    pub policy: Policy,
    /// Scheduling, memory, faults.
    pub sim: SimOptions,
    /// Sequences.
    pub batch: Batch,
    /// Where decisions come from.
    pub statistics: Statistics,
    /// Generated positions to simulate, all of the workload's where not given.
    pub positions: Option<Range<u32>>,
}

/// Why a scenario does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimulateError {
    /// The model does not fit.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The programs do not fit.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The machine.
    #[error(transparent)]
    Sim(#[from] SimError),
    /// The source of decisions.
    #[error(transparent)]
    Decisions(#[from] DecisionError),
    /// Recorded decisions.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// A setting that makes no sense.
    #[error("{what} is {found}: {limit}")]
    Setting {
        /// Which.
        what: &'static str,
        /// What was asked.
        found: String,
        /// What is allowed.
        limit: String,
    },
    /// Stopped on request.
    #[error("the simulation was cancelled")]
    Cancelled,
}

/// Told of progress, and asked whether to go on.
pub trait Progress: Sync {
    /// One more of `total` steps is done.
    fn step(&self, total: u64);
    /// Whether to stop.
    fn cancelled(&self) -> bool {
        false
    }
}

impl Progress for () {
    fn step(&self, _: u64) {}
}

/// A scenario whose programs are compiled.
pub struct Simulation {
    scenario: Scenario,
    compiled: Compiled,
    timer: Timer,
    source: Source,
    recording: Option<Recording>,
}

impl Scenario {
    /// Compiles the programs.
    ///
    /// # Errors
    /// The model does not fit the machine, or a setting makes no sense.
    pub fn prepare(self) -> Result<Simulation, SimulateError> {
        self.check()?;
        let plan = self.workload.plan(&self.config, self.formats)?;
        let compiled = compile(&plan, &self.policy, self.workload.options(self.batch.rows))?;
        self.check_lists(&compiled)?;
        let timer = Timer::new(self.config.clone(), self.sim.clone())?;
        let source = Source::new(&self)?;
        Ok(Simulation { scenario: self, compiled, timer, source, recording: None })
    }

    /// As [`Scenario::prepare`], with recorded decisions instead of drawn ones.
    ///
    /// # Errors
    /// As [`Scenario::prepare`], or the recording is of something else.
    pub fn prepare_recorded(self, recording: Recording) -> Result<Simulation, SimulateError> {
        recording.check(&self)?;
        let simulation = Self { statistics: Statistics::default(), ..self }.prepare()?;
        Ok(Simulation { recording: Some(recording), ..simulation })
    }

    /// Refuses attention that needs longer lists than there is room for.
    fn check_lists(&self, compiled: &Compiled) -> Result<(), SimulateError> {
        let CompileOptions { positions, period, .. } = self.workload.options(self.batch.rows);
        let overflow = |list: &ListRecords| {
            Some(list.no_room(list.overflow(self.workload.prompt(), period, positions)?))
        };
        match compiled.lists.iter().find_map(overflow) {
            None => Ok(()),
            Some(limit) => {
                let found = self.policy.attention().to_string();
                Err(SimulateError::Setting { what: "attention", found, limit })
            }
        }
    }

    fn check(&self) -> Result<(), SimulateError> {
        let setting = |what, found: String, limit: String| Err(SimulateError::Setting { what, found, limit });
        let Batch { rows, paired } = self.batch;
        if rows == 0 || rows > self.config.slots() {
            let limit = format!("preset '{}' has 1 to {} slots", self.config.name(), self.config.slots());
            return setting("batch", rows.to_string(), limit);
        }
        if paired && !rows.is_multiple_of(2) {
            return setting("batch", rows.to_string(), "guided sequences take two rows each".to_owned());
        }
        let range = self.range();
        if range.is_empty() || range.end > self.workload.generated() {
            let limit = format!("the workload generates {} positions", self.workload.generated());
            return setting("positions", format!("{}..{}", range.start, range.end), limit);
        }
        Ok(())
    }

    /// The largest share of all (layer, position) that can replay: those of the first frame cannot.
    #[must_use]
    pub fn replay_limit(&self) -> f64 {
        let range = self.range();
        let Some(period) = self.workload.period() else { return 0.0 };
        let first = range.end.min(period).saturating_sub(range.start);
        1.0 - f64::from(first) / f64::from(range.end.saturating_sub(range.start).max(1))
    }

    /// Generated positions that the run stands for.
    #[must_use]
    pub fn range(&self) -> Range<u32> {
        self.positions.clone().unwrap_or(0..self.workload.generated())
    }

    /// Frame of a generated position, and the position in it.
    fn place(&self, generated: u32) -> Option<(u32, u32)> {
        let period = self.workload.period()?;
        Some((generated / period, generated % period))
    }

    /// Whether a generated position has a predecessor in the frame before.
    fn eligible(&self, generated: u32) -> bool {
        !matches!(self.policy.method(), Method::Dense) && self.place(generated).is_some_and(|p| p.0 > 0)
    }

    /// The step table of a generated position, or of a prompt token.
    fn table(&self, program: &Program, pos: u32, generated: Option<u32>) -> StepTable {
        let mut table = StepTable::new(self.batch.rows as usize, program.limits().gates as usize);
        // The last prompt token yields the first generated position.
        let last = pos + 1 == self.workload.prompt();
        let output = if generated.is_some() || last { OUTPUT } else { 0 };
        let paired = if self.batch.paired { PAIRED } else { 0 };
        let ring = generated.and_then(|g| self.place(g)).map_or(NO_RING, |p| p.1);
        for slot in &mut table.slots {
            *slot = SlotEntry { flags: ACTIVE | output | paired, pos, ring, ..SlotEntry::idle() };
        }
        let allow = match generated {
            Some(g) if self.eligible(g) => table.mask(ACTIVE),
            _ => 0,
        };
        table.gates.iter_mut().for_each(|g| g.allow = allow);
        table
    }
}

/// So many of a range's numbers at most, from the middles of equal parts.
fn evenly(range: Range<u32>, count: u32) -> Vec<u32> {
    let length = range.end.saturating_sub(range.start);
    let count = count.min(length);
    let middle = |i: u32| (2 * u64::from(i) + 1) * u64::from(length) / (2 * u64::from(count));
    (0..count).map(|i| range.start + middle(i) as u32).collect()
}

impl Simulation {
    /// The scenario.
    #[must_use]
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Simulates the video: the prompt token by token, every generated position, and the residual codes of each.
    ///
    /// # Errors
    /// A fault or a stall of the machine, or cancelled.
    pub fn run(&self, progress: &dyn Progress) -> Result<Report, SimulateError> {
        self.run_sample(u32::MAX, progress)
    }

    /// As [`Simulation::run`], but of the generated positions, and of the prompt's tokens, so many at most, evenly
    /// spaced: the report stands for all.
    ///
    /// # Errors
    /// As [`Simulation::run`].
    pub fn run_sample(&self, count: u32, progress: &dyn Progress) -> Result<Report, SimulateError> {
        let positions = evenly(self.scenario.range(), count);
        let prompt = evenly(0..self.scenario.workload.prompt(), count);
        let total = (positions.len() + prompt.len() + self.compiled.depth.len()) as u64;
        let step = |run: &dyn Fn() -> Result<Phase, SimulateError>| {
            if progress.cancelled() {
                return Err(SimulateError::Cancelled);
            }
            let phase = run()?;
            progress.step(total);
            Ok(phase)
        };
        let body = positions.par_iter().map(|&g| step(&|| Ok(self.position(g)?.0)));
        let body: Vec<Phase> = body.collect::<Result<_, SimulateError>>()?;
        let prompt = prompt.par_iter().map(|&pos| step(&|| self.prompt_token(pos)));
        let prompt: Vec<Phase> = prompt.collect::<Result<_, SimulateError>>()?;
        let codes = (0..self.compiled.depth.len()).into_par_iter().map(|code| step(&|| self.code(code)));
        let codes: Vec<Phase> = codes.collect::<Result<_, SimulateError>>()?;
        Ok(Report::new(self, &prompt, &body, &codes, self.timer.peak_bytes_per_second()?))
    }

    /// Simulates one generated position, with what the units did when where the options ask for it.
    ///
    /// # Errors
    /// As [`Simulation::run`].
    pub fn position(&self, generated: u32) -> Result<(Phase, Vec<Span>), SimulateError> {
        let Some(program) = self.compiled.body.last() else { return Ok(Default::default()) };
        let pos = self.scenario.workload.prompt() + generated;
        let mut table = self.scenario.table(program, pos, Some(generated));
        if let Some(recording) = &self.recording {
            recording.enter(generated, &mut table);
        }
        self.time(program, &table, Some(generated))
    }

    /// The program of generated positions.
    #[must_use]
    pub fn program(&self) -> Option<&Program> {
        self.compiled.body.last()
    }

    fn prompt_token(&self, pos: u32) -> Result<Phase, SimulateError> {
        let Some(program) = self.compiled.body.first() else { return Ok(Phase::default()) };
        let table = self.scenario.table(program, pos, None);
        Ok(self.time(program, &table, None)?.0)
    }

    /// One of the residual codes of a position, which are the same for all positions.
    fn code(&self, code: usize) -> Result<Phase, SimulateError> {
        let program = &self.compiled.depth[code];
        let mut table = self.scenario.table(program, code as u32, Some(0));
        table.slots.iter_mut().for_each(|s| s.ring = NO_RING);
        Ok(self.time(program, &table, None)?.0)
    }

    fn time(
        &self,
        program: &Program,
        table: &StepTable,
        generated: Option<u32>,
    ) -> Result<(Phase, Vec<Span>), SimulateError> {
        let recorded = self.recording.as_ref().zip(generated).and_then(|(r, position)| r.decide(position));
        let mut decisions = recorded.unwrap_or_else(|| self.source.decide(program, table, generated));
        let frames = (self.scenario.workload.prompt(), self.scenario.workload.period().unwrap_or(0));
        lists::fill(program, &self.compiled.lists, table, frames, &mut decisions);
        let timing = self.timer.run(program, table, &decisions, self.compiled.map.used())?;
        let needed = report::needed_bytes(program, table, &decisions);
        Ok((Phase { steps: 1, counters: timing.counters, needed_bytes: needed }, timing.spans))
    }
}
