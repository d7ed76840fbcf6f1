//! Devices: memory, the image that is loaded, and the machine that it makes.

use crate::claim::Claim;
use crate::engine::{Nanos, Outcome, Time, Work};
use crate::link::Link;
use crate::memory::Banks;
use crate::program::Image;
use crate::refusal::{Answer, Refusal, log};
use crate::run::{self, Launch, Machine, RunError};
use crate::settings::{Failure, FailureKind, RunMode, Settings};
use fastcar_arch::config::AccelConfig;
use opencl_sys as cl;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// An image on a device, for as long as this is there.
pub(crate) struct Loading {
    pub(crate) image: Arc<Image>,
    /// Where other processes are to know of it.
    _claim: Option<Claim>,
}

/// What is loaded.
struct Loaded {
    loading: Weak<Loading>,
    banks: Arc<Banks>,
    machine: Option<Arc<Mutex<Machine>>>,
    runs: u64,
}

/// A simulated card.
pub(crate) struct Device {
    /// Number in the platform: its lane in the engine.
    pub(crate) index: usize,
    /// What it is without an image.
    pub(crate) preset: AccelConfig,
    pub(crate) link: Link,
    mode: RunMode,
    failure: Option<Failure>,
    lock: Option<PathBuf>,
    lost: AtomicBool,
    /// Transfers and runs so far.
    commands: AtomicU64,
    loaded: Mutex<Loaded>,
}

/// Banks as large as a configuration's channels.
fn banks_of(config: &AccelConfig) -> Arc<Banks> {
    let channels = config.channels() as usize;
    Arc::new(Banks::new(std::iter::repeat_n(config.channel_capacity().get(), channels)))
}

impl Device {
    /// Device `index` of a platform.
    pub(crate) fn new(index: usize, preset: AccelConfig, settings: &Settings) -> Self {
        let loaded = Loaded { loading: Weak::new(), banks: banks_of(&preset), machine: None, runs: 0 };
        Self {
            index,
            preset,
            link: settings.link.clone(),
            mode: settings.mode,
            failure: settings.failure.filter(|f| f.device.is_none_or(|d| d == index)),
            lock: settings.lock.clone(),
            lost: AtomicBool::new(false),
            commands: AtomicU64::new(0),
            loaded: Mutex::new(loaded),
        }
    }

    fn loaded(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Name.
    pub(crate) fn name(&self) -> String {
        format!("{} (simulated)", self.preset.name())
    }

    /// Bytes of memory on the card.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.preset.channel_capacity().get() * u64::from(self.preset.channels())
    }

    /// The banks: those of the image, or of the preset before one is loaded.
    pub(crate) fn banks(&self) -> Arc<Banks> {
        self.loaded().banks.clone()
    }

    /// The image that is loaded.
    pub(crate) fn image(&self) -> Option<Arc<Image>> {
        self.loaded().loading.upgrade().map(|loading| loading.image.clone())
    }

    /// Loads an image; the one that is loaded already, if it is the same. A card keeps its image while a program of it
    /// is alive, here or in another process, so another one is refused.
    pub(crate) fn load(&self, image: Arc<Image>) -> Answer<Arc<Loading>> {
        let mut loaded = self.loaded();
        let (found, uuid) = (&image.info.config, image.info.uuid);
        if let Some(current) = loaded.loading.upgrade() {
            let held = &current.image;
            if held.bytes == image.bytes {
                return Ok(current);
            }
            let (name, new) = (held.info.config.name(), found.name());
            let held = held.info.uuid;
            let text = format!(
                "device {} holds image {held} ({name}) while a program of it is alive; image {uuid} ({new}) is another one: \
                 release that program first, or use another device or process",
                self.index
            );
            return Err(Refusal::new(cl::CL_OUT_OF_RESOURCES, text));
        }
        let needed = u128::from(found.channel_capacity().get()) * u128::from(found.channels());
        if needed > u128::from(self.memory_bytes()) {
            let (name, card) = (found.name(), self.memory_bytes());
            let text = format!("image {uuid} ({name}) needs {needed} bytes of memory, the card has {card}");
            return Err(Refusal::new(cl::CL_INVALID_BINARY, text));
        }
        let machine =
            Machine::new(found, self.mode).map_err(|e| Refusal::new(cl::CL_INVALID_BINARY, e.to_string()))?;
        let name = format!("{uuid} ({})", found.name());
        let claim = self.lock.as_ref().map(|folder| Claim::new(folder, self.index, &name)).transpose()?;
        let banks = banks_of(found);
        if !banks.capacities().eq(loaded.banks.capacities()) {
            loaded.banks = banks;
        }
        let loading = Arc::new(Loading { image, _claim: claim });
        loaded.loading = Arc::downgrade(&loading);
        loaded.machine = Some(Arc::new(Mutex::new(machine)));
        Ok(loading)
    }

    /// Bytes of memory that are free.
    pub(crate) fn free_bytes(&self) -> u64 {
        let banks = self.banks();
        banks.capacities().sum::<u64>().saturating_sub(banks.used())
    }

    /// Whether the card answers.
    pub(crate) fn is_available(&self) -> bool {
        !self.lost.load(Ordering::Relaxed)
    }

    /// Work that the card does while it is there: a transfer that takes the time given.
    pub(crate) fn transfer(self: &Arc<Self>, time: Time, copy: impl FnOnce() + Send + 'static) -> Work {
        let device = self.clone();
        Box::new(move || {
            device.guarded(|| {
                copy();
                Ok(Some(time))
            })
        })
    }

    /// A kernel run. What goes wrong is reported in words, too.
    pub(crate) fn launch(self: &Arc<Self>, launch: Launch, report: impl Fn(&str) + Send + 'static) -> Work {
        let device = self.clone();
        Box::new(move || {
            device.guarded(|| {
                let result = device.run(&launch);
                if let Err(error) = &result {
                    report(&error.to_string());
                }
                result.map(|time| time.map(Time::from))
            })
        })
    }

    fn run(&self, launch: &Launch) -> Result<Option<Nanos>, RunError> {
        let (machine, number) = {
            let mut loaded = self.loaded();
            loaded.runs += 1;
            (loaded.machine.clone(), loaded.runs)
        };
        let failure = self.failure.filter(|f| f.number == number).map(|f| f.kind);
        if failure == Some(FailureKind::Lost) {
            self.lost.store(true, Ordering::Relaxed);
        }
        let Some(machine) = machine else {
            return Err(RunError::Lost { cause: "no image is loaded" });
        };
        let mut machine = machine.lock().unwrap_or_else(PoisonError::into_inner);
        run::execute(&mut machine, self.mode, failure, launch)
    }

    /// Does something unless the card is lost or has no memory for it; a panic is a failure, too.
    fn guarded(&self, work: impl FnOnce() -> Result<Option<Time>, RunError>) -> Outcome {
        let number = self.commands.fetch_add(1, Ordering::Relaxed) + 1;
        let full = self.failure.is_some_and(|f| f.kind == FailureKind::Memory && f.number == number);
        let result = match self.is_available() {
            false => Err(RunError::Lost { cause: "an earlier run has ended it" }),
            true if full => Err(RunError::Memory { number }),
            true => catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(RunError::Broken)),
        };
        match result {
            Ok(Some(time)) => Outcome::Done(time),
            Ok(None) => Outcome::Never,
            Err(error) => {
                log(|| format!("device {}: {error}", self.index));
                match error {
                    RunError::Lost { .. } => Outcome::Failed(cl::CL_DEVICE_NOT_AVAILABLE),
                    RunError::Memory { .. } => Outcome::Failed(cl::CL_MEM_OBJECT_ALLOCATION_FAILURE),
                    _ => Outcome::Failed(cl::CL_OUT_OF_RESOURCES),
                }
            }
        }
    }
}
