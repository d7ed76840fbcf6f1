//! A decoder in plain binary32 of any model that [`crate::model`] opens: what the formats of the device cost
//! is measured against it.
//!
//! It follows the reference implementations of its architectures (their order of operations where that is
//! visible, never their bits), and executes the replay semantics of FastCar exactly: the score uses the key
//! of the same position in the previous frame, attention and the caches are never skipped, and an output that
//! was replayed is stored again. All weights are held in memory as binary32.
//!
//! ```no_run
//! use fastcar_host::{model::Model, oracle::{Gate, Oracle, Replay, TasForm}};
//!
//! let model = Model::open("a/model")?;
//! let oracle = Oracle::new(&model)?;
//! let thresholds = vec![Some(-2.0); model.config().num_hidden_layers()];
//! let gate = Gate::Tas { form: TasForm::Code, thresholds };
//! let mut sequence = oracle.sequence_with(Replay::new(64, gate)?)?;
//! sequence.prefill(&[256, 260, 271, 280])?;
//! let logits = sequence.step(17)?;
//! # let _ = logits;
//! let replayed = sequence.decisions().iter().filter(|d| d.replayed).count();
//! # let _ = replayed;
//! # Ok::<(), fastcar_host::oracle::OracleError>(())
//! ```

mod net;
mod ops;
mod replay;
mod vila_u;

pub use crate::policy::TasForm;
pub use replay::{Decision, Gate, Replay};
pub use vila_u::DepthSequence;

use crate::attention::Attention;
use crate::model::{Model, ModelError, TransformerSpec};
use net::{Net, Rules, Scratch, State};
use vila_u::Codes;

/// Why the oracle refused a model or an input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OracleError {
    /// The model could not be read.
    #[error(transparent)]
    Model(#[from] ModelError),

    /// A token outside the vocabulary.
    #[error("token {token} is outside the vocabulary of {vocab}; pass a token from 0 to {}", vocab - 1)]
    Token {
        /// The token.
        token: u32,
        /// The vocabulary.
        vocab: usize,
    },

    /// A code outside its codebook.
    #[error("code {code} at depth {depth} is outside the codebook of {codes}; pass a code from 0 to {}", codes - 1)]
    Code {
        /// The code.
        code: u32,
        /// Its place among the position's codes.
        depth: usize,
        /// The codebook's size.
        codes: usize,
    },

    /// The wrong number of codes for a position.
    #[error("{found} codes were given where a position has {expected}; pass them all, first depth first")]
    CodeCount {
        /// Codes given.
        found: usize,
        /// Codes of a position.
        expected: usize,
    },

    /// An input vector of the wrong width.
    #[error(
        "an input of {found} values was given where the model's width is {hidden}; pass one whole vector"
    )]
    Width {
        /// Values given.
        found: usize,
        /// The model's width.
        hidden: usize,
    },

    /// The sequence is full.
    #[error("the sequence already has {limit} positions, the model's limit; start another sequence")]
    Positions {
        /// The limit.
        limit: usize,
    },

    /// A token was given to a transformer whose inputs are vectors.
    #[error("the {transformer} transformer has no embedding; pass vectors")]
    NoEmbedding {
        /// Which transformer.
        transformer: &'static str,
    },

    /// Something of VILA-U was asked of another model.
    #[error("the model has no residual codes; only VILA-U models have a depth transformer")]
    NoCodes,

    /// A frame of no positions.
    #[error("the frame period is 0; it must be the number of positions of a frame, at least 1")]
    Period,

    /// A list of thresholds that does not fit the model.
    #[error("{found} thresholds were given for {layers} layers; give one per layer, None for a dense one")]
    Thresholds {
        /// Thresholds given.
        found: usize,
        /// Layers of the model.
        layers: usize,
    },

    /// The prompt was given after the video had begun.
    #[error(
        "the prompt came at position {position}, after the video began; a sequence takes its prompt first"
    )]
    LatePrompt {
        /// The position.
        position: usize,
    },
}

/// A vector on its way through a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tap {
    /// After the input norm.
    AttentionInput,
    /// Queries before the rotary encoding.
    RawQuery,
    /// Queries after it.
    Query,
    /// Keys as cached.
    Key,
    /// Values as cached.
    Value,
    /// Attention's output, all heads, before the output projection.
    Attended,
    /// The residual stream after attention.
    AfterAttention,
    /// After the second norm.
    MlpInput,
    /// The MLP's output as used, computed or replayed.
    MlpOutput,
    /// The residual stream after the layer.
    LayerOutput,
}

/// Watches and steers a step.
pub trait Hooks {
    /// Sees a vector of a layer.
    fn tap(&mut self, layer: usize, tap: Tap, values: &[f32]) {
        let _ = (layer, tap, values);
    }

    /// Overrules an eligible layer's decision: `Some(true)` replays, `Some(false)` computes, `None` leaves it
    /// to the gate.
    fn decide(&mut self, layer: usize, decision: &Decision) -> Option<bool> {
        let _ = (layer, decision);
        None
    }
}

/// No hooks.
impl Hooks for () {}

/// A model's weights in binary32.
#[derive(Debug)]
pub struct Oracle {
    body: Net,
    codes: Option<Codes>,
}

impl Oracle {
    /// Reads all weights of a model.
    ///
    /// # Errors
    /// [`ModelError::NonFinite`] and the like, inside [`OracleError::Model`].
    pub fn new(model: &Model) -> Result<Self, OracleError> {
        let codes = model.vila_u().map(Codes::load).transpose()?;
        Ok(Self { body: Net::load(model.body())?, codes })
    }

    /// The body.
    #[must_use]
    pub fn spec(&self) -> &TransformerSpec {
        &self.body.spec
    }

    /// An empty sequence that computes everything.
    #[must_use]
    pub fn sequence(&self) -> Sequence<'_> {
        Sequence {
            oracle: self,
            replay: None,
            attention: None,
            state: self.body.state(),
            scratch: Scratch::default(),
            logits: Vec::new(),
        }
    }

    /// An empty sequence under a replay policy.
    ///
    /// # Errors
    /// [`OracleError::Thresholds`].
    pub fn sequence_with(&self, replay: Replay) -> Result<Sequence<'_>, OracleError> {
        replay.check(self.spec().layers())?;
        Ok(Sequence { replay: Some(replay), ..self.sequence() })
    }

    fn codes(&self) -> Result<&Codes, OracleError> {
        self.codes.as_ref().ok_or(OracleError::NoCodes)
    }

    /// The body's input for a position of VILA-U: the projector applied to the sum of the code embeddings.
    ///
    /// # Errors
    /// [`OracleError::NoCodes`], [`OracleError::CodeCount`], [`OracleError::Code`].
    pub fn code_embedding(&self, codes: &[u32]) -> Result<Vec<f32>, OracleError> {
        self.codes()?.input(codes)
    }

    /// Starts the depth transformer of VILA-U on the body's final hidden vector ([`Sequence::hidden`]).
    ///
    /// # Errors
    /// [`OracleError::NoCodes`], [`OracleError::Width`].
    pub fn depth(&self, hidden: &[f32]) -> Result<DepthSequence<'_>, OracleError> {
        self.codes()?.begin(hidden)
    }

    /// The depth transformer's logits at every depth of a position whose codes are given (the last is not
    /// used).
    ///
    /// # Errors
    /// As [`Oracle::depth`], and [`OracleError::CodeCount`], [`OracleError::Code`].
    pub fn depth_logits(&self, hidden: &[f32], codes: &[u32]) -> Result<Vec<Vec<f32>>, OracleError> {
        let expected = self.codes()?.depth();
        if codes.len() != expected {
            return Err(OracleError::CodeCount { found: codes.len(), expected });
        }
        let mut sequence = self.depth(hidden)?;
        let mut all = vec![sequence.logits().to_vec()];
        for &code in &codes[..expected - 1] {
            all.push(sequence.push(code)?.to_vec());
        }
        Ok(all)
    }
}

/// One sequence: its caches, its replay ring, its last outputs. A clone is a snapshot.
#[derive(Debug, Clone)]
pub struct Sequence<'a> {
    oracle: &'a Oracle,
    replay: Option<Replay>,
    attention: Option<(Attention, u32)>,
    state: State,
    scratch: Scratch,
    logits: Vec<f32>,
}

impl Sequence<'_> {
    /// The same, with attention that reads only the tokens of `attention`, in frames of `period` positions (0 without
    /// frames). Before the first position.
    #[must_use]
    pub fn with_attention(mut self, attention: Attention, period: u32) -> Self {
        self.attention = Some((attention, period));
        self
    }

    /// Runs the prompt: always dense, and never replayed from. The video begins with the next step. Gives the
    /// logits after the last token; an empty prompt leaves them as they were.
    ///
    /// # Errors
    /// [`OracleError::LatePrompt`], [`OracleError::Token`], [`OracleError::Positions`].
    pub fn prefill(&mut self, prompt: &[u32]) -> Result<&[f32], OracleError> {
        if self.state.video_start.is_some() {
            return Err(OracleError::LatePrompt { position: self.state.position });
        }
        let oracle = self.oracle;
        self.state.prompt = prompt.len();
        let attention = self.attention.as_ref().map(|(attention, period)| (attention, *period));
        let rules = Rules { replay: None, attention };
        for &token in prompt {
            let input = oracle.body.embed(token)?;
            oracle.body.step(&mut self.state, &mut self.scratch, input, rules, &mut ())?;
        }
        self.state.video_start = Some(self.state.position);
        if !prompt.is_empty() {
            oracle.body.logits(&self.state.hidden, &mut self.logits);
        }
        Ok(&self.logits)
    }

    /// Runs one token and gives the logits for the next.
    ///
    /// # Errors
    /// [`OracleError::Token`], [`OracleError::Positions`].
    pub fn step(&mut self, token: u32) -> Result<&[f32], OracleError> {
        self.step_with(token, &mut ())
    }

    /// As [`Self::step`], with hooks.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn step_with(&mut self, token: u32, hooks: &mut dyn Hooks) -> Result<&[f32], OracleError> {
        let input = self.oracle.body.embed(token)?;
        self.run(input, hooks)?;
        Ok(self.finish())
    }

    /// Runs one input vector and gives the logits.
    ///
    /// # Errors
    /// [`OracleError::Width`], [`OracleError::Positions`].
    pub fn step_embedding(&mut self, input: &[f32]) -> Result<&[f32], OracleError> {
        self.advance(input, &mut ())?;
        Ok(self.finish())
    }

    /// Runs one input vector and leaves the head alone: for models whose codes come from [`Self::hidden`].
    ///
    /// # Errors
    /// [`OracleError::Width`], [`OracleError::Positions`].
    pub fn advance(&mut self, input: &[f32], hooks: &mut dyn Hooks) -> Result<(), OracleError> {
        self.run(input, hooks)
    }

    fn run(&mut self, input: &[f32], hooks: &mut dyn Hooks) -> Result<(), OracleError> {
        let attention = self.attention.as_ref().map(|(attention, period)| (attention, *period));
        let rules = Rules { replay: self.replay.as_ref(), attention };
        self.oracle.body.step(&mut self.state, &mut self.scratch, input, rules, hooks)?;
        // Without a prompt the video begins at position 0, and the step that ran there was its first.
        self.state.video_start.get_or_insert(0);
        Ok(())
    }

    fn finish(&mut self) -> &[f32] {
        self.oracle.body.logits(&self.state.hidden, &mut self.logits);
        &self.logits
    }

    /// The logits of the last step that ran the head.
    #[must_use]
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// The last position's vector after the final norm.
    #[must_use]
    pub fn hidden(&self) -> &[f32] {
        &self.state.hidden
    }

    /// Positions so far.
    #[must_use]
    pub fn position(&self) -> usize {
        self.state.position
    }

    /// What the last step did in each layer.
    #[must_use]
    pub fn decisions(&self) -> &[Decision] {
        &self.state.decisions
    }
}
