//! Many records in few transfers.

use crate::backend::RecordRead;
use fastcar_arch::layout::RecordLayout;
use std::ops::Range;

/// A transfer costs some microseconds however short it is: about as long as these bytes take.
const WORTH_A_TRANSFER: u64 = 16 << 10;

/// One transfer from a channel, and what it brings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Transfer {
    pub(super) channel: usize,
    /// Local bytes.
    pub(super) range: Range<u64>,
    pieces: Vec<Piece>,
}

/// Bytes of a record among those of a transfer.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Piece {
    start: u64,
    record: usize,
    range: Range<usize>,
}

/// The transfers that bring records, and where these lie: made once for all steps that read the same.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Plan {
    /// Address and length of each.
    records: Vec<(u64, usize)>,
    transfers: Vec<Transfer>,
}

impl Plan {
    pub(super) fn new(layout: &RecordLayout, records: &[RecordRead<'_>]) -> Self {
        let transfers = transfers(layout, records);
        Self { records: records.iter().map(place).collect(), transfers }
    }

    /// Whether it brings just these records.
    pub(super) fn brings(&self, records: &[RecordRead<'_>]) -> bool {
        self.records.iter().copied().eq(records.iter().map(place))
    }

    pub(super) fn transfers(&self) -> &[Transfer] {
        &self.transfers
    }
}

fn place(record: &RecordRead<'_>) -> (u64, usize) {
    (record.addr, record.out.len())
}

/// What lies close together on a channel comes at once.
fn transfers(layout: &RecordLayout, records: &[RecordRead<'_>]) -> Vec<Transfer> {
    let mut pieces = Vec::new();
    for (record, RecordRead { addr, out }) in records.iter().enumerate() {
        for (place, range) in layout.pieces(out.len() as u64) {
            pieces.push((place.channel, Piece { start: addr.saturating_add(place.offset), record, range }));
        }
    }
    pieces.sort_by_key(|(channel, piece)| (*channel, piece.start));
    let mut out: Vec<Transfer> = Vec::new();
    for (channel, piece) in pieces {
        let (start, end) = (piece.start, piece.start.saturating_add(piece.range.len() as u64));
        match out.last_mut() {
            Some(last) if last.channel == channel && start <= last.range.end + WORTH_A_TRANSFER => {
                last.range.end = last.range.end.max(end);
                last.pieces.push(piece);
            }
            _ => out.push(Transfer { channel, range: start..end, pieces: vec![piece] }),
        }
    }
    out
}

impl Transfer {
    /// Takes the records' bytes out of the transfer's.
    pub(super) fn hand_out(&self, bytes: &[u8], records: &mut [RecordRead<'_>]) {
        for Piece { start, record, range } in &self.pieces {
            let at = (start - self.range.start) as usize;
            records[*record].out[range.clone()].copy_from_slice(&bytes[at..at + range.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastcar_arch::config::AccelConfig;

    #[test]
    fn records_come_in_one_transfer_a_channel_unless_they_lie_far_apart()
    -> Result<(), Box<dyn std::error::Error>> {
        let config = AccelConfig::preset("edge")?;
        let (layout, channels) = (RecordLayout::new(&config), config.channels() as usize);
        let length = 3 * channels * config.beat().get() as usize - 5;
        let stride = layout.vector_bytes(length as u64 / 4).get();
        let mut outs = vec![vec![0u8; length]; 4];
        let addrs = [0, stride, 2 * stride, 2 * stride + 100 * WORTH_A_TRANSFER];
        let mut records: Vec<RecordRead<'_>> =
            outs.iter_mut().zip(addrs).map(|(out, addr)| RecordRead { addr, out }).collect();
        let plan = Plan::new(&layout, &records);
        let found = plan.transfers();
        assert_eq!(found.len(), 2 * channels);
        assert_eq!(found.iter().map(|t| t.pieces.len()).sum::<usize>(), 4 * 3 * channels);
        // A byte says where it lies.
        let byte = |channel: usize, at: u64| (at % 251) as u8 ^ (channel as u8) << 6;
        for transfer in found {
            let bytes: Vec<u8> = transfer.range.clone().map(|at| byte(transfer.channel, at)).collect();
            transfer.hand_out(&bytes, &mut records);
        }
        for (out, addr) in outs.iter().zip(addrs) {
            for (place, range) in layout.pieces(length as u64) {
                let expected = (0..range.len() as u64).map(|i| byte(place.channel, addr + place.offset + i));
                assert_eq!(out[range].to_vec(), expected.collect::<Vec<_>>());
            }
        }
        Ok(())
    }

    /// Does something with records at these places.
    fn at<T>(places: &[(u64, usize)], f: impl FnOnce(&[RecordRead<'_>]) -> T) -> T {
        let mut outs: Vec<Vec<u8>> = places.iter().map(|&(_, length)| vec![0; length]).collect();
        let records = places.iter().zip(&mut outs).map(|(&(addr, _), out)| RecordRead { addr, out });
        f(&records.collect::<Vec<_>>())
    }

    #[test]
    fn a_plan_is_for_the_same_places_alone() -> Result<(), Box<dyn std::error::Error>> {
        let layout = RecordLayout::new(&AccelConfig::preset("edge")?);
        let places: [&[(u64, usize)]; 6] =
            [&[], &[(0, 64)], &[(64, 64)], &[(0, 60)], &[(0, 64), (64, 64)], &[(64, 64), (0, 64)]];
        let plans = places.map(|places| at(places, |records| Plan::new(&layout, records)));
        assert_eq!(plans[0], Plan::default());
        for (i, places) in places.iter().enumerate() {
            let found = at(places, |records| plans.each_ref().map(|plan| plan.brings(records)));
            assert_eq!(found, std::array::from_fn(|plan| plan == i));
        }
        Ok(())
    }
}
