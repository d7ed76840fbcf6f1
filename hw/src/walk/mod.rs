//! Walkers: from commands to the runs of beats that ports read and write.

pub mod job;
pub mod records;

pub use job::{Job, Known, Sizes, job};
pub use records::RecordWalker;
