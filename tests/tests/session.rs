//! Sessions: slots claimed and freed, requests refused, cancellation, ages, statistics, snapshots.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_host::backend::GoldenBackend;
use fastcar_host::image::Format;
use fastcar_host::model::Model;
use fastcar_host::model::testing::{LlamaSpec, VideoSpec, VilaUSpec};
use fastcar_host::pack::PackOptions;
use fastcar_host::packed::PackedModel;
use fastcar_host::policy::{Gate, Method, PairCoupling, Policy};
use fastcar_host::sampler::Sampling;
use fastcar_host::session::{Request, SequenceId, SequenceSnapshot, Session, SessionOptions, Snapshot};
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
    assert_eq!(refused(2, 2000), "positions is 2000: the score buffer of preset 'tiny' allows 1 to 1024");
    assert_eq!(refused(2, 257), "positions is 257: the model allows 1 to 256");
}

/// Policies with every kind of state between steps.
fn stateful() -> Vec<Policy> {
    let aged = Method::Replay {
        gate: Gate::InputDelta { thresholds: vec![0.5] },
        coupling: PairCoupling::BothAgree,
        max_age: Some(1),
    };
    vec![
        Policy::dense(),
        Policy::dense().with_attention("sink2+local9".parse().unwrap()),
        Policy::replay(Gate::Random { ratio: 0.5, seed: 3 }).unwrap(),
        Policy::new(aged).unwrap(),
        Policy::delta(0.3).unwrap(),
    ]
}

fn drawn(seed: u64, guided: bool) -> Request {
    let sampling = Sampling { temperature: 1.0, top_k: 20, top_p: 0.95, seed };
    Request { sampling, ..if guided { self::guided() } else { request() } }
}

/// Tokens and logits of up to `steps` steps of one sequence.
fn bits(session: &mut Session, id: SequenceId, steps: usize) -> Vec<u32> {
    let mut out = Vec::new();
    for _ in 0..steps {
        for made in session.step().unwrap().iter().filter(|made| made.sequence == id) {
            out.extend(&made.tokens);
            for &slot in session.slots(id).unwrap() {
                out.extend(session.logits(slot).unwrap().iter().map(|l| l.to_bits()));
            }
        }
    }
    out
}

/// Steps of a whole sequence.
const STEPS: usize = 43;

#[test]
fn a_sequence_goes_on_in_any_free_slots_of_any_session() {
    let model = model();
    for policy in stateful() {
        for guided in [false, true] {
            let mut whole = golden_session(&model, policy.clone(), 4, 64).unwrap();
            let id = whole.start(drawn(7, guided)).unwrap();
            let expected = bits(&mut whole, id, STEPS);
            let whole_stats = whole.finish(id).unwrap();
            // In the prompt, in the first frame, behind it in the first block of the cache, and in the second.
            for stop in [2, 9, 21, 38] {
                let mut from = golden_session(&model, policy.clone(), 4, 64).unwrap();
                from.start(drawn(1, true)).unwrap();
                let id = from.start(drawn(7, guided)).unwrap();
                let mut found = bits(&mut from, id, stop);
                let raw = from.snapshot_sequence(id).unwrap().to_bytes().unwrap();
                let snapshot = SequenceSnapshot::from_bytes(&raw).unwrap();
                // Fewer positions, other neighbours, and slots that others have used.
                let mut to = golden_session(&model, policy.clone(), 4, 44).unwrap();
                let gone = [to.start(drawn(2, true)).unwrap(), to.start(drawn(3, true)).unwrap()];
                (0..30).for_each(|_| drop(to.step().unwrap()));
                gone.iter().for_each(|id| to.cancel(*id).unwrap());
                to.start(drawn(4, false)).unwrap();
                let id = to.adopt(&snapshot).unwrap();
                assert_eq!(to.slots(id).unwrap(), if guided { &[2, 3][..] } else { &[1] });
                found.extend(bits(&mut to, id, STEPS - stop));
                assert!(found == expected, "guided {guided}, stopped at {stop}, {policy:?}");
                assert_eq!(to.finish(id).unwrap(), whole_stats);
            }
        }
    }
}

#[test]
fn a_snapshot_holds_what_was_written() {
    let mut session = session(Policy::replay(Gate::Always).unwrap(), 4);
    let id = session.start(request()).unwrap();
    let mut sizes = Vec::new();
    for _ in 0..STEPS {
        session.step().unwrap();
        sizes.push(session.snapshot_sequence(id).unwrap().to_bytes().unwrap().len());
    }
    let state = session.compiled().map.used().get() - session.compiled().state_start;
    let whole = state as usize * session.model().config().channels() as usize;
    assert!(sizes.is_sorted() && sizes[0] * 2 < sizes[42] && sizes[42] * 3 < whole, "{whole}: {sizes:?}");
}

#[test]
fn streamed_sessions_and_others_restore_each_other() {
    use fastcar_arch::units::Bytes;
    let (model, policy) = (model(), Policy::replay(Gate::Random { ratio: 0.5, seed: 3 }).unwrap());
    let size = SessionOptions { slots: 4, positions: 64 };
    let resident = golden_session(&model, policy.clone(), 4, 64).unwrap();
    let memory = Bytes(resident.compiled().map.used().get() * 9 / 10);
    let backend = || Box::new(GoldenBackend::new());
    let open = |streamed| match streamed {
        true => Session::open_streamed(backend(), Arc::clone(&model), policy.clone(), size, memory).unwrap(),
        false => golden_session(&model, policy.clone(), 4, 64).unwrap(),
    };
    let restore = |streamed, snapshot: &Snapshot| match streamed {
        true => Session::restore_streamed(backend(), Arc::clone(&model), snapshot, memory).unwrap(),
        false => Session::restore(backend(), Arc::clone(&model), snapshot).unwrap(),
    };
    let mut whole = open(false);
    let ids = [whole.start(drawn(1, false)).unwrap(), whole.start(drawn(2, true)).unwrap()];
    (0..20).for_each(|_| drop(whole.step().unwrap()));
    let expected = bits(&mut whole, ids[1], STEPS - 20);
    let mut snapshots = Vec::new();
    for from in [false, true] {
        let mut session = open(from);
        let first = session.start(drawn(1, false)).unwrap();
        let second = session.start(drawn(2, true)).unwrap();
        (0..20).for_each(|_| drop(session.step().unwrap()));
        assert_eq!(session.streamed() > Bytes(0), from);
        let raw = session.snapshot().unwrap().to_bytes().unwrap();
        for to in [false, true] {
            let snapshot = Snapshot::from_bytes(&raw).unwrap();
            let mut session = restore(to, &snapshot);
            assert_eq!(session.sequences().collect::<Vec<_>>(), [first, second]);
            assert!(bits(&mut session, second, STEPS - 20) == expected, "from {from} to {to}");
            assert!(session.start(request()).unwrap() > second);
        }
        snapshots.push(raw);
    }
    assert!(snapshots[0] == snapshots[1], "what is streamed is in no snapshot");
}

#[test]
fn snapshots_survive_their_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = session(Policy::delta(0.3).unwrap(), 2);
    let id = session.start(request()).unwrap();
    (0..9).for_each(|_| drop(session.step().unwrap()));
    let path = dir.path().join("a.snapshot");
    session.snapshot().unwrap().save(&path).unwrap();
    assert_eq!(Snapshot::load(&path).unwrap(), session.snapshot().unwrap());
    let error = SequenceSnapshot::load(&path).unwrap_err().to_string();
    assert!(error.ends_with("it holds a session, not one sequence: restore it as a session"), "{error}");
    // The new file takes the old one's place.
    let sequence = session.snapshot_sequence(id).unwrap();
    assert_eq!((sequence.request(), sequence.tokens().len()), (&request(), 6));
    sequence.save(&path).unwrap();
    assert_eq!(SequenceSnapshot::load(&path).unwrap(), sequence);
    let error = Snapshot::load(&path).unwrap_err().to_string();
    assert!(error.ends_with("it holds one sequence, not a session: adopt it into one"), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    let error = sequence.save(&dir.path().join("none/a")).unwrap_err().to_string();
    assert!(error.starts_with("snapshot ") && error.contains("No such file"), "{error}");
    assert!(SequenceSnapshot::load(&dir.path().join("none")).is_err());
}

#[test]
fn snapshots_go_where_they_fit() {
    let model = model();
    let open = |policy, slots, positions| golden_session(&model, policy, slots, positions).unwrap();
    let mut from = open(Policy::dense(), 4, 64);
    let id = from.start(guided()).unwrap();
    (0..9).for_each(|_| drop(from.step().unwrap()));
    let snapshot = from.snapshot_sequence(id).unwrap();
    let refused = |mut session: Session| session.adopt(&snapshot).unwrap_err().to_string();
    let error = refused(open(Policy::delta(0.3).unwrap(), 4, 64));
    assert!(error.starts_with("the snapshot was taken under another policy"), "{error}");
    assert!(error.contains("kind = \"dense\""), "{error}");
    let error = refused(open(Policy::dense(), 4, 40));
    assert_eq!(error, "request.positions is 44: the session holds 40 positions, prompt included");
    let error = refused(open(Policy::dense(), 1, 64));
    assert_eq!(error, "request.guidance is 2: a guided sequence takes two slots, the session has 1");
    let mut full = open(Policy::dense(), 2, 64);
    full.start(request()).unwrap();
    assert!(refused(full).starts_with("the sequence needs 2 adjacent slots, 1 of 2 are free"));
    assert!(from.snapshot_sequence(SequenceId::new(9)).is_err());
}

/// Residual codes: what the depth transformer keeps is made anew for every position.
#[test]
fn a_sequence_of_codes_goes_on_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    VilaUSpec::default().write(dir.path()).unwrap();
    let options = PackOptions { weights: Format::MxInt8, head: None };
    let model = packed(&Model::open(dir.path()).unwrap(), "tiny", options).unwrap();
    let open = || golden_session(&model, Policy::dense(), 4, 16).unwrap();
    let of = |seed| Request { prompt: vec![3, 9, 27], positions: 8, allowed: 0..40, ..drawn(seed, false) };
    let mut whole = open();
    let id = whole.start(of(7)).unwrap();
    let expected = bits(&mut whole, id, 10);
    for stop in 0..10 {
        let (mut from, mut to) = (open(), open());
        let id = from.start(of(7)).unwrap();
        let mut found = bits(&mut from, id, stop);
        to.start(of(1)).unwrap();
        (0..3).for_each(|_| drop(to.step().unwrap()));
        let id = to.adopt(&from.snapshot_sequence(id).unwrap()).unwrap();
        assert_eq!(to.slots(id).unwrap(), [1]);
        found.extend(bits(&mut to, id, 10 - stop));
        assert!(found == expected, "stopped at {stop}");
    }
}
