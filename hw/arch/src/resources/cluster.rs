//! What each memory channel has: its port, its buffers and its cluster.

use super::assumptions::*;
use super::memory::{in_order, random_access};
use super::{Amounts, BlockResources, Sizes};
use crate::config::LINE_WORDS;
use crate::layout::LIST_BEATS;
use crate::num::window::ACC_BITS;

/// Elements of an MX block.
const BLOCK: u64 = LINE_WORDS as u64;
/// Bits of a score.
const SCORE_BITS: u64 = 32;
/// Bits of what a block's beats are: kind, first and last token, which are attended to.
const SPAN_BITS: u64 = 45;
/// Spans beside those of a full buffer.
const SPARE_SPANS: u64 = 64;
/// Bits of an entry of a block list: row and tokens; bytes of it in memory.
const ENTRY_BITS: u64 = 43;
const LIST_WORD_BYTES: u64 = 8;

/// The blocks of every channel.
pub(super) fn blocks(s: &Sizes) -> Vec<BlockResources> {
    let block = |name, each| BlockResources { name, count: s.channels, each };
    vec![
        block("MAC array: products", products(s)),
        block("MAC array: sums", sums(s)),
        block("MAC array: operands", operands(s)),
        block("accumulators", accumulators(s)),
        block("sums of p.v", value_sums(s)),
        block("score buffer", in_order(SCORE_BITS * s.pairs(), s.score_tokens)),
        block("softmax and conversion", softmax(s)),
        block("stream reader", stream_reader(s)),
        block("stream buffers", in_order(s.beat_bits(), s.stream_beats)),
        block("spans of the cache", spans(s)),
        block("block lists", block_lists(s)),
        block("record buffer", in_order(s.beat_bits(), s.record_beats)),
        block("write buffer", in_order(s.beat_bits(), s.write_beats)),
        block("AXI port", axi_port(s)),
    ]
}

/// What the beats of keys and values are: in read-ahead each beat may be a block of its own.
fn spans(s: &Sizes) -> Amounts {
    in_order(SPAN_BITS, (s.ahead_beats + SPARE_SPANS).next_power_of_two())
}

/// Entries of two commands' lists, a row for each beat of them.
fn block_lists(s: &Sizes) -> Amounts {
    random_access(ENTRY_BITS * s.beat_bytes / LIST_WORD_BYTES, LIST_BEATS.into())
}

impl Sizes {
    /// Pairs of columns that share DSPs: two products in dot mode, one of a softmax weight in axpy mode.
    fn pairs(&self) -> u64 {
        self.columns.div_ceil(2)
    }

    fn beat_bits(&self) -> u64 {
        8 * self.beat_bytes
    }

    /// Rows of FP4 weights that a beat completes.
    fn rows_per_beat(&self) -> u64 {
        (2 * self.beat_bytes / BLOCK).max(1)
    }
}

/// DSPs for the second FP4 codes of each group of a beat of so many bytes, for each pair of columns.
#[must_use]
pub fn code_multipliers(beat_bytes: u32) -> u32 {
    let group = u64::from(beat_bytes).min(BLOCK);
    let dsps = if u64::from(beat_bytes) > BLOCK { WIDE_CODE_DSP } else { group };
    dsps as u32
}

impl Sizes {
    /// Bytes that share a block of activations.
    fn group_bytes(&self) -> u64 {
        self.beat_bytes.min(BLOCK)
    }

    fn groups(&self) -> u64 {
        self.beat_bytes / self.group_bytes()
    }

    /// Bytes whose second FP4 code has a DSP.
    fn multiplied_codes(&self) -> u64 {
        self.groups() * u64::from(code_multipliers(self.beat_bytes as u32))
    }

    /// Columns whose operands are there: the last pair of an odd number has two as well.
    fn all_columns(&self) -> u64 {
        2 * self.pairs()
    }
}

/// Lanes for every byte of a beat: one on a DSP for INT8 and FP4, one for the second FP4 element, on a DSP or of LUTs.
fn products(s: &Sizes) -> Amounts {
    let (lanes, multiplied) = (s.beat_bytes, s.multiplied_codes());
    let codes = (lanes - multiplied) * s.all_columns();
    // Both columns' elements, and the factor, which all pairs share.
    let skewed = 8 * (s.all_columns() + 1) * CHAIN_SKEW_FF * (lanes + multiplied) / DSP_CHAIN;
    Amounts {
        dsp: (lanes + multiplied) * s.pairs(),
        lut: lanes * WEIGHT_UNPACK_LUT
            + multiplied * CODE_UNPACK_LUT
            + (lanes + multiplied) * OFFSET_LUT
            + codes * FP4_PRODUCT_LUT,
        // The beat, and its scale bytes.
        ff: 2 * s.beat_bits() + (lanes + multiplied) * OFFSET_LUT + skewed + codes * FP4_PRODUCT_FF,
        ..Amounts::default()
    }
}

/// Adder trees over blocks, alignment, addition to the accumulators, which is a DSP's.
fn sums(s: &Sizes) -> Amounts {
    let (lanes, multiplied) = (s.group_bytes(), s.multiplied_codes() / s.groups());
    let chains = |count: u64| adder_tree(count.div_ceil(DSP_CHAIN), DSP_CHAIN_BITS);
    let codes = adder_tree(lanes - multiplied, FP4_PRODUCT_BITS);
    let tree = s.groups() * (chains(lanes) + chains(multiplied) + codes);
    let (rows, acc) = (s.rows_per_beat(), u64::from(ACC_BITS));
    let lut = tree + rows * (BLOCK_SUM_LUT + ALIGN_LUT + ACCUMULATE_LUT);
    Amounts {
        lut: s.all_columns() * lut + s.beat_bytes * SCALE_LUT,
        ff: s.all_columns() * (tree + rows * (ALIGN_FF + 2 * acc)),
        dsp: s.columns * rows,
        ..Amounts::default()
    }
}

/// Bits of all adders of a balanced tree over `terms` numbers of `bits` bits: a LUT, and a register, for each.
fn adder_tree(mut terms: u64, mut bits: u64) -> u64 {
    let mut total = 0;
    while terms > 1 {
        let inputs = terms.min(ADDER_INPUTS);
        bits += u64::from((inputs - 1).ilog2()) + 1;
        // A number that is left over alone passes by.
        total += (terms / inputs + u64::from(terms % inputs > 1)) * bits;
        terms = terms.div_ceil(inputs);
    }
    total
}

/// The queue of broadcast blocks, and the blocks in use and the next ones: a register behind the ports (DSPs have their own).
fn operands(s: &Sizes) -> Amounts {
    let blocks = AB_BLOCK_BITS * s.groups() * s.columns;
    let own = Amounts { ff: 2 * blocks, ..Amounts::default() };
    own + random_access(AB_BLOCK_BITS + BROADCAST_TAG_BITS, BROADCAST_BLOCKS)
}

/// One read and one write a cycle suffice: results leave in the cycles of scale beats, in which no sum arrives.
fn accumulators(s: &Sizes) -> Amounts {
    let rows = s.rows_per_beat();
    random_access(s.columns * rows * u64::from(ACC_BITS), s.acc_rows.div_ceil(rows))
}

/// In axpy mode each DSP adds to a sum of its own for each part of a head that a beat holds, in each pass: as many as the
/// accumulators have rows. The sum is added to in the cycle in which it is read, so that the memory is of LUTs.
fn value_sums(s: &Sizes) -> Amounts {
    let bits = s.pairs() * s.beat_bytes * u64::from(ACC_BITS);
    let words = s.acc_rows / s.beat_bytes;
    // Longer ones in parts, with a choice between four of them a bit.
    let parts = words.div_ceil(LUTRAM_WORDS);
    let part = random_access(bits, words.min(LUTRAM_WORDS)) * parts;
    let choice = bits * u64::from(parts > 1) * parts.div_ceil(4);
    part + Amounts { lut: choice, ff: bits, ..Amounts::default() }
}

/// A query head per column pair: score, weight; and a conversion, which also gives out a matrix's rows.
fn softmax(s: &Sizes) -> Amounts {
    let pair = Amounts {
        lut: SOFTMAX_LUT + CONVERT_LUT + MUL_LUT,
        ff: SOFTMAX_FF + CONVERT_FF + MUL_FF,
        dsp: MUL_DSP + FUNCTION_DSP,
        ..Amounts::default()
    };
    pair * s.pairs()
}

/// The control of the two streams. Both share one memory: a port brings one beat a cycle, the array takes one.
fn stream_reader(_: &Sizes) -> Amounts {
    Amounts { lut: STREAM_READER_LUT, ff: STREAM_READER_FF, ..Amounts::default() }
}

fn axi_port(s: &Sizes) -> Amounts {
    Amounts {
        lut: AXI_LUT + AXI_DATA_LUT * s.beat_bits(),
        ff: AXI_FF + AXI_DATA_FF * s.beat_bits(),
        ..Amounts::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_count_their_adders() {
        assert_eq!(adder_tree(1, 12), 0);
        assert_eq!(adder_tree(2, 12), 13);
        assert_eq!(adder_tree(3, 12), 13 + 14);
        assert_eq!(adder_tree(4, 12), 2 * 13 + 14);
        assert_eq!(adder_tree(8, 18), 4 * 19 + 2 * 20 + 21);
        assert_eq!(adder_tree(18, 12), 9 * 13 + 4 * 14 + 2 * 15 + 16 + 17);
    }
}
