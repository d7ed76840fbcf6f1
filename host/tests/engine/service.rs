//! Requests served: values, order, cancellation, limits, rest.

use crate::{
    SIZE, collect, controlled, device, guided, is_undisturbed, model, next, open, options, policy, request,
    undisturbed, until,
};
use fastcar_host::backend::GoldenBackend;
use fastcar_host::engine::{Counts, Engine, EngineDevice, EngineError, EngineOptions, Received};
use fastcar_host::session::{Request, SessionOptions};
use std::time::{Duration, Instant};

#[test]
fn streams_give_what_a_session_alone_gives() {
    let device = |i: u64| EngineDevice::new(format!("golden {i}"), Box::new(GoldenBackend::new()));
    let engine = open((0..2).map(device).collect(), options());
    std::thread::scope(|scope| {
        for client in 0..4 {
            let engine = engine.clone();
            scope.spawn(move || {
                let requests: Vec<Request> = (0..4)
                    .map(|i| {
                        let seed = 10 * client + i;
                        if i % 2 == 0 { request(seed, 20 + seed as u32) } else { guided(seed, 12) }
                    })
                    .collect();
                let streams: Vec<_> = requests.iter().map(|r| engine.submit(r.clone()).unwrap()).collect();
                for (mut stream, request) in streams.into_iter().zip(&requests) {
                    is_undisturbed(&mut stream, request);
                }
            });
        }
    });
    let status = engine.status();
    assert_eq!(status.counts, Counts { submitted: 16, finished: 16, ..Counts::default() });
    assert_eq!((status.queued, status.free()), (0, 8));
    assert_eq!(status.devices.iter().map(|d| &d.name[..]).collect::<Vec<_>>(), ["golden 0", "golden 1"]);
}

#[test]
fn nobody_overtakes_a_pair_that_waits() {
    let size = SessionOptions { slots: 2, ..SIZE };
    let (engine, controls) = controlled(1, EngineOptions { session: size, ..options() });
    controls[0].hold();
    let mut short = engine.submit(request(1, 5)).unwrap();
    let mut long = engine.submit(request(2, 9)).unwrap();
    until("both run", || engine.status().free() == 0);
    let mut pair = engine.submit(guided(3, 5)).unwrap();
    let mut late = engine.submit(request(4, 5)).unwrap();
    // Four steps of prompt, of which the last gives the first position.
    controls[0].allow(9);
    assert_eq!(collect(&mut short, 0).unwrap().len(), 5);
    until("the short one's slot is free", || engine.status().free() == 1);
    assert_eq!(engine.status().queued, 2, "there is a slot for the last, but it is not its turn");
    controls[0].go();
    assert_eq!(collect(&mut pair, 0).unwrap(), undisturbed(&guided(3, 5), &policy()).0);
    assert_eq!(collect(&mut long, 0).unwrap().len(), 9);
    is_undisturbed(&mut late, &request(4, 5));
}

#[test]
fn devices_fill_evenly() {
    let (engine, controls) = controlled(2, options());
    controls.iter().for_each(|c| c.hold());
    let _streams: Vec<_> = (0..6).map(|i| engine.submit(request(i, 30)).unwrap()).collect();
    until("all run", || {
        controls.iter().filter(|c| c.waits()).for_each(|c| c.allow(1));
        engine.status().queued == 0
    });
    let used: Vec<usize> = engine.status().devices.iter().map(|d| d.used).collect();
    assert!(used == [3, 3] || used == [2, 4] || used == [4, 2], "{used:?}");
    controls.iter().for_each(|c| c.go());
}

#[test]
fn a_cancelled_streams_slots_are_free_within_one_step() {
    let size = SessionOptions { slots: 2, ..SIZE };
    let (engine, controls) = controlled(1, EngineOptions { session: size, ..options() });
    controls[0].hold();
    let mut cancelled = engine.submit(request(1, 30)).unwrap();
    let dropped = engine.submit(request(2, 30)).unwrap();
    until("both run", || engine.status().free() == 0);
    let first = engine.submit(request(3, 30)).unwrap();
    let second = engine.submit(request(4, 30)).unwrap();
    let mut waiting = engine.submit(guided(5, 30)).unwrap();
    controls[0].allow(6);
    assert_eq!([next(&mut cancelled), next(&mut cancelled), next(&mut cancelled)], [0, 1, 2]);
    until("the next run waits", || controls[0].runs() == 7);
    cancelled.cancel();
    drop(dropped);
    // The step under way ends; before the next one the others are in.
    controls[0].allow(1);
    until("the next run waits", || controls[0].runs() == 8);
    let status = engine.status();
    assert_eq!((status.queued, status.free(), status.counts.cancelled), (1, 0, 2));
    // What waits is cancelled at once.
    waiting.cancel();
    assert_eq!(engine.status().queued, 0);
    assert_eq!(waiting.try_next().unwrap(), Received::Ended);
    assert!(waiting.stats().is_none() && waiting.next().is_none());
    // The step under way when it was cancelled still gave a position.
    assert_eq!((next(&mut cancelled), cancelled.try_next().unwrap()), (3, Received::Ended));
    controls[0].go();
    for (mut stream, seed) in [(first, 3), (second, 4)] {
        is_undisturbed(&mut stream, &request(seed, 30));
    }
    assert_eq!(
        engine.status().counts,
        Counts { submitted: 5, finished: 2, cancelled: 3, ..Counts::default() }
    );
}

#[test]
fn a_full_queue_and_bad_requests_are_refused_at_once() {
    let (engine, controls) = controlled(1, EngineOptions { queue: 2, ..options() });
    controls[0].hold();
    let running: Vec<_> = (0..4).map(|i| engine.submit(request(i, 5)).unwrap()).collect();
    let _waiting: Vec<_> = (4..6).map(|i| engine.submit(request(i, 5)).unwrap()).collect();
    let error = engine.submit(request(9, 5)).err().unwrap();
    assert!(matches!(error, EngineError::Busy { slots: 4, waiting: 2, queue: 2 }), "{error:?}");
    let expected = "all 4 slots are taken, and 2 of at most 2 requests wait: \
                    try again when one has ended, or allow a longer queue";
    assert_eq!(error.to_string(), expected);
    let error = engine.submit(request(9, 61)).err().unwrap().to_string();
    assert_eq!(error, "request.positions is 65: the session holds 64 positions, prompt included");
    assert_eq!(engine.status().counts.submitted, 6, "what is refused is not counted");
    drop(running);
    controls[0].go();
    until("the queue is empty", || engine.status().queued == 0);
    assert!(engine.submit(request(9, 5)).is_ok());
    // Two slots are needed and there is one.
    let size = SessionOptions { slots: 1, ..SIZE };
    let (engine, _) = controlled(1, EngineOptions { session: size, queue: 0, ..options() });
    let error = engine.submit(guided(1, 5)).err().unwrap().to_string();
    assert_eq!(error, "request.guidance is 2: a guided sequence takes two slots, the session has 1");
    is_undisturbed(&mut engine.submit(request(1, 5)).unwrap(), &request(1, 5));
}

#[test]
fn a_client_need_not_wait() {
    let (engine, controls) = controlled(1, options());
    controls[0].hold();
    let mut stream = engine.submit(request(1, 2)).unwrap();
    assert_eq!(stream.try_next().unwrap(), Received::Pending);
    let started = Instant::now();
    assert_eq!(stream.recv_timeout(Duration::from_millis(20)).unwrap(), Received::Pending);
    assert!(started.elapsed() >= Duration::from_millis(20));
    controls[0].go();
    assert_eq!([next(&mut stream), next(&mut stream)], [0, 1]);
    until("it ends", || stream.try_next().unwrap() == Received::Ended);
    assert!(stream.stats().is_some());
    assert_eq!(stream.recv_timeout(Duration::ZERO).unwrap(), Received::Ended);
}

#[test]
fn a_prompt_that_comes_in_does_not_hold_up_the_others() {
    let (engine, controls) = controlled(1, options());
    controls[0].hold();
    let mut early = engine.submit(request(1, 30)).unwrap();
    controls[0].allow(6);
    assert_eq!([next(&mut early), next(&mut early), next(&mut early)], [0, 1, 2]);
    let prompt = vec![50; 30];
    let mut late = engine.submit(Request { prompt, ..request(2, 3) }).unwrap();
    until("the next run waits", || controls[0].runs() == 7);
    // The one under way, and twenty with both: a position of the first in each.
    controls[0].allow(21);
    (3..24).for_each(|position| assert_eq!(next(&mut early), position));
    assert_eq!(engine.status().devices[0].used, 2);
    assert_eq!(late.try_next().unwrap(), Received::Pending);
    controls[0].go();
    assert_eq!(collect(&mut late, 0).unwrap().len(), 3);
}

/// How often the threads of this name have slept, and their ticks of work.
fn threads(name: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let read = |file: &str| std::fs::read_to_string(task.as_ref().unwrap().path().join(file));
        let (Ok(comm), Ok(status), Ok(stat)) = (read("comm"), read("status"), read("schedstat")) else {
            continue;
        };
        if comm.trim_end() == name {
            let switches = status.lines().find(|l| l.starts_with("voluntary_ctxt_switches")).unwrap();
            found.push((switches.to_owned(), stat));
        }
    }
    found
}

#[test]
fn an_engine_at_rest_does_nothing() {
    let (device, _) = device("at rest");
    let engine = open(vec![device], EngineOptions { timeout: Some(Duration::from_secs(1)), ..options() });
    is_undisturbed(&mut engine.submit(request(1, 5)).unwrap(), &request(1, 5));
    // The watch looks once more when the first step's time would be over.
    std::thread::sleep(Duration::from_millis(1200));
    let both = || [threads("at rest"), threads("at rest watch")];
    let before = both();
    std::thread::sleep(Duration::from_millis(200));
    assert!(before.iter().all(|t| t.len() == 1), "{before:?}");
    assert_eq!(both(), before);
}

#[test]
fn shutting_down_ends_everything() {
    let (engine, controls) = controlled(2, options());
    controls.iter().for_each(|c| c.hold());
    let streams: Vec<_> = (0..12).map(|i| engine.submit(request(i, 30)).unwrap()).collect();
    let other = engine.clone();
    std::thread::scope(|scope| {
        let closing = scope.spawn(move || engine.shutdown());
        until("it is closed", || other.status().counts.cancelled == 12);
        assert!(matches!(other.submit(request(1, 1)), Err(EngineError::Closed)));
        controls.iter().for_each(|c| c.go());
        closing.join().unwrap().unwrap();
    });
    for mut stream in streams {
        assert!(stream.by_ref().all(|made| made.is_ok()) && stream.stats().is_none());
    }
    // With the last clone the same happens, and streams may outlive it.
    let (engine, _) = controlled(1, options());
    let mut stream = engine.submit(request(1, 60)).unwrap();
    drop(engine);
    assert!(collect(&mut stream, 0).unwrap().len() < 60);
}

#[test]
fn what_does_not_open_is_refused_with_its_name() {
    let large = EngineOptions { session: SessionOptions { slots: 5, ..SIZE }, ..options() };
    let devices = vec![device("large").0];
    let error = Engine::open(devices, model(), &policy(), large).err().unwrap().to_string();
    assert_eq!(error, "device 'large' does not open: slots is 5: preset 'tiny' allows 1 to 4");
    let error = Engine::open(Vec::new(), model(), &policy(), options()).err().unwrap().to_string();
    assert_eq!(error, "an engine needs at least one device");
}
