//! The walk over a product's beats: weight block by weight block, in these group by group of rows.

use super::feeder::Product;
use crate::rtl::{Builder, Wire};
use fastcar_arch::num::mx::BLOCK;

/// Sizes of beats and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Sixteens of rows in a full group: a power of two.
    pub(super) granules: u32,
    /// Widths: of the number of a sixteen in a chunk, of a word.
    pub(super) chunk: u32,
    pub(super) word: u32,
}

/// What the next beat is.
pub(super) struct Next<'m> {
    /// Scale bytes.
    pub(super) scale: Wire<'m>,
    /// The second beat of a word.
    pub(super) upper: Wire<'m>,
    /// Its word, from the chunk's first one.
    pub(super) word: Wire<'m>,
    /// The last one of a weight block.
    pub(super) ends_block: Wire<'m>,
}

/// Counts to a last value, then from 0 again: the count, and whether it is the last.
fn count<'m>(m: &'m Builder, name: &str, step: Wire<'m>, last: Wire<'m>) -> [Wire<'m>; 2] {
    let count = m.reg(name, last.width()).reset(0);
    let ends = count.q().eq(last);
    count.set_when(step, ends.mux(m.lit(last.width(), 0), count.q() + 1));
    [count.q(), ends]
}

/// The next beat of a product; the walk goes on from block to block when it is taken.
pub(super) fn walk<'m>(m: &'m Builder, s: &Sizes, product: &Product<Wire<'m>>, take: Wire<'m>) -> Next<'m> {
    let scale = m.reg("scale_next", 1).reset(1);
    let element = take & !scale.q();
    // A full group of INT8 rows has as many beats as a block has elements, one of FP4 half as many; here for sixteen rows.
    let beats = BLOCK as u32 / s.granules;
    let last_of = |beats: u32| m.lit(BLOCK.ilog2() - s.granules.ilog2(), u64::from(beats - 1));
    let [beat, ends_granule] =
        count(m, "beat_next", element, product.fp4.mux(last_of(beats / 2), last_of(beats)));
    let [granule, last_granule] = count(m, "granule_next", element & ends_granule, product.last_granule);
    let ends_block = !scale.q() & ends_granule & last_granule;
    let full = match s.granules.ilog2() {
        0 => m.lit(1, 1),
        bits => granule.trunc(bits).all(),
    };
    scale.set_when(take, !scale.q() & ends_granule & (full | last_granule));

    let upper = beat.bit(0) & !product.fp4;
    let word = m.reg("word_next", s.word).reset(0);
    let zero = m.lit(s.word, 0);
    let ends_word = element & (product.fp4 | upper);
    word.update(&[(take & ends_block, zero), (ends_word, word.q() + 1)]);
    Next { scale: scale.q(), upper, word: word.q(), ends_block }
}
