//! Weights on their way into the device's windows, ahead of the passes that need them.

use crate::backend::{Backend, BackendError};
use crate::compile::{Part, Pass};
use crate::packed::PackedModel;
use fastcar_arch::step::StepReport;
use fastcar_arch::units::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Passes behind the one that begins whose weights are copied while it runs, if they have windows of their own.
const AHEAD: usize = 2;

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

    /// Sees to it that a pass finds its weights, and begins to copy what is needed in any case by those behind it. The
    /// passes of a step are followed by those of the next.
    pub(super) fn prepare(
        &mut self,
        backend: &mut dyn Backend,
        model: &Arc<PackedModel>,
        passes: &[Pass],
        index: usize,
        report: &StepReport,
    ) -> Result<(), BackendError> {
        if let Some(part) = passes[index].weights.as_ref().filter(|_| is_needed(&passes[index], report)) {
            self.stage(backend, model, part)?;
        }
        if std::mem::take(&mut self.pending) {
            backend.staged()?;
        }
        let mut used: Vec<u64> = passes[index].weights.iter().map(|part| part.to).collect();
        for pass in passes.iter().cycle().skip(index + 1).take(AHEAD.min(passes.len() - 1)) {
            let Some(part) = &pass.weights else { continue };
            // What a gate is still to decide may not be needed at all.
            if pass.decided.is_none() && !used.contains(&part.to) {
                self.stage(backend, model, part)?;
            }
            used.push(part.to);
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

/// Whether any slot of a pass uses its weights.
fn is_needed(pass: &Pass, report: &StepReport) -> bool {
    let Some(gate) = pass.decided else { return true };
    let gate = &report.gates[usize::from(gate)];
    gate.active & !gate.replay != 0
}
