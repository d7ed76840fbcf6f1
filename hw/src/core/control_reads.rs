//! `control_reads`: what the command processor reads, on its way to channel 0.
//!
//! # Purpose
//!
//! Brings the requests for the step table and for the program to the port's control queue, each in the time that `docs/cycles.md` gives it.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | nothing is on its way |
//! | `base_i` | in | 64 | device address of the channel's local byte 0 |
//! | `step_i`, `program_i` | in | 64 | device addresses of step table and program |
//! | `table_{valid,data}_i`, `table_ready_o` | | 1, 32, 1 | runs of the table, as [`TableReader`](crate::cmd::TableReader) asks for them |
//! | `program_{valid,data}_i`, `program_ready_o` | | 1, 37, 1 | bursts of the program, as [`Prefetch`](crate::cmd::Prefetch) asks for them |
//! | `segment_{valid,data}_o`, `segment_ready_i` | | 1, 2 x address, 1 | *stream* of segments for the port: first beat low, beats high |
//!
//! # Timing
//!
//! The port can decide for a segment `ADDRESS - PORT_ISSUE` cycles after what it is asked for because of: the start of the run (and `START`) for the table's head, the head's last beat for the rest, the
//! table's last beat or a dispatch for a burst of the program. No two of these are on their way at a time, except bursts of the program.
//!
//! # Numeric contract
//!
//! None.
//!
//! # Cost
//!
//! Two subtractions of 64 bits, shift registers.
//!
//! # Verification
//!
//! `tests/tests/rtl_core`: total cycles of the core.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{core::ControlReads, rtl::Block};
//!
//! let reads = ControlReads::new(&AccelConfig::preset("tiny")?);
//! assert_eq!(reads.module()?.name(), "control_reads_a24_b4");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::port::Port;
use crate::prim::Fifo;
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Stream, Wire};
use crate::walk::Sizes;
use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa::COMMAND_BYTES;
use fastcar_arch::timing::{ADDRESS, HOP, PORT_ISSUE, START};
use std::sync::Arc;

/// Cycles from an event to the request that it causes: the table's head is asked for behind the start, the rest behind
/// the head's last beat, a burst behind the table's last beat or a dispatch.
const HEAD: u64 = 1;
const REST: u64 = 3;
const BURST: u64 = 1;
/// Requests that may be on their way: the bursts of a whole prefetch buffer.
const DEPTH: u32 = 8;
/// Cycles of the queue at the port.
const QUEUE: u64 = 1;
/// Cycles from an event to the queue at the port.
const WAY: u64 = ADDRESS - PORT_ISSUE - Port::SEGMENT_LATENCY - QUEUE;

const _: () = assert!(START + WAY - HEAD > WAY - BURST && WAY - BURST > WAY - REST && WAY - REST > HOP + 1);

/// Requests of the command processor. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlReads {
    sizes: Sizes,
}

impl ControlReads {
    /// For a configuration.
    #[must_use]
    pub fn new(config: &AccelConfig) -> Self {
        Self { sizes: Sizes::new(config) }
    }

    /// A device address as a local one, in beats.
    fn local<'m>(&self, m: &'m Builder, name: &str, base: Wire<'m>) -> Wire<'m> {
        let bytes = m.input(&format!("{name}_i"), 64) - base;
        m.register(&format!("{name}_local"), self.sizes.beats(bytes))
    }
}

/// A segment on its way.
#[derive(Clone, Copy)]
struct OnWay<'m> {
    valid: Wire<'m>,
    segment: Wire<'m>,
}

impl<'m> OnWay<'m> {
    /// The same, some cycles later.
    fn later(self, m: &'m Builder, name: &str, cycles: u64) -> Self {
        (0..cycles).fold(self, |way, n| Self {
            valid: m.register_valid(&format!("{name}_valid_{n}"), way.valid),
            segment: m.register(&format!("{name}_{n}"), way.segment),
        })
    }

    /// One of two of which never both are there.
    fn or(self, other: Self) -> Self {
        Self { valid: self.valid | other.valid, segment: self.valid.mux(self.segment, other.segment) }
    }
}

impl Block for ControlReads {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Sizes { address, beat, .. } = self.sizes;
        let m = Builder::new(format!("control_reads_a{address}_b{beat}"));
        let base = m.input("base_i", 64);
        let (step, program) = (self.local(&m, "step", base), self.local(&m, "program", base));
        let (table, burst) = (m.stream_in("table", 32), m.stream_in("program", 37));
        table.ready.set(m.lit(1, 1));
        burst.ready.set(m.lit(1, 1));
        let (first, beats) = (table.data.slice(16, 16), table.data.trunc(16));
        let segment = |first: Wire<'_>, beats: Wire<'_>| {
            m.own(beats).zext(address.max(16)).trunc(address).cat(m.own(first))
        };
        let of_table = segment(step + first.zext(address.max(16)).trunc(address), beats);
        // The rest does not begin at the table's first beat.
        let is_head = first.is_zero();
        let head = OnWay { valid: table.valid & is_head, segment: of_table };
        let rest = OnWay { valid: table.valid & !is_head, segment: of_table };
        let per_command = (COMMAND_BYTES as u32).ilog2() - beat;
        let (index, count) = (burst.data.slice(5, 32), burst.data.trunc(5));
        let first = program + (index.zext(address.max(32)) << per_command).trunc(address);
        let burst =
            OnWay { valid: burst.valid, segment: segment(first, count.zext(5 + per_command) << per_command) };

        let way = head.later(&m, "head", START + BURST - HEAD).or(burst);
        let way = way.later(&m, "burst", REST - BURST).or(rest);
        let way = way.later(&m, "way", WAY - REST);
        let queue = Stream { valid: way.valid, data: way.segment, ready: m.later("room", 1) };
        let queue = Fifo::new(2 * address, DEPTH, RamStyle::Distributed)?.after(&m, "u_queue", queue)?;
        m.stream_out("segment", queue);
        m.finish()
    }
}
