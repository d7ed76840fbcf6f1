//! Cycle-accurate simulator of the fastcar accelerator: the machine of `docs/ARCHITECTURE.md`, unit by unit, with the
//! values of [`fastcar_golden::Golden`] and the timing of `fastcar_arch::timing`.
//!
//! Time does not depend on values but through the *decisions* that values make ([`fastcar_golden::Decisions`]): which
//! slots replay, which input blocks changed, which tokens are attended. So a run is simulated in two halves that meet
//! there: the values by the functional model, the cycles by [`Timer`]. A run without values takes its decisions from a
//! recorded or statistical source and has, for the same decisions, the same cycles.

mod counters;
pub mod dram;
mod error;
mod flow;
mod machine;
pub mod memory;
mod plan;
pub mod port;
mod run;
mod simulator;
mod trace;
mod wave;

pub use counters::{Counters, Traffic, UnitCycles};
pub use error::SimError;
pub use run::{Advance, Placement, Policy, SimOptions, Timer, Timing, UnknownPolicy};
pub use simulator::{Simulator, ValueRun};
pub use trace::{Span, chrome_trace};
