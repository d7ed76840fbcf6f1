//! Commands, the order they keep and the time they take.
//!
//! A *lane* is one device: a worker thread executes its commands one after the other, any whose dependencies are met.
//! A *line* is one command queue: in order (every command waits for the one before) or out of order (a command waits
//! for the events it names, and for a barrier before it). What a command does is a closure, so nothing here knows of
//! memory or kernels.
//!
//! Simulated time is kept apart from the clock on the wall. A command begins when all it waits for has ended and its
//! [`Unit`] is free, and ends after the time that its work says. The host has no time of its own: it stands at the
//! latest end that it has waited for, and what it enqueues is enqueued then.
//!
//! Everything is decided under one lock. Callbacks and whatever a command held are run and dropped outside it.
//!
//! Waking a thread that sleeps costs more than most commands of a host that issues step after step. So a thread that
//! has nothing to do looks for a short while without the lock before it looks under the lock and sleeps; and only
//! threads that sleep are woken. A worker that sleeps is not woken for a command but by the flush behind it, so that it
//! wakes up once for all that a host has enqueued; a host that waits or asks how far a command is has flushed.

mod event;
mod state;

pub(crate) use event::{Event, status};

use crate::sync::{Condvar, Mutex, MutexGuard, Spot, look};
use event::Callback;
use state::{Effects, State, Worker};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

/// Simulated time in nanoseconds.
pub(crate) type Nanos = u64;

/// How long a command has its unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Time {
    /// Before it needs all of the unit: other commands may use it meanwhile.
    pub(crate) setup: Nanos,
    /// With the unit to itself.
    pub(crate) busy: Nanos,
    /// Commands that the unit may have in hand: one is set up while another has the unit.
    pub(crate) channels: usize,
}

impl From<Nanos> for Time {
    fn from(busy: Nanos) -> Self {
        Self { setup: 0, busy, channels: 1 }
    }
}

impl Time {
    /// Both, one after the other.
    pub(crate) fn then(self, next: Self) -> Self {
        let setup = self.setup.saturating_add(next.setup);
        let channels = self.channels.min(next.channels);
        Self { setup, busy: self.busy.saturating_add(next.busy), channels }
    }
}

/// A part of a device that does one thing at a time, and prepares others meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    /// The DMA engine from the host to the device.
    ToDevice,
    /// The DMA engine from the device to the host.
    FromDevice,
    /// The compute unit.
    Kernel,
}

impl Unit {
    /// How many there are.
    pub(crate) const COUNT: usize = 3;
}

/// What became of a command's work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Done, after so long on its unit.
    Done(Time),
    /// Failed with this status, which is below 0.
    Failed(i32),
    /// Not done, and never will be: the command keeps its unit.
    Never,
}

/// What a command does.
pub(crate) type Work = Box<dyn FnOnce() -> Outcome + Send>;

/// A command queue of an engine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct LineId {
    number: u64,
    lane: usize,
}

/// What is put into a line.
pub(crate) enum Command {
    /// Work for a unit.
    Run(Unit, Work),
    /// Nothing to do: done when what it waits for is.
    Marker,
    /// A marker that everything behind it in its line waits for.
    Barrier,
}

/// How a lane's worker learns that there may be something to do.
#[derive(Default)]
struct Bell {
    /// Counts, for a worker that looks.
    rings: AtomicU64,
    /// For one that sleeps.
    sleeper: Condvar,
    /// Whether it sleeps, and is to be woken by the next flush.
    owed: AtomicBool,
    /// Where the worker is.
    worker: Spot,
}

impl Bell {
    fn wake(&self) {
        self.sleeper.notify_one();
    }
}

/// Lines, lanes and their commands.
pub(crate) struct Engine {
    state: Mutex<State>,
    /// Something is done.
    progress: Condvar,
    /// One for each lane.
    bells: Vec<Bell>,
    /// Where the host is.
    host: Spot,
}

impl Engine {
    /// An engine with so many lanes.
    pub(crate) fn new(lanes: usize) -> Self {
        let bells = (0..lanes).map(|_| Bell::default()).collect();
        Self { state: Mutex::new(State::new(lanes)), progress: Condvar::new(), bells, host: Spot::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new command queue of a lane.
    pub(crate) fn open(&self, lane: usize, ordered: bool) -> LineId {
        self.lock().open(lane, ordered)
    }

    /// Forgets a queue once everything in it is done.
    pub(crate) fn close(&self, line: LineId) {
        self.flush();
        self.lock().close(line);
    }

    /// Wakes the workers for what was enqueued.
    pub(crate) fn flush(&self) {
        let owed = self.bells.iter().filter(|bell| bell.owed.swap(false, Ordering::AcqRel));
        owed.for_each(|bell| bell.sleeper.notify_one());
    }

    /// Puts a command into a line. It waits for the events of its list and for what its line's order asks; a failed
    /// event of the list fails it.
    pub(crate) fn submit(&self, line: LineId, command: Command, list: &[Arc<Event>]) -> Arc<Event> {
        self.host.mark();
        let mut effects = Effects::default();
        let event = self.lock().submit(line, command, list, &mut effects);
        self.settle(effects, |bell| bell.owed.store(true, Ordering::Release));
        event
    }

    /// An event that the host completes.
    pub(crate) fn user_event(&self) -> Arc<Event> {
        self.lock().user_event()
    }

    /// Completes a user event: 0, or the error below 0. Whether it was still open.
    pub(crate) fn set_user_status(&self, event: &Arc<Event>, status: i32) -> bool {
        let mut effects = Effects::default();
        let set = self.lock().set_user_status(event, status, &mut effects);
        self.settle(effects, Bell::wake);
        set
    }

    /// Calls back when an event's status has reached one of [`status`], or has failed; at once if it already has.
    pub(crate) fn on_status(&self, event: &Event, trigger: i32, callback: Callback) {
        self.flush();
        let state = self.lock();
        let refused = event.add_callback(trigger, callback);
        drop(state);
        if let Some((callback, status)) = refused {
            callback(status);
        }
    }

    /// The status of an event. The host has then seen its end.
    pub(crate) fn status(&self, event: &Event) -> i32 {
        let (status, end) = event.status_and_end();
        // Whoever asks again and again does not keep the others from the engine.
        match status <= status::COMPLETE {
            true => self.lock().seen(end),
            false => self.flush(),
        }
        status
    }

    /// Waits for events. The status of the first that has failed, if one has.
    pub(crate) fn wait(&self, events: &[Arc<Event>]) -> Result<(), i32> {
        self.flush();
        let open = events.iter().find(|event| !event.has_ended());
        if let Some(line) = open.and_then(|event| event.line) {
            look(&self.bells[line.lane].worker, || events.iter().all(|event| event.has_ended()));
        }
        let mut state = self.lock();
        let mut failed = None;
        for event in events {
            let (status, end) = loop {
                let (status, end) = event.status_and_end();
                if status <= status::COMPLETE {
                    break (status, end);
                }
                state.hosts += 1;
                state = self.progress.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.hosts -= 1;
            };
            state.seen(end);
            failed = failed.or((status < status::COMPLETE).then_some(status));
        }
        failed.map_or(Ok(()), Err)
    }

    /// Waits for everything that is in a line.
    pub(crate) fn finish(&self, line: LineId) {
        let marker = self.submit(line, Command::Marker, &[]);
        // A marker without a list never fails.
        let _ = self.wait(&[marker]);
    }

    /// Executes a lane's commands until the engine stops: the body of a worker thread.
    pub(crate) fn work(&self, lane: usize) {
        let Bell { rings, sleeper, worker, .. } = &self.bells[lane];
        let mut looked = false;
        loop {
            worker.mark();
            let heard = rings.load(Ordering::Acquire);
            let mut state = self.lock();
            let mut effects = Effects::default();
            if state.stopped {
                return;
            }
            let Some((running, work)) = state.begin(lane, &mut effects) else {
                if looked {
                    state.sleeps(lane);
                    drop(sleeper.wait(state).unwrap_or_else(PoisonError::into_inner));
                } else {
                    drop(state);
                    look(&self.host, || rings.load(Ordering::Acquire) != heard);
                }
                looked = !looked;
                continue;
            };
            drop(state);
            effects.run();
            let outcome = work();
            let mut effects = Effects::default();
            self.lock().end(running, outcome, &mut effects);
            self.settle(effects, Bell::wake);
            looked = false;
        }
    }

    /// Ends the worker threads, each after what it is doing. What is left is never done.
    #[allow(dead_code, reason = "workers of a process end with it; the tests of the engine end theirs")]
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.bells.iter().for_each(|bell| bell.sleeper.notify_all());
    }

    /// Wakes whoever waits for what has changed, a worker that sleeps by `wake`, and runs the callbacks.
    fn settle(&self, effects: Effects, wake: fn(&Bell)) {
        for &(lane, worker) in effects.lanes() {
            self.bells[lane].rings.fetch_add(1, Ordering::Release);
            if worker == Worker::Asleep {
                wake(&self.bells[lane]);
            }
        }
        if effects.wake_hosts() {
            self.progress.notify_all();
        }
        effects.run();
    }
}
