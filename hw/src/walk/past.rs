//! `past_walker`: where the past keys of a command's slots lie.
//!
//! # Purpose
//!
//! A `gate_tas` compares the queries of each slot that it allows with the keys of one past token. Gives the runs of beats of these, those of all channels at once, and says of
//! each slot what the gate unit has to know of them. The scale bytes of all heads come first, then their elements, so that the base of the window is known in time.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | nothing to do |
//! | `job_valid_i`, `job_data_i`, `job_ready_o` | | 1, [`Job::width`], 1 | *stream* of commands: past keys, with the slots that they allow |
//! | `go_i` | in | 1 | a run may be given [`PastWalker::LATENCY`] - 1 cycles from now |
//! | `slot_valid_o`, `slot_o`, `entry_i` | | 1, log2(slots), [`ENTRY_BITS`] | the slot whose entry of the step table is wanted, in the same cycle |
//! | `blocks_i` | in | 11 | blocks of the cache that a head has room for: `ceil(positions / 32)` |
//! | `run_valid_o` | out | 1 | a run of beats |
//! | `run_address_o`, `run_length_o`, `run_channels_o` | out | address, 7, channels | its first beat, number of beats, the channels that have it |
//! | `place_valid_o`, `place_o` | out | 1, [`Place::width`] | the next slot, see [`Place`]; with its first run, if it has any |
//!
//! # Timing
//!
//! A run a cycle while `go_i` is set, also from job to job; the first [`PastWalker::LATENCY`] cycles after the job was taken, which is as long as the [`RecordWalker`] takes.
//! A slot without past keys takes as long as others, and so does a job without slots.
//!
//! # Numeric contract
//!
//! Addresses are those of [`KvLayout`](fastcar_arch::layout::KvLayout), in beats, modulo 2^address.
//!
//! # Cost
//!
//! Six products; a table of the channels by number of heads. Figures: `tests/baselines/rtl/gate.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_gate.rs`: `past_keys_are_walked`.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{rtl::Block, walk::PastWalker};
//!
//! let walker = PastWalker::new(&AccelConfig::preset("u55c")?);
//! assert_eq!(walker.module()?.name(), "past_walker_s32_c32_b64_a23_h12");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::appends::{BLOCK_BITS, BLOCK_BYTES, POSITION, Pipe, TOKEN};
use super::job::{Job, Shape, Sizes};
use super::{Appends, RecordWalker};
use crate::cmd::fields::cut;
use crate::cmd::table::ENTRY_BITS;
use crate::prim::{lowest, number};
use crate::rtl::{Block, Builder, Module, RtlError, Wire, index_width};
use fastcar_arch::config::{AccelConfig, LINE_WORDS};
use std::sync::Arc;

/// Bits of the number of beats of a token's scale bytes: 32 bytes that begin anywhere in a beat of 16.
pub const SCALE_BEATS: u32 = 2;

/// The walk over past keys. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastWalker {
    sizes: Sizes,
    places: Appends,
}

/// What the gate unit has to know of a slot.
#[derive(Clone, Copy, Debug)]
pub struct Place<'m> {
    /// Which.
    pub slot: Wire<'m>,
    /// It has no past keys, or the command has no slot.
    pub none: Wire<'m>,
    /// It is the command's last.
    pub last: Wire<'m>,
    /// The first channel that has some, and the channels of the last heads: those before them have all.
    pub channel: Wire<'m>,
    /// See `channel`.
    pub last_channels: Wire<'m>,
    /// Where in its beat a head's first scale byte is, and how many beats a head's scale bytes lie in.
    pub offset: Wire<'m>,
    /// See `offset`.
    pub scale_beats: Wire<'m>,
    /// The token's number is odd.
    pub odd: Wire<'m>,
}

impl<'m> Place<'m> {
    /// Width of [`Place::word`].
    #[must_use]
    pub fn width(config: &AccelConfig) -> u32 {
        Self::widths(config).iter().sum()
    }

    fn widths(config: &AccelConfig) -> [u32; 8] {
        let (beat, channels) = (config.fields().beat_bytes.ilog2(), config.channels());
        let [slot, channel] = [config.slots(), channels].map(|count| index_width(count.into()));
        [slot, 1, 1, channel, channels, beat, SCALE_BEATS, 1]
    }

    /// All in one word.
    #[must_use]
    pub fn word(&self, m: &'m Builder) -> Wire<'m> {
        let Self { slot, none, last, channel, last_channels, offset, scale_beats, odd } = *self;
        m.pack(&[slot, none, last, channel, last_channels, offset, scale_beats, odd])
    }

    /// What stands in a word.
    #[must_use]
    pub fn of(config: &AccelConfig, word: Wire<'m>) -> Self {
        let [slot, none, last, channel, last_channels, offset, scale_beats, odd] =
            Self::widths(config).map(cut(word));
        Self { slot, none, last, channel, last_channels, offset, scale_beats, odd }
    }
}

/// A step of the walk: a run of a slot.
struct Step<'m> {
    valid: Wire<'m>,
    slot: Wire<'m>,
    /// The job has no slot.
    nobody: Wire<'m>,
    /// It is the last slot.
    last: Wire<'m>,
    elements: Wire<'m>,
    /// The first and the last of the slot's scale bytes, or elements.
    first: Wire<'m>,
    ends: Wire<'m>,
    shape: Shape<'m>,
}

impl PastWalker {
    /// Cycles from a job that is taken to its first run: the job, its slot, the past token, two products that follow each other, two sums.
    pub const LATENCY: u32 = 7;

    /// For a configuration.
    #[must_use]
    pub fn new(config: &AccelConfig) -> Self {
        debug_assert_eq!(RecordWalker::new(config, 1).map(|w| w.latency()), Ok(Self::LATENCY));
        Self { sizes: Sizes::new(config), places: Appends::new(config) }
    }

    /// The number of a channel's last place of heads.
    fn last_unit<'m>(&self, heads: Wire<'m>) -> Wire<'m> {
        (heads - 1) >> (self.sizes.row - self.sizes.beat)
    }

    /// Takes jobs, and gives their runs one by one.
    fn steps<'m>(&self, m: &'m Builder) -> Step<'m> {
        let s = &self.sizes;
        let input = m.stream_in("job", Job::width(s));
        let go = m.input("go_i", 1);
        let (taken, coming) = (input.passes(), Job::of(s, input.data));
        let job = m.reg("job", Shape::width(s));
        job.set_when(taken, coming.shape.word(m));
        let shape = Shape::of(s, job.q());

        let [left, unit] = [("left", s.slots), ("unit", s.heads)].map(|(name, width)| m.reg(name, width));
        let elements = m.reg("elements", 1);
        let first = m.reg("first", 1);
        let busy = m.reg("busy", 1).reset(0);
        let goes = (busy.q() & go).named("goes");
        let slot = lowest(left.q());
        let rest = left.q() & !slot;
        // Places of heads behind this one.
        let now = first.q().mux(self.last_unit(shape.heads), unit.q());
        let ends = now.is_zero();
        let through = goes & ends & elements.q();
        let done = (through & rest.is_zero()).named("done");
        input.ready.set(!busy.q() | done);
        busy.update(&[(taken, m.lit(1, 1)), (done, m.lit(1, 0))]);
        left.update(&[(taken, coming.slots), (through, rest)]);
        let again = goes & ends;
        elements.update(&[(taken, m.lit(1, 0)), (again, !elements.q())]);
        first.update(&[(taken | again, m.lit(1, 1)), (goes, m.lit(1, 0))]);
        unit.set_when(goes, now - 1);
        Step {
            valid: goes,
            slot: number(slot),
            nobody: left.q().is_zero(),
            last: rest.is_zero(),
            elements: elements.q(),
            first: first.q(),
            ends,
            shape,
        }
    }
}

impl Block for PastWalker {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Sizes { slots, address, beat, row, heads, .. } = self.sizes;
        let m = Builder::new(format!(
            "past_walker_s{slots}_c{}_b{}_a{address}_h{heads}",
            1 << (row - beat),
            1 << beat
        ));
        let step = self.steps(&m);
        let pipe = Pipe { m: &m, w: self.places, moves: m.lit(1, 1) };
        let fit = |wire: Wire<'_>| m.own(wire.zext(address.max(wire.width())).trunc(address));
        let mut valids = vec![step.valid];
        for n in 1..Self::LATENCY {
            valids.push(m.register_valid(&format!("valid_{n}"), valids[n as usize - 1]));
        }
        let valid = |cycle: usize| valids[cycle - 1];

        // Second cycle: the slot's entry, and all that the command alone says.
        let of_step = |name: &str, wire, cycles| pipe.later(name, wire, cycles);
        let slot = of_step("slot", step.slot, 1);
        m.output("slot_valid_o", valid(2));
        m.output("slot_o", slot);
        let position = m.input("entry_i", ENTRY_BITS).trunc(POSITION);
        let period = of_step("period", step.shape.period, 1);
        let none = position.zext(period.width()).lt(period) | of_step("nobody", step.nobody, 1);
        let past = pipe.later("past", position - period.trunc(POSITION), 1);
        let none = pipe.later("none", none, 1);
        let by_slot = fit(slot.mul_unsigned(of_step("slot_stride", step.shape.slot_stride, 1)));
        let unit = BLOCK_BYTES >> beat;
        let beats = step.shape.scales.mul_unsigned(m.lit(index_width(unit + 1), unit));
        let beats = of_step("block_beats", beats, 1);
        let stride = fit(m.input("blocks_i", BLOCK_BITS + 1).mul_unsigned(beats));

        // Third: the token's block and its place there.
        let of_command = of_step("heads", step.shape.heads, 2);
        let scales = of_step("scales", step.shape.scales, 2);
        let [_, rows, residue] = self.places.divided(&pipe, of_command, past.slice(TOKEN, BLOCK_BITS));
        let token = past.trunc(TOKEN);
        let place = pipe.later("place", token.mul_unsigned(scales), 1);

        // Fourth: offsets from the block's first beat, lengths.
        let line = LINE_WORDS.ilog2();
        let scales = pipe.later("scales_again", scales, 1);
        let (scales_at, scale_beats) = pipe.scales(place, scales);
        let wide = |wire: Wire<'_>| m.own(wire.zext(place.width() + line + 1));
        let key = ((wide(scales) << (line + 1)) + (wide(place) << line)) >> beat;
        let elements = of_step("is_elements", step.elements, 3);
        let key_beats = self.places.up(scales.cat(m.lit(line, 0)));
        let offset = pipe.later("offset", elements.mux(fit(key), scales_at), 1);
        let length = pipe.later("length", elements.mux(key_beats, scale_beats), 3);
        let at = m.reg("unit_at", address);
        let stride = pipe.later("stride", stride, 2);
        let first = of_step("is_first", step.first, 3);
        at.set_when(valid(4), first.mux(m.lit(address, 0), at.q() + stride));

        // Fifth and sixth: two sums, and theirs.
        let base = of_step("addr", step.shape.addr, 3) + pipe.later("by_slot", by_slot, 2);
        let base = pipe.later("base", pipe.later("base_early", base, 1) + at.q(), 1);
        let extent = fit(rows.mul_unsigned(pipe.later("block_beats_again", beats, 3))) + offset;
        let sum = base + pipe.later("extent", extent, 1);
        let last = self.places.last_channels(&m, pipe.later("heads_again", of_command, 2));
        let most = last.map(|name, wire| pipe.later(name, wire, 1)).at(residue);
        let others = (!of_step("ends", step.ends, 5)).repeat(most.width());

        // Last.
        let none = pipe.later("none_out", none, 4);
        m.output("run_valid_o", valid(7) & !none);
        m.output("run_address_o", m.register("run_address", sum));
        m.output("run_length_o", length);
        m.output("run_channels_o", m.register("run_channels", most | others));
        let place = Place {
            slot: pipe.later("slot_out", slot, 5),
            none,
            last: of_step("last", step.last, 6),
            channel: pipe.later("channel_out", residue, 1),
            last_channels: pipe.later("last_channels", most, 1),
            offset: pipe.later("offset_out", place.trunc(beat), 3),
            scale_beats: pipe.later("scale_beats_out", scale_beats.trunc(SCALE_BEATS), 3),
            odd: pipe.later("odd", past.bit(0), 4),
        };
        let starts = of_step("starts", step.first & !step.elements, 6);
        m.output("place_valid_o", valid(7) & starts);
        m.output("place_o", place.word(&m));
        m.finish()
    }
}
