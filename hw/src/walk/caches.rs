//! `cache_walker`: the slots' caches that attention reads.
//!
//! # Purpose
//!
//! Goes through the slots of one `attn` after the other and tells all channels the same of each one's cache: where it begins and where its own block lies. Each channel finds its runs
//! from that ([`Heads`](super::Heads)).
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | nothing to do |
//! | `job_valid_i`, `job_data_i`, `job_ready_o` | | 1, [`CacheWalker::job_bits`], 1 | *stream* of commands: slots low, then [`Caches`], then the guard as a port's segment has it |
//! | `go_i` | in | 1 | a cache may be told [`CacheWalker::LATENCY`] cycles from now |
//! | `blocks_i` | in | 11 | blocks of 32 tokens that a head has room for |
//! | `slot_o`, `entry_i` | | log2(slots), [`ENTRY_BITS`] | the slot whose entry of the step table is wanted, in the same cycle |
//! | `visit_valid_o`, `visit_o` | out | 1, [`Visit::width`] | a slot's cache |
//!
//! Jobs without a slot must not come.
//!
//! # Timing
//!
//! A slot a cycle while `go_i` is set, in ascending order, also from job to job; the first of a job [`CacheWalker::LATENCY`] cycles after the job was taken.
//!
//! # Numeric contract
//!
//! As [`KvLayout`](fastcar_arch::layout::KvLayout), in beats, modulo 2^address. The own block's number is divided as [`Appends`] does.
//!
//! # Cost
//!
//! Five products; tables by the number of heads. Figures: `tests/baselines/rtl/walk_heads.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_walk/heads.rs`: `caches_are_told`, and `heads_come_in_time` with the whole way.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{rtl::Block, walk::CacheWalker};
//!
//! let walker = CacheWalker::new(&AccelConfig::preset("u55c")?);
//! assert_eq!(walker.module()?.name(), "cache_walker_s32_c32_b6_a23_h12");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::Sizes;
use super::appends::{Appends, BLOCK_BITS, POSITION, Pipe, TOKEN};
use super::heads::{CacheSizes, Caches, Visit};
use crate::cmd::table::ENTRY_BITS;
use crate::port::WRITER_BITS;
use crate::prim::{lowest, number};
use crate::rtl::{Bits, Block, Builder, Module, RtlError, Wire};
use fastcar_arch::config::{AccelConfig, LINE_WORDS};
use std::sync::Arc;

/// The walk over a command's caches. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheWalker {
    sizes: CacheSizes,
    places: Appends,
}

impl CacheWalker {
    /// Cycles from a job that is taken to its first cache: the job, its slot, the position, two products that follow each other.
    pub const LATENCY: u32 = 5;

    /// For a configuration.
    #[must_use]
    pub fn new(config: &AccelConfig) -> Self {
        Self { sizes: CacheSizes::new(config), places: Appends::new(config) }
    }

    /// Width of a job.
    #[must_use]
    pub fn job_bits(&self) -> u32 {
        self.sizes.common.slots + Caches::width(&self.sizes) + WRITER_BITS + 1
    }
}

/// A step of the walk: a slot of a command.
struct Step<'m> {
    valid: Wire<'m>,
    slot: Wire<'m>,
    caches: Caches<'m>,
    guard: Wire<'m>,
}

/// Takes jobs, and gives their slots one by one.
fn steps<'m>(w: &CacheWalker, m: &'m Builder) -> Step<'m> {
    let (slots, caches) = (w.sizes.common.slots, Caches::width(&w.sizes));
    let input = m.stream_in("job", w.job_bits());
    let go = m.input("go_i", 1);
    let job = m.reg("job", caches + WRITER_BITS + 1);
    job.set_when(input.passes(), input.data.slice(slots, job.q().width()));
    let left = m.reg("left", slots);
    let busy = m.reg("busy", 1).reset(0);
    let bit = lowest(left.q());
    let rest = left.q() & !bit;
    let goes = busy.q() & go;
    let done = goes & rest.is_zero();
    input.ready.set(!busy.q() | done);
    left.update(&[(input.passes(), input.data.trunc(slots)), (goes, rest)]);
    busy.update(&[(input.passes(), m.lit(1, 1)), (done, m.lit(1, 0))]);
    Step {
        valid: goes,
        slot: number(bit),
        caches: Caches::of(&w.sizes, job.q().trunc(caches)),
        guard: job.q().slice(caches, WRITER_BITS + 1),
    }
}

impl CacheWalker {
    /// Channels that hold something in their last place of heads, by the number of heads.
    fn spread<'m>(&self, m: &'m Builder, heads: Wire<'m>) -> Wire<'m> {
        let (channels, width) = (self.sizes.channels, self.sizes.spread());
        let few = self.places.by_heads(m, heads, |heads| {
            Bits::from_u64(width, u64::from(heads * self.places.interleave(heads)))
        });
        let rest = heads.trunc(channels.ilog2().max(1)).zext(width);
        let rest = if channels == 1 { m.lit(width, 0) } else { rest };
        let all = rest.is_zero().mux(m.lit(width, channels.into()), rest);
        heads.lt(u64::from(channels)).mux(few, all)
    }

    /// How many channels share a head, by the number of heads: its place among [`CacheSizes::shares`].
    pub(crate) fn share<'m>(&self, m: &'m Builder, heads: Wire<'m>) -> Wire<'m> {
        let (shares, width) = (self.sizes.shares(), self.sizes.share());
        let place = |share: u32| shares.iter().position(|&other| other == share).unwrap_or_default() as u64;
        let few = self
            .places
            .by_heads(m, heads, |heads| Bits::from_u64(width, place(self.places.interleave(heads))));
        heads.lt(u64::from(self.sizes.channels)).mux(few, m.lit(width, place(1)))
    }

    /// Beats of the elements of a block's first tokens, up to the one at this place, two cycles later.
    fn own<'m>(&self, pipe: &Pipe<'m>, token: Wire<'m>, scales: Wire<'m>) -> Wire<'m> {
        let Sizes { beat, .. } = self.sizes.common;
        let before = pipe.later("before", token.mul_unsigned(scales), 1);
        let blocks =
            before.zext(before.width() + 1) + pipe.later("scales_own", scales, 1).zext(before.width() + 1);
        let line = LINE_WORDS.ilog2();
        let bytes = blocks.zext(blocks.width() + line) << line;
        let up = bytes + ((1_u64 << beat) - 1);
        let beats = (up >> beat).zext(self.sizes.run().max(up.width())).trunc(self.sizes.run());
        pipe.later("own", beats, 1)
    }
}

impl Block for CacheWalker {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let s = &self.sizes;
        let Sizes { slots, address, beat, heads, .. } = s.common;
        let m = Builder::new(format!("cache_walker_s{slots}_c{}_b{beat}_a{address}_h{heads}", s.channels));
        let Step { valid, slot, caches, guard } = steps(self, &m);
        let pipe = Pipe { m: &m, w: self.places, moves: m.lit(1, 1) };
        let fit = |wire: Wire<'_>| m.own(wire.zext(address.max(wire.width())).trunc(address));

        // First: the slot. Then: its entry, and all that the command alone says.
        let slot = pipe.later("slot", slot, 1);
        m.output("slot_o", slot);
        let position = m.input("entry_i", ENTRY_BITS).trunc(POSITION);
        let [of_command, scales] = [("heads", caches.heads), ("scales", caches.scales)]
            .map(|(name, wire)| pipe.later(name, wire, 1));
        let [_, rows, residue] = self.places.divided(&pipe, of_command, position.slice(TOKEN, BLOCK_BITS));
        let token = pipe.later("token", position.trunc(TOKEN), 1);

        let block = pipe.later("block_beats", s.block(caches.scales).all(), 1);
        let room = m.input("blocks_i", BLOCK_BITS + 1);
        let stride = pipe.later("stride", fit(room.mul_unsigned(block)), 3);
        let extent = fit(rows.mul_unsigned(pipe.later("block_beats_again", block, 2)));
        let slot_stride = pipe.later("slot_stride", caches.slot_stride, 1);
        let by_slot = pipe.later("by_slot", fit(slot.mul_unsigned(slot_stride)), 2);
        let base = pipe.later("addr", caches.addr, 3) + by_slot;

        let scales_at = pipe.later("scales_at", scales, 1);
        let visit = Visit {
            weights: m.lit(1, 0),
            base: pipe.later("base", base, 1),
            extent: pipe.later("extent", extent, 1),
            stride,
            scales: pipe.later("scales_out", scales_at, 2),
            rows: pipe.later("rows_out", rows, 1),
            residue,
            share: pipe.later("share_out", self.share(&m, of_command), 3),
            last_unit: pipe.later("last_unit", s.last_unit(caches.heads), 4),
            spread: pipe.later("spread", self.spread(&m, of_command), 3),
            token: pipe.later("token_out", token, 2),
            own: self.own(&pipe, token, scales_at),
            older: pipe.later("older", caches.older, 4),
            listed: pipe.later("listed", caches.listed, 4),
            bank: pipe.later("bank", caches.bank, 4),
            guard: pipe.later("guard", guard, 4),
        };
        m.output("visit_o", visit.word(&m));
        let valid = (1..Self::LATENCY).fold(valid, |valid, n| m.register_valid(&format!("valid_{n}"), valid));
        m.output("visit_valid_o", valid);
        m.finish()
    }
}
