//! What the units did when: spans for a timeline, and their export as Chrome trace events, which Perfetto opens.

use crate::dram::Cycle;
use fastcar_arch::program::Program;
use fastcar_arch::regs::UNITS;
use fastcar_arch::units::Hertz;
use serde_json::{Value, json};
use std::collections::HashMap;

/// A unit's work on one command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Span {
    /// Unit, by its name in `arch::regs`.
    pub unit: &'static str,
    /// Wave.
    pub wave: usize,
    /// Position in the program.
    pub command: usize,
    /// Mnemonic.
    pub name: &'static str,
    /// Slots that it was for.
    pub slots: u32,
    /// First cycle.
    pub start: Cycle,
    /// One past the last cycle.
    pub end: Cycle,
}

/// A part of a command's work: wave, command and which.
pub(crate) type Part = (usize, usize, usize);

/// Collects the spans of a run.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    spans: Vec<Span>,
    /// Products armed and not multiplied, with their first cycle.
    products: HashMap<Part, Cycle>,
    /// When the array was done with a wave's last product.
    array: HashMap<usize, Cycle>,
    /// Writes queued and not acknowledged.
    writes: HashMap<Part, Cycle>,
}

impl Recorder {
    pub(crate) fn add(&mut self, span: Span) {
        self.spans.push(span);
    }

    /// The array may begin a product.
    pub(crate) fn armed(&mut self, part: Part, start: Cycle) {
        self.products.insert(part, start);
    }

    /// The array is done with a product: the cycles since it was armed and the wave's product before it was done.
    pub(crate) fn multiplied(&mut self, part: Part, now: Cycle) -> std::ops::Range<Cycle> {
        let armed = self.products.remove(&part).unwrap_or(now);
        let before = self.array.insert(part.0, now).unwrap_or(0);
        armed.max(before).min(now)..now
    }

    /// A part's writes are queued.
    pub(crate) fn writing(&mut self, part: Part, now: Cycle) {
        self.writes.insert(part, now);
    }

    /// A part's writes are acknowledged: the cycles since they were queued.
    pub(crate) fn written(&mut self, part: Part, now: Cycle) -> std::ops::Range<Cycle> {
        self.writes.remove(&part).unwrap_or(now)..now
    }

    pub(crate) fn into_spans(self) -> Vec<Span> {
        self.spans
    }
}

/// The spans of a run as a document of Chrome trace events (JSON), times in microseconds at `clock`.
///
/// Each unit is a track, one for each wave where there are two; where the works of a unit overlap, as acknowledgements
/// of writes do, it has as many tracks as it takes. An event is named `<mnemonic> #<command>`; its arguments are the
/// command in full, its slots and its cycles.
#[must_use]
pub fn chrome_trace(title: &str, clock: Hertz, program: &Program, spans: &[Span]) -> Value {
    let waves = spans.iter().map(|s| s.wave + 1).max().unwrap_or(1);
    let mut events = vec![json!({ "ph": "M", "pid": 1, "name": "process_name", "args": { "name": title } })];
    let mut thread = 0;
    for unit in UNITS {
        for wave in 0..waves {
            let mut own: Vec<&Span> =
                spans.iter().filter(|s| s.unit == unit.name && s.wave == wave && s.start < s.end).collect();
            own.sort_by_key(|s| (s.start, s.end));
            for (lane, track) in lanes(&own).iter().enumerate() {
                thread += 1;
                let name = track_name(unit.name, wave, waves, lane);
                events.push(json!({ "ph": "M", "pid": 1, "tid": thread, "name": "thread_name", "args": { "name": name } }));
                let order = json!({ "sort_index": thread });
                events.push(
                    json!({ "ph": "M", "pid": 1, "tid": thread, "name": "thread_sort_index", "args": order }),
                );
                events.extend(track.iter().map(|span| event(span, thread, clock, program)));
            }
        }
    }
    json!({ "displayTimeUnit": "ns", "traceEvents": events })
}

fn track_name(unit: &str, wave: usize, waves: usize, lane: usize) -> String {
    let wave = if waves > 1 { format!(" wave {wave}") } else { String::new() };
    let lane = if lane > 0 { format!(" ({})", lane + 1) } else { String::new() };
    format!("{unit}{wave}{lane}")
}

/// Deals spans, which are in order of their starts, to as few tracks as keep them apart.
fn lanes<'a>(spans: &[&'a Span]) -> Vec<Vec<&'a Span>> {
    let mut lanes: Vec<Vec<&Span>> = Vec::new();
    for &span in spans {
        let free = |lane: &&mut Vec<&Span>| lane.last().is_none_or(|last| last.end <= span.start);
        match lanes.iter_mut().find(free) {
            Some(lane) => lane.push(span),
            None => lanes.push(vec![span]),
        }
    }
    lanes
}

fn event(span: &Span, thread: u32, clock: Hertz, program: &Program) -> Value {
    let microseconds = |cycles: Cycle| cycles as f64 * 1e6 / clock.get() as f64;
    let slots: Vec<u32> = (0..32).filter(|s| span.slots >> s & 1 == 1).collect();
    let text = program.commands().get(span.command).map(ToString::to_string);
    json!({
        "ph": "X",
        "pid": 1,
        "tid": thread,
        "name": format!("{} #{}", span.name, span.command),
        "cat": span.unit,
        "ts": microseconds(span.start),
        "dur": microseconds(span.end - span.start),
        "args": {
            "command": text,
            "slots": slots,
            "start_cycle": span.start,
            "cycles": span.end - span.start,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: Cycle, end: Cycle) -> Span {
        Span { unit: "WRITE", wave: 0, command: 0, name: "store", slots: 1, start, end }
    }

    #[test]
    fn overlapping_spans_get_tracks_of_their_own() {
        let spans = [span(0, 4), span(2, 6), span(4, 5), span(5, 9)];
        let lanes = lanes(&spans.iter().collect::<Vec<_>>());
        let starts: Vec<Vec<Cycle>> = lanes.iter().map(|l| l.iter().map(|s| s.start).collect()).collect();
        assert_eq!(starts, [vec![0, 4, 5], vec![2]]);
    }

    #[test]
    fn a_product_begins_when_the_one_before_is_done() {
        let mut recorder = Recorder::default();
        recorder.armed((0, 3, 0), 10);
        recorder.armed((0, 4, 0), 12);
        assert_eq!(recorder.multiplied((0, 3, 0), 40), 10..40);
        assert_eq!(recorder.multiplied((0, 4, 0), 50), 40..50);
    }
}
