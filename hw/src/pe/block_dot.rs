//! `block_dot`: the products of a beat for pairs of columns, and their sums over blocks or over tokens.
//!
//! # Purpose
//!
//! A beat holds bytes of weights, of keys or of values. *Dot mode* multiplies its elements with the activations of pairs of
//! columns and adds up what belongs to one block: MXINT8, or MXFP4 with two elements a byte. *Axpy mode* multiplies
//! the elements of a beat of values with softmax weights, for one query head in place of a pair, and adds the products to
//! the sums of a word, one for each byte.
//!
//! Which blocks a beat holds depends on its size: half a block of MXINT8 or one of MXFP4 (16 bytes), one or two (32),
//! two or four (64).
//!
//! # Interface
//!
//! A *pipe*: `valid` travels with the data and there is no back-pressure. The beat's *groups* are its parts of 32
//! bytes, or all of 16. Words of sums of values are asked for and given out by pipes too.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears `valid` only |
//! | `valid_i` | in | 1 | a beat of elements is sampled on this edge |
//! | `fp4_i` | in | 1 | its bytes are pairs of E2M1 codes, not INT8 (axpy mode: 0) |
//! | `beat_i` | in | 8 x bytes | the beat, its first byte low |
//! | `act_i` | in | columns x groups x 256 | dot mode: the elements of the activation block of each group, column 0's groups low |
//! | `upper_i`, `pass_i` | in | 1, log2(passes) | beats of 16 bytes of INT8: it is a block's second half; which of the passes it is in |
//! | `axpy_i` | in | 1 | axpy mode |
//! | `weight_i` | in | pairs x groups x 25 | axpy mode: the unsigned weight of each group, pair 0's low |
//! | `address_i`, `enable_i`, `first_i` | in | log2(value words), pairs, pairs | axpy mode: the word of the sums; pairs whose sums get something, and begin with it |
//! | `valid_o` | out | 1 | there are block sums |
//! | `sum_o` | out | columns x rows x 21 | signed sums, column 0's rows low: as many rows as the beat holds blocks of MXFP4 |
//! | `value_valid_i`, `value_address_i` | in | 1, log2(value words) | a word of the sums of values is asked for |
//! | `value_valid_o`, `value_sum_o` | out | 1, pairs x bytes x 48 | the word, pair 0 and the first byte's sum low |
//!
//! A beat of INT8 has half as many blocks as there are rows: row r gives the sum of block r modulo their number, so
//! that a sum of either half of the rows can be taken. Between the halves of a block (16 bytes of INT8) come those of
//! the same block in other passes only.
//!
//! # Timing
//!
//! A beat a cycle. Block sums come [`BlockDot::latency`] cycles after their (last) beat: four links of a chain of DSP
//! blocks of three registers each, one cycle apart; sums over a group; block. A beat of values is in what is asked for
//! [`BlockDot::value_latency`] cycles later; asked for earlier, it may be in some sums and not in others. A word
//! comes [`BlockDot::drain_latency`] cycles after it was asked for, whatever beats come in between.
//!
//! # Numeric contract
//!
//! Exact: [`dot_int8`](fastcar_arch::num::dot::dot_int8) and [`dot_fp4`](fastcar_arch::num::dot::dot_fp4) of each
//! block, -128 included, and sums of products of a weight of at most 2^24 with a byte, modulo 2^48. A DSP block makes
//! w * (a1 * 2^18 + (a0 + 128)): with the 128, which makes column 0's operand positive, the two stand side by side
//! without an adder. The sums of four w * (a0 + 128), of at most 4 * 128 * 255 < 2^17, stay within their 18 bits, and
//! with 2^17 more they are positive, so that they take nothing from column 1's. What the 128 adds to column 0 is
//! 128 times the sum of the factors, which is taken off at the end.
//!
//! # Cost
//!
//! A DSP block for each byte and pair. Of the other half of MXFP4's codes, `code_multipliers` of each group have a DSP block
//! too; the others are made of look-up tables: the activation shifted by 0 to 3, half as much again for 3, 6 and 12,
//! the sign being the carry of an adder of the tree. Factors and their sums are there once for all pairs. Sums of values
//! are in distributed memory with two read ports, one for each link.
//!
//! # Verification
//!
//! `tests/tests/rtl_mac.rs`: both modes and formats at all three sizes against the reference, with DSP blocks for all, some
//! and none of the other codes, every pair of bytes and codes, words of sums that come again at once, latency, gaps;
//! cells and depth by preset.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::pe::{BlockDot, DotShape};
//!
//! let shape = DotShape { bytes: 64, pairs: 2, passes: 1, code_multipliers: 14, value_words: 32 };
//! let dot = BlockDot::new(shape)?;
//! assert_eq!((dot.latency(), dot.rows(), dot.groups()), (8, 4, 2));
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::chain::{CHAINS, Link, QUAD, Values, chain, columns, delayed, lead, place};
use super::codes::{Code, code_total, plus_or_minus};
use super::dsp::{APART, LOW_BIAS, WEIGHT_BITS};
use super::value_sums::{Shape, ValueSums};
use crate::prim::within;
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Wire, index_width};
use fastcar_arch::num::mx::{BLOCK, e2m1_to_half_units};
use std::sync::Arc;

/// Columns that share the beat.
pub const COLUMNS: u32 = 2;
/// Bits of a block sum: 32 products of -128 and -128 need the last one.
pub const SUM_BITS: u32 = 21;

/// Elements of a block.
const ELEMENTS: u32 = BLOCK as u32;
/// Bytes of a block of MXFP4.
const FP4_BYTES: u32 = ELEMENTS / 2;
/// Cycles to the sums of a group.
const GROUPS: u32 = CHAINS + 1;
/// 128 in bits.
const OFFSET: u32 = 7;
/// Bits of a code's value in half units.
const CODE_BITS: u32 = 5;

/// What a [`BlockDot`] is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DotShape {
    /// Bytes of a beat.
    pub bytes: u32,
    /// Pairs of columns.
    pub pairs: u32,
    /// Cycles in which a beat is used, at most.
    pub passes: u32,
    /// Other codes of each group that have a DSP block.
    pub code_multipliers: u32,
    /// Words of sums of values.
    pub value_words: u32,
}

/// The products of a beat and their sums. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockDot {
    shape: DotShape,
}

/// Something of both columns.
type Pair<'m> = [Wire<'m>; COLUMNS as usize];

impl BlockDot {
    /// For a shape.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(shape: DotShape) -> Result<Self, RtlError> {
        const NAME: &str = "block dot";
        let DotShape { bytes, pairs, passes, code_multipliers, value_words } = shape;
        if ![16, 32, 64].contains(&bytes) {
            let (asked, allowed) = (u64::from(bytes), "16, 32 or 64");
            return Err(RtlError::Parameter { block: NAME, parameter: "bytes", asked, allowed });
        }
        within(NAME, "pairs", pairs, 1..=16, "1 to 16")?;
        within(NAME, "passes", passes, 1..=2048, "1 to 2048")?;
        let codes = "at most the bytes of a group, 16 or 32";
        within(NAME, "code_multipliers", code_multipliers, 0..=bytes.min(ELEMENTS), codes)?;
        within(NAME, "value_words", value_words, 2..=1024, "2 to 1024")?;
        Ok(Self { shape })
    }

    /// Cycles from a block's last beat to its sum.
    #[must_use]
    pub fn latency(&self) -> u32 {
        GROUPS + 1
    }

    /// Cycles from a beat of values to sums that can be asked for.
    #[must_use]
    pub fn value_latency(&self) -> u32 {
        CHAINS
    }

    /// Cycles from the question for a word of sums of values to the word.
    #[must_use]
    pub fn drain_latency(&self) -> u32 {
        2
    }

    /// Blocks of MXFP4 in a beat: the sums of each column.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.shape.bytes / FP4_BYTES
    }

    /// Parts of a beat that have an activation block each.
    #[must_use]
    pub fn groups(&self) -> u32 {
        self.shape.bytes / self.lanes()
    }

    /// Width of the number of a pass.
    #[must_use]
    pub fn pass_width(&self) -> u32 {
        index_width(u64::from(self.shape.passes))
    }

    /// Width of an address of the sums of values.
    #[must_use]
    pub fn value_address_width(&self) -> u32 {
        index_width(u64::from(self.shape.value_words))
    }

    /// Whether a block of MXINT8 takes two beats.
    #[must_use]
    pub fn halves(&self) -> bool {
        self.shape.bytes < ELEMENTS
    }

    /// Bytes of a group.
    fn lanes(&self) -> u32 {
        self.shape.bytes.min(ELEMENTS)
    }

    fn columns(&self) -> u32 {
        COLUMNS * self.shape.pairs
    }

    fn name(&self) -> String {
        let DotShape { bytes, pairs, passes, code_multipliers, value_words } = self.shape;
        let passes = if self.halves() { format!("_p{passes}") } else { String::new() };
        format!("block_dot_b{bytes}_n{pairs}{passes}_m{code_multipliers}_v{value_words}")
    }
}

/// What the circuit is given.
struct Inputs<'m> {
    fp4: Wire<'m>,
    beat: Wire<'m>,
    /// Elements by column, group, index.
    acts: Vec<Vec<Vec<Wire<'m>>>>,
    /// Second half of a block, where beats are halves.
    upper: Option<Wire<'m>>,
}

impl<'m> Inputs<'m> {
    fn new(dot: &BlockDot, m: &'m Builder) -> Self {
        let blocks = m.input("act_i", dot.columns() * dot.groups() * 8 * ELEMENTS).chunks(8 * ELEMENTS);
        let blocks: Vec<_> = blocks.into_iter().map(|block| block.chunks(8)).collect();
        Self {
            fp4: m.input("fp4_i", 1),
            beat: m.input("beat_i", 8 * dot.shape.bytes),
            acts: blocks.chunks(dot.groups() as usize).map(<[_]>::to_vec).collect(),
            upper: dot.halves().then(|| m.input("upper_i", 1)),
        }
    }

    /// What goes with a byte: the activations of its INT8 element, which are those of a group's first codes too.
    fn activations(&self, pair: usize, group: usize, lane: usize) -> Pair<'m> {
        [0, 1].map(|column: usize| {
            let act = &self.acts[2 * pair + column][group];
            let second = |upper: Wire<'m>| (upper & !self.fp4).mux(act[lane + FP4_BYTES as usize], act[lane]);
            self.upper.map_or(act[lane], second)
        })
    }

    /// The activations of a group's other codes: those of the second block, or of the second half.
    fn other_activations(&self, pair: usize, group: usize, lane: usize) -> Pair<'m> {
        let lane = lane + self.upper.map_or(0, |_| FP4_BYTES as usize);
        [0, 1].map(|column: usize| self.acts[2 * pair + column][group][lane])
    }

    /// A code of a group's first ones, or of the others.
    fn code(&self, (group, lane): (usize, usize), lanes: usize, other: usize) -> Wire<'m> {
        self.beat.slice(4 * ((2 * group + other) * lanes + lane) as u32, 4)
    }
}

/// A code's value in half units.
fn half_units<'m>(m: &'m Builder, code: Wire<'m>) -> Wire<'m> {
    let values: Vec<_> = (0..16u8).map(|code| m.lit(8, u64::from(e2m1_to_half_units(code) as u8))).collect();
    code.choose(&values)
}

/// The sum of signed numbers without loss: a bit more from level to level.
fn sum<'m>(values: &[Wire<'m>]) -> Wire<'m> {
    let mut level = values.to_vec();
    while level.len() > 1 {
        let width = level[0].width() + 1;
        let add = |pair: &[Wire<'m>]| match pair {
            [a, b] => a.sext(width) + b.sext(width),
            _ => pair[0].sext(width),
        };
        level = level.chunks(2).map(add).collect();
    }
    level[0]
}

/// What column 0's sums over so many factors are too large by, after [`GROUPS`] cycles: 128 times the factors' sum, two
/// levels of its tree a cycle, and the bias of each chain.
fn offset<'m>(m: &'m Builder, name: &str, factors: &[Wire<'m>]) -> Result<Wire<'m>, RtlError> {
    let register = |cycle: u32, wires: Vec<Wire<'m>>| -> Vec<_> {
        let name = |n: u32| format!("{name}_{cycle}_{n}");
        (0..).zip(wires).map(|(n, wire)| m.register(&name(n), wire)).collect()
    };
    let (mut level, mut cycles) = (register(1, factors.to_vec()), 1);
    while level.len() > 1 {
        // The last part may be smaller; it gets the width of the others.
        let width = level[0].width() + 2;
        cycles += 1;
        level = register(cycles, level.chunks(QUAD as usize).map(|four| sum(four).sext(width)).collect());
    }
    let late = delayed(m, &format!("{name}_late"), level[0], CHAINS - cycles)?;
    let chains = factors.len().div_ceil(QUAD as usize) as u64;
    let high = late.sext(SUM_BITS - OFFSET) + ((chains * LOW_BIAS) >> OFFSET);
    Ok(m.register(&format!("{name}_biased"), high).cat(m.lit(OFFSET, 0)))
}

/// What a group's bytes are to all columns.
struct Factors<'m> {
    /// The bytes' INT8 elements or first codes, and what their sums are too large by.
    bytes: Vec<Wire<'m>>,
    offset: Wire<'m>,
    /// The same of the other codes that have DSP blocks.
    multiplied: Vec<Wire<'m>>,
    multiplied_offset: Option<Wire<'m>>,
    /// The rest of the codes.
    codes: Vec<Code<'m>>,
}

impl<'m> Factors<'m> {
    fn new(dot: &BlockDot, m: &'m Builder, inputs: &Inputs<'m>, group: usize) -> Result<Self, RtlError> {
        let (lanes, multipliers) = (dot.lanes() as usize, dot.shape.code_multipliers as usize);
        let byte = |lane: usize| {
            let element = inputs.beat.slice(8 * (group * lanes + lane) as u32, 8);
            inputs.fp4.mux(half_units(m, inputs.code((group, lane), lanes, 0)), element)
        };
        let other = |lane: usize| inputs.code((group, lane), lanes, 1);
        let bytes: Vec<_> = (0..lanes).map(byte).collect();
        let multiplied: Vec<_> = (0..multipliers).map(|lane| half_units(m, other(lane))).collect();
        let values: Vec<_> = multiplied.iter().map(|factor| factor.trunc(CODE_BITS)).collect();
        let of_codes = (!values.is_empty()).then(|| offset(m, &format!("code_offset_{group}"), &values));
        Ok(Self {
            offset: offset(m, &format!("offset_{group}"), &bytes)?,
            bytes: in_place(m, &format!("factor_{group}"), &bytes)?,
            multiplied: in_place(m, &format!("code_factor_{group}"), &multiplied)?,
            multiplied_offset: of_codes.transpose()?,
            codes: (multipliers..lanes)
                .map(|lane| Code::new(m, &format!("code_{group}_{lane}"), other(lane)))
                .collect(),
        })
    }
}

/// Factors as late as the places of their links want them.
fn in_place<'m>(m: &'m Builder, name: &str, factors: &[Wire<'m>]) -> Result<Vec<Wire<'m>>, RtlError> {
    let late = |(n, factor): (usize, &Wire<'m>)| {
        delayed(m, &format!("{name}_{n}"), *factor, lead(place(n, factors.len())))
    };
    factors.iter().enumerate().map(late).collect()
}

/// The sums of several chains for both columns, a cycle later; column 0's, which are not negative, with their offset.
fn chain_total<'m>(m: &'m Builder, name: &str, sums: &[Wire<'m>]) -> Pair<'m> {
    let of = |column: usize| -> Vec<_> { sums.iter().map(|sum| columns(*sum)[column]).collect() };
    let low: Vec<_> = of(0).iter().map(|low| low.zext(APART + 1)).collect();
    let sums = [sum(&low), sum(&of(1))].map(|sum| sum.sext(SUM_BITS.max(sum.width())).trunc(SUM_BITS));
    [0, 1].map(|column: usize| m.register(&format!("{name}_{column}"), sums[column]))
}

/// The sums over a group's other codes for a pair after [`GROUPS`] cycles.
fn others_total<'m>(
    m: &'m Builder,
    name: &str,
    factors: &Factors<'m>,
    acts: &[Pair<'m>],
) -> Result<Pair<'m>, RtlError> {
    let (multiplied, rest) = acts.split_at(factors.multiplied.len());
    let mut sums = [m.lit(SUM_BITS, 0); 2];
    if let Some(offset) = factors.multiplied_offset {
        let link = |(acts, factor): (&Pair<'m>, &Wire<'m>)| Link { acts: *acts, factor: *factor };
        let links: Vec<_> = multiplied.iter().zip(&factors.multiplied).map(link).collect();
        let mut ends = Vec::new();
        for (n, four) in links.chunks(QUAD as usize).enumerate() {
            ends.extend(chain(m, &format!("code_{name}_{n}"), four, |_| None)?.last().copied());
        }
        let [low, high] = chain_total(m, &format!("codes_{name}"), &ends);
        sums = [low - offset, high];
    }
    if !rest.is_empty() {
        for (column, sum) in sums.iter_mut().enumerate() {
            let acts = rest.iter().map(|acts| acts[column]);
            let codes: Vec<_> = factors.codes.iter().copied().zip(acts).collect();
            let (total, minus) = code_total(m, &format!("other_{name}_{column}"), &codes)?;
            *sum = plus_or_minus(*sum, total.sext(SUM_BITS), minus).trunc(SUM_BITS);
        }
    }
    Ok(sums)
}

/// What becomes of the groups' sums: those of blocks.
struct Blocks<'m> {
    fp4: Wire<'m>,
    /// By group and pair: of INT8 elements or first codes, and of other codes.
    bytes: Vec<Vec<Pair<'m>>>,
    others: Vec<Vec<Pair<'m>>>,
    /// The sums of blocks' first halves, by pair.
    held: Option<Vec<Pair<'m>>>,
}

impl<'m> Blocks<'m> {
    /// The sum of a row's block: groups have two blocks of MXFP4 or one of MXINT8, or half as much.
    fn sum(&self, row: usize, column: usize) -> Wire<'m> {
        let of = |groups: &[Vec<Pair<'m>>], group: usize| groups[group][column / 2][column % 2];
        let int8 = of(&self.bytes, row % self.bytes.len());
        match &self.held {
            Some(held) => int8 + self.fp4.mux(of(&self.others, 0), held[column / 2][column % 2]),
            None if row.is_multiple_of(2) => self.fp4.mux(of(&self.bytes, row / 2), int8),
            None => self.fp4.mux(of(&self.others, row / 2), int8),
        }
    }
}

impl BlockDot {
    /// The chains of all bytes of all pairs, with the sums of values around them: every chain's links' sums.
    fn chains<'m>(
        &self,
        m: &'m Builder,
        inputs: &Inputs<'m>,
        factors: &[Factors<'m>],
        [valid, axpy]: [Wire<'m>; 2],
    ) -> Result<Vec<Vec<Vec<Wire<'m>>>>, RtlError> {
        let DotShape { bytes, pairs, value_words: words, .. } = self.shape;
        let values = ValueSums::new(m, Shape { words, chains: bytes / QUAD, pairs }, valid, axpy)?;
        let weights = m.input("weight_i", pairs * self.groups() * WEIGHT_BITS);
        // By place, each a cycle later.
        let late = |name: &str, wire| -> Result<Vec<_>, RtlError> {
            (0..QUAD).map(|place| delayed(m, &format!("{name}_{place}"), wire, place)).collect()
        };
        let (axpys, weights) = (late("axpy", axpy)?, late("weights", weights)?);
        let lanes = self.lanes();
        let one = |pair: u32, n: u32| {
            let (group, lane) = (n * QUAD / lanes, n * QUAD % lanes);
            let link = |lane: u32| Link {
                acts: inputs.activations(pair as usize, group as usize, lane as usize),
                factor: factors[group as usize].bytes[lane as usize],
            };
            let links: Vec<_> = (lane..lane + QUAD).map(link).collect();
            chain(m, &format!("byte_{pair}_{n}"), &links, |place| {
                let (from, sum) = values.onto(pair as usize, n, place);
                let weight = (pair * self.groups() + group) * WEIGHT_BITS;
                let weight = weights[place as usize].slice(weight, WEIGHT_BITS);
                Some(Values { weight, axpy: axpys[place as usize], from, sum })
            })
        };
        let chains = (0..pairs).map(|pair| (0..bytes / QUAD).map(|n| one(pair, n)).collect());
        let chains: Vec<_> = chains.collect::<Result<_, RtlError>>()?;
        values.finish(&chains);
        Ok(chains)
    }

    /// The sums of all groups and pairs after [`GROUPS`] cycles: of bytes, and of other codes.
    fn group_sums<'m>(
        &self,
        m: &'m Builder,
        inputs: &Inputs<'m>,
        factors: &[Factors<'m>],
        chains: &[Vec<Vec<Wire<'m>>>],
    ) -> Result<[Vec<Vec<Pair<'m>>>; 2], RtlError> {
        let (lanes, quads) = (self.lanes() as usize, (self.lanes() / QUAD) as usize);
        let (mut bytes, mut others) = (Vec::new(), Vec::new());
        for (group, factors) in factors.iter().enumerate() {
            let of_bytes = |(pair, chains): (usize, &Vec<Vec<Wire<'m>>>)| {
                let ends = chains[group * quads..][..quads].iter().map(|links| links[QUAD as usize - 1]);
                let ends: Vec<_> = ends.collect();
                let [low, high] = chain_total(m, &format!("bytes_{group}_{pair}"), &ends);
                [low - factors.offset, high]
            };
            bytes.push(chains.iter().enumerate().map(of_bytes).collect());
            let of_codes = |pair: usize| {
                let acts: Vec<_> =
                    (0..lanes).map(|lane| inputs.other_activations(pair, group, lane)).collect();
                others_total(m, &format!("{group}_{pair}"), factors, &acts)
            };
            others.push((0..chains.len()).map(of_codes).collect::<Result<_, _>>()?);
        }
        Ok([bytes, others])
    }

    /// Keeps the sums of first halves and gives those that go with second ones; and whether there is a block sum.
    fn hold<'m>(
        &self,
        m: &'m Builder,
        upper: Wire<'m>,
        [fp4, dotting]: [Wire<'m>; 2],
        sums: &[Pair<'m>],
    ) -> Result<(Vec<Pair<'m>>, Wire<'m>), RtlError> {
        let pass = delayed(m, "pass", m.input("pass_i", self.pass_width()), GROUPS)?;
        let upper = delayed(m, "upper", upper, GROUPS)?;
        let depth = 1 << self.pass_width();
        let memory = m.memory("halves", self.columns() * SUM_BITS, depth, RamStyle::Distributed);
        memory.write(dotting & !fp4 & !upper, pass, m.pack(&sums.concat()));
        let held = memory.read(pass).chunks(SUM_BITS);
        Ok((held.chunks(2).map(|pair| [pair[0], pair[1]]).collect(), dotting & (fp4 | upper)))
    }
}

impl Block for BlockDot {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(self.name());
        let (valid, axpy) = (m.input("valid_i", 1), m.input("axpy_i", 1));
        let inputs = Inputs::new(self, &m);
        let factors = (0..self.groups() as usize).map(|group| Factors::new(self, &m, &inputs, group));
        let factors = factors.collect::<Result<Vec<_>, _>>()?;
        let chains = self.chains(&m, &inputs, &factors, [valid, axpy])?;
        let [bytes, others] = self.group_sums(&m, &inputs, &factors, &chains)?;

        // Control as late as the groups' sums.
        let dotting = (1..=GROUPS)
            .fold(valid & !axpy, |valid, stage| m.register_valid(&format!("dot_valid_{stage}"), valid));
        let fp4 = delayed(&m, "fp4", inputs.fp4, GROUPS)?;
        let (mut held, mut done) = (None, dotting);
        if let Some(upper) = inputs.upper {
            let (sums, whole) = self.hold(&m, upper, [fp4, dotting], &bytes[0])?;
            (held, done) = (Some(sums), whole);
        }
        let blocks = Blocks { fp4, bytes, others, held };
        let (rows, columns) = (self.rows() as usize, self.columns() as usize);
        let sums: Vec<_> = (0..columns * rows).map(|lane| blocks.sum(lane % rows, lane / rows)).collect();
        m.output("valid_o", m.register_valid("done", done));
        m.output("sum_o", m.register("sums", m.pack(&sums)));
        m.finish()
    }
}
