//! Models: opened or packed, described, and their prompts made into tokens.
#![allow(unsafe_code, reason = "functions that C calls with pointers")]

use crate::device::c_text;
use crate::memory::{
    Results, Room, empty, give, handle, optional, optional_path, path, read_or_default, sized, take, text,
};
use crate::progress::{Watch, fastcar_progress};
use crate::status::{Failure, fastcar_status, guard};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::identity::Identity;
use fastcar_host::image::{Format, Image};
use fastcar_host::model::{Model, NullPrompt, PromptTokenizer};
use fastcar_host::pack::{PackOptions, pack, pack_streamed};
use fastcar_host::packed::PackedModel;
use std::ffi::{CString, c_char, c_void};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// A model's weights laid out for an accelerator, and with them tokenizer and configuration where they are at hand.
/// It never changes: any number of threads and sessions may use it at a time.
pub struct fastcar_model {
    pub(crate) packed: Arc<PackedModel>,
    source: Option<Model>,
    tokenizer: OnceLock<PromptTokenizer>,
    preset: CString,
}

/// How a model is opened. Set `size` to sizeof(fastcar_model_options); what is 0 or NULL has its default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fastcar_model_options {
    /// Bytes of this structure.
    pub size: usize,
    /// Accelerator configuration by name: "tiny", "edge", "u50", "u55c", "u280". Default: "edge", or the packed file's.
    pub preset: *const c_char,
    /// Accelerator configuration from a TOML file, instead of `preset`.
    pub config_file: *const c_char,
    /// Format of the layers' weights, for a model folder: "mxfp4" (default) or "mxint8".
    pub weights: *const c_char,
    /// Format of the output head, for a model folder: "mxint8" (default) or "mxfp4".
    pub head: *const c_char,
    /// The model's folder, for a packed file: tokenizer and configuration. Default: the packed file's own folder, if a
    /// model is there.
    pub assets: *const c_char,
    /// 1: the model may be larger than the device (fastcar_session_options.streamed_bytes).
    pub streamed: u32,
    /// Told how many weights are packed; NULL for nobody.
    pub progress: fastcar_progress,
    /// Passed to `progress`.
    pub user: *mut c_void,
}

/// What a model is. Set `size` to sizeof(fastcar_model_info) before the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fastcar_model_info {
    /// Bytes of this structure.
    pub size: usize,
    /// Layers of the transformer that runs once a position.
    pub layers: u32,
    /// Tokens that a prompt may have: 0 to this, without it.
    pub vocabulary: u32,
    /// Logits of a position.
    pub choices: u32,
    /// Tokens of a position: 1, or the codes of a VILA-U position.
    pub codes: u32,
    /// Positions of a video frame; 0 for a model without frames.
    pub period: u32,
    /// Positions of a video; 0 where the model does not say.
    pub video_positions: u32,
    /// Tokens that every prompt has; 0 if any number.
    pub prompt_tokens: u32,
    /// First token that a request may choose unless it says otherwise: the first picture code of a video model.
    pub allowed_first: u32,
    /// The token behind the last one.
    pub allowed_end: u32,
    /// Memory channels of the accelerator.
    pub channels: u32,
    /// Bytes of weights on each channel.
    pub channel_bytes: u64,
    /// Name of the accelerator's configuration; lives as long as the model.
    pub preset: *const c_char,
    /// Identity of the accelerator, 64 hexadecimal digits and NUL: the same in packed files and images.
    pub identity: [c_char; 65],
}

sized!(fastcar_model_options to user, fastcar_model_info to identity);

/// Opens a model: a file that `fastcar pack` or fastcar_model_save wrote, mapped and checked, or a model folder, whose
/// weights are packed here and now (seconds to minutes; `progress` is told). NULL options are all defaults.
///
/// `*model` is the caller's, for fastcar_model_close; NULL when the call fails. Options and texts may go after the call.
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fastcar_model_open(
    path: *const c_char,
    options: *const fastcar_model_options,
    model: *mut *mut fastcar_model,
) -> fastcar_status {
    guard(|| {
        // SAFETY: pointers are as the head of the interface wants them.
        let (out, path, options) =
            unsafe { (empty(model, "model")?, self::path(path, "path")?, read_or_default(options)?) };
        // SAFETY: the texts of the options, too.
        let options = unsafe { Options::of(&options) }?;
        let opened = if path.is_file() { options.packed(path) } else { options.folder(path) };
        give(out, opened?);
        Ok(())
    })
}

/// Writes a model as a packed file, which opens without packing. Nothing is left at `file` when the call fails.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fastcar_model_save(
    model: *const fastcar_model,
    file: *const c_char,
) -> fastcar_status {
    guard(|| {
        // SAFETY: pointers are as the head of the interface wants them.
        let (model, file) = unsafe { (handle(model, "model")?, path(file, "file")?) };
        Ok(model.packed.save(file)?)
    })
}

/// Says what a model is.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fastcar_model_get_info(
    model: *const fastcar_model,
    info: *mut fastcar_model_info,
) -> fastcar_status {
    guard(|| {
        // SAFETY: pointers are as the head of the interface wants them.
        let (model, results) = unsafe { (handle(model, "model")?, Results::new(info)?) };
        results.write(&model.info());
        Ok(())
    })
}

/// Makes tokens of a prompt's text. A word that the model does not know is refused, not dropped.
///
/// `*count` becomes the number of tokens, `tokens` has room for `capacity`; NULL and 0 to learn the number alone.
/// FASTCAR_NOT_AVAILABLE for a packed file without its model's folder. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fastcar_model_encode(
    model: *const fastcar_model,
    prompt: *const c_char,
    tokens: *mut u32,
    capacity: usize,
    count: *mut usize,
) -> fastcar_status {
    guard(|| {
        // SAFETY: pointers are as the head of the interface wants them.
        let room = unsafe { Room::new(tokens, capacity, count, "tokens") }?;
        // SAFETY: as above.
        let (model, prompt) = unsafe { (handle(model, "model")?, text(prompt, "prompt")?) };
        room.fill(&model.tokenizer()?.encode(prompt)?)
    })
}

/// The model's unconditional prompt, for guided requests. Arguments and threads as for fastcar_model_encode;
/// FASTCAR_NOT_AVAILABLE where the model has none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fastcar_model_null_prompt(
    model: *const fastcar_model,
    tokens: *mut u32,
    capacity: usize,
    count: *mut usize,
) -> fastcar_status {
    guard(|| {
        // SAFETY: pointers are as the head of the interface wants them.
        let room = unsafe { Room::new(tokens, capacity, count, "tokens") }?;
        // SAFETY: as above.
        let model = unsafe { handle(model, "model") }?;
        room.fill(&model.null_prompt()?)
    })
}

/// Closes a model; nothing for NULL. Sessions that were opened with it keep what they need of it.
///
/// Any thread, once no other call uses the model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fastcar_model_close(model: *mut fastcar_model) {
    guard(|| {
        // SAFETY: the handle is closed once.
        drop(unsafe { take(model) });
        Ok(())
    });
}

/// The options in Rust's terms.
struct Options<'a> {
    config: Option<AccelConfig>,
    weights: Option<Format>,
    head: Option<Format>,
    assets: Option<&'a Path>,
    streamed: bool,
    watch: Watch,
}

impl<'a> Options<'a> {
    unsafe fn of(options: &'a fastcar_model_options) -> Result<Self, Failure> {
        // SAFETY: the caller's texts end in NUL.
        let (config, weights, head, assets) = unsafe {
            (
                config(optional(options.preset, "preset")?, optional_path(options.config_file))?,
                optional(options.weights, "weights")?,
                optional(options.head, "head")?,
                optional_path(options.assets),
            )
        };
        Ok(Self {
            config,
            weights: weights.map(|name| format("weights", name)).transpose()?,
            head: head.map(|name| format("head", name)).transpose()?,
            assets,
            streamed: options.streamed != 0,
            watch: Watch::new(options.progress, options.user),
        })
    }

    fn folder(self, path: &Path) -> Result<fastcar_model, Failure> {
        if self.assets.is_some() {
            return Err(Failure::invalid("assets goes with a packed file; a model folder has its own"));
        }
        let source = Model::open(path)?;
        let config = self.config.map_or_else(|| AccelConfig::preset("edge"), Ok)?;
        let options = PackOptions { weights: self.weights.unwrap_or_default(), head: self.head };
        let pack = if self.streamed { pack_streamed } else { pack };
        let packed = pack(&source, &config, options, &self.watch)?;
        Ok(fastcar_model::new(packed, Some(source)))
    }

    fn packed(self, path: &Path) -> Result<fastcar_model, Failure> {
        if self.weights.is_some() || self.head.is_some() {
            return Err(Failure::invalid(
                "weights and head choose formats while packing, and this model is packed: give its folder, or leave them NULL",
            ));
        }
        let packed = match &self.config {
            Some(config) => PackedModel::open_for(path, config)?,
            None => PackedModel::open(path)?,
        };
        let own = path.parent().filter(|p| p.join("config.json").is_file());
        let source = self.assets.or(own).map(Model::open).transpose()?;
        if let Some(source) = &source {
            packed.check_assets(source)?;
        }
        Ok(fastcar_model::new(packed, source))
    }
}

/// The configuration asked for, if any.
fn config(preset: Option<&str>, file: Option<&Path>) -> Result<Option<AccelConfig>, Failure> {
    match (preset, file) {
        (Some(_), Some(_)) => Err(Failure::invalid("preset and config_file are both set: choose one")),
        (Some(name), None) => Ok(Some(AccelConfig::preset(name)?)),
        (None, Some(path)) => {
            let refuse = |e| {
                let message = format!("cannot read configuration file {}: {e}", path.display());
                Failure::new(fastcar_status::FASTCAR_IO, message)
            };
            Ok(Some(AccelConfig::from_toml(&std::fs::read_to_string(path).map_err(refuse)?)?))
        }
        (None, None) => Ok(None),
    }
}

fn format(field: &str, name: &str) -> Result<Format, Failure> {
    match name {
        "mxfp4" => Ok(Format::MxFp4),
        "mxint8" => Ok(Format::MxInt8),
        _ => Err(Failure::invalid(format!("{field} is '{name}': it is mxfp4 or mxint8"))),
    }
}

impl fastcar_model {
    fn new(packed: PackedModel, source: Option<Model>) -> Self {
        let preset = c_text(packed.config().name());
        Self { packed: Arc::new(packed), source, tokenizer: OnceLock::new(), preset }
    }

    fn source(&self, asked: &str) -> Result<&Model, Failure> {
        let missing = || {
            let message = format!(
                "the packed file came without its model's folder, which has {asked}: name it by assets"
            );
            Failure::new(fastcar_status::FASTCAR_NOT_AVAILABLE, message)
        };
        self.source.as_ref().ok_or_else(missing)
    }

    /// The tokenizer, read once.
    fn tokenizer(&self) -> Result<&PromptTokenizer, Failure> {
        if let Some(tokenizer) = self.tokenizer.get() {
            return Ok(tokenizer);
        }
        let tokenizer = self.source("the tokenizer")?.prompt_tokenizer()?;
        Ok(self.tokenizer.get_or_init(|| tokenizer))
    }

    fn null_prompt(&self) -> Result<Vec<u32>, Failure> {
        let source = self.source("the null prompt")?;
        match source.video().and_then(|v| v.null_prompt()) {
            Some(NullPrompt::Tokens(tokens)) => Ok(tokens.clone()),
            Some(NullPrompt::Text(text)) => Ok(self.tokenizer()?.encode(text)?),
            None => {
                let dir = source.dir().display();
                let message = format!(
                    "the config.json of {dir} has no fastcar_video.null_prompt: the model was not trained with guidance"
                );
                Err(Failure::new(fastcar_status::FASTCAR_NOT_AVAILABLE, message))
            }
        }
    }

    /// Tokens that a request may choose unless it says otherwise: picture codes, or all that have logits.
    pub(crate) fn allowed(&self) -> Range<u32> {
        let all = 0..choices(self.packed.image());
        let Some(source) = &self.source else { return all };
        match (source.video(), source.vila_u()) {
            (Some(video), None) => video.code_offset() as u32..(video.code_offset() + video.codes()) as u32,
            _ => all,
        }
    }

    fn info(&self) -> fastcar_model_info {
        let (image, config) = (self.packed.image(), self.packed.config());
        let video = self.source.as_ref().and_then(Model::video);
        let period = image.period.unwrap_or(0);
        let allowed = self.allowed();
        let mut identity = [0; 65];
        for (to, from) in identity.iter_mut().zip(Identity::of(config).to_string().bytes().take(64)) {
            *to = from as c_char;
        }
        fastcar_model_info {
            size: 0,
            layers: image.body.shape.layers,
            vocabulary: image.inputs.first().map_or(0, entries),
            choices: choices(image),
            codes: image.depth.as_ref().map_or(1, |(_, inputs)| inputs.len() as u32),
            period,
            video_positions: video.map_or(0, |v| v.frames() as u32 * period),
            prompt_tokens: video.map_or(0, |v| v.prompt_tokens() as u32),
            allowed_first: allowed.start,
            allowed_end: allowed.end,
            channels: config.channels(),
            channel_bytes: self.packed.constants().get(),
            preset: self.preset.as_ptr(),
            identity,
        }
    }
}

/// Logits of a position that are tokens.
fn choices(image: &Image) -> u32 {
    let last = image.depth.as_ref().map_or(&image.body, |(depth, _)| depth);
    let logits = last.head.as_ref().map_or(0, |head| head.rows);
    image.inputs.last().map_or(0, entries).min(logits)
}

/// Tokens that an input can look up.
fn entries(input: &fastcar_host::image::Input) -> u32 {
    input.tables.iter().map(|t| t.entries).min().unwrap_or(0)
}
