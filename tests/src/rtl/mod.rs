//! The hardware in test: modules of `fastcar-hw` run in Verilator, looked at by Icarus and Yosys, proven by SymbiYosys.
//!
//! ```no_run
//! # use fastcar_hw::rtl::{Bits, Builder};
//! # use fastcar_tests::rtl::Rtl;
//! # let module = Builder::new("empty").finish()?;
//! let mut dut = Rtl::build(&module)?;
//! dut.reset();
//! dut.set("value_i", 500);
//! dut.tick();
//! assert_eq!(dut.get("sum_o"), 500);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! * [`Rtl`] is a Verilated module; libraries are kept below the target folder and made once per text. With
//!   [`Rtl::beside_native`] the crate's own simulation runs beside it and has to agree in every output of every cycle.
//! * [`gather`] puts several modules into one, so that one library serves several tests.
//! * [`accept`] has every tool look at a design; [`synthesise`] counts its cells, [`depth`] the look-up tables between two of
//!   its registers, [`hold`] compares both with a file of `tests/baselines/rtl`; [`prove`] runs a formal property, [`cocotb()`] a bench in Python.
//! * [`Board`] is the core, or the kernel around it with a host at its registers, with the simulator's memories on its channels.
//! * [`Random`], [`Gaps`] and [`Cover`] make stimulus and see to it that it reached what it should.
//!
//! A missing tool is an error with the line that installs it. `SKIP_RTL=1` leaves these tests out, and says so.
//! `RTL_TRACE=<folder>` writes waveforms of all signals; a test that panics leaves the last cycles of the ports.

mod accept;
mod baseline;
mod board;
mod cocotb;
mod cover;
mod depth;
mod dut;
mod formal;
mod gather;
mod host;
mod library;
mod random;
mod tools;
mod wave;

pub use accept::{Cells, accept, accept_folder, synthesise};
pub use baseline::{Figures, hold};
pub use board::{Board, Counted, Failed};
pub use cocotb::cocotb;
pub use cover::Cover;
pub use depth::{Depth, depth};
pub use dut::{Rtl, Value};
pub use formal::prove;
pub use gather::gather;
pub use random::{Gaps, Random};
pub use tools::{RtlTestError, skipped};
