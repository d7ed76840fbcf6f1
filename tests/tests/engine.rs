//! Engines over real backends: the shipped model on all kinds of devices, cards that are lost, and clients that come
//! and go for as long as one likes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../host/tests/opencl/alone.rs"]
mod alone;

use alone::{alone, alone_within};
use fastcar_host::backend::{Backend, GoldenBackend, OpenClBackend, SimBackend};
use fastcar_host::engine::{Engine, EngineDevice, EngineError, EngineOptions, Received, Status};
use fastcar_host::model::Model;
use fastcar_host::model::testing::{LlamaSpec, VideoSpec};
use fastcar_host::opencl::DeviceOptions;
use fastcar_host::pack::PackOptions;
use fastcar_host::packed::PackedModel;
use fastcar_host::policy::{Gate, Policy};
use fastcar_host::sampler::Sampling;
use fastcar_host::session::{DecodeStats, Request, SessionOptions};
use fastcar_tests::{golden_session, moving_digits, packed};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A frame of the shipped model has 64 positions; behind it, policies begin to skip.
const POSITIONS: u32 = 70;
const SIZE: SessionOptions = SessionOptions { slots: 4, positions: 80 };

fn shipped() -> Arc<PackedModel> {
    packed(&Model::open(moving_digits()).unwrap(), "tiny", PackOptions::default()).unwrap()
}

fn policy() -> Policy {
    Policy::load(&moving_digits().join("policy-input-delta.toml")).unwrap()
}

fn request(seed: u64) -> Request {
    Request {
        prompt: vec![2, 3, 5, 4],
        guidance: (seed % 3 == 2).then(|| (vec![6, 6, 6, 6], 2.0)),
        positions: POSITIONS,
        sampling: Sampling { temperature: 1.0, top_k: 20, top_p: 0.95, seed },
        allowed: 8..48,
        given: Vec::new(),
    }
}

/// What requests give in one session of their own.
fn undisturbed(model: &Arc<PackedModel>, policy: &Policy, request: &Request) -> (Vec<Vec<u32>>, DecodeStats) {
    let mut session = golden_session(model, policy.clone(), 2, SIZE.positions).unwrap();
    let id = session.start(request.clone()).unwrap();
    let tokens = session.generate().map(|made| made.unwrap().tokens).collect();
    (tokens, session.finish(id).unwrap())
}

/// The simulated card of a number.
fn card(model: &PackedModel, number: usize) -> EngineDevice {
    let timeout = Some(Duration::from_secs(2));
    let options = DeviceOptions { device: Some(number.to_string()), timeout, ..DeviceOptions::default() };
    let backend = OpenClBackend::open(&options, model.config()).unwrap();
    EngineDevice::new(format!("card {number}"), Box::new(backend))
}

fn golden() -> EngineDevice {
    EngineDevice::new("golden", Box::new(GoldenBackend::new()))
}

fn resuming() -> EngineOptions {
    EngineOptions { snapshots: NonZeroU32::new(8), resume: true, ..EngineOptions::new(SIZE) }
}

/// Runs requests on devices; each stream must give what it gives alone, without a gap and without a repetition.
fn serve(devices: Vec<EngineDevice>, model: &Arc<PackedModel>, requests: u64) -> Status {
    let engine = Engine::open(devices, Arc::clone(model), &policy(), resuming()).unwrap();
    let streams: Vec<_> = (0..requests).map(|seed| engine.submit(request(seed)).unwrap()).collect();
    for (mut stream, seed) in streams.into_iter().zip(0..) {
        let (expected, stats) = undisturbed(model, &policy(), &request(seed));
        for (position, expected) in expected.iter().enumerate() {
            let made = stream.next().unwrap().unwrap();
            assert_eq!((made.position as usize, &made.tokens), (position, expected), "request {seed}");
        }
        assert!(stream.next().is_none() && stream.stats() == Some(&stats));
    }
    let status = engine.status();
    assert_eq!((status.counts.finished, status.counts.failed), (requests, 0));
    status
}

#[test]
fn one_engine_uses_all_kinds_of_devices() {
    if alone("one_engine_uses_all_kinds_of_devices", &[]) {
        let model = shipped();
        let sim: Box<dyn Backend> = Box::<SimBackend>::default();
        let devices = vec![golden(), EngineDevice::new("sim", sim), card(&model, 0)];
        let status = serve(devices, &model, 8);
        assert!(status.devices.iter().all(|d| d.lost.is_none() && d.used == 0));
    }
}

/// One of two cards is lost; its sequences go on with the other, and with the functional model where `golden` is one.
fn a_card_is_lost(reason: &str, with_golden: bool) {
    let model = shipped();
    let mut devices = vec![card(&model, 0), card(&model, 1)];
    devices.extend(with_golden.then(golden));
    let status = serve(devices, &model, 7);
    let lost = status.devices[0].lost.as_ref().unwrap().to_string();
    assert!(lost.contains(reason), "{lost}");
    assert!(status.devices[1..].iter().all(|d| d.lost.is_none()));
    assert!(status.counts.resumed > 0);
}

#[test]
fn sequences_of_a_lost_card_go_on_with_another() {
    let cards = ("FASTCAR_SIM_DEVICES", "tiny*2");
    let fault = ("FASTCAR_SIM_FAULT", "lost@40:0");
    if alone("sequences_of_a_lost_card_go_on_with_another", &[cards, fault]) {
        a_card_is_lost("clEnqueue", false);
    }
}

#[test]
fn sequences_of_a_hung_card_go_on_with_another() {
    let cards = ("FASTCAR_SIM_DEVICES", "tiny*2");
    let fault = ("FASTCAR_SIM_FAULT", "hang@5:0");
    if alone("sequences_of_a_hung_card_go_on_with_another", &[cards, fault]) {
        a_card_is_lost("has not ended after 2.0 s", false);
    }
}

#[test]
fn sequences_of_a_lost_card_go_on_with_anything() {
    let cards = ("FASTCAR_SIM_DEVICES", "tiny*2");
    let fault = ("FASTCAR_SIM_FAULT", "slverr@60:0");
    if alone("sequences_of_a_lost_card_go_on_with_anything", &[cards, fault]) {
        a_card_is_lost("clEnqueue", true);
    }
}

#[test]
fn without_another_card_the_streams_end() {
    let fault = [("FASTCAR_SIM_DEVICES", "tiny"), ("FASTCAR_SIM_FAULT", "lost@20")];
    if alone("without_another_card_the_streams_end", &fault) {
        let model = shipped();
        let engine = Engine::open(vec![card(&model, 0)], Arc::clone(&model), &policy(), resuming()).unwrap();
        let made: Vec<_> = engine.submit(request(0)).unwrap().collect();
        let error = made.last().unwrap().as_ref().unwrap_err();
        assert!(matches!(error, EngineError::NoDevice { devices: 1, .. }), "{error}");
        assert_eq!(made.len(), 17, "a prompt of 4, and 16 positions");
        assert!(matches!(engine.submit(request(0)), Err(EngineError::NoDevice { .. })));
    }
}

/// Slots in all, on as many cards as that takes.
const SLOTS: usize = 32;
const CLIENTS: u64 = 40;

/// Clients that come and go.
struct Churn {
    model: Arc<PackedModel>,
    policy: Policy,
    /// Requests, and what each gives.
    known: Vec<(Request, Vec<Vec<u32>>)>,
}

/// What the process holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Held {
    files: usize,
    threads: usize,
    memory_kib: u64,
}

fn held() -> Held {
    let count = |dir: &str| std::fs::read_dir(dir).unwrap().count();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let memory = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    Held {
        files: count("/proc/self/fd"),
        threads: count("/proc/self/task"),
        memory_kib: memory.trim().trim_end_matches(" kB").parse().unwrap(),
    }
}

impl Churn {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        VideoSpec { body: LlamaSpec::default(), ..VideoSpec::default() }.write(dir.path()).unwrap();
        let model = packed(&Model::open(dir.path()).unwrap(), "tiny", PackOptions::default()).unwrap();
        let policy = Policy::replay(Gate::Random { ratio: 0.5, seed: 3 }).unwrap();
        let known = |seed: u64| {
            let length = 1 + seed as usize % 7;
            let request = Request {
                prompt: vec![50; length],
                guidance: (seed % 4 == 3).then(|| (vec![48; length], 1.5)),
                positions: 1 + (seed * 11) as u32 % 40,
                sampling: Sampling { temperature: 1.0, top_k: 20, top_p: 0.95, seed },
                allowed: 0..48,
                given: Vec::new(),
            };
            let tokens = undisturbed(&model, &policy, &request).0;
            (request, tokens)
        };
        let known = (0..64).map(known).collect();
        Self { model, policy, known }
    }

    /// Opens the cards, has the clients make so many sessions, and closes the cards. Gives the counts of an engine that
    /// has nothing left, and what was held while it was open.
    fn round(&self, seed: u64, sessions: u64) -> (Status, Held) {
        let cards = (0..SLOTS / 4).map(|number| card(&self.model, number)).collect();
        let size = SessionOptions { slots: 4, positions: 48 };
        let options = EngineOptions {
            queue: 8,
            snapshots: NonZeroU32::new(8),
            resume: true,
            ..EngineOptions::new(size)
        };
        let engine = Engine::open(cards, Arc::clone(&self.model), &self.policy, options).unwrap();
        let left = AtomicU64::new(sessions);
        let while_open = std::thread::scope(|scope| {
            for id in 0..CLIENTS {
                let (engine, left) = (engine.clone(), &left);
                scope.spawn(move || {
                    let mut random = ChaCha8Rng::seed_from_u64(seed << 8 | id);
                    let take = |n: u64| n.checked_sub(1);
                    while left.try_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                        self.session(&engine, &mut random);
                    }
                });
            }
            held()
        });
        engine.shutdown().unwrap();
        (engine.status(), while_open)
    }

    /// One session of a client: it takes all, or cancels or leaves somewhere.
    fn session(&self, engine: &Engine, random: &mut ChaCha8Rng) {
        let (request, expected) = &self.known[random.next_u32() as usize % self.known.len()];
        let mut stream = loop {
            match engine.submit(request.clone()) {
                Ok(stream) => break stream,
                Err(EngineError::Busy { .. }) => std::thread::sleep(Duration::from_millis(1)),
                Err(error) => panic!("{error}"),
            }
        };
        let stop = random.next_u32().is_multiple_of(3).then_some(random.next_u32() as usize % 30);
        let leaves = random.next_u32().is_multiple_of(2);
        let mut made = 0;
        loop {
            if stop == Some(made) {
                if leaves {
                    return;
                }
                stream.cancel();
            }
            match stream.recv_timeout(Duration::from_secs(60)).unwrap() {
                Received::Position(position) => {
                    assert_eq!(position.tokens, expected[made], "position {made} of {request:?}");
                    made += 1;
                }
                Received::Ended => break,
                Received::Pending => panic!("no sign for a minute: a deadlock"),
            }
        }
        assert!(stop.is_some() || made == expected.len());
    }
}

/// What is held when it is what was held before, or after some seconds: a thread that is joined may still be on its way out.
fn held_in_the_end(before: Option<&Held>) -> Held {
    let since = Instant::now();
    loop {
        let now = held();
        let same = before.is_none_or(|b| (b.files, b.threads) == (now.files, now.threads));
        if same || since.elapsed() > Duration::from_secs(5) {
            return now;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Rounds until there are this many sessions and this time has passed; what was held behind each of them.
fn churn(sessions: u64, round: u64, time: Duration) -> Vec<Held> {
    let churn = Churn::new();
    let (started, mut done, mut behind) = (Instant::now(), 0, Vec::new());
    while done < sessions || started.elapsed() < time {
        let (status, while_open) = churn.round(done, round);
        let counts = status.counts;
        assert_eq!((counts.submitted, counts.finished + counts.cancelled), (round, round), "{counts:?}");
        assert!(counts.cancelled > 0 && counts.finished > counts.cancelled / 4);
        done += round;
        let now = held_in_the_end(behind.first());
        println!(
            "{done} sessions, {:.0} s, open {while_open:?}, closed {now:?}",
            started.elapsed().as_secs_f64()
        );
        behind.push(now);
    }
    // Threads and files are those of the first round exactly.
    assert!(
        behind.iter().all(|h| (h.files, h.threads) == (behind[0].files, behind[0].threads)),
        "{behind:?}"
    );
    behind
}

#[test]
fn clients_come_and_go() {
    let cards = ("FASTCAR_SIM_DEVICES", "tiny*8");
    if alone("clients_come_and_go", &[cards]) {
        churn(300, 150, Duration::ZERO);
    }
}

/// The second half of the rounds needs no more memory than the first, but for a tenth by which an allocator of many
/// threads comes and goes.
#[test]
#[ignore = "five minutes; the command is in docs/verification.md"]
fn ten_thousand_sessions_come_and_go() {
    let (cards, name) = (("FASTCAR_SIM_DEVICES", "tiny*8"), "ten_thousand_sessions_come_and_go");
    if alone_within(name, &[cards], Duration::from_secs(1800)) {
        let behind = churn(10_000, 500, Duration::from_secs(300));
        // The first round fills caches.
        let (first, second) = behind[1..].split_at(behind.len() / 2);
        let most = |half: &[Held]| half.iter().map(|h| h.memory_kib).max().unwrap();
        let (first, second) = (most(first), most(second));
        println!("most memory: {first} KiB in the first half, {second} KiB in the second");
        assert!(second <= first + first / 10, "{first} KiB, then {second} KiB");
    }
}
