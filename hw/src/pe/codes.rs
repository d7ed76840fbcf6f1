//! Products of E2M1 codes in look-up tables.

use super::chain::{CHAINS, delayed};
use crate::rtl::{Builder, RtlError, Wire};

/// Bits of an activation shifted by up to 3.
const SHIFTED_BITS: u32 = 11;
/// Bits of a product's magnitude times its activation: at most 12 x 128.
const PRODUCT_BITS: u32 = SHIFTED_BITS + 1;

/// What a code does to the activations that it meets: they are shifted, some by half as much again, and turned over.
#[derive(Clone, Copy)]
pub(super) struct Code<'m> {
    exponent: Wire<'m>,
    some: Wire<'m>,
    half: Wire<'m>,
    /// Two cycles later.
    minus: Wire<'m>,
}

impl<'m> Code<'m> {
    pub(super) fn new(m: &'m Builder, name: &str, code: Wire<'m>) -> Self {
        let exponent = code.slice(1, 2);
        let sign = m.register(&format!("{name}_sign"), code.bit(3));
        Self {
            exponent,
            some: code.trunc(3).any(),
            half: code.bit(0) & exponent.any(),
            minus: m.register(&format!("{name}_minus"), sign),
        }
    }

    /// The magnitude in half units times the activation, in two cycles: 0, 1, 2, 4 or 8 times, and half as much again for
    /// 3, 6 and 12.
    fn magnitude(&self, m: &'m Builder, name: &str, act: Wire<'m>) -> Wire<'m> {
        let act = act.sext(SHIFTED_BITS);
        let shifted = self.exponent.choose(&[0, 1, 2, 3].map(|bits| act << bits));
        // Two registers of one value, each with a reset of its own, leave the adder nothing to choose.
        let zero = m.lit(SHIFTED_BITS, 0);
        let [whole, half] = [("whole", self.some), ("half", self.half)].map(|(what, is)| {
            m.register(&format!("{name}_{what}"), is.mux(shifted, zero)).sext(PRODUCT_BITS)
        });
        let product = whole + half.sar(1);
        m.register(&format!("{name}_product"), product)
    }
}

/// A number and whether it is to be turned over.
type Signed<'m> = (Wire<'m>, Wire<'m>);

/// The sum of the products in half units, and whether it is to be turned over: after as many cycles as chains take, and one
/// more.
pub(super) fn code_total<'m>(
    m: &'m Builder,
    name: &str,
    codes: &[(Code<'m>, Wire<'m>)],
) -> Result<Signed<'m>, RtlError> {
    let product = |(n, (code, act)): (u32, &(Code<'m>, Wire<'m>))| {
        (code.magnitude(m, &format!("{name}_{n}"), *act), code.minus)
    };
    let mut level: Vec<_> = (0..).zip(codes).map(product).collect();
    let mut cycles = 2;
    while level.len() > 1 {
        cycles += 1;
        let register = |(n, pair): (u32, &[Signed<'m>])| {
            let (sum, minus) = relative_sum(pair);
            let of = |what: &str, wire| m.register(&format!("{name}_{what}_{cycles}_{n}"), wire);
            (of("sum", sum), of("minus", minus))
        };
        level = (0..).zip(level.chunks(2)).map(register).collect();
    }
    let late = |what: &str, wire| delayed(m, &format!("{name}_{what}"), wire, CHAINS + 1 - cycles);
    Ok((late("total", level[0].0)?, late("turned", level[0].1)?))
}

/// The sum of two numbers as the first one's sign has it, which goes on: only the other one has to be turned.
fn relative_sum<'m>(pair: &[Signed<'m>]) -> Signed<'m> {
    match pair {
        [(a, minus), (b, other)] => (plus_or_minus(*a, *b, *minus ^ *other), *minus),
        _ => (pair[0].0.sext(pair[0].0.width() + 1), pair[0].1),
    }
}

/// The sum of two numbers, or their difference, without loss: a carry chain that begins one bit lower.
pub(super) fn plus_or_minus<'m>(a: Wire<'m>, b: Wire<'m>, minus: Wire<'m>) -> Wire<'m> {
    let width = a.width() + 1;
    let one = minus.builder().lit(1, 1);
    (a.sext(width).cat(one) + (b.sext(width) ^ minus.repeat(width)).cat(minus)).slice(1, width)
}
