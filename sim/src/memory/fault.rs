//! Faults that can be put into the memory.

use super::Burst;
use crate::dram::{Cycle, Dir};
use std::fmt;
use std::ops::Range;

/// A fault to put into the memory; it stays.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// Bursts of one direction that touch a range of the port's own addresses get an error response, SLVERR.
    SlaveError {
        /// Port.
        port: u32,
        /// Direction.
        dir: Dir,
        /// Addresses.
        range: Range<u64>,
    },
    /// Reads that touch a range meet an error that the memory's code can detect but not correct.
    Ecc {
        /// Port.
        port: u32,
        /// Addresses.
        range: Range<u64>,
    },
    /// The port answers nothing that is issued in this cycle or later.
    Stuck {
        /// Port.
        port: u32,
        /// Cycle.
        from: Cycle,
    },
}

/// Why a burst has failed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FaultKind {
    /// The response was SLVERR.
    SlaveError,
    /// The response was SLVERR, from an ECC error.
    Ecc,
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SlaveError => "AXI error response (SLVERR)",
            Self::Ecc => "uncorrectable ECC error (SLVERR)",
        })
    }
}

impl Fault {
    /// The port.
    #[must_use]
    pub fn port(&self) -> u32 {
        match self {
            Self::SlaveError { port, .. } | Self::Ecc { port, .. } | Self::Stuck { port, .. } => *port,
        }
    }

    /// The addresses, for a fault that has some.
    pub(super) fn range(&self) -> Option<&Range<u64>> {
        match self {
            Self::SlaveError { range, .. } | Self::Ecc { range, .. } => Some(range),
            Self::Stuck { .. } => None,
        }
    }

    fn touches(&self, burst: Burst) -> bool {
        self.range().is_some_and(|r| r.start < burst.addr + u64::from(burst.bytes) && burst.addr < r.end)
    }
}

/// The faults of a port.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Faults(pub Vec<Fault>);

impl Faults {
    /// Whether what is issued in a cycle gets no answer.
    pub(super) fn stuck(&self, issue: Cycle) -> bool {
        self.0.iter().any(|fault| matches!(fault, Fault::Stuck { from, .. } if *from <= issue))
    }

    /// How a burst fails, if it does. An ECC error is found before the response, so it goes first.
    pub(super) fn kind(&self, dir: Dir, burst: Burst) -> Option<FaultKind> {
        let hit = |kind| {
            self.0.iter().any(|fault| match fault {
                Fault::Ecc { .. } => kind == FaultKind::Ecc && dir == Dir::Read && fault.touches(burst),
                Fault::SlaveError { dir: d, .. } => {
                    kind == FaultKind::SlaveError && *d == dir && fault.touches(burst)
                }
                Fault::Stuck { .. } => false,
            })
        };
        [FaultKind::Ecc, FaultKind::SlaveError].into_iter().find(|kind| hit(*kind))
    }
}
