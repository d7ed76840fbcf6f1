//! What changes from step to step: the table that the host writes before a run, and the report that a run leaves.
//!
//! The table holds an entry per slot and a word pair per gate. `allow` says where a replay is possible at all (the
//! host clears it in the first frame, when a refresh is due, and for a dense run), `force` says where an allowed
//! slot replays whatever its score. All policies that do not depend on the data of the step itself (always, random,
//! a budget, bounded age) are made of these two masks, so the hardware needs none of them.

use crate::config::MAX_SLOTS;
use crate::program::{Limits, MAX_GATES};
use bytemuck::{Pod, Zeroable};

/// Bytes of the table's head, and of one slot entry.
pub const SLOT_BYTES: usize = 64;
/// `ring` of a slot that has no position in a frame (a prompt token).
pub const NO_RING: u32 = u32::MAX;

/// State of one slot in this step. All little endian, as in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct SlotEntry {
    /// Bit 0: active; bit 1: output wanted; bit 2: paired with slot `i ^ 1`.
    pub flags: u32,
    /// Position of the token in the sequence, from 0.
    pub pos: u32,
    /// Position in the frame, or [`NO_RING`].
    pub ring: u32,
    /// Token identifiers for `Load` with `index = token0..3`.
    pub token: [u32; 4],
    /// Zero.
    pub reserved: [u32; 9],
}

/// `flags`: the slot takes part in the step.
pub const ACTIVE: u32 = 1;
/// `flags`: the slot's output (logits) is wanted.
pub const OUTPUT: u32 = 2;
/// `flags`: gate decisions may be coupled with slot `i ^ 1`.
pub const PAIRED: u32 = 4;

impl SlotEntry {
    /// A slot that takes no part.
    #[must_use]
    pub fn idle() -> Self {
        Self { ring: NO_RING, ..Self::zeroed() }
    }

    /// Whether a flag is set.
    #[must_use]
    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// The position in the frame, if there is one.
    #[must_use]
    pub fn ring(&self) -> Option<u32> {
        (self.ring != NO_RING).then_some(self.ring)
    }
}

/// Decision masks of one gate: bit i for slot i.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct GateEntry {
    /// Slots that may replay (or, in delta decode, use their reference).
    pub allow: u32,
    /// Allowed slots that replay whatever their score.
    pub force: u32,
}

/// The step table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StepTable {
    /// One entry per slot of the configuration.
    pub slots: Vec<SlotEntry>,
    /// One entry per gate of the program.
    pub gates: Vec<GateEntry>,
}

impl StepTable {
    /// A table with every slot idle and no replay allowed.
    #[must_use]
    pub fn new(slots: usize, gates: usize) -> Self {
        Self { slots: vec![SlotEntry::idle(); slots], gates: vec![GateEntry::default(); gates] }
    }

    /// Mask of the slots that have a flag.
    #[must_use]
    pub fn mask(&self, flag: u32) -> u32 {
        let bit = |(i, s): (usize, &SlotEntry)| u32::from(s.has(flag) && s.has(ACTIVE)) << i;
        self.slots.iter().take(MAX_SLOTS as usize).enumerate().map(bit).sum()
    }

    /// Length of [`StepTable::to_bytes`].
    #[must_use]
    pub fn bytes(&self) -> u64 {
        (SLOT_BYTES * (1 + self.slots.len()) + size_of::<GateEntry>() * self.gates.len()) as u64
    }

    /// The bytes as the device reads them, for a program of these limits: a 64-byte head (slots, gates, positions, ring,
    /// tokens, zeros), slot entries, gate entries. The device finds a head's blocks in a KV cache by the positions that
    /// the cache has room for; the other limits let whoever reads the program check it.
    #[must_use]
    pub fn to_bytes(&self, limits: Limits) -> Vec<u8> {
        let Limits { positions, ring, tokens, .. } = limits;
        let mut out = vec![0; SLOT_BYTES];
        let head = [self.slots.len() as u32, self.gates.len() as u32, positions, ring, tokens];
        out[..20].copy_from_slice(bytemuck::cast_slice(&head.map(u32::to_le_bytes)));
        out.extend_from_slice(bytemuck::cast_slice(&self.slots));
        out.extend_from_slice(bytemuck::cast_slice(&self.gates));
        out
    }

    /// Reads the bytes of [`StepTable::to_bytes`]. The limits' slots and gates are those of the table.
    ///
    /// # Errors
    /// [`StepError`] when the length does not fit the counts in the head, or there are more than 32 slots.
    pub fn from_bytes(raw: &[u8]) -> Result<(Self, Limits), StepError> {
        let Some((head, _)) = raw.split_first_chunk::<SLOT_BYTES>() else {
            return Err(StepError { slots: 0, gates: 0, expected: SLOT_BYTES, found: raw.len() });
        };
        let [slots, gates, positions, ring, tokens]: [u32; 5] =
            std::array::from_fn(|i| bytemuck::pod_read_unaligned(&head[4 * i..4 * i + 4]));
        let limits = Limits { slots, positions, ring, tokens, gates };
        let (slots, gates) = (slots as usize, gates as usize);
        let expected = SLOT_BYTES
            .saturating_add(slots.saturating_mul(SLOT_BYTES))
            .saturating_add(gates.saturating_mul(8));
        if raw.len() != expected || slots > MAX_SLOTS as usize {
            return Err(StepError { slots, gates, expected, found: raw.len() });
        }
        let (head, tail) = raw[SLOT_BYTES..].split_at(slots * SLOT_BYTES);
        Ok((Self { slots: collect(head), gates: collect(tail) }, limits))
    }
}

/// Bytes that are no step table.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "step table: head says {slots} slots (at most {MAX_SLOTS}) and {gates} gates, which is {expected} bytes, but {found} bytes are given"
)]
pub struct StepError {
    /// Slots in the head.
    pub slots: usize,
    /// Gates in the head.
    pub gates: usize,
    /// Bytes that the head implies.
    pub expected: usize,
    /// Bytes given.
    pub found: usize,
}

/// What one gate or delta command decided, for all slots.
#[derive(Clone, Copy, PartialEq, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct GateReport {
    /// Slots that took part.
    pub active: u32,
    /// Slots that replay (gates), or that used their reference (delta).
    pub replay: u32,
    /// Delta: blocks of the input.
    pub blocks: u32,
    /// Delta: blocks active in at least one slot, which is what is streamed.
    pub union_blocks: u32,
    /// Gates: score of each slot (TAS, or the squared relative distance); NaN where none was computed.
    pub score: [f32; MAX_SLOTS as usize],
    /// Delta: active blocks of each slot.
    pub active_blocks: [u32; MAX_SLOTS as usize],
    /// Zero: fills the entry to whole beats of every configuration.
    pub reserved: [u32; 12],
}

impl Default for GateReport {
    fn default() -> Self {
        Self { score: [f32::NAN; MAX_SLOTS as usize], ..Self::zeroed() }
    }
}

/// Bytes of the longest report.
pub const MAX_REPORT_BYTES: u64 = MAX_GATES as u64 * size_of::<GateReport>() as u64;

/// The report of a run: one entry per gate of the step table.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct StepReport {
    /// One entry per gate.
    pub gates: Vec<GateReport>,
}

impl StepReport {
    /// The bytes as the device leaves them: the entries in order.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        bytemuck::cast_slice(&self.gates).to_vec()
    }

    /// Reads the bytes of [`StepReport::to_bytes`]; a part of an entry at the end is left out.
    #[must_use]
    pub fn from_bytes(raw: &[u8]) -> Self {
        Self { gates: collect(raw) }
    }
}

/// Reads whole items from bytes of any alignment.
fn collect<T: bytemuck::AnyBitPattern>(raw: &[u8]) -> Vec<T> {
    raw.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()
}
