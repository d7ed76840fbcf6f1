//! What executes step programs: the functional model and the simulator now; RTL and cards behind the same trait.

#[cfg(feature = "golden")]
mod golden;
#[cfg(feature = "sim")]
mod sim;

#[cfg(feature = "golden")]
pub use golden::GoldenBackend;
#[cfg(feature = "sim")]
pub use sim::SimBackend;

use crate::packed::PackedModel;
use fastcar_arch::program::Program;
use fastcar_arch::step::{StepReport, StepTable};
use fastcar_arch::units::Bytes;

/// A device failed or refused.
#[derive(Debug, thiserror::Error)]
#[error("{backend}: {source}")]
pub struct BackendError {
    backend: &'static str,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl BackendError {
    /// What the backend of this name met with.
    #[must_use]
    pub fn new(backend: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self { backend, source: Box::new(source) }
    }
}

/// What is known of a run beside its report.
#[cfg(feature = "sim")]
#[derive(Clone, PartialEq, Debug)]
pub struct RunDetails {
    /// What the data decided: enough to time the run again without values.
    pub decisions: fastcar_golden::Decisions,
    /// What the run took, where the backend keeps time.
    pub timing: Option<fastcar_sim::Timing>,
}

/// One accelerator with its memory.
pub trait Backend: Send {
    /// Name, as in `--backend`.
    fn name(&self) -> &'static str;

    /// Loads a model's constants and zeroes `memory` bytes on each channel beyond them.
    ///
    /// # Errors
    /// The device refuses or fails.
    fn load(&mut self, model: &PackedModel, memory: Bytes) -> Result<(), BackendError>;

    /// Runs a program once.
    ///
    /// # Errors
    /// The device refuses or fails; its state is then lost.
    fn run(&mut self, program: &Program, table: &StepTable) -> Result<StepReport, BackendError>;

    /// Decisions and timing of the last run, where the backend takes them down.
    #[cfg(feature = "sim")]
    fn last_run(&self) -> Option<&RunDetails> {
        None
    }

    /// Reads a record.
    ///
    /// # Errors
    /// The device refuses or fails.
    fn read_record(&self, addr: u64, out: &mut [u8]) -> Result<(), BackendError>;

    /// Reads from one channel.
    ///
    /// # Errors
    /// The device refuses or fails.
    fn read_channel(&self, channel: usize, start: u64, out: &mut [u8]) -> Result<(), BackendError>;

    /// Writes to one channel.
    ///
    /// # Errors
    /// The device refuses or fails.
    fn write_channel(&mut self, channel: usize, start: u64, bytes: &[u8]) -> Result<(), BackendError>;
}

/// No model is loaded.
#[cfg(feature = "golden")]
#[derive(Debug, thiserror::Error)]
#[error("no model is loaded")]
struct NotLoaded;
