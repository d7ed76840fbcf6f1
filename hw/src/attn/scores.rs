//! `attn_scores`: the scores of a head's keys in a cluster, and the largest of each query head.
//!
//! # Purpose
//!
//! Takes the sums of keys as the cluster's accumulators come to them, keeps a score for each token and query head until
//! the values come, and gives the largest of each query head to those who compare it with the other channels'.
//!
//! # Interface
//!
//! *Pipes*: sums come, the largest are given out, words of scores are asked for. Column 0 and lane 0 are low
//! everywhere; words, passes, pairs and halves are told in the [module above](super).
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | a head without a token |
//! | `start_i` | in | 1 | a head begins, with this edge's word or later; the one before is forgotten |
//! | `factor_i` | in | 32 | [`Score`]'s |
//! | `last_pass_i` | in | pass | number of passes over the values, less one |
//! | `narrow_i` | in | 1 | two lanes: a word has two tokens |
//! | `valid_i` | in | 1 | the sums of a word in one pass over the keys, pass by pass, word by word |
//! | `sum_i` | in | columns x lanes x 48 | signed sums of the lanes; they are added up where the word is one token |
//! | `key_scale_i` | in | lanes x 8 | the token's largest scale byte of keys; one token: lane 0's |
//! | `query_scale_i` | in | columns x 8 | the query's largest scale byte |
//! | `attended_i` | in | lanes | the token is attended to; one token: lane 0's |
//! | `send_i` | in | 1 | the largest are to be given out |
//! | `value_scale_i` | in | 8 | the largest scale byte of the values, when they are |
//! | `out_valid_o`, `out_first_o` | out | 1, 1 | a word for each pair; it is the scale (the first pair's), which comes first |
//! | `out_o` | out | pairs x 17 | [words](super::WORD): pass by pass over the values, each pair's head |
//! | `count_o` | out | [`Shape::count_width`] | words of the head |
//! | `read_address_i` | in | [`Shape::address_width`] | an address of the score memory |
//! | `read_o` | out | pairs x lanes x halves x 33 | its scores, half 0 low: fixed point, attended in the top bit |
//!
//! `factor_i`, `last_pass_i` and `narrow_i` stay as they are from `start_i` until the largest have been given out. The
//! address of a word's scores in pass q of p passes over the keys is `word * p + q`; where tokens have words of their
//! own and there are two lanes, `token / 2 * p + q`, lane `token % 2`. All have to fit [`Shape::depth`]; beyond it
//! addresses begin again.
//!
//! # Timing
//!
//! A word a cycle. Sums sampled on edge `e` are in the largest that leave on edge `e +` [`Scores::LATENCY`], in
//! `count_o` and in what is asked for on that edge. `send_i` on edge `e` brings the scale on edge `e + 1` and pass v on
//! edge `e + 2 + v`. `read_o` follows its address by [`Scores::READ`] edges.
//!
//! # Numeric contract
//!
//! [`Score`]'s; the largest is [`max_int`](fastcar_arch::num::softmax::max_int) of the largest score that is attended
//! to, NaN if one of these is NaN, and without any the word is 0.
//!
//! # Cost
//!
//! A [`Score`] for each column and lane; a memory of 33 bits for each token and column; distributed memory for the
//! largest of each pass. Figures: `tests/baselines/rtl/attn_scores.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_attn.rs`: `scores_*`, beside a model, in values and cycles.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{attn::{Scores, Shape}, rtl::Block};
//!
//! let scores = Scores::new(Shape::of(&AccelConfig::preset("edge")?)?)?;
//! assert_eq!(scores.module()?.name(), "attn_scores_c2_l1_p128_t4096");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::score::BASE_BITS;
use super::{BYTE, NAN, Score, Shape, WORD, larger, passes, style};
use crate::func::score::SCORE_WIDTH;
use crate::func::{later, later_valid};
use crate::rtl::{Block, Builder, Memory, Module, RamStyle, RtlError, Wire, index_width};
use fastcar_arch::num::softmax::SCORE_FRAC_BITS;
use fastcar_arch::num::window::ACC_BITS;
use std::sync::Arc;

/// Bits of a token's entry for a head: its score, and whether it is attended to.
pub(super) const ENTRY: u32 = SCORE_WIDTH + 1;
/// Cycles of the register behind the ports, in which lanes are added up.
const TAKE: u32 = 1;

/// The scores of a cluster. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scores {
    shape: Shape,
}

impl Scores {
    /// Cycles from sums to the largest: sum, score, word, comparison.
    pub const LATENCY: u32 = TAKE + Score::LATENCY + 2;
    /// Cycles from an address to its scores: the memory's own register and its output register.
    pub const READ: u32 = 2;

    /// For a shape.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(shape: Shape) -> Result<Self, RtlError> {
        Ok(Self { shape: shape.checked()? })
    }

    /// Width of the number of a pass over the keys.
    fn key_width(&self) -> u32 {
        index_width(self.shape.key_passes().into())
    }
}

/// A word's sums in one pass, and what else they need, one cycle after they came.
struct Taken<'m> {
    valid: Wire<'m>,
    /// By column and lane.
    sums: Vec<Vec<Wire<'m>>>,
    bases: Vec<Vec<Wire<'m>>>,
    nan: Vec<Vec<Wire<'m>>>,
}

impl<'m> Taken<'m> {
    fn new(s: &Shape, m: &'m Builder, valid: Wire<'m>, narrow: Wire<'m>) -> Self {
        let lanes = s.lanes as usize;
        let sums = m.input("sum_i", s.columns * s.lanes * ACC_BITS).chunks(ACC_BITS);
        let keys = m.input("key_scale_i", s.lanes * BYTE).chunks(BYTE);
        let queries = m.input("query_scale_i", s.columns * BYTE).chunks(BYTE);
        let sum = |column: usize, lane: usize| {
            let own = sums[column * lanes + lane];
            let rest = sums.get(column * lanes + 1).filter(|_| lane == 0 && lanes > 1);
            let total = rest.map_or(own, |rest| own + (*rest & (!narrow).repeat(ACC_BITS)));
            m.register(&format!("sum_{column}_{lane}"), total)
        };
        let base = |column: usize, lane: usize| {
            let total = queries[column].zext(BASE_BITS) + keys[lane].zext(BASE_BITS);
            m.register(&format!("base_{column}_{lane}"), total)
        };
        let nan = |column: usize, lane: usize| {
            m.register(&format!("nan_{column}_{lane}"), queries[column].all() | keys[lane].all())
        };
        let all = |of: &dyn Fn(usize, usize) -> Wire<'m>| -> Vec<Vec<_>> {
            (0..s.columns as usize).map(|column| (0..lanes).map(|lane| of(column, lane)).collect()).collect()
        };
        Self { valid: m.register_valid("taken", valid), sums: all(&sum), bases: all(&base), nan: all(&nan) }
    }
}

/// Scores of all columns and lanes, and where they belong.
struct Scored<'m> {
    valid: Wire<'m>,
    /// By lane.
    attended: Vec<Wire<'m>>,
    /// By column and lane: score, NaN.
    scores: Vec<Vec<[Wire<'m>; 2]>>,
}

impl<'m> Scored<'m> {
    fn new(s: &Shape, m: &'m Builder, taken: &Taken<'m>) -> Result<Self, RtlError> {
        let factor = m.input("factor_i", 32);
        let mut valid = None;
        let mut score = |column: usize, lane: usize| -> Result<_, RtlError> {
            let score = m.instance(&format!("u_score_{column}_{lane}"), &Score)?;
            score.set("valid_i", taken.valid);
            score.set("acc_i", taken.sums[column][lane]);
            score.set("base_i", taken.bases[column][lane]);
            score.set("nan_i", taken.nan[column][lane]);
            score.set("factor_i", factor);
            valid.get_or_insert(score.get("valid_o"));
            Ok([score.get("fixed_o"), score.get("nan_o")])
        };
        let scores = (0..s.columns as usize).map(|column| {
            (0..s.lanes as usize).map(|lane| score(column, lane)).collect::<Result<Vec<_>, RtlError>>()
        });
        let scores = scores.collect::<Result<_, _>>()?;
        let attended = later(m, "attended", m.input("attended_i", s.lanes), TAKE + Score::LATENCY)?;
        Ok(Self { valid: valid.unwrap_or(taken.valid), attended: attended.bits(), scores })
    }

    /// The entry of the score memory.
    fn entry(&self, column: usize, lane: usize) -> Wire<'m> {
        self.attended[lane].cat(self.scores[column][lane][0])
    }

    /// The word of a score: its integer maximum with a bias, 0 where the token is not attended to.
    fn word(&self, m: &'m Builder, column: usize, lane: usize) -> Wire<'m> {
        let [score, nan] = self.scores[column][lane];
        let whole = score.slice(SCORE_FRAC_BITS, SCORE_WIDTH - SCORE_FRAC_BITS);
        // From -2^15 on, one more, and one for a fraction.
        let biased = (whole ^ (1 << (whole.width() - 1))).zext(WORD) + 1;
        let up = score.trunc(SCORE_FRAC_BITS).any().zext(WORD);
        let word = nan.mux(m.lit(WORD, NAN), biased + up);
        word & self.attended[lane].repeat(WORD)
    }
}

/// Where the scores of a pass belong.
struct Walk<'m> {
    /// Pass over the keys.
    pass: Wire<'m>,
    /// The first word of its head.
    first: Wire<'m>,
    address: Wire<'m>,
    /// The second token of a word of the memory.
    odd: Wire<'m>,
    /// Words of the head.
    count: Wire<'m>,
}

impl<'m> Walk<'m> {
    /// From word to word; `start` is as late as `valid`.
    fn new(
        scores: &Scores,
        m: &'m Builder,
        [start, valid, narrow]: [Wire<'m>; 3],
        last_pass: Wire<'m>,
    ) -> Self {
        let s = &scores.shape;
        let pass = m.reg("key_pass", scores.key_width()).reset(0);
        let number = start.mux(m.lit(pass.q().width(), 0), pass.q());
        let ends = (valid & number.eq(last_pass)).named("ends_word");
        pass.update(&[(ends, m.lit(pass.q().width(), 0)), (valid, number + 1), (start, number)]);

        let count = m.reg("count", s.count_width()).reset(0);
        let words = start.mux(m.lit(s.count_width(), 0), count.q());
        count.update(&[(ends, words + 1), (start, words)]);
        let odd = words.bit(0) & !narrow;

        // The address of pass 0 of the word.
        let base = m.reg("base", s.address_width()).reset(0);
        let from = start.mux(m.lit(s.address_width(), 0), base.q());
        let over = if s.lanes == 1 { ends } else { ends & (narrow | odd) };
        base.update(&[(over, s.behind(from, last_pass)), (start, from)]);
        Self { pass: number, first: words.is_zero(), address: from + s.fit(number), odd, count: count.q() }
    }
}

impl Scores {
    /// A pair's score memory: the words that are asked for.
    fn remember<'m>(
        &self,
        m: &'m Builder,
        pair: u32,
        scored: &Scored<'m>,
        walk: &Walk<'m>,
        narrow: Wire<'m>,
        asked: Wire<'m>,
    ) -> Wire<'m> {
        let s = &self.shape;
        let columns: Vec<_> = (0..s.halves()).map(|half| (pair + half * s.pairs()) as usize).collect();
        let entries = |lane: usize| {
            m.pack(&columns.iter().map(|&column| scored.entry(column, lane)).collect::<Vec<_>>())
        };
        let mut word = vec![entries(0)];
        if s.lanes > 1 {
            // The first of two tokens waits for the second, so that both are written together.
            let held =
                m.memory(&format!("held_{pair}"), s.halves() * ENTRY, s.key_passes(), RamStyle::Distributed);
            held.write(scored.valid & !walk.odd, walk.pass, word[0]);
            let first = walk.odd.mux(held.read(walk.pass), word[0]);
            word = vec![first, narrow.mux(entries(1), word[0])];
        }
        let word = m.pack(&word);
        let memory =
            m.memory(&format!("scores_{pair}"), word.width(), s.depth(), style(word.width(), s.depth()));
        memory.write(scored.valid, walk.address, word);
        let read = memory.read_registered(&format!("read_{pair}"), m.lit(1, 1), asked);
        m.register(&format!("found_{pair}"), read)
    }

    /// The largest words of a column by pass; the memory they are in.
    fn largest<'m>(
        &self,
        m: &'m Builder,
        column: u32,
        scored: &Scored<'m>,
        walk: &Walk<'m>,
        narrow: Wire<'m>,
    ) -> Memory<'m> {
        let word = |lane: u32| scored.word(m, column as usize, lane as usize);
        let words: Vec<_> = (0..self.shape.lanes)
            .map(|lane| if lane == 0 { word(0) } else { word(lane) & narrow.repeat(WORD) })
            .enumerate()
            .map(|(lane, word)| m.register(&format!("word_{column}_{lane}"), word))
            .collect();
        let name = |what: &str| format!("{what}_{column}");
        let valid = m.register_valid(&name("compared"), scored.valid);
        let pass = m.register(&name("compared_pass"), walk.pass);
        let first = m.register(&name("compared_first"), walk.first);
        let memory = m.memory(&name("largest"), WORD, self.shape.key_passes(), RamStyle::Distributed);
        let before = memory.read(pass) & (!first).repeat(WORD);
        let largest = m.tree(&words, larger);
        memory.write(valid, pass, larger(largest, before));
        memory
    }

    /// Gives the largest out, pass by pass.
    fn send<'m>(&self, m: &'m Builder, largest: &[Memory<'m>], none: Wire<'m>, last_pass: Wire<'m>) {
        let s = &self.shape;
        let [first, sends, pass] = passes(m, "sends", m.input("send_i", 1), last_pass);
        let (key_pass, half) = s.key_pass(pass);
        let scale = m.input("value_scale_i", BYTE).zext(WORD);
        let word = |pair: u32| {
            let of_half = |half: u32| largest[(pair + half * s.pairs()) as usize].read(key_pass);
            let halves: Vec<_> = (0..s.halves()).map(of_half).collect();
            let word = if s.halves() == 1 { halves[0] } else { half.choose(&halves) };
            let word = word & (!none).repeat(WORD);
            if pair == 0 { first.mux(scale, word) } else { word }
        };
        m.output("out_valid_o", first | sends);
        m.output("out_first_o", first);
        m.output("out_o", m.pack(&(0..s.pairs()).map(word).collect::<Vec<_>>()));
    }
}

impl Block for Scores {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let s = &self.shape;
        let m = Builder::new(format!("attn_scores_{}", s.name()));
        let last_pass = m.input("last_pass_i", s.pass_width());
        let narrow = if s.lanes > 1 { m.input("narrow_i", 1) } else { m.lit(1, 0) };
        let (start, valid) = (m.input("start_i", 1), m.input("valid_i", 1));
        let taken = Taken::new(s, &m, valid, narrow);
        let scored = Scored::new(s, &m, &taken)?;
        let start = later_valid(&m, "start", start, TAKE + Score::LATENCY);
        let (last_key_pass, _) = s.key_pass(last_pass);
        let walk = Walk::new(self, &m, [start, scored.valid, narrow], last_key_pass);

        let asked = m.input("read_address_i", s.address_width());
        let found = (0..s.pairs()).map(|pair| self.remember(&m, pair, &scored, &walk, narrow, asked));
        m.output("read_o", m.pack(&found.collect::<Vec<_>>()));
        let largest: Vec<_> =
            (0..s.columns).map(|column| self.largest(&m, column, &scored, &walk, narrow)).collect();
        // As late as the largest.
        let count = m.register("count_late", walk.count);
        self.send(&m, &largest, count.is_zero(), last_pass);
        m.output("count_o", count);
        m.finish()
    }
}
