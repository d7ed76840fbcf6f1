//! Bit-exact functional model of the fastcar accelerator: executes a command program over a memory image.
//!
//! It defines the values and knows no time. Every rule is docs/numerics.md through [`fastcar_arch::num`]; the order
//! of work here (rows, slots, threads) is free, because each reduction is an integer sum and the rest is
//! element-wise. So the bits of a slot depend on its model, its inputs and its gate masks, and on nothing else.

mod attention;
mod decisions;
mod delta;
mod gate;
mod golden;
mod matvec;
mod memory;
mod slot;
mod vector;

pub use decisions::Decisions;
pub use golden::{Golden, GoldenError};
pub use memory::{ChannelCount, Memory};
