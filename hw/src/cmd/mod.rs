//! The command processor: from the program in memory to the units' queues.

pub mod check;
pub mod decode;
pub mod dispatch;
pub mod fields;
pub mod prefetch;
pub mod ranges;
pub mod table;
pub mod writers;

pub use check::Check;
pub use decode::Classes;
pub use dispatch::{Dispatch, NUMBER_BITS};
pub use fields::{COMMAND_BITS, Fields};
pub use prefetch::Prefetch;
pub use ranges::Ranges;
pub use table::TableReader;
pub use writers::Writers;
