//! `block_dot`: the products of a beat for two columns, and their sums over blocks.
//!
//! # Purpose
//!
//! A beat holds bytes of weights, of keys or of values. *Dot mode* multiplies its elements with the activations of two
//! columns and adds up what belongs to one block: MXINT8, or MXFP4 with two elements a byte. *Axpy mode* multiplies
//! the elements of a beat of values with softmax weights, for one query head in place of two columns, and adds nothing
//! up.
//!
//! Which blocks a beat holds depends on its size: half a block of MXINT8 or one of MXFP4 (16 bytes), one or two (32),
//! two or four (64).
//!
//! # Interface
//!
//! A *pipe*: `valid` travels with the data and there is no back-pressure. The beat's *groups* are its parts of 32
//! bytes, or all of 16.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears `valid` only |
//! | `valid_i` | in | 1 | a beat of elements is sampled on this edge |
//! | `fp4_i` | in | 1 | its bytes are pairs of E2M1 codes, not INT8 (axpy mode: 0) |
//! | `beat_i` | in | 8 x bytes | the beat, its first byte low |
//! | `act_i` | in | 2 x groups x 256 | dot mode: the elements of the activation block of each group, column 0's groups low |
//! | `upper_i`, `pass_i` | in | 1, log2(passes) | beats of 16 bytes of INT8: it is a block's second half; which of the passes it is in |
//! | `axpy_i` | in | 1 | axpy mode (shared multipliers only) |
//! | `weight_i` | in | groups x 25 | axpy mode: the unsigned weight of each group |
//! | `valid_o` | out | 1 | there are block sums |
//! | `sum_o` | out | 2 x rows x 21 | signed sums, column 0's rows low: as many rows as the beat holds blocks of MXFP4 |
//! | `product_valid_o`, `product_o` | out | 1, bytes x 33 | axpy mode: signed products, the first byte's low |
//!
//! A beat of INT8 has half as many blocks as there are rows: row r gives the sum of block r modulo their number, so
//! that a sum of either half of the rows can be taken. Between the halves of a block (16 bytes of INT8) come those of
//! the same block in other passes only.
//!
//! # Timing
//!
//! Block sums come [`BlockDot::latency`] cycles after their (last) beat: operands, products, sums of four, columns
//! apart, sums of sixteen, block. Products of axpy mode come after [`BlockDot::product_latency`]. A beat a cycle.
//!
//! # Numeric contract
//!
//! Exact: [`dot_int8`](fastcar_arch::num::dot::dot_int8) and [`dot_fp4`](fastcar_arch::num::dot::dot_fp4) of each
//! block, -128 included, and the product of a weight of at most 2^24 with a byte. A shared multiplier makes w * (a1 *
//! 2^18 + a0); four such products are added before the columns part, since the low sums, of at most 2^16 in magnitude,
//! then stay within their 18 bits: what they borrow from the high sum is their sign.
//!
//! # Cost
//!
//! A DSP block for each byte ([`Multipliers::Shared`]; [`Multipliers::Separate`]: two), look-up tables for the second
//! code of each byte of MXFP4.
//!
//! # Verification
//!
//! `tests/tests/rtl_mac.rs`: both modes and formats at all three sizes against the reference, both kinds of
//! multipliers against each other, every pair of bytes and codes, latency, gaps; cells and depth by preset.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::pe::{BlockDot, Multipliers};
//!
//! let dot = BlockDot::new(64, 1, Multipliers::Shared)?;
//! assert_eq!((dot.latency(), dot.rows(), dot.groups()), (6, 4, 2));
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use crate::prim::{DelayLine, within};
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Wire, index_width};
use fastcar_arch::num::mx::{BLOCK, e2m1_to_half_units};
use fastcar_arch::num::softmax::PROB_FRAC_BITS;
use std::sync::Arc;

/// Columns that share the beat.
pub const COLUMNS: u32 = 2;
/// Bits of a block sum: 32 products of -128 and -128 need the last one.
pub const SUM_BITS: u32 = 21;
/// Bits of a softmax weight: 2^24 stands for 1, which is one of them.
pub const WEIGHT_BITS: u32 = PROB_FRAC_BITS + 1;
/// Bits of the product of a softmax weight and an element.
pub const PRODUCT_BITS: u32 = WEIGHT_BITS + 8;

/// Elements of a block.
const ELEMENTS: u32 = BLOCK as u32;
/// Bytes of a block of MXFP4: the sums that both formats share are those of so many bytes.
const PART: u32 = ELEMENTS / 2;
/// Bits between the columns' sums in a shared multiplier.
const APART: u32 = 18;
/// Products that are added before the columns part.
const QUAD: usize = 4;
/// Bits of an operand of a shared multiplier.
const OPERAND_BITS: u32 = 27;
/// Bits of a sum over a part's bytes.
const PART_BITS: u32 = 20;
/// Bits of a product of an E2M1 code in half units and an activation: at most 12 x 128.
const CODE_PRODUCT_BITS: u32 = 12;

/// How columns come to their products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Multipliers {
    /// Both columns' products, or one of a softmax weight, in one multiplier of 27 x 8 bits.
    Shared,
    /// A multiplier of 8 x 8 bits for each column; no axpy mode.
    Separate,
}

/// The products of a beat and their sums. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockDot {
    bytes: u32,
    passes: u32,
    multipliers: Multipliers,
}

/// Sums of both columns.
type Pair<'m> = [Wire<'m>; COLUMNS as usize];

impl BlockDot {
    /// For beats of `bytes` bytes, each of which is used in up to `passes` cycles.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(bytes: u32, passes: u32, multipliers: Multipliers) -> Result<Self, RtlError> {
        const NAME: &str = "block dot";
        if ![16, 32, 64].contains(&bytes) {
            let (asked, allowed) = (u64::from(bytes), "16, 32 or 64");
            return Err(RtlError::Parameter { block: NAME, parameter: "bytes", asked, allowed });
        }
        let passes = within(NAME, "passes", passes, 1..=32, "1 to 32")?;
        Ok(Self { bytes, passes, multipliers })
    }

    /// Cycles from a block's last beat to its sum.
    #[must_use]
    pub fn latency(&self) -> u32 {
        6
    }

    /// Cycles from a beat of values to its products.
    #[must_use]
    pub fn product_latency(&self) -> u32 {
        2
    }

    /// Blocks of MXFP4 in a beat: the sums of each column.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.bytes / PART
    }

    /// Parts of a beat that have an activation block each.
    #[must_use]
    pub fn groups(&self) -> u32 {
        (self.bytes / ELEMENTS).max(1)
    }

    /// Width of the number of a pass.
    #[must_use]
    pub fn pass_width(&self) -> u32 {
        index_width(u64::from(self.passes))
    }

    /// Whether a block of MXINT8 takes two beats.
    #[must_use]
    pub fn halves(&self) -> bool {
        self.bytes < ELEMENTS
    }

    fn shared(&self) -> bool {
        self.multipliers == Multipliers::Shared
    }

    fn name(&self) -> String {
        let multipliers = if self.shared() { "shared" } else { "separate" };
        let passes = if self.halves() { format!("_p{}", self.passes) } else { String::new() };
        format!("block_dot_b{}{passes}_{multipliers}", self.bytes)
    }

    /// The sums of a block: of a part's own two sums of MXFP4, of two parts of MXINT8, or of the part with `held`.
    fn block_sum<'m>(&self, row: usize, fp4: Wire<'m>, parts: &Parts<'m>, held: &[Wire<'m>]) -> Pair<'m> {
        let wide = |value: Wire<'m>| value.sext(SUM_BITS);
        let sum = |column: usize| {
            let codes = parts.codes[row][column];
            if let Some(&held) = held.get(column) {
                return wide(parts.bytes[row][column]) + fp4.mux(wide(codes), wide(held));
            }
            let first = 2 * (row % (parts.bytes.len() / 2));
            let own = fp4.mux(parts.bytes[row][column], parts.bytes[first][column]);
            wide(own) + wide(fp4.mux(codes.sext(PART_BITS), parts.bytes[first + 1][column]))
        };
        [sum(0), sum(1)]
    }
}

/// What the circuit is given.
struct Inputs<'m> {
    fp4: Wire<'m>,
    /// Bytes of the beat.
    beat: Vec<Wire<'m>>,
    /// Elements by group, column, index.
    acts: Vec<[Vec<Wire<'m>>; COLUMNS as usize]>,
    /// Second half of a block, where beats are halves.
    upper: Option<Wire<'m>>,
    /// Axpy mode and the groups' weights, where multipliers are shared.
    axpy: Option<(Wire<'m>, Vec<Wire<'m>>)>,
}

impl<'m> Inputs<'m> {
    fn new(dot: &BlockDot, m: &'m Builder) -> Self {
        let fp4 = m.input("fp4_i", 1);
        let beat = m.input("beat_i", 8 * dot.bytes).chunks(8);
        let groups = dot.groups() as usize;
        let blocks = m.input("act_i", COLUMNS * dot.groups() * 8 * ELEMENTS).chunks(8 * ELEMENTS);
        let acts = (0..groups).map(|g| [blocks[g].chunks(8), blocks[groups + g].chunks(8)]).collect();
        let upper = dot.halves().then(|| m.input("upper_i", 1));
        let axpy = dot.shared().then(|| {
            (m.input("axpy_i", 1), m.input("weight_i", dot.groups() * WEIGHT_BITS).chunks(WEIGHT_BITS))
        });
        Self { fp4, beat, acts, upper, axpy }
    }

    /// The activations that go with a byte: with its INT8 element, or with its low E2M1 code.
    fn activations(&self, byte: usize) -> Pair<'m> {
        let (group, index) = (byte / BLOCK, byte % BLOCK);
        let choose = |column: usize| {
            let act = &self.acts[group][column];
            let int8 =
                self.upper.map_or(act[index], |upper| upper.mux(act[index + PART as usize], act[index]));
            self.fp4.mux(act[2 * (index % PART as usize)], int8)
        };
        [choose(0), choose(1)]
    }

    /// The activations that go with a byte's high E2M1 code.
    fn high_activations(&self, byte: usize) -> Pair<'m> {
        let index = 2 * (byte % PART as usize) + 1;
        [0, 1].map(|column: usize| self.acts[byte / BLOCK][column][index])
    }
}

/// Sums over 16 bytes, by part and column.
struct Parts<'m> {
    /// INT8 elements, or low codes.
    bytes: Vec<Pair<'m>>,
    /// High codes.
    codes: Vec<Pair<'m>>,
}

/// A sum of several numbers without loss, in one cycle.
fn total<'m>(m: &'m Builder, name: &str, values: &[Wire<'m>], width: u32) -> Wire<'m> {
    let wide: Vec<_> = values.iter().map(|value| value.sext(width)).collect();
    m.register(name, m.tree(&wide, |a, b| a + b))
}

/// A byte's factor: its INT8 element, or its low E2M1 code in half units. The operands' register.
fn factor<'m>(m: &'m Builder, lane: usize, fp4: Wire<'m>, byte: Wire<'m>) -> Wire<'m> {
    let codes: Vec<_> = (0..16u8).map(|code| m.lit(8, u64::from(e2m1_to_half_units(code) as u8))).collect();
    m.register(&format!("factor_{lane}"), fp4.mux(byte.trunc(4).choose(&codes), byte))
}

/// Products of a high code with both activations, in two cycles: half units are 0, 1, 2, 4 or 8, and half as much
/// again for 3, 6 and 12.
fn code_products<'m>(m: &'m Builder, lane: usize, code: Wire<'m>, acts: Pair<'m>) -> Pair<'m> {
    let exponent = code.slice(1, 2);
    let some = code.trunc(3).any();
    let half = m.register(&format!("code_half_{lane}"), code.bit(0) & exponent.any());
    let sign = m.register(&format!("code_sign_{lane}"), code.bit(3));
    let product = |column: usize| {
        let act = acts[column].sext(CODE_PRODUCT_BITS);
        let shifted = exponent.choose(&[0, 1, 2, 3].map(|bits| act << bits)) & some.repeat(CODE_PRODUCT_BITS);
        let shifted = m.register(&format!("code_act_{lane}_{column}"), shifted);
        let magnitude = shifted + (shifted.sar(1) & half.repeat(CODE_PRODUCT_BITS));
        m.register(&format!("code_product_{lane}_{column}"), sign.mux(magnitude.negated(), magnitude))
    };
    [product(0), product(1)]
}

/// The sums of four bytes' products for both columns, in four cycles; and what a multiplier gives in axpy mode, after
/// two.
struct Quads<'m> {
    sums: Vec<Pair<'m>>,
    products: Vec<Wire<'m>>,
}

impl<'m> Quads<'m> {
    fn shared(m: &'m Builder, i: &Inputs<'m>, (axpy, weights): &(Wire<'m>, Vec<Wire<'m>>)) -> Self {
        let products: Vec<_> = (0..i.beat.len())
            .map(|lane| {
                let [low, high] = i.activations(lane);
                // The high part gives what the low one's sign takes.
                let borrowed = high.sext(OPERAND_BITS - APART) - low.msb().zext(OPERAND_BITS - APART);
                let packed = borrowed.cat(low.sext(APART));
                let operand = axpy.mux(weights[lane / BLOCK].zext(OPERAND_BITS), packed);
                let operand = m.register(&format!("operand_{lane}"), operand);
                m.register(
                    &format!("product_{lane}"),
                    operand.mul_signed(factor(m, lane, i.fp4, i.beat[lane])),
                )
            })
            .collect();
        let part = |(n, four): (usize, &[Wire<'m>])| {
            let both = total(m, &format!("quad_{n}"), four, 2 * APART);
            let (low, high) = (both.trunc(APART), both.slice(APART, APART));
            let high = high + low.msb().zext(APART);
            [m.register(&format!("quad_{n}_0"), low), m.register(&format!("quad_{n}_1"), high)]
        };
        let sums = products.chunks(QUAD).enumerate().map(part).collect();
        let products = products.iter().map(|product| product.trunc(PRODUCT_BITS)).collect();
        Self { sums, products }
    }

    fn separate(m: &'m Builder, i: &Inputs<'m>) -> Self {
        let products: Vec<Pair<'m>> = (0..i.beat.len())
            .map(|lane| {
                let (acts, factor) = (i.activations(lane), factor(m, lane, i.fp4, i.beat[lane]));
                [0, 1].map(|column: usize| {
                    let operand = m.register(&format!("operand_{lane}_{column}"), acts[column]);
                    m.register(&format!("product_{lane}_{column}"), operand.mul_signed(factor))
                })
            })
            .collect();
        let sum = |(n, four): (usize, &[Pair<'m>])| {
            [0, 1].map(|column: usize| {
                let four: Vec<_> = four.iter().map(|pair| pair[column]).collect();
                let sum = total(m, &format!("quad_{n}_{column}_early"), &four, APART);
                m.register(&format!("quad_{n}_{column}"), sum)
            })
        };
        Self { sums: products.chunks(QUAD).enumerate().map(sum).collect(), products: Vec::new() }
    }
}

/// Sums of 16 bytes' high codes, in five cycles.
fn code_sums<'m>(m: &'m Builder, i: &Inputs<'m>) -> Vec<Pair<'m>> {
    let products: Vec<Pair<'m>> = (0..i.beat.len())
        .map(|lane| code_products(m, lane, i.beat[lane].slice(4, 4), i.high_activations(lane)))
        .collect();
    let part = |(n, products): (usize, &[Pair<'m>])| {
        [0, 1].map(|column: usize| {
            let products: Vec<_> = products.iter().map(|pair| pair[column]).collect();
            let quads = products.chunks(QUAD).enumerate();
            let quads: Vec<_> = quads
                .map(|(q, four)| total(m, &format!("codes_{n}_{column}_{q}"), four, CODE_PRODUCT_BITS + 2))
                .collect();
            let sum = total(m, &format!("codes_{n}_{column}_early"), &quads, CODE_PRODUCT_BITS + 4);
            m.register(&format!("codes_{n}_{column}"), sum)
        })
    };
    products.chunks(PART as usize).enumerate().map(part).collect()
}

/// Sums of 16 bytes' elements, from those of four.
fn byte_sums<'m>(m: &'m Builder, quads: &[Pair<'m>]) -> Vec<Pair<'m>> {
    let part = |(n, quads): (usize, &[Pair<'m>])| {
        [0, 1].map(|column: usize| {
            let quads: Vec<_> = quads.iter().map(|pair| pair[column]).collect();
            total(m, &format!("bytes_{n}_{column}"), &quads, PART_BITS)
        })
    };
    quads.chunks(PART as usize / QUAD).enumerate().map(part).collect()
}

impl Block for BlockDot {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(self.name());
        let valid = m.input("valid_i", 1);
        let inputs = Inputs::new(self, &m);
        let quads = match &inputs.axpy {
            Some(axpy) => Quads::shared(&m, &inputs, axpy),
            None => Quads::separate(&m, &inputs),
        };
        let parts = Parts { bytes: byte_sums(&m, &quads.sums), codes: code_sums(&m, &inputs) };

        // Control as late as the parts' sums.
        let parted = self.latency() - 1;
        let mut dotting = inputs.axpy.as_ref().map_or(valid, |(axpy, _)| valid & !*axpy);
        for stage in 1..=parted {
            dotting = m.register_valid(&format!("dot_valid_{stage}"), dotting);
        }
        let fp4 = DelayLine::new(1, parted)?.build(&m, "fp4", inputs.fp4);
        let (mut held, mut done) = (Vec::new(), dotting);
        if let Some(upper) = inputs.upper {
            let pass = DelayLine::new(self.pass_width(), parted)?.build(
                &m,
                "pass",
                m.input("pass_i", self.pass_width()),
            );
            let upper = DelayLine::new(1, parted)?.build(&m, "upper", upper);
            let memory =
                m.memory("halves", COLUMNS * PART_BITS, 1 << self.pass_width(), RamStyle::Distributed);
            memory.write(dotting & !fp4 & !upper, pass, m.pack(&parts.bytes[0]));
            held = memory.read(pass).chunks(PART_BITS);
            done = dotting & (fp4 | upper);
        }

        let sums: Vec<Pair<'_>> =
            (0..self.rows() as usize).map(|row| self.block_sum(row, fp4, &parts, &held)).collect();
        let by_column: Vec<_> = [0, 1].iter().flat_map(|&c: &usize| sums.iter().map(move |s| s[c])).collect();
        m.output("valid_o", m.register_valid("done", done));
        m.output("sum_o", m.register("sums", m.pack(&by_column)));
        if let Some((axpy, _)) = inputs.axpy {
            let early = m.register_valid("axpy_valid_1", valid & axpy);
            m.output("product_valid_o", m.register_valid("axpy_valid_2", early));
            m.output("product_o", m.pack(&quads.products));
        }
        m.finish()
    }
}
