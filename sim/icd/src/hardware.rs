//! Runs on the generated hardware in Verilator instead of the models of it, where the feature `rtl` has it.

use fastcar_arch::config::AccelConfig;
use fastcar_arch::program::Program;
use fastcar_arch::step::StepTable;
use fastcar_sim::Placement;
use fastcar_sim::memory::Fault;

/// What is asked of the hardware. The bytes of the channels come back with what the run has left there.
pub(crate) struct Asked<'a> {
    pub(crate) program: &'a Program,
    pub(crate) table: &'a StepTable,
    pub(crate) at: Placement,
    pub(crate) faults: Vec<Fault>,
    pub(crate) channels: &'a mut [Vec<u8>],
}

/// What a run has left.
pub(crate) struct Ran {
    pub(crate) report: Vec<u8>,
    pub(crate) cycles: u64,
}

#[cfg(feature = "rtl")]
pub(crate) use built::{Hardware, HardwareError};
#[cfg(not(feature = "rtl"))]
pub(crate) use missing::{Hardware, HardwareError};

#[cfg(feature = "rtl")]
mod built {
    use super::{AccelConfig, Asked, Ran};
    use fastcar_arch::step::GateReport;
    use fastcar_rtl::{BenchError, Board, Failed, RunError};
    use fastcar_sim::memory::{MemoryError, MemorySpec, MemorySystem, SpecError};

    /// Why there is no hardware, or a run fails.
    #[derive(Debug, thiserror::Error)]
    pub(crate) enum HardwareError {
        #[error(transparent)]
        Bench(#[from] BenchError),
        #[error(transparent)]
        Spec(#[from] SpecError),
        #[error(transparent)]
        Memory(#[from] MemoryError),
        #[error(transparent)]
        Run(#[from] RunError),
        #[error(transparent)]
        Failed(#[from] Failed),
    }

    /// The kernel, and the memory that it stands on.
    pub(crate) struct Hardware {
        board: Board,
        spec: MemorySpec,
    }

    impl Hardware {
        /// Makes the kernel of a configuration, which takes minutes where it has not been made before.
        pub(crate) fn new(config: &AccelConfig) -> Result<Self, HardwareError> {
            let spec = MemorySpec::for_config(config)?;
            Ok(Self { board: Board::prompt_kernel(config, &())?, spec })
        }

        /// Runs once.
        pub(crate) fn run(&mut self, asked: &mut Asked<'_>) -> Result<Ran, HardwareError> {
            let sizes: Vec<usize> = asked.channels.iter().map(Vec::len).collect();
            self.exchange(asked.channels);
            let ran = self.run_here(asked);
            self.exchange(asked.channels);
            // Program, step table and report are buffers of their own.
            asked.channels.iter_mut().zip(sizes).for_each(|(bytes, size)| bytes.truncate(size));
            ran
        }

        /// The channels' buffers are the board's memory for the time of the run.
        fn exchange(&mut self, channels: &mut [Vec<u8>]) {
            self.board.memories().zip(channels).for_each(|(here, there)| std::mem::swap(here, there));
        }

        fn run_here(&mut self, asked: &Asked<'_>) -> Result<Ran, HardwareError> {
            let Asked { program, table, at, faults, .. } = asked;
            let mut memory = MemorySystem::new(&self.spec, self.board.config(), 0)?;
            faults.iter().try_for_each(|fault| memory.inject(fault.clone()))?;
            let zeros = vec![0; table.gates.len() * size_of::<GateReport>()];
            self.board.write(0, at.report, &zeros);
            let counted = self.board.run(program, table, *at, memory)?;
            if let Some(failed) = counted.error {
                return Err(failed.into());
            }
            let report = self.board.bytes(0)[at.report as usize..][..zeros.len()].to_vec();
            Ok(Ran { report, cycles: counted.cycles })
        }
    }
}

#[cfg(not(feature = "rtl"))]
mod missing {
    use super::{AccelConfig, Asked, Ran};

    /// There is no hardware.
    #[derive(Debug, thiserror::Error)]
    #[error("this platform was built without the hardware: build fastcar-icd with its feature `rtl`")]
    pub(crate) struct HardwareError;

    /// None can be made.
    pub(crate) enum Hardware {}

    impl Hardware {
        pub(crate) fn new(_: &AccelConfig) -> Result<Self, HardwareError> {
            Err(HardwareError)
        }

        pub(crate) fn run(&mut self, _: &mut Asked<'_>) -> Result<Ran, HardwareError> {
            match *self {}
        }
    }
}
