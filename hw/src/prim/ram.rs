//! `ram`: a memory with one write port and one read port.
//!
//! # Purpose
//!
//! On-chip storage, mapped to look-up tables, block RAM or UltraRAM as asked.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `write_enable_i` | in | 1 | write on this edge |
//! | `write_address_i`, `write_data_i` | in | log2(depth), width | where and what |
//! | `read_enable_i` | in | 1 | read on this edge (latency 0: not there) |
//! | `read_address_i` | in | log2(depth) | where |
//! | `read_data_o` | out | width | what was there |
//!
//! # Timing
//!
//! A read that is asked for on edge `e` is on the output after edge `e + latency - 1`. With latency 0 (distributed memory only) it is there in the
//! same cycle. The first register holds while `read_enable_i` is not set; the others always go on. A read in the cycle of a write to its address
//! gives the old word. No reset.
//!
//! # Numeric contract
//!
//! None. Words never written, and addresses beyond the depth, give anything.
//!
//! # Cost
//!
//! The memory and `latency * width` registers, of which the memory's own cells take in one (distributed: none) or two (block: the
//! output register).
//!
//! # Verification
//!
//! `tests/tests/rtl_primitives/control.rs::memories_remember`; cells by style: `tests/tests/rtl_synthesis.rs`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{prim::Ram, rtl::{Block, RamStyle}};
//!
//! assert_eq!(Ram::new(72, 4096, RamStyle::Ultra, 2)?.module()?.name(), "ram_w72_d4096_ultra_l2");
//! assert!(Ram::new(72, 4096, RamStyle::Ultra, 0).is_err());
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::{data_width, within};
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, index_width};
use std::sync::Arc;

/// A memory. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ram {
    width: u32,
    depth: u32,
    style: RamStyle,
    latency: u32,
}

impl Ram {
    /// A memory whose reads take `latency` cycles.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(width: u32, depth: u32, style: RamStyle, latency: u32) -> Result<Self, RtlError> {
        let least = u32::from(style != RamStyle::Distributed);
        Ok(Self {
            width: data_width("ram", width)?,
            depth: within("ram", "depth", depth, 1..=1 << 24, "1 to 16777216")?,
            style,
            latency: within(
                "ram",
                "latency",
                latency,
                least..=8,
                "0 to 8, and at least 1 outside distributed memory",
            )?,
        })
    }
}

impl Block for Ram {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Self { width, depth, style, latency } = *self;
        let m = Builder::new(format!("ram_w{width}_d{depth}_{}_l{latency}", style.attribute()));
        let address_width = index_width(u64::from(depth));
        let memory = m.memory("memory", width, depth, style);
        let enable = m.input("write_enable_i", 1);
        let address = m.input("write_address_i", address_width);
        memory.write(enable, address, m.input("write_data_i", width));
        let mut data = if latency == 0 {
            memory.read(m.input("read_address_i", address_width))
        } else {
            let enable = m.input("read_enable_i", 1);
            memory.read_registered("read_0", enable, m.input("read_address_i", address_width))
        };
        for stage in 1..latency {
            data = m.register(&format!("read_{stage}"), data);
        }
        m.output("read_data_o", data);
        m.finish()
    }
}
