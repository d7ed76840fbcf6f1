//! Block lists of sparse attention on their way to the device.

use crate::attention::Place;
use crate::backend::ChannelWrite;
use crate::compile::ListRecords;

/// What the device's list records hold, or will behind the next run, so that only changes are written.
pub(super) struct WrittenLists {
    /// By list, slot and channel; empty where nothing was written yet.
    records: Vec<Vec<Vec<Vec<u8>>>>,
    /// For the next run.
    writes: Vec<ChannelWrite>,
}

impl WrittenLists {
    pub(super) fn new(lists: usize, slots: u32) -> Self {
        Self { records: vec![vec![Vec::new(); slots as usize]; lists], writes: Vec::new() }
    }

    /// Brings a slot's records to a token.
    pub(super) fn enter(&mut self, lists: &[ListRecords], slot: usize, place: Place) {
        for (list, written) in lists.iter().zip(&mut self.records) {
            let (record, written) = (list.record(place), &mut written[slot]);
            let start = list.addr + slot as u64 * list.stride;
            let changed = record.iter().enumerate().filter(|(c, bytes)| written.get(*c) != Some(bytes));
            self.writes.extend(changed.map(|(channel, bytes)| ChannelWrite {
                channel,
                start,
                bytes: bytes.clone(),
            }));
            *written = record;
        }
    }

    /// What is to be written before the next run. If that fails the device is lost, and all records with it.
    pub(super) fn take(&mut self) -> Vec<ChannelWrite> {
        std::mem::take(&mut self.writes)
    }
}
