//! Snapshots: what sequences need to go on elsewhere, bit for bit.
//!
//! A sequence's snapshot holds its request, its progress, and what its slots have written of the state that outlives a
//! step. It does not say which slots these were, how many there are, or for how many positions there is room, so it
//! goes to any session of the same model and policy. A session's snapshot is those of its sequences.

use super::masks::Ages;
use super::{Request, Sequence, SequenceId, Session, SessionError, SessionOptions};
use crate::backend::Backend;
use crate::compile::Kept;
use crate::files;
use crate::packed::PackedModel;
use crate::policy::Policy;
use fastcar_arch::units::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"FASTSNAP";
const VERSION: u64 = 2;
/// Magic, version, the head's length, and a hash of all that follows: the head as JSON, then the sequences' states.
const FIXED_BYTES: usize = 56;

/// One sequence, wherever it goes on. Without the model's constants, which are named by a hash.
#[derive(Clone, PartialEq, Debug)]
pub struct SequenceSnapshot {
    origin: Origin,
    sequence: Sequence,
    /// By row, kept item, range of it and channel.
    state: Vec<u8>,
}

/// All sequences of a session.
#[derive(Clone, PartialEq, Debug)]
pub struct Snapshot {
    origin: Origin,
    size: Size,
    sequences: BTreeMap<u64, SequenceSnapshot>,
}

/// What a sequence's bits depend on beside its request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Origin {
    model: String,
    /// As TOML: thresholds may be infinite, which JSON cannot say.
    policy: String,
}

/// The session that a snapshot was taken of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Size {
    slots: u32,
    positions: u32,
    next_id: u64,
}

/// The head of a file.
#[derive(Serialize, Deserialize)]
struct Head {
    origin: Origin,
    /// None where the file holds one sequence by itself.
    session: Option<Size>,
    sequences: BTreeMap<u64, Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    state_bytes: u64,
    sequence: Sequence,
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
    /// Taken under another policy.
    #[error(
        "the snapshot was taken under another policy: open the session with the one it was taken under:\n{found}"
    )]
    Policy {
        /// Policy in the snapshot, as a policy file.
        found: String,
    },
    /// A file that cannot be read or written.
    #[error("snapshot {path}: {reason}")]
    File {
        /// Where.
        path: String,
        /// The system's words.
        reason: String,
    },
}

fn refuse(reason: impl Into<String>) -> SnapshotError {
    SnapshotError::Format { reason: reason.into() }
}

fn contradiction(id: u64) -> SnapshotError {
    refuse(format!("sequence {id} contradicts itself"))
}

impl SequenceSnapshot {
    /// What was asked for.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.sequence.request
    }

    /// Tokens of the positions made so far.
    #[must_use]
    pub fn tokens(&self) -> &[Vec<u32>] {
        &self.sequence.tokens
    }

    /// The snapshot as bytes.
    ///
    /// # Errors
    /// [`SnapshotError::Format`], which no snapshot gives.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SnapshotError> {
        to_bytes(&self.origin, None, [(0, self)].into_iter())
    }

    /// Reads the bytes of [`SequenceSnapshot::to_bytes`].
    ///
    /// # Errors
    /// [`SnapshotError::Format`].
    pub fn from_bytes(raw: &[u8]) -> Result<Self, SnapshotError> {
        let (head, mut sequences) = from_bytes(raw)?;
        match (head, sequences.len(), sequences.pop_first()) {
            (None, 1, Some((_, sequence))) => Ok(sequence),
            _ => Err(refuse("it holds a session, not one sequence: restore it as a session")),
        }
    }

    /// Writes a file: the old one, if any, stays until the new one is whole.
    ///
    /// # Errors
    /// [`SnapshotError::File`].
    pub fn save(&self, path: &Path) -> Result<(), SnapshotError> {
        save(path, &self.to_bytes()?)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`SnapshotError::File`] or [`SnapshotError::Format`].
    pub fn load(path: &Path) -> Result<Self, SnapshotError> {
        Self::from_bytes(&read(path)?)
    }
}

impl Snapshot {
    /// Slots and positions of the session.
    #[must_use]
    pub fn options(&self) -> SessionOptions {
        SessionOptions { slots: self.size.slots, positions: self.size.positions }
    }

    /// The sequences, by their names in the session.
    pub fn sequences(&self) -> impl Iterator<Item = (SequenceId, &SequenceSnapshot)> {
        self.sequences.iter().map(|(&id, s)| (SequenceId(id), s))
    }

    /// The policy that the session decoded under.
    ///
    /// # Errors
    /// [`SnapshotError::Format`] where the snapshot holds no policy.
    pub fn policy(&self) -> Result<Policy, SnapshotError> {
        Policy::from_toml(&self.origin.policy).map_err(|e| refuse(e.to_string()))
    }

    /// The snapshot as bytes.
    ///
    /// # Errors
    /// [`SnapshotError::Format`], which no snapshot gives.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SnapshotError> {
        to_bytes(&self.origin, Some(self.size), self.sequences.iter().map(|(&id, s)| (id, s)))
    }

    /// Reads the bytes of [`Snapshot::to_bytes`].
    ///
    /// # Errors
    /// [`SnapshotError::Format`].
    pub fn from_bytes(raw: &[u8]) -> Result<Self, SnapshotError> {
        let (head, sequences) = from_bytes(raw)?;
        match head {
            Some((origin, size)) => Ok(Self { origin, size, sequences }),
            None => Err(refuse("it holds one sequence, not a session: adopt it into one")),
        }
    }

    /// Writes a file: the old one, if any, stays until the new one is whole.
    ///
    /// # Errors
    /// [`SnapshotError::File`].
    pub fn save(&self, path: &Path) -> Result<(), SnapshotError> {
        save(path, &self.to_bytes()?)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`SnapshotError::File`] or [`SnapshotError::Format`].
    pub fn load(path: &Path) -> Result<Self, SnapshotError> {
        Self::from_bytes(&read(path)?)
    }
}

fn file_error(path: &Path, error: &std::io::Error) -> SnapshotError {
    SnapshotError::File { path: path.display().to_string(), reason: error.to_string() }
}

fn save(path: &Path, bytes: &[u8]) -> Result<(), SnapshotError> {
    files::replace(path, |mut file| file.write_all(bytes)).map_err(|e| file_error(path, &e))
}

fn read(path: &Path) -> Result<Vec<u8>, SnapshotError> {
    std::fs::read(path).map_err(|e| file_error(path, &e))
}

fn to_bytes<'a>(
    origin: &Origin,
    session: Option<Size>,
    sequences: impl Iterator<Item = (u64, &'a SequenceSnapshot)> + Clone,
) -> Result<Vec<u8>, SnapshotError> {
    let entry =
        |s: &SequenceSnapshot| Entry { state_bytes: s.state.len() as u64, sequence: s.sequence.clone() };
    let entries = sequences.clone().map(|(id, s)| (id, entry(s))).collect();
    let head = Head { origin: origin.clone(), session, sequences: entries };
    let mut body = serde_json::to_vec(&head).map_err(|e| refuse(e.to_string()))?;
    let length = body.len() as u64;
    sequences.for_each(|(_, s)| body.extend_from_slice(&s.state));
    let mut out = Vec::with_capacity(FIXED_BYTES + body.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(blake3::hash(&body).as_bytes());
    out.extend_from_slice(&body);
    Ok(out)
}

/// What a file holds: its session, if it is of one, and its sequences.
type Contents = (Option<(Origin, Size)>, BTreeMap<u64, SequenceSnapshot>);

fn from_bytes(raw: &[u8]) -> Result<Contents, SnapshotError> {
    let Some((fixed, body)) = raw.split_at_checked(FIXED_BYTES) else {
        return Err(refuse("shorter than its head"));
    };
    if &fixed[..8] != MAGIC || bytemuck::pod_read_unaligned::<u64>(&fixed[8..16]) != VERSION {
        return Err(refuse("magic or version differ"));
    }
    if blake3::hash(body).as_bytes()[..] != fixed[24..56] {
        return Err(refuse("the hash of its contents differs: it is damaged or cut short"));
    }
    let length = usize::try_from(bytemuck::pod_read_unaligned::<u64>(&fixed[16..24])).unwrap_or(usize::MAX);
    let Some((head, mut rest)) = body.split_at_checked(length) else {
        return Err(refuse("the head is longer than the file"));
    };
    let head: Head = serde_json::from_slice(head).map_err(|e| refuse(e.to_string()))?;
    let mut sequences = BTreeMap::new();
    for (id, Entry { state_bytes, sequence }) in head.sequences {
        let length = usize::try_from(state_bytes).unwrap_or(usize::MAX);
        let Some((state, others)) = rest.split_at_checked(length) else {
            return Err(refuse("the states are longer than the file"));
        };
        rest = others;
        sequences
            .insert(id, SequenceSnapshot { origin: head.origin.clone(), sequence, state: state.to_vec() });
    }
    if !rest.is_empty() {
        return Err(refuse("there is more than the states"));
    }
    Ok((head.session.map(|size| (head.origin, size)), sequences))
}

impl Sequence {
    /// Positions behind the prompt that have been processed.
    fn generated(&self) -> u32 {
        self.next.saturating_sub(self.prompt_len())
    }
}

impl Session {
    /// Takes a snapshot of all sequences between steps.
    ///
    /// # Errors
    /// The device fails.
    pub fn snapshot(&self) -> Result<Snapshot, SessionError> {
        let SessionOptions { slots, positions } = self.options;
        let sequences = self.sequences.keys().map(|&id| Ok((id.0, self.snapshot_sequence(id)?)));
        Ok(Snapshot {
            origin: self.origin()?,
            size: Size { slots, positions, next_id: self.next_id },
            sequences: sequences.collect::<Result<_, SessionError>>()?,
        })
    }

    /// Takes a snapshot of one sequence between steps.
    ///
    /// # Errors
    /// [`SessionError::Unknown`], or the device fails.
    pub fn snapshot_sequence(&self, id: SequenceId) -> Result<SequenceSnapshot, SessionError> {
        let sequence = self.sequences.get(&id).ok_or(SessionError::Unknown { id: id.0 })?;
        let mut state = vec![0; self.state_bytes(sequence)];
        let mut rest = &mut state[..];
        for &slot in &sequence.slots {
            for (channel, range) in self.kept(sequence, slot) {
                let (out, others) = rest.split_at_mut((range.end - range.start) as usize);
                self.backend.read_channel(channel, range.start, out)?;
                rest = others;
            }
        }
        let sequence = Sequence { slots: Vec::new(), ..sequence.clone() };
        Ok(SequenceSnapshot { origin: self.origin()?, sequence, state })
    }

    /// Lets a sequence go on here, under a name of this session, in any slots that are free.
    ///
    /// # Errors
    /// [`SessionError::Snapshot`] where it belongs to another model or policy or contradicts itself,
    /// [`SessionError::Request`] where it is longer than there is room for, [`SessionError::Full`]; or the device
    /// fails.
    pub fn adopt(&mut self, snapshot: &SequenceSnapshot) -> Result<SequenceId, SessionError> {
        let id = self.next_id;
        self.place(id, snapshot)?;
        self.next_id += 1;
        Ok(SequenceId(id))
    }

    /// Opens a session where a snapshot left off, on this or another device.
    ///
    /// # Errors
    /// [`SnapshotError`] when it belongs to another model or contradicts itself; or as [`Session::open`].
    pub fn restore(
        backend: Box<dyn Backend>,
        model: Arc<PackedModel>,
        snapshot: &Snapshot,
    ) -> Result<Self, SessionError> {
        snapshot.origin.check_model(&model)?;
        let session = Self::open(backend, model, snapshot.policy()?, snapshot.options())?;
        session.with_sequences(snapshot)
    }

    /// As [`Session::restore`], by [`Session::open_streamed`]: whether the session that the snapshot was taken of was
    /// streamed does not matter.
    ///
    /// # Errors
    /// As [`Session::restore`] and [`Session::open_streamed`].
    pub fn restore_streamed(
        backend: Box<dyn Backend>,
        model: Arc<PackedModel>,
        snapshot: &Snapshot,
        memory: Bytes,
    ) -> Result<Self, SessionError> {
        snapshot.origin.check_model(&model)?;
        let session = Self::open_streamed(backend, model, snapshot.policy()?, snapshot.options(), memory)?;
        session.with_sequences(snapshot)
    }

    fn with_sequences(mut self, snapshot: &Snapshot) -> Result<Self, SessionError> {
        // Pairs first: they fit wherever they did, and single rows fit anywhere.
        for rows in [2, 1] {
            for (&id, sequence) in snapshot.sequences.iter().filter(|s| s.1.request().rows() == rows) {
                if id >= snapshot.size.next_id {
                    return Err(contradiction(id).into());
                }
                self.place(id, sequence)?;
            }
        }
        self.next_id = snapshot.size.next_id;
        Ok(self)
    }

    fn origin(&self) -> Result<Origin, SnapshotError> {
        let policy = self.policy.to_toml().map_err(|e| refuse(e.to_string()))?;
        Ok(Origin { model: self.model.fingerprint(), policy })
    }

    /// What a sequence has written, in the order of a snapshot: ranges of channels.
    fn kept(&self, sequence: &Sequence, slot: usize) -> impl Iterator<Item = (usize, Range<u64>)> + use<> {
        let used = |kept: &Kept| kept.used(slot, sequence.next, sequence.generated());
        let ranges: Vec<Range<u64>> = self.compiled.kept.iter().flat_map(used).collect();
        let channels = self.model.config().channels() as usize;
        ranges.into_iter().flat_map(move |range| (0..channels).map(move |channel| (channel, range.clone())))
    }

    /// Bytes of a sequence's state: the same in whichever slots it is.
    fn state_bytes(&self, sequence: &Sequence) -> usize {
        let row: u64 = self.kept(sequence, 0).map(|(_, range)| range.end - range.start).sum();
        row as usize * sequence.request.rows()
    }

    fn place(&mut self, id: u64, snapshot: &SequenceSnapshot) -> Result<(), SessionError> {
        let SequenceSnapshot { origin, sequence, state } = snapshot;
        origin.check_model(&self.model)?;
        if *origin != self.origin()? {
            return Err(SnapshotError::Policy { found: origin.policy.clone() }.into());
        }
        self.check(id, sequence)?;
        if state.len() != self.state_bytes(sequence) {
            return Err(contradiction(id).into());
        }
        let slots = self.claim(sequence.request.rows())?;
        let mut rest = &state[..];
        for &slot in &slots {
            for (channel, range) in self.kept(sequence, slot) {
                let (bytes, others) = rest.split_at((range.end - range.start) as usize);
                self.backend.write_channel(channel, range.start, bytes)?;
                rest = others;
            }
        }
        self.sequences.insert(SequenceId(id), Sequence { slots, ..sequence.clone() });
        Ok(())
    }

    /// A hash says that a snapshot is whole, not that it was honest: what indexes must be in range.
    fn check(&self, id: u64, s: &Sequence) -> Result<(), SessionError> {
        let rules = self.rules();
        rules.check(&s.request)?;
        let layers = self.model.image().body.shape.layers;
        let ages = Ages::new(&self.policy, layers, self.period);
        let made = s.tokens.len() as u64;
        let generated = s.generated();
        let fits = s.ages.len() == s.request.rows()
            && s.ages.iter().all(|a| a.same_shape(&ages) && a.within(generated))
            && s.stats.fits(layers as usize, s.request.rows(), generated)
            && s.tokens.iter().all(|t| rules.are_tokens(t))
            && made <= u64::from(s.request.positions)
            && made == (u64::from(s.next) + 1).saturating_sub(s.prompt_len().into());
        if fits { Ok(()) } else { Err(contradiction(id).into()) }
    }
}

impl Origin {
    fn check_model(&self, model: &PackedModel) -> Result<(), SnapshotError> {
        let expected = model.fingerprint();
        if self.model == expected {
            return Ok(());
        }
        Err(SnapshotError::Model { found: self.model.clone(), expected })
    }
}
