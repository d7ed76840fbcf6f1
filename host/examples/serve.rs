//! Serves clients on two OpenCL devices; if one is lost, its sequences go on with the other.
//!
//! `FASTCAR_SIM_DEVICES='edge*2' OPENCL_DYLIB_PATH=target/release/libfastcar_icd.so cargo run --release -p fastcar-host --example serve -- MODEL_DIR`

use fastcar_arch::config::AccelConfig;
use fastcar_host::backend::OpenClBackend;
use fastcar_host::engine::{Engine, EngineDevice, EngineOptions};
use fastcar_host::model::Model;
use fastcar_host::opencl::DeviceOptions;
use fastcar_host::pack::{PackOptions, pack};
use fastcar_host::policy::{Gate, Policy};
use fastcar_host::sampler::Sampling;
use fastcar_host::session::{Request, SessionOptions};
use std::error::Error;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::thread;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let folder = std::env::args().nth(1).ok_or("which model? give its folder")?;
    let config = AccelConfig::preset("edge")?;
    let model = Model::open(&folder)?;
    let packed = Arc::new(pack(&model, &config, PackOptions::default(), &())?);

    let card = |number: &str| -> Result<EngineDevice, Failure> {
        let options = DeviceOptions { device: Some(number.to_owned()), ..DeviceOptions::default() };
        Ok(EngineDevice::new(format!("card {number}"), Box::new(OpenClBackend::open(&options, &config)?)))
    };
    let size = SessionOptions { slots: 4, positions: 200 };
    let options = EngineOptions {
        // What is lost with a device is at most so many positions of each sequence, and these are made again.
        snapshots: NonZeroU32::new(16),
        resume: true,
        ..EngineOptions::new(size)
    };
    let policy = Policy::replay(Gate::Budget { ratio: 0.5 })?;
    let engine = Engine::open(vec![card("0")?, card("1")?], packed, &policy, options)?;

    let codes = model.video().map_or(0..512, |v| v.code_offset()..v.code_offset() + v.codes());
    let tokenizer = model.prompt_tokenizer()?;
    let client = |prompt: &'static str| -> Result<(), Failure> {
        let mut stream = engine.submit(Request {
            prompt: tokenizer.encode(prompt)?,
            guidance: None,
            positions: 128,
            sampling: Sampling::GREEDY,
            allowed: codes.start as u32..codes.end as u32,
            given: Vec::new(),
        })?;
        let mut positions = 0;
        for made in &mut stream {
            // A position's tokens, as soon as they are made.
            positions = made?.position + 1;
        }
        let replayed = stream.stats().map_or(0.0, |s| 100.0 * s.replay_ratio());
        println!("{prompt}: {positions} positions, {replayed:.1} % of the MLPs replayed");
        Ok(())
    };
    thread::scope(|scope| {
        let prompts = ["7 left stripes", "3 up dots", "5 down plain", "1 right bars", "0 up plain"];
        let clients = prompts.map(|prompt| scope.spawn(move || client(prompt)));
        clients.into_iter().try_for_each(|c| c.join().unwrap_or(Err("a client panicked".into())))
    })?;
    let status = engine.status();
    for device in &status.devices {
        let lost = device.lost.as_ref().map_or("live".to_owned(), |fault| format!("lost: {fault}"));
        println!("{}: {lost}", device.name);
    }
    println!(
        "{} of {} finished, {} moves",
        status.counts.finished, status.counts.submitted, status.counts.resumed
    );
    Ok(engine.shutdown()?)
}
