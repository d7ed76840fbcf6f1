//! `activations`: the activation buffer.
//!
//! # Purpose
//!
//! Keeps every slot's blocks of MX elements with their scale bytes, which the vector unit fills and others read, and of each vector, by its first
//! block, the largest of its scale bytes.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `write_valid_i` | in | 1 | a block comes |
//! | `write_slot_i`, `write_block_i` | in | log2(slots), log2(blocks) | its slot, and its number there |
//! | `write_scale_i`, `write_elems_i` | in | 8, 256 | its scale and elements |
//! | `write_first_i` | in | log2(blocks) | the first block of its vector, whose blocks come in ascending order; blocks of other slots may come in between |
//! | `<reader>_slot_i`, `<reader>_block_i` | in | log2(slots), log2(blocks) | a block is asked for; readers are `vector`, `array` and `gate` |
//! | `<reader>_scale_o`, `<reader>_elems_o` | out | 8, 256 | it |
//! | `<reader>_first_i` | in | log2(blocks) | with a block: the first one of its vector; readers are `array` and `gate` |
//! | `<reader>_largest_o` | out | 8 | the largest scale byte of that |
//!
//! # Timing
//!
//! A block comes [`Activations::LATENCY`] cycles after it was asked for, and so does the largest scale. What is written in a cycle can be asked for
//! in the next.
//!
//! # Numeric contract
//!
//! None.
//!
//! # Cost
//!
//! Three copies of a memory of 264 bits for each block of each slot, and two of one of 8 bits; distributed memory of 8 bits for each slot.
//!
//! # Verification
//!
//! `tests/tests/rtl_core`: blocks that `quant` fills and `store_act` writes to memory.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{core::Activations, rtl::Block};
//!
//! let buffer = Activations::new(&AccelConfig::preset("tiny")?);
//! assert_eq!(buffer.module()?.name(), "activations_s4_b64");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Wire, index_width};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::num::mx::BLOCK;
use std::sync::Arc;

/// Bits of a scale, and of the elements of a block.
const SCALE: u32 = 8;
const ELEMS: u32 = 8 * BLOCK as u32;

/// The activation buffer. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activations {
    slots: u32,
    blocks: u32,
}

impl Activations {
    /// Cycles from a question to its block: memory, output register.
    pub const LATENCY: u32 = 2;

    /// The buffer of a configuration.
    #[must_use]
    pub fn new(config: &AccelConfig) -> Self {
        Self { slots: config.slots(), blocks: config.ab_blocks() }
    }
}

impl Block for Activations {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Self { slots, blocks } = *self;
        let m = Builder::new(format!("activations_s{slots}_b{blocks}"));
        let block_bits = index_width(blocks.into());
        let depth = slots << block_bits;
        let style = if depth > 2048 { RamStyle::Ultra } else { RamStyle::Block };
        let address = index_width(depth.into());
        let slot = |way: &str| m.input(&format!("{way}_slot_i"), index_width(slots.into()));
        let block = |way: &str, which: &str| m.input(&format!("{way}_{which}_i"), block_bits);
        let place = |slot: Wire<'_>, block: Wire<'_>| m.own(slot).cat(m.own(block)).trunc(address);
        let (valid, scale) = (m.input("write_valid_i", 1), m.input("write_scale_i", SCALE));
        let word = scale.cat(m.input("write_elems_i", ELEMS));
        let (written, number) = (slot("write"), block("write", "block"));
        let readers = ["vector", "array", "gate"].map(|reader| (reader, slot(reader)));
        for (reader, slot) in readers {
            let memory = m.memory(&format!("{reader}_blocks"), SCALE + ELEMS, depth, style);
            memory.write(valid, place(written, number), word);
            let at = place(slot, block(reader, "block"));
            let found = memory.read_registered(&format!("{reader}_found"), m.lit(1, 1), at);
            let found = m.register(&format!("{reader}_read"), found);
            m.output(&format!("{reader}_scale_o"), found.slice(ELEMS, SCALE));
            m.output(&format!("{reader}_elems_o"), found.trunc(ELEMS));
        }

        // The largest so far of each slot's vector: what is written last of a vector is the largest of all.
        let first = block("write", "first");
        let so_far = m.memory("so_far", SCALE, slots, RamStyle::Distributed);
        let before = so_far.read(written);
        let largest = (number.eq(first) | scale.gt(before)).mux(scale, before);
        so_far.write(valid, written, largest);
        for (reader, slot) in &readers[1..] {
            let memory = m.memory(&format!("{reader}_largest"), SCALE, depth, RamStyle::Block);
            memory.write(valid, place(written, first), largest);
            let at = place(*slot, block(reader, "first"));
            let found = memory.read_registered(&format!("{reader}_largest_found"), m.lit(1, 1), at);
            m.output(&format!("{reader}_largest_o"), m.register(&format!("{reader}_largest_read"), found));
        }
        m.finish()
    }
}
