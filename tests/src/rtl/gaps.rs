//! Back-pressure.

use fastcar_rtl::Random;

/// When a side of a stream is willing: runs of yes and no of random length, so that both long stalls and long
/// bursts come up.
pub struct Gaps {
    willing: bool,
    left: u64,
    percent: u64,
}

impl Gaps {
    /// Willing in about `percent` of the cycles.
    #[must_use]
    pub fn new(percent: u64) -> Self {
        Self { willing: false, left: 0, percent }
    }

    /// Whether it is willing in this cycle.
    pub fn next(&mut self, random: &mut Random) -> bool {
        if self.left == 0 {
            self.willing = random.chance(self.percent);
            self.left = if random.chance(70) { 1 } else { 1 + random.below(20) };
        }
        self.left -= 1;
        self.willing
    }
}
