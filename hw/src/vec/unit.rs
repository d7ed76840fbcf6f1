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
//! | `access_i` | in | 1 | `load`, `store`, `store_act`, `gate_delta`: the slot has a record; `matvec`, `delta`: it has a reference; norm: gamma and beta come as records, which later parts use again |
//! | `inv_words_i`, `eps_i` | in | 32 | norm; `delta`: `inv_words_i` is the threshold |
//! | `delta_i` | in | 1 | `matvec`: rows have references |
//! | `ring_i` | in | 1 | `matvec`, `delta`: the slot's rows or its moved reference are written to memory |
//! | `bias_i`, `shared_i` | in | 1 | `matvec`: there is a bias; it comes as a record, before the slot's own |
//! | `epilogue_i` | in | 2 | `matvec`: as [`Epilogue`](fastcar_arch::isa::Epilogue) |
//! | `base_i`, `nan_i`, `fp4_i` | in | 9, 1, 1 | `matvec`: what the slot's sums are counted in, see [`FromWindow`](crate::fp::FromWindow) |
//! | `sums_valid_i`, `sums_ready_o`, `sums_data_i` | in, out, in | 1, 1, 48 x lanes | sums of the MAC array; `matvec`: rows in order |
//! | `sums_group_i` | in | group | `attn`: which group of the destination it is, all of a line one after the other |
//! | `sums_scale_i`, `sums_nan_i`, `sums_none_i` | in | 8, 1, 1 | `attn`: the head's largest scale of values; a score is NaN; there is no token, and all sums are 0 |
//! | `sums_total_i` | in | [`TOTAL`] | `attn`: the sum of the head's weights |
//! | `busy_o` | out | 1 | the unit is at work: it does not wait for records, sums or their pace (`VectorTime::work`) |
//! | `issued_o` | out | 1 | the input is free: the next part may begin in this cycle |
//! | `done_o` | out | 1 | the result of the oldest part may be used in this cycle |
//! | `record_valid_i`, `record_ready_o`, `record_data_i` | in, out, in | 1, 1, 32 x lanes | the records' words; `gate_delta`: as many bytes as lanes, low |
//! | `record_last_o` | out | 1 | the group that is taken is its record's last |
//! | `ab_read_o`, `ab_slot_o`, `ab_block_o` | out | 1, slot, block | a block of the activation buffer is asked for |
//! | `ab_scale_i`, `ab_elems_i` | in | 8, 256 | it, two cycles later |
//! | `word_valid_o`, `word_data_o` | out | 1, 32 x lanes | a group of words, rows or references for memory, in order |
//! | `block_valid_o` | out | 1 | a block |
//! | `block_memory_o` | out | 1 | it goes to memory, not to the activation buffer |
//! | `block_slot_o`, `block_number_o` | out | slot, block | its slot, and its number: in the activation buffer, or in the record (`kv_append`: values after keys) |
//! | `block_scale_o`, `block_elems_o` | out | 8, 256 | its scale and elements |
//! | `mask_valid_o`, `mask_o` | out | 1 | `delta`: it is one of a change; it is active |
//! | `score_valid_o`, `score_o` | out | 1, 32 | `gate_delta`: a score, for `block_slot_o` |
//!
//! # Timing
//!
//! Cycles from `start_i` to `issued_o` with records in time (at least two), and from `issued_o` to `done_o` ([`VectorUnit::latency`]). `g` are the
//! groups of all lines (`store`: of all words), `s` = `ceil(lines / 32)`, `p = ceil(g / 2)`, `t` the logarithm of the lanes, `h` half a head in groups, rounded up,
//! `l` the groups of a line, `r` those of a record of blocks (`g + ceil(lines / lanes)`), `q = ceil(l / 2) + ceil((t + 1) / 2)`:
//!
//! | command | issue | of it before records | latency |
//! |---|---|---|---|
//! | load | g | 0 | 3; with `accumulate` 9 |
//! | store, `store_act` | g | | 3 |
//! | add | g; where g is odd and both vectors begin in one bank, g + 1 | | 10; 9 |
//! | quant, `kv_append` | g (both vectors) | | 11 |
//! | rms | lead + g | s + p + t + 35 + [`Shape::exponents_late`] | 11 |
//! | layer | lead + 2g | s + 3p + 2t + 53 + [`Shape::exponents_late`] + cycles for the largest of 2 groups | 23 |
//! | delta | lead + g | s + p + q + 4 | t + q + l + 22 |
//! | `gate_delta` | r + 2g + ceil((t + 1) / 2) + 6 | 0 | t + 28 |
//! | rope | groups of the record + g | 0 | h + 15 |
//! | matvec | g | 0 | 6, 6 more for reference, bias and `accumulate` each, 18 for an epilogue |
//! | attn | g | 0 | 20 |
//!
//! A score leaves in the cycle before its part's `done_o`. Of a change the last part of a block's reference leaves with the block, which is the cycle before `done_o` for the last one; what is
//! before in the block, in the cycles before.
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
//! The lanes, a sum of squares, a quantiser, one scalar path, one reciprocal, two dequantisers, memories for gamma and beta (or a bias), for a
//! record of blocks, and in distributed memory for the references and differences under way. Figures: `tests/baselines/rtl/vec_unit.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_vec.rs`: `commands_of_four_lanes`, `commands_of_sixteen_lanes`, `commands_of_thirty_two_lanes`,
//! `two_and_eight_lanes`, `native_simulation_agrees`, `cells_and_depth_are_held`; many commands in the long runs `commands_for_long`
//! and, without a compiler, `lines_of_thirty_two_lanes`.
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

mod addresses;
mod delta;
mod gate;
mod lanes;
mod marks;
mod norm;
mod part;
mod results;
mod rope;
mod rows;
mod sums;

use super::change::Change;
use super::lane::Lane;
use super::{BYTE, Op, READ, Sequence, Shape, VectorBuffer, WORD};
use crate::fp::{Adder, SquareSum};
use crate::func::cycles;
use crate::mx::Quantiser;
use crate::rtl::{Block, Builder, Instance, Module, RtlError, Wire};
use delta::Quantised;
use fastcar_arch::config::LINE_WORDS;
use fastcar_arch::timing::{FUNC_LATENCY, MUL_LATENCY, QUANT_LATENCY};
use lanes::{With, Words};
use marks::Marks;
use part::Part;
use rope::ROTATED;
use rows::Cross;
use std::sync::Arc;

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
        result(self.shape, op, accumulate) + 1
    }
}

/// Width of a sum of softmax weights: 2^24 each, for 32768 tokens.
pub const TOTAL: u32 = 40;

/// Cycles from a group to its result.
fn result(shape: Shape, op: Op, accumulate: bool) -> u32 {
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
        Op::Delta => Change::new(shape).result(),
        Op::GateDelta => gate::result(shape),
        Op::Matvec => Lane::convert() + u32::from(accumulate) * Adder.latency(),
    }
}

/// Cycles from a block's last words to the block.
const QUANTISED: u32 = cycles(QUANT_LATENCY);

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
    /// Nothing is taken: the part ends a cycle after its only group.
    alone: Wire<'m>,
    /// A group of a record is taken.
    taken: Wire<'m>,
}

struct Unit<'m> {
    m: &'m Builder,
    shape: Shape,
    part: Part<'m>,
    issue: Issue<'m>,
    buffer: Instance<'m>,
    record: Wire<'m>,
    /// The block of the activation buffer that was asked for.
    block: Quantised<'m>,
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
        m.output("busy_o", sequence.get("busy_o"));
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
            alone: sequence.get("alone_o"),
            taken: valid & ready,
        };
        let buffer = m.instance("u_buffer", &VectorBuffer::new(shape))?;
        let record = m.register("record", m.input("record_data_i", shape.group_width()));
        let (scale, elements) = (m.input("ab_scale_i", BYTE), m.input("ab_elems_i", BYTE * LINE_WORDS));
        let block = Quantised { scale, elements };
        Ok(Self { m, shape, part, issue, buffer, record, block })
    }
}

impl Block for VectorUnit {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let (m, width) = (Builder::new(format!("vec_unit_{}", self.shape.name())), self.shape.group_width());
        let unit = Unit::new(&m, self.shape)?;
        let addresses = unit.addresses();
        let pipes = unit.pipes(addresses.write)?;
        let odd_first = unit.read(&addresses, &pipes)?;
        let sums = m.instance("u_sums", &SquareSum::new(self.shape.lanes)?)?;
        let (inverse, quantiser) = (m.later("gate_inverse", WORD), Quantiser::new(self.shape.lanes)?);
        let scalar = unit.scalar(&sums, inverse.wire())?;
        let quantiser = m.instance("u_quantiser", &quantiser)?;
        let (valid, packed) = unit.nearly(&pipes);
        let keep = unit.keeps(&Marks::of(&self.shape, packed));
        let valid = m.register_valid("result_valid", valid);
        let marks = Marks::of(&self.shape, m.register("result", packed));
        // The words that are read go to the rotation and come back from there; rows and products, from lane to lane.
        let [coming, up, paired] = ["coming", "up", "paired"].map(|name| m.later(name, width));
        let (record, gate) =
            (unit.compared_with(&pipes, m.register("record_2", unit.record)), unit.gate(&pipes)?);
        let with = With {
            record,
            norm: unit.norm(&pipes, &scalar),
            rotated: unit.rotated(&pipes, coming.wire())?,
            cross: Cross { up: up.wire(), paired: paired.wire() },
            moved: unit.moved(&pipes, record, &quantiser)?,
            window: unit.window(&scalar)?,
            present: gate.present,
        };
        inverse.set(unit.inverse(&gate, with.window.function)?);
        let words = Words::of(&m, &unit.lanes(&pipes, odd_first, &keep, &with)?);
        coming.set(words.first);
        let cross = unit.crossed(&pipes, words.row, words.product)?;
        up.set(cross.up);
        paired.set(cross.paired);
        unit.scan();
        unit.sums(&pipes, &words, &gate, &sums)?;
        let limits = unit.limits(&pipes)?;
        let active = unit.active(&pipes, &scalar, limits)?;
        unit.results(&pipes, (valid, &marks), &words, (&with.moved, active), (&quantiser, &scalar));
        m.finish()
    }
}
