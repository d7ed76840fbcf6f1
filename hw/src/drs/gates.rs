//! `gates`: the gates of a program, one after the other, from their place in the queue to their decision.
//!
//! # Purpose
//!
//! Holds gate commands until it is known which slots they run for, has the first of them settled when its scores are there, and tells everybody its decision.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i`, `start_i` | in | 1 | no gate; a run begins |
//! | `push_valid_i`, `push_i` | in | 1, [`Gates::width`] | a command, see [`WaitingGate`] |
//! | `front_valid_o`, `front_o` | out | 1, 8 | whether there is one, and the low bits of the number of the first |
//! | `pred_o`, `decision_valid_o`, `decision_o` | out | 2, 1, 8 | of the first: asks [`Decisions`](super::Decisions), which answer |
//! | `known_i`, `slots_i` | in | 1, slots | in the same cycle |
//! | `paired_i` | in | slots | active slots that may be coupled with their neighbour |
//! | `score_valid_i`, `score_slot_i`, `score_i` | in | 1, log2(slots), 32 | *pipe* of the first's scores |
//! | `compared_i` | in | 8 | commands of the vector unit whose results are all there |
//! | `scores_o`, `scored_i` | out, in | 1, 1 | the first is a `gate_tas` whose slots are known: its scores may come; in this cycle or before, they have |
//! | `settles_o` | out | 1 | the first has decided; with it: |
//! | `number_o`, `replay_o` | out | 8, slots | its number among the gates; the slots that replay by it or, where it does not run for them, by a gate before |
//! | `entry_o`, `active_o`, `decided_o` | out | 16, slots, slots | its number in the step table, the slots that it ran for, those of them that replay |
//! | `finished_o` | out | 8 | gates that have decided, from the cycle behind on |
//! | `busy_o` | out | 1 | it settles |
//!
//! # Timing
//!
//! A gate begins to settle in the first cycle in which the one before has decided, its slots are known, and its scores are there: of `gate_host` at once; of `gate_delta` `MASK_LATENCY` cycles after the results of its part in the vector unit, or as soon as
//! this is through with it if it is for no slot; of `gate_tas` with `scored_i`. The decision may be used `SETTLE` cycles later: `settles_o` comes in the cycle before.
//!
//! # Numeric contract
//!
//! That of [`Settle`].
//!
//! # Cost
//!
//! [`Settle`], and distributed memory for [`QUEUE_COMMANDS`] commands.
//!
//! # Verification
//!
//! `tests/tests/rtl_drs.rs::gates_decide_in_order`; `tests/tests/rtl_core`: whole runs.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{drs::Gates, rtl::Block};
//!
//! assert_eq!(Gates::new(8)?.module()?.name(), "gates_s8");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::Settle;
use crate::cmd::fields::cut;
use crate::cmd::{Fields, NUMBER_BITS};
use crate::prim::Fifo;
use crate::rtl::{Block, Builder, Instance, Module, RamStyle, RtlError, Stream, Wire, index_width};
use fastcar_arch::timing::{MASK_LATENCY, QUEUE_COMMANDS, SETTLE};
use std::sync::Arc;

/// Bits of a gate's number in the step table.
pub const ENTRY_BITS: u32 = 16;
/// Bits of a score.
const WORD: u32 = 32;
/// Bits of a coupling.
const COUPLING_BITS: u32 = 2;

/// The queue of gates. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gates {
    slots: u32,
}

/// A gate that waits.
#[derive(Clone, Copy, Debug)]
pub struct WaitingGate<'m> {
    /// The low bits of its number in the program.
    pub index: Wire<'m>,
    /// Its predicate, and the gate that it waits for, if there is one.
    pub pred: Wire<'m>,
    /// Whether there is a gate before it.
    pub decides: Wire<'m>,
    /// The number of that gate.
    pub decision: Wire<'m>,
    /// Its number among the commands of the vector unit.
    pub vector: Wire<'m>,
    /// What the step table says of it.
    pub allow: Wire<'m>,
    /// As `allow`.
    pub force: Wire<'m>,
    /// How it decides.
    pub rule: Rule<'m>,
}

/// How a gate decides.
#[derive(Clone, Copy, Debug)]
pub struct Rule<'m> {
    /// Scores come of the vector unit.
    pub delta: Wire<'m>,
    /// Scores come of keys.
    pub tas: Wire<'m>,
    /// Its number in the step table.
    pub entry: Wire<'m>,
    /// [`Coupling`](fastcar_arch::isa::Coupling).
    pub coupling: Wire<'m>,
    /// Threshold.
    pub threshold: Wire<'m>,
}

impl<'m> Rule<'m> {
    /// That of a gate command.
    ///
    /// # Errors
    /// As [`Fields::field`].
    pub fn new(m: &'m Builder, c: &Fields<'m>) -> Result<Self, RtlError> {
        let (delta, tas) = (c.is("gate_delta")?, c.is("gate_tas")?);
        let scored = (delta | tas).repeat(COUPLING_BITS);
        Ok(Self {
            delta,
            tas,
            // All gates have these two in one place.
            entry: m.own(c.field("gate_host", "gate")?),
            coupling: c.field("gate_tas", "coupling")?.trunc(COUPLING_BITS) & scored,
            threshold: delta.mux(c.field("gate_delta", "threshold")?, c.field("gate_tas", "threshold")?),
        })
    }

    fn word(&self, m: &'m Builder) -> Wire<'m> {
        let Self { delta, tas, entry, coupling, threshold } = *self;
        m.pack(&[delta, tas, entry, coupling, threshold])
    }
}

/// Bits of [`Rule::word`].
const RULE_BITS: u32 = 2 + ENTRY_BITS + COUPLING_BITS + WORD;

impl<'m> WaitingGate<'m> {
    fn width(slots: u32) -> u32 {
        3 * NUMBER_BITS + 3 + 2 * slots + RULE_BITS
    }

    /// All in one word.
    #[must_use]
    pub fn word(&self, m: &'m Builder) -> Wire<'m> {
        let Self { index, pred, decides, decision, vector, allow, force, rule } = self;
        m.pack(&[*index, *pred, *decides, *decision, *vector, *allow, *force, rule.word(m)])
    }

    fn of(slots: u32, word: Wire<'m>) -> Self {
        let mut take = cut(word);
        Self {
            index: take(NUMBER_BITS),
            pred: take(2),
            decides: take(1),
            decision: take(NUMBER_BITS),
            vector: take(NUMBER_BITS),
            allow: take(slots),
            force: take(slots),
            rule: Rule {
                delta: take(1),
                tas: take(1),
                entry: take(ENTRY_BITS),
                coupling: take(COUPLING_BITS),
                threshold: take(WORD),
            },
        }
    }
}

impl Gates {
    /// For so many slots.
    ///
    /// # Errors
    /// As [`Settle::new`].
    pub fn new(slots: u32) -> Result<Self, RtlError> {
        Settle::new(slots)?;
        Ok(Self { slots })
    }

    /// Width of what is pushed.
    #[must_use]
    pub fn width(&self) -> u32 {
        WaitingGate::width(self.slots)
    }

    /// What settles the first gate.
    fn settle<'m>(
        &self,
        m: &'m Builder,
        start: Wire<'m>,
        first: &WaitingGate<'m>,
        slots: Wire<'m>,
    ) -> Result<Instance<'m>, RtlError> {
        let settle = m.instance("u_settle", &Settle::new(self.slots)?)?;
        let slot = index_width(self.slots.into());
        for (name, width) in [("score_valid", 1), ("score_slot", slot), ("score", WORD)] {
            settle.set(&format!("{name}_i"), m.input(&format!("{name}_i"), width));
        }
        settle.set("start_i", start | settle.get("valid_o"));
        settle.set("active_i", slots);
        settle.set("paired_i", m.input("paired_i", self.slots));
        settle.set("allow_i", first.allow);
        settle.set("force_i", first.force);
        // What changed little replays; what is attended to much does.
        settle.set("below_i", first.rule.delta);
        settle.set("coupling_i", first.rule.coupling);
        settle.set("threshold_i", first.rule.threshold);
        Ok(settle)
    }
}

/// Whether the scores of the first gate are there.
fn scored<'m>(m: &'m Builder, first: &WaitingGate<'m>, slots: Wire<'m>) -> Wire<'m> {
    let compared = m.input("compared_i", NUMBER_BITS);
    let late = (0..MASK_LATENCY).fold(compared, |n, stage| m.register(&format!("compared_{stage}"), n));
    let behind = |count: Wire<'m>| !(count - first.vector - 1).msb();
    // A command for nobody leaves no results that would be on their way.
    let delta = slots.any().mux(behind(late), behind(compared));
    let tas = m.input("scored_i", 1);
    m.select(m.lit(1, 1), &[(first.rule.delta, delta), (first.rule.tas, tas)])
}

impl Block for Gates {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("gates_s{}", self.slots));
        let start = m.input("start_i", 1);
        let pushed = Stream {
            valid: m.input("push_valid_i", 1),
            data: m.input("push_i", self.width()),
            ready: m.later("room", 1),
        };
        let depth = QUEUE_COMMANDS as u32;
        let front = Fifo::new(self.width(), depth, RamStyle::Distributed)?.after(&m, "u_waiting", pushed)?;
        let first = WaitingGate::of(self.slots, front.data);
        let (known, slots) = (m.input("known_i", 1), m.input("slots_i", self.slots));
        let settle = self.settle(&m, start, &first, slots)?;
        let settles = settle.get("valid_o");
        let settling = m.reg("settling", 1).reset(0);
        let there = front.valid & known & !settling.q();
        let begins = (there & scored(&m, &first, slots)).named("begins");
        settling.update(&[(start | settles, m.lit(1, 0)), (begins, m.lit(1, 1))]);
        settle.set("settle_i", begins);
        front.ready.set(settles);

        let finished = m.reg("finished", NUMBER_BITS).reset(0);
        finished.update(&[(start, m.lit(NUMBER_BITS, 0)), (settles, finished.q() + 1)]);
        let (decided, before) = (settle.get("replay_o"), m.reg("decided_before", self.slots).reset(0));
        let replay = (before.q() & !slots) | decided;
        before.update(&[(start, m.lit(self.slots, 0)), (settles, replay)]);
        // The cycle in which it begins, and all but the last of those behind.
        let busy = begins | settling.q();
        debug_assert_eq!(Settle::LATENCY + 1, SETTLE, "busy for as long as a gate settles");
        let outputs = [
            ("front_valid", front.valid),
            ("front", first.index),
            ("pred", first.pred),
            ("decision_valid", first.decides),
            ("decision", first.decision),
            ("scores", there & first.rule.tas),
            ("settles", settles),
            ("number", finished.q()),
            ("replay", replay),
            ("entry", first.rule.entry),
            ("active", slots),
            ("decided", decided),
            ("finished", finished.q()),
            ("busy", busy),
        ];
        outputs.iter().for_each(|(name, wire)| m.output(&format!("{name}_o"), *wire));
        m.finish()
    }
}
