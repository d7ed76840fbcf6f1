//! Devices that are lost, and what that means for whoever uses them.

use crate::devices::{Control, FAULTS, Fault};
use crate::{
    SLOTS, collect, controlled, guided, is_undisturbed, next, options, policy, request, undisturbed, until,
};
use fastcar_host::engine::{Engine, EngineError, EngineOptions, Stream};
use std::error::Error;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A hang is one after so long.
const LIMIT: Duration = Duration::from_secs(1);

fn patient() -> EngineOptions {
    EngineOptions { timeout: Some(LIMIT), ..options() }
}

fn resuming(every: u32) -> EngineOptions {
    EngineOptions { snapshots: NonZeroU32::new(every), resume: true, ..patient() }
}

/// An error and its causes on one line.
fn text(error: &dyn Error) -> String {
    let mut out = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        out.push_str(&format!("; {cause}"));
        source = cause.source();
    }
    out
}

fn reason(fault: Fault) -> &'static str {
    match fault {
        Fault::Error => "test: the power is off",
        Fault::Panic => "its backend panicked: the driver has a bug",
        Fault::Hang => "it gave no sign for 1.0 s: it hangs",
    }
}

/// Streams of 30 positions on devices that are held, one for each slot.
fn fill(engine: &Engine, controls: &[Arc<Control>]) -> Vec<Stream> {
    let requests = u64::from(SLOTS) * controls.len() as u64;
    let streams = (0..requests).map(|seed| engine.submit(request(seed, 30)).unwrap()).collect();
    until("all run", || {
        controls.iter().filter(|c| c.waits()).for_each(|c| c.allow(1));
        engine.status().queued == 0
    });
    streams
}

fn held(count: usize, options: EngineOptions) -> (Engine, Vec<Arc<Control>>) {
    let (engine, controls) = controlled(count, EngineOptions { timeout: None, ..options });
    controls.iter().for_each(|c| c.hold());
    (engine, controls)
}

#[test]
fn a_lost_device_ends_its_own_streams() {
    for fault in FAULTS {
        let (engine, controls) = controlled(2, patient());
        controls[0].fail_at(10, fault);
        let mut ended = 0;
        let streams: Vec<_> = (0..8).map(|seed| engine.submit(request(seed, 30)).unwrap()).collect();
        for (seed, mut stream) in streams.into_iter().enumerate() {
            let expected = undisturbed(&request(seed as u64, 30), &policy()).0;
            match collect(&mut stream, 0) {
                Ok(tokens) => assert_eq!(tokens, expected),
                Err(error) => {
                    ended += 1;
                    let EngineError::Device { device, position, .. } = &error else { panic!("{error:?}") };
                    assert!(device == "device 0" && *position < 10, "{error}");
                    let begin =
                        format!("device 'device 0' is lost, {position} positions into the sequence: ");
                    let text = text(&error);
                    assert!(text.starts_with(&begin) && text.contains(reason(fault)), "{text}");
                    assert!(stream.next().is_none() && stream.stats().is_none());
                }
            }
        }
        let status = engine.status();
        assert!((1..=4).contains(&ended) && status.counts.failed == ended, "{status:?}");
        assert_eq!(status.counts.finished, 8 - ended);
        assert!(status.devices[0].lost.as_ref().unwrap().to_string().contains(reason(fault)));
        assert!(status.devices[1].lost.is_none() && status.free() == 4);
        // The other one serves whatever comes.
        let mut streams: Vec<_> = (0..6).map(|i| engine.submit(guided(i, 8)).unwrap()).collect();
        streams.iter_mut().zip(0..).for_each(|(s, i)| is_undisturbed(s, &guided(i, 8)));
        let closing = Instant::now();
        engine.shutdown().unwrap();
        assert!(closing.elapsed() < LIMIT, "what hangs is not waited for");
        controls[0].release();
    }
}

#[test]
fn sequences_go_on_elsewhere_bit_for_bit() {
    for fault in FAULTS {
        // In the prompt, before the first snapshot, just behind one, and late.
        for run in [2, 7, 10, 31] {
            let (engine, controls) = controlled(2, resuming(5));
            controls[0].fail_at(run, fault);
            let requests: Vec<_> =
                (0..7).map(|i| if i % 3 == 2 { guided(i, 30) } else { request(i, 30) }).collect();
            let streams: Vec<_> = requests.iter().map(|r| engine.submit(r.clone()).unwrap()).collect();
            for (mut stream, request) in streams.into_iter().zip(&requests) {
                is_undisturbed(&mut stream, request);
            }
            let status = engine.status();
            assert!(
                status.counts.resumed > 0 && status.devices[0].lost.is_some(),
                "{fault:?} at {run}: {status:?}"
            );
            assert_eq!((status.counts.finished, status.counts.failed), (7, 0));
            controls[0].release();
        }
    }
}

#[test]
fn they_go_on_from_the_last_snapshot() {
    // A prompt of 4 and 30 positions are 33 runs. Before the 30th there are 26 positions, and a snapshot of 25.
    for (every, runs) in [(5, 33 - 28), (100, 33)] {
        let (engine, controls) = held(2, resuming(every));
        let mut stream = engine.submit(request(1, 30)).unwrap();
        until("it runs", || engine.status().queued == 0);
        let used: Vec<usize> = engine.status().devices.iter().map(|d| d.used).collect();
        let [first, second] = if used == [1, 0] { [0, 1] } else { [1, 0] };
        controls[first].fail_at(30, Fault::Error);
        controls.iter().for_each(|c| c.go());
        is_undisturbed(&mut stream, &request(1, 30));
        assert_eq!((controls[first].runs(), controls[second].runs()), (30, runs));
    }
}

#[test]
fn they_wait_before_those_that_came_later() {
    let (engine, controls) = held(2, resuming(5));
    let mut streams = fill(&engine, &controls);
    streams.extend((8..10).map(|seed| engine.submit(request(seed, 30)).unwrap()));
    controls[0].fail_at(controls[0].runs() + 12, Fault::Error);
    controls[0].go();
    until("the first is lost", || engine.status().devices[0].lost.is_some());
    let status = engine.status();
    assert_eq!((status.queued, status.counts.resumed, status.devices[1].used), (6, 4, 4));
    controls[1].go();
    for (mut stream, seed) in streams.into_iter().zip(0..) {
        is_undisturbed(&mut stream, &request(seed, 30));
    }
}

#[test]
fn the_last_device_ends_all_streams() {
    for (resume, cancelled) in [(false, false), (true, true)] {
        let (engine, controls) = held(2, EngineOptions { resume, ..resuming(5) });
        let streams = fill(&engine, &controls);
        let waiting = engine.submit(request(9, 30)).unwrap();
        if cancelled {
            streams[0].cancel();
        }
        controls[0].fail_at(controls[0].runs() + 1, Fault::Error);
        controls[0].go();
        until("the first is lost", || engine.status().devices[0].lost.is_some());
        controls[1].fail_at(controls[1].runs() + 5, Fault::Panic);
        controls[1].go();
        let mut texts: Vec<String> = Vec::new();
        for mut stream in streams.into_iter().chain([waiting]) {
            match collect(&mut stream, 0) {
                Err(error) => texts.push(error.to_string()),
                Ok(tokens) => assert!(cancelled && tokens.len() < 30),
            }
        }
        let last = "no device is left: all 2 are lost, 'device 1' last: its backend panicked";
        let count = texts.iter().filter(|t| t.starts_with(last)).count();
        match resume {
            true => assert_eq!((count, texts.len()), (8, 8), "{texts:?}"),
            false => assert_eq!((count, texts.len()), (5, 9), "{texts:?}"),
        }
        let error = engine.submit(request(1, 5)).err().unwrap();
        assert!(
            matches!(error, EngineError::NoDevice { devices: 2, .. }) && error.to_string().starts_with(last)
        );
        let status = engine.status();
        assert_eq!((status.queued, status.free()), (0, 0));
        assert_eq!(status.counts.submitted, status.counts.failed + status.counts.cancelled);
    }
}

/// Sequences survive as long as one device does; a second one may be lost while it takes them in.
#[test]
fn devices_may_be_lost_one_after_the_other() {
    let (engine, controls) = held(3, resuming(3));
    let streams = fill(&engine, &controls);
    controls[0].fail_at(controls[0].runs() + 9, Fault::Error);
    controls[1].fail_writes();
    controls.iter().for_each(|c| c.go());
    for (mut stream, seed) in streams.into_iter().zip(0..) {
        is_undisturbed(&mut stream, &request(seed, 30));
    }
    let status = engine.status();
    assert!(status.devices[2].lost.is_none() && status.devices[0].lost.is_some(), "{status:?}");
    assert_eq!((status.counts.finished, status.counts.failed), (12, 0));
}

#[test]
fn a_device_that_never_answers_is_left_behind() {
    let (engine, controls) = controlled(1, patient());
    controls[0].hold();
    let mut stream = engine.submit(request(1, 30)).unwrap();
    until("it runs", || controls[0].runs() == 1);
    // Closed before the watch has noticed.
    let started = Instant::now();
    let error = engine.shutdown().err().unwrap();
    assert!(matches!(&error, EngineError::Stuck { devices, .. } if devices == "device 0"), "{error}");
    assert!(started.elapsed() < 10 * LIMIT);
    assert!(stream.next().is_none());
    engine.shutdown().unwrap();
    controls[0].release();
}

/// A device that comes back after it was given up changes nothing for those that went on.
#[test]
fn a_late_answer_is_not_delivered() {
    let (engine, controls) = controlled(2, resuming(4));
    controls[0].fail_at(9, Fault::Hang);
    let mut streams: Vec<_> = (0..4).map(|seed| engine.submit(request(seed, 30)).unwrap()).collect();
    until("it is given up", || engine.status().devices[0].lost.is_some());
    controls[0].release();
    streams.iter_mut().zip(0..).for_each(|(s, seed)| is_undisturbed(s, &request(seed, 30)));
    engine.shutdown().unwrap();
    assert_eq!(Arc::strong_count(&controls[0]), 1, "its session is closed");
}

#[test]
fn a_cancelled_sequence_does_not_go_on() {
    let (engine, controls) = held(2, resuming(2));
    let mut streams = fill(&engine, &controls);
    controls.iter().for_each(|c| c.allow(6));
    streams.iter_mut().for_each(|s| assert_eq!(next(s), 0));
    until("the next runs wait", || controls.iter().all(|c| c.waits()));
    streams.iter().for_each(Stream::cancel);
    controls[0].fail_at(controls[0].runs(), Fault::Error);
    controls[0].go();
    until("the first is lost", || engine.status().devices[0].lost.is_some());
    let status = engine.status();
    assert_eq!((status.queued, status.counts.cancelled, status.counts.resumed), (0, 4, 0), "{status:?}");
    controls[1].go();
    until("all are cancelled", || engine.status().counts.cancelled == 8);
}
