//! What executes step programs: the functional model now; simulator, RTL and cards behind the same trait.

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

#[cfg(feature = "golden")]
pub use golden::GoldenBackend;

#[cfg(feature = "golden")]
mod golden {
    use super::{Backend, BackendError, Bytes, PackedModel, Program, StepReport, StepTable};
    use fastcar_golden::{Golden, Memory};

    /// The bit-exact functional model, in this process.
    #[derive(Default)]
    pub struct GoldenBackend {
        machine: Option<Golden>,
        parallel_from: Option<u64>,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("no model is loaded")]
    struct NotLoaded;

    const NAME: &str = "golden";

    fn fail(source: impl std::error::Error + Send + Sync + 'static) -> BackendError {
        BackendError { backend: NAME, source: Box::new(source) }
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
            Self { machine: None, parallel_from: Some(products) }
        }

        fn memory(&self) -> Result<&Memory, BackendError> {
            self.machine.as_ref().map(Golden::memory).ok_or_else(|| fail(NotLoaded))
        }
    }

    impl Backend for GoldenBackend {
        fn name(&self) -> &'static str {
            NAME
        }

        fn load(&mut self, model: &PackedModel, memory: Bytes) -> Result<(), BackendError> {
            let mut image = Memory::new(model.config(), memory);
            for channel in 0..model.config().channels() as usize {
                let constants = model.channel(channel);
                image.channel_mut(channel)[..constants.len()].copy_from_slice(constants);
            }
            let machine = Golden::new(model.config().clone(), image);
            self.machine = Some(match self.parallel_from {
                Some(products) => machine.with_parallel_from(products),
                None => machine,
            });
            Ok(())
        }

        fn run(&mut self, program: &Program, table: &StepTable) -> Result<StepReport, BackendError> {
            self.machine.as_mut().ok_or_else(|| fail(NotLoaded))?.run(program, table).map_err(fail)
        }

        fn read_record(&self, addr: u64, out: &mut [u8]) -> Result<(), BackendError> {
            self.memory()?.read_record(addr, out);
            Ok(())
        }

        fn read_channel(&self, channel: usize, start: u64, out: &mut [u8]) -> Result<(), BackendError> {
            let start = start as usize;
            out.copy_from_slice(&self.memory()?.channel(channel)[start..start + out.len()]);
            Ok(())
        }

        fn write_channel(&mut self, channel: usize, start: u64, bytes: &[u8]) -> Result<(), BackendError> {
            let machine = self.machine.as_mut().ok_or_else(|| fail(NotLoaded))?;
            let start = start as usize;
            machine.memory_mut().channel_mut(channel)[start..start + bytes.len()].copy_from_slice(bytes);
            Ok(())
        }
    }
}
