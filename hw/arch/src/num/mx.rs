//! The block formats of OCP Microscaling (MX) v1.0: 32 elements under one power-of-two scale.
//!
//! Conversion to a block flushes subnormals first. A NaN or an infinity anywhere makes the whole block NaN.

use super::fp::{CANONICAL_NAN, flush, max_exp_field, pow2_pair, round_small};

/// Elements in a block.
pub const BLOCK: usize = 32;

/// Exponent of the largest power of two that E2M1 holds (4 = 2^2).
const FP4_EMAX: u8 = 2;

/// A block scale: 2^(b - 127), and NaN for 255.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct E8M0(pub u8);

impl E8M0 {
    /// The NaN scale.
    pub const NAN: E8M0 = E8M0(0xFF);
    /// 2^0.
    pub const ONE: E8M0 = E8M0(127);

    /// Whether this is the NaN scale.
    #[inline]
    #[must_use]
    pub const fn is_nan(self) -> bool {
        self.0 == 0xFF
    }

    /// The value, exact in binary64; NaN for 255.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        if self.is_nan() { f64::NAN } else { f64::from_bits((u64::from(self.0) + 1023 - 127) << 52) }
    }

    /// The value, exact in binary32. Byte 0 is 2^-127, which is a *subnormal* binary32 number: it is returned as such
    /// and not flushed, so that arithmetic of [`fp`](super::fp) takes it for zero. Use [`to_f64`](Self::to_f64) to
    /// compute with it.
    #[must_use]
    pub const fn to_f32(self) -> f32 {
        match self.0 {
            0xFF => CANONICAL_NAN,
            0 => f32::from_bits(0x0040_0000),
            b => f32::from_bits((b as u32) << 23),
        }
    }

    /// The larger byte; NaN where either is NaN, since its byte is the largest.
    #[inline]
    #[must_use]
    pub const fn max(self, other: E8M0) -> E8M0 {
        if other.0 > self.0 { other } else { self }
    }

    /// The largest byte of all, as [`max`](Self::max); byte 0 of none.
    #[must_use]
    pub fn max_of(scales: impl IntoIterator<Item = E8M0>) -> E8M0 {
        scales.into_iter().fold(E8M0(0), E8M0::max)
    }
}

/// An MXINT8 block: element i is `elems[i] / 64 * scale`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(C)]
pub struct Int8Block {
    /// The scale of all elements.
    pub scale: E8M0,
    /// Elements in units of 1/64. Quantisation makes -127 to 127; -128 is read as -2.0.
    pub elems: [i8; BLOCK],
}

/// An MXFP4 block: element i is the E2M1 value of its code times `scale`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(C)]
pub struct Fp4Block {
    /// The scale of all elements.
    pub scale: E8M0,
    /// E2M1 codes: element 2i in the low nibble of byte i, element 2i + 1 in the high one.
    pub codes: [u8; BLOCK / 2],
}

impl Int8Block {
    /// The block of NaN.
    pub const NAN: Int8Block = Int8Block { scale: E8M0::NAN, elems: [0; BLOCK] };

    /// The elements in binary32: exact, save that values below 2^-126 are flushed and -128 under the largest scale
    /// is -infinity.
    #[must_use]
    pub fn dequantise(&self) -> [f32; BLOCK] {
        scaled_ints(&self.elems, self.scale, -6)
    }

    /// The elements, exactly.
    #[must_use]
    pub fn dequantise_f64(&self) -> [f64; BLOCK] {
        let unit = self.scale.to_f64() / 64.0;
        self.elems.map(|e| f64::from(e) * unit)
    }
}

impl Fp4Block {
    /// The block of NaN.
    pub const NAN: Fp4Block = Fp4Block { scale: E8M0::NAN, codes: [0; BLOCK / 2] };

    /// The code of element `i` (of 32).
    #[inline]
    #[must_use]
    pub const fn code(&self, i: usize) -> u8 {
        (self.codes[i / 2] >> (4 * (i % 2))) & 0xF
    }

    /// The elements in half units: twice their E2M1 value.
    #[inline]
    #[must_use]
    pub fn half_units(&self) -> [i8; BLOCK] {
        half_units(&self.codes)
    }

    /// The elements in binary32: exact, save that values below 2^-126 are flushed and values of 2^128 and more are
    /// infinite.
    #[must_use]
    pub fn dequantise(&self) -> [f32; BLOCK] {
        scaled_ints(&self.half_units(), self.scale, -1)
    }

    /// The elements, exactly.
    #[must_use]
    pub fn dequantise_f64(&self) -> [f64; BLOCK] {
        let unit = self.scale.to_f64() / 2.0;
        let mut out = [0.0; BLOCK];
        for (value, h) in out.iter_mut().zip(self.half_units()) {
            *value = f64::from(h) * unit;
        }
        out
    }
}

/// `v * 2^unit * scale` for every element.
fn scaled_ints(v: &[i8; BLOCK], scale: E8M0, unit: i32) -> [f32; BLOCK] {
    if scale.is_nan() {
        return [CANONICAL_NAN; BLOCK];
    }
    let (p, q) = pow2_pair(i32::from(scale.0) - 127 + unit);
    v.map(|e| flush(f32::from(e) * p * q))
}

/// Twice the value of an E2M1 code (its low four bits): 0, 1, 2, 3, 4, 6, 8, 12, negative where bit 3 is set; both
/// zeros are 0.
#[inline]
#[must_use]
pub const fn e2m1_to_half_units(code: u8) -> i8 {
    let c = (code & 7) as i8;
    // 0 to 4 stand for themselves; above, the step is 2, and 4 for the last.
    let magnitude = c + if c > 4 { c - 4 } else { 0 } + if c == 7 { 2 } else { 0 };
    if code & 8 == 0 { magnitude } else { -magnitude }
}

/// All elements of a block of codes in half units.
#[inline]
pub(super) fn half_units(codes: &[u8; BLOCK / 2]) -> [i8; BLOCK] {
    let mut out = [0; BLOCK];
    for (pair, &byte) in out.as_chunks_mut::<2>().0.iter_mut().zip(codes) {
        *pair = [e2m1_to_half_units(byte), e2m1_to_half_units(byte >> 4)];
    }
    out
}

/// To MXINT8: the scale byte is the largest biased exponent field; see [`quantise_int8_with_scale`] for the elements.
#[must_use]
pub fn quantise_int8(x: &[f32; BLOCK]) -> Int8Block {
    int8_block(x, E8M0(max_exp_field(x)))
}

/// To MXINT8 under a given scale: `x * 64 / scale` to nearest even, saturated to -127..=127. The block is NaN where
/// the scale or an input is NaN, or an input infinite.
#[must_use]
pub fn quantise_int8_with_scale(x: &[f32; BLOCK], scale: E8M0) -> Int8Block {
    int8_block(x, if max_exp_field(x) == 0xFF { E8M0::NAN } else { scale })
}

/// Finite inputs, or the NaN scale.
fn int8_block(x: &[f32; BLOCK], scale: E8M0) -> Int8Block {
    if scale.is_nan() {
        return Int8Block::NAN;
    }
    let (p, q) = pow2_pair(6 + 127 - i32::from(scale.0));
    // Saturating before rounding is the same as after, because the limits are integers.
    let mut elems = [0; BLOCK];
    for (elem, v) in elems.iter_mut().zip(x) {
        *elem = round_small(saturate(flush(*v) * p * q, 127.0)) as i8;
    }
    Int8Block { scale, elems }
}

/// `x` within +-`limit`, as two selects that vector units have.
#[inline]
fn saturate(x: f32, limit: f32) -> f32 {
    let x = if x < limit { x } else { limit };
    if x > -limit { x } else { -limit }
}

/// To MXFP4: the scale byte is the largest biased exponent field less 2, and at least 0; see
/// [`quantise_fp4_with_scale`] for the elements.
#[must_use]
pub fn quantise_fp4(x: &[f32; BLOCK]) -> Fp4Block {
    let field = max_exp_field(x);
    if field == 0xFF { Fp4Block::NAN } else { fp4_block(x, field.saturating_sub(FP4_EMAX)) }
}

/// To MXFP4 under a given scale: `x / scale` to the nearest E2M1 value, ties to the even code, saturated to +-6. A
/// result of zero has no sign. The block is NaN where the scale or an input is NaN, or an input infinite.
#[must_use]
pub fn quantise_fp4_with_scale(x: &[f32; BLOCK], scale: E8M0) -> Fp4Block {
    if scale.is_nan() || max_exp_field(x) == 0xFF { Fp4Block::NAN } else { fp4_block(x, scale.0) }
}

/// Finite inputs under a scale that is not NaN.
fn fp4_block(x: &[f32; BLOCK], scale: u8) -> Fp4Block {
    // Limit by limit over the whole block, which vector units can do, the more at a time the narrower the numbers are.
    let mut magnitudes = [0i16; BLOCK];
    for (narrow, v) in magnitudes.iter_mut().zip(x) {
        *narrow = magnitude(*v);
    }
    let mut nibbles = [0i16; BLOCK];
    for limit in fp4_limits(scale) {
        for (nibble, magnitude) in nibbles.iter_mut().zip(&magnitudes) {
            *nibble += i16::from(*magnitude > limit);
        }
    }
    for (nibble, v) in nibbles.iter_mut().zip(x) {
        let sign = (v.to_bits() >> 28 & 8) as i16;
        *nibble |= if *nibble == 0 { 0 } else { sign };
    }
    let mut codes = [0; BLOCK / 2];
    for (byte, pair) in codes.iter_mut().zip(nibbles.as_chunks::<2>().0) {
        *byte = (pair[0] | pair[1] << 4) as u8;
    }
    Fp4Block { scale: E8M0(scale), codes }
}

/// For each code from 1 to 7 the largest [`magnitude`] that still rounds below it.
///
/// The bits of a normal number grow with it by one step per unit in the last place and by 2^23 per doubling, so the
/// scale moves a limit by a multiple of 2^23, also to exponents that binary32 has not.
fn fp4_limits(scale: u8) -> [i16; 7] {
    // The midpoints 0.25, 0.75, 1.25, 1.75, 2.5, 3.5 and 5. A tie goes to the even code: below code 1 the midpoint
    // itself still rounds down, below code 2 it rounds up, and so on by turns.
    const MIDPOINTS: [f32; 7] = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0];
    let shift = (i64::from(scale) - 127) << 23;
    std::array::from_fn(|i| {
        let bits = i64::from(MIDPOINTS[i].to_bits()) + shift;
        let step = (bits >> 16) * 2 - (i % 2) as i64;
        centred(step.clamp(LARGEST_ZERO.into(), u16::MAX.into()) as u16)
    })
}

/// The largest step of an element that counts as zero: its exponent field is 0.
const LARGEST_ZERO: u16 = 0xFF;

/// A finite element without its sign, in steps: the high half of its bits, and whether anything is behind. No limit has
/// anything there.
#[inline]
fn magnitude(x: f32) -> i16 {
    let bits = x.to_bits();
    centred((bits >> 15) as u16 & !1 | u16::from(bits & 0xFFFF != 0))
}

/// In the order of signed numbers, which vector units compare.
#[inline]
fn centred(step: u16) -> i16 {
    (step ^ 0x8000) as i16
}

/// Splits `x` into blocks, the last one padded with zeros.
fn blocks(x: &[f32]) -> impl Iterator<Item = [f32; BLOCK]> {
    let (whole, rest) = x.as_chunks::<BLOCK>();
    let padded = (!rest.is_empty()).then(|| std::array::from_fn(|i| rest.get(i).copied().unwrap_or(0.0)));
    whole.iter().copied().chain(padded)
}

/// A row to MXINT8, the last block padded with zeros.
#[must_use]
pub fn quantise_int8_row(x: &[f32]) -> Vec<Int8Block> {
    blocks(x).map(|b| quantise_int8(&b)).collect()
}

/// A row to MXFP4, the last block padded with zeros.
#[must_use]
pub fn quantise_fp4_row(x: &[f32]) -> Vec<Fp4Block> {
    blocks(x).map(|b| quantise_fp4(&b)).collect()
}
