//! How an engine stands.

use super::error::DeviceFault;
use std::sync::Arc;

/// A device of an engine.
#[derive(Clone, Debug)]
pub struct DeviceStatus {
    /// Its name.
    pub name: String,
    /// What lost it; none while it is live.
    pub lost: Option<Arc<DeviceFault>>,
    /// Slots that are taken.
    pub used: usize,
    /// Slots in all.
    pub slots: usize,
}

/// Streams so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Taken in.
    pub submitted: u64,
    /// Ended with all their positions.
    pub finished: u64,
    /// Cancelled by whoever held them, or by shutting down.
    pub cancelled: u64,
    /// Ended with an error.
    pub failed: u64,
    /// Moves of a sequence away from a lost device.
    pub resumed: u64,
}

/// How an engine stands at a moment.
#[derive(Clone, Debug)]
pub struct Status {
    /// Its devices, in the order in which they were given.
    pub devices: Vec<DeviceStatus>,
    /// Requests that wait for slots.
    pub queued: usize,
    /// Streams so far.
    pub counts: Counts,
}

impl Status {
    /// Slots of live devices that are free.
    #[must_use]
    pub fn free(&self) -> usize {
        self.devices.iter().filter(|d| d.lost.is_none()).map(|d| d.slots - d.used).sum()
    }
}
