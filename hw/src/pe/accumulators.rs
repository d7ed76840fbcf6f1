//! `accumulators`: sums of 48 bits in a memory, one word of several sums a cycle.
//!
//! # Purpose
//!
//! Holds the sums of a cluster's rows and columns while their terms come in, block after block, and gives them out.
//!
//! # Interface
//!
//! Terms come by a *pipe*, readings are asked for by a *stream* and answered by a pipe.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears `valid` only |
//! | `valid_i` | in | 1 | terms are sampled on this edge |
//! | `address_i` | in | log2(depth) | word whose sums they belong to |
//! | `enable_i` | in | lanes | sums that get a term; the others of the word stay as they are |
//! | `first_i` | in | lanes | the sum is the term: what was there does not count |
//! | `term_i` | in | lanes x width | signed terms, lane 0 in the low bits |
//! | `carry_i` | in | lanes | one more each |
//! | `drain_valid_i`, `drain_address_i` | in | 1, log2(depth) | a word is asked for |
//! | `drain_ready_o` | out | 1 | it is: there is no term in this cycle |
//! | `valid_o` | out | 1 | a word that was asked for |
//! | `sum_o` | out | lanes x 48 | its signed sums |
//!
//! # Timing
//!
//! One word of terms a cycle, to any address, also to the same ones again. Terms sampled on edge `e` are in what is
//! asked for on edge `e +` [`Accumulators::latency`] or later; asked for earlier, they may be or not. A word asked for
//! on edge `e` is there on edge `e +` [`Accumulators::drain_latency`]. The memory has one read port, and terms come
//! first: the word waits while terms come.
//!
//! # Numeric contract
//!
//! Exact modulo 2^48: the sum, the term and the carry; the window is made so that [`MAX_BLOCKS`](fastcar_arch::num::window::MAX_BLOCKS) terms do not
//! wrap.
//!
//! # Cost
//!
//! A memory of `depth` words of `lanes` x 48 bits with one read and one write port; for each lane a DSP block, which adds
//! and keeps the last sum, and 48 choices between the memory and the sum before the last. Lanes without a term write back
//! what they read, so that all lanes share one memory of full width.
//!
//! # Verification
//!
//! `tests/tests/rtl_mac.rs`: random terms and addresses with many repetitions against a model, latency, waiting; cells
//! by preset.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::pe::Accumulators;
//!
//! let sums = Accumulators::new(2, 37, 1024)?;
//! assert_eq!((sums.latency(), sums.drain_latency()), (3, 2));
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::dsp::AddDsp;
use crate::prim::within;
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, index_width};
use fastcar_arch::num::window::ACC_BITS;
use std::sync::Arc;

/// Words up to which a memory in look-up tables takes less than block RAM that is almost empty.
const DISTRIBUTED_WORDS: u32 = 64;

/// Sums in a memory. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accumulators {
    lanes: u32,
    width: u32,
    depth: u32,
}

impl Accumulators {
    /// `depth` words of `lanes` sums, for terms of `width` bits.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(lanes: u32, width: u32, depth: u32) -> Result<Self, RtlError> {
        const BLOCK: &str = "accumulators";
        Ok(Self {
            lanes: within(BLOCK, "lanes", lanes, 1..=4096, "1 to 4096")?,
            width: within(BLOCK, "width", width, 1..=ACC_BITS, "1 to 48 bits")?,
            depth: within(BLOCK, "depth", depth, 2..=65_536, "2 to 65536 words")?,
        })
    }

    /// Cycles from terms to sums that can be asked for: read, add, write.
    #[must_use]
    pub fn latency(&self) -> u32 {
        3
    }

    /// Cycles from the question to the word: the memory's own register and its output register.
    #[must_use]
    pub fn drain_latency(&self) -> u32 {
        2
    }

    /// Width of an address.
    #[must_use]
    pub fn address_width(&self) -> u32 {
        index_width(u64::from(self.depth))
    }

    fn style(&self) -> RamStyle {
        if self.depth > DISTRIBUTED_WORDS { RamStyle::Block } else { RamStyle::Distributed }
    }
}

impl Block for Accumulators {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Self { lanes, width, depth } = *self;
        let m = Builder::new(format!("accumulators_l{lanes}_w{width}_d{depth}"));
        let (valid, address) = (m.input("valid_i", 1), m.input("address_i", self.address_width()));
        let asked = m.input("drain_valid_i", 1) & !valid;
        let drain_address = m.input("drain_address_i", self.address_width());
        m.output("drain_ready_o", !valid);

        // Read.
        let memory = m.memory("sums", lanes * ACC_BITS, depth, self.style());
        let read = memory.read_registered("read", valid | asked, valid.mux(address, drain_address));
        let adding = m.register_valid("adding", valid);
        let add_address = m.register("add_address", address);
        let writing = m.register_valid("writing", adding);
        let write_address = m.register("write_address", add_address);

        // Add. The two words before are not yet seen by the read: one is in the DSP blocks, one behind them.
        let same = adding & add_address.eq(address);
        let from_written = m.register_valid("from_written", writing & write_address.eq(address));
        let [enable, first, carry] =
            ["enable_i", "first_i", "carry_i"].map(|name| m.input(name, lanes).bits());
        let terms = m.input("term_i", lanes * width).chunks(width);
        let (before, sum) = (m.later("earlier", lanes * ACC_BITS), m.later("sum", lanes * ACC_BITS));
        let onto = from_written.mux(before.wire(), read).chunks(ACC_BITS);
        let mut added = Vec::new();
        for lane in 0..lanes as usize {
            let dsp = m.instance(&format!("u_add_{lane}"), &AddDsp)?;
            let begins = enable[lane] & first[lane];
            dsp.set("term_i", terms[lane].sext(ACC_BITS));
            dsp.set("add_i", enable[lane]);
            dsp.set("carry_i", enable[lane] & carry[lane]);
            dsp.set("from_i", (!begins).cat(!begins & !same));
            dsp.set("sum_i", onto[lane]);
            added.push(dsp.get("p_o"));
        }
        sum.set(m.pack(&added));
        before.set(m.register("written", sum.wire()));

        // Write.
        memory.write(writing, write_address, sum.wire());

        let answered = m.register_valid("answered", m.register_valid("asked", asked));
        m.output("valid_o", answered);
        m.output("sum_o", m.register("drained", read));
        m.finish()
    }
}
