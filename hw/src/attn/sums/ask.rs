//! Which sums are asked for, and what comes of them.

use super::super::{Agreement, Lines};
use super::{LINE_BITS, Round, Sums, WORD_BITS, ahead, counted};
use crate::func::{later, later_valid};
use crate::prim::DelayLine;
use crate::rtl::{Builder, Instance, RtlError, Wire, index_width};
use fastcar_arch::num::window::ACC_BITS;

/// The round whose sums are asked for.
struct Asked<'m> {
    goes: Wire<'m>,
    round: Wire<'m>,
    of: Round<'m>,
    pair: Wire<'m>,
    /// The place of the word in its query head.
    word: Wire<'m>,
    address: Wire<'m>,
}

impl Sums {
    /// Whether another line may be begun: as many are kept, or on their way.
    fn room<'m>(&self, m: &'m Builder, [start, begins, freed]: [Wire<'m>; 3]) -> Wire<'m> {
        let bits = index_width(u64::from(Lines::ROUNDS) + 1);
        let count = m.reg("lines_begun", bits).reset(0);
        let (up, down) = (begins & !freed, freed & !begins);
        count.update(&[(start, m.lit(bits, 0)), (up, count.q() + 1), (down, count.q() - 1)]);
        count.q().lt(u64::from(Lines::ROUNDS))
    }

    /// Goes through the words of a round: query head by query head.
    fn walk<'m>(
        &self,
        m: &'m Builder,
        [start, through, freed]: [Wire<'m>; 3],
        armed: (Wire<'m>, Wire<'m>),
    ) -> Result<Asked<'m>, RtlError> {
        let take = m.later("takes_round", 1);
        let rounds = self.waiting(m, "asked_rounds", armed, take.wire())?;
        let due = ahead(m, "due", start, through, take.wire());
        let of = m.reg("asked_round", self.round_bits());
        of.set_when(take.wire(), rounds.data);
        let of = Round::of(self, of.q());
        let begins = m.later("line_begins", 1);
        let room = self.room(m, [start, begins.wire(), freed]);

        let active = m.reg("asks", 1).reset(0);
        let word = m.reg("ask_word", WORD_BITS).reset(0);
        let opens = word.q().is_zero();
        let goes = (active.q() & (room | !opens)).named("ask_goes");
        begins.set(goes & opens);
        let none = m.lit(1, 0);
        let ends_line = goes & word.q().all();
        word.update(&[(start, m.lit(WORD_BITS, 0)), (goes, word.q() + 1)]);
        let line = m.reg("ask_line", LINE_BITS).reset(0);
        let ends_query = ends_line & line.q().eq(of.last_line);
        line.update(&[(start | ends_query, m.lit(LINE_BITS, 0)), (ends_line, line.q() + 1)]);
        let last = m.later("ask_last_query", 1);
        let ends = (ends_query & last.wire()).named("ask_ends");
        let query = counted(m, "ask_query", self.query_bits(), start, ends_query, ends);
        last.set(query.eq(of.last_query));
        take.set(due & rounds.valid & (!active.q() | ends));
        active.update(&[(start, none), (take.wire(), m.lit(1, 1)), (ends, none)]);

        // The pairs of columns of a pass, then the next pass, behind the last word.
        let wraps = m.later("ask_wraps", 1);
        let over = ends_query & wraps.wire();
        let pair = counted(m, "ask_pair", self.drain.pair_width(), start, ends_query, over | ends);
        wraps.set(pair.eq(u64::from(self.shape.pairs() - 1)));
        let width = self.drain.address_width();
        let place = line.q().cat(word.q());
        let beat = (place >> self.bytes.ilog2()).zext(width.max(place.width())).trunc(width);
        let base = m.reg("ask_base", width);
        let address = base.q() + beat;
        let first = Round::of(self, rounds.data).address;
        base.update(&[(take.wire(), first), (over, address + 1)]);
        let round = counted(m, "ask_round", Agreement::ROUND_BITS, start, ends, none);
        Ok(Asked { goes, round, of, pair, word: place, address })
    }

    /// Asks for the sums of rounds, and adds those up that come.
    pub(super) fn ask<'m>(
        &self,
        m: &'m Builder,
        [start, through, freed]: [Wire<'m>; 3],
        armed: (Wire<'m>, Wire<'m>),
        lines: &Instance<'m>,
    ) -> Result<(), RtlError> {
        let asked = self.walk(m, [start, through, freed], armed)?;
        m.output("request_valid_o", m.register_valid("request_valid", asked.goes));
        let byte = asked.word.trunc(self.drain.byte_width());
        for (name, wire) in [("address", asked.address), ("pair", asked.pair), ("byte", byte)] {
            m.output(&format!("request_{name}_o"), m.register(&format!("request_{name}"), wire));
        }
        if self.shape.lanes > 1 {
            let narrow = asked.of.last_line.is_zero();
            m.output("request_narrow_o", m.register("request_narrow", narrow));
        }
        let of = asked.of.share.cat(asked.round);
        let of = DelayLine::new(of.width(), 1 + Self::ROUND_TRIP)?.build(m, "comes_of", of);
        let (round, share) =
            (of.trunc(Agreement::ROUND_BITS), of.slice(Agreement::ROUND_BITS, asked.of.share.width()));
        m.output("tokens_round_o", round);
        let tokens = m.input("tokens_i", self.sizes.channels).bits();
        let sums = m.input("sums_i", self.sizes.channels * ACC_BITS).chunks(ACC_BITS);
        let counted = sums.into_iter().zip(tokens).map(|(sum, some)| sum & some.repeat(ACC_BITS)).collect();
        let (words, latency) = self.added(m, counted, share)?;
        lines.set("words_i", m.pack(&words));
        let comes = m.input("sum_valid_i", 1);
        lines.set("word_valid_i", later_valid(m, "added", comes & !start, latency));
        Ok(())
    }

    /// The first channel of each head has the sum of all that share it, so many cycles later.
    fn added<'m>(
        &self,
        m: &'m Builder,
        mut words: Vec<Wire<'m>>,
        share: Wire<'m>,
    ) -> Result<(Vec<Wire<'m>>, u32), RtlError> {
        let (count, shares) = (words.len(), self.sizes.shares());
        for doubling in 0..count.ilog2() {
            let far = 1 << doubling;
            let same = |n: usize| {
                let is = |share: &u32| n / *share as usize == (n + far) / *share as usize;
                share.choose(&shares.iter().map(|share| m.lit(1, is(share).into())).collect::<Vec<_>>())
            };
            let same = m.pack(&(0..count - far).map(same).collect::<Vec<_>>());
            let same = later(m, &format!("same_{far}"), same, doubling)?.bits();
            let next = |n: usize| {
                let sum = match same.get(n) {
                    Some(same) => words[n] + (words[n + far] & same.repeat(ACC_BITS)),
                    None => words[n],
                };
                m.register(&format!("sum_{far}_{n}"), sum)
            };
            words = (0..count).map(next).collect();
        }
        Ok((words, count.ilog2()))
    }
}
