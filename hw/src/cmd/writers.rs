//! `writers`: which write a read has to wait for.
//!
//! # Purpose
//!
//! Keeps the commands that write memory, from their dispatch until everything that they write is acknowledged, and finds for a command
//! that reads the youngest older one that writes the same records for a slot of its own.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i`, `start_i` | in | 1 | nothing is under way |
//! | `active_i`, `output_i` | in | slots | as in [`Decisions`](crate::drs::Decisions) |
//! | `ring_i` | in | slots | slots with a ring position |
//! | `push_valid_i`, `push_i` | in | 1, 8 | a command that writes, and its number among those |
//! | `push_family_i` | in | address | what it writes: the local address in the command, in beats |
//! | `push_ringed_i` | in | 1 | it writes for slots with a ring position only |
//! | `push_pred_i`, `push_decides_i`, `push_decision_i` | in | 2, 1, 8 | its predicate, and the gate that it waits for |
//! | `push_known_i`, `push_slots_i` | in | 1, slots | what [`Decisions`](crate::drs::Decisions) say of it in this cycle |
//! | `settle_valid_i`, `settle_i`, `replay_i` | in | 1, 8, slots | a gate has decided |
//! | `done_i` | in | 1 | the oldest is done: nothing of it is on its way any more |
//! | `room_o` | out | 1 | one more may be pushed |
//! | `oldest_valid_o`, `oldest_known_o`, `oldest_slots_o` | out | 1, 1, slots | whether there is one, whether its slots are known, and for which it writes |
//! | `before_<n>_i`, `family_<n>_i`, `slots_<n>_i` | in | 8, address, slots | reader n: how many writers were dispatched before the command, what it reads, for which slots |
//! | `wait_<n>_o` | out | 1 | it is not yet known which slots one of them writes |
//! | `guard_valid_<n>_o`, `guard_<n>_o` | out | 1, 8 | whether there is one to wait for, and its number |
//!
//! # Timing
//!
//! An answer is there [`Writers::LATENCY`] cycles after the question. What is pushed, settled or done in a cycle is seen by the questions of the next.
//!
//! # Numeric contract
//!
//! Writers are done in order, so the youngest stands for all.
//!
//! # Cost
//!
//! [`WRITERS`] entries of registers, a comparison of addresses for each entry and reader.
//!
//! # Verification
//!
//! `tests/tests/rtl_cmd.rs::the_youngest_writer_is_found`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{cmd::Writers, rtl::Block};
//!
//! assert_eq!(Writers::new(32, 23, 3)?.module()?.name(), "writers_s32_a23_r3");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::NUMBER_BITS;
use crate::drs::decisions::selected;
use crate::prim::within;
use crate::rtl::{Block, Builder, Module, RtlError, Wire};
use fastcar_arch::config::MAX_SLOTS;
use fastcar_arch::timing::WRITERS;
use std::sync::Arc;

/// The commands that write. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writers {
    slots: u32,
    address: u32,
    readers: u32,
}

impl Writers {
    /// Cycles from a question to its answer.
    pub const LATENCY: u32 = 3;

    /// For so many slots, local addresses of `address` bits, in beats, and so many readers.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(slots: u32, address: u32, readers: u32) -> Result<Self, RtlError> {
        Ok(Self {
            slots: within("writers", "slots", slots, 1..=MAX_SLOTS, "1 to 32")?,
            address: within("writers", "address", address, 1..=64, "1 to 64 bits")?,
            readers: within("writers", "readers", readers, 1..=8, "1 to 8")?,
        })
    }
}

/// Entries, as a power of two.
const DEPTH: u32 = WRITERS as u32;
/// Bits of an entry's place.
const PLACE_BITS: u32 = DEPTH.ilog2();

/// An entry: whose place is the number's low bits.
#[derive(Clone, Copy)]
struct Entry<'m> {
    family: Wire<'m>,
    known: Wire<'m>,
    slots: Wire<'m>,
}

/// What all entries are told.
struct Told<'m> {
    active: Wire<'m>,
    output: Wire<'m>,
    push: Wire<'m>,
    place: Wire<'m>,
    family: Wire<'m>,
    pred: Wire<'m>,
    decision: Wire<'m>,
    ringed: Wire<'m>,
    ring: Wire<'m>,
    known: Wire<'m>,
    slots: Wire<'m>,
    settled: Wire<'m>,
    gate: Wire<'m>,
    replay: Wire<'m>,
}

/// Of the slots that a command runs for, those that it writes for.
fn writing<'m>(slots: Wire<'m>, ringed: Wire<'m>, ring: Wire<'m>) -> Wire<'m> {
    slots & (ring | (!ringed).repeat(ring.width()))
}

impl<'m> Told<'m> {
    fn new(w: &Writers, m: &'m Builder, number: Wire<'m>) -> Self {
        let (active, output) = (m.input("active_i", w.slots), m.input("output_i", w.slots));
        let pred = m.input("push_pred_i", 2);
        let (decides, decision) = (m.input("push_decides_i", 1), m.input("push_decision_i", NUMBER_BITS));
        let (settled, gate) = (m.input("settle_valid_i", 1), m.input("settle_i", NUMBER_BITS));
        let replay = m.input("replay_i", w.slots);
        let (ringed, ring) = (m.input("push_ringed_i", 1), m.input("ring_i", w.slots));
        // A gate that decides in the cycle of the push is not yet among the decisions.
        let now = settled & decides & gate.eq(decision);
        let slots = now.mux(selected(m, pred, active, output, replay), m.input("push_slots_i", w.slots));
        Self {
            active,
            output,
            push: m.input("push_valid_i", 1),
            place: number.trunc(PLACE_BITS),
            family: m.input("push_family_i", w.address),
            pred,
            decision,
            ringed,
            ring,
            known: m.input("push_known_i", 1) | now,
            slots: writing(slots, ringed, ring),
            settled,
            gate,
            replay,
        }
    }

    fn entry(&self, m: &'m Builder, n: u32) -> Entry<'m> {
        let here = self.push & self.place.eq(u64::from(n));
        let keep = |name: &str, value: Wire<'m>| {
            let kept = m.reg(&format!("{name}_{n}"), value.width());
            kept.set_when(here, value);
            kept.q()
        };
        let (pred, decision) = (keep("pred", self.pred), keep("decision", self.decision));
        let (known, slots) =
            (m.reg(&format!("known_{n}"), 1).reset(0), m.reg(&format!("slots_{n}"), self.slots.width()));
        let settles = self.settled & !known.q() & self.gate.eq(decision);
        known.update(&[(here, self.known), (settles, m.lit(1, 1))]);
        let decided = selected(m, pred, self.active, self.output, self.replay);
        let decided = writing(decided, keep("ringed", self.ringed), self.ring);
        slots.update(&[(here, self.slots), (settles, decided)]);
        Entry { family: keep("family", self.family), known: known.q(), slots: slots.q() }
    }
}

/// Answers one reader.
fn answer<'m>(w: &Writers, m: &'m Builder, reader: u32, entries: &[Entry<'m>], oldest: Wire<'m>) {
    let input = |name: &str, width| m.input(&format!("{name}_{reader}_i"), width);
    let before = input("before", NUMBER_BITS);
    let (family, slots) = (input("family", w.address), input("slots", w.slots));
    let keep = |name: &str, value: Wire<'m>| m.register(&format!("{name}_{reader}"), value);
    // First: entries of the family, and how far behind the command the oldest lies.
    let same: Vec<_> = entries.iter().map(|e| e.family.eq(family)).collect();
    let meets: Vec<_> = entries.iter().map(|e| e.known & (e.slots & slots).any()).collect();
    let unknown: Vec<_> = entries.iter().map(|e| !e.known).collect();
    let same = keep("same", m.pack(&same));
    let (meets, unknown) = (keep("meets", m.pack(&meets)), keep("unknown", m.pack(&unknown)));
    // One that has nothing to write may be done before the command's turn: then the oldest lies behind it.
    let older = before - oldest;
    let older = older.msb().mux(m.lit(NUMBER_BITS, 0), older);
    let (first, count) = (keep("first", before), keep("count", older));
    // Then: in order of age, the youngest first, those that are older than the command and not done.
    let turned = |bits: Wire<'m>| {
        let twice = bits.cat(bits);
        // Bit k of the result is entry `first - 1 - k`.
        let from = twice.shr_by(first.trunc(PLACE_BITS)).trunc(DEPTH).bits();
        from.into_iter().rev().collect::<Vec<_>>()
    };
    let (family, meets, unknown) = (turned(same), turned(meets), turned(unknown));
    let among: Vec<_> = (0..DEPTH).map(|k| family[k as usize] & count.gt(u64::from(k))).collect();
    let met: Vec<_> = among.iter().zip(&meets).map(|(a, b)| *a & *b).collect();
    let open: Vec<_> = among.iter().zip(&unknown).map(|(a, b)| *a & *b).collect();
    let (met, open) = (keep("met", m.pack(&met)), keep("open", m.pack(&open)));
    let first = keep("first_again", first);
    // Last: the youngest.
    let age: Vec<_> =
        met.bits().iter().enumerate().map(|(k, bit)| bit.cat(m.lit(PLACE_BITS, k as u64))).collect();
    let youngest = m.tree(&age, |young, old| young.msb().mux(young, old));
    let number = first - 1 - youngest.trunc(PLACE_BITS).zext(NUMBER_BITS);
    m.output(&format!("wait_{reader}_o"), keep("wait", open.any()));
    m.output(&format!("guard_valid_{reader}_o"), keep("guard_valid", youngest.msb()));
    m.output(&format!("guard_{reader}_o"), keep("guard", number));
}

impl Block for Writers {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Self { slots, address, readers } = *self;
        let m = Builder::new(format!("writers_s{slots}_a{address}_r{readers}"));
        let start = m.input("start_i", 1);
        let number = m.input("push_i", NUMBER_BITS);
        let told = Told::new(self, &m, number);
        let (push, done) = (told.push, m.input("done_i", 1));
        let counter = |name: &str, step: Wire<'_>| {
            let count = m.reg(name, NUMBER_BITS).reset(0);
            count.update(&[(start, m.lit(NUMBER_BITS, 0)), (m.own(step), count.q() + 1)]);
            count.q()
        };
        let (oldest, pushed) = (counter("oldest", done), counter("pushed", push));
        let entries: Vec<_> = (0..DEPTH).map(|n| told.entry(&m, n)).collect();

        let place = oldest.trunc(PLACE_BITS);
        let known: Vec<_> = entries.iter().map(|e| e.known).collect();
        let masks: Vec<_> = entries.iter().map(|e| e.slots).collect();
        m.output("room_o", (pushed - oldest).lt(u64::from(DEPTH)));
        m.output("oldest_valid_o", pushed.ne(oldest));
        m.output("oldest_known_o", place.choose(&known));
        m.output("oldest_slots_o", place.choose(&masks));
        for reader in 0..readers {
            answer(self, &m, reader, &entries, oldest);
        }
        m.finish()
    }
}
