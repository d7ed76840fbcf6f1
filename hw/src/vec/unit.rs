//! `vector_unit`: one part of a vector command after the other.
//!
//! # Purpose
//!
//! Takes a command for one slot with its fields decoded, reads the vector buffer, takes records, and leaves its results in the vector
//! buffer or as words and blocks for memory and activation buffer.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | drops whatever is under way |
//! | `start_i` | in | 1 | a part begins; with the last `issued_o` or later, and a new command with the last `done_o` or later. All that tells the part is sampled on the edge before |
//! | `op_i` | in | [`Op::BITS`] | what to do |
//! | `slot_i` | in | [`Shape::slot_bits`] | for which slot |
//! | `to_line_i` | in | [`Shape::line_bits`] | first line of the destination; `rope`: of the heads; `kv_append`: of the values |
//! | `from_line_i` | in | [`Shape::line_bits`] | first line of the source; `kv_append`: of the keys |
//! | `block_i` | in | [`Shape::block_bits`] | first block of the activation buffer |
//! | `lines_i` | in | [`Shape::lines_bits`] | lines, or blocks; `kv_append`: of the keys |
//! | `rest_i` | in | 5 | words in the last line, 0 for all |
//! | `head_lines_i` | in | 6 | `rope`: lines of a head |
//! | `accumulate_i` | in | 1 | `load`: add |
//! | `access_i` | in | 1 | `load`, `store`, `store_act`: the slot has a record; norm: gamma and beta come as records, which later parts use again |
//! | `inv_words_i`, `eps_i` | in | 32 | norm |
//! | `delta_i`, `ring_i` | in | 1 | `matvec`: rows have references, `access_i` tells whether the slot has; rows are written to memory |
//! | `bias_i`, `shared_i` | in | 1 | `matvec`: there is a bias; it comes as a record, before the slot's own |
//! | `epilogue_i` | in | 2 | `matvec`: as [`Epilogue`] |
//! | `base_i`, `nan_i`, `fp4_i` | in | 9, 1, 1 | `matvec`: what the slot's sums are counted in, see [`FromWindow`] |
//! | `sums_valid_i`, `sums_ready_o`, `sums_data_i` | in, out, in | 1, 1, 48 x lanes | sums of the MAC array; `matvec`: rows in order |
//! | `sums_group_i` | in | group | `attn`: which group of the destination it is, all of a line one after the other |
//! | `sums_scale_i`, `sums_nan_i`, `sums_none_i` | in | 8, 1, 1 | `attn`: the head's largest scale of values; a score is NaN; there is no token, and all sums are 0 |
//! | `sums_total_i` | in | [`TOTAL`] | `attn`: the sum of the head's weights |
//! | `issued_o` | out | 1 | the input is free: the next part may begin in this cycle |
//! | `done_o` | out | 1 | the result of the oldest part may be used in this cycle |
//! | `record_valid_i`, `record_ready_o`, `record_data_i` | in, out, in | 1, 1, 32 x lanes | the records' words |
//! | `record_last_o` | out | 1 | the group that is taken is its record's last |
//! | `ab_read_o`, `ab_slot_o`, `ab_block_o` | out | 1, slot, block | a block of the activation buffer is asked for |
//! | `ab_scale_i`, `ab_elems_i` | in | 8, 256 | it, two cycles later |
//! | `word_valid_o`, `word_data_o` | out | 1, 32 x lanes | a group of words or rows for memory, in order |
//! | `block_valid_o` | out | 1 | a block |
//! | `block_memory_o` | out | 1 | it goes to memory, not to the activation buffer |
//! | `block_slot_o`, `block_number_o` | out | slot, block | its slot, and its number: in the activation buffer, or in the record (`kv_append`: values after keys) |
//! | `block_scale_o`, `block_elems_o` | out | 8, 256 | its scale and elements |
//!
//! # Timing
//!
//! Cycles from `start_i` to `issued_o` with records in time, and from `issued_o` to `done_o` ([`VectorUnit::latency`]). `g` are the
//! groups of all lines (`store`: of all words), `s` = `ceil(lines / 32)`, `p = ceil(g / 2)`, `t` the logarithm of the lanes, `h` half a head in groups, rounded up:
//!
//! | command | issue | of it before records | latency |
//! |---|---|---|---|
//! | load | g | 0 | 3; with `accumulate` 9 |
//! | store, `store_act` | g | | 3 |
//! | add | g; where g is odd and both vectors begin in one bank, g + 1 | | 10; 9 |
//! | quant, `kv_append` | g (both vectors) | | 11 |
//! | rms | lead + g | s + p + t + 35 + [`Shape::exponents_late`] | 11 |
//! | layer | lead + 2g | s + 3p + 2t + 53 + [`Shape::exponents_late`] + cycles for the largest of 2 groups | 23 |
//! | rope | groups of the record + g | 0 | h + 15 |
//! | matvec | g | 0 | 6, 6 more for reference, bias and `accumulate` each, 18 for an epilogue |
//! | attn | g | 0 | 20 |
//!
//! With an epilogue for pairs of rows `lines_i` is twice the result's lines, and `rest_i` counts words of the result.
//!
//! A record or sums that come late hold up their group, and what follows. A part that takes both its reference and the bias takes
//! the bias' groups before.
//!
//! # Numeric contract
//!
//! Section 7 of `docs/numerics.md`, bit for bit.
//!
//! # Cost
//!
//! The lanes, a sum of squares, a quantiser, one scalar path, one reciprocal, memories for gamma and beta (or a bias). Figures: `tests/baselines/rtl/vec_unit.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_vec.rs`: `commands_of_four_lanes`, `commands_of_sixteen_lanes`, `commands_of_thirty_two_lanes`,
//! `native_simulation_agrees`, `cells_and_depth_are_held`; many commands in the long run `commands_for_long`.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{rtl::Block, vec::{Shape, VectorUnit}};
//!
//! let unit = VectorUnit::new(Shape::of(&AccelConfig::preset("tiny")?)?);
//! assert_eq!(unit.module()?.name(), "vec_unit_l4_s4_v64_a64_r1024");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::lane::{self, Lane};
use super::scalar::Scalar;
use super::sequence::{HEAD_BITS, LARGEST, REST_BITS, SQUARES, SUM, Sequence};
use super::taps::Taps;
use super::{BYTE, FIELD, Field, Op, READ, Rotation, Shape, VectorBuffer, WORD, held, larger, style};
use crate::fp::integer::EXPONENT_BITS;
use crate::fp::{Adder, FromInteger, FromWindow, MaxExponent, Multiplier, SquareSum};
use crate::func::{FuncUnit, Function, cycles, later, later_valid};
use crate::mx::Quantiser;
use crate::rtl::{Bits, Block, Builder, Instance, Module, RtlError, Wire, index_width};
use fastcar_arch::config::LINE_WORDS;
use fastcar_arch::isa::Epilogue;
use fastcar_arch::num::softmax::PROB_FRAC_BITS;
use fastcar_arch::num::window::ACC_BITS;
use fastcar_arch::timing::{FUNC_LATENCY, MUL_LATENCY, QUANT_LATENCY};
use std::sync::Arc;

/// Cycles from a group of a rotated vector, counted where it leaves, to its words and their partners.
const ROTATED: u32 = READ + 2;

/// The unit. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VectorUnit {
    shape: Shape,
}

impl VectorUnit {
    /// The unit of some sizes.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        Self { shape }
    }

    /// Cycles from `issued_o` to `done_o`; for a rotation without the groups of half a head, for rows of a matrix without reference, bias
    /// and epilogue.
    #[must_use]
    pub fn latency(&self, op: Op, accumulate: bool) -> u32 {
        result(op, accumulate) + 1
    }
}

/// Width of a sum of softmax weights: 2^24 each, for 32768 tokens.
pub const TOTAL: u32 = 40;
/// What a scale of values is above a window's base: a weighted sum counts in units of `2^(scale - 127 - 6 - 24)`.
const VALUES: u64 = 282 - 157;

/// Cycles from a group to its result.
fn result(op: Op, accumulate: bool) -> u32 {
    let of = |lane: u32| READ + lane;
    match op {
        Op::Load if accumulate => of(Lane::accumulate()),
        Op::Load => of(Lane::LOAD),
        Op::Store | Op::StoreAct => READ,
        Op::Rms => of(Lane::rms()),
        Op::Layer => of(Lane::layer()),
        Op::Quant | Op::KvAppend => of(QUANTISED),
        Op::Add => of(Lane::add()),
        Op::Rope => ROTATED + Lane::rope(),
        Op::Attn => Lane::convert() + cycles(FUNC_LATENCY + MUL_LATENCY),
        Op::Matvec => Lane::convert() + u32::from(accumulate) * Adder.latency(),
    }
}

/// Width of `epilogue_i`.
const EPILOGUE: u32 = 2;
/// Cycles from a block's last words to the block.
const QUANTISED: u32 = cycles(QUANT_LATENCY);

/// The part.
struct Part<'m> {
    start: Wire<'m>,
    /// By code, whether it is the command.
    ops: Vec<Field<'m>>,
    slot: Field<'m>,
    to: Field<'m>,
    from: Field<'m>,
    block: Field<'m>,
    lines: Field<'m>,
    rest: Field<'m>,
    head_lines: Field<'m>,
    accumulate: Field<'m>,
    access: Field<'m>,
    inv_words: Field<'m>,
    eps: Field<'m>,
    delta: Field<'m>,
    ring: Field<'m>,
    bias: Field<'m>,
    shared: Field<'m>,
    pair: Field<'m>,
    gelu: Field<'m>,
    base: Field<'m>,
    nan: Field<'m>,
    fp4: Field<'m>,
    /// Both vectors of an addition begin in the same bank.
    same: Field<'m>,
}

impl<'m> Part<'m> {
    /// The ports, which go to the sequence too.
    fn new(m: &'m Builder, shape: &Shape, sequence: &Instance<'m>) -> Self {
        let start = m.input("start_i", 1);
        let port = |name: &str, width| m.input(&format!("{name}_i"), width);
        let hold = |name: &str, value| held(m, name, start, value);
        let field = |name: &str, width| hold(name, port(name, width));
        let op = port("op", Op::BITS);
        let lines = port("lines", shape.lines_bits());
        let rest = port("rest", REST_BITS);
        let head_lines = port("head_lines", HEAD_BITS);
        let access = port("access", 1);
        let (to, from) = (port("to_line", shape.line_bits()), port("from_line", shape.line_bits()));
        let whole = shape.within() == 0;
        let same = if whole { !(to.bit(0) ^ from.bit(0)) } else { m.lit(1, 1) };
        let pad = if whole { op.eq(Op::Add.code()) & same & lines.bit(0) } else { m.lit(1, 0) };
        let shared = port("shared", 1);
        let epilogue = port("epilogue", EPILOGUE);
        let (pair, gelu) = (epilogue.eq(Epilogue::SwiGlu as u64), epilogue.eq(Epilogue::Gelu as u64));
        let ports = [
            ("start", start),
            ("op", op),
            ("lines", lines),
            ("rest", rest),
            ("head_lines", head_lines),
            ("record", access),
            ("shared", shared),
            ("halves", pair),
            ("pad", pad),
        ];
        for (name, value) in ports {
            sequence.set(&format!("{name}_i"), value);
        }
        let command = |which: &Op| hold(&format!("op_{}", which.code()), op.eq(which.code()));
        Self {
            start,
            ops: Op::ALL.iter().map(command).collect(),
            slot: field("slot", shape.slot_bits()),
            to: hold("to_line", to),
            from: hold("from_line", from),
            block: field("block", shape.block_bits()),
            lines: hold("lines", lines),
            rest: hold("rest", rest),
            head_lines: hold("head_lines", head_lines),
            accumulate: field("accumulate", 1),
            access: hold("access", access),
            inv_words: field("inv_words", WORD),
            eps: field("eps", WORD),
            delta: field("delta", 1),
            ring: field("ring", 1),
            bias: field("bias", 1),
            shared: hold("shared", shared),
            pair: hold("pair_of_rows", pair),
            gelu: hold("gelu", gelu),
            base: field("base", lane::BASE),
            nan: field("nan", 1),
            fp4: field("fp4", 1),
            same: hold("same_bank", same),
        }
    }

    fn any(&self, ops: &[Op], which: impl Fn(&Field<'m>) -> Wire<'m>) -> Wire<'m> {
        let each: Vec<_> = ops.iter().map(|op| which(&self.ops[*op as usize])).collect();
        self.start.builder().tree(&each, |a, b| a | b)
    }

    /// Whether the part that begins or is under way is one of these.
    fn is(&self, ops: &[Op]) -> Wire<'m> {
        self.any(ops, |field| field.now)
    }

    /// Whether the parts that are in the pipeline are of one of these.
    fn was(&self, ops: &[Op]) -> Wire<'m> {
        self.any(ops, |field| field.was)
    }
}

/// What the sequence says in a cycle.
struct Issue<'m> {
    main: Wire<'m>,
    pair: Wire<'m>,
    pass: Wire<'m>,
    second: Wire<'m>,
    index: Wire<'m>,
    first: Wire<'m>,
    last: Wire<'m>,
    partial: Wire<'m>,
    spare: Wire<'m>,
    /// A group of a record is taken.
    taken: Wire<'m>,
}

/// A group's marks, on its way to the result.
#[derive(Clone, Copy)]
struct Marks<'m> {
    last: Wire<'m>,
    live: Wire<'m>,
    partial: Wire<'m>,
    /// The slot has no reference.
    fresh: Wire<'m>,
    /// It is a row to be written to memory.
    ring: Wire<'m>,
    /// Slot and group, where the result belongs.
    address: Wire<'m>,
    index: Wire<'m>,
}

impl<'m> Marks<'m> {
    fn packed(&self) -> Wire<'m> {
        let Self { last, live, partial, fresh, ring, address, index } = *self;
        last.builder().concat(&[address, index, ring, fresh, partial, live, last])
    }

    fn of(shape: &Shape, packed: Wire<'m>) -> Self {
        let index = shape.index_bits();
        Self {
            last: packed.bit(0),
            live: packed.bit(1),
            partial: packed.bit(2),
            fresh: packed.bit(3),
            ring: packed.bit(4),
            index: packed.slice(5, index),
            address: packed.slice(5 + index, shape.address_bits()),
        }
    }
}

/// The marks of two groups, on their way to a sum.
#[derive(Clone, Copy)]
struct Pair<'m> {
    first: Wire<'m>,
    last: Wire<'m>,
    second: Wire<'m>,
    pass: Wire<'m>,
}

impl<'m> Pair<'m> {
    fn of(packed: Wire<'m>) -> Self {
        Self { first: packed.bit(0), last: packed.bit(1), second: packed.bit(2), pass: packed.slice(3, 2) }
    }
}

/// What the lanes give.
struct Words<'m> {
    first: Wire<'m>,
    second: Wire<'m>,
    first_sum: Wire<'m>,
    second_sum: Wire<'m>,
    /// Rows with their references, and with their bias.
    reference: Wire<'m>,
    row: Wire<'m>,
    product: Wire<'m>,
    write: Wire<'m>,
}

/// What a vector is normalised with.
struct Norm<'m> {
    mean: Wire<'m>,
    root: Wire<'m>,
    gamma: Wire<'m>,
    beta: Wire<'m>,
}

/// What sums count in, and what weighted sums are multiplied by.
struct Window<'m> {
    base: Wire<'m>,
    nan: Wire<'m>,
    fp4: Wire<'m>,
    reciprocal: Wire<'m>,
}

/// What goes from lane to lane.
struct Cross<'m> {
    up: Wire<'m>,
    paired: Wire<'m>,
}

/// What is rotated.
struct Rotated<'m> {
    own: Wire<'m>,
    partner: Wire<'m>,
    cos: Wire<'m>,
    sin: Wire<'m>,
    /// By chunks: of the head's first half.
    first: Wire<'m>,
}

/// Groups on their way to results.
struct Pipes<'m> {
    main: Taps<'m>,
    pairs: Taps<'m>,
    rotated: Taps<'m>,
}

/// What is read of the vector buffer, and written.
struct Addresses<'m> {
    first: Wire<'m>,
    second: Wire<'m>,
    odd_first: Wire<'m>,
    write: Wire<'m>,
}

struct Unit<'m> {
    m: &'m Builder,
    shape: Shape,
    part: Part<'m>,
    issue: Issue<'m>,
    buffer: Instance<'m>,
    record: Wire<'m>,
}

impl<'m> Unit<'m> {
    fn new(m: &'m Builder, shape: Shape) -> Result<Self, RtlError> {
        let sequence = m.instance("u_sequence", &Sequence::new(shape))?;
        let part = Part::new(m, &shape, &sequence);
        let valid = m.input("record_valid_i", 1);
        sequence.set("record_valid_i", valid);
        sequence.set("sums_valid_i", m.input("sums_valid_i", 1));
        m.output("sums_ready_o", sequence.get("sums_ready_o"));
        let ready = sequence.get("record_ready_o");
        m.output("record_ready_o", ready);
        m.output("record_last_o", sequence.get("record_last_o"));
        m.output("issued_o", sequence.get("issued_o"));
        let issue = Issue {
            main: sequence.get("main_o"),
            pair: sequence.get("pair_o"),
            pass: sequence.get("pass_o"),
            second: sequence.get("second_o"),
            index: sequence.get("index_o"),
            first: sequence.get("first_o"),
            last: sequence.get("last_o"),
            partial: sequence.get("partial_o"),
            spare: sequence.get("spare_o"),
            taken: valid & ready,
        };
        let buffer = m.instance("u_buffer", &VectorBuffer::new(shape))?;
        let record = m.register("record", m.input("record_data_i", shape.group_width()));
        Ok(Self { m, shape, part, issue, buffer, record })
    }

    /// First group of a line.
    fn group(&self, line: Wire<'m>) -> Wire<'m> {
        line.zext(self.shape.group_bits()) << self.shape.within()
    }

    /// A group's number that counts from the pass's first one.
    fn count(&self, name: &str, from: Wire<'m>, step: Wire<'m>) -> Wire<'m> {
        let reg = self.m.reg(name, self.shape.group_bits());
        let now = self.issue.first.mux(from, reg.q());
        reg.set_when(self.issue.main | self.issue.pair, now + step);
        now
    }

    /// The first group's address, the second one's, and whether there is a first one; and the group that the result belongs to.
    fn addresses(&self) -> Addresses<'m> {
        let (m, part, issue) = (self.m, &self.part, &self.issue);
        let bits = self.shape.group_bits();
        let one = m.lit(bits, 1);
        let (to, from) = (self.group(part.to.now), self.group(part.from.now));
        let destination = part.is(&[Op::Load, Op::Add, Op::Rope]);
        let step = issue.pair.mux(m.lit(bits, 2), one);
        // Values follow the keys.
        let reg = m.reg("read_group", bits);
        let keys = part.lines.was.zext(self.shape.index_bits()) << self.shape.within();
        let values = part.was(&[Op::KvAppend]) & issue.index.eq(keys);
        let now = m.select(reg.q(), &[(issue.first, destination.mux(to, from)), (values, to)]);
        let there = issue.main | issue.pair;
        reg.set_when(there, now + step);
        let source = self.count("source_group", from, one);
        let half = (self.halves() & !issue.index.bit(0)).repeat(bits);
        let write = self.count("write_group", to, one & !half);

        // Where both vectors begin in one bank, the second one is read a cycle later.
        let slot = part.slot.now;
        let source = slot.cat(source);
        let before = m.reg("source_before", source.width());
        before.set_when(issue.main, source);
        let second = part.is(&[Op::Add]).mux(part.same.now.mux(before.q(), source), slot.cat(now + 1));
        let odd_first = there.mux(now.bit(0), !before.q().bit(0));
        Addresses { first: slot.cat(now), second, odd_first, write }
    }

    /// Asks the vector buffer; gives whether the first words come from the odd bank. Where rows go their destination is read when they
    /// are there.
    fn read(&self, addresses: &Addresses<'m>, pipes: &Pipes<'m>) -> Result<Wire<'m>, RtlError> {
        let m = self.m;
        let cases: Vec<_> = self
            .rows()?
            .into_iter()
            .map(|(cycle, here)| (here, Marks::of(&self.shape, pipes.main.marks(cycle - READ - 1)).address))
            .collect();
        let late = m.register("row_address", m.one_hot(&cases));
        let rows = self.part.is(&[Op::Matvec]);
        let first = rows.mux(late, addresses.first);
        let odd_first = rows.mux(late.bit(0), addresses.odd_first).named("odd_first");
        let row = |address: Wire<'m>| address.slice(1, address.width() - 1);
        self.buffer.set("even_row_i", odd_first.mux(row(addresses.second), row(first)));
        self.buffer.set("odd_row_i", odd_first.mux(row(first), row(addresses.second)));
        later(m, "odd_first_to", odd_first, READ)
    }

    fn pipes(&self, write: Wire<'m>) -> Result<Pipes<'m>, RtlError> {
        let (m, issue) = (self.m, &self.issue);
        let recorded = self.part.is(&[Op::Load, Op::Store, Op::StoreAct]);
        let attn = self.part.is(&[Op::Attn]);
        let number = m.input("sums_group_i", self.shape.group_bits());
        // Of two rows' groups the second one has the result.
        let half = self.halves() & !issue.index.bit(0);
        let marks = Marks {
            last: issue.last,
            live: (self.part.access.now | !recorded) & !half,
            partial: issue.partial,
            fresh: !self.part.access.now,
            ring: self.part.ring.now & !issue.spare,
            address: self.part.slot.now.cat(attn.mux(number + self.group(self.part.to.now), write)),
            index: issue.index,
        };
        let pair = m.concat(&[issue.pass, issue.second, issue.last, issue.first]);
        let longest = self.rows_after(true, true, true)? + Adder.latency();
        let sums = READ + Adder.latency();
        let direct = issue.main & !self.part.is(&[Op::Rope]);
        Ok(Pipes {
            main: Taps::new(m, "main", (direct, marks.packed()), longest - 1, &self.exits()?),
            pairs: Taps::new(m, "pair", (issue.pair, pair), sums, &[]),
            rotated: self.leaving(&marks),
        })
    }

    /// Two rows' groups make one of the result.
    fn halves(&self) -> Wire<'m> {
        self.part.is(&[Op::Matvec]) & self.part.pair.now
    }

    /// Cycles from sums to rows before they are added to their destination.
    fn rows_after(&self, delta: bool, bias: bool, epilogue: bool) -> Result<u32, RtlError> {
        let sums = u32::from(delta) + u32::from(bias);
        let epilogue = if epilogue { Lane::epilogue()? } else { 0 };
        Ok(Lane::convert() + sums * Adder.latency() + epilogue)
    }

    /// The same for each kind, and whether the parts in the pipeline are of it.
    fn rows(&self) -> Result<Vec<(u32, Wire<'m>)>, RtlError> {
        let part = &self.part;
        let gate = part.pair.was | part.gelu.was;
        let mut rows: Vec<(u32, Wire<'m>)> = Vec::new();
        for kind in 0..8 {
            let (delta, bias, epilogue) = (kind & 1 > 0, kind & 2 > 0, kind & 4 > 0);
            let same = |wire: Wire<'m>, is: bool| if is { wire } else { !wire };
            let here = part.was(&[Op::Matvec])
                & same(part.delta.was, delta)
                & same(part.bias.was, bias)
                & same(gate, epilogue);
            let cycle = self.rows_after(delta, bias, epilogue)?;
            match rows.iter_mut().find(|row| row.0 == cycle) {
                Some(row) => row.1 = row.1 | here,
                None => rows.push((cycle, here)),
            }
        }
        Ok(rows)
    }

    /// Groups of rotated vectors leave half a head after they came.
    fn leaving(&self, marks: &Marks<'m>) -> Taps<'m> {
        let (m, bits) = (self.m, self.shape.index_bits());
        let begin = self.issue.main & self.issue.first & self.part.is(&[Op::Rope]);
        let (left, wait) = (m.reg("rotated_left", bits).reset(0), m.reg("rotated_wait", bits));
        let leaves = (left.q().any() & wait.q().is_zero()).named("leaves");
        let groups = self.part.lines.was.zext(bits) << self.shape.within();
        left.update(&[(begin, groups), (leaves, left.q() - 1)]);
        let waits = (self.half_groups().zext(bits) - 1).named("half_less");
        wait.update(&[(begin, waits), (wait.q().any(), wait.q() - 1)]);
        let address = m.reg("rotated_address", self.shape.address_bits());
        address.update(&[(begin, marks.address), (leaves, address.q() + 1)]);
        let here = Marks {
            last: left.q().eq(1),
            live: m.lit(1, 1),
            partial: m.lit(1, 0),
            fresh: m.lit(1, 0),
            ring: m.lit(1, 0),
            address: address.q(),
            index: m.lit(bits, 0),
        };
        Taps::new(m, "rotated", (leaves, here.packed()), result(Op::Rope, false) - 1, &[])
    }

    /// Half a head in groups, rounded up.
    fn half_groups(&self) -> Wire<'m> {
        let lines = self.part.head_lines.was;
        let bits = self.shape.index_bits().max(HEAD_BITS + LINE_WORDS.ilog2());
        let half = if self.shape.lanes == LINE_WORDS {
            (lines.zext(bits) + 1) >> 1
        } else {
            lines.zext(bits) << (self.shape.within() - 1)
        };
        half.trunc(self.shape.index_bits())
    }

    /// A group's place in its head, and the head's parity.
    fn in_head(&self, name: &str, begin: Wire<'m>, step: Wire<'m>) -> (Wire<'m>, Wire<'m>) {
        let (m, bits) = (self.m, Rotation::new(self.shape).row_bits() - 1);
        let (place, parity) = (m.reg(&format!("{name}_place"), bits), m.reg(&format!("{name}_head"), 1));
        let (here, head) = (!begin.repeat(bits) & place.q(), !begin & parity.q());
        let groups =
            (self.part.head_lines.was.zext(HEAD_BITS + LINE_WORDS.ilog2()) << self.shape.within()) - 1;
        let end = here.eq(groups.trunc(bits));
        place.set_when(step | begin, step.mux(end.mux(m.lit(bits, 0), here + 1), here));
        parity.set_when(step | begin, head ^ (step & end));
        (here, head)
    }

    fn rotated(&self, pipes: &Pipes<'m>, words: Wire<'m>) -> Result<Rotated<'m>, RtlError> {
        let (m, issue) = (self.m, &self.issue);
        let block = Rotation::new(self.shape);
        let rotation = m.instance("u_rotation", &block)?;
        let rope = self.part.is(&[Op::Rope]);
        let comes = issue.main & rope;
        let begin = comes & issue.first;
        // The next part's table comes while this one's is still in use.
        let (table, used) = (m.reg("table_now", 1).reset(0), m.reg("table_used", 1));
        table.set_when(begin, !table.q());
        used.set_when(begin, table.q());
        let row_bits = block.row_bits();
        let taken = m.register_valid("table_write", issue.taken & self.part.is(&[Op::Rope]));
        rotation.set("table_write_i", taken);
        let index = issue.index.zext(row_bits.max(issue.index.width())).trunc(row_bits - 1);
        rotation.set("table_row_i", m.register("table_row", table.q().cat(index)));
        rotation.set("table_words_i", self.record);
        let (place, head) = self.in_head("coming", begin, comes);
        rotation.set("head_write_i", later_valid(m, "head_write", comes, READ));
        rotation.set("head_row_i", later(m, "head_row", head.cat(place), READ)?);
        rotation.set("head_words_i", words);
        let (place, head) = self.in_head("leaving", begin, pipes.rotated.valid(0));
        let late = |name: &str, wire| later(m, name, wire, READ);
        rotation.set("table_parity_i", late("table_parity", used.q())?);
        rotation.set("head_parity_i", late("head_parity", head)?);
        rotation.set("group_i", late("leaving_group", place)?);
        let per_line = HALF_LINE / block.chunk();
        let bits = block.half_bits().max(HEAD_BITS + per_line.ilog2());
        let half = (self.part.head_lines.was.zext(bits) << per_line.ilog2()).trunc(block.half_bits());
        rotation.set("half_i", half);
        let get = |name: &str| rotation.get(&format!("{name}_o"));
        Ok(Rotated {
            own: get("own"),
            partner: get("partner"),
            cos: get("cos"),
            sin: get("sin"),
            first: get("first"),
        })
    }

    /// A record that all slots share: written as it comes, read where it is needed.
    fn shared(&self, name: &str, groups: u32, written: Wire<'m>, address: Wire<'m>) -> Wire<'m> {
        let (m, depth) = (self.m, groups.next_power_of_two());
        let bits = index_width(depth.into());
        let memory = m.memory(name, self.shape.group_width(), depth, style(depth));
        let write = m.register_valid(&format!("{name}_write"), written);
        let index = |wire: Wire<'m>| if wire.width() < bits { wire.zext(bits) } else { wire.trunc(bits) };
        let row = m.register(&format!("{name}_row"), index(self.issue.index));
        memory.write(write, row, self.record);
        let words = memory.read_registered(&format!("{name}_first"), m.lit(1, 1), index(address));
        m.register(&format!("{name}_words"), words)
    }

    fn norm(&self, pipes: &Pipes<'m>, sums: &Instance<'m>) -> Result<Norm<'m>, RtlError> {
        let (m, part, issue) = (self.m, &self.part, &self.issue);
        let scalar = m.instance("u_scalar", &Scalar)?;
        for port in ["valid", "sum", "exponent", "nan"] {
            scalar.set(&format!("{port}_i"), sums.get(&format!("{port}_o")));
        }
        scalar.set("inv_words_i", part.inv_words.was);
        scalar.set("eps_i", part.eps.was);
        // The first sum of a layer norm is the mean's.
        let centres = m.reg("centres", 1).reset(0);
        let found = scalar.get("mean_valid_o");
        centres.update(&[(part.start, part.is(&[Op::Layer])), (found, m.lit(1, 0))]);
        let (mean, root) = (m.reg("mean", WORD), m.reg("root", WORD));
        mean.set_when(found & centres.q(), scalar.get("mean_o"));
        root.set_when(scalar.get("root_valid_o"), scalar.get("root_o"));

        let index = |cycle| Marks::of(&self.shape, pipes.main.marks(cycle)).index;
        let layer = part.is(&[Op::Layer]);
        let scaled = Multiplier.latency();
        let centred = Adder.latency() + scaled;
        let gamma = issue.taken & (part.is(&[Op::Rms]) | (layer & !issue.main));
        let address = part.was(&[Op::Layer]).mux(index(centred), index(scaled));
        // The bias of a matrix lies where beta does.
        let biased = part.is(&[Op::Matvec]) & part.shared.now & !(issue.main & part.access.now);
        let beta = issue.taken & ((layer & issue.main) | biased);
        let before = Lane::convert() - READ;
        let row = part.delta.was.mux(index(before + Adder.latency()), index(before));
        let address_after = part.was(&[Op::Matvec]).mux(row, index(centred + scaled));
        Ok(Norm {
            mean: mean.q(),
            root: root.q(),
            gamma: self.shared("gamma", self.shape.norm_groups(), gamma, address),
            beta: self.shared("beta", self.shape.bias_groups(), beta, address_after),
        })
    }

    /// The sums of the passes that come before; the lanes' words are given later.
    fn sums(&self, pipes: &Pipes<'m>, words: &Words<'m>, sums: &Instance<'m>) -> Result<(), RtlError> {
        let (m, shape) = (self.m, &self.shape);
        let centred = READ + Adder.latency();
        let early = Pair::of(pipes.pairs.marks(READ));
        let late = Pair::of(pipes.pairs.marks(centred));
        let layer = self.part.was(&[Op::Layer]);
        let squares = pipes.pairs.valid(centred) & layer & late.pass.eq(SQUARES);
        let plain = pipes.pairs.valid(READ) & (early.pass.eq(SUM) | (!layer & early.pass.eq(SQUARES)));
        let largest = self.largest(pipes, words)?;
        let pairs = |first: Wire<'m>, second: Wire<'m>, there: Wire<'m>| {
            let both = first.chunks(WORD).into_iter().zip(second.chunks(WORD));
            m.pack(&both.flat_map(|(a, b)| [a, b & there.repeat(WORD)]).collect::<Vec<_>>())
        };
        sums.set("valid_i", squares | plain);
        sums.set("first_i", squares.mux(late.first, early.first));
        sums.set("last_i", squares.mux(late.last, early.last));
        sums.set("squares_i", squares | early.pass.eq(SQUARES));
        let scan = later_valid(
            m,
            "scan",
            self.part.start & self.part.is(&[Op::Rms, Op::Layer]),
            shape.exponents_late() - 1,
        );
        let line = self.part.slot.now.cat(self.part.from.now);
        self.buffer.set("scan_i", scan);
        self.buffer.set("scan_line_i", line);
        self.buffer.set("scan_lines_i", self.part.lines.now);
        sums.set("emax_i", squares.mux(largest, self.buffer.get("largest_o")));
        let words = squares.mux(
            pairs(words.first_sum, words.second_sum, late.second),
            pairs(words.first, words.second, early.second),
        );
        sums.set("words_i", words);
        Ok(())
    }

    /// The largest field of the centred words.
    fn largest(&self, pipes: &Pipes<'m>, words: &Words<'m>) -> Result<Wire<'m>, RtlError> {
        let m = self.m;
        let at = READ + Adder.latency();
        let marks = Pair::of(pipes.pairs.marks(at));
        let compare = MaxExponent::new(2 * self.shape.lanes)?;
        let instance = m.instance("u_largest", &compare)?;
        instance.set("valid_i", pipes.pairs.valid(at) & marks.pass.eq(LARGEST));
        let there = marks.second.repeat(self.shape.group_width());
        instance.set("words_i", (words.second_sum & there).cat(words.first_sum));
        let first = later(m, "largest_first", marks.first, compare.latency())?;
        let largest = m.reg("largest", FIELD);
        let field = instance.get("field_o");
        largest.set_when(instance.get("valid_o"), first.mux(field, larger(field, largest.q())));
        Ok(largest.q())
    }

    fn lanes(
        &self,
        pipes: &Pipes<'m>,
        odd_first: Wire<'m>,
        keep: &[Wire<'m>],
        norm: &Norm<'m>,
        rotated: &Rotated<'m>,
        cross: &Cross<'m>,
    ) -> Result<Vec<Instance<'m>>, RtlError> {
        let (m, part) = (self.m, &self.part);
        let accumulate = part.accumulate.was;
        let load = part.was(&[Op::Load]);
        let (layer, rope) = (part.was(&[Op::Layer]), part.was(&[Op::Rope]));
        let record = m.register("record_2", self.record);
        let first = later(m, "rotated_first", rotated.first, Multiplier.latency())?;
        let chunk = Rotation::new(self.shape).chunk();
        // Words are added up for the mean while the part before still has its betas added.
        let two = pipes.pairs.valid(READ) & !Pair::of(pipes.pairs.marks(READ)).pass.eq(SUM);
        let sums = m.input("sums_data_i", self.shape.lanes * ACC_BITS);
        let reference = self.reference(pipes, record)?;
        let window = self.window()?;
        let attn = part.was(&[Op::Attn]);
        let factor = attn.mux(window.reciprocal, norm.root);
        let mut lanes = Vec::new();
        for lane in 0..self.shape.lanes {
            let unit = m.instance(&format!("u_lane_{lane}"), &Lane)?;
            let word = |group: Wire<'m>| group.slice(lane * WORD, WORD);
            unit.set("load_i", load & !accumulate);
            unit.set("accumulate_i", load & accumulate);
            unit.set("add_i", part.was(&[Op::Add]));
            unit.set("rms_i", part.was(&[Op::Rms]));
            unit.set("layer_i", layer);
            unit.set("rope_i", rope);
            unit.set("matvec_i", part.was(&[Op::Matvec]));
            unit.set("delta_i", part.delta.was);
            unit.set("bias_i", part.bias.was);
            unit.set("gate_i", part.pair.was | part.gelu.was);
            unit.set("pair_i", part.pair.was);
            unit.set("gelu_i", part.gelu.was);
            unit.set("onto_i", accumulate);
            unit.set("sum_i", sums.slice(lane * ACC_BITS, ACC_BITS));
            unit.set("attn_i", attn);
            unit.set("base_i", window.base);
            unit.set("nan_i", window.nan);
            unit.set("fp4_i", window.fp4);
            unit.set("reference_i", word(reference));
            unit.set("up_i", word(cross.up));
            unit.set("paired_i", word(cross.paired));
            unit.set("same_i", part.same.was);
            unit.set("odd_first_i", odd_first);
            unit.set("two_i", two);
            unit.set("keep_i", keep[lane as usize]);
            unit.set("subtract_i", layer | (rope & first.bit(lane / chunk)));
            unit.set("even_i", word(self.buffer.get("even_o")));
            unit.set("odd_i", word(self.buffer.get("odd_o")));
            unit.set("record_i", word(record));
            unit.set("mean_i", norm.mean);
            unit.set("factor_i", factor);
            let groups = [
                ("gamma_i", norm.gamma),
                ("beta_i", norm.beta),
                ("own_i", rotated.own),
                ("partner_i", rotated.partner),
                ("cos_i", rotated.cos),
                ("sin_i", rotated.sin),
            ];
            for (port, group) in groups {
                unit.set(port, word(group));
            }
            lanes.push(unit);
        }
        Ok(lanes)
    }

    /// What the sums count in. Weighted sums of values come with their heads' sums of weights.
    fn window(&self) -> Result<Window<'m>, RtlError> {
        let (m, part) = (self.m, &self.part);
        let attn = part.is(&[Op::Attn]);
        let scale = m.input("sums_scale_i", BYTE);
        let nan = m.input("sums_nan_i", 1) | scale.all();
        let convert = m.instance("u_total", &FromInteger::new(TOTAL + 1)?)?;
        convert.set("valid_i", m.lit(1, 0));
        convert.set("nan_i", m.lit(1, 0));
        convert.set("value_i", m.input("sums_total_i", TOTAL).zext(TOTAL + 1));
        let unit = Bits::from_i64(EXPONENT_BITS, -i64::from(PROB_FRAC_BITS));
        convert.set("exponent_i", m.constant(unit));
        let function = FuncUnit::new(&[Function::Recip])?;
        let recip = m.instance("u_reciprocal", &function)?;
        recip.set("valid_i", m.lit(1, 0));
        recip.set("x_i", convert.get("result_o"));
        let none = m.input("sums_none_i", 1);
        let none = later(m, "none", none, FromWindow.latency() + function.latency())?;
        Ok(Window {
            base: attn.mux(scale.zext(lane::BASE) + VALUES, part.base.now),
            nan: attn.mux(nan, part.nan.now),
            fp4: !attn & part.fp4.now,
            reciprocal: none.mux(m.lit(WORD, 0), recip.get("y_o")),
        })
    }

    /// Rows' references; where the slot has none, what changes nothing when it is added.
    fn reference(&self, pipes: &Pipes<'m>, record: Wire<'m>) -> Result<Wire<'m>, RtlError> {
        let at = Lane::convert();
        let fresh = Marks::of(&self.shape, pipes.main.marks(at)).fresh;
        let words = later(self.m, "reference", record, at - READ)?.chunks(WORD);
        let minus_zero = self.m.lit(WORD, 1 << (WORD - 1));
        Ok(self.m.pack(&words.into_iter().map(|word| fresh.mux(minus_zero, word)).collect::<Vec<_>>()))
    }

    /// From lane to lane: rows to the lanes below, and the results of pairs of rows side by side, those of the group before low.
    fn crossed(&self, pipes: &Pipes<'m>, rows: Wire<'m>, products: Wire<'m>) -> Result<Cross<'m>, RtlError> {
        let m = self.m;
        let rows = rows.chunks(WORD);
        let next: Vec<_> = (0..rows.len()).map(|lane| rows[lane | 1]).collect();
        let even: Vec<_> = products.chunks(WORD).into_iter().step_by(2).collect();
        let here = m.pack(&even);
        // Products come where rows are added to their destination; only those of pairs are kept.
        let mut first = Vec::new();
        for (delta, bias) in [(false, false), (false, true), (true, false), (true, true)] {
            let cycle = self.rows_after(delta, bias, true)? - 1;
            let same = |wire: Wire<'m>, is: bool| if is { wire } else { !wire };
            let here = same(self.part.delta.was, delta) & same(self.part.bias.was, bias);
            let marks = Marks::of(&self.shape, pipes.main.marks(cycle));
            first.push(here & pipes.main.valid(cycle) & !marks.index.bit(0));
        }
        let before = m.reg("pairs_before", here.width());
        before.set_when(m.register_valid("pairs_begin", m.tree(&first, |a, b| a | b)), here);
        Ok(Cross { up: m.pack(&next), paired: here.cat(before.q()) })
    }

    /// Where groups leave the main pipe, a cycle before their results: by cycle, whether it is the one.
    fn exits(&self) -> Result<Vec<(u32, Wire<'m>)>, RtlError> {
        let is = |ops: &[Op]| self.part.was(ops);
        let onto = self.part.accumulate.was;
        let adds = is(&[Op::Load]) & onto;
        let at = |op: Op, accumulate: bool| result(op, accumulate) - 1;
        let mut exits = vec![
            (at(Op::Load, false), is(&[Op::Load, Op::Store, Op::StoreAct]) & !adds),
            (at(Op::Load, true), adds),
            (at(Op::Add, false), is(&[Op::Add])),
            (at(Op::Rms, false), is(&[Op::Rms, Op::Quant, Op::KvAppend])),
            (at(Op::Layer, false), is(&[Op::Layer])),
            (at(Op::Attn, false), is(&[Op::Attn])),
        ];
        for (cycle, here) in self.rows()? {
            exits.push((cycle - 1, here & !onto));
            exits.push((cycle - 1 + Adder.latency(), here & onto));
        }
        Ok(exits)
    }

    /// A group's marks in the cycle before its result.
    fn nearly(&self, pipes: &Pipes<'m>) -> Result<(Wire<'m>, Wire<'m>), RtlError> {
        let (m, exits) = (self.m, self.exits()?);
        let rotated = result(Op::Rope, false) - 1;
        let leaves: Vec<_> = exits.iter().map(|&(cycle, here)| pipes.main.valid(cycle) & here).collect();
        let marks: Vec<_> = exits.iter().map(|&(cycle, here)| (here, pipes.main.marks(cycle))).collect();
        let valid = m.tree(&leaves, |a, b| a | b) | pipes.rotated.valid(rotated);
        let rope = self.part.was(&[Op::Rope]);
        let marks = [marks, vec![(rope, pipes.rotated.marks(rotated))]].concat();
        Ok((valid, m.one_hot(&marks)))
    }

    /// By lanes: the word is not of the vector.
    fn keeps(&self, marks: &Marks<'m>) -> Vec<Wire<'m>> {
        let (m, within) = (self.m, self.shape.within());
        let keep = |lane: u32| {
            let lane_bits = self.shape.lanes.ilog2();
            let word = m.lit(lane_bits, lane.into());
            let word = if within == 0 { word } else { marks.address.trunc(within).cat(word) };
            m.register(&format!("keep_{lane}"), marks.partial & word.ge(self.part.rest.was))
        };
        (0..self.shape.lanes).map(keep).collect()
    }

    /// Results leave: to the vector buffer, as words, as blocks.
    fn results(
        &self,
        pipes: &Pipes<'m>,
        valid: Wire<'m>,
        marks: &Marks<'m>,
        words: &Words<'m>,
    ) -> Result<(), RtlError> {
        let m = self.m;
        let is = |ops: &[Op]| self.part.was(ops);
        let live = valid & marks.live;
        let writes = is(&[Op::Load, Op::Add, Op::Rms, Op::Layer, Op::Rope, Op::Matvec, Op::Attn]);
        self.buffer.set("write_valid_i", m.register_valid("writes", live & writes));
        self.buffer.set("write_group_i", m.register("written", marks.address));
        self.buffer.set("write_words_i", words.write);
        let referred = Lane::convert() + Adder.latency();
        let nearly = referred - 1;
        let row = pipes.main.valid(nearly) & Marks::of(&self.shape, pipes.main.marks(nearly)).ring;
        let row = m.register_valid("row_leaves", row & is(&[Op::Matvec]) & self.part.delta.was);
        m.output("word_valid_o", m.register_valid("word", (live & is(&[Op::Store])) | row));
        let leaves = is(&[Op::Store]).mux(words.first, words.reference);
        m.output("word_data_o", m.register("words", leaves));
        m.output("done_o", later_valid(m, "done", valid & marks.last, 2));
        self.blocks(live, marks, words)
    }

    fn blocks(&self, live: Wire<'m>, marks: &Marks<'m>, words: &Words<'m>) -> Result<(), RtlError> {
        let (m, shape, part) = (self.m, &self.shape, &self.part);
        let within = shape.within();
        let of_line = |index: Wire<'m>| {
            let end = if within == 0 { m.lit(1, 1) } else { index.trunc(within).all() };
            let bits = shape.block_bits();
            let number = index.slice(within, index.width() - within);
            let number = if number.width() >= bits { number.trunc(bits) } else { number.zext(bits) };
            (end, number)
        };
        let (end, number) = of_line(self.issue.index);
        let asks = self.issue.main & part.is(&[Op::StoreAct]) & part.access.now & end;
        m.output("ab_read_o", asks);
        m.output("ab_slot_o", part.slot.now);
        m.output("ab_block_o", part.block.now + number);
        let quantiser = m.instance("u_quantiser", &Quantiser::new(shape.lanes)?)?;
        let quantised = part.was(&[Op::Quant, Op::KvAppend]);
        quantiser.set("valid_i", later_valid(m, "quantised", self.issue.main, READ) & quantised);
        quantiser.set("words_i", words.first);
        let (end, number) = of_line(marks.index);
        let kept = part.was(&[Op::Quant]);
        let base = kept.repeat(shape.block_bits()) & part.block.was;
        let stored = part.was(&[Op::StoreAct]);
        let block = stored.mux(m.input("ab_scale_i", BYTE), quantiser.get("scale_o"));
        let elements = stored.mux(m.input("ab_elems_i", BYTE * LINE_WORDS), quantiser.get("elems_o"));
        m.output("block_valid_o", m.register_valid("block_there", live & end & (quantised | stored)));
        m.output("block_memory_o", m.register("block_memory", !kept));
        let group_bits = shape.group_bits();
        let slot = marks.address.slice(group_bits, shape.slot_bits());
        m.output("block_slot_o", m.register("block_slot", slot));
        m.output("block_number_o", m.register("block_number", base + number));
        m.output("block_scale_o", m.register("block_scale", block));
        m.output("block_elems_o", m.register("block_elems", elements));
        Ok(())
    }
}

/// Half of the shortest head.
const HALF_LINE: u32 = LINE_WORDS / 2;

impl Block for VectorUnit {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("vec_unit_{}", self.shape.name()));
        let unit = Unit::new(&m, self.shape)?;
        let addresses = unit.addresses();
        let pipes = unit.pipes(addresses.write)?;
        let odd_first = unit.read(&addresses, &pipes)?;
        let sums = m.instance("u_sums", &SquareSum::new(self.shape.lanes)?)?;
        let norm = unit.norm(&pipes, &sums)?;
        let (valid, packed) = unit.nearly(&pipes)?;
        let keep = unit.keeps(&Marks::of(&self.shape, packed));
        let valid = m.register_valid("result_valid", valid);
        let marks = Marks::of(&self.shape, m.register("result", packed));
        // The words that are read go to the rotation and come back from there.
        let coming = m.later("coming", self.shape.group_width());
        let rotated = unit.rotated(&pipes, coming.wire())?;
        let (up, paired) =
            (m.later("up", self.shape.group_width()), m.later("paired", self.shape.group_width()));
        let cross = Cross { up: up.wire(), paired: paired.wire() };
        let lanes = unit.lanes(&pipes, odd_first, &keep, &norm, &rotated, &cross)?;
        let all = |port: &str| m.pack(&lanes.iter().map(|lane| lane.get(port)).collect::<Vec<_>>());
        let words = Words {
            first: all("first_o"),
            second: all("second_o"),
            first_sum: all("first_sum_o"),
            second_sum: all("second_sum_o"),
            reference: all("reference_o"),
            row: all("row_o"),
            product: all("product_o"),
            write: all("write_o"),
        };
        coming.set(words.first);
        let cross = unit.crossed(&pipes, words.row, words.product)?;
        up.set(cross.up);
        paired.set(cross.paired);
        unit.sums(&pipes, &words, &sums)?;
        unit.results(&pipes, valid, &marks, &words)?;
        m.finish()
    }
}
