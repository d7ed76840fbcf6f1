//! Decodes a video on an OpenCL device: a card, or the simulator as a platform.
//!
//! `OPENCL_DYLIB_PATH=target/release/libfastcar_icd.so cargo run --release -p fastcar-host --example decode -- MODEL_DIR [IMAGE]`

use fastcar_arch::config::AccelConfig;
use fastcar_host::backend::OpenClBackend;
use fastcar_host::model::Model;
use fastcar_host::opencl::DeviceOptions;
use fastcar_host::pack::{PackOptions, pack};
use fastcar_host::policy::{Gate, Policy};
use fastcar_host::sampler::Sampling;
use fastcar_host::session::{Request, Session, SessionOptions};
use std::sync::Arc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("which model? give its folder")?;
    let config = AccelConfig::preset("edge")?;
    let model = Model::open(&folder)?;
    let packed = Arc::new(pack(&model, &config, PackOptions::default(), &())?);

    // The image of a card comes from a file; for a simulated device one is made.
    let options = DeviceOptions { image: args.next().map(Into::into), ..DeviceOptions::default() };
    let backend = OpenClBackend::open(&options, &config)?;
    let size = SessionOptions { slots: 1, positions: 200 };
    let policy = Policy::replay(Gate::Budget { ratio: 0.5 })?;
    let mut session = Session::open(Box::new(backend), packed, policy, size)?;

    let codes = model.video().map_or(0..512, |v| v.code_offset()..v.code_offset() + v.codes());
    let request = Request {
        prompt: model.prompt_tokenizer()?.encode("7 left stripes")?,
        guidance: None,
        positions: 128,
        sampling: Sampling::GREEDY,
        allowed: codes.start as u32..codes.end as u32,
        given: Vec::new(),
    };
    let id = session.start(request)?;
    for generated in session.generate() {
        let generated = generated?;
        println!("position {}: tokens {:?}", generated.position, generated.tokens);
    }
    println!("{:.1} % of the MLPs replayed", 100.0 * session.finish(id)?.replay_ratio());
    Ok(())
}
