//! The hardware that runs: modules of `fastcar-hw` in Verilator, and the whole kernel with a host at its registers and the
//! simulator's memories on its channels.
//!
//! ```no_run
//! # use fastcar_hw::rtl::Builder;
//! # use fastcar_rtl::Rtl;
//! # let module = Builder::new("empty").finish()?;
//! let mut dut = Rtl::build(&module)?;
//! dut.reset();
//! dut.set("value_i", 500);
//! dut.tick();
//! assert_eq!(dut.get("sum_o"), 500);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! * [`Rtl`] is a Verilated module: a shared library that Verilator and a C++ compiler make once per text ([`held_folder`]).
//!   With [`Rtl::beside_native`] the crate's own simulation runs beside it and has to agree in every output of every cycle.
//! * [`Board`] is the core, or the kernel around it with a host at its registers, with memories on its channels. What a run
//!   takes is [`Counted`], by the kernel's own counters.
//! * A [`Fault`] in the environment is put into what is compiled, to see whether a test catches it.
//! * [`Random`] makes stimulus, and the host hesitate.
//!
//! A missing tool is an error with the line that installs it. `RTL_TRACE=<folder>` writes waveforms of all signals; a device
//! that is dropped in a panic leaves the last cycles of its ports.

mod board;
mod cache;
mod channel;
mod counted;
mod dut;
mod error;
mod fault;
mod host;
mod library;
mod random;
mod tools;
mod wave;

pub use board::Board;
pub use cache::{Held, cache_folder, held_folder, key, target_folder};
pub use counted::{Counted, Failed};
pub use dut::{Input, Output, Rtl, Value};
pub use error::{BenchError, RunError, at};
pub use fault::{FAULT, FAULT_FAILED, FAULT_RUNS, Fault, FaultKind};
pub use library::{Building, Progress};
pub use random::Random;
pub use tools::{run, system_tool};
