//! What a run's duration depends on beside its program and step table: the decisions that its data made.

use crate::attention::block_list;
use crate::golden::{Golden, GoldenError};
use fastcar_arch::isa::{Attn, Command, Delta};
use fastcar_arch::step::{StepReport, StepTable};
use std::collections::BTreeMap;

/// Everything in a run that depended on data and decides how long it takes: enough to time the run again without its
/// values. What follows from the program and the step table alone (positions, fresh slots, predicates of inactive
/// slots) is not repeated here.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Decisions {
    /// Per gate of the step table: slots that replay (gate commands; 0 for delta commands).
    pub replay: Vec<u32>,
    /// Per gate of the step table: for each input block, the slots in which it is active (delta commands; empty for
    /// gate commands).
    pub blocks: Vec<Vec<u32>>,
    /// Block lists (block number, token mask) by (command, slot, key/value head), where a command reads one: the
    /// entries as they lie in memory, so a mask may name tokens behind the slot's position, which are not attended.
    pub lists: BTreeMap<(u32, u32, u32), Vec<(u32, u32)>>,
}

impl Decisions {
    /// Nothing decided yet, for the gates of a step table.
    pub(crate) fn new(table: &StepTable) -> Self {
        let gates = table.gates.len();
        Self { replay: vec![0; gates], blocks: vec![Vec::new(); gates], lists: BTreeMap::new() }
    }

    /// Takes down what a command that has just run decided.
    pub(crate) fn record(
        &mut self,
        machine: &Golden,
        index: usize,
        command: &Command,
        active: &[usize],
        report: &StepReport,
    ) -> Result<(), GoldenError> {
        match command {
            Command::GateTas(c) => self.gate(c.gate, report),
            Command::GateDelta(c) => self.gate(c.gate, report),
            Command::GateHost(c) => self.gate(c.gate, report),
            Command::Delta(c) => self.delta(machine, c, active),
            Command::Attn(c) if c.list_entries > 0 => self.attn(machine, index, c, active)?,
            _ => {}
        }
        Ok(())
    }

    fn gate(&mut self, gate: u16, report: &StepReport) {
        let gate = usize::from(gate);
        self.replay[gate] = report.gates[gate].replay;
    }

    fn delta(&mut self, machine: &Golden, c: &Delta, active: &[usize]) {
        let mut slots = vec![0u32; usize::from(c.blocks)];
        for &s in active {
            for (bits, &changed) in slots.iter_mut().zip(&machine.slots[s].mask) {
                *bits |= u32::from(changed) << s;
            }
        }
        self.blocks[usize::from(c.gate)] = slots;
    }

    fn attn(
        &mut self,
        machine: &Golden,
        index: usize,
        c: &Attn,
        active: &[usize],
    ) -> Result<(), GoldenError> {
        for &slot in active {
            for head in 0..usize::from(c.kv_heads) {
                let list = block_list(machine, c, slot, head)?;
                self.lists.insert((index as u32, slot as u32, head as u32), list);
            }
        }
        Ok(())
    }
}
