//! exp2, reciprocal, reciprocal square root, sigmoid and the normal distribution function, by table.
//!
//! One mechanism serves all: [`FuncTable`], quadratic polynomials evaluated in integers. The tables come from integer
//! arithmetic alone, so they are the same on every machine. `docs/numerics.md` lists the error bounds; a test holds
//! them over every table input.

mod exact;
mod table;

pub use table::{C0_BITS, C1_BITS, C2_BITS, Entry, FuncTable, GUARD_BITS, OUT_FRAC_BITS, WORD_BITS};

use super::fp::{CANONICAL_NAN, flush, mul, round_low32, scaled_int_to_f32};
use std::sync::OnceLock;

/// Fraction bits of the table input of [`sigmoid`] and [`phi`].
pub const ARG_FRAC_BITS: u32 = 20;

/// 1 in the units of a table's result.
const ONE: u32 = 1 << OUT_FRAC_BITS;

macro_rules! table {
    ($(#[$m:meta])* $getter:ident, $name:ident, $index_bits:literal, $offset_bits:literal) => {
        $(#[$m])*
        #[inline]
        #[must_use]
        pub fn $getter() -> &'static FuncTable {
            static TABLE: OnceLock<FuncTable> = OnceLock::new();
            TABLE.get_or_init(|| FuncTable::build(stringify!($name), $index_bits, $offset_bits, exact::$name))
        }
    };
}

table!(
    /// 2^-(x / 2^16); input of 16 bits.
    exp2_neg_table, exp2_neg, 6, 10
);
table!(
    /// 1 / (1 + x / 2^23); input of 23 bits.
    recip_table, recip, 8, 15
);
table!(
    /// 1 / sqrt(1 + m / 2^23), and with bit 23 set 1 / sqrt(2 + 2 m / 2^23), m being the low 23 bits.
    rsqrt_table, rsqrt, 8, 16
);
table!(
    /// Sigmoid of x / 2^20, on [0, 16); input of 24 bits.
    sigmoid_table, sigmoid, 9, 15
);
table!(
    /// Normal distribution function of x / 2^20, on [0, 8); input of 23 bits.
    phi_table, phi, 9, 14
);

/// All tables, in a fixed order.
#[must_use]
pub fn tables() -> [&'static FuncTable; 5] {
    [exp2_neg_table(), recip_table(), rsqrt_table(), sigmoid_table(), phi_table()]
}

/// `2^-(f / 2^16)` in units of 2^-24: above 2^23, at most 2^24.
#[inline]
#[must_use]
pub fn exp2_neg(f: u16) -> u32 {
    exp2_neg_table().eval(u32::from(f))
}

/// `1 / x`. Zeros (subnormals too) give an infinity of their sign, infinities a zero of theirs.
#[inline]
#[must_use]
pub fn recip(x: f32) -> f32 {
    let bits = x.to_bits();
    let sign = bits & 0x8000_0000;
    let magnitude = match (bits >> 23 & 0xFF) as i32 {
        0xFF if x.is_nan() => return CANONICAL_NAN,
        0xFF => 0.0,
        0 => f32::INFINITY,
        field => {
            let y = recip_table().eval(bits & 0x7F_FFFF);
            scaled_int_to_f32(i64::from(y), 127 - field - OUT_FRAC_BITS as i32)
        }
    };
    f32::from_bits(magnitude.to_bits() | sign)
}

/// `1 / sqrt(x)`. Both zeros (subnormals too) give +infinity, +infinity gives +0, anything below zero NaN.
#[inline]
#[must_use]
pub fn rsqrt(x: f32) -> f32 {
    let x = flush(x);
    if x.is_nan() || x < 0.0 {
        return CANONICAL_NAN;
    }
    let bits = x.to_bits() & 0x7FFF_FFFF;
    match (bits >> 23) as i32 {
        0xFF => 0.0,
        0 => f32::INFINITY,
        field => {
            // An odd exponent leaves a factor of 2 with the significand.
            let exponent = field - 127;
            let odd = (exponent & 1) as u32;
            let y = rsqrt_table().eval(odd << 23 | (bits & 0x7F_FFFF));
            scaled_int_to_f32(i64::from(y), -(exponent >> 1) - OUT_FRAC_BITS as i32)
        }
    }
}

/// `1 / (1 + e^-x)`, to 24 fraction bits: 1 from 16 on, 0 from -16 down.
#[inline]
#[must_use]
pub fn sigmoid(x: f32) -> f32 {
    symmetric(x, sigmoid_table())
}

/// The normal distribution function, `(1 + erf(x / sqrt(2))) / 2`, to 24 fraction bits: 1 from 8 on, 0 from -8 down.
#[inline]
#[must_use]
pub fn phi(x: f32) -> f32 {
    symmetric(x, phi_table())
}

/// `f(x)` by the table for `f(|x|)`, where `f(-x) = 1 - f(x)` and `f` is 1 beyond the table.
#[inline]
fn symmetric(x: f32, table: &FuncTable) -> f32 {
    if x.is_nan() {
        return CANONICAL_NAN;
    }
    let limit = 1u32 << (table.index_bits + table.offset_bits);
    let scaled = f64::from(x.abs()) * f64::from(1u32 << ARG_FRAC_BITS);
    let arg = round_low32(scaled.min(f64::from(limit)));
    let y = if arg < limit { table.eval(arg) } else { ONE };
    let y = if x < 0.0 { ONE - y } else { y };
    scaled_int_to_f32(i64::from(y), -(OUT_FRAC_BITS as i32))
}

/// `x * sigmoid(x)`.
#[inline]
#[must_use]
pub fn silu(x: f32) -> f32 {
    mul(x, sigmoid(x))
}

/// `x * phi(x)`: GELU in its exact (erf) form.
#[inline]
#[must_use]
pub fn gelu(x: f32) -> f32 {
    mul(x, phi(x))
}
