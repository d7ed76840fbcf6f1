//! `cluster`: what one memory channel's share of the MAC array does to each of its beats.
//!
//! # Purpose
//!
//! Takes the beats of a stream of weights, of keys or of values as they lie in memory, with the operands of all
//! columns, and adds the products up: rows of weights and keys in the accumulators, weighted values in sums of their
//! own. Which beat it is and where its sums belong comes with it; this is the data path, the walk over blocks and rows
//! is its user's.
//!
//! # Interface
//!
//! *Pipes*: beats come, scale bytes come, words of sums are asked for, words are given out. Groups and rows are those of [`BlockDot`]; pairs are two
//! columns each, the last one of an odd number with one.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears `valid` only |
//! | `scale_i`, `scales_i` | in | 1, 8 x bytes | scale bytes of this edge's beat and those behind it come, the first low: they stay until the next ones |
//! | `valid_i` | in | 1 | a beat of elements, or it once more in another pass, is sampled on this edge |
//! | `beat_i` | in | 8 x bytes | the beat, its first byte low |
//! | `advance_i` | in | 1 | last use of its blocks' scale bytes: the next beat's blocks have the next ones |
//! | `fp4_i`, `upper_i`, `pass_i`, `axpy_i` | in | 1, 1, log2(passes), 1 | as in [`BlockDot`]; with 32 bytes and more, `upper_i` puts INT8 rows into the upper half of the word's |
//! | `address_i` | in | columns x log2(words) | each column's word of the accumulators; axpy mode: column 0's is the word of the sums of values, for all |
//! | `enable_i`, `first_i` | in | columns | columns that take part, and whose sums begin with it; axpy mode: a pair's first column speaks for it |
//! | `act_i` | in | columns x groups x 264 | activation blocks, the elements low, the scale byte high; column 0's groups low |
//! | `base_i` | in | columns x groups x 9 | the window base of each column and group; one of a column for weights |
//! | `weight_i` | in | pairs x groups x 25 | axpy mode: the softmax weights |
//! | `sum_valid_o`, `sum_o` | out | 1, columns x rows x 48 | the word of a beat with its terms added, column 0's rows low; of columns that do not take part, anything |
//! | `drain_valid_i`, `drain_address_i` | in | 1, log2(words) | a word of the accumulators, the same of all columns, is asked for |
//! | `drain_valid_o`, `drain_sum_o` | out | 1, columns x rows x 48 | the word: column 0's rows low |
//! | `value_valid_i`, `value_address_i` | in | 1, log2(value words) | a word of the sums of values is asked for |
//! | `value_valid_o`, `value_sum_o` | out | 1, pairs x bytes x 48 | the word: pair 0's bytes low |
//!
//! Streams of weights ([`WeightLayout`](fastcar_arch::layout::WeightLayout)): per input block and group of rows a
//! scale beat, then the rows; every group of a column gets the same activation block. Keys
//! ([`KvLayout`](fastcar_arch::layout::KvLayout)): every part of a beat gets the block of the query that it belongs
//! to, and a key's score is the sum of its word's rows. `sum_o` has it with the key's last beat, so that the next key
//! may begin in the same word. A word is one of the accumulators' in both cases. A range of keys may start inside a
//! block of 32 tokens, and so inside a beat of scale bytes: beats that no column takes part in, with `advance_i`, move
//! these up, each by a beat's INT8 blocks, or with `fp4_i` by twice as many; or every beat comes with its own bytes.
//!
//! # Timing
//!
//! A beat a cycle. Sums may be asked for [`Cluster::latency`] cycles after the beat, which is [`MAC_LATENCY`]: a
//! register, [`BlockDot`], [`WindowTerm`], [`Accumulators`]; `sum_o` has them in that very cycle. Sums of values are
//! there earlier, [`Cluster::value_latency`]: they have no tree and no window. A word comes [`Cluster::drain_latency`]
//! cycles after it was asked for, whatever beats come in between.
//!
//! # Numeric contract
//!
//! Accumulators: [`window::term`](fastcar_arch::num::window::term) of the blocks' exact sums, added up exactly. Sums
//! of values: weight times element, exactly.
//!
//! # Cost
//!
//! A DSP block for each byte of a beat and each pair of columns, those of the codes that have one
//! ([`code_multipliers`]), and one for each row and column; the accumulators' memories, and registers of the operands. The sums of values have
//! as many words as one head's need in all passes, which the accumulators' rows bound.
//!
//! # Verification
//!
//! `tests/tests/rtl_mac.rs`: weights of both formats with several passes, keys and values at three presets against the
//! reference; latency; cells.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::{config::AccelConfig, timing::MAC_LATENCY};
//! use fastcar_hw::pe::Cluster;
//!
//! let cluster = Cluster::new(&AccelConfig::preset("tiny")?)?;
//! assert_eq!(u64::from(cluster.latency()), MAC_LATENCY);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::block_dot::{COLUMNS, SUM_BITS};
use super::dsp::WEIGHT_BITS;
use super::window_term::LEFT_BITS;
use super::{Accumulators, BlockDot, DotShape, WindowTerm};
use crate::prim::DelayLine;
use crate::rtl::{Bits, Block, Builder, Instance, Module, RtlError, Wire};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::num::mx::BLOCK;
use fastcar_arch::resources::code_multipliers;
use fastcar_arch::timing::MAC_LATENCY;
use std::sync::Arc;

/// Bits of an activation block's elements.
const ELEMENT_BITS: u32 = 8 * BLOCK as u32;
/// Bits of an activation block: elements and scale byte.
pub(crate) const ACT_BITS: u32 = ELEMENT_BITS + 8;
/// Bits of a window's base.
pub(crate) const BASE_BITS: u32 = 9;
/// Cycles of the register behind the ports.
const TAKE: u32 = 1;

/// One channel's share of the MAC array. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cluster {
    columns: u32,
    bytes: u32,
    dot: BlockDot,
    term: WindowTerm,
    sums: Accumulators,
    spare: u32,
}

impl Cluster {
    /// The cluster of a configuration.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(config: &AccelConfig) -> Result<Self, RtlError> {
        let columns = config.columns();
        let bytes = config.fields().beat_bytes;
        // Of slots, or over the keys of a group of heads, whose sums of values need words in as many passes.
        let heads = (config.acc_rows() / BLOCK as u32).div_ceil(columns.min(COLUMNS));
        let passes = config.slots().div_ceil(columns).max(heads);
        // The accumulators bound the words of a head's sums too, over all passes.
        let value_words = config.acc_rows().div_ceil(bytes);
        let pairs = columns.div_ceil(COLUMNS);
        let code_multipliers = code_multipliers(bytes);
        let dot = BlockDot::new(DotShape { bytes, pairs, passes, code_multipliers, value_words })?;
        let term = WindowTerm::new(SUM_BITS)?;
        let words = config.acc_rows().div_ceil(dot.rows());
        let sums = Accumulators::new(columns, dot.rows(), term.out_width(), words)?;
        let own = TAKE + dot.latency() + term.latency() + sums.latency();
        let spare = u32::try_from(MAC_LATENCY).unwrap_or(u32::MAX).checked_sub(own);
        let spare = spare.ok_or(RtlError::Parameter {
            block: "cluster",
            parameter: "MAC_LATENCY",
            asked: MAC_LATENCY,
            allowed: "at least the 14 cycles of its stages",
        })?;
        Ok(Self { columns, bytes, dot, term, sums, spare })
    }

    /// Cycles from a beat to its sums in the accumulators.
    #[must_use]
    pub fn latency(&self) -> u32 {
        TAKE + self.dot.latency() + self.term.latency() + self.spare + self.sums.latency()
    }

    /// Cycles from a beat of values to their sums.
    #[must_use]
    pub fn value_latency(&self) -> u32 {
        TAKE + self.dot.value_latency()
    }

    /// Cycles from the question for a word to the word.
    #[must_use]
    pub fn drain_latency(&self) -> u32 {
        self.sums.drain_latency()
    }

    /// Sums of each column in a word of the accumulators.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.dot.rows()
    }

    /// Activation blocks that a column is given with a beat.
    #[must_use]
    pub fn groups(&self) -> u32 {
        self.dot.groups()
    }

    /// Pairs of columns.
    #[must_use]
    pub fn pairs(&self) -> u32 {
        self.columns.div_ceil(COLUMNS)
    }

    /// Width of an address of the accumulators.
    #[must_use]
    pub fn address_width(&self) -> u32 {
        self.sums.address_width()
    }

    /// Width of an address of the sums of values.
    #[must_use]
    pub fn value_address_width(&self) -> u32 {
        self.dot.value_address_width()
    }

    /// Width of a column's part of `address_i`.
    #[must_use]
    pub fn word_width(&self) -> u32 {
        self.address_width().max(self.value_address_width())
    }

    /// Width of the number of a pass.
    #[must_use]
    pub fn pass_width(&self) -> u32 {
        self.dot.pass_width()
    }

    /// Blocks of INT8 that a beat ends: half as many as rows, save where a block takes two beats.
    fn int8_rows(&self) -> u32 {
        (self.rows() / 2).max(1)
    }

    fn name(&self) -> String {
        let (sums, values) = (self.address_width(), self.value_address_width());
        format!("cluster_c{}_b{}_p{}_a{sums}_v{values}", self.columns, self.bytes, self.pass_width())
    }
}

/// What comes with a beat, one cycle later.
struct Taken<'m> {
    elements: Wire<'m>,
    beat: Wire<'m>,
    fp4: Wire<'m>,
    upper: Wire<'m>,
    pass: Wire<'m>,
    axpy: Wire<'m>,
    /// By column.
    addresses: Vec<Wire<'m>>,
    enable: Vec<Wire<'m>>,
    first: Vec<Wire<'m>>,
    /// By column and group.
    acts: Vec<Vec<Wire<'m>>>,
    bases: Vec<Vec<Wire<'m>>>,
    weights: Wire<'m>,
    /// Scale bytes, those of the beat's blocks low.
    scales: Vec<Wire<'m>>,
}

impl<'m> Taken<'m> {
    fn new(c: &Cluster, m: &'m Builder) -> Self {
        let take = |name: &str, width: u32| m.register(name, m.input(&format!("{name}_i"), width));
        let elements = m.register_valid("elements", m.input("valid_i", 1));
        let (fp4, advance) = (take("fp4", 1), take("advance", 1));

        let scales = m.reg("scales", 8 * c.bytes);
        let used = fp4.mux(scales.q() >> (8 * c.rows()), scales.q() >> (8 * c.int8_rows()));
        // The next ones may come with the last use of those before.
        let next = (m.input("scale_i", 1), m.input("scales_i", 8 * c.bytes));
        scales.update(&[next, (elements & advance, used)]);

        let acts = take("act", c.columns * c.groups() * ACT_BITS).chunks(ACT_BITS);
        let bases = take("base", c.columns * c.groups() * BASE_BITS).chunks(BASE_BITS);
        let of_columns =
            |parts: Vec<Wire<'m>>| parts.chunks(c.groups() as usize).map(<[_]>::to_vec).collect();
        Self {
            elements,
            beat: take("beat", 8 * c.bytes),
            fp4,
            upper: take("upper", 1),
            pass: take("pass", c.pass_width()),
            axpy: take("axpy", 1),
            addresses: take("address", c.columns * c.word_width()).chunks(c.word_width()),
            enable: take("enable", c.columns).bits(),
            first: take("first", c.columns).bits(),
            acts: of_columns(acts),
            bases: of_columns(bases),
            weights: take("weight", c.pairs() * c.groups() * WEIGHT_BITS),
            scales: scales.q().chunks(8),
        }
    }

    /// Elements of a column's blocks; zeros for the column that an odd number lacks.
    fn elements_of(&self, c: &Cluster, m: &'m Builder, column: u32) -> Wire<'m> {
        match self.acts.get(column as usize) {
            Some(blocks) => m.pack(&blocks.iter().map(|block| block.trunc(ELEMENT_BITS)).collect::<Vec<_>>()),
            None => m.constant(Bits::zero(c.groups() * ELEMENT_BITS)),
        }
    }

    fn dot(&self, c: &Cluster, m: &'m Builder) -> Result<Instance<'m>, RtlError> {
        let dot = m.instance("u_dot", &c.dot)?;
        dot.set("valid_i", self.elements);
        dot.set("fp4_i", self.fp4);
        dot.set("beat_i", self.beat);
        dot.set("axpy_i", self.axpy);
        let columns: Vec<_> = (0..COLUMNS * c.pairs()).map(|column| self.elements_of(c, m, column)).collect();
        dot.set("act_i", m.pack(&columns));
        dot.set("weight_i", self.weights);
        if c.dot.halves() {
            dot.set("upper_i", self.upper);
            dot.set("pass_i", self.pass);
        }
        // A pair's first column speaks for it.
        let of_pairs = |bits: &[Wire<'m>]| m.pack(&bits.iter().step_by(2).copied().collect::<Vec<_>>());
        dot.set("address_i", self.addresses[0].trunc(c.value_address_width()));
        dot.set("enable_i", of_pairs(&self.enable));
        dot.set("first_i", of_pairs(&self.first));
        dot.set("value_valid_i", m.input("value_valid_i", 1));
        dot.set("value_address_i", m.input("value_address_i", c.value_address_width()));
        for name in ["value_valid_o", "value_sum_o"] {
            m.output(name, dot.get(name));
        }
        Ok(dot)
    }

    /// Whether a row of a column gets a sum from this beat.
    fn row_enabled(&self, c: &Cluster, column: usize, row: u32) -> Wire<'m> {
        if c.dot.halves() {
            self.enable[column]
        } else if row < c.int8_rows() {
            self.enable[column] & (self.fp4 | !self.upper)
        } else {
            self.enable[column] & (self.fp4 | self.upper)
        }
    }
}

/// Terms, their carries, and whether there are any.
struct Terms<'m> {
    valid: Wire<'m>,
    terms: Wire<'m>,
    carries: Wire<'m>,
}

/// What the terms are made of beside sums, one cycle before these.
struct Scales<'m> {
    fp4: Wire<'m>,
    /// By row.
    weights: Vec<Wire<'m>>,
    /// What activations leave of the base, by column and group.
    left: Vec<Vec<Wire<'m>>>,
}

impl<'m> Scales<'m> {
    fn new(c: &Cluster, m: &'m Builder, taken: &Taken<'m>) -> Result<Self, RtlError> {
        let late = |name: String, value: Wire<'m>| -> Result<_, RtlError> {
            Ok(DelayLine::new(value.width(), c.dot.latency() - 1)?.build(m, &name, value))
        };
        let rows = taken.scales.iter().take(c.rows() as usize).enumerate();
        let weights =
            rows.map(|(row, scale)| late(format!("scale_{row}"), *scale)).collect::<Result<_, _>>()?;
        let of_column = |column: usize| {
            let left = |(group, act): (usize, &Wire<'m>)| {
                let base = taken.bases[column][group].zext(LEFT_BITS);
                let scale = act.slice(ELEMENT_BITS, 8).zext(LEFT_BITS);
                late(format!("left_{column}_{group}"), base - scale)
            };
            taken.acts[column].iter().enumerate().map(left).collect()
        };
        let left = (0..c.columns as usize).map(of_column).collect::<Result<_, RtlError>>()?;
        Ok(Self { fp4: late("fp4_late".into(), taken.fp4)?, weights, left })
    }

    /// The scale byte of a row's block, and what the activations that it meets leave of the base.
    fn of(&self, c: &Cluster, column: usize, row: usize) -> (Wire<'m>, Wire<'m>) {
        let (int8, groups) = (row % c.int8_rows() as usize, self.left[column].len());
        let left = |row: usize, rows: u32| self.left[column][row * groups / rows as usize];
        let weight = self.fp4.mux(self.weights[row], self.weights[int8]);
        (weight, self.fp4.mux(left(row, c.rows()), left(int8, c.int8_rows())))
    }
}

/// The terms of all columns and rows.
fn terms<'m>(
    c: &Cluster,
    m: &'m Builder,
    taken: &Taken<'m>,
    dot: &Instance<'m>,
) -> Result<Terms<'m>, RtlError> {
    let scales = Scales::new(c, m, taken)?;
    let (mut terms, mut carries, mut valid) = (Vec::new(), Vec::new(), None);
    let sums = dot.get("sum_o").chunks(SUM_BITS);
    for column in 0..c.columns {
        for row in 0..c.rows() {
            let (weight, left) = scales.of(c, column as usize, row as usize);
            let term = m.instance(&format!("u_term_{column}_{row}"), &c.term)?;
            term.set("valid_i", dot.get("valid_o"));
            term.set("sum_i", sums[(column * c.rows() + row) as usize]);
            term.set("weight_scale_i", weight);
            term.set("left_i", left);
            valid.get_or_insert(term.get("valid_o"));
            terms.push(term.get("term_o"));
            carries.push(term.get("carry_o"));
        }
    }
    let spare = |name: &str, wires: &[Wire<'m>]| -> Result<_, RtlError> {
        let all = m.pack(wires);
        Ok(DelayLine::new(all.width(), c.spare)?.build(m, name, all))
    };
    let valid = (0..c.spare).fold(valid.unwrap_or(taken.elements), |valid, stage| {
        m.register_valid(&format!("spare_valid_{stage}"), valid)
    });
    Ok(Terms { valid, terms: spare("spare_terms", &terms)?, carries: spare("spare_carries", &carries)? })
}

/// The accumulators with their ports.
fn accumulate<'m>(
    c: &Cluster,
    m: &'m Builder,
    terms: &Terms<'m>,
    [address, enable, first]: [Wire<'m>; 3],
) -> Result<(), RtlError> {
    let sums = m.instance("u_sums", &c.sums)?;
    sums.set("valid_i", terms.valid);
    sums.set("term_i", terms.terms);
    sums.set("carry_i", terms.carries);
    sums.set("address_i", address);
    sums.set("enable_i", enable);
    sums.set("first_i", first);
    sums.set("drain_valid_i", m.input("drain_valid_i", 1));
    sums.set("drain_address_i", m.input("drain_address_i", c.address_width()));
    m.output("sum_valid_o", sums.get("added_valid_o"));
    m.output("sum_o", sums.get("added_o"));
    m.output("drain_valid_o", sums.get("valid_o"));
    m.output("drain_sum_o", sums.get("sum_o"));
    Ok(())
}

impl Block for Cluster {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(self.name());
        let taken = Taken::new(self, &m);
        let dot = taken.dot(self, &m)?;
        let terms = terms(self, &m, &taken, &dot)?;
        // Control goes along.
        let cycles = self.dot.latency() + self.term.latency() + self.spare;
        let late = |name: &str, value: Wire<'_>| -> Result<_, RtlError> {
            Ok(DelayLine::new(value.width(), cycles)?.build(&m, name, m.own(value)))
        };
        let lanes = |of: &dyn Fn(usize, u32) -> _| -> Vec<Wire<'_>> {
            (0..self.columns as usize)
                .flat_map(|c| (0..self.rows()).map(move |r| (c, r)))
                .map(|(c, r)| of(c, r))
                .collect()
        };
        let enable = m.pack(&lanes(&|column, row| taken.row_enabled(self, column, row)));
        let first = m.pack(&lanes(&|column, _| taken.first[column]));
        let words: Vec<_> = taken.addresses.iter().map(|a| a.trunc(self.address_width())).collect();
        let control = [late("addresses", m.pack(&words))?, late("enables", enable)?, late("firsts", first)?];
        accumulate(self, &m, &terms, control)?;
        m.finish()
    }
}
