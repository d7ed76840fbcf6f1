//! `segments`: runs of beats from a walker in the middle to the queues of all ports.
//!
//! # Purpose
//!
//! A walker gives the same runs to every channel. They cross to the channels and wait there until the port takes them, each at its own pace; the walker stops before a queue is full.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | nothing is on its way |
//! | `run_valid_i`, `run_i` | in | 1, width | a run |
//! | `go_o` | out | 1 | the walker may give one in as many cycles as it has said |
//! | `segment<c>_{valid,data}_o`, `segment<c>_ready_i` | | 1, width, 1 | *stream* for the port of channel c |
//!
//! # Timing
//!
//! [`Segments::LATENCY`] cycles from a run to the ports. A port that takes one in every cycle never waits once they flow.
//!
//! # Numeric contract
//!
//! None.
//!
//! # Cost
//!
//! A small memory and [`HOP`] registers for each channel.
//!
//! # Verification
//!
//! `tests/tests/rtl_core`: cycles of whole runs.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{core::Segments, rtl::Block};
//!
//! assert_eq!(Segments::new(54, 32, 7)?.module()?.name(), "segments_w54_c32_a7");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use crate::prim::{Fifo, within};
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Stream, Wire, index_width};
use fastcar_arch::timing::HOP;
use std::sync::Arc;

/// Runs that a channel's queue holds. What a port takes while word of it goes to the middle and a run comes back is less
/// than half of it.
const DEPTH: u32 = 64;

/// The way of runs to the ports. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segments {
    width: u32,
    channels: u32,
    ahead: u32,
}

impl Segments {
    /// Cycles from a run to the ports.
    pub const LATENCY: u64 = HOP + 1;

    /// For runs of `width` bits and a walker that gives a run `ahead` cycles after it was allowed.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(width: u32, channels: u32, ahead: u32) -> Result<Self, RtlError> {
        let ahead = within("segments", "cycles ahead", ahead, 0..=DEPTH / 4, "0 to 16")?;
        let channels = within("segments", "channels", channels, 1..=64, "1 to 64")?;
        Ok(Self { width, channels, ahead })
    }
}

/// A bit some cycles later.
pub(super) fn hop<'m>(m: &'m Builder, name: &str, cycles: u64, bit: Wire<'m>) -> Wire<'m> {
    (0..cycles).fold(bit, |bit, stage| m.register_valid(&format!("{name}_{stage}"), bit))
}

/// A word some cycles later.
pub(super) fn hop_word<'m>(m: &'m Builder, name: &str, cycles: u64, word: Wire<'m>) -> Wire<'m> {
    (0..cycles).fold(word, |word, stage| m.register(&format!("{name}_{stage}"), word))
}

impl Block for Segments {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Self { width, channels, ahead } = *self;
        let m = Builder::new(format!("segments_w{width}_c{channels}_a{ahead}"));
        let (valid, run) = (m.input("run_valid_i", 1), m.input("run_i", width));
        let bits = index_width(u64::from(DEPTH) + 1);
        let room: Result<Vec<_>, RtlError> = (0..channels)
            .map(|c| {
                let arrived = Stream {
                    valid: hop(&m, &format!("valid_{c}"), HOP, valid),
                    data: hop_word(&m, &format!("run_{c}"), HOP, run),
                    ready: m.later(&format!("room_{c}"), 1),
                };
                let queue = Fifo::new(width, DEPTH, RamStyle::Distributed)?;
                let queue = queue.after(&m, &format!("u_queue_{c}"), arrived)?;
                m.stream_out(&format!("segment{c}"), queue);
                let taken = hop(&m, &format!("taken_{c}"), HOP, queue.passes());
                // Runs that are on their way or wait.
                let count = m.reg(&format!("count_{c}"), bits).reset(0);
                count.update(&[(valid & !taken, count.q() + 1), (taken & !valid, count.q() - 1)]);
                Ok(count.q().lt(u64::from(DEPTH - ahead - 1)))
            })
            .collect();
        m.output("go_o", m.register_valid("go", m.pack(&room?).all()));
        m.finish()
    }
}
