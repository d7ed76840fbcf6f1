//! The MAC array's side of a channel: what its beats meet, and when.
//!
//! [`Feeder`] takes the beats of products from the stream buffers and says for each what
//! [`Cluster`](crate::pe::Cluster) asks for; [`Operands`], within it, keeps activation blocks until they are used.
//! [`Sender`], in the middle, sends them, of masked products those of the blocks that [`Finder`] finds. [`Share`] is all of a channel: these, the cluster, and what it has for keys and values. [`Drain`] gives out a
//! cluster's rows; [`Results`], in the middle, asks for them and gives them to the vector unit.

pub mod drain;
pub mod feeder;
pub mod finder;
pub mod mapping;
pub mod operands;
pub mod results;
pub mod sender;
pub mod sequencer;
pub mod share;
mod walk;

pub use drain::Drain;
pub use feeder::{Feeder, Product};
pub use finder::Finder;
pub use mapping::Mapping;
pub use operands::{OPERAND_SETS, Operand, OperandHeader, Operands};
pub use results::{Place, Results};
pub use sender::{Note, Sender};
pub use sequencer::{Command, Sequencer};
pub use share::Share;
