//! Families of policies at the same list of weight traffics.

use super::{Bench, Family, Measurement, QualityError, Search};
use crate::pack::Progress;
use crate::policy::Policy;
use rayon::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};

/// How near the traffic along the dense tokens comes to what was asked.
pub const TRAFFIC_TOLERANCE: f64 = 0.005;
const TRIES: u32 = 12;

/// One measured policy of a sweep.
#[derive(Clone, PartialEq, Debug)]
pub struct Point {
    /// Name of the family, or `dense`.
    pub family: String,
    /// Weight traffic that was asked for.
    pub target: f64,
    /// The policy.
    pub policy: Policy,
    /// What it does.
    pub measured: Measurement,
}

/// `points` traffics from `most` down to `least`, evenly.
#[must_use]
pub fn targets(most: f64, least: f64, points: usize) -> Vec<f64> {
    let step = (most - least) / points.saturating_sub(1).max(1) as f64;
    (0..points).map(|i| most - step * i as f64).collect()
}

/// Measures the dense policy, and each family at each traffic; where a family cannot reach one, at its nearest.
/// Progress counts points.
///
/// # Errors
/// [`QualityError::Cancelled`], or the session's.
pub fn sweep(
    bench: &Bench,
    families: &[Family],
    targets: &[f64],
    progress: &dyn Progress,
) -> Result<Vec<Point>, QualityError> {
    let total = 1 + (families.len() * targets.len()) as u64;
    let counter = Counter { progress, done: AtomicU64::new(0), total };
    let dense = bench.measured(Policy::dense());
    let measured = bench.measure(&dense, progress)?;
    counter.count();
    let mut points = vec![Point { family: "dense".to_owned(), target: 1.0, policy: dense, measured }];
    let curves: Vec<Vec<Point>> = families
        .par_iter()
        .map(|family| curve(bench, family, targets, &counter))
        .collect::<Result<_, _>>()?;
    points.extend(curves.into_iter().flatten());
    Ok(points)
}

/// Counts finished points over all threads.
struct Counter<'a> {
    progress: &'a dyn Progress,
    done: AtomicU64,
    total: u64,
}

impl Counter<'_> {
    fn count(&self) {
        self.progress.advance(self.done.fetch_add(1, Ordering::Relaxed) + 1, self.total);
    }
}

fn curve(
    bench: &Bench,
    family: &Family,
    targets: &[f64],
    counter: &Counter<'_>,
) -> Result<Vec<Point>, QualityError> {
    let knob = family.knob(bench, counter.progress)?;
    let mut search = Search::new(|level| bench.forced(&knob.policy(level)?, counter.progress), |f| f.traffic);
    let mut points: Vec<Point> = Vec::new();
    for &target in targets {
        let found = search.find(target, TRAFFIC_TOLERANCE, TRIES)?;
        let policy = bench.measured(knob.policy(found.level)?);
        // A target out of reach gives the same end again: once is enough.
        if points.last().is_none_or(|last| last.policy != policy) {
            let measured = bench.measure_from(found.outcome, &policy, counter.progress)?;
            points.push(Point { family: family.to_string(), target, policy, measured });
        }
        counter.count();
    }
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_even() {
        assert_eq!(targets(1.0, 0.5, 3), [1.0, 0.75, 0.5]);
        assert_eq!(targets(0.9, 0.5, 1), [0.9]);
    }
}
