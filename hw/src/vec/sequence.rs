//! `vector_sequence`: which group of a part is taken in which cycle.
//!
//! # Purpose
//!
//! A part is one pass over its vector, or several with waits between them. This block counts them out.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | stops |
//! | `start_i` | in | 1 | a part begins in this cycle; only when none is under way. All that tells it is sampled on the edge before |
//! | `op_i` | in | [`Op::BITS`] | what to do |
//! | `lines_i` | in | [`Shape::lines_bits`] | lines of the vector (`kv_append`: of the keys; `store_act`, `gate_delta`: blocks), at least one |
//! | `rest_i` | in | 5 | words of the last line, 0 for all of them |
//! | `head_lines_i` | in | 6 | `rope`: lines of a head |
//! | `record_i` | in | 1 | this part takes its record, or what the slots share |
//! | `shared_i` | in | 1 | `matvec`: it takes the bias' record; before its own where it has one |
//! | `halves_i` | in | 1 | `matvec`: two rows make a word; `rest_i` counts words, `lines_i` rows |
//! | `sums_valid_i` | in | 1 | `matvec`, `attn`: there is a group of sums |
//! | `sums_ready_o` | out | 1 | it is taken if it is there |
//! | `pad_i` | in | 1 | the input stays taken for a cycle more |
//! | `record_valid_i` | in | 1 | there is a group of the record |
//! | `record_ready_o` | out | 1 | it is taken if it is there |
//! | `record_last_o` | out | 1 | it is the last one of its record |
//! | `main_o` | out | 1 | a group is taken, in the pass that has results |
//! | `pair_o` | out | 1 | two groups are taken, in one of the passes before |
//! | `pass_o` | out | 2 | which: [`SUM`], [`LARGEST`], [`SQUARES`] |
//! | `second_o` | out | 1 | with `pair_o`: there is a second group |
//! | `index_o` | out | bits of a group's number | which group, pair or group of a record it is |
//! | `first_o`, `last_o` | out | 1 | it is the first, last one of its pass |
//! | `alone_o` | out | 1 | there is no group, and the part's only one was taken before: it ends with this cycle, which is `last_o` |
//! | `spare_o` | out | 1 | with `main_o`: none of its words is the vector's |
//! | `partial_o` | out | 1 | with `main_o`: it belongs to a last line of which not all words are the vector's |
//! | `busy_o` | out | 1 | a step goes on: nothing is waited for but what the unit itself makes. Not for the record before a product's rows |
//! | `issued_o` | out | 1 | the part's last cycle was the one before: another may begin |
//!
//! # Timing
//!
//! The first group is taken in the cycle of `start_i`. Passes and waits, in order:
//!
//! | command | |
//! |---|---|
//! | load, store, `store_act`, quant, add, `kv_append`, attn | the groups |
//! | rms | wait until the exponent is known, pairs (squares), wait for the root, the groups |
//! | delta | wait until the exponent is known and the squares of the part before are added up, pairs (squares), the groups |
//! | layer | wait for the exponent, pairs (sum), wait for the mean, pairs (largest exponent), wait for it, pairs (squares), wait for the root, gamma's record, the groups with beta's |
//! | `gate_delta` | the record, wait, groups as pairs are (largest exponent), wait until it is known, the groups |
//! | rope | the record, the groups |
//! | matvec | the bias' record if the part takes two, the groups |
//!
//! Where a record or sums are needed a group waits for them; nothing else waits. A part that would end in its first cycle takes another one.
//!
//! # Numeric contract
//!
//! None.
//!
//! # Cost
//!
//! Counters. Figures: `tests/baselines/rtl/vec_sequence.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_vec.rs`, within the unit: `issued_o` in every cycle of `commands_of_four_lanes`, `commands_of_sixteen_lanes` and
//! `commands_of_thirty_two_lanes`; `cells_and_depth_are_held`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{rtl::Block, vec::{Sequence, Shape}};
//!
//! assert_eq!(Sequence::new(Shape::new(16, 8, 1024, 1024, 16_384)?).module()?.name(), "vec_sequence_l16_s8_v1024_a1024_r16384");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::change::Change;
use super::{Field, Op, READ, Scalar, Shape};
use crate::fp::SquareSum;
use crate::rtl::{Block, Builder, Module, RtlError, Wire};
use fastcar_arch::config::LINE_WORDS;
use std::sync::Arc;

/// `pass_o`: words are added up.
pub const SUM: u64 = 0;
/// `pass_o`: the largest exponent of the centred words is found.
pub const LARGEST: u64 = 1;
/// `pass_o`: squares are added up.
pub const SQUARES: u64 = 2;

/// Width of `rest_i`.
pub const REST_BITS: u32 = LINE_WORDS.ilog2();
/// Width of `head_lines_i`.
pub const HEAD_BITS: u32 = 6;

/// Lines whose exponents are looked at in a cycle.
const SCANNED: u64 = 32;
/// Cycles from a scan's start to the first pass, with the exponents ready and none to look at: they are needed `READ` cycles after a
/// group is taken.
const SCAN: u32 = 3 - READ;

/// Cycles from a record of blocks to the first differences: the largest exponent of what they are compared with is known before, and so
/// much behind the part before its last squares are added up.
const PRESENT: u32 = 4;

/// Cycles by which the squares of differences wait longer than for their largest exponent: for the reciprocal that their sum is multiplied
/// by, and so that the differences are looked through before the next part's present words are.
const CHANGES: u32 = 2;

/// Steps of a part, in order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Scan,
    Sum,
    Mean,
    Largest,
    Exponent,
    Squares,
    Root,
    Record,
    Main,
    Pad,
    Idle,
}

impl Step {
    const ALL: [Self; 11] = [
        Self::Scan,
        Self::Sum,
        Self::Mean,
        Self::Largest,
        Self::Exponent,
        Self::Squares,
        Self::Root,
        Self::Record,
        Self::Main,
        Self::Pad,
        Self::Idle,
    ];
    const BITS: u32 = 4;

    fn lit(self, m: &Builder) -> Wire<'_> {
        m.lit(Self::BITS, self as u64)
    }
}

/// The sequence. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    shape: Shape,
}

/// What a part is, from its first cycle on.
struct Part<'m> {
    layer: Wire<'m>,
    delta: Wire<'m>,
    gate: Wire<'m>,
    /// Records are taken in the last pass, and before it.
    with_record: Wire<'m>,
    before: Wire<'m>,
    partial: Wire<'m>,
    with_sums: Wire<'m>,
    halves: Wire<'m>,
    pad: Wire<'m>,
    begin: Wire<'m>,
    counts: Counts<'m>,
}

/// Cycles and groups that the steps take.
struct Counts<'m> {
    /// Of the step that comes first.
    begin: Wire<'m>,
    pairs: Wire<'m>,
    /// Groups of the record that comes before the last pass.
    record: Wire<'m>,
    main: Wire<'m>,
    /// Groups at the end for which there is no record.
    spare: Field<'m>,
    /// The number of pairs is that of groups and a half.
    odd: Wire<'m>,
}

impl Sequence {
    /// The sequence of a unit.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        Self { shape }
    }

    /// What the ports say, known in the cycle in which the part begins, and held.
    fn part<'m>(&self, m: &'m Builder, start: Wire<'m>) -> Part<'m> {
        let op = m.input("op_i", Op::BITS);
        let lines = m.input("lines_i", self.shape.lines_bits());
        let rest = m.input("rest_i", REST_BITS);
        let head_lines = m.input("head_lines_i", HEAD_BITS);
        let (record, pad) = (m.input("record_i", 1), m.input("pad_i", 1));
        let (shared, halves) = (m.input("shared_i", 1), m.input("halves_i", 1));
        let is = |ops: &[Op]| Op::is_any(op, ops);
        let (norm, layer, rope) = (is(&[Op::Rms, Op::Layer]), is(&[Op::Layer]), is(&[Op::Rope]));
        let (matvec, delta, gate) = (is(&[Op::Matvec]), is(&[Op::Delta]), is(&[Op::GateDelta]));
        let both = matvec & record & shared;
        let held = |name: &str, value| super::held(m, name, start, value).now;
        // Of steps that no part begins with.
        let later = |name: &str, value| super::held(m, name, start, value).was;

        let (bits, within) = (self.shape.index_bits(), self.shape.within());
        let groups = lines.zext(bits) << within;
        let scans = (lines.zext(bits) + (SCANNED - 1)) >> (SCANNED.ilog2());
        let late = self.shape.exponents_late() + SCAN;
        let change = late + Change::new(self.shape).wait(1 + late + READ);
        let scanned = scans + delta.mux(m.lit(bits, change.into()), m.lit(bits, late.into()));
        // What is missing of a line, in groups of which not a word is the vector's.
        let missing = rest.negated();
        let groups_of = |shift: u32| {
            if shift == REST_BITS {
                m.lit(bits, 0)
            } else {
                missing.slice(shift, REST_BITS - shift).zext(bits)
            }
        };
        let lanes = self.shape.lanes.ilog2();
        let spare = (matvec & halves).mux(groups_of(lanes - 1), groups_of(lanes));
        let main =
            m.select(groups, &[(is(&[Op::KvAppend]), groups << 1), (is(&[Op::Store]), groups - spare)]);
        let wide = bits.max(HEAD_BITS + within);
        let head = (head_lines.zext(wide) << within).trunc(bits);
        // A record of blocks: a group has as many bytes as there are lanes, and scales follow the elements.
        let scales = (lines.zext(bits) + u64::from(self.shape.lanes - 1)) >> lanes;
        let step = |which: Step| which.lit(m);
        let scan = norm | delta;
        let begin = [(scan, step(Step::Scan)), (rope | both | gate, step(Step::Record))];
        let begin = m.select(step(Step::Main), &begin);
        Part {
            layer: later("layer", layer),
            delta: later("delta", delta),
            gate: later("gate", gate),
            with_record: held(
                "with_record",
                (record & is(&[Op::Load, Op::Rms, Op::Layer, Op::Matvec, Op::Delta])) | (matvec & shared),
            ),
            before: held("record_before", rope | (record & (layer | gate)) | both),
            partial: held("partial", rest.any()),
            with_sums: held("with_sums", is(&[Op::Matvec, Op::Attn])),
            halves: held("halves", matvec & halves),
            pad: held("pad", pad),
            begin: m.register("first_step", begin),
            counts: Counts {
                begin: m.register(
                    "first_count",
                    m.select(
                        main,
                        &[(scan, scanned), (rope, head), (both, groups - spare), (gate, groups + scales)],
                    ),
                ),
                pairs: later("pairs", gate.mux(groups, (groups + 1) >> 1)),
                record: later("record_count", layer.mux(groups, head)),
                main: held("main_count", main),
                spare: super::held(m, "spare", start, spare),
                odd: held("odd", groups.bit(0)),
            },
        }
    }

    /// How long a step takes that follows another.
    fn count<'m>(&self, m: &'m Builder, step: Wire<'m>, part: &Part<'m>) -> Result<Wire<'m>, RtlError> {
        let counts = &part.counts;
        let bits = self.shape.index_bits();
        let sum = SquareSum::new(self.shape.lanes)?.latency();
        let largest = self.shape.largest_latency() - 1;
        let wait = |cycles: u32| m.lit(bits, u64::from(cycles));
        let is = |which: Step| step.eq(which as u64);
        let cases = [
            (is(Step::Sum) | is(Step::Largest) | is(Step::Squares), counts.pairs),
            (is(Step::Mean), part.gate.mux(wait(PRESENT), wait(sum + Scalar::mean_latency()))),
            (is(Step::Exponent), part.gate.mux(wait(largest + CHANGES), wait(largest))),
            (is(Step::Root), wait(sum + Scalar::root_latency())),
            (is(Step::Record), counts.record),
            (is(Step::Pad), wait(1)),
        ];
        Ok(m.select(counts.main, &cases))
    }
}

/// The step after a step; whether there is another one after the groups.
fn after<'m>(m: &'m Builder, step: Wire<'m>, part: &Part<'m>, pad: Wire<'m>) -> Wire<'m> {
    let layer = part.layer;
    let to = |next: Step| next.lit(m);
    let cases = [
        (Step::Scan, layer.mux(to(Step::Sum), to(Step::Squares))),
        (Step::Sum, to(Step::Mean)),
        (Step::Mean, to(Step::Largest)),
        (Step::Largest, to(Step::Exponent)),
        (Step::Exponent, part.gate.mux(to(Step::Main), to(Step::Squares))),
        (Step::Squares, part.delta.mux(to(Step::Main), to(Step::Root))),
        (Step::Root, layer.mux(to(Step::Record), to(Step::Main))),
        (Step::Record, part.gate.mux(to(Step::Mean), to(Step::Main))),
        (Step::Main, pad.mux(to(Step::Pad), to(Step::Idle))),
    ];
    let cases = cases.map(|(from, next)| (step.eq(from as u64), next));
    m.select(to(Step::Idle), &cases)
}

impl Block for Sequence {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("vec_sequence_{}", self.shape.name()));
        let bits = self.shape.index_bits();
        let start = m.input("start_i", 1);
        let part = self.part(&m, start);
        let counts = &part.counts;
        let idle = Step::ALL.len() as u64 - 1;
        let (step, left) = (m.reg("step", Step::BITS).reset(idle), m.reg("left", bits));
        let index = m.reg("index", bits);
        let now = start.mux(part.begin, step.q()).named("now");
        // Looked at on either side of the choice: the start comes late in its cycle.
        let either = |first, later| start.mux(first, later);
        let left_now = start.mux(counts.begin, left.q()).named("left_now");
        let index_now = !start.repeat(bits) & index.q();

        let at = |which: Step| either(part.begin.eq(which as u64), step.q().eq(which as u64));
        let (main, record) = (at(Step::Main), at(Step::Record));
        let last = either(counts.begin.eq(1), left.q().eq(1));
        let real = either(counts.begin.gt(counts.spare.next), left.q().gt(counts.spare.was));
        let needs = (main & part.with_record & real) | (record & part.before);
        let sums = main & part.with_sums & real;
        let there = !needs | m.input("record_valid_i", 1);
        let summed = !sums | m.input("sums_valid_i", 1);
        let advance = !at(Step::Idle) & there & summed;
        let finish = advance & last;
        // A part does not end in its first cycle.
        let ends = at(Step::Pad) | (main & !part.pad & !start);
        let next = either(after(&m, part.begin, &part, m.lit(1, 1)), after(&m, step.q(), &part, part.pad));
        let next = next.named("next");
        let next_left = self.count(&m, next, &part)?;
        step.update(&[(finish, next), (start, now)]);
        left.update(&[(finish, next_left), (advance, left_now - 1), (start, left_now)]);
        index.update(&[(finish, m.lit(bits, 0)), (advance, index_now + 1), (start, index_now)]);

        let pair = at(Step::Sum) | at(Step::Largest) | at(Step::Squares);
        let pass = m.select(
            m.lit(2, SUM),
            &[(at(Step::Largest), m.lit(2, LARGEST)), (at(Step::Squares), m.lit(2, SQUARES))],
        );
        let in_line = m.lit(bits, u64::from(self.shape.groups()));
        let in_line = part.halves.mux(in_line << 1, in_line);
        m.output("record_ready_o", needs & summed);
        m.output("sums_ready_o", sums & there);
        m.output("spare_o", !real);
        m.output("record_last_o", main.mux(left_now.eq(counts.spare.now + 1), last));
        m.output("main_o", main & advance);
        m.output("pair_o", pair);
        m.output("pass_o", pass);
        m.output("second_o", !(last & counts.odd));
        m.output("index_o", index_now);
        m.output("first_o", index_now.is_zero());
        m.output("alone_o", at(Step::Pad) & !part.pad);
        m.output("last_o", last & !(start & main & !part.pad));
        m.output("partial_o", part.partial & left_now.le(in_line));
        m.output("busy_o", advance & !(record & part.with_sums));
        m.output("issued_o", m.register_valid("issued", finish & ends));
        m.finish()
    }
}
