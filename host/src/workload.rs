//! Workloads: a model's sizes and a video's length, which is all that time depends on.
//!
//! A [`Workload`] has no weights. Its [`Plan`] compiles to the programs that a packed model of the same sizes would
//! have, at the same addresses, so a run that is only timed needs no checkpoint:
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_host::{compile::compile, pack::PackOptions, policy::Policy, workload::Workload};
//!
//! let workload = Workload::named("vila-u-7b")?;
//! let plan = workload.plan(&AccelConfig::preset("u55c")?, PackOptions::default())?;
//! let compiled = compile(&plan, &Policy::dense(), workload.options(2))?;
//! assert_eq!((compiled.body.len(), compiled.depth.len()), (2, 4));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub use crate::plan::{
    CodeShape, HeadShape, LayerBiases, LinearShape, ModelShape, Plan, PlanError, TransformerShape,
};

use crate::compile::CompileOptions;
use crate::image::Shape;
use crate::model::checkpoint::read_text;
use crate::model::{Architecture, ModelConfig, ModelError, ProjectorKind, VilaUConfig};
use crate::pack::PackOptions;
use fastcar_arch::config::AccelConfig;
use std::path::Path;

/// A model's sizes and the video to decode.
#[derive(Clone, PartialEq, Debug)]
pub struct Workload {
    name: String,
    model: ModelShape,
    prompt: u32,
    generated: u32,
}

/// No workload.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkloadError {
    /// No workload of that name.
    #[error("no workload is named '{found}': the workloads are {known}; a model's folder works too")]
    Unknown {
        /// What was asked for.
        found: String,
        /// The names.
        known: String,
    },
    /// The folder's configuration.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Weights that one position streams where nothing is skipped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StreamedWeights {
    /// Query, key, value and output projections of the body.
    pub attention: u64,
    /// MLPs of the body: what a replay saves.
    pub mlp: u64,
    /// The body's output head.
    pub head: u64,
    /// Residual codes: the depth transformer with its head and inputs once per code, and the projector.
    pub codes: u64,
}

/// Frames of a video of VILA-U.
const FRAMES: u32 = 8;
/// Positions of a frame of VILA-U: 16 x 16.
const PERIOD: u32 = 256;
/// Prompt of a text-to-video workload. With it the mean context over 8 frames of 256 is 1,084 tokens.
const PROMPT: u32 = 60;
/// Generated positions of a model without frames.
const PLAIN: u32 = FRAMES * PERIOD;

impl Workload {
    /// The names that [`Workload::named`] knows, smallest first.
    pub const NAMES: [&'static str; 4] = ["tiny", "moving-digits", "llama-1b", "vila-u-7b"];

    /// A workload by name:
    ///
    /// * `tiny`: two layers of width 64, frames of 12 positions; fits every preset.
    /// * `moving-digits`: the sizes of the model in `tests/models/moving-digits`.
    /// * `llama-1b`: the body of LLaMA-3.2-1B with the frames and the codebook of VILA-U for a vocabulary, without a
    ///   head: a model for boards with 2 GB.
    /// * `vila-u-7b`: VILA-U-7B as published (arXiv 2409.04429): the body of LLaMA-2-7B, 8 frames of 256 positions,
    ///   four residual codes a position. The depth transformer has the sizes that its repository gives by default
    ///   (width 2,560, 40 heads, 6 layers, MLP 10,240, codebook 16,384). Not published is the code width: 1,024, the
    ///   width of its SigLIP encoder, is assumed, with a projector of two layers. Per position that makes 2.095 G
    ///   weights for the codes.
    ///
    /// # Errors
    /// [`WorkloadError::Unknown`].
    pub fn named(name: &str) -> Result<Self, WorkloadError> {
        let (model, prompt, frames) = match name {
            "tiny" => (tiny(), 4, 4),
            "moving-digits" => (moving_digits(), 4, 8),
            "llama-1b" => (llama_1b(), PROMPT, FRAMES),
            "vila-u-7b" => (vila_u_7b(), PROMPT, FRAMES),
            _ => {
                let known = Self::NAMES.join(", ");
                return Err(WorkloadError::Unknown { found: name.to_owned(), known });
            }
        };
        let generated = frames * model.period.unwrap_or(PERIOD);
        Ok(Self { name: name.to_owned(), model, prompt, generated })
    }

    /// The workload of a model folder, from its `config.json` files alone: the weights need not be there. Biases are
    /// those that the configuration declares.
    ///
    /// # Errors
    /// [`WorkloadError::Model`].
    pub fn from_checkpoint(dir: &Path) -> Result<Self, WorkloadError> {
        let read = |parts: &[&str]| {
            let path = parts.iter().fold(dir.to_owned(), |path, part| path.join(part));
            read_text(&path).map(|text| (text, path))
        };
        let (text, path) = read(&["config.json"])?;
        let full = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        let name = full.file_name().unwrap_or(full.as_os_str()).to_string_lossy().into_owned();
        if Architecture::detect(&text, &path)? == Architecture::VilaU {
            let (body, body_path) = read(&["llm", "config.json"])?;
            let body = ModelConfig::parse(&body, &body_path)?;
            let (tower, tower_path) = read(&["vision_tower", "config.json"])?;
            let (projector, projector_path) = read(&["mm_projector", "config.json"])?;
            let tower = (&tower[..], tower_path.as_path());
            let codes = VilaUConfig::parse(tower, (&projector, &projector_path), body.hidden_size())?;
            return Ok(Self::vila_u(name, &body, &codes));
        }
        Ok(Self::llama(name, &ModelConfig::parse(&text, &path)?))
    }

    fn llama(name: String, config: &ModelConfig) -> Self {
        let (prompt, generated) = match config.video() {
            Some(video) => (video.prompt_tokens() as u32, video.video_tokens() as u32),
            None => fit(config.max_position_embeddings() as u32, PLAIN),
        };
        let period = config.video().map(|v| v.tokens_per_frame() as u32);
        let head = HeadShape { rows: config.vocab_size() as u32, bias: false };
        let body = body(config, Some(head));
        let vocabulary = config.vocab_size() as u32;
        Self { name, model: ModelShape { body, vocabulary, codes: None, period }, prompt, generated }
    }

    fn vila_u(name: String, config: &ModelConfig, codes: &VilaUConfig) -> Self {
        let period = codes.positions_per_frame() as u32;
        let limit = config.max_position_embeddings() as u32;
        let (prompt, generated) = fit(limit, FRAMES.saturating_mul(period));
        let model = ModelShape {
            body: body(config, None),
            vocabulary: config.vocab_size() as u32,
            codes: Some(code_shape(codes)),
            period: Some(period),
        };
        Self { name, model, prompt, generated }
    }

    /// Without output head and residual codes: the transformer that runs once per position, and nothing else.
    #[must_use]
    pub fn body_only(mut self) -> Self {
        self.model.codes = None;
        self.model.body.head = None;
        self
    }

    /// Another number of generated positions.
    #[must_use]
    pub fn with_generated(self, generated: u32) -> Self {
        Self { generated, ..self }
    }

    /// Another length of the prompt.
    #[must_use]
    pub fn with_prompt(self, prompt: u32) -> Self {
        Self { prompt, ..self }
    }

    /// Name: as in [`Workload::named`], or the folder's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The model's sizes.
    #[must_use]
    pub fn model(&self) -> &ModelShape {
        &self.model
    }

    /// Positions in a frame, where the model makes video.
    #[must_use]
    pub fn period(&self) -> Option<u32> {
        self.model.period
    }

    /// Tokens of the prompt.
    #[must_use]
    pub fn prompt(&self) -> u32 {
        self.prompt
    }

    /// Positions to generate.
    #[must_use]
    pub fn generated(&self) -> u32 {
        self.generated
    }

    /// Weights that one position streams where nothing is skipped.
    #[must_use]
    pub fn streamed_weights(&self) -> StreamedWeights {
        let product = |rows: u32, cols: u32| u64::from(rows) * u64::from(cols);
        let layers = |s: &Shape| {
            let attention = product(s.qkv_rows(), s.hidden) + product(s.hidden, s.attended());
            let mlp = product(s.up_rows(), s.hidden) + product(s.hidden, s.ffn);
            [attention, mlp].map(|weights| weights * u64::from(s.layers))
        };
        let head = |t: &TransformerShape| t.head.map_or(0, |h| product(h.rows, t.shape.hidden));
        let [attention, mlp] = layers(&self.model.body.shape);
        let codes = self.model.codes.as_ref().map_or(0, |c| {
            let each = layers(&c.depth.shape).iter().sum::<u64>() + head(&c.depth);
            let later = u64::from(c.codes.saturating_sub(1));
            let inputs = product(c.depth.shape.hidden, self.model.body.shape.hidden)
                + later * product(c.depth.shape.hidden, c.width);
            let projector: u64 = c.projector.iter().map(|l| product(l.rows, l.cols)).sum();
            u64::from(c.codes) * each + inputs + projector
        });
        StreamedWeights { attention, mlp, head: head(&self.model.body), codes }
    }

    /// Lays the model out for a configuration.
    ///
    /// # Errors
    /// [`PlanError`] when the constants do not fit the card's memory.
    pub fn plan(&self, config: &AccelConfig, options: PackOptions) -> Result<Plan, PlanError> {
        Plan::new(config, &self.model, options)
    }

    /// What [`crate::compile::compile`] needs beside plan and policy: room for prompt and video in so many slots.
    #[must_use]
    pub fn options(&self, slots: u32) -> CompileOptions {
        let positions = self.prompt.saturating_add(self.generated);
        CompileOptions { slots, positions, period: self.model.period.unwrap_or(0) }
    }
}

/// Prompt and generated positions within a model's limit.
fn fit(limit: u32, generated: u32) -> (u32, u32) {
    let prompt = PROMPT.min(limit.saturating_sub(1));
    (prompt, generated.min(limit - prompt))
}

fn body(config: &ModelConfig, head: Option<HeadShape>) -> TransformerShape {
    let shape = Shape::from(&config.spec());
    let (attention, mlp) = (config.attention_bias(), config.mlp_bias());
    let biases = LayerBiases { qkv: attention, o: attention, up: mlp, down: mlp };
    TransformerShape {
        biases: vec![biases; shape.layers as usize],
        ..TransformerShape::plain(shape, true, head)
    }
}

fn code_shape(config: &VilaUConfig) -> CodeShape {
    let (inner, outer) = (config.code_width() as u32, config.body_width() as u32);
    let layers = match config.projector() {
        ProjectorKind::Identity => 0,
        ProjectorKind::Linear => 1,
        ProjectorKind::Mlp { layers } => layers,
    };
    let cols = std::iter::once(inner).chain(std::iter::repeat(outer)).take(layers);
    CodeShape {
        depth: depth(Shape::from(&config.spec()), config.codes() as u32),
        codes: config.code_depth() as u32,
        entries: config.codes() as u32,
        width: inner,
        projector: cols.map(|cols| LinearShape { rows: outer, cols, bias: true }).collect(),
    }
}

/// A depth transformer: biases everywhere, learned positions.
fn depth(shape: Shape, codes: u32) -> TransformerShape {
    let biases = LayerBiases { qkv: true, o: true, up: true, down: true };
    let head = HeadShape { rows: codes, bias: true };
    TransformerShape {
        biases: vec![biases; shape.layers as usize],
        ..TransformerShape::plain(shape, false, Some(head))
    }
}

/// A body of the LLaMA family: (layers, hidden), (heads, key/value heads, head_dim), MLP width, positions.
fn llama(
    [layers, hidden]: [u32; 2],
    [heads, kv_heads, head_dim]: [u32; 3],
    ffn: u32,
    max_positions: u32,
) -> Shape {
    Shape {
        layers,
        hidden,
        heads,
        kv_heads,
        head_dim,
        ffn,
        layer_norm: false,
        eps: 1e-5,
        gelu: false,
        max_positions,
    }
}

fn tiny() -> ModelShape {
    let head = Some(HeadShape { rows: 64, bias: false });
    let body = TransformerShape::plain(llama([2, 64], [2, 2, 32], 96, 256), true, head);
    ModelShape { body, vocabulary: 64, codes: None, period: Some(12) }
}

fn moving_digits() -> ModelShape {
    let head = Some(HeadShape { rows: 288, bias: false });
    let body = TransformerShape::plain(llama([4, 128], [4, 4, 32], 352, 1024), true, head);
    ModelShape { body, vocabulary: 288, codes: None, period: Some(64) }
}

fn llama_1b() -> ModelShape {
    let body = TransformerShape::plain(llama([16, 2048], [32, 8, 64], 8192, 131_072), true, None);
    ModelShape { body, vocabulary: 16_384, codes: None, period: Some(PERIOD) }
}

fn vila_u_7b() -> ModelShape {
    let body = TransformerShape::plain(llama([32, 4096], [32, 32, 128], 11_008, 4096), true, None);
    let shape = Shape { layer_norm: true, gelu: true, ..llama([6, 2560], [40, 40, 64], 10_240, 4) };
    let (width, hidden) = (1024, body.shape.hidden);
    let projector = [width, hidden].map(|cols| LinearShape { rows: hidden, cols, bias: true });
    let codes = CodeShape {
        depth: depth(shape, 16_384),
        codes: 4,
        entries: 16_384,
        width,
        projector: projector.to_vec(),
    };
    ModelShape { body, vocabulary: 32_000, codes: Some(codes), period: Some(PERIOD) }
}
