//! Random models in the exact layout of real ones, for tests of this crate and of others.
//!
//! Everything is deterministic in the seed. Values are written by the `safetensors` crate, so that the reader
//! is tested against another implementation of the format.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use half::{bf16, f16};
use safetensors::tensor::{Dtype as FileDtype, TensorView as FileView};
use serde_json::{Value, json};

/// The format in which weights are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the formats'")]
pub enum WeightFormat {
    F32,
    F16,
    Bf16,
}

/// Tensors on their way to a file.
#[derive(Debug, Clone, Default)]
pub struct Tensors(BTreeMap<String, (FileDtype, Vec<usize>, Vec<u8>)>);

impl Tensors {
    /// Adds real numbers, rounded to a format.
    pub fn floats(&mut self, name: impl Into<String>, shape: &[usize], format: WeightFormat, values: &[f32]) {
        let (dtype, bytes) = match format {
            WeightFormat::F32 => (FileDtype::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
            WeightFormat::F16 => {
                (FileDtype::F16, values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect())
            }
            WeightFormat::Bf16 => {
                (FileDtype::BF16, values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect())
            }
        };
        self.0.insert(name.into(), (dtype, shape.to_vec(), bytes));
    }

    /// Adds integers.
    pub fn ints(&mut self, name: impl Into<String>, shape: &[usize], values: &[i32]) {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.0.insert(name.into(), (FileDtype::I32, shape.to_vec(), bytes));
    }

    /// Adds bytes.
    pub fn bytes(&mut self, name: impl Into<String>, shape: &[usize], values: &[u8]) {
        self.0.insert(name.into(), (FileDtype::U8, shape.to_vec(), values.to_vec()));
    }

    /// Removes a tensor.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// The file with these tensors.
    ///
    /// # Errors
    /// A shape that is not that of its values.
    pub fn to_file(&self) -> io::Result<Vec<u8>> {
        Self::serialise(self.0.iter())
    }

    fn serialise<'a>(
        tensors: impl Iterator<Item = (&'a String, &'a (FileDtype, Vec<usize>, Vec<u8>))>,
    ) -> io::Result<Vec<u8>> {
        let views = tensors
            .map(|(name, (dtype, shape, bytes))| {
                Ok((name, FileView::new(*dtype, shape.clone(), bytes).map_err(io::Error::other)?))
            })
            .collect::<io::Result<Vec<_>>>()?;
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        safetensors::serialize(views, Some(metadata)).map_err(io::Error::other)
    }

    /// Writes `model.safetensors`, or that many shards and their index, into a folder.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, dir: &Path, shards: usize) -> io::Result<()> {
        std::fs::create_dir_all(dir)?;
        if shards <= 1 {
            return std::fs::write(dir.join("model.safetensors"), self.to_file()?);
        }
        let mut weight_map = BTreeMap::new();
        for shard in 0..shards {
            let file = format!("model-{:05}-of-{shards:05}.safetensors", shard + 1);
            let part: Vec<_> = self.0.iter().skip(shard).step_by(shards).collect();
            weight_map.extend(part.iter().map(|(name, _)| ((*name).clone(), file.clone())));
            std::fs::write(dir.join(&file), Self::serialise(part.into_iter())?)?;
        }
        let total: usize = self.0.values().map(|(_, _, bytes)| bytes.len()).sum();
        let index = json!({ "metadata": { "total_size": total }, "weight_map": weight_map });
        write_json(&dir.join("model.safetensors.index.json"), &index)
    }
}

/// A small generator of random numbers (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A whole number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.bits() % limit.max(1) as u64) as usize
    }

    /// A number from 0 to 1.
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// A number of mean 0 and deviation 1, nearly normal.
    pub fn normal(&mut self) -> f32 {
        let sum: f32 = (0..12).map(|_| self.unit()).sum();
        sum - 6.0
    }

    /// `n` numbers of deviation `scale`.
    pub fn vector(&mut self, n: usize, scale: f32) -> Vec<f32> {
        (0..n).map(|_| self.normal() * scale).collect()
    }
}

/// A random LLaMA checkpoint.
#[derive(Debug, Clone)]
pub struct LlamaSpec {
    /// Layers.
    pub layers: usize,
    /// Width.
    pub hidden: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Width of the MLP.
    pub ffn: usize,
    /// Tokens.
    pub vocab: usize,
    /// The longest sequence.
    pub max_positions: usize,
    /// The format of the weights.
    pub format: WeightFormat,
    /// Files; 1 for `model.safetensors`.
    pub shards: usize,
    /// Whether the head is the embedding.
    pub tied: bool,
    /// Whether q, k, v and o have biases.
    pub attention_bias: bool,
    /// Whether gate, up and down have biases.
    pub mlp_bias: bool,
    /// The base of the rotary encoding.
    pub rope_theta: f32,
    /// Where the values come from.
    pub seed: u64,
}

impl Default for LlamaSpec {
    fn default() -> Self {
        Self {
            layers: 2,
            hidden: 64,
            heads: 2,
            kv_heads: 2,
            head_dim: 32,
            ffn: 96,
            vocab: 64,
            max_positions: 256,
            format: WeightFormat::F32,
            shards: 1,
            tied: false,
            attention_bias: false,
            mlp_bias: false,
            rope_theta: 10_000.0,
            seed: 1,
        }
    }
}

impl LlamaSpec {
    /// Its `config.json`.
    #[must_use]
    pub fn config(&self) -> Value {
        json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": self.hidden,
            "intermediate_size": self.ffn,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-5,
            "rope_theta": self.rope_theta,
            "rope_scaling": null,
            "attention_bias": self.attention_bias,
            "mlp_bias": self.mlp_bias,
            "vocab_size": self.vocab,
            "max_position_embeddings": self.max_positions,
            "tie_word_embeddings": self.tied,
        })
    }

    /// Its weights.
    #[must_use]
    pub fn tensors(&self) -> Tensors {
        let mut w = Writer { out: Tensors::default(), random: Random::new(self.seed), format: self.format };
        let (q, kv) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        w.matrix("model.embed_tokens.weight", [self.vocab, self.hidden], 1.0);
        for l in 0..self.layers {
            let name = |leaf: &str| format!("model.layers.{l}.{leaf}");
            w.norm(&name("input_layernorm"), self.hidden, false);
            w.norm(&name("post_attention_layernorm"), self.hidden, false);
            for (leaf, shape) in [
                ("self_attn.q_proj", [q, self.hidden]),
                ("self_attn.k_proj", [kv, self.hidden]),
                ("self_attn.v_proj", [kv, self.hidden]),
                ("self_attn.o_proj", [self.hidden, q]),
            ] {
                w.linear(&name(leaf), shape, self.attention_bias);
            }
            for (leaf, shape) in [
                ("mlp.gate_proj", [self.ffn, self.hidden]),
                ("mlp.up_proj", [self.ffn, self.hidden]),
                ("mlp.down_proj", [self.hidden, self.ffn]),
            ] {
                w.linear(&name(leaf), shape, self.mlp_bias);
            }
        }
        w.norm("model.norm", self.hidden, false);
        if !self.tied {
            w.linear("lm_head", [self.vocab, self.hidden], false);
        }
        w.out
    }

    /// Writes it into a folder.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        self.tensors().write(dir, self.shards)?;
        write_json(&dir.join("config.json"), &self.config())
    }
}

/// A random video model: a LLaMA with `fastcar_video`, tokenizer, codebook and held-out videos.
#[derive(Debug, Clone)]
pub struct VideoSpec {
    /// The transformer; its vocabulary is replaced.
    pub body: LlamaSpec,
    /// Frames of a video.
    pub frames: usize,
    /// Patches of a frame, down and across.
    pub grid: [usize; 2],
    /// Pixels of a patch, down and across.
    pub patch: [usize; 2],
    /// Picture codes.
    pub codes: usize,
    /// Held-out videos.
    pub clips: usize,
}

impl Default for VideoSpec {
    fn default() -> Self {
        Self { body: LlamaSpec::default(), frames: 4, grid: [3, 4], patch: [2, 3], codes: 48, clips: 3 }
    }
}

impl VideoSpec {
    /// The words of its prompts; three of them, after the beginning token, are a prompt.
    pub const WORDS: [&str; 6] = ["zero", "one", "left", "up-right", "plain", "dots"];
    /// Its special tokens, after the words.
    pub const SPECIAL: [&str; 3] = ["[BOS]", "[NULL]", "[UNK]"];

    /// The vocabulary: picture codes, words, special tokens.
    #[must_use]
    pub fn vocab(&self) -> usize {
        self.codes + Self::WORDS.len() + Self::SPECIAL.len()
    }

    /// The token of a word or special token.
    #[must_use]
    pub fn token(&self, word: &str) -> Option<u32> {
        let at = Self::WORDS.iter().chain(&Self::SPECIAL).position(|w| *w == word)?;
        u32::try_from(self.codes + at).ok()
    }

    /// Its `config.json`.
    #[must_use]
    pub fn config(&self) -> Value {
        let body = LlamaSpec { vocab: self.vocab(), ..self.body.clone() };
        let mut config = body.config();
        let unconditional = ["[BOS]", "[NULL]", "[NULL]", "[NULL]"].map(|w| self.token(w));
        config["fastcar_video"] = json!({
            "frames": self.frames,
            "grid": self.grid,
            "patch": self.patch,
            "channels": 1,
            "tokens_per_frame": self.grid[0] * self.grid[1],
            "codebook": "codebook.safetensors",
            "code_offset": 0,
            "codes": self.codes,
            "prompt_tokens": 4,
            "null_prompt": unconditional,
        });
        config
    }

    /// Its `tokenizer.json`: words split at spaces, with the beginning token in front.
    #[must_use]
    pub fn tokenizer(&self) -> Value {
        let vocab: BTreeMap<&str, Option<u32>> =
            Self::WORDS.iter().chain(&Self::SPECIAL).map(|w| (*w, self.token(w))).collect();
        let added: Vec<Value> = Self::SPECIAL
            .iter()
            .map(|w| {
                json!({ "id": self.token(w), "content": w, "single_word": false, "lstrip": false,
                        "rstrip": false, "normalized": false, "special": true })
            })
            .collect();
        let bos = json!({ "SpecialToken": { "id": "[BOS]", "type_id": 0 } });
        json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": added,
            "normalizer": null,
            "pre_tokenizer": { "type": "WhitespaceSplit" },
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [bos, { "Sequence": { "id": "A", "type_id": 0 } }],
                "pair": [bos, { "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 1 } }],
                "special_tokens": { "[BOS]": { "id": "[BOS]", "ids": [self.token("[BOS]")], "tokens": ["[BOS]"] } },
            },
            "decoder": null,
            "model": { "type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]" },
        })
    }

    /// Writes it into a folder.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let body = LlamaSpec { vocab: self.vocab(), ..self.body.clone() };
        body.write(dir)?;
        write_json(&dir.join("config.json"), &self.config())?;
        write_json(&dir.join("tokenizer.json"), &self.tokenizer())?;

        let mut random = Random::new(self.body.seed ^ 0x5eed);
        let per_frame = self.grid[0] * self.grid[1];
        let pixels = self.patch[0] * self.patch[1];
        let patches: Vec<f32> = (0..self.codes * pixels).map(|_| random.unit()).collect();
        let mut codebook = Tensors::default();
        codebook.floats("codebook", &[self.codes, pixels], WeightFormat::F32, &patches);
        std::fs::write(dir.join("codebook.safetensors"), codebook.to_file()?)?;

        let (n, f) = (self.clips, self.frames);
        let tokens: Vec<i32> = (0..n * f * per_frame).map(|_| random.below(self.codes) as i32).collect();
        let prompt: Vec<i32> = (0..n)
            .flat_map(|i| ["[BOS]", Self::WORDS[i % 2], Self::WORDS[2 + i % 2], Self::WORDS[4 + i % 2]])
            .filter_map(|w| self.token(w).map(|t| t as i32))
            .collect();
        let (h, w) = (self.grid[0] * self.patch[0], self.grid[1] * self.patch[1]);
        let frames: Vec<u8> = (0..n * f * h * w).map(|_| random.below(256) as u8).collect();
        let mut heldout = Tensors::default();
        heldout.ints("prompt", &[n, 4], &prompt);
        heldout.ints("tokens", &[n, f, per_frame], &tokens);
        heldout.bytes("frames", &[n, f, h, w], &frames);
        std::fs::write(dir.join("heldout.safetensors"), heldout.to_file()?)
    }
}

/// A random, reduced VILA-U checkpoint in its three folders.
#[derive(Debug, Clone)]
pub struct VilaUSpec {
    /// The body.
    pub body: LlamaSpec,
    /// Positions of a frame, down and across.
    pub grid: [usize; 2],
    /// Codes of a position.
    pub code_depth: usize,
    /// Codes of a codebook.
    pub codes: usize,
    /// Width of a code embedding.
    pub code_width: usize,
    /// Width of the depth transformer.
    pub depth_width: usize,
    /// Its heads.
    pub depth_heads: usize,
    /// Its layers.
    pub depth_layers: usize,
    /// Whether all depths share one codebook.
    pub shared_codebook: bool,
    /// The kind of the projector: `linear`, `mlp2x_gelu`, `identity`.
    pub projector: &'static str,
}

impl Default for VilaUSpec {
    fn default() -> Self {
        Self {
            body: LlamaSpec::default(),
            grid: [2, 2],
            code_depth: 4,
            codes: 40,
            code_width: 32,
            depth_width: 64,
            depth_heads: 2,
            depth_layers: 2,
            shared_codebook: true,
            projector: "mlp2x_gelu",
        }
    }
}

impl VilaUSpec {
    /// `vision_tower/config.json`.
    #[must_use]
    pub fn tower_config(&self) -> Value {
        let shape = [self.grid[0], self.grid[1], self.code_depth];
        json!({
            "architectures": ["RQVAESIGLIPTransformer"],
            "model_type": "rqvaesigliptransformer_model",
            "hidden_size": self.code_width,
            "rqtransformer": {
                "architectures": ["RQTransformer"],
                "model_type": "rqtransformer_model",
                "block_size": shape,
                "input_embed_dim_1": self.code_width,
                "input_embed_dim_2": self.body.hidden,
                "embed_dim": self.depth_width,
                "vocab_size": self.codes,
                "head": { "n_layer": self.depth_layers, "block": { "n_head": self.depth_heads } },
            },
            "rqvaesiglip": {
                "architectures": ["RQVAESiglipModel"],
                "model_type": "rqvaesiglip_model",
                "code_shape": shape,
                "latent_shape": [self.grid[0], self.grid[1], self.code_width],
                "n_embed": self.codes,
                "shared_codebook": self.shared_codebook,
                "decay": 0.99,
            },
        })
    }

    /// The tensors of `vision_tower`.
    #[must_use]
    pub fn tower_tensors(&self) -> Tensors {
        let random = Random::new(self.body.seed ^ 0xdee9);
        let mut w = Writer { out: Tensors::default(), random, format: self.body.format };
        let width = self.depth_width;
        w.linear("rqtransformer.in_mlp_1", [width, self.code_width], true);
        w.linear("rqtransformer.in_mlp_2", [width, self.body.hidden], true);
        let positions = w.random.vector(self.code_depth * width, 0.5);
        w.out.floats("rqtransformer.pos_emb_d", &[1, self.code_depth, width], w.format, &positions);
        for l in 0..self.depth_layers {
            let name = |leaf: &str| format!("rqtransformer.head_transformer.blocks.{l}.{leaf}");
            w.norm(&name("ln1"), width, true);
            w.norm(&name("ln2"), width, true);
            for leaf in ["attn.key", "attn.query", "attn.value", "attn.proj"] {
                w.linear(&name(leaf), [width, width], true);
            }
            w.linear(&name("mlp.0"), [4 * width, width], true);
            w.linear(&name("mlp.2"), [width, 4 * width], true);
        }
        w.norm("rqtransformer.classifier_mlp.layer_norm", width, true);
        w.linear("rqtransformer.classifier_mlp.linear", [self.codes, width], true);
        for depth in 0..if self.shared_codebook { 1 } else { self.code_depth } {
            let stem = format!("rqvaesiglip.quantizer.codebooks.{depth}");
            w.matrix(&format!("{stem}.weight"), [self.codes + 1, self.code_width], 0.5);
            // Training state that decoding has no use for.
            let counts = vec![1.0; self.codes];
            w.out.floats(format!("{stem}.cluster_size_ema"), &[self.codes], WeightFormat::F32, &counts);
        }
        w.out
    }

    /// The tensors of `mm_projector`.
    #[must_use]
    pub fn projector_tensors(&self) -> Tensors {
        let random = Random::new(self.body.seed ^ 0x9607);
        let mut w = Writer { out: Tensors::default(), random, format: self.body.format };
        let (inner, outer) = (self.code_width, self.body.hidden);
        match self.projector {
            "linear" => w.linear("layers", [outer, inner], true),
            "identity" => w.norm("unused", 1, false),
            _ => {
                w.linear("layers.0", [outer, inner], true);
                w.linear("layers.2", [outer, outer], true);
            }
        }
        w.out
    }

    /// Writes it into a folder.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        self.body.write(&dir.join("llm"))?;
        self.tower_tensors().write(&dir.join("vision_tower"), 1)?;
        write_json(&dir.join("vision_tower/config.json"), &self.tower_config())?;
        self.projector_tensors().write(&dir.join("mm_projector"), 1)?;
        let projector = json!({ "model_type": "v2l_projector", "mm_projector_type": self.projector, "architectures": ["MultimodalProjector"] });
        write_json(&dir.join("mm_projector/config.json"), &projector)?;
        let top = json!({
            "architectures": ["VILAULlamaModel"],
            "model_type": "vila_u_llama",
            "llm_cfg": self.body.config(),
            "vision_tower_cfg": self.tower_config(),
            "mm_projector_cfg": projector,
            "hidden_size": self.body.hidden,
            "mm_hidden_size": self.code_width,
        });
        write_json(&dir.join("config.json"), &top)
    }
}

/// Writes JSON.
///
/// # Errors
/// Those of the file system.
pub fn write_json(path: &Path, value: &Value) -> io::Result<()> {
    std::fs::write(path, serde_json::to_string_pretty(value).map_err(io::Error::other)?)
}

struct Writer {
    out: Tensors,
    random: Random,
    format: WeightFormat,
}

impl Writer {
    fn matrix(&mut self, name: &str, [rows, cols]: [usize; 2], scale: f32) {
        let values = self.random.vector(rows * cols, scale);
        self.out.floats(name, &[rows, cols], self.format, &values);
    }

    fn linear(&mut self, stem: &str, [rows, cols]: [usize; 2], bias: bool) {
        self.matrix(&format!("{stem}.weight"), [rows, cols], 1.0 / (cols as f32).sqrt());
        if bias {
            let values = self.random.vector(rows, 0.1);
            self.out.floats(format!("{stem}.bias"), &[rows], self.format, &values);
        }
    }

    fn norm(&mut self, stem: &str, width: usize, bias: bool) {
        let values: Vec<f32> = self.random.vector(width, 0.1).iter().map(|v| v + 1.0).collect();
        self.out.floats(format!("{stem}.weight"), &[width], self.format, &values);
        if bias {
            let values = self.random.vector(width, 0.1);
            self.out.floats(format!("{stem}.bias"), &[width], self.format, &values);
        }
    }
}
