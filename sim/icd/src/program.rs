//! Programs: images, and what happened to their runs.

use crate::context::Context;
use crate::device::{Device, Loading};
use crate::refusal::{Answer, Refusal};
use fastcar_xclbin::Xclbin;
use fastcar_xclbin::image::ImageInfo;
use opencl_sys as cl;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Lines that a build log keeps.
const LOG_LINES: usize = 64;

/// An image of the accelerator.
pub(crate) struct Image {
    /// What it says of itself.
    pub(crate) info: ImageInfo,
    /// The file.
    pub(crate) bytes: Vec<u8>,
}

impl Image {
    /// Reads an image.
    pub(crate) fn read(bytes: &[u8]) -> Answer<Self> {
        let invalid = |text: String| Refusal::new(cl::CL_INVALID_BINARY, text);
        let xclbin = Xclbin::from_bytes(bytes).map_err(|e| invalid(e.to_string()))?;
        let info = ImageInfo::read(&xclbin).map_err(|e| invalid(e.to_string()))?;
        Ok(Self { info, bytes: bytes.to_vec() })
    }
}

/// A program: an image on devices of a context.
pub(crate) struct Program {
    pub(crate) context: Arc<Context>,
    pub(crate) devices: Vec<Arc<Device>>,
    pub(crate) image: Arc<Image>,
    /// Each device keeps the image for as long as one of these is there.
    _loads: Vec<Arc<Loading>>,
    log: Mutex<VecDeque<String>>,
}

impl Program {
    /// Loads an image on the devices.
    pub(crate) fn load(context: Arc<Context>, devices: Vec<Arc<Device>>, bytes: &[u8]) -> Answer<Self> {
        let mut image = Arc::new(Image::read(bytes)?);
        let mut loads = Vec::with_capacity(devices.len());
        for device in &devices {
            let loading = device.load(image)?;
            image = loading.image.clone();
            loads.push(loading);
        }
        Ok(Self { context, devices, image, _loads: loads, log: Mutex::default() })
    }

    /// Takes down what happened to a run.
    pub(crate) fn note(&self, line: &str) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == LOG_LINES {
            log.pop_front();
        }
        log.push_back(line.to_owned());
    }

    /// What happened to the last runs that failed, a line each.
    pub(crate) fn log(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().map(|line| format!("{line}\n")).collect()
    }
}
