//! The functional model as a device that fails on command.

use fastcar_arch::program::Program;
use fastcar_arch::step::{StepReport, StepTable};
use fastcar_arch::units::Bytes;
use fastcar_host::backend::{Backend, BackendError, GoldenBackend};
use fastcar_host::compile::Part;
use fastcar_host::engine::EngineDevice;
use fastcar_host::packed::PackedModel;
use std::sync::{Arc, Condvar, Mutex};

/// How a device fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// With an error.
    Error,
    /// With a panic.
    Panic,
    /// It does not come back until [`Control::release`].
    Hang,
}

/// All ways.
pub const FAULTS: [Fault; 3] = [Fault::Error, Fault::Panic, Fault::Hang];

#[derive(Default)]
struct State {
    /// Runs begun.
    runs: u64,
    waits: bool,
    /// Runs that may still begin; any number where it is not set.
    allowed: Option<u64>,
    /// The run that fails, counted from 1, and how.
    fault: Option<(u64, Fault)>,
    released: bool,
    writes_fail: bool,
}

/// What a device does, from outside.
#[derive(Default)]
pub struct Control {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, thiserror::Error)]
#[error("the power is off")]
struct PowerOff;

impl Control {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    /// Runs begun so far.
    pub fn runs(&self) -> u64 {
        self.state.lock().unwrap().runs
    }

    /// From here on a run begins only when it is allowed.
    pub fn hold(&self) {
        self.change(|s| s.allowed = Some(0));
    }

    /// Lets some further runs begin.
    pub fn allow(&self, runs: u64) {
        self.change(|s| s.allowed = Some(s.allowed.unwrap_or(0) + runs));
    }

    /// Lets all runs begin.
    pub fn go(&self) {
        self.change(|s| s.allowed = None);
    }

    /// Lets a run fail, counted from 1 for the first one of all.
    pub fn fail_at(&self, run: u64, fault: Fault) {
        self.change(|s| s.fault = Some((run, fault)));
    }

    /// Lets every write to the memory fail.
    pub fn fail_writes(&self) {
        self.change(|s| s.writes_fail = true);
    }

    /// Whether a run has begun that is not allowed yet.
    pub fn waits(&self) -> bool {
        let state = self.state.lock().unwrap();
        state.waits && state.allowed == Some(0)
    }

    /// Ends a hang.
    pub fn release(&self) {
        self.change(|s| s.released = true);
    }

    /// Waits for leave to begin a run, and fails where it is to fail.
    fn begin(&self) -> Result<(), BackendError> {
        let mut state = self.state.lock().unwrap();
        state.runs += 1;
        state.waits = true;
        while state.allowed == Some(0) && !state.released {
            state = self.changed.wait(state).unwrap();
        }
        state.waits = false;
        state.allowed = state.allowed.map(|n| n.saturating_sub(1));
        let fault = state.fault.filter(|(run, _)| *run == state.runs).map(|f| f.1);
        while fault == Some(Fault::Hang) && !state.released {
            state = self.changed.wait(state).unwrap();
        }
        drop(state);
        match fault {
            Some(Fault::Panic) => panic!("the driver has a bug"),
            Some(_) => Err(BackendError::new("test", PowerOff)),
            None => Ok(()),
        }
    }
}

/// A device of the test.
struct Controlled {
    golden: GoldenBackend,
    control: Arc<Control>,
}

/// A device of a name, and what controls it.
pub fn device(name: &str) -> (EngineDevice, Arc<Control>) {
    let control = Arc::new(Control::default());
    let backend = Controlled { golden: GoldenBackend::new(), control: Arc::clone(&control) };
    (EngineDevice::new(name, Box::new(backend)), control)
}

impl Drop for Controlled {
    fn drop(&mut self) {
        // The memory of a panicking driver is no place to tidy up; closing must survive that too.
        let state = self.control.state.lock().unwrap();
        let panics = matches!(state.fault, Some((run, Fault::Panic)) if run <= state.runs);
        drop(state);
        assert!(!panics || std::thread::panicking(), "the driver has a bug in its end, too");
    }
}

impl Backend for Controlled {
    fn name(&self) -> &'static str {
        "test"
    }

    fn load_parts(
        &mut self,
        model: &Arc<PackedModel>,
        parts: &[Part],
        memory: Bytes,
    ) -> Result<(), BackendError> {
        self.golden.load_parts(model, parts, memory)
    }

    fn run(&mut self, program: &Program, table: &StepTable) -> Result<StepReport, BackendError> {
        self.control.begin()?;
        self.golden.run(program, table)
    }

    fn read_record(&self, addr: u64, out: &mut [u8]) -> Result<(), BackendError> {
        self.golden.read_record(addr, out)
    }

    fn read_channel(&self, channel: usize, start: u64, out: &mut [u8]) -> Result<(), BackendError> {
        self.golden.read_channel(channel, start, out)
    }

    fn write_channel(&mut self, channel: usize, start: u64, bytes: &[u8]) -> Result<(), BackendError> {
        if self.control.state.lock().unwrap().writes_fail {
            return Err(BackendError::new("test", PowerOff));
        }
        self.golden.write_channel(channel, start, bytes)
    }
}
