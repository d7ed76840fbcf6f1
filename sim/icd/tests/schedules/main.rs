//! The engine under thousands of random schedules: no deadlock, no lost wake-up, order kept.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

/// The engine's locks, scheduled.
mod sync {
    pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard};

    /// Threads are nowhere, and nobody looks: whoever waits goes to sleep and has to be woken.
    #[derive(Default)]
    pub(crate) struct Spot {}

    impl Spot {
        pub(crate) fn mark(&self) {}
    }

    pub(crate) fn look(_: &Spot, _: impl FnMut() -> bool) {}
}

#[allow(dead_code, reason = "the engine's own source; the test uses a part of it")]
#[path = "../../src/engine/mod.rs"]
mod engine;

use engine::{Command, Engine, Event, LineId, Outcome, Time, Unit, status};
use shuttle::sync::Mutex;
use shuttle::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

const SCHEDULES: usize = 2000;

/// Runs a test under random schedules, with workers that end when it has.
fn check(lanes: usize, test: impl Fn(&Arc<Engine>) + Send + Sync + 'static) {
    let body = move || {
        let engine = Arc::new(Engine::new(lanes));
        let worker = |lane| {
            let engine = engine.clone();
            shuttle::thread::spawn(move || engine.work(lane))
        };
        let workers: Vec<_> = (0..lanes).map(worker).collect();
        test(&engine);
        engine.stop();
        workers.into_iter().for_each(|w| w.join().unwrap());
    };
    shuttle::check_random(body, SCHEDULES);
}

/// What has been done, in order.
type Journal = Arc<Mutex<Vec<u32>>>;

fn noting(journal: &Journal, what: u32, outcome: Outcome) -> Command {
    let journal = journal.clone();
    Command::Run(
        Unit::Kernel,
        Box::new(move || {
            journal.lock().unwrap().push(what);
            outcome
        }),
    )
}

fn position(journal: &Journal, what: u32) -> Option<usize> {
    journal.lock().unwrap().iter().position(|w| *w == what)
}

#[test]
fn a_queue_in_order_keeps_it() {
    check(1, |engine| {
        let journal = Journal::default();
        let line = engine.open(0, true);
        let events: Vec<_> = (0..5)
            .map(|i| engine.submit(line, noting(&journal, i, Outcome::Done(Time::from(10))), &[]))
            .collect();
        engine.finish(line);
        assert_eq!(*journal.lock().unwrap(), [0, 1, 2, 3, 4]);
        let times: Vec<_> = events.iter().map(|e| e.stamps().unwrap()).collect();
        assert!(times.windows(2).all(|w| w[0].end == w[1].start && w[1].end == w[1].start + 10));
    });
}

/// What holds up the first command of a queue in order, or one before a barrier, holds up all behind it.
#[test]
fn what_is_held_up_holds_up_what_follows() {
    for ordered in [true, false] {
        check(1, move |engine| {
            let journal = Journal::default();
            let line = engine.open(0, ordered);
            let gate = engine.user_event();
            engine.submit(
                line,
                noting(&journal, 0, Outcome::Done(Time::from(10))),
                std::slice::from_ref(&gate),
            );
            engine.submit(line, Command::Barrier, &[]);
            let behind = engine.submit(line, noting(&journal, 1, Outcome::Done(Time::from(10))), &[]);
            let opener = {
                let engine = engine.clone();
                shuttle::thread::spawn(move || engine.set_user_status(&gate, 0))
            };
            engine.wait(std::slice::from_ref(&behind)).unwrap();
            assert!(opener.join().unwrap());
            assert_eq!(*journal.lock().unwrap(), [0, 1]);
            assert_eq!(behind.stamps().unwrap().start, 10);
        });
    }
    check(1, |engine| {
        let journal = Journal::default();
        let line = engine.open(0, true);
        let gate = engine.user_event();
        engine.submit(line, noting(&journal, 0, Outcome::Done(Time::from(10))), std::slice::from_ref(&gate));
        engine.submit(line, noting(&journal, 1, Outcome::Done(Time::from(10))), &[]);
        assert!(engine.set_user_status(&gate, 0));
        engine.finish(line);
        assert_eq!(*journal.lock().unwrap(), [0, 1]);
    });
}

#[test]
fn queues_wait_for_each_other_across_devices() {
    check(2, |engine| {
        let journal = Journal::default();
        let lines = [engine.open(0, false), engine.open(1, false)];
        let submit = |line: usize, what: u32, list: &[Arc<Event>]| {
            engine.submit(lines[line], noting(&journal, what, Outcome::Done(Time::from(7))), list)
        };
        let a = submit(0, 0, &[]);
        let b = submit(1, 1, std::slice::from_ref(&a));
        let c = submit(0, 2, &[a, b]);
        engine.wait(std::slice::from_ref(&c)).unwrap();
        assert_eq!(*journal.lock().unwrap(), [0, 1, 2]);
        assert_eq!(c.stamps().unwrap().end, 21);
    });
}

#[test]
fn out_of_order_runs_whatever_is_ready() {
    check(1, |engine| {
        let journal = Journal::default();
        let line = engine.open(0, false);
        let gate = engine.user_event();
        let held = engine.submit(
            line,
            noting(&journal, 0, Outcome::Done(Time::from(1))),
            std::slice::from_ref(&gate),
        );
        let free = engine.submit(line, noting(&journal, 1, Outcome::Done(Time::from(1))), &[]);
        // Would hang if the command that is held up held up the other.
        engine.wait(&[free]).unwrap();
        assert_eq!(engine.status(&held), status::QUEUED);
        assert!(engine.set_user_status(&gate, 0));
        engine.wait(&[held]).unwrap();
        assert_eq!(*journal.lock().unwrap(), [1, 0]);
    });
}

#[test]
fn a_barrier_parts_an_out_of_order_queue() {
    check(1, |engine| {
        let journal = Journal::default();
        let line = engine.open(0, false);
        for i in 0..3 {
            engine.submit(line, noting(&journal, i, Outcome::Done(Time::from(1))), &[]);
        }
        engine.submit(line, Command::Barrier, &[]);
        for i in 3..6 {
            engine.submit(line, noting(&journal, i, Outcome::Done(Time::from(1))), &[]);
        }
        engine.finish(line);
        let last_before = (0..3).map(|i| position(&journal, i).unwrap()).max();
        let first_behind = (3..6).map(|i| position(&journal, i).unwrap()).min();
        assert!(last_before < first_behind);
    });
}

#[test]
fn a_failure_reaches_all_that_named_it_and_no_others() {
    check(2, |engine| {
        let journal = Journal::default();
        let (one, two) = (engine.open(0, false), engine.open(1, true));
        let bad = engine.submit(one, noting(&journal, 0, Outcome::Failed(-5)), &[]);
        let child =
            engine.submit(two, noting(&journal, 1, Outcome::Done(Time::from(1))), std::slice::from_ref(&bad));
        let marker = engine.submit(one, Command::Marker, std::slice::from_ref(&child));
        let behind = engine.submit(two, noting(&journal, 2, Outcome::Done(Time::from(1))), &[]);
        assert_eq!(engine.wait(&[marker.clone(), behind.clone()]), Err(status::FAILED_DEPENDENCY));
        let found = [&bad, &child, &marker, &behind].map(|e| engine.status(e));
        assert_eq!(found, [-5, status::FAILED_DEPENDENCY, status::FAILED_DEPENDENCY, status::COMPLETE]);
        assert_eq!(position(&journal, 1), None, "what is cancelled does not run");
    });
}

#[test]
fn a_hanging_command_keeps_its_unit_and_no_other() {
    check(1, |engine| {
        let journal = Journal::default();
        let (one, two) = (engine.open(0, true), engine.open(0, true));
        let hung = engine.submit(one, noting(&journal, 0, Outcome::Never), &[]);
        let transfer = engine.submit(
            two,
            Command::Run(Unit::FromDevice, Box::new(|| Outcome::Done(Time::from(3)))),
            &[],
        );
        engine.wait(&[transfer]).unwrap();
        let next = engine.submit(two, noting(&journal, 1, Outcome::Done(Time::from(1))), &[]);
        engine.close(one);
        assert!(
            engine.status(&hung) > status::COMPLETE && engine.status(&next) > status::COMPLETE
                || position(&journal, 1).is_some()
        );
    });
}

/// A callback of an event submits the next command: callbacks run where no lock is held.
#[test]
fn callbacks_may_use_the_engine() {
    check(1, |engine| {
        let line = engine.open(0, true);
        let calls = Arc::new(AtomicUsize::new(0));
        let gate = engine.user_event();
        let first = engine.submit(
            line,
            Command::Run(Unit::Kernel, Box::new(|| Outcome::Done(Time::from(1)))),
            std::slice::from_ref(&gate),
        );
        let done = engine.user_event();
        let (e, n, d) = (engine.clone(), calls.clone(), done.clone());
        let call = move |found: i32| {
            assert_eq!(found, status::COMPLETE);
            n.fetch_add(1, Ordering::SeqCst);
            let next = e.submit(line, Command::Marker, &[]);
            assert_eq!(e.status(&next), status::COMPLETE);
            assert!(e.set_user_status(&d, 0));
        };
        engine.on_status(&first, status::COMPLETE, Box::new(call));
        let count = |n: Arc<AtomicUsize>| {
            Box::new(move |_| {
                n.fetch_add(1, Ordering::SeqCst);
            })
        };
        engine.on_status(&first, status::RUNNING, count(calls.clone()));
        engine.set_user_status(&gate, 0);
        engine.wait(&[done]).unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 2);
        // One that comes late is called at once.
        engine.on_status(&first, status::COMPLETE, count(calls.clone()));
        assert_eq!(calls.load(Ordering::SeqCst), 3);
    });
}

/// Several threads submit, wait, cancel and finish at once, in queues of both kinds that wait for each other.
#[test]
fn a_crowd_comes_to_an_end() {
    check(2, |engine| {
        let lines: Vec<LineId> = vec![engine.open(0, true), engine.open(0, false), engine.open(1, false)];
        let gates: Vec<_> = (0..2).map(|_| engine.user_event()).collect();
        let done = Arc::new(AtomicUsize::new(0));
        let host = |id: usize| {
            let (engine, lines, gates, done) = (engine.clone(), lines.clone(), gates.clone(), done.clone());
            shuttle::thread::spawn(move || {
                let mut last = gates[id % 2].clone();
                for i in 0..4 {
                    let count = done.clone();
                    let work = move || {
                        count.fetch_add(1, Ordering::SeqCst);
                        Outcome::Done(Time::from(5))
                    };
                    let unit = [Unit::ToDevice, Unit::FromDevice, Unit::Kernel][(id + i) % 3];
                    let line = lines[(id + i) % 3];
                    last = engine.submit(line, Command::Run(unit, Box::new(work)), &[last]);
                    if i == 2 {
                        engine.submit(line, Command::Barrier, &[]);
                    }
                }
                engine.wait(&[last])
            })
        };
        let hosts: Vec<_> = (0..4).map(host).collect();
        engine.set_user_status(&gates[0], 0);
        assert!(engine.set_user_status(&gates[1], -30));
        assert!(!engine.set_user_status(&gates[1], 0), "a status is set once");
        let results: Vec<_> = hosts.into_iter().map(|h| h.join().unwrap()).collect();
        lines.iter().for_each(|line| engine.finish(*line));
        lines.iter().for_each(|line| engine.close(*line));
        let failed = Err(status::FAILED_DEPENDENCY);
        assert_eq!(results, [Ok(()), failed, Ok(()), failed]);
        assert_eq!(done.load(Ordering::SeqCst), 8, "two of four chains run");
    });
}
