//! Devices: memory, the image that is loaded, and the machine that it makes.

use crate::engine::{Nanos, Outcome, Work};
use crate::link::Link;
use crate::memory::Banks;
use crate::program::Image;
use crate::refusal::{Answer, Refusal, log};
use crate::run::{self, Launch, Machine, RunError};
use crate::settings::{Failure, FailureKind, RunMode, Settings};
use fastcar_arch::config::AccelConfig;
use opencl_sys as cl;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// What is loaded.
struct Loaded {
    image: Weak<Image>,
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
    lost: AtomicBool,
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
        let loaded = Loaded { image: Weak::new(), banks: banks_of(&preset), machine: None, runs: 0 };
        Self {
            index,
            preset,
            link: settings.link.clone(),
            mode: settings.mode,
            failure: settings.failure,
            lost: AtomicBool::new(false),
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
        self.loaded().image.upgrade()
    }

    /// Loads an image; the one that is loaded already, if it is the same. A card keeps its image while a program of it
    /// is alive, so another one is refused.
    pub(crate) fn load(&self, image: Arc<Image>) -> Answer<Arc<Image>> {
        let mut loaded = self.loaded();
        let (found, uuid) = (&image.info.config, image.info.uuid);
        if let Some(current) = loaded.image.upgrade() {
            if current.bytes == image.bytes {
                return Ok(current);
            }
            let (name, new) = (current.info.config.name(), found.name());
            let held = current.info.uuid;
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
        let machine = Machine::new(found).map_err(|e| Refusal::new(cl::CL_INVALID_BINARY, e.to_string()))?;
        let banks = banks_of(found);
        if !banks.capacities().eq(loaded.banks.capacities()) {
            loaded.banks = banks;
        }
        loaded.image = Arc::downgrade(&image);
        loaded.machine = Some(Arc::new(Mutex::new(machine)));
        Ok(image)
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
    pub(crate) fn transfer(self: &Arc<Self>, time: Nanos, copy: impl FnOnce() + Send + 'static) -> Work {
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
                result
            })
        })
    }

    fn run(&self, launch: &Launch) -> Result<Option<Nanos>, RunError> {
        let (machine, number) = {
            let mut loaded = self.loaded();
            loaded.runs += 1;
            (loaded.machine.clone(), loaded.runs)
        };
        let failure = self.failure.filter(|f| f.run == number).map(|f| f.kind);
        if failure == Some(FailureKind::Lost) {
            self.lost.store(true, Ordering::Relaxed);
        }
        let Some(machine) = machine else {
            return Err(RunError::Lost { cause: "no image is loaded" });
        };
        let mut machine = machine.lock().unwrap_or_else(PoisonError::into_inner);
        run::execute(&mut machine, self.mode, failure, launch)
    }

    /// Does something unless the card is lost; a panic is a failure, too.
    fn guarded(&self, work: impl FnOnce() -> Result<Option<Nanos>, RunError>) -> Outcome {
        let result = match self.is_available() {
            true => catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(RunError::Broken)),
            false => Err(RunError::Lost { cause: "an earlier run has ended it" }),
        };
        match result {
            Ok(Some(time)) => Outcome::Done(time),
            Ok(None) => Outcome::Never,
            Err(error) => {
                log(|| format!("device {}: {error}", self.index));
                match error {
                    RunError::Lost { .. } => Outcome::Failed(cl::CL_DEVICE_NOT_AVAILABLE),
                    _ => Outcome::Failed(cl::CL_OUT_OF_RESOURCES),
                }
            }
        }
    }
}
