//! Block lists of sparse attention on their way to the device.

use crate::attention::Place;
use crate::backend::{Backend, BackendError};
use crate::compile::ListRecords;
use fastcar_arch::config::AccelConfig;
use fastcar_arch::layout::RecordLayout;

/// What the device's list records hold, so that only changes are written.
pub(super) struct WrittenLists {
    layout: RecordLayout,
    channels: usize,
    /// By list and slot; empty where nothing is known of the record.
    records: Vec<Vec<Vec<u32>>>,
}

impl WrittenLists {
    pub(super) fn new(config: &AccelConfig, lists: usize, slots: u32) -> Self {
        let records = vec![vec![Vec::new(); slots as usize]; lists];
        Self { layout: RecordLayout::new(config), channels: config.channels() as usize, records }
    }

    /// Brings a slot's records to a token.
    pub(super) fn write(
        &mut self,
        backend: &mut dyn Backend,
        lists: &[ListRecords],
        slot: usize,
        place: Place,
    ) -> Result<(), BackendError> {
        for (list, written) in lists.iter().zip(&mut self.records) {
            let record = list.record(place);
            if written[slot] == record {
                continue;
            }
            // Until all channels are written, nothing is known.
            written[slot].clear();
            let addr = list.addr + slot as u64 * list.stride;
            let bytes = spread(&self.layout, self.channels, bytemuck::cast_slice(&record));
            for (channel, bytes) in bytes.iter().enumerate().filter(|(_, bytes)| !bytes.is_empty()) {
                backend.write_channel(channel, addr, bytes)?;
            }
            written[slot] = record;
        }
        Ok(())
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
