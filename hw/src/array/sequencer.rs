//! `sequencer`: which product the clusters may begin when.
//!
//! # Purpose
//!
//! Holds the commands of the MAC array, makes *products* of them, one for each round of slots, arms each when its operands are there and the
//! accumulators have room, and lets go of a command when the array is through with it. Attention has its turn among them: while it is in front, [`Center`](crate::attn::Center) arms its keys and values.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i`, `start_i` | in | 1 | nothing is under way; a run begins |
//! | `compact_i` | in | 1 | as in [`Mapping`] |
//! | `push_valid_i`, `push_i` | in | 1, [`Sequencer::command_bits`] | a command, see [`Command`] |
//! | `pred_o`, `decision_valid_o`, `decision_o` | out | 2, 1, 8 | of the first command that is not armed: asks [`Decisions`](crate::drs::Decisions), which answer |
//! | `known_i`, `slots_i` | in | 1, slots | in the same cycle |
//! | `operand_valid_o`, `operand_o` | out | 1, 8 | of the same: whether its operand is one that a vector command fills, and the number of that |
//! | `missing_i` | in | slots | in the same cycle: slots whose operand is not there |
//! | `frees_i` | in | 1 | the last result of the oldest product whose sums are kept is there |
//! | `product_valid_o` | out | 1 | a product is armed; with it: |
//! | `product_slots_o`, `product_counts_o` | out | slots, see [`Mapping`] | its slots, and those on each column |
//! | `product_places_o` | out | slots x [`Mapping::place_bits`] | column and pass of each, see [`Mapping`] |
//! | `product_word_o` | out | [`Cluster::address_width`] | the first word of its accumulators |
//! | `product_note_o` | out | note | what its command's note says |
//! | `heads_valid_o`, `heads_slots_o` | out | 1, slots | attention for some slots is in front, as long as a product would have to be before it is armed, and longer; its note is `product_note_o` |
//! | `heads_turn_o` | out | 1 | with it: the array is through with all commands before, by the end of this cycle |
//! | `heads_need_i`, `heads_room_o` | in, out | [`Sequencer::room_bits`], 1 | words of the accumulators; with `heads_valid_o`: there is room for them |
//! | `heads_arms_i` | in | 1 | with `heads_room_o`: they are taken, from `product_word_o` on, until a `frees_i` of their own |
//! | `heads_last_i` | in | 1 | the last values of the attention in front are armed |
//! | `heads_through_i` | in | 1 | the array is through with the last values of attention; not with `through_i` |
//! | `through_i` | in | 1 | the array is through with the oldest product |
//! | `pop_o` | out | 1 | a command leaves: the array is through with it |
//! | `finished_o` | out | 8 | commands that have left, modulo 256 |
//! | `front_valid_o`, `front_o` | out | 1, 8 | whether there is a command, and the low bits of the number of the oldest |
//! | `idle_o` | out | 1 | there is none but what leaves in this cycle |
//!
//! # Timing
//!
//! A command is in front in the cycle behind that in which it was pushed, or the one before was armed. [`MAC_MAP`] cycles after the first cycle in which it is in front and its slots are known its first product may be armed, and as long
//! after each product the next one; a command for no slot goes then. It leaves in the cycle behind that at the earliest, one command a cycle, and in the cycle of the last `through_i` of its products at the earliest.
//! Results and `frees_i` of a cycle count in that cycle.
//!
//! # Numeric contract
//!
//! None.
//!
//! # Cost
//!
//! [`Mapping`], three small queues.
//!
//! # Verification
//!
//! `tests/tests/rtl_sequencer.rs::products_are_armed`.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{array::Sequencer, rtl::Block};
//!
//! let sequencer = Sequencer::new(&AccelConfig::preset("tiny")?, 40)?;
//! assert_eq!(sequencer.module()?.name(), "sequencer_s4_c2_g64_w10_n40");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::Mapping;
use crate::cmd::NUMBER_BITS;
use crate::cmd::fields::cut;
use crate::pe::Cluster;
use crate::prim::{Fifo, within};
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Stream, Wire};
use fastcar_arch::config::{AccelConfig, ROW_GRANULE};
use fastcar_arch::timing::{MAC_MAP, QUEUE_COMMANDS};
use std::sync::Arc;

/// The sequence of products. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequencer {
    slots: u32,
    mapping: Mapping,
    /// Width of a word of the accumulators, and words of a sixteen of rows.
    word: u32,
    words: u32,
    note: u32,
}

/// A command of the array.
#[derive(Clone, Copy, Debug)]
pub struct Command<'m> {
    /// The low bits of its number in the program.
    pub index: Wire<'m>,
    /// Its predicate, and the gate that it waits for, if there is one.
    pub pred: Wire<'m>,
    /// Whether there is a gate before it.
    pub decides: Wire<'m>,
    /// The number of that gate.
    pub decision: Wire<'m>,
    /// Whether a vector command fills its operand, and the number of that one.
    pub filled: Wire<'m>,
    /// That number.
    pub filler: Wire<'m>,
    /// It is attention; else what follows is of its matrix.
    pub heads: Wire<'m>,
    /// Sixteens of rows in a chunk of its matrix.
    pub granules: Wire<'m>,
    /// What else has to be known of its products.
    pub note: Wire<'m>,
}

impl<'m> Command<'m> {
    /// All in one word.
    #[must_use]
    pub fn word(&self, m: &'m Builder) -> Wire<'m> {
        let Self { index, pred, decides, decision, filled, filler, heads, granules, note } = *self;
        m.pack(&[index, pred, decides, decision, filled, filler, heads, granules, note])
    }

    fn of(s: &Sequencer, word: Wire<'m>) -> Self {
        let mut take = cut(word);
        Self {
            index: take(NUMBER_BITS),
            pred: take(2),
            decides: take(1),
            decision: take(NUMBER_BITS),
            filled: take(1),
            filler: take(NUMBER_BITS),
            heads: take(1),
            granules: take(s.mapping.granule_bits()),
            note: take(s.note),
        }
    }
}

impl Sequencer {
    /// Products whose sums are kept, at most: each takes a sixteen of rows at least, and its command waits in the vector unit's queue.
    const PRODUCTS: u32 = 2 * QUEUE_COMMANDS as u32;

    /// That of a configuration, with notes of `note` bits.
    ///
    /// # Errors
    /// [`RtlError::Parameter`], also where the rows of the accumulators are no power of two.
    pub fn new(config: &AccelConfig, note: u32) -> Result<Self, RtlError> {
        let cluster = Cluster::new(config)?;
        if !config.acc_rows().is_power_of_two() {
            let (block, parameter, asked) = ("sequencer", "acc_rows", config.acc_rows().into());
            let allowed = "a power of two: products follow each other around the accumulators";
            return Err(RtlError::Parameter { block, parameter, asked, allowed });
        }
        Ok(Self {
            slots: config.slots(),
            mapping: Mapping::new(config),
            word: cluster.address_width(),
            words: ROW_GRANULE / cluster.rows(),
            note: within("sequencer", "note", note, 1..=256, "1 to 256 bits")?,
        })
    }

    /// Width of a command.
    #[must_use]
    pub fn command_bits(&self) -> u32 {
        3 * NUMBER_BITS + 5 + self.mapping.granule_bits() + self.note
    }

    /// Width of a number of words, all of them included.
    #[must_use]
    pub fn room_bits(&self) -> u32 {
        self.word + 2
    }
}

/// The command in front, and what is left of it.
struct Front<'m> {
    command: Command<'m>,
    valid: Wire<'m>,
    /// It is mapped, and may be armed or go.
    mapped: Wire<'m>,
    round: Wire<'m>,
    /// The round has some slot, and all that are left.
    some: Wire<'m>,
    last: Wire<'m>,
    counts: Wire<'m>,
    places: Wire<'m>,
    /// Slots that the command runs for, or that are left of it.
    now: Wire<'m>,
    /// Words that the round needs.
    need: Wire<'m>,
    /// Its last values are armed: it is attention.
    heads_last: Wire<'m>,
}

impl Sequencer {
    fn queue<'m>(&self, m: &'m Builder) -> Result<Stream<'m>, RtlError> {
        let input = Stream {
            valid: m.input("push_valid_i", 1),
            data: m.input("push_i", self.command_bits()),
            ready: m.later("room", 1),
        };
        let queue = Fifo::new(self.command_bits(), QUEUE_COMMANDS as u32, RamStyle::Distributed)?;
        queue.registered().after(m, "u_waiting", input)
    }

    /// The front of the queue, mapped; `armed` and `leaves` are what becomes of it.
    fn front<'m>(
        &self,
        m: &'m Builder,
        queue: &Stream<'m>,
        (armed, leaves): (Wire<'m>, Wire<'m>),
    ) -> Result<Front<'m>, RtlError> {
        let command = Command::of(self, queue.data);
        let (known, slots) = (m.input("known_i", 1), m.input("slots_i", self.slots));
        let begun = m.reg("begun", 1).reset(0);
        begun.update(&[(leaves, m.lit(1, 0)), (armed, m.lit(1, 1))]);
        let left = m.reg("left", self.slots);
        let now = begun.q().mux(left.q(), slots);
        let mapping = m.instance("u_mapping", &self.mapping)?;
        mapping.set("compact_i", m.input("compact_i", 1));
        mapping.set("slots_i", now);
        mapping.set("granules_i", command.granules);
        let (round, counts) = (mapping.get("round_o"), mapping.get("counts_o"));
        let each = counts.chunks(self.mapping.count_bits());
        let passes = m.tree(&each, |a, b| a.gt(b).mux(a, b));
        let bits = self.room_bits();
        let need = command.granules.mul_unsigned(passes);
        let need = need.zext(bits.max(need.width())).trunc(bits) << self.words.ilog2();
        let need = m.register("need", need);
        let mut mapped = queue.valid & known;
        for stage in 0..MAC_MAP {
            mapped = m.register_valid(&format!("mapped_{stage}"), mapped & !(armed | leaves));
        }
        // What is asked for stays while it is mapped.
        let some = m.register("mapped_some", round.any());
        let last = m.register("mapped_last", (now & !round).is_zero());
        let round = m.register("mapped_round", round);
        left.set_when(armed, now & !round);
        Ok(Front {
            command,
            valid: queue.valid,
            mapped,
            round,
            some,
            last,
            counts: m.register("mapped_counts", counts),
            places: m.register("mapped_places", mapping.get("places_o")),
            now,
            need,
            heads_last: m.input("heads_last_i", 1),
        })
    }

    /// Whether the accumulators have room for a product; they have it when it is armed. The first of its words.
    fn room<'m>(
        &self,
        m: &'m Builder,
        clear: Wire<'m>,
        need: Wire<'m>,
        arms: Wire<'m>,
    ) -> Result<[Wire<'m>; 2], RtlError> {
        let bits = self.room_bits();
        let kept = Stream { valid: arms, data: need, ready: m.later("kept_ready", 1) };
        let queue = Fifo::new(bits, Self::PRODUCTS, RamStyle::Distributed)?.registered();
        let kept = queue.after(m, "u_kept", kept)?;
        let frees = m.input("frees_i", 1);
        kept.ready.set(frees);
        let words = 1 << self.word;
        let free = m.reg("free_words", bits).reset(words);
        let more = free.q() + (frees.repeat(bits) & kept.data);
        free.update(&[(clear, m.lit(bits, words)), (arms, more - need), (frees, more)]);
        let next = m.reg("next_word", self.word).reset(0);
        next.update(&[(clear, m.lit(self.word, 0)), (arms, next.q() + need.trunc(self.word))]);
        Ok([need.le(more), next.q()])
    }

    /// Commands whose products are armed, until the array is through with them.
    fn ends<'m>(
        &self,
        m: &'m Builder,
        clear: Wire<'m>,
        front: &Front<'m>,
        (armed, leaves): (Wire<'m>, Wire<'m>),
    ) -> Result<(), RtlError> {
        let count = self.mapping.slot_bits();
        let before = m.reg("rounds", count).reset(0);
        let rounds = before.q() + (armed | front.heads_last).zext(count);
        before.update(&[(leaves, m.lit(count, 0)), (armed, rounds)]);
        let data = rounds.cat(front.command.index);
        let queue = Fifo::new(data.width(), QUEUE_COMMANDS as u32, RamStyle::Distributed)?;
        let queue = m.instance("u_under_way", &queue.registered())?;
        queue.stream_in("in", Stream { valid: leaves, data, ready: m.later("under_way_ready", 1) });
        let under_way = queue.stream_out("out");
        // Products that the array is through with, of commands that have not left.
        let through = m.reg("through", NUMBER_BITS).reset(0);
        let ends = m.input("through_i", 1) | m.input("heads_through_i", 1);
        let now = through.q() + ends.zext(NUMBER_BITS);
        let products = under_way.data.slice(NUMBER_BITS, count).zext(NUMBER_BITS);
        let pop = (under_way.valid & now.ge(products)).named("pop");
        under_way.ready.set(pop);
        through.set(clear.mux(m.lit(NUMBER_BITS, 0), now - (pop.repeat(NUMBER_BITS) & products)));
        let finished = m.reg("finished", NUMBER_BITS).reset(0);
        finished.update(&[(clear, m.lit(NUMBER_BITS, 0)), (pop, finished.q() + 1)]);
        m.output("pop_o", pop);
        let none = !under_way.valid | (pop & queue.get("count_o").eq(1));
        m.output("heads_turn_o", none);
        m.output("idle_o", !front.valid & none);
        m.output("finished_o", finished.q());
        m.output("front_valid_o", under_way.valid | front.valid);
        let index = under_way.data.trunc(NUMBER_BITS);
        m.output("front_o", under_way.valid.mux(index, front.command.index));
        Ok(())
    }
}

impl Block for Sequencer {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Mapping { columns, granules, .. } = self.mapping;
        let name = format!("sequencer_s{}_c{columns}_g{granules}_w{}_n{}", self.slots, self.word, self.note);
        let m = Builder::new(name);
        let clear = m.input("start_i", 1);
        let queue = self.queue(&m)?;
        let (armed, leaves) = (m.later("armed", 1), m.later("leaves", 1));
        let front = self.front(&m, &queue, (armed.wire(), leaves.wire()))?;
        let heads = front.command.heads;
        let need = heads.mux(m.input("heads_need_i", self.room_bits()), front.need);
        let takes = armed.wire() | m.input("heads_arms_i", 1);
        let [room, word] = self.room(&m, clear, need, takes)?;
        let some = front.some;
        let missing = m.input("missing_i", self.slots) & front.round;
        armed.set((front.mapped & !heads & some & room & missing.is_zero()).named("arms"));
        let last = (front.last & armed.wire()) | front.heads_last;
        leaves.set(front.mapped & (last | !some));
        queue.ready.set(leaves.wire());
        self.ends(&m, clear, &front, (armed.wire(), leaves.wire()))?;

        let command = &front.command;
        let outputs = [
            ("pred", command.pred),
            ("decision_valid", command.decides),
            ("decision", command.decision),
            ("operand_valid", command.filled),
            ("operand", command.filler),
            ("product_valid", armed.wire()),
            ("product_slots", front.round),
            ("product_counts", front.counts),
            ("product_places", front.places),
            ("product_word", word),
            ("product_note", command.note),
            ("heads_valid", front.mapped & heads & some),
            ("heads_slots", front.now),
            ("heads_room", room),
        ];
        outputs.iter().for_each(|(name, wire)| m.output(&format!("{name}_o"), *wire));
        m.finish()
    }
}

const _: () = assert!(Mapping::LATENCY as u64 + 1 == MAC_MAP);
