//! `mx_quantiser`: binary32 words to MXINT8 blocks.
//!
//! # Purpose
//!
//! The last stage of the vector unit on the way to the activation buffer and the KV cache. Words come as many at a time as the
//! unit has lanes; their block
//! comes out when the last of them is in.
//!
//! # Interface
//!
//! A *pipe*.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears `valid` and the place in the block |
//! | `valid_i` | in | 1 | words are sampled on this edge |
//! | `words_i` | in | 32 x lanes | the block's next words, lane 0 first |
//! | `valid_o` | out | 1 | there is a block |
//! | `scale_o` | out | 8 | its scale |
//! | `elems_o` | out | 256 | its elements, the first one in the low byte; both for this cycle only |
//!
//! # Timing
//!
//! Latency [`QUANT_LATENCY`] from a block's last words, for every number of lanes; words may come in every cycle, or with gaps.
//! Within: the largest exponent
//! (two levels of comparison a cycle, or one where rows are few), then row by row shift and round. A *row* is as many words as
//! there are lanes, and at least 8: with fewer rows a block
//! leaves more cycles to the comparisons.
//!
//! Edges with 16 lanes, `e` being the one that samples the last words; the block is sampled on `e + 8`:
//!
//! ```text
//! edge     e-1    e      e+1    e+2    e+3    e+4    e+5    e+6    e+7
//! words    first  last
//! largest         level  level  level  level  all
//! row 0                                       read   shift  round
//! row 1                                              read   shift  round
//! ```
//!
//! # Numeric contract
//!
//! [`quantise_int8`](fastcar_arch::num::quantise_int8) bit for bit: subnormals are zeros, ties go to even, elements lie within
//! -127 to 127, and an infinity or
//! a NaN makes the scale 255 and all elements 0.
//!
//! # Cost
//!
//! Look-up tables only. Words wait for their scale in distributed memory of 16 rows; the shifts are those of one row.
//!
//! # Verification
//!
//! `tests/tests/rtl_mx.rs`: `blocks_are_exact_and_take_their_latency`, `ties_and_saturation`, `special_blocks`,
//! `any_number_of_lanes`, `cells_and_depth_are_held`; ten million blocks in
//! the long run `ten_million_blocks`.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::timing::QUANT_LATENCY;
//! use fastcar_hw::mx::Quantiser;
//!
//! assert_eq!(u64::from(Quantiser::new(16)?.latency()), QUANT_LATENCY);
//! assert!(Quantiser::new(12).is_err());
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::{BLOCK, lanes};
use crate::func::shift::{Fields, SIGNIFICAND, Shifted};
use crate::func::{cycles, later, later_valid};
use crate::prim::Counter;
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Wire};
use fastcar_arch::timing::QUANT_LATENCY;
use std::sync::Arc;

/// Bits of a word.
const WORD: u32 = 32;
/// Fewest words that are shifted at a time: a block takes at most four cycles.
const LEAST_ROW: u32 = 8;
/// Rows that the memory holds: two blocks of four, and those that come in meanwhile.
const ROWS: u32 = 16;
/// Bits of an exponent field.
const FIELD: u32 = 8;
/// Bits of an element.
const ELEMENT: u32 = 8;
/// Bits of its magnitude: 0 to 127.
const MAGNITUDE: u32 = 7;
/// Bits of a shift that may leave something of a magnitude.
const COUNT: u32 = 3;
/// Cycles from the address of a row to its elements: word, shift, round.
const AFTER_READ: u32 = 3;

/// Words to blocks. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantiser {
    lanes: u32,
}

impl Quantiser {
    /// A quantiser that takes so many words a cycle.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(vector_lanes: u32) -> Result<Self, RtlError> {
        Ok(Self { lanes: lanes("quantiser", vector_lanes)? })
    }

    /// Cycles from a block's last words to the block.
    #[must_use]
    pub fn latency(&self) -> u32 {
        cycles(QUANT_LATENCY)
    }

    /// Words that are shifted at a time.
    fn row(&self) -> u32 {
        self.lanes.max(LEAST_ROW)
    }

    /// Cycles that a block is shifted for.
    fn rows(&self) -> u32 {
        BLOCK / self.row()
    }

    /// Cycles for the largest exponent: what shift and round of all rows leave.
    fn compare_cycles(&self) -> u32 {
        self.latency() - self.rows() - 1
    }

    /// Groups of words in a block.
    fn groups(&self) -> u32 {
        BLOCK / self.lanes
    }
}

/// Groups that come in: which one of the block it is.
#[derive(Clone, Copy)]
struct Group<'m> {
    valid: Wire<'m>,
    first: Wire<'m>,
    last: Wire<'m>,
    /// It fills a row.
    row: Wire<'m>,
}

impl Quantiser {
    fn group<'m>(&self, m: &'m Builder, valid: Wire<'m>) -> Result<Group<'m>, RtlError> {
        let always = m.lit(1, 1);
        if self.groups() == 1 {
            return Ok(Group { valid, first: always, last: always, row: always });
        }
        let (place, last) = Counter::new(self.groups())?.build(m, "place", valid);
        let in_row = (self.row() / self.lanes).ilog2();
        let row = if in_row == 0 { always } else { place.trunc(in_row).all() };
        Ok(Group { valid, first: place.is_zero(), last, row })
    }

    /// The block's largest exponent field, after [`Quantiser::compare_cycles`]. `ending` comes one cycle before. It stays for as long as
    /// the block is shifted.
    fn largest<'m>(&self, m: &'m Builder, group: Group<'m>, words: Wire<'m>, ending: Wire<'m>) -> Wire<'m> {
        // The last stage compares with the groups before, where there are any.
        let alone = self.groups() == 1;
        let inner = self.compare_cycles() - u32::from(!alone);
        let fields = words.chunks(WORD).into_iter().map(|word| Fields::of(word).field).collect();
        let largest = largest_of(m, fields, inner);
        if alone {
            return largest;
        }
        let (some, first) =
            (later_valid(m, "some", group.valid, inner), later_valid(m, "first", group.first, inner));
        let running = m.reg("running", FIELD);
        let all = first.mux(largest, larger(largest, running.q()));
        running.set_when(some, all);
        let result = m.reg("largest", FIELD);
        result.set_when(ending, all);
        result.q()
    }

    /// Words wait in a ring of rows until they are shifted.
    fn row_of<'m>(
        &self,
        m: &'m Builder,
        group: Group<'m>,
        words: Wire<'m>,
        read: Wire<'m>,
    ) -> Result<Wire<'m>, RtlError> {
        // The words of a row that came before its last ones: each group moves the others down.
        let before = self.row() - self.lanes;
        let row = if before == 0 {
            words
        } else {
            let held = m.reg("held", WORD * before);
            let row = words.cat(held.q());
            held.set_when(group.valid, row.slice(WORD * self.lanes, WORD * before));
            row
        };
        let ring = m.memory("ring", WORD * self.row(), ROWS, RamStyle::Distributed);
        let write = group.valid & group.row;
        let pointer = Counter::new(ROWS)?;
        ring.write(write, pointer.build(m, "write_at", write).0, row);
        Ok(m.register("row", ring.read(pointer.build(m, "read_at", read).0)))
    }
}

/// The largest of exponent fields, so many cycles later, the comparisons spread over them.
fn largest_of<'m>(m: &'m Builder, mut level: Vec<Wire<'m>>, stages: u32) -> Wire<'m> {
    let mut levels = (level.len() as u32).ilog2();
    for stage in 0..stages {
        let here = levels.div_ceil(stages - stage);
        for _ in 0..here {
            level = level.chunks(2).map(|pair| larger(pair[0], pair[1])).collect();
        }
        levels -= here;
        let named = (0..).zip(&level);
        level =
            named.map(|(at, field): (u32, _)| m.register(&format!("field_{stage}_{at}"), *field)).collect();
    }
    level[0]
}

/// The larger one of two exponent fields.
fn larger<'m>(a: Wire<'m>, b: Wire<'m>) -> Wire<'m> {
    a.lt(b).mux(b, a)
}

/// The element of a word under the largest exponent field of its block, a cycle later and before a last register.
fn element<'m>(m: &'m Builder, name: &str, word: Wire<'m>, largest: Wire<'m>) -> Wire<'m> {
    let x = Fields::of(word);
    let below = largest - x.field;
    // Beyond seven places less than half a unit is left. Subnormals are zeros, and so is everything under the scale of NaN.
    let there = x.field.any() & !below.slice(COUNT, FIELD - COUNT).any() & !largest.all();
    let shifted = Shifted::right(x.significand(), below.trunc(COUNT));
    // Of the significand's bits the lower ones are fraction.
    let fraction = SIGNIFICAND - MAGNITUDE;
    let shifted = Shifted {
        kept: shifted.kept.slice(fraction, MAGNITUDE) & there.repeat(MAGNITUDE),
        half: shifted.kept.bit(fraction - 1) & there,
        rest: shifted.kept.trunc(fraction - 1).any() | shifted.half | shifted.rest,
    };
    let shifted = shifted.registered(name);
    let sign = m.register(&format!("{name}_sign"), x.sign);
    // 127 and a half would become 128.
    let up = shifted.up() & !shifted.kept.all();
    shifted.kept.zext(MAGNITUDE + 1).signed(sign, up)
}

impl Block for Quantiser {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("mx_quantiser_l{}", self.lanes));
        let valid = m.input("valid_i", 1);
        let words = m.input("words_i", WORD * self.lanes);
        let group = self.group(&m, valid)?;
        let ending = later_valid(&m, "ending", valid & group.last, self.compare_cycles() - 1);
        let largest = self.largest(&m, group, words, ending);
        // A block's rows are read one after the other, the first one with `ending`.
        let reads: Vec<_> =
            (0..self.rows()).map(|row| later_valid(&m, &format!("read_{row}"), ending, row)).collect();
        let row = self.row_of(&m, group, words, m.tree(&reads, |a, b| a | b))?;
        let named = (0..).zip(row.chunks(WORD));
        let elements: Vec<_> =
            named.map(|(at, word): (u32, _)| element(&m, &format!("element_{at}"), word, largest)).collect();
        let elements = m.pack(&elements);
        let out = m.reg("elems", ELEMENT * BLOCK);
        let rest = out.q().width() - elements.width();
        // Rows come in consecutive cycles: the last ones are the block's.
        out.set(if rest == 0 { elements } else { elements.cat(out.q().slice(elements.width(), rest)) });
        m.output("valid_o", later_valid(&m, "valid", reads[reads.len() - 1], AFTER_READ));
        m.output("scale_o", later(&m, "scale", largest, AFTER_READ - 1)?);
        m.output("elems_o", out.q());
        m.finish()
    }
}
