//! Numbers that attention meets.

use fastcar_arch::num::mx::E8M0;
use fastcar_tests::rtl::Random;

/// What a key and a query come to.
#[derive(Clone, Copy, Debug)]
pub struct Sum {
    /// The accumulator.
    pub acc: i64,
    /// Largest scale bytes of the key and of the query.
    pub key: E8M0,
    pub query: E8M0,
}

/// The largest accumulator.
const MOST: i64 = 1 << 46;

/// A scale factor: that of a head mostly, anything sometimes.
pub fn scale(random: &mut Random) -> f32 {
    match random.below(6) {
        0 => f32::from_bits(random.word() as u32),
        1 => [0.0, -0.0, 1.0, -1.0, f32::INFINITY, f32::NAN, f32::MIN_POSITIVE][random.below(7) as usize],
        _ => std::f32::consts::LOG2_E / [5.656_854, 8.0, 11.313_709, 16.0][random.below(4) as usize],
    }
}

impl Sum {
    /// A sum that often gives a moderate score under a factor, one on a tie or at an end, now and then anything.
    pub fn any(random: &mut Random, factor: f32) -> Self {
        let wide = 1 + random.below(46) as u32;
        let mut acc = random.bits(wide + 1).to_i64().unwrap().clamp(-MOST, MOST);
        if random.chance(20) {
            // Few bits, so that scores fall on ties.
            acc = (random.below(64) as i64 - 32) << random.below(40);
        }
        // base - 254 - 12 - 16 + log2(acc) + log2(factor) near what a score of a few units has.
        let exponent = 64 - acc.unsigned_abs().leading_zeros() as i64;
        let of_factor = i64::from(factor.to_bits() >> 23 & 0xFF) - 127;
        let target = random.below(40) as i64 - 18;
        let base = (282 - exponent - of_factor + target).clamp(0, 508);
        let (key, query) = match random.below(40) {
            0 => (random.word() as u8, random.word() as u8),
            1 => (255, random.word() as u8),
            2 => (random.word() as u8, 255),
            _ => {
                let key = (base / 2 + random.below(20) as i64 - 10).clamp((base - 254).max(0), base.min(254));
                (key as u8, (base - key) as u8)
            }
        };
        Self { acc, key: E8M0(key), query: E8M0(query) }
    }
}
