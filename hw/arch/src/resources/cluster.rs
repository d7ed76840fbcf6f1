//! What each memory channel has: its port, its buffers and its cluster.

use super::assumptions::*;
use super::memory::{in_order, random_access};
use super::{Amounts, BlockResources, Sizes};
use crate::config::LINE_WORDS;
use crate::num::window::ACC_BITS;
use crate::program::MAX_HEAD_DIM;

/// Elements of an MX block.
const BLOCK: u64 = LINE_WORDS as u64;
/// Bits of a score.
const SCORE_BITS: u64 = 32;

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
        block("record buffer", in_order(s.beat_bits(), s.record_beats)),
        block("write buffer", in_order(s.beat_bits(), s.write_beats)),
        block("AXI port", axi_port(s)),
    ]
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

/// Lanes for every byte of a beat: one on a DSP for INT8 and FP4, one of LUTs for the second FP4 element.
fn products(s: &Sizes) -> Amounts {
    let lanes = s.beat_bytes;
    Amounts {
        dsp: lanes * s.pairs(),
        lut: lanes * (WEIGHT_UNPACK_LUT + CHAIN_SKEW_LUT) + lanes * s.columns * FP4_PRODUCT_LUT,
        // The beat and its unpacked halves.
        ff: 3 * s.beat_bits() + lanes * s.columns * FP4_PRODUCT_FF,
        ..Amounts::default()
    }
}

/// Adder trees over blocks, alignment, addition to the accumulators.
fn sums(s: &Sizes) -> Amounts {
    let lanes = s.beat_bytes.min(BLOCK);
    let trees = s.beat_bytes / lanes;
    let dsp_tree = adder_tree(lanes / DSP_CHAIN, DSP_CHAIN_BITS);
    let lut_tree = adder_tree(lanes, FP4_PRODUCT_BITS);
    // Where a beat is half a block: both halves of an FP4 block, and two beats of an INT8 block.
    let halves = if lanes < BLOCK { 2 * (DSP_CHAIN_BITS + 3) } else { 0 };
    let tree = trees * (dsp_tree + lut_tree) + halves;
    let (rows, acc) = (s.rows_per_beat(), u64::from(ACC_BITS));
    Amounts {
        lut: s.columns * (tree + rows * (ALIGN_LUT + acc)),
        ff: s.columns * (tree + rows * (ALIGN_FF + 2 * acc)),
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

/// The queue of broadcast blocks, and the blocks in use; scale bytes of a beat in use and of the next.
fn operands(s: &Sizes) -> Amounts {
    let lanes = BLOCK * s.pairs();
    let own = Amounts {
        lut: lanes * OPERAND_SELECT_LUT,
        ff: lanes * OPERAND_FF + 2 * s.beat_bits(),
        ..Amounts::default()
    };
    own + random_access(AB_BLOCK_BITS + BROADCAST_TAG_BITS, BROADCAST_BLOCKS)
}

/// One read and one write a cycle suffice: results leave in the cycles of scale beats, in which no sum arrives.
fn accumulators(s: &Sizes) -> Amounts {
    let rows = s.rows_per_beat();
    random_access(s.columns * rows * u64::from(ACC_BITS), s.acc_rows.div_ceil(rows))
}

/// In axpy mode each DSP adds to a sum of its own for each part of a head that a beat holds.
fn value_sums(s: &Sizes) -> Amounts {
    let bits = s.pairs() * s.beat_bytes * u64::from(ACC_BITS);
    random_access(bits, u64::from(MAX_HEAD_DIM) / s.beat_bytes)
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
        assert_eq!(adder_tree(3, 12), 14);
        assert_eq!(adder_tree(4, 12), 14 + 15, "three of four, then two");
        assert_eq!(adder_tree(8, 18), 3 * 20 + 22);
        assert_eq!(adder_tree(32, 12), 11 * 14 + 4 * 16 + 18 + 19);
    }
}
