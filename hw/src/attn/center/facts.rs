//! What follows from a command's heads and their sizes.

use super::{Center, HEADS_BITS, Note};
use crate::attn::queries::BLOCK_BITS;
use crate::attn::weights::Weights;
use crate::func::cycles;
use crate::rtl::{Builder, Wire};
use fastcar_arch::config::LINE_WORDS;
use fastcar_arch::timing::{HEADS_MAP, MAC_MAP};

/// It stays as long as the command is in front, once it is known.
pub(super) struct Facts<'m> {
    pub(super) known: Wire<'m>,
    /// Query heads of a head, less one; blocks of one, less one.
    pub(super) last_query: Wire<'m>,
    pub(super) last_block: Wire<'m>,
    /// Places of heads, less one; heads of the last place, less one; how many channels share a head.
    pub(super) last_unit: Wire<'m>,
    pub(super) last_head: Wire<'m>,
    pub(super) share: Wire<'m>,
    /// Passes over keys, and over values, less one.
    pub(super) last_key_pass: Wire<'m>,
    pub(super) last_pass: Wire<'m>,
    /// Words of the sums of values; lines of a head.
    pub(super) value_words: Wire<'m>,
    pub(super) head_lines: Wire<'m>,
}

/// A number divided by a constant.
fn by<'m>(m: &'m Builder, number: Wire<'m>, constant: u32) -> Wire<'m> {
    if constant.is_power_of_two() {
        return number >> constant.ilog2();
    }
    let each = |n: u64| m.lit(number.width(), n / u64::from(constant));
    number.choose(&(0..1 << number.width()).map(each).collect::<Vec<_>>())
}

impl Center {
    /// How many times a number of heads goes into one of query heads, a bit a cycle from when `valid` is set; one is there after
    /// as many cycles as the quotient has bits, and a cycle.
    fn group<'m>(&self, m: &'m Builder, valid: Wire<'m>, note: &Note<'m>) -> Wire<'m> {
        let bits = self.query + 1;
        let width = HEADS_BITS + bits;
        let begins = valid & !m.register_valid("dividing", valid);
        let (rest, divisor) = (m.reg("rest", HEADS_BITS), m.reg("divisor", width));
        let quotient = m.reg("quotient", bits);
        let fits = rest.q().zext(width).ge(divisor.q());
        let less = rest.q() - divisor.q().trunc(HEADS_BITS);
        rest.update(&[(begins, note.heads), (fits, less)]);
        let first = note.kv_heads.zext(width) << (bits - 1);
        divisor.set(begins.mux(first, divisor.q() >> 1));
        // The last bit that counts is found when the divisor is the number of heads itself.
        let left = m.reg("bits_left", 5).reset(0);
        let some = left.q().any();
        left.update(&[(begins, m.lit(5, bits.into())), (some, left.q() - 1)]);
        let next = quotient.q().trunc(bits - 1).cat(fits);
        quotient.set_when(some, next);
        quotient.q()
    }

    pub(super) fn facts<'m>(&self, m: &'m Builder, valid: Wire<'m>, note: &Note<'m>) -> Facts<'m> {
        let keep = |name: &str, wire: Wire<'m>| m.register(name, wire);
        let group = self.group(m, valid, note);
        let last_query = keep("last_query", (group - 1).trunc(self.query));
        let last_block = keep("last_block", (note.blocks - 1).trunc(BLOCK_BITS));
        let last_key_pass = keep("last_key_pass", by(m, last_query, self.shape.columns));
        let last_pass = by(m, last_query, self.shape.pairs());
        let width = self.shape.pass_width();
        let last_pass = keep("last_pass", last_pass.zext(width.max(last_pass.width())).trunc(width));
        // A head of one block may be less than a beat.
        let bytes = note.blocks.zext(note.blocks.width() + LINE_WORDS.ilog2() + 1) << LINE_WORDS.ilog2();
        let beats = (bytes + u64::from(self.beat - 1)) >> self.beat.ilog2();
        let last_beat = keep("last_beat", (beats - 1).trunc(Weights::BEAT_BITS));
        let one_more = |wire: Wire<'m>| wire.zext(wire.width() + 1) + 1;
        let words = one_more(last_pass).mul_unsigned(one_more(last_beat));
        let fit = |wire: Wire<'m>, width: u32| wire.zext(width.max(wire.width())).trunc(width);
        let value_words = keep("value_words", fit(words, self.value + 1));
        let lines = one_more(last_query).mul_unsigned(one_more(last_block));
        let head_lines = keep("head_lines", fit(lines, self.line));
        let last_head = (note.kv_heads - 1).trunc(self.sizes.lane());
        let last_head = if self.sizes.channels == 1 { m.lit(1, 0) } else { last_head };
        let last_unit = (note.kv_heads - 1) >> self.sizes.channels.ilog2();
        // Everything is known in time: the quotient, passes, words.
        let spare = cycles(HEADS_MAP - MAC_MAP);
        let mut known = valid;
        for stage in 0..spare {
            known = m.register_valid(&format!("known_{stage}"), known & valid);
        }
        let heads = fit(note.kv_heads, self.sizes.common.heads);
        Facts {
            known: known & valid,
            last_query,
            last_block,
            last_unit: keep("last_unit", fit(last_unit, self.sizes.units())),
            last_head: keep("last_head", last_head),
            share: keep("share", self.caches.share(m, heads)),
            last_key_pass,
            last_pass,
            value_words,
            head_lines,
        }
    }
}
