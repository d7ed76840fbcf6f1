//! The knob of a family of policies, and the search for its position.

use super::{Family, Kind, QualityError};
use crate::policy::{DeltaThresholds, Gate, Method, Policy};

/// Smallest and largest threshold of delta decode beside 0: at the largest, next to nothing is active.
const TAU: (f64, f64) = (0.002, 8.0);
/// Levels above this raise the input-delta threshold beyond all scores of a dense decode.
const BEYOND: f64 = 0.75;

/// A family's policies in order: level 0 skips nothing, level 1 whatever can be skipped.
pub(crate) struct Knob {
    family: Family,
    /// Ascending, one list per layer or a single one.
    scores: Vec<Vec<f32>>,
}

impl Knob {
    pub(crate) fn new(family: Family, scores: Vec<Vec<f32>>) -> Self {
        Self { family, scores }
    }

    /// The policy at a level from 0 to 1.
    pub(crate) fn policy(&self, level: f64) -> Result<Policy, QualityError> {
        let thresholds = |of: fn(&[f32], f64) -> f32| self.scores.iter().map(|s| of(s, level)).collect();
        let gate = match self.family.kind {
            Kind::Tas(form) => Gate::Tas { form, thresholds: thresholds(above) },
            Kind::InputDelta => Gate::InputDelta { thresholds: thresholds(below) },
            Kind::Random => Gate::Random { ratio: level as f32, seed: 1 },
            Kind::Budget => Gate::Budget { ratio: level as f32 },
            Kind::Delta(factors) => return Ok(Policy::new(self.delta(&factors, level))?),
        };
        Ok(Policy::new(self.family.replay(gate))?)
    }

    fn delta(&self, factors: &DeltaThresholds, level: f64) -> Method {
        let (least, most) = TAU;
        let tau = if level == 0.0 { 0.0 } else { (least * libm::pow(most / least, level)) as f32 };
        let DeltaThresholds { qkv, o, gate_up, down } = *factors;
        let scaled = DeltaThresholds { qkv: qkv * tau, o: o * tau, gate_up: gate_up * tau, down: down * tau };
        Method::Delta { thresholds: vec![scaled], max_age: self.family.max_age }
    }
}

/// The value that a share of sorted scores does not exceed.
fn quantile(sorted: &[f32], share: f64) -> f32 {
    let at = (share.clamp(0.0, 1.0) * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(at).copied().unwrap_or(0.0)
}

/// A threshold that a share `level` of the scores exceeds.
fn above(sorted: &[f32], level: f64) -> f32 {
    match level {
        0.0 => f32::INFINITY,
        1.0 => f32::NEG_INFINITY,
        _ => quantile(sorted, 1.0 - level),
    }
}

/// A threshold that more and more of the scores stay below. Distances grow while a reference ages, so the last part of
/// the way goes beyond all of them.
fn below(sorted: &[f32], level: f64) -> f32 {
    if level == 1.0 {
        return f32::INFINITY;
    }
    if level <= BEYOND {
        return if level == 0.0 { 0.0 } else { quantile(sorted, level / BEYOND) };
    }
    quantile(sorted, 1.0) * libm::pow(16.0, (level - BEYOND) / (1.0 - BEYOND)) as f32
}

/// Finds levels of a quantity that falls as the level rises. Every outcome is kept, so that later searches start near.
pub(crate) struct Search<'a, T> {
    evaluate: Box<dyn FnMut(f64) -> Result<T, QualityError> + 'a>,
    value: fn(&T) -> f64,
    /// By level.
    known: Vec<Found<T>>,
}

/// A level and what it does.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Found<T> {
    pub(crate) level: f64,
    pub(crate) value: f64,
    pub(crate) outcome: T,
}

impl<'a, T: Copy> Search<'a, T> {
    pub(crate) fn new(
        evaluate: impl FnMut(f64) -> Result<T, QualityError> + 'a,
        value: fn(&T) -> f64,
    ) -> Self {
        Self { evaluate: Box::new(evaluate), value, known: Vec::new() }
    }

    fn at(&mut self, level: f64) -> Result<Found<T>, QualityError> {
        if let Some(found) = self.known.iter().find(|f| f.level == level) {
            return Ok(*found);
        }
        let outcome = (self.evaluate)(level)?;
        let found = Found { level, value: (self.value)(&outcome), outcome };
        let at = self.known.partition_point(|f| f.level < level);
        self.known.insert(at, found);
        Ok(found)
    }

    /// Both ends.
    pub(crate) fn ends(&mut self) -> Result<[Found<T>; 2], QualityError> {
        Ok([self.at(0.0)?, self.at(1.0)?])
    }

    /// The level whose value is nearest to a target: stops within `tolerance`, or after `tries`.
    pub(crate) fn find(&mut self, target: f64, tolerance: f64, tries: u32) -> Result<Found<T>, QualityError> {
        let [mut near, _] = self.ends()?;
        for _ in 0..=tries {
            let distance = |f: &Found<T>| (f.value - target).abs();
            near =
                self.known.iter().copied().fold(near, |n, f| if distance(&f) < distance(&n) { f } else { n });
            match self.between(target) {
                Some(level) if distance(&near) > tolerance => self.at(level)?,
                _ => break,
            };
        }
        Ok(near)
    }

    /// A level inside the bracket of a target: by interpolation, but well away from the bracket's ends.
    fn between(&self, target: f64) -> Option<f64> {
        let pair = self.known.windows(2).find(|w| w[0].value >= target && w[1].value <= target)?;
        let (low, high) = (pair[0], pair[1]);
        let share = (low.value - target) / (low.value - high.value).max(f64::MIN_POSITIVE);
        let level = low.level + (high.level - low.level) * share.clamp(0.15, 0.85);
        (high.level - low.level > 1e-5).then_some(level)
    }

    /// The highest level whose value is still at least `floor`, to within `tries` halvings; none when level 0 is below.
    pub(crate) fn highest(&mut self, floor: f64, tries: u32) -> Result<Option<Found<T>>, QualityError> {
        let [mut good, last] = self.ends()?;
        if last.value >= floor {
            return Ok(Some(last));
        }
        let mut bad = last.level;
        for _ in 0..tries {
            let found = self.at(f64::midpoint(good.level, bad))?;
            if found.value >= floor {
                good = found;
            } else {
                bad = found.level;
            }
        }
        Ok((good.value >= floor).then_some(good))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_target_in_few_evaluations() -> Result<(), QualityError> {
        let mut count = 0;
        let mut search = Search::new(
            |level| {
                count += 1;
                Ok(1.0 - 0.7 * level.powi(3))
            },
            |&v| v,
        );
        for target in [0.95, 0.8, 0.6, 0.4] {
            let found = search.find(target, 0.005, 12)?;
            assert!((found.value - target).abs() <= 0.005, "{target}: {found:?}");
        }
        let beyond = search.find(0.1, 0.005, 12)?;
        assert_eq!(beyond.level, 1.0);
        drop(search);
        assert!(count < 25, "{count} evaluations");
        Ok(())
    }

    #[test]
    fn keeps_a_floor() -> Result<(), QualityError> {
        let mut search = Search::new(|level| Ok(1.0 - level * level), |&v| v);
        let found = search.highest(0.75, 12)?.ok_or(QualityError::NoClips)?;
        assert!(found.value >= 0.75 && (found.level - 0.5).abs() < 1e-3, "{found:?}");
        assert!(search.highest(1.5, 2)?.is_none());
        assert_eq!(search.highest(0.0, 12)?.map(|f| f.level), Some(1.0));
        Ok(())
    }

    #[test]
    fn thresholds_follow_the_level() {
        let scores = [1.0, 2.0, 3.0, 4.0, 5.0];
        assert_eq!(above(&scores, 0.0), f32::INFINITY);
        assert_eq!(above(&scores, 0.25), 4.0);
        assert_eq!(above(&scores, 1.0), f32::NEG_INFINITY);
        assert_eq!(below(&scores, 0.0), 0.0);
        assert_eq!(below(&scores, 0.375), 3.0);
        assert_eq!(below(&scores, 0.875), 20.0);
        assert_eq!(below(&scores, 1.0), f32::INFINITY);
    }
}
