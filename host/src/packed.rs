//! The packed-model file: constants laid out for one configuration, mapped straight from disk.
//!
//! ```text
//! 0      header, 4096 bytes: magic, version, where the manifest lies, its BLAKE3 hash
//! 4096   one section per memory channel, each as it lies in device memory from local byte 0, on 4 KB pages
//! ...    manifest, JSON: identity, configuration, image (symbol table), a BLAKE3 hash per section
//! ```
//! The header is written last, so a file cut short is no packed model.

use crate::files;
use crate::image::Image;
use crate::mmap::MappedFile;
use crate::model::{Model, ModelError};
use crate::plan::{Plan, PlanError};
use fastcar_arch::config::{AccelConfig, ConfigError, ConfigFields};
use fastcar_arch::identity::Identity;
use fastcar_arch::layout::PAGE_BYTES;
use fastcar_arch::units::Bytes;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Version of the file format.
pub const FORMAT_VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"FASTCAR\0";
const HEADER_BYTES: usize = PAGE_BYTES as usize;
/// A manifest is some kilobytes per layer; more than this is no manifest.
const MANIFEST_LIMIT: u64 = 64 << 20;

/// Why a packed model cannot be made, written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The checkpoint.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model cannot be laid out: its constants do not fit the card's memory, or no program fits its sizes.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Reading or writing.
    #[error("{}: {source}", path.display())]
    Io {
        /// Path.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// Not a packed model, or cut short.
    #[error("{}: not a packed model: {reason}; make one with `fastcar pack`", path.display())]
    NotPacked {
        /// Path.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A folder of another model than the packed one.
    #[error("the packed model has {found}, the model in {} has {expected}: name the folder that it was packed from (assets)", dir.display())]
    Assets {
        /// The folder.
        dir: PathBuf,
        /// Sizes of the packed model.
        found: String,
        /// Sizes of the folder's.
        expected: String,
    },
    /// Written by another version of the format.
    #[error("{}: packed format version {found}, this program reads version {FORMAT_VERSION}; run `fastcar pack` again", path.display())]
    Version {
        /// Path.
        path: PathBuf,
        /// Version found.
        found: u32,
    },
    /// A hash does not match: bits have changed since the file was written.
    #[error("{}: {section} is damaged: BLAKE3 is {found}, the file says {expected}; run `fastcar pack` again", path.display())]
    Damaged {
        /// Path.
        path: PathBuf,
        /// Which part.
        section: String,
        /// Hash of the bytes.
        found: String,
        /// Hash in the file.
        expected: String,
    },
    /// Made for another accelerator, command set or layout.
    #[error("{}: packed for identity {found} (preset '{found_preset}'), this is identity {expected} (preset '{expected_preset}'); run `fastcar pack --preset {expected_preset}`", path.display())]
    Identity {
        /// Path.
        path: PathBuf,
        /// Identity in the file.
        found: String,
        /// Its configuration.
        found_preset: String,
        /// Identity expected.
        expected: String,
        /// Its configuration.
        expected_preset: String,
    },
    /// The configuration in the file is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Stopped on request.
    #[error("packing was cancelled; nothing was written")]
    Cancelled,
}

/// A section's place and hash.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Section {
    offset: u64,
    bytes: u64,
    blake3: String,
}

/// What the file says of itself.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    identity: Identity,
    config: ConfigFields,
    image: Image,
    sections: Vec<Section>,
}

enum Data {
    Memory(Vec<Vec<u8>>),
    File { mapping: MappedFile, offsets: Vec<u64>, bytes: u64 },
}

impl Data {
    fn channel(&self, channel: usize) -> &[u8] {
        match self {
            Data::Memory(channels) => &channels[channel],
            Data::File { mapping, offsets, bytes } => {
                let start = offsets[channel] as usize;
                &mapping.bytes()[start..start + *bytes as usize]
            }
        }
    }
}

/// One channel's constants, kept in place by whoever holds this.
#[cfg(feature = "opencl")]
struct SharedChannel {
    data: Arc<Data>,
    channel: usize,
}

#[cfg(feature = "opencl")]
impl AsRef<[u8]> for SharedChannel {
    fn as_ref(&self) -> &[u8] {
        self.data.channel(self.channel)
    }
}

/// A model's constants, laid out for one configuration.
pub struct PackedModel {
    plan: Plan,
    data: Arc<Data>,
    fingerprint: OnceLock<String>,
}

impl std::fmt::Debug for PackedModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PackedModel({}, {} a channel)", self.config().name(), self.constants())
    }
}

impl PackedModel {
    /// Constants already in memory: one byte string per channel, all of one length.
    pub(crate) fn from_memory(plan: Plan, channels: Vec<Vec<u8>>) -> Self {
        Self { plan, data: Arc::new(Data::Memory(channels)), fingerprint: OnceLock::new() }
    }

    /// Where the constants lie: what [`crate::compile::compile`] takes.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The configuration that the constants are laid out for.
    #[must_use]
    pub fn config(&self) -> &AccelConfig {
        self.plan.config()
    }

    /// What lies where.
    #[must_use]
    pub fn image(&self) -> &Image {
        self.plan.image()
    }

    /// Bytes of constants on each channel.
    #[must_use]
    pub fn constants(&self) -> Bytes {
        self.plan.constants()
    }

    /// One channel's constants, from local byte 0.
    #[must_use]
    pub fn channel(&self, channel: usize) -> &[u8] {
        self.data.channel(channel)
    }

    /// One channel's constants for a device that reads them while the program goes on.
    #[cfg(feature = "opencl")]
    pub(crate) fn shared(&self, channel: usize) -> Arc<dyn AsRef<[u8]> + Send + Sync> {
        Arc::new(SharedChannel { data: Arc::clone(&self.data), channel })
    }

    /// Refuses a model's folder, with tokenizer and picture patches, that cannot be the one this was packed from.
    ///
    /// # Errors
    /// [`PackError::Assets`].
    pub fn check_assets(&self, model: &Model) -> Result<(), PackError> {
        let (shape, spec) = (&self.image().body.shape, model.body().spec());
        let text = |layers: usize, hidden: usize, period: Option<usize>| {
            let frames = period.map_or("no frames".to_owned(), |p| format!("{p} positions a frame"));
            format!("{layers} layers of width {hidden} and {frames}")
        };
        let period = self.image().period.map(|p| p as usize);
        let found = text(shape.layers as usize, shape.hidden as usize, period);
        let expected = text(spec.layers(), spec.hidden(), model.frame_period());
        match found == expected {
            true => Ok(()),
            false => Err(PackError::Assets { dir: model.dir().to_owned(), found, expected }),
        }
    }

    /// Hash over image and constants: two models are the same exactly when it is. Computed once.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.fingerprint.get_or_init(|| self.hash()).clone()
    }

    fn hash(&self) -> String {
        let mut all = blake3::Hasher::new();
        all.update(Identity::of(self.config()).to_string().as_bytes());
        for channel in 0..self.config().channels() as usize {
            all.update(self.channel(channel));
        }
        all.finalize().to_hex().to_string()
    }

    /// Writes the file: first under a temporary name in the same folder, then under its own.
    ///
    /// # Errors
    /// [`PackError::Io`]; nothing is then left under `path`.
    pub fn save(&self, path: &Path) -> Result<(), PackError> {
        files::replace(path, |file| self.write(file))
            .map_err(|source| PackError::Io { path: path.to_owned(), source })
    }

    fn write(&self, file: &File) -> io::Result<()> {
        let bytes = self.constants().get();
        let stride = bytes.next_multiple_of(PAGE_BYTES);
        let count = u64::from(self.config().channels());
        let section = |channel: u64| -> io::Result<Section> {
            let offset = HEADER_BYTES as u64 + channel * stride;
            let data = self.channel(channel as usize);
            file.write_all_at(data, offset)?;
            Ok(Section { offset, bytes, blake3: blake3::hash(data).to_hex().to_string() })
        };
        let sections = (0..count).into_par_iter().map(section).collect::<io::Result<Vec<_>>>()?;
        let manifest = Manifest {
            identity: Identity::of(self.config()),
            config: self.config().fields().clone(),
            image: self.image().clone(),
            sections,
        };
        let manifest = serde_json::to_vec(&manifest)?;
        let at = HEADER_BYTES as u64 + count * stride;
        file.write_all_at(&manifest, at)?;
        file.write_all_at(&header(at, &manifest), 0)
    }

    /// Maps a packed model and checks every hash.
    ///
    /// # Errors
    /// [`PackError`] when the file is no packed model of this version, is damaged, or was made by a program whose
    /// command set or layouts differ from this one's.
    pub fn open(path: &Path) -> Result<Self, PackError> {
        let mapping = MappedFile::open(path).map_err(PackError::Model)?;
        let reader = Reader { path, raw: mapping.bytes() };
        let manifest = reader.manifest()?;
        let config = AccelConfig::new(manifest.config.clone())?;
        let expected = Identity::of(&config);
        if manifest.identity != expected {
            return Err(reader.stranger(&manifest, &config));
        }
        manifest.image.check().map_err(|reason| reader.refuse(reason))?;
        let bytes = reader.check_sections(&manifest, &config)?;
        let offsets = manifest.sections.iter().map(|s| s.offset).collect();
        let plan = Plan { config, image: manifest.image, constants: Bytes(bytes) };
        let data = Arc::new(Data::File { mapping, offsets, bytes });
        Ok(Self { plan, data, fingerprint: OnceLock::new() })
    }

    /// As [`PackedModel::open`], for one configuration.
    ///
    /// # Errors
    /// Also [`PackError::Identity`] when the file was packed for another.
    pub fn open_for(path: &Path, config: &AccelConfig) -> Result<Self, PackError> {
        let model = Self::open(path)?;
        if model.config() == config {
            return Ok(model);
        }
        Err(PackError::Identity {
            path: path.to_owned(),
            found: Identity::of(model.config()).short(),
            found_preset: model.config().name().to_owned(),
            expected: Identity::of(config).short(),
            expected_preset: config.name().to_owned(),
        })
    }
}

fn header(manifest_at: u64, manifest: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&manifest_at.to_le_bytes());
    out.extend_from_slice(&(manifest.len() as u64).to_le_bytes());
    out.extend_from_slice(blake3::hash(manifest).as_bytes());
    out.resize(HEADER_BYTES, 0);
    out
}

/// Reads an untrusted file.
struct Reader<'a> {
    path: &'a Path,
    raw: &'a [u8],
}

impl Reader<'_> {
    fn refuse(&self, reason: impl Into<String>) -> PackError {
        PackError::NotPacked { path: self.path.to_owned(), reason: reason.into() }
    }

    fn manifest(&self) -> Result<Manifest, PackError> {
        let raw = self.raw;
        if raw.len() < HEADER_BYTES {
            return Err(
                self.refuse(format!("{} bytes are fewer than the header's {HEADER_BYTES}", raw.len()))
            );
        }
        if &raw[..8] != MAGIC {
            return Err(self.refuse("the first eight bytes are not the magic"));
        }
        let version: u32 = bytemuck::pod_read_unaligned(&raw[8..12]);
        if version != FORMAT_VERSION {
            return Err(PackError::Version { path: self.path.to_owned(), found: version });
        }
        let at: u64 = bytemuck::pod_read_unaligned(&raw[16..24]);
        let len: u64 = bytemuck::pod_read_unaligned(&raw[24..32]);
        if raw[12..16].iter().chain(&raw[64..HEADER_BYTES]).any(|&b| b != 0) {
            return Err(self.refuse("reserved bytes of the header are not 0"));
        }
        let inside =
            at.checked_add(len).is_some_and(|end| end == raw.len() as u64) && at >= HEADER_BYTES as u64;
        if !inside || len > MANIFEST_LIMIT {
            return Err(self.refuse(format!(
                "the manifest ({len} bytes at {at}) does not end the file ({} bytes)",
                raw.len()
            )));
        }
        let text = &raw[at as usize..(at + len) as usize];
        self.check_hash(
            "manifest",
            text,
            blake3::Hash::from_slice(&raw[32..64]).ok().map(|h| h.to_hex().to_string()),
        )?;
        serde_json::from_slice(text).map_err(|e| self.refuse(format!("manifest: {e}")))
    }

    fn check_hash(&self, section: &str, bytes: &[u8], expected: Option<String>) -> Result<(), PackError> {
        let found = blake3::hash(bytes).to_hex().to_string();
        let expected = expected.unwrap_or_default();
        if found == expected {
            return Ok(());
        }
        Err(PackError::Damaged { path: self.path.to_owned(), section: section.to_owned(), found, expected })
    }

    /// Checks places and hashes of the sections; returns their common size.
    fn check_sections(&self, manifest: &Manifest, config: &AccelConfig) -> Result<u64, PackError> {
        let (found, wanted) = (manifest.sections.len(), config.channels() as usize);
        if found != wanted {
            return Err(self.refuse(format!("{found} sections for {wanted} memory channels")));
        }
        let bytes = manifest.sections[0].bytes;
        let check = |(channel, section): (usize, &Section)| {
            let end = section.offset.checked_add(section.bytes).filter(|&end| end <= self.raw.len() as u64);
            let Some(end) = end.filter(|_| section.bytes == bytes) else {
                return Err(self.refuse(format!("section {channel} does not lie in the file")));
            };
            let data = &self.raw[section.offset as usize..end as usize];
            self.check_hash(&format!("section {channel}"), data, Some(section.blake3.clone()))
        };
        manifest.sections.par_iter().enumerate().try_for_each(check)?;
        Ok(bytes)
    }

    fn stranger(&self, manifest: &Manifest, config: &AccelConfig) -> PackError {
        PackError::Identity {
            path: self.path.to_owned(),
            found: manifest.identity.short(),
            found_preset: manifest.config.name.clone(),
            expected: Identity::of(config).short(),
            expected_preset: config.name().to_owned(),
        }
    }
}
