//! The cycle-accurate simulator as a backend.

use super::golden::{machine, read_channel, write_channel};
use super::{Backend, BackendError, NotLoaded, RunDetails};
use crate::compile::Part;
use crate::packed::PackedModel;
use fastcar_arch::program::Program;
use fastcar_arch::step::{StepReport, StepTable};
use fastcar_arch::units::Bytes;
use fastcar_sim::{SimOptions, Simulator};
use std::sync::Arc;

/// The simulator, in this process: the bits of the functional model, and the cycles of the machine.
#[derive(Default)]
pub struct SimBackend {
    options: SimOptions,
    machine: Option<Simulator>,
    last: Option<RunDetails>,
}

const NAME: &str = "sim";

fn fail(source: impl std::error::Error + Send + Sync + 'static) -> BackendError {
    BackendError::new(NAME, source)
}

impl SimBackend {
    /// A machine without a model.
    #[must_use]
    pub fn new(options: SimOptions) -> Self {
        Self { options, ..Self::default() }
    }

    fn machine(&self) -> Result<&Simulator, BackendError> {
        self.machine.as_ref().ok_or_else(|| fail(NotLoaded))
    }

    fn machine_mut(&mut self) -> Result<&mut Simulator, BackendError> {
        self.machine.as_mut().ok_or_else(|| fail(NotLoaded))
    }
}

impl Backend for SimBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    fn load_parts(
        &mut self,
        model: &Arc<PackedModel>,
        parts: &[Part],
        memory: Bytes,
    ) -> Result<(), BackendError> {
        let golden = machine(model, parts, memory);
        self.machine = Some(Simulator::new(golden, self.options.clone()).map_err(fail)?);
        self.last = None;
        Ok(())
    }

    fn run(&mut self, program: &Program, table: &StepTable) -> Result<StepReport, BackendError> {
        let run = self.machine_mut()?.run(program, table).map_err(fail)?;
        self.last = Some(RunDetails { decisions: run.decisions, timing: Some(run.timing) });
        Ok(run.report)
    }

    fn last_run(&self) -> Option<&RunDetails> {
        self.last.as_ref()
    }

    fn read_record(&self, addr: u64, out: &mut [u8]) -> Result<(), BackendError> {
        self.machine()?.golden().memory().read_record(addr, out);
        Ok(())
    }

    fn read_channel(&self, channel: usize, start: u64, out: &mut [u8]) -> Result<(), BackendError> {
        read_channel(self.machine()?.golden(), channel, start, out);
        Ok(())
    }

    fn write_channel(&mut self, channel: usize, start: u64, bytes: &[u8]) -> Result<(), BackendError> {
        write_channel(self.machine_mut()?.golden_mut(), channel, start, bytes);
        Ok(())
    }
}
