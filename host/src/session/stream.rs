//! Weights on their way into the device's windows, ahead of the passes that need them.

use crate::backend::{Backend, BackendError};
use crate::compile::{Part, Pass};
use crate::packed::PackedModel;
use fastcar_arch::step::{ACTIVE, StepReport, StepTable};
use fastcar_arch::units::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the windows hold, or will when all that was staged is there.
#[derive(Default)]
pub(super) struct Windows {
    /// First byte of the constants held, by first byte of the window.
    held: BTreeMap<u64, u64>,
    pending: bool,
    copied: u64,
}

impl Windows {
    pub(super) fn copied(&self) -> Bytes {
        Bytes(self.copied)
    }

    /// Sees to it that a pass finds its weights, and begins to fill every other window with what will be used next in it
    /// if that is needed in any case. The passes of a step are followed by those of the next.
    pub(super) fn prepare(
        &mut self,
        backend: &mut dyn Backend,
        model: &Arc<PackedModel>,
        passes: &[Pass],
        index: usize,
        table: &StepTable,
        report: &StepReport,
    ) -> Result<(), BackendError> {
        let pass = &passes[index];
        if let Some(part) = pass.weights.as_ref().filter(|_| is_needed(pass, report)) {
            self.stage(backend, model, part)?;
        }
        if std::mem::take(&mut self.pending) {
            backend.staged()?;
        }
        let mut used: Vec<u64> = pass.weights.iter().map(|part| part.to).collect();
        let in_this_step = passes[index + 1..].iter().map(|pass| (pass, Some(table)));
        let in_the_next = passes.iter().map(|pass| (pass, None));
        for (pass, table) in in_this_step.chain(in_the_next).take(passes.len() - 1) {
            let Some(part) = pass.weights.as_ref().filter(|part| !used.contains(&part.to)) else { continue };
            used.push(part.to);
            if will_be_needed(pass, table) {
                self.stage(backend, model, part)?;
            }
        }
        Ok(())
    }

    fn stage(
        &mut self,
        backend: &mut dyn Backend,
        model: &Arc<PackedModel>,
        part: &Part,
    ) -> Result<(), BackendError> {
        if self.held.get(&part.to) == Some(&part.source.start) {
            return Ok(());
        }
        // While it is being overwritten, it holds nothing.
        self.held.remove(&part.to);
        backend.stage(model, part)?;
        self.held.insert(part.to, part.source.start);
        self.pending = true;
        self.copied += part.source.end - part.source.start;
        Ok(())
    }
}

/// Whether a pass needs its weights whatever its gate decides: a slot has to compute. Of a step whose table is not
/// known, a gate may let all slots replay.
fn will_be_needed(pass: &Pass, table: Option<&StepTable>) -> bool {
    let Some(gate) = pass.decided else { return true };
    table.is_some_and(|table| table.mask(ACTIVE) & !table.gates[usize::from(gate)].allow != 0)
}

/// Whether any slot of a pass uses its weights.
fn is_needed(pass: &Pass, report: &StepReport) -> bool {
    let Some(gate) = pass.decided else { return true };
    let gate = &report.gates[usize::from(gate)];
    gate.active & !gate.replay != 0
}
