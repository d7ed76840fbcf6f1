//! What a decode took on an OpenCL device, as figures.

use super::run::Run;
use crate::interrupt;
use crate::progress::{Bar, Ui};
use crate::table::pairs;
use anyhow::Result;
use fastcar_host::backend::{Activity, Backend, OpenClBackend};
use fastcar_host::opencl::{DeviceOptions, LoadReport, LoadWatch};
use fastcar_host::packed::PackedModel;
use serde::Serialize;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A device and what it was loaded with; the load is known once a session is open.
#[derive(Clone)]
pub struct Opened {
    name: String,
    identity: String,
    load: Arc<OnceLock<LoadReport>>,
}

/// Opens a device.
///
/// # Errors
/// As [`OpenClBackend::open`].
pub fn open(options: &DeviceOptions, model: &PackedModel, ui: Ui) -> Result<(Box<dyn Backend>, Opened)> {
    let backend = OpenClBackend::open(options, model.config())?;
    let device = backend.device();
    let load = Arc::new(OnceLock::new());
    let opened = Opened {
        name: device.name().to_owned(),
        identity: device.image().info().identity.to_string(),
        load: Arc::clone(&load),
    };
    let bytes = model.constants().get() * u64::from(model.config().channels());
    let watch = Loading { bar: ui.bar("loading", bytes, "bytes"), report: load };
    Ok((Box::new(backend.with_watch(Box::new(watch))), opened))
}

/// Shows a load, and keeps what it took.
struct Loading {
    bar: Bar,
    report: Arc<OnceLock<LoadReport>>,
}

impl LoadWatch for Loading {
    fn advance(&self, done: u64, total: u64) {
        fastcar_host::pack::Progress::advance(&self.bar, done, total);
    }

    fn cancelled(&self) -> bool {
        interrupt::requested()
    }

    fn loaded(&self, report: &LoadReport) {
        // A session loads once.
        let _ = self.report.set(*report);
    }
}

/// Times and rates: over the generated positions unless said otherwise.
#[derive(Serialize)]
pub struct DeviceReport {
    name: String,
    image_identity: String,
    load_bytes: u64,
    load_seconds: f64,
    /// On the device's clock; none where its runtime keeps no times.
    link_bytes_per_second: Option<f64>,
    /// That rate over the fastest single transfer's.
    share_of_link: Option<f64>,
    /// Of the device's clock.
    milliseconds: f64,
    prompt_milliseconds: f64,
    /// Of all sequences together.
    positions_per_second: f64,
    runs: u64,
    /// This computer's time a step that the device's clock does not account for. On a simulated device the simulation
    /// itself is in it.
    host_microseconds_per_step: f64,
    /// Weights copied while decoding; only where they were streamed.
    streamed: Option<Streamed>,
    /// Device time of the dense decode over this one's; only where it was decoded densely too.
    speed_up_over_dense: Option<f64>,
}

/// Weights on their way to the device while it decodes, by its clock.
#[derive(Serialize)]
struct Streamed {
    bytes: u64,
    /// While any were under way.
    bytes_per_second: f64,
    /// From the first command to the last.
    elapsed_milliseconds: f64,
    /// Of that time, the share in which the kernel ran, and the one in which weights came in; together more than 1 where one hid
    /// behind the other.
    kernel_share: f64,
    link_share: f64,
}

impl Streamed {
    fn of(activity: Activity) -> Option<Self> {
        let Activity { elapsed, running, streaming, streamed } = activity;
        let share = |part: Duration| rate(part.as_secs_f64(), elapsed.as_secs_f64());
        (streamed.get() > 0).then(|| Self {
            bytes: streamed.get(),
            bytes_per_second: rate(streamed.get() as f64, streaming.as_secs_f64()),
            elapsed_milliseconds: elapsed.as_secs_f64() * 1e3,
            kernel_share: share(running),
            link_share: share(streaming),
        })
    }

    fn text(&self) -> String {
        format!(
            "{:.1} MB at {:.2} GB/s; of {:.3} ms the link was busy {:.0} %, the kernel {:.0} %",
            self.bytes as f64 / 1e6,
            self.bytes_per_second / 1e9,
            self.elapsed_milliseconds,
            100.0 * self.link_share,
            100.0 * self.kernel_share
        )
    }
}

impl DeviceReport {
    fn host_time(&self) -> String {
        let simulated = self.name.contains("(simulated)");
        let also = if simulated { ", the work of simulating included" } else { "" };
        format!("{:.1} us a step beside the device's{also}", self.host_microseconds_per_step)
    }

    /// Figures of a run, and of the dense one beside it; none where the device keeps no time.
    pub fn new(opened: &Opened, run: &Run, dense: Option<&Run>) -> Option<Self> {
        let load = opened.load.get()?;
        let time = &run.device;
        let steps = run.made().map(<[_]>::len).max().unwrap_or(0);
        let positions: usize = run.made().map(<[_]>::len).sum();
        let seconds = time.decode.as_secs_f64();
        let dense = dense.filter(|_| !run.is_resumed()).map(|d| d.device.decode.as_secs_f64());
        let dense = dense.filter(|d| *d > 0.0 && seconds > 0.0);
        Some(Self {
            name: opened.name.clone(),
            image_identity: opened.identity.clone(),
            load_bytes: load.bytes,
            load_seconds: load.seconds,
            link_bytes_per_second: load.link.map(|l| l.bytes_per_second),
            share_of_link: load.link.map(|l| l.share_of_fastest),
            milliseconds: seconds * 1e3,
            prompt_milliseconds: time.prompt.as_secs_f64() * 1e3,
            positions_per_second: rate(positions as f64, seconds),
            runs: time.runs,
            host_microseconds_per_step: (run.decode - seconds) * 1e6 / (steps as f64).max(1.0),
            streamed: run.activity.and_then(Streamed::of),
            speed_up_over_dense: dense.map(|d| d / seconds),
        })
    }

    /// As a table.
    pub fn text(&self) -> String {
        let link = match (self.link_bytes_per_second, self.share_of_link) {
            (Some(rate), Some(share)) => {
                format!(
                    "; on the device's clock {:.2} GB/s, {:.2} times that of its fastest transfer alone",
                    rate / 1e9,
                    share
                )
            }
            _ => String::new(),
        };
        let megabytes = self.load_bytes as f64 / 1e6;
        let load_rate = rate(self.load_bytes as f64, self.load_seconds) / 1e9;
        let mut facts = vec![
            ("device", format!("{}, image identity {}", self.name, &self.image_identity[..12])),
            ("load", format!("{megabytes:.1} MB in {:.2} s, {load_rate:.2} GB/s{link}", self.load_seconds)),
            (
                "device time",
                format!(
                    "{:.3} ms, {:.0} positions/s; the prompt {:.3} ms",
                    self.milliseconds, self.positions_per_second, self.prompt_milliseconds
                ),
            ),
            ("host time", self.host_time()),
        ];
        if let Some(streamed) = &self.streamed {
            facts.push(("streamed", streamed.text()));
        }
        if let Some(speed_up) = self.speed_up_over_dense {
            facts.push(("speed-up", format!("{speed_up:.2}x over the dense decode on the same device")));
        }
        pairs(&facts)
    }
}

/// Things a second; 0 where no time passed.
fn rate(count: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { count / seconds } else { 0.0 }
}
