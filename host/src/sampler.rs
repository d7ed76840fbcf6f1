//! From logits to tokens: guidance, temperature, top-k, top-p, a seeded draw.
//!
//! The same logits, settings and draw number give the same token on every machine: exponentials come from a software
//! library, sums run in a fixed order, ties go to the lower token, and each draw has a random stream of its own.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::ops::Range;

/// How a token is chosen.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Sampling {
    /// Divides the logits; 0 takes the largest logit.
    pub temperature: f32,
    /// Keeps this many of the most likely tokens; 0 keeps all.
    pub top_k: usize,
    /// Then keeps the fewest most likely tokens that together have this probability.
    pub top_p: f32,
    /// Seed of the draws.
    pub seed: u64,
}

impl Sampling {
    /// Always the most likely token.
    pub const GREEDY: Self = Self { temperature: 0.0, top_k: 0, top_p: 1.0, seed: 0 };

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`SamplingError`] naming the first setting out of range.
    pub fn check(&self) -> Result<(), SamplingError> {
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return Err(SamplingError {
                what: "temperature",
                found: self.temperature,
                allowed: "at least 0",
            });
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(SamplingError { what: "top-p", found: self.top_p, allowed: "above 0 and at most 1" });
        }
        Ok(())
    }
}

/// A setting out of range.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("{what} is {found}; it must be {allowed}")]
pub struct SamplingError {
    what: &'static str,
    found: f32,
    allowed: &'static str,
}

/// Classifier-free guidance: `uncond + scale * (cond - uncond)`, element by element.
#[must_use]
pub fn guide(cond: &[f32], uncond: &[f32], scale: f32) -> Vec<f32> {
    cond.iter().zip(uncond).map(|(&c, &u)| u + scale * (c - u)).collect()
}

/// Chooses one token of `allowed`. `draw` numbers the draws of a seed: each gives an independent number.
#[must_use]
pub fn sample(logits: &[f32], allowed: Range<u32>, sampling: &Sampling, draw: u64) -> u32 {
    let first = allowed.start;
    let logits = &logits[allowed.start as usize..(allowed.end as usize).min(logits.len())];
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    let descending = |&a: &u32, &b: &u32| compare(logits[b as usize], logits[a as usize]).then(a.cmp(&b));
    if sampling.temperature == 0.0 {
        return first + order.into_iter().min_by(descending).unwrap_or(0);
    }
    order.sort_unstable_by(descending);
    if sampling.top_k > 0 {
        order.truncate(sampling.top_k);
    }
    let weights = weights(order.iter().map(|&i| logits[i as usize]), sampling.temperature);
    let kept = nucleus(&weights, sampling.top_p);
    first + order[pick(&weights[..kept], uniform(sampling.seed, draw))]
}

/// A NaN logit is the least likely.
fn compare(a: f32, b: f32) -> Ordering {
    let key = |x: f32| if x.is_nan() { f32::NEG_INFINITY } else { x };
    key(a).total_cmp(&key(b))
}

/// Unnormalised probabilities of logits in descending order.
fn weights(logits: impl Iterator<Item = f32>, temperature: f32) -> Vec<f64> {
    let scaled: Vec<f64> = logits.map(|l| f64::from(l) / f64::from(temperature)).collect();
    let top = scaled.first().copied().unwrap_or(0.0);
    let weight = |s: f64| if s.is_nan() { 0.0 } else { libm::exp(s - top) };
    scaled.into_iter().map(weight).collect()
}

/// How many of the descending weights make up a share `top_p` of their sum.
fn nucleus(weights: &[f64], top_p: f32) -> usize {
    let goal = weights.iter().sum::<f64>() * f64::from(top_p);
    let mut sum = 0.0;
    for (i, w) in weights.iter().enumerate() {
        sum += w;
        if sum >= goal {
            return i + 1;
        }
    }
    weights.len()
}

/// The index at which the running sum passes a share `at` of the total.
fn pick(weights: &[f64], at: f64) -> usize {
    let goal = weights.iter().sum::<f64>() * at;
    let mut sum = 0.0;
    for (i, w) in weights.iter().enumerate() {
        sum += w;
        if sum > goal {
            return i;
        }
    }
    weights.len().saturating_sub(1)
}

/// A number from 0 up to but not including 1.
fn uniform(seed: u64, draw: u64) -> f64 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(draw);
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn greedy_takes_the_largest_and_the_lower_of_two_equal() {
        assert_eq!(sample(&[0.0, 3.0, 3.0, 1.0], 0..4, &Sampling::GREEDY, 0), 1);
        assert_eq!(sample(&[9.0, 3.0, f32::NAN, 4.0], 1..4, &Sampling::GREEDY, 0), 3);
    }

    #[test]
    fn frequencies_follow_the_probabilities() {
        let sampling = Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, seed: 7 };
        let logits = [0.0f32, (2.0f32).ln(), (5.0f32).ln()];
        let mut counts = [0u32; 3];
        for draw in 0..8000 {
            counts[sample(&logits, 0..3, &sampling, draw) as usize] += 1;
        }
        for (count, share) in counts.iter().zip([0.125, 0.25, 0.625]) {
            let expected = 8000.0 * share;
            assert!((f64::from(*count) - expected).abs() < 4.0 * f64::sqrt(expected), "{counts:?}");
        }
    }

    #[test]
    fn top_k_comes_before_top_p() {
        // Of 0.4, 0.3, 0.2, 0.1 the first two remain; renormalised they are 0.571 and 0.429, so 0.5 keeps one.
        let logits = [0.4f32, 0.3, 0.2, 0.1].map(f32::ln);
        let sampling = Sampling { temperature: 1.0, top_k: 2, top_p: 0.5, seed: 3 };
        assert!((0..200).all(|draw| sample(&logits, 0..4, &sampling, draw) == 0));
        let sampling = Sampling { top_p: 0.6, ..sampling };
        let drawn: Vec<u32> = (0..200).map(|draw| sample(&logits, 0..4, &sampling, draw)).collect();
        assert!(drawn.contains(&1) && !drawn.contains(&2));
    }

    #[test]
    fn guidance_of_one_is_the_conditional_row() {
        assert_eq!(guide(&[1.0, 2.0], &[0.0, 4.0], 3.0), [3.0, -2.0]);
        assert_eq!(guide(&[1.0, 2.0], &[0.0, 4.0], 1.0), [1.0, 2.0]);
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let bad = Sampling { temperature: -1.0, ..Sampling::GREEDY };
        assert_eq!(
            bad.check().map_err(|e| e.to_string()),
            Err("temperature is -1; it must be at least 0".to_owned())
        );
        let bad = Sampling { top_p: 0.0, ..Sampling::GREEDY };
        assert_eq!(
            bad.check().map_err(|e| e.to_string()),
            Err("top-p is 0; it must be above 0 and at most 1".to_owned())
        );
    }

    proptest! {
        #[test]
        fn stays_in_range_and_repeats(
            logits in prop::collection::vec(prop::num::f32::ANY, 8..64), temperature in 0f32..4.0, top_k in 0usize..9,
            top_p in 0.01f32..1.0, seed: u64, draw: u64,
        ) {
            let sampling = Sampling { temperature, top_k, top_p, seed };
            let token = sample(&logits, 2..8, &sampling, draw);
            prop_assert!((2..8).contains(&token));
            prop_assert_eq!(token, sample(&logits, 2..8, &sampling, draw));
        }
    }
}
