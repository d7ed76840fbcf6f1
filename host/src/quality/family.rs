//! Families of policies: one way to skip work, with one knob from nothing skipped to everything.

use super::{Bench, Knob, QualityError};
use crate::pack::Progress;
use crate::policy::{DeltaThresholds, Gate, Method, PairCoupling, Policy, TasForm};
use std::fmt;
use std::str::FromStr;

/// A way to decide what is skipped.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    /// Replay by the Temporal Attention Score.
    Tas(TasForm),
    /// Replay by the change of the MLP input.
    InputDelta,
    /// Replay at random.
    Random,
    /// Replay a share, spread evenly.
    Budget,
    /// Delta decode; thresholds relative to each other.
    Delta(DeltaThresholds),
}

/// A kind and what holds for all its policies.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Family {
    /// Kind.
    pub kind: Kind,
    /// A threshold per layer, each at the same share of that layer's scores in a dense decode.
    pub per_layer: bool,
    /// Most replays in a row.
    pub max_age: Option<u32>,
}

/// A name that is no family.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "policy '{name}' is not known: it is tas, tas-paper, input-delta, random, budget or delta, then +per-layer (tas, \
     tas-paper, input-delta), +ageN with N of at least 1, or (delta) relative thresholds +QKV:O:GATE_UP:DOWN where \
     wanted, as in tas+per-layer+age2 or delta+1:1:2:0.5"
)]
pub struct FamilyError {
    name: String,
}

impl FromStr for Family {
    type Err = FamilyError;

    fn from_str(name: &str) -> Result<Self, FamilyError> {
        let refuse = || FamilyError { name: name.to_owned() };
        let mut parts = name.split('+');
        let kind = match parts.next() {
            Some("tas") => Kind::Tas(TasForm::Code),
            Some("tas-paper") => Kind::Tas(TasForm::Paper),
            Some("input-delta") => Kind::InputDelta,
            Some("random") => Kind::Random,
            Some("budget") => Kind::Budget,
            Some("delta") => Kind::Delta(DeltaThresholds::uniform(1.0)),
            _ => return Err(refuse()),
        };
        let mut family = Self { kind, per_layer: false, max_age: None };
        for part in parts {
            let age = part.strip_prefix("age").and_then(|n| n.parse().ok()).filter(|&n: &u32| n > 0);
            match (part, age, factors(part)) {
                ("per-layer", _, _) if family.scored().is_some() => family.per_layer = true,
                (_, Some(age), _) => family.max_age = Some(age),
                (_, _, Some(factors)) if matches!(kind, Kind::Delta(_)) => family.kind = Kind::Delta(factors),
                _ => return Err(refuse()),
            }
        }
        Ok(family)
    }
}

/// Four positive numbers separated by colons.
fn factors(text: &str) -> Option<DeltaThresholds> {
    let numbers: Vec<f32> = text.split(':').map(|n| n.parse().ok()).collect::<Option<_>>()?;
    let [qkv, o, gate_up, down] = numbers[..] else { return None };
    let valid = numbers.iter().all(|n| n.is_finite() && *n > 0.0);
    valid.then_some(DeltaThresholds { qkv, o, gate_up, down })
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Tas(TasForm::Code) => "tas",
            Kind::Tas(TasForm::Paper) => "tas-paper",
            Kind::InputDelta => "input-delta",
            Kind::Random => "random",
            Kind::Budget => "budget",
            Kind::Delta(_) => "delta",
        })?;
        if self.per_layer {
            f.write_str("+per-layer")?;
        }
        if let Kind::Delta(factors) = self.kind
            && factors != DeltaThresholds::uniform(1.0)
        {
            write!(f, "+{}", factors.all().map(|x| x.to_string()).join(":"))?;
        }
        self.max_age.map_or(Ok(()), |age| write!(f, "+age{age}"))
    }
}

impl Family {
    /// A family of one kind, with one threshold for all layers and no bound on age.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self { kind, per_layer: false, max_age: None }
    }

    /// The gate that records this kind's scores and never replays; none where nothing is scored.
    fn scored(&self) -> Option<Gate> {
        match self.kind {
            Kind::Tas(form) => Some(Gate::Tas { form, thresholds: vec![f32::INFINITY] }),
            Kind::InputDelta => Some(Gate::InputDelta { thresholds: vec![0.0] }),
            Kind::Random | Kind::Budget | Kind::Delta(_) => None,
        }
    }

    /// Makes the knob, recording scores where it needs them.
    pub(crate) fn knob(&self, bench: &Bench, progress: &dyn Progress) -> Result<Knob, QualityError> {
        let Some(gate) = self.scored() else { return Ok(Knob::new(*self, Vec::new())) };
        let mut scores = bench.scores(&Policy::replay(gate)?, progress)?;
        if self.kind == Kind::InputDelta {
            scores.iter_mut().flatten().for_each(|s| *s = s.sqrt());
        }
        if !self.per_layer {
            let mut all = scores.concat();
            all.sort_unstable_by(f32::total_cmp);
            scores = vec![all];
        }
        Ok(Knob::new(*self, scores))
    }

    /// The policy of a gate in this family.
    pub(crate) fn replay(&self, gate: Gate) -> Method {
        Method::Replay { gate, coupling: PairCoupling::Independent, max_age: self.max_age }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_a_round_trip() -> Result<(), FamilyError> {
        for name in [
            "tas",
            "tas-paper+per-layer",
            "input-delta+age3",
            "tas+per-layer+age2",
            "budget",
            "delta+1:0.5:2:1+age7",
        ] {
            assert_eq!(name.parse::<Family>()?.to_string(), name);
        }
        Ok(())
    }

    #[test]
    fn other_names_are_refused() {
        for name in [
            "",
            "tsa",
            "random+per-layer",
            "delta+per-layer",
            "tas+age0",
            "tas+",
            "tas+age",
            "tas+1:1:1:1",
            "delta+1:1:1",
            "delta+1:0:1:1",
        ] {
            assert!(name.parse::<Family>().is_err(), "{name}");
        }
    }
}
