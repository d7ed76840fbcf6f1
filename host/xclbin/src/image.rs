//! Images of this accelerator: containers that say which configuration they hold.
//!
//! An image has the sections that an OpenCL runtime needs, and USER_METADATA with the project's own account: format
//! version, kind, identity and the whole configuration. [`FastcarImage`] makes one, for the simulator or around a
//! bitstream of the vendor's tools; [`ImageInfo`] reads one and refuses whatever does not hold what the register map
//! of its configuration asks for.

mod account;
mod expected;
mod info;

use crate::container::{Header, Mode, Section, SectionKind, Version, Xclbin};
use crate::error::XclbinError;
use crate::metadata::{KernelClock, Metadata};
use crate::tables;
use crate::text::Text;
use crate::view::View;
use account::Account;
use expected::Expected;
use fastcar_arch::config::{AccelConfig, ConfigError};
use fastcar_arch::identity::Identity;
use serde::{Deserialize, Serialize};
use std::fmt;

pub use account::FORMAT_VERSION;
pub use expected::{KERNEL, UNIT, kernel};
pub use info::{ComputeUnit, ImageInfo};

/// What runs the kernel of an image.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageKind {
    /// The simulator.
    Simulator,
    /// A card.
    Bitstream,
}

impl fmt::Display for ImageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Simulator => "simulator",
            Self::Bitstream => "bitstream",
        })
    }
}

/// Why a container is no image of this accelerator, or cannot become one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The container or one of its sections cannot be read.
    #[error(transparent)]
    Container(#[from] XclbinError),
    /// The container says nothing about this accelerator.
    #[error(
        "this is no fastcar image but {found}: make one with `fastcar xclbin pack`, \
         or add the metadata to a fastcar bitstream with `fastcar xclbin pack --bitstream`"
    )]
    Foreign {
        /// What it is instead.
        found: String,
    },
    /// The metadata is of another format version.
    #[error(
        "the image's metadata has format version {found}, this build reads version {supported}: \
         write the image again with `fastcar xclbin pack`"
    )]
    Format {
        /// Version found.
        found: u64,
        /// Version that is read.
        supported: u32,
    },
    /// The metadata is of this format, but not what it should be.
    #[error("the image's metadata cannot be read: {message}")]
    Account {
        /// The parser's account.
        message: String,
    },
    /// The configuration of the metadata cannot be.
    #[error("the image's configuration is refused: {0}")]
    Config(#[from] ConfigError),
    /// The image was made under another version of the contract.
    #[error(
        "the image of configuration '{config}' has identity {found}, this build makes it {expected}: \
         image and software are of different versions; write the image again with this version"
    )]
    Identity {
        /// Name of the configuration.
        config: String,
        /// Identity in the image.
        found: Identity,
        /// Identity of the configuration under this build.
        expected: Identity,
    },
    /// The image does not hold what the configuration's register map asks for.
    #[error("the image does not fit configuration '{config}': {what} is {found}, expected is {expected}")]
    Mismatch {
        /// Name of the configuration.
        config: String,
        /// What differs.
        what: String,
        /// What the image has.
        found: String,
        /// What the configuration asks for.
        expected: String,
    },
    /// A card's image without a bitstream.
    #[error(
        "the xclbin holds no bitstream but {found}: give the xclbin that the vendor's linker wrote for a card"
    )]
    NoBitstream {
        /// What it is instead.
        found: String,
    },
    /// The place of the metadata is taken.
    #[error(
        "the xclbin has user metadata of its own ({bytes} bytes), which would be lost: \
         link it without, or remove it first (xclbinutil --remove-section USER_METADATA)"
    )]
    Occupied {
        /// Bytes of it.
        bytes: usize,
    },
}

/// An image of this accelerator, complete and checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FastcarImage {
    xclbin: Xclbin,
    info: ImageInfo,
}

impl FastcarImage {
    /// The image of a configuration for the simulator. The same configuration gives the same bytes. Its mode is that
    /// of hardware emulation: no card takes it for its own.
    ///
    /// # Errors
    /// None that a valid configuration could cause; they come from the checks that every image passes.
    pub fn simulator(config: &AccelConfig) -> Result<Self, ImageError> {
        let expected = Expected::of(config)?;
        let mut header =
            Header::new(Mode::HARDWARE_EMULATION, Text::new("the platform's name", &expected.platform)?);
        header.version = VERSION;
        let mut xclbin = Xclbin::new(header);
        let sections = [
            (SectionKind::EMBEDDED_METADATA, metadata(&expected).to_bytes()?),
            (SectionKind::IP_LAYOUT, tables::write_ips(&expected.ips)?),
            (SectionKind::MEM_TOPOLOGY, tables::write_banks(&expected.banks)?),
            (SectionKind::CONNECTIVITY, tables::write_connections(&expected.connections)?),
            (SectionKind::CLOCK_FREQ_TOPOLOGY, tables::write_clocks(&expected.clocks)?),
        ];
        for (kind, bytes) in sections {
            xclbin.insert(Section { kind, name: Text::default(), bytes })?;
        }
        Self::finish(xclbin, ImageKind::Simulator, config)
    }

    /// The image of a bitstream that the vendor's tools made for a configuration: checks that kernel, arguments and
    /// banks are the configuration's, and adds the metadata. Which configuration the logic was generated for is not
    /// in the container; the host compares the identity registers before it uses the card.
    ///
    /// # Errors
    /// There is no bitstream, its kernel is not the configuration's, or it has user metadata of another kind.
    pub fn bitstream(xclbin: Xclbin, config: &AccelConfig) -> Result<Self, ImageError> {
        if xclbin.get(SectionKind::BITSTREAM).is_none() {
            return Err(ImageError::NoBitstream { found: describe(&xclbin) });
        }
        let user = xclbin.get(SectionKind::USER_METADATA);
        if let Some(user) = user.filter(|user| !Account::is_one(user)) {
            return Err(ImageError::Occupied { bytes: user.len() });
        }
        Self::finish(xclbin, ImageKind::Bitstream, config)
    }

    fn finish(mut xclbin: Xclbin, kind: ImageKind, config: &AccelConfig) -> Result<Self, ImageError> {
        let bytes = Account::of(config, kind).to_bytes()?;
        xclbin.insert(Section { kind: SectionKind::USER_METADATA, name: Text::default(), bytes })?;
        xclbin.derive_uuid();
        let info = ImageInfo::read(&xclbin)?;
        Ok(Self { xclbin, info })
    }

    /// The same image with a time of its making, in seconds since 1970; without one it is 0.
    #[must_use]
    pub fn with_timestamp(mut self, seconds: u64) -> Self {
        self.xclbin.header.timestamp = seconds;
        self.xclbin.derive_uuid();
        self.info.uuid = self.xclbin.header.uuid;
        self
    }

    /// The container.
    #[must_use]
    pub fn xclbin(&self) -> &Xclbin {
        &self.xclbin
    }

    /// What the image is.
    #[must_use]
    pub fn info(&self) -> &ImageInfo {
        &self.info
    }

    /// The bytes of the file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.xclbin.to_bytes()
    }
}

/// Version that simulator images carry: that of the vendor's runtime whose layout they follow.
const VERSION: Version = Version { major: 2, minor: 13, patch: 0 };

fn metadata(expected: &Expected) -> Metadata {
    let clock =
        |c: &tables::Clock| KernelClock { port: c.name.to_string(), frequency: format!("{}MHz", c.mhz) };
    Metadata {
        project: KERNEL.to_owned(),
        platform: expected.platform.clone(),
        target: "hw_em".to_owned(),
        clocks: expected.clocks.iter().map(clock).collect(),
        kernels: vec![expected.kernel.clone()],
    }
}

/// A container in a few words, for whoever expected something else.
fn describe(xclbin: &Xclbin) -> String {
    let what = match xclbin.get(SectionKind::BITSTREAM) {
        Some(_) => "a bitstream",
        None => "an xclbin without a bitstream",
    };
    let kernels = View::read(xclbin).map(|v| v.kernels().iter().map(|k| k.name.clone()).collect::<Vec<_>>());
    let kernels = match kernels.unwrap_or_default() {
        names if names.is_empty() => "without kernels".to_owned(),
        names => format!("with kernels {}", names.join(", ")),
    };
    format!("{what} for platform '{}' {kernels}", xclbin.header.platform)
}
