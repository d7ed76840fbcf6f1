//! `segments`: runs of beats from a walker in the middle to the queues of all ports.
//!
//! # Purpose
//!
//! A walker gives its runs to all channels, or to some. They cross to the channels and wait there until the port takes them, each at its own pace; the walker stops before a queue is full.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | nothing is on its way |
//! | `run_valid_i`, `run_i` | in | 1, width | a run |
//! | `run_channels_i` | in | channels | [`Segments::apart`], [`Segments::some`]: the channels that it goes to |
//! | `run_last_i` | in | channels | [`Segments::apart`]: a bit for each that goes with it |
//! | `go_o` | out | 1 | the walker may give one in as many cycles as it has said |
//! | `segment<c>_{valid,data}_o`, `segment<c>_ready_i` | | 1, width, 1 | *stream* for the port of channel c; the channel's bit of `run_last_i`, if there is one, on top |
//!
//! # Timing
//!
//! [`Segments::LATENCY`] cycles from a run to the ports, one more where the channels are apart. A port that takes one in every cycle never waits once they flow.
//!
//! # Numeric contract
//!
//! None.
//!
//! # Cost
//!
//! A memory and [`HOP`] registers for each channel.
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
//! assert_eq!(Segments::new(46, 32, 1)?.apart(512).module()?.name(), "segments_w46_c32_a1_d512");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use crate::prim::{Fifo, within};
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Stream, Wire};
use fastcar_arch::timing::HOP;
use std::sync::Arc;

/// Runs that a channel's queue holds at least. What a port takes while word of it goes to the middle and a run comes back is less
/// than half of it.
const DEPTH: u32 = 64;

/// The way of runs to the ports. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segments {
    width: u32,
    channels: u32,
    ahead: u32,
    /// Runs may go to some channels only.
    some: bool,
    /// Depth of the queues of channels that have runs of their own.
    apart: Option<u32>,
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
        Ok(Self { width, channels, ahead, some: false, apart: None })
    }

    /// The same for runs that go to some channels only.
    #[must_use]
    pub fn some(self) -> Self {
        Self { some: true, ..self }
    }

    /// The same with queues for at least so many, and a bit for each channel.
    #[must_use]
    pub fn apart(self, depth: u32) -> Self {
        Self { some: true, apart: Some(depth.max(DEPTH)), ..self }
    }

    /// A channel's queue.
    fn queue(&self) -> Result<Fifo, RtlError> {
        match self.apart {
            None => Fifo::new(self.width, DEPTH, RamStyle::Distributed),
            Some(depth) => Fifo::new(self.width + 1, depth, RamStyle::Block),
        }
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

/// A run as one channel gets it.
fn of_channel<'m>(run: Wire<'m>, valid: Wire<'m>, masks: [Option<Wire<'m>>; 2], c: u32) -> [Wire<'m>; 2] {
    let [channels, last] = masks.map(|mask| mask.map(|mask| mask.bit(c)));
    [channels.map_or(valid, |own| valid & own), last.map_or(run, |last| last.cat(run))]
}

impl Block for Segments {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Self { width, channels, ahead, some, apart } = *self;
        let mut name = format!("segments_w{width}_c{channels}_a{ahead}");
        match apart {
            Some(depth) => name.push_str(&format!("_d{depth}")),
            None if some => name.push_str("_some"),
            None => {}
        }
        let m = Builder::new(name);
        let (valid, run) = (m.input("run_valid_i", 1), m.input("run_i", width));
        let masks = [("channels", some), ("last", apart.is_some())];
        let masks = masks.map(|(mask, there)| there.then(|| m.input(&format!("run_{mask}_i"), channels)));
        let queue = self.queue()?;
        let (depth, bits) = (queue.depth(), queue.count_width());
        let room: Result<Vec<_>, RtlError> = (0..channels)
            .map(|c| {
                let [valid, run] = of_channel(run, valid, masks, c);
                let arrived = Stream {
                    valid: hop(&m, &format!("valid_{c}"), HOP, valid),
                    data: hop_word(&m, &format!("run_{c}"), HOP, run),
                    ready: m.later(&format!("room_{c}"), 1),
                };
                let waiting = queue.after(&m, &format!("u_queue_{c}"), arrived)?;
                m.stream_out(&format!("segment{c}"), waiting);
                let taken = hop(&m, &format!("taken_{c}"), HOP, waiting.passes());
                // Runs that are on their way or wait.
                let count = m.reg(&format!("count_{c}"), bits).reset(0);
                count.update(&[(valid & !taken, count.q() + 1), (taken & !valid, count.q() - 1)]);
                Ok(count.q().lt(u64::from(depth - ahead - 1)))
            })
            .collect();
        m.output("go_o", m.register_valid("go", m.pack(&room?).all()));
        m.finish()
    }
}
