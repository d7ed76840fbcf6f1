//! Files that appear whole or not at all, and text on standard output.

use anyhow::{Context, Result, bail};
use std::fs::Permissions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Creates a folder and makes sure that files can be written into it, before long work begins.
///
/// # Errors
/// It cannot be created or written.
pub fn prepare_folder(dir: &Path) -> Result<()> {
    let advice = || format!("cannot write into folder {}: choose another with --out", dir.display());
    std::fs::create_dir_all(dir).with_context(advice)?;
    temporary(dir).with_context(advice)?;
    Ok(())
}

/// The folder that a file lies in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Readable as the user's umask says, where a temporary file would be the owner's alone.
fn temporary(dir: &Path) -> std::io::Result<NamedTempFile> {
    let name = ".fastcar-";
    tempfile::Builder::new().prefix(name).permissions(Permissions::from_mode(0o666)).tempfile_in(dir)
}

/// Files written under temporary names, to be given their own all together. Dropped, it removes them.
#[derive(Default)]
pub struct Staged {
    files: Vec<(NamedTempFile, PathBuf)>,
}

impl Staged {
    /// Writes a file under a temporary name beside its own.
    ///
    /// # Errors
    /// The folder refuses, the disk is full, or the name is a folder's.
    pub fn add(&mut self, path: &Path, bytes: &[u8]) -> Result<()> {
        if path.is_dir() {
            bail!("cannot write {}: it is a folder; remove it or choose another name", path.display());
        }
        let failed = || {
            format!(
                "cannot write {}: nothing stands under that name; free space, or choose another folder",
                path.display()
            )
        };
        let mut file = temporary(folder_of(path)).with_context(failed)?;
        file.write_all(bytes).and_then(|()| file.as_file().sync_all()).with_context(failed)?;
        self.files.push((file, path.to_owned()));
        Ok(())
    }

    /// Gives every file its name.
    ///
    /// # Errors
    /// A file cannot be renamed.
    pub fn commit(self) -> Result<Vec<PathBuf>> {
        let rename = |(file, path): (NamedTempFile, PathBuf)| {
            file.persist(&path)
                .map_err(|e| e.error)
                .with_context(|| format!("cannot rename to {}", path.display()))?;
            Ok(path)
        };
        self.files.into_iter().map(rename).collect()
    }
}

/// Writes one file whole or not at all.
///
/// # Errors
/// As [`Staged::add`] and [`Staged::commit`].
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut staged = Staged::default();
    staged.add(path, bytes)?;
    staged.commit().map(|_| ())
}

/// Prints to standard output. A reader that closed its end (`| head`) is no error.
///
/// # Errors
/// Standard output cannot be written.
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}

/// Prints a value as one line of JSON.
///
/// # Errors
/// As [`print()`].
pub fn print_json(value: &impl serde::Serialize) -> Result<()> {
    print(&format!("{}\n", serde_json::to_string(value)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_appear_together_and_replace_older_ones() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&a, "old")?;
        let mut staged = Staged::default();
        staged.add(&a, b"new")?;
        staged.add(&b, b"other")?;
        assert_eq!((std::fs::read(&a)?, b.exists()), (b"old".to_vec(), false));
        staged.commit()?;
        assert_eq!((std::fs::read(&a)?, std::fs::read(&b)?), (b"new".to_vec(), b"other".to_vec()));
        assert_eq!(std::fs::read_dir(dir.path())?.count(), 2);
        Ok(())
    }

    #[test]
    fn nothing_is_left_when_dropped() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let mut staged = Staged::default();
        staged.add(&dir.path().join("a"), b"x")?;
        assert!(staged.add(dir.path(), b"x").is_err());
        drop(staged);
        assert_eq!(std::fs::read_dir(dir.path())?.count(), 0);
        Ok(())
    }
}
