//! Replay decisions of the machine against the reference semantics in plain binary32.

use fastcar_arch::step::{ACTIVE, GateEntry, NO_RING, SlotEntry, StepReport, StepTable};
use fastcar_host::backend::{Backend, GoldenBackend};
use fastcar_host::compile::{CompileOptions, compile};
use fastcar_host::image::Format;
use fastcar_host::model::{Clip, Model};
use fastcar_host::oracle::{self, Decision, Hooks, Oracle, Replay};
use fastcar_host::pack::PackOptions;
use fastcar_host::packed::PackedModel;
use fastcar_host::policy::{Gate, Policy, TasForm};
use fastcar_tests::{TestResult, moving_digits, packed};
use std::sync::Arc;

const PERIOD: u32 = 64;

/// Stated error of a score (see docs/accuracy.md): how far the machine's may lie from binary32's, on this model, as a
/// share of the scores' own spread over a video.
const TAS_ERROR: f32 = 0.15;
const INPUT_DELTA_ERROR: f32 = 0.08;

/// Every step's report over a clip whose tokens are given.
fn machine_reports(
    model: &Arc<PackedModel>,
    policy: &Policy,
    clip: &Clip,
) -> Result<Vec<StepReport>, Box<dyn std::error::Error>> {
    let options = CompileOptions { slots: 1, positions: 640, period: PERIOD };
    let compiled = compile(model.plan(), policy, options)?;
    let mut backend = GoldenBackend::new();
    backend.load(model, compiled.map.used())?;
    let program = &compiled.body[0];
    let prompt = clip.prompt.len() as u32;
    let mut reports = Vec::new();
    for (pos, &token) in clip.prompt.iter().chain(&clip.tokens).enumerate() {
        let video = (pos as u32).checked_sub(prompt);
        let allow = u32::from(video.is_some_and(|v| v >= PERIOD));
        let mut table = StepTable::new(1, program.limits().gates as usize);
        table.gates.fill(GateEntry { allow, force: 0 });
        table.slots[0] = SlotEntry {
            flags: ACTIVE,
            pos: pos as u32,
            ring: video.map_or(NO_RING, |v| v % PERIOD),
            token: [token, 0, 0, 0],
            ..SlotEntry::idle()
        };
        reports.push(backend.run(program, &table)?);
    }
    Ok(reports.split_off(clip.prompt.len()))
}

/// Makes the oracle follow the machine's decisions, so that one difference does not become many.
struct Follow<'a>(&'a StepReport);

impl Hooks for Follow<'_> {
    fn decide(&mut self, layer: usize, _: &Decision) -> Option<bool> {
        Some(self.0.gates[layer].replay & 1 == 1)
    }
}

/// Compares scores and decisions; `wants` is the reference's own decision. Returns the share of replays.
fn compare(
    policy: &Policy,
    gate: oracle::Gate,
    error: f32,
    wants: impl Fn(usize, f32) -> (bool, f32),
    square: bool,
) -> Result<f32, Box<dyn std::error::Error>> {
    let model = Model::open(moving_digits())?;
    let packed = packed(&model, "edge", PackOptions { weights: Format::MxInt8, head: None })?;
    let heldout = model.heldout()?;
    let clip = &heldout.clips()[5];
    let reports = machine_reports(&packed, policy, clip)?;
    let oracle = Oracle::new(&model)?;
    let mut sequence = oracle.sequence_with(Replay::new(PERIOD as usize, gate)?)?;
    sequence.prefill(&clip.prompt)?;

    let mut rows = Vec::new();
    for (&token, report) in clip.tokens.iter().zip(&reports) {
        sequence.step_with(token, &mut Follow(report))?;
        for (layer, decision) in sequence.decisions().iter().enumerate() {
            let found = report.gates[layer].score[0];
            assert_eq!(decision.eligible, !found.is_nan(), "eligibility");
            if let Some(expected) = decision.score {
                let found = if square { found.sqrt() } else { found };
                rows.push((layer, found, expected, report.gates[layer].replay & 1 == 1));
            }
        }
    }
    let mut replays = 0;
    for layer in 0..4 {
        let scores: Vec<f32> = rows.iter().filter(|r| r.0 == layer).map(|r| r.2).collect();
        let mean = scores.iter().sum::<f32>() / scores.len() as f32;
        let spread =
            (scores.iter().map(|s| (s - mean) * (s - mean)).sum::<f32>() / scores.len() as f32).sqrt();
        let limit = error * spread;
        let mut worst = 0f32;
        for &(_, found, expected, replayed) in rows.iter().filter(|r| r.0 == layer) {
            worst = worst.max((found - expected).abs() / spread);
            let (wanted, threshold) = wants(layer, expected);
            assert!(
                replayed == wanted || (expected - threshold).abs() <= limit,
                "layer {layer}: score {expected}, machine {found}"
            );
            replays += u32::from(replayed);
        }
        println!("layer {layer}: mean {mean:.3}, spread {spread:.3}, worst error {worst:.4} of the spread");
        assert!(worst <= error, "layer {layer}: a score is off by {worst} of the spread {spread}");
    }
    Ok(replays as f32 / rows.len() as f32)
}

fn tas(form: TasForm) -> TestResult {
    let thresholds = [-2.0f32, -1.0, 0.0, 1.0];
    let policy = Policy::replay(Gate::Tas { form, thresholds: thresholds.to_vec() })?;
    let gate = oracle::Gate::Tas { form, thresholds: thresholds.map(Some).to_vec() };
    let share = compare(
        &policy,
        gate,
        TAS_ERROR,
        |layer, score| (score > thresholds[layer], thresholds[layer]),
        false,
    )?;
    println!("{form:?}: {share} replayed");
    assert!((0.02..0.98).contains(&share), "the thresholds must decide something: {share}");
    Ok(())
}

#[test]
fn tas_as_in_the_code() -> TestResult {
    tas(TasForm::Code)
}

#[test]
fn tas_as_in_the_paper() -> TestResult {
    tas(TasForm::Paper)
}

#[test]
fn input_delta() -> TestResult {
    let thresholds = [0.3f32; 4];
    let policy = Policy::replay(Gate::InputDelta { thresholds: thresholds.to_vec() })?;
    let gate = oracle::Gate::InputDelta { thresholds: thresholds.map(Some).to_vec() };
    let share = compare(
        &policy,
        gate,
        INPUT_DELTA_ERROR,
        |layer, score| (score < thresholds[layer], thresholds[layer]),
        true,
    )?;
    println!("input-delta: {share} replayed");
    assert!((0.02..0.98).contains(&share), "the thresholds must decide something: {share}");
    Ok(())
}
