//! Snapshots: everything a session needs to go on elsewhere, bit for bit.

use super::masks::Ages;
use super::{Sequence, SequenceId, Session, SessionError, SessionOptions};
use crate::backend::Backend;
use crate::packed::PackedModel;
use crate::policy::Policy;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"FASTSNAP";
const HEAD_BYTES: usize = 56;

/// The state of a session: sequences and device memory. Without the model's constants, which are named by a hash.
#[derive(Clone, PartialEq, Debug)]
pub struct Snapshot {
    head: Head,
    channels: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Head {
    model: String,
    /// As TOML: thresholds may be infinite, which JSON cannot say.
    policy: String,
    slots: u32,
    positions: u32,
    state_start: u64,
    state_bytes: u64,
    channels: usize,
    next_id: u64,
    sequences: BTreeMap<u64, Sequence>,
}

/// Why a snapshot is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Not a snapshot, cut short, or changed.
    #[error("not a snapshot of this version: {reason}")]
    Format {
        /// What is wrong.
        reason: String,
    },
    /// Taken from another model.
    #[error(
        "the snapshot belongs to model {found}, this is model {expected}: load the packed file it was taken with"
    )]
    Model {
        /// Model in the snapshot.
        found: String,
        /// Model at hand.
        expected: String,
    },
}

impl Snapshot {
    /// The snapshot as bytes.
    ///
    /// # Errors
    /// [`SnapshotError::Format`], which no snapshot gives.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SnapshotError> {
        let head =
            serde_json::to_vec(&self.head).map_err(|e| SnapshotError::Format { reason: e.to_string() })?;
        let mut body = head.clone();
        self.channels.iter().for_each(|c| body.extend_from_slice(c));
        let mut out = Vec::with_capacity(HEAD_BYTES + body.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&1u64.to_le_bytes());
        out.extend_from_slice(&(head.len() as u64).to_le_bytes());
        out.extend_from_slice(blake3::hash(&body).as_bytes());
        out.extend_from_slice(&body);
        Ok(out)
    }

    /// Reads the bytes of [`Snapshot::to_bytes`].
    ///
    /// # Errors
    /// [`SnapshotError::Format`].
    pub fn from_bytes(raw: &[u8]) -> Result<Self, SnapshotError> {
        let refuse = |reason: &str| SnapshotError::Format { reason: reason.to_owned() };
        let Some((fixed, body)) = raw.split_at_checked(HEAD_BYTES) else {
            return Err(refuse("shorter than its head"));
        };
        if &fixed[..8] != MAGIC || bytemuck::pod_read_unaligned::<u64>(&fixed[8..16]) != 1 {
            return Err(refuse("magic or version differ"));
        }
        if blake3::hash(body).as_bytes()[..] != fixed[24..56] {
            return Err(refuse("the hash of its contents differs: it is damaged or cut short"));
        }
        let length =
            usize::try_from(bytemuck::pod_read_unaligned::<u64>(&fixed[16..24])).unwrap_or(usize::MAX);
        let Some((head, state)) = body.split_at_checked(length) else {
            return Err(refuse("the head is longer than the file"));
        };
        let head: Head = serde_json::from_slice(head).map_err(|e| refuse(&e.to_string()))?;
        let bytes = head.state_bytes as usize;
        if head.channels == 0 || bytes.checked_mul(head.channels) != Some(state.len()) {
            return Err(refuse("the state's length differs from the head's"));
        }
        let channels = match bytes {
            0 => vec![Vec::new(); head.channels],
            _ => state.chunks_exact(bytes).map(<[u8]>::to_vec).collect(),
        };
        Ok(Self { head, channels })
    }
}

impl Session {
    /// Takes a snapshot between steps.
    ///
    /// # Errors
    /// The device fails.
    pub fn snapshot(&self) -> Result<Snapshot, SessionError> {
        let start = self.compiled.state_start;
        let bytes = self.compiled.map.used().get() - start;
        let count = self.model.config().channels() as usize;
        let mut channels = vec![vec![0; bytes as usize]; count];
        for (channel, out) in channels.iter_mut().enumerate() {
            self.backend.read_channel(channel, start, out)?;
        }
        let head = Head {
            model: self.model.fingerprint(),
            policy: self.policy.to_toml().map_err(|e| SnapshotError::Format { reason: e.to_string() })?,
            slots: self.options.slots,
            positions: self.options.positions,
            state_start: start,
            state_bytes: bytes,
            channels: count,
            next_id: self.next_id,
            sequences: self.sequences.iter().map(|(id, s)| (id.0, s.clone())).collect(),
        };
        Ok(Snapshot { head, channels })
    }

    /// Opens a session where a snapshot left off, on this or another device.
    ///
    /// # Errors
    /// [`SnapshotError`] when it belongs to another model or layout; or the device fails.
    pub fn restore(
        backend: Box<dyn Backend>,
        model: Arc<PackedModel>,
        snapshot: &Snapshot,
    ) -> Result<Self, SessionError> {
        let head = &snapshot.head;
        let expected = model.fingerprint();
        if head.model != expected {
            return Err(SnapshotError::Model { found: head.model.clone(), expected }.into());
        }
        let policy =
            Policy::from_toml(&head.policy).map_err(|e| SnapshotError::Format { reason: e.to_string() })?;
        let options = SessionOptions { slots: head.slots, positions: head.positions };
        let mut session = Self::open(backend, model, policy, options)?;
        let bytes = session.compiled.map.used().get() - session.compiled.state_start;
        if (head.state_start, head.state_bytes) != (session.compiled.state_start, bytes) {
            let reason =
                format!("its state is {} bytes a channel, this session's is {bytes}", head.state_bytes);
            return Err(SnapshotError::Format { reason }.into());
        }
        if head.channels != session.model.config().channels() as usize {
            let reason = format!("it has {} memory channels", head.channels);
            return Err(SnapshotError::Format { reason }.into());
        }
        for (channel, bytes) in snapshot.channels.iter().enumerate() {
            session.backend.write_channel(channel, head.state_start, bytes)?;
        }
        session.check_sequences(head)?;
        session.next_id = head.next_id;
        session.sequences = head.sequences.iter().map(|(&id, s)| (SequenceId(id), s.clone())).collect();
        Ok(session)
    }

    /// A hash says that a snapshot is whole, not that it was honest: what indexes must be in range.
    fn check_sequences(&self, head: &Head) -> Result<(), SessionError> {
        let layers = self.model.image().body.shape.layers;
        let ages = Ages::new(&self.policy, layers, self.period);
        let mut taken = Vec::new();
        for (id, s) in &head.sequences {
            self.check(&s.request)?;
            let rows = if s.request.guidance.is_some() { 2 } else { 1 };
            let made = s.tokens.len() as u64;
            let fits = s.slots.len() == rows
                && s.ages.len() == rows
                && s.ages.iter().all(|a| a.same_shape(&ages))
                && s.stats.layers.len() == layers as usize
                && s.slots.iter().all(|slot| *slot < self.options.slots as usize && !taken.contains(slot))
                && s.tokens
                    .iter()
                    .all(|t| t.len() == self.codes() && t.iter().all(|&t| (t as usize) < self.choices()))
                && made <= s.request.positions.into()
                && made == (u64::from(s.next) + 1).saturating_sub(s.prompt_len().into())
                && *id < head.next_id;
            if !fits {
                return Err(
                    SnapshotError::Format { reason: format!("sequence {id} contradicts itself") }.into()
                );
            }
            taken.extend(&s.slots);
        }
        Ok(())
    }
}
