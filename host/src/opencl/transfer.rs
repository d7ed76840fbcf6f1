//! Many bytes to a device and back, with a bounded number of transfers under way.

use super::host_memory::{HostBuffer, Source, Steady};
use super::raw::{BankBuffer, Card, Pending, Span, ZERO_GRANULE};
use super::{OpenClError, watchdog::Watchdog};
use crate::compile::Part;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Instant;

/// Bytes of a transfer: long against its fixed cost of some microseconds, short against the time to react to a
/// cancellation.
const CHUNK: usize = 4 << 20;
/// Transfers under way: one for every channel of the largest machine, so that no engine waits for the host.
const UNDER_WAY: usize = 32;

/// What a load took.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LoadReport {
    /// Bytes of constants written.
    pub bytes: u64,
    /// Seconds of this computer.
    pub seconds: f64,
    /// The same on the device's clock, where its runtime keeps times and the transfers took any.
    pub link: Option<LinkUse>,
}

/// A load by the device's clock.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LinkUse {
    /// Seconds from the start of the first transfer to the end of the last.
    pub seconds: f64,
    /// Bytes per second over that time.
    pub bytes_per_second: f64,
    /// The same over the rate of the fastest single transfer: what is lost between transfers is missing from 1. More
    /// than 1 where several engines worked at a time.
    pub share_of_fastest: f64,
}

/// Told of a load's progress, and asked whether to go on.
pub trait LoadWatch: Send {
    /// `done` of `total` bytes are written.
    fn advance(&self, done: u64, total: u64);
    /// Whether to stop.
    fn cancelled(&self) -> bool {
        false
    }
    /// The model is loaded.
    fn loaded(&self, _: &LoadReport) {}
}

/// No progress shown, never cancelled.
impl LoadWatch for () {
    fn advance(&self, _: u64, _: u64) {}
}

/// Writes from several sources at a time.
///
/// The runtime reads straight from each source: packed files are mapped, page by page as a runtime wants its memory
/// and shared with the page cache, so a copy through staging memory of our own would only cost another pass over
/// every byte. Only bytes that the caller wants back at once are copied ([`write_copied`]).
pub(super) struct Writer<'a, S: Steady> {
    card: &'a Card,
    watchdog: &'a Watchdog,
    under_way: VecDeque<(u64, Pending<S>)>,
    tally: Tally,
}

/// What has been written.
#[derive(Clone, Copy, Default)]
struct Tally {
    bytes: u64,
    span: Option<Span>,
    /// Bytes per nanosecond of the fastest transfer.
    fastest: f64,
}

impl Tally {
    fn add(&mut self, bytes: u64, span: Option<Span>) {
        self.bytes += bytes;
        let Some(Span { start, end }) = span else { return };
        let all = self
            .span
            .map_or(Span { start, end }, |s| Span { start: s.start.min(start), end: s.end.max(end) });
        self.span = Some(all);
        if end > start {
            self.fastest = self.fastest.max(bytes as f64 / (end - start) as f64);
        }
    }

    fn link(&self) -> Option<LinkUse> {
        let nanoseconds = self.span?.nanoseconds() as f64;
        let rate = self.bytes as f64 / nanoseconds;
        (nanoseconds > 0.0 && self.fastest > 0.0).then(|| LinkUse {
            seconds: nanoseconds * 1e-9,
            bytes_per_second: rate * 1e9,
            share_of_fastest: rate / self.fastest,
        })
    }
}

impl<'a, S: Steady> Writer<'a, S> {
    pub(super) fn new(card: &'a Card, watchdog: &'a Watchdog) -> Self {
        Self { card, watchdog, under_way: VecDeque::new(), tally: Tally::default() }
    }

    /// Starts a transfer, once few enough are under way. Returns the bytes that are known to be written.
    fn put(
        &mut self,
        to: &mut BankBuffer,
        at: u64,
        source: S,
        part: Range<usize>,
    ) -> Result<u64, OpenClError> {
        if self.under_way.len() == UNDER_WAY {
            self.take()?;
        }
        let bytes = part.len() as u64;
        let pending = self.card.write(to, at, source, part)?;
        self.under_way.push_back((bytes, pending));
        self.card.flush()?;
        Ok(self.tally.bytes)
    }

    /// Waits for the oldest transfer.
    fn take(&mut self) -> Result<(), OpenClError> {
        if let Some((bytes, pending)) = self.under_way.pop_front() {
            let (_, times) = self.watchdog.wait(pending, bytes)?;
            self.tally.add(bytes, times.span());
        }
        Ok(())
    }

    /// Waits for all transfers.
    fn finish(&mut self) -> Result<(), OpenClError> {
        while !self.under_way.is_empty() {
            self.take()?;
        }
        Ok(())
    }
}

/// Writes parts of a model to their places, all channels side by side. `sources` holds a channel's constants each.
pub(super) fn write_all(
    mut writer: Writer<'_, Source>,
    channels: &mut [BankBuffer],
    sources: &[Source],
    parts: &[Part],
    watch: &dyn LoadWatch,
) -> Result<LoadReport, OpenClError> {
    let started = Instant::now();
    let total = parts.iter().map(|p| p.source.end - p.source.start).sum::<u64>() * sources.len() as u64;
    watch.advance(0, total);
    for (source, to) in parts.iter().flat_map(pieces) {
        for (channel, constants) in channels.iter_mut().zip(sources) {
            if watch.cancelled() {
                writer.finish()?;
                return Err(OpenClError::Cancelled { done: writer.tally.bytes, total });
            }
            watch.advance(writer.put(channel, to, constants.clone(), source.clone())?, total);
        }
    }
    writer.finish()?;
    watch.advance(total, total);
    let seconds = started.elapsed().as_secs_f64();
    Ok(LoadReport { bytes: total, seconds, link: writer.tally.link() })
}

/// The transfers of a part: bytes of a channel's constants, and where they go.
fn pieces(part: &Part) -> impl Iterator<Item = (Range<usize>, u64)> + use<> {
    let Part { source: Range { start, end }, to } = *part;
    (start..end).step_by(CHUNK).map(move |at| {
        let last = end.min(at + CHUNK as u64);
        (at as usize..last as usize, to + (at - start))
    })
}

/// Starts the transfers of a part to all channels; programs may run meanwhile. All are handed to the runtime at once:
/// they hold no memory but the model's own, and waiting for some of them would keep the next program waiting.
pub(super) fn start_part(
    card: &Card,
    channels: &mut [BankBuffer],
    sources: &[Source],
    part: &Part,
) -> Result<Vec<(u64, Pending<Source>)>, OpenClError> {
    let mut out = Vec::new();
    for (source, to) in pieces(part) {
        for (channel, constants) in channels.iter_mut().zip(sources) {
            let bytes = source.len() as u64;
            out.push((bytes, card.write(channel, to, constants.clone(), source.clone())?));
        }
    }
    card.flush()?;
    Ok(out)
}

/// Writes bytes that the caller keeps.
pub(super) fn write_copied(
    mut writer: Writer<'_, HostBuffer>,
    to: &mut BankBuffer,
    at: u64,
    bytes: &[u8],
) -> Result<(), OpenClError> {
    for (i, chunk) in bytes.chunks(CHUNK).enumerate() {
        let mut copy = HostBuffer::new(chunk.len());
        copy.bytes_mut().copy_from_slice(chunk);
        writer.put(to, at + (i * CHUNK) as u64, copy, 0..chunk.len())?;
    }
    writer.finish()
}

/// Memory that reads go through, kept for the next ones.
#[derive(Default)]
pub(super) struct Pool(RefCell<Vec<HostBuffer>>);

impl Pool {
    pub(super) fn take(&self, bytes: usize) -> HostBuffer {
        let kept = self.0.borrow_mut().pop();
        kept.map_or_else(|| HostBuffer::new(bytes), |buffer| buffer.resized(bytes))
    }

    /// Memory with a copy of some bytes.
    pub(super) fn filled(&self, bytes: &[u8]) -> HostBuffer {
        let mut buffer = self.take(bytes.len());
        buffer.bytes_mut().copy_from_slice(bytes);
        buffer
    }

    pub(super) fn give(&self, buffer: HostBuffer) {
        self.0.borrow_mut().push(buffer);
    }
}

/// Reads one channel's bytes, several transfers side by side, and hands them to `take`, in order.
pub(super) fn read_long(
    card: &Card,
    watchdog: &Watchdog,
    pool: &Pool,
    from: &BankBuffer,
    range: Range<u64>,
    mut take: impl FnMut(&[u8]),
) -> Result<(), OpenClError> {
    let mut under_way: VecDeque<(u64, Pending<HostBuffer>)> = VecDeque::new();
    let mut next = |under_way: &mut VecDeque<(u64, Pending<HostBuffer>)>| {
        let Some((bytes, pending)) = under_way.pop_front() else { return Ok(()) };
        let (buffer, _) = watchdog.wait(pending, bytes)?;
        take(buffer.bytes());
        pool.give(buffer);
        Ok::<_, OpenClError>(())
    };
    for at in range.clone().step_by(CHUNK) {
        if under_way.len() == UNDER_WAY {
            card.flush()?;
            next(&mut under_way)?;
        }
        let bytes = CHUNK.min((range.end - at) as usize);
        under_way.push_back((bytes as u64, card.read(from, at, pool.take(bytes), &[])?));
    }
    card.flush()?;
    while !under_way.is_empty() {
        next(&mut under_way)?;
    }
    Ok(())
}

/// What parts leave of a channel's memory, in whole granules.
pub(super) fn gaps(parts: &[Part], memory: u64) -> Vec<Range<u64>> {
    let mut covered: Vec<Range<u64>> =
        parts.iter().map(|p| p.to..p.to + (p.source.end - p.source.start)).collect();
    covered.sort_by_key(|r| r.start);
    let end = memory.next_multiple_of(ZERO_GRANULE);
    let mut out = Vec::new();
    let mut from = 0;
    for Range { start, end } in covered.into_iter().chain(std::iter::once(end..end)) {
        if start > from {
            out.push(from / ZERO_GRANULE * ZERO_GRANULE..start.next_multiple_of(ZERO_GRANULE));
        }
        from = from.max(end);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(to: u64, bytes: u64) -> Part {
        Part { source: 100..100 + bytes, to }
    }

    #[test]
    fn gaps_are_what_parts_leave_in_whole_granules() {
        let found = |parts: &[Part], memory| -> Vec<(u64, u64)> {
            gaps(parts, memory).iter().map(|gap| (gap.start, gap.end)).collect()
        };
        assert_eq!(found(&[], 4096), [(0, 4096)]);
        assert_eq!(found(&[part(0, 1000)], 4096), [(960, 4096)]);
        assert_eq!(found(&[part(0, 4096)], 4096), []);
        assert_eq!(found(&[part(2048, 100), part(0, 128)], 4096), [(128, 2048), (2112, 4096)]);
        assert_eq!(found(&[part(0, 128), part(64, 64)], 256), [(128, 256)]);
    }
}
