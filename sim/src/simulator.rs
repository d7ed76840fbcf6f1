//! The machine with values and cycles.

use crate::error::SimError;
use crate::run::{Placement, SimOptions, Timer, Timing};
use fastcar_arch::program::Program;
use fastcar_arch::step::{StepReport, StepTable};
use fastcar_golden::{Decisions, Golden};

/// One run with values.
#[derive(Clone, Debug)]
pub struct ValueRun {
    /// What the run wrote back to the host.
    pub report: StepReport,
    /// What its data decided.
    pub decisions: Decisions,
    /// What it took.
    pub timing: Timing,
}

/// A machine with a memory image: the values are those of the functional model, which executes every run once, and the
/// cycles are those of the decisions that these values make.
#[derive(Clone, Debug)]
pub struct Simulator {
    golden: Golden,
    timer: Timer,
}

impl Simulator {
    /// A machine around a functional one.
    ///
    /// # Errors
    /// As [`Timer::new`].
    pub fn new(golden: Golden, options: SimOptions) -> Result<Self, SimError> {
        let timer = Timer::new(golden.config().clone(), options)?;
        Ok(Self { golden, timer })
    }

    /// The functional machine: memory and buffers.
    #[must_use]
    pub fn golden(&self) -> &Golden {
        &self.golden
    }

    /// The functional machine, to write its memory.
    pub fn golden_mut(&mut self) -> &mut Golden {
        &mut self.golden
    }

    /// The timed machine.
    #[must_use]
    pub fn timer(&self) -> &Timer {
        &self.timer
    }

    /// Runs a program once for the slots of a step table.
    ///
    /// # Errors
    /// What can be refused is refused before anything is executed: a step table that does not fit the program, a
    /// program that reaches beyond the memory image, an image that leaves no room for program and report. Faults of
    /// the memory and stalls come from the run itself; the memory then holds what the run would have written without.
    pub fn run(&mut self, program: &Program, table: &StepTable) -> Result<ValueRun, SimError> {
        let data = self.golden.memory().size();
        Placement::behind(self.timer.config(), program, data)?;
        let (report, decisions) = self.golden.run_recorded(program, table)?;
        let timing = self.timer.run(program, table, &decisions, data)?;
        Ok(ValueRun { report, decisions, timing })
    }
}
