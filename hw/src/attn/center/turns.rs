//! Which phase is armed when.

use super::{Attention, COUNT, Center, Facts, HOP, MAC_LATENCY, Note, Phase, Round, SCORE_LATENCY};
use super::{Builder, Fifo, HEADS_UNDER_WAY, RamStyle, RtlError, Stream, Wire};
use super::{cycles, later_valid, lowest};

/// From word that the clusters are through with the own keys to the order to send the largest scores, and until values may be armed.
const SEND: u32 = cycles(MAC_LATENCY - 2 * HOP) + Attention::SEND;
const SCORES: u32 = cycles(MAC_LATENCY + SCORE_LATENCY - HOP);

/// Something that is counted: one more, and one fewer, of which the latter counts in its cycle.
fn count<'m>(m: &'m Builder, name: &str, [clear, more, fewer]: [Wire<'m>; 3]) -> Wire<'m> {
    let count = m.reg(name, COUNT).reset(0);
    let (up, down) = (more & !fewer, fewer & !more);
    count.update(&[(clear, m.lit(COUNT, 0)), (up, count.q() + 1), (down, count.q() - 1)]);
    count.q()
}

/// How far the channels are.
struct Through<'m> {
    /// Of the oldest round for which that was not yet said: with the keys, with the values.
    keys: Wire<'m>,
    values: Wire<'m>,
}

/// The phase in turn.
struct Turn<'m> {
    values: Wire<'m>,
    own: Wire<'m>,
    /// Armed are: keys of a round, its values, the last of it; the command's last.
    keys: Wire<'m>,
    weights: Wire<'m>,
    ends: Wire<'m>,
    last: Wire<'m>,
    /// It is of the last place of heads.
    last_unit: Wire<'m>,
    /// Line of the destination where the round's words begin.
    first_line: Wire<'m>,
}

impl Center {
    /// Counts what each channel is through with: all of them, one phase of a kind a cycle.
    fn through<'m>(&self, m: &'m Builder, start: Wire<'m>) -> Through<'m> {
        let all_of = |kind: &str| {
            let all = m.later(&format!("{kind}_through"), 1);
            let done = m.input(&format!("{kind}_done_i"), self.sizes.channels).bits();
            let done = done.into_iter().enumerate().map(|(c, done)| {
                done | count(m, &format!("{kind}_done_{c}"), [start, done, all.wire()]).any()
            });
            all.set(m.pack(&done.collect::<Vec<_>>()).all());
            all.wire()
        };
        Through { keys: all_of("keys"), values: all_of("values") }
    }

    /// Whether there is room for another round's sums of values; the first word of the round whose values are next.
    fn room<'m>(
        &self,
        m: &'m Builder,
        start: Wire<'m>,
        (need, turn): (Wire<'m>, &Turn<'m>),
    ) -> Result<[Wire<'m>; 2], RtlError> {
        let bits = self.value + 1;
        let frees = m.input("frees_i", 1);
        let kept = Stream { valid: turn.keys, data: need, ready: m.later("values_kept_room", 1) };
        // One comes when all are under way and the oldest is free in the same cycle.
        let depth = HEADS_UNDER_WAY as u32 + 1;
        let kept = Fifo::new(bits, depth, RamStyle::Distributed)?.after(m, "u_kept", kept)?;
        kept.ready.set(frees);
        let used = m.reg("values_used", bits + 1).reset(0);
        let less = used.q() - (kept.data & frees.repeat(bits)).zext(bits + 1);
        let all = less + need.zext(bits + 1);
        used.update(&[(start, m.lit(bits + 1, 0)), (turn.keys, all), (frees, less)]);
        let under_way = count(m, "under_way", [start, turn.keys, frees]);
        let few = frees | under_way.lt(HEADS_UNDER_WAY as u64);
        let next = m.reg("value_word", self.value).reset(0);
        next.update(&[(start, m.lit(self.value, 0)), (turn.weights, next.q() + need.trunc(self.value))]);
        Ok([few & all.le(u64::from(self.values)), next.q()])
    }

    /// Goes through the rounds of the command in front, and their phases, with each `may`.
    fn turn<'m>(&self, m: &'m Builder, start: Wire<'m>, facts: &Facts<'m>, may: Wire<'m>) -> Turn<'m> {
        let phase = m.reg("phase", 2).reset(0);
        let (own, values) = (phase.q().bit(0), phase.q().bit(1));
        let arms = (facts.known & may).named("arms");
        let ends = arms & own & values;
        phase.update(&[(start, m.lit(2, 0)), (arms, phase.q() + 1)]);
        let unit = m.reg("unit", facts.last_unit.width()).reset(0);
        let last_unit = unit.q().eq(facts.last_unit);
        let ends_slot = ends & last_unit;
        let none = m.lit(unit.q().width(), 0);
        unit.update(&[(start | ends_slot, none), (ends, unit.q() + 1)]);
        let line = m.reg("round_line", self.line).reset(0);
        let lines = facts.head_lines << self.sizes.channels.ilog2();
        let first = m.lit(self.line, 0);
        line.update(&[(start | ends_slot, first), (ends, line.q() + lines)]);
        // Of its slots those that are left, from the first round on.
        let begun = m.reg("begun", 1).reset(0);
        let left = m.reg("left", self.slots());
        let now = begun.q().mux(left.q(), m.input("heads_slots_i", self.slots()));
        let rest = now & !lowest(now);
        let last = ends_slot & rest.is_zero();
        begun.update(&[(start | last, m.lit(1, 0)), (arms, m.lit(1, 1))]);
        left.set(ends_slot.mux(rest, now));
        Turn {
            values,
            own,
            keys: arms & !own & !values,
            weights: arms & !own & values,
            ends,
            last,
            last_unit,
            first_line: line.q(),
        }
    }

    /// Arms phases, and tells the others.
    pub(super) fn arm<'m>(
        &self,
        m: &'m Builder,
        start: Wire<'m>,
        note: &Note<'m>,
        facts: &Facts<'m>,
    ) -> Result<(), RtlError> {
        let through = self.through(m, start);
        let may = m.later("may", 1);
        let turn = self.turn(m, start, facts, may.wire());
        let [room, value_word] = self.room(m, start, (facts.value_words, &turn))?;
        // Rounds whose queries are sent, and whose scores are known.
        let sends = m.input("sent_i", 1);
        let sent = sends | count(m, "queried", [start, sends, turn.keys]).any();
        let known = later_valid(m, "scores", through.keys, SCORES - 1);
        let scores = count(m, "scored", [start, known, turn.weights]).any();
        let keys = sent & room & m.input("heads_room_i", 1);
        may.set(turn.own | turn.values.mux(scores, keys));

        let need = facts.last_key_pass.zext(self.room.max(facts.last_key_pass.width())).trunc(self.room) + 1;
        m.output("heads_need_o", need);
        m.output("heads_arms_o", turn.keys);
        m.output("heads_last_o", turn.last);
        m.output("used_o", through.keys);
        self.tell(m, start, (note, facts), (&turn, value_word));

        // The last round of a command ends it.
        let ends = Stream { valid: turn.ends, data: turn.last, ready: m.later("ends_room", 1) };
        let ends = Fifo::new(1, HEADS_UNDER_WAY as u32, RamStyle::Distributed)?.after(m, "u_ends", ends)?;
        ends.ready.set(through.values);
        m.output("heads_through_o", through.values & ends.data);
        m.output("through_o", through.values);
        m.output("ask_o", m.register_valid("ask", through.values));
        let send = later_valid(m, "send", through.keys, SEND);
        m.output("send_o", send);
        let share = m.reg("share_sent", facts.share.width());
        share.set_when(send, facts.share);
        m.output("share_o", share.q());
        Ok(())
    }

    /// What channels are told of a phase, and the unit of sums of a round.
    fn tell<'m>(
        &self,
        m: &'m Builder,
        start: Wire<'m>,
        (note, facts): (&Note<'m>, &Facts<'m>),
        (turn, value_word): (&Turn<'m>, Wire<'m>),
    ) {
        let key = m.input("heads_word_i", self.key);
        let bank = m.reg("bank", 1).reset(0);
        bank.update(&[(start, m.lit(1, 0)), (turn.weights, !bank.q())]);
        let phase = Phase {
            values: turn.values,
            last_pass: facts.last_pass,
            blocks: facts.last_block,
            last_query: facts.last_query,
            word: turn.values.mux(value_word.zext(self.word), key.zext(self.word)),
            ahead: note.ahead,
            bank: bank.q(),
            factor: note.factor,
        };
        m.output("phase_valid_o", turn.keys | turn.weights);
        m.output("phase_o", phase.word(m));
        let full = m.lit(self.sizes.lane(), (self.sizes.channels - 1).into());
        let round = Round {
            last_query: facts.last_query,
            last_line: facts.last_block,
            last_head: turn.last_unit.mux(facts.last_head, full),
            share: facts.share,
            first_line: turn.first_line,
            head_lines: facts.head_lines,
            address: value_word,
        };
        m.output("round_valid_o", turn.weights);
        m.output("round_o", round.word(m));
    }
}
