//! Models on disk: the Hugging Face layout, checked, mapped, and described without reference to any
//! architecture.
//!
//! [`Model::open`] reads a folder. What follows from there: [`Model::body`] is the transformer whose steps
//! the accelerator runs, [`Model::vila_u`] is what VILA-U adds to it, [`Model::video`] says how tokens make
//! pictures. No weight is read before it is asked for; [`spec::LinearView`] reads a matrix whole or by rows.
//!
//! A file is hostile until it has been checked: sizes that it declares are compared with the file before
//! anything is allocated, and each refusal is a [`ModelError`] that names what was found, the limit and a way
//! out.

pub mod checkpoint;
pub mod codebook;
pub mod config;
mod error;
pub mod prompt;
pub mod safetensors;
pub mod spec;
#[doc(hidden)]
pub mod testing;
pub mod vila_u;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use checkpoint::Checkpoint;
pub use codebook::{Clip, Codebook, Frame, Heldout};
pub use config::{Architecture, ModelConfig, NullPrompt, ProjectorKind, VideoConfig, VilaUConfig};
pub use error::{HeaderFault, IndexFault, ModelError};
pub use prompt::PromptTokenizer;
pub use safetensors::{Dtype, TensorFile, TensorView};
pub use spec::{
    Activation, LayerWeights, Linear, LinearRole, LinearView, Norm, NormRole, NormWeights, Transformer,
    TransformerSpec,
};
pub use vila_u::VilaU;

use spec::{Bias, Naming};

/// A model in its folder.
#[derive(Debug, Clone)]
pub struct Model {
    dir: PathBuf,
    architecture: Architecture,
    config: ModelConfig,
    body: Transformer,
    vila_u: Option<VilaU>,
}

impl Model {
    /// Opens a folder and checks that configuration and weights agree. Reads headers only.
    ///
    /// # Errors
    /// Any [`ModelError`] but those of values: weights that are not finite are found when they are read.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, ModelError> {
        let dir = dir.as_ref().to_owned();
        let config_path = dir.join("config.json");
        let architecture = Architecture::detect(&checkpoint::read_text(&config_path)?, &config_path)?;
        let (config, weights) = match architecture {
            Architecture::Llama => {
                let weights = Checkpoint::open(&dir)?;
                (ModelConfig::parse(weights.config_json(), &config_path)?, Arc::new(weights))
            }
            Architecture::VilaU => VilaU::open_body(&dir)?,
        };
        let declared = |yes| if yes { Bias::Required } else { Bias::IfPresent };
        let biases = [declared(config.attention_bias()), declared(config.mlp_bias())];
        let body = Transformer::new(config.spec(), Naming::Llama, biases, weights)?;
        let vila_u = match architecture {
            Architecture::Llama => None,
            Architecture::VilaU => Some(VilaU::open(&dir, config.hidden_size())?),
        };
        Ok(Self { dir, architecture, config, body, vila_u })
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What kind of model it is.
    #[must_use]
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// The body's configuration.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The transformer that runs once per position.
    #[must_use]
    pub fn body(&self) -> &Transformer {
        &self.body
    }

    /// The weights of a layer of the body.
    ///
    /// # Errors
    /// [`ModelError::Layer`].
    pub fn weights(&self, layer: usize) -> Result<LayerWeights<'_>, ModelError> {
        self.body.layer(layer)
    }

    /// The depth transformer, codes and projector of a VILA-U model.
    #[must_use]
    pub fn vila_u(&self) -> Option<&VilaU> {
        self.vila_u.as_ref()
    }

    /// How the tokens make a video, where the configuration says so.
    #[must_use]
    pub fn video(&self) -> Option<&VideoConfig> {
        self.config.video()
    }

    /// The frame period in positions, if the model makes video.
    #[must_use]
    pub fn frame_period(&self) -> Option<usize> {
        let vila_u = self.vila_u.as_ref().map(|v| v.config().positions_per_frame());
        vila_u.or(self.video().map(VideoConfig::tokens_per_frame))
    }

    /// The tokenizer beside the model.
    ///
    /// # Errors
    /// As [`PromptTokenizer::open`].
    pub fn prompt_tokenizer(&self) -> Result<PromptTokenizer, ModelError> {
        PromptTokenizer::open(self.dir.join("tokenizer.json"), self.video().map(VideoConfig::prompt_tokens))
    }

    /// The picture patches beside the model.
    ///
    /// # Errors
    /// [`ModelError::NotAVideoModel`], and as [`Codebook::open`].
    pub fn codebook(&self) -> Result<Codebook, ModelError> {
        let refuse = || ModelError::NotAVideoModel { dir: self.dir.clone(), asked: "picture patches" };
        let video = self.video().ok_or_else(refuse)?;
        let file = video.codebook().ok_or_else(refuse)?;
        Codebook::open(self.dir.join(file), video)
    }

    /// The held-out videos beside the model.
    ///
    /// # Errors
    /// [`ModelError::NotAVideoModel`], and as [`Heldout::open`].
    pub fn heldout(&self) -> Result<Heldout, ModelError> {
        let refuse = || ModelError::NotAVideoModel { dir: self.dir.clone(), asked: "held-out videos" };
        Heldout::open(self.dir.join("heldout.safetensors"), self.video().ok_or_else(refuse)?)
    }
}
