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
//! Exact modulo 2^48; the window is made so that [`MAX_BLOCKS`](fastcar_arch::num::window::MAX_BLOCKS) terms do not
//! wrap.
//!
//! # Cost
//!
//! A memory of `depth` words of `lanes` x 48 bits with one read and one write port, and an adder per lane. Lanes
//! without a term write back what they read, so that all lanes share one memory of full width.
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

use crate::prim::within;
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Wire, index_width};
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

/// The new sums: with each lane's term added if it has one.
fn added<'m>(m: &'m Builder, old: Wire<'m>, enable: Wire<'m>, first: Wire<'m>, terms: Wire<'m>) -> Wire<'m> {
    let width = terms.width() / enable.width();
    let lanes = old.chunks(ACC_BITS).into_iter().zip(terms.chunks(width));
    let sums: Vec<_> = lanes
        .zip(enable.bits().into_iter().zip(first.bits()))
        .map(|((old, term), (enable, first))| {
            let kept = old & !(enable & first).repeat(ACC_BITS);
            kept + (term & enable.repeat(width)).sext(ACC_BITS)
        })
        .collect();
    m.pack(&sums)
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
        let [enable, first] =
            ["enable", "first"].map(|name| m.register(name, m.input(&format!("{name}_i"), lanes)));
        let terms = m.register("terms", m.input("term_i", lanes * width));

        // Add. The two words before are not yet seen by the read.
        let sum = m.reg("sum", lanes * ACC_BITS);
        let writing = m.register_valid("writing", adding);
        let write_address = m.register("write_address", add_address);
        let from_sum = m.register_valid("from_sum", adding & add_address.eq(address));
        let from_written = m.register_valid("from_written", writing & write_address.eq(address));
        let written = m.register("written", sum.q());
        let old = from_sum.mux(sum.q(), from_written.mux(written, read));
        sum.set(added(&m, old, enable, first, terms));

        // Write.
        memory.write(writing, write_address, sum.q());

        let answered = m.register_valid("answered", m.register_valid("asked", asked));
        m.output("valid_o", answered);
        m.output("sum_o", m.register("drained", read));
        m.finish()
    }
}
