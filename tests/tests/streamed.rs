//! Models of which only parts are in device memory at a time: the bits of the resident ones, and what is copied.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::config::AccelConfig;
use fastcar_arch::units::Bytes;
use fastcar_host::backend::{GoldenBackend, SimBackend};
use fastcar_host::compile::{CompileOptions, Compiled, compile, compile_streamed};
use fastcar_host::image::Format;
use fastcar_host::model::Model;
use fastcar_host::model::testing::{LlamaSpec, VideoSpec, VilaUSpec};
use fastcar_host::pack::{PackOptions, pack, pack_streamed};
use fastcar_host::packed::PackedModel;
use fastcar_host::policy::{Gate, Method, PairCoupling, Policy, TasForm};
use fastcar_host::sampler::Sampling;
use fastcar_host::session::{Request, Session, SessionOptions};
use fastcar_tests::{decode_bits, golden_session, packed};
use std::sync::Arc;

/// Positions of a frame of the small video model.
const PERIOD: u32 = 12;
const SIZE: SessionOptions = SessionOptions { slots: 4, positions: 64 };

fn video(layers: usize, preset: &str) -> Arc<PackedModel> {
    let dir = tempfile::tempdir().unwrap();
    let body = LlamaSpec { layers, heads: 4, kv_heads: 2, ..LlamaSpec::default() };
    VideoSpec { body, ..VideoSpec::default() }.write(dir.path()).unwrap();
    let options = PackOptions { weights: Format::MxInt8, head: None };
    packed(&Model::open(dir.path()).unwrap(), preset, options).unwrap()
}

fn request(seed: u64, guided: bool) -> Request {
    Request {
        prompt: vec![50, 48, 49, 51],
        guidance: guided.then(|| (vec![50, 50, 50, 50], 2.0)),
        positions: 2 * PERIOD + 5,
        sampling: Sampling { temperature: 1.0, top_k: 20, top_p: 0.95, seed },
        allowed: 0..48,
        given: Vec::new(),
    }
}

fn tas(threshold: f32) -> Policy {
    Policy::replay(Gate::Tas { form: TasForm::Code, thresholds: vec![threshold] }).unwrap()
}

fn input_delta(threshold: f32) -> Policy {
    let gate = Gate::InputDelta { thresholds: vec![threshold] };
    Policy::new(Method::Replay { gate, coupling: PairCoupling::BothAgree, max_age: Some(1) }).unwrap()
}

fn options(model: &PackedModel, size: SessionOptions) -> CompileOptions {
    let SessionOptions { slots, positions } = size;
    CompileOptions { slots, positions, period: model.image().period.unwrap_or(0) }
}

/// Layers whose weights are streamed.
fn streamed(compiled: &Compiled) -> usize {
    compiled.passes[0].iter().filter(|p| p.weights.is_some()).count() / 2
}

/// The least memory that a model can be decoded with, and what it needs with everything in memory.
fn memory(model: &PackedModel, policy: &Policy, size: SessionOptions) -> [Bytes; 2] {
    let whole = compile(model.plan(), policy, options(model, size)).unwrap().map.used().get() >> 12;
    let fits = |pages: &u64| {
        compile_streamed(model.plan(), policy, options(model, size), Bytes(*pages << 12)).is_ok()
    };
    let least = (0..whole).collect::<Vec<_>>().partition_point(|pages| !fits(pages));
    // Beside the state there are the records between the passes, and a page here and there.
    [Bytes((least as u64) << 12), Bytes((whole + 64) << 12)]
}

fn open(
    model: &Arc<PackedModel>,
    policy: &Policy,
    size: SessionOptions,
    memory: Bytes,
    sim: bool,
) -> Session {
    let backend: Box<dyn fastcar_host::backend::Backend> = match sim {
        true => Box::<SimBackend>::default(),
        false => Box::new(GoldenBackend::new()),
    };
    Session::open_streamed(backend, Arc::clone(model), policy.clone(), size, memory).unwrap()
}

#[test]
fn bits_do_not_depend_on_what_stays_in_memory() {
    for (preset, layers) in [("tiny", 6), ("edge", 5)] {
        let model = video(layers, preset);
        let policies = [
            Policy::dense(),
            tas(-0.02),
            tas(f32::NEG_INFINITY),
            input_delta(0.5),
            Policy::replay(Gate::Random { ratio: 0.5, seed: 3 }).unwrap(),
            Policy::delta(0.4).unwrap(),
            Policy::dense().with_attention("sink2+local9".parse().unwrap()),
        ];
        for policy in policies {
            let requests = [request(1, false), request(2, true)];
            let mut resident = golden_session(&model, policy.clone(), SIZE.slots, SIZE.positions).unwrap();
            let expected = decode_bits(&mut resident, &requests).unwrap();
            let [least, whole] = memory(&model, &policy, SIZE);
            let mut counts = Vec::new();
            for memory in [least, Bytes(least.get() / 2 + whole.get() / 2), whole] {
                let mut session = open(&model, &policy, SIZE, memory, memory == least);
                let count = streamed(session.compiled());
                let found = decode_bits(&mut session, &requests).unwrap();
                assert!(found == expected, "{preset}, {count} layers streamed, {policy:?}");
                assert_eq!(session.streamed() > Bytes(0), count > 0);
                counts.push(count);
            }
            assert!(counts[0] == layers && counts[1] < layers && counts[2] == 0, "{counts:?}");
        }
    }
}

/// Residual codes: the body has two inputs, and a depth transformer runs behind it.
#[test]
fn codes_are_made_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    VilaUSpec::default().write(dir.path()).unwrap();
    let options = PackOptions { weights: Format::MxInt8, head: None };
    let model = packed(&Model::open(dir.path()).unwrap(), "tiny", options).unwrap();
    let request = Request { prompt: vec![3, 9, 27], positions: 8, allowed: 0..40, ..request(5, false) };
    let size = SessionOptions { slots: 1, positions: 16 };
    let mut resident = golden_session(&model, Policy::dense(), 1, 16).unwrap();
    let expected = decode_bits(&mut resident, std::slice::from_ref(&request)).unwrap();
    let layers = model.image().body.layers.len();
    let [least, _] = memory(&model, &Policy::dense(), size);
    let mut session = open(&model, &Policy::dense(), size, least, false);
    assert_eq!(streamed(session.compiled()), layers);
    assert!(decode_bits(&mut session, &[request]).unwrap() == expected);
}

/// A dense step copies every streamed layer once; where all slots replay, the MLPs stay where they are.
#[test]
fn a_replayed_mlp_is_not_copied() {
    let layers = 4;
    let model = video(layers, "tiny");
    let size = SessionOptions { slots: 1, positions: 64 };
    let copied = |policy: &Policy| {
        let [least, _] = memory(&model, policy, size);
        let mut session = open(&model, policy, size, least, false);
        let parts: Vec<u64> = session.compiled().passes[0]
            .iter()
            .map(|p| p.weights.as_ref().map_or(0, |w| w.source.end - w.source.start))
            .collect();
        session.start(request(1, false)).unwrap();
        session.prefill().unwrap();
        let mut steps = Vec::new();
        for _ in 0..request(1, false).positions {
            let before = session.streamed().get();
            session.step().unwrap();
            steps.push(session.streamed().get() - before);
        }
        (parts, steps)
    };
    let (parts, steps) = copied(&Policy::dense());
    let whole: u64 = parts.iter().sum();
    assert!(steps.iter().all(|&bytes| bytes == whole), "{whole}: {steps:?}");
    let (parts, steps) = copied(&Policy::replay(Gate::Always).unwrap());
    let attention: u64 = parts.iter().step_by(2).sum();
    // The first frame computes; the first step of the second finds the attention weights of its first layers there.
    assert!(steps[..PERIOD as usize].iter().all(|&bytes| bytes == whole));
    assert!(steps[PERIOD as usize + 1..].iter().all(|&bytes| bytes == attention), "{attention}: {steps:?}");
}

#[test]
fn too_little_memory_is_refused_with_the_numbers() {
    let model = video(3, "tiny");
    let refused = Session::open_streamed(
        Box::new(GoldenBackend::new()),
        Arc::clone(&model),
        Policy::dense(),
        SIZE,
        Bytes(64 << 10),
    );
    let text = refused.err().unwrap().to_string();
    assert!(text.contains("64.00 KiB") || text.contains("65536"), "{text}");
}

/// A model that is larger than the card: refused where all of it would have to fit, decoded bit for bit where not.
#[test]
fn a_model_larger_than_the_card() {
    let dir = tempfile::tempdir().unwrap();
    let body = LlamaSpec { layers: 30, heads: 4, kv_heads: 2, ..LlamaSpec::default() };
    VideoSpec { body, ..VideoSpec::default() }.write(dir.path()).unwrap();
    let model = Model::open(dir.path()).unwrap();
    let formats = PackOptions { weights: Format::MxInt8, head: None };
    let card = |channel_bytes| {
        let mut fields = AccelConfig::preset("tiny").unwrap().fields().clone();
        fields.channel_bytes = channel_bytes;
        AccelConfig::new(fields).unwrap()
    };
    let roomy = Arc::new(pack(&model, &card(16 << 20), formats, &()).unwrap());
    let small = card(1 << 20);
    assert!(roomy.constants() > small.channel_capacity());
    let packed = Arc::new(pack_streamed(&model, &small, formats, &()).unwrap());
    let size = SessionOptions { slots: 1, positions: 64 };
    let open = Session::open(Box::new(GoldenBackend::new()), Arc::clone(&packed), tas(-0.02), size);
    let refused = open.err().unwrap().to_string();
    assert!(refused.contains("memory map"), "{refused}");

    let path = dir.path().join("model.fcar");
    packed.save(&path).unwrap();
    let read = Arc::new(PackedModel::open_for(&path, &small).unwrap());
    let requests = [request(1, false)];
    let mut resident = golden_session(&roomy, tas(-0.02), size.slots, size.positions).unwrap();
    let mut session = self::open(&read, &tas(-0.02), size, small.channel_capacity(), true);
    assert!(decode_bits(&mut session, &requests).unwrap() == decode_bits(&mut resident, &requests).unwrap());
}
