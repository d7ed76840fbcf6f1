//! What the units did when: spans for a timeline, and their export for Perfetto.

use crate::dram::Cycle;

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
