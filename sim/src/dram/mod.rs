//! One DRAM channel at the level of its commands: an HBM2 pseudo-channel, or a DDR4 channel of 64 bits.
//!
//! # Purpose
//!
//! Says when the data of an access is on the bus, as a controller of the usual kind would have it: data in the order
//! of the accesses, rows opened ahead of it, rows left open until another is needed.
//!
//! # Interface
//!
//! [`Dram::serve`] takes one access (arrival, address, bytes, direction) and returns when its first and last column
//! access have crossed the data bus, and the even distance of those between. There is no event queue: an access is
//! computed from what the accesses before it left behind, so accesses come in the order of arrival. [`Dram`] compares
//! and clones: two channels in the same state have the same future.
//!
//! An access lies within one *row window*: the rows, one per interleaved bank group, over which consecutive column
//! accesses take turns. The window of the map `14R-1G-2B-5C-1G` is two rows of 1 KB.
//!
//! # Timing
//!
//! * A column command needs its row open for tRCD, tCCD_S after any and tCCD_L after one of its bank group, and the bus
//!   turned around: CL + burst + gap - CWL from read to write, CWL + burst + tWTR from write to read. The column
//!   commands of an access are evenly spaced, by the largest of burst, tCCD_S and tCCD_L over the interleaved groups.
//! * A row is opened as soon as its access has arrived and tRC, tRP, tRRD_S, tRRD_L and tFAW allow, also while data of
//!   earlier accesses is on the bus. How far ahead that is, is decided by how many accesses the caller lets queue up.
//!   Activates are given in the order of the accesses.
//! * A bank holding another row is precharged first: tRAS after its activate, tRTP after its last read, tWR after its
//!   last write data.
//! * A refresh (all banks) is taken before the first access that finds the bus free when it is due or later: the access
//!   on the bus ends, all rows are closed, tRP later the refresh begins, tRFC later rows may be opened. A late refresh
//!   does not make the next one late.
//!
//! Times are [`Tick`]s. Figures of the data files (`sim/data/*.toml`) are converted once, each rounded up; a kernel clock
//! under which that changes the data rate by 1e-4 is refused.
//!
//! Not modelled: contention on the command bus (a column access takes two to four command slots of the data bus, and
//! activates are few), reordering, power-down, refresh of single banks, and ECC traffic.
//!
//! # Numeric contract
//!
//! None: the memory's contents are not here.
//!
//! # Cost
//!
//! Constant time and no allocation per access: some tens of nanoseconds of the host. A refresh visits every bank.
//!
//! # Verification
//!
//! `sim/tests/dram`: every timing parameter tight in both directions, random accesses against a naive model and a
//! checker that know only the list of commands, published measurements (`docs/memory-model.md`).
//!
//! # Example
//!
//! ```
//! use fastcar_arch::units::Hertz;
//! use fastcar_sim::dram::{Dir, Dram, Tick};
//! use fastcar_sim::memory::MemorySpec;
//!
//! let spec = MemorySpec::named("hbm2")?;
//! let mut dram = Dram::new(&spec.fields().channel, Hertz(250_000_000), 0)?;
//! let closed = dram.serve(Tick::from_cycle(100), 0, 64, Dir::Read);
//! let hit = dram.serve(Tick::from_cycle(200), 64, 64, Dir::Read);
//! assert!(hit.last - Tick::from_cycle(200) < closed.last - Tick::from_cycle(100));
//! assert_eq!(dram.counters().hits, 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod channel;
mod map;
mod spec;
mod time;
mod timing;

pub use channel::Dram;
pub(crate) use map::AddressMap;
pub use spec::{ChannelFields, TimingFields};
pub use time::{Cycle, Tick};
pub(crate) use timing::from_ps;

/// Most banks of a channel.
const MAX_BANKS: usize = 64;

/// Direction of an access.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Dir {
    /// From the memory.
    Read,
    /// To the memory.
    Write,
}

/// When the data of an access crosses the data bus.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Served {
    /// End of the first column access.
    pub first: Tick,
    /// End of the last column access.
    pub last: Tick,
    /// Distance of the column accesses.
    pub atom: Tick,
}

/// One command to the DRAM.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Command {
    /// When it is given.
    pub at: Tick,
    /// Bank, numbered through the channel; 0 for commands to all banks.
    pub bank: u32,
    /// Bank group; 0 for commands to all banks.
    pub group: u32,
    /// What it is.
    pub kind: CommandKind,
}

/// The commands to a DRAM.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CommandKind {
    /// Open a row.
    Activate {
        /// The row.
        row: u32,
    },
    /// Close the row of a bank.
    Precharge,
    /// Close all rows.
    PrechargeAll,
    /// Column read.
    Read,
    /// Column write.
    Write,
    /// Refresh of all banks.
    Refresh,
}

/// What has happened in a channel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct DramCounters {
    /// Banks of accesses whose row was open.
    pub hits: u64,
    /// Banks of accesses that had no row open.
    pub misses: u64,
    /// Banks of accesses that had another row open.
    pub conflicts: u64,
    /// Activates.
    pub activates: u64,
    /// Refreshes.
    pub refreshes: u64,
    /// Changes of the data bus between reading and writing.
    pub turnarounds: u64,
    /// Column reads.
    pub read_atoms: u64,
    /// Column writes.
    pub write_atoms: u64,
    /// Time with data on the bus.
    pub busy: Tick,
}

impl DramCounters {
    fn count(&mut self, dir: Dir, atoms: u64, burst: Tick, turned: bool) {
        match dir {
            Dir::Read => self.read_atoms += atoms,
            Dir::Write => self.write_atoms += atoms,
        }
        self.turnarounds += u64::from(turned);
        self.busy = self.busy + burst.times(atoms);
    }
}

/// Why a channel does not exist.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DramError {
    /// A figure outside its range.
    #[error("channel.{field} = {found}: must be {allowed}, because {reason}")]
    Figure {
        /// Field.
        field: &'static str,
        /// What was given.
        found: u64,
        /// What is allowed.
        allowed: String,
        /// Why.
        reason: &'static str,
    },
    /// An address map that is none.
    #[error("channel.map = '{found}': {reason}; an example is 14R-1G-2B-5C-1G")]
    Map {
        /// What was given.
        found: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A kernel clock too slow for the time base.
    #[error(
        "a kernel clock of {clock_hz} Hz is too slow beside a DRAM clock of {dram_hz} Hz: time is counted in 1/65536 \
         cycles, and rounding a burst to it would change the data rate by more than 1e-4; take a faster kernel clock"
    )]
    Clock {
        /// Kernel clock.
        clock_hz: u64,
        /// DRAM clock.
        dram_hz: u64,
    },
}
