//! Many clients that come, go, cancel and drop, while devices are lost.

use crate::devices::{FAULTS, device};
use crate::{guided, options, policy, request, undisturbed};
use fastcar_host::engine::{Engine, EngineError, EngineOptions, Received};
use fastcar_host::session::Request;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

const CLIENTS: u64 = 12;
const REQUESTS: u64 = 20;

/// Requests with what they give when nothing disturbs them, so that the clients need not decode them again and again.
type Known = BTreeMap<u64, (Request, Vec<Vec<u32>>)>;

fn known() -> Known {
    let made = |seed: u64| {
        let positions = 1 + (seed * 7) as u32 % 29;
        let request = if seed.is_multiple_of(4) { guided(seed, positions) } else { request(seed, positions) };
        let tokens = undisturbed(&request, &policy()).0;
        (seed, (request, tokens))
    };
    (0..24).map(made).collect()
}

/// One client: every stream gives the head of what it should, and all of it unless it is cancelled.
fn client(engine: &Engine, known: &Known, seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for _ in 0..REQUESTS {
        let (request, expected) = &known[&(random.next_u64() % known.len() as u64)];
        let mut stream = loop {
            match engine.submit(request.clone()) {
                Ok(stream) => break stream,
                Err(EngineError::Busy { .. }) => std::thread::sleep(Duration::from_millis(1)),
                Err(error) => panic!("{error}"),
            }
        };
        let stop = (random.next_u64() % 3 == 0).then_some(random.next_u64() as usize % 20);
        let mut tokens = Vec::new();
        loop {
            if stop == Some(tokens.len()) {
                match random.next_u64() % 2 {
                    0 => stream.cancel(),
                    _ => break,
                }
            }
            match stream.recv_timeout(Duration::from_secs(60)).unwrap() {
                Received::Position(made) => tokens.push(made.tokens),
                Received::Ended => break,
                Received::Pending => panic!("no sign for a minute"),
            }
        }
        assert_eq!(tokens, expected[..tokens.len()]);
        assert!(stop.is_some() || tokens.len() == expected.len());
    }
}

#[test]
fn clients_get_their_bits_while_devices_are_lost() {
    let known = known();
    for seed in 0..3 {
        let (devices, controls): (Vec<_>, Vec<_>) = (0..4).map(|i| device(&format!("device {i}"))).unzip();
        let options = EngineOptions {
            queue: 6,
            snapshots: NonZeroU32::new(3),
            resume: true,
            timeout: Some(Duration::from_secs(5)),
            ..options()
        };
        let engine = Engine::open(devices, crate::model(), &policy(), options).unwrap();
        for (control, fault) in controls.iter().zip(&FAULTS[..2]) {
            control.fail_at(40 + 30 * seed, *fault);
        }
        std::thread::scope(|scope| {
            for id in 0..CLIENTS {
                let (engine, known) = (engine.clone(), &known);
                scope.spawn(move || client(&engine, known, seed * CLIENTS + id));
            }
        });
        let status = engine.status();
        assert_eq!(status.devices.iter().filter(|d| d.lost.is_some()).count(), 2);
        assert!(status.counts.resumed > 0 && status.counts.cancelled > 0, "seed {seed}: {status:?}");
        assert_eq!(status.counts.submitted, CLIENTS * REQUESTS);
        engine.shutdown().unwrap();
        let counts = engine.status().counts;
        assert_eq!(counts.finished + counts.cancelled, counts.submitted, "seed {seed}: {counts:?}");
        drop(engine);
        assert!(controls.iter().all(|c| Arc::strong_count(c) == 1));
    }
}
