//! Decodes of held-out clips under policies, beside the dense decode of the same clips.

use super::QualityError;
use super::metrics::{MetricError, SquaredError, agreement, video_ssim};
use crate::attention::Attention;
use crate::backend::Backend;
use crate::model::{Clip, Codebook, Frame, VideoConfig};
use crate::pack::Progress;
use crate::packed::PackedModel;
use crate::policy::Policy;
use crate::sampler::Sampling;
use crate::session::{DecodeStats, Observer, Request, Session, SessionError, SessionOptions};
use rayon::prelude::*;
use serde::Serialize;
use std::sync::Arc;

/// A prompt, and the true video where it is known.
#[derive(Clone, PartialEq, Debug)]
pub struct Scene {
    /// The prompt's tokens.
    pub prompt: Vec<u32>,
    /// Picture tokens and pictures. The first frame is then given in every decode.
    pub truth: Option<(Vec<u32>, Vec<Frame>)>,
}

impl From<Clip> for Scene {
    fn from(clip: Clip) -> Self {
        Self { prompt: clip.prompt, truth: Some((clip.tokens, clip.frames)) }
    }
}

/// Makes a machine; every session of a measurement has its own.
pub type Machines = dyn Fn() -> Box<dyn Backend> + Send + Sync;

/// Where the tokens of a decode come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Given {
    /// The first frame from the true video, the rest from the decode itself.
    FirstFrame,
    /// All from the dense decode.
    Dense,
    /// All from the true video.
    Truth,
}

/// One clip's decode.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    /// Tokens of the video.
    pub(crate) tokens: Vec<u32>,
    /// What the model chose at each position.
    pub(crate) chosen: Vec<u32>,
    pub(crate) stats: DecodeStats,
}

/// PSNR and SSIM of a video, over the frames that were not given.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Fidelity {
    /// Of the pooled squared errors; infinite (null in JSON) for identical videos.
    pub psnr_db: f64,
    /// Mean over frames; none where the pictures are smaller than the window.
    pub ssim: Option<f64>,
}

/// What a policy costs and what it keeps, over all clips. Shares count positions from the second frame on, since the
/// first is always dense.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Measurement {
    /// Clips measured.
    pub clips: usize,
    /// Share of (layer, position) that replayed, along the dense decode's tokens; in delta decode, share of weight
    /// bytes that were not needed.
    pub replay_ratio: f64,
    /// Share of (layer, position) where all rows of a sequence replayed.
    pub joint_ratio: f64,
    /// Weight bytes over those of a dense decode, along the dense decode's tokens.
    pub traffic: f64,
    /// Share of positions at which the dense decode's choice is made, along the dense decode's tokens.
    pub agreement: f64,
    /// Weight bytes over those of a dense decode, free-running.
    pub free_traffic: f64,
    /// Share of the free-running video's tokens that are those of the dense video.
    pub free_agreement: f64,
    /// The free-running video against the dense one; none without picture patches.
    pub against_dense: Option<Fidelity>,
    /// The free-running video against the true one, where it is known.
    pub against_truth: Option<Fidelity>,
    /// Share of true tokens chosen along the true video, where it is known.
    pub accuracy: Option<f64>,
}

/// Clips, a packed model, and the model's dense decode of the clips.
pub struct Bench {
    model: Arc<PackedModel>,
    machines: Box<Machines>,
    video: VideoConfig,
    codebook: Option<Codebook>,
    scenes: Vec<Scene>,
    attention: Attention,
    dense: Vec<Run>,
}

impl Bench {
    /// Checks the clips and decodes them densely.
    ///
    /// # Errors
    /// [`QualityError::NoClips`], [`QualityError::Clip`], [`QualityError::Codes`], [`QualityError::Cancelled`], or the
    /// session's.
    pub fn new(
        model: Arc<PackedModel>,
        machines: Box<Machines>,
        video: &VideoConfig,
        codebook: Option<Codebook>,
        scenes: Vec<Scene>,
        progress: &dyn Progress,
    ) -> Result<Self, QualityError> {
        if model.image().depth.is_some() {
            return Err(QualityError::Codes);
        }
        let (video, attention) = (video.clone(), Attention::dense());
        let mut bench = Self { model, machines, video, codebook, scenes, attention, dense: Vec::new() };
        bench.check()?;
        bench.dense = bench.decode(&Policy::dense(), Given::FirstFrame, progress)?;
        Ok(bench)
    }

    /// Measures policies under this attention from now on, the dense one included; the decode that all are compared with
    /// stays dense.
    #[must_use]
    pub fn with_attention(self, attention: Attention) -> Self {
        Self { attention, ..self }
    }

    /// The attention under which policies are measured.
    #[must_use]
    pub fn attention(&self) -> &Attention {
        &self.attention
    }

    /// A policy as it is measured.
    pub(crate) fn measured(&self, policy: Policy) -> Policy {
        policy.with_attention(self.attention.clone())
    }

    fn check(&self) -> Result<(), QualityError> {
        if self.scenes.is_empty() {
            return Err(QualityError::NoClips);
        }
        let expected = self.positions();
        for (clip, scene) in self.scenes.iter().enumerate() {
            let found = scene.truth.as_ref().map_or(expected, |(tokens, _)| tokens.len());
            if found != expected || expected <= self.period() {
                return Err(QualityError::Clip { clip, found, expected });
            }
        }
        Ok(())
    }

    /// Clips.
    #[must_use]
    pub fn clips(&self) -> usize {
        self.scenes.len()
    }

    /// Layers of the model's body.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.model.image().body.shape.layers as usize
    }

    /// Whether videos can be compared as pictures.
    #[must_use]
    pub fn has_pictures(&self) -> bool {
        self.codebook.is_some()
    }

    /// The dense video of a clip.
    #[must_use]
    pub fn dense_tokens(&self, clip: usize) -> Option<&[u32]> {
        self.dense.get(clip).map(|run| &run.tokens[..])
    }

    fn positions(&self) -> usize {
        self.video.video_tokens()
    }

    fn period(&self) -> usize {
        self.video.tokens_per_frame()
    }

    /// Measures a policy: three decodes of each clip.
    ///
    /// # Errors
    /// [`QualityError::Cancelled`], or the session's.
    pub fn measure(&self, policy: &Policy, progress: &dyn Progress) -> Result<Measurement, QualityError> {
        self.measure_from(self.forced(policy, progress)?, policy, progress)
    }

    /// As [`Bench::measure`], where one of the three decodes has been made.
    pub(crate) fn measure_from(
        &self,
        forced: Forced,
        policy: &Policy,
        progress: &dyn Progress,
    ) -> Result<Measurement, QualityError> {
        let free = self.decode(policy, Given::FirstFrame, progress)?;
        Ok(Measurement {
            clips: self.clips(),
            replay_ratio: forced.ratio,
            joint_ratio: forced.joint,
            traffic: forced.traffic,
            agreement: forced.agreement,
            free_traffic: mean(&free, |r| r.stats.traffic()),
            free_agreement: self.agreement(&free, |clip, run| (&run.tokens, &self.dense[clip].tokens)),
            against_dense: self.against_dense(&free)?,
            against_truth: self.against_truth(&free)?,
            accuracy: self.accuracy(policy, progress)?,
        })
    }

    /// The part of a measurement that follows the dense decode's tokens.
    pub(crate) fn forced(&self, policy: &Policy, progress: &dyn Progress) -> Result<Forced, QualityError> {
        let runs = self.decode(policy, Given::Dense, progress)?;
        let agreement = self.agreement(&runs, |clip, run| (&run.chosen, &self.dense[clip].chosen));
        let traffic = mean(&runs, |r| r.stats.traffic());
        let (ratio, joint) = (mean(&runs, |r| skipped(&r.stats)), mean(&runs, |r| jointly(&r.stats)));
        Ok(Forced { ratio, joint, traffic, agreement })
    }

    fn accuracy(&self, policy: &Policy, progress: &dyn Progress) -> Result<Option<f64>, QualityError> {
        let Some(truths) = self.scenes.iter().map(|s| s.truth.as_ref()).collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        let runs = self.decode(policy, Given::Truth, progress)?;
        Ok(Some(self.agreement(&runs, |clip, run| (&run.chosen, &truths[clip].0))))
    }

    /// Mean share of equal entries from the second frame on.
    fn agreement<'a>(&self, runs: &'a [Run], pair: impl Fn(usize, &'a Run) -> (&'a [u32], &'a [u32])) -> f64
    where
        Self: 'a,
    {
        let share = |(clip, run): (usize, &'a Run)| {
            let (a, b) = pair(clip, run);
            agreement(&a[self.period()..], &b[self.period()..])
        };
        runs.iter().enumerate().map(share).sum::<f64>() / runs.len() as f64
    }

    /// Free-running PSNR against the dense video, in dB; none without picture patches.
    pub(crate) fn psnr_against_dense(
        &self,
        policy: &Policy,
        progress: &dyn Progress,
    ) -> Result<Option<f64>, QualityError> {
        let free = self.decode(policy, Given::FirstFrame, progress)?;
        Ok(self.against_dense(&free)?.map(|f| f.psnr_db))
    }

    fn against_dense(&self, free: &[Run]) -> Result<Option<Fidelity>, QualityError> {
        let Some(codebook) = &self.codebook else { return Ok(None) };
        let render = |run: &Run| codebook.render(&run.tokens[self.period()..]);
        let pairs = free.iter().zip(&self.dense).map(|(a, b)| Ok((render(a)?, render(b)?)));
        Ok(Some(fidelity(&pairs.collect::<Result<Vec<_>, QualityError>>()?)?))
    }

    fn against_truth(&self, free: &[Run]) -> Result<Option<Fidelity>, QualityError> {
        let Some(codebook) = &self.codebook else { return Ok(None) };
        let mut pairs = Vec::new();
        for (run, scene) in free.iter().zip(&self.scenes) {
            let Some((_, frames)) = &scene.truth else { return Ok(None) };
            pairs.push((codebook.render(&run.tokens[self.period()..])?, frames[1..].to_vec()));
        }
        Ok(Some(fidelity(&pairs)?))
    }

    /// Decodes all clips: as many at a time as the machine has slots, groups on parallel machines.
    pub(crate) fn decode(
        &self,
        policy: &Policy,
        given: Given,
        progress: &dyn Progress,
    ) -> Result<Vec<Run>, QualityError> {
        let requests: Vec<Request> = (0..self.clips()).map(|clip| self.request(clip, given)).collect();
        let groups: Vec<Vec<Run>> = requests
            .par_chunks(self.group())
            .map(|group| self.decode_group(policy, group, progress, &mut |_| {}))
            .collect::<Result<_, _>>()?;
        Ok(groups.into_iter().flatten().collect())
    }

    /// Clips of one session: whole machines, but no fewer groups than threads.
    fn group(&self) -> usize {
        let slots = self.model.config().slots() as usize;
        self.clips().div_ceil(rayon::current_num_threads()).clamp(1, slots)
    }

    fn request(&self, clip: usize, given: Given) -> Request {
        let scene = &self.scenes[clip];
        let tokens = match (given, &scene.truth) {
            (Given::Dense, _) => &self.dense[clip].tokens[..],
            (Given::Truth, Some((tokens, _))) => tokens,
            (Given::FirstFrame, Some((tokens, _))) => &tokens[..self.period()],
            (Given::Truth | Given::FirstFrame, None) => &[],
        };
        let first = self.video.code_offset() as u32;
        Request {
            prompt: scene.prompt.clone(),
            guidance: None,
            positions: self.positions() as u32,
            // Greedy: the seed only keeps the random gates of different clips apart.
            sampling: Sampling { seed: clip as u64, ..Sampling::GREEDY },
            allowed: first..first + self.video.codes() as u32,
            given: tokens.iter().map(|&t| vec![t]).collect(),
        }
    }

    /// Decodes some clips in one session.
    pub(crate) fn decode_group(
        &self,
        policy: &Policy,
        requests: &[Request],
        progress: &dyn Progress,
        observer: &mut Observer<'_>,
    ) -> Result<Vec<Run>, QualityError> {
        let longest = requests.iter().map(|r| r.prompt.len() as u32 + r.positions).max().unwrap_or(1);
        let options = SessionOptions { slots: requests.len() as u32, positions: longest };
        let policy = self.measured(policy.clone());
        let mut session = Session::open((self.machines)(), Arc::clone(&self.model), policy, options)?;
        let ids =
            requests.iter().map(|r| session.start(r.clone())).collect::<Result<Vec<_>, SessionError>>()?;
        let mut runs = vec![Run::default(); ids.len()];
        while runs.iter().any(|r| r.tokens.len() < self.positions()) {
            if progress.cancelled() {
                return Err(QualityError::Cancelled);
            }
            for made in session.step_with(observer)? {
                let Some(at) = ids.iter().position(|&id| id == made.sequence) else { continue };
                runs[at].tokens.extend(made.tokens);
                runs[at].chosen.extend(made.chosen);
            }
        }
        for (run, id) in runs.iter_mut().zip(ids) {
            run.stats = session.finish(id)?;
        }
        Ok(runs)
    }

    /// Scores of a gate that never replays, along the dense decode's tokens: one list per layer, ascending.
    pub(crate) fn scores(
        &self,
        policy: &Policy,
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<f32>>, QualityError> {
        let requests: Vec<Request> = (0..self.clips()).map(|clip| self.request(clip, Given::Dense)).collect();
        let recorded = requests
            .par_chunks(self.group())
            .map(|group| self.group_scores(policy, group, progress))
            .collect::<Result<Vec<_>, _>>()?;
        let mut all = vec![Vec::new(); self.layers()];
        for (layer, scores) in recorded.into_iter().flat_map(|group| group.into_iter().enumerate()) {
            all[layer].extend(scores);
        }
        all.iter_mut().for_each(|scores: &mut Vec<f32>| scores.sort_unstable_by(f32::total_cmp));
        Ok(all)
    }

    fn group_scores(
        &self,
        policy: &Policy,
        requests: &[Request],
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<f32>>, QualityError> {
        let mut scores = vec![Vec::new(); self.layers()];
        self.decode_group(policy, requests, progress, &mut |run| {
            for (scores, gate) in scores.iter_mut().zip(&run.report.gates) {
                scores.extend(gate.score.iter().filter(|s| !s.is_nan()));
            }
        })?;
        Ok(scores)
    }
}

/// What a decode along the dense tokens shows.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Forced {
    pub(crate) ratio: f64,
    pub(crate) joint: f64,
    pub(crate) traffic: f64,
    pub(crate) agreement: f64,
}

fn mean(runs: &[Run], of: impl Fn(&Run) -> f64) -> f64 {
    runs.iter().map(of).sum::<f64>() / runs.len() as f64
}

/// Mean of what the positions from the second frame on skipped.
fn skipped(stats: &DecodeStats) -> f64 {
    let later = stats.positions.iter().filter(|p| p.eligible);
    let (sum, count) = later.fold((0.0, 0u32), |(sum, n), p| (sum + f64::from(p.skipped), n + 1));
    sum / f64::from(count.max(1))
}

/// Share of (layer, position) from the second frame on where all rows replayed; what is skipped where no layer replays.
fn jointly(stats: &DecodeStats) -> f64 {
    let places = stats.layers.len() * stats.positions.iter().filter(|p| p.eligible).count();
    if stats.joint_eligible == 0 { skipped(stats) } else { stats.joint as f64 / places as f64 }
}

fn fidelity(pairs: &[(Vec<Frame>, Vec<Frame>)]) -> Result<Fidelity, MetricError> {
    let mut error = SquaredError::default();
    let mut ssim = Some(0.0);
    for (a, b) in pairs {
        error = error.and(SquaredError::of_video(a, b)?);
        ssim = match (ssim, video_ssim(a, b)) {
            (Some(sum), Ok(value)) => Some(sum + value),
            (_, Err(MetricError::Small { .. })) | (None, Ok(_)) => None,
            (_, Err(e)) => return Err(e),
        };
    }
    Ok(Fidelity { psnr_db: error.psnr_db(), ssim: ssim.map(|sum| sum / pairs.len() as f64) })
}
