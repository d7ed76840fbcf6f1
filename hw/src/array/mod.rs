//! The MAC array's side of a channel: what its beats meet, and when.
//!
//! [`Feeder`] takes the beats of products from the stream buffers and says for each what
//! [`Cluster`](crate::pe::Cluster) asks for; [`Operands`], within it, keeps activation blocks until they are used.

pub mod feeder;
pub mod operands;
mod walk;

pub use feeder::{Feeder, Product};
pub use operands::{OPERAND_SETS, Operand, OperandHeader, Operands};
