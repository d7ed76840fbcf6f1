//! `accumulators`: sums of 48 bits in memories, one word of several sums a cycle in each column.
//!
//! # Purpose
//!
//! Holds the sums of a cluster's rows and columns while their terms come in, block after block, and gives them out.
//!
//! # Interface
//!
//! *Pipes*: terms come, words are asked for, words are given out. Lanes are a column's; column 0's are low everywhere.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears `valid` only |
//! | `valid_i` | in | 1 | terms are sampled on this edge |
//! | `address_i` | in | columns x log2(depth) | each column's word whose sums they belong to |
//! | `enable_i` | in | columns x lanes | sums that get a term; the others of the word stay as they are |
//! | `first_i` | in | columns x lanes | the sum is the term: what was there does not count |
//! | `term_i` | in | columns x lanes x width | signed terms, lane 0 in the low bits |
//! | `carry_i` | in | columns x lanes | one more each |
//! | `added_valid_o`, `added_o` | out | 1, columns x lanes x 48 | the words that terms were added to |
//! | `drain_valid_i`, `drain_address_i` | in | 1, log2(depth) | a word, the same of all columns, is asked for |
//! | `valid_o` | out | 1 | a word that was asked for |
//! | `sum_o` | out | columns x lanes x 48 | its signed sums |
//!
//! # Timing
//!
//! One word of terms a cycle, to any address, also to the same ones again. Terms sampled on edge `e` are in what is
//! asked for on edge `e +` [`Accumulators::latency`] or later, and in `added_o` on just that edge; asked for earlier, they may be or not. A word asked for
//! on edge `e` is there on edge `e +` [`Accumulators::drain_latency`], whatever terms come in between.
//!
//! # Numeric contract
//!
//! Exact modulo 2^48: the sum, the term and the carry; the window is made so that [`MAX_BLOCKS`](fastcar_arch::num::window::MAX_BLOCKS) terms do not
//! wrap.
//!
//! # Cost
//!
//! Two memories a column of `depth` words of `lanes` x 48 bits with one read and one write port, the one read for the sums
//! under way, the other for what is asked for; for each lane a DSP block, which adds and keeps the last sum, and 48
//! choices between the memory and the sum before the last. Lanes without a term write back what they read, so that all
//! lanes of a column share memories of full width.
//!
//! # Verification
//!
//! `tests/tests/rtl_mac.rs`: random terms and addresses with many repetitions against a model, latency, words asked for in every cycle; cells
//! by preset.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::pe::Accumulators;
//!
//! let sums = Accumulators::new(1, 2, 37, 1024)?;
//! assert_eq!((sums.latency(), sums.drain_latency()), (3, 2));
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::dsp::AddDsp;
use crate::prim::within;
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Wire, index_width};
use fastcar_arch::num::window::ACC_BITS;
use std::sync::Arc;

/// Words up to which a memory in look-up tables takes less than block RAM that is almost empty.
const DISTRIBUTED_WORDS: u32 = 64;

/// Sums in memories. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accumulators {
    columns: u32,
    lanes: u32,
    width: u32,
    depth: u32,
}

impl Accumulators {
    /// For each column `depth` words of `lanes` sums, for terms of `width` bits.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(columns: u32, lanes: u32, width: u32, depth: u32) -> Result<Self, RtlError> {
        const BLOCK: &str = "accumulators";
        Ok(Self {
            columns: within(BLOCK, "columns", columns, 1..=32, "1 to 32")?,
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

/// What all columns have in common, and one column's part of each port.
struct Column<'m> {
    number: u32,
    valid: Wire<'m>,
    /// A cycle later, and two.
    adding: Wire<'m>,
    writing: Wire<'m>,
    /// The word that is asked for.
    asked: Wire<'m>,
    wanted: Wire<'m>,
    address: Wire<'m>,
    enable: Vec<Wire<'m>>,
    first: Vec<Wire<'m>>,
    carry: Vec<Wire<'m>>,
    terms: Vec<Wire<'m>>,
}

impl Accumulators {
    /// Adds a column's terms up; the word that was added to, and the one that was asked for.
    fn column<'m>(&self, m: &'m Builder, c: &Column<'m>) -> Result<[Wire<'m>; 2], RtlError> {
        let name = |what: &str| format!("{what}_{}", c.number);
        let memory = |what: &str| m.memory(&name(what), self.lanes * ACC_BITS, self.depth, self.style());
        let (sums, results) = (memory("sums"), memory("results"));

        // Read.
        let read = sums.read_registered(&name("read"), c.valid, c.address);
        let add_address = m.register(&name("add_address"), c.address);
        let write_address = m.register(&name("write_address"), add_address);

        // Add. The two words before are not yet seen by the read: one is in the DSP blocks, one behind them.
        let same = c.adding & add_address.eq(c.address);
        let from_written = m.register_valid(&name("from_written"), c.writing & write_address.eq(c.address));
        let before = m.later(&name("earlier"), self.lanes * ACC_BITS);
        let onto = from_written.mux(before.wire(), read).chunks(ACC_BITS);
        let mut added = Vec::new();
        for (lane, onto) in onto.into_iter().enumerate() {
            let dsp = m.instance(&format!("u_add_{}_{lane}", c.number), &AddDsp)?;
            let begins = c.enable[lane] & c.first[lane];
            dsp.set("term_i", c.terms[lane].sext(ACC_BITS));
            dsp.set("add_i", c.enable[lane]);
            dsp.set("carry_i", c.enable[lane] & c.carry[lane]);
            dsp.set("from_i", (!begins).cat(!begins & !same));
            dsp.set("sum_i", onto);
            added.push(dsp.get("p_o"));
        }

        // Write.
        let sum = m.pack(&added);
        let written = m.register(&name("written"), sum);
        before.set(written);
        for memory in [sums, results] {
            memory.write(c.writing, write_address, sum);
        }
        let drained =
            m.register(&name("drained"), results.read_registered(&name("result"), c.asked, c.wanted));
        Ok([written, drained])
    }
}

impl Block for Accumulators {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Self { columns, lanes, width, depth } = *self;
        let m = Builder::new(format!("accumulators_c{columns}_l{lanes}_w{width}_d{depth}"));
        let valid = m.input("valid_i", 1);
        let adding = m.register_valid("adding", valid);
        let writing = m.register_valid("writing", adding);
        let asked = m.input("drain_valid_i", 1);
        let wanted = m.input("drain_address_i", self.address_width());
        let address = m.input("address_i", columns * self.address_width()).chunks(self.address_width());
        let [enable, first, carry] =
            ["enable_i", "first_i", "carry_i"].map(|name| m.input(name, columns * lanes).bits());
        let terms = m.input("term_i", columns * lanes * width).chunks(width);
        let words = (0..columns).map(|number| {
            let part = (number * lanes) as usize..((number + 1) * lanes) as usize;
            let column = Column {
                number,
                valid,
                adding,
                writing,
                asked,
                wanted,
                address: address[number as usize],
                enable: enable[part.clone()].to_vec(),
                first: first[part.clone()].to_vec(),
                carry: carry[part.clone()].to_vec(),
                terms: terms[part].to_vec(),
            };
            self.column(&m, &column)
        });
        let words = words.collect::<Result<Vec<_>, _>>()?;
        let of = |which: usize| m.pack(&words.iter().map(|word| word[which]).collect::<Vec<_>>());
        m.output("added_valid_o", m.register_valid("added", writing));
        m.output("added_o", of(0));
        m.output("valid_o", m.register_valid("answered", m.register_valid("asked", asked)));
        m.output("sum_o", of(1));
        m.finish()
    }
}
