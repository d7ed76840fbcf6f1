//! The decision between computing an MLP and replaying its output of the previous frame.

use super::OracleError;
use super::ops::{dot, sum_squares};
use crate::policy::TasForm;

/// What decides.
#[derive(Debug, Clone, PartialEq)]
pub enum Gate {
    /// Nothing: every MLP is computed. Scores of the given form are still measured.
    Dense {
        /// The form of the scores.
        form: TasForm,
    },
    /// Replay where the mean over heads of `q . k[t - P] / sqrt(head_dim)` exceeds the layer's threshold.
    Tas {
        /// Which queries.
        form: TasForm,
        /// One per layer; `None` is a dense layer.
        thresholds: Vec<Option<f32>>,
    },
    /// Replay where the normalised MLP input is nearer, relative to its own length, to the input at which the
    /// cached output was computed than the layer's threshold.
    InputDelta {
        /// One per layer; `None` is a dense layer.
        thresholds: Vec<Option<f32>>,
    },
}

/// When MLP outputs are replayed.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    period: usize,
    gate: Gate,
    max_age: Option<u32>,
}

impl Replay {
    /// A policy over frames of `period` positions.
    ///
    /// # Errors
    /// [`OracleError::Period`] for a period of 0.
    pub fn new(period: usize, gate: Gate) -> Result<Self, OracleError> {
        if period == 0 {
            return Err(OracleError::Period);
        }
        Ok(Self { period, gate, max_age: None })
    }

    /// Computes after `max_age` replays in a row of the same position.
    #[must_use]
    pub fn with_max_age(mut self, max_age: u32) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// Positions of a frame.
    #[must_use]
    pub fn period(&self) -> usize {
        self.period
    }

    /// What decides.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    pub(super) fn check(&self, layers: usize) -> Result<(), OracleError> {
        let found = match &self.gate {
            Gate::Dense { .. } => return Ok(()),
            Gate::Tas { thresholds, .. } | Gate::InputDelta { thresholds } => thresholds.len(),
        };
        if found == layers { Ok(()) } else { Err(OracleError::Thresholds { found, layers }) }
    }

    pub(super) fn tas_form(&self) -> Option<TasForm> {
        match &self.gate {
            Gate::Dense { form } | Gate::Tas { form, .. } => Some(*form),
            Gate::InputDelta { .. } => None,
        }
    }

    /// The gate's own opinion of a layer.
    pub(super) fn wants(&self, layer: usize, score: f32, age: u32) -> bool {
        if self.max_age.is_some_and(|limit| age >= limit) {
            return false;
        }
        match &self.gate {
            Gate::Dense { .. } => false,
            Gate::Tas { thresholds, .. } => thresholds[layer].is_some_and(|t| score > t),
            Gate::InputDelta { thresholds } => thresholds[layer].is_some_and(|t| score < t),
        }
    }
}

/// What happened to one layer's MLP at one position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    /// Whether the previous frame has an output to replay: false in the prompt and in the first frame.
    pub eligible: bool,
    /// The gate's score, where eligible: the TAS, or the relative distance.
    pub score: Option<f32>,
    /// Whether the output was replayed.
    pub replayed: bool,
    /// How many times in a row this position has now been replayed.
    pub age: u32,
}

impl Decision {
    pub(super) const DENSE: Self = Self { eligible: false, score: None, replayed: false, age: 0 };
}

/// One layer's MLP outputs of the last frame.
#[derive(Debug, Clone, Default)]
pub(super) struct Ring {
    cells: Vec<Cell>,
}

/// The MLP output in use at one position of a frame.
#[derive(Debug, Clone, Default)]
pub(super) struct Cell {
    pub(super) output: Vec<f32>,
    /// The normalised input at which `output` was computed.
    pub(super) reference: Vec<f32>,
    pub(super) age: u32,
}

impl Ring {
    pub(super) fn cell(&mut self, index: usize) -> &mut Cell {
        if self.cells.len() <= index {
            self.cells.resize_with(index + 1, Cell::default);
        }
        &mut self.cells[index]
    }
}

/// Mean over heads of `q . k / sqrt(head_dim)`, `key` being one position of the cache.
pub(super) fn temporal_score(q: &[f32], key: &[f32], head_dim: usize) -> f32 {
    let heads = q.len() / head_dim;
    let group = heads / (key.len() / head_dim);
    let sum: f32 = q
        .chunks_exact(head_dim)
        .enumerate()
        .map(|(h, q)| {
            let at = h / group * head_dim;
            dot(q, &key[at..at + head_dim])
        })
        .sum();
    sum / heads as f32 / (head_dim as f32).sqrt()
}

/// `|x - reference| / |x|`.
pub(super) fn relative_distance(x: &[f32], reference: &[f32]) -> f32 {
    let change: f64 = x.iter().zip(reference).map(|(&a, &r)| (f64::from(a) - f64::from(r)).powi(2)).sum();
    if change == 0.0 { 0.0 } else { (change / sum_squares(x)).sqrt() as f32 }
}
