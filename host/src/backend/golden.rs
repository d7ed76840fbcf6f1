//! The functional model as a backend, and as the memory of the simulator.

#[cfg(feature = "sim")]
use super::RunDetails;
use super::{Backend, BackendError, NotLoaded};
use crate::compile::Part;
use crate::packed::PackedModel;
use fastcar_arch::program::Program;
use fastcar_arch::step::{StepReport, StepTable};
use fastcar_arch::units::Bytes;
use fastcar_golden::{Golden, Memory};
use std::sync::Arc;

/// The bit-exact functional model, in this process.
#[derive(Default)]
pub struct GoldenBackend {
    machine: Option<Golden>,
    parallel_from: Option<u64>,
    #[cfg(feature = "sim")]
    record: bool,
    #[cfg(feature = "sim")]
    last: Option<RunDetails>,
}

const NAME: &str = "golden";

fn fail(source: impl std::error::Error + Send + Sync + 'static) -> BackendError {
    BackendError::new(NAME, source)
}

impl GoldenBackend {
    /// A machine without a model.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A machine that shares a command's work among threads from this many products on.
    #[must_use]
    pub fn with_parallel_from(products: u64) -> Self {
        Self { parallel_from: Some(products), ..Self::default() }
    }

    /// A machine that takes down the decisions of every run.
    #[cfg(feature = "sim")]
    #[must_use]
    pub fn recording() -> Self {
        Self { record: true, ..Self::default() }
    }

    fn machine(&self) -> Result<&Golden, BackendError> {
        self.machine.as_ref().ok_or_else(|| fail(NotLoaded))
    }

    fn machine_mut(&mut self) -> Result<&mut Golden, BackendError> {
        self.machine.as_mut().ok_or_else(|| fail(NotLoaded))
    }
}

impl Backend for GoldenBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    fn load_parts(
        &mut self,
        model: &Arc<PackedModel>,
        parts: &[Part],
        memory: Bytes,
    ) -> Result<(), BackendError> {
        let machine = machine(model, parts, memory);
        self.machine = Some(match self.parallel_from {
            Some(products) => machine.with_parallel_from(products),
            None => machine,
        });
        Ok(())
    }

    fn run(&mut self, program: &Program, table: &StepTable) -> Result<StepReport, BackendError> {
        #[cfg(feature = "sim")]
        if self.record {
            let (report, decisions) = self.machine_mut()?.run_recorded(program, table).map_err(fail)?;
            self.last = Some(RunDetails { decisions, timing: None });
            return Ok(report);
        }
        self.machine_mut()?.run(program, table).map_err(fail)
    }

    #[cfg(feature = "sim")]
    fn last_run(&self) -> Option<&RunDetails> {
        self.last.as_ref()
    }

    fn read_record(&self, addr: u64, out: &mut [u8]) -> Result<(), BackendError> {
        self.machine()?.memory().read_record(addr, out);
        Ok(())
    }

    fn read_channel(&self, channel: usize, start: u64, out: &mut [u8]) -> Result<(), BackendError> {
        read_channel(self.machine()?, channel, start, out);
        Ok(())
    }

    fn write_channel(&mut self, channel: usize, start: u64, bytes: &[u8]) -> Result<(), BackendError> {
        write_channel(self.machine_mut()?, channel, start, bytes);
        Ok(())
    }
}

/// A functional machine with parts of a model's constants in `memory` bytes on each channel.
pub(super) fn machine(model: &PackedModel, parts: &[Part], memory: Bytes) -> Golden {
    Golden::new(model.config().clone(), image(model, parts, memory))
}

/// Memory of `memory` bytes on each channel with parts of a model's constants.
pub(super) fn image(model: &PackedModel, parts: &[Part], memory: Bytes) -> Memory {
    let mut image = Memory::new(model.config(), memory);
    for channel in 0..model.config().channels() as usize {
        for Part { source, to } in parts {
            let constants = &model.channel(channel)[source.start as usize..source.end as usize];
            image.channel_mut(channel)[*to as usize..][..constants.len()].copy_from_slice(constants);
        }
    }
    image
}

pub(super) fn read_channel(machine: &Golden, channel: usize, start: u64, out: &mut [u8]) {
    let start = start as usize;
    out.copy_from_slice(&machine.memory().channel(channel)[start..start + out.len()]);
}

pub(super) fn write_channel(machine: &mut Golden, channel: usize, start: u64, bytes: &[u8]) {
    let start = start as usize;
    machine.memory_mut().channel_mut(channel)[start..start + bytes.len()].copy_from_slice(bytes);
}
