//! `commits`: what the vector unit writes, from the room that is kept for it to the last acknowledgement.
//!
//! # Purpose
//!
//! Keeps room in the write buffers for what a part writes before it begins, tells the ports to write it when it is made and its addresses have gone to them, and gives the room back when every channel
//! that has some of it has acknowledged that.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i`, `start_i` | in | 1 | nothing is under way; a run begins |
//! | `beats_i` | in | count | beats that the next part writes, on the channel that has most of them |
//! | `room_o` | out | 1 | there is room for them, or nothing is in the buffers |
//! | `part_valid_i` | in | 1 | a part begins; with it: |
//! | `part_writes_i`, `part_last_i`, `part_ends_i` | in | 1 | as [`Parts`](super::Parts) says |
//! | `part_writer_i` | in | [`WRITER_BITS`] | number of its command among those that write |
//! | `result_i` | in | 1 | the oldest part that has none has its result |
//! | `addressed_i` | in | 1 | addresses of the oldest part that has none are on their way to the ports; with it: |
//! | `addressed_channels_i`, `addressed_beats_i`, `addressed_fewer_i` | in | channels, count, count | channels, beats on each of them, and on each of the others |
//! | `addressed_room_o` | out | 1 | so many more may come as do in two cycles |
//! | `commit_valid_o` | out | 1 | to the ports: what the next part writes may go; with it: |
//! | `commit_beats<c>_o` | out | count | beats of channel c, 0 for none |
//! | `commit_closes_o`, `commit_writer_o` | out | 1, [`WRITER_BITS`] | as [`Port`] has them |
//! | `acknowledged_i` | in | channels | what a part writes is acknowledged on this channel |
//! | `oldest_valid_i`, `oldest_known_i`, `oldest_writes_i` | in | 1 | the oldest command that writes: whether there is one, whether it is known what it writes, and whether that is anything |
//! | `writer_done_o` | out | 1 | it is done |
//!
//! # Timing
//!
//! `commit_valid_o` comes in the cycle of `result_i`, but not before the cycle after `addressed_i` nor in the cycle of the one before. Room is there again the cycle after the acknowledgement of the last channel that has some of it, part by part in order, one a cycle.
//!
//! # Numeric contract
//!
//! None.
//!
//! # Cost
//!
//! Three queues, counters for each channel.
//!
//! # Verification
//!
//! `tests/tests/rtl_core`: cycles of whole runs.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{core::Commits, rtl::Block};
//!
//! let commits = Commits::new(&AccelConfig::preset("tiny")?)?;
//! assert_eq!(commits.module()?.name(), "commits_c1_w128_n16");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::port::{Port, WRITER_BITS};
use crate::prim::Fifo;
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Stream, Wire, index_width};
use fastcar_arch::config::{AccelConfig, MAX_SLOTS};
use fastcar_arch::timing::WRITERS;
use std::sync::Arc;

/// Parts that have begun and are not committed. A part takes two cycles at least, and its results are there, its address
/// on its way, before as many have begun.
const BEGUN: u32 = 64;

/// Parts that have addresses and are not committed.
const ADDRESSED: u32 = 64;

/// The way of writes. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commits {
    channels: u32,
    /// Beats of a write buffer.
    capacity: u32,
    /// Width of a number of beats.
    count: u32,
}

impl Commits {
    /// For a configuration.
    ///
    /// # Errors
    /// As [`Port::new`].
    pub fn new(config: &AccelConfig) -> Result<Self, RtlError> {
        let count = Port::new(config)?.count_bits();
        Ok(Self { channels: config.channels(), capacity: config.write_beats(), count })
    }

    /// Records that are committed and not acknowledged, at most.
    fn under_way(&self) -> u32 {
        (WRITERS as u32 * MAX_SLOTS).min(self.capacity)
    }
}

/// A counter that is cleared when a run begins.
fn counter<'m>(
    m: &'m Builder,
    name: &str,
    width: u32,
    clear: Wire<'m>,
    (up, down): (Wire<'m>, Wire<'m>),
) -> Wire<'m> {
    let count = m.reg(name, width).reset(0);
    count.update(&[(clear, m.lit(width, 0)), (up & !down, count.q() + 1), (down & !up, count.q() - 1)]);
    count.q()
}

impl Commits {
    /// Parts whose addresses are on their way, as of the cycle behind.
    fn addressed<'m>(&self, m: &'m Builder) -> Result<Stream<'m>, RtlError> {
        let (channels, count) = (self.channels, self.count);
        let word = m.pack(&[
            m.input("addressed_channels_i", channels),
            m.input("addressed_beats_i", count),
            m.input("addressed_fewer_i", count),
        ]);
        let queue =
            Fifo::new(word.width(), ADDRESSED, RamStyle::Distributed)?.almost_full_at(ADDRESSED - 3)?;
        let queue = m.instance("u_addressed", &queue)?;
        queue.set("in_valid_i", m.input("addressed_i", 1));
        queue.set("in_data_i", word);
        m.output("addressed_room_o", !queue.get("almost_full_o"));
        Ok(queue.stream_out("out"))
    }
}

/// A part that has begun.
struct Entry<'m> {
    writes: Wire<'m>,
    last: Wire<'m>,
    ends: Wire<'m>,
    writer: Wire<'m>,
    beats: Wire<'m>,
}

impl Block for Commits {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Self { channels, capacity, count } = *self;
        let m = Builder::new(format!("commits_c{channels}_w{capacity}_n{count}"));
        let bit = |name: &str| m.input(&format!("{name}_i"), 1);
        let clear = bit("start");
        let part = Entry {
            writes: bit("part_writes"),
            last: bit("part_last"),
            ends: bit("part_ends"),
            writer: m.input("part_writer_i", WRITER_BITS),
            beats: m.input("beats_i", count),
        };
        let valid = bit("part_valid");
        let word = m.pack(&[part.writes, part.last, part.ends, part.writer, part.beats]);
        let begun = Stream { valid, data: word, ready: m.later("begun_ready", 1) };
        let begun = Fifo::new(word.width(), BEGUN, RamStyle::Distributed)?.after(&m, "u_begun", begun)?;
        let (writes, last, ends) = (begun.data.bit(0), begun.data.bit(1), begun.data.bit(2));
        let (writer, beats) = (begun.data.slice(3, WRITER_BITS), begun.data.slice(3 + WRITER_BITS, count));

        // Parts with a result, and addresses at the ports, of which there is no commit.
        let goes = m.later("goes", 1);
        let result = bit("result");
        let results = counter(&m, "results", index_width(u64::from(BEGUN)) + 1, clear, (result, goes.wire()));
        let addressed = self.addressed(&m)?;
        goes.set(begun.valid & (results.any() | result) & (!writes | addressed.valid));
        begun.ready.set(goes.wire());
        addressed.ready.set(goes.wire() & writes);
        m.output("commit_valid_o", goes.wire());
        m.output("commit_closes_o", ends);
        m.output("commit_writer_o", writer);
        let most = addressed.data.trunc(channels);
        let (full, fewer) =
            (addressed.data.slice(channels, count), addressed.data.slice(channels + count, count));
        let each = most.bits().into_iter().map(|most| most.mux(full, fewer) & writes.repeat(count));
        each.enumerate().for_each(|(c, beats)| m.output(&format!("commit_beats{c}_o"), beats));
        let jobs = most | fewer.any().repeat(channels);

        let sent = Stream {
            valid: goes.wire() & writes,
            data: m.pack(&[beats, last, jobs]),
            ready: m.later("under_way_ready", 1),
        };
        let sent = Fifo::new(sent.data.width(), self.under_way(), RamStyle::Block)?.after(
            &m,
            "u_under_way",
            sent,
        )?;
        let (last, jobs) = (sent.data.bit(count), sent.data.slice(count + 1, channels).bits());
        let retired = m.later("retired", 1);
        let pulses = m.input("acknowledged_i", channels).bits();
        let answers: Vec<_> = pulses
            .iter()
            .zip(jobs)
            .enumerate()
            .map(|(c, (pulse, job))| {
                let bits = index_width(u64::from(self.under_way()) + 1);
                let taken = (*pulse, retired.wire() & job);
                let count = counter(&m, &format!("answers_{c}"), bits, clear, taken);
                count.any() | *pulse | !job
            })
            .collect();
        retired.set((m.pack(&answers).all() & sent.valid).named("part_retires"));
        sent.ready.set(retired.wire());

        let in_use = m.reg("in_use", count).reset(0);
        let kept = (valid & part.writes).mux(part.beats, m.lit(count, 0));
        let given = retired.wire().mux(sent.data.trunc(count), m.lit(count, 0));
        in_use.set(clear.mux(m.lit(count, 0), in_use.q() + kept - given));
        let sum = in_use.q().zext(count + 1) + part.beats.zext(count + 1);
        m.output("room_o", in_use.q().is_zero() | sum.le(u64::from(capacity)));

        let ended = m.later("writer_done", 1);
        let something = bit("oldest_writes");
        let last = retired.wire() & last;
        let written = counter(&m, "written", 6, clear, (last, ended.wire() & something));
        ended.set(bit("oldest_valid") & bit("oldest_known") & (!something | written.any()));
        m.output("writer_done_o", ended.wire());
        m.finish()
    }
}
