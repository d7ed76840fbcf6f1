//! What reaches the device over its link: whole models, and weights that are streamed while it decodes, in the time of
//! the simulated link.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../host/tests/opencl/alone.rs"]
mod alone;

use alone::alone;
use fastcar_arch::units::Bytes;
use fastcar_host::backend::OpenClBackend;
use fastcar_host::compile::{CompileOptions, compile};
use fastcar_host::image::Format;
use fastcar_host::model::Model;
use fastcar_host::model::testing::{LlamaSpec, VideoSpec, WeightFormat};
use fastcar_host::opencl::{DeviceOptions, LoadReport, LoadWatch};
use fastcar_host::pack::PackOptions;
use fastcar_host::packed::PackedModel;
use fastcar_host::policy::{Gate, Policy};
use fastcar_host::sampler::Sampling;
use fastcar_host::session::{Request, Session, SessionOptions};
use fastcar_tests::packed;
use std::sync::{Arc, Mutex};

/// Bytes a second to the device on the link of the tests.
fn link_rate() -> f64 {
    let links: toml::Table = include_str!("../../sim/icd/data/links.toml").parse().unwrap();
    links["gen3x16"]["to_device_bytes_hz"].as_integer().unwrap() as f64
}

/// A model of some 60 MB, wide enough that its transfers are as long as those of large ones.
fn model(preset: &str) -> Arc<PackedModel> {
    let dir = tempfile::tempdir().unwrap();
    let body = LlamaSpec {
        layers: 4,
        hidden: 1024,
        heads: 8,
        kv_heads: 8,
        head_dim: 128,
        ffn: 2816,
        format: WeightFormat::F16,
        ..LlamaSpec::default()
    };
    VideoSpec { body, ..VideoSpec::default() }.write(dir.path()).unwrap();
    let options = PackOptions { weights: Format::MxInt8, head: None };
    packed(&Model::open(dir.path()).unwrap(), preset, options).unwrap()
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Option<LoadReport>>>);

impl LoadWatch for Kept {
    fn advance(&self, _: u64, _: u64) {}

    fn loaded(&self, report: &LoadReport) {
        *self.0.lock().unwrap() = Some(*report);
    }
}

const SIZE: SessionOptions = SessionOptions { slots: 1, positions: 40 };

fn backend(model: &PackedModel, kept: &Kept) -> Box<OpenClBackend> {
    let backend = OpenClBackend::open(&DeviceOptions::default(), model.config()).unwrap();
    Box::new(backend.with_watch(Box::new(kept.clone())))
}

#[test]
fn a_load_takes_the_time_of_the_link() {
    let variables = [("FASTCAR_SIM_MODE", "instant"), ("FASTCAR_SIM_DEVICES", "edge,u55c")];
    if alone("a_load_takes_the_time_of_the_link", &variables) {
        for preset in ["edge", "u55c"] {
            let model = model(preset);
            let kept = Kept::default();
            Session::open(backend(&model, &kept), Arc::clone(&model), Policy::dense(), SIZE).unwrap();
            let report = kept.0.lock().unwrap().unwrap();
            let link = report.link.unwrap();
            let share = link.bytes_per_second / link_rate();
            assert!(
                report.bytes > 50_000_000 && (0.95..=1.0).contains(&share),
                "{preset}: {report:?}, {share}"
            );
        }
    }
}

/// Running hides behind copying, which is the slower of the two: while decoding, the link is hardly ever idle.
#[test]
fn streamed_weights_keep_the_link_busy() {
    let variables = [("FASTCAR_SIM_MODE", "timing"), ("FASTCAR_SIM_DEVICES", "edge,u55c")];
    if alone("streamed_weights_keep_the_link_busy", &variables) {
        for preset in ["edge", "u55c"] {
            let model = model(preset);
            let policy = Policy::replay(Gate::Always).unwrap();
            let options = CompileOptions { slots: 1, positions: 40, period: 12 };
            let whole = compile(model.plan(), &policy, options).unwrap().map.used();
            let memory = Bytes(whole.get() * 6 / 10);
            let kept = Kept::default();
            let mut session =
                Session::open_streamed(backend(&model, &kept), Arc::clone(&model), policy, SIZE, memory)
                    .unwrap();
            let request = Request {
                prompt: vec![50, 48, 49, 51],
                guidance: None,
                positions: 10,
                sampling: Sampling::GREEDY,
                allowed: 0..48,
                given: Vec::new(),
            };
            session.start(request).unwrap();
            assert_eq!(session.generate().filter(|made| made.is_ok()).count(), 10);
            let activity = session.activity().unwrap();
            let share = |part: std::time::Duration| part.as_secs_f64() / activity.elapsed.as_secs_f64();
            let (link, kernel) = (share(activity.streaming), share(activity.running));
            let rate = activity.streamed.get() as f64 / activity.streaming.as_secs_f64() / link_rate();
            println!("{preset}: link busy {link:.3}, kernel {kernel:.3}, {rate:.3} of the link's rate");
            assert!(link > 0.9 && rate > 0.8 && kernel > 0.005, "{preset}: {activity:?}, {rate}");
        }
    }
}
