//! Attention in a cluster: from sums of keys to the weights of values.
//!
//! What `docs/numerics.md` (section 6) defines, cut at the place where channels that share a head have to agree:
//!
//! ```text
//! pe::Cluster ── sums of keys ─> Scores ── largest ─> HOP ─> Exchange ─> HOP ─> Weights ── weights ─> pe::Cluster
//!                                 │  └── memory of scores ───────────────────────> │
//! key stream ── value scales ─> ValueScales ── memory of scale bytes ────────────> │ ── sums of weights ─> HOP ─> Totals
//! ```
//!
//! * [`Attention`]: all that a channel has of it.
//! * [`Score`]: a sum of a key's block dots becomes a score in fixed point.
//! * [`Scores`]: the scores of all columns, kept for every token and head, and the largest of each head.
//! * [`ValueScales`]: the scale bytes of the values, kept for every token, and the largest.
//! * [`Exchange`]: the largest over the channels that share a head, in the middle of the machine.
//! * [`Weights`]: the weights of the values in the order of their stream, and the sum of the weights of each head.
//! * [`Totals`]: that sum over the channels that share a head.
//! * [`Agreement`]: both, in the middle, and what the vector unit needs of them.
//! * [`Center`]: when keys and values are armed; [`Queries`]: queries on their way to the channels.
//! * [`Sums`]: weighted sums of values on their way to the vector unit.
//! * [`ValueDrain`]: one sum of values a cycle from a cluster.
//! * [`Lines`]: what comes from all channels at once, as groups of one channel's words.
//!
//! What goes through all of them comes beat by beat:
//!
//! ```text
//! middle ─ phases, queries ─┐
//! walk::Heads ─ spans ──────┼─> Spans: SpanWalk, ScaleBytes, QueryBuffer ──> pe::Cluster, Attention
//! port ─ beats ─────────────┘
//! ```
//!
//! * [`Turn`]: whether weights or attention take a channel's next beat.
//! * [`SpanWalk`]: what the beats are.
//! * [`ScaleBytes`]: the scale bytes that come ahead of a block's keys.
//! * [`QueryBuffer`]: the queries that keys meet.
//! * [`Spans`]: these joined; [`array::Share`](crate::array::Share) is the whole of a channel.
//!
//! # Words, lanes, passes
//!
//! A *word* is what a beat's accumulators belong to: one token, or, where a beat holds two of them (heads of 32 in
//! beats of 64 bytes: *narrow* ones), two. A beat has as many *lanes* as it has parts of 32 bytes, at least one. Heads
//! are narrow, or their size is a multiple of the beat, or the beat's is 16 bytes.
//!
//! Query head h of a group of those that share keys meets the keys in column `h % columns`, pass `h / columns`, and the
//! values in pair `h % pairs`, pass `h / pairs`, with `pairs = columns / 2` (at least one). So with an even number of
//! columns a pair's heads come from two columns, its *halves*: pass v of the values reads half `v % 2` of pass
//! `v / 2` of the keys.
//!
//! # What a program has to keep to
//!
//! A head's scores on a channel, tokens times passes over the keys, fit [`Shape::tokens`]; so do its scale bytes of
//! values in four times as many. The number of columns is 1 or even.
//!
//! # When what happens
//!
//! With T the cycle in which the sums of the slowest cluster's last key are given to [`Scores`], which is when the
//! results of the product may be used ([`MAC_LATENCY`](fastcar_arch::timing::MAC_LATENCY) after the last beat):
//!
//! | cycle | what | why then |
//! |---|---|---|
//! | T + 12 | `send_i` of [`Scores`] | the middle tells all channels at once; it has known since T - 10 |
//! | T + 13 | the largest value scale leaves | a cycle before the scores, since it is known earlier |
//! | T + 14 | the largest scores of the first value pass leave, those of the others behind | [`Scores::LATENCY`] |
//! | + [`HOP`](fastcar_arch::timing::HOP) | in the middle | |
//! | + log2(channels), at most 5 | the largest of all | [`Exchange::latency`] |
//! | + `HOP` - 1 | at the channel | the last register is in [`Weights`] |
//! | T + 36 at the latest | the first pass's weights may be taken, the others' behind | [`Weights::LATENCY`] from the scale |
//! | T + 37 | the first beat of values may be at the cluster | [`SCORE_LATENCY`](fastcar_arch::timing::SCORE_LATENCY) + [`MAC_START`](fastcar_arch::timing::MAC_START) + 1 |
//!
//! The weights run ahead of the beats by what a queue holds, so that a beat never waits for one.

pub mod agreement;
pub mod attention;
pub mod center;
pub mod exchange;
pub mod lines;
pub mod queries;
pub mod query_buffer;
pub mod scale_bytes;
pub mod score;
pub mod scores;
pub mod span_walk;
pub mod spans;
pub mod sums;
pub mod turn;
pub mod value_drain;
pub mod value_scales;
pub mod weights;

pub use agreement::Agreement;
pub use attention::Attention;
pub use center::Center;
pub use exchange::{Exchange, Totals};
pub use lines::Lines;
pub use queries::Queries;
pub use query_buffer::{Query, QueryBuffer};
pub use scale_bytes::ScaleBytes;
pub use score::Score;
pub use scores::Scores;
pub use span_walk::SpanWalk;
pub use spans::{Phase, Spans};
pub use sums::Sums;
pub use turn::Turn;
pub use value_drain::ValueDrain;
pub use value_scales::ValueScales;
pub use weights::Weights;

use crate::prim::within;
use crate::rtl::{Builder, RamStyle, RtlError, Wire, index_width};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::num::mx::BLOCK;

/// Width of what channels exchange: 0 for no token, [`NAN`] for NaN, an integer maximum plus [`MAX_BIAS`], or a scale
/// byte. The largest of such words is the word of the largest.
pub const WORD: u32 = 17;
/// The word of NaN.
pub const NAN: u64 = (1 << WORD) - 1;
/// What is added to an integer maximum, of which the least is -2^15.
pub const MAX_BIAS: u64 = (1 << 15) + 1;

/// Sizes of a cluster's attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Columns of the cluster.
    pub columns: u32,
    /// Parts of a beat that may belong to tokens of their own.
    pub lanes: u32,
    /// Beats of a block's elements.
    pub block_beats: u32,
    /// Passes over the values, at most.
    pub passes: u32,
    /// Tokens of the score memory, for as many heads as there are columns.
    pub tokens: u32,
}

impl Shape {
    /// What a configuration's clusters need.
    ///
    /// # Errors
    /// [`RtlError::Parameter`] for an odd number of columns above one: pairs and columns would serve different heads.
    pub fn of(config: &AccelConfig) -> Result<Self, RtlError> {
        let beat = config.fields().beat_bytes;
        // As many as a head of one block, and a beat, has room for.
        let passes = config.acc_rows() / beat.max(BLOCK as u32);
        let shape = Self {
            columns: config.columns(),
            lanes: (beat / BLOCK as u32).max(1),
            block_beats: (BLOCK as u32 / beat).max(1),
            passes: passes.max(1),
            tokens: config.score_tokens(),
        };
        shape.checked()
    }

    /// The shape, if it can be built.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn checked(self) -> Result<Self, RtlError> {
        const NAME: &str = "attention";
        if self.columns != 1 && (!self.columns.is_multiple_of(2) || !(2..=32).contains(&self.columns)) {
            let (asked, allowed) = (u64::from(self.columns), "1, or even and at most 32");
            return Err(RtlError::Parameter { block: NAME, parameter: "columns", asked, allowed });
        }
        within(NAME, "lanes", self.lanes, 1..=2, "1 or 2")?;
        let allowed = "1, or 2 with one lane";
        within(NAME, "block_beats", self.block_beats, 1..=3 - self.lanes, allowed)?;
        within(NAME, "passes", self.passes, 1..=2048, "1 to 2048")?;
        within(NAME, "tokens", self.tokens, 32..=32_768, "32 to 32768")?;
        Ok(self)
    }

    /// Pairs of columns: query heads of a pass over values.
    #[must_use]
    pub fn pairs(&self) -> u32 {
        (self.columns / 2).max(1)
    }

    /// Columns of a pair.
    #[must_use]
    pub fn halves(&self) -> u32 {
        self.columns / self.pairs()
    }

    /// Passes over the keys, at most.
    #[must_use]
    pub fn key_passes(&self) -> u32 {
        self.passes.div_ceil(self.halves())
    }

    /// Width of the number of a pass over the values.
    #[must_use]
    pub fn pass_width(&self) -> u32 {
        index_width(self.passes.into())
    }

    /// The pass over the keys, and the half, of a pass over the values.
    fn key_pass<'m>(&self, pass: Wire<'m>) -> (Wire<'m>, Wire<'m>) {
        let m = pass.builder();
        let width = index_width(self.key_passes().into());
        match self.halves() {
            1 => (pass, m.lit(1, 0)),
            _ if pass.width() == 1 => (m.lit(width, 0), pass),
            _ => (pass.slice(1, pass.width() - 1).zext(width), pass.bit(0)),
        }
    }

    /// The next base of a word's addresses behind one that has so many passes over the keys, less one.
    fn behind<'m>(&self, base: Wire<'m>, last_key_pass: Wire<'m>) -> Wire<'m> {
        base + self.fit(last_key_pass) + 1
    }

    /// A number of a pass in the width of an address.
    fn fit<'m>(&self, pass: Wire<'m>) -> Wire<'m> {
        pass.zext(pass.width().max(self.address_width())).trunc(self.address_width())
    }

    /// Words of the score memory: of each, the scores of all lanes and halves of a pair.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.tokens / self.lanes
    }

    /// Width of an address of the score memory.
    #[must_use]
    pub fn address_width(&self) -> u32 {
        index_width(self.depth().into())
    }

    /// Width of a number of words of a head.
    #[must_use]
    pub fn count_width(&self) -> u32 {
        index_width(u64::from(self.tokens) + 1)
    }

    /// The part of a module's name that tells the shape.
    fn name(&self) -> String {
        format!("c{}_l{}_p{}_t{}", self.columns, self.lanes, self.passes, self.tokens)
    }
}

/// Bits of a scale byte.
const BYTE: u32 = 8;

/// The memory that wastes the least of itself.
fn style(width: u32, depth: u32) -> RamStyle {
    match (width, depth) {
        (_, 0..=64) => RamStyle::Distributed,
        (33.., 4096..) => RamStyle::Ultra,
        _ => RamStyle::Block,
    }
}

/// The larger of two numbers.
fn larger<'m>(a: Wire<'m>, b: Wire<'m>) -> Wire<'m> {
    a.lt(b).mux(b, a)
}

/// Numbers of passes, one after the other, once a pulse has come: the pulse a cycle later, whether there is a number,
/// and the number.
fn passes<'m>(m: &'m Builder, name: &str, pulse: Wire<'m>, last: Wire<'m>) -> [Wire<'m>; 3] {
    let first = m.register_valid(&format!("{name}_first"), pulse);
    let (valid, pass) =
        (m.reg(&format!("{name}_valid"), 1).reset(0), m.reg(&format!("{name}_pass"), last.width()));
    let ends = valid.q() & pass.q().eq(last);
    valid.update(&[(first, m.lit(1, 1)), (ends, m.lit(1, 0))]);
    pass.update(&[(first, m.lit(last.width(), 0)), (valid.q(), pass.q() + 1)]);
    [first, valid.q(), pass.q()]
}
