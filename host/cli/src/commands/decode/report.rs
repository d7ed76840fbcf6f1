//! What a decode did: the figures, as they go to JSON.

use super::device::DeviceReport;
use super::plan::{Plan, Sequence};
use super::simulated::Simulated;
use super::{Args, Runs, run::Run};
use crate::constants::formats;
use crate::metrics::{Difference, agreement, difference};
use crate::source::Opened;
use crate::table::percent;
use anyhow::Result;
use fastcar_arch::identity::Identity;
use fastcar_host::model::{Codebook, Frame};
use fastcar_host::policy::{Method, Policy};
use fastcar_host::sampler::Sampling;
use fastcar_host::session::{DecodeStats, LayerCount};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::PathBuf;

/// What a decode did.
#[derive(Serialize)]
pub struct Report {
    pub(super) model: String,
    pub(super) preset: String,
    pub(super) identity: Identity,
    fingerprint: String,
    pub(super) weights: String,
    pub(super) backend: String,
    pub(super) policy: Policy,
    pub(super) sampling: Sampling,
    pub(super) cfg: Option<f32>,
    positions: u32,
    tokens_per_frame: Option<u32>,
    pub(super) sequences: Vec<SequenceReport>,
    pub(super) total: Savings,
    pub(super) timings: Timings,
    /// On the simulator: cycles, and what follows from them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) simulated: Option<Simulated>,
    /// On the generated hardware: what it counts.
    #[cfg(feature = "hardware")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hardware: Option<super::hardware::Hardware>,
    /// On an OpenCL device: its times and rates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) device: Option<DeviceReport>,
    pub(super) files: Vec<PathBuf>,
}

/// What a policy saved. Ratios are over the positions where skipping was possible.
#[derive(Serialize)]
pub struct Savings {
    /// Replays over possible replays; none where the policy has no replay.
    pub(super) replay_ratio: Option<f64>,
    pub(super) replay_ratio_by_layer: Option<Vec<f64>>,
    /// Of a guided pair: share of layers and positions where both rows replay.
    pub(super) r_joint: Option<f64>,
    /// Weight bytes needed over those of a dense decode, for the conditional row.
    pub(super) weight_traffic: f64,
}

/// One sequence.
#[derive(Serialize)]
pub struct SequenceReport {
    pub(super) prompt: String,
    heldout: Option<usize>,
    prompt_tokens: Vec<u32>,
    tokens: Value,
    #[serde(flatten)]
    pub(super) savings: Savings,
    pub(super) against_dense: Option<AgainstDense>,
    pub(super) against_truth: Option<AgainstTruth>,
}

/// A sequence beside its dense decode. Frame 0, where no policy skips, is left out.
#[derive(Serialize)]
pub(super) struct AgainstDense {
    /// Share of positions at which the policy chooses the dense token, given all dense tokens before.
    pub(super) token_agreement: Option<f64>,
    /// Share of positions whose tokens are equal when the policy continues its own.
    pub(super) tokens_equal: Option<f64>,
    /// Pictures.
    pub(super) frames: Option<Difference>,
}

/// A sequence beside the held-out video that it continues, the given first frame left out.
#[derive(Serialize)]
pub(super) struct AgainstTruth {
    pub(super) frames: Option<Difference>,
    pub(super) dense_frames: Option<Difference>,
}

/// Seconds, and tokens of all sequences per second of decoding.
#[derive(Serialize)]
pub(super) struct Timings {
    pub(super) pack_seconds: f64,
    pub(super) prefill_seconds: f64,
    pub(super) decode_seconds: f64,
    pub(super) tokens_per_second: f64,
}

/// What a report is about.
pub struct Context<'a> {
    /// The model.
    pub opened: &'a Opened,
    /// The policy asked for.
    pub policy: &'a Policy,
    /// What was decoded.
    pub plan: &'a Plan,
    /// What came out.
    pub runs: &'a Runs,
}

impl Report {
    /// Gathers everything but the files.
    ///
    /// # Errors
    /// Tokens that cannot be rendered.
    pub fn new(args: &Args, context: &Context<'_>, codebook: Option<&Codebook>) -> Result<Self> {
        let &Context { opened, policy, plan, runs } = context;
        let config = opened.packed.config();
        let savings = |stats: &[DecodeStats]| Savings::new(policy, stats, plan.guidance.is_some());
        let mut sequences = Vec::new();
        for (i, sequence) in plan.sequences.iter().enumerate() {
            sequences.push(SequenceReport {
                prompt: sequence.prompt.clone(),
                heldout: sequence.heldout,
                prompt_tokens: sequence.tokens.clone(),
                tokens: flat(&runs.policy.tokens[i]),
                savings: savings(&runs.policy.stats[i..=i]),
                against_dense: against_dense(plan, runs, i, codebook)?,
                against_truth: against_truth(plan, runs, i, sequence, codebook)?,
            });
        }
        Ok(Self {
            model: opened.name.clone(),
            preset: config.name().to_owned(),
            identity: Identity::of(config),
            fingerprint: opened.packed.fingerprint(),
            weights: formats(opened.packed.image()),
            backend: format!("{:?}", args.backend).to_lowercase(),
            policy: policy.clone(),
            sampling: plan.sampling,
            cfg: args.cfg,
            positions: plan.positions,
            tokens_per_frame: plan.period,
            sequences,
            total: savings(&runs.policy.stats),
            timings: Timings::new(opened.seconds, &runs.policy),
            simulated: simulated(args, context)?,
            #[cfg(feature = "hardware")]
            hardware: hardware(args, context)?,
            device: runs
                .device
                .as_ref()
                .and_then(|opened| DeviceReport::new(opened, &runs.policy, runs.dense.as_ref())),
            files: Vec::new(),
        })
    }

    /// What goes to the tokens file: enough to render or to repeat.
    pub fn tokens_file(&self) -> Value {
        let sequence = |s: &SequenceReport| {
            let (prompt, prompt_tokens, tokens) = (&s.prompt, &s.prompt_tokens, &s.tokens);
            json!({ "prompt": prompt, "prompt_tokens": prompt_tokens, "tokens": tokens })
        };
        json!({
            "model": self.model,
            "fingerprint": self.fingerprint,
            "policy": self.policy,
            "sampling": self.sampling,
            "cfg": self.cfg,
            "tokens_per_frame": self.tokens_per_frame,
            "sequences": self.sequences.iter().map(sequence).collect::<Vec<_>>(),
        })
    }
}

impl SequenceReport {
    /// Prompt and origin, for headings.
    pub(super) fn title(&self) -> String {
        self.heldout.map_or_else(|| self.prompt.clone(), |n| format!("{} (held-out {n})", self.prompt))
    }

    /// What the policy saved, in words; none where it skips nothing.
    pub(super) fn savings_text(&self) -> Option<String> {
        let traffic = format!("weight traffic {}", percent(self.savings.weight_traffic));
        let replayed = self.savings.replay_ratio.map(|r| format!("replayed {}, {traffic}", percent(r)));
        replayed.or((self.savings.weight_traffic < 1.0).then_some(traffic))
    }
}

impl Savings {
    fn new(policy: &Policy, stats: &[DecodeStats], guided: bool) -> Self {
        let replay = matches!(policy.method(), Method::Replay { .. });
        let ratio = |part: u64, all: u64| part as f64 / (all as f64).max(1.0);
        let layers = layer_counts(stats);
        let (eligible, replayed) = layers.iter().fold((0, 0), |(e, r), l| (e + l.eligible, r + l.replayed));
        let joint = stats.iter().fold((0, 0), |(j, e), s| (j + s.joint, e + s.joint_eligible));
        Self {
            replay_ratio: replay.then(|| ratio(replayed, eligible)),
            replay_ratio_by_layer: replay
                .then(|| layers.iter().map(|l| ratio(l.replayed, l.eligible)).collect()),
            r_joint: (replay && guided).then(|| ratio(joint.0, joint.1)),
            weight_traffic: stats.iter().map(DecodeStats::traffic).sum::<f64>()
                / (stats.len() as f64).max(1.0),
        }
    }
}

fn simulated(args: &Args, context: &Context<'_>) -> Result<Option<Simulated>> {
    let &Context { opened, plan, runs, .. } = context;
    let Some(report) = &runs.policy.watched.simulated else { return Ok(None) };
    let machine = (args.sim.options().policy.to_string(), args.sim.memory_name(opened.packed.config())?);
    Ok(Some(Simulated::new(report, machine, plan.sequences.len(), plan.period)))
}

#[cfg(feature = "hardware")]
fn hardware(args: &Args, context: &Context<'_>) -> Result<Option<super::hardware::Hardware>> {
    let &Context { opened, plan, runs, .. } = context;
    let Some(counter) = &runs.policy.watched.counted else { return Ok(None) };
    let config = opened.packed.config();
    let memory = args.sim.memory_name(config)?;
    let (sequences, seconds) = (plan.sequences.len(), runs.policy.prefill + runs.policy.decode);
    Ok(Some(super::hardware::Hardware::new(counter, config, memory, sequences, seconds)))
}

/// Counts by layer over all sequences.
fn layer_counts(stats: &[DecodeStats]) -> Vec<LayerCount> {
    let layers = stats.first().map_or(0, |s| s.layers.len());
    let sum = |layer: usize| {
        stats.iter().map(|s| s.layers[layer]).fold(LayerCount::default(), |sum, l| LayerCount {
            eligible: sum.eligible + l.eligible,
            replayed: sum.replayed + l.replayed,
        })
    };
    (0..layers).map(sum).collect()
}

/// Positions as plain numbers where each has one token.
fn flat(tokens: &[Vec<u32>]) -> Value {
    if tokens.iter().all(|t| t.len() == 1) { json!(tokens.concat()) } else { json!(tokens) }
}

/// Whole frames of a run's tokens as pictures.
pub(super) fn frames(plan: &Plan, tokens: &[Vec<u32>], codebook: &Codebook) -> Result<Vec<Frame>> {
    let period = plan.period.unwrap_or(1).max(1) as usize;
    let whole = tokens.len() / period * period;
    Ok(codebook.render(&tokens[..whole].concat())?)
}

/// Differences behind frame 0.
fn compare(
    plan: &Plan,
    a: &[Vec<u32>],
    b: &[Frame],
    codebook: Option<&Codebook>,
) -> Result<Option<Difference>> {
    let Some(codebook) = codebook else { return Ok(None) };
    let a = frames(plan, a, codebook)?;
    Ok(difference(a.get(1..).unwrap_or_default(), b.get(1..).unwrap_or_default()))
}

fn against_dense(
    plan: &Plan,
    runs: &Runs,
    i: usize,
    codebook: Option<&Codebook>,
) -> Result<Option<AgainstDense>> {
    let (Some(dense), Some(along)) = (&runs.dense, &runs.along_dense) else { return Ok(None) };
    let behind = |tokens: &[Vec<u32>]| {
        tokens.get(plan.period.unwrap_or(0) as usize..).map(<[_]>::to_vec).unwrap_or_default()
    };
    let dense_behind = behind(&dense.tokens[i]);
    let pictures = codebook.map(|c| frames(plan, &dense.tokens[i], c)).transpose()?.unwrap_or_default();
    Ok(Some(AgainstDense {
        token_agreement: agreement(&behind(&along.chosen[i]), &dense_behind),
        tokens_equal: agreement(&behind(&runs.policy.tokens[i]), &dense_behind),
        frames: compare(plan, &runs.policy.tokens[i], &pictures, codebook)?,
    }))
}

fn against_truth(
    plan: &Plan,
    runs: &Runs,
    i: usize,
    sequence: &Sequence,
    codebook: Option<&Codebook>,
) -> Result<Option<AgainstTruth>> {
    let Some(truth) = &sequence.truth else { return Ok(None) };
    let dense =
        runs.dense.as_ref().map(|run| compare(plan, &run.tokens[i], &truth.frames, codebook)).transpose()?;
    let frames = compare(plan, &runs.policy.tokens[i], &truth.frames, codebook)?;
    Ok(Some(AgainstTruth { frames, dense_frames: dense.flatten() }))
}

impl Timings {
    fn new(pack_seconds: f64, run: &Run) -> Self {
        let tokens: usize = run.made().flatten().map(Vec::len).sum();
        let (prefill_seconds, decode_seconds) = (run.prefill, run.decode);
        Self {
            pack_seconds,
            prefill_seconds,
            decode_seconds,
            tokens_per_second: tokens as f64 / decode_seconds,
        }
    }
}
