//! Waiting for a device that may never answer.

use super::OpenClError;
use super::raw::{Pending, Times, Unfinished};
use super::status::failure;
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

/// Waits for commands, and knows when a device is lost.
pub(super) struct Watchdog {
    device: String,
    timeout: Option<Duration>,
    /// What lost the device.
    lost: RefCell<Option<String>>,
    hangs: Cell<bool>,
}

impl Watchdog {
    pub(super) fn new(device: String, timeout: Option<Duration>) -> Self {
        Self { device, timeout, lost: RefCell::default(), hangs: Cell::default() }
    }

    /// The device's name.
    pub(super) fn device(&self) -> &str {
        &self.device
    }

    /// What lost the device, if it is lost.
    pub(super) fn lost(&self) -> Option<String> {
        self.lost.borrow().clone()
    }

    /// Whether a command did not end in time.
    pub(super) fn hangs(&self) -> bool {
        self.hangs.get()
    }

    /// Time for a command over so many bytes: a minute, and the bytes at the rate of a slow simulation, which is far
    /// below that of any card.
    fn patience(&self, bytes: u64) -> Duration {
        const SLOW_BYTES_PER_SECOND: u64 = 4 << 20;
        self.timeout.unwrap_or_else(|| Duration::from_secs(60 + bytes / SLOW_BYTES_PER_SECOND))
    }

    /// Waits for a command over so many bytes. If it fails the device is lost.
    pub(super) fn wait<M>(&self, pending: Pending<M>, bytes: u64) -> Result<(M, Times), OpenClError> {
        Patience::new(self, bytes).wait(pending).map_err(|e| self.lose(e))
    }

    fn error(&self, unfinished: Unfinished, patience: Duration) -> OpenClError {
        match unfinished {
            Unfinished::Failed { call, what, code } => {
                failure(call, code, format!("{what} on device '{}'", self.device))
            }
            Unfinished::Late { what } => {
                self.hangs.set(true);
                let seconds = patience.as_secs_f64();
                OpenClError::Timeout { what: what.to_owned(), device: self.device.clone(), seconds }
            }
        }
    }

    /// Marks the device as lost by an error.
    pub(super) fn lose(&self, error: OpenClError) -> OpenClError {
        self.lost.borrow_mut().get_or_insert_with(|| error.to_string());
        error
    }

    /// Refuses what is asked of a lost device.
    pub(super) fn check(&self) -> Result<(), OpenClError> {
        match &*self.lost.borrow() {
            Some(reason) => Err(OpenClError::Lost { device: self.device.clone(), reason: reason.clone() }),
            None => Ok(()),
        }
    }
}

/// Waits for commands that are under way together: for all of them no longer than for one. Which of those that do not
/// wait for each other ends last is for the runtime to choose.
pub(super) struct Patience<'a> {
    watchdog: &'a Watchdog,
    whole: Duration,
    /// None where it lies beyond what the clock can say.
    deadline: Option<Instant>,
}

impl<'a> Patience<'a> {
    /// From now on.
    pub(super) fn new(watchdog: &'a Watchdog, bytes: u64) -> Self {
        let whole = watchdog.patience(bytes);
        Self { watchdog, whole, deadline: Instant::now().checked_add(whole) }
    }

    pub(super) fn wait<M>(&self, pending: Pending<M>) -> Result<(M, Times), OpenClError> {
        pending.wait(self.deadline).map_err(|e| self.watchdog.error(e, self.whole))
    }
}
