//! Walkers: from commands to the runs of beats that ports read and write.

pub mod appends;
pub mod caches;
pub mod head_queue;
pub mod heads;
pub mod job;
pub mod lists;
pub mod past;
pub mod queue;
pub mod records;
pub mod run_finder;
pub mod turns;
pub mod weights;
pub mod weights_queue;

pub use appends::Appends;
pub use caches::CacheWalker;
pub use head_queue::{HeadQueue, WaitingHeads};
pub use heads::Heads;
pub use job::{Direction, Job, Known, Shape, Sizes, shape};
pub use lists::{Entry, ListJob, Listed, Lists, Note};
pub use past::PastWalker;
pub use queue::RecordQueue;
pub use records::RecordWalker;
pub use run_finder::{MaskedJob, Piece, RunFinder};
pub use turns::Turns;
pub use weights::{Matrix, WeightSizes, WeightWalker};
pub use weights_queue::{WaitingProduct, WeightQueue};
