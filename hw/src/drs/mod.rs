//! Dynamic resource scheduling: the decisions of the gates, and which slots a command runs for.

pub mod decisions;
pub mod gates;
pub mod settle;

pub use decisions::Decisions;
pub use gates::Gates;
pub use settle::Settle;
