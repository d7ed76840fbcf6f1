//! Sparse attention on the machine: the tokens that a pattern names, and nothing else.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa::Command;
use fastcar_arch::program::Program;
use fastcar_arch::step::{ACTIVE, SlotEntry, StepReport, StepTable};
use fastcar_arch::units::Bytes;
use fastcar_golden::{Golden, Memory};
use fastcar_host::attention::{Attention, Place};
use fastcar_host::backend::{Backend, BackendError, GoldenBackend};
use fastcar_host::compile::Part;
use fastcar_host::compile::compile;
use fastcar_host::image::Format;
use fastcar_host::model::testing::{LlamaSpec, VideoSpec};
use fastcar_host::model::{Clip, Model};
use fastcar_host::oracle::{self, Decision, Hooks, Oracle, Replay};
use fastcar_host::pack::PackOptions;
use fastcar_host::packed::PackedModel;
use fastcar_host::policy::{Gate, Policy, TasForm};
use fastcar_host::session::{Session, SessionOptions};
use fastcar_host::workload::Workload;
use fastcar_tests::{TestResult, decode_bits, forced, golden_session, moving_digits, packed};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const PERIOD: u32 = 64;

fn attention(text: &str) -> Attention {
    text.parse().unwrap()
}

/// A random model with two key/value heads and frames of 12 tokens.
fn random(preset: &str) -> Arc<PackedModel> {
    let dir = tempfile::tempdir().unwrap();
    let body = LlamaSpec { heads: 4, kv_heads: 2, ..LlamaSpec::default() };
    VideoSpec { body, ..VideoSpec::default() }.write(dir.path()).unwrap();
    packed(&Model::open(dir.path()).unwrap(), preset, PackOptions { weights: Format::MxInt8, head: None })
        .unwrap()
}

fn bits(model: &Arc<PackedModel>, policy: Policy) -> Vec<u32> {
    let request = forced(vec![50, 48, 49, 51], &[], 0..48);
    let request = fastcar_host::session::Request { positions: 60, ..request };
    let mut session = golden_session(model, policy, 1, 64).unwrap();
    decode_bits(&mut session, &[request]).unwrap().remove(0)
}

#[test]
fn a_list_of_everything_is_dense_attention() {
    let policies = [
        Policy::dense(),
        Policy::replay(Gate::Tas { form: TasForm::Code, thresholds: vec![-0.2] }).unwrap(),
        Policy::delta(0.3).unwrap(),
    ];
    for preset in ["tiny", "u55c"] {
        let model = random(preset);
        for policy in &policies {
            let dense = bits(&model, policy.clone());
            for all in ["local64", "sink60+local4", "prompt+frame-stride1~11", "dense,local64"] {
                let found = bits(&model, policy.clone().with_attention(attention(all)));
                assert!(found == dense, "{preset}, {policy:?}: {all}");
            }
            for less in ["local20", "dense,sink4+local8", "prompt+frame-stride1~1", "dense/local8"] {
                let found = bits(&model, policy.clone().with_attention(attention(less)));
                assert!(found != dense, "{preset}, {policy:?}: {less} must matter");
            }
        }
    }
}

/// Makes the oracle follow the machine's replays, so that one difference does not become many.
struct Follow<'a>(&'a StepReport);

impl Hooks for Follow<'_> {
    fn decide(&mut self, layer: usize, _: &Decision) -> Option<bool> {
        Some(self.0.gates[layer].replay & 1 == 1)
    }
}

/// How the machine's logits compare with the oracle's along a clip.
#[derive(Default, Debug)]
struct Comparison {
    agreement: f64,
    /// Root mean square error of the logits over the root mean square of their spread.
    error: f64,
    /// Share of (layer, position) behind the first frame that replayed.
    replayed: f64,
}

/// The machine under a policy against the oracle under a gate and an attention of its own.
fn compare(
    model: &Model,
    clips: &[Clip],
    policy: &Policy,
    gate: Option<&oracle::Gate>,
    read: &Attention,
) -> Comparison {
    let machine = packed(model, "edge", PackOptions { weights: Format::MxInt8, head: None }).unwrap();
    let reference = Oracle::new(model).unwrap();
    let (mut same, mut total, mut noise, mut signal) = (0u32, 0u32, 0f64, 0f64);
    let (mut replays, mut eligible) = (0u32, 0u32);
    for clip in clips {
        let mut session = golden_session(&machine, policy.clone(), 1, 640).unwrap();
        let id = session.start(forced(clip.prompt.clone(), &clip.tokens, 0..256)).unwrap();
        session.prefill().unwrap();
        let sequence = match gate {
            Some(gate) => {
                reference.sequence_with(Replay::new(PERIOD as usize, gate.clone()).unwrap()).unwrap()
            }
            None => reference.sequence(),
        };
        let mut sequence = sequence.with_attention(read.clone(), PERIOD);
        sequence.prefill(&clip.prompt).unwrap();
        for i in 0..clip.tokens.len() {
            // The step that yields a token reads the one before it: its report belongs to that one.
            let mut report = StepReport::default();
            let chosen = session.step_with(&mut |run| report = run.report.clone()).unwrap()[0].chosen[0];
            if i > 0 {
                sequence.step_with(clip.tokens[i - 1], &mut Follow(&report)).unwrap();
                let decided = report.gates.iter().filter(|_| i as u32 > PERIOD);
                eligible += decided.clone().count() as u32;
                replays += decided.map(|g| g.replay & 1).sum::<u32>();
            }
            let found = session.logits(session.slots(id).unwrap()[0]).unwrap();
            let expected = &sequence.logits()[..256];
            let best = (0..256).max_by(|&a, &b| expected[a].total_cmp(&expected[b]));
            same += u32::from(best == Some(chosen as usize));
            total += 1;
            let mean = expected.iter().map(|&e| f64::from(e)).sum::<f64>() / 256.0;
            for (&f, &e) in found.iter().zip(expected) {
                noise += (f64::from(f) - f64::from(e)).powi(2);
                signal += (f64::from(e) - mean).powi(2);
            }
        }
    }
    Comparison {
        agreement: f64::from(same) / f64::from(total),
        error: (noise / signal).sqrt(),
        replayed: f64::from(replays) / f64::from(eligible.max(1)),
    }
}

/// As near as dense attention, up to what fewer tokens average out less of the rounding.
#[test]
fn machine_follows_the_oracle() -> TestResult {
    let model = Model::open(moving_digits())?;
    let heldout = model.heldout()?;
    let clips = &heldout.clips()[..2];
    let mut errors = Vec::new();
    for text in [
        "dense",
        "sink4+local64",
        "prompt+frame-stride1~4",
        "sink4+local16,dense",
        "dense/dense/local100/local20",
    ] {
        let policy = Policy::dense().with_attention(attention(text));
        let found = compare(&model, clips, &policy, None, policy.attention());
        println!("{text}: {found:?}");
        assert!(found.agreement > 0.98 && found.error < 0.04, "{text}: {found:?}");
        errors.push(found.error);
    }
    let worst = errors.iter().copied().fold(0.0, f64::max);
    assert!(worst < 1.6 * errors[0], "{errors:?}");
    // A window of other size is seen.
    let policy = Policy::dense().with_attention(attention("sink4+local64"));
    let other = compare(&model, &clips[..1], &policy, None, &attention("sink4+local56"));
    println!("another window: {other:?}");
    assert!(other.error > 2.0 * worst, "{other:?}");
    Ok(())
}

#[test]
fn machine_follows_the_oracle_while_replaying() -> TestResult {
    let model = Model::open(moving_digits())?;
    let heldout = model.heldout()?;
    let clips = &heldout.clips()[1..2];
    let replay = Policy::replay(Gate::InputDelta { thresholds: vec![0.3] })?;
    let gate = oracle::Gate::InputDelta { thresholds: vec![Some(0.3); 4] };
    for text in ["dense", "sink4+local80"] {
        let policy = replay.clone().with_attention(attention(text));
        let found = compare(&model, clips, &policy, Some(&gate), policy.attention());
        println!("{text}: {found:?}");
        assert!((0.1..0.95).contains(&found.replayed), "some replay, some compute: {found:?}");
        assert!(found.agreement > 0.98 && found.error < 0.04, "{found:?}");
    }
    Ok(())
}

/// The lists that a run reads are those that the compiled layout promises for its place.
#[test]
fn recorded_lists_are_the_patterns() -> TestResult {
    let workload = Workload::named("tiny")?;
    for preset in ["tiny", "u55c"] {
        let config = AccelConfig::preset(preset)?;
        let plan = workload.plan(&config, PackOptions::default())?;
        let policy = Policy::dense().with_attention(attention("sink2+local9,dense/prompt+frame-stride1~2"));
        let compiled = compile(&plan, &policy, workload.options(3))?;
        assert_eq!(compiled.lists.len(), 2);
        // There is room for every list of the workload, and not for those of sequences without an end.
        assert!(compiled.lists.iter().all(|list| list.overflow(4, 12, 64).is_none()));
        assert!(compiled.lists.iter().all(|list| list.overflow(4, 12, 1 << 12).is_some()));
        let mut machine = Golden::new(config.clone(), Memory::new(&config, compiled.map.used()));
        let places = [Place { token: 5, prompt: 4, period: 12 }, Place { token: 43, prompt: 4, period: 12 }];
        let mut table = StepTable::new(3, 0);
        for (slot, place) in [(0, places[0]), (2, places[1])] {
            table.slots[slot] = SlotEntry { flags: ACTIVE, pos: place.token, ..SlotEntry::idle() };
            for list in &compiled.lists {
                let record = list.record(place);
                let addr = (list.addr + slot as u64 * list.stride) as usize;
                for (channel, bytes) in record.iter().enumerate() {
                    assert_eq!(bytes.len() as u64, list.stride);
                    machine.memory_mut().channel_mut(channel)[addr..][..bytes.len()].copy_from_slice(bytes);
                }
            }
        }
        let program: &Program = &compiled.body[0];
        let (_, decisions) = machine.run_recorded(program, &table)?;
        let mut expected = std::collections::BTreeMap::new();
        for (index, command) in program.commands().iter().enumerate() {
            let Command::Attn(attn) = command else { continue };
            let list = compiled.lists.iter().find(|l| l.addr == attn.list.0).ok_or("a list")?;
            for (slot, place) in [(0, places[0]), (2, places[1])] {
                for (head, blocks) in list.lists(place).into_iter().enumerate() {
                    expected.insert((index as u32, slot, head as u32), blocks);
                }
            }
        }
        assert_eq!(expected.len(), 2 * 2 * 2, "layers, slots, heads");
        assert_eq!(decisions.lists, expected);
    }
    Ok(())
}

/// Counts what is written to the device between runs.
struct Counting {
    inner: GoldenBackend,
    writes: Arc<AtomicU32>,
}

impl Backend for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn load_parts(
        &mut self,
        model: &Arc<PackedModel>,
        parts: &[Part],
        memory: Bytes,
    ) -> Result<(), BackendError> {
        self.inner.load_parts(model, parts, memory)
    }

    fn run(&mut self, program: &Program, table: &StepTable) -> Result<StepReport, BackendError> {
        self.inner.run(program, table)
    }

    fn read_record(&self, addr: u64, out: &mut [u8]) -> Result<(), BackendError> {
        self.inner.read_record(addr, out)
    }

    fn read_channel(&self, channel: usize, start: u64, out: &mut [u8]) -> Result<(), BackendError> {
        self.inner.read_channel(channel, start, out)
    }

    fn write_channel(&mut self, channel: usize, start: u64, bytes: &[u8]) -> Result<(), BackendError> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.inner.write_channel(channel, start, bytes)
    }
}

/// Writes of a step, by step: `tiny` has one channel, so a record is one write.
fn writes(text: &str) -> Vec<u32> {
    let writes = Arc::new(AtomicU32::new(0));
    let backend = Box::new(Counting { inner: GoldenBackend::new(), writes: Arc::clone(&writes) });
    let options = SessionOptions { slots: 2, positions: 64 };
    let policy = Policy::dense().with_attention(attention(text));
    let mut session = Session::open(backend, random("tiny"), policy, options).unwrap();
    session.start(forced(vec![50, 48, 49, 51], &[1; 6], 0..48)).unwrap();
    let step = |_| {
        let before = writes.load(Ordering::Relaxed);
        session.step().unwrap();
        writes.load(Ordering::Relaxed) - before
    };
    (0..9).map(step).collect()
}

#[test]
fn lists_are_written_when_they_change() {
    assert_eq!(writes("dense"), [0; 9]);
    assert_eq!(writes("local3"), [1; 9], "one list for both layers and heads of the one active slot");
    assert_eq!(writes("local3/dense"), [1; 9], "a dense layer has none");
    assert_eq!(writes("local3/sink1+local3"), [2; 9], "two layers, two lists");
}

#[test]
fn misfits_are_refused() {
    let model = random("tiny");
    let refused = |text: &str, model: &Arc<PackedModel>| {
        let policy = Policy::dense().with_attention(attention(text));
        golden_session(model, policy, 1, 64).err().unwrap().to_string()
    };
    assert_eq!(
        refused("dense/dense/local4", &model),
        "policy.attention.layers has 3 entries: give 1, or one for each of the model's 2 layers"
    );
    assert_eq!(
        refused("local4,local5,dense", &model),
        "policy.attention deals 3 patterns to the model's 2 key/value heads: give at most one for each"
    );
    let dir = tempfile::tempdir().unwrap();
    LlamaSpec::default().write(dir.path()).unwrap();
    let plain = packed(&Model::open(dir.path()).unwrap(), "tiny", PackOptions::default()).unwrap();
    let error = refused("prompt+frame-stride1~4", &plain);
    assert_eq!(
        error,
        "policy 'frame-stride' needs a frame period, and the model has none (no fastcar_video in its config.json); \
         use the dense policy"
    );
    assert!(golden_session(&plain, Policy::dense().with_attention(attention("local4")), 1, 64).is_ok());
}
