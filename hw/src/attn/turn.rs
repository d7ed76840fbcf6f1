//! `attn_turn`: whose beats a channel's cluster takes.
//!
//! # Purpose
//!
//! Products of weights and phases of attention share a cluster and its streams. The middle arms them one after the other; here they get
//! their turn in that order, each when what is before it has taken its last beat.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | nothing is armed |
//! | `product_i`, `phase_i` | in | 1 | a product of weights, a phase of attention is armed; one of them a cycle |
//! | `product_over_i`, `phase_over_i` | in | 1 | the one in turn takes its last beat, or is passed over |
//! | `product_turn_o`, `phase_turn_o` | out | 1 | whose turn it is; with nothing armed, products' |
//!
//! At most [`Turn::PHASES`] phases and [`Results::PRODUCTS`] products are armed and not over.
//!
//! # Timing
//!
//! What is armed, or over, in one cycle counts in the next.
//!
//! # Numeric contract
//!
//! None.
//!
//! # Cost
//!
//! Two counters, and the number of products before each phase.
//!
//! # Verification
//!
//! `tests/tests/rtl_attn.rs`: `turns_keep_the_order`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{attn::Turn, rtl::Block};
//!
//! assert_eq!(Turn.module()?.name(), "attn_turn");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use crate::array::Results;
use crate::prim::Fifo;
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Stream};
use std::sync::Arc;

/// Turns of weights and attention. See the [module](self).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn;

impl Turn {
    /// Phases that are armed and not over, at most: values wait for the scores of their keys, so two.
    pub const PHASES: u32 = 4;
    /// Width of a number of products: none to as many as may be under way.
    const NUMBER: u32 = Results::NUMBER + 1;
}

impl Block for Turn {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new("attn_turn");
        let count = |name: &str| {
            let count = m.reg(name, Self::NUMBER).reset(0);
            count.set_when(m.input(&format!("{name}_i"), 1), count.q() + 1);
            count.q()
        };
        let (armed, over) = (count("product"), count("product_over"));
        // A phase has its turn behind the products that were armed before it.
        let phase = Stream { valid: m.input("phase_i", 1), data: armed, ready: m.later("phase_ready", 1) };
        let phases =
            Fifo::new(Self::NUMBER, Self::PHASES, RamStyle::Distributed)?.after(&m, "u_phases", phase)?;
        phases.ready.set(m.input("phase_over_i", 1));
        let turn = (phases.valid & phases.data.eq(over)).named("phase_turn");
        m.output("phase_turn_o", turn);
        m.output("product_turn_o", !turn);
        m.finish()
    }
}
