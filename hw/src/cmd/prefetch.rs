//! `prefetch`: a program's commands, fetched ahead.
//!
//! # Purpose
//!
//! Asks for the program burst by burst as long as there is room, takes the beats, and gives whole commands in order.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | no program |
//! | `start_i`, `commands_i` | in | 1, 32 | a program of so many commands begins (at least 1); forgets the one before |
//! | `enable_i` | in | 1 | may ask for bursts |
//! | `request_valid_o`, `request_data_o`, `request_ready_i` | | 1, 32 + 5, 1 | *stream* of bursts: number of the first command high, commands (1 to 16) low |
//! | `beat_valid_i`, `beat_data_i` | in | 1, 8 x bytes | *pipe* of the beats of the bursts, in order |
//! | `command_valid_o`, `command_data_o`, `command_ready_i` | | 1, 512, 1 | *stream* of commands, as soon as they are whole |
//! | `index_o`, `last_o` | out | 32, 1 | with a command: its number, and whether it is the program's last |
//! | `bursts_o` | out | 32 | bursts whose commands may be dispatched |
//! | `given_i` | in | 1 | a command is dispatched: there is room for another |
//!
//! # Timing
//!
//! A burst is asked for in the cycle after there is room for it: when not more than `PREFETCH_COMMANDS` commands are asked for and not dispatched. `bursts_o` goes up
//! [`COMMAND_DECODE`] cycles after the last beat of a burst; its commands have been on the output before, one every `ceil(64 / bytes)` cycles, if they were taken.
//!
//! # Numeric contract
//!
//! None: bytes as they came.
//!
//! # Cost
//!
//! A memory of 4 KB, a command of registers twice.
//!
//! # Verification
//!
//! `tests/tests/rtl_cmd.rs::programs_are_fetched`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{cmd::Prefetch, rtl::Block};
//!
//! assert_eq!(Prefetch::new(16)?.module()?.name(), "prefetch_b16");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use crate::prim::{Fifo, Wider};
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Stream, Wire};
use fastcar_arch::config::BURST_BYTES;
use fastcar_arch::isa::COMMAND_BYTES;
use fastcar_arch::timing::{COMMAND_DECODE, PREFETCH_COMMANDS};
use std::sync::Arc;

/// Commands in a burst.
pub const BURST_COMMANDS: u64 = BURST_BYTES / COMMAND_BYTES as u64;
/// Bits of a command's number.
pub const INDEX_BITS: u32 = 32;
/// Bits of the number of commands in a burst.
pub const COUNT_BITS: u32 = 5;

/// The fetching of a program. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefetch {
    beat_bytes: u32,
}

impl Prefetch {
    /// For beats of so many bytes.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(beat_bytes: u32) -> Result<Self, RtlError> {
        Ok(Self { beat_bytes: super::beat_bytes("prefetch", beat_bytes)? })
    }

    /// Beats of a command.
    fn beats(&self) -> u32 {
        COMMAND_BYTES as u32 / self.beat_bytes
    }
}

/// Counts something of a program: from 0 on when one begins.
fn count<'m>(m: &'m Builder, name: &str, start: Wire<'m>, step: Wire<'m>, by: Wire<'m>) -> Wire<'m> {
    let count = m.reg(name, INDEX_BITS).reset(0);
    let more = count.q() + by.zext(INDEX_BITS);
    count.update(&[(start, m.lit(INDEX_BITS, 0)), (step, more)]);
    count.q()
}

/// Asks for bursts while there is room for them.
fn ask<'m>(m: &'m Builder, start: Wire<'m>, commands: Wire<'m>, given: Wire<'m>) {
    let (passes, length) = (m.later("asked", 1), m.later("asked_length", COUNT_BITS));
    let first = count(m, "requested", start, passes.wire(), length.wire());
    let left = commands - first;
    length.set(left.ge(BURST_COMMANDS).mux(m.lit(COUNT_BITS, BURST_COMMANDS), left.trunc(COUNT_BITS)));
    let room = (first - given).le(PREFETCH_COMMANDS - BURST_COMMANDS);
    let wanted = m.input("enable_i", 1) & !left.is_zero() & room & !start;
    let request = m.stream("request_ready", wanted, first.cat(length.wire()));
    m.stream_out("request", request);
    passes.set(request.passes());
}

/// Bursts that have been there for long enough.
fn bursts<'m>(m: &'m Builder, start: Wire<'m>, commands: Wire<'m>, stored: Wire<'m>) -> Wire<'m> {
    // The burst's last command is being stored.
    let next = count(m, "stored", start, stored, m.lit(1, 1)) + 1;
    let mut there = stored & (next.eq(commands) | next.trunc(BURST_COMMANDS.ilog2()).is_zero());
    for stage in 1..COMMAND_DECODE {
        there = m.register_valid(&format!("there_{stage}"), there & !start);
    }
    count(m, "bursts", start, there, m.lit(1, 1))
}

impl Prefetch {
    /// Whether a beat is the last of its command.
    fn last_of_command<'m>(&self, m: &'m Builder, start: Wire<'m>, beat: Wire<'m>) -> Wire<'m> {
        if self.beats() == 1 {
            return beat;
        }
        let part = m.reg("part", self.beats().ilog2()).reset(0);
        part.update(&[(start, m.lit(part.q().width(), 0)), (beat, part.q() + 1)]);
        beat & part.q().all()
    }

    /// Commands put together from beats.
    fn whole<'m>(&self, m: &'m Builder, beats: Stream<'m>) -> Result<Stream<'m>, RtlError> {
        if self.beats() == 1 {
            return Ok(beats);
        }
        let wider = m.instance("u_commands", &Wider::new(8 * self.beat_bytes, self.beats())?)?;
        wider.stream_in("in", beats);
        wider.set("in_last_i", m.lit(1, 0));
        Ok(wider.stream_out("out"))
    }
}

impl Block for Prefetch {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("prefetch_b{}", self.beat_bytes));
        let start = m.input("start_i", 1);
        let commands = m.reg("commands", INDEX_BITS).reset(0);
        commands.set_when(start, m.input("commands_i", INDEX_BITS));
        let commands = commands.q();

        let beat = Stream {
            valid: m.input("beat_valid_i", 1),
            data: m.input("beat_data_i", 8 * self.beat_bytes),
            // There is room for what was asked for.
            ready: m.later("room", 1),
        };
        let stored = self.last_of_command(&m, start, beat.valid);
        m.output("bursts_o", bursts(&m, start, commands, stored));
        let depth = PREFETCH_COMMANDS as u32 * self.beats();
        let beats = Fifo::new(8 * self.beat_bytes, depth, RamStyle::Block)?.after(&m, "u_beats", beat)?;
        let command = self.whole(&m, beats)?;
        m.stream_out("command", command);

        let given = count(&m, "given", start, m.input("given_i", 1), m.lit(1, 1));
        ask(&m, start, commands, given);
        let index = count(&m, "index", start, command.passes(), m.lit(1, 1));
        m.output("index_o", index);
        m.output("last_o", (index + 1).eq(commands));
        m.finish()
    }
}
