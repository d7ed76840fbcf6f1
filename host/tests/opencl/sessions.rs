//! Whole decodes: times, and modes of the simulated device.

use crate::alone::alone;
use crate::{load, model, open};
use fastcar_arch::step::{ACTIVE, OUTPUT, SlotEntry, StepTable};
use fastcar_host::backend::{Backend, GoldenBackend, RecordRead, Step};
use fastcar_host::compile::Compiled;
use std::time::Duration;

/// A table that processes one token in slot 0.
fn table(compiled: &Compiled, position: u32) -> StepTable {
    let mut table = StepTable::new(2, compiled.body[0].limits().gates as usize);
    table.slots[0] =
        SlotEntry { flags: ACTIVE | OUTPUT, pos: position, token: [50, 0, 0, 0], ..SlotEntry::idle() };
    table
}

#[test]
fn runs_give_the_functional_models_reports_and_memory() {
    if alone("sessions::runs_give_the_functional_models_reports_and_memory", &[]) {
        for preset in ["tiny", "edge"] {
            let model = model(preset);
            let (mut golden, mut opencl) = (GoldenBackend::new(), open(&model).unwrap());
            let compiled = load(&mut golden, &model);
            load(&mut opencl, &model);
            for position in 0..6 {
                let table = table(&compiled, position);
                // Both programs in turn: each is uploaded once.
                let program = &compiled.body[position as usize % compiled.body.len()];
                let expected = golden.run(program, &table).unwrap();
                let found = opencl.run(program, &table).unwrap();
                assert_eq!(expected.to_bytes(), found.to_bytes(), "{preset}, position {position}");
            }
            let used = compiled.map.used().get() as usize;
            for channel in 0..model.config().channels() as usize {
                let [expected, found] = [&golden as &dyn Backend, &opencl].map(|backend| {
                    let mut out = vec![0; used];
                    backend.read_channel(channel, 0, &mut out).unwrap();
                    out
                });
                assert!(expected == found, "{preset}: channel {channel}");
            }
        }
    }
}

/// The logits of some slots behind a step at a position.
fn logits(backend: &mut dyn Backend, compiled: &Compiled, position: u32, slots: &[u64]) -> Vec<Vec<u8>> {
    let mut table = table(compiled, position);
    // Every step and slot has a token of its own.
    table.slots[0].token[0] = position;
    table.slots[1] = SlotEntry { token: [40 - position, 0, 0, 0], ..table.slots[0] };
    let records = &compiled.logits[0];
    let mut outs = vec![vec![0xa5; records.words as usize * 4]; slots.len()];
    let places = slots.iter().map(|slot| records.addr + slot * records.stride);
    let reads = places.zip(&mut outs).map(|(addr, out)| RecordRead { addr, out }).collect();
    let step = Step { program: &compiled.body[0], table: &table, writes: Vec::new(), reads };
    backend.step(step, &mut || {}).unwrap();
    outs
}

/// What is read behind a step may change with every step, and be the same again.
#[test]
fn every_step_brings_the_records_that_it_is_asked_for() {
    if alone("sessions::every_step_brings_the_records_that_it_is_asked_for", &[]) {
        let model = model("edge");
        let (mut golden, mut opencl) = (GoldenBackend::new(), open(&model).unwrap());
        let compiled = load(&mut golden, &model);
        load(&mut opencl, &model);
        let wanted: [&[u64]; 10] = [&[0, 1], &[0, 1], &[], &[0, 1], &[1, 0], &[1], &[0], &[], &[0], &[1]];
        let mut before = Vec::new();
        for (position, slots) in (0..).zip(wanted) {
            let expected = logits(&mut golden, &compiled, position, slots);
            assert!(logits(&mut opencl, &compiled, position, slots) == expected, "step {position}");
            assert!(slots.is_empty() || expected != before, "step {position} gives what the one before gave");
            before = expected;
        }
    }
}

#[test]
fn device_time_is_the_cycles_of_the_machine() {
    if alone("sessions::device_time_is_the_cycles_of_the_machine", &[("FASTCAR_SIM_MODE", "values")]) {
        use fastcar_host::backend::SimBackend;
        let model = model("tiny");
        let mut sim = SimBackend::new(fastcar_sim::SimOptions::default());
        let mut opencl = open(&model).unwrap();
        let compiled = load(&mut sim, &model);
        load(&mut opencl, &model);
        for position in 0..3 {
            let table = table(&compiled, position);
            sim.run(&compiled.body[0], &table).unwrap();
            opencl.run(&compiled.body[0], &table).unwrap();
            let cycles = sim.last_run().unwrap().timing.as_ref().unwrap().cycles();
            let expected = cycles as f64 / model.config().clock().get() as f64;
            let found = opencl.last_run_time().unwrap().as_secs_f64();
            // Program, step table and report lie elsewhere than behind the data, so their bursts meet other rows.
            assert!((found / expected - 1.0).abs() < 0.05, "{found} s on the device, {expected} s of cycles");
        }
    }
}

#[test]
fn a_device_that_executes_nothing_takes_no_time() {
    let name = "sessions::a_device_that_executes_nothing_takes_no_time";
    if alone(name, &[("FASTCAR_SIM_MODE", "instant"), ("FASTCAR_SIM_LINK", "none")]) {
        let model = model("tiny");
        let mut opencl = open(&model).unwrap();
        let compiled = load(&mut opencl, &model);
        let table = table(&compiled, 0);
        opencl.run(&compiled.body[0], &table).unwrap();
        for _ in 0..100 {
            opencl.run(&compiled.body[0], &table).unwrap();
            assert_eq!(opencl.last_run_time(), Some(Duration::ZERO));
        }
    }
}

/// The program that the guide shows decodes the shipped model.
#[test]
fn the_example_decodes_on_a_device() {
    let beside = std::env::current_exe().unwrap();
    let example = beside.parent().unwrap().with_file_name("examples").join("decode");
    assert!(example.is_file(), "{} is missing: cargo build -p fastcar-host --examples", example.display());
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/models/moving-digits");
    let output = std::process::Command::new(&example)
        .arg(model)
        .env("OPENCL_DYLIB_PATH", beside.with_file_name("libfastcar_icd.so"))
        .env("FASTCAR_SIM_DEVICES", "edge")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.lines().filter(|l| l.starts_with("position ")).count(), 128);
    assert!(text.ends_with("49.2 % of the MLPs replayed\n"), "{text}");
}
