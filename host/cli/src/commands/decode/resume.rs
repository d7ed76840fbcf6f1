//! Snapshots of a decode: left when it stops, and gone on from.

use super::args::{Args, BackendKind};
use super::plan::Plan;
use crate::exit::{Suspended, usage};
use crate::interrupt;
use crate::output::folder_of;
use anyhow::{Context, Error, Result, bail};
use fastcar_host::session::{SequenceId, Session, SessionError, Snapshot, SnapshotError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Positions from one snapshot to the next where no number is given: a frame of the shipped model.
const EVERY: u32 = 64;

/// Where a decode leaves snapshots.
pub struct Keeper {
    path: PathBuf,
    every: usize,
    /// Positions in the last one.
    last: Option<usize>,
}

impl Keeper {
    /// From the flags. Looks first whether the file can be written, and whether it is there to be replaced.
    ///
    /// # Errors
    /// [`crate::exit::Usage`].
    pub fn new(args: &Args) -> Result<Option<Self>> {
        let Some(path) = &args.snapshot else { return Ok(None) };
        if !folder_of(path).is_dir() {
            return usage(format!("--snapshot {}: its folder does not exist", path.display()));
        }
        if path.exists() && Snapshot::load(path).is_err() {
            return usage(format!(
                "--snapshot {}: it exists and is no snapshot; choose another name",
                path.display()
            ));
        }
        let every = args.snapshot_every.unwrap_or(EVERY) as usize;
        Ok(Some(Self { path: path.clone(), every, last: None }))
    }

    /// Takes a snapshot where one is due, and where the user interrupts at a `place`.
    ///
    /// # Errors
    /// [`Suspended`], or the device fails, or the file cannot be written.
    pub fn look(&mut self, session: &Session, done: usize, place: impl Fn() -> String) -> Result<()> {
        let due = done > 0 && done.is_multiple_of(self.every) && self.last != Some(done);
        let interrupted = interrupt::requested();
        if due || interrupted {
            let saved = session.snapshot().and_then(|s| Ok(s.save(&self.path)?));
            saved.map_err(|error| Self::explain(Some(self), error.into(), done))?;
            self.last = Some(done);
        }
        if interrupted { Err(Suspended { place: place(), left: self.advice() }.into()) } else { Ok(()) }
    }

    /// How to go on.
    fn advice(&self) -> String {
        let path = self.path.display();
        match self.last {
            Some(done) => {
                format!(
                    "snapshot {path} holds {done} positions: the same command with --resume {path} goes on"
                )
            }
            None => format!("there was no snapshot yet for {path}"),
        }
    }

    /// Says how to go on after an error.
    pub fn explain(keeper: Option<&Self>, error: Error, done: usize) -> Error {
        let Some(keeper) = keeper else { return error };
        error.context(format!("the decode stopped at position {done}; {}", keeper.advice()))
    }
}

/// Removes the snapshot of a decode that is complete.
///
/// # Errors
/// The system refuses.
pub fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}, which is no longer needed", path.display()))
        }
        _ => Ok(()),
    }
}

/// The snapshot to go on from.
///
/// # Errors
/// It cannot be read, is of another decode, or does not go with other flags.
pub fn load(args: &Args, plan: &Plan) -> Result<Option<Snapshot>> {
    let Some(path) = &args.resume else { return Ok(None) };
    if args.backend == BackendKind::Sim || args.sim.record().is_some() {
        return usage(
            "--resume goes with --backend golden or opencl, and without --record: \
             the simulator's report and a recording are of whole decodes",
        );
    }
    let snapshot = Snapshot::load(path).with_context(|| {
        let path = path.display();
        format!("cannot resume from {path}: give a file that --snapshot has left, or decode from the start")
    })?;
    let same = snapshot.sequences().count() == plan.sequences.len()
        && snapshot.sequences().zip(&plan.sequences).all(|((_, s), p)| *s.request() == plan.request(p, None));
    if !same {
        bail!(
            "{} is of another decode: give the prompts, lengths and sampling that it was taken with",
            path.display()
        );
    }
    Ok(Some(snapshot))
}

/// Lets the sequences of a snapshot go on; their names, in the plan's order.
///
/// # Errors
/// The snapshot is of another model or policy, or the device fails.
pub fn adopt(session: &mut Session, snapshot: &Snapshot) -> Result<Vec<SequenceId>> {
    let adopted = snapshot.sequences().map(|(_, sequence)| session.adopt(sequence));
    adopted.collect::<Result<_, _>>().map_err(|error| {
        let flags = match &error {
            SessionError::Snapshot(SnapshotError::Model { .. }) => "--model, --preset, --weights and --head",
            SessionError::Snapshot(SnapshotError::Policy { .. }) => "policy and attention",
            _ => return error.into(),
        };
        Error::from(error)
            .context(format!("cannot resume: give {flags} as in the decode that left the snapshot"))
    })
}
