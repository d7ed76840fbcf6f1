//! Block lists of sparse attention on their way to the device.

use crate::attention::Place;
use crate::backend::ChannelWrite;
use crate::compile::ListRecords;
use fastcar_arch::config::AccelConfig;
use fastcar_arch::layout::RecordLayout;

/// What the device's list records hold, or will behind the next run, so that only changes are written.
pub(super) struct WrittenLists {
    layout: RecordLayout,
    channels: usize,
    /// By list and slot; empty where nothing was written yet.
    records: Vec<Vec<Vec<u32>>>,
    /// For the next run.
    writes: Vec<ChannelWrite>,
}

impl WrittenLists {
    pub(super) fn new(config: &AccelConfig, lists: usize, slots: u32) -> Self {
        let records = vec![vec![Vec::new(); slots as usize]; lists];
        let channels = config.channels() as usize;
        Self { layout: RecordLayout::new(config), channels, records, writes: Vec::new() }
    }

    /// Brings a slot's records to a token.
    pub(super) fn enter(&mut self, lists: &[ListRecords], slot: usize, place: Place) {
        for (list, written) in lists.iter().zip(&mut self.records) {
            let record = list.record(place);
            if written[slot] == record {
                continue;
            }
            let start = list.addr + slot as u64 * list.stride;
            let bytes = spread(&self.layout, self.channels, bytemuck::cast_slice(&record));
            let changed = bytes.into_iter().enumerate().filter(|(_, bytes)| !bytes.is_empty());
            self.writes.extend(changed.map(|(channel, bytes)| ChannelWrite { channel, start, bytes }));
            written[slot] = record;
        }
    }

    /// What is to be written before the next run. If that fails the device is lost, and all records with it.
    pub(super) fn take(&mut self) -> Vec<ChannelWrite> {
        std::mem::take(&mut self.writes)
    }
}

/// A record's bytes by channel: its pieces on a channel are contiguous.
fn spread(layout: &RecordLayout, channels: usize, record: &[u8]) -> Vec<Vec<u8>> {
    let mut out = vec![Vec::new(); channels];
    for (place, range) in layout.pieces(record.len() as u64) {
        debug_assert_eq!(out[place.channel].len() as u64, place.offset);
        out[place.channel].extend_from_slice(&record[range]);
    }
    out
}
