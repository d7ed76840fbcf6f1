//! `gate_keys`: which key meets which query when.
//!
//! # Purpose
//!
//! Goes through the slots of a `gate_tas`: passes over those without past keys, and of the others takes the rows of beats off the record stream, scale bytes first, one channel after the other, each with
//! all queries that it serves.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i`, `start_i` | in | 1 | no keys; a run begins |
//! | `wanted_i` | in | 1 | the first gate is a `gate_tas` whose slots are known; what follows is its command's: |
//! | `src_i`, `heads_i`, `kv_heads_i`, `scales_i` | in | block, heads, heads, 6 | first block of queries; query heads; key/value heads; blocks of a head |
//! | `place_{valid,data}_i`, `place_ready_o` | | 1, [`Place::width`], 1 | *stream* of slots |
//! | `turn_i` | in | 1 | the records before the slot's keys are taken |
//! | `missing_i` | in | slots | slots whose queries are not in the activation buffer |
//! | `row_valid_i`, `row_ready_o` | in, out | 1 | a row of beats; taken when both are set |
//! | `active_o`, `need_o` | out | 1, channels | rows are the gate unit's; the channels of which the next one is made |
//! | `token_valid_o`, `token_o` | out | 1, token | what is done in this cycle, with the row |
//! | `slot_o`, `over_o` | out | 1, 1 | it is a slot's last; the command's last slot is behind the unit in the next cycle |
//!
//! # Timing
//!
//! A slot is looked at in the first cycle in which it is there, the gate is wanted, and the slot before is behind the unit; one without keys takes that cycle. The rows of another are taken from [`KEYS_START`] cycles after that in
//! which its records' turn has come and its queries are there: of scale bytes a row takes a cycle for each channel, of elements [`past_key_cycles`](fastcar_arch::timing::past_key_cycles).
//!
//! # Numeric contract
//!
//! None.
//!
//! # Cost
//!
//! Counters. Figures: `tests/baselines/rtl/gate.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_gate.rs`: `keys_are_scored`.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{gate::Keys, rtl::Block};
//!
//! let keys = Keys::new(&AccelConfig::preset("u55c")?);
//! assert_eq!(keys.module()?.name(), "gate_keys_c32_b64_s32_q1024");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::{SCALES, Sizes, Token};
use crate::rtl::{Bits, Block, Builder, Module, Reg, RtlError, Wire};
use crate::walk::Appends;
use crate::walk::past::{Place, SCALE_BEATS};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::timing::KEYS_START;
use std::sync::Arc;

/// The walk over past keys and queries. See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    config: AccelConfig,
    sizes: Sizes,
}

impl Keys {
    /// For a configuration.
    #[must_use]
    pub fn new(config: &AccelConfig) -> Self {
        debug_assert_eq!(KEYS_START, 1, "registers are loaded");
        Self { config: config.clone(), sizes: Sizes::new(config) }
    }
}

/// What a command says.
struct Task<'m> {
    src: Wire<'m>,
    heads: Wire<'m>,
    kv_heads: Wire<'m>,
    scales: Wire<'m>,
    /// A beat holds two blocks of a head.
    two: Wire<'m>,
}

impl<'m> Task<'m> {
    fn new(s: &Sizes, m: &'m Builder) -> Self {
        let scales = m.input("scales_i", SCALES);
        let two = if s.beat > s.lanes() { scales.gt(1) } else { m.lit(1, 0) };
        let heads = |name| m.input(name, s.heads_bits());
        let src = m.input("src_i", s.block_bits());
        Self { src, heads: heads("heads_i"), kv_heads: heads("kv_heads_i"), scales, two }
    }

    /// Blocks of a head in a row of whole blocks.
    fn step(&self) -> Wire<'m> {
        self.two.cat(!self.two).zext(SCALES)
    }
}

/// What ends with a token.
#[derive(Clone, Copy)]
struct Ends<'m> {
    elements: Wire<'m>,
    /// It is the last of a block's queries; of a channel's beat; of a row.
    group: Wire<'m>,
    beat: Wire<'m>,
    row: Wire<'m>,
    /// The same, and the row is the last of its blocks.
    block: Wire<'m>,
    /// The last of the heads of a row; of the slot's scale bytes or elements.
    heads: Wire<'m>,
    phase: Wire<'m>,
}

/// Registers that are loaded while the unit waits, and move on with a token.
struct Moves<'m> {
    m: &'m Builder,
    load: Wire<'m>,
    go: Wire<'m>,
}

impl<'m> Moves<'m> {
    fn reg(&self, name: &str, width: u32) -> Reg<'m> {
        self.m.reg(name, width)
    }

    /// While the unit waits `first`; then, of a token, the first case that holds.
    fn set(&self, reg: Reg<'m>, first: Wire<'m>, cases: &[(Wire<'m>, Wire<'m>)]) {
        let mut all = vec![(self.load, first)];
        all.extend(cases.iter().map(|&(when, to)| (self.go & when, to)));
        reg.update(&all);
    }

    /// A value of the slot's.
    fn kept(&self, name: &str, value: Wire<'m>) -> Wire<'m> {
        let reg = self.reg(name, value.width());
        self.set(reg, value, &[]);
        reg.q()
    }
}

/// The heads of a row: one on each of some channels.
struct Heads<'m> {
    channel: Reg<'m>,
    /// Which of them, and the last one.
    at: Reg<'m>,
    most: Reg<'m>,
    /// Heads from the row's first on, and whether these are all.
    left: Reg<'m>,
    last: Reg<'m>,
}

impl<'m> Heads<'m> {
    fn new(s: &Sizes, moves: &Moves<'m>) -> Self {
        let channel = |name| moves.reg(name, s.channel_bits());
        let left = moves.reg("heads_left", s.heads_bits());
        let (at, most) = (channel("head"), channel("last_head"));
        Self { channel: channel("channel"), at, most, left, last: moves.reg("last_heads", 1) }
    }

    fn row_ends(&self) -> Wire<'m> {
        self.at.q().eq(self.most.q())
    }

    fn advance(&self, keys: &Keys, moves: &Moves<'m>, task: &Task<'m>, place: &Place<'m>, ends: &Ends<'m>) {
        let (m, s) = (moves.m, &keys.sizes);
        let (bits, channels) = (s.channel_bits(), u64::from(s.channels));
        let walk = Appends::new(&keys.config);
        // With fewer heads than channels they lie apart.
        let few = task.kv_heads.lt(channels);
        let wide = task.kv_heads.zext(s.heads_bits().max(bits));
        let apart = walk
            .by_heads(m, wide, |heads| Bits::from_u64(bits, u64::from(walk.interleave(heads)) % channels));
        let step = few.mux(apart, m.lit(bits, 1));
        let (first, zero) = (moves.kept("first_channel", place.channel), m.lit(bits, 0));
        moves.set(self.channel, place.channel, &[(ends.row, first), (ends.beat, self.channel.q() + step)]);
        moves.set(self.at, zero, &[(ends.row, zero), (ends.beat, self.at.q() + 1)]);

        let changes = moves.load | (moves.go & ends.heads);
        // What is left, whether that is a row's, and the row's last head: at the start, and behind a row. The choice comes last.
        let of = |left: Wire<'m>| {
            let last = left.le(channels);
            let rest = (left - 1).zext(left.width().max(bits)).trunc(bits);
            [left, last, last.mux(rest, m.lit(bits, channels - 1))]
        };
        let again = moves.load | ends.phase;
        let cases = of(task.kv_heads).into_iter().zip(of(self.left.q() - channels));
        for (reg, (start, next)) in [self.left, self.last, self.most].into_iter().zip(cases) {
            reg.set_when(changes, again.mux(start, next));
        }
        let mask = moves.kept("last_channels", place.last_channels);
        m.output("need_o", mask | (!self.last.q()).repeat(s.channels));
    }
}

/// Scale bytes: where those of a beat are kept, and where a block's is.
struct Scales<'m> {
    /// Where the head's first beat of them is kept, and that of the row's first head.
    kept: Reg<'m>,
    row: Reg<'m>,
    /// Beats before this one; bytes from the beat's first on.
    beat: Reg<'m>,
    rest: Reg<'m>,
    /// The byte of the row's first block.
    byte: Reg<'m>,
    /// Where in its beat the first byte is.
    offset: Wire<'m>,
}

impl<'m> Scales<'m> {
    fn new(s: &Sizes, moves: &Moves<'m>, place: &Place<'m>) -> Self {
        let reg = |name, width| moves.reg(name, width);
        let (kept, row) = (reg("kept", s.block_bits()), reg("kept_of_row", s.block_bits()));
        let (rest, byte) = (reg("bytes_left", s.run_bits()), reg("block_byte", s.run_bits()));
        let offset = moves.kept("offset", place.offset);
        Self { kept, row, beat: reg("scale_beat", SCALE_BEATS), rest, byte, offset }
    }

    /// The beat is the last of the head's.
    fn beats_end(&self, s: &Sizes) -> Wire<'m> {
        self.rest.q().le(u64::from(s.beat))
    }

    fn advance(&self, s: &Sizes, moves: &Moves<'m>, task: &Task<'m>, place: &Place<'m>, ends: &Ends<'m>) {
        let m = moves.m;
        let zero = m.lit(s.block_bits(), 0);
        let beats = moves.kept("scale_beats", place.scale_beats).zext(s.block_bits());
        let next = self.kept.q() + beats;
        let cases = [(ends.phase, zero), (ends.heads, next)];
        moves.set(self.row, zero, &cases);
        let cases = [&cases[..], &[(ends.row, self.row.q()), (ends.beat, next)]].concat();
        moves.set(self.kept, zero, &cases);

        let none = m.lit(SCALE_BEATS, 0);
        moves.set(self.beat, none, &[(ends.heads, none), (ends.row, self.beat.q() + 1)]);
        let bytes = |offset: Wire<'m>| offset.zext(s.run_bits()) + task.scales.zext(s.run_bits());
        let less = self.rest.q() - u64::from(s.beat);
        moves.set(self.rest, bytes(place.offset), &[(ends.heads, bytes(self.offset)), (ends.row, less)]);
        let first = self.offset.zext(s.run_bits());
        let later = self.byte.q() + task.step().zext(s.run_bits());
        let block_ends = ends.elements & ends.block;
        moves.set(self.byte, place.offset.zext(s.run_bits()), &[(ends.heads, first), (block_ends, later)]);
    }

    /// Where a beat, or a block's, bytes are kept; the first byte that counts, or the block's; the one behind the last that counts.
    fn token(&self, s: &Sizes, m: &'m Builder, ends: &Ends<'m>, half: Wire<'m>) -> [Wire<'m>; 3] {
        let (bits, byte) = (s.block_bits(), s.byte_bits());
        let at = self.byte.q() + half.zext(s.run_bits());
        let before = at.slice(byte, s.run_bits() - byte).zext(bits);
        let beat = ends.elements.mux(before, self.beat.q().zext(bits));
        let first = self.beat.q().is_zero().mux(self.offset, m.lit(byte, 0));
        let whole = m.lit(byte + 1, s.beat.into());
        let high = self.beats_end(s).mux(self.rest.q().trunc(byte + 1), whole);
        [self.kept.q() + beat, ends.elements.mux(at.trunc(byte), first), high]
    }
}

/// The queries that a block of keys meets.
struct Queries<'m> {
    /// Key/value heads that so many query heads would be: all of them behind the last one of a group.
    served: Reg<'m>,
    /// The block, that of the group's first query, that of the row's first head.
    block: Reg<'m>,
    group: Reg<'m>,
    row: Reg<'m>,
    /// Blocks with this row before.
    before: Reg<'m>,
}

impl<'m> Queries<'m> {
    fn new(s: &Sizes, moves: &Moves<'m>) -> Self {
        let block = |name| moves.reg(name, s.block_bits());
        Self {
            served: moves.reg("served", s.heads_bits()),
            block: block("query"),
            group: block("query_of_group"),
            row: block("query_of_row"),
            before: block("blocks_before"),
        }
    }

    fn advance(&self, s: &Sizes, moves: &Moves<'m>, task: &Task<'m>, ends: &Ends<'m>) {
        let (m, bits) = (moves.m, s.block_bits());
        let all = task.kv_heads;
        moves.set(self.served, all, &[(ends.group, all), (m.lit(1, 1), self.served.q() + all)]);
        let fit = |wire: Wire<'m>| wire.zext(bits.max(SCALES)).trunc(bits);
        // The next head's query is a head's blocks behind the group's last one, where its beat begins.
        let scales = fit(task.scales);
        let head = scales - fit(task.step()) + 1;
        let step = fit(task.step()) & ends.block.repeat(bits);
        let of_row = self.row.q() + step;
        let [heads, row] = [(ends.heads, self.block.q() + 1), (ends.row, of_row)];
        let beat = (ends.beat, self.block.q() + head);
        let group = (ends.group, self.group.q() + 1);
        let cases = |rest: &[(Wire<'m>, Wire<'m>)]| {
            let of_elements = |&(when, to): &(Wire<'m>, Wire<'m>)| (when & ends.elements, to);
            rest.iter().map(of_elements).collect::<Vec<_>>()
        };
        moves.set(self.row, task.src, &cases(&[heads, row]));
        moves.set(self.group, task.src, &cases(&[heads, row, beat, group]));
        let next = (m.lit(1, 1), self.block.q() + scales);
        moves.set(self.block, task.src, &cases(&[heads, row, beat, group, next]));
        let none = m.lit(bits, 0);
        moves.set(self.before, none, &[(ends.row, none), (ends.elements, self.before.q() + 1)]);
    }
}

impl Keys {
    /// What is done with the row in this cycle, and what ends with it.
    fn walk<'m>(&self, moves: &Moves<'m>, task: &Task<'m>, place: &Place<'m>) -> (Ends<'m>, Token<'m>) {
        let (m, s) = (moves.m, &self.sizes);
        let (elements, half, upper) = (moves.reg("elements", 1), moves.reg("half", 1), moves.reg("upper", 1));
        let (block, first) = (moves.reg("block", SCALES), moves.reg("first", 1));
        let (heads, queries) = (Heads::new(s, moves), Queries::new(s, moves));
        let scales = Scales::new(s, moves, place);

        let is = elements.q();
        let group = !is | queries.served.q().eq(task.heads);
        let beat = group & (!is | !task.two | half.q());
        let row = beat & heads.row_ends();
        let whole = if s.is_half() { upper.q() | !is } else { m.lit(1, 1) };
        let blocks_end = whole & (block.q() + task.step()).eq(task.scales);
        let of_heads = row & is.mux(blocks_end, scales.beats_end(s));
        let phase = of_heads & heads.last.q();
        let ends = Ends { elements: is, group, beat, row, block: row & whole, heads: of_heads, phase };

        let [zero, one] = [0, 1].map(|bit| m.lit(1, bit));
        moves.set(elements, zero, &[(phase, one)]);
        moves.set(half, zero, &[(group & is, task.two & !half.q())]);
        moves.set(upper, zero, &[(row & is, !upper.q())]);
        let none = m.lit(SCALES, 0);
        moves.set(block, none, &[(of_heads, none), (ends.block & is, block.q() + task.step())]);
        moves.set(first, one, &[(phase, one), (whole, zero)]);
        heads.advance(self, moves, task, place, &ends);
        scales.advance(s, moves, task, place, &ends);
        queries.advance(s, moves, task, &ends);

        let [kept, low, high] = scales.token(s, m, &ends, half.q());
        let token = Token {
            slot: moves.kept("slot", place.slot),
            elements: is,
            first: first.q(),
            last: phase & is,
            channel: heads.channel.q(),
            kept,
            low,
            high,
            half: task.two.mux(half.q(), moves.kept("odd", place.odd)),
            upper: whole,
            block: queries.block.q(),
            place: queries.before.q(),
        };
        (ends, token)
    }
}

impl Block for Keys {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let s = &self.sizes;
        let m = Builder::new(s.name("gate_keys"));
        let (start, wanted) = (m.input("start_i", 1), m.input("wanted_i", 1));
        let task = Task::new(s, &m);
        let front = m.stream_in("place", Place::width(&self.config));
        let place = Place::of(&self.config, front.data);

        // A slot is passed over, or begins.
        let active = m.reg("active", 1).reset(0);
        let looks = wanted & front.valid & !active.q();
        let missing = place.slot.choose(&m.input("missing_i", s.slots).bits());
        let passes = (looks & place.none).named("passes");
        let begins = (looks & !place.none & m.input("turn_i", 1) & !missing).named("begins");
        front.ready.set(passes | begins);

        let go = (active.q() & m.input("row_valid_i", 1)).named("goes");
        let moves = Moves { m: &m, load: !active.q(), go };
        let (ends, token) = self.walk(&moves, &task, &place);
        let through = (go & token.last).named("slot_ends");
        active.update(&[(start | through, m.lit(1, 0)), (begins, m.lit(1, 1))]);
        let last = moves.kept("last", place.last);
        let outputs = [
            ("active", active.q()),
            ("row_ready", active.q() & ends.row),
            ("token_valid", go),
            ("token", token.word(&m)),
            ("slot", through),
            ("over", (passes & place.last) | (through & last)),
        ];
        outputs.iter().for_each(|(name, wire)| m.output(&format!("{name}_o"), *wire));
        m.finish()
    }
}
