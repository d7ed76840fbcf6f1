//! `masks`: which blocks of its input a `delta` found changed, for which slots.
//!
//! # Purpose
//!
//! Keeps the masks beside the activation buffer, under the addresses of their blocks, tells how many groups of blocks of the `delta` in the vector unit have all their masks, and counts active blocks for the report.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i`, `start_i` | in | 1 | no command is under way; a run begins |
//! | `begins_i` | in | 1 | a `delta` begins, or leaves since it is for no slot; with it: |
//! | `first_i`, `last_block_i` | in | block, block | the first block that it fills, a multiple of [`MASK_BLOCKS`]; blocks, less one |
//! | `slots_i`, `referenced_i` | in | slots | its slots, and those that have a reference |
//! | `entry_i` | in | 16 | its number in the step table |
//! | `mask_valid_i`, `mask_i` | in | 1 | a block's mask, slot by slot in ascending order, block by block; with it: |
//! | `slot_i`, `block_i` | in | log2(slots), block | whose it is |
//! | `finished_i` | in | 8 | commands of the vector unit whose results are all there, those of this cycle too: the number of what begins |
//! | `<asker>_number_i`, `<asker>_all_o`, `<asker>_groups_o` | in, out, out | 8, 1, group | the number of a `delta`; in the same cycle: all its masks may be used; so many groups of them |
//! | `<reader>_i`, `<reader>_o` | | group, [`MASK_BLOCKS`] x slots | a group of the activation buffer; in the same cycle the masks of its blocks, the first low |
//! | `count_valid_o`, `count_slot_o`, `count_o` | out | 1, log2(slots), 16 | active blocks of a slot |
//! | `nobody_o`, `ends_o` | out | 1 | the command was for no slot; all its masks have come; with either: |
//! | `ends_entry_o`, `ends_active_o`, `ends_referenced_o`, `ends_blocks_o`, `ends_union_o` | out | 16, slots, slots, 16, 16 | entry, slots, those with a reference, blocks, and blocks active in a slot |
//!
//! # Timing
//!
//! A group may be used [`Masks::LATENCY`] cycles after the last mask of it: its results `MASK_LATENCY` cycles before, which come a cycle behind their block; all of a command `MASK_LATENCY` cycles after its results. Masks can be read from the cycle behind the one in which they come. Counts and the end come in that cycle too; of a command for no slot in the
//! cycle behind `begins_i`.
//!
//! # Numeric contract
//!
//! None.
//!
//! # Cost
//!
//! A bit for each block and slot in distributed memory, for each reader.
//!
//! # Verification
//!
//! `tests/tests/rtl_core`: memory and cycles of whole runs.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{core::Masks, rtl::Block};
//!
//! let masks = Masks::new(&AccelConfig::preset("tiny")?, &["look"], &["queue"])?;
//! assert_eq!(masks.module()?.name(), "masks_s4_b64_look_queue");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::cmd::NUMBER_BITS;
use crate::drs::gates::ENTRY_BITS;
use crate::prim::{lowest, within};
use crate::rtl::{Block, Builder, Memory, Module, RamStyle, RtlError, Wire, index_width};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::timing::{MASK_BLOCKS, MASK_LATENCY};
use std::sync::Arc;

/// Bits of a number of blocks in the report.
const COUNT_BITS: u32 = 16;
/// Bits of a block's number in its group.
const WITHIN: u32 = MASK_BLOCKS.ilog2();

/// The masks. See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masks {
    slots: u32,
    blocks: u32,
    readers: Vec<&'static str>,
    askers: Vec<&'static str>,
}

impl Masks {
    /// From the last mask of a group to its use.
    pub const LATENCY: u64 = MASK_LATENCY + 1;

    /// For a configuration, with readers and askers of these names.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(
        config: &AccelConfig,
        readers: &[&'static str],
        askers: &[&'static str],
    ) -> Result<Self, RtlError> {
        let allowed = "whole groups of masks";
        let blocks = within("masks", "blocks", config.ab_blocks(), MASK_BLOCKS..=1 << 16, allowed)?;
        Ok(Self { slots: config.slots(), blocks, readers: readers.to_vec(), askers: askers.to_vec() })
    }

    /// Width of the number of a block of the activation buffer.
    #[must_use]
    pub fn block_bits(&self) -> u32 {
        index_width(self.blocks.into())
    }

    /// Width of the number of a group.
    #[must_use]
    pub fn group_bits(&self) -> u32 {
        index_width(self.blocks.div_ceil(MASK_BLOCKS).into())
    }

    /// The group of a block.
    fn group<'m>(&self, block: Wire<'m>) -> Wire<'m> {
        let high = block >> WITHIN;
        high.zext(self.group_bits().max(high.width())).trunc(self.group_bits())
    }
}

/// The command under way.
struct Command<'m> {
    first: Wire<'m>,
    last_block: Wire<'m>,
    slots: Wire<'m>,
    referenced: Wire<'m>,
    entry: Wire<'m>,
}

/// A mask that has come.
struct Mask<'m> {
    valid: Wire<'m>,
    active: Wire<'m>,
    /// Its slot, one bit, and whether that is its command's first, or last.
    slot: Wire<'m>,
    is_first: Wire<'m>,
    is_last: Wire<'m>,
    block: Wire<'m>,
    /// Its number in the command.
    number: Wire<'m>,
}

impl Masks {
    /// The command under way, and whether one that begins is for no slot.
    fn command<'m>(&self, m: &'m Builder, begins: Wire<'m>) -> (Command<'m>, Wire<'m>) {
        let keep = |name: &str, wire: Wire<'m>| {
            let reg = m.reg(name, wire.width());
            reg.set_when(begins, wire);
            reg.q()
        };
        let kept = |name: &str, width: u32| keep(name, m.input(&format!("{name}_i"), width));
        let slots = m.input("slots_i", self.slots);
        let command = Command {
            first: kept("first", self.block_bits()),
            last_block: kept("last_block", self.block_bits()),
            slots: keep("slots", slots),
            referenced: kept("referenced", self.slots),
            entry: kept("entry", ENTRY_BITS),
        };
        (command, slots.is_zero())
    }

    fn mask<'m>(&self, m: &'m Builder, command: &Command<'m>) -> Mask<'m> {
        let number = m.input("slot_i", index_width(self.slots.into()));
        let slot = m.pack(&(0..self.slots).map(|n| number.eq(u64::from(n))).collect::<Vec<_>>());
        let behind = lowest(slot).negated() & !slot;
        let block = m.input("block_i", self.block_bits());
        Mask {
            valid: m.input("mask_valid_i", 1),
            active: m.input("mask_i", 1),
            slot,
            is_first: (lowest(command.slots) & slot).any(),
            is_last: !(command.slots & behind).any(),
            block,
            number: block - command.first,
        }
    }

    /// The memories of a group's blocks; what the block held of the slots before.
    fn keep<'m>(&self, m: &'m Builder, mask: &Mask<'m>) -> (Vec<Memory<'m>>, Wire<'m>) {
        let depth = self.blocks.div_ceil(MASK_BLOCKS).max(2);
        let (group, within) = (self.group(mask.block), mask.block.trunc(WITHIN));
        let banks: Vec<_> = (0..MASK_BLOCKS)
            .map(|n| m.memory(&format!("masks_{n}"), self.slots, depth, RamStyle::Distributed))
            .collect();
        let before = within.choose(&banks.iter().map(|bank| bank.read(group)).collect::<Vec<_>>());
        let before = before & (!mask.is_first).repeat(self.slots);
        let now = before | (mask.slot & mask.active.repeat(self.slots));
        for (n, bank) in banks.iter().enumerate() {
            bank.write(mask.valid & within.eq(n as u64), group, now);
        }
        (banks, before)
    }

    /// What may be used of whose masks.
    fn known<'m>(&self, m: &'m Builder, [start, begins]: [Wire<'m>; 2], mask: &Mask<'m>) {
        // Whole groups, on their way to those that use them.
        let whole = mask.valid & mask.is_last & mask.number.trunc(WITHIN).all();
        let whole =
            (1..Self::LATENCY).fold(whole, |bit, n| m.register_valid(&format!("whole_{n}"), bit & !begins));
        let groups = m.reg("groups", self.group_bits()).reset(0);
        let none = m.lit(self.group_bits(), 0);
        groups.update(&[(start | begins, none), (whole, groups.q() + 1)]);
        let finished = m.input("finished_i", NUMBER_BITS);
        let number = m.reg("under_way", NUMBER_BITS);
        number.set_when(begins, finished);
        // None of the run before counts.
        let all = (0..MASK_LATENCY).fold(finished, |finished, n| {
            let late = m.reg(&format!("finished_{n}"), NUMBER_BITS).reset(0);
            late.set(start.mux(m.lit(NUMBER_BITS, 0), finished));
            late.q()
        });
        for asker in &self.askers {
            let asked = m.input(&format!("{asker}_number_i"), NUMBER_BITS);
            m.output(&format!("{asker}_all_o"), (asked - all).msb());
            m.output(
                &format!("{asker}_groups_o"),
                groups.q() & asked.eq(number.q()).repeat(self.group_bits()),
            );
        }
    }

    /// What the report is told.
    fn count<'m>(
        &self,
        m: &'m Builder,
        (begins, nobody): (Wire<'m>, Wire<'m>),
        command: &Command<'m>,
        mask: &Mask<'m>,
        before: Wire<'m>,
    ) {
        let zero = m.lit(COUNT_BITS, 0);
        let counted = |name: &str, clear: Wire<'m>, from: Wire<'m>, one: Wire<'m>| {
            let count = m.reg(name, COUNT_BITS);
            count.update(&[(clear, zero), (mask.valid, from.mux(zero, count.q()) + one.zext(COUNT_BITS))]);
            count.q()
        };
        let ends_slot = mask.valid & mask.number.eq(command.last_block);
        let never = m.lit(1, 0);
        let count = counted("count", never, mask.number.is_zero(), mask.active);
        let union = counted("in_any", begins, never, mask.active & !before.any());
        m.output("count_valid_o", m.register_valid("count_valid", ends_slot));
        m.output("count_slot_o", m.register("count_slot", crate::prim::number(mask.slot)));
        m.output("count_o", count);
        m.output("nobody_o", m.register_valid("nobody", begins & nobody));
        m.output("ends_o", m.register_valid("ends", ends_slot & mask.is_last));
        m.output("ends_entry_o", command.entry);
        m.output("ends_active_o", command.slots);
        m.output("ends_referenced_o", command.referenced);
        let wide = COUNT_BITS.max(self.block_bits());
        m.output("ends_blocks_o", (command.last_block.zext(wide) + 1).trunc(COUNT_BITS));
        m.output("ends_union_o", union);
    }
}

impl Block for Masks {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let names = [&self.readers[..], &self.askers].concat().join("_");
        let m = Builder::new(format!("masks_s{}_b{}_{names}", self.slots, self.blocks));
        let (start, begins) = (m.input("start_i", 1), m.input("begins_i", 1));
        let (command, nobody) = self.command(&m, begins);
        let mask = self.mask(&m, &command);
        let (banks, before) = self.keep(&m, &mask);
        for reader in &self.readers {
            let group = m.input(&format!("{reader}_i"), self.group_bits());
            let masks: Vec<_> = banks.iter().map(|bank| bank.read(group)).collect();
            m.output(&format!("{reader}_o"), m.pack(&masks));
        }
        self.count(&m, (begins, nobody), &command, &mask, before);

        self.known(&m, [start, begins], &mask);
        m.finish()
    }
}
