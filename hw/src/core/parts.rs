//! `parts`: the parts of the vector unit's commands, one after the other.
//!
//! # Purpose
//!
//! Takes the command in front of the vector unit's queue and begins a part, or several, for each of its slots, in ascending order, when everything that the part needs is there.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i`, `start_i` | in | 1 | nothing is under way; a run begins |
//! | `command_valid_i` | in | 1 | there is a command; what follows is the first one's |
//! | `known_i`, `slots_i` | in | 1, slots | whether it is known for which slots it runs, and for which |
//! | `reads_i`, `shared_i` | in | slots, 1 | slots that have a record to read; the first part takes one that all share |
//! | `writes_i`, `closes_i` | in | slots, 1 | slots that have a record to write; it is a command that may write |
//! | `streamed_i` | in | 1 | its records are on their way |
//! | `placed_i` | in | 1 | it is known where it writes, as far as it has to be |
//! | `room_i` | in | 1 | there is room for the record that a slot writes |
//! | `free_i` | in | 1 | what the command overwrites in the activation buffer has been read |
//! | `among_i`, `summed_i` | in | slots, 1 | the slots of which one has its turn; the sums of these are there |
//! | `more_i` | in | 1 | behind the part that may begin comes another one for the same slot |
//! | `issued_i`, `done_i` | in | 1 | as the unit says |
//! | `leaves_o`, `skips_o` | out | 1 | the command leaves the queue; it was for no slot |
//! | `begin_o` | out | 1 | a part begins |
//! | `slot_o`, `reads_o`, `record_o`, `first_o` | out | log2(slots), 1, 1, 1 | before a part begins: its slot, whether it has a record to read, or any, whether it is its command's first |
//! | `part_valid_o` | out | 1 | a part of a command that may write begins, or such a command is for no slot; with it: |
//! | `part_writes_o`, `part_last_o`, `part_ends_o` | out | 1 | it writes a record, its command's last one; it is the last part |
//! | `result_o` | out | 1 | such a part has its result; a command for no slot has it a cycle later |
//! | `waits_o` | out | 1 | a part could begin if there were room |
//! | `idle_o` | out | 1 | no command is there, and every part has its result |
//!
//! # Timing
//!
//! The rules of `docs/cycles.md` (Vector unit). A part begins no earlier than the cycle after that in which its command is in front and its slots are known, and two cycles after the part before.
//!
//! # Numeric contract
//!
//! None.
//!
//! # Cost
//!
//! A choice of the lowest slot.
//!
//! # Verification
//!
//! `tests/tests/rtl_core`: cycles of whole runs.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{core::Parts, rtl::Block};
//!
//! assert_eq!(Parts::new(8)?.module()?.name(), "parts_s8");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use crate::prim::{lowest, number, within};
use crate::rtl::{Block, Builder, Module, RtlError, Wire};
use fastcar_arch::config::MAX_SLOTS;
use std::sync::Arc;

/// Bits of the number of parts without a result.
const COUNT_BITS: u32 = 6;

/// The sequence of parts. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    slots: u32,
}

impl Parts {
    /// For so many slots.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(slots: u32) -> Result<Self, RtlError> {
        Ok(Self { slots: within("parts", "slots", slots, 1..=MAX_SLOTS, "1 to 32")? })
    }
}

/// Whether every part has its result, as of this cycle; counts those that begin and those that are done.
fn quiet<'m>(m: &'m Builder, clear: Wire<'m>, begin: Wire<'m>, done: Wire<'m>) -> Wire<'m> {
    let count = m.reg("without_result", COUNT_BITS).reset(0);
    count.update(&[
        (clear, m.lit(COUNT_BITS, 0)),
        (begin & !done, count.q() + 1),
        (done & !begin, count.q() - 1),
    ]);
    count.q().is_zero() | (count.q().eq(1) & done)
}

impl Block for Parts {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("parts_s{}", self.slots));
        let bit = |name: &str| m.input(&format!("{name}_i"), 1);
        let mask = |name: &str| m.input(&format!("{name}_i"), self.slots);
        let clear = bit("start");
        let valid = bit("command_valid");
        let there = valid & bit("known");
        let (leaves, begin) = (m.later("leaves", 1), m.later("part_begin", 1));
        let flag = |name: &str, cases: &[(Wire<'_>, u64)]| {
            let reg = m.reg(name, 1).reset(0);
            let all: Vec<_> =
                [(clear, 0)].iter().chain(cases).map(|(when, to)| (m.own(*when), m.lit(1, *to))).collect();
            reg.update(&all);
            reg.q()
        };
        // A part of the command has begun.
        let begun = flag("begun", &[(leaves.wire(), 0), (begin.wire(), 1)]);
        let left = m.reg("left", self.slots);
        let now = begun.mux(left.q(), mask("slots"));
        let none = now.is_zero();
        let slot = lowest(now & mask("among"));
        // Of attention a slot has a part for each place of heads.
        let rest = now & !(slot & (!bit("more")).repeat(self.slots));
        left.set(begin.wire().mux(rest, now));
        let of = |slots: Wire<'_>| (m.own(slots) & slot).any();
        let (reads, writes) = (mask("reads"), mask("writes"));

        let (issued, done) = (bit("issued"), bit("done"));
        let busy = flag("busy", &[(begin.wire(), 1), (issued, 0)]);
        let quiet = quiet(&m, clear, begin.wire(), done);
        let made = m.register_valid("made", there & !leaves.wire() & !clear);
        let turn = made & (begun | (quiet & bit("free")));
        let record = of(reads) | (!begun & bit("shared"));
        let (streamed, room) = (bit("streamed"), bit("room"));
        let there = bit("placed") & bit("summed");
        let ready = turn & !none & (!busy | issued) & (!record | streamed) & there;
        begin.set((ready & (!of(writes) | room)).named("part_begins"));
        let skips = (turn & none & !begun).named("skips");
        leaves.set(skips | (begun & none & issued));

        m.output("leaves_o", leaves.wire());
        m.output("skips_o", skips);
        m.output("begin_o", begin.wire());
        m.output("slot_o", number(slot));
        m.output("reads_o", of(reads));
        m.output("record_o", of(reads) | of(writes));
        m.output("first_o", !begun);
        m.output("waits_o", ready & of(writes) & !room);
        let closes = bit("closes");
        m.output("part_valid_o", closes & (begin.wire() | skips));
        m.output("part_writes_o", of(writes));
        m.output("part_last_o", of(writes) & !(rest & writes).any());
        m.output("part_ends_o", rest.is_zero());
        // Commands do not overlap in the unit: what has its result is of the command that began last.
        let closing = m.reg("closing", 1).reset(0);
        closing.set_when(begin.wire(), closes);
        let skipped = m.register_valid("skipped", closes & skips);
        m.output("result_o", (closing.q() & done) | skipped);
        m.output("idle_o", !valid & quiet);
        m.finish()
    }
}
