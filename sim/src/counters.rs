//! What a run counts: the performance counters of `arch::regs`, and where the bytes went.

use crate::dram::Cycle;
use fastcar_arch::regs::UNITS;
use std::ops::AddAssign;

/// Cycles of one unit. What is neither busy nor stalled is idle: the unit had nothing to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct UnitCycles {
    /// With work done.
    pub busy: u64,
    /// With work at hand, held up by another unit or by memory.
    pub stalled: u64,
}

/// What the bytes were for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(usize)]
pub enum Traffic {
    /// Weight matrices.
    Weights = 0,
    /// Keys and values, read.
    KvRead = 1,
    /// Keys and values, appended.
    KvWrite = 2,
    /// Replay and delta rings and their references, read.
    RingRead = 3,
    /// Replay and delta rings and their references, written.
    RingWrite = 4,
    /// Norms, biases, position tables, embeddings, hidden states, logits, read.
    RecordRead = 5,
    /// Hidden states and logits, written.
    RecordWrite = 6,
    /// Commands, step table, block lists, report.
    Control = 7,
}

impl Traffic {
    /// Every kind with its name.
    pub const ALL: [(Self, &'static str); 8] = [
        (Self::Weights, "weights"),
        (Self::KvRead, "kv_read"),
        (Self::KvWrite, "kv_write"),
        (Self::RingRead, "ring_read"),
        (Self::RingWrite, "ring_write"),
        (Self::RecordRead, "record_read"),
        (Self::RecordWrite, "record_write"),
        (Self::Control, "control"),
    ];
}

/// Counters of one run, or of several.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Clock cycles from start to done.
    pub cycles: Cycle,
    /// Commands executed.
    pub commands: u64,
    /// Gate decisions for a slot to replay.
    pub replays: u64,
    /// Gate decisions for a slot to compute.
    pub computes: u64,
    /// Passes of the MAC array over a weight matrix.
    pub passes: u64,
    /// Weight input blocks streamed.
    pub blocks_streamed: u64,
    /// Weight input blocks that delta decode did not stream.
    pub blocks_skipped: u64,
    /// Per unit, in the order of [`UNITS`]; where every channel has one, that of channel 0.
    pub units: [UnitCycles; 6],
    /// Cycles in which the MAC array of channel 0 waited for beats of a product that it had begun.
    pub mac_starved: u64,
    /// Bytes read, by channel.
    pub read_bytes: Vec<u64>,
    /// Bytes written, by channel.
    pub write_bytes: Vec<u64>,
    /// Bytes over all channels, by [`Traffic`].
    pub traffic: [u64; 8],
    /// Cycles from a layer's first MLP product armed to its last result, summed: the MLP phase.
    pub mlp_cycles: u64,
    /// Beats times passes of channel 0 that the MLP products needed: what an array without bubbles would take.
    pub mlp_work: u64,
}

const _: () = assert!(UNITS.len() == 6);

impl Counters {
    /// All bytes, read and written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.read_bytes.iter().chain(&self.write_bytes).sum()
    }
}

impl AddAssign<&Counters> for Counters {
    fn add_assign(&mut self, other: &Self) {
        self.cycles += other.cycles;
        self.commands += other.commands;
        self.replays += other.replays;
        self.computes += other.computes;
        self.passes += other.passes;
        self.blocks_streamed += other.blocks_streamed;
        self.blocks_skipped += other.blocks_skipped;
        self.mac_starved += other.mac_starved;
        self.mlp_cycles += other.mlp_cycles;
        self.mlp_work += other.mlp_work;
        for (unit, more) in self.units.iter_mut().zip(&other.units) {
            unit.busy += more.busy;
            unit.stalled += more.stalled;
        }
        for (sum, more) in self.traffic.iter_mut().zip(&other.traffic) {
            *sum += more;
        }
        add_each(&mut self.read_bytes, &other.read_bytes);
        add_each(&mut self.write_bytes, &other.write_bytes);
    }
}

fn add_each(sums: &mut Vec<u64>, more: &[u64]) {
    sums.resize(sums.len().max(more.len()), 0);
    sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}
