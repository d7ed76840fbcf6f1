//! `gate_score`: keys and queries to scores.
//!
//! # Purpose
//!
//! The arithmetic of a temporal attention score: all heads' blocks in one accumulation window, whose base is the largest of the queries' scale bytes plus the largest of the keys'.
//!
//! # Interface
//!
//! A *pipe*.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | nothing is on its way |
//! | `token_valid_i`, `token_i` | in | 1, token | what is done in this cycle, see [`Keys`](super::Keys) |
//! | `row_i` | in | 8 x beat x channels | with the row |
//! | `query_scale_i`, `query_elems_i`, `query_largest_i` | in | 8, 256, 8 | two cycles later: the token's block of queries, and the largest scale byte of all of them |
//! | `scale_i` | in | 32 | of the command whose scores come: its factor |
//! | `score_valid_o`, `score_slot_o`, `score_o` | out | 1, log2(slots), 32 | a score |
//!
//! # Timing
//!
//! A token a cycle. A slot's score comes [`TAS_LATENCY`] + 1 cycles after its last token: its block is chosen; products; the base, which the slot's last scale bytes may have changed a
//! cycle before its first block; window; conversion; factor. Scale bytes of the next slot may follow at once.
//!
//! # Numeric contract
//!
//! One window over all tokens of a slot ([`fastcar_arch::num::window`]), `to_f32`, and [`fp::mul`](fastcar_arch::num::fp::mul) with the factor, bit for bit.
//!
//! # Cost
//!
//! A multiplier for each element of a block, a memory of a beat of scale bytes for each head, a choice of one channel for each bit of a beat. Where a beat is half a block, a memory of block sums. Figures: `tests/baselines/rtl/gate.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_gate.rs`: `keys_are_scored`.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{gate::Score, rtl::Block};
//!
//! let score = Score::new(&AccelConfig::preset("u55c")?);
//! assert_eq!(score.module()?.name(), "gate_score_c32_b64_s32_q1024");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::{Sizes, Token};
use crate::fp::{FromWindow, Multiplier};
use crate::pe::block_dot::SUM_BITS;
use crate::pe::window_term::LEFT_BITS;
use crate::pe::{DotLane, WindowTerm};
use crate::prim::DelayLine;
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Wire};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::num::mx::BLOCK;
use fastcar_arch::num::window::ACC_BITS;
use fastcar_arch::timing::{CONVERT_LATENCY, KEY_BASE, KEY_DOT, KEY_TERM, MUL_LATENCY, TAS_LATENCY};
use std::sync::Arc;

/// Bits of a scale byte, of the elements of a block, of a base, of a word.
const SCALE: u32 = 8;
const ELEMS: u32 = 8 * BLOCK as u32;
const BASE: u32 = 9;
const WORD: u32 = 32;

/// Cycles from a token to what is known of it: its beat; its block of keys, and of queries; its sum; its sum when the base is there; its
/// term; the window.
const BEAT: u32 = 1;
const QUERY: u32 = 2;
const SUM: u32 = QUERY + KEY_DOT as u32;
const PLACED: u32 = SUM + KEY_BASE as u32;
const TERM: u32 = WINDOW - 1;
const WINDOW: u32 = PLACED + KEY_TERM as u32;
const SCORE: u32 = WINDOW + (CONVERT_LATENCY + MUL_LATENCY) as u32;
/// Cycles from scale bytes to the largest of their beat: a level of choices each.
const LARGEST: u32 = BEAT + 6;
const _: () = assert!(SCORE as u64 == TAS_LATENCY + 1);
// Largest so far, base: the first block may come a cycle after the last scale bytes.
const _: () = assert!(LARGEST + 2 == SUM + 1);

/// The arithmetic of scores. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Score {
    sizes: Sizes,
}

impl Score {
    /// Cycles from a slot's last token to its score.
    pub const LATENCY: u32 = SCORE;

    /// For a configuration.
    #[must_use]
    pub fn new(config: &AccelConfig) -> Self {
        Self { sizes: Sizes::new(config) }
    }
}

/// A wire some cycles later.
fn late<'m>(m: &'m Builder, name: &str, wire: Wire<'m>, cycles: u32) -> Result<Wire<'m>, RtlError> {
    Ok(DelayLine::new(wire.width(), cycles)?.build(m, name, wire))
}

/// A bit some cycles later, none before.
fn late_valid<'m>(m: &'m Builder, name: &str, bit: Wire<'m>, cycles: u32) -> Wire<'m> {
    (0..cycles).fold(bit, |bit, n| m.register_valid(&format!("{name}_{n}"), bit))
}

/// What comes in, a cycle later.
struct Input<'m> {
    valid: Wire<'m>,
    token: Token<'m>,
    beat: Wire<'m>,
}

/// The base of a slot's window as its terms are placed, and whether it is NaN.
struct Base<'m> {
    base: Wire<'m>,
    nan: Wire<'m>,
}

impl Score {
    /// A token with its channel's beat.
    fn input<'m>(&self, m: &'m Builder) -> Input<'m> {
        let s = &self.sizes;
        let (valid, word) = (m.input("token_valid_i", 1), m.input("token_i", s.token_bits()));
        let row = m.input("row_i", 8 * s.beat * s.channels);
        let beat = Token::of(s, word).channel.choose(&row.chunks(8 * s.beat));
        Input {
            valid: m.register_valid("valid", valid),
            token: Token::of(s, m.register("token", word)),
            beat: m.register("beat", beat),
        }
    }

    /// The largest of the scale bytes of a beat that count, [`LARGEST`] cycles behind the token.
    fn largest<'m>(&self, m: &'m Builder, input: &Input<'m>) -> Wire<'m> {
        let Token { low, high, .. } = input.token;
        let counted = |(n, byte): (u64, Wire<'m>)| {
            let counts = !low.gt(n) & high.gt(n);
            byte & counts.repeat(SCALE)
        };
        let mut bytes: Vec<_> = (0..).zip(input.beat.chunks(SCALE)).map(counted).collect();
        for level in 0..LARGEST - BEAT {
            let pairs = bytes.chunks(2).map(|pair| match *pair {
                [a, b] => a.gt(b).mux(a, b),
                _ => pair[0],
            });
            let kept =
                (0..).zip(pairs).map(|(n, byte): (u32, _)| m.register(&format!("larger_{level}_{n}"), byte));
            bytes = kept.collect();
        }
        bytes[0]
    }

    /// The base, from the beats of scale bytes and what comes with the queries.
    fn base<'m>(&self, m: &'m Builder, input: &Input<'m>) -> Result<Base<'m>, RtlError> {
        let is_scale = input.valid & !input.token.elements;
        let comes = late_valid(m, "scales_come", is_scale, LARGEST - BEAT);
        let first = late(m, "first_scales", input.token.first, LARGEST - BEAT)?;
        let beat = self.largest(m, input);
        let keys = m.reg("largest_key", SCALE);
        keys.set_when(comes, (first | beat.gt(keys.q())).mux(beat, keys.q()));
        let queries = m.reg("largest_query", SCALE);
        let of_queries = m.input("query_largest_i", SCALE);
        queries.set_when(comes & first, late(m, "queries_largest", of_queries, LARGEST - QUERY)?);
        let sum = keys.q().zext(BASE) + queries.q().zext(BASE);
        let nan = keys.q().all() | queries.q().all();
        Ok(Base { base: m.register("base", sum), nan: m.register("nan", nan) })
    }

    /// The scale byte of a block of keys, a cycle before its sum is placed.
    fn key_scale<'m>(&self, m: &'m Builder, input: &Input<'m>) -> Result<Wire<'m>, RtlError> {
        let (s, token) = (&self.sizes, &input.token);
        let memory = m.memory("scales", 8 * s.beat, s.blocks, RamStyle::Block);
        memory.write(input.valid & !token.elements, token.kept, input.beat);
        let found = memory.read_registered("scales_found", m.lit(1, 1), token.kept);
        // Eight bytes, then one.
        let (low, bits) = (3, s.byte_bits());
        let at = m.register("byte_at", token.low);
        let eight = at.slice(low, bits - low).choose(&found.chunks(8 * SCALE));
        let eight = m.register("eight_bytes", eight);
        let byte = m.register("byte_of_eight", at.trunc(low)).choose(&eight.chunks(SCALE));
        let byte = m.register("key_scale", byte);
        late(m, "key_scale_late", byte, PLACED - 1 - (BEAT + 3))
    }

    /// The sum of a block, [`SUM`] cycles behind its token.
    fn dot<'m>(&self, m: &'m Builder, input: &Input<'m>) -> Result<Wire<'m>, RtlError> {
        let s = &self.sizes;
        let (lanes, token) = (s.lanes(), &input.token);
        let halves = input.beat.chunks(8 * lanes);
        let keys = m.register("keys", if halves.len() == 1 { halves[0] } else { token.half.choose(&halves) });
        let upper = m.register("upper", token.upper);
        let queries = m.input("query_elems_i", ELEMS).chunks(8 * lanes);
        let queries = if queries.len() == 1 { queries[0] } else { upper.choose(&queries) };
        let dot = m.instance("u_dot", &DotLane::new(lanes)?)?;
        dot.set("valid_i", m.register_valid("elements_come", input.valid & token.elements));
        dot.set("act_i", queries);
        dot.set("weight_i", keys);
        let (valid, sum) = (dot.get("valid_o"), dot.get("dot_o").sext(SUM_BITS));
        if !s.is_half() {
            debug_assert_eq!(DotLane::new(lanes)?.latency(), SUM - QUERY);
            return Ok(sum);
        }
        // Half a block: the first one's sum is kept until the second one comes.
        let cycles = DotLane::new(lanes)?.latency();
        debug_assert_eq!(cycles + 1, SUM - QUERY);
        let upper = late(m, "upper_late", upper, cycles)?;
        let place = late(m, "place_late", token.place, cycles + 1)?;
        let kept = m.memory("halves", SUM_BITS, s.blocks, RamStyle::Distributed);
        kept.write(valid & !upper, place, sum);
        Ok(m.register("sum", sum + kept.read(place)))
    }
}

impl Block for Score {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(self.sizes.name("gate_score"));
        let input = self.input(&m);
        let Base { base, nan } = self.base(&m, &input)?;
        let token = &input.token;

        // A term, when the base is known.
        let sum = late(&m, "sum_late", self.dot(&m, &input)?, PLACED - SUM)?;
        let blocks = input.valid & token.elements & token.upper;
        let placed = late_valid(&m, "placed", blocks, PLACED - BEAT);
        let query = late(&m, "query_scale", m.input("query_scale_i", SCALE), SUM - QUERY)?;
        let left = m.register("left", base.zext(LEFT_BITS) - query.zext(LEFT_BITS));
        let term = m.instance("u_term", &WindowTerm::new(SUM_BITS)?)?;
        term.set("valid_i", placed);
        term.set("sum_i", sum);
        term.set("weight_scale_i", self.key_scale(&m, &input)?);
        term.set("left_i", left);
        debug_assert_eq!(WindowTerm::new(SUM_BITS)?.latency(), TERM - PLACED);

        // The window.
        let first = late(&m, "first_term", token.first, TERM - BEAT)?;
        let window = m.reg("window", ACC_BITS);
        let before = window.q() & (!first).repeat(ACC_BITS);
        let one = m.lit(1, 1);
        let sum = before.cat(one) + term.get("term_o").sext(ACC_BITS).cat(term.get("carry_o"));
        window.set_when(term.get("valid_o"), sum.slice(1, ACC_BITS));

        let last = late_valid(&m, "last", input.valid & token.last, WINDOW - BEAT);
        let convert = m.instance("u_convert", &FromWindow)?;
        convert.set("valid_i", last);
        convert.set("acc_i", window.q());
        convert.set("base_i", late(&m, "base_late", base, WINDOW - SUM)?);
        convert.set("nan_i", late(&m, "nan_late", nan, WINDOW - SUM)?);
        convert.set("fp4_i", m.lit(1, 0));
        let product = m.instance("u_product", &Multiplier)?;
        product.set("valid_i", convert.get("valid_o"));
        product.set("a_i", convert.get("result_o"));
        product.set("b_i", m.input("scale_i", WORD));
        m.output("score_valid_o", product.get("valid_o"));
        m.output("score_slot_o", late(&m, "score_slot", token.slot, SCORE - BEAT)?);
        m.output("score_o", product.get("product_o"));
        m.finish()
    }
}
