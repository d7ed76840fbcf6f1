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
use fastcar_host::model::testing::{LlamaSpec, VideoSpec, VilaUSpec};
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
use fastcar_tests::{decode_bits, golden_session, moving_digits, packed};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::cell::RefCell;
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
        Policy::dense().with_attention("sink4+local30/dense/sink1+local9/dense".parse().unwrap()),
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
#[ignore = "four minutes of processor time in a release build: see docs/verification.md"]
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
    for request in requests {
        session.start(request.clone()).unwrap();
    }
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
    let beat = config.beat().get();
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

/// A decode that is recorded, and its file.
fn recorded(policy: &Policy, guided: bool) -> (Vec<u64>, Recording, String) {
    let model = shipped("edge");
    let size = SessionOptions { slots: if guided { 2 } else { 1 }, positions: 4 + PERIOD + 12 };
    let mut session = session(&model, policy, size, SimOptions::default());
    session.start(request(3, guided, PERIOD + 12)).unwrap();
    let mut recorder = Recorder::new(&session, 4);
    let mut cycles = Vec::new();
    for _ in 0..4 + PERIOD + 11 {
        let observe = &mut |run: fastcar_host::session::ObservedRun<'_>| {
            recorder.observe(&run).unwrap();
            cycles.push(run.details.unwrap().timing.as_ref().unwrap().cycles());
        };
        session.step_with(observe).unwrap();
    }
    let text = recorder.finish().to_text().unwrap();
    (cycles.split_off(4), Recording::from_text(&text).unwrap(), text)
}

fn scenario(policy: &Policy, recording: &Recording) -> Scenario {
    Scenario {
        workload: Workload::from_checkpoint(&moving_digits()).unwrap().with_generated(PERIOD + 12),
        config: AccelConfig::preset("edge").unwrap(),
        formats: PackOptions::default(),
        policy: policy.clone(),
        sim: SimOptions::default(),
        batch: recording.batch(),
        statistics: Statistics::default(),
        positions: Some(recording.positions()),
    }
}

/// Values mode with recording, then timing mode from the file without weights: the same cycles, step by step.
#[test]
fn a_recording_takes_the_same_time_without_values() {
    for policy in policies() {
        for guided in [false, true] {
            let (cycles, recording, text) = recorded(&policy, guided);
            assert_eq!(recording.positions(), 0..PERIOD + 11);
            assert_eq!(recording.to_text().unwrap(), text);
            let simulation = scenario(&policy, &recording).prepare_recorded(recording).unwrap();
            let found = simulation.run(&()).unwrap();
            assert_eq!(found.cycles, cycles, "{policy:?} guided {guided}");
        }
    }
}

/// A recording made by the functional model is that of the simulator.
#[test]
fn decisions_do_not_depend_on_the_backend() {
    let policy = &policies()[2];
    let (_, expected, _) = recorded(policy, true);
    let size = SessionOptions { slots: 2, positions: 4 + PERIOD + 12 };
    let golden = Box::new(GoldenBackend::recording());
    let mut session = Session::open(golden, shipped("edge"), policy.clone(), size).unwrap();
    session.start(request(3, true, PERIOD + 12)).unwrap();
    let mut recorder = Recorder::new(&session, 4);
    for _ in 0..4 + PERIOD + 11 {
        session.step_with(&mut |run| recorder.observe(&run).unwrap()).unwrap();
    }
    assert_eq!(recorder.finish(), expected);
}

#[test]
fn a_recording_is_used_for_what_was_recorded() {
    let policy = &policies()[2];
    let (_, recording, _) = recorded(policy, true);
    let statistics = recording.statistics();
    assert!(statistics.replay > 0.0 && statistics.replay < 0.5, "{statistics:?}");
    assert!((0.0..=1.0).contains(&statistics.correlation) && statistics.profile.len() == 4, "{statistics:?}");
    let refused =
        |scenario: Scenario| scenario.prepare_recorded(recording.clone()).err().unwrap().to_string();
    let good = scenario(policy, &recording);
    assert_eq!(
        refused(Scenario { policy: Policy::dense(), ..good.clone() }),
        "the decisions were recorded with method replay, the run has dense: choose the recorded one"
    );
    assert_eq!(
        refused(Scenario { batch: Batch { rows: 1, paired: false }, ..good.clone() }),
        "the decisions were recorded with rows 2, the run has 1: choose the recorded one"
    );
    assert_eq!(
        refused(Scenario {
            workload: Workload::named("tiny").unwrap(),
            positions: Some(0..4),
            ..good.clone()
        }),
        "the decisions were recorded with layers 4, the run has 2: choose the recorded one"
    );
    assert_eq!(
        refused(Scenario { positions: Some(0..PERIOD + 12), ..good }),
        "positions 0..76 are asked for, the recording has 0..75: choose among these"
    );
    let (_, delta, _) = recorded(&policies()[6], false);
    let shares = delta.statistics().active_blocks;
    assert!(shares.iter().all(|s| (0.05..0.999).contains(s)), "{shares:?}");
}

/// Rows that do not advance together cannot be told apart by a position alone.
#[test]
fn uneven_rows_are_not_recorded() {
    let size = SessionOptions { slots: 2, positions: 40 };
    let golden = Box::new(GoldenBackend::recording());
    let mut session = Session::open(golden, shipped("tiny"), Policy::dense(), size).unwrap();
    session.start(request(1, false, 20)).unwrap();
    session.start(request(2, false, 9)).unwrap();
    let mut recorder = Recorder::new(&session, 4);
    let mut refused = Vec::new();
    for _ in 0..20 {
        session.step_with(&mut |run| refused.extend(recorder.observe(&run).err())).unwrap();
    }
    let first = refused.first().unwrap().to_string();
    assert!(first.starts_with("position 8: 1 of 2 rows advance; "), "{first}");
}

/// The dense reference of a meter is what a dense session takes, and a session's report is the sum of its runs.
#[test]
fn the_dense_reference_is_a_dense_session() {
    let model = shipped("edge");
    let size = SessionOptions { slots: 2, positions: 4 + PERIOD + 8 };
    let report = |policy: &Policy| {
        let options = options(Drs::Compact, 1);
        let mut session = session(&model, policy, size, options.clone());
        session.start(request(1, true, PERIOD + 8)).unwrap();
        let mut meter = Meter::new(&session, options, 4).unwrap();
        while session
            .step_with(&mut |run| meter.observe(&run))
            .is_ok_and(|made| made.first().is_none_or(|g| g.position < PERIOD + 7))
        {}
        meter.finish(&()).unwrap()
    };
    let (dense, replay) = (report(&Policy::dense()), report(&Policy::replay(Gate::Always).unwrap()));
    assert_eq!(dense.positions.len() as u32, PERIOD + 7);
    assert!(dense.positions.iter().all(|p| p.body == p.dense && p.codes == 0));
    assert_eq!(dense.speed_up(), 1.0);
    let later = &replay.frames(PERIOD)[1];
    assert!(later.1 > 1.2, "a frame without MLPs is faster: {later:?}");
    let cycles: u64 = replay.positions.iter().map(|p| p.all()).sum();
    assert_eq!(cycles, replay.totals.decode_cycles());
    assert_eq!((replay.totals.prompt.steps, replay.totals.rows), (4, 2));
}

/// The depth transformer's runs are timed as well, and belong to the position whose codes they make.
#[test]
fn residual_codes_are_simulated() {
    let dir = tempfile::tempdir().unwrap();
    VilaUSpec::default().write(dir.path()).unwrap();
    let model = packed(&Model::open(dir.path()).unwrap(), "edge", PackOptions::default()).unwrap();
    let policy = Policy::replay(Gate::Always).unwrap();
    let mine = Request { prompt: vec![3, 9, 27], allowed: 0..40, ..request(4, false, 13) };
    let mine = Request { guidance: Some((vec![1, 1, 1], 3.0)), ..mine };
    let size = SessionOptions { slots: 2, positions: 20 };
    let mut simulated = session(&model, &policy, size, SimOptions::default());
    let golden =
        decode_bits(&mut golden_session(&model, policy.clone(), 2, 20).unwrap(), std::slice::from_ref(&mine));
    assert!(decode_bits(&mut simulated, std::slice::from_ref(&mine)).unwrap() == golden.unwrap());
    let mut session = session(&model, &policy, size, SimOptions::default());
    session.start(mine).unwrap();
    let mut meter = Meter::new(&session, SimOptions::default(), 3).unwrap();
    let mut made = 0;
    while made < 13 {
        made += session.step_with(&mut |run| meter.observe(&run)).unwrap().len();
    }
    let report = meter.finish(&()).unwrap();
    // Frames of 4: behind the first, bodies without MLPs. Codes take the same but for the addresses of their tokens.
    assert_eq!((report.positions.len(), report.totals.codes.steps), (12, 4 * 12));
    let codes: Vec<u64> = report.positions.iter().map(|p| p.codes).collect();
    assert!(codes.iter().all(|&c| c > 0 && c.abs_diff(codes[0]) < codes[0] / 100), "{codes:?}");
    assert!(report.positions[4..].iter().all(|p| p.all() < p.dense), "{:?}", report.positions);
}

fn random_policies() -> impl Strategy<Value = Policy> {
    let gate = prop_oneof![
        (prop::collection::vec(-2.0f32..1.0, 2), any::<bool>()).prop_map(|(thresholds, code)| {
            Gate::Tas { form: if code { TasForm::Code } else { TasForm::Paper }, thresholds }
        }),
        prop::collection::vec(0.1f32..1.2, 2).prop_map(|thresholds| Gate::InputDelta { thresholds }),
        (0f32..1.0, any::<u64>()).prop_map(|(ratio, seed)| Gate::Random { ratio, seed }),
    ];
    let coupling = prop::sample::select(vec![PairCoupling::Independent, PairCoupling::Mean]);
    let age = prop::option::of(1u32..3);
    let method = prop_oneof![
        1 => Just(Policy::dense()),
        4 => (gate, coupling, age.clone()).prop_map(|(gate, coupling, max_age)| {
            Policy::new(Method::Replay { gate, coupling, max_age }).unwrap()
        }),
        3 => (0.1f32..1.5, age).prop_map(|(tau, max_age)| {
            Policy::new(Method::Delta { thresholds: vec![DeltaThresholds::uniform(tau)], max_age }).unwrap()
        }),
    ];
    let attention =
        prop::sample::select(vec!["dense", "sink2+local9", "local20,dense", "prompt+frame-stride1~2"]);
    (method, attention).prop_map(|(policy, text)| policy.with_attention(text.parse().unwrap()))
}

/// Frames of 12: 30 positions are two and a half.
const SHORT: u32 = 30;

fn memory_faults(config: &AccelConfig, reach: u64) -> impl Strategy<Value = Fault> + use<> {
    let channels = config.channels();
    let length = prop_oneof![1u64..4096, Just(reach)];
    let range = (0..reach, length).prop_map(|(start, length)| start..start + length);
    prop_oneof![
        (0..channels, any::<bool>(), range.clone()).prop_map(|(port, read, range)| {
            Fault::SlaveError { port, dir: if read { Dir::Read } else { Dir::Write }, range }
        }),
        (0..channels, range).prop_map(|(port, range)| Fault::Ecc { port, range }),
        (0..channels, 0u64..40_000).prop_map(|(port, from)| Fault::Stuck { port, from }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stepping_agrees_on_random_programs(
        seed: u64,
        policy in random_policies(),
        preset in prop::sample::select(vec!["tiny", "edge", "u55c"]),
        int8: bool,
        guided: bool,
        batch in 1u64..3,
        drs in 0usize..3,
        memory_seed in 0u64..5,
    ) {
        let model = random(seed, if int8 { Format::MxInt8 } else { Format::MxFp4 }, preset);
        let size = SessionOptions { slots: 4, positions: SHORT + 4 };
        let requests: Vec<Request> =
            (0..batch).map(|i| Request { allowed: 0..48, ..request(seed.wrapping_add(i), guided, SHORT) }).collect();
        let bulk = options(Drs::ALL[drs].0, memory_seed);
        let mut session = session(&model, &policy, size, bulk.clone());
        let runs = capture(&mut session, &requests, 7);
        let step = Timer::new(model.config().clone(), SimOptions { advance: Advance::Step, ..bulk }).unwrap();
        prop_assert!(runs.len() >= 4);
        for run in &runs {
            check_counters(model.config(), &run.counters);
            prop_assert_eq!(&run.time(session.compiled(), &step), &run.counters);
        }
    }
}

/// How a run on a broken memory ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum End {
    Done { cycles: u64 },
    Fault { cycle: u64, command: usize, direction: &'static str },
    Stalled { command: usize, unit: &'static str },
}

fn broken_run(config: &AccelConfig, (compiled, table): &(Compiled, StepTable), options: SimOptions) -> End {
    let fault = options.faults[0].clone();
    let timer = Timer::new(config.clone(), options).unwrap();
    let program = &compiled.body[0];
    match timer.run(program, table, &Decisions::default(), compiled.map.used()) {
        Ok(timing) => End::Done { cycles: timing.cycles() },
        Err(SimError::Fault { cycle, channel, command, mnemonic, kind, direction, .. }) => {
            assert_eq!((channel, program.commands()[command].info().mnemonic), (fault.port(), mnemonic));
            assert_eq!(kind == FaultKind::Ecc, matches!(fault, Fault::Ecc { .. }));
            assert_eq!(direction == "write", matches!(fault, Fault::SlaveError { dir: Dir::Write, .. }));
            End::Fault { cycle, command, direction }
        }
        Err(SimError::Stalled { command, mnemonic, unit, state, .. }) => {
            assert!(matches!(fault, Fault::Stuck { .. }), "{fault:?} has stalled the machine");
            assert_eq!(program.commands()[command].info().mnemonic, mnemonic);
            assert!(state.contains("wave 0: next to dispatch ") && state.contains("channel "), "{state}");
            End::Stalled { command, unit }
        }
        Err(other) => panic!("{other}"),
    }
}

/// Whatever breaks wherever, a run ends: with its result, the fault's command, or the watchdog's state; however the
/// cycles are found.
#[test]
fn a_broken_memory_ends_the_run() {
    for preset in ["tiny", "edge"] {
        let model = shipped(preset);
        let config = model.config();
        let run = first_run(&model);
        let reach = run.0.map.used().get();
        let ends = RefCell::new(Vec::new());
        let cases = ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() };
        let strategy = (memory_faults(config, reach), 0usize..3);
        let result = TestRunner::new(cases).run(&strategy, |(fault, drs)| {
            let end = |advance| {
                let options =
                    SimOptions { advance, faults: vec![fault.clone()], ..options(Drs::ALL[drs].0, 0) };
                broken_run(config, &run, options)
            };
            ends.borrow_mut().push(end(Advance::Bulk));
            prop_assert_eq!(end(Advance::Bulk), end(Advance::Step));
            Ok(())
        });
        result.unwrap();
        let seen = |what: fn(&End) -> bool| ends.borrow().iter().filter(|e| what(e)).count();
        let done = seen(|e| matches!(e, End::Done { .. }));
        let reads = seen(|e| matches!(e, End::Fault { direction: "read", .. }));
        let writes = seen(|e| matches!(e, End::Fault { direction: "write", .. }));
        let stalled = seen(|e| matches!(e, End::Stalled { .. }));
        println!("{preset}: {done} done, {reads} read and {writes} write faults, {stalled} stalled");
        assert!(done > 0 && reads > 0 && writes > 0 && stalled > 0, "{preset}: {:?}", ends.borrow());
    }
}

/// Programs of the dense policy, and the table of a run with two rows.
fn first_run(model: &Arc<PackedModel>) -> (Compiled, StepTable) {
    let size = SessionOptions { slots: 2, positions: 40 };
    let mut session = session(model, &Policy::dense(), size, SimOptions::default());
    let table = capture(&mut session, &[request(1, true, 1)], 1).remove(3).table;
    (session.compiled().clone(), table)
}

fn faulty(fault: Fault) -> String {
    let model = shipped("edge");
    let size = SessionOptions { slots: 1, positions: 40 };
    let options = SimOptions { faults: vec![fault], ..SimOptions::default() };
    let mut session = session(&model, &Policy::dense(), size, options);
    session.start(request(1, false, 20)).unwrap();
    let mut failed = session.generate().find_map(Result::err);
    failed.take().unwrap().to_string()
}

/// What a user reads.
#[test]
fn faults_name_what_they_hit() {
    let all = || 0..1 << 29;
    let read = faulty(Fault::SlaveError { port: 2, dir: Dir::Read, range: all() });
    assert!(read.starts_with("sim: cycle ") && read.contains("channel 2 answered a read for the "), "{read}");
    assert!(read.contains("AXI error response (SLVERR)"), "{read}");
    let write = faulty(Fault::SlaveError { port: 0, dir: Dir::Write, range: all() });
    assert!(write.contains("channel 0 answered a write for the memory writer"), "{write}");
    let ecc = faulty(Fault::Ecc { port: 3, range: all() });
    assert!(ecc.contains("channel 3") && ecc.contains("uncorrectable ECC error"), "{ecc}");
    let stuck = faulty(Fault::Stuck { port: 1, from: 3000 });
    assert!(stuck.starts_with("sim: watchdog: nothing has moved since cycle "), "{stuck}");
    assert!(stuck.contains("State:\n") && stuck.contains("MAC"), "{stuck}");
}

#[test]
fn what_does_not_fit_is_refused_before_it_runs() {
    let model = shipped("tiny");
    let (compiled, table) = first_run(&model);
    let program = &compiled.body[0];
    let machine = |config: &AccelConfig, size: Bytes| {
        let golden = Golden::new(config.clone(), Memory::new(config, size));
        Simulator::new(golden, SimOptions::default()).unwrap()
    };
    let mut small = machine(model.config(), Bytes(program.reach().get() - 1));
    let error = small.run(program, &table).err().unwrap();
    assert!(matches!(error, SimError::Golden(GoldenError::Image { .. })), "{error}");
    // A board on which the data fits and the program behind it does not.
    let room = program.reach().get().next_multiple_of(4096);
    let mut fields = model.config().fields().clone();
    fields.channel_bytes = room;
    let board = AccelConfig::new(fields).unwrap();
    let mut full = machine(&board, Bytes(room));
    full.golden_mut().memory_mut().channel_mut(0).fill(0x55);
    let before = full.golden().memory().channel(0).to_vec();
    let error = full.run(program, &table).err().unwrap();
    assert!(matches!(error, SimError::NoRoom { left: Bytes(0), .. }), "{error}");
    assert!(error.to_string().contains("use fewer slots or a board with more memory"), "{error}");
    assert_eq!(full.golden().memory().channel(0), before, "nothing was executed");
    // A model that no board of this kind holds.
    let asked = Scenario {
        workload: Workload::named("vila-u-7b").unwrap(),
        config: AccelConfig::preset("edge").unwrap(),
        formats: PackOptions::default(),
        policy: Policy::dense(),
        sim: SimOptions::default(),
        batch: Batch { rows: 1, paired: false },
        statistics: Statistics::default(),
        positions: Some(0..1),
    };
    let error = asked.prepare().err().unwrap().to_string();
    assert!(
        error.contains("bytes are left; use fewer slots") && error.contains("536870912 bytes"),
        "{error}"
    );
}
