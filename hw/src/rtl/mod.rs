//! Circuits whose widths are known at run time: written in Rust, simulated, and printed as Verilog.
//!
//! A [`Builder`] collects the ports, registers, memories, instances and expressions of one module and checks them;
//! [`Builder::finish`] gives the [`Module`], or the first thing that was wrong with its place in the source. Modules are put
//! together by [`Builder::instance`], written as Verilog by [`emit`], run by [`Simulator`] and used as `rust-hdl`
//! blocks through [`Circuit`].
//!
//! What a module cannot have by construction: latches, two drivers, operands of different widths, implicit nets,
//! signs that depend on the context. Wires have no sign: operations have.
//!
//! ```
//! use fastcar_hw::rtl::{Builder, Bits, Simulator};
//!
//! let m = Builder::new("accumulate_w16");
//! let (valid, value) = (m.input("valid_i", 1), m.input("value_i", 16));
//! let sum = m.reg("sum", 16).reset(0);
//! sum.set_when(valid, sum.q() + value);
//! m.output("sum_o", sum.q());
//! let module = m.finish()?;
//!
//! let mut sim = Simulator::new(&module)?;
//! sim.set("valid_i", Bits::from_u64(1, 1))?;
//! sim.set("value_i", Bits::from_u64(16, 500))?;
//! sim.tick();
//! sim.tick();
//! assert_eq!(sim.get("sum_o")?.to_u64(), Some(1000));
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

mod bits;
mod builder;
mod design;
mod error;
mod graph;
mod names;
mod parts;
mod rust_hdl;
mod sim;
mod stream;
mod verilog;
mod wire;

pub use bits::Bits;
pub use builder::Builder;
pub use design::{Design, emit};
pub use error::{Place, RtlError};
pub use graph::{Module, Port, RamStyle};
pub use parts::{Instance, Later, Memory, Reg};
pub use rust_hdl::{Circuit, Pin};
pub use sim::Simulator;
pub use stream::Stream;
pub use wire::{Operand, Wire};

/// Widest signal.
pub const MAX_WIDTH: u32 = 1 << 20;

/// Bits that it takes to tell `count` things apart; at least one.
#[must_use]
pub fn index_width(count: u64) -> u32 {
    (u64::BITS - count.saturating_sub(1).leading_zeros()).max(1)
}

/// Something that makes a module.
pub trait Block {
    /// The module.
    ///
    /// # Errors
    /// What is wrong with the circuit.
    fn module(&self) -> Result<std::sync::Arc<Module>, RtlError>;
}
