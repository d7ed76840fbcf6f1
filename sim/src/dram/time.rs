//! Time inside the memory.

use std::ops::{Add, Sub};

/// Kernel clock cycles since the start of the simulation.
pub type Cycle = u64;

/// Memory time in 1/65536 of a kernel clock cycle, since the start of the simulation (or a span of it).
///
/// The clocks of kernel and memory are not related, so an event of the memory falls between the kernel's clock edges;
/// what the kernel sees of it, it sees at the next edge, [`Tick::ceil_cycle`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Tick(pub u64);

impl Tick {
    /// Ticks in a kernel clock cycle.
    pub const PER_CYCLE: u64 = 1 << 16;

    /// The start of a cycle.
    #[must_use]
    #[inline]
    pub const fn from_cycle(cycle: Cycle) -> Self {
        Self(cycle * Self::PER_CYCLE)
    }

    /// The first cycle that starts at this time or later.
    #[must_use]
    #[inline]
    pub const fn ceil_cycle(self) -> Cycle {
        self.0.div_ceil(Self::PER_CYCLE)
    }

    /// `count` times this span.
    pub(crate) const fn times(self, count: u64) -> Self {
        Self(self.0 * count)
    }

    /// The time by a span earlier, or the start of the simulation.
    pub(crate) const fn before(self, span: Self) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl Add for Tick {
    type Output = Self;

    #[inline]
    fn add(self, span: Self) -> Self {
        Self(self.0 + span.0)
    }
}

impl Sub for Tick {
    type Output = Self;

    #[inline]
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}
