//! An OpenCL device as a backend.

use super::{Activity, Backend, BackendError, Step};
use crate::compile::Part;
use crate::opencl::{Device, DeviceOptions, LoadWatch, OpenClError};
use crate::packed::PackedModel;
use fastcar_arch::config::AccelConfig;
use fastcar_arch::program::Program;
use fastcar_arch::step::{StepReport, StepTable};
use fastcar_arch::units::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// A card, or whatever else stands behind OpenCL.
pub struct OpenClBackend {
    device: Device,
    watch: Box<dyn LoadWatch>,
    last: Option<Duration>,
}

const NAME: &str = "opencl";

fn fail(source: OpenClError) -> BackendError {
    BackendError::new(NAME, source)
}

impl OpenClBackend {
    /// Opens a device for models of a configuration.
    ///
    /// # Errors
    /// As [`Device::open`].
    pub fn open(options: &DeviceOptions, config: &AccelConfig) -> Result<Self, OpenClError> {
        let device = Device::open(options, config)?;
        Ok(Self { device, watch: Box::new(()), last: None })
    }

    /// Tells of loads.
    #[must_use]
    pub fn with_watch(mut self, watch: Box<dyn LoadWatch>) -> Self {
        self.watch = watch;
        self
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }
}

impl Backend for OpenClBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    fn load_parts(
        &mut self,
        model: &Arc<PackedModel>,
        parts: &[Part],
        memory: Bytes,
    ) -> Result<(), BackendError> {
        self.last = None;
        let report = self.device.load(model, parts, memory, &*self.watch).map_err(fail)?;
        self.watch.loaded(&report);
        Ok(())
    }

    fn stage(&mut self, model: &Arc<PackedModel>, part: &Part) -> Result<(), BackendError> {
        self.device.stage(model, part).map_err(fail)
    }

    fn staged(&mut self) -> Result<(), BackendError> {
        self.device.staged().map_err(fail)
    }

    fn run(&mut self, program: &Program, table: &StepTable) -> Result<StepReport, BackendError> {
        self.step(Step { program, table, writes: Vec::new(), reads: Vec::new() }, &mut || {})
    }

    fn step(&mut self, step: Step<'_>, meanwhile: &mut dyn FnMut()) -> Result<StepReport, BackendError> {
        let (report, time) = self.device.step(step, meanwhile).map_err(fail)?;
        self.last = time;
        Ok(report)
    }

    fn last_run_time(&self) -> Option<Duration> {
        self.last
    }

    fn activity(&self) -> Option<Activity> {
        self.device.activity()
    }

    fn read_record(&self, addr: u64, out: &mut [u8]) -> Result<(), BackendError> {
        self.device.read_record(addr, out).map_err(fail)
    }

    fn read_channel(&self, channel: usize, start: u64, out: &mut [u8]) -> Result<(), BackendError> {
        self.device.read_channel(channel, start, out).map_err(fail)
    }

    fn write_channel(&mut self, channel: usize, start: u64, bytes: &[u8]) -> Result<(), BackendError> {
        self.device.write_channel(channel, start, bytes).map_err(fail)
    }
}
