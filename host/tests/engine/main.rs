//! The engine on devices that do as they are told: work, wait, fail, panic or hang.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod devices;
mod example;
mod faults;
mod service;
mod snapshots;
mod stress;

use devices::{Control, device};
use fastcar_arch::config::AccelConfig;
use fastcar_host::backend::GoldenBackend;
use fastcar_host::engine::{Engine, EngineDevice, EngineError, EngineOptions, Received, Stream};
use fastcar_host::image::Format;
use fastcar_host::model::Model;
use fastcar_host::model::testing::{LlamaSpec, VideoSpec};
use fastcar_host::pack::{PackOptions, pack};
use fastcar_host::packed::PackedModel;
use fastcar_host::policy::{Gate, Policy};
use fastcar_host::sampler::Sampling;
use fastcar_host::session::{DecodeStats, Request, Session, SessionOptions};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Slots of a device.
const SLOTS: u32 = 4;
const SIZE: SessionOptions = SessionOptions { slots: SLOTS, positions: 64 };

/// A small video model: frames of 12 tokens.
fn model() -> Arc<PackedModel> {
    static MODEL: OnceLock<Arc<PackedModel>> = OnceLock::new();
    Arc::clone(MODEL.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        VideoSpec { body: LlamaSpec::default(), ..VideoSpec::default() }.write(dir.path()).unwrap();
        let options = PackOptions { weights: Format::MxInt8, head: None };
        let config = AccelConfig::preset("tiny").unwrap();
        Arc::new(pack(&Model::open(dir.path()).unwrap(), &config, options, &()).unwrap())
    }))
}

fn policy() -> Policy {
    Policy::replay(Gate::Random { ratio: 0.5, seed: 3 }).unwrap()
}

/// A request that is like no other of another seed.
fn request(seed: u64, positions: u32) -> Request {
    Request {
        prompt: vec![50, 48, 49 + (seed % 4) as u32, 51],
        guidance: None,
        positions,
        sampling: Sampling { temperature: 1.0, top_k: 20, top_p: 0.95, seed },
        allowed: 0..48,
        given: Vec::new(),
    }
}

fn guided(seed: u64, positions: u32) -> Request {
    Request { guidance: Some((vec![50; 4], 1.5)), ..request(seed, positions) }
}

/// Tokens of a stream or sequence.
type Tokens = Vec<Vec<u32>>;

/// What a request gives when nothing disturbs it.
fn undisturbed(request: &Request, policy: &Policy) -> (Tokens, DecodeStats) {
    let mut session = Session::open(Box::new(GoldenBackend::new()), model(), policy.clone(), SIZE).unwrap();
    let id = session.start(request.clone()).unwrap();
    let tokens = session.generate().map(|made| made.unwrap().tokens).collect();
    (tokens, session.finish(id).unwrap())
}

fn options() -> EngineOptions {
    EngineOptions::new(SIZE)
}

fn open(devices: Vec<EngineDevice>, options: EngineOptions) -> Engine {
    Engine::open(devices, model(), &policy(), options).unwrap()
}

/// An engine of devices to control.
fn controlled(count: usize, options: EngineOptions) -> (Engine, Vec<Arc<Control>>) {
    let (devices, controls) = (0..count).map(|i| device(&format!("device {i}"))).unzip();
    (open(devices, options), controls)
}

/// All of a stream: positions in order without a gap, from `first` on.
fn collect(stream: &mut Stream, first: u32) -> Result<Tokens, EngineError> {
    let (id, mut tokens) = (stream.id(), Vec::new());
    for made in &mut *stream {
        let made = made?;
        assert_eq!((made.sequence, made.position), (id, first + tokens.len() as u32));
        tokens.push(made.tokens);
    }
    Ok(tokens)
}

/// Asserts that a stream ends with what an undisturbed decode gives.
fn is_undisturbed(stream: &mut Stream, request: &Request) {
    let (tokens, stats) = undisturbed(request, &policy());
    assert_eq!(collect(stream, 0).unwrap(), tokens, "{request:?}");
    assert_eq!(stream.stats(), Some(&stats));
}

/// Waits for something that is to come about by itself.
fn until(what: &str, mut is: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what} does not come about");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A stream's next position, which must come.
fn next(stream: &mut Stream) -> u32 {
    match stream.recv_timeout(Duration::from_secs(60)).unwrap() {
        Received::Position(made) => made.position,
        other => panic!("{other:?}"),
    }
}
