//! `config.json`, parsed into values that are valid or do not exist.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::checkpoint::is_plain_file_name;
use super::error::ModelError;
use super::spec::{Activation, Norm, TransformerSpec};

/// The block of the number formats: matrix extents are whole numbers of blocks.
pub const BLOCK: usize = 32;

/// The architectures that are implemented, for messages.
pub const KNOWN_ARCHITECTURES: &str = "LlamaForCausalLM and VILAULlamaModel";

const LLAMA: &str = "LlamaForCausalLM";
const VILA_U: &str = "VILAULlamaModel";
const VILA_U_MODEL_TYPE: &str = "vila_u_llama";

/// What kind of model a folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Architecture {
    /// One decoder-only transformer of the LLaMA family.
    Llama,
    /// VILA-U: a LLaMA body, residual codes, a depth transformer, a projector.
    VilaU,
}

impl Architecture {
    /// Reads the architecture that a top-level `config.json` declares.
    ///
    /// # Errors
    /// [`ModelError::Json`], [`ModelError::UnknownArchitecture`].
    pub fn detect(json: &str, path: &Path) -> Result<Self, ModelError> {
        let object = parse_object(json, path)?;
        let names: Vec<&str> = match object.get("architectures") {
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let model_type = object.get("model_type").and_then(Value::as_str);
        if names == [LLAMA] {
            Ok(Self::Llama)
        } else if names == [VILA_U] || (names.is_empty() && model_type == Some(VILA_U_MODEL_TYPE)) {
            Ok(Self::VilaU)
        } else {
            let found = match (names.as_slice(), model_type) {
                ([], None) => "none".to_owned(),
                ([], Some(kind)) => format!("none (model_type {kind:?})"),
                (names, _) => names.join(", "),
            };
            Err(ModelError::UnknownArchitecture { path: path.to_owned(), found, known: KNOWN_ARCHITECTURES })
        }
    }
}

/// A validated LLaMA configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: usize,
    rms_norm_eps: f32,
    rope_theta: f32,
    attention_bias: bool,
    mlp_bias: bool,
    vocab_size: usize,
    max_position_embeddings: usize,
    tie_word_embeddings: bool,
    video: Option<VideoConfig>,
}

impl ModelConfig {
    /// Parses the text of a LLaMA `config.json`; `path` is for messages.
    ///
    /// # Errors
    /// [`ModelError::Json`], [`ModelError::UnknownArchitecture`], [`ModelError::Field`].
    pub fn parse(json: &str, path: &Path) -> Result<Self, ModelError> {
        if Architecture::detect(json, path)? != Architecture::Llama {
            return Err(ModelError::UnknownArchitecture {
                path: path.to_owned(),
                found: VILA_U.to_owned(),
                known: LLAMA,
            });
        }
        let object = parse_object(json, path)?;
        let fields = Fields { path, prefix: "", object: &object };

        let hidden_size = fields.blocks("hidden_size", None, 65_536)?;
        let intermediate_size = fields.blocks("intermediate_size", None, 262_144)?;
        let num_hidden_layers = fields.uint("num_hidden_layers", None, 1, 1024)?;
        let num_attention_heads = fields.uint("num_attention_heads", None, 1, 1024)?;
        let num_key_value_heads = fields.uint("num_key_value_heads", Some(num_attention_heads), 1, 1024)?;
        if num_attention_heads % num_key_value_heads != 0 {
            return Err(fields.refuse(
                "num_key_value_heads",
                num_key_value_heads,
                format!("it must divide num_attention_heads, which is {num_attention_heads}"),
                "every KV head serves the same number of query heads: check both numbers",
            ));
        }
        let implied = (hidden_size % num_attention_heads == 0).then_some(hidden_size / num_attention_heads);
        let head_dim = fields.blocks("head_dim", implied, 1024)?;

        fields.text_is("hidden_act", "silu", Some("silu"))?;
        let rope_theta = fields.rope_theta()?;
        let rms_norm_eps = fields.float("rms_norm_eps", Some(1e-6), 0.0, 1.0)?;
        if fields.get("quantization_config").is_some() {
            return Err(fields.refuse(
                "quantization_config",
                "set",
                "weights must be stored as F32, F16 or BF16".to_owned(),
                "start from the checkpoint before quantisation: the device formats are made from it here",
            ));
        }

        let mut config = Self {
            hidden_size,
            intermediate_size,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            rms_norm_eps,
            rope_theta,
            attention_bias: fields.boolean("attention_bias", false)?,
            mlp_bias: fields.boolean("mlp_bias", false)?,
            vocab_size: fields.uint("vocab_size", None, 1, 1 << 22)?,
            max_position_embeddings: fields.uint("max_position_embeddings", Some(2048), 1, 1 << 24)?,
            tie_word_embeddings: fields.boolean("tie_word_embeddings", false)?,
            video: None,
        };
        if let Some(video) = fields.object("fastcar_video")? {
            config.video =
                Some(VideoConfig::parse(&video, config.vocab_size, config.max_position_embeddings)?);
        }
        Ok(config)
    }

    /// Width of the residual stream.
    #[must_use]
    pub fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    /// Width of the MLP.
    #[must_use]
    pub fn intermediate_size(&self) -> usize {
        self.intermediate_size
    }

    /// Number of layers.
    #[must_use]
    pub fn num_hidden_layers(&self) -> usize {
        self.num_hidden_layers
    }

    /// Query heads.
    #[must_use]
    pub fn num_attention_heads(&self) -> usize {
        self.num_attention_heads
    }

    /// Key and value heads; all query heads where the file says nothing.
    #[must_use]
    pub fn num_key_value_heads(&self) -> usize {
        self.num_key_value_heads
    }

    /// Width of one head; `hidden_size / num_attention_heads` where the file says nothing.
    #[must_use]
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// The constant under the root of RMSNorm.
    #[must_use]
    pub fn rms_norm_eps(&self) -> f32 {
        self.rms_norm_eps
    }

    /// The base of the rotary position encoding.
    #[must_use]
    pub fn rope_theta(&self) -> f32 {
        self.rope_theta
    }

    /// Whether the attention projections are declared to have biases.
    #[must_use]
    pub fn attention_bias(&self) -> bool {
        self.attention_bias
    }

    /// Whether the MLP projections are declared to have biases.
    #[must_use]
    pub fn mlp_bias(&self) -> bool {
        self.mlp_bias
    }

    /// Tokens of the vocabulary.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The longest sequence.
    #[must_use]
    pub fn max_position_embeddings(&self) -> usize {
        self.max_position_embeddings
    }

    /// Whether the output head is the embedding.
    #[must_use]
    pub fn tie_word_embeddings(&self) -> bool {
        self.tie_word_embeddings
    }

    /// How tokens make a video, where the model says so.
    #[must_use]
    pub fn video(&self) -> Option<&VideoConfig> {
        self.video.as_ref()
    }

    /// The transformer that this configuration describes.
    #[must_use]
    pub fn spec(&self) -> TransformerSpec {
        TransformerSpec {
            name: "body",
            layers: self.num_hidden_layers,
            hidden: self.hidden_size,
            heads: self.num_attention_heads,
            kv_heads: self.num_key_value_heads,
            head_dim: self.head_dim,
            ffn: self.intermediate_size,
            norm: Norm::Rms { eps: self.rms_norm_eps },
            activation: Activation::SwiGlu,
            rope_theta: Some(self.rope_theta),
            max_positions: self.max_position_embeddings,
            vocab: self.vocab_size,
            has_embedding: true,
            tied_head: self.tie_word_embeddings,
        }
    }
}

/// How a model's tokens make a video: the object `fastcar_video` of `config.json`.
///
/// A sequence is `prompt_tokens` tokens of text, then `frames` times `tokens_per_frame` picture tokens in
/// raster order. Picture token `code_offset + c` stands for row `c` of the codebook.
#[derive(Debug, Clone, PartialEq)]
pub struct VideoConfig {
    frames: usize,
    grid: [usize; 2],
    patch: [usize; 2],
    channels: usize,
    tokens_per_frame: usize,
    codebook: Option<String>,
    code_offset: usize,
    codes: usize,
    prompt_tokens: usize,
    null_prompt: Option<NullPrompt>,
}

/// The prompt of the unconditional half of a guided pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NullPrompt {
    /// Words, for the tokenizer.
    Text(String),
    /// Tokens.
    Tokens(Vec<u32>),
}

impl VideoConfig {
    const KNOWN: [&'static str; 10] = [
        "frames",
        "grid",
        "patch",
        "channels",
        "tokens_per_frame",
        "codebook",
        "code_offset",
        "codes",
        "prompt_tokens",
        "null_prompt",
    ];

    fn parse(fields: &Fields<'_>, vocab: usize, max_positions: usize) -> Result<Self, ModelError> {
        if let Some((name, value)) = fields.object.iter().find(|(k, _)| !Self::KNOWN.contains(&k.as_str())) {
            return Err(fields.refuse(
                name,
                value,
                format!("the known fields are {}", Self::KNOWN.join(", ")),
                "remove it or correct its spelling",
            ));
        }
        let frames = fields.uint("frames", None, 1, 1 << 16)?;
        let grid = fields.pair("grid", 1 << 12)?;
        let patch = fields.pair("patch", 1 << 10)?;
        let channels = fields.uint("channels", Some(1), 1, 4)?;
        let tokens_per_frame = fields.uint("tokens_per_frame", Some(grid[0] * grid[1]), 1, 1 << 24)?;
        if tokens_per_frame != grid[0] * grid[1] {
            return Err(fields.refuse(
                "tokens_per_frame",
                tokens_per_frame,
                format!("it must be the area of grid, which is {} x {}", grid[0], grid[1]),
                "one picture token stands for one patch: correct one of the two",
            ));
        }
        let code_offset = fields.uint("code_offset", Some(0), 0, 1 << 22)?;
        let codes = fields.uint("codes", None, 1, 1 << 22)?;
        if code_offset + codes > vocab {
            return Err(fields.refuse(
                "codes",
                codes,
                format!("code_offset + codes may not exceed vocab_size, {code_offset} + {codes} > {vocab}"),
                "picture tokens are part of the vocabulary: correct one of the three",
            ));
        }
        let prompt_tokens = fields.uint("prompt_tokens", None, 0, max_positions)?;
        let positions = prompt_tokens + frames * tokens_per_frame;
        if positions > max_positions {
            return Err(fields.refuse(
                "frames",
                frames,
                format!(
                    "prompt_tokens + frames x tokens_per_frame is {positions} and may not exceed \
                     max_position_embeddings, which is {max_positions}"
                ),
                "lower frames, or raise max_position_embeddings if the model was trained so",
            ));
        }
        let codebook = match fields.get("codebook") {
            None => None,
            Some(Value::String(name)) if is_plain_file_name(name) => Some(name.clone()),
            Some(other) => {
                return Err(fields.refuse(
                    "codebook",
                    other,
                    "it must be a plain file name in the model's folder".to_owned(),
                    "put the file beside config.json and give its name alone",
                ));
            }
        };
        let video = Self {
            frames,
            grid,
            patch,
            channels,
            tokens_per_frame,
            codebook,
            code_offset,
            codes,
            prompt_tokens,
            null_prompt: fields.null_prompt(prompt_tokens, vocab)?,
        };
        Ok(video)
    }

    /// Frames of a whole video.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Patches per frame, down and across.
    #[must_use]
    pub fn grid(&self) -> [usize; 2] {
        self.grid
    }

    /// Pixels per patch, down and across.
    #[must_use]
    pub fn patch(&self) -> [usize; 2] {
        self.patch
    }

    /// Values per pixel.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The frame period: tokens of one frame.
    #[must_use]
    pub fn tokens_per_frame(&self) -> usize {
        self.tokens_per_frame
    }

    /// The file that holds the patches, if the pictures can be rendered.
    #[must_use]
    pub fn codebook(&self) -> Option<&str> {
        self.codebook.as_deref()
    }

    /// The token that stands for code 0.
    #[must_use]
    pub fn code_offset(&self) -> usize {
        self.code_offset
    }

    /// How many picture codes there are.
    #[must_use]
    pub fn codes(&self) -> usize {
        self.codes
    }

    /// Tokens of a prompt.
    #[must_use]
    pub fn prompt_tokens(&self) -> usize {
        self.prompt_tokens
    }

    /// The unconditional prompt, if the model was trained with one.
    #[must_use]
    pub fn null_prompt(&self) -> Option<&NullPrompt> {
        self.null_prompt.as_ref()
    }

    /// Picture tokens of a whole video.
    #[must_use]
    pub fn video_tokens(&self) -> usize {
        self.frames * self.tokens_per_frame
    }
}

/// VILA-U beyond its body: what `vision_tower/config.json` and `mm_projector/config.json` say.
#[derive(Debug, Clone, PartialEq)]
pub struct VilaUConfig {
    code_grid: [usize; 2],
    code_depth: usize,
    codes: usize,
    code_width: usize,
    shared_codebook: bool,
    depth_width: usize,
    depth_heads: usize,
    depth_layers: usize,
    body_width: usize,
    projector: ProjectorKind,
}

/// The network between the sum of the code embeddings and the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProjectorKind {
    /// Nothing: the widths are equal.
    Identity,
    /// One linear layer.
    Linear,
    /// Linear layers with exact GELU between them.
    Mlp {
        /// How many linear layers.
        layers: usize,
    },
}

impl VilaUConfig {
    /// Parses the two component configurations of a VILA-U folder; `body_width` is the body's hidden size.
    ///
    /// # Errors
    /// [`ModelError::Json`], [`ModelError::Field`].
    pub fn parse(
        vision_tower: (&str, &Path),
        mm_projector: (&str, &Path),
        body_width: usize,
    ) -> Result<Self, ModelError> {
        let (json, path) = vision_tower;
        let object = parse_object(json, path)?;
        let top = Fields { path, prefix: "", object: &object };
        let depth = top.required_object("rqtransformer")?;
        let quantizer = top.required_object("rqvaesiglip")?;

        let shape = depth.list("block_size", 3, 1 << 12)?;
        let code_shape = quantizer.list("code_shape", 3, 1 << 12)?;
        if code_shape[2] != shape[2] || shape[2] > 64 {
            return Err(depth.refuse(
                "block_size",
                format!("{shape:?}"),
                format!(
                    "its last extent is the number of codes per position: at most 64, and equal to that of \
                     rqvaesiglip.code_shape, which is {code_shape:?}"
                ),
                "take both from the same checkpoint",
            ));
        }
        let codes = quantizer.uint("n_embed", None, 1, 1 << 22)?;
        let vocab = depth.uint("vocab_size", None, 1, 1 << 22)?;
        if vocab != codes {
            return Err(depth.refuse(
                "vocab_size",
                vocab,
                format!("it must be rqvaesiglip.n_embed, which is {codes}"),
                "the depth transformer predicts codes: take both from the same checkpoint",
            ));
        }
        let code_width = depth.blocks("input_embed_dim_1", None, 65_536)?;
        let from_body = depth.blocks("input_embed_dim_2", None, 65_536)?;
        if from_body != body_width {
            return Err(depth.refuse(
                "input_embed_dim_2",
                from_body,
                format!("it must be the body's hidden_size, which is {body_width}"),
                "take llm and vision_tower from the same checkpoint",
            ));
        }
        let depth_width = depth.blocks("embed_dim", None, 65_536)?;
        let head = depth.required_object("head")?;
        let block = head.required_object("block")?;
        let depth_heads = block.uint("n_head", None, 1, 1024)?;
        if depth_width % depth_heads != 0 || (depth_width / depth_heads) % BLOCK != 0 {
            return Err(block.refuse(
                "n_head",
                depth_heads,
                format!(
                    "it must divide embed_dim, which is {depth_width}, into heads whose width is a multiple of \
                     {BLOCK}"
                ),
                "check both numbers",
            ));
        }

        let (json, path) = mm_projector;
        let object = parse_object(json, path)?;
        let fields = Fields { path, prefix: "", object: &object };
        let kind = fields.get("mm_projector_type").and_then(Value::as_str).unwrap_or("none");
        let mlp_layers = kind
            .strip_prefix("mlp")
            .and_then(|rest| rest.strip_suffix("x_gelu"))
            .and_then(|digits| digits.parse::<usize>().ok())
            .filter(|n| (1..=16).contains(n));
        let projector = match (kind, mlp_layers) {
            ("identity", _) if code_width == body_width => ProjectorKind::Identity,
            ("linear", _) => ProjectorKind::Linear,
            (_, Some(layers)) => ProjectorKind::Mlp { layers },
            _ => {
                return Err(fields.refuse(
                    "mm_projector_type",
                    kind,
                    format!(
                        "the known kinds are linear, mlpNx_gelu with N from 1 to 16, and identity where the code \
                         width, {code_width}, is the body's, {body_width}"
                    ),
                    "convert the projector to one of these",
                ));
            }
        };

        Ok(Self {
            code_grid: [code_shape[0], code_shape[1]],
            code_depth: shape[2],
            codes,
            code_width,
            shared_codebook: quantizer.boolean("shared_codebook", false)?,
            depth_width,
            depth_heads,
            depth_layers: head.uint("n_layer", None, 1, 1024)?,
            body_width,
            projector,
        })
    }

    /// Positions per frame, down and across.
    #[must_use]
    pub fn code_grid(&self) -> [usize; 2] {
        self.code_grid
    }

    /// The frame period: positions of one frame.
    #[must_use]
    pub fn positions_per_frame(&self) -> usize {
        self.code_grid[0] * self.code_grid[1]
    }

    /// Residual codes per position.
    #[must_use]
    pub fn code_depth(&self) -> usize {
        self.code_depth
    }

    /// Codes of one codebook.
    #[must_use]
    pub fn codes(&self) -> usize {
        self.codes
    }

    /// Width of a code embedding.
    #[must_use]
    pub fn code_width(&self) -> usize {
        self.code_width
    }

    /// Whether all depths use one codebook.
    #[must_use]
    pub fn shared_codebook(&self) -> bool {
        self.shared_codebook
    }

    /// Width of the body.
    #[must_use]
    pub fn body_width(&self) -> usize {
        self.body_width
    }

    /// The network between code embeddings and body.
    #[must_use]
    pub fn projector(&self) -> ProjectorKind {
        self.projector
    }

    /// The depth transformer. The checkpoint states neither its epsilon nor its MLP width: they are PyTorch's
    /// default for `LayerNorm`, and 4 times the width.
    #[must_use]
    pub fn spec(&self) -> TransformerSpec {
        TransformerSpec {
            name: "depth",
            layers: self.depth_layers,
            hidden: self.depth_width,
            heads: self.depth_heads,
            kv_heads: self.depth_heads,
            head_dim: self.depth_width / self.depth_heads,
            ffn: 4 * self.depth_width,
            norm: Norm::Layer { eps: 1e-5 },
            activation: Activation::Gelu,
            rope_theta: None,
            max_positions: self.code_depth,
            vocab: self.codes,
            has_embedding: false,
            tied_head: false,
        }
    }
}

fn parse_object(json: &str, path: &Path) -> Result<Map<String, Value>, ModelError> {
    serde_json::from_str(json).map_err(|e| ModelError::Json { path: path.to_owned(), detail: e.to_string() })
}

/// A JSON object with the words for complaining about it.
struct Fields<'a> {
    path: &'a Path,
    prefix: &'a str,
    object: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|v| !v.is_null())
    }

    fn refuse(&self, field: &str, found: impl ToString, limit: String, help: &str) -> ModelError {
        let mut found = found.to_string();
        if found.chars().count() > 80 {
            found = found.chars().take(77).collect::<String>() + "...";
        }
        ModelError::Field {
            path: PathBuf::from(self.path),
            field: format!("{}{field}", self.prefix),
            found,
            limit,
            help: help.to_owned(),
        }
    }

    fn missing(&self, field: &str, what: &str) -> ModelError {
        self.refuse(
            field,
            "missing",
            format!("it must be {what}"),
            "add it, or take the file saved with the model",
        )
    }

    fn uint(&self, name: &str, default: Option<usize>, min: usize, max: usize) -> Result<usize, ModelError> {
        let what = format!("a whole number from {min} to {max}");
        let Some(value) = self.get(name) else {
            return default.ok_or_else(|| self.missing(name, &what));
        };
        value
            .as_u64()
            .and_then(|n| usize::try_from(n).ok())
            .filter(|n| (min..=max).contains(n))
            .ok_or_else(|| self.refuse(name, value, format!("it must be {what}"), "check config.json"))
    }

    /// A width that is a whole number of blocks.
    fn blocks(&self, name: &str, default: Option<usize>, max: usize) -> Result<usize, ModelError> {
        let n = self.uint(name, default, 1, max)?;
        if n % BLOCK == 0 {
            return Ok(n);
        }
        Err(self.refuse(
            name,
            n,
            format!("it must be a multiple of {BLOCK}, the block of the number formats, up to {max}"),
            "pad the matrices with zeros to the next multiple, or choose another width when training",
        ))
    }

    fn float(&self, name: &str, default: Option<f64>, above: f64, max: f64) -> Result<f32, ModelError> {
        let what = format!("a number above {above} and up to {max}");
        let found = match (self.get(name), default) {
            (Some(value), _) => value.as_f64().ok_or_else(|| value.to_string()),
            (None, Some(d)) => Ok(d),
            (None, None) => return Err(self.missing(name, &what)),
        };
        match found {
            // The range is checked after rounding, since that is the number used.
            Ok(x) if f64::from(x as f32) > above && f64::from(x as f32) <= max => Ok(x as f32),
            Ok(x) => Err(self.refuse(name, x, format!("it must be {what}"), "check config.json")),
            Err(text) => Err(self.refuse(name, text, format!("it must be {what}"), "check config.json")),
        }
    }

    fn boolean(&self, name: &str, default: bool) -> Result<bool, ModelError> {
        match self.get(name) {
            None => Ok(default),
            Some(Value::Bool(b)) => Ok(*b),
            Some(other) => {
                Err(self.refuse(name, other, "it must be true or false".to_owned(), "check config.json"))
            }
        }
    }

    fn text_is(&self, name: &str, only: &str, default: Option<&str>) -> Result<(), ModelError> {
        match (self.get(name).map(|v| (v, v.as_str())), default) {
            (Some((_, Some(text))), _) if text == only => Ok(()),
            (None, Some(d)) if d == only => Ok(()),
            (None, _) => Err(self.missing(name, &format!("{only:?}"))),
            (Some((value, _)), _) => Err(self.refuse(
                name,
                value,
                format!("only {only:?} is implemented"),
                "use a model of the LLaMA family with that activation",
            )),
        }
    }

    fn list(&self, name: &str, len: usize, max: usize) -> Result<Vec<usize>, ModelError> {
        let what = format!("a list of {len} whole numbers from 1 to {max}");
        let Some(value) = self.get(name) else { return Err(self.missing(name, &what)) };
        value
            .as_array()
            .filter(|l| l.len() == len)
            .and_then(|l| {
                l.iter()
                    .map(|v| {
                        v.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| (1..=max).contains(n))
                    })
                    .collect()
            })
            .ok_or_else(|| self.refuse(name, value, format!("it must be {what}"), "check config.json"))
    }

    fn pair(&self, name: &str, max: usize) -> Result<[usize; 2], ModelError> {
        let list = self.list(name, 2, max)?;
        Ok([list[0], list[1]])
    }

    fn object(&self, name: &'a str) -> Result<Option<Fields<'a>>, ModelError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(object)) => {
                Ok(Some(Fields { path: self.path, prefix: prefix_of(name), object }))
            }
            Some(other) => {
                Err(self.refuse(name, other, "it must be an object".to_owned(), "check config.json"))
            }
        }
    }

    fn required_object(&self, name: &'a str) -> Result<Fields<'a>, ModelError> {
        self.object(name)?.ok_or_else(|| self.missing(name, "an object"))
    }

    /// The base of the rotary encoding: at the top level, or in `rope_parameters` in files of newer writers.
    fn rope_theta(&self) -> Result<f32, ModelError> {
        for name in ["rope_scaling", "rope_parameters"] {
            let Some(scaling) = self.object(name)? else { continue };
            for key in ["rope_type", "type"] {
                match scaling.get(key) {
                    None => {}
                    Some(Value::String(kind)) if kind == "default" => {}
                    Some(other) => {
                        return Err(scaling.refuse(
                            key,
                            other,
                            "only \"default\" is implemented".to_owned(),
                            "use a model whose context was not stretched by scaling its rotary encoding",
                        ));
                    }
                }
            }
            if name == "rope_scaling" && scaling.get("factor").is_some_and(|f| f.as_f64() != Some(1.0)) {
                return Err(scaling.refuse(
                    "factor",
                    "set",
                    "scaling the rotary encoding is not implemented".to_owned(),
                    "use a model whose context was not stretched by scaling its rotary encoding",
                ));
            }
        }
        let nested = self.object("rope_parameters")?;
        let source = match &nested {
            Some(inner) if inner.get("rope_theta").is_some() => inner,
            _ => self,
        };
        for fields in [Some(self), nested.as_ref()].into_iter().flatten() {
            if fields.get("partial_rotary_factor").is_some_and(|f| f.as_f64() != Some(1.0)) {
                return Err(fields.refuse(
                    "partial_rotary_factor",
                    "not 1",
                    "the whole head is rotated".to_owned(),
                    "use a model of the LLaMA family",
                ));
            }
        }
        source.float("rope_theta", Some(10_000.0), 1.0, 1e12)
    }

    fn null_prompt(&self, prompt_tokens: usize, vocab: usize) -> Result<Option<NullPrompt>, ModelError> {
        let Some(value) = self.get("null_prompt") else { return Ok(None) };
        if let Some(text) = value.as_str() {
            return Ok(Some(NullPrompt::Text(text.to_owned())));
        }
        let tokens: Option<Vec<u32>> = value.as_array().and_then(|list| {
            list.iter()
                .map(|v| v.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|&n| (n as usize) < vocab))
                .collect()
        });
        tokens.filter(|t| t.len() == prompt_tokens).map(|t| Some(NullPrompt::Tokens(t))).ok_or_else(|| {
            self.refuse(
                "null_prompt",
                value,
                format!("it must be a text, or {prompt_tokens} tokens (prompt_tokens) below {vocab}"),
                "give the prompt that the model was trained to take for none",
            )
        })
    }
}

/// The words before a nested field's name in messages.
fn prefix_of(name: &str) -> &'static str {
    match name {
        "fastcar_video" => "fastcar_video.",
        "rope_scaling" => "rope_scaling.",
        "rope_parameters" => "rope_parameters.",
        "rqtransformer" => "rqtransformer.",
        "rqvaesiglip" => "rqvaesiglip.",
        "head" => "rqtransformer.head.",
        "block" => "rqtransformer.head.block.",
        _ => "",
    }
}
