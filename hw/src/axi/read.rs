//! `read_master`: bursts read from a memory channel over AXI4.
//!
//! # Purpose
//!
//! Sends the addresses of the bursts that it is asked for and gives back their beats, with the tag of the request that each belongs to.
//!
//! # Interface
//!
//! Requests are a *stream*, beats a *pipe*: whoever asks has room for what it asks for.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | forgets what is under way; the memory's side has to be reset too |
//! | `base_i` | in | 64 | device address of local address 0, a multiple of 4096; the low 12 bits are not looked at |
//! | `req_valid_i`, `req_data_i`, `req_ready_o` | | 1, [`BurstPort::request_bits`], 1 | bursts asked for |
//! | `axi_ar{valid,addr,len,size,burst,cache,prot}_o`, `axi_arready_i` | | 1, 64, 8, 3, 2, 4, 3, 1 | read address: INCR, full beats |
//! | `axi_r{valid,data,resp,last}_i`, `axi_rready_o` | | 1, beat, 2, 1, 1 | read data; always ready |
//! | `beat_valid_o`, `beat_data_o` | out | 1, beat | a beat, in the order of the requests |
//! | `beat_tag_o`, `beat_last_o` | out | tag, 1 | its request's tag; last of its burst |
//! | `under_way_o` | out | log2(bursts + 1) | bursts asked for whose last beat has not come |
//! | `clear_i` | in | 1 | forgets the error |
//! | `error_valid_o` | out | 1 | a beat came with an error since the clearing |
//! | `error_address_o`, `error_response_o` | out | address, 2 | of the first: local address of its burst, in beats; response |
//!
//! One identifier: beats come in the order of the addresses. A burst's end is where its request says; an `RLAST` elsewhere is an error with the response SLVERR. Beats that
//! nobody asked for are dropped.
//!
//! # Timing
//!
//! A request is taken when fewer than `bursts` are under way and fewer than [`WAITING`](super::bursts::WAITING) addresses have not gone out; it is on `axi_ar` [`ReadMaster::ADDRESS_LATENCY`]
//! cycles later. A beat is on the output [`ReadMaster::BEAT_LATENCY`] cycles after it came. One address and one beat a cycle, also across bursts. No output hangs on an
//! AXI input within a cycle.
//!
//! ```text
//! edge               0     1     2     3     4     5     6
//! req (2 beats)   -< A >-----------------------------
//! axi_ar          ------------< A >------------------
//! axi_r           ------------------------< A0  x A1  >----
//! beat            ------------------------------< A0  x A1  >
//! ```
//!
//! # Numeric contract
//!
//! None: beats leave as they came.
//!
//! # Cost
//!
//! Three addresses and one beat of registers, a queue of `bursts` requests in distributed memory, an adder for pages.
//!
//! # Verification
//!
//! `tests/tests/rtl_axi_masters.rs`: beats, tags, order, latency and rate against a memory model; `tests/tests/rtl_axi_formal.rs::read_master`: rules of AXI4, counting, progress;
//! `tests/tests/rtl_cocotb.rs::masters_move_what_was_asked`: cocotbext-axi's memory.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{axi::{BurstPort, ReadMaster}, rtl::Block};
//!
//! let port = BurstPort::new(64, 23, 8, 4)?;
//! assert_eq!(ReadMaster::new(port).module()?.name(), "read_master_b64_a23_n8_t4");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::bursts::{BurstPort, SLVERR, first_error, together, under_way};
use crate::prim::Fifo;
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Stream, Wire};
use std::sync::Arc;

/// The read side of a memory channel. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadMaster {
    port: BurstPort,
}

impl ReadMaster {
    /// Cycles from a request taken to its address on `axi_ar`.
    pub const ADDRESS_LATENCY: u64 = 2;
    /// Cycles from a beat on `axi_r` to the output.
    pub const BEAT_LATENCY: u64 = 1;

    /// The master of a port.
    #[must_use]
    pub fn new(port: BurstPort) -> Self {
        Self { port }
    }

    /// Beats off the bus: each belongs to the oldest burst under way.
    fn beats<'m>(&self, m: &'m Builder, burst: Stream<'m>) {
        let arrives = (m.input("axi_rvalid_i", 1) & burst.valid).named("arrives");
        m.output("axi_rready_o", m.lit(1, 1));
        let count = m.reg("count", self.port.length_bits()).reset(0);
        let last = count.q().eq(self.port.length_of(burst.data)).named("last");
        count.set_when(arrives, last.mux(m.lit(count.q().width(), 0), count.q() + 1));
        burst.ready.set(arrives & last);

        m.output("beat_valid_o", m.register_valid("beat_valid", arrives));
        m.output("beat_data_o", m.register("beat_data", m.input("axi_rdata_i", self.port.beat_bits())));
        m.output("beat_tag_o", m.register("beat_tag", self.port.tag_of(burst.data)));
        m.output("beat_last_o", m.register("beat_last", last));
        self.errors(m, burst.data, arrives, last);
    }

    fn errors<'m>(&self, m: &'m Builder, burst: Wire<'m>, arrives: Wire<'m>, last: Wire<'m>) {
        let response = m.input("axi_rresp_i", 2);
        let wrong_end = m.input("axi_rlast_i", 1) ^ last;
        let found = arrives & (response.msb() | wrong_end);
        let response = response.msb().mux(response, SLVERR);
        first_error(m, found, self.port.address_of(burst), response);
    }
}

impl Block for ReadMaster {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("read_master_{}", self.port.name()));
        let request = m.stream_in("req", self.port.request_bits());
        let [address, burst] = together(&m, request, ["address", "burst"]);
        self.port.address_channel(&m, "ar", address)?;
        let queue = Fifo::new(self.port.request_bits(), self.port.bursts(), RamStyle::Distributed)?;
        let queue = m.instance("bursts", &queue)?;
        queue.stream_in("in", burst);
        under_way(&m, &queue);
        self.beats(&m, queue.stream_out("out"));
        m.finish()
    }
}
