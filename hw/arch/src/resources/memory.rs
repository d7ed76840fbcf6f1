//! On-chip memories in LUTs, block RAMs or UltraRAMs.

use super::Amounts;
use super::assumptions::{BRAM_PER_URAM, LUTRAM_32_BITS, LUTRAM_64_BITS, LUTRAM_WORDS};

/// Widths and depths of a RAMB36E2 with one read and one write port.
const BRAM_SHAPES: [(u64, u64); 4] = [(72, 512), (36, 1024), (18, 2048), (9, 4096)];
/// Width and depth of a URAM288.
const URAM_SHAPE: (u64, u64) = (72, 4096);

/// A memory of `words` words with one read and one write port.
pub(super) fn random_access(bits: u64, words: u64) -> Amounts {
    if words <= LUTRAM_WORDS {
        return Amounts { lut: lutram(bits, words), ..Amounts::default() };
    }
    choose(brams(bits, words), fill(URAM_SHAPE, bits, words))
}

/// A memory that is written and read in order: a row may hold as many words as fit beside each other.
pub(super) fn in_order(bits: u64, words: u64) -> Amounts {
    let packed = 1 << (URAM_SHAPE.0 / bits).max(1).ilog2();
    if words <= LUTRAM_WORDS {
        return random_access(bits, words);
    }
    choose(brams(bits, words), fill(URAM_SHAPE, bits * packed, words.div_ceil(packed)))
}

fn choose(bram36: u64, uram: u64) -> Amounts {
    if uram * BRAM_PER_URAM < bram36 {
        Amounts { uram, ..Amounts::default() }
    } else {
        Amounts { bram36, ..Amounts::default() }
    }
}

fn lutram(bits: u64, words: u64) -> u64 {
    8 * bits.div_ceil(if words <= 32 { LUTRAM_32_BITS } else { LUTRAM_64_BITS })
}

fn brams(bits: u64, words: u64) -> u64 {
    BRAM_SHAPES.iter().map(|&shape| fill(shape, bits, words)).min().unwrap_or(u64::MAX)
}

/// Memories of one shape, side by side and one behind the other.
fn fill((width, depth): (u64, u64), bits: u64, words: u64) -> u64 {
    bits.div_ceil(width) * words.div_ceil(depth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_those_of_the_data_sheets() {
        let of = |a: Amounts| (a.lut, a.bram36, a.uram);
        assert_eq!(of(random_access(14, 32)), (8, 0, 0));
        assert_eq!(of(random_access(15, 33)), (24, 0, 0));
        assert_eq!(of(random_access(72, 512)), (0, 1, 0));
        assert_eq!(of(random_access(73, 65)), (0, 2, 0));
        assert_eq!(
            of(random_access(9, 4096)),
            (0, 1, 0),
            "one block RAM of nine bits, not an eighth of an UltraRAM"
        );
        assert_eq!(of(random_access(72, 4096)), (0, 0, 1));
        assert_eq!(of(random_access(72, 4097)), (0, 0, 2));
        assert_eq!(of(random_access(36, 4096)), (0, 0, 1), "four block RAMs");
        assert_eq!(of(random_access(27, 4096)), (0, 3, 0), "three block RAMs");
    }

    #[test]
    fn words_in_order_share_rows() {
        let of = |a: Amounts| (a.bram36, a.uram);
        assert_eq!(of(random_access(32, 8192)), (0, 2));
        assert_eq!(of(in_order(32, 8192)), (0, 1));
        assert_eq!(of(in_order(512, 8192)), (0, 16));
        assert_eq!(of(in_order(8, 1024)), (1, 0));
    }
}
