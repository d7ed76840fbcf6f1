//! `round_robin`: one of several, in turn.
//!
//! # Purpose
//!
//! Shares one resource among `requests` users so that none waits for ever.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | the turn goes to user 0 |
//! | `request_i` | in | requests | who wants; a user that has the grant keeps wanting until it is taken |
//! | `take_i` | in | 1 | the grant is used on this edge: the turn goes to the user after |
//! | `valid_o` | out | 1 | somebody has the grant |
//! | `grant_o` | out | requests | who: at most one bit |
//! | `index_o` | out | log2(requests) | who, as a number; 0 while nobody has it |
//!
//! # Timing
//!
//! The grant is there in the cycle of the request; it does not depend on `take_i`. A grant stays with its user until it is taken, so that
//! a stream may be chosen by it. A request waits for at most `requests - 1` other grants.
//!
//! # Numeric contract
//!
//! None.
//!
//! # Cost
//!
//! `2 * requests` registers, two carry chains of `requests` bits.
//!
//! # Verification
//!
//! `tests/tests/rtl_primitives/control.rs::arbiters_take_turns`; one grant, fairness: `tests/tests/rtl_formal.rs::arbiter`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{prim::RoundRobin, rtl::Block};
//!
//! assert_eq!(RoundRobin::new(4)?.module()?.name(), "round_robin_n4");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::within;
use crate::rtl::{Block, Builder, Module, RtlError, Wire, index_width};
use std::sync::Arc;

/// A round-robin arbiter. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundRobin {
    requests: u32,
}

/// The lowest bit that is set.
fn lowest(wire: Wire<'_>) -> Wire<'_> {
    wire & wire.negated()
}

impl RoundRobin {
    /// An arbiter for a number of users.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(requests: u32) -> Result<Self, RtlError> {
        Ok(Self { requests: within("round-robin arbiter", "requests", requests, 1..=256, "1 to 256")? })
    }
}

impl Block for RoundRobin {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let n = self.requests;
        let m = Builder::new(format!("round_robin_n{n}"));
        let (request, take) = (m.input("request_i", n), m.input("take_i", 1));
        // Users behind the one that was served last; all are behind nobody.
        let later = m.reg("later", n).reset(0);
        let held = m.reg("held", n).reset(0);

        let first = request & later.q();
        let turn = first.any().mux(lowest(first), lowest(request));
        let keeps = (held.q() & request).any();
        let grant = keeps.mux(held.q(), turn).named("grant");
        let valid = request.any();
        // The bits above the granted one.
        later.set_when(valid & take, !(grant | (grant - 1)));
        held.set(take.mux(m.lit(1, 0).repeat(n), grant));

        m.output("valid_o", valid);
        m.output("grant_o", grant);
        m.output("index_o", encode(&m, grant));
        m.finish()
    }
}

/// Number of the only bit that is set, 0 if none is.
fn encode<'m>(m: &'m Builder, one_hot: Wire<'m>) -> Wire<'m> {
    let bits = one_hot.bits();
    let digits: Vec<_> = (0..index_width(u64::from(one_hot.width())))
        .map(|digit| {
            let ones: Vec<_> =
                (0..).zip(&bits).filter(|(n, _)| n >> digit & 1 == 1).map(|(_, &bit)| bit).collect();
            if ones.is_empty() { m.lit(1, 0) } else { m.tree(&ones, |a, b| a | b) }
        })
        .collect();
    m.pack(&digits)
}
