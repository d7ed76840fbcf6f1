//! `attn_weights`: the softmax weights of a head's values, in the order in which these come.
//!
//! # Purpose
//!
//! Once the largest score of each query head is known over all channels, every score that was kept becomes a weight for
//! each part of its value, and the weights of each query head are added up. The weights wait in a queue for the beats
//! that they go with.
//!
//! # Interface
//!
//! The largest come by a *pipe*, weights go by a *stream*, scores and scale bytes are asked for. Words, lanes, passes
//! and pairs are told in the [module above](super).
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | no head |
//! | `last_pass_i` | in | pass | number of passes over the values, less one |
//! | `last_beat_i` | in | [`Weights::BEAT_BITS`] | beats of a word, less one |
//! | `narrow_i` | in | 1 | two lanes: a word has two tokens |
//! | `count_i` | in | [`Shape::count_width`] | words of the head, from [`Scores`] |
//! | `in_valid_i`, `in_first_i`, `in_i` | in | 1, 1, pairs x 17 | the largest of all channels: what [`Scores`] sends, one a cycle without a gap |
//! | `score_address_o`, `score_i` | out, in | [`Shape::address_width`], as there | the read port of [`Scores`] |
//! | `scale_address_o`, `scale_i` | out, in | as there | the read port of [`ValueScales`] |
//! | `weight_valid_o`, `weight_data_o`, `weight_ready_i` | out, out, in | 1, pairs x lanes x 25, 1 | the weights of a beat in a pass, as [`Cluster`](crate::pe::Cluster) takes them |
//! | `ask_i` | in | 1 | the sums of the weights are to be given out |
//! | `total_valid_o`, `total_o` | out | 1, pairs x 40 | the sums, pass by pass |
//!
//! Weights come word by word, in these beat by beat, in these pass by pass. `last_pass_i`, `last_beat_i`, `narrow_i`
//! and `count_i` stay as they are from the first of the largest until all weights have been taken. From then until the
//! next head's largest come the sums may be asked for: so a channel may go on with the next head's keys before others
//! are through with this one's values.
//!
//! # Timing
//!
//! A beat's weights a cycle. With the scale (`in_first_i`) on edge `e` the first weights can be taken on edge `e +`
//! [`Weights::LATENCY`]; the queue runs ahead of the beats by [`Weights::QUEUE`]. `ask_i` on edge `e` brings pass v on
//! edge `e + 2 + v`.
//!
//! # Numeric contract
//!
//! [`softmax::prob`](fastcar_arch::num::softmax::prob) of the distance and of what the part's scale byte lies below the
//! largest; the sums are of those without the latter. A token that is not attended to has the weight 0. Where the
//! largest is NaN, or the largest scale, weights are anything.
//!
//! # Cost
//!
//! An [`Exp2`] for each pair and lane; distributed memory for the queue, the largest and the sums. Figures:
//! `tests/baselines/rtl/attn_weights.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_attn.rs`: `weights_*`, beside a model, in values and cycles.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_arch::timing::{HOP, MAC_START, SCORE_LATENCY};
//! use fastcar_hw::attn::{Scores, Shape, Weights};
//! use fastcar_hw::rtl::Block;
//!
//! let weights = Weights::new(Shape::of(&AccelConfig::preset("tiny")?)?)?;
//! assert_eq!(weights.module()?.name(), "attn_weights_c2_l1_p32_t1024");
//! // A cycle is left where 32 channels take 5 cycles to agree. The scale leaves a cycle before the scores.
//! let cycles = u64::from(Scores::LATENCY - 1 + 5 + Weights::LATENCY) + HOP + (HOP - 1);
//! assert_eq!(cycles, SCORE_LATENCY + MAC_START);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::scores::ENTRY;
use super::{BYTE, MAX_BIAS, Scores, Shape, ValueScales, WORD, passes};
use crate::func::score::SCORE_WIDTH;
use crate::func::{Exp2, later, later_valid};
use crate::prim::Fifo;
use crate::rtl::{Block, Builder, Memory, Module, RamStyle, RtlError, Wire, index_width};
use fastcar_arch::num::mx::BLOCK;
use fastcar_arch::program::MAX_HEAD_DIM;
use std::sync::Arc;

/// Width of a sum of weights: 2^15 tokens of 2^24.
pub const TOTAL: u32 = 40;

/// Beats of a word at most: of the longest head in the smallest beats.
const BEATS: u64 = MAX_HEAD_DIM as u64 / (BLOCK as u64 / 2);

/// The weights of values. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    shape: Shape,
    scales: ValueScales,
}

impl Weights {
    /// Cycles from the largest scale to the first weights: read, weight, queue.
    pub const LATENCY: u32 = Scores::READ + Exp2::LATENCY + 1;
    /// Weights that are ready, or under way, before a beat takes them.
    pub const QUEUE: u32 = 32;
    /// Width of the number of a beat in a word.
    pub const BEAT_BITS: u32 = BEATS.ilog2();

    /// For a shape.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(shape: Shape) -> Result<Self, RtlError> {
        Ok(Self { shape: shape.checked()?, scales: ValueScales::new(shape)? })
    }
}

/// What a step needs when its scores have been read: a beat in a pass.
struct Step<'m> {
    valid: Wire<'m>,
    pass: Wire<'m>,
    half: Wire<'m>,
    /// The second token of a word of the score memory.
    odd: Wire<'m>,
    /// The first beat of a token; the first token of the head.
    opens: Wire<'m>,
    first: Wire<'m>,
}

impl<'m> Step<'m> {
    /// From step to step, as far as the queue has room.
    fn walk(w: &Weights, m: &'m Builder, begins: Wire<'m>, taken: Wire<'m>, c: &Constants<'m>) -> Self {
        let s = &w.shape;
        let room = m.reg("room", index_width(u64::from(Weights::QUEUE) + 1)).reset(Weights::QUEUE.into());
        let runs = m.reg("runs", 1).reset(0);
        let issue = ((begins | runs.q()) & room.q().any()).named("issue");
        room.update(&[(issue & !taken, room.q() - 1), (taken & !issue, room.q() + 1)]);

        // Innermost passes, then beats, then words.
        let counter = |name: &str, steps: Wire<'m>, last: Wire<'m>| {
            let count = m.reg(name, last.width()).reset(0);
            let ends = count.q().eq(last);
            count.set_when(steps, ends.mux(m.lit(last.width(), 0), count.q() + 1));
            (count.q(), steps & ends)
        };
        let (pass, ends_beat) = counter("pass", issue, c.last_pass);
        let (beat, ends_word) = counter("beat", ends_beat, c.last_beat);
        let (word, ends) = counter("word", ends_word, c.count - 1);
        runs.update(&[(ends, m.lit(1, 0)), (begins, m.lit(1, 1))]);

        let odd = if s.lanes == 1 { m.lit(1, 0) } else { word.bit(0) & !c.narrow };
        let over = if s.lanes == 1 { ends_word } else { ends_word & (c.narrow | odd) };
        let (key_pass, half) = s.key_pass(pass);
        let base = m.reg("base", s.address_width()).reset(0);
        base.update(&[
            (ends, m.lit(s.address_width(), 0)),
            (over, s.behind(base.q(), s.key_pass(c.last_pass).0)),
        ]);
        m.output("score_address_o", base.q() + s.fit(key_pass));
        let ends_part = if s.block_beats == 1 { ends_beat } else { ends_beat & beat.bit(0) };
        let part = m.reg("part", w.scales.address_width()).reset(0);
        part.update(&[(ends, m.lit(part.q().width(), 0)), (ends_part, part.q() + 1)]);
        m.output("scale_address_o", part.q());
        Self { valid: issue, pass, half, odd, opens: beat.is_zero(), first: word.is_zero() }
    }

    /// The same some cycles later.
    fn later(&self, m: &'m Builder, name: &str, cycles: u32) -> Result<Self, RtlError> {
        let part = |what: &str, value| later(m, &format!("{name}_{what}"), value, cycles);
        Ok(Self {
            valid: later_valid(m, &format!("{name}_valid"), self.valid, cycles),
            pass: part("pass", self.pass)?,
            half: part("half", self.half)?,
            odd: part("odd", self.odd)?,
            opens: part("opens", self.opens)?,
            first: part("first", self.first)?,
        })
    }
}

/// What stays as it is while a head lasts.
struct Constants<'m> {
    last_pass: Wire<'m>,
    last_beat: Wire<'m>,
    narrow: Wire<'m>,
    count: Wire<'m>,
}

impl<'m> Constants<'m> {
    fn new(s: &Shape, m: &'m Builder) -> Self {
        Self {
            last_pass: m.input("last_pass_i", s.pass_width()),
            last_beat: m.input("last_beat_i", Weights::BEAT_BITS),
            narrow: if s.lanes > 1 { m.input("narrow_i", 1) } else { m.lit(1, 0) },
            count: m.input("count_i", s.count_width()),
        }
    }
}

/// What all channels agreed upon: the largest scale byte, and the integer maxima by pair, in which passes are
/// addresses.
struct Largest<'m> {
    scale: Wire<'m>,
    maxima: Vec<Memory<'m>>,
}

impl<'m> Largest<'m> {
    /// Those that come; whether the first does.
    fn new(s: &Shape, m: &'m Builder) -> (Self, Wire<'m>) {
        let (valid, first) = (m.input("in_valid_i", 1), m.input("in_first_i", 1));
        let words = m.input("in_i", s.pairs() * WORD).chunks(WORD);
        let scale = m.reg("scale", BYTE);
        scale.set_when(valid & first, words[0].trunc(BYTE));
        let pass = m.reg("largest_pass", s.pass_width());
        pass.update(&[(valid & first, m.lit(s.pass_width(), 0)), (valid, pass.q() + 1)]);
        let keep = |(pair, word): (usize, &Wire<'m>)| {
            let memory = m.memory(&format!("maxima_{pair}"), WORD, s.passes, RamStyle::Distributed);
            memory.write(valid & !first, pass.q(), *word - MAX_BIAS);
            memory
        };
        let maxima = words.iter().enumerate().map(keep).collect();
        (Self { scale: scale.q(), maxima }, valid & first)
    }
}

/// A pair's weights by lane, those without the scale's part too, ten cycles after a step.
struct OfPair<'m> {
    weights: Vec<Wire<'m>>,
    plain: Vec<Wire<'m>>,
}

impl Weights {
    fn pair<'m>(
        &self,
        m: &'m Builder,
        pair: u32,
        (largest, at): (&Largest<'m>, &Step<'m>),
        (scores, scales): (Wire<'m>, &[Wire<'m>]),
        narrow: Wire<'m>,
    ) -> Result<OfPair<'m>, RtlError> {
        let s = &self.shape;
        let max = largest.maxima[pair as usize].read(at.pass);
        let of_lanes: Vec<_> = scores.chunks(s.halves() * ENTRY);
        let (mut weights, mut plain) = (Vec::new(), Vec::new());
        for lane in 0..s.lanes {
            let own = of_lanes[lane as usize];
            // Both parts of a token's beat have its score.
            let of_token = |lanes: &[Wire<'m>]| narrow.mux(own, at.odd.mux(lanes[1], lanes[0]));
            let halves = if s.lanes == 1 { own } else { of_token(&of_lanes) }.chunks(ENTRY);
            let entry = if s.halves() == 1 { halves[0] } else { at.half.choose(&halves) };
            let name = |what: &str| format!("{what}_{pair}_{lane}");
            let attended = later(m, &name("attended"), entry.msb(), Exp2::LATENCY)?;
            let exp2 = m.instance(&name("u_weight"), &Exp2)?;
            exp2.set("valid_i", at.valid);
            exp2.set("max_i", max);
            exp2.set("score_i", entry.trunc(SCORE_WIDTH));
            exp2.set("extra_i", largest.scale - scales[lane as usize]);
            weights.push(exp2.get("prob_o") & attended.repeat(Exp2::WIDTH));
            plain.push(exp2.get("plain_o") & attended.repeat(Exp2::WIDTH));
        }
        Ok(OfPair { weights, plain })
    }

    /// A pair's sums of weights, by pass; `at` is as late as the weights.
    fn total<'m>(
        &self,
        m: &'m Builder,
        pair: usize,
        plain: &[Wire<'m>],
        (at, next): (&Step<'m>, &Step<'m>),
        narrow: Wire<'m>,
    ) -> Memory<'m> {
        // Two tokens' weights are 2^25 at most.
        let width = Exp2::WIDTH + 1;
        let both =
            |other: &Wire<'m>| plain[0].zext(width) + (*other & narrow.repeat(Exp2::WIDTH)).zext(width);
        let word = plain.get(1).map_or(plain[0].zext(width), both);
        let added = m.register(&format!("added_{pair}"), word & at.opens.repeat(width));
        let memory = m.memory(&format!("totals_{pair}"), TOTAL, self.shape.passes, RamStyle::Distributed);
        let before = memory.read(next.pass) & (!(next.first & next.opens)).repeat(TOTAL);
        memory.write(next.valid, next.pass, before + added.zext(TOTAL));
        memory
    }
}

impl Block for Weights {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let s = &self.shape;
        let m = Builder::new(format!("attn_weights_{}", s.name()));
        let constants = Constants::new(s, &m);
        let (largest, comes) = Largest::new(s, &m);
        let some = constants.count.any();
        let taken = m.later("taken", 1);
        let step = Step::walk(self, &m, comes & some, taken.wire(), &constants);
        let at = step.later(&m, "read", Scores::READ)?;
        let out = at.later(&m, "out", Exp2::LATENCY)?;
        let next = out.later(&m, "added", 1)?;
        let pair_bits = s.lanes * s.halves() * ENTRY;
        let scores = m.input("score_i", s.pairs() * pair_bits).chunks(pair_bits);
        let scales = m.input("scale_i", s.lanes * BYTE).chunks(BYTE);
        let (mut weights, mut totals) = (Vec::new(), Vec::new());
        for (pair, scores) in scores.into_iter().enumerate() {
            let of_pair = self.pair(&m, pair as u32, (&largest, &at), (scores, &scales), constants.narrow)?;
            totals.push(self.total(&m, pair, &of_pair.plain, (&out, &next), constants.narrow));
            weights.extend(of_pair.weights);
        }

        let weights = m.pack(&weights);
        let queue =
            m.instance("u_queue", &Fifo::new(weights.width(), Self::QUEUE, RamStyle::Distributed)?)?;
        queue.set("in_valid_i", out.valid);
        queue.set("in_data_i", weights);
        let stream = queue.stream_out("out");
        taken.set(stream.passes());
        m.stream_out("weight", stream);

        // The channel may be at the keys of the next head when others are still at this one's values.
        let (had, last_pass) = (m.reg("had_some", 1).reset(0), m.reg("asked_last", s.pass_width()));
        had.set_when(comes, some);
        last_pass.set_when(comes, constants.last_pass);
        let [_, asked, pass] = passes(&m, "asked", m.input("ask_i", 1), last_pass.q());
        m.output("total_valid_o", asked);
        let totals: Vec<_> = totals.iter().map(|memory| memory.read(pass) & had.q().repeat(TOTAL)).collect();
        m.output("total_o", m.pack(&totals));
        m.finish()
    }
}
