//! Bursts: how a transfer is cut, and when the beats of a read arrive.

use super::FaultKind;
use crate::dram::{Cycle, Tick};

/// One AXI burst: whole beats, within one aligned block of the memory's burst length.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Burst {
    /// Address in the port's own region.
    pub addr: u64,
    /// Length.
    pub bytes: u32,
}

/// The bursts of a transfer, in order.
#[derive(Clone, Debug)]
pub struct Bursts {
    pub(super) address: u64,
    pub(super) end: u64,
    pub(super) block: u64,
}

impl Iterator for Bursts {
    type Item = Burst;

    #[inline]
    fn next(&mut self) -> Option<Burst> {
        if self.address == self.end {
            return None;
        }
        let border = (self.address | (self.block - 1)) + 1;
        let (address, end) = (self.address, border.min(self.end));
        self.address = end;
        Some(Burst { addr: address, bytes: (end - address) as u32 })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let blocks = self.end.div_ceil(self.block) - self.address / self.block;
        let count = if self.address == self.end { 0 } else { blocks as usize };
        (count, Some(count))
    }
}

impl ExactSizeIterator for Bursts {}

/// The data beats of a read, one a cycle at most.
///
/// Beat `i` can be sent when the DRAM has delivered it, `ready + i * step`, and one cycle after the beat before it: in
/// cycle `max(start + i, ceil(ready + i * step))`. The closed form is exact: with a step of up to a cycle the first
/// beat decides all that follow, with a longer one each beat waits for the DRAM alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Arrival {
    pub(super) start: Cycle,
    pub(super) ready: Tick,
    pub(super) step: Tick,
    pub(super) beats: u32,
    pub(super) fault: Option<FaultKind>,
}

impl Arrival {
    /// Cycle of the first beat.
    #[must_use]
    #[inline]
    pub fn start(&self) -> Cycle {
        self.start
    }

    /// Cycle of a beat, counted from 0. It grows with `index`, by one at least.
    #[must_use]
    #[inline]
    pub fn beat(&self, index: u32) -> Cycle {
        let delivered = self.ready + self.step.times(index.into());
        (self.start + Cycle::from(index)).max(delivered.ceil_cycle())
    }

    /// Cycle of the last beat.
    #[must_use]
    #[inline]
    pub fn last(&self) -> Cycle {
        self.beat(self.beats - 1)
    }

    /// Number of beats.
    #[must_use]
    #[inline]
    pub fn beats(&self) -> u32 {
        self.beats
    }

    /// Why the read has failed, if it has: its beats come all the same, with an error response.
    #[must_use]
    #[inline]
    pub fn fault(&self) -> Option<FaultKind> {
        self.fault
    }
}

/// What becomes of a write.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Written {
    /// Cycle of the last data beat; the next write of this port has its first one later.
    pub last_beat: Cycle,
    /// Cycle of the response.
    pub response: Cycle,
    /// Why the write has failed, if it has.
    pub fault: Option<FaultKind>,
}
