//! `port_buffer`: beats of one or two streams that wait in one memory.
//!
//! # Purpose
//!
//! Beats come when the memory gives them and are taken when somebody needs them. Each stream's next beats wait in front of the memory, so that what
//! comes can be taken in the same cycle, and beats of either stream can be taken in any order.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | empties it |
//! | `in_valid_i`, `in_data_i` | in | 1, width | a beat comes: a *pipe* |
//! | `in_stream_i` | in | 1 | its stream, where there are two |
//! | `out<s>_valid_o`, `out<s>_data_o`, `out<s>_ready_i` | | 1, width, 1 | next beat of stream s: a *stream* |
//!
//! Whoever lets beats come has room for them: at most `depth` beats of a stream wait. At most one beat of all streams is taken a cycle.
//!
//! # Timing
//!
//! A beat that comes to an empty stream is on its output in the same cycle; behind that one beat comes and one is taken a cycle.
//!
//! # Numeric contract
//!
//! None: the beats of a stream leave as they came, in order.
//!
//! # Cost
//!
//! The memory (block RAM, or UltraRAM from [`BeatBuffer::ULTRA`] beats on), its output register, and [`BeatBuffer::FRONT`] beats of distributed memory a
//! stream.
//!
//! # Verification
//!
//! `tests/tests/rtl_port.rs`: `beats_wait_and_can_be_taken_at_once`, and within the port.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{port::BeatBuffer, rtl::Block};
//!
//! assert_eq!(BeatBuffer::new(513, &[1024, 3072])?.module()?.name(), "port_buffer_w513_d1024_3072");
//! assert!(BeatBuffer::new(513, &[]).is_err());
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use crate::prim::Counter;
use crate::rtl::{Block, Builder, Later, Module, RamStyle, Reg, RtlError, Stream, Wire, index_width};
use std::sync::Arc;

/// Beats that wait. See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeatBuffer {
    width: u32,
    depths: Vec<u32>,
}

/// One stream's part.
struct Lane<'m> {
    arrives: Wire<'m>,
    /// It goes past the memory.
    direct: Wire<'m>,
    /// It goes to the memory, at this address.
    keeps: Wire<'m>,
    write_address: Wire<'m>,
    /// A beat could be fetched from the memory, from this address; whether it is.
    wants: Wire<'m>,
    read_address: Wire<'m>,
    fetch: Later<'m>,
    /// A beat comes out of the memory.
    fetched: Wire<'m>,
    used: Reg<'m>,
}

impl BeatBuffer {
    /// Beats in front of the memory, for each stream: what is taken while the next comes out of it, and more, since two streams share its
    /// read port.
    pub const FRONT: u32 = 8;
    /// Beats from which on the memory is UltraRAM.
    pub const ULTRA: u32 = 2048;

    /// A buffer for one or two streams of so many beats.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(width: u32, depths: &[u32]) -> Result<Self, RtlError> {
        let wrong = |parameter, asked: u64, allowed| {
            Err(RtlError::Parameter { block: "port buffer", parameter, asked, allowed })
        };
        if !(2..=4096).contains(&width) {
            return wrong("width", width.into(), "2 to 4096 bits");
        }
        if !(1..=2).contains(&depths.len()) {
            return wrong("streams", depths.len() as u64, "1 or 2");
        }
        match depths.iter().find(|depth| !(2..=1 << 20).contains(*depth)) {
            Some(&depth) => wrong("depth", depth.into(), "2 to 1048576 beats"),
            None => Ok(Self { width, depths: depths.to_vec() }),
        }
    }

    fn total(&self) -> u32 {
        self.depths.iter().sum()
    }

    /// An address that goes round within a stream's part of the memory.
    fn address<'m>(&self, m: &'m Builder, name: &str, stream: usize, step: Wire<'m>) -> Wire<'m> {
        let base: u32 = self.depths[..stream].iter().sum();
        let width = index_width(u64::from(self.total()));
        let address = m.reg(name, width).reset(base.into());
        let last = address.q().eq(u64::from(base + self.depths[stream] - 1));
        address.set_when(step, last.mux(m.lit(width, base.into()), address.q() + 1));
        address.q()
    }

    /// What becomes of a beat of a stream that comes, and what is fetched for it.
    fn lane<'m>(&self, m: &'m Builder, stream: usize, arrives: Wire<'m>) -> Lane<'m> {
        let name = |what: &str| format!("{what}_{stream}");
        let count = index_width(u64::from(self.depths[stream]) + 1);
        let (stored, waiting) = (m.reg(&name("stored"), count).reset(0), m.reg(&name("waiting"), 1).reset(0));
        let used = m.reg(&name("used"), index_width(u64::from(Self::FRONT) + 1)).reset(0);
        let fetch = m.later(&name("fetch"), 1);
        let asked = m.register_valid(&name("asked"), fetch.wire());
        let fetched = m.register_valid(&name("fetched"), asked);
        let free = !used.q().bit(Self::FRONT.ilog2());
        let direct = (arrives & free & !waiting.q() & !asked & !fetched).named(&name("direct"));
        let keeps = (arrives & !direct).named(&name("keeps"));
        let (more, less) = (keeps & !fetch.wire(), fetch.wire() & !keeps);
        stored.update(&[(more, stored.q() + 1), (less, stored.q() - 1)]);
        waiting.update(&[(more, m.lit(1, 1)), (less, stored.q().ne(1))]);
        Lane {
            arrives,
            direct,
            keeps,
            write_address: self.address(m, &name("write_address"), stream, keeps),
            wants: (waiting.q() & free).named(&name("wants")),
            read_address: self.address(m, &name("read_address"), stream, fetch.wire()),
            fetch,
            fetched,
            used,
        }
    }

    /// The beats in front of the memory, and the stream's output.
    fn front<'m>(
        &self,
        m: &'m Builder,
        stream: usize,
        lane: &Lane<'m>,
        beats: (Wire<'m>, Wire<'m>),
    ) -> Result<(), RtlError> {
        let name = |what: &str| format!("{what}_{stream}");
        let (arrived, fetched) = beats;
        let held = m.reg(&name("held"), 1).reset(0);
        let count = m.reg(&name("count"), index_width(u64::from(Self::FRONT) + 1)).reset(0);
        let pop = m.later(&name("pop"), 1);
        let through = (lane.direct & !held.q() & pop.wire()).named(&name("through"));
        let push = ((lane.direct & !through) | lane.fetched).named(&name("push"));
        let leaves = (pop.wire() & held.q()).named(&name("leaves"));
        count.update(&[(push & !leaves, count.q() + 1), (leaves & !push, count.q() - 1)]);
        held.update(&[(push & !leaves, m.lit(1, 1)), (leaves & !push, count.q().ne(1))]);
        let enters = lane.direct | lane.fetch.wire();
        lane.used
            .update(&[(enters & !pop.wire(), lane.used.q() + 1), (pop.wire() & !enters, lane.used.q() - 1)]);

        let memory = m.memory(&name("front"), self.width, Self::FRONT, RamStyle::Distributed);
        let place = |what, step| Ok(Counter::new(Self::FRONT)?.build(m, &name(what), step).0);
        memory.write(push, place("front_write", push)?, lane.fetched.mux(fetched, arrived));
        let data = held.q().mux(memory.read(place("front_read", leaves)?), arrived);
        let out: Stream<'m> = m.stream(&name("out_ready"), held.q() | lane.direct, data);
        m.stream_out(&format!("out{stream}"), out);
        pop.set(out.passes());
        Ok(())
    }
}

impl Block for BeatBuffer {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let depths: Vec<String> = self.depths.iter().map(u32::to_string).collect();
        let m = Builder::new(format!("port_buffer_w{}_d{}", self.width, depths.join("_")));
        let (valid, data) = (m.input("in_valid_i", 1), m.input("in_data_i", self.width));
        let arrivals = match self.depths.len() {
            1 => vec![valid],
            _ => {
                let second = m.input("in_stream_i", 1);
                vec![valid & !second, valid & second]
            }
        };
        let lanes: Vec<Lane<'_>> =
            arrivals.iter().enumerate().map(|(stream, &arrives)| self.lane(&m, stream, arrives)).collect();
        let style = if self.total() >= Self::ULTRA { RamStyle::Ultra } else { RamStyle::Block };
        let memory = m.memory("memory", self.width, self.total(), style);
        // The first stream goes first: what it fetches it has lost to its consumer, who then took nothing of the other.
        let mut earlier = m.lit(1, 0);
        for lane in &lanes {
            lane.fetch.set(lane.wants & !earlier);
            earlier = earlier | lane.wants;
        }
        let (write, read) = match &lanes[..] {
            [one] => (one.write_address, one.read_address),
            [one, two, ..] => (
                two.arrives.mux(two.write_address, one.write_address),
                one.wants.mux(one.read_address, two.read_address),
            ),
            [] => (m.lit(1, 0), m.lit(1, 0)),
        };
        let keeps = lanes.iter().map(|lane| lane.keeps).fold(m.lit(1, 0), |a, b| a | b);
        memory.write(keeps, write, data);
        let read = memory.read_registered("read", m.lit(1, 1), read);
        let fetched = m.register("fetched_data", read);
        for (stream, lane) in lanes.iter().enumerate() {
            self.front(&m, stream, lane, (data, fetched))?;
        }
        m.finish()
    }
}
