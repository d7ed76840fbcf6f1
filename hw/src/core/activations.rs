//! `activations`: the activation buffer.
//!
//! # Purpose
//!
//! Keeps every slot's blocks of MX elements with their scale bytes, which the vector unit fills and others read.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `write_valid_i` | in | 1 | a block comes |
//! | `write_slot_i`, `write_block_i` | in | log2(slots), log2(blocks) | its slot, and its number there |
//! | `write_scale_i`, `write_elems_i` | in | 8, 256 | its scale and elements |
//! | `read_slot_i`, `read_block_i` | in | log2(slots), log2(blocks) | a block is asked for |
//! | `read_scale_o`, `read_elems_o` | out | 8, 256 | it |
//!
//! # Timing
//!
//! A block comes [`Activations::LATENCY`] cycles after it was asked for. One that is written in a cycle can be asked for in the next.
//!
//! # Numeric contract
//!
//! None.
//!
//! # Cost
//!
//! A memory of 264 bits for each block of each slot.
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
        let memory = m.memory("blocks", SCALE + ELEMS, depth, style);
        let place = |way: &str| -> Wire<'_> {
            let slot = m.input(&format!("{way}_slot_i"), index_width(slots.into()));
            let block = m.input(&format!("{way}_block_i"), block_bits);
            slot.cat(block).trunc(memory.address_width())
        };
        let word = m.input("write_scale_i", SCALE).cat(m.input("write_elems_i", ELEMS));
        memory.write(m.input("write_valid_i", 1), place("write"), word);
        let found = memory.read_registered("found", m.lit(1, 1), place("read"));
        let found = m.register("read", found);
        m.output("read_scale_o", found.slice(ELEMS, SCALE));
        m.output("read_elems_o", found.trunc(ELEMS));
        m.finish()
    }
}
