//! What a run counts.

use fastcar_arch::regs::ERROR_CODES;
use fastcar_sim::Counters;
use std::ops::AddAssign;

/// What a run counted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counted {
    /// Cycles from start to done.
    pub cycles: u64,
    /// Commands dispatched.
    pub commands: u64,
    /// Cycles in which the command processor works, and in which it is held up.
    pub command: (u64, u64),
    /// Cycles in which beats occupy channel 0's cluster, and the rest of those in which a product is under way.
    pub mac: (u64, u64),
    /// Cycles in which the vector unit works, and the rest of those in which a command is in its queue.
    pub vector: (u64, u64),
    /// Passes of the array over matrices; blocks of these that came, and that did not.
    pub passes: (u64, u64, u64),
    /// Cycles in which gates settle, and the rest of those in which there are gates.
    pub gate: (u64, u64),
    /// Slots for which gates decided that they replay, and that they do not.
    pub decided: (u64, u64),
    /// Cycles in which channel 0 reads but brings no beat, and in which it writes but takes none.
    pub stalled: (u64, u64),
    /// Bytes read and written on each channel.
    pub bytes: Vec<(u64, u64)>,
    /// How it failed.
    pub error: Option<Failed>,
}

/// The error of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, thiserror::Error)]
#[error(
    "the run has ended with error {code} at command {command}, channel {channel}, response {response}: {}",
    self.meaning()
)]
pub struct Failed {
    /// Its code.
    pub code: u64,
    /// The command, or the last that had been dispatched.
    pub command: u64,
    /// The channel of a read or write.
    pub channel: u64,
    /// Its response.
    pub response: u64,
}

impl Failed {
    /// What its code means.
    #[must_use]
    pub fn meaning(&self) -> &'static str {
        let known = ERROR_CODES.iter().find(|known| u64::from(known.0) == self.code);
        known.map_or("no such error is known", |known| known.2)
    }
}

impl From<Counters> for Counted {
    /// What the simulator says of a run, as far as the hardware counts it.
    fn from(c: Counters) -> Self {
        Self {
            cycles: c.cycles,
            commands: c.commands,
            command: (c.units[0].busy, c.units[0].stalled),
            mac: (c.units[3].busy, c.units[3].stalled),
            vector: (c.units[4].busy, c.units[4].stalled),
            passes: (c.passes, c.blocks_streamed, c.blocks_skipped),
            gate: (c.units[5].busy, c.units[5].stalled),
            decided: (c.replays, c.computes),
            stalled: (c.units[1].stalled, c.units[2].stalled),
            bytes: c.read_bytes.into_iter().zip(c.write_bytes).collect(),
            error: None,
        }
    }
}

impl AddAssign<&Counted> for Counted {
    /// Runs one behind the other; the first error stays.
    fn add_assign(&mut self, other: &Self) {
        let add = |to: &mut (u64, u64), more: (u64, u64)| *to = (to.0 + more.0, to.1 + more.1);
        self.cycles += other.cycles;
        self.commands += other.commands;
        add(&mut self.command, other.command);
        add(&mut self.mac, other.mac);
        add(&mut self.vector, other.vector);
        let (passes, streamed, skipped) = other.passes;
        self.passes = (self.passes.0 + passes, self.passes.1 + streamed, self.passes.2 + skipped);
        add(&mut self.gate, other.gate);
        add(&mut self.decided, other.decided);
        add(&mut self.stalled, other.stalled);
        self.bytes.resize(self.bytes.len().max(other.bytes.len()), (0, 0));
        self.bytes.iter_mut().zip(&other.bytes).for_each(|(to, more)| add(to, *more));
        self.error = self.error.or(other.error);
    }
}
