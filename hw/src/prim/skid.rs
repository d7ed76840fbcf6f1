//! `skid`: cuts a stream's wires, `ready` too.
//!
//! # Purpose
//!
//! A register between two blocks far apart, in both directions, at full rate.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | empties it |
//! | `in_valid_i`, `in_data_i`, `in_ready_o` | | 1, width, 1 | words come |
//! | `out_valid_o`, `out_data_o`, `out_ready_i` | | 1, width, 1 | words leave |
//!
//! # Timing
//!
//! Latency 1, one word per cycle. All outputs come from registers. It holds up to two words: the second is the one that
//! comes in the cycle in which the consumer stops.
//!
//! # Numeric contract
//!
//! None: words leave as they came, in order.
//!
//! # Cost
//!
//! `2 * width + 2` registers, a multiplexer of `width` bits.
//!
//! # Verification
//!
//! `tests/tests/rtl_primitives/streams.rs::skid_buffers_are_queues`, `tests/tests/rtl_formal.rs::skid_buffer`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{prim::SkidBuffer, rtl::Builder};
//!
//! let m = Builder::new("far_away");
//! let near = SkidBuffer::new(64)?.after(&m, "skid", m.stream_in("in", 64))?;
//! m.stream_out("out", near);
//! assert!(m.finish()?.is_clocked());
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::data_width;
use crate::rtl::{Block, Builder, Module, RtlError, Stream};
use std::sync::Arc;

/// A skid buffer. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SkidBuffer {
    width: u32,
}

impl SkidBuffer {
    /// A buffer for words of a width.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(width: u32) -> Result<Self, RtlError> {
        Ok(Self { width: data_width("skid buffer", width)? })
    }

    /// Puts a buffer of the given instance name behind a stream.
    ///
    /// # Errors
    /// As [`Block::module`].
    #[track_caller]
    pub fn after<'m>(&self, m: &'m Builder, name: &str, stream: Stream<'m>) -> Result<Stream<'m>, RtlError> {
        let buffer = m.instance(name, self)?;
        buffer.stream_in("in", stream);
        Ok(buffer.stream_out("out"))
    }
}

impl Block for SkidBuffer {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("skid_w{}", self.width));
        let input = m.stream_in("in", self.width);
        let (valid, data) = (m.reg("valid", 1).reset(0), m.reg("data", self.width));
        let (parked, parked_data) = (m.reg("parked", 1).reset(0), m.reg("parked_data", self.width));
        input.ready.set(!parked.q());
        let output = m.stream("out_ready", valid.q(), data.q());
        m.stream_out("out", output);

        let free = (!valid.q() | output.ready.wire()).named("free");
        valid.set_when(free, parked.q() | input.valid);
        data.set_when(free, parked.q().mux(parked_data.q(), input.data));
        parked.set(!free & (parked.q() | input.valid));
        parked_data.set_when(!parked.q(), input.data);
        m.finish()
    }
}
