//! The folder that files are generated in, and what is there already.

use super::GenerateError;
use super::manifest::{FileEntry, MANIFEST, listed};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What becomes of files that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// A folder with anything but what was generated there, unchanged, is refused.
    Keep,
    /// What was generated there is replaced, changed or not; all else stays.
    Replace,
}

/// Most bytes of a manifest that are read.
const MAX_MANIFEST: u64 = 1 << 22;

/// A folder that may be written.
pub(super) struct Target {
    folder: PathBuf,
    exists: bool,
    /// What a manifest there lists, the manifest with it; and all other names.
    generated: Vec<String>,
    foreign: Vec<String>,
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> GenerateError {
    let path = path.to_owned();
    move |source| GenerateError::File { action, path, source }
}

impl Target {
    /// Looks at a folder.
    pub fn open(folder: &Path, existing: Existing) -> Result<Self, GenerateError> {
        let mut target =
            Self { folder: folder.to_owned(), exists: true, generated: Vec::new(), foreign: Vec::new() };
        match fs::metadata(folder) {
            Ok(found) if found.is_dir() => target.look(existing)?,
            Ok(_) => return Err(GenerateError::NoFolder { path: folder.to_owned() }),
            Err(e) if e.kind() == ErrorKind::NotFound => target.exists = false,
            Err(e) => return Err(at("look at", folder)(e)),
        }
        Ok(target)
    }

    fn look(&mut self, existing: Existing) -> Result<(), GenerateError> {
        let entries = self.listing()?;
        let listed: BTreeMap<String, FileEntry> =
            entries.into_iter().flatten().map(|file| (file.name.clone(), file)).collect();
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(at("read", &self.folder))? {
            let entry = entry.map_err(at("read", &self.folder))?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        for name in names {
            let (path, file) = (self.folder.join(&name), listed.get(&name));
            let is_file = fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
            let ours = is_file && (file.is_some() || name == MANIFEST && !listed.is_empty());
            let changed = ours && file.is_some_and(|file| !is_as_listed(&path, file));
            if existing == Existing::Keep && (!ours || changed) {
                return Err(GenerateError::Occupied { folder: self.folder.clone(), file: name });
            }
            if ours { &mut self.generated } else { &mut self.foreign }.push(name);
        }
        Ok(())
    }

    /// What the manifest lists; nothing where none is that this generator understands.
    fn listing(&self) -> Result<Option<Vec<FileEntry>>, GenerateError> {
        let path = self.folder.join(MANIFEST);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() && found.len() <= MAX_MANIFEST => {
                Ok(listed(&fs::read(&path).map_err(at("read", &path))?))
            }
            Err(e) if e.kind() != ErrorKind::NotFound => Err(at("look at", &path)(e)),
            _ => Ok(None),
        }
    }

    /// Writes files elsewhere, then puts them here, the last one last.
    pub fn place(
        &self,
        files: &[(String, Vec<u8>)],
        written: &mut dyn FnMut(usize, usize) -> Result<(), GenerateError>,
    ) -> Result<(), GenerateError> {
        self.check_names(files)?;
        let (_temporary, staging) = self.staging()?;
        for (done, (name, bytes)) in files.iter().enumerate() {
            written(done, files.len())?;
            let path = staging.join(name);
            let write = || {
                let mut file = File::create_new(&path)?;
                file.write_all(bytes).and_then(|()| file.sync_all())
            };
            write().map_err(at("write", &path))?;
        }
        written(files.len(), files.len())?;
        if self.exists {
            return self.put(files, &staging);
        }
        fs::rename(&staging, &self.folder).map_err(at("make", &self.folder))
    }

    /// A name that is taken is none of ours: unless the file is what is to be written, as an interrupted generation leaves it.
    fn check_names(&self, files: &[(String, Vec<u8>)]) -> Result<(), GenerateError> {
        for (name, bytes) in files.iter().filter(|file| self.foreign.contains(&file.0)) {
            let path = self.folder.join(name);
            if !is_as_listed(&path, &FileEntry::new(name, bytes)) {
                return Err(GenerateError::InTheWay { path });
            }
        }
        Ok(())
    }

    /// A new folder on the same file system: within the folder if it is there, else beside it. It goes with the first value.
    fn staging(&self) -> Result<(TempDir, PathBuf), GenerateError> {
        let beside = self.folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = if self.exists { &self.folder } else { beside.unwrap_or(Path::new(".")) };
        fs::create_dir_all(parent).map_err(at("make", parent))?;
        let made = tempfile::Builder::new().prefix(".fastcar-").tempdir_in(parent);
        let temporary = made.map_err(at("write into", parent))?;
        // Its own permissions are the user's alone; those of a folder within are as usual.
        let staging = temporary.path().join("files");
        fs::create_dir(&staging).map_err(at("make", &staging))?;
        Ok((temporary, staging))
    }

    /// Moves files here; what was generated before and is not any more is removed before the last one comes.
    fn put(&self, files: &[(String, Vec<u8>)], staging: &Path) -> Result<(), GenerateError> {
        let Some(((last, _), others)) = files.split_last() else { return Ok(()) };
        let bring = |name: &str| {
            let path = self.folder.join(name);
            fs::rename(staging.join(name), &path).map_err(at("replace", &path))
        };
        others.iter().try_for_each(|(name, _)| bring(name))?;
        let stale = |name: &&String| files.iter().all(|file| file.0 != **name);
        for name in self.generated.iter().filter(stale) {
            let path = self.folder.join(name);
            fs::remove_file(&path).map_err(at("remove", &path))?;
        }
        bring(last)
    }
}

/// Whether a file is one of a size and a hash.
fn is_as_listed(path: &Path, file: &FileEntry) -> bool {
    let same_size =
        fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() == file.bytes);
    same_size && fs::read(path).is_ok_and(|bytes| FileEntry::new(&file.name, &bytes) == *file)
}
