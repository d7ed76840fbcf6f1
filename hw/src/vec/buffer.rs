//! `vector_buffer`: every slot's lines, in two banks.
//!
//! # Purpose
//!
//! Holds the vectors of all slots. A group lies in the bank of its number's parity, so that two groups that follow each other, or two
//! vectors one of which is read a cycle later, come out in the same cycle.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears control only |
//! | `even_row_i`, `odd_row_i` | in | [`Shape::address_bits`] - 1 | which group to read of either bank: slot and half the group's number |
//! | `even_o`, `odd_o` | out | 32 x lanes | its words |
//! | `write_valid_i` | in | 1 | write a group on this edge |
//! | `write_group_i` | in | [`Shape::address_bits`] | its slot and number; the groups of a line come one after the other, all of them |
//! | `write_words_i` | in | 32 x lanes | its words, lane 0 low |
//! | `scan_i`, `scan_line_i`, `scan_lines_i`, `largest_o` | | | see [`LineExponents`] |
//!
//! There is no mask: whoever writes a part of a line writes what was there to the rest, which it has read. So the memory is as wide as a
//! group, which an UltraRAM of 72 bits fits, and a line's exponent is always that of all its words.
//!
//! # Timing
//!
//! A group asked for on edge `e` is there after edge `e + 1`. A read in the cycle of a write to its group gives the old words.
//!
//! # Numeric contract
//!
//! None but that of [`LineExponents`]: bits are bits.
//!
//! # Cost
//!
//! Two memories, block RAM or UltraRAM. A number of lines or slots that is no power of two is rounded up to one.
//!
//! # Verification
//!
//! `tests/tests/rtl_vec.rs`: `words_stay_where_they_were_written_and_exponents_are_their_lines`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{rtl::Block, vec::{Shape, VectorBuffer}};
//!
//! let buffer = VectorBuffer::new(Shape::new(4, 4, 64, 64, 1024)?);
//! assert_eq!(buffer.module()?.name(), "vec_buffer_l4_s4_v64_a64_r1024");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::{LineExponents, Shape, style};
use crate::rtl::{Block, Builder, Module, RtlError};
use std::sync::Arc;

/// The buffer. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VectorBuffer {
    shape: Shape,
}

impl VectorBuffer {
    /// The buffer of a unit.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        Self { shape }
    }
}

impl Block for VectorBuffer {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("vec_buffer_{}", self.shape.name()));
        let (address_bits, width) = (self.shape.address_bits(), self.shape.group_width());
        let write = m.input("write_valid_i", 1);
        let group = m.input("write_group_i", address_bits);
        let words = m.input("write_words_i", width);
        let depth = 1 << (address_bits - 1);
        for (bank, name) in [(group.bit(0).is_zero(), "even"), (group.bit(0), "odd")] {
            let memory = m.memory(name, width, depth, style(depth));
            memory.write(write & bank, group.slice(1, address_bits - 1), words);
            let row = m.input(&format!("{name}_row_i"), address_bits - 1);
            let first = memory.read_registered(&format!("{name}_first"), m.lit(1, 1), row);
            m.output(&format!("{name}_o"), m.register(&format!("{name}_words"), first));
        }
        let exponents = m.instance("u_exponents", &LineExponents::new(self.shape))?;
        exponents.set("write_valid_i", write);
        exponents.set("write_group_i", group);
        exponents.set("write_words_i", words);
        exponents.set("scan_i", m.input("scan_i", 1));
        exponents.set("scan_line_i", m.input("scan_line_i", self.shape.slot_bits() + self.shape.line_bits()));
        exponents.set("scan_lines_i", m.input("scan_lines_i", self.shape.lines_bits()));
        m.output("largest_o", exponents.get("largest_o"));
        m.finish()
    }
}
