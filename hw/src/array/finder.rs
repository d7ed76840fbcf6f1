//! `finder`: the blocks of a masked product that are active in some slot.
//!
//! # Purpose
//!
//! Looks at the masks of all blocks of a product, group by group, before its operands are sent: then it is known which slots have no active block at all,
//! and the active blocks wait with their slots for the [`Sender`](super::Sender).
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | no product |
//! | `product_i` | in | 1 | there is a masked product to send; with it, until `done_i`: |
//! | `first_group_i`, `last_block_i`, `slots_i`, `columns_i` | in | [`Finder::group_bits`], block, slots, columns x slots | its operand's first group of masks; blocks, less one; its slots; those of each column |
//! | `done_i` | in | 1 | it is sent: the next one may come in the cycle behind |
//! | `look_o`, `look_i` | out, in | group, [`MASK_BLOCKS`] x slots | a group; in the same cycle the masks of its blocks, the first low |
//! | `block_group_o`, `block_masks_i` | out, in | group, [`MASK_BLOCKS`] x slots | the same once more |
//! | `ready_o` | out | 1 | everything has been looked at, and the first active block is there, if there is one |
//! | `none_o` | out | slots | with `ready_o`: slots without an active block |
//! | `block_valid_o`, `block_o`, `block_slots_o`, `block_counts_o` | out | 1, block, slots, columns x count | an active block: its number in the operand, the slots in which it is active, how many of them each column has |
//! | `block_last_o` | out | 1 | with `ready_o` and `block_valid_o`: there is no other behind it |
//! | `block_ready_i` | in | 1 | it is taken; no other is in the cycle behind |
//!
//! # Timing
//!
//! `product_i` first set in cycle h, with n groups: they are looked at in h to h + n - 1, and `ready_o` is set from cycle h + n + [`MASK_SEEK`] on, until `done_i`. When a block is taken the next is there two cycles later at the latest.
//!
//! # Numeric contract
//!
//! None.
//!
//! # Cost
//!
//! A queue of groups in distributed memory; the sums over a block's slots of each column.
//!
//! # Verification
//!
//! `tests/tests/rtl_sequencer.rs::blocks_are_found`; with the sender in `tests/tests/rtl_core`.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{array::Finder, rtl::Block};
//!
//! let finder = Finder::new(&AccelConfig::preset("tiny")?);
//! assert_eq!(finder.module()?.name(), "finder_s4_c2_b64");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::Mapping;
use crate::cmd::fields::cut;
use crate::prim::{Fifo, lowest, number, ones};
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Stream, Wire, index_width};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::num::window::MAX_BLOCKS;
use fastcar_arch::timing::{MASK_BLOCKS, MASK_SEEK};
use std::sync::Arc;

/// Bits of a block's number in its group.
const WITHIN: u32 = MASK_BLOCKS.ilog2();

/// The look at a product's masks. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finder {
    slots: u32,
    columns: u32,
    blocks: u32,
    count: u32,
}

impl Finder {
    /// For a configuration.
    #[must_use]
    pub fn new(config: &AccelConfig) -> Self {
        let (slots, columns, blocks) = (config.slots(), config.columns(), config.ab_blocks());
        Self { slots, columns, blocks, count: Mapping::new(config).count_bits() }
    }

    /// Groups of masks of the activation buffer.
    fn groups(&self) -> u32 {
        self.blocks.div_ceil(MASK_BLOCKS)
    }

    /// Width of the number of a group.
    #[must_use]
    pub fn group_bits(&self) -> u32 {
        index_width(self.groups().into())
    }

    /// Width of the number of a block in an operand.
    #[must_use]
    pub fn block_bits(&self) -> u32 {
        index_width(MAX_BLOCKS as u64)
    }

    /// A group's masks, block by block.
    fn masks<'m>(&self, m: &'m Builder, name: &str) -> Vec<Wire<'m>> {
        m.input(name, MASK_BLOCKS * self.slots).chunks(self.slots)
    }

    /// A number of a group, as far as the activation buffer has them.
    fn group<'m>(&self, number: Wire<'m>) -> Wire<'m> {
        number.zext(self.group_bits().max(number.width())).trunc(self.group_bits())
    }
}

/// What was found in a group.
struct Found<'m> {
    valid: Wire<'m>,
    /// Its number in the operand, and its active blocks above.
    data: Wire<'m>,
    /// All groups have been looked at.
    ended: Wire<'m>,
    /// Slots that have an active block, from the cycle behind on.
    some: Wire<'m>,
}

impl Finder {
    /// Looks at a group a cycle.
    fn look<'m>(
        &self,
        m: &'m Builder,
        [product, done]: [Wire<'m>; 2],
        (first_group, slots): (Wire<'m>, Wire<'m>),
    ) -> Found<'m> {
        let last_block = m.input("last_block_i", self.block_bits());
        let last_group = last_block.slice(WITHIN, self.block_bits() - WITHIN);
        let group = m.reg("group", last_group.width()).reset(0);
        let ended = m.reg("ended", 1).reset(0);
        let looks = (product & !ended.q()).named("looks");
        // Found a cycle ahead, but for the only group.
        let at_last = m.register_valid("at_last", looks & (group.q() + 1).eq(last_group));
        let last = at_last | last_group.is_zero();
        group.update(&[(done, m.lit(last_group.width(), 0)), (looks & !last, group.q() + 1)]);
        ended.update(&[(done, m.lit(1, 0)), (looks & last, m.lit(1, 1))]);
        m.output("look_o", first_group + self.group(group.q()));

        // Behind the last block lies what is none of the operand's.
        let within = last_block.trunc(WITHIN);
        let within_operand = (0..u64::from(MASK_BLOCKS)).map(|lane| !last | within.ge(lane));
        let blocks: Vec<_> = within_operand.zip(self.masks(m, "look_i")).collect();
        let active: Vec<_> = blocks.iter().map(|(counts, mask)| *counts & (*mask & slots).any()).collect();
        let active = m.pack(&active);
        let data = m.register("found", active.cat(group.q()));
        let looked = m.register_valid("looked", looks);
        let valid = looked & data.slice(last_group.width(), MASK_BLOCKS).any();
        // The slots of a group's blocks a cycle later: there is time until `ready_o`.
        let (of_group, some) = (m.register("some_of_group", m.one_hot(&blocks)), m.reg("some", self.slots));
        let before = some.q() & data.trunc(last_group.width()).any().repeat(self.slots);
        some.set_when(looked, before | (of_group & slots));
        Found { valid, data, ended: ended.q(), some: some.q() }
    }

    /// The groups with active blocks, one block after the other: whether there is one, its mask, and its number.
    fn blocks<'m>(
        &self,
        m: &'m Builder,
        found: &Found<'m>,
        first_group: Wire<'m>,
        free: Wire<'m>,
    ) -> Result<[Wire<'m>; 3], RtlError> {
        let lanes = MASK_BLOCKS;
        let number_bits = found.data.width() - lanes;
        let (active, group) = (found.data.slice(number_bits, lanes), found.data.trunc(number_bits));
        // A group with its first active block and those behind.
        let first = lowest(active);
        let data = m.pack(&[group, first, active & !first]);
        let input = Stream { valid: found.valid, data, ready: m.later("room", 1) };
        let depth = self.groups().next_power_of_two().max(2);
        let groups = Fifo::new(data.width(), depth, RamStyle::Distributed)?.registered();
        let groups = groups.after(m, "u_groups", input)?;
        let take = cut(groups.data);
        let [group, first, behind] = [number_bits, lanes, lanes].map(take);
        // The next block of the group in front, when the first has gone, and those behind.
        let begun = m.reg("begun", 1).reset(0);
        let (next, left) = (m.reg("next", lanes), m.reg("left", lanes));
        let (lane, rest) = (begun.q().mux(next.q(), first), begun.q().mux(left.q(), behind));
        let goes = groups.valid & free;
        let ends = goes & rest.is_zero();
        begun.set_when(goes, !ends);
        let after = lowest(rest);
        next.set_when(goes, after);
        left.set_when(goes, rest & !after);
        groups.ready.set(ends);
        m.output("block_group_o", first_group + self.group(group));
        let masks = lane.bits().into_iter().zip(self.masks(m, "block_masks_i"));
        let mask = m.one_hot(&masks.collect::<Vec<_>>());
        Ok([groups.valid, mask, group.cat(number(lane))])
    }
}

impl Block for Finder {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Self { slots, columns, blocks, count } = *self;
        let m = Builder::new(format!("finder_s{slots}_c{columns}_b{blocks}"));
        let (product, done) = (m.input("product_i", 1), m.input("done_i", 1));
        let of_product = m.input("slots_i", slots);
        let first_group = m.input("first_group_i", self.group_bits());
        let found = self.look(&m, [product, done], (first_group, of_product));

        // Two registers wait with a block: its slots, and how many of them each column has.
        let (here, counted) = (m.reg("here", 1).reset(0), m.reg("counted", 1).reset(0));
        let taken = m.input("block_ready_i", 1) & counted.q();
        let moves = (!counted.q() | taken).named("moves");
        // Blocks are taken every other cycle at most, so that the first register may be free a cycle after it is left.
        let free = !here.q();
        let [comes, mask, block] = self.blocks(&m, &found, first_group, free)?;
        here.set(free.mux(comes, !moves));
        counted.set_when(moves, here.q());
        let keep = |name: &str, when: Wire<'_>, wire: Wire<'_>| {
            let reg = m.reg(name, wire.width());
            reg.set_when(m.own(when), m.own(wire));
            reg.q()
        };
        let (mask, block) = (keep("here_mask", free, mask), keep("here_block", free, block));
        let mask = mask & of_product;
        let by_column = m.input("columns_i", columns * slots).chunks(slots);
        let counts: Vec<_> = by_column.into_iter().map(|own| ones(&m, &(mask & own).bits(), count)).collect();
        m.output("block_counts_o", keep("block_counts", moves, m.pack(&counts)));
        m.output("block_slots_o", keep("block_slots", moves, mask));
        m.output("block_o", keep("block", moves, block));
        m.output("block_valid_o", counted.q());
        m.output("block_last_o", !here.q() & !comes);

        let ready =
            (0..MASK_SEEK).fold(found.ended, |bit, n| m.register_valid(&format!("ready_{n}"), bit & !done));
        m.output("ready_o", ready);
        m.output("none_o", of_product & !found.some);
        m.finish()
    }
}
