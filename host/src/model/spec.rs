//! What a transformer is, apart from where its file format puts the weights.
//!
//! The packer, the compiler and the oracle consume [`TransformerSpec`] for the shapes and [`Transformer`] for
//! the weights; neither knows an architecture's tensor names.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::checkpoint::Checkpoint;
use super::error::ModelError;
use super::safetensors::{Dtype, TensorView};

/// A normalisation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Norm {
    /// RMSNorm: `x / sqrt(mean(x^2) + eps) * gamma`.
    Rms {
        /// The constant under the root.
        eps: f32,
    },
    /// LayerNorm: `(x - mean(x)) / sqrt(var(x) + eps) * gamma + beta`.
    Layer {
        /// The constant under the root.
        eps: f32,
    },
}

/// The shape of the MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `down(silu(gate(x)) * up(x))`.
    SwiGlu,
    /// `fc2(gelu(fc1(x)))` with the exact GELU.
    Gelu,
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Activation {
    /// The name in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SwiGlu => "SwiGLU",
            Self::Gelu => "GELU",
        }
    }
}

/// A matrix of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LinearRole {
    /// Query projection.
    Q,
    /// Key projection.
    K,
    /// Value projection.
    V,
    /// Attention output projection.
    O,
    /// SwiGLU gate.
    Gate,
    /// SwiGLU up projection.
    Up,
    /// SwiGLU down projection.
    Down,
    /// First MLP matrix of a GELU layer.
    Fc1,
    /// Second MLP matrix of a GELU layer.
    Fc2,
}

impl LinearRole {
    /// The name in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Q => "q",
            Self::K => "k",
            Self::V => "v",
            Self::O => "o",
            Self::Gate => "gate",
            Self::Up => "up",
            Self::Down => "down",
            Self::Fc1 => "fc1",
            Self::Fc2 => "fc2",
        }
    }
}

/// A normalisation of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NormRole {
    /// Before attention.
    Input,
    /// Before the MLP.
    PostAttention,
}

/// A pre-norm decoder-only transformer: `x += attn(norm(x)); x += mlp(norm(x))`, then a final norm and a
/// head.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TransformerSpec {
    pub(crate) name: &'static str,
    pub(crate) layers: usize,
    pub(crate) hidden: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) ffn: usize,
    pub(crate) norm: Norm,
    pub(crate) activation: Activation,
    pub(crate) rope_theta: Option<f32>,
    pub(crate) max_positions: usize,
    pub(crate) vocab: usize,
    pub(crate) has_embedding: bool,
    pub(crate) tied_head: bool,
}

impl TransformerSpec {
    /// Which transformer of its model this is: `body` or `depth`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Number of layers.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// Width of the residual stream, a multiple of 32.
    #[must_use]
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    /// Query heads.
    #[must_use]
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// Key and value heads; they divide [`Self::heads`].
    #[must_use]
    pub fn kv_heads(&self) -> usize {
        self.kv_heads
    }

    /// Width of one head, a multiple of 32.
    #[must_use]
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// Width of the MLP, a multiple of 32.
    #[must_use]
    pub fn ffn(&self) -> usize {
        self.ffn
    }

    /// The normalisation used throughout.
    #[must_use]
    pub fn norm(&self) -> Norm {
        self.norm
    }

    /// The shape of the MLP.
    #[must_use]
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// The base of the rotary encoding; `None` where positions are learned vectors added to the input.
    #[must_use]
    pub fn rope_theta(&self) -> Option<f32> {
        self.rope_theta
    }

    /// The longest sequence.
    #[must_use]
    pub fn max_positions(&self) -> usize {
        self.max_positions
    }

    /// Rows of the head.
    #[must_use]
    pub fn vocab(&self) -> usize {
        self.vocab
    }

    /// Whether inputs are tokens with an embedding of their own; otherwise they are vectors from elsewhere.
    #[must_use]
    pub fn has_embedding(&self) -> bool {
        self.has_embedding
    }

    /// Whether the head's matrix is the embedding's.
    #[must_use]
    pub fn tied_head(&self) -> bool {
        self.tied_head
    }

    /// The matrices of a layer in the order of their use.
    #[must_use]
    pub fn linears(&self) -> &'static [LinearRole] {
        use LinearRole as R;
        match self.activation {
            Activation::SwiGlu => &[R::Q, R::K, R::V, R::O, R::Gate, R::Up, R::Down],
            Activation::Gelu => &[R::Q, R::K, R::V, R::O, R::Fc1, R::Fc2],
        }
    }

    /// Outputs and inputs of a matrix of a layer, whether or not layers of this activation have it.
    #[must_use]
    pub fn shape(&self, role: LinearRole) -> [usize; 2] {
        let q = self.heads * self.head_dim;
        let kv = self.kv_heads * self.head_dim;
        match role {
            LinearRole::Q => [q, self.hidden],
            LinearRole::K | LinearRole::V => [kv, self.hidden],
            LinearRole::O => [self.hidden, q],
            LinearRole::Gate | LinearRole::Up | LinearRole::Fc1 => [self.ffn, self.hidden],
            LinearRole::Down | LinearRole::Fc2 => [self.hidden, self.ffn],
        }
    }

    /// Weights of all layers' matrices, without norms, embedding and head.
    #[must_use]
    pub fn layer_parameters(&self) -> u64 {
        let one: u64 = self.linears().iter().map(|&r| self.shape(r)).map(|[o, i]| o as u64 * i as u64).sum();
        one * self.layers as u64
    }
}

/// Whose names the tensors carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naming {
    /// `LlamaForCausalLM` of transformers.
    Llama,
    /// The depth transformer of VILA-U, inside `vision_tower`.
    VilaUDepth,
}

impl Naming {
    fn linear(self, layer: usize, role: LinearRole) -> String {
        let (base, leaf) = match self {
            Self::Llama => (
                "model.layers",
                match role {
                    LinearRole::Q => "self_attn.q_proj",
                    LinearRole::K => "self_attn.k_proj",
                    LinearRole::V => "self_attn.v_proj",
                    LinearRole::O => "self_attn.o_proj",
                    LinearRole::Gate => "mlp.gate_proj",
                    LinearRole::Up | LinearRole::Fc1 => "mlp.up_proj",
                    LinearRole::Down | LinearRole::Fc2 => "mlp.down_proj",
                },
            ),
            Self::VilaUDepth => (
                "rqtransformer.head_transformer.blocks",
                match role {
                    LinearRole::Q => "attn.query",
                    LinearRole::K => "attn.key",
                    LinearRole::V => "attn.value",
                    LinearRole::O => "attn.proj",
                    LinearRole::Fc1 | LinearRole::Gate | LinearRole::Up => "mlp.0",
                    LinearRole::Fc2 | LinearRole::Down => "mlp.2",
                },
            ),
        };
        format!("{base}.{layer}.{leaf}")
    }

    fn norm(self, layer: usize, role: NormRole) -> String {
        match (self, role) {
            (Self::Llama, NormRole::Input) => format!("model.layers.{layer}.input_layernorm"),
            (Self::Llama, NormRole::PostAttention) => {
                format!("model.layers.{layer}.post_attention_layernorm")
            }
            (Self::VilaUDepth, NormRole::Input) => {
                format!("rqtransformer.head_transformer.blocks.{layer}.ln1")
            }
            (Self::VilaUDepth, NormRole::PostAttention) => {
                format!("rqtransformer.head_transformer.blocks.{layer}.ln2")
            }
        }
    }

    fn final_norm(self) -> &'static str {
        match self {
            Self::Llama => "model.norm",
            Self::VilaUDepth => "rqtransformer.classifier_mlp.layer_norm",
        }
    }

    fn head(self) -> &'static str {
        match self {
            Self::Llama => "lm_head",
            Self::VilaUDepth => "rqtransformer.classifier_mlp.linear",
        }
    }
}

const EMBEDDING: &str = "model.embed_tokens";
const POSITIONS: &str = "rqtransformer.pos_emb_d";

/// A matrix in its file, with its bias: `y = W x + b`, `W` row-major `[rows, cols]`.
#[derive(Debug, Clone, Copy)]
pub struct LinearView<'a> {
    weight: TensorView<'a>,
    bias: Option<TensorView<'a>>,
    rows: usize,
    cols: usize,
}

impl<'a> LinearView<'a> {
    pub(crate) fn find(
        checkpoint: &'a Checkpoint,
        stem: &str,
        [rows, cols]: [usize; 2],
        bias: Bias,
    ) -> Result<Self, ModelError> {
        let weight = checkpoint.tensor(&format!("{stem}.weight"))?;
        weight.expect_shape(&[rows, cols])?;
        expect_float(&weight)?;
        let name = format!("{stem}.bias");
        let bias = match bias {
            Bias::Never => None,
            Bias::IfPresent if !checkpoint.has(&name) => None,
            Bias::IfPresent | Bias::Required => {
                let bias = checkpoint.tensor(&name)?;
                bias.expect_shape(&[rows])?;
                expect_float(&bias)?;
                Some(bias)
            }
        };
        Ok(Self { weight, bias, rows, cols })
    }

    /// The name of the weight tensor.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.weight.name()
    }

    /// Outputs.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The format in the file.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        self.weight.dtype()
    }

    /// Whether there is a bias.
    #[must_use]
    pub fn has_bias(&self) -> bool {
        self.bias.is_some()
    }

    /// Some rows of the matrix, so that a large one need not be held whole.
    ///
    /// # Errors
    /// [`ModelError::NonFinite`]; [`ModelError::Shape`] when the range ends past the last row.
    pub fn rows_f32(&self, rows: Range<usize>) -> Result<Vec<f32>, ModelError> {
        self.weight.to_f32(rows.start.saturating_mul(self.cols)..rows.end.saturating_mul(self.cols))
    }

    /// One row, on the caller's thread.
    ///
    /// # Errors
    /// [`ModelError::NonFinite`]; [`ModelError::Shape`] for a row past the last.
    pub fn row_f32(&self, row: usize, out: &mut [f32]) -> Result<(), ModelError> {
        self.weight.read_f32(row.saturating_mul(self.cols), out)
    }

    /// The whole matrix.
    ///
    /// # Errors
    /// [`ModelError::NonFinite`].
    pub fn weight_f32(&self) -> Result<Vec<f32>, ModelError> {
        self.rows_f32(0..self.rows)
    }

    /// The bias, if there is one.
    ///
    /// # Errors
    /// [`ModelError::NonFinite`].
    pub fn bias_f32(&self) -> Result<Option<Vec<f32>>, ModelError> {
        self.bias.map(|b| b.to_f32(0..self.rows)).transpose()
    }

    /// Matrix and bias.
    ///
    /// # Errors
    /// [`ModelError::NonFinite`].
    pub fn load(&self) -> Result<Linear, ModelError> {
        Ok(Linear { rows: self.rows, cols: self.cols, weight: self.weight_f32()?, bias: self.bias_f32()? })
    }
}

/// Whether a linear layer has a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bias {
    Never,
    IfPresent,
    Required,
}

/// A matrix in memory, row-major, with its bias.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
    /// `rows` times `cols` elements.
    pub weight: Vec<f32>,
    /// `rows` elements.
    pub bias: Option<Vec<f32>>,
}

/// The learned vectors of a normalisation.
#[derive(Debug, Clone, PartialEq)]
pub struct NormWeights {
    /// The scale.
    pub gamma: Vec<f32>,
    /// The shift; LayerNorm alone has one.
    pub beta: Option<Vec<f32>>,
}

/// A transformer with its weights, still in their files.
#[derive(Debug, Clone)]
pub struct Transformer {
    spec: TransformerSpec,
    naming: Naming,
    attention_bias: Bias,
    mlp_bias: Bias,
    checkpoint: Arc<Checkpoint>,
}

impl Transformer {
    /// Finds every tensor and checks its shape and format; reads no data.
    pub(crate) fn new(
        spec: TransformerSpec,
        naming: Naming,
        [attention_bias, mlp_bias]: [Bias; 2],
        checkpoint: Arc<Checkpoint>,
    ) -> Result<Self, ModelError> {
        let this = Self { spec, naming, attention_bias, mlp_bias, checkpoint };
        for layer in 0..spec.layers {
            let layer = this.layer(layer)?;
            for &role in spec.linears() {
                layer.linear(role)?;
            }
            for role in [NormRole::Input, NormRole::PostAttention] {
                this.check_norm(&naming.norm(layer.layer, role))?;
            }
        }
        this.check_norm(naming.final_norm())?;
        this.head()?;
        this.embedding()?;
        if spec.rope_theta.is_none() {
            this.positions_view()?;
        }
        Ok(this)
    }

    /// Shapes and constants.
    #[must_use]
    pub fn spec(&self) -> &TransformerSpec {
        &self.spec
    }

    /// The files behind it.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The weights of a layer.
    ///
    /// # Errors
    /// [`ModelError::Layer`].
    pub fn layer(&self, layer: usize) -> Result<LayerWeights<'_>, ModelError> {
        if layer < self.spec.layers {
            return Ok(LayerWeights { transformer: self, layer });
        }
        Err(ModelError::Layer { transformer: self.spec.name, layer, layers: self.spec.layers })
    }

    /// The normalisation before the head.
    ///
    /// # Errors
    /// [`ModelError::NonFinite`].
    pub fn final_norm(&self) -> Result<NormWeights, ModelError> {
        self.load_norm(self.naming.final_norm())
    }

    /// The output head, `[vocab, hidden]`: a matrix of its own or the embedding.
    ///
    /// # Errors
    /// Those of a missing or misshapen tensor, which opening has excluded.
    pub fn head(&self) -> Result<LinearView<'_>, ModelError> {
        let shape = [self.spec.vocab, self.spec.hidden];
        if self.spec.tied_head {
            return LinearView::find(&self.checkpoint, EMBEDDING, shape, Bias::Never);
        }
        let bias = if self.naming == Naming::Llama { Bias::IfPresent } else { Bias::Required };
        LinearView::find(&self.checkpoint, self.naming.head(), shape, bias)
    }

    /// The input embedding, `[vocab, hidden]`, where inputs are tokens.
    ///
    /// # Errors
    /// Those of a missing or misshapen tensor, which opening has excluded.
    pub fn embedding(&self) -> Result<Option<LinearView<'_>>, ModelError> {
        if !self.spec.has_embedding {
            return Ok(None);
        }
        let shape = [self.spec.vocab, self.spec.hidden];
        LinearView::find(&self.checkpoint, EMBEDDING, shape, Bias::Never).map(Some)
    }

    /// The learned position vectors, `[max_positions, hidden]`, where there is no rotary encoding.
    ///
    /// # Errors
    /// [`ModelError::NonFinite`].
    pub fn positions(&self) -> Result<Option<Vec<f32>>, ModelError> {
        if self.spec.rope_theta.is_some() {
            return Ok(None);
        }
        let view = self.positions_view()?;
        view.to_f32(0..view.elements()).map(Some)
    }

    fn positions_view(&self) -> Result<TensorView<'_>, ModelError> {
        let view = self.checkpoint.tensor(POSITIONS)?;
        view.expect_shape(&[1, self.spec.max_positions, self.spec.hidden])?;
        expect_float(&view)?;
        Ok(view)
    }

    fn check_norm(&self, stem: &str) -> Result<(), ModelError> {
        for (leaf, wanted) in [("weight", true), ("bias", matches!(self.spec.norm, Norm::Layer { .. }))] {
            if wanted {
                let view = self.checkpoint.tensor(&format!("{stem}.{leaf}"))?;
                view.expect_shape(&[self.spec.hidden])?;
                expect_float(&view)?;
            }
        }
        Ok(())
    }

    fn load_norm(&self, stem: &str) -> Result<NormWeights, ModelError> {
        let read = |leaf: &str| self.checkpoint.to_f32(&format!("{stem}.{leaf}"), &[self.spec.hidden]);
        let gamma = read("weight")?;
        let beta = match self.spec.norm {
            Norm::Rms { .. } => None,
            Norm::Layer { .. } => Some(read("bias")?),
        };
        Ok(NormWeights { gamma, beta })
    }
}

fn expect_float(view: &TensorView<'_>) -> Result<(), ModelError> {
    match view.dtype() {
        Dtype::F32 | Dtype::F16 | Dtype::Bf16 => Ok(()),
        _ => Err(view.wrong_dtype("F32, F16 or BF16")),
    }
}

/// The weights of one layer, each read when asked for.
#[derive(Debug, Clone, Copy)]
pub struct LayerWeights<'a> {
    transformer: &'a Transformer,
    layer: usize,
}

impl<'a> LayerWeights<'a> {
    /// The layer's number.
    #[must_use]
    pub fn index(&self) -> usize {
        self.layer
    }

    /// A matrix.
    ///
    /// # Errors
    /// [`ModelError::Role`] for a matrix that layers of this activation do not have.
    pub fn linear(&self, role: LinearRole) -> Result<LinearView<'a>, ModelError> {
        let t = self.transformer;
        if !t.spec.linears().contains(&role) {
            return Err(ModelError::Role {
                activation: t.spec.activation.name(),
                role: role.name(),
                known: match t.spec.activation {
                    Activation::SwiGlu => "q, k, v, o, gate, up, down",
                    Activation::Gelu => "q, k, v, o, fc1, fc2",
                },
            });
        }
        let bias = match role {
            LinearRole::Q | LinearRole::K | LinearRole::V | LinearRole::O => t.attention_bias,
            _ => t.mlp_bias,
        };
        LinearView::find(&t.checkpoint, &t.naming.linear(self.layer, role), t.spec.shape(role), bias)
    }

    /// A normalisation.
    ///
    /// # Errors
    /// [`ModelError::NonFinite`].
    pub fn norm(&self, role: NormRole) -> Result<NormWeights, ModelError> {
        self.transformer.load_norm(&self.transformer.naming.norm(self.layer, role))
    }
}
