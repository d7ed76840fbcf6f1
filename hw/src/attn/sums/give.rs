//! Groups of lines for the vector unit.

use super::super::weights::TOTAL;
use super::super::{Agreement, BYTE, Lines};
use super::{GROUPS, LINE_BITS, Round, Sums, WORD_BITS, ahead, counted};
use crate::cmd::fields::cut;
use crate::func::{later, later_valid};
use crate::prim::{CreditCounter, Fifo};
use crate::rtl::{Builder, Instance, RamStyle, RtlError, Stream, Wire};
use fastcar_arch::num::window::ACC_BITS;

/// A group that is read in this cycle.
struct Step<'m> {
    goes: Wire<'m>,
    ends_line: Wire<'m>,
    /// It is its round's last.
    ends: Wire<'m>,
    /// Its number in the destination.
    number: Wire<'m>,
}

/// A group as it waits for the vector unit.
struct Group<'m> {
    data: Wire<'m>,
    number: Wire<'m>,
    ends_line: Wire<'m>,
    ends: Wire<'m>,
    scale: Wire<'m>,
    nan: Wire<'m>,
    none: Wire<'m>,
    total: Wire<'m>,
}

impl<'m> Group<'m> {
    fn word(&self, m: &'m Builder) -> Wire<'m> {
        let Self { data, number, ends_line, ends, scale, nan, none, total } = *self;
        m.pack(&[data, number, ends_line, ends, scale, nan, none, total])
    }

    fn of(s: &Sums, word: Wire<'m>) -> Self {
        let mut take = cut(word);
        Self {
            data: take(s.lanes * ACC_BITS),
            number: take(s.group_bits()),
            ends_line: take(1),
            ends: take(1),
            scale: take(BYTE),
            nan: take(1),
            none: take(1),
            total: take(TOTAL),
        }
    }
}

impl Sums {
    /// Width of the number of a group of the destination.
    fn group_bits(&self) -> u32 {
        self.line_bits() + self.groups().ilog2()
    }

    /// Gives the groups of whole lines; when one is used up.
    pub(super) fn give<'m>(
        &self,
        m: &'m Builder,
        start: Wire<'m>,
        armed: (Wire<'m>, Wire<'m>),
        lines: &Instance<'m>,
    ) -> Result<Wire<'m>, RtlError> {
        let room = m.instance("u_room", &CreditCounter::new(GROUPS)?)?;
        let step = self.read(m, start, armed, (lines, room.get("available_o")))?;
        room.set("take_i", step.goes);
        let group = Group {
            data: lines.get("group_o"),
            number: later(m, "number", m.register("number_first", step.number), Lines::READ - 1)?,
            ends_line: later(m, "ends_line", step.ends_line, Lines::READ)?,
            ends: later(m, "ends_round", step.ends, Lines::READ)?,
            scale: m.input("scale_i", BYTE),
            nan: m.input("nan_i", 1),
            none: m.input("none_i", 1),
            total: m.input("total_i", TOTAL),
        };
        let word = group.word(m);
        let valid = later_valid(m, "read", step.goes, Lines::READ);
        let input = Stream { valid, data: word, ready: m.later("groups_room", 1) };
        let queue = Fifo::new(word.width(), GROUPS, RamStyle::Distributed)?.after(m, "u_groups", input)?;
        let used = self.part(m, armed, &queue)?;
        queue.ready.set(used);
        room.set("give_i", used);
        Ok(step.ends_line)
    }

    /// Reads the groups of lines that are whole: head by head.
    fn read<'m>(
        &self,
        m: &'m Builder,
        start: Wire<'m>,
        armed: (Wire<'m>, Wire<'m>),
        (lines, room): (&Instance<'m>, Wire<'m>),
    ) -> Result<Step<'m>, RtlError> {
        let (done, over) = (m.later("round_read", 1), m.later("line_read", 1));
        let rounds = self.waiting(m, "read_rounds", armed, done.wire())?;
        let of = Round::of(self, rounds.data);
        let whole = ahead(m, "whole_lines", start, lines.get("whole_o"), over.wire());
        let goes = (rounds.valid & whole & room).named("reads");
        let none = m.lit(1, 0);

        // Groups of a head's line, heads, lines of a query head, query heads.
        let (group, ends_head) = if self.groups() == 1 {
            (None, goes)
        } else {
            let group = counted(m, "read_group", self.groups().ilog2(), start, goes, none);
            (Some(group), goes & group.all())
        };
        let last = m.later("read_last_head", 1);
        let ends_line = (ends_head & last.wire()).named("read_ends_line");
        let head = counted(m, "read_head", self.sizes.lane(), start, ends_head, ends_line);
        last.set(head.eq(of.last_head));
        over.set(ends_line);
        let last = m.later("read_last_line", 1);
        let ends_query = ends_line & last.wire();
        let line = counted(m, "read_line", LINE_BITS, start, ends_line, ends_query);
        last.set(line.eq(of.last_line));
        let last = m.later("read_last_query", 1);
        let ends = (ends_query & last.wire()).named("read_ends");
        let query = counted(m, "read_query", self.query_bits(), start, ends_query, ends);
        last.set(query.eq(of.last_query));
        done.set(ends);

        let wraps = m.later("read_wraps", 1);
        let next_pass = ends_query & (wraps.wire() | ends);
        let pair = counted(m, "read_pair", self.agreement.pair_width(), start, ends_query, next_pass);
        wraps.set(pair.eq(u64::from(self.shape.pairs() - 1)));
        let pass = counted(m, "read_pass", self.agreement.pass_width(), start, next_pass, none);
        let round = counted(m, "read_round", Agreement::ROUND_BITS, start, ends, none);
        let kept = counted(m, "read_kept", Lines::ROUNDS.ilog2(), start, ends_line, none);
        let lane = self.sizes.lane();
        // Where one head has all channels there is no next one.
        let next = |share: &u32| m.lit(lane, u64::from(share % self.sizes.channels));
        let share: Vec<_> = self.sizes.shares().iter().map(next).collect();
        let channel = m.reg("read_channel", lane).reset(0);
        let begins = start | ends_line;
        channel.update(&[(begins, m.lit(lane, 0)), (ends_head, channel.q() + of.share.choose(&share))]);
        for (name, wire) in [("round", round), ("pass", pass), ("pair", pair), ("channel", channel.q())] {
            m.output(&format!("ask_{name}_o"), wire);
        }
        lines.set("ask_round_i", kept);
        lines.set("ask_channel_i", channel.q());
        lines.set("ask_group_i", group.unwrap_or_else(|| m.lit(1, 0)));

        let bits = self.line_bits();
        let own = counted(m, "read_own_line", bits, start, ends_line, ends);
        let before = m.reg("read_before", bits).reset(0);
        before.update(&[(begins, m.lit(bits, 0)), (ends_head, before.q() + of.head_lines)]);
        let number = of.first_line + own + before.q();
        let number = group.map_or(number, |group| number.cat(group));
        Ok(Step { goes, ends_line, ends, number })
    }

    /// The part of the round in turn: it may begin with its first group, and takes a line of each head in as many cycles as a line has
    /// words. When a group is used up.
    fn part<'m>(
        &self,
        m: &'m Builder,
        armed: (Wire<'m>, Wire<'m>),
        queue: &Stream<'m>,
    ) -> Result<Wire<'m>, RtlError> {
        let begin = m.input("begin_i", 1);
        let round = Round::of(self, armed.1);
        let heads = round.last_head.zext(self.sizes.lane() + 1) + 1;
        let lines = heads.mul_unsigned(round.head_lines);
        let lines = lines.zext(self.lines_bits().max(lines.width())).trunc(self.lines_bits());
        let parts = self.waiting(m, "parts", (armed.0, lines), begin)?;
        m.output("lines_o", parts.data);

        let group = Group::of(self, queue.data);
        let (open, holds) = (m.reg("part_open", 1).reset(0), m.reg("holds", 1).reset(0));
        let valid = queue.valid & !holds.q();
        let used = valid & m.input("group_ready_i", 1);
        let time = m.reg("part_time", WORD_BITS);
        time.update(&[(begin, m.lit(WORD_BITS, 1)), (m.lit(1, 1), time.q() + 1)]);
        let turn = time.q().all() & !begin;
        holds.update(&[(turn, m.lit(1, 0)), (used & group.ends_line, m.lit(1, 1))]);
        open.update(&[(used & group.ends, m.lit(1, 0)), (begin, m.lit(1, 1))]);
        m.output("ready_o", valid & !open.q());
        m.output("group_valid_o", valid);
        m.output("group_data_o", group.data);
        m.output("group_number_o", group.number);
        for (name, wire) in
            [("scale", group.scale), ("nan", group.nan), ("none", group.none), ("total", group.total)]
        {
            m.output(&format!("group_{name}_o"), wire);
        }
        Ok(used)
    }
}
