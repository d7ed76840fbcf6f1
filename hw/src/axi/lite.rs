//! `axi_lite`: registers behind an AXI4-Lite port.
//!
//! # Purpose
//!
//! Turns the five channels of AXI4-Lite into one write and one read at a time, for a register block with 32-bit registers.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | forgets what is under way |
//! | `axi_aw{valid,addr}_i`, `axi_awready_o` | | 1, address, 1 | write address |
//! | `axi_w{valid,data,strb}_i`, `axi_wready_o` | | 1, 32, 4, 1 | write data, before or after its address |
//! | `axi_b{valid,resp}_o`, `axi_bready_i` | | 1, 2, 1 | write response: always OKAY |
//! | `axi_ar{valid,addr}_i`, `axi_arready_o` | | 1, address, 1 | read address |
//! | `axi_r{valid,data,resp}_o`, `axi_rready_i` | | 1, 32, 2, 1 | read data: always OKAY |
//! | `write_o` | out | 1 | write on this edge |
//! | `write_addr_o`, `write_data_o`, `write_strb_o` | out | address, 32, 4 | where, what, which bytes |
//! | `read_o`, `read_addr_o` | out | 1, address | read on this edge |
//! | `read_data_i` | in | 32 | what was there, in the cycle after `read_o` |
//!
//! # Timing
//!
//! All outputs come from registers, but for `write_o` and `read_o`, which wait for room for the response (`axi_bready_i`, `axi_rready_i`). A write goes out in the cycle after
//! the later of address and data came, its response one cycle after that; a read's data is valid two cycles after `read_o`. One access in two cycles each way; reads and writes do not
//! wait for each other.
//!
//! # Numeric contract
//!
//! Bytes whose strobe is not set are to be left as they are; that is up to the register block.
//!
//! # Cost
//!
//! About `2 * address + 100` registers.
//!
//! # Verification
//!
//! `tests/tests/rtl_axi_lite.rs::accesses_arrive_once_and_in_order`; one response an access, none without: `tests/tests/rtl_axi_formal.rs::axi_lite`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{axi::AxiLite, rtl::Block};
//!
//! assert_eq!(AxiLite::new(12)?.module()?.name(), "axi_lite_a12");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use crate::rtl::{Block, Builder, Module, RtlError, Wire};
use std::sync::Arc;

/// An AXI4-Lite port for registers. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AxiLite {
    address: u32,
}

impl AxiLite {
    /// A port with byte addresses of a width.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(address: u32) -> Result<Self, RtlError> {
        if !(3..=64).contains(&address) {
            let (asked, allowed) = (u64::from(address), "3 to 64 bits");
            return Err(RtlError::Parameter { block: "axi lite", parameter: "address", asked, allowed });
        }
        Ok(Self { address })
    }
}

/// A word that waits in a register until it is used; `ready` while there is none.
struct Held<'m> {
    full: Wire<'m>,
    data: Wire<'m>,
}

fn held<'m>(m: &'m Builder, channel: &str, data: Wire<'m>, used: Wire<'m>) -> Held<'m> {
    let valid = m.input(&format!("axi_{channel}valid_i"), 1);
    let full = m.reg(&format!("{channel}_full"), 1).reset(0);
    let word = m.reg(&format!("{channel}_word"), data.width());
    full.set(full.q().mux(!used, valid));
    word.set_when(!full.q(), data);
    m.output(&format!("axi_{channel}ready_o"), !full.q());
    Held { full: full.q(), data: word.q() }
}

/// A response that stays until it is taken; gives whether there is room for another.
fn response<'m>(m: &'m Builder, channel: &str, made: Wire<'m>) -> Wire<'m> {
    let ready = m.input(&format!("axi_{channel}ready_i"), 1);
    let valid = m.reg(&format!("{channel}_valid"), 1).reset(0);
    valid.update(&[(made, m.lit(1, 1)), (ready, m.lit(1, 0))]);
    m.output(&format!("axi_{channel}valid_o"), valid.q());
    m.output(&format!("axi_{channel}resp_o"), m.lit(2, 0));
    !valid.q() | ready
}

impl AxiLite {
    fn writes(&self, m: &Builder) {
        let write = m.later("write", 1);
        let address = held(m, "aw", m.input("axi_awaddr_i", self.address), write.wire());
        let data = m.input("axi_wstrb_i", 4).cat(m.input("axi_wdata_i", 32));
        let data = held(m, "w", data, write.wire());
        let room = response(m, "b", write.wire());
        write.set(address.full & data.full & room);
        m.output("write_o", write.wire());
        m.output("write_addr_o", address.data);
        m.output("write_data_o", data.data.trunc(32));
        m.output("write_strb_o", data.data.slice(32, 4));
    }

    fn reads(&self, m: &Builder) {
        let read = m.later("read", 1);
        let address = held(m, "ar", m.input("axi_araddr_i", self.address), read.wire());
        // The register's word comes in the cycle after the read.
        let coming = m.register_valid("coming", read.wire());
        let room = response(m, "r", coming);
        read.set(address.full & room & !coming);
        let data = m.reg("r_data", 32);
        data.set_when(coming, m.input("read_data_i", 32));
        m.output("axi_rdata_o", data.q());
        m.output("read_o", read.wire());
        m.output("read_addr_o", address.data);
    }
}

impl Block for AxiLite {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("axi_lite_a{}", self.address));
        self.writes(&m);
        self.reads(&m);
        m.finish()
    }
}
