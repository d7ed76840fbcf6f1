//! `decisions`: the Index Register, as each command is to see it.
//!
//! # Purpose
//!
//! A command runs for the slots that its predicate selects, by the decision of the last gate before it. Several gates may be under way, and
//! commands of an earlier one may still wait when a later one has decided: the decisions are kept by the gates' numbers.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | nothing is decided |
//! | `active_i`, `output_i` | in | slots | slots that take part in the step, and those whose output is wanted |
//! | `gate_valid_i`, `gate_i` | in | 1, 8 | a gate of this number is dispatched: it has not decided |
//! | `settle_valid_i`, `settle_i`, `replay_i` | in | 1, 8, slots | it has, for these slots to replay |
//! | `pred_<n>_i` | in | 2 | reader n: predicate of a command |
//! | `decision_valid_<n>_i`, `decision_<n>_i` | in | 1, 8 | whether there is a gate before it, and its number |
//! | `known_<n>_o`, `slots_<n>_o` | out | 1, slots | whether it is known which slots it runs for, and which |
//!
//! # Timing
//!
//! Readers have their answer in the same cycle; what is dispatched or settled in a cycle is seen in the next.
//!
//! # Numeric contract
//!
//! Without a gate before it a command with `compute` runs for every active slot, with `replay` for none. No more than [`WINDOW`] gates are
//! kept: the dispatcher lets no command be further behind.
//!
//! # Cost
//!
//! A small memory for each reader.
//!
//! # Verification
//!
//! `tests/tests/rtl_cmd.rs::predicates_select_slots`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{drs::Decisions, rtl::Block};
//!
//! assert_eq!(Decisions::new(32, 6)?.module()?.name(), "decisions_s32_r6");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use crate::cmd::NUMBER_BITS;
use crate::prim::within;
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Wire};
use fastcar_arch::config::MAX_SLOTS;
use fastcar_arch::isa::Pred;
use fastcar_arch::timing::WINDOW;
use std::sync::Arc;

/// Decisions of the gates. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decisions {
    slots: u32,
    readers: u32,
}

impl Decisions {
    /// For so many slots and readers.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(slots: u32, readers: u32) -> Result<Self, RtlError> {
        Ok(Self {
            slots: within("decisions", "slots", slots, 1..=MAX_SLOTS, "1 to 32")?,
            readers: within("decisions", "readers", readers, 1..=16, "1 to 16")?,
        })
    }
}

/// The slots of a predicate, by the slots that replay.
pub(crate) fn selected<'m>(
    m: &'m Builder,
    pred: Wire<'m>,
    active: Wire<'m>,
    output: Wire<'m>,
    replay: Wire<'m>,
) -> Wire<'m> {
    let is = |value: Pred| pred.eq(value as u64);
    m.select(
        active,
        &[
            (is(Pred::Output), output),
            (is(Pred::Compute), active & !replay),
            (is(Pred::Replay), active & replay),
        ],
    )
}

impl Block for Decisions {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Self { slots, readers } = *self;
        let m = Builder::new(format!("decisions_s{slots}_r{readers}"));
        let (active, output) = (m.input("active_i", slots), m.input("output_i", slots));
        let depth = WINDOW as u32;
        let place = |number: Wire<'_>| m.own(number).trunc(depth.ilog2());
        let settled = m.input("settle_valid_i", 1);
        let at = place(m.input("settle_i", NUMBER_BITS));
        let replays = m.memory("replays", slots, depth, RamStyle::Distributed);
        replays.write(settled, at, m.input("replay_i", slots));

        let (begins, gate) = (m.input("gate_valid_i", 1), place(m.input("gate_i", NUMBER_BITS)));
        let known: Vec<_> = (0..depth)
            .map(|n| {
                let known = m.reg(&format!("known_{n}"), 1).reset(0);
                let is = |at: Wire<'_>| m.own(at).eq(u64::from(n));
                known.update(&[(settled & is(at), m.lit(1, 1)), (begins & is(gate), m.lit(1, 0))]);
                known.q()
            })
            .collect();
        for reader in 0..readers {
            let pred = m.input(&format!("pred_{reader}_i"), 2);
            let there = m.input(&format!("decision_valid_{reader}_i"), 1);
            let number = place(m.input(&format!("decision_{reader}_i"), NUMBER_BITS));
            let decides = pred.eq(Pred::Compute as u64) | pred.eq(Pred::Replay as u64);
            let replay = there.mux(replays.read(number), m.lit(slots, 0));
            m.output(&format!("known_{reader}_o"), !decides | !there | number.choose(&known));
            m.output(&format!("slots_{reader}_o"), selected(&m, pred, active, output, replay));
        }
        m.finish()
    }
}
