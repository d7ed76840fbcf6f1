//! The thread of one device: it owns the device's session.

use super::error::{DeviceFault, EngineError};
use super::shared::{Shared, Start, Turn};
use crate::session::{DecodeStats, Generated, SequenceId, Session, SessionError};
use std::any::Any;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub(super) struct Worker {
    shared: Arc<Shared>,
    device: usize,
    session: Session,
    /// The engine's names of the session's sequences.
    names: BTreeMap<SequenceId, u64>,
    /// Positions from one snapshot of a sequence to the next.
    every: Option<NonZeroU32>,
    /// Whether a sequence was taken in since the last step.
    admitted: bool,
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        device: usize,
        session: Session,
        every: Option<NonZeroU32>,
    ) -> Self {
        Self { shared, device, session, names: BTreeMap::new(), every, admitted: false }
    }

    /// Serves until the engine is closed or the device is lost.
    pub(super) fn run(mut self) {
        loop {
            let fits = |request: &_| self.session.has_room(request);
            let turn = self.shared.next_turn(self.device, self.names.is_empty(), self.admitted, fits);
            if matches!(turn, Turn::Exit) {
                break;
            }
            if let Err(fault) = caught(|| self.take(turn)) {
                self.shared.retire(self.device, fault);
            }
        }
        // A backend that panics once may do so again when it is closed.
        let Self { session, .. } = self;
        let close = || {
            drop(session);
            Ok(())
        };
        if let Err(fault) = caught(close) {
            tracing::warn!("closing a device: {fault}");
        }
    }

    fn take(&mut self, turn: Turn) -> Result<(), DeviceFault> {
        match turn {
            Turn::Exit => Ok(()),
            Turn::Cancel(ids) => self.cancel(&ids),
            Turn::Start(id, start) => self.start(id, start),
            Turn::Step => self.step(),
        }
    }

    fn cancel(&mut self, ids: &[u64]) -> Result<(), DeviceFault> {
        let gone: Vec<SequenceId> =
            self.names.iter().filter(|(_, id)| ids.contains(id)).map(|(&sequence, _)| sequence).collect();
        for sequence in gone {
            self.names.remove(&sequence);
            self.session.cancel(sequence)?;
        }
        Ok(())
    }

    fn start(&mut self, id: u64, start: Start) -> Result<(), DeviceFault> {
        self.admitted = true;
        let started = match start {
            Start::Request(request) => self.session.start(request),
            Start::Snapshot(snapshot) => self.session.adopt(&snapshot),
        };
        match started {
            Ok(sequence) => {
                self.names.insert(sequence, id);
                // A snapshot of an ended sequence has nothing left to do.
                self.deliver(Vec::new())
            }
            Err(error @ SessionError::Backend(_)) => Err(error.into()),
            Err(error) => {
                self.shared.fail(self.device, id, EngineError::from(error));
                Ok(())
            }
        }
    }

    fn step(&mut self) -> Result<(), DeviceFault> {
        self.admitted = false;
        let made = self.session.step()?;
        let due: Vec<SequenceId> = made.iter().filter(|g| self.is_due(g)).map(|g| g.sequence).collect();
        self.deliver(made)?;
        for sequence in due {
            if let Some(&id) = self.names.get(&sequence) {
                self.shared.keep(self.device, id, self.session.snapshot_sequence(sequence)?);
            }
        }
        Ok(())
    }

    fn is_due(&self, generated: &Generated) -> bool {
        self.every.is_some_and(|every| (generated.position + 1).is_multiple_of(every.get()))
    }

    fn deliver(&mut self, made: Vec<Generated>) -> Result<(), DeviceFault> {
        let mut ended: Vec<(u64, DecodeStats)> = Vec::new();
        let named = |g: Generated| self.names.get(&g.sequence).map(|&id| (id, g));
        let made = made.into_iter().filter_map(named).collect();
        for (&sequence, &id) in &self.names {
            if self.session.is_done(sequence)? {
                ended.push((id, self.session.finish(sequence)?));
            }
        }
        self.names.retain(|_, id| ended.iter().all(|(ended, _)| ended != id));
        self.shared.deliver(self.device, made, ended);
        Ok(())
    }
}

/// Makes a fault of a panic.
pub(super) fn caught<T>(work: impl FnOnce() -> Result<T, DeviceFault>) -> Result<T, DeviceFault> {
    let panicked = |panic: Box<dyn Any + Send>| DeviceFault::Panicked { message: message(&*panic) };
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(panic)))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
}
