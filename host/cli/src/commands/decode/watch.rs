//! What a decode on the simulator leaves beside its tokens: cycles, a timeline, and decisions to time it again.

use super::args::{Args, BackendKind};
use super::device;
use super::plan::Plan;
use crate::exit::usage;
use crate::interrupt;
use crate::progress::{Bar, Ui};
use anyhow::Result;
use fastcar_arch::config::AccelConfig;
use fastcar_host::backend::{Backend, GoldenBackend, SimBackend};
use fastcar_host::packed::PackedModel;
use fastcar_host::session::{ObservedRun, ProgramIndex, Session};
use fastcar_host::simulate::{Meter, Progress, Recorder, Recording, RecordingError, SessionReport};
use fastcar_sim::memory::MemorySpec;
use fastcar_sim::{Policy, SimOptions, Span, chrome_trace};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// The simulator's flags.
#[derive(clap::Args, Debug)]
pub struct SimArgs {
    /// How slots share the columns of the MAC array: static, compact or overlap [default: compact]
    #[arg(long, value_name = "NAME", help_heading = "Simulator")]
    drs: Option<Policy>,
    /// Memory behind the channels, by name [default: the preset's]
    #[arg(long, value_name = "NAME", value_parser = MemorySpec::named, help_heading = "Simulator")]
    memory: Option<MemorySpec>,
    /// Phase of the memory's refresh; 0 refreshes all channels at once [default: 0]
    #[arg(long, value_name = "N", help_heading = "Simulator")]
    memory_seed: Option<u64>,
    /// Write what the units did in the last run of the model's body, for ui.perfetto.dev
    #[arg(long, value_name = "FILE", help_heading = "Simulator")]
    trace: Option<PathBuf>,
    /// Write the decisions of every position to a file, to time the same decode without values
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    record: Option<PathBuf>,
}

impl SimArgs {
    /// Refuses flags that say nothing to the functional model.
    ///
    /// # Errors
    /// [`crate::exit::Usage`].
    pub fn check(&self, backend: BackendKind) -> Result<()> {
        let hardware = backend == BackendKind::Rtl;
        if let Some(policy) = self.drs.filter(|&policy| hardware && policy != Policy::Compact) {
            return usage(format!("--drs {policy}: the hardware's policy is compact; add --backend sim"));
        }
        let given = [
            ("--drs", self.drs.is_some() && !hardware),
            ("--memory", self.memory.is_some() && !hardware),
            ("--memory-seed", self.memory_seed.is_some() && !hardware),
            ("--trace", self.trace.is_some()),
        ];
        if let Some((flag, _)) = given.iter().find(|g| g.1 && backend != BackendKind::Sim) {
            return usage(format!("{flag} belongs to the simulator: add --backend sim"));
        }
        if self.record.is_some() && (hardware || backend == BackendKind::OpenCl) {
            return usage(
                "--record needs decisions, which a device does not give: add --backend golden or sim",
            );
        }
        Ok(())
    }

    /// The hardware's options.
    #[cfg(feature = "hardware")]
    pub fn hardware(&self) -> fastcar_host::backend::RtlOptions {
        let SimOptions { memory, memory_seed, .. } = self.options();
        fastcar_host::backend::RtlOptions { memory, memory_seed }
    }

    /// Where the decisions go.
    pub fn record(&self) -> Option<&PathBuf> {
        self.record.as_ref()
    }

    /// Where the timeline goes.
    pub fn trace(&self) -> Option<&PathBuf> {
        self.trace.as_ref()
    }

    /// The simulator's options.
    pub fn options(&self) -> SimOptions {
        SimOptions {
            policy: self.drs.unwrap_or_default(),
            memory: self.memory.clone(),
            memory_seed: self.memory_seed.unwrap_or(0),
            trace: self.trace.is_some(),
            ..SimOptions::default()
        }
    }

    /// The memory's name.
    ///
    /// # Errors
    /// The configuration has none of its own and none is given.
    pub fn memory_name(&self, config: &AccelConfig) -> Result<String> {
        match &self.memory {
            Some(spec) => Ok(spec.name().to_owned()),
            None => Ok(MemorySpec::for_config(config)?.name().to_owned()),
        }
    }
}

/// A machine for a watched decode, and the device where it is one.
///
/// # Errors
/// The device does not open.
pub fn backend(
    args: &Args,
    model: &PackedModel,
    ui: Ui,
) -> Result<(Box<dyn Backend>, Option<device::Opened>)> {
    let in_process: Box<dyn Backend> = match (args.backend, args.sim.record()) {
        (BackendKind::OpenCl, _) => {
            let (backend, opened) = device::open(&args.device.options(), model, ui)?;
            return Ok((backend, Some(opened)));
        }
        #[cfg(feature = "hardware")]
        (BackendKind::Rtl, _) => super::hardware::open(args, model.config(), ui)?,
        #[cfg(not(feature = "hardware"))]
        (BackendKind::Rtl, _) => return Err(crate::commands::generate::no_hardware()),
        (BackendKind::Sim, _) => Box::new(SimBackend::new(args.sim.options())),
        (BackendKind::Golden, Some(_)) => Box::new(GoldenBackend::recording()),
        (BackendKind::Golden, None) => Box::new(GoldenBackend::new()),
    };
    Ok((in_process, None))
}

/// Watches the runs of a session, as far as the flags ask for it.
#[derive(Default)]
pub struct Watch {
    meter: Option<Meter>,
    #[cfg(feature = "hardware")]
    counter: Option<super::hardware::Counter>,
    recorder: Option<Recorder>,
    /// The last run of a body program.
    last: Option<(usize, Vec<Span>)>,
    failed: Option<RecordingError>,
    options: Option<SimOptions>,
}

/// What a watch has seen.
#[derive(Default)]
pub struct Watched {
    /// Cycles.
    pub simulated: Option<SessionReport>,
    /// What the hardware has counted.
    #[cfg(feature = "hardware")]
    pub counted: Option<super::hardware::Counter>,
    /// Decisions.
    pub recording: Option<Recording>,
    /// Timeline.
    pub trace: Option<Value>,
}

impl Watch {
    /// For a session.
    ///
    /// # Errors
    /// The dense reference does not fit the machine.
    pub fn new(args: &Args, session: &Session, plan: &Plan) -> Result<Self> {
        let options = (args.backend == BackendKind::Sim).then(|| args.sim.options());
        let meter = |options: &SimOptions| Meter::new(session, options.clone(), plan.prompt_tokens());
        Ok(Self {
            meter: options.as_ref().map(meter).transpose()?,
            #[cfg(feature = "hardware")]
            counter: (args.backend == BackendKind::Rtl)
                .then(|| super::hardware::Counter::new(plan.prompt_tokens())),
            recorder: args.sim.record().map(|_| Recorder::new(session, plan.prompt_tokens())),
            options,
            ..Self::default()
        })
    }

    /// Takes a run down; what cannot be recorded is told by [`Watch::check`].
    pub fn observe(&mut self, run: &ObservedRun<'_>) {
        if let Some(meter) = &mut self.meter {
            meter.observe(run);
        }
        #[cfg(feature = "hardware")]
        if let Some(counter) = &mut self.counter {
            counter.observe(run);
        }
        if let Some(recorder) = self.recorder.as_mut().filter(|_| self.failed.is_none()) {
            self.failed = recorder.observe(run).err();
        }
        let traced = self.options.as_ref().is_some_and(|o| o.trace);
        if let (true, ProgramIndex::Body(program)) = (traced, run.program) {
            let timing = run.details.and_then(|d| d.timing.as_ref());
            self.last = timing.map(|t| (program, t.spans.clone()));
        }
    }

    /// Stops a decode whose decisions cannot be recorded.
    ///
    /// # Errors
    /// [`RecordingError`].
    pub fn check(&mut self) -> Result<()> {
        self.failed.take().map_or(Ok(()), |error| Err(error.into()))
    }

    /// Simulates the dense reference, and gives everything.
    ///
    /// # Errors
    /// The simulation fails, or the user interrupts.
    pub fn finish(self, session: &Session, ui: Ui) -> Result<Watched> {
        let config = session.model().config();
        let title = format!("fastcar {}", config.name());
        let trace = self.last.map(|(program, spans)| {
            chrome_trace(&title, config.clock(), &session.compiled().body[program], &spans)
        });
        let simulated = self.meter.map(|meter| {
            let steps =
                Steps { bar: ui.bar("dense reference", meter.dense_runs(), "runs"), done: AtomicU64::new(0) };
            let report = meter.finish(&steps);
            interrupt::check(|| "while timing the dense reference".to_owned())?;
            Ok::<_, anyhow::Error>(report?)
        });
        Ok(Watched {
            simulated: simulated.transpose()?,
            #[cfg(feature = "hardware")]
            counted: self.counter,
            recording: self.recorder.map(Recorder::finish),
            trace,
        })
    }
}

/// Progress of the dense reference.
struct Steps {
    bar: Bar,
    done: AtomicU64,
}

impl Progress for Steps {
    fn step(&self, _: u64) {
        self.bar.set(self.done.fetch_add(1, Ordering::Relaxed) + 1);
    }

    fn cancelled(&self) -> bool {
        interrupt::requested()
    }
}
