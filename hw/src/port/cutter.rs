//! `port_cutter`: segments to bursts.
//!
//! # Purpose
//!
//! Cuts runs of consecutive beats where AXI and the memory want it: no burst crosses a multiple of 1 KB.
//!
//! # Interface
//!
//! A *stream* on either side.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | forgets everything |
//! | `in_valid_i`, `in_data_i`, `in_ready_o` | | 1, [`Cutter::segment_bits`], 1 | segments: first beat in the low bits, number of beats, note |
//! | `out_valid_o`, `out_data_o`, `out_ready_i` | | 1, [`Cutter::burst_bits`], 1 | bursts: first beat in the low bits, beats less one, note, last of its segment |
//!
//! A segment has a beat at least.
//!
//! # Timing
//!
//! A segment that comes in cycle t can be seen as its first burst from t + [`Cutter::LATENCY`] on; one burst a cycle. All outputs come from
//! registers.
//!
//! # Numeric contract
//!
//! None.
//!
//! # Cost
//!
//! Segments in distributed memory, two bursts of registers, an adder and a subtractor of the address' width.
//!
//! # Verification
//!
//! `tests/tests/rtl_port.rs`, within the port.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{port::Cutter, rtl::Block};
//!
//! let cutter = Cutter::new(23, 4, 5)?;
//! assert_eq!((cutter.segment_bits(), cutter.burst_bits()), (51, 33));
//! assert_eq!(cutter.module()?.name(), "port_cutter_a23_l4_n5");
//! assert!(Cutter::new(4, 4, 0).is_err());
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use crate::prim::{Fifo, SkidBuffer};
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Wire};
use std::sync::Arc;

/// Segments that wait.
const SEGMENTS: u32 = 16;

/// Segments to bursts. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cutter {
    address: u32,
    length: u32,
    note: u32,
}

impl Cutter {
    /// Cycles from a segment to its first burst.
    pub const LATENCY: u64 = 2;

    /// A cutter for addresses of `address` bits and bursts of up to `2^length` beats, with `note` bits that go along.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(address: u32, length: u32, note: u32) -> Result<Self, RtlError> {
        let wrong = |parameter, asked: u32, allowed| {
            Err(RtlError::Parameter { block: "port cutter", parameter, asked: asked.into(), allowed })
        };
        if !(1..=8).contains(&length) {
            return wrong("length", length, "1 to 8 bits");
        }
        if !(length + 1..=60).contains(&address) {
            return wrong("address", address, "more bits than the length, and 60 at most");
        }
        if !(1..=64).contains(&note) {
            return wrong("note", note, "1 to 64 bits");
        }
        Ok(Self { address, length, note })
    }

    /// Bits of a segment.
    #[must_use]
    pub fn segment_bits(&self) -> u32 {
        2 * self.address + self.note
    }

    /// Bits of a burst.
    #[must_use]
    pub fn burst_bits(&self) -> u32 {
        self.address + self.length + self.note + 1
    }
}

impl Block for Cutter {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Self { address, length, note } = *self;
        let m = Builder::new(format!("port_cutter_a{address}_l{length}_n{note}"));
        let waiting = Fifo::new(self.segment_bits(), SEGMENTS, RamStyle::Distributed)?;
        let segment = waiting.after(&m, "segments", m.stream_in("in", self.segment_bits()))?;

        // The rest of a segment that has been begun.
        let begun = m.reg("begun", 1).reset(0);
        let (next, left) = (m.reg("next", address), m.reg("left", address));
        let first = begun.q().mux(next.q(), segment.data.trunc(address)).named("first");
        let beats = begun.q().mux(left.q(), segment.data.slice(address, address)).named("beats");
        // Beats up to the next multiple of 1 KB.
        let block = 1u64 << length;
        let border = (m.lit(length + 1, block) - first.trunc(length).zext(length + 1)).named("border");
        let last = beats.le(border.zext(address)).named("last");
        let burst = last.mux(beats.trunc(length + 1), border);
        let words = [last, segment.data.slice(2 * address, note), (burst - 1).trunc(length), first];
        let output = m.stream("burst_ready", segment.valid, m.concat(&words));
        let held = SkidBuffer::new(self.burst_bits())?.after(&m, "burst", output)?;
        m.stream_out("out", held);

        let passes = output.passes().named("passes");
        segment.ready.set(output.ready.wire() & last);
        begun.set_when(passes, !last);
        let high: Wire<'_> = first.slice(length, address - length) + 1;
        next.set_when(passes, high.cat(m.lit(length, 0)));
        left.set_when(passes, beats - border.zext(address));
        m.finish()
    }
}
