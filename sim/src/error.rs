//! Why a run is refused or ends.

use crate::memory::{FaultKind, MemoryError, SpecError};
use fastcar_arch::program::ProgramError;
use fastcar_arch::units::Bytes;
use fastcar_golden::GoldenError;

/// Why a run is refused or ends.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// The step table does not fit the program.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The values.
    #[error(transparent)]
    Golden(#[from] GoldenError),
    /// The memory's description.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Program, step table and report have no room behind the data.
    #[error(
        "program, step table and report need {asked} behind the data on channel 0, {left} of {capacity} are left; use fewer slots or a board with more memory"
    )]
    NoRoom {
        /// Bytes needed.
        asked: Bytes,
        /// Bytes left.
        left: Bytes,
        /// Capacity of a channel.
        capacity: Bytes,
    },
    /// Program, step table or report at a place that cannot be.
    #[error(
        "{what}: {bytes} from byte {start} of channel 0; it must begin at a multiple of {} and end within the channel's {capacity}",
        crate::run::Placement::ALIGNMENT
    )]
    Placement {
        /// Which part.
        what: &'static str,
        /// Where it begins.
        start: u64,
        /// Its size.
        bytes: Bytes,
        /// Capacity of a channel.
        capacity: Bytes,
    },
    /// The decisions are not those of the program.
    #[error("decisions: {what} is {found}, the program has {expected}")]
    Decisions {
        /// Which.
        what: &'static str,
        /// Number found.
        found: usize,
        /// Number expected.
        expected: usize,
    },
    /// A memory answered with an error.
    #[error(
        "cycle {cycle}: channel {channel} answered a {direction} for the {unit}, command {command} ({mnemonic}), with {kind}; the run has ended with status '{status}'"
    )]
    Fault {
        /// When.
        cycle: u64,
        /// Memory channel.
        channel: u32,
        /// `read` or `write`.
        direction: &'static str,
        /// Unit that it was for.
        unit: &'static str,
        /// Position in the program; that of `end` for step table, commands and report.
        command: usize,
        /// Its mnemonic.
        mnemonic: &'static str,
        /// What the memory reported.
        kind: FaultKind,
        /// Name of the code in the `ERROR` register.
        status: &'static str,
    },
    /// Nothing can move any more.
    #[error(
        "watchdog: nothing has moved since cycle {cycle}; command {command} ({mnemonic}) waits in the {unit}. State:\n{state}"
    )]
    Stalled {
        /// Last cycle with an event.
        cycle: u64,
        /// Oldest command that is not done.
        command: usize,
        /// Its mnemonic.
        mnemonic: &'static str,
        /// Unit that it waits in.
        unit: &'static str,
        /// What every unit and channel waits for.
        state: String,
    },
}
