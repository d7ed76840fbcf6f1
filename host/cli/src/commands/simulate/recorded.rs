//! Decisions that `fastcar decode --record` wrote, in the place of drawn ones.

use super::setup::{Fixed, Point, Skip};
use super::values::{ActiveShares, ReplayShare, Rows};
use crate::exit::usage;
use crate::table::percent;
use anyhow::Result;
use fastcar_host::simulate::{Recording, Scenario, SimulateError, Simulation};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A recording and where it is from.
pub struct Recorded {
    path: PathBuf,
    recording: Recording,
}

impl Recorded {
    /// From a file.
    ///
    /// # Errors
    /// The file cannot be read, or is no recording.
    pub fn load(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), recording: Recording::load(path)? })
    }

    /// The point with the rows and the method that were recorded.
    pub fn point(&self, point: Point) -> Point {
        let found = self.recording.statistics();
        let skip = match &self.recording.head().method[..] {
            "replay" => Skip::Replay(ReplayShare::Share(found.replay)),
            "delta" => Skip::Delta(ActiveShares(found.active_blocks)),
            _ => Skip::Dense,
        };
        Point { rows: Rows(self.recording.batch()), skip, ..point }
    }

    /// The scenario of a point, over the positions that were recorded where no others are asked for.
    ///
    /// # Errors
    /// As [`Fixed::scenario`], or flags that say how replays are decided where none were recorded.
    pub fn scenario(&self, fixed: &Fixed, point: &Point) -> Result<Scenario> {
        let head = self.recording.head();
        let settles = fixed.gate.is_some() || fixed.coupling.is_some() || fixed.coupled;
        if settles && !(head.method == "replay" && (head.paired || fixed.gate.is_some())) {
            return usage(format!(
                "--gate, --coupling and --coupled are about recorded replays, the last two about those of pairs: \
                 {} has the method {} of {}",
                self.path.display(),
                head.method,
                if head.paired { "pairs" } else { "single rows" }
            ));
        }
        let fixed = Fixed { prompt: fixed.prompt.or(Some(head.prompt)), ..fixed.clone() };
        let mut scenario = fixed.scenario(point)?;
        let recorded = self.recording.positions();
        if fixed.frames.is_none() {
            // The last token that a decode makes is not processed, but the memory has room for it.
            scenario.workload = scenario.workload.with_generated(recorded.end.saturating_add(1));
        }
        let end = recorded.end.min(scenario.workload.generated());
        scenario.positions.get_or_insert(recorded.start..end);
        // Nothing is drawn with them, but they say what was decided.
        scenario.statistics = self.recording.statistics();
        Ok(scenario)
    }

    /// Compiles the programs of a scenario, to run with these decisions.
    ///
    /// # Errors
    /// As [`Scenario::prepare_recorded`].
    pub fn prepare(&self, scenario: Scenario) -> Result<Simulation, SimulateError> {
        scenario.prepare_recorded(self.recording.clone())
    }

    /// Where the decisions are from, and what was decided, for people.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let (head, found) = (self.recording.head(), self.recording.statistics());
        let count = self.recording.positions().len();
        let mut rows = vec![("decisions", format!("recorded: {}, {count} positions", self.path.display()))];
        let list = |shares: &[f64]| shares.iter().map(|&s| percent(s)).collect::<Vec<_>>().join(" ");
        match &head.method[..] {
            "replay" => {
                let layers = list(&found.profile);
                let layers = if layers.is_empty() { String::new() } else { format!(", by layer {layers}") };
                let pairs = match head.paired {
                    true => format!(", correlation of pairs {:.3}", found.correlation),
                    false => String::new(),
                };
                rows.push(("recorded", format!("replays {}{layers}{pairs}", percent(found.replay))));
            }
            "delta" => rows.push((
                "recorded",
                format!("active blocks {} of the inputs of qkv, o, up, down", list(&found.active_blocks)),
            )),
            _ => {}
        }
        rows
    }

    /// The same as JSON.
    pub fn json(&self) -> Value {
        let (head, found) = (self.recording.head(), self.recording.statistics());
        json!({
            "file": self.path,
            "positions": self.recording.positions().len(),
            "method": head.method,
            "replay_share": found.replay,
            "replay_share_by_layer": found.profile,
            "correlation": found.correlation,
            "active_block_shares": found.active_blocks,
        })
    }
}
