//! The OpenCL backend against the simulator's platform, opened as a library: what works, and every way to fail.
//!
//! Which library, devices and faults there are stands in the environment, which belongs to a whole process: each test
//! runs in one of its own.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod alone;
mod faults;
mod images;
mod libraries;
mod memory;
mod processes;
mod sessions;
mod streaming;

use fastcar_arch::config::AccelConfig;
use fastcar_arch::units::Bytes;
use fastcar_host::backend::{Backend, OpenClBackend};
use fastcar_host::compile::{CompileOptions, Compiled, compile};
use fastcar_host::image::Format;
use fastcar_host::model::Model;
use fastcar_host::model::testing::{LlamaSpec, VideoSpec};
use fastcar_host::opencl::{DeviceOptions, OpenClError};
use fastcar_host::pack::{PackOptions, pack};
use fastcar_host::packed::PackedModel;
use fastcar_host::policy::{Gate, Policy};
use fastcar_host::sampler::Sampling;
use fastcar_host::session::{Request, Session, SessionError};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// A small video model: frames of 12 tokens.
fn model(preset: &str) -> Arc<PackedModel> {
    model_of(LlamaSpec::default(), preset)
}

fn model_of(body: LlamaSpec, preset: &str) -> Arc<PackedModel> {
    let dir = tempfile::tempdir().unwrap();
    VideoSpec { body, ..VideoSpec::default() }.write(dir.path()).unwrap();
    let config = AccelConfig::preset(preset).unwrap();
    let options = PackOptions { weights: Format::MxInt8, head: None };
    Arc::new(pack(&Model::open(dir.path()).unwrap(), &config, options, &()).unwrap())
}

fn compiled(model: &PackedModel) -> Compiled {
    let options = CompileOptions { slots: 2, positions: 40, period: model.image().period.unwrap_or(0) };
    compile(model.plan(), &Policy::replay(Gate::Always).unwrap(), options).unwrap()
}

/// The device of a model's preset.
fn open(model: &PackedModel) -> Result<OpenClBackend, OpenClError> {
    OpenClBackend::open(&DeviceOptions::default(), model.config())
}

/// As [`open`], with one second for every command.
fn impatient(model: &PackedModel) -> OpenClBackend {
    let options = DeviceOptions { timeout: Some(Duration::from_secs(1)), ..DeviceOptions::default() };
    OpenClBackend::open(&options, model.config()).unwrap()
}

/// An error and its causes on one line.
fn text(error: &dyn Error) -> String {
    let mut out = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        if !out.contains(&cause.to_string()) {
            out.push_str(&format!(": {cause}"));
        }
        source = cause.source();
    }
    out
}

/// The error of a call that must fail, as text.
fn refusal<T, E: Error>(result: Result<T, E>) -> String {
    text(&result.err().unwrap())
}

/// The OpenCL layer's error behind another one.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> &'a OpenClError {
    match error.downcast_ref() {
        Some(found) => found,
        None => cause(error.source().unwrap()),
    }
}

/// Thirty positions behind a prompt of four tokens, without chance.
fn request() -> Request {
    Request {
        prompt: vec![50, 48, 49, 51],
        guidance: None,
        positions: 30,
        sampling: Sampling::GREEDY,
        allowed: 0..48,
        given: Vec::new(),
    }
}

/// The tokens of a [`request`]; up to the error, if there is one.
fn decoded(session: &mut Session) -> (Vec<u32>, Option<SessionError>) {
    let mut tokens = Vec::new();
    let id = match session.start(request()) {
        Ok(id) => id,
        Err(error) => return (tokens, Some(error)),
    };
    let failed = session.generate().find_map(|made| made.map(|made| tokens.extend(made.tokens)).err());
    let failed = failed.or_else(|| session.finish(id).err());
    (tokens, failed)
}

/// Loads a whole model with as much memory as its programs use.
fn load(backend: &mut dyn Backend, model: &Arc<PackedModel>) -> Compiled {
    let compiled = compiled(model);
    backend.load(model, compiled.map.used()).unwrap();
    compiled
}

fn bytes(n: u64) -> Bytes {
    Bytes(n)
}
