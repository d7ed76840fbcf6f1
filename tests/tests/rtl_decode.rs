//! Decodes on the generated hardware: logits of the functional model bit for bit, cycles and every counter of the simulator, run
//! by run.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::config::{AccelConfig, ConfigFields};
use fastcar_arch::isa::{Addr, Attn, End};
use fastcar_arch::program::{Limits, Program};
use fastcar_arch::step::{ACTIVE, NO_RING, SlotEntry, StepTable};
use fastcar_arch::units::Bytes;
use fastcar_host::attention::Attention;
use fastcar_host::backend::{
    Backend, Counted, GoldenBackend, RtlBackend, RtlBackendError, RtlOptions, SimBackend,
};
use fastcar_host::image::Format;
use fastcar_host::model::Model;
use fastcar_host::model::testing::{LlamaSpec, VideoSpec, VilaUSpec};
use fastcar_host::pack::PackOptions;
use fastcar_host::packed::PackedModel;
use fastcar_host::policy::{DeltaThresholds, Gate, Method, Policy, TasForm};
use fastcar_host::sampler::Sampling;
use fastcar_host::session::{Request, Session, SessionOptions};
use fastcar_sim::SimOptions;
use fastcar_sim::memory::MemorySpec;
use fastcar_tests::rtl::{Cover, skipped};
use fastcar_tests::{TestResult, moving_digits, packed};
use std::sync::Arc;
use std::time::Instant;

/// Positions of a frame of the shipped model, and of the random ones.
const PERIOD: u32 = 64;
const RANDOM_PERIOD: u32 = 12;

/// Two layers, frames of 12 positions.
fn random(seed: u64, format: Format) -> Arc<PackedModel> {
    let dir = tempfile::tempdir().unwrap();
    let body = LlamaSpec { seed, heads: 4, kv_heads: 2, ..LlamaSpec::default() };
    VideoSpec { body, ..VideoSpec::default() }.write(dir.path()).unwrap();
    packed(&Model::open(dir.path()).unwrap(), "tiny", PackOptions { weights: format, head: None }).unwrap()
}

fn request(seed: u64, guided: bool, positions: u32) -> Request {
    Request {
        prompt: vec![2 + (seed % 3) as u32, 3, 5, 4],
        guidance: guided.then(|| (vec![6, 6, 6, 6], 2.0)),
        positions,
        sampling: Sampling { temperature: 1.0, top_k: 20, top_p: 0.95, seed },
        allowed: 8..48,
        given: Vec::new(),
    }
}

/// What a decode gave: tokens and logits as bits, and what each of its runs counted.
#[derive(Default)]
struct Decoded {
    bits: Vec<u32>,
    runs: Vec<Counted>,
}

fn decode(
    backend: Box<dyn Backend>,
    model: &Arc<PackedModel>,
    policy: &Policy,
    requests: &[Request],
) -> Result<Decoded, Box<dyn std::error::Error>> {
    let positions = requests.iter().map(|r| r.positions + r.prompt.len() as u32).max().unwrap_or(0);
    let slots = requests.iter().map(|r| 1 + u32::from(r.guidance.is_some())).sum::<u32>().next_multiple_of(2);
    let options = SessionOptions { slots, positions };
    let mut session = Session::open(backend, Arc::clone(model), policy.clone(), options)?;
    let ids = requests.iter().map(|r| session.start(r.clone())).collect::<Result<Vec<_>, _>>()?;
    let mut decoded = Decoded::default();
    loop {
        let made = session.step_with(&mut |run| {
            let simulated = run.details.and_then(|d| d.timing.as_ref()).map(|t| t.counters.clone().into());
            decoded.runs.extend(run.counted.cloned().or(simulated));
        })?;
        if made.is_empty() && ids.iter().all(|id| session.is_done(*id).unwrap_or(true)) {
            return Ok(decoded);
        }
        for generated in made {
            decoded.bits.extend(&generated.chosen);
            for &slot in session.slots(generated.sequence)? {
                decoded.bits.extend(session.logits(slot)?.iter().map(|l| l.to_bits()));
            }
        }
    }
}

/// Decodes on the functional model, the simulator and the hardware, which have to agree. What the hardware counted in all, and
/// thousands of its cycles that went by in a second.
fn agree(
    model: &Arc<PackedModel>,
    policy: &Policy,
    requests: &[Request],
    options: RtlOptions,
) -> Result<(Counted, f64), Box<dyn std::error::Error>> {
    let RtlOptions { memory, memory_seed } = options.clone();
    let simulated = SimOptions { memory, memory_seed, ..SimOptions::default() };
    let golden = decode(Box::new(GoldenBackend::new()), model, policy, requests)?;
    let sim = decode(Box::new(SimBackend::new(simulated)), model, policy, requests)?;
    let backend = Box::new(RtlBackend::open(model.config(), options, &())?);
    let started = Instant::now();
    let rtl = decode(backend, model, policy, requests)?;
    let seconds = started.elapsed().as_secs_f64();
    assert!(!golden.bits.is_empty());
    assert!(golden.bits == sim.bits, "seed {memory_seed}: the simulator's values are others");
    assert_eq!(rtl.runs.len(), sim.runs.len());
    for (run, (found, expected)) in rtl.runs.iter().zip(&sim.runs).enumerate() {
        assert_eq!(found, expected, "seed {memory_seed}, run {run}: hardware, simulator");
    }
    assert!(golden.bits == rtl.bits, "seed {memory_seed}: the hardware's values are others");
    let mut all = Counted::default();
    rtl.runs.iter().for_each(|run| all += run);
    let rate = all.cycles as f64 / seconds / 1e3;
    Ok((all, rate))
}

fn attention(text: &str) -> Attention {
    text.parse().unwrap()
}

/// Of every kind that the hardware runs.
fn policies() -> Vec<Policy> {
    let gates = [
        Gate::Always,
        Gate::Random { ratio: 0.5, seed: 7 },
        Gate::InputDelta { thresholds: vec![0.6, 0.6] },
        Gate::Tas { form: TasForm::Code, thresholds: vec![-1.0] },
        Gate::Tas { form: TasForm::Paper, thresholds: vec![-1.0] },
    ];
    let delta = Method::Delta { thresholds: vec![DeltaThresholds::uniform(0.3)], max_age: Some(2) };
    let replays = gates.map(|gate| Policy::replay(gate).unwrap());
    let delta = Policy::new(delta).unwrap();
    let sparse = [
        Policy::dense().with_attention(attention("sink2+local9,dense/prompt+frame-stride1~1")),
        replays[1].clone().with_attention(attention("local3")),
        delta.clone().with_attention(attention("dense,prompt+frame-stride1~0")),
    ];
    [Policy::dense(), delta].into_iter().chain(replays).chain(sparse).collect()
}

/// Seeds of the memory's refresh.
const SEEDS: [u64; 3] = [0, 1, 0x5EED];

/// Decodes into the second frame, a guided pair beside a single row: each policy under some seeds.
fn small_models(seeds: impl Fn(usize) -> Vec<u64>) -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut cover = Cover::new(&["replays", "computes", "gates settle", "writes stall"]);
    for (index, policy) in policies().iter().enumerate() {
        let model = random(index as u64, [Format::MxInt8, Format::MxFp4][index % 2]);
        let requests = [request(1, false, RANDOM_PERIOD + 4), request(2, true, RANDOM_PERIOD + 3)];
        for memory_seed in seeds(index) {
            let options = RtlOptions { memory_seed, ..RtlOptions::default() };
            let (all, _) = agree(&model, policy, &requests, options)?;
            cover.hit("replays", all.decided.0 > 0);
            cover.hit("computes", all.decided.1 > 0);
            cover.hit("gates settle", all.gate.0 > 0);
            cover.hit("writes stall", all.stalled.1 > 0);
        }
    }
    cover.assert(1);
    Ok(())
}

#[test]
fn policies_and_seeds_take_the_simulators_cycles() -> TestResult {
    small_models(|policy| vec![SEEDS[policy % SEEDS.len()]])
}

#[test]
#[ignore = "some minutes; run with --ignored"]
fn every_policy_and_seed_takes_the_simulators_cycles() -> TestResult {
    small_models(|policy| SEEDS.into_iter().chain([2 + policy as u64]).collect())
}

/// Another memory behind the channel, and a model whose positions have several codes.
#[test]
fn other_memories_and_residual_codes_take_the_simulators_cycles() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let memory = Some(MemorySpec::named("hbm2")?);
    let requests = [request(3, true, RANDOM_PERIOD + 6)];
    let always = Policy::replay(Gate::Always)?;
    agree(&random(3, Format::MxInt8), &always, &requests, RtlOptions { memory, memory_seed: 2 })?;
    let dir = tempfile::tempdir()?;
    VilaUSpec::default().write(dir.path())?;
    let model = packed(&Model::open(dir.path())?, "tiny", PackOptions::default())?;
    let request = Request { allowed: 0..VilaUSpec::default().codes as u32, ..request(1, false, 9) };
    agree(&model, &Policy::dense(), &[request], RtlOptions::default())?;
    Ok(())
}

/// Two whole frames of the shipped model.
fn two_frames(policy: impl FnOnce() -> Result<Policy, Box<dyn std::error::Error>>) -> TestResult {
    if skipped() {
        return Ok(());
    }
    let model = packed(&Model::open(moving_digits())?, "tiny", PackOptions::default())?;
    let policy = policy()?;
    let options = RtlOptions { memory_seed: 1, ..RtlOptions::default() };
    let (all, rate) = agree(&model, &policy, &[request(1, false, 2 * PERIOD)], options)?;
    eprintln!("{} cycles of the smallest kernel, {rate:.0} thousand a second", all.cycles);
    Ok(())
}

#[test]
fn two_frames_with_replay_are_the_functional_models_and_the_simulators() -> TestResult {
    two_frames(|| Ok(Policy::load(&moving_digits().join("policy-input-delta.toml"))?))
}

#[test]
fn two_frames_of_delta_decode_are_the_functional_models_and_the_simulators() -> TestResult {
    two_frames(|| Ok(Policy::load(&moving_digits().join("policy-delta.toml"))?))
}

#[test]
fn two_frames_of_sparse_attention_are_the_functional_models_and_the_simulators() -> TestResult {
    two_frames(|| Ok(Policy::dense().with_attention(attention("sink4+local20,prompt+frame-stride1~4"))))
}

/// What the hardware itself refuses is told by its code; a model for another machine is refused before.
#[test]
fn errors_of_the_hardware_have_names() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let config = AccelConfig::preset("tiny")?;
    let mut backend = RtlBackend::open(&config, RtlOptions::default(), &())?;
    let model = Model::open(moving_digits())?;
    let edge = packed(&model, "edge", PackOptions::default())?;
    let refused = backend.load(&edge, Bytes(1 << 20)).unwrap_err();
    assert_eq!(refused.to_string(), "rtl: the hardware is a 'tiny', the model is packed for 'edge'");
    let (program, table) = with_wrong_lists(&config)?;
    let refused = backend.run(&program, &table).unwrap_err();
    assert_eq!(refused.to_string(), "rtl: no model is loaded");
    backend.load(&packed(&model, "tiny", PackOptions::default())?, Bytes(2 << 20))?;
    let refused = backend.run(&program, &table).unwrap_err().to_string();
    assert!(refused.starts_with("rtl: the run has ended with error 7 at command 0, "), "{refused}");
    assert!(refused.contains("a block list is longer than its room"), "{refused}");
    Ok(())
}

/// A program that attends by block lists, in memory where there are none.
fn with_wrong_lists(config: &AccelConfig) -> Result<(Program, StepTable), Box<dyn std::error::Error>> {
    let limits = Limits { slots: 4, positions: 256, ring: 4, tokens: 1, gates: 0 };
    let attn = Attn { heads: 2, kv_heads: 2, head_dim: 32, addr: Addr(1 << 20), ..Attn::default() };
    let attn = Attn {
        slot_stride: 1 << 17,
        list: Addr(1 << 16),
        list_stride: 256,
        list_entries: 3,
        ahead: true,
        ..attn
    };
    let program = Program::new(config, limits, vec![attn.into(), End::default().into()])?;
    let mut table = StepTable::new(4, 0);
    table.slots[2] = SlotEntry { flags: ACTIVE, pos: 20, ring: NO_RING, ..SlotEntry::idle() };
    Ok((program, table))
}

#[test]
fn a_memory_that_does_not_fit_is_refused() -> TestResult {
    let tiny = AccelConfig::preset("tiny")?;
    let fields = ConfigFields { name: "large".to_owned(), channel_bytes: 1 << 40, ..tiny.fields().clone() };
    let options = RtlOptions { memory: Some(MemorySpec::named("hbm2")?), memory_seed: 0 };
    let refused = RtlBackend::open(&AccelConfig::new(fields)?, options, &()).err();
    assert!(matches!(refused, Some(RtlBackendError::Memory(_))), "{:?}", refused.map(|e| e.to_string()));
    Ok(())
}
