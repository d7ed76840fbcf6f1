//! When a channel takes which beat: docs/cycles.md (MAC array), cycle by cycle.

use fastcar_hw::attn::Spans;
use std::collections::VecDeque;

/// Number of a stream.
pub const MAIN: usize = 0;
pub const AHEAD: usize = 1;

/// What is done with a last beat.
const KEYS: usize = 0;
const VALUES: usize = 1;
const PRODUCT: usize = 2;

/// The keys, or the values, of older blocks or of the own one; a product of weights.
struct Part {
    /// The cycle in which its first beat may be taken; of a product when that is fed.
    start: Option<u64>,
    kind: usize,
    /// Nothing of its kind follows.
    ends: bool,
    /// Cycles that a beat occupies.
    pace: u64,
    /// Beats to come, and the stream.
    beats: u64,
    stream: usize,
}

/// A phase on a channel: cycles that a beat occupies, and for each beat whether it is the own block's, and the stream.
pub struct Phase<'a> {
    pub values: bool,
    pub pace: u64,
    pub beats: &'a [(bool, usize)],
}

/// A beat that is being used.
struct InUse {
    /// The cycle in which it is used up.
    end: u64,
    /// Stream, last of its burst; nothing of a part without beats.
    beat: Option<(usize, bool)>,
    /// What ends with it.
    ends: Option<usize>,
}

/// What is seen in a cycle.
#[derive(Default, Debug)]
pub struct Outputs {
    pub ready: [bool; 2],
    pub taken: Option<usize>,
    /// A beat is used up in the next cycle: stream, last of its burst.
    pub free: Option<(usize, bool)>,
    /// Keys, values, a product are done.
    pub done: [bool; 3],
    pub busy: bool,
    /// A beat is taken in the cycle in which the one before is used up; of another phase.
    pub at_once: bool,
    pub phase_at_once: bool,
    /// Keys or values behind weights, or these behind them.
    pub other_at_once: bool,
    /// A part without beats is passed over.
    pub passed: bool,
    /// A beat would have been taken but for the phase's start.
    pub early: bool,
}

#[derive(Default)]
pub struct Model {
    parts: VecDeque<Part>,
    in_use: Option<InUse>,
}

impl Model {
    /// A phase is told of in this cycle.
    pub fn arm(&mut self, now: u64, phase: &Phase<'_>) {
        for own in [false, true] {
            let here = || phase.beats.iter().filter(|beat| beat.0 == own);
            self.parts.push_back(Part {
                // One product a cycle is armed.
                start: Some(now + Spans::START + u64::from(own)),
                kind: if phase.values { VALUES } else { KEYS },
                ends: own,
                pace: phase.pace,
                beats: here().count() as u64,
                stream: here().next().map_or(MAIN, |beat| beat.1),
            });
        }
    }

    /// A product is armed.
    pub fn expect(&mut self, pace: u64, beats: u64, stream: usize) {
        self.parts.push_back(Part { start: None, kind: PRODUCT, ends: true, pace, beats, stream });
    }

    /// The next product is fed in this cycle.
    pub fn feed(&mut self, now: u64) {
        let fed = self.parts.iter_mut().find(|part| part.start.is_none());
        fed.unwrap().start = Some(now + 1);
    }

    /// The cycle's outputs: `beats` are on the streams, with whether they are the last of their bursts.
    pub fn predict(&mut self, now: u64, beats: [Option<bool>; 2]) -> Outputs {
        let mut out = Outputs::default();
        let ended = self.in_use.take_if(|used| used.end == now);
        let used = ended.iter().chain(&self.in_use);
        out.busy = used.into_iter().any(|used| used.beat.is_some());
        if let Some(kind) = ended.as_ref().and_then(|used| used.ends) {
            out.done[kind] = true;
        }
        if self.in_use.is_none() {
            self.offer(now, beats, &mut out, ended.as_ref());
        }
        let ending = self.in_use.as_ref().filter(|used| used.end == now + 1);
        out.free = ending.and_then(|used| used.beat);
        out
    }

    fn offer(&mut self, now: u64, beats: [Option<bool>; 2], out: &mut Outputs, ended: Option<&InUse>) {
        let Some(part) = self.parts.front_mut() else { return };
        let stream = part.stream;
        if part.start.is_none_or(|start| now < start) {
            out.early = part.start.is_some() && part.beats > 0 && beats[stream].is_some();
            return;
        }
        let ends = (part.ends && part.beats <= 1).then_some(part.kind);
        if part.beats == 0 {
            out.passed = true;
            self.in_use = Some(InUse { end: now + 1, beat: None, ends });
            self.parts.pop_front();
            return;
        }
        out.ready[stream] = true;
        let Some(last_of_burst) = beats[stream] else { return };
        out.taken = Some(stream);
        out.at_once = ended.is_some();
        let before = ended.and_then(|used| used.ends);
        out.phase_at_once = before.is_some();
        out.other_at_once = before.is_some_and(|kind| (kind == PRODUCT) != (part.kind == PRODUCT));
        part.beats -= 1;
        self.in_use = Some(InUse { end: now + part.pace, beat: Some((stream, last_of_burst)), ends });
        if part.beats == 0 {
            self.parts.pop_front();
        }
    }

    pub fn idle(&self) -> bool {
        self.parts.is_empty() && self.in_use.is_none()
    }
}
