//! The folder layout of VILA-U, a unified model that emits four residual codes per picture position.
//!
//! ```text
//! config.json                 architectures [VILAULlamaModel], model_type vila_u_llama
//! llm/                        LlamaForCausalLM: the body
//! vision_tower/               config.json with the objects rqtransformer and rqvaesiglip
//!   rqtransformer.*           the depth transformer
//!   rqvaesiglip.quantizer.*   the codebooks; the rest (SigLIP encoder, pixel decoder) is not read
//! mm_projector/               config.json with mm_projector_type
//! ```
//!
//! At each position the body's output after its final norm is `h`. The depth transformer sees `in_mlp_2(h)`
//! and then, for each code already chosen, `in_mlp_1` of the running sum of code embeddings; learned
//! positions are added, attention is causal, and one classifier serves every depth. The body's next input is
//! the projector applied to the sum of all the position's code embeddings.
//!
//! # Where the names come from
//!
//! | fact | public file it was read in |
//! |---|---|
//! | the three component folders, prefixes cut when saving | `vila_u_arch.py` (`save_pretrained`) of shawnricecake/fast-car |
//! | `in_mlp_1`, `in_mlp_2`, `head_transformer`, `classifier_mlp` | `modeling_rqtransformer.py` of shawnricecake/fast-car |
//! | `pos_emb_d` of shape `[1, D, E]` | the same |
//! | `blocks.N`, `ln1`, `ln2`, `attn.*`, `mlp.0`, `mlp.2`, biases | `attentions.py` of kakaobrain/rq-vae-transformer |
//! | exact GELU between `mlp.0` and `mlp.2`, width x 4 | `attention.py` of a derived VILA-U (*) |
//! | the fields of `rqtransformer` | `configuration_rqtransformer.py` of endman100/vila-u-py312 |
//! | `rqvaesiglip`, `rqtransformer` as children of the tower | `modeling_rqvaesigliptransformer.py` (*) |
//! | `quantizer`, `code_shape`, `n_embed`, `shared_codebook` | `modeling_rqvaesiglip.py` of Ther-nullptr/vila-u |
//! | `codebooks.N.weight`, a padding row beyond `n_embed` | `quantizations.py` derived from rq-vae-transformer (*) |
//! | `layers` of the projector, `linear`, `mlpNx_gelu` | `base_projector.py` (*) |
//! | architecture and type, body output after its norm | `vila_u_llama.py` of Ther-nullptr/vila-u |
//!
//! (*) The text was found without the name of its repository; the file's name is inferred from its contents.
//!
//! Not confirmed, for want of the published checkpoint itself: that it is stored as safetensors with these
//! names in full, its `mm_projector_type`, whether its codebook is shared, and the sizes of its depth
//! transformer. A checkpoint that differs is refused with the tensor's name.

use std::path::Path;
use std::sync::Arc;

use super::checkpoint::Checkpoint;
use super::config::{ModelConfig, ProjectorKind, VilaUConfig};
use super::error::ModelError;
use super::spec::{Bias, LinearView, Naming, Transformer};

const TOWER: &str = "vision_tower";
const PROJECTOR: &str = "mm_projector";
const BODY: &str = "llm";

/// What VILA-U has beside its body.
#[derive(Debug, Clone)]
pub struct VilaU {
    config: VilaUConfig,
    depth: Transformer,
    tower: Arc<Checkpoint>,
    projector: Arc<Checkpoint>,
    /// The number under which each depth's codebook is stored.
    codebooks: Vec<usize>,
}

impl VilaU {
    /// Opens the body's folder.
    pub(crate) fn open_body(dir: &Path) -> Result<(ModelConfig, Arc<Checkpoint>), ModelError> {
        let checkpoint = Checkpoint::open(dir.join(BODY))?;
        let config = ModelConfig::parse(checkpoint.config_json(), &checkpoint.dir().join("config.json"))?;
        Ok((config, Arc::new(checkpoint)))
    }

    /// Opens the other two folders and finds every tensor that decoding needs.
    pub(crate) fn open(dir: &Path, body_width: usize) -> Result<Self, ModelError> {
        let tower = Arc::new(Checkpoint::open(dir.join(TOWER))?);
        let projector = Arc::new(Checkpoint::open(dir.join(PROJECTOR))?);
        let [tower_path, projector_path] = [&tower, &projector].map(|c| c.dir().join("config.json"));
        let config = VilaUConfig::parse(
            (tower.config_json(), &tower_path),
            (projector.config_json(), &projector_path),
            body_width,
        )?;
        let depth =
            Transformer::new(config.spec(), Naming::VilaUDepth, [Bias::Required; 2], Arc::clone(&tower))?;
        // A shared codebook is one tensor, and a writer keeps it under any one of its numbers.
        let numbers = 0..config.code_depth();
        let codebooks = if config.shared_codebook() {
            let kept = numbers.clone().find(|&n| tower.has(&codebook_name(n))).unwrap_or(0);
            numbers.map(|_| kept).collect()
        } else {
            numbers.collect()
        };
        let this = Self { config, depth, tower, projector, codebooks };
        for depth in 0..this.config.code_depth() {
            this.code_embedding(depth)?;
        }
        this.input_from_codes()?;
        this.input_from_body()?;
        this.projector()?;
        Ok(this)
    }

    /// Sizes and kinds.
    #[must_use]
    pub fn config(&self) -> &VilaUConfig {
        &self.config
    }

    /// The depth transformer.
    #[must_use]
    pub fn depth(&self) -> &Transformer {
        &self.depth
    }

    /// The code embeddings of one depth, `[codes + 1, code_width]`; the last row is padding and never used.
    ///
    /// # Errors
    /// [`ModelError::Layer`] for a depth that does not exist.
    pub fn code_embedding(&self, depth: usize) -> Result<LinearView<'_>, ModelError> {
        let Some(&number) = self.codebooks.get(depth) else {
            return Err(ModelError::Layer {
                transformer: "code",
                layer: depth,
                layers: self.codebooks.len(),
            });
        };
        let stem = codebook_name(number);
        let stem = stem.trim_end_matches(".weight");
        LinearView::find(&self.tower, stem, [self.config.codes() + 1, self.config.code_width()], Bias::Never)
    }

    /// From the running sum of code embeddings to the depth transformer.
    ///
    /// # Errors
    /// Those of a missing or misshapen tensor, which opening has excluded.
    pub fn input_from_codes(&self) -> Result<LinearView<'_>, ModelError> {
        let shape = [self.config.spec().hidden(), self.config.code_width()];
        LinearView::find(&self.tower, "rqtransformer.in_mlp_1", shape, Bias::Required)
    }

    /// From the body to the depth transformer.
    ///
    /// # Errors
    /// Those of a missing or misshapen tensor, which opening has excluded.
    pub fn input_from_body(&self) -> Result<LinearView<'_>, ModelError> {
        let shape = [self.config.spec().hidden(), self.config.body_width()];
        LinearView::find(&self.tower, "rqtransformer.in_mlp_2", shape, Bias::Required)
    }

    /// The linear layers of the projector in order, with exact GELU between them; none for the identity.
    ///
    /// # Errors
    /// Those of a missing or misshapen tensor, which opening has excluded.
    pub fn projector(&self) -> Result<Vec<LinearView<'_>>, ModelError> {
        let (inner, outer) = (self.config.code_width(), self.config.body_width());
        let stems: Vec<String> = match self.config.projector() {
            ProjectorKind::Identity => Vec::new(),
            ProjectorKind::Linear => vec!["layers".to_owned()],
            ProjectorKind::Mlp { layers } => (0..layers).map(|i| format!("layers.{}", 2 * i)).collect(),
        };
        stems
            .iter()
            .enumerate()
            .map(|(i, stem)| {
                let shape = [outer, if i == 0 { inner } else { outer }];
                LinearView::find(&self.projector, stem, shape, Bias::Required)
            })
            .collect()
    }
}

fn codebook_name(number: usize) -> String {
    format!("rqvaesiglip.quantizer.codebooks.{number}.weight")
}
