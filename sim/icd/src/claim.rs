//! Which image a card runs, agreed among processes.
//!
//! A card runs one image at a time, for however many processes. Simulated cards are each process's own, so where
//! processes are to share them as real ones they agree by files in a folder, two for each device: `device-N.image` is
//! locked, shared, by every process that runs the image which it names, and `device-N.guard` is held for the moment
//! in which a process looks or decides. The system releases locks of a process that ends, however it ends.

use crate::refusal::Refusal;
use opencl_sys as cl;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A process holds the guard for some reads and writes; one that is stopped meanwhile must not stop the others.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why a device cannot be claimed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimError {
    #[error(
        "device {device} runs image {found} for another process; image {asked} is another one: end that process, use another device, or load the image that it runs"
    )]
    InUse { device: usize, asked: String, found: String },
    #[error(
        "another process has held {} for more than {} s: end it, or let FASTCAR_SIM_LOCK name another folder",
        path.display(),
        PATIENCE.as_secs()
    )]
    Guarded { path: PathBuf },
    #[error("FASTCAR_SIM_LOCK: {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

impl From<ClaimError> for Refusal {
    fn from(error: ClaimError) -> Self {
        // What the vendor's runtime answers where its driver says that the card is busy, or does not load the image.
        Self::new(cl::CL_INVALID_PROGRAM, error.to_string())
    }
}

/// A device runs an image for this process, until this is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    _image: File,
}

impl Claim {
    /// Claims a device for an image; `image` is what it is known by.
    pub(crate) fn new(folder: &Path, device: usize, image: &str) -> Result<Self, ClaimError> {
        let guard = open(&folder.join(format!("device-{device}.guard")))?;
        guard.lock()?;
        let mut file = open(&folder.join(format!("device-{device}.image")))?;
        if file.is_free()? {
            file.write(image)?;
        } else {
            let found = file.read()?;
            if found != image {
                return Err(ClaimError::InUse { device, asked: image.to_owned(), found });
            }
        }
        file.share()?;
        Ok(Self { _image: file.file })
    }
}

/// A file with its path.
struct Place {
    path: PathBuf,
    file: File,
}

fn open(path: &Path) -> Result<Place, ClaimError> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let path = path.to_owned();
    match file {
        Ok(file) => Ok(Place { path, file }),
        Err(source) => Err(ClaimError::File { path, source }),
    }
}

impl Place {
    fn failed(&self, source: io::Error) -> ClaimError {
        ClaimError::File { path: self.path.clone(), source }
    }

    /// Whether no process has it locked. It is then locked.
    fn is_free(&self) -> Result<bool, ClaimError> {
        match self.file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(source)) => Err(self.failed(source)),
        }
    }

    /// Waits for the lock of a guard.
    fn lock(&self) -> Result<(), ClaimError> {
        let begin = Instant::now();
        while !self.is_free()? {
            if begin.elapsed() > PATIENCE {
                return Err(ClaimError::Guarded { path: self.path.clone() });
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Shares the lock, which nobody has for himself while the guard is held.
    fn share(&self) -> Result<(), ClaimError> {
        self.file.lock_shared().map_err(|source| self.failed(source))
    }

    fn read(&mut self) -> Result<String, ClaimError> {
        let mut text = String::new();
        let read = self.file.rewind().and_then(|()| self.file.read_to_string(&mut text));
        read.map_err(|source| self.failed(source))?;
        Ok(text.trim_end().to_owned())
    }

    fn write(&mut self, text: &str) -> Result<(), ClaimError> {
        let written = self.file.set_len(0).and_then(|()| self.file.rewind());
        written.and_then(|()| writeln!(self.file, "{text}")).map_err(|source| self.failed(source))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn refusal(folder: &Path, device: usize, image: &str) -> String {
        Claim::new(folder, device, image).unwrap_err().to_string()
    }

    #[test]
    fn a_device_runs_one_image_until_all_who_run_it_have_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let (first, second) = (Claim::new(path, 0, "a").unwrap(), Claim::new(path, 0, "a").unwrap());
        let expected = "device 0 runs image a for another process; image b is another one: end that process, use \
                        another device, or load the image that it runs";
        assert_eq!(refusal(path, 0, "b"), expected);
        let _other_device = Claim::new(path, 1, "b").unwrap();
        drop(first);
        assert_eq!(refusal(path, 0, "b"), expected);
        drop(second);
        let _third = Claim::new(path, 0, "b").unwrap();
        assert!(refusal(path, 0, "a").contains("runs image b"));
    }

    #[test]
    fn a_folder_that_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = refusal(&folder.path().join("none"), 0, "a");
        assert!(
            error.starts_with("FASTCAR_SIM_LOCK: ") && error.contains("none/device-0.guard: "),
            "{error}"
        );
    }

    #[test]
    fn a_guard_that_is_held_for_long_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let held = open(&folder.path().join("device-0.guard")).unwrap();
        assert!(held.is_free().unwrap());
        let error = refusal(folder.path(), 0, "a");
        assert!(error.contains("device-0.guard for more than 2 s"), "{error}");
    }

    /// Many at once: whoever is in, all run the same image.
    #[test]
    fn a_crowd_never_runs_two_images() {
        use std::sync::atomic::{AtomicI64, Ordering};
        let folder = tempfile::tempdir().unwrap();
        let (path, inside, claims) = (folder.path(), AtomicI64::new(0), AtomicI64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..6i64 {
                let (inside, claims) = (&inside, &claims);
                // Users of one image count up, those of the other down.
                let (image, step) = [("a", 1), ("b", -1)][thread as usize % 2];
                scope.spawn(move || {
                    for _ in 0..200 {
                        let Ok(claim) = Claim::new(path, 0, image) else { continue };
                        let found = inside.fetch_add(step, Ordering::SeqCst) + step;
                        assert!(found * step > 0, "{found} for {image}");
                        claims.fetch_add(1, Ordering::SeqCst);
                        inside.fetch_sub(step, Ordering::SeqCst);
                        drop(claim);
                    }
                });
            }
        });
        assert!(claims.load(Ordering::SeqCst) >= 200);
    }
}
