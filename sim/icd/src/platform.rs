//! The platform: what the environment asks for, made once in a process.

use crate::device::Device;
use crate::engine::Engine;
use crate::settings::{Settings, SettingsError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Name of the platform under its own name.
const NAME: &str = "fastcar simulator";
/// Vendor under its own name.
const VENDOR: &str = "fastcar";
/// What the vendor's runtime calls itself and its vendor.
const XRT_NAME: &str = "Xilinx";

/// All devices, and the engine that works for them.
pub(crate) struct Platform {
    pub(crate) devices: Vec<Arc<Device>>,
    pub(crate) engine: Arc<Engine>,
    as_xrt: bool,
    /// Per device: whether its worker thread runs.
    workers: Mutex<Vec<bool>>,
}

impl Platform {
    fn new(settings: &Settings) -> Self {
        let device = |(index, preset)| Arc::new(Device::new(index, preset, settings));
        let devices: Vec<_> = settings.devices.iter().cloned().enumerate().map(device).collect();
        Self {
            engine: Arc::new(Engine::new(devices.len())),
            workers: Mutex::new(vec![false; devices.len()]),
            as_xrt: settings.as_xrt,
            devices,
        }
    }

    /// The platform of this process.
    ///
    /// # Errors
    /// The environment makes no sense.
    pub(crate) fn get() -> Result<&'static Self, &'static SettingsError> {
        static PLATFORM: OnceLock<Result<Platform, SettingsError>> = OnceLock::new();
        let make = || Settings::read(|name| std::env::var(name).ok()).map(|s| Self::new(&s));
        let platform = PLATFORM.get_or_init(|| {
            // Said once and always: the caller can only be told that there is no platform.
            make().inspect_err(|error| eprintln!("fastcar simulator: {error}"))
        });
        platform.as_ref()
    }

    /// The engine, with a worker for the device: workers begin with the first queue.
    pub(crate) fn engine_for(&self, device: &Device) -> std::io::Result<Arc<Engine>> {
        let index = device.index;
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        if !workers[index] {
            let engine = self.engine.clone();
            let worker = std::thread::Builder::new().name(format!("fastcar-sim-{index}"));
            worker.spawn(move || engine.work(index))?;
            workers[index] = true;
        }
        Ok(self.engine.clone())
    }

    pub(crate) fn name(&self) -> &'static str {
        if self.as_xrt { XRT_NAME } else { NAME }
    }

    pub(crate) fn vendor(&self) -> &'static str {
        if self.as_xrt { XRT_NAME } else { VENDOR }
    }

    /// As the vendor's runtime does, or what is implemented.
    pub(crate) fn version(&self) -> &'static str {
        if self.as_xrt { "OpenCL 1.0" } else { "OpenCL 1.2 fastcar" }
    }

    /// There is no compiler, so the profile is the embedded one.
    pub(crate) fn profile(&self) -> &'static str {
        "EMBEDDED_PROFILE"
    }
}
