//! The generated hardware as a backend: the kernel in Verilator, driven by its registers, on the simulator's memories.

use super::golden::image;
use super::{Backend, BackendError, NotLoaded};
use crate::compile::Part;
use crate::packed::PackedModel;
use fastcar_arch::config::AccelConfig;
use fastcar_arch::layout::RecordLayout;
use fastcar_arch::program::Program;
use fastcar_arch::step::{GateReport, StepReport, StepTable};
use fastcar_arch::units::Bytes;
use fastcar_rtl::{BenchError, Board, Counted, Failed, Progress, RunError};
use fastcar_sim::memory::{MemoryError, MemorySpec, MemorySystem, SpecError};
use fastcar_sim::{Placement, SimError};
use std::sync::Arc;
use std::time::Duration;

/// What the hardware stands on.
#[derive(Clone, Debug, Default)]
pub struct RtlOptions {
    /// The memory; that of the configuration where not given.
    pub memory: Option<MemorySpec>,
    /// Phase of the memory's refresh: 0 for all channels alike.
    pub memory_seed: u64,
}

/// Why there is no hardware, or a run fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RtlBackendError {
    /// It cannot be made.
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// The memory's description.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Program, step table and report have no room.
    #[error(transparent)]
    Room(#[from] SimError),
    /// It does what it must not do.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A model for another machine.
    #[error("the hardware is a '{found}', the model is packed for '{expected}'")]
    Configuration {
        /// What was made.
        found: String,
        /// What the model needs.
        expected: String,
    },
    /// A run that has ended with an error of the machine.
    #[error(transparent)]
    Failed(#[from] Failed),
}

/// The kernel of a configuration with memories behind it: bits, cycles and counters of the Verilog.
pub struct RtlBackend {
    board: Board,
    spec: MemorySpec,
    memory_seed: u64,
    records: RecordLayout,
    /// Bytes of each channel that the model has.
    loaded: Option<Bytes>,
    last: Option<Counted>,
}

const NAME: &str = "rtl";

fn fail(source: impl Into<RtlBackendError>) -> BackendError {
    BackendError::new(NAME, source.into())
}

impl RtlBackend {
    /// Makes the kernel of a configuration, which takes minutes where it has not been made before, without a model.
    ///
    /// # Errors
    /// Verilator or a compiler is missing or fails; the memory is none for this configuration.
    pub fn open(
        config: &AccelConfig,
        options: RtlOptions,
        progress: &dyn Progress,
    ) -> Result<Self, RtlBackendError> {
        let spec = options.memory.map_or_else(|| MemorySpec::for_config(config), Ok)?;
        MemorySystem::new(&spec, config, options.memory_seed)?;
        Ok(Self {
            board: Board::prompt_kernel(config, progress)?,
            spec,
            memory_seed: options.memory_seed,
            records: RecordLayout::new(config),
            loaded: None,
            last: None,
        })
    }

    fn loaded(&self) -> Result<Bytes, BackendError> {
        self.loaded.ok_or_else(|| BackendError::new(NAME, NotLoaded))
    }

    fn execute(
        &mut self,
        program: &Program,
        table: &StepTable,
        data: Bytes,
    ) -> Result<StepReport, RtlBackendError> {
        program.check_step(table).map_err(SimError::from)?;
        let at = Placement::behind(self.board.config(), program, data)?;
        let memory = MemorySystem::new(&self.spec, self.board.config(), self.memory_seed)?;
        let report = vec![0; table.gates.len() * size_of::<GateReport>()];
        self.board.write(0, at.report, &report);
        let counted = self.board.run(program, table, at, memory)?;
        if let Some(failed) = counted.error {
            return Err(failed.into());
        }
        self.last = Some(counted);
        Ok(StepReport::from_bytes(&self.board.bytes(0)[at.report as usize..][..report.len()]))
    }
}

impl Backend for RtlBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    fn load_parts(
        &mut self,
        model: &Arc<PackedModel>,
        parts: &[Part],
        memory: Bytes,
    ) -> Result<(), BackendError> {
        (self.loaded, self.last) = (None, None);
        let (found, expected) = (self.board.config(), model.config());
        if found != expected {
            let [found, expected] = [found, expected].map(|config| config.name().to_owned());
            return Err(fail(RtlBackendError::Configuration { found, expected }));
        }
        let image = image(model, parts, memory).into_channels();
        self.board.memories().zip(image).for_each(|(bytes, image)| *bytes = image);
        self.loaded = Some(memory);
        Ok(())
    }

    fn run(&mut self, program: &Program, table: &StepTable) -> Result<StepReport, BackendError> {
        let data = self.loaded()?;
        self.last = None;
        self.execute(program, table, data).map_err(fail)
    }

    fn last_counted(&self) -> Option<&Counted> {
        self.last.as_ref()
    }

    fn last_run_time(&self) -> Option<Duration> {
        let clock = self.board.config().clock().get() as f64;
        self.last.as_ref().map(|counted| Duration::from_secs_f64(counted.cycles as f64 / clock))
    }

    fn read_record(&self, addr: u64, out: &mut [u8]) -> Result<(), BackendError> {
        self.loaded()?;
        for (place, range) in self.records.pieces(out.len() as u64) {
            let start = (addr + place.offset) as usize;
            let len = range.len();
            out[range].copy_from_slice(&self.board.bytes(place.channel)[start..start + len]);
        }
        Ok(())
    }

    fn read_channel(&self, channel: usize, start: u64, out: &mut [u8]) -> Result<(), BackendError> {
        self.loaded()?;
        out.copy_from_slice(&self.board.bytes(channel)[start as usize..][..out.len()]);
        Ok(())
    }

    fn write_channel(&mut self, channel: usize, start: u64, bytes: &[u8]) -> Result<(), BackendError> {
        self.loaded()?;
        self.board.write(channel, start, bytes);
        Ok(())
    }
}
