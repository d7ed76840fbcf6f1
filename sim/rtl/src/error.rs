//! What goes wrong on the way to a device, and in its runs.

use fastcar_hw::rtl::RtlError;
use std::io;
use std::path::{Path, PathBuf};

/// Why there is no device, or what a tool has to say about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// The circuit is wrong.
    #[error(transparent)]
    Rtl(#[from] RtlError),
    /// A tool is missing.
    #[error("{tool} is missing: {install} (scripts/setup-test.sh installs all that the tests use)")]
    Missing {
        /// Tool.
        tool: String,
        /// How it is installed.
        install: &'static str,
    },
    /// A tool has failed.
    #[error("{what} failed, see {}:\n{output}", folder.display())]
    Failed {
        /// What it was to do.
        what: String,
        /// Where it ran.
        folder: PathBuf,
        /// What it says.
        output: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// File.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A library that was made cannot be loaded.
    #[error("{}: {source}", path.display())]
    Load {
        /// Library.
        path: PathBuf,
        /// What the loader says.
        source: libloading::Error,
    },
    /// A fault that cannot be put in.
    #[error("fault '{fault}': {what}")]
    Fault {
        /// The fault.
        fault: String,
        /// Why not.
        what: &'static str,
    },
    /// Nowhere to keep what is made.
    #[error("there is no folder for compiled hardware: set FASTCAR_CACHE to one, or HOME")]
    NoCache,
}

/// Attaches a path to an error of the system.
pub fn at(path: &Path) -> impl FnOnce(io::Error) -> BenchError + '_ {
    move |source| BenchError::File { path: path.into(), source }
}

/// What the hardware does that it must not; the device is of no use afterwards.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The run does not end.
    #[error("the run does not end: nothing has crossed a channel since its cycle {cycle}")]
    Hung {
        /// The last cycle in which something did.
        cycle: u64,
    },
    /// A channel's bus.
    #[error("channel {channel}, cycle {cycle}: {what}")]
    Bus {
        /// Channel.
        channel: usize,
        /// Cycle of the run.
        cycle: u64,
        /// What is wrong.
        what: String,
    },
    /// The registers.
    #[error("registers: {what}")]
    Registers {
        /// What is wrong.
        what: String,
    },
}
