//! Simulations with progress, stopped by a signal.

use crate::exit::Interrupted;
use crate::interrupt;
use crate::progress::{Bar, Ui};
use anyhow::Result;
use fastcar_host::pack::Progress as _;
use fastcar_host::simulate::{Progress, Report, Scenario, SimulateError, Simulation};
use std::sync::atomic::{AtomicU64, Ordering};

/// Steps of the machine as a bar, also over several runs.
pub struct Steps {
    bar: Bar,
    done: AtomicU64,
    total: u64,
}

impl Steps {
    /// A bar over so many steps of the machine.
    pub fn new(ui: Ui, stage: &str, total: u64) -> Self {
        Self { bar: ui.bar(stage, total, "steps"), done: AtomicU64::new(0), total }
    }
}

impl Progress for Steps {
    fn step(&self, _: u64) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        self.bar.advance(done, self.total.max(done));
    }

    fn cancelled(&self) -> bool {
        interrupt::requested()
    }
}

/// Steps of the machine that a run of a scenario takes.
pub fn steps(scenario: &Scenario, sample: Option<u32>) -> u64 {
    let limit = sample.unwrap_or(u32::MAX);
    let codes = scenario.workload.model().codes.as_ref().map_or(0, |c| c.codes);
    let runs = [scenario.range().len() as u32, scenario.workload.prompt()].map(|n| u64::from(n.min(limit)));
    runs.iter().sum::<u64>() + u64::from(codes)
}

/// Runs a scenario, or a sample of its positions.
///
/// # Errors
/// [`SimulateError`].
pub fn run(
    scenario: Scenario,
    sample: Option<u32>,
    progress: &dyn Progress,
) -> Result<Report, SimulateError> {
    run_prepared(&scenario.prepare()?, sample, progress)
}

/// As [`run`], with compiled programs.
///
/// # Errors
/// [`SimulateError`].
pub fn run_prepared(
    simulation: &Simulation,
    sample: Option<u32>,
    progress: &dyn Progress,
) -> Result<Report, SimulateError> {
    match sample {
        Some(count) => simulation.run_sample(count, progress),
        None => simulation.run(progress),
    }
}

/// An interruption becomes what the command line knows as one.
pub fn explain(error: SimulateError) -> anyhow::Error {
    match error {
        SimulateError::Cancelled => Interrupted { place: "while simulating".to_owned() }.into(),
        other => other.into(),
    }
}
