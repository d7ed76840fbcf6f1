//! What clients, device threads and the watch share: the queue, the running jobs, and how the devices stand.

use super::error::{DeviceFault, EngineError};
use super::status::{Counts, DeviceStatus, Status};
use crate::session::{DecodeStats, Generated, Request, SequenceId, SequenceSnapshot};
use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Sent to a stream.
pub(super) enum Event {
    /// The next position.
    Position(Generated),
    /// All positions were made.
    Finished(DecodeStats),
    /// Someone cancelled it.
    Cancelled,
    /// It cannot go on.
    Failed(EngineError),
}

/// A request on its way.
struct Job {
    id: u64,
    request: Request,
    /// Where it goes on; from its request where there is none.
    snapshot: Option<Arc<SequenceSnapshot>>,
    /// Positions that the client has been given, or had from the snapshot that it came with.
    delivered: u32,
    events: Sender<Event>,
}

impl Job {
    /// The client may be gone; nobody is then there to be told.
    fn send(&self, event: Event) {
        let _ = self.events.send(event);
    }
}

/// A job on a device.
struct Running {
    job: Job,
    device: usize,
    cancelled: bool,
}

/// A device as the others see it.
struct Device {
    name: String,
    lost: Option<Arc<DeviceFault>>,
    /// Nothing runs on it, and its thread sleeps, or has yet to begin.
    parked: bool,
    /// Since when it has been at its present turn.
    busy_since: Option<Instant>,
}

struct State {
    queue: VecDeque<Job>,
    running: BTreeMap<u64, Running>,
    devices: Vec<Device>,
    counts: Counts,
    next_id: u64,
    closed: bool,
    /// The device that was lost last.
    last_lost: Option<usize>,
    /// The watch sleeps without a deadline.
    unwatched: bool,
}

/// What a sequence begins with.
pub(super) enum Start {
    /// Its prompt.
    Request(Request),
    /// Where it was.
    Snapshot(Arc<SequenceSnapshot>),
}

/// What a device thread is to do next.
pub(super) enum Turn {
    /// Free the slots of these.
    Cancel(Vec<u64>),
    /// Take one in.
    Start(u64, Start),
    /// Advance all.
    Step,
    /// End: the engine is closed, or the device is lost.
    Exit,
}

/// What an engine allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Requests that may wait.
    pub(super) queue: usize,
    /// Slots of each device.
    pub(super) slots: usize,
    /// Whether sequences of a lost device go on elsewhere.
    pub(super) resume: bool,
}

/// The shared state under its lock.
pub(super) struct Shared {
    limits: Limits,
    state: Mutex<State>,
    /// There is something in the queue, or the engine is closed.
    work: Condvar,
    /// A device is at work again, or the engine is closed.
    watch: Condvar,
}

impl Shared {
    pub(super) fn new(limits: Limits, names: Vec<String>) -> Self {
        let device = |name| Device { name, lost: None, parked: true, busy_since: None };
        let state = State {
            queue: VecDeque::new(),
            running: BTreeMap::new(),
            devices: names.into_iter().map(device).collect(),
            counts: Counts::default(),
            next_id: 0,
            closed: false,
            last_lost: None,
            unwatched: false,
        };
        Self { limits, state: Mutex::new(state), work: Condvar::new(), watch: Condvar::new() }
    }

    /// No thread panics with the lock in its hands; should one, the state is still whole between statements.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request in, or refuses it.
    pub(super) fn submit(
        &self,
        request: Request,
        snapshot: Option<Arc<SequenceSnapshot>>,
    ) -> Result<(u64, Receiver<Event>), EngineError> {
        let mut state = self.lock();
        state.check_open()?;
        let waiting = state.waiting(&self.limits, request.rows());
        if waiting > self.limits.queue {
            let (queue, slots) = (self.limits.queue, state.live() * self.limits.slots);
            return Err(EngineError::Busy { slots, waiting: waiting - 1, queue });
        }
        let id = state.next_id;
        state.next_id += 1;
        state.counts.submitted += 1;
        let (events, receiver) = channel();
        let delivered = snapshot.as_ref().map_or(0, |s| s.tokens().len() as u32);
        state.queue.push_back(Job { id, request, snapshot, delivered, events });
        self.work.notify_all();
        Ok((id, receiver))
    }

    /// Cancels a job: at once where it waits, before the next step where it runs.
    pub(super) fn cancel(&self, id: u64) {
        let mut state = self.lock();
        if let Some(running) = state.running.get_mut(&id) {
            running.cancelled = true;
        } else if let Some(at) = state.queue.iter().position(|job| job.id == id) {
            let job = state.queue.remove(at);
            job.iter().for_each(|job| job.send(Event::Cancelled));
            state.counts.cancelled += 1;
            // Whoever stood behind it may fit where it did not.
            self.work.notify_all();
        }
    }

    pub(super) fn snapshot(&self, id: u64) -> Option<Arc<SequenceSnapshot>> {
        let state = self.lock();
        let running = state.running.get(&id).map(|r| &r.job);
        running.or_else(|| state.queue.iter().find(|job| job.id == id))?.snapshot.clone()
    }

    pub(super) fn status(&self) -> Status {
        let state = self.lock();
        let device = |(i, device): (usize, &Device)| DeviceStatus {
            name: device.name.clone(),
            lost: device.lost.clone(),
            used: state.used(i),
            slots: self.limits.slots,
        };
        Status {
            devices: state.devices.iter().enumerate().map(device).collect(),
            queued: state.queue.len(),
            counts: state.counts,
        }
    }

    /// Ends everything.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let running = std::mem::take(&mut state.running).into_values().map(|r| r.job);
        let ended: Vec<Job> = running.chain(std::mem::take(&mut state.queue)).collect();
        ended.iter().for_each(|job| job.send(Event::Cancelled));
        state.counts.cancelled += ended.len() as u64;
        self.work.notify_all();
        self.watch.notify_all();
    }

    /// Whether a device was given up while its thread was at a turn, so that nobody knows when that ends.
    pub(super) fn is_hung(&self, device: usize) -> bool {
        matches!(self.lock().devices[device].lost.as_deref(), Some(DeviceFault::Hung { .. }))
    }

    /// What a device thread does next; sleeps until there is something. `idle` says that it has no sequence, `admitted`
    /// that it has taken one in since its last step, `fits` whether it has room for a request.
    pub(super) fn next_turn(
        &self,
        device: usize,
        idle: bool,
        admitted: bool,
        fits: impl Fn(&Request) -> bool,
    ) -> Turn {
        let mut state = self.lock();
        state.devices[device].busy_since = None;
        let turn = loop {
            if state.closed || state.devices[device].lost.is_some() {
                break Turn::Exit;
            }
            let cancelled = state.take_cancelled(device);
            if !cancelled.is_empty() {
                break Turn::Cancel(cancelled);
            }
            if let Some((id, start)) = state.take_head(device, admitted, &fits) {
                break Turn::Start(id, start);
            }
            if !idle {
                break Turn::Step;
            }
            state.devices[device].parked = true;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        state.devices[device].parked = false;
        state.devices[device].busy_since = Some(Instant::now());
        if std::mem::take(&mut state.unwatched) {
            self.watch.notify_all();
        }
        turn
    }

    /// Gives clients what a step made, and ends what it finished. What no longer runs there is left out.
    pub(super) fn deliver(&self, device: usize, made: Vec<(u64, Generated)>, ended: Vec<(u64, DecodeStats)>) {
        let mut state = self.lock();
        for (id, generated) in made {
            let Some(job) = state.job(id, device) else { continue };
            // A resumed sequence makes again what its client has had.
            if generated.position >= job.delivered {
                job.delivered = generated.position + 1;
                job.send(Event::Position(Generated { sequence: SequenceId(id), ..generated }));
            }
        }
        for (id, stats) in ended {
            if state.job(id, device).is_none() {
                continue;
            }
            if let Some(running) = state.running.remove(&id) {
                running.job.send(Event::Finished(stats));
                state.counts.finished += 1;
            }
        }
    }

    /// Keeps a snapshot for the case that the device fails.
    pub(super) fn keep(&self, device: usize, id: u64, snapshot: SequenceSnapshot) {
        if let Some(job) = self.lock().job(id, device) {
            job.snapshot = Some(Arc::new(snapshot));
        }
    }

    /// Ends one job of a device that is well.
    pub(super) fn fail(&self, device: usize, id: u64, error: EngineError) {
        let mut state = self.lock();
        if state.job(id, device).is_none() {
            return;
        }
        if let Some(running) = state.running.remove(&id) {
            state.end(&running.job, error);
        }
    }

    /// Gives a device up: its jobs go back to the front of the queue, or end.
    pub(super) fn retire(&self, device: usize, fault: DeviceFault) {
        let mut state = self.lock();
        if state.devices[device].lost.is_some() {
            return;
        }
        state.retire(device, Arc::new(fault), self.limits.resume);
        self.work.notify_all();
    }

    /// Gives up devices that take longer than this over a turn, until the engine is closed.
    pub(super) fn watch(&self, limit: Duration) {
        let mut state = self.lock();
        while !state.closed {
            let now = Instant::now();
            let live = |d: &(usize, &Device)| d.1.lost.is_none();
            let due = |(i, d): (usize, &Device)| d.busy_since.map(|since| (since + limit, i));
            match state.devices.iter().enumerate().filter(live).filter_map(due).min() {
                None => {
                    state.unwatched = true;
                    state = self.watch.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                Some((due, device)) if due <= now => {
                    state.retire(device, Arc::new(DeviceFault::Hung { limit }), self.limits.resume);
                    self.work.notify_all();
                }
                Some((due, _)) => {
                    let waited = self.watch.wait_timeout(state, due - now);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }
}

impl State {
    fn check_open(&self) -> Result<(), EngineError> {
        if self.closed {
            return Err(EngineError::Closed);
        }
        if self.live() == 0 {
            return Err(self.nothing_left());
        }
        Ok(())
    }

    fn live(&self) -> usize {
        self.devices.iter().filter(|d| d.lost.is_none()).count()
    }

    /// Slots that are taken on a device.
    fn used(&self, device: usize) -> usize {
        self.running.values().filter(|r| r.device == device).map(|r| r.job.request.rows()).sum()
    }

    /// Jobs that would wait if one of `rows` came: those for which slots are free only have not been seen yet.
    fn waiting(&self, limits: &Limits, rows: usize) -> usize {
        let live = (0..self.devices.len()).filter(|&d| self.devices[d].lost.is_none());
        let mut free: usize = live.map(|d| limits.slots - self.used(d)).sum();
        let jobs = self.queue.iter().map(|job| job.request.rows()).chain([rows]);
        let fits = |rows: &usize| {
            let fits = *rows <= free;
            free = free.saturating_sub(*rows);
            fits
        };
        jobs.skip_while(fits).count()
    }

    /// A job, if it runs on a device.
    fn job(&mut self, id: u64, device: usize) -> Option<&mut Job> {
        self.running.get_mut(&id).filter(|r| r.device == device).map(|r| &mut r.job)
    }

    fn take_cancelled(&mut self, device: usize) -> Vec<u64> {
        let cancelled = self.running.iter().filter(|(_, r)| r.cancelled && r.device == device);
        let ids: Vec<u64> = cancelled.map(|(&id, _)| id).collect();
        for id in &ids {
            if let Some(running) = self.running.remove(id) {
                running.job.send(Event::Cancelled);
                self.counts.cancelled += 1;
            }
        }
        ids
    }

    /// The head of the queue, if this device is to have it. Nobody overtakes: where the head fits nowhere, all wait.
    fn take_head(
        &mut self,
        device: usize,
        admitted: bool,
        fits: impl Fn(&Request) -> bool,
    ) -> Option<(u64, Start)> {
        if !fits(&self.queue.front()?.request) || self.is_for_another(device, admitted) {
            return None;
        }
        let job = self.queue.pop_front()?;
        let start = match &job.snapshot {
            Some(snapshot) => Start::Snapshot(Arc::clone(snapshot)),
            None => Start::Request(job.request.clone()),
        };
        let id = job.id;
        self.running.insert(id, Running { job, device, cancelled: false });
        Some((id, start))
    }

    /// Whether a device with fewer slots taken should have the head. One that sleeps has been woken for it. One at work
    /// comes by after its step, unless it hangs; so that this stops nobody, a device takes in one a step all the same.
    fn is_for_another(&self, device: usize, admitted: bool) -> bool {
        let used = self.used(device);
        let others = self.devices.iter().enumerate().filter(|(i, d)| *i != device && d.lost.is_none());
        others.into_iter().any(|(i, d)| (d.parked || admitted) && self.used(i) < used)
    }

    fn nothing_left(&self) -> EngineError {
        let lost = self.last_lost.map(|device| &self.devices[device]);
        match lost.and_then(|d| Some((d.name.clone(), d.lost.clone()?))) {
            Some((device, source)) => EngineError::NoDevice { devices: self.devices.len(), device, source },
            None => EngineError::Empty,
        }
    }

    fn end(&mut self, job: &Job, error: EngineError) {
        job.send(Event::Failed(error));
        self.counts.failed += 1;
    }

    fn retire(&mut self, device: usize, fault: Arc<DeviceFault>, resume: bool) {
        self.devices[device].lost = Some(Arc::clone(&fault));
        self.last_lost = Some(device);
        self.take_cancelled(device);
        let ids: Vec<u64> =
            self.running.iter().filter(|(_, r)| r.device == device).map(|(&id, _)| id).collect();
        let orphans: Vec<Job> = ids.iter().filter_map(|id| self.running.remove(id)).map(|r| r.job).collect();
        if self.live() == 0 {
            let error = self.nothing_left();
            let waiting = std::mem::take(&mut self.queue);
            orphans.iter().chain(&waiting).for_each(|job| self.end(job, error.clone()));
        } else if resume {
            self.counts.resumed += orphans.len() as u64;
            orphans.into_iter().rev().for_each(|job| self.queue.push_front(job));
        } else {
            for job in orphans {
                let error = EngineError::Device {
                    device: self.devices[device].name.clone(),
                    position: job.delivered,
                    source: Arc::clone(&fault),
                };
                self.end(&job, error);
            }
        }
    }
}
