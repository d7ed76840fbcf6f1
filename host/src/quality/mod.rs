//! What a policy costs in pictures: measurements of held-out clips under policies, and sweeps of a policy's threshold.
//!
//! A [`Bench`] holds a packed model, clips and the model's own dense decode of them. [`Bench::measure`] decodes every
//! clip three times under a policy: along the dense decode's tokens, which compares single decisions; free-running from
//! the true first frame, which compares videos; and along the true video, which compares accuracy. Decoding is greedy.
//! [`sweep()`] takes [`Family`]s of policies, which have one knob, through a list of weight traffics, so that
//! different ways to save the same bytes stand beside each other. [`table`] writes and reads the result.

pub mod bench;
pub mod family;
pub mod metrics;
mod search;
pub mod sweep;
pub mod table;

pub use bench::{Bench, Fidelity, Machines, Measurement, Scene};
pub use family::{Family, FamilyError, Kind};
pub use metrics::MetricError;
pub(crate) use search::{Knob, Search};
pub use sweep::{Point, sweep};

use crate::model::ModelError;
use crate::policy::PolicyError;
use crate::session::SessionError;

/// Why a measurement fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QualityError {
    /// Nothing to measure on.
    #[error("no clips: give at least one prompt, or a model with held-out videos (heldout.safetensors)")]
    NoClips,
    /// A clip that does not fit the model's videos.
    #[error("clip {clip} has {found} tokens: the model's videos have {expected}, and more than one frame")]
    Clip {
        /// Which.
        clip: usize,
        /// Tokens found.
        found: usize,
        /// Tokens of a whole video.
        expected: usize,
    },
    /// A model with several codes per position.
    #[error(
        "quality is measured on models with one token per position, this one has a depth transformer: use its body alone"
    )]
    Codes,
    /// Stopped by the caller.
    #[error("cancelled")]
    Cancelled,
    /// A decode.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// Tokens that are no pictures.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Pictures that cannot be compared.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// A policy out of range.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}
