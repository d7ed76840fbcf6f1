//! When a channel takes which beat: docs/cycles.md (MAC array), cycle by cycle.

use fastcar_hw::attn::Spans;
use std::collections::VecDeque;

/// Number of a stream.
pub const MAIN: usize = 0;
pub const AHEAD: usize = 1;

/// A phase on a channel.
pub struct Phase {
    /// The cycle in which its first beat may be taken.
    start: u64,
    values: bool,
    /// Cycles that a beat occupies.
    pace: u64,
    /// Of the own block; the stream.
    beats: VecDeque<(bool, usize)>,
}

impl Phase {
    pub fn new(armed: u64, values: bool, pace: u64, beats: &[(bool, usize)]) -> Self {
        Self { start: armed + Spans::START, values, pace, beats: beats.iter().copied().collect() }
    }
}

/// A beat that is being used.
struct InUse {
    /// The cycle in which it is used up.
    end: u64,
    stream: usize,
    last_of_burst: bool,
    /// The phase that ends with it is values.
    ends: Option<bool>,
}

/// What is seen in a cycle.
#[derive(Default, Debug)]
pub struct Outputs {
    pub ready: [bool; 2],
    pub taken: Option<usize>,
    /// A beat is used up in the next cycle: stream, last of its burst.
    pub free: Option<(usize, bool)>,
    /// Keys, values are done.
    pub done: [bool; 2],
    pub busy: bool,
    /// A beat is taken in the cycle in which the one before is used up; of another phase.
    pub at_once: bool,
    pub phase_at_once: bool,
    /// A phase without beats is passed over.
    pub passed: bool,
    /// A beat would have been taken but for the phase's start.
    pub early: bool,
}

#[derive(Default)]
pub struct Model {
    pub phases: VecDeque<Phase>,
    in_use: Option<InUse>,
}

impl Model {
    /// The cycle's outputs: `beats` are on the streams, with whether they are the last of their bursts.
    pub fn predict(&mut self, now: u64, beats: [Option<bool>; 2]) -> Outputs {
        let mut out = Outputs::default();
        let ended = self.in_use.take_if(|used| used.end == now);
        out.busy = ended.is_some() || self.in_use.is_some();
        if let Some(values) = ended.as_ref().and_then(|used| used.ends) {
            out.done[usize::from(values)] = true;
        }
        if self.in_use.is_none() {
            self.offer(now, beats, &mut out, ended.as_ref());
        }
        let ending = self.in_use.as_ref().filter(|used| used.end == now + 1);
        out.free = ending.map(|used| (used.stream, used.last_of_burst));
        out
    }

    fn offer(&mut self, now: u64, beats: [Option<bool>; 2], out: &mut Outputs, ended: Option<&InUse>) {
        let Some(phase) = self.phases.front_mut() else { return };
        let Some(&(own, stream)) = phase.beats.front() else {
            // The product of the own block is armed, and over, a cycle later.
            if now > phase.start {
                out.passed = true;
                out.done[usize::from(phase.values)] = true;
                self.phases.pop_front();
            }
            return;
        };
        if now < phase.start + u64::from(own) {
            out.early = beats[stream].is_some();
            return;
        }
        out.ready[stream] = true;
        let Some(last_of_burst) = beats[stream] else { return };
        out.taken = Some(stream);
        out.at_once = ended.is_some();
        out.phase_at_once = ended.is_some_and(|used| used.ends.is_some());
        phase.beats.pop_front();
        let ends = phase.beats.is_empty().then_some(phase.values);
        self.in_use = Some(InUse { end: now + phase.pace, stream, last_of_burst, ends });
        if ends.is_some() {
            self.phases.pop_front();
        }
    }

    pub fn idle(&self) -> bool {
        self.phases.is_empty() && self.in_use.is_none()
    }
}
