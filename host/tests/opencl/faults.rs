//! Devices that fail while they run.

use crate::alone::alone;
use crate::{compiled, impatient, load, model, refusal, request};
use fastcar_arch::step::StepTable;
use fastcar_host::backend::{Backend, OpenClBackend};
use fastcar_host::compile::Compiled;
use fastcar_host::packed::PackedModel;
use fastcar_host::policy::Policy;
use fastcar_host::session::{Session, SessionOptions};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A loaded device whose second run fails; the first has been made.
fn failing() -> (Arc<PackedModel>, OpenClBackend, Compiled, StepTable) {
    let model = model("tiny");
    let mut backend = impatient(&model);
    let compiled = load(&mut backend, &model);
    let table = StepTable::new(2, compiled.body[0].limits().gates as usize);
    backend.run(&compiled.body[0], &table).unwrap();
    (model, backend, compiled, table)
}

/// Whatever is asked of a lost device is refused with what lost it.
fn is_lost(model: &Arc<PackedModel>, backend: &mut OpenClBackend, reason: &str) {
    let compiled = compiled(model);
    let table = StepTable::new(2, compiled.body[0].limits().gates as usize);
    for error in [
        refusal(backend.run(&compiled.body[0], &table)),
        refusal(backend.read_record(0, &mut [0; 4])),
        refusal(backend.read_channel(0, 0, &mut [0; 4])),
        refusal(backend.write_channel(0, 0, &[0; 4])),
        refusal(backend.load(model, compiled.map.used())),
    ] {
        assert!(error.starts_with("opencl: device 'tiny (simulated)' is lost ("), "{error}");
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn a_device_that_hangs_times_out_and_is_lost() {
    if alone("faults::a_device_that_hangs_times_out_and_is_lost", &[("FASTCAR_SIM_FAULT", "hang@2")]) {
        let (model, mut backend, compiled, table) = failing();
        let started = Instant::now();
        let error = refusal(backend.run(&compiled.body[0], &table));
        let expected = "opencl: a run of the kernel on device 'tiny (simulated)' has not ended after 1.0 s: \
                        the device hangs; reset it (for a card, xbutil reset), or allow more time by --timeout";
        assert_eq!(error, expected);
        assert!((1.0..5.0).contains(&started.elapsed().as_secs_f64()), "{:?}", started.elapsed());
        is_lost(&model, &mut backend, "has not ended after 1.0 s");
        // Closing it must not wait for what never ends.
        let closing = Instant::now();
        drop(backend);
        assert!(closing.elapsed() < Duration::from_secs(1));
    }
}

#[test]
fn a_device_that_is_lost_in_mid_run_says_so_from_then_on() {
    let name = "faults::a_device_that_is_lost_in_mid_run_says_so_from_then_on";
    if alone(name, &[("FASTCAR_SIM_FAULT", "lost@2")]) {
        let (model, mut backend, compiled, table) = failing();
        let error = refusal(backend.run(&compiled.body[0], &table));
        assert!(error.starts_with("opencl: clEnqueueTask answered CL_"), "{error}");
        assert!(error.contains("a run of the kernel on device 'tiny (simulated)'"), "{error}");
        is_lost(&model, &mut backend, "clEnqueueTask");
    }
}

#[test]
fn a_memory_error_in_mid_run_loses_the_state() {
    if alone("faults::a_memory_error_in_mid_run_loses_the_state", &[("FASTCAR_SIM_FAULT", "slverr@2")]) {
        let (model, mut backend, compiled, table) = failing();
        let error = refusal(backend.run(&compiled.body[0], &table));
        assert!(error.starts_with("opencl: clEnqueueTask answered CL_"), "{error}");
        is_lost(&model, &mut backend, "clEnqueueTask");
        drop(backend);
        // The device itself goes on for whoever opens it again.
        let mut again = impatient(&model);
        let compiled = load(&mut again, &model);
        again.run(&compiled.body[0], &table).unwrap();
    }
}

#[test]
fn a_session_ends_with_the_devices_error() {
    if alone("faults::a_session_ends_with_the_devices_error", &[("FASTCAR_SIM_FAULT", "lost@6")]) {
        let model = model("tiny");
        let backend = Box::new(impatient(&model));
        let options = SessionOptions { slots: 2, positions: 40 };
        let mut session = Session::open(backend, model, Policy::dense(), options).unwrap();
        session.start(request()).unwrap();
        let made: Vec<_> = session.generate().collect();
        assert_eq!(made.iter().filter(|m| m.is_ok()).count(), 2, "runs 4 and 5 make positions");
        let error = refusal(made.into_iter().next_back().unwrap());
        assert!(error.starts_with("opencl: clEnqueueTask answered CL_"), "{error}");
        assert!(refusal(session.step()).contains("is lost"));
    }
}
