//! Walkers: from commands to the runs of beats that ports read and write.

pub mod appends;
pub mod job;
pub mod queue;
pub mod records;
pub mod weights;
pub mod weights_queue;

pub use appends::Appends;
pub use job::{Direction, Job, Known, Shape, Sizes, shape};
pub use queue::RecordQueue;
pub use records::RecordWalker;
pub use weights::{Matrix, WeightSizes, WeightWalker};
pub use weights_queue::{WaitingProduct, WeightQueue};
