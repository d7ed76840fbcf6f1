//! Chains of DSP blocks: sums of up to four products for two columns.

use super::dsp::{ACT_BITS, APART, MacDsp};
use crate::prim::DelayLine;
use crate::rtl::{Builder, Instance, RtlError, Wire};

/// Bits of an element.
const ELEMENT_BITS: u32 = 8;
/// Links of a chain: as many products as stay apart.
pub(super) const QUAD: u32 = 4;
/// Cycles from operands to the sum of a chain: three registers, and one more for each link before the last.
pub(super) const CHAINS: u32 = 2 + QUAD;

/// The operands of a link: the elements in the cycle in which they come, the factor in that of [`lead`].
pub(super) struct Link<'m> {
    /// Both columns' elements.
    pub(super) acts: [Wire<'m>; 2],
    pub(super) factor: Wire<'m>,
}

/// Where in its chain the n-th of `count` links is: every chain ends at the last place, whatever its length.
pub(super) fn place(n: usize, count: usize) -> u32 {
    let length = (count - n / QUAD as usize * QUAD as usize).min(QUAD as usize);
    QUAD - length as u32 + (n % QUAD as usize) as u32
}

/// Cycles by which operands are late for a place, beside the block's own registers: two, save at the first place.
pub(super) fn lead(place: u32) -> u32 {
    place.saturating_sub(1)
}

/// What links with an axpy mode are given, each at its own place in the chain, in its own cycle.
#[derive(Clone, Copy)]
pub(super) struct Values<'m> {
    pub(super) weight: Wire<'m>,
    pub(super) axpy: Wire<'m>,
    pub(super) from: Wire<'m>,
    /// The word's sum.
    pub(super) sum: Wire<'m>,
}

/// A wire some cycles later.
pub(super) fn delayed<'m>(
    m: &'m Builder,
    name: &str,
    value: Wire<'m>,
    cycles: u32,
) -> Result<Wire<'m>, RtlError> {
    Ok(DelayLine::new(value.width(), cycles)?.build(m, name, value))
}

/// Two signed elements side by side as one operand, 128 being added to the low one.
fn packed([low, high]: [Wire<'_>; 2]) -> Wire<'_> {
    let low = (!low.msb()).cat(low.trunc(ELEMENT_BITS - 1));
    high.sext(ACT_BITS - APART).cat(low.zext(APART))
}

/// A chain; gives its links' sums. `values` gives each place its own.
pub(super) fn chain<'m>(
    m: &'m Builder,
    name: &str,
    links: &[Link<'m>],
    values: impl Fn(u32) -> Option<Values<'m>>,
) -> Result<Vec<Wire<'m>>, RtlError> {
    let mut made: Vec<Instance<'m>> = Vec::new();
    for (place, link) in (QUAD - links.len() as u32..QUAD).zip(links) {
        // The block itself has two registers for the operands.
        let registers = if place == 0 { 1 } else { 2 };
        let values = values(place);
        let block = MacDsp { registers, chained: !made.is_empty(), values: values.is_some() };
        let dsp = m.instance(&format!("u_{name}_{place}"), &block)?;
        dsp.set("act_i", delayed(m, &format!("{name}_act_{place}"), packed(link.acts), lead(place))?);
        dsp.set("factor_i", link.factor);
        if let Some(before) = made.last() {
            dsp.set("cascade_i", before.get("cascade_o"));
        }
        if let Some(values) = values {
            dsp.set("weight_i", values.weight);
            dsp.set("axpy_i", values.axpy);
            dsp.set("from_i", values.from);
            dsp.set("sum_i", values.sum);
        }
        made.push(dsp);
    }
    Ok(made.iter().map(|dsp| dsp.get("p_o")).collect())
}

/// Both columns' sums in that of a chain of dot mode: the low one, which has a bias, is not negative.
pub(super) fn columns(sum: Wire<'_>) -> [Wire<'_>; 2] {
    [sum.trunc(APART), sum.slice(APART, APART)]
}
