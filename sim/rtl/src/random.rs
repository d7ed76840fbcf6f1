//! Random stimulus.

use fastcar_hw::rtl::Bits;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// Random numbers of a seed, which is printed when the test fails. `RTL_SEED` gives another one.
pub struct Random {
    source: ChaCha8Rng,
    seed: u64,
}

impl Random {
    /// Numbers of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let given = std::env::var("RTL_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or(seed);
        Self { source: ChaCha8Rng::seed_from_u64(seed), seed }
    }

    /// Any 64 bits.
    pub fn word(&mut self) -> u64 {
        self.source.next_u64()
    }

    /// A number below `limit`, which is at least one.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.word() % limit
    }

    /// Whether something of a chance of `percent` is the case.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A value of a width: often an extreme one, or one with few ones or few zeros.
    pub fn bits(&mut self, width: u32) -> Bits {
        let words: Vec<u64> = (0..width.div_ceil(64)).map(|_| self.word()).collect();
        let any = Bits::from_limbs(width, &words);
        let one = Bits::from_u64(width, 1);
        match self.below(10) {
            0 => Bits::zero(width),
            1 => Bits::ones(width),
            2 => one.shl(u64::from(width) - 1),
            3 => one.shl(u64::from(width) - 1).not(),
            4 => one.shl(self.below(u64::from(width))),
            5 => one.shl(self.below(u64::from(width))).not(),
            6 => any.sar(self.below(u64::from(width))),
            _ => any,
        }
    }
}

impl Drop for Random {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("random numbers of seed {}; RTL_SEED={} repeats them", self.seed, self.seed);
        }
    }
}
