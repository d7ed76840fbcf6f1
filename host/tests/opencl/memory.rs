//! Loading, reading and writing.

use crate::alone::alone;
use crate::{bytes, compiled, impatient, load, model, model_of, open, refusal};
use fastcar_arch::layout::RecordLayout;
use fastcar_arch::step::StepTable;
use fastcar_host::backend::{Backend, GoldenBackend};
use fastcar_host::compile::Part;
use fastcar_host::model::testing::LlamaSpec;
use fastcar_host::opencl::{LoadReport, LoadWatch};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

#[test]
fn constants_arrive_and_the_rest_is_zero() {
    if alone("memory::constants_arrive_and_the_rest_is_zero", &[]) {
        for preset in ["tiny", "edge"] {
            let model = model(preset);
            let mut backend = open(&model).unwrap();
            let used = load(&mut backend, &model).map.used().get() as usize;
            // Twice: what the first load left behind must not shine through.
            for channel in 0..model.config().channels() as usize {
                backend.write_channel(channel, 0, &vec![0xA5; used]).unwrap();
            }
            load(&mut backend, &model);
            for channel in 0..model.config().channels() as usize {
                let mut all = vec![1; used];
                backend.read_channel(channel, 0, &mut all).unwrap();
                let (constants, rest) = all.split_at(model.channel(channel).len());
                assert!(constants == model.channel(channel), "{preset}: channel {channel}");
                assert!(rest.iter().all(|&b| b == 0), "{preset}: channel {channel}");
            }
        }
    }
}

#[test]
fn what_is_larger_than_one_transfer_arrives_whole() {
    if alone("memory::what_is_larger_than_one_transfer_arrives_whole", &[]) {
        let body = LlamaSpec {
            layers: 6,
            hidden: 256,
            heads: 4,
            kv_heads: 4,
            head_dim: 64,
            ffn: 1024,
            ..LlamaSpec::default()
        };
        let model = model_of(body, "tiny");
        assert!(model.constants() > bytes(5 << 20), "{} is one transfer", model.constants());
        let mut backend = open(&model).unwrap();
        backend.load(&model, bytes(200 << 20)).unwrap();
        let mut constants = vec![0; model.constants().get() as usize];
        backend.read_channel(0, 0, &mut constants).unwrap();
        assert!(constants == model.channel(0));
        // More transfers than are under way at a time, none of them on a boundary.
        let pattern: Vec<u8> =
            (0..(150u64 << 20) + 3).map(|i| (i.wrapping_mul(0x9E37_79B9) >> 24) as u8).collect();
        backend.write_channel(0, 40 << 20 | 5, &pattern).unwrap();
        let mut back = vec![0; pattern.len()];
        backend.read_channel(0, 40 << 20 | 5, &mut back).unwrap();
        assert!(back == pattern);
    }
}

#[test]
fn records_are_gathered_from_the_channels() {
    if alone("memory::records_are_gathered_from_the_channels", &[]) {
        let model = model("edge");
        let mut backends: [Box<dyn Backend>; 2] =
            [Box::new(GoldenBackend::new()), Box::new(open(&model).unwrap())];
        for backend in &mut backends {
            let start = load(&mut **backend, &model).state_start;
            for channel in 0..model.config().channels() as usize {
                let pattern: Vec<u8> = (0..4096usize).map(|i| (i * 31 + channel * 7) as u8).collect();
                backend.write_channel(channel, start, &pattern).unwrap();
            }
        }
        let layout = RecordLayout::new(model.config());
        let start = compiled(&model).state_start;
        let beat = model.config().beat().get() as usize;
        for length in [1, 4, beat, beat + 1, 1000, 4 * beat * model.config().channels() as usize - 3] {
            assert!(layout.local_bytes(length as u64) <= bytes(4096));
            let [golden, opencl] = backends.each_ref().map(|backend| {
                let mut out = vec![0; length];
                backend.read_record(start + beat as u64, &mut out).unwrap();
                out
            });
            assert_eq!(golden, opencl, "{length} bytes");
        }
        backends[1].read_record(start, &mut []).unwrap();
    }
}

#[test]
fn what_lies_beyond_the_memory_is_refused() {
    if alone("memory::what_lies_beyond_the_memory_is_refused", &[]) {
        let model = model("tiny");
        let mut backend = open(&model).unwrap();
        let used = load(&mut backend, &model).map.used().get();
        let (last, mut out) = (used - 4, [0; 8]);
        assert!(backend.read_channel(0, last, &mut out[..4]).is_ok());
        let expected = format!("bytes {last} to {} of channel 0: 1 channels of", last + 8);
        assert!(refusal(backend.read_channel(0, last, &mut out)).contains(&expected));
        assert!(refusal(backend.write_channel(0, last, &out)).contains(&expected));
        assert!(refusal(backend.write_channel(1, 0, &out)).contains("of channel 1: 1 channels of"));
        assert!(refusal(backend.read_record(u64::MAX - 2, &mut out)).contains("bytes 18446744073709551613"));
        // A refusal is no failure: the device goes on.
        assert!(backend.read_channel(0, last, &mut out[..4]).is_ok());
    }
}

#[test]
fn nothing_works_before_a_load() {
    if alone("memory::nothing_works_before_a_load", &[]) {
        let model = model("tiny");
        let mut backend = open(&model).unwrap();
        let expected = "opencl: no model is loaded on device 'tiny (simulated)'";
        let compiled = compiled(&model);
        let table = StepTable::new(2, compiled.body[0].limits().gates as usize);
        assert_eq!(refusal(backend.run(&compiled.body[0], &table)), expected);
        assert_eq!(refusal(backend.read_record(0, &mut [0; 4])), expected);
        assert_eq!(refusal(backend.read_channel(0, 0, &mut [0; 4])), expected);
        assert_eq!(refusal(backend.write_channel(0, 0, &[0; 4])), expected);
        assert_eq!(refusal(backend.staged()), expected);
        assert_eq!(backend.last_run_time(), None);
    }
}

#[test]
fn memory_larger_than_a_bank_is_refused() {
    if alone("memory::memory_larger_than_a_bank_is_refused", &[]) {
        let model = model("tiny");
        let mut backend = open(&model).unwrap();
        let bank = model.config().channel_capacity();
        let error = refusal(backend.load(&model, bytes(bank.get() + 1)));
        let expected = format!(
            "channel 0 needs {} on memory bank 0, which has {bank} of {bank} left",
            bytes(bank.get() + 1)
        );
        assert!(error.contains(&expected), "{error}");
        assert!(refusal(backend.load(&model, bytes(u64::MAX))).contains("memory bank 0"));
    }
}

#[test]
fn a_full_bank_has_no_room_for_programs() {
    if alone("memory::a_full_bank_has_no_room_for_programs", &[]) {
        let model = model("tiny");
        let mut backend = open(&model).unwrap();
        let bank = model.config().channel_capacity();
        backend.load(&model, bank).unwrap();
        let compiled = compiled(&model);
        let table = StepTable::new(2, compiled.body[0].limits().gates as usize);
        let error = refusal(backend.run(&compiled.body[0], &table));
        assert!(error.contains("the step table needs") && error.contains("which has 0 "), "{error}");
        // Nothing was started, so nothing is lost.
        backend.load(&model, compiled.map.used()).unwrap();
        backend.run(&compiled.body[0], &table).unwrap();
    }
}

#[test]
fn a_bank_that_another_user_fills_is_out_of_memory() {
    if alone("memory::a_bank_that_another_user_fills_is_out_of_memory", &[("FASTCAR_SIM_DEVICES", "tiny")]) {
        let model = model("tiny");
        let (mut first, mut second) = (open(&model).unwrap(), open(&model).unwrap());
        let most = bytes(model.config().channel_capacity().get() / 4096 * 4096 - 8192);
        first.load(&model, most).unwrap();
        let error = refusal(second.load(&model, most));
        let bank = model.config().channel_capacity();
        let expected = format!(
            "channel 0 needs {most} on memory bank 0, of which this program has left {bank} of {bank}, and the device has less"
        );
        assert!(error.contains(&expected), "{error}");
        drop(first);
        second.load(&model, most).unwrap();
    }
}

#[test]
fn programs_and_tables_that_do_not_fit_are_refused() {
    if alone("memory::programs_and_tables_that_do_not_fit_are_refused", &[]) {
        let model = model("tiny");
        let mut backend = open(&model).unwrap();
        backend.load(&model, model.constants()).unwrap();
        let compiled = compiled(&model);
        let gates = compiled.body[0].limits().gates as usize;
        let reach = compiled.body[0].reach();
        let error = refusal(backend.run(&compiled.body[0], &StepTable::new(2, gates)));
        assert!(error.contains(&format!("the program reaches {reach} of each channel")), "{error}");
        backend.load(&model, compiled.map.used()).unwrap();
        let error = refusal(backend.run(&compiled.body[0], &StepTable::new(2, gates + 1)));
        assert!(error.contains("step table: number of gates"), "{error}");
        backend.run(&compiled.body[0], &StepTable::new(2, gates)).unwrap();
    }
}

/// What a load said.
#[derive(Default)]
struct Said {
    told: Mutex<Vec<(u64, u64)>>,
    report: Mutex<Option<LoadReport>>,
}

/// Cancels after so many calls; keeps what it is told.
struct Watching {
    left: AtomicU64,
    said: Arc<Said>,
}

impl LoadWatch for Watching {
    fn advance(&self, done: u64, total: u64) {
        self.said.told.lock().unwrap().push((done, total));
    }

    fn cancelled(&self) -> bool {
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |l| l.checked_sub(1)).is_err()
    }

    fn loaded(&self, report: &LoadReport) {
        *self.said.report.lock().unwrap() = Some(*report);
    }
}

fn watching(left: u64) -> (Watching, Arc<Said>) {
    let said = Arc::default();
    (Watching { left: AtomicU64::new(left), said: Arc::clone(&said) }, said)
}

#[test]
fn a_load_tells_its_progress_and_what_it_took() {
    if alone("memory::a_load_tells_its_progress_and_what_it_took", &[("FASTCAR_SIM_LINK", "gen3x16")]) {
        let model = model("edge");
        let (watch, said) = watching(u64::MAX);
        let mut backend = open(&model).unwrap().with_watch(Box::new(watch));
        load(&mut backend, &model);
        let total = model.constants().get() * u64::from(model.config().channels());
        let told = said.told.lock().unwrap().clone();
        assert_eq!((told.first(), told.last()), (Some(&(0, total)), Some(&(total, total))));
        assert!(told.windows(2).all(|w| w[0].0 <= w[1].0));
        let report = said.report.lock().unwrap().unwrap();
        let link = report.link.unwrap();
        assert_eq!(report.bytes, total);
        assert!((link.seconds * link.bytes_per_second / total as f64 - 1.0).abs() < 1e-9);
        // A real link: no faster than PCI Express 3.0 x16 can be, and busy nearly all of the time.
        assert!((1e8..15.8e9).contains(&link.bytes_per_second), "{link:?}");
        assert!((0.3..2.0).contains(&link.share_of_fastest), "{link:?}");
    }
}

#[test]
fn a_cancelled_load_leaves_no_model() {
    if alone("memory::a_cancelled_load_leaves_no_model", &[]) {
        let model = model("edge");
        let (watch, said) = watching(1);
        let mut backend = open(&model).unwrap().with_watch(Box::new(watch));
        let error = refusal(backend.load(&model, compiled(&model).map.used()));
        assert!(
            error.contains("loading was cancelled after") && error.contains("no model is loaded"),
            "{error}"
        );
        assert!(said.report.lock().unwrap().is_none());
        assert!(refusal(backend.read_channel(0, 0, &mut [0])).contains("no model is loaded"));
        load(&mut backend.with_watch(Box::new(())), &model);
    }
}

#[test]
fn parts_are_staged_to_their_places() {
    if alone("memory::parts_are_staged_to_their_places", &[]) {
        let model = model("edge");
        let mut backend = impatient(&model);
        let memory = bytes(64 << 10);
        backend.load_parts(&model, &[Part { source: 0..5000, to: 8192 }], memory).unwrap();
        let mut all = vec![1; 64 << 10];
        backend.read_channel(0, 0, &mut all).unwrap();
        assert!(all[8192..13192] == model.channel(0)[..5000]);
        assert!(all[..8192].iter().chain(&all[13192..]).all(|&b| b == 0));
        for part in [Part { source: 100..1100, to: 0 }, Part { source: 0..64, to: 4096 }] {
            backend.stage(&model, &part).unwrap();
        }
        backend.staged().unwrap();
        backend.staged().unwrap();
        backend.read_channel(1, 0, &mut all).unwrap();
        assert!(all[..1000] == model.channel(1)[100..1100] && all[4096..4160] == model.channel(1)[..64]);
        let beyond = Part { source: 0..100, to: memory.get() };
        assert!(refusal(backend.stage(&model, &beyond)).contains("of channel 0"));
        assert!(refusal(backend.load_parts(&model, &[beyond], memory)).contains("are loaded"));
    }
}
