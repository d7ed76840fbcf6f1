//! Read-only file mappings.
//!
//! The one place of this crate that needs `unsafe`: a mapping is only as immutable as the file behind it.
#![allow(
    unsafe_code,
    reason = "mapping a file is unsafe in memmap2: nobody can promise that the file stays as it is"
)]

use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::model::ModelError;

/// A file, mapped for reading.
#[derive(Debug)]
pub(crate) struct MappedFile {
    path: PathBuf,
    map: Option<Mmap>,
}

impl MappedFile {
    /// Maps the whole of a regular file. An empty file maps to no bytes.
    pub(crate) fn open(path: &Path) -> Result<Self, ModelError> {
        let fail = |action, source| ModelError::Io { action, path: path.to_owned(), source };
        let file = File::open(path).map_err(|e| fail("open", e))?;
        let meta = file.metadata().map_err(|e| fail("inspect", e))?;
        if !meta.is_file() {
            let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file");
            return Err(fail("map", source));
        }
        let map = if meta.len() == 0 {
            None
        } else {
            // SAFETY: the mapping is read-only and private to this value, and all access goes through
            // `bytes`, which hands out plain `u8`s: every bit pattern is valid, and every offset is checked
            // against the mapped length by the slice. What remains is the file changing underneath. A writer
            // can then change the values that are read (validated again where it matters: indices come from
            // the header, which is parsed once and owned), and a truncation ends the process with SIGBUS, as
            // for any mapped file; the documentation of `Checkpoint` asks that files stay untouched while
            // they are open.
            Some(unsafe { Mmap::map(&file) }.map_err(|e| fail("map", e))?)
        };
        Ok(Self { path: path.to_owned(), map })
    }

    /// The file's bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.map.as_deref().unwrap_or(&[])
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
