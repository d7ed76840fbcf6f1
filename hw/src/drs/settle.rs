//! `settle`: from scores to decisions.
//!
//! # Purpose
//!
//! Compares the scores of a gate with its threshold, lets pairs of slots agree, and gives the slots that replay.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | no gate |
//! | `start_i` | in | 1 | a gate begins: the scores of the one before are forgotten |
//! | `active_i` | in | slots | slots that it runs for |
//! | `paired_i` | in | slots | active slots that may be coupled with their neighbour |
//! | `allow_i`, `force_i` | in | slots | its entry in the step table |
//! | `below_i`, `coupling_i`, `threshold_i` | in | 1, 2, 32 | whether scores below the threshold replay, not those above; [`Coupling`]; the threshold |
//! | `score_valid_i`, `score_slot_i`, `score_i` | in | 1, log2(slots), 32 | *pipe* of scores |
//! | `settle_i` | in | 1 | all scores have been given |
//! | `valid_o`, `replay_o` | out | 1, slots | the decision, of active slots alone |
//!
//! All but `start_i`, the scores and `settle_i` stay as they are from `start_i` to `valid_o`.
//!
//! # Timing
//!
//! The decision comes [`Settle::LATENCY`] cycles after `settle_i`, which may come with the last score: the Index Register holds it
//! [`SETTLE`] cycles after that. A score a cycle.
//!
//! # Numeric contract
//!
//! [`fp::gt`](fastcar_arch::num::fp::gt) of score and threshold; pairs under [`Coupling::Mean`] decide on `(even + odd) * 0.5` in binary32. A slot without a score has none above
//! or below anything.
//!
//! # Cost
//!
//! An adder and two comparisons of binary32, 32 bits of memory a slot.
//!
//! # Verification
//!
//! `tests/tests/rtl_drs.rs::gates_settle`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{drs::Settle, rtl::Block};
//!
//! assert_eq!(Settle::new(8)?.module()?.name(), "settle_s8");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use crate::fp::{Adder, Greater};
use crate::prim::{DelayLine, within};
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Wire, index_width};
use fastcar_arch::config::MAX_SLOTS;
use fastcar_arch::isa::Coupling;
use fastcar_arch::timing::SETTLE;
use std::sync::Arc;

/// Bits of a binary32 word.
const WORD: u32 = 32;

/// The settling of gates. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settle {
    slots: u32,
}

impl Settle {
    /// For so many slots.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(slots: u32) -> Result<Self, RtlError> {
        Ok(Self { slots: within("settle", "slots", slots, 1..=MAX_SLOTS, "1 to 32")? })
    }

    /// Cycles from `settle_i` to the decision.
    pub const LATENCY: u64 = SETTLE - 1;

    /// Cycles from a score to the bits that come of it: sum, half, comparison, bit.
    fn decided_after() -> u32 {
        let adder = Adder.latency();
        adder + 1 + Greater::LATENCY + 1
    }
}

/// The product with 0.5: a field less, and zero where that would be subnormal.
fn half<'m>(m: &'m Builder, x: Wire<'m>) -> Wire<'m> {
    let (sign, field) = (x.msb(), x.slice(23, 8));
    let less = sign.cat(field - 1).cat(x.trunc(23));
    m.select(less, &[(field.all(), x), (field.le(1), sign.cat(m.lit(31, 0)))])
}

/// Scores on their way, and what a gate is.
struct Scores<'m> {
    valid: Wire<'m>,
    slot: Wire<'m>,
    score: Wire<'m>,
    threshold: Wire<'m>,
    below: Wire<'m>,
    start: Wire<'m>,
}

impl<'m> Scores<'m> {
    /// Whether a number lies on the side of the threshold that replays.
    fn replays(
        &self,
        m: &'m Builder,
        name: &str,
        valid: Wire<'m>,
        x: Wire<'m>,
    ) -> Result<(Wire<'m>, Wire<'m>), RtlError> {
        let greater = m.instance(name, &Greater)?;
        greater.set("valid_i", valid);
        greater.set("a_i", self.below.mux(self.threshold, x));
        greater.set("b_i", self.below.mux(x, self.threshold));
        Ok((greater.get("valid_o"), greater.get("greater_o")))
    }

    /// A bit for each of some slots or pairs, set where a comparison says so, forgotten at the start of a gate.
    fn marks(
        &self,
        m: &'m Builder,
        name: &str,
        count: u32,
        set: (Wire<'m>, Wire<'m>),
        at: Wire<'m>,
    ) -> Vec<Wire<'m>> {
        (0..count)
            .map(|n| {
                let mark = m.reg(&format!("{name}_{n}"), 1).reset(0);
                let here = set.0 & at.eq(u64::from(n));
                mark.update(&[(self.start, m.lit(1, 0)), (here, set.1)]);
                mark.q()
            })
            .collect()
    }

    /// Slots whose own score replays.
    fn alone(&self, s: &Settle, m: &'m Builder) -> Result<Vec<Wire<'m>>, RtlError> {
        let set = self.replays(m, "u_alone", self.valid, self.score)?;
        let at = DelayLine::new(self.slot.width(), Greater::LATENCY)?.build(m, "alone_slot", self.slot);
        Ok(self.marks(m, "alone", s.slots, set, at))
    }

    /// Pairs whose mean replays, made when the second score of a pair comes.
    fn mean(&self, s: &Settle, m: &'m Builder) -> Result<Vec<Wire<'m>>, RtlError> {
        if s.slots == 1 {
            return Ok(vec![m.lit(1, 0)]);
        }
        let memory = m.memory("scores", WORD, s.slots, RamStyle::Distributed);
        memory.write(self.valid, self.slot, self.score);
        let neighbour = self.slot ^ m.lit(self.slot.width(), 1);
        let there = self.marks(m, "there", s.slots, (self.valid, m.lit(1, 1)), self.slot);
        let both = self.valid & neighbour.choose(&there);
        let other = memory.read(neighbour);
        let odd = self.slot.bit(0);
        let adder = m.instance("u_sum", &Adder)?;
        adder.set("valid_i", both);
        adder.set("subtract_i", m.lit(1, 0));
        adder.set("a_i", odd.mux(other, self.score));
        adder.set("b_i", odd.mux(self.score, other));
        let valid = m.register_valid("mean_valid", adder.get("valid_o"));
        let mean = m.register("mean", half(m, adder.get("sum_o")));
        let set = self.replays(m, "u_mean", valid, mean)?;
        let cycles = Adder.latency() + 1 + Greater::LATENCY;
        let pair =
            if self.slot.width() > 1 { self.slot.slice(1, self.slot.width() - 1) } else { m.lit(1, 0) };
        let at = DelayLine::new(pair.width(), cycles)?.build(m, "mean_pair", pair);
        Ok(self.marks(m, "mean", s.slots.div_ceil(2), set, at))
    }
}

impl Block for Settle {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("settle_s{}", self.slots));
        let mask = |name: &str| m.input(name, self.slots);
        let scores = Scores {
            valid: m.input("score_valid_i", 1),
            slot: m.input("score_slot_i", index_width(self.slots.into())),
            score: m.input("score_i", WORD),
            threshold: m.input("threshold_i", WORD),
            below: m.input("below_i", 1),
            start: m.input("start_i", 1),
        };
        let (alone, mean) = (m.pack(&scores.alone(self, &m)?), scores.mean(self, &m)?);
        let mean = m.pack(&(0..self.slots).map(|slot| mean[slot as usize / 2]).collect::<Vec<_>>());

        let (active, paired) = (mask("active_i"), mask("paired_i"));
        let (allow, force) = (mask("allow_i"), mask("force_i"));
        // The neighbours' bits; a slot without a neighbour is not coupled.
        let neighbour = |bits: Wire<'_>| {
            let bits = m.own(bits).bits();
            let of = |slot: usize| bits.get(slot ^ 1).copied().unwrap_or_else(|| m.lit(1, 0));
            m.pack(&(0..bits.len()).map(of).collect::<Vec<_>>())
        };
        let own = m.register("own", allow & (force | alone));
        let shared = m.register("shared", allow & (force | mean));
        let coupled = m.register("coupled", paired & neighbour(paired));
        let coupling = m.input("coupling_i", 2);
        let pair = coupling.eq(Coupling::Mean as u64).mux(shared & neighbour(shared), own & neighbour(own));
        let coupled = coupled & coupling.ne(Coupling::Independent as u64).repeat(self.slots);
        let replay = m.register("replay", active & ((coupled & pair) | (!coupled & own)));
        m.output("replay_o", replay);

        let mut settled = m.input("settle_i", 1);
        for stage in 0..Self::LATENCY {
            settled = m.register_valid(&format!("settled_{stage}"), settled & !scores.start);
        }
        debug_assert!(u64::from(Self::decided_after() + 2) <= Self::LATENCY, "bits, then the decision");
        m.output("valid_o", settled);
        m.finish()
    }
}
