//! What a device was busy with, by its own clock.

use super::raw::Span;
use crate::backend::Activity;
use fastcar_arch::units::Bytes;
use std::time::Duration;

/// Adds up runs and streamed weights.
#[derive(Clone, Copy, Default)]
pub(super) struct Meter {
    all: Option<Span>,
    running: u64,
    streaming: u64,
    /// Until when transfers are counted: several may be under way at a time.
    streamed_until: u64,
    bytes: u64,
}

impl Meter {
    pub(super) fn ran(&mut self, span: Option<Span>) {
        let Some(span) = span else { return };
        self.cover(span);
        self.running += span.nanoseconds();
    }

    pub(super) fn streamed(&mut self, bytes: u64, span: Option<Span>) {
        self.bytes += bytes;
        let Some(span) = span else { return };
        self.cover(span);
        self.streaming += span.end.saturating_sub(span.start.max(self.streamed_until));
        self.streamed_until = self.streamed_until.max(span.end);
    }

    fn cover(&mut self, span: Span) {
        let all = self.all.unwrap_or(span);
        self.all = Some(Span { start: all.start.min(span.start), end: all.end.max(span.end) });
    }

    /// None without any command that the runtime kept times of.
    pub(super) fn activity(&self) -> Option<Activity> {
        let elapsed = self.all?.nanoseconds();
        let [elapsed, running, streaming] = [elapsed, self.running, self.streaming].map(Duration::from_nanos);
        Some(Activity { elapsed, running, streaming, streamed: Bytes(self.bytes) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfers_side_by_side_count_once() {
        let mut meter = Meter::default();
        assert_eq!(meter.activity(), None);
        let span = |start, end| Some(Span { start, end });
        meter.streamed(5, span(100, 200));
        meter.streamed(6, span(120, 210));
        meter.streamed(7, span(130, 140));
        meter.ran(span(150, 300));
        meter.streamed(1, None);
        let [elapsed, running, streaming] = [200, 150, 110].map(Duration::from_nanos);
        assert_eq!(meter.activity(), Some(Activity { elapsed, running, streaming, streamed: Bytes(19) }));
    }
}
