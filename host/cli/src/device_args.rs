//! The flags that choose an OpenCL device.

use crate::exit::usage;
use anyhow::Result;
use fastcar_arch::config::AccelConfig;
use fastcar_host::opencl::platform::LINKED_IN;
use fastcar_host::opencl::{DeviceOptions, library};
use std::path::PathBuf;
use std::time::Duration;

/// Stands in for `--device`.
const DEVICE_VARIABLE: &str = "FASTCAR_DEVICE";

/// The OpenCL device, and what it is configured with.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct DeviceArgs {
    /// OpenCL device: sim (the simulator in this program), a number of `fastcar devices`, PLATFORM:NUMBER, or part of
    /// a name [env: FASTCAR_DEVICE] [default: sim, or the device of the preset behind OPENCL_DYLIB_PATH]
    #[arg(long, value_name = "DEVICE", help_heading = "Device")]
    device: Option<String>,
    /// Image of the accelerator to load on the device [default: none, for simulated devices]
    #[arg(long, value_name = "FILE", help_heading = "Device")]
    xclbin: Option<PathBuf>,
    /// Take a device for hung after so many seconds without an answer [default: by the bytes that a command moves]
    #[arg(long, value_name = "SECONDS", help_heading = "Device", value_parser = seconds)]
    #[arg(allow_hyphen_values = true)]
    timeout: Option<Duration>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|s| *s > 0.0);
    let duration = seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
    duration.ok_or_else(|| "must be a positive number of seconds".to_owned())
}

impl DeviceArgs {
    /// Refuses flags that say nothing to another backend.
    ///
    /// # Errors
    /// [`crate::exit::Usage`].
    pub fn refuse(&self) -> Result<()> {
        let given = [
            ("--device", self.device.is_some()),
            ("--xclbin", self.xclbin.is_some()),
            ("--timeout", self.timeout.is_some()),
        ];
        match given.iter().find(|g| g.1) {
            Some((flag, _)) => usage(format!("{flag} belongs to OpenCL devices: add --backend opencl")),
            None => Ok(()),
        }
    }

    /// The device asked for, by flag or environment.
    fn asked(&self) -> Option<String> {
        self.device.clone().or_else(|| std::env::var(DEVICE_VARIABLE).ok()).filter(|d| !d.is_empty())
    }

    /// Settles which OpenCL library is used; before anything starts a thread.
    ///
    /// # Errors
    /// Threads run already.
    pub fn settle(&self) -> Result<()> {
        let linked_in = match self.asked() {
            Some(device) => device == LINKED_IN,
            None => !library::is_chosen(),
        };
        if linked_in {
            // The number of calls kept is of no interest; that they are is.
            let _ = fastcar_icd::link();
            library::use_linked_in(&AccelConfig::PRESETS.join(","))?;
        }
        Ok(())
    }

    /// The device's options.
    pub fn options(&self) -> DeviceOptions {
        DeviceOptions { device: self.asked(), image: self.xclbin.clone(), timeout: self.timeout }
    }

    /// The image's file.
    pub fn image(&self) -> Option<&PathBuf> {
        self.xclbin.as_ref()
    }
}
