//! `write_master`: bursts written to a memory channel over AXI4.
//!
//! # Purpose
//!
//! Sends the addresses and the beats of the bursts that it is asked for, in order, and says which of them the memory has acknowledged.
//!
//! # Interface
//!
//! Requests and data are *streams*, acknowledgements a *pipe*.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | forgets what is under way; the memory's side has to be reset too |
//! | `base_i` | in | 64 | device address of local address 0, a multiple of 4096; the low 12 bits are not looked at |
//! | `req_valid_i`, `req_data_i`, `req_ready_o` | | 1, [`BurstPort::request_bits`], 1 | bursts asked for |
//! | `data_valid_i`, `data_data_i`, `data_ready_o` | | 1, [`BurstPort::written_bits`], 1 | their beats, one burst behind the other, and which bytes of each |
//! | `axi_aw{valid,addr,len,size,burst,cache,prot}_o`, `axi_awready_i` | | 1, 64, 8, 3, 2, 4, 3, 1 | write address: INCR, full beats |
//! | `axi_w{valid,data,strb,last}_o`, `axi_wready_i` | | 1, beat, beat / 8, 1, 1 | write data; all bytes |
//! | `axi_b{valid,resp}_i`, `axi_bready_o` | | 1, 2, 1 | acknowledgement; always ready |
//! | `ack_valid_o`, `ack_tag_o` | out | 1, tag | a burst is acknowledged, in the order of the requests |
//! | `under_way_o` | out | log2(bursts + 1) | bursts asked for and not acknowledged |
//! | `clear_i` | in | 1 | forgets the error |
//! | `error_valid_o` | out | 1 | an acknowledgement came with an error since the clearing |
//! | `error_address_o`, `error_response_o` | out | address, 2 | of the first: local address of its burst, in beats; response |
//!
//! One identifier: acknowledgements come in the order of the addresses. What nobody asked for is dropped. A failed burst is acknowledged too.
//!
//! # Timing
//!
//! A request is taken when fewer than `bursts` are under way, the data of fewer than [`WriteMaster::AHEAD`] are still to come, and fewer than [`WAITING`](super::bursts::WAITING) addresses have not gone out; it is on `axi_aw`
//! [`WriteMaster::ADDRESS_LATENCY`] cycles later. Its data is taken from the cycle after the request on and is on `axi_w` [`WriteMaster::BEAT_LATENCY`] cycles after that, so with the address at the earliest. An acknowledgement
//! is on the output [`WriteMaster::ACK_LATENCY`] cycles after it came. One address, one beat, one acknowledgement a cycle, also across bursts. Data does not wait for its address to be taken. No output
//! hangs on an AXI input within a cycle.
//!
//! # Numeric contract
//!
//! None: beats leave as they came.
//!
//! # Cost
//!
//! Three addresses and two beats of registers, a queue of `bursts` requests in distributed memory, an adder for pages.
//!
//! # Verification
//!
//! `tests/tests/rtl_axi_masters.rs`: memory contents, order, latency and rate against a memory model; `tests/tests/rtl_axi_formal.rs::write_master`: rules of AXI4, counting,
//! progress; `tests/tests/rtl_cocotb.rs::masters_move_what_was_asked`: cocotbext-axi's memory.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{axi::{BurstPort, WriteMaster}, rtl::Block};
//!
//! let port = BurstPort::new(64, 23, 8, 4)?;
//! assert_eq!(WriteMaster::new(port).module()?.name(), "write_master_b64_a23_n8_t4");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::bursts::{BurstPort, first_error, together, under_way};
use crate::prim::{Fifo, SkidBuffer};
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Stream};
use std::sync::Arc;

/// The write side of a memory channel. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteMaster {
    port: BurstPort,
}

impl WriteMaster {
    /// Cycles from a request taken to its address on `axi_aw`.
    pub const ADDRESS_LATENCY: u64 = 2;
    /// Cycles from a beat taken to `axi_w`.
    pub const BEAT_LATENCY: u64 = 1;
    /// Cycles from an acknowledgement on `axi_b` to the output.
    pub const ACK_LATENCY: u64 = 1;
    /// Requests taken whose data has not all come: so many keep the data going when every burst has one beat.
    pub const AHEAD: u32 = 4;

    /// The master of a port.
    #[must_use]
    pub fn new(port: BurstPort) -> Self {
        Self { port }
    }

    /// Beats to the bus, counted by the lengths of the bursts.
    fn beats<'m>(&self, m: &'m Builder, length: Stream<'m>) -> Result<(), RtlError> {
        let data = m.stream_in("data", self.port.written_bits());
        let count = m.reg("count", self.port.length_bits()).reset(0);
        let last = count.q().eq(length.data).named("last");
        let beat = Stream { valid: data.valid & length.valid, data: last.cat(data.data), ..data };
        let buffer = m.instance("beat", &SkidBuffer::new(beat.data.width())?)?;
        let room = buffer.get("in_ready_o");
        buffer.set("in_valid_i", beat.valid);
        buffer.set("in_data_i", beat.data);
        data.ready.set(room & length.valid);
        let passes = (room & beat.valid).named("passes");
        count.set_when(passes, last.mux(m.lit(count.q().width(), 0), count.q() + 1));
        length.ready.set(passes & last);

        let out = buffer.stream_out("out");
        out.ready.set(m.input("axi_wready_i", 1));
        m.output("axi_wvalid_o", out.valid);
        let beat = self.port.beat_bits();
        m.output("axi_wdata_o", out.data.trunc(beat));
        m.output("axi_wlast_o", out.data.msb());
        m.output("axi_wstrb_o", out.data.slice(beat, beat / 8));
        Ok(())
    }

    /// Acknowledgements: each is for the oldest burst under way.
    fn acknowledgements<'m>(&self, m: &'m Builder, burst: Stream<'m>) {
        let arrives = (m.input("axi_bvalid_i", 1) & burst.valid).named("arrives");
        m.output("axi_bready_o", m.lit(1, 1));
        burst.ready.set(arrives);
        m.output("ack_valid_o", m.register_valid("ack_valid", arrives));
        m.output("ack_tag_o", m.register("ack_tag", self.port.tag_of(burst.data)));
        let response = m.input("axi_bresp_i", 2);
        first_error(m, arrives & response.msb(), self.port.address_of(burst.data), response);
    }
}

impl Block for WriteMaster {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("write_master_{}", self.port.name()));
        let request = m.stream_in("req", self.port.request_bits());
        let [address, burst, length] = together(&m, request, ["address", "burst", "length"]);
        self.port.address_channel(&m, "aw", address)?;
        let queue = Fifo::new(self.port.request_bits(), self.port.bursts(), RamStyle::Distributed)?;
        let queue = m.instance("bursts", &queue)?;
        queue.stream_in("in", burst);
        under_way(&m, &queue);
        self.acknowledgements(&m, queue.stream_out("out"));
        let lengths = Fifo::new(self.port.length_bits(), Self::AHEAD, RamStyle::Distributed)?;
        let length = length.with_data(self.port.length_of(length.data));
        self.beats(&m, lengths.after(&m, "lengths", length)?)?;
        m.finish()
    }
}
