//! The simulator as a backend: the bits of the functional model, cycles that follow from decisions alone, and faults
//! that end a run instead of hanging it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::config::AccelConfig;
use fastcar_arch::regs::UNITS;
use fastcar_arch::step::StepTable;
use fastcar_arch::units::Bytes;
use fastcar_golden::{Decisions, Golden, GoldenError, Memory};
use fastcar_host::backend::{GoldenBackend, SimBackend};
use fastcar_host::compile::Compiled;
use fastcar_host::image::Format;
use fastcar_host::model::Model;
use fastcar_host::model::testing::{LlamaSpec, VideoSpec};
use fastcar_host::pack::PackOptions;
use fastcar_host::packed::PackedModel;
use fastcar_host::policy::{DeltaThresholds, Gate, Method, PairCoupling, Policy, TasForm};
use fastcar_host::sampler::Sampling;
use fastcar_host::session::{ProgramIndex, Request, Session, SessionOptions};
use fastcar_host::simulate::{Batch, Meter, Recorder, Recording, Scenario, Statistics};
use fastcar_host::workload::Workload;
use fastcar_sim::dram::Dir;
use fastcar_sim::memory::{Fault, FaultKind};
use fastcar_sim::{Advance, Counters, Policy as Drs, SimError, SimOptions, Simulator, Timer};
use fastcar_tests::{TestResult, decode_bits, golden_session, moving_digits, packed};
use proptest::prelude::*;
use std::sync::Arc;

/// Positions of a frame of the shipped model.
const PERIOD: u32 = 64;

fn shipped(preset: &str) -> Arc<PackedModel> {
    packed(&Model::open(moving_digits()).unwrap(), preset, PackOptions::default()).unwrap()
}

/// Two layers, frames of 12 positions.
fn random(seed: u64, format: Format, preset: &str) -> Arc<PackedModel> {
    let dir = tempfile::tempdir().unwrap();
    let body = LlamaSpec { seed, heads: 4, kv_heads: 2, ..LlamaSpec::default() };
    VideoSpec { body, ..VideoSpec::default() }.write(dir.path()).unwrap();
    packed(&Model::open(dir.path()).unwrap(), preset, PackOptions { weights: format, head: None }).unwrap()
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

/// Of every kind that the shipped model can decode with.
fn policies() -> Vec<Policy> {
    let file = |name: &str| Policy::load(&moving_digits().join(name)).unwrap();
    let tas = || Policy::replay(Gate::Tas { form: TasForm::Code, thresholds: vec![-1.0] }).unwrap();
    let aged = Method::Replay {
        gate: Gate::InputDelta { thresholds: vec![0.4] },
        coupling: PairCoupling::BothAgree,
        max_age: Some(1),
    };
    vec![
        Policy::dense(),
        tas(),
        file("policy-input-delta.toml"),
        Policy::replay(Gate::Always).unwrap(),
        Policy::replay(Gate::Random { ratio: 0.5, seed: 7 }).unwrap(),
        Policy::new(aged).unwrap(),
        file("policy-delta.toml"),
        Policy::dense().with_attention("sink4+local30/dense".parse().unwrap()),
        tas().with_attention("local20,prompt+frame-stride1~2".parse().unwrap()),
    ]
}

fn options(policy: Drs, memory_seed: u64) -> SimOptions {
    SimOptions { policy, memory_seed, ..SimOptions::default() }
}

fn session(model: &Arc<PackedModel>, policy: &Policy, size: SessionOptions, options: SimOptions) -> Session {
    Session::open(Box::new(SimBackend::new(options)), Arc::clone(model), policy.clone(), size).unwrap()
}

fn same_bits(preset: &str, policies: &[Policy], requests: &[Request]) {
    let model = shipped(preset);
    let longest = requests.iter().map(|r| r.prompt.len() as u32 + r.positions).max().unwrap();
    let size = SessionOptions { slots: 4, positions: longest };
    for policy in policies {
        let golden =
            decode_bits(&mut golden_session(&model, policy.clone(), 4, longest).unwrap(), requests).unwrap();
        let sim = decode_bits(&mut session(&model, policy, size, SimOptions::default()), requests).unwrap();
        assert!(golden.iter().all(|bits| !bits.is_empty()));
        assert!(sim == golden, "preset {preset}, policy {policy:?}");
    }
}

/// Into the second frame, a guided pair beside a single row.
#[test]
fn bits_are_those_of_the_functional_model() {
    for preset in ["tiny", "edge", "u55c"] {
        same_bits(preset, &policies(), &[request(1, false, PERIOD + 4), request(2, true, PERIOD + 6)]);
    }
}

/// All presets, policies and seeds over whole videos: `cargo test --release -p fastcar-tests --test simulator -- --ignored`.
#[test]
#[ignore = "an hour of machine time: see docs/verification.md"]
fn bits_of_whole_videos_are_those_of_the_functional_model() {
    for preset in AccelConfig::PRESETS {
        for seed in 0..3 {
            let requests = [request(seed, false, 8 * PERIOD), request(seed + 10, true, 8 * PERIOD)];
            same_bits(preset, &policies(), &requests);
        }
    }
}

/// One run of a session, with everything that its time depends on.
struct Captured {
    program: ProgramIndex,
    table: StepTable,
    decisions: Decisions,
    counters: Counters,
}

impl Captured {
    fn time(&self, compiled: &Compiled, timer: &Timer) -> Counters {
        let program = match self.program {
            ProgramIndex::Body(i) => &compiled.body[i],
            ProgramIndex::Depth(i) => &compiled.depth[i],
        };
        timer.run(program, &self.table, &self.decisions, compiled.map.used()).unwrap().counters
    }
}

/// Decodes, keeping the runs at every `by`-th step.
fn capture(session: &mut Session, requests: &[Request], by: u32) -> Vec<Captured> {
    requests.iter().for_each(|r| drop(session.start(r.clone()).unwrap()));
    let mut runs = Vec::new();
    let steps = requests.iter().map(|r| r.prompt.len() as u32 - 1 + r.positions).max().unwrap();
    for step in 0..steps {
        let observe = &mut |run: fastcar_host::session::ObservedRun<'_>| {
            if step % by == 0 {
                let details = run.details.unwrap().clone();
                runs.push(Captured {
                    program: run.program,
                    table: run.table.clone(),
                    decisions: details.decisions,
                    counters: details.timing.unwrap().counters,
                });
            }
        };
        session.step_with(observe).unwrap();
    }
    runs
}

/// Nothing is counted twice and nothing is lost.
fn check_counters(config: &AccelConfig, counters: &Counters) {
    let Counters { cycles, units, traffic, read_bytes, write_bytes, .. } = counters;
    for (unit, found) in UNITS.iter().zip(units) {
        assert!(found.busy + found.stalled <= *cycles, "{}: {found:?} in {cycles} cycles", unit.name);
    }
    assert_eq!(traffic.iter().sum::<u64>(), counters.bytes(), "{counters:?}");
    assert_eq!(read_bytes.len(), config.channels() as usize);
    let beats = |unit: &str| units[UNITS.iter().position(|u| u.name == unit).unwrap()].busy;
    let beat = u64::from(config.beat_bytes());
    assert_eq!((beats("READ"), beats("WRITE")), (read_bytes[0] / beat, write_bytes[0] / beat));
    assert!(counters.mac_starved <= *cycles && counters.commands > 0);
}

/// On the shipped model with the decisions of its own data: the recorded decisions take the same time without values,
/// stepping takes the same time as skipping, by every counter, and the counters add up.
#[test]
fn cycles_follow_from_decisions_and_do_not_depend_on_how_they_are_found() {
    let policies = policies();
    let mut checked = 0;
    for (preset, by) in [("tiny", 23), ("edge", 17), ("u55c", 11)] {
        let model = shipped(preset);
        let size = SessionOptions { slots: 4, positions: PERIOD + 16 };
        // A pair and two single rows.
        let requests =
            [request(1, true, PERIOD + 12), request(2, false, PERIOD + 12), request(3, false, PERIOD + 12)];
        for (i, policy) in policies.iter().enumerate() {
            let (drs, seed) = (Drs::ALL[i % 3].0, if i % 2 == 0 { 0 } else { 2 });
            let mut session = session(&model, policy, size, options(drs, seed));
            let runs = capture(&mut session, &requests, by);
            let bulk = Timer::new(model.config().clone(), options(drs, seed)).unwrap();
            let step = SimOptions { advance: Advance::Step, ..options(drs, seed) };
            let step = Timer::new(model.config().clone(), step).unwrap();
            for run in &runs {
                check_counters(model.config(), &run.counters);
                assert_eq!(run.time(session.compiled(), &bulk), run.counters, "{preset} {policy:?} {drs}");
                assert_eq!(run.time(session.compiled(), &step), run.counters, "{preset} {policy:?} {drs}");
            }
            checked += runs.len();
        }
    }
    assert!(checked > 100, "{checked} runs");
}

/// The same runs under every scheduling policy and both phases of refresh.
#[test]
fn stepping_agrees_under_every_schedule() {
    let size = SessionOptions { slots: 4, positions: PERIOD + 16 };
    let requests: Vec<Request> = (0..4).map(|seed| request(seed, false, PERIOD + 12)).collect();
    for preset in ["edge", "u55c"] {
        let model = shipped(preset);
        for policy in [2, 6].map(|i| policies().swap_remove(i)) {
            let mut session = session(&model, &policy, size, SimOptions::default());
            // Into the second frame, where rows differ.
            let runs = capture(&mut session, &requests, 35);
            let mut cycles = std::collections::BTreeSet::new();
            for (drs, name) in Drs::ALL {
                for seed in [0, 2] {
                    let timer = |advance| {
                        let options = SimOptions { advance, ..options(drs, seed) };
                        Timer::new(model.config().clone(), options).unwrap()
                    };
                    let (bulk, step) = (timer(Advance::Bulk), timer(Advance::Step));
                    for run in &runs {
                        let found = run.time(session.compiled(), &bulk);
                        check_counters(model.config(), &found);
                        assert_eq!(run.time(session.compiled(), &step), found, "{preset} {name} seed {seed}");
                        cycles.insert(found.cycles);
                    }
                }
            }
            assert!(cycles.len() > runs.len(), "schedules and seeds make a difference: {cycles:?}");
        }
    }
}
