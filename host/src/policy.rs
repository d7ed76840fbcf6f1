//! The knob set of a decode: dense, MLP replay or delta decode, with every threshold; saved and loaded as TOML.
//!
//! A [`Policy`] is what `fastcar calibrate` writes and `fastcar decode --policy-file` reads. It changes neither the
//! packed weights nor the command set: the compiler turns thresholds into command operands, and whatever does not
//! depend on a step's data (random, budget, age) into the masks of the step table. Beside what is skipped it says which
//! tokens attention reads:
//!
//! ```
//! use fastcar_host::policy::Policy;
//!
//! let text = r#"
//! version = 1
//! kind = "replay"
//! gate = "input-delta"
//! thresholds = [0.2]
//!
//! [attention]                       # left out: dense
//! layers = ["sink4+local256"]       # or one per layer; "sink4+local64,dense" deals two patterns to the heads in turn
//! "#;
//! assert_eq!(Policy::from_toml(text)?.attention().to_string(), "sink4+local256");
//! # Ok::<(), fastcar_host::policy::PolicyError>(())
//! ```

use crate::attention::Attention;
use fastcar_arch::isa::Coupling;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Version of the policy file.
pub const POLICY_VERSION: u32 = 1;

/// Which queries the Temporal Attention Score uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TasForm {
    /// Queries before RoPE, as in the released reference code.
    #[default]
    Code,
    /// Queries after RoPE, as in the formula of the paper (arXiv 2505.14709).
    Paper,
}

/// How a replay decision is made.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "gate", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Gate {
    /// Temporal Attention Score: replay above the layer's threshold; `inf` keeps a layer dense.
    Tas {
        /// Which queries.
        #[serde(default)]
        form: TasForm,
        /// One threshold per layer, or a single one for all.
        thresholds: Vec<f32>,
    },
    /// Relative L2 distance of the MLP input to the one at which the cached output was computed: replay below the
    /// layer's threshold; 0 keeps a layer dense.
    InputDelta {
        /// One threshold per layer, or a single one for all.
        thresholds: Vec<f32>,
    },
    /// Replay wherever the previous frame has an output.
    Always,
    /// Never replay (the gates run, and decide for computing).
    Never,
    /// Replay with a given probability, decided by a hash of seed, layer and position.
    Random {
        /// Share of eligible tokens, 0 to 1.
        ratio: f32,
        /// Seed.
        seed: u64,
    },
    /// Replay a fixed share of eligible tokens, spread evenly.
    Budget {
        /// Share of eligible tokens, 0 to 1.
        ratio: f32,
    },
}

/// Thresholds of delta decode in one layer: a block is active when its change exceeds this share of the input's
/// root mean square.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeltaThresholds {
    /// Input of the query, key and value projections.
    pub qkv: f32,
    /// Input of the output projection.
    pub o: f32,
    /// Input of the gate and up projections.
    pub gate_up: f32,
    /// Input of the down projection.
    pub down: f32,
}

impl DeltaThresholds {
    /// The same threshold for all four inputs.
    #[must_use]
    pub fn uniform(tau: f32) -> Self {
        Self { qkv: tau, o: tau, gate_up: tau, down: tau }
    }

    /// The four, in the order in which a layer uses them.
    #[must_use]
    pub fn all(&self) -> [f32; 4] {
        [self.qkv, self.o, self.gate_up, self.down]
    }
}

/// What is skipped.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Method {
    /// Everything is computed.
    Dense,
    /// MLP outputs are replayed from the previous frame (FastCar).
    Replay {
        /// Decision.
        #[serde(flatten)]
        gate: Gate,
        /// How the two rows of a CFG pair settle.
        #[serde(default)]
        coupling: PairCoupling,
        /// Most times in a row that a position may replay; none for no bound.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_age: Option<u32>,
    },
    /// Every linear layer is updated by its changed input blocks only.
    Delta {
        /// One set per layer, or a single one for all.
        thresholds: Vec<DeltaThresholds>,
        /// Recompute a position densely at least every so many frames; none for never.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_age: Option<u32>,
    },
}

/// How the two rows of a CFG pair settle a decision.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PairCoupling {
    /// Each row alone.
    #[default]
    Independent,
    /// Both replay only when both would.
    BothAgree,
    /// Both decide on the mean of their scores.
    Mean,
}

impl From<PairCoupling> for Coupling {
    fn from(c: PairCoupling) -> Self {
        match c {
            PairCoupling::Independent => Self::Independent,
            PairCoupling::BothAgree => Self::BothAgree,
            PairCoupling::Mean => Self::Mean,
        }
    }
}

/// A validated knob set.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Policy {
    version: u32,
    #[serde(flatten)]
    method: Method,
    #[serde(default, skip_serializing_if = "Attention::is_dense")]
    attention: Attention,
}

/// Why a policy is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The file cannot be read or written.
    #[error("policy file {}: {source}", path.display())]
    Io {
        /// Path.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// Not a policy.
    #[error("policy text: {message}")]
    Text {
        /// The parser's account.
        message: String,
    },
    /// Written by another version.
    #[error(
        "policy version {found}: this program reads version {POLICY_VERSION}; run `fastcar calibrate` again"
    )]
    Version {
        /// Version found.
        found: u32,
    },
    /// A number outside its range.
    #[error("policy.{field} = {found}: must be {allowed}")]
    Range {
        /// Field.
        field: String,
        /// What was given.
        found: f32,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A list with an entry per layer that fits no layer count.
    #[error("policy.{field} has {found} entries: give 1, or one for each of the model's {layers} layers")]
    Layers {
        /// Field.
        field: &'static str,
        /// Entries given.
        found: usize,
        /// Layers of the model.
        layers: usize,
    },
    /// More patterns than heads to deal them to.
    #[error(
        "policy.attention deals {found} patterns to the model's {kv_heads} key/value heads: give at most one for each"
    )]
    Heads {
        /// Patterns of a layer.
        found: usize,
        /// Key/value heads of the model.
        kv_heads: usize,
    },
}

impl Policy {
    /// Checks a method.
    ///
    /// # Errors
    /// [`PolicyError::Range`].
    pub fn new(method: Method) -> Result<Self, PolicyError> {
        let policy = Self { version: POLICY_VERSION, method, attention: Attention::dense() };
        policy.check()?;
        Ok(policy)
    }

    /// Everything is computed.
    #[must_use]
    pub fn dense() -> Self {
        Self { version: POLICY_VERSION, method: Method::Dense, attention: Attention::dense() }
    }

    /// The same, with attention that reads other tokens.
    #[must_use]
    pub fn with_attention(self, attention: Attention) -> Self {
        Self { attention, ..self }
    }

    /// Replay by a gate, rows deciding alone, without a bound on age.
    ///
    /// # Errors
    /// As [`Policy::new`].
    pub fn replay(gate: Gate) -> Result<Self, PolicyError> {
        Self::new(Method::Replay { gate, coupling: PairCoupling::Independent, max_age: None })
    }

    /// Delta decode with one threshold everywhere.
    ///
    /// # Errors
    /// As [`Policy::new`].
    pub fn delta(tau: f32) -> Result<Self, PolicyError> {
        Self::new(Method::Delta { thresholds: vec![DeltaThresholds::uniform(tau)], max_age: None })
    }

    /// What is skipped.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Which tokens attention reads.
    #[must_use]
    pub fn attention(&self) -> &Attention {
        &self.attention
    }

    /// Bound on consecutive replays, if there is one.
    #[must_use]
    pub fn max_age(&self) -> Option<u32> {
        match &self.method {
            Method::Dense => None,
            Method::Replay { max_age, .. } | Method::Delta { max_age, .. } => *max_age,
        }
    }

    /// Reads TOML text.
    ///
    /// # Errors
    /// [`PolicyError`]: not TOML, unknown gate, another version, a number outside its range.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        let policy: Self = toml::from_str(text).map_err(|e| PolicyError::Text { message: e.to_string() })?;
        if policy.version != POLICY_VERSION {
            return Err(PolicyError::Version { found: policy.version });
        }
        policy.check()?;
        Ok(policy)
    }

    /// The policy as TOML text.
    ///
    /// # Errors
    /// [`PolicyError::Text`], which no checked policy gives.
    pub fn to_toml(&self) -> Result<String, PolicyError> {
        toml::to_string(self).map_err(|e| PolicyError::Text { message: e.to_string() })
    }

    /// Reads a policy file.
    ///
    /// # Errors
    /// [`PolicyError::Io`], or as [`Policy::from_toml`].
    pub fn load(path: &Path) -> Result<Self, PolicyError> {
        let io = |source| PolicyError::Io { path: path.to_owned(), source };
        Self::from_toml(&std::fs::read_to_string(path).map_err(io)?)
    }

    /// Checks that the per-layer lists fit a model of `layers` layers.
    ///
    /// # Errors
    /// [`PolicyError::Layers`].
    pub fn check_layers(&self, layers: usize) -> Result<(), PolicyError> {
        let thresholds = match &self.method {
            Method::Replay {
                gate: Gate::Tas { thresholds, .. } | Gate::InputDelta { thresholds }, ..
            } => thresholds.len(),
            Method::Delta { thresholds, .. } => thresholds.len(),
            Method::Dense | Method::Replay { .. } => 1,
        };
        let fits = |field, found| {
            let fits = found == 1 || found == layers;
            if fits { Ok(()) } else { Err(PolicyError::Layers { field, found, layers }) }
        };
        fits("thresholds", thresholds)?;
        fits("attention.layers", self.attention.layers())
    }

    /// Checks that every attention pattern has a head in a model of `kv_heads` key/value heads.
    ///
    /// # Errors
    /// [`PolicyError::Heads`].
    pub fn check_heads(&self, kv_heads: usize) -> Result<(), PolicyError> {
        let found = self.attention.most_patterns();
        if found <= kv_heads { Ok(()) } else { Err(PolicyError::Heads { found, kv_heads }) }
    }

    fn check(&self) -> Result<(), PolicyError> {
        let range = |field: &str, found: f32, ok: bool, allowed| {
            if ok { Ok(()) } else { Err(PolicyError::Range { field: field.to_owned(), found, allowed }) }
        };
        let ratio = |r: f32| range("ratio", r, (0.0..=1.0).contains(&r), "from 0 to 1");
        if self.max_age() == Some(0) {
            return range("max_age", 0.0, false, "at least 1 (leave it out for no bound)");
        }
        match &self.method {
            Method::Dense | Method::Replay { gate: Gate::Always | Gate::Never, .. } => Ok(()),
            Method::Replay { gate: Gate::Tas { thresholds, .. }, .. } => thresholds
                .iter()
                .try_for_each(|&t| range("thresholds", t, !t.is_nan(), "a number, -inf or inf")),
            Method::Replay { gate: Gate::InputDelta { thresholds }, .. } => thresholds
                .iter()
                .try_for_each(|&t| range("thresholds", t, t >= 0.0, "at least 0 (relative L2 distance)")),
            Method::Replay { gate: Gate::Random { ratio: r, .. } | Gate::Budget { ratio: r }, .. } => {
                ratio(*r)
            }
            Method::Delta { thresholds, .. } => {
                thresholds.iter().flat_map(DeltaThresholds::all).try_for_each(|t| {
                    range("thresholds", t, t >= 0.0, "at least 0 (share of the root mean square)")
                })
            }
        }
    }
}

/// The entry of a per-layer list that may also hold a single entry for all layers.
pub(crate) fn for_layer<T: Copy>(list: &[T], layer: usize) -> T {
    if list.len() == 1 { list[0] } else { list[layer] }
}
