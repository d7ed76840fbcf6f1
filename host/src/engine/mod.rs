//! Many clients on several devices: requests from any thread, one decode session a device.
//!
//! Each device has a thread that owns its [`Session`] and steps it while it has sequences; otherwise it sleeps.
//! Requests wait in one queue, first come, first served: a device with free slots takes the head, and where the head
//! is a guided request that finds no pair, nobody overtakes it. Among devices the one with fewer slots taken comes
//! first. A step advances every sequence by one position, be it of a prompt or a new one, so a prompt that comes in
//! does not hold up the others.
//!
//! A device that fails, panics or takes longer than [`EngineOptions::timeout`] is given up. Its streams end with
//! [`EngineError::Device`], or with [`EngineOptions::resume`] go on elsewhere from their last snapshots: what a stream
//! has given does not come again, and the bits are those of an undisturbed decode. The other devices do not notice.

mod error;
mod shared;
mod status;
mod stream;
mod worker;

pub use error::{DeviceFault, EngineError};
pub use status::{Counts, DeviceStatus, Status};
pub use stream::{Received, Stream};

use crate::backend::Backend;
use crate::packed::PackedModel;
use crate::policy::Policy;
use crate::session::{Request, Rules, SequenceSnapshot, Session, SessionError, SessionOptions};
use fastcar_arch::units::Bytes;
use shared::{Limits, Shared};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use worker::Worker;

/// How long closing an engine waits for its devices where no other time is set.
const SHUTDOWN: Duration = Duration::from_secs(60);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(1);

/// A device for an engine.
pub struct EngineDevice {
    name: String,
    backend: Box<dyn Backend>,
    memory: Option<Bytes>,
}

impl EngineDevice {
    /// A device under a name for errors and status.
    #[must_use]
    pub fn new(name: impl Into<String>, backend: Box<dyn Backend>) -> Self {
        Self { name: name.into(), backend, memory: None }
    }

    /// With at most so many bytes on each channel: what does not fit of the weights is streamed, as by
    /// [`Session::open_streamed`].
    #[must_use]
    pub fn streamed(self, memory: Bytes) -> Self {
        Self { memory: Some(memory), ..self }
    }

    fn open(
        self,
        model: Arc<PackedModel>,
        policy: Policy,
        options: SessionOptions,
    ) -> Result<Session, SessionError> {
        match self.memory {
            Some(memory) => Session::open_streamed(self.backend, model, policy, options, memory),
            None => Session::open(self.backend, model, policy, options),
        }
    }
}

/// Options of an engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EngineOptions {
    /// Slots of each device, and the longest sequence.
    pub session: SessionOptions,
    /// Requests that may wait beyond those for which slots are free.
    pub queue: usize,
    /// Positions from one snapshot of a sequence to the next; none are taken where it is not set.
    pub snapshots: Option<NonZeroU32>,
    /// Whether sequences of a lost device go on elsewhere: from their last snapshot, or from their request.
    pub resume: bool,
    /// A device that takes longer over a step is given up, whatever it does. Where it is not set, the backend's own time
    /// limits count.
    pub timeout: Option<Duration>,
}

impl EngineOptions {
    /// For sessions of a size: a queue of 64, no snapshots, no resuming, no time limit beside the backends' own.
    #[must_use]
    pub fn new(session: SessionOptions) -> Self {
        Self { session, queue: 64, snapshots: None, resume: false, timeout: None }
    }
}

/// Devices that serve requests of any number of clients. Clones are the same engine; with the last one it is shut down.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    rules: Rules,
    options: EngineOptions,
    devices: Mutex<Vec<JoinHandle<()>>>,
    watch: Mutex<Option<JoinHandle<()>>>,
}

impl Engine {
    /// Loads a model on all devices, at the same time, and starts their threads.
    ///
    /// # Errors
    /// [`EngineError::Empty`], or [`EngineError::Open`] for the first device on which the model does not open.
    pub fn open(
        devices: Vec<EngineDevice>,
        model: Arc<PackedModel>,
        policy: &Policy,
        options: EngineOptions,
    ) -> Result<Self, EngineError> {
        let names: Vec<String> = devices.iter().map(|d| d.name.clone()).collect();
        let sessions = open_all(devices, &model, policy, options.session)?;
        let rules = sessions.first().ok_or(EngineError::Empty)?.rules();
        let EngineOptions { queue, resume, snapshots, timeout, session } = options;
        let limits = Limits { queue, slots: session.slots as usize, resume };
        let shared = Arc::new(Shared::new(limits, names.clone()));
        // From here on, whatever is dropped is shut down.
        let (devices, watch) = (Mutex::default(), Mutex::default());
        let inner = Inner { shared, rules, options, devices, watch };
        inner.start(sessions, &names, snapshots, timeout)?;
        Ok(Self(Arc::new(inner)))
    }

    /// What it was opened with.
    #[must_use]
    pub fn options(&self) -> EngineOptions {
        self.0.options
    }

    /// Takes a request in; it waits for slots, and its positions come by the stream.
    ///
    /// # Errors
    /// At once: [`EngineError::Session`] for a request that cannot be served, [`EngineError::Busy`] where the queue is
    /// full, [`EngineError::NoDevice`], [`EngineError::Closed`].
    pub fn submit(&self, request: Request) -> Result<Stream, EngineError> {
        self.0.take(request, None)
    }

    /// Lets a sequence go on; the stream gives the positions behind the snapshot. One of another model or policy ends
    /// the stream with [`EngineError::Session`].
    ///
    /// # Errors
    /// As [`Engine::submit`].
    pub fn resume(&self, snapshot: SequenceSnapshot) -> Result<Stream, EngineError> {
        self.0.take(snapshot.request().clone(), Some(Arc::new(snapshot)))
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.shared.status()
    }

    /// Cancels all streams and ends the threads, for all clones.
    ///
    /// # Errors
    /// [`EngineError::Stuck`] where a device does not answer within [`EngineOptions::timeout`], or a minute where that
    /// is not set.
    pub fn shutdown(&self) -> Result<(), EngineError> {
        self.0.shutdown()
    }
}

/// Opens a session on every device, all at the same time.
fn open_all(
    devices: Vec<EngineDevice>,
    model: &Arc<PackedModel>,
    policy: &Policy,
    options: SessionOptions,
) -> Result<Vec<Session>, EngineError> {
    let open = |device: EngineDevice| {
        let (name, model, policy) = (device.name.clone(), Arc::clone(model), policy.clone());
        let opened = worker::caught(|| Ok(device.open(model, policy, options)?));
        opened.map_err(|source| EngineError::Open { device: name, source: Arc::new(source) })
    };
    thread::scope(|scope| {
        let threads: Vec<_> = devices.into_iter().map(|device| scope.spawn(move || open(device))).collect();
        // What panics in a device is caught there.
        threads.into_iter().map(|t| t.join().unwrap_or(Err(EngineError::Closed))).collect()
    })
}

/// Starts a thread of a name.
fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, EngineError> {
    let builder = thread::Builder::new().name(name.replace('\0', ""));
    builder.spawn(work).map_err(|e| EngineError::Thread(Arc::new(e)))
}

impl Inner {
    fn start(
        &self,
        sessions: Vec<Session>,
        names: &[String],
        snapshots: Option<NonZeroU32>,
        timeout: Option<Duration>,
    ) -> Result<(), EngineError> {
        for (device, (session, name)) in sessions.into_iter().zip(names).enumerate() {
            let worker = Worker::new(Arc::clone(&self.shared), device, session, snapshots);
            let thread = spawn(name, move || worker.run())?;
            self.devices.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        if let Some(limit) = timeout {
            let shared = Arc::clone(&self.shared);
            let thread = spawn(&format!("{} watch", names[0]), move || shared.watch(limit))?;
            *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        }
        Ok(())
    }

    fn take(&self, request: Request, snapshot: Option<Arc<SequenceSnapshot>>) -> Result<Stream, EngineError> {
        self.rules.check(&request)?;
        let (id, events) = self.shared.submit(request, snapshot)?;
        Ok(Stream::new(id, Arc::clone(&self.shared), events))
    }

    fn shutdown(&self) -> Result<(), EngineError> {
        self.shared.close();
        if let Some(watch) = self.watch.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // It touches no device.
            let _ = watch.join();
        }
        let limit = self.options.timeout.unwrap_or(SHUTDOWN);
        let (threads, started) = (self.threads(), Instant::now());
        let waited_for = |i: usize, t: &JoinHandle<()>| !t.is_finished() && !self.shared.is_hung(i);
        while threads.iter().enumerate().any(|(i, t)| waited_for(i, t)) && started.elapsed() < limit {
            thread::sleep(LOOK);
        }
        let status = self.shared.status();
        let stuck = threads.iter().enumerate().filter(|(i, t)| waited_for(*i, t));
        let stuck: Vec<&str> = stuck.map(|(i, _)| &status.devices[i].name[..]).collect();
        // A thread ends without a panic: there is nothing to be told.
        threads.into_iter().filter(JoinHandle::is_finished).for_each(|thread| drop(thread.join()));
        if stuck.is_empty() { Ok(()) } else { Err(EngineError::Stuck { devices: stuck.join(", "), limit }) }
    }

    /// The device threads, for whoever shuts down first.
    fn threads(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut self.devices.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.shutdown() {
            tracing::warn!("{error}");
        }
    }
}
