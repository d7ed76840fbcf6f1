//! Sessions: slots claimed and freed, requests refused, cancellation, ages, statistics.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_host::image::Format;
use fastcar_host::model::Model;
use fastcar_host::model::testing::{LlamaSpec, VideoSpec};
use fastcar_host::pack::PackOptions;
use fastcar_host::packed::PackedModel;
use fastcar_host::policy::{Gate, Method, PairCoupling, Policy};
use fastcar_host::sampler::Sampling;
use fastcar_host::session::{Request, Session};
use fastcar_tests::{decode_bits, golden_session, packed};
use std::sync::Arc;

/// Frames of 12 tokens, prompts of 4.
fn model() -> Arc<PackedModel> {
    let dir = tempfile::tempdir().unwrap();
    VideoSpec { body: LlamaSpec::default(), ..VideoSpec::default() }.write(dir.path()).unwrap();
    packed(&Model::open(dir.path()).unwrap(), "tiny", PackOptions { weights: Format::MxInt8, head: None })
        .unwrap()
}

fn session(policy: Policy, slots: u32) -> Session {
    golden_session(&model(), policy, slots, 64).unwrap()
}

fn request() -> Request {
    Request {
        prompt: vec![50, 48, 49, 51],
        guidance: None,
        positions: 40,
        sampling: Sampling::GREEDY,
        allowed: 0..48,
        given: Vec::new(),
    }
}

fn guided() -> Request {
    Request { guidance: Some((vec![50, 50, 50, 50], 1.5)), ..request() }
}

fn refusal(change: impl FnOnce(&mut Request)) -> String {
    let mut bad = request();
    change(&mut bad);
    session(Policy::dense(), 2).start(bad).unwrap_err().to_string()
}

#[test]
fn bad_requests_are_refused() {
    let same = |found: String, expected: &str| assert_eq!(found, expected);
    same(refusal(|r| r.prompt.clear()), "request.prompt is 0: a prompt has at least one token");
    same(refusal(|r| r.positions = 0), "request.positions is 0: at least one position is generated");
    same(
        refusal(|r| r.positions = 61),
        "request.positions is 65: the session holds 64 positions, prompt included",
    );
    same(refusal(|r| r.prompt[2] = 57), "request.prompt is 57: the vocabulary has 57 tokens");
    same(refusal(|r| r.allowed = 3..3), "request.allowed is 3: a non-empty range within 0..57");
    same(refusal(|r| r.allowed = 0..58), "request.allowed is 58: a non-empty range within 0..57");
    same(refusal(|r| r.given = vec![vec![1, 2]]), "request.given is 2: a position has 1 tokens");
    same(refusal(|r| r.given = vec![vec![99]]), "request.given is 99: tokens are below 57");
    same(refusal(|r| r.sampling.temperature = f32::NAN), "temperature is NaN; it must be at least 0");
    same(
        refusal(|r| r.guidance = Some((vec![1], 2.0))),
        "request.guidance is 1: both prompts of a guided sequence have the same length, 4 here",
    );
}

#[test]
fn slots_are_claimed_in_pairs_and_freed() {
    let mut session = session(Policy::dense(), 4);
    let single = session.start(request()).unwrap();
    let pair = session.start(guided()).unwrap();
    assert_eq!((session.slots(single).unwrap(), session.slots(pair).unwrap()), (&[0][..], &[2, 3][..]));
    let error = session.start(guided()).unwrap_err().to_string();
    let expected =
        "the sequence needs 2 adjacent slots, 1 of 4 are free: wait for a sequence to end or cancel one";
    assert_eq!(error, expected);
    let beside = session.start(request()).unwrap();
    assert_eq!(session.slots(beside).unwrap(), [1], "a single row goes beside another single row");
    session.cancel(single).unwrap();
    session.finish(beside).unwrap();
    assert_eq!(session.start(guided()).map(|id| session.slots(id).unwrap().to_vec()).unwrap(), [0, 1]);
    assert_eq!(
        session.cancel(single).unwrap_err().to_string(),
        "sequence 0 is not in this session: it has ended or was cancelled"
    );
}

#[test]
fn a_cancelled_sequence_leaves_no_trace() {
    let expected = decode_bits(&mut session(Policy::replay(Gate::Always).unwrap(), 4), &[request()]).unwrap();
    let mut busy = session(Policy::replay(Gate::Always).unwrap(), 4);
    let other = busy.start(guided()).unwrap();
    busy.prefill().unwrap();
    (0..20).for_each(|_| assert_eq!(busy.step().unwrap().len(), 1));
    busy.cancel(other).unwrap();
    assert_eq!(decode_bits(&mut busy, &[request()]).unwrap(), expected);
}

#[test]
fn prefill_stops_before_the_first_position() {
    let mut session = session(Policy::dense(), 2);
    session.start(request()).unwrap();
    session.prefill().unwrap();
    let first = session.step().unwrap();
    assert_eq!((first.len(), first[0].position), (1, 0));
    assert_eq!(session.generate().count(), 39);
}

/// Positions of a 40-position video that are processed: all but the last; frames of 12.
const PROCESSED: u64 = 39;

fn replays(gate: Gate, max_age: Option<u32>) -> (f64, u64) {
    let method = Method::Replay { gate, coupling: PairCoupling::Independent, max_age };
    let mut session = session(Policy::new(method).unwrap(), 2);
    let id = session.start(request()).unwrap();
    assert_eq!(session.generate().count(), 40);
    let stats = session.finish(id).unwrap();
    (stats.replay_ratio(), stats.layers[0].eligible)
}

#[test]
fn only_the_first_frame_is_always_dense() {
    assert_eq!(replays(Gate::Always, None), (1.0, PROCESSED - 12));
    assert_eq!(replays(Gate::Never, None), (0.0, 0), "never is the same as not being allowed");
}

#[test]
fn a_bound_on_age_recomputes() {
    // Frames 1, 2, 3 (the last with 3 positions) under a bound of 1: replay, compute, replay.
    let (ratio, eligible) = replays(Gate::Always, Some(1));
    assert_eq!((ratio, eligible), (1.0, 12 + 3), "at the bound a position is not eligible");
    assert_eq!(replays(Gate::Always, Some(2)).1, 24);
}

#[test]
fn random_and_budget_keep_their_ratio() {
    let (budget, _) = replays(Gate::Budget { ratio: 0.5 }, None);
    assert!((budget - 0.5).abs() < 0.04, "{budget}");
    let (random, _) = replays(Gate::Random { ratio: 0.5, seed: 3 }, None);
    assert!((0.2..0.8).contains(&random), "{random}");
}

#[test]
fn traffic_counts_what_is_skipped() {
    let traffic = |policy: Policy| {
        let mut session = session(policy, 2);
        let id = session.start(request()).unwrap();
        session.generate().for_each(|g| assert!(g.is_ok()));
        session.finish(id).unwrap().traffic()
    };
    assert!((traffic(Policy::dense()) - 1.0).abs() < 1e-6);
    // Per layer: attention 4 * 64 * 64 weights, MLP 3 * 64 * 96.
    let attention = 4.0 * 64.0 * 64.0 / (4.0 * 64.0 * 64.0 + 3.0 * 64.0 * 96.0);
    assert!((traffic(Policy::replay(Gate::Always).unwrap()) - attention).abs() < 1e-6);
    assert!((traffic(Policy::delta(0.0).unwrap()) - 1.0).abs() < 0.02);
    assert!(traffic(Policy::delta(100.0).unwrap()) < 1e-6);
}

#[test]
fn policies_survive_their_files() {
    for policy in [
        Policy::dense(),
        Policy::replay(Gate::InputDelta { thresholds: vec![0.1, 0.0] }).unwrap(),
        Policy::replay(Gate::Tas {
            form: Default::default(),
            thresholds: vec![f32::NEG_INFINITY, f32::INFINITY],
        })
        .unwrap(),
        Policy::replay(Gate::Random { ratio: 0.3, seed: 9 }).unwrap(),
        Policy::delta(0.25).unwrap(),
    ] {
        let text = policy.to_toml().unwrap();
        assert_eq!(Policy::from_toml(&text).unwrap(), policy, "{text}");
    }
}

#[test]
fn bad_policies_are_refused() {
    let refused = |text: &str| Policy::from_toml(text).unwrap_err().to_string();
    let with = |rest: &str| refused(&format!("version = 1\nkind = \"replay\"\n{rest}"));
    assert_eq!(with("gate = \"random\"\nratio = 1.5\nseed = 1"), "policy.ratio = 1.5: must be from 0 to 1");
    assert_eq!(
        with("gate = \"input-delta\"\nthresholds = [-1.0]"),
        "policy.thresholds = -1: must be at least 0 (relative L2 distance)"
    );
    assert_eq!(
        with("gate = \"always\"\nmax_age = 0"),
        "policy.max_age = 0: must be at least 1 (leave it out for no bound)"
    );
    assert_eq!(
        refused("version = 7\nkind = \"dense\""),
        "policy version 7: this program reads version 1; run `fastcar calibrate` again"
    );
    assert!(with("gate = \"psychic\"").contains("psychic"));
    let wrong = Policy::replay(Gate::Tas { form: Default::default(), thresholds: vec![0.0; 3] }).unwrap();
    let error = golden_session(&model(), wrong, 2, 64).err().unwrap().to_string();
    assert_eq!(error, "policy.thresholds has 3 entries: give 1, or one for each of the model's 2 layers");
}

#[test]
fn sessions_that_do_not_fit_are_refused() {
    let refused = |slots, positions| {
        golden_session(&model(), Policy::dense(), slots, positions).err().unwrap().to_string()
    };
    assert_eq!(refused(5, 64), "slots is 5: preset 'tiny' allows 1 to 4");
    assert_eq!(refused(0, 64), "slots is 0: preset 'tiny' allows 1 to 4");
    assert_eq!(refused(2, 2000), "positions is 2000: preset 'tiny' allows 1 to 1024");
    assert_eq!(refused(2, 257), "positions is 257: the model allows 1 to 256");
}
