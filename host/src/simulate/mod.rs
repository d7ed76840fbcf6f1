//! Timing runs: how long a whole video takes on a machine, without weights and without values.
//!
//! A [`Scenario`] says what is decoded, on which machine, and where the decisions that values would make come from. Its
//! steps do not depend on each other (each begins with idle memory), so they are simulated in parallel, and the result
//! does not depend on the number of threads.

mod decisions;
mod report;

pub use decisions::{DecisionError, Statistics};
pub use report::{Phase, Report};

use crate::compile::{CompileError, Compiled, compile};
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
        let timer = Timer::new(self.config.clone(), self.sim.clone())?;
        let source = Source::new(&self)?;
        Ok(Simulation { scenario: self, compiled, timer, source })
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

    fn range(&self) -> Range<u32> {
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
        let output = if generated.is_some() { OUTPUT } else { 0 };
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

impl Simulation {
    /// The scenario.
    #[must_use]
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Steps that [`Simulation::run`] simulates.
    #[must_use]
    pub fn steps(&self) -> u64 {
        u64::from(self.scenario.range().end - self.scenario.range().start) + 1
    }

    /// Simulates the video: the prompt token by token, every generated position, and the residual codes of each.
    ///
    /// # Errors
    /// A fault or a stall of the machine, or cancelled.
    pub fn run(&self, progress: &dyn Progress) -> Result<Report, SimulateError> {
        let total = self.steps();
        let positions: Vec<u32> = self.scenario.range().collect();
        let body = positions.par_iter().map(|&g| {
            if progress.cancelled() {
                return Err(SimulateError::Cancelled);
            }
            let phase = self.position(g)?.0;
            progress.step(total);
            Ok(phase)
        });
        let body: Vec<Phase> = body.collect::<Result<_, SimulateError>>()?;
        let prompt = (0..self.scenario.workload.prompt()).into_par_iter().map(|pos| self.prompt_token(pos));
        let prompt: Vec<Phase> = prompt.collect::<Result<_, SimulateError>>()?;
        let codes = self.codes()?;
        progress.step(total);
        Ok(Report::new(self, &prompt, body, &codes, self.timer.peak_bytes_per_second()?))
    }

    /// Simulates one generated position, with what the units did when where the options ask for it.
    ///
    /// # Errors
    /// As [`Simulation::run`].
    pub fn position(&self, generated: u32) -> Result<(Phase, Vec<Span>), SimulateError> {
        let Some(program) = self.compiled.body.last() else { return Ok(Default::default()) };
        let pos = self.scenario.workload.prompt() + generated;
        let table = self.scenario.table(program, pos, Some(generated));
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

    /// The residual codes of one position, which are the same for all.
    fn codes(&self) -> Result<Phase, SimulateError> {
        let mut sum = Phase::default();
        for (code, program) in self.compiled.depth.iter().enumerate() {
            let mut table = self.scenario.table(program, code as u32, Some(0));
            table.slots.iter_mut().for_each(|s| s.ring = NO_RING);
            sum += &self.time(program, &table, None)?.0;
        }
        Ok(sum)
    }

    fn time(
        &self,
        program: &Program,
        table: &StepTable,
        generated: Option<u32>,
    ) -> Result<(Phase, Vec<Span>), SimulateError> {
        let decisions = self.source.decide(program, table, generated);
        let timing = self.timer.run(program, table, &decisions, self.compiled.map.used())?;
        let needed = report::needed_bytes(program, table, &decisions);
        Ok((Phase { steps: 1, counters: timing.counters, needed_bytes: needed }, timing.spans))
    }
}
