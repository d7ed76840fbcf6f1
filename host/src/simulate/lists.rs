//! The block lists that a session would have written before a run.

use crate::attention::Place;
use crate::compile::ListRecords;
use fastcar_arch::isa::Command;
use fastcar_arch::program::Program;
use fastcar_arch::step::{ACTIVE, StepTable};
use fastcar_golden::Decisions;

/// Fills in what every command that reads block lists finds there.
pub(super) fn fill(
    program: &Program,
    records: &[ListRecords],
    table: &StepTable,
    (prompt, period): (u32, u32),
    decisions: &mut Decisions,
) {
    if records.is_empty() {
        return;
    }
    for (slot, entry) in table.slots.iter().enumerate().filter(|(_, s)| s.has(ACTIVE)) {
        let place = Place { token: entry.pos, prompt, period };
        let lists: Vec<_> = records.iter().map(|r| r.lists(place)).collect();
        for (index, command) in program.commands().iter().enumerate() {
            let Command::Attn(c) = command else { continue };
            let found = records.iter().position(|r| c.list_entries > 0 && r.addr == c.list.0);
            for (head, list) in found.iter().flat_map(|&r| lists[r].iter().enumerate()) {
                decisions.lists.insert((index as u32, slot as u32, head as u32), list.clone());
            }
        }
    }
}
