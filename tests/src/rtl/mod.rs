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
//! * [`Rtl`], [`Board`] and [`Random`] are those of `fastcar-rtl`; libraries are kept below the target folder.
//! * [`gather`] puts several modules into one, so that one library serves several tests.
//! * [`accept`] has every tool look at a design; [`synthesise`] counts its cells, [`depth`] the look-up tables between two of
//!   its registers, [`hold`] compares both with a file of `tests/baselines/rtl`; [`prove`] runs a formal property, [`cocotb()`] a bench in Python.
//! * [`Gaps`] and [`Cover`] make back-pressure, and see to it that stimulus reached what it should.
//!
//! A missing tool is an error with the line that installs it. `SKIP_RTL=1` leaves these tests out, and says so.

mod accept;
mod baseline;
mod cocotb;
mod cover;
mod depth;
mod formal;
mod gaps;
mod gather;
mod tools;

pub use accept::{Cells, accept, accept_folder, synthesise};
pub use baseline::{Figures, hold};
pub use cocotb::cocotb;
pub use cover::Cover;
pub use depth::{Depth, depth};
pub use fastcar_rtl::{BenchError, Board, Counted, Failed, Random, Rtl, RunError, Value};
pub use formal::prove;
pub use gaps::Gaps;
pub use gather::gather;
pub use tools::skipped;
