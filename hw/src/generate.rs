//! From a configuration to a folder of files: the kernel's Verilog and what goes with it.
//!
//! | file | contents |
//! |---|---|
//! | `<module>.v`, `files.f` | the modules, and their files in the order of use, the top last |
//! | `kernel.xml` | ports and arguments of the kernel, for the vendor's packager |
//! | `fastcar_registers.h` | the register map in C |
//! | `manifest.json` | [`Manifest`]: what all this was generated from, and every other file with its size and SHA-256 |
//!
//! The same configuration gives the same bytes.
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::generate::{Existing, generate};
//! use std::ops::ControlFlow;
//!
//! let parent = tempfile::tempdir()?;
//! let folder = parent.path().join("tiny");
//! let config = AccelConfig::preset("tiny")?;
//! let manifest = generate(&config, &folder, Existing::Keep, &mut |_| ControlFlow::Continue(()))?;
//! assert!(manifest.files.iter().any(|file| file.name == "fastcar.v"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod folder;
mod header;
mod manifest;

pub use folder::Existing;
pub use manifest::{FileEntry, MANIFEST, Manifest};

use crate::axi::Handshake;
use crate::kernel::Kernel;
use crate::rtl::RtlError;
use fastcar_arch::config::AccelConfig;
use fastcar_xclbin::XclbinError;
use fastcar_xclbin::image::{self, KERNEL};
use folder::Target;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// What runs of images are followed by: `ap_ctrl_chain`, as `kernel.xml` says.
const HANDSHAKE: Handshake = Handshake::Chain;
/// Vendor and library of the packaged block, and its version.
const VENDOR: &str = "fastcar:kernel";
const BLOCK_VERSION: &str = "1.0";

/// Why nothing was generated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// The circuit cannot be built.
    #[error("the kernel of configuration '{config}' cannot be built: {source}")]
    Circuit {
        /// Name of the configuration.
        config: String,
        /// Why.
        source: Box<RtlError>,
    },
    /// The kernel cannot be described.
    #[error(transparent)]
    Description(#[from] XclbinError),
    /// The manifest cannot be written as JSON.
    #[error("the manifest: {0}")]
    Manifest(#[from] serde_json::Error),
    /// There is a file of this name where the folder should be.
    #[error("cannot write {}: it is no folder; name another with --out", path.display())]
    NoFolder {
        /// The file.
        path: PathBuf,
    },
    /// The folder holds something that was not generated, or was changed since.
    #[error(
        "{} holds {file}, which was not generated there or has changed since: name another folder, \
         or give --force to replace what was generated and to leave all other files",
        folder.display()
    )]
    Occupied {
        /// The folder.
        folder: PathBuf,
        /// The first such file by name.
        file: String,
    },
    /// A file that was not generated has the name of one that is to be.
    #[error(
        "{} is in the way: the manifest there, if any, does not list it, so --force leaves it; move it, or name another folder",
        path.display()
    )]
    InTheWay {
        /// The file.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("cannot {action} {}: {source}; name another folder with --out, or make room", path.display())]
    File {
        /// What was to be done.
        action: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Whoever was told of the progress wanted it to end.
    #[error("stopped: no file has been placed in {}", folder.display())]
    Stopped {
        /// The folder.
        folder: PathBuf,
    },
}

/// How far a generation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The circuit is built.
    Building,
    /// Files are written: how many of how many are.
    Writing {
        /// Written.
        done: usize,
        /// Of so many.
        total: usize,
    },
}

/// Generates the files of a configuration in a folder.
///
/// A folder that is not there appears with all its files, or not at all. In one that is there they are put in place one by one when all have been written, the manifest last; what an
/// earlier manifest lists and this one does not is removed, nothing else.
///
/// # Errors
/// [`GenerateError`]; nothing is in place then, unless the system refuses in the midst of putting files there: the folder's manifest does not fit its files then, and the next
/// generation has to be asked to replace them.
pub fn generate(
    config: &AccelConfig,
    folder: &Path,
    existing: Existing,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Manifest, GenerateError> {
    let mut goes_on = |at| match progress(at) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(GenerateError::Stopped { folder: folder.to_owned() }),
    };
    // What is wrong with the folder is told before the work.
    Target::open(folder, existing)?;
    goes_on(Progress::Building)?;
    let mut files = sources(config)?;
    let manifest = Manifest::new(config, KERNEL, &files);
    files.push((MANIFEST.into(), manifest.to_bytes()?));
    Target::open(folder, existing)?
        .place(&files, &mut |done, total| goes_on(Progress::Writing { done, total }))?;
    Ok(manifest)
}

/// All files but the manifest.
fn sources(config: &AccelConfig) -> Result<Vec<(String, Vec<u8>)>, GenerateError> {
    let circuit =
        |source| GenerateError::Circuit { config: config.name().to_owned(), source: Box::new(source) };
    let design = Kernel::new(config, HANDSHAKE).and_then(|kernel| kernel.design()).map_err(circuit)?;
    let (names, list) = (design.files(), design.list());
    let texts = design.into_modules().into_iter().map(|(_, text)| text.into_bytes());
    let mut files: Vec<_> = names.into_iter().zip(texts).collect();
    files.push(("files.f".into(), list.into_bytes()));
    let kernel = image::kernel(config);
    let vlnv = format!("{VENDOR}:{}:{BLOCK_VERSION}", kernel.name);
    files.push(("kernel.xml".into(), kernel.to_kernel_xml(&vlnv)?));
    files.push(("fastcar_registers.h".into(), header::text(config).into_bytes()));
    Ok(files)
}
