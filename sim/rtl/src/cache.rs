//! Where things are kept that are made once per text.

use crate::error::{BenchError, at};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Holds a folder for this process; freed when dropped.
pub struct Held {
    /// The folder.
    pub folder: PathBuf,
    _lock: File,
}

/// The folder that everything is kept below: `FASTCAR_CACHE` if that is set, Cargo's target folder if the running program
/// lies in one, else the user's folder for caches.
///
/// # Errors
/// None of these is there.
pub fn cache_folder() -> Result<PathBuf, BenchError> {
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let users = || {
        let base = given("XDG_CACHE_HOME").or_else(|| Some(given("HOME")?.join(".cache")))?;
        Some(base.join("fastcar"))
    };
    given("FASTCAR_CACHE").or_else(target_folder).or_else(users).ok_or(BenchError::NoCache)
}

/// Cargo's target folder, if the running program lies in one.
#[must_use]
pub fn target_folder() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    // Cargo marks a folder that it has made itself; the script that installs the tests' tools may have been there before.
    let marks = ["CACHEDIR.TAG", "test-setup"];
    let marked = program.ancestors().find(|folder| marks.iter().any(|mark| folder.join(mark).exists()));
    marked.map(Path::to_path_buf)
}

/// A folder that no other process works in.
///
/// # Errors
/// It cannot be made.
pub fn held_folder(kind: &str, key: &str) -> Result<Held, BenchError> {
    let folder = cache_folder()?.join("rtl").join(format!("{kind}-{key}"));
    fs::create_dir_all(&folder).map_err(at(&folder))?;
    let path = folder.join("lock");
    let lock = File::create(&path).map_err(at(&path))?;
    lock.lock().map_err(at(&path))?;
    Ok(Held { folder, _lock: lock })
}

/// Short name for texts.
pub fn key<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in texts {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex().as_str()[..16].to_string()
}
