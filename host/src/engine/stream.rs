//! One request's positions on their way to a client.

use super::error::EngineError;
use super::shared::{Event, Shared};
use crate::session::{DecodeStats, Generated, SequenceId, SequenceSnapshot};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

/// The positions of one request, in order. Dropping it cancels the request.
///
/// As an iterator it waits for each position, gives an error at most once, as its last item, and ends.
pub struct Stream {
    id: u64,
    shared: Arc<Shared>,
    events: Receiver<Event>,
    ended: bool,
    stats: Option<DecodeStats>,
}

/// What is there of a stream at a moment.
#[derive(Clone, PartialEq, Debug)]
pub enum Received {
    /// The next position.
    Position(Generated),
    /// Nothing yet.
    Pending,
    /// All positions have been given, or the request was cancelled.
    Ended,
}

impl Stream {
    pub(super) fn new(id: u64, shared: Arc<Shared>, events: Receiver<Event>) -> Self {
        Self { id, shared, events, ended: false, stats: None }
    }

    /// The name that its positions bear.
    #[must_use]
    pub fn id(&self) -> SequenceId {
        SequenceId(self.id)
    }

    /// Ends the request: its slots are free before the next step of the device. Positions made until then may still
    /// come.
    pub fn cancel(&self) {
        self.shared.cancel(self.id);
    }

    /// Looks for the next position without waiting.
    ///
    /// # Errors
    /// Why the request has failed.
    pub fn try_next(&mut self) -> Result<Received, EngineError> {
        if self.ended {
            return Ok(Received::Ended);
        }
        match self.events.try_recv() {
            Ok(event) => self.take(event),
            Err(TryRecvError::Empty) => Ok(Received::Pending),
            Err(TryRecvError::Disconnected) => self.take(Event::Failed(EngineError::Closed)),
        }
    }

    /// Waits for the next position, but not for longer than this.
    ///
    /// # Errors
    /// Why the request has failed.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Received, EngineError> {
        if self.ended {
            return Ok(Received::Ended);
        }
        match self.events.recv_timeout(timeout) {
            Ok(event) => self.take(event),
            Err(RecvTimeoutError::Timeout) => Ok(Received::Pending),
            Err(RecvTimeoutError::Disconnected) => self.take(Event::Failed(EngineError::Closed)),
        }
    }

    /// What the request did, once it has ended with all its positions.
    #[must_use]
    pub fn stats(&self) -> Option<&DecodeStats> {
        self.stats.as_ref()
    }

    /// The last snapshot taken of it while it runs, where the engine takes snapshots.
    #[must_use]
    pub fn snapshot(&self) -> Option<Arc<SequenceSnapshot>> {
        self.shared.snapshot(self.id)
    }

    fn take(&mut self, event: Event) -> Result<Received, EngineError> {
        self.ended = !matches!(event, Event::Position(_));
        match event {
            Event::Position(generated) => Ok(Received::Position(generated)),
            Event::Finished(stats) => {
                self.stats = Some(stats);
                Ok(Received::Ended)
            }
            Event::Cancelled => Ok(Received::Ended),
            Event::Failed(error) => Err(error),
        }
    }
}

impl Iterator for Stream {
    type Item = Result<Generated, EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let event = self.events.recv().unwrap_or(Event::Failed(EngineError::Closed));
        match self.take(event) {
            Ok(Received::Position(generated)) => Some(Ok(generated)),
            Ok(Received::Pending | Received::Ended) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.ended {
            self.cancel();
        }
    }
}
