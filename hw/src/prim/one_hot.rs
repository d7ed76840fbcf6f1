//! Masks: the bit that counts, and how many there are.

use crate::rtl::{Builder, Wire, index_width};

/// The lowest bit that is set in a mask, and no other.
pub(crate) fn lowest(mask: Wire<'_>) -> Wire<'_> {
    mask & mask.negated()
}

/// How many of some bits are set, or the sum of some numbers, in `width` bits.
pub(crate) fn ones<'m>(m: &'m Builder, bits: &[Wire<'m>], width: u32) -> Wire<'m> {
    let each: Vec<_> = bits.iter().map(|bit| bit.zext(width)).collect();
    if each.is_empty() { m.lit(width, 0) } else { m.tree(&each, |a, b| a + b) }
}

/// The number of the only bit that is set.
pub(crate) fn number(bit: Wire<'_>) -> Wire<'_> {
    let m = bit.builder();
    let bits = bit.bits();
    let digit = |digit: u32| {
        let with: Vec<_> = (0..bits.len()).filter(|n| n >> digit & 1 == 1).map(|n| bits[n]).collect();
        if with.is_empty() { m.lit(1, 0) } else { m.pack(&with).any() }
    };
    m.pack(&(0..index_width(bit.width().into())).map(digit).collect::<Vec<_>>())
}

/// A product too small for a DSP block.
pub(crate) fn times<'m>(a: Wire<'m>, b: Wire<'m>) -> Wire<'m> {
    let width = a.width() + b.width();
    let shifted = |(n, bit): (usize, Wire<'m>)| (a & bit.repeat(a.width())).zext(width) << n as u32;
    let parts: Vec<_> = b.bits().into_iter().enumerate().map(shifted).collect();
    a.builder().tree(&parts, |a, b| a + b)
}
