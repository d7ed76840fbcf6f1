//! Thresholds for a model: the policy of a [`Family`] that meets a target on some clips.
//!
//! Scores recorded along a dense decode say roughly where a threshold lies; decodes under trial policies then settle
//! it, since skipping changes what is scored later. Ratio, traffic and agreement are those along the dense decode's
//! tokens, PSNR is that of the free-running video against the dense one.

use crate::pack::Progress;
use crate::policy::{DeltaThresholds, Policy};
use crate::quality::{Bench, Family, Kind, Knob, Measurement, QualityError, Search};
use serde::Serialize;
use std::cell::Cell;

/// How near a target ratio or traffic is met, where the clips allow it.
pub const TOLERANCE: f64 = 0.005;
const TRIES: u32 = 14;
/// Halvings of the knob's range for a floor.
const HALVINGS: u32 = 9;
/// Steps of the search for delta decode's relative thresholds.
const FACTOR_STEP: f32 = 1.5;
const FACTOR_ROUNDS: usize = 2;

/// What is asked of a policy.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Replay ratio; in delta decode the share of weight bytes not needed.
    Ratio(f64),
    /// Weight traffic over dense.
    Traffic(f64),
    /// Least traffic with at least this agreement with the dense decode.
    Agreement(f64),
    /// Least traffic with at least this PSNR against the dense video, in dB.
    PsnrDb(f64),
}

/// Why no policy is found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrateError {
    /// A target outside its range.
    #[error("target {what} = {found}: must be {allowed}")]
    Range {
        /// Which target.
        what: &'static str,
        /// Value given.
        found: f64,
        /// What is allowed.
        allowed: &'static str,
    },
    /// No policy of the family meets it.
    #[error(
        "no {family} policy reaches {what} {asked:.4} on these clips: the best is {best:.4}; ask for that, or use another method"
    )]
    Unreachable {
        /// Family.
        family: String,
        /// Which target.
        what: &'static str,
        /// Value asked for.
        asked: f64,
        /// Nearest value of the family.
        best: f64,
    },
    /// PSNR of a model without pictures.
    #[error("a PSNR needs pictures, and the model has no picture patches: use an agreement as the floor")]
    NoPictures,
    /// Factors of something that has none.
    #[error("relative thresholds belong to delta decode, not to {family}")]
    NoFactors {
        /// Family.
        family: String,
    },
    /// A measurement.
    #[error(transparent)]
    Quality(#[from] QualityError),
}

/// A policy that meets its target.
#[derive(Clone, PartialEq, Debug)]
pub struct Calibration {
    /// The family, with the relative thresholds found.
    pub family: Family,
    /// The policy.
    pub policy: Policy,
    /// What it does on the clips.
    pub measured: Measurement,
    /// Trial policies decoded.
    pub trials: u32,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::Ratio(_) => "ratio",
            Self::Traffic(_) => "traffic",
            Self::Agreement(_) => "agreement",
            Self::PsnrDb(_) => "PSNR in dB",
        }
    }

    fn asked(self) -> f64 {
        match self {
            Self::Ratio(x) | Self::Traffic(x) | Self::Agreement(x) | Self::PsnrDb(x) => x,
        }
    }

    /// About how many trial policies a calibration decodes; [`calibrate_factors`] some ten times as many.
    #[must_use]
    pub fn expected_trials(self) -> u32 {
        match self {
            Self::Ratio(_) | Self::Traffic(_) => 6,
            Self::Agreement(_) | Self::PsnrDb(_) => HALVINGS + 2,
        }
    }

    /// The quantity that falls as more is skipped.
    fn falling(self) -> fn(&Trial) -> f64 {
        match self {
            Self::Ratio(_) => |t| 1.0 - t.ratio,
            Self::Traffic(_) => |t| t.traffic,
            Self::Agreement(_) => |t| t.agreement,
            Self::PsnrDb(_) => |t| t.psnr_db,
        }
    }

    /// What that quantity should be.
    fn goal(self) -> f64 {
        if let Self::Ratio(ratio) = self { 1.0 - ratio } else { self.asked() }
    }

    /// Checks the range.
    ///
    /// # Errors
    /// [`CalibrateError::Range`].
    pub fn check(self) -> Result<(), CalibrateError> {
        let (ok, allowed) = match self {
            Self::Ratio(x) | Self::Agreement(x) => ((0.0..=1.0).contains(&x), "from 0 to 1"),
            Self::Traffic(x) => (x > 0.0 && x <= 1.0, "above 0 and at most 1"),
            Self::PsnrDb(x) => (x > 0.0 && x.is_finite(), "above 0"),
        };
        if ok {
            Ok(())
        } else {
            Err(CalibrateError::Range { what: self.name(), found: self.asked(), allowed })
        }
    }
}

/// Finds the policy of a family that meets a target. Progress counts trial policies; the total is an estimate.
///
/// # Errors
/// [`CalibrateError`].
pub fn calibrate(
    bench: &Bench,
    family: &Family,
    target: Target,
    progress: &dyn Progress,
) -> Result<Calibration, CalibrateError> {
    let trials = Trials::new(bench, target, 1, progress)?;
    let (policy, measured) = trials.solve(family)?.policy(&trials)?;
    Ok(Calibration { family: *family, policy, measured, trials: trials.count.get() })
}

/// As [`calibrate`], for delta decode, with a search for the relative thresholds of the four linear inputs: one after
/// the other, a larger and a smaller one are tried, and kept where the target's other side improves (agreement at a
/// given traffic, traffic at a given floor).
///
/// # Errors
/// [`CalibrateError::NoFactors`] for another family, otherwise as [`calibrate`].
pub fn calibrate_factors(
    bench: &Bench,
    family: &Family,
    target: Target,
    progress: &dyn Progress,
) -> Result<Calibration, CalibrateError> {
    let Kind::Delta(first) = family.kind else {
        return Err(CalibrateError::NoFactors { family: family.to_string() });
    };
    let trials = Trials::new(bench, target, 1 + 6 * FACTOR_ROUNDS as u32, progress)?;
    let (mut factors, mut best) = (first, trials.solve(family)?);
    for round in 0..FACTOR_ROUNDS {
        let before = factors;
        // The first factor stays: only ratios between the four matter.
        for (which, step) in (1..4).flat_map(|w| [(w, FACTOR_STEP), (w, 1.0 / FACTOR_STEP)]) {
            let tried = scaled(factors, which, step);
            match trials.solve(&Family { kind: Kind::Delta(tried), ..*family }) {
                Ok(found) if found.merit > best.merit => (factors, best) = (tried, found),
                Ok(_) | Err(CalibrateError::Unreachable { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        if factors == before && round > 0 {
            break;
        }
    }
    let (policy, measured) = best.policy(&trials)?;
    let family = Family { kind: Kind::Delta(factors), ..*family };
    Ok(Calibration { family, policy, measured, trials: trials.count.get() })
}

fn scaled(factors: DeltaThresholds, which: usize, by: f32) -> DeltaThresholds {
    let DeltaThresholds { mut qkv, mut o, mut gate_up, mut down } = factors;
    *[&mut qkv, &mut o, &mut gate_up, &mut down][which] *= by;
    DeltaThresholds { qkv, o, gate_up, down }
}

/// Outcome of a trial.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Trial {
    ratio: f64,
    traffic: f64,
    agreement: f64,
    /// Where the target asks for it.
    psnr_db: f64,
}

/// A solution: where the knob stands, and how good that is beyond meeting the target.
struct Solution {
    knob: Knob,
    level: f64,
    merit: f64,
}

impl Solution {
    fn policy(self, trials: &Trials<'_>) -> Result<(Policy, Measurement), CalibrateError> {
        let policy = trials.bench.measured(self.knob.policy(self.level)?);
        let measured = trials.bench.measure(&policy, trials.progress)?;
        Ok((policy, measured))
    }
}

/// Decodes under trial policies, counted.
struct Trials<'a> {
    bench: &'a Bench,
    target: Target,
    progress: &'a dyn Progress,
    count: Cell<u32>,
    expected: u32,
}

impl<'a> Trials<'a> {
    fn new(
        bench: &'a Bench,
        target: Target,
        solves: u32,
        progress: &'a dyn Progress,
    ) -> Result<Self, CalibrateError> {
        target.check()?;
        if matches!(target, Target::PsnrDb(_)) && !bench.has_pictures() {
            return Err(CalibrateError::NoPictures);
        }
        Ok(Self { bench, target, progress, count: Cell::new(0), expected: target.expected_trials() * solves })
    }

    fn run(&self, policy: &Policy) -> Result<Trial, QualityError> {
        let forced = self.bench.forced(policy, self.progress)?;
        let psnr_db = match self.target {
            Target::PsnrDb(_) => self.bench.psnr_against_dense(policy, self.progress)?.unwrap_or(f64::NAN),
            _ => f64::NAN,
        };
        self.count.set(self.count.get() + 1);
        let done = u64::from(self.count.get());
        self.progress.advance(done, done.max(self.expected.into()));
        Ok(Trial { ratio: forced.ratio, traffic: forced.traffic, agreement: forced.agreement, psnr_db })
    }

    /// Meets the target with one family.
    fn solve(&self, family: &Family) -> Result<Solution, CalibrateError> {
        let knob = family.knob(self.bench, self.progress)?;
        let mut search = Search::new(|level| self.run(&knob.policy(level)?), self.target.falling());
        let found = match self.target {
            Target::Ratio(_) | Target::Traffic(_) => self.meet(&mut search)?,
            Target::Agreement(_) | Target::PsnrDb(_) => self.keep(&mut search)?,
        };
        drop(search);
        let (level, merit) = found.map_err(|best| self.unreachable(family, best))?;
        Ok(Solution { knob, level, merit })
    }

    /// The level at a goal, and its agreement; the nearest value where the goal lies beyond both ends.
    fn meet(&self, search: &mut Search<'_, Trial>) -> Result<Result<(f64, f64), f64>, QualityError> {
        let goal = self.target.goal();
        let found = search.find(goal, TOLERANCE, TRIES)?;
        let ends = search.ends()?.map(|f| f.value);
        Ok(inside(&ends, goal).map(|()| (found.level, found.outcome.agreement)))
    }

    /// The highest level that keeps a floor, and how little traffic it needs; the best value where none does.
    fn keep(&self, search: &mut Search<'_, Trial>) -> Result<Result<(f64, f64), f64>, QualityError> {
        let best = search.ends()?[0].value;
        let found = search.highest(self.target.goal(), HALVINGS)?;
        Ok(found.map(|f| (f.level, -f.outcome.traffic)).ok_or(best))
    }

    fn unreachable(&self, family: &Family, best: f64) -> CalibrateError {
        let best = if matches!(self.target, Target::Ratio(_)) { 1.0 - best } else { best };
        let (what, asked) = (self.target.name(), self.target.asked());
        CalibrateError::Unreachable { family: family.to_string(), what, asked, best }
    }
}

/// Whether a goal lies between the values at both ends, with some tolerance; if not, the nearer end.
fn inside([first, last]: &[f64; 2], goal: f64) -> Result<(), f64> {
    match goal {
        _ if goal > first + TOLERANCE => Err(*first),
        _ if goal < last - TOLERANCE => Err(*last),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_out_of_range_are_refused() {
        let text = |t: Target| t.check().map_err(|e| e.to_string());
        assert_eq!(text(Target::Ratio(1.5)), Err("target ratio = 1.5: must be from 0 to 1".to_owned()));
        assert_eq!(
            text(Target::Traffic(0.0)),
            Err("target traffic = 0: must be above 0 and at most 1".to_owned())
        );
        assert_eq!(
            text(Target::Agreement(f64::NAN)),
            Err("target agreement = NaN: must be from 0 to 1".to_owned())
        );
        assert_eq!(text(Target::PsnrDb(-3.0)), Err("target PSNR in dB = -3: must be above 0".to_owned()));
        assert_eq!(text(Target::Traffic(1.0)), Ok(()));
    }

    #[test]
    fn ends_bound_what_is_reachable() {
        assert_eq!(inside(&[1.0, 0.33], 0.5), Ok(()));
        assert_eq!(inside(&[1.0, 0.33], 0.2), Err(0.33));
        assert_eq!(inside(&[0.98, 0.33], 1.0), Err(0.98));
    }
}
