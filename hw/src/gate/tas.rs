//! `gate_tas`: the scores of past keys.
//!
//! # Purpose
//!
//! The gate unit's part in a `gate_tas`: from the command and the slots that the walker names, with the rows of beats that come on the record stream, to the scores of its slots.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i`, `start_i` | in | 1 | nothing to do; a run begins |
//! | `push_valid_i`, `push_i` | in | 1, [`Tas::width`] | a `gate_tas`, see [`WaitingKeys`] |
//! | `place_valid_i`, `place_i`, `rows_i` | in | 1, [`Place::width`], [`ROWS_BITS`] | of the walker: a slot; the rows of other records that come before its keys |
//! | `taken_i` | in | [`ROWS_BITS`] | rows of other records that have been taken |
//! | `scores_i`, `settles_i` | in | 1 | as [`Gates`](crate::drs::Gates) say: the first gate is a `gate_tas` whose slots are known; it has decided |
//! | `operand_valid_o`, `operand_o`, `missing_i` | out, out, in | 1, 8, slots | the vector command that fills the first one's queries, if there is one; slots whose queries are not there |
//! | `read_slot_o`, `read_block_o`, `read_first_o` | out | log2(slots), block, block | a block of queries is asked for, and the largest scale byte of its vector |
//! | `read_scale_i`, `read_elems_i`, `read_largest_i` | in | 8, 256, 8 | two cycles later |
//! | `row_valid_i`, `row_data_i`, `row_ready_o` | | 1, 8 x beat x channels, 1 | a row; taken when both are set |
//! | `active_o`, `need_o` | out | 1, channels | rows are the gate unit's; the channels of which the next one is made |
//! | `score_valid_o`, `score_slot_o`, `score_o`, `scored_o` | out | 1, log2(slots), 32, 1 | *pipe* of scores; the first gate's last one comes or has come |
//! | `over_o` | out | 8 | commands whose keys are behind the unit |
//! | `busy_o` | out | 1 | keys are taken in this cycle |
//!
//! # Timing
//!
//! The rules of `docs/cycles.md` (Gate unit). A slot is looked at as soon as its addresses are at the ports, [`Tas::PLACED`] cycles after the walker has named it.
//!
//! # Numeric contract
//!
//! That of [`Score`].
//!
//! # Cost
//!
//! [`Keys`], [`Score`], a queue of commands and one of slots. Figures: `tests/baselines/rtl/gate.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_gate.rs`: `keys_are_scored`; `tests/tests/rtl_core`: whole runs.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{gate::Tas, rtl::Block};
//!
//! let tas = Tas::new(&AccelConfig::preset("u55c")?);
//! assert_eq!(tas.module()?.name(), "gate_tas_c32_b64_s32_q1024");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::{Keys, SCALES, Score, Sizes, Token};
use crate::cmd::fields::cut;
use crate::cmd::{Fields, NUMBER_BITS, Writers};
use crate::prim::{DelayLine, Fifo};
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Stream, Wire, index_width};
use crate::walk::PastWalker;
use crate::walk::past::Place;
use fastcar_arch::config::{AccelConfig, LINE_WORDS};
use fastcar_arch::timing::{ADDRESS, PORT_ISSUE, QUEUE_COMMANDS};
use std::sync::Arc;

/// Bits of a number of rows: as many are on their way at most.
pub const ROWS_BITS: u32 = 24;
/// Bits of a word.
const WORD: u32 = 32;
/// Cycles that the queue of slots takes.
const QUEUE: u32 = 2;

/// The unit. See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tas {
    config: AccelConfig,
    sizes: Sizes,
}

/// A `gate_tas` that waits.
#[derive(Clone, Copy, Debug)]
pub struct WaitingKeys<'m> {
    /// Whether a vector command fills its queries, and its number.
    pub filled: Wire<'m>,
    /// See `filled`.
    pub filler: Wire<'m>,
    /// First block of the queries.
    pub src: Wire<'m>,
    /// Query heads.
    pub heads: Wire<'m>,
    /// Key/value heads.
    pub kv_heads: Wire<'m>,
    /// Blocks of a head.
    pub scales: Wire<'m>,
    /// The scores' factor.
    pub scale: Wire<'m>,
}

impl<'m> WaitingKeys<'m> {
    fn widths(s: &Sizes) -> [u32; 7] {
        [1, NUMBER_BITS, s.block_bits(), s.heads_bits(), s.heads_bits(), SCALES, WORD]
    }

    /// That of a command, with the vector command that fills its queries.
    ///
    /// # Errors
    /// As [`Fields::field`].
    pub fn new(tas: &Tas, c: &Fields<'m>, [filled, filler]: [Wire<'m>; 2]) -> Result<Self, RtlError> {
        let field = |name| c.field("gate_tas", name);
        let (s, fit) = (&tas.sizes, |wire: Wire<'m>, width| wire.zext(wire.width().max(width)).trunc(width));
        Ok(Self {
            filled,
            filler,
            src: fit(field("src")?, s.block_bits()),
            heads: fit(field("heads")?, s.heads_bits()),
            kv_heads: fit(field("kv_heads")?, s.heads_bits()),
            scales: field("head_dim")?.slice(LINE_WORDS.ilog2(), SCALES),
            scale: field("scale")?,
        })
    }

    /// All in one word.
    #[must_use]
    pub fn word(&self, m: &'m Builder) -> Wire<'m> {
        let Self { filled, filler, src, heads, kv_heads, scales, scale } = *self;
        m.pack(&[filled, filler, src, heads, kv_heads, scales, scale])
    }

    fn of(s: &Sizes, word: Wire<'m>) -> Self {
        let [filled, filler, src, heads, kv_heads, scales, scale] = Self::widths(s).map(cut(word));
        Self { filled, filler, src, heads, kv_heads, scales, scale }
    }
}

impl Tas {
    /// Cycles from a slot that the walker names to its addresses at the ports, as the stream takes them.
    pub const PLACED: u32 = (ADDRESS - PORT_ISSUE) as u32 - (Writers::LATENCY + 1) - PastWalker::LATENCY;

    /// For a configuration.
    #[must_use]
    pub fn new(config: &AccelConfig) -> Self {
        Self { config: config.clone(), sizes: Sizes::new(config) }
    }

    /// Width of what is pushed.
    #[must_use]
    pub fn width(&self) -> u32 {
        WaitingKeys::widths(&self.sizes).iter().sum()
    }

    /// The commands, in order. Nobody pushes more than there is room for.
    fn commands<'m>(&self, m: &'m Builder) -> Result<Stream<'m>, RtlError> {
        let (valid, data) = (m.input("push_valid_i", 1), m.input("push_i", self.width()));
        let pushed = Stream { valid, data, ready: m.later("room", 1) };
        let queue = Fifo::new(self.width(), QUEUE_COMMANDS as u32, RamStyle::Distributed)?;
        queue.after(m, "u_commands", pushed)
    }

    /// The slots of all of them, when their addresses are at the ports, each with the rows before its keys.
    fn places<'m>(&self, m: &'m Builder) -> Result<Stream<'m>, RtlError> {
        let word = m.input("rows_i", ROWS_BITS).cat(m.input("place_i", Place::width(&self.config)));
        let cycles = Self::PLACED - QUEUE;
        let valid = m.input("place_valid_i", 1);
        let valid = (0..cycles).fold(valid, |bit, n| m.register_valid(&format!("place_valid_{n}"), bit));
        let data = DelayLine::new(word.width(), cycles)?.build(m, "place", word);
        let named = Stream { valid, data, ready: m.later("place_room", 1) };
        // A command has a slot at least.
        let depth = QUEUE_COMMANDS as u32 * self.sizes.slots;
        Fifo::new(data.width(), depth, RamStyle::Block)?.after(m, "u_places", named)
    }

    /// Slots whose scores are on their way: whether those of all so far have come by this cycle.
    fn come<'m>(m: &'m Builder, start: Wire<'m>, slot: Wire<'m>, comes: Wire<'m>) -> Wire<'m> {
        let bits = index_width(u64::from(Score::LATENCY));
        let under_way = m.reg("under_way", bits).reset(0);
        under_way.update(&[
            (start, m.lit(bits, 0)),
            (slot & !comes, under_way.q() + 1),
            (comes & !slot, under_way.q() - 1),
        ]);
        under_way.q().is_zero() | (under_way.q().eq(1) & comes)
    }
}

impl Block for Tas {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let s = &self.sizes;
        let m = Builder::new(s.name("gate_tas"));
        let start = m.input("start_i", 1);
        let (commands, places) = (self.commands(&m)?, self.places(&m)?);
        let settles = m.input("settles_i", 1);
        commands.ready.set(settles);
        let task = WaitingKeys::of(s, commands.data);
        m.output("operand_valid_o", task.filled);
        m.output("operand_o", task.filler);

        let keys = m.instance("u_keys", &Keys::new(&self.config))?;
        let split = Place::width(&self.config);
        keys.set("place_valid_i", places.valid);
        keys.set("place_data_i", places.data.trunc(split));
        places.ready.set(keys.get("place_ready_o"));
        // The first gate's last slot is behind the unit: the next one's wait.
        let through = m.reg("through", 1).reset(0);
        through.update(&[(start | settles, m.lit(1, 0)), (keys.get("over_o"), m.lit(1, 1))]);
        let turn = places.data.slice(split, ROWS_BITS).eq(m.input("taken_i", ROWS_BITS));
        let inputs = [
            ("start", start),
            ("wanted", m.input("scores_i", 1) & !through.q()),
            ("src", task.src),
            ("heads", task.heads),
            ("kv_heads", task.kv_heads),
            ("scales", task.scales),
            ("turn", turn),
            ("missing", m.input("missing_i", s.slots)),
            ("row_valid", m.input("row_valid_i", 1)),
        ];
        inputs.iter().for_each(|(name, wire)| keys.set(&format!("{name}_i"), *wire));
        for name in ["row_ready", "active", "need"] {
            m.output(&format!("{name}_o"), keys.get(&format!("{name}_o")));
        }
        let word = keys.get("token_o");
        let token = Token::of(s, word);
        m.output("read_slot_o", token.slot);
        m.output("read_block_o", token.block);
        m.output("read_first_o", task.src);
        m.output("busy_o", keys.get("token_valid_o"));

        let score = m.instance("u_score", &Score::new(&self.config))?;
        score.set("token_valid_i", keys.get("token_valid_o"));
        score.set("token_i", word);
        score.set("row_i", m.input("row_data_i", 8 * s.beat * s.channels));
        for (name, width) in [("scale", 8), ("elems", 256), ("largest", 8)] {
            score.set(&format!("query_{name}_i"), m.input(&format!("read_{name}_i"), width));
        }
        score.set("scale_i", task.scale);
        for name in ["score_valid", "score_slot", "score"] {
            m.output(&format!("{name}_o"), score.get(&format!("{name}_o")));
        }

        let come = Self::come(&m, start, keys.get("slot_o"), score.get("score_valid_o"));
        m.output("scored_o", through.q() & come);
        let over = m.reg("over", NUMBER_BITS).reset(0);
        over.update(&[(start, m.lit(NUMBER_BITS, 0)), (keys.get("over_o"), over.q() + 1)]);
        m.output("over_o", over.q());
        m.finish()
    }
}
