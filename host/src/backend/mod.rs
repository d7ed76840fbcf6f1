//! What executes step programs: the functional model, the simulator, the generated hardware in Verilator, and OpenCL devices.

#[cfg(feature = "golden")]
mod golden;
#[cfg(feature = "opencl")]
mod opencl;
#[cfg(feature = "rtl")]
mod rtl;
#[cfg(feature = "sim")]
mod sim;

#[cfg(feature = "rtl")]
pub use fastcar_rtl::{BenchError, Building, Counted, Failed, Progress as BuildProgress, RunError};
#[cfg(feature = "golden")]
pub use golden::GoldenBackend;
#[cfg(feature = "opencl")]
pub use opencl::OpenClBackend;
#[cfg(feature = "rtl")]
pub use rtl::{RtlBackend, RtlBackendError, RtlOptions};
#[cfg(feature = "sim")]
pub use sim::SimBackend;

use crate::compile::Part;
use crate::packed::PackedModel;
use fastcar_arch::program::Program;
use fastcar_arch::step::{StepReport, StepTable};
use fastcar_arch::units::Bytes;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

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

/// What a device was busy with since its model was loaded, by its own clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Activity {
    /// From the start of the first run or streamed part to the end of the last.
    pub elapsed: Duration,
    /// Running programs.
    pub running: Duration,
    /// Taking in weights that were streamed while decoding.
    pub streaming: Duration,
    /// Bytes of these, all channels together.
    pub streamed: Bytes,
}

/// One run and what goes with it, handed to a device at once.
pub struct Step<'a> {
    /// What runs.
    pub program: &'a Program,
    /// Slots, positions, tokens and masks.
    pub table: &'a StepTable,
    /// Written before the run.
    pub writes: Vec<ChannelWrite>,
    /// Read behind it.
    pub reads: Vec<RecordRead<'a>>,
}

/// Bytes for one channel.
pub struct ChannelWrite {
    /// Which.
    pub channel: usize,
    /// First local byte.
    pub start: u64,
    /// What is written.
    pub bytes: Vec<u8>,
}

/// A record that is wanted.
pub struct RecordRead<'a> {
    /// First local byte, on every channel.
    pub addr: u64,
    /// Where it goes, whole.
    pub out: &'a mut [u8],
}

/// One accelerator with its memory.
pub trait Backend: Send {
    /// Name, as in `--backend`.
    fn name(&self) -> &'static str;

    /// Loads all of a model's constants and zeroes what is left of `memory` bytes on each channel.
    ///
    /// # Errors
    /// The device refuses or fails.
    fn load(&mut self, model: &Arc<PackedModel>, memory: Bytes) -> Result<(), BackendError> {
        self.load_parts(model, &[Part { source: 0..model.constants().get(), to: 0 }], memory)
    }

    /// As [`Backend::load`], for a model of which only parts are in memory at a time: these first, the rest by
    /// [`Backend::stage`].
    ///
    /// # Errors
    /// The device refuses or fails.
    fn load_parts(
        &mut self,
        model: &Arc<PackedModel>,
        parts: &[Part],
        memory: Bytes,
    ) -> Result<(), BackendError>;

    /// Begins to copy a part of a model's constants to every channel. It may go on while programs run that do not use
    /// that memory.
    ///
    /// # Errors
    /// The device refuses or fails.
    fn stage(&mut self, model: &Arc<PackedModel>, part: &Part) -> Result<(), BackendError> {
        for channel in 0..model.config().channels() as usize {
            let Range { start, end } = part.source;
            self.write_channel(channel, part.to, &model.channel(channel)[start as usize..end as usize])?;
        }
        Ok(())
    }

    /// Waits until all that was staged is there.
    ///
    /// # Errors
    /// The device fails.
    fn staged(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    /// Runs a program once.
    ///
    /// # Errors
    /// The device refuses or fails; its state is then lost.
    fn run(&mut self, program: &Program, table: &StepTable) -> Result<StepReport, BackendError>;

    /// Runs a program with all that goes with it: a device gets one list of commands and is waited for once.
    /// `meanwhile` is called while it works, or where nothing can be done meanwhile, behind the run.
    ///
    /// # Errors
    /// The device refuses or fails; its state is then lost.
    fn step(&mut self, step: Step<'_>, meanwhile: &mut dyn FnMut()) -> Result<StepReport, BackendError> {
        for ChannelWrite { channel, start, bytes } in step.writes {
            self.write_channel(channel, start, &bytes)?;
        }
        let report = self.run(step.program, step.table)?;
        meanwhile();
        for RecordRead { addr, out } in step.reads {
            self.read_record(addr, out)?;
        }
        Ok(report)
    }

    /// Decisions and timing of the last run, where the backend takes them down.
    #[cfg(feature = "sim")]
    fn last_run(&self) -> Option<&RunDetails> {
        None
    }

    /// What the last run counted, where the hardware itself counts.
    #[cfg(feature = "rtl")]
    fn last_counted(&self) -> Option<&Counted> {
        None
    }

    /// Time that the device took for the last run, where it keeps time.
    fn last_run_time(&self) -> Option<Duration> {
        None
    }

    /// What the device was busy with, where it keeps time.
    fn activity(&self) -> Option<Activity> {
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
