//! Events: what is known of a command from outside.

use super::{LineId, Nanos};
use crate::sync::{Mutex, MutexGuard};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};

/// Execution statuses, as OpenCL numbers them. Below 0 stands an error.
pub(crate) mod status {
    /// Waits for others.
    pub(crate) const QUEUED: i32 = 3;
    /// May run.
    pub(crate) const SUBMITTED: i32 = 2;
    /// Runs.
    pub(crate) const RUNNING: i32 = 1;
    /// Is done.
    pub(crate) const COMPLETE: i32 = 0;
    /// An event of the wait list has failed.
    pub(crate) const FAILED_DEPENDENCY: i32 = -14;
}

/// Called with the status that an event has reached.
pub(crate) type Callback = Box<dyn FnOnce(i32) + Send>;

/// When a command was where, in simulated time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Stamps {
    /// Enqueued.
    pub(crate) queued: Nanos,
    /// Given to the device.
    pub(crate) submit: Nanos,
    /// Begun.
    pub(crate) start: Nanos,
    /// Ended.
    pub(crate) end: Nanos,
}

/// A command that waits for an event.
#[derive(Clone, Copy)]
pub(super) struct Dependant {
    pub(super) id: u64,
    /// Whether it fails if the event does: it has named it in its list.
    pub(super) fails: bool,
}

struct EventState {
    status: i32,
    stamps: Stamps,
    dependants: Vec<Dependant>,
    callbacks: Vec<(i32, Callback)>,
}

/// An event. Its state changes only while the engine is locked; its own lock is the inner one.
pub(crate) struct Event {
    pub(super) id: u64,
    /// None for a user event.
    pub(super) line: Option<LineId>,
    /// Its status is final: for whoever looks without a lock.
    ended: AtomicBool,
    state: Mutex<EventState>,
}

impl Event {
    pub(super) fn new(id: u64, line: Option<LineId>, status: i32, now: Nanos) -> Self {
        let stamps = Stamps { queued: now, submit: now, start: now, end: now };
        let state = EventState { status, stamps, dependants: Vec::new(), callbacks: Vec::new() };
        Self { id, line, ended: AtomicBool::new(false), state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, EventState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the host completes it.
    pub(crate) fn is_user(&self) -> bool {
        self.line.is_none()
    }

    /// Whether it has ended, well or not.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// The times of a command that has ended well.
    pub(crate) fn stamps(&self) -> Option<Stamps> {
        let state = self.lock();
        (state.status == status::COMPLETE).then_some(state.stamps)
    }

    pub(super) fn status_and_end(&self) -> (i32, Nanos) {
        let state = self.lock();
        (state.status, state.stamps.end)
    }

    /// Adds a waiting command, or says how the event ended.
    pub(super) fn add_dependant(&self, dependant: Dependant) -> Option<(i32, Nanos)> {
        let mut state = self.lock();
        if state.status <= status::COMPLETE {
            return Some((state.status, state.stamps.end));
        }
        state.dependants.push(dependant);
        None
    }

    /// Takes a callback; gives it back with the status if that has already been reached.
    pub(super) fn add_callback(&self, trigger: i32, callback: Callback) -> Option<(Callback, i32)> {
        let mut state = self.lock();
        if state.status <= trigger {
            return Some((callback, told(state.status, trigger)));
        }
        state.callbacks.push((trigger, callback));
        None
    }

    /// Moves on to a status; the callbacks that waited for it.
    pub(super) fn advance(&self, status: i32) -> Vec<(Callback, i32)> {
        let mut state = self.lock();
        state.status = status;
        state.take_callbacks()
    }

    /// Ends; who waited, and the callbacks.
    pub(super) fn complete(
        &self,
        status: i32,
        start: Nanos,
        end: Nanos,
    ) -> (Vec<Dependant>, Vec<(Callback, i32)>) {
        let mut state = self.lock();
        state.status = status;
        (state.stamps.start, state.stamps.end) = (start, end);
        self.ended.store(true, Ordering::Release);
        let callbacks = state.take_callbacks();
        (std::mem::take(&mut state.dependants), callbacks)
    }
}

impl EventState {
    fn take_callbacks(&mut self) -> Vec<(Callback, i32)> {
        let status = self.status;
        let (due, later) = std::mem::take(&mut self.callbacks).into_iter().partition(|c| status <= c.0);
        self.callbacks = later;
        let due: Vec<(i32, Callback)> = due;
        due.into_iter().map(|(trigger, callback)| (callback, told(status, trigger))).collect()
    }
}

/// What a callback for a status is told: that status, unless the command has failed.
fn told(reached: i32, trigger: i32) -> i32 {
    if reached < status::COMPLETE { reached } else { trigger }
}
