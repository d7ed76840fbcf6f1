//! `manifest.json`.

use super::GenerateError;
use fastcar_arch::config::{AccelConfig, ConfigFields};
use fastcar_arch::identity::Identity;
use fastcar_arch::isa::ISA_VERSION;
use fastcar_arch::layout::LAYOUT_VERSION;
use fastcar_arch::regs::REGISTER_VERSION;
use fastcar_arch::resources::{Amounts, Resources};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Name of the manifest's file.
pub const MANIFEST: &str = "manifest.json";
/// Version of its form.
const FORMAT: u32 = 1;

/// A generated file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileEntry {
    /// Name.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 in hexadecimal digits.
    pub sha256: String,
}

impl FileEntry {
    pub(super) fn new(name: &str, bytes: &[u8]) -> Self {
        let digits = Sha256::digest(bytes).iter().fold(String::new(), |mut digits, byte| {
            let _ = write!(digits, "{byte:02x}");
            digits
        });
        Self { name: name.to_owned(), bytes: bytes.len() as u64, sha256: digits }
    }
}

/// What a folder was generated from, and what is in it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Manifest {
    /// Version of this form.
    pub format: u32,
    /// Version of the generator.
    pub fastcar: String,
    /// Name of the kernel, and of the top module.
    pub kernel: String,
    /// The configuration.
    pub config: ConfigFields,
    /// Its identity.
    pub identity: Identity,
    /// Version of the register map.
    pub register_version: u32,
    /// Version of the command set.
    pub isa_version: u32,
    /// Version of the memory layouts.
    pub layout_version: u32,
    /// The clock that the kernel is made for, in Hz.
    pub clock_hz: u64,
    /// What it is expected to take of an FPGA: a model, no synthesis.
    pub estimated_resources: Amounts,
    /// All files but this one.
    pub files: Vec<FileEntry>,
}

impl Manifest {
    pub(super) fn new(config: &AccelConfig, kernel: &str, files: &[(String, Vec<u8>)]) -> Self {
        Self {
            format: FORMAT,
            fastcar: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: kernel.to_owned(),
            config: config.fields().clone(),
            identity: Identity::of(config),
            register_version: REGISTER_VERSION,
            isa_version: ISA_VERSION,
            layout_version: LAYOUT_VERSION,
            clock_hz: config.clock().get(),
            estimated_resources: Resources::of(config).total(),
            files: files.iter().map(|(name, bytes)| FileEntry::new(name, bytes)).collect(),
        }
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, GenerateError> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// What is read of a manifest that is there already.
#[derive(Deserialize)]
struct Listing {
    format: u32,
    files: Vec<FileEntry>,
}

/// The files that a manifest lists; nothing if it is none that this generator understands.
pub(super) fn listed(bytes: &[u8]) -> Option<Vec<FileEntry>> {
    let listing: Listing = serde_json::from_slice(bytes).ok()?;
    (listing.format == FORMAT).then_some(listing.files)
}
