//! Where weights come from: a model folder, packed on the fly, or a packed file.

use crate::exit::usage;
use crate::progress::Ui;
use anyhow::{Context, Result};
use clap::ValueEnum;
use fastcar_arch::config::AccelConfig;
use fastcar_host::image::Format;
use fastcar_host::model::Model;
use fastcar_host::pack::{PackOptions, pack, pack_streamed};
use fastcar_host::packed::PackedModel;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Storage format of weights.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Weights {
    /// 8.25 bits a weight.
    Mxint8,
    /// 4.25 bits a weight.
    Mxfp4,
}

impl From<Weights> for Format {
    fn from(w: Weights) -> Self {
        match w {
            Weights::Mxint8 => Self::MxInt8,
            Weights::Mxfp4 => Self::MxFp4,
        }
    }
}

/// The accelerator configuration and the weight formats.
#[derive(clap::Args, Debug)]
pub struct MachineArgs {
    /// Accelerator configuration by name [default: edge, or the packed file's]
    #[arg(long, value_name = "NAME", value_parser = AccelConfig::preset, conflicts_with = "config")]
    preset: Option<AccelConfig>,
    /// Accelerator configuration from a TOML file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Format of the layers' weights [default: mxfp4]
    #[arg(long, value_enum)]
    weights: Option<Weights>,
    /// Format of the output head [default: mxint8]
    #[arg(long, value_enum)]
    head: Option<Weights>,
}

/// A model, and the machine to load it on.
#[derive(clap::Args, Debug)]
pub struct ModelArgs {
    /// Model folder, or a file that `fastcar pack` wrote
    #[arg(long, value_name = "DIR|FILE.fcar")]
    model: PathBuf,
    /// Folder of a packed file's model: tokenizer and picture patches [default: the packed file's folder]
    #[arg(long, value_name = "DIR")]
    assets: Option<PathBuf>,
    #[command(flatten)]
    machine: MachineArgs,
}

impl ModelArgs {
    /// Looks at the model.
    ///
    /// # Errors
    /// As [`Source::find`].
    pub fn find(&self) -> Result<Source> {
        Source::find(&self.model, self.assets.as_deref())
    }

    /// Loads what [`ModelArgs::find`] found.
    ///
    /// # Errors
    /// As [`Source::load`].
    pub fn load(&self, source: Source, streamed: bool, ui: Ui) -> Result<Opened> {
        source.load(&self.machine, streamed, ui)
    }

    /// Finds and loads in one.
    ///
    /// # Errors
    /// As [`Source::find`] and [`Source::load`].
    pub fn open(&self, ui: Ui) -> Result<Opened> {
        self.load(self.find()?, false, ui)
    }
}

impl MachineArgs {
    /// The configuration asked for, if any.
    fn asked(&self) -> Result<Option<AccelConfig>> {
        let Some(path) = &self.config else { return Ok(self.preset.clone()) };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read configuration file {}", path.display()))?;
        let config = AccelConfig::from_toml(&text)
            .with_context(|| format!("configuration file {} is refused", path.display()))?;
        Ok(Some(config))
    }

    /// The weight formats.
    pub fn pack_options(&self) -> PackOptions {
        let weights = self.weights.map(Format::from).unwrap_or_default();
        PackOptions { weights, head: self.head.map(Format::from) }
    }
}

/// A model that is known to be there, its weights not yet read.
pub struct Source {
    path: PathBuf,
    /// The model folder; for a packed file the one with its tokenizer and picture patches, if there is one.
    model: Option<Model>,
    packed: bool,
}

/// A model ready for a session.
pub struct Opened {
    /// Name to show: the folder's or file's.
    pub name: String,
    /// The weights.
    pub packed: Arc<PackedModel>,
    /// The folder with tokenizer and picture patches; none for a packed file without one.
    pub model: Option<Model>,
    /// Seconds that packing, or checking the packed file, took.
    pub seconds: f64,
}

impl Source {
    /// Looks at a model folder or a packed file.
    ///
    /// # Errors
    /// The folder holds no model.
    pub fn find(path: &Path, assets: Option<&Path>) -> Result<Self> {
        let packed = path.is_file();
        if assets.is_some() && !packed {
            return usage(
                "--assets goes with a packed file; a model folder has its own tokenizer and picture patches",
            );
        }
        let model = if packed { assets_of(path, assets)? } else { Some(Model::open(path)?) };
        Ok(Self { path: path.to_owned(), model, packed })
    }

    /// The model folder, for tokenizer and picture patches.
    ///
    /// # Errors
    /// A packed file came without one.
    pub fn model(&self) -> Result<&Model> {
        needed(self.model.as_ref(), &self.name())
    }

    /// Name to show: the folder's or file's.
    pub fn name(&self) -> String {
        let full = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        full.file_stem().unwrap_or(full.as_os_str()).to_string_lossy().into_owned()
    }

    /// Packs the folder, of any size where it is to be streamed, or opens the packed file.
    ///
    /// # Errors
    /// It does not fit the configuration, is damaged, or packing was interrupted.
    pub fn load(self, machine: &MachineArgs, streamed: bool, ui: Ui) -> Result<Opened> {
        let started = Instant::now();
        let packed = if self.packed {
            self.load_packed(machine)?
        } else {
            pack_folder(self.model()?, machine, streamed, ui)?
        };
        let seconds = started.elapsed().as_secs_f64();
        Ok(Opened { name: self.name(), packed: Arc::new(packed), model: self.model, seconds })
    }

    fn load_packed(&self, machine: &MachineArgs) -> Result<PackedModel> {
        let packed = open_packed(&self.path, machine)?;
        if let Some(model) = &self.model {
            packed.check_assets(model)?;
        }
        Ok(packed)
    }
}

impl Opened {
    /// As [`Source::model`].
    ///
    /// # Errors
    /// A packed file came without one.
    pub fn model(&self) -> Result<&Model> {
        needed(self.model.as_ref(), &self.name)
    }
}

fn needed<'a>(model: Option<&'a Model>, name: &str) -> Result<&'a Model> {
    model.with_context(|| {
        format!(
            "{name} is a packed file, which holds weights only: \
             name its model's folder, with tokenizer and picture patches, by --assets DIR"
        )
    })
}

/// Packs a model folder, with progress.
///
/// # Errors
/// The model does not open, has bad values, or is larger than the card although it is not to be streamed.
pub fn pack_folder(model: &Model, machine: &MachineArgs, streamed: bool, ui: Ui) -> Result<PackedModel> {
    let config = match machine.asked()? {
        Some(config) => config,
        None => AccelConfig::preset("edge")?,
    };
    let bar = ui.bar("packing", model.body().spec().layer_parameters(), "weights");
    let pack = if streamed { pack_streamed } else { pack };
    Ok(pack(model, &config, machine.pack_options(), &bar)?)
}

fn open_packed(path: &Path, machine: &MachineArgs) -> Result<PackedModel> {
    if machine.weights.is_some() || machine.head.is_some() {
        return usage(
            "--weights and --head choose formats while packing, and this model is packed: \
             give its folder, or leave them out",
        );
    }
    Ok(match machine.asked()? {
        Some(config) => PackedModel::open_for(path, &config)?,
        None => PackedModel::open(path)?,
    })
}

/// The folder named, or the packed file's own if a model lies there.
fn assets_of(path: &Path, assets: Option<&Path>) -> Result<Option<Model>> {
    let own = crate::output::folder_of(path);
    let dir = assets.or_else(|| own.join("config.json").is_file().then_some(own));
    Ok(dir.map(Model::open).transpose()?)
}
