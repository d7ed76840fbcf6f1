//! Every backend gives the same bits: tokens and logits of whole decodes, and of decodes that move from one backend to
//! another in between. A backend joins by a line in [`BACKENDS`].
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../host/tests/opencl/alone.rs"]
mod alone;

use alone::{alone, in_child};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::units::Bytes;
use fastcar_host::backend::{Backend, GoldenBackend, OpenClBackend, RtlBackend, RtlOptions, SimBackend};
use fastcar_host::model::Model;
use fastcar_host::model::testing::VideoSpec;
use fastcar_host::opencl::DeviceOptions;
use fastcar_host::pack::PackOptions;
use fastcar_host::packed::PackedModel;
use fastcar_host::policy::{DeltaThresholds, Gate, Method, Policy, TasForm};
use fastcar_host::sampler::Sampling;
use fastcar_host::session::{Request, Session, SessionOptions, Snapshot};
use fastcar_sim::SimOptions;
use fastcar_tests::opencl::platforms::{Platform, loader, not_run, vendors};
use fastcar_tests::rtl::skipped;
use fastcar_tests::{decode_bits, moving_digits, packed};
use fastcar_xclbin::image::FastcarImage;
use std::path::Path;
use std::sync::Arc;

/// A backend's name, and how one is made for a configuration.
type Made = (&'static str, fn(&AccelConfig) -> Box<dyn Backend>);

/// The first is what the others are compared with.
const BACKENDS: [Made; 3] = [
    ("golden", |_| Box::new(GoldenBackend::new())),
    ("sim", |_| Box::new(SimBackend::new(SimOptions::default()))),
    ("opencl", |config| Box::new(OpenClBackend::open(&DeviceOptions::default(), config).unwrap())),
];

/// The generated hardware joins where the machine is the smallest and the model a small one: it simulates every gate.
const HARDWARE: Made =
    ("rtl", |config| Box::new(RtlBackend::open(config, RtlOptions::default(), &()).unwrap()));

/// A frame of the shipped model has 64 positions; behind it, policies begin to skip.
const POSITIONS: u32 = 72;
const SIZE: SessionOptions = SessionOptions { slots: 4, positions: 80 };

fn shipped(preset: &str) -> Arc<PackedModel> {
    packed(&Model::open(moving_digits()).unwrap(), preset, PackOptions::default()).unwrap()
}

/// A small model with frames of 12 positions.
fn small() -> Arc<PackedModel> {
    let dir = tempfile::tempdir().unwrap();
    VideoSpec::default().write(dir.path()).unwrap();
    packed(&Model::open(dir.path()).unwrap(), "tiny", PackOptions::default()).unwrap()
}

/// Positions of the small model: into its second frame.
const FEW: u32 = 16;

/// Makes the hardware: where that has not been done before, it takes longer than a test in a process of its own may.
fn make_hardware() {
    drop((HARDWARE.1)(&AccelConfig::preset("tiny").unwrap()));
}

/// As [`alone`]; no process where the tests of the hardware are left out.
fn alone_with_hardware(test: &str) -> bool {
    if skipped() {
        return false;
    }
    if !in_child(test) {
        make_hardware();
    }
    alone(test, &[])
}

fn backends_and_hardware() -> Vec<Made> {
    BACKENDS.into_iter().chain([HARDWARE]).collect()
}

fn policies() -> Vec<(&'static str, Policy)> {
    let file = |name: &str| Policy::load(&moving_digits().join(name)).unwrap();
    vec![
        ("dense", Policy::dense()),
        ("sparse", Policy::dense().with_attention("sink4+local30".parse().unwrap())),
        ("always", Policy::replay(Gate::Always).unwrap()),
        ("input delta", file("policy-input-delta.toml")),
        ("delta", file("policy-delta.toml")),
    ]
}

fn request(seed: u64, guided: bool, positions: u32) -> Request {
    Request {
        prompt: vec![2, 3, 5, 4],
        guidance: guided.then(|| (vec![6, 6, 6, 6], 2.0)),
        positions,
        sampling: Sampling { temperature: 1.0, top_k: 20, top_p: 0.95, seed },
        allowed: 8..48,
        given: Vec::new(),
    }
}

/// One sequence and a guided pair beside it.
fn requests(positions: u32) -> [Request; 2] {
    [request(1, false, positions), request(2, true, positions)]
}

fn session(made: Made, model: &Arc<PackedModel>, policy: &Policy) -> Session {
    Session::open((made.1)(model.config()), Arc::clone(model), policy.clone(), SIZE).unwrap()
}

fn same_bits(
    backends: &[Made],
    model: &Arc<PackedModel>,
    policies: Vec<(&'static str, Policy)>,
    positions: u32,
) {
    for (name, policy) in policies {
        let decode = |made| decode_bits(&mut session(made, model, &policy), &requests(positions)).unwrap();
        let expected = decode(backends[0]);
        assert!(expected.iter().all(|bits| bits.len() > positions as usize * 40));
        for made in &backends[1..] {
            let preset = model.config().name();
            assert!(decode(*made) == expected, "{preset}, policy {name}: {} differs", made.0);
        }
    }
}

/// Tokens and logits of up to `count` further positions.
fn bits(session: &mut Session, count: u32) -> Vec<u32> {
    let mut out = Vec::new();
    for _ in 0..count {
        for made in session.step().unwrap() {
            out.extend(&made.tokens);
            for &slot in session.slots(made.sequence).unwrap() {
                out.extend(session.logits(slot).unwrap().iter().map(|l| l.to_bits()));
            }
        }
    }
    out
}

/// A decode that is interrupted behind its first frame, and goes on elsewhere.
fn moves(backends: &[Made], model: &Arc<PackedModel>, positions: u32) {
    let preset = model.config().name();
    let policy = Policy::replay(Gate::Always).unwrap();
    let rest = 6;
    let started = |made| {
        let mut session = session(made, model, &policy);
        for request in requests(positions) {
            session.start(request).unwrap();
        }
        session.prefill().unwrap();
        let first = bits(&mut session, positions - rest);
        (session.snapshot().unwrap().to_bytes().unwrap(), first, bits(&mut session, rest))
    };
    let expected = started(backends[0]);
    assert!(!expected.2.is_empty());
    for &from in backends {
        let (snapshot, first, _) = if from.0 == backends[0].0 { expected.clone() } else { started(from) };
        assert!(first == expected.1, "{preset}: {} differs before the snapshot", from.0);
        assert!(snapshot == expected.0, "{preset}: {} gives another snapshot", from.0);
        for &to in backends {
            let snapshot = Snapshot::from_bytes(&snapshot).unwrap();
            let backend = (to.1)(model.config());
            let mut session = Session::restore(backend, Arc::clone(model), &snapshot).unwrap();
            assert!(bits(&mut session, rest) == expected.2, "{preset}: from {} to {}", from.0, to.0);
        }
    }
}

/// A model of which only parts are on the device at a time.
fn streams(backends: &[Made], model: &Arc<PackedModel>, positions: u32) {
    let preset = model.config().name();
    let policy = Policy::replay(Gate::Always).unwrap();
    let resident = session(backends[0], model, &policy).compiled().map.used();
    let memory = Bytes(resident.get() * 9 / 10);
    let expected = decode_bits(&mut session(backends[0], model, &policy), &requests(positions)).unwrap();
    for made in backends {
        let backend = (made.1)(model.config());
        let mut session =
            Session::open_streamed(backend, Arc::clone(model), policy.clone(), SIZE, memory).unwrap();
        assert!(
            decode_bits(&mut session, &requests(positions)).unwrap() == expected,
            "{preset}: {} differs",
            made.0
        );
        assert!(session.streamed() > Bytes(0), "{preset}: all fits");
    }
}

/// Runs a body once for each way to the simulated platform: its library opened directly, behind the system's loader, and
/// linked into this program.
fn on_every_route(test: &str, body: impl FnOnce()) {
    if in_child(test) {
        check_route();
        return body();
    }
    let scratch = tempfile::tempdir().unwrap();
    let vendors = vendors(scratch.path(), &alone::platform()).unwrap();
    let vendors = vendors.to_str().unwrap();
    alone(test, &[(ROUTE, "direct")]);
    if let Some(loader) = loader().unwrap() {
        let library = loader.to_str().unwrap();
        alone(test, &[(ROUTE, "loader"), ("OPENCL_DYLIB_PATH", library), ("OCL_ICD_VENDORS", vendors)]);
    }
    alone(test, &[(ROUTE, "linked"), ("OPENCL_DYLIB_PATH", "")]);
}

/// Names the way in the process that takes it.
const ROUTE: &str = "FASTCAR_TEST_ROUTE";

/// Makes sure that the device is reached the way that is meant, by the libraries that this process has open.
fn check_route() {
    assert!(fastcar_icd::link() > 0);
    let config = AccelConfig::preset("tiny").unwrap();
    drop(OpenClBackend::open(&DeviceOptions::default(), &config).unwrap());
    let open = std::fs::read_to_string("/proc/self/maps").unwrap();
    let found = (open.contains("libOpenCL.so"), open.contains("libfastcar_icd.so"));
    let expected = match std::env::var(ROUTE).unwrap().as_str() {
        "direct" => (false, true),
        "loader" => (true, true),
        _ => (false, false),
    };
    assert_eq!(found, expected);
}

#[test]
fn the_smallest_machine_gives_the_same_bits_on_every_backend() {
    on_every_route("the_smallest_machine_gives_the_same_bits_on_every_backend", || {
        same_bits(&BACKENDS, &shipped("tiny"), policies(), POSITIONS);
    });
}

#[test]
fn the_edge_machine_gives_the_same_bits_on_every_backend() {
    if alone("the_edge_machine_gives_the_same_bits_on_every_backend", &[]) {
        same_bits(&BACKENDS, &shipped("edge"), policies(), POSITIONS);
    }
}

#[test]
fn a_decode_moves_from_any_backend_to_any_other() {
    if alone("a_decode_moves_from_any_backend_to_any_other", &[]) {
        moves(&BACKENDS, &shipped("edge"), POSITIONS);
    }
}

#[test]
fn weights_are_streamed_to_any_backend() {
    on_every_route("weights_are_streamed_to_any_backend", || streams(&BACKENDS, &shipped("edge"), POSITIONS));
}

/// Without block lists, which it does not read.
#[test]
fn the_hardware_gives_the_same_bits() {
    if !alone_with_hardware("the_hardware_gives_the_same_bits") {
        return;
    }
    let gates = [
        ("always", Gate::Always),
        ("input delta", Gate::InputDelta { thresholds: vec![0.6, 0.6] }),
        ("tas", Gate::Tas { form: TasForm::Code, thresholds: vec![-1.0] }),
    ];
    let delta = Method::Delta { thresholds: vec![DeltaThresholds::uniform(0.3)], max_age: None };
    let replays = gates.map(|(name, gate)| (name, Policy::replay(gate).unwrap()));
    let others = [("dense", Policy::dense()), ("delta", Policy::new(delta).unwrap())];
    same_bits(&backends_and_hardware(), &small(), others.into_iter().chain(replays).collect(), FEW);
}

/// Bits and device times of a decode are the same whether the platform runs the models of the machine or the hardware.
#[test]
fn the_platform_runs_the_hardware() {
    const NAME: &str = "the_platform_runs_the_hardware";
    const OUT: &str = "FASTCAR_TEST_OUT";
    if in_child(NAME) {
        return std::fs::write(std::env::var_os(OUT).unwrap(), bits_and_times()).unwrap();
    }
    if skipped() {
        return;
    }
    make_hardware();
    let scratch = tempfile::tempdir().unwrap();
    let [values, rtl] = ["values", "rtl"].map(|mode| {
        let file = scratch.path().join(mode);
        alone(NAME, &[("FASTCAR_SIM_MODE", mode), (OUT, file.to_str().unwrap())]);
        std::fs::read_to_string(file).unwrap()
    });
    assert!(values.lines().count() > FEW as usize);
    assert_eq!(values, rtl);
}

/// A decode on the platform: by step, the time of each run in nanoseconds, and all bits.
fn bits_and_times() -> String {
    let model = small();
    let mut session = session(BACKENDS[2], &model, &Policy::replay(Gate::Always).unwrap());
    for request in requests(FEW) {
        session.start(request).unwrap();
    }
    let mut out = String::new();
    loop {
        let mut times = Vec::new();
        let made = session.step_with(&mut |run| times.push(run.device_time.unwrap().as_nanos())).unwrap();
        if times.is_empty() {
            return out;
        }
        let slots = made.iter().flat_map(|m| session.slots(m.sequence).unwrap());
        let bits: Vec<u32> =
            slots.flat_map(|&slot| session.logits(slot).unwrap()).map(|l| l.to_bits()).collect();
        out.push_str(&format!("{times:?} {bits:?}\n"));
    }
}

#[test]
fn a_decode_moves_to_the_hardware_and_away() {
    if !alone_with_hardware("a_decode_moves_to_the_hardware_and_away") {
        return;
    }
    moves(&backends_and_hardware(), &small(), FEW);
}

#[test]
fn weights_are_streamed_to_the_hardware() {
    if !alone_with_hardware("weights_are_streamed_to_the_hardware") {
        return;
    }
    streams(&backends_and_hardware(), &small(), FEW);
}

/// The cards' own runtime with a device that computes nothing: it takes every call of a decode, and keeps the bytes of
/// every channel apart.
#[test]
fn the_vendors_runtime_takes_the_calls_of_a_decode() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(xrt) = Platform::xrt(scratch.path()).unwrap() else {
        return not_run("a decode on the vendor's runtime: XRT 2.13 is not installed");
    };
    let mut variables: Vec<(&str, &str)> = vec![("OPENCL_DYLIB_PATH", xrt.library.to_str().unwrap())];
    variables.extend(xrt.environment.iter().map(|(n, v)| (n.to_str().unwrap(), v.to_str().unwrap())));
    if alone("the_vendors_runtime_takes_the_calls_of_a_decode", &variables) {
        on_the_vendors_runtime(scratch.path(), "u55c");
    }
}

fn on_the_vendors_runtime(scratch: &Path, preset: &str) {
    let model = shipped(preset);
    let image = scratch.join("image.xclbin");
    std::fs::write(&image, FastcarImage::simulator(model.config()).unwrap().to_bytes()).unwrap();
    let options = DeviceOptions { image: Some(image), ..DeviceOptions::default() };
    let mut backend = OpenClBackend::open(&options, model.config()).unwrap();
    let compiled = session(BACKENDS[0], &model, &Policy::dense()).compiled().clone();
    backend.load(&model, compiled.map.used()).unwrap();
    for channel in 0..model.config().channels() as usize {
        let mut constants = vec![0; model.channel(channel).len()];
        backend.read_channel(channel, 0, &mut constants).unwrap();
        assert!(constants == model.channel(channel), "channel {channel}");
        let mut state = vec![1; 4096];
        backend.read_channel(channel, compiled.state_start, &mut state).unwrap();
        assert!(state.iter().all(|&b| b == 0), "channel {channel} is not zeroed");
    }
    let mut session =
        Session::open(Box::new(backend), Arc::clone(&model), policies().remove(3).1, SIZE).unwrap();
    for request in requests(POSITIONS) {
        session.start(request).unwrap();
    }
    assert_eq!(session.generate().filter(|made| made.is_ok()).count(), 2 * POSITIONS as usize);
}
