//! The memory as the machine sees it: AXI ports, and the DRAM behind them.
//!
//! # Purpose
//!
//! Answers, for a burst issued in some kernel clock cycle, in which cycles its beats arrive or its response comes. The
//! simulator's stream readers and writers call it, and so can a test bench around the RTL: the same calls give the same
//! cycles.
//!
//! # Interface
//!
//! A [`MemorySpec`] says what the memory is; [`MemorySystem`] is that memory in front of one configuration: an AXI port
//! per channel, [`AccelConfig::beat`](fastcar_arch::config::AccelConfig::beat) bytes wide, one beat a cycle and direction
//! at most. With HBM2 each port has a pseudo-channel of its own; with DDR4 all ports share one DRAM channel, each in its
//! region, as far apart as the DRAM's capacity allows, so that ports do not meet in a bank.
//!
//! Transfers are cut by [`MemorySystem::split`]. [`MemorySystem::read`] returns an [`Arrival`], a closed form for the
//! cycle of every beat, so that a steady stream can be advanced burst by burst; [`MemorySystem::write`] returns a
//! [`Written`].
//!
//! What callers keep to (debug-asserted):
//!
//! * the cycles of issue never decrease over calls that reach the same DRAM channel: of one port where ports have their
//!   own, of all ports where they share one, reads and writes together;
//! * a port takes one read address and one write address a cycle;
//! * bursts are whole beats within an aligned block of `burst_bytes`, inside the configuration's channel.
//!
//! How many bursts are outstanding is the caller's to limit, and so is room for beats: they are taken when they come.
//!
//! # Timing
//!
//! A handshake in cycle `c` is seen at its end, `request_ps` later the burst is in the DRAM controller's queue, which is
//! served in order (a write enters with its last beat; what was issued after it waits behind it). Data crosses the DRAM's
//! bus as [`crate::dram`] says, and is at the port `response_ps` later; the port sends it in the first cycle that starts
//! at that time or later and in which it is not busy with the beat before. A write's response comes `response_ps` after
//! its data has crossed the DRAM's bus, one a cycle.
//!
//! # Numeric contract
//!
//! None: the memory's contents are not here.
//!
//! # Cost
//!
//! Constant time and no allocation per burst.
//!
//! # Verification
//!
//! `sim/tests/dram`: beats against a beat-by-beat computation, faults, both port arrangements, and the published
//! measurements of `docs/memory-model.md`.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_sim::memory::{MemorySpec, MemorySystem};
//!
//! let config = AccelConfig::preset("u55c")?;
//! let mut memory = MemorySystem::new(&MemorySpec::for_config(&config)?, &config, 0)?;
//! let mut end = 0;
//! for (cycle, burst) in memory.split(0, 16 << 10).enumerate() {
//!     let arrival = memory.read(0, cycle as u64, burst).ok_or("the port is stuck")?;
//!     end = arrival.last();
//! }
//! // 16 KB at 14.375 GB/s are 342 cycles of 3.33 ns; the rest is latency.
//! assert!((342..390).contains(&end));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod burst;
mod fault;
mod spec;
mod system;

pub use burst::{Arrival, Burst, Bursts, Written};
pub use fault::{Fault, FaultKind};
pub use spec::{MemoryFields, MemorySpec, Ports, SpecError};
pub use system::{MemoryError, MemorySystem, PortCounters};
