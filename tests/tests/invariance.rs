//! The rule of rules: the bits of a sequence depend on its model, its request and the policy, and on nothing else.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::config::AccelConfig;
use fastcar_host::image::Format;
use fastcar_host::model::Model;
use fastcar_host::model::testing::{LlamaSpec, VideoSpec};
use fastcar_host::pack::PackOptions;
use fastcar_host::policy::{DeltaThresholds, Gate, Method, PairCoupling, Policy, TasForm};
use fastcar_host::sampler::Sampling;
use fastcar_host::session::{Request, Session, SessionOptions, Snapshot};
use fastcar_host::{backend::GoldenBackend, packed::PackedModel};
use fastcar_tests::{decode_bits, golden_session, packed};
use proptest::prelude::*;
use std::sync::Arc;

/// Frames of 12 tokens: 36 positions are three frames.
const POSITIONS: u32 = 30;

fn model(seed: u64, format: Format, preset: &str) -> Arc<PackedModel> {
    let dir = tempfile::tempdir().unwrap();
    let body = LlamaSpec { seed, heads: 4, kv_heads: 2, ..LlamaSpec::default() };
    VideoSpec { body, ..VideoSpec::default() }.write(dir.path()).unwrap();
    packed(&Model::open(dir.path()).unwrap(), preset, PackOptions { weights: format, head: None }).unwrap()
}

fn request(seed: u64, guided: bool) -> Request {
    Request {
        prompt: vec![48 + (seed % 3) as u32, 49, 51, 52],
        guidance: guided.then(|| (vec![54, 54, 54, 54], 2.0)),
        positions: POSITIONS,
        sampling: Sampling { temperature: 1.0, top_k: 20, top_p: 0.95, seed },
        allowed: 0..48,
        given: Vec::new(),
    }
}

fn policies() -> impl Strategy<Value = Policy> {
    let thresholds = prop::collection::vec(-2.0f32..1.0, 2);
    let coupling =
        prop_oneof![Just(PairCoupling::Independent), Just(PairCoupling::BothAgree), Just(PairCoupling::Mean)];
    let gate = prop_oneof![
        (thresholds, any::<bool>()).prop_map(|(thresholds, code)| Gate::Tas {
            form: if code { TasForm::Code } else { TasForm::Paper },
            thresholds
        }),
        prop::collection::vec(0.1f32..1.2, 2).prop_map(|thresholds| Gate::InputDelta { thresholds }),
        Just(Gate::Always),
        Just(Gate::Never),
        (0f32..1.0, any::<u64>()).prop_map(|(ratio, seed)| Gate::Random { ratio, seed }),
        (0f32..1.0).prop_map(|ratio| Gate::Budget { ratio }),
    ];
    let age = prop::option::of(1u32..3);
    let attention = prop::sample::select(vec![
        "dense",
        "dense",
        "sink2+local9",
        "local20,dense",
        "prompt+frame-stride1~2",
        "sink4+local5/prompt+frame-stride2~3,local7",
    ]);
    let method = prop_oneof![
        1 => Just(Policy::dense()),
        4 => (gate, coupling, age.clone()).prop_map(|(gate, coupling, max_age)| {
            Policy::new(Method::Replay { gate, coupling, max_age }).unwrap()
        }),
        2 => (0.2f32..1.5, age).prop_map(|(tau, max_age)| {
            Policy::new(Method::Delta { thresholds: vec![DeltaThresholds::uniform(tau)], max_age }).unwrap()
        }),
    ];
    (method, attention).prop_map(|(policy, text)| policy.with_attention(text.parse().unwrap()))
}

/// The bits of a request decoded alone.
fn alone(model: &Arc<PackedModel>, policy: &Policy, request: &Request) -> Vec<u32> {
    let mut session = golden_session(model, policy.clone(), 2, 40).unwrap();
    decode_bits(&mut session, std::slice::from_ref(request)).unwrap().remove(0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn threads_do_not_matter(seed: u64, policy in policies(), guided: bool) {
        let model = model(seed, Format::MxFp4, "edge");
        let request = request(seed, guided);
        let expected = alone(&model, &policy, &request);
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            // Every command is shared out, however small.
            let backend = Box::new(GoldenBackend::with_parallel_from(0));
            let options = SessionOptions { slots: 2, positions: 40 };
            let mut session = Session::open(backend, Arc::clone(&model), policy.clone(), options).unwrap();
            let found = pool.install(|| decode_bits(&mut session, std::slice::from_ref(&request)).unwrap());
            prop_assert!(found[0] == expected, "{threads} threads");
        }
    }

    #[test]
    fn presets_do_not_matter(seed: u64, policy in policies(), guided: bool, int8: bool) {
        let format = if int8 { Format::MxInt8 } else { Format::MxFp4 };
        let request = request(seed, guided);
        let expected = alone(&model(seed, format, "tiny"), &policy, &request);
        for preset in &AccelConfig::PRESETS[1..] {
            prop_assert!(alone(&model(seed, format, preset), &policy, &request) == expected, "preset {preset}");
        }
    }

    #[test]
    fn neighbours_do_not_matter(seed: u64, policy in policies(), guided: bool, before in 0usize..4) {
        let model = model(seed, Format::MxFp4, "u55c");
        let mine = request(seed, guided);
        let expected = alone(&model, &policy, &mine);
        let mut requests = neighbours(seed, 32 - if guided { 2 } else { 1 });
        requests.insert(before, mine);
        let mut session = golden_session(&model, policy, 32, 40).unwrap();
        let all = decode_bits(&mut session, &requests).unwrap();
        prop_assert!(all[before] == expected);
    }

    #[test]
    fn a_restored_run_goes_on_as_if_nothing_had_happened(
        seed: u64, policy in policies(), guided: bool, stop in 1u32..30,
    ) {
        let model = model(seed, Format::MxInt8, "tiny");
        let request = request(seed, guided);
        let whole = tokens(&mut golden_session(&model, policy.clone(), 2, 40).unwrap(), Some(&request), POSITIONS);
        let mut session = golden_session(&model, policy, 2, 40).unwrap();
        let mut parts = tokens(&mut session, Some(&request), stop);
        let bytes = session.snapshot().unwrap().to_bytes().unwrap();
        drop(session);
        let snapshot = Snapshot::from_bytes(&bytes).unwrap();
        let mut session = Session::restore(Box::new(GoldenBackend::new()), model, &snapshot).unwrap();
        parts.extend(tokens(&mut session, None, POSITIONS));
        prop_assert_eq!(parts, whole);
    }
}

/// Requests that fill `rows` slots, some of them guided pairs.
fn neighbours(seed: u64, rows: u64) -> Vec<Request> {
    let pairs = rows / 4;
    let single = rows - 2 * pairs;
    (0..pairs + single).map(|i| request(seed.wrapping_add(i + 1), i < pairs)).collect()
}

/// Tokens of up to `count` further positions.
fn tokens(session: &mut Session, request: Option<&Request>, count: u32) -> Vec<u32> {
    if let Some(request) = request {
        session.start(request.clone()).unwrap();
    }
    session.generate().take(count as usize).map(|g| g.unwrap().tokens[0]).collect()
}
