//! Memory operands as families of records, and the proof that what a program writes is never read as something else.
//!
//! A *family* is all the records that an operand can name: one per slot and index that the limits admit. Two operands
//! are of one family when address, strides, counts, layout and size agree. A family that some command writes shares no
//! byte with any other family, and its own records share none either. So two operands of a run touch the same memory
//! exactly when they are of the same family and their records start at the same address: a comparison for equality
//! tells whether a read may pass an older write.

use super::{Limits, ProgramError};
use crate::isa::{Addr, IndexBy};
use crate::units::Bytes;
use std::collections::HashMap;
use std::fmt;

/// What a command does with the record that an operand names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Access {
    /// Only reads it.
    Read,
    /// Only writes it.
    Write,
    /// Reads it and writes it back.
    ReadWrite,
}

impl Access {
    /// Whether the record may be changed.
    #[must_use]
    pub fn writes(self) -> bool {
        self != Self::Read
    }
}

/// What the records of a family hold.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FamilyKind {
    /// A vector of binary32 words.
    Vector,
    /// MXINT8 blocks: elements, then scales.
    Act,
    /// One slot's KV cache of one layer: [`crate::layout::KvLayout`].
    Kv {
        /// Key/value heads.
        kv_heads: u16,
        /// Words in a head.
        head_dim: u16,
    },
    /// Weights, norm vectors, biases, rotation tables and block lists: no command writes them.
    Constant,
}

/// All the records that operands of one description can name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Family {
    /// What a record holds.
    pub kind: FamilyKind,
    /// Record of slot 0, index 0.
    pub addr: Addr,
    /// Local bytes from one slot's records to the next slot's; 0 where the limits admit one slot.
    pub slot_stride: u64,
    /// Local bytes from one index to the next; 0 where there is one.
    pub index_stride: u64,
    /// Indices that the limits admit, at least 1.
    pub indices: u32,
    /// Bytes of one record, over all channels where it is striped (vectors, MXINT8), else on one channel.
    pub bytes: Bytes,
    /// Bytes of one record on each channel, whole beats.
    pub local_bytes: Bytes,
}

/// One memory operand of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operand {
    /// Number of its family: dense, from 0, in order of first use.
    pub family: u32,
    /// What the command does with the record.
    pub access: Access,
    /// What chooses a slot's record. A cache has one record a slot; there it tells that the token is chosen by position:
    /// `kv_append` writes the slot's own, `gate_tas` reads the one a period earlier, `attn` reads up to its own.
    pub index: IndexBy,
    /// Field of the command that holds the address.
    pub field: &'static str,
}

/// A range of channel-local bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LocalRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl fmt::Display for LocalRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}..0x{:x}", self.start, self.end)
    }
}

impl Family {
    /// From the first byte of the first record to the last byte of the last, over `slots` slots. The ends of a family
    /// that was checked against a channel's capacity do not overflow.
    pub(super) fn range(&self, slots: u32) -> LocalRange {
        let last = self.span(self.slot_stride, slots) + self.span(self.index_stride, self.indices);
        LocalRange { start: self.addr.0, end: self.addr.0 + last + self.local_bytes.get() }
    }

    /// From the start of the first of `count` records to the start of the last.
    fn span(&self, stride: u64, count: u32) -> u64 {
        stride * (u64::from(count) - 1)
    }

    /// Whether no two records share a byte: one stride is at least a record, the other at least the span of all records
    /// under the first.
    fn is_disjoint(&self, slots: u32) -> bool {
        let slot = (self.slot_stride, slots);
        let index = (self.index_stride, self.indices);
        let nested = |inner: (u64, u32), outer: (u64, u32)| {
            let record = self.local_bytes.get();
            (inner.1 == 1 || inner.0 >= record)
                && (outer.1 == 1 || outer.0 >= self.span(inner.0, inner.1) + record)
        };
        nested(index, slot) || nested(slot, index)
    }
}

/// A command of the program, for messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct CommandRef {
    pub(super) index: usize,
    pub(super) mnemonic: &'static str,
}

/// The families seen so far, with the first command that uses each and the first that writes it.
#[derive(Default)]
pub(super) struct Collector {
    numbers: HashMap<Family, u32>,
    families: Vec<Family>,
    users: Vec<CommandRef>,
    writers: Vec<Option<CommandRef>>,
    operands: Vec<Operand>,
    ends: Vec<u32>,
}

/// Operands of all commands, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Operands {
    families: Vec<Family>,
    operands: Vec<Operand>,
    /// Per command, one past its last operand.
    ends: Vec<u32>,
}

impl Operands {
    pub(super) fn families(&self) -> &[Family] {
        &self.families
    }

    pub(super) fn of(&self, command: usize) -> &[Operand] {
        let Some(&end) = self.ends.get(command) else { return &[] };
        let start = command.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.operands[start as usize..end as usize]
    }
}

impl Collector {
    /// Adds an operand of a command.
    pub(super) fn add(
        &mut self,
        user: CommandRef,
        family: Family,
        (access, by, field): (Access, IndexBy, &'static str),
    ) {
        let number = *self.numbers.entry(family).or_insert_with(|| {
            self.families.push(family);
            self.users.push(user);
            self.writers.push(None);
            self.families.len() as u32 - 1
        });
        if access.writes() {
            self.writers[number as usize].get_or_insert(user);
        }
        self.operands.push(Operand { family: number, access, index: by, field });
    }

    /// Closes a command.
    pub(super) fn end_command(&mut self) {
        self.ends.push(self.operands.len() as u32);
    }

    /// Checks that written families are disjoint, in themselves and from all others.
    pub(super) fn finish(self, limits: Limits) -> Result<Operands, ProgramError> {
        for (family, writer) in self.families.iter().zip(&self.writers) {
            match writer {
                Some(writer) if !family.is_disjoint(limits.slots) => {
                    return Err(shared_records(*writer, family, limits.slots));
                }
                _ => {}
            }
        }
        self.check_overlap(limits)?;
        Ok(Operands { families: self.families, operands: self.operands, ends: self.ends })
    }

    /// Walks the families by their start. Of those before one, only the one that reaches furthest can matter: to a
    /// written family any, to one that is only read the furthest that is written.
    fn check_overlap(&self, limits: Limits) -> Result<(), ProgramError> {
        let ranges: Vec<LocalRange> = self.families.iter().map(|f| f.range(limits.slots)).collect();
        let mut order: Vec<usize> = (0..ranges.len()).collect();
        order.sort_by_key(|&i| ranges[i].start);
        let (mut furthest, mut furthest_written) = (None, None);
        for i in order {
            let LocalRange { start, end } = ranges[i];
            // The family before this one, and of the two the one that is written, its writer, and the other.
            let pair = match self.writers[i] {
                Some(writer) => furthest.map(|before| (before, i, writer, before)),
                None => furthest_written.map(|(before, writer)| (before, before, writer, i)),
            };
            if let Some((_, written, writer, used)) = pair.filter(|p| ranges[p.0].end > start) {
                return Err(overlap(writer, ranges[written], self.users[used], ranges[used]));
            }
            let ends_sooner = |before: usize| ranges[before].end < end;
            if furthest.is_none_or(ends_sooner) {
                furthest = Some(i);
            }
            if let Some(writer) = self.writers[i]
                && furthest_written.is_none_or(|(before, _)| ends_sooner(before))
            {
                furthest_written = Some((i, writer));
            }
        }
        Ok(())
    }
}

fn overlap(writer: CommandRef, written: LocalRange, user: CommandRef, used: LocalRange) -> ProgramError {
    ProgramError::Overlap {
        writer: writer.index,
        writer_command: writer.mnemonic,
        written,
        other: user.index,
        other_command: user.mnemonic,
        used,
    }
}

fn shared_records(writer: CommandRef, family: &Family, slots: u32) -> ProgramError {
    ProgramError::Records {
        index: writer.index,
        command: writer.mnemonic,
        record: family.local_bytes,
        slots,
        slot_stride: family.slot_stride,
        indices: family.indices,
        index_stride: family.index_stride,
    }
}
