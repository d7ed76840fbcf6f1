//! `attn_span_walk`: what the beats of keys and values are, one after the other.
//!
//! # Purpose
//!
//! Takes the [spans](Span) of a channel's phases of attention from both of its streams, and says of the beat that comes next which stream brings it, whether it
//! holds scale bytes or elements, of which tokens, and what ends with it.
//!
//! # Interface
//!
//! A *phase* is the keys or the values of a head: its older blocks, then the own one. Words and lanes are told in the
//! [module above](super), *parts* in [`ScaleBytes`](super::ScaleBytes).
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | no phase |
//! | `phase_valid_i` | in | 1 | a phase is armed; at most [`Turn::PHASES`] are and not over |
//! | `phase_i` | in | [`SpanWalk::PHASE_BITS`] | the size of its head in blocks, less one (low); its older blocks come by the read-ahead stream |
//! | `<stream>_span_{valid,data}_i`, `_ready_o` | | 1, [`Span::WIDTH`], 1 | `main`, `ahead`: *streams* of spans as [`Heads`](crate::walk::Heads) gives them |
//! | `go_i` | in | 1 | the beat is taken, or the item without one is passed over |
//! | `valid_o` | out | 1 | it is known what comes next; of it: |
//! | `empty_o` | out | 1 | no beat: the item has none on this channel |
//! | `own_o` | out | 1 | it is of the own block |
//! | `ahead_o` | out | 1 | it comes by the read-ahead stream |
//! | `ends_o` | out | 1 | the phase ends with it |
//! | `values_o` | out | 1 | of values |
//! | `scale_o`, `opens_o` | out | 1 | scale bytes; the first of a block |
//! | `half_o`, `scale_beat_o` | out | 1, [`Weights::BEAT_BITS`] | they are those of values, the number of the beat of these, or those, in the block; where one beat has both, as of keys |
//! | `beat_o` | out | [`SpanWalk::beat_bits`] | elements: the number of the beat in the block |
//! | `first_beat_o` | out | same | that of the first beat of elements |
//! | `word_beat_o`, `ends_word_o` | out | [`Weights::BEAT_BITS`], 1 | the number of the beat in its word; it is the last one |
//! | `first_word_o` | out | 1 | the word is the phase's first |
//! | `attended_o` | out | lanes | its token is attended to; one token: lane 0's |
//! | `last_beat_o` | out | [`Weights::BEAT_BITS`] | beats of a word, less one |
//!
//! # Timing
//!
//! A beat, or an item without one, a cycle, also from span to span and from phase to phase. A phase's first beat is there [`SpanWalk::LATENCY`] cycles after the phase came, when its span is and the phases before are over.
//!
//! # Numeric contract
//!
//! As [`KvLayout`](fastcar_arch::layout::KvLayout).
//!
//! # Cost
//!
//! Three registers of a span, two products of five bits in look-up tables. Figures: `tests/baselines/rtl/attn_span_walk.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_attn.rs`: `spans_are_walked`, beside a model of each cycle.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{attn::SpanWalk, rtl::Block};
//!
//! let walk = SpanWalk::new(&AccelConfig::preset("u55c")?)?;
//! assert_eq!((walk.module()?.name(), walk.beat_bits()), ("attn_span_walk_b64", 9));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::{Shape, Turn, Weights};
use crate::prim::{Fifo, times};
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Stream, Wire};
use crate::walk::appends::TOKEN;
use crate::walk::heads::Span;
use fastcar_arch::config::{AccelConfig, KV_BLOCK_TOKENS, LINE_WORDS};
use fastcar_arch::program::MAX_HEAD_DIM;
use std::sync::Arc;

/// Width of a head's size in blocks, less one.
pub const BLOCKS: u32 = (MAX_HEAD_DIM / LINE_WORDS).ilog2();

/// The walk over spans. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanWalk {
    beat: u32,
    lanes: u32,
}

/// Beats of a word, less one: as many as of the scale bytes of a block's keys, and of its values.
pub(super) fn last_beat<'m>(beat: u32, blocks: Wire<'m>) -> Wire<'m> {
    let m = blocks.builder();
    match beat {
        16 => blocks.cat(m.lit(1, 1)),
        32 => blocks.zext(Weights::BEAT_BITS),
        _ => (blocks >> 1).zext(Weights::BEAT_BITS),
    }
}

/// Whether a beat has two tokens.
pub(super) fn narrow<'m>(lanes: u32, blocks: Wire<'m>) -> Wire<'m> {
    if lanes > 1 { blocks.is_zero() } else { blocks.builder().lit(1, 0) }
}

impl SpanWalk {
    /// Cycles from a phase to its first beat: queue, span, its beats, walk.
    pub const LATENCY: u64 = 4;
    /// Width of a phase.
    pub const PHASE_BITS: u32 = BLOCKS + 1;

    /// For the beats of a configuration.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(config: &AccelConfig) -> Result<Self, RtlError> {
        Ok(Self { beat: config.fields().beat_bytes, lanes: Shape::of(config)?.lanes })
    }

    /// Width of the number of a beat of elements in a block.
    #[must_use]
    pub fn beat_bits(&self) -> u32 {
        (KV_BLOCK_TOKENS * MAX_HEAD_DIM / self.beat).ilog2()
    }
}

/// A span with its beats; of an item without a block, nothing.
struct Beats<'m> {
    values: Wire<'m>,
    empty: Wire<'m>,
    own: Wire<'m>,
    ahead: Wire<'m>,
    blocks: Wire<'m>,
    token: Wire<'m>,
    mask: Wire<'m>,
    /// Its first beat of elements, and its last.
    first: Wire<'m>,
    last: Wire<'m>,
}

/// Takes the spans of one phase after the other: those of older blocks, then that of the own one. One waits while two are before it, of which the first is not
/// `over`; whether it goes on in this cycle.
fn take<'m>(
    s: &SpanWalk,
    m: &'m Builder,
    [two, over]: [Wire<'m>; 2],
) -> Result<(Beats<'m>, Wire<'m>), RtlError> {
    let armed = Stream {
        valid: m.input("phase_valid_i", 1),
        data: m.input("phase_i", SpanWalk::PHASE_BITS),
        ready: m.later("phase_ready", 1),
    };
    let queue = Fifo::new(SpanWalk::PHASE_BITS, Turn::PHASES, RamStyle::Distributed)?.registered();
    let phases = queue.after(m, "u_phases", armed)?;
    let (blocks, ahead) = (phases.data.trunc(BLOCKS), phases.data.bit(BLOCKS));
    let [main, other] = ["main_span", "ahead_span"].map(|bus| m.stream_in(bus, Span::WIDTH));

    let (full, own) = (m.reg("held_valid", 1).reset(0), m.reg("own_next", 1).reset(0));
    let moves = (full.q() & (!two | over)).named("moves");
    let wants = (phases.valid & (!(full.q() & two) | over)).named("wants");
    let ahead = (ahead & !own.q()).named("from_ahead");
    main.ready.set(wants & !ahead);
    other.ready.set(wants & ahead);
    let comes = (wants & ahead.mux(other.valid, main.valid)).named("comes");
    let word = ahead.mux(other.data, main.data);
    full.update(&[(comes, m.lit(1, 1)), (moves, m.lit(1, 0))]);
    own.set_when(comes & Span::of(word).last_block, !own.q());
    phases.ready.set(comes & own.q());

    let keep = |name: &str, value: Wire<'m>| {
        let reg = m.reg(name, value.width());
        reg.set_when(comes, value);
        reg.q()
    };
    let span = Span::of(keep("held_span", word));
    let (blocks, own) = (keep("held_blocks", blocks), keep("held_own", own.q()));
    Ok((s.beats_of(&span, blocks, [own, keep("held_ahead", ahead)]), moves))
}

impl SpanWalk {
    /// What a span comes to in beats.
    fn beats_of<'m>(&self, span: &Span<'m>, blocks: Wire<'m>, [own, ahead]: [Wire<'m>; 2]) -> Beats<'m> {
        let Span { values, none: empty, first: token, last, mask, .. } = *span;
        let wide = |wire: Wire<'m>| wire.zext(TOKEN + BLOCKS);
        let first = times(token, blocks) + wide(token);
        let last = times(last, blocks) + wide(last) + wide(blocks);
        let (m, bits) = (first.builder(), self.beat_bits());
        // From blocks to the beats that hold them.
        let [first, last] = match self.beat {
            16 => [first.cat(m.lit(1, 0)), last.cat(m.lit(1, 1))],
            32 => [first, last],
            _ => [(first >> 1).trunc(bits), (last >> 1).trunc(bits)],
        };
        Beats { values, empty, own, ahead, blocks, token, mask, first, last }
    }
}

impl<'m> Beats<'m> {
    /// The same a register later.
    fn held(&self, m: &'m Builder, stage: &str, enable: Wire<'m>) -> Self {
        let keep = |name: &str, value: Wire<'m>| {
            let reg = m.reg(&format!("{stage}_{name}"), value.width());
            reg.set_when(enable, value);
            reg.q()
        };
        Self {
            values: keep("values", self.values),
            empty: keep("empty", self.empty),
            own: keep("own", self.own),
            ahead: keep("ahead", self.ahead),
            blocks: keep("blocks", self.blocks),
            token: keep("token", self.token),
            mask: keep("mask", self.mask),
            first: keep("first", self.first),
            last: keep("last", self.last),
        }
    }
}

/// Where the walk is in a span.
struct Place<'m> {
    /// The beat's token, word, and number.
    token: Wire<'m>,
    word_beat: Wire<'m>,
    ends_word: Wire<'m>,
    beat: Wire<'m>,
    /// It holds scale bytes: the first of the block, of values, its number.
    scale: Wire<'m>,
    opens: Wire<'m>,
    half: Wire<'m>,
    scale_beat: Wire<'m>,
    /// It is the span's last.
    ends: Wire<'m>,
}

impl SpanWalk {
    /// Counts a span's beats: begins with `next` when it `loads`, and goes on from beat to beat.
    fn place<'m>(
        &self,
        m: &'m Builder,
        [span, next]: [&Beats<'m>; 2],
        [loads, go]: [Wire<'m>; 2],
        last_beat: Wire<'m>,
    ) -> Place<'m> {
        let narrow = narrow(self.lanes, span.blocks);
        let none = m.lit(Weights::BEAT_BITS, 0);
        let (scale, opens, half) = (m.reg("in_scales", 1), m.reg("opens", 1), m.reg("half", 1));
        let number = m.reg("scale_beat", Weights::BEAT_BITS);
        let scales = go & scale.q();
        let ends_half = (scales & number.q().eq(last_beat)).named("ends_half");
        opens.update(&[(loads, !next.values), (go, m.lit(1, 0))]);
        scale.update(&[(loads, !next.values), (ends_half, !half.q() & !narrow)]);
        half.update(&[(loads, m.lit(1, 0)), (ends_half, m.lit(1, 1))]);
        number.update(&[(loads | ends_half, none), (scales, number.q() + 1)]);

        let element = (go & !scale.q()).named("element");
        let (beat, word_beat) = (m.reg("beat", self.beat_bits()), m.reg("word_beat", Weights::BEAT_BITS));
        let ends_word = word_beat.q().eq(last_beat).named("ends_word");
        beat.update(&[(loads, next.first), (element, beat.q() + 1)]);
        // Found a cycle ahead: much hangs on the end of a span.
        let (behind, last) = (m.reg("beat_behind", self.beat_bits()), m.reg("at_last", 1));
        behind.update(&[(loads, next.first + 1), (element, behind.q() + 1)]);
        last.update(&[(loads, next.first.eq(next.last)), (element, behind.q().eq(span.last))]);
        word_beat.update(&[(loads | element & ends_word, none), (element, word_beat.q() + 1)]);
        let token = m.reg("token", TOKEN);
        let tokens = if self.lanes > 1 { narrow.zext(TOKEN) + 1 } else { m.lit(TOKEN, 1) };
        token.update(&[(loads, next.token), (element & ends_word, token.q() + tokens)]);
        Place {
            token: token.q(),
            word_beat: word_beat.q(),
            ends_word,
            beat: beat.q(),
            scale: scale.q(),
            opens: opens.q(),
            half: half.q(),
            scale_beat: number.q(),
            ends: (span.empty | !scale.q() & last.q()).named("ends_span"),
        }
    }

    /// Which of a beat's tokens are attended to.
    fn attended<'m>(&self, m: &'m Builder, span: &Beats<'m>, token: Wire<'m>) -> Wire<'m> {
        let tokens = span.mask.bits();
        if self.lanes == 1 {
            return token.choose(&tokens);
        }
        // Two tokens share a beat; one that has its own is lane 0's.
        let of = |lane: usize| tokens.iter().skip(lane).step_by(2).copied().collect::<Vec<_>>();
        let [even, odd] = [0, 1].map(|lane| token.slice(1, TOKEN - 1).choose(&of(lane)));
        let narrow = narrow(self.lanes, span.blocks);
        m.pack(&[(!narrow & token.bit(0)).mux(odd, even), odd])
    }
}

impl Block for SpanWalk {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("attn_span_walk_b{}", self.beat));
        let go = m.input("go_i", 1);
        let over = m.later("over", 1);
        let (waits, valid) = (m.reg("next_valid", 1).reset(0), m.reg("valid", 1).reset(0));
        let (found, moves) = take(self, &m, [waits.q() & valid.q(), over.wire()])?;
        let next = found.held(&m, "next", moves);
        let loads = (waits.q() & (!valid.q() | over.wire())).named("loads");
        waits.update(&[(moves, m.lit(1, 1)), (loads, m.lit(1, 0))]);
        let span = next.held(&m, "span", loads);
        let last_beat = last_beat(self.beat, span.blocks);
        let place = self.place(&m, [&span, &next], [loads, go], last_beat);

        over.set(go & place.ends);
        valid.update(&[(loads, m.lit(1, 1)), (over.wire(), m.lit(1, 0))]);
        let ends = place.ends & span.own;
        let first_word = m.reg("first_word", 1).reset(1);
        let ends_word = go & !place.scale & !span.empty & place.ends_word;
        first_word.update(&[(go & ends, m.lit(1, 1)), (ends_word, m.lit(1, 0))]);

        m.output("attended_o", self.attended(&m, &span, place.token));
        for (name, wire) in [
            ("valid_o", valid.q()),
            ("empty_o", span.empty),
            ("own_o", span.own),
            ("ahead_o", span.ahead),
            ("ends_o", ends),
            ("values_o", span.values),
            ("scale_o", place.scale),
            ("opens_o", place.opens),
            ("half_o", place.half),
            ("scale_beat_o", place.scale_beat),
            ("beat_o", place.beat),
            ("first_beat_o", span.first),
            ("word_beat_o", place.word_beat),
            ("ends_word_o", place.ends_word),
            ("first_word_o", first_word.q()),
            ("last_beat_o", last_beat),
        ] {
            m.output(name, wire);
        }
        m.finish()
    }
}
