//! Values of any width.

use smallvec::{SmallVec, smallvec};
use std::cmp::Ordering;
use std::fmt;

const LIMB: u32 = u64::BITS;

/// Bits of a signal: an unsigned number below `2^width`. Arithmetic wraps to the width, as in hardware.
///
/// Operations of two values take them as equally wide; [`Wire`](super::Wire) checks that when a circuit is built.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Bits {
    width: u32,
    // Little endian; bits from the width on are zero.
    limbs: SmallVec<[u64; 2]>,
}

impl Bits {
    /// All bits zero. A width of 0 counts as 1.
    #[must_use]
    pub fn zero(width: u32) -> Self {
        let width = width.max(1);
        Self { width, limbs: smallvec![0; width.div_ceil(LIMB) as usize] }
    }

    /// All bits one.
    #[must_use]
    pub fn ones(width: u32) -> Self {
        Self::zero(width).not()
    }

    /// One bit.
    #[must_use]
    pub fn bit_of(value: bool) -> Self {
        Self::from_u64(1, u64::from(value))
    }

    /// The low `width` bits of a number.
    #[must_use]
    pub fn from_u64(width: u32, value: u64) -> Self {
        Self::from_limbs(width, &[value])
    }

    /// The low `width` bits of a number.
    #[must_use]
    pub fn from_u128(width: u32, value: u128) -> Self {
        Self::from_limbs(width, &[value as u64, (value >> LIMB) as u64])
    }

    /// The low `width` bits of a number in two's complement.
    #[must_use]
    pub fn from_i64(width: u32, value: i64) -> Self {
        Self::from_u64(LIMB, value as u64).sext(width.max(LIMB)).slice(0, width)
    }

    /// The low `width` bits of little-endian 64-bit words; missing words are zero.
    #[must_use]
    pub fn from_limbs(width: u32, words: &[u64]) -> Self {
        let mut out = Self::zero(width);
        for (limb, word) in out.limbs.iter_mut().zip(words) {
            *limb = *word;
        }
        out.masked()
    }

    /// The low `width` bits of little-endian bytes; missing bytes are zero.
    #[must_use]
    pub fn from_bytes(width: u32, bytes: &[u8]) -> Self {
        let words: Vec<u64> = bytes
            .chunks(8)
            .map(|chunk| chunk.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)))
            .collect();
        Self::from_limbs(width, &words)
    }

    /// Width in bits.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Little-endian 64-bit words.
    #[must_use]
    pub fn limbs(&self) -> &[u64] {
        &self.limbs
    }

    /// Little-endian bytes, as many as the width needs.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.limbs.iter().flat_map(|limb| limb.to_le_bytes()).collect();
        bytes.truncate(self.width.div_ceil(8) as usize);
        bytes
    }

    /// The number, if it is below `2^64`.
    #[must_use]
    pub fn to_u64(&self) -> Option<u64> {
        self.limbs[1..].iter().all(|&limb| limb == 0).then_some(self.limbs[0])
    }

    /// The number in two's complement, if 64 bits hold it.
    #[must_use]
    pub fn to_i64(&self) -> Option<i64> {
        let wide = self.sext(self.width.max(LIMB));
        let low = wide.limbs[0] as i64;
        let fill = if low < 0 { Self::ones(wide.width) } else { Self::zero(wide.width) };
        (wide.width == LIMB || wide.slice(LIMB, wide.width - LIMB) == fill.slice(LIMB, wide.width - LIMB))
            .then_some(low)
    }

    /// One bit; bits beyond the width are zero.
    #[must_use]
    pub fn bit(&self, index: u32) -> bool {
        index < self.width && self.limbs[(index / LIMB) as usize] >> (index % LIMB) & 1 == 1
    }

    /// Whether any bit is set.
    #[must_use]
    pub fn any(&self) -> bool {
        self.limbs.iter().any(|&limb| limb != 0)
    }

    /// Whether all bits are set.
    #[must_use]
    pub fn all(&self) -> bool {
        *self == Self::ones(self.width)
    }

    /// Whether an odd number of bits is set.
    #[must_use]
    pub fn parity(&self) -> bool {
        self.limbs.iter().fold(0, |acc, limb| acc ^ limb).count_ones() % 2 == 1
    }

    /// Every bit inverted.
    #[must_use]
    pub fn not(&self) -> Self {
        let limbs = self.limbs.iter().map(|limb| !limb).collect();
        Self { width: self.width, limbs }.masked()
    }

    fn zip(&self, other: &Self, f: impl Fn(u64, u64) -> u64) -> Self {
        let limbs = self.limbs.iter().zip(&other.limbs).map(|(&a, &b)| f(a, b)).collect();
        Self { width: self.width, limbs }.masked()
    }

    /// Bitwise and.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    /// Bitwise or.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    /// Bitwise exclusive or.
    #[must_use]
    pub fn xor(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a ^ b)
    }

    /// Sum modulo `2^width`.
    #[must_use]
    pub fn add(&self, other: &Self) -> Self {
        self.add_carry(other, false)
    }

    /// Difference modulo `2^width`.
    #[must_use]
    pub fn sub(&self, other: &Self) -> Self {
        self.add_carry(&other.not(), true)
    }

    fn add_carry(&self, other: &Self, carry: bool) -> Self {
        let mut carry = carry;
        let limbs = self
            .limbs
            .iter()
            .zip(&other.limbs)
            .map(|(&a, &b)| {
                let (sum, first) = a.overflowing_add(b);
                let (sum, second) = sum.overflowing_add(u64::from(carry));
                carry = first | second;
                sum
            })
            .collect();
        Self { width: self.width, limbs }.masked()
    }

    /// Product of unsigned numbers, as wide as both together.
    #[must_use]
    pub fn mul(&self, other: &Self) -> Self {
        let mut out = Self::zero(self.width + other.width);
        for (i, &a) in self.limbs.iter().enumerate() {
            let mut carry = 0u128;
            for (j, &b) in other.limbs.iter().enumerate() {
                let Some(limb) = out.limbs.get_mut(i + j) else { break };
                carry += u128::from(a) * u128::from(b) + u128::from(*limb);
                *limb = carry as u64;
                carry >>= LIMB;
            }
            if let Some(limb) = out.limbs.get_mut(i + other.limbs.len()) {
                *limb = carry as u64;
            }
        }
        out.masked()
    }

    /// Product of signed numbers, as wide as both together.
    #[must_use]
    pub fn mul_signed(&self, other: &Self) -> Self {
        let width = self.width + other.width;
        self.sext(width).mul(&other.sext(width)).slice(0, width)
    }

    /// Shifted left by `count`, zeros coming in.
    #[must_use]
    pub fn shl(&self, count: u64) -> Self {
        let mut out = Self::zero(self.width);
        if count < u64::from(self.width) {
            out.put(count as u32, self);
        }
        out.masked()
    }

    /// Shifted right by `count`, zeros coming in.
    #[must_use]
    pub fn shr(&self, count: u64) -> Self {
        if count >= u64::from(self.width) {
            return Self::zero(self.width);
        }
        self.slice(count as u32, self.width)
    }

    /// Shifted right by `count`, copies of the sign coming in.
    #[must_use]
    pub fn sar(&self, count: u64) -> Self {
        if self.bit(self.width - 1) { self.not().shr(count).not() } else { self.shr(count) }
    }

    /// Order of unsigned numbers.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Ordering {
        self.limbs.iter().rev().cmp(other.limbs.iter().rev())
    }

    /// Order of signed numbers.
    #[must_use]
    pub fn compare_signed(&self, other: &Self) -> Ordering {
        let sign = |bits: &Self| bits.bit(bits.width - 1);
        sign(other).cmp(&sign(self)).then(self.compare(other))
    }

    /// `width` bits from bit `low` on; bits beyond the value's own are zero.
    #[must_use]
    pub fn slice(&self, low: u32, width: u32) -> Self {
        let mut out = Self::zero(width);
        let (words, shift) = ((low / LIMB) as usize, low % LIMB);
        for (index, limb) in out.limbs.iter_mut().enumerate() {
            let word = |at: usize| self.limbs.get(words + at).copied().unwrap_or(0);
            *limb = word(index) >> shift;
            if shift > 0 {
                *limb |= word(index + 1) << (LIMB - shift);
            }
        }
        out.masked()
    }

    /// The same unsigned number, wider.
    #[must_use]
    pub fn zext(&self, width: u32) -> Self {
        self.slice(0, width)
    }

    /// The same signed number, wider.
    #[must_use]
    pub fn sext(&self, width: u32) -> Self {
        let wide = self.zext(width);
        if width <= self.width || !self.bit(self.width - 1) {
            return wide;
        }
        wide.or(&Self::ones(width).xor(&Self::ones(self.width).zext(width)))
    }

    /// Values side by side, the first one in the high bits.
    #[must_use]
    pub fn concat(parts: &[Self]) -> Self {
        let mut out = Self::zero(parts.iter().map(Self::width).sum());
        let mut low = 0;
        for part in parts.iter().rev() {
            out.put(low, part);
            low += part.width;
        }
        out
    }

    // Ors a value in at bit `low`; what lies beyond the width is lost.
    fn put(&mut self, low: u32, part: &Self) {
        let (words, shift) = ((low / LIMB) as usize, low % LIMB);
        for (index, &limb) in part.limbs.iter().enumerate() {
            if let Some(word) = self.limbs.get_mut(words + index) {
                *word |= limb << shift;
            }
            if shift > 0
                && let Some(word) = self.limbs.get_mut(words + index + 1)
            {
                *word |= limb >> (LIMB - shift);
            }
        }
    }

    fn masked(mut self) -> Self {
        let used = self.width % LIMB;
        if used > 0
            && let Some(last) = self.limbs.last_mut()
        {
            *last &= (1 << used) - 1;
        }
        self
    }
}

/// Verilog's notation: `8'hff`.
impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}'h", self.width)?;
        let top = self.limbs.iter().rposition(|&limb| limb != 0).unwrap_or(0);
        write!(f, "{:x}", self.limbs[top])?;
        self.limbs[..top].iter().rev().try_for_each(|limb| write!(f, "{limb:016x}"))
    }
}

impl fmt::Debug for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
