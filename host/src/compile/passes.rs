//! What a step runs one after the other, and which constants must be in memory for it.

use std::ops::Range;

/// A range of the packed constants, the same on every channel, and where it lies in device memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// Local bytes of the packed constants.
    pub source: Range<u64>,
    /// First local byte in device memory.
    pub to: u64,
}

/// One run of a step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pass {
    /// Position in [`super::Compiled::body`].
    pub program: usize,
    /// Weights that must have been copied before, where they are streamed.
    pub weights: Option<Part>,
    /// The gate whose decision of an earlier pass this one carries out. Where it replays every slot, no weights are
    /// needed.
    pub decided: Option<u16>,
}

impl Pass {
    /// A run that finds everything in memory.
    pub(super) fn resident(program: usize) -> Self {
        Self { program, weights: None, decided: None }
    }
}
