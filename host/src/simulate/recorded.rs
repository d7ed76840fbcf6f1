//! Recorded decisions: what the values of a decode decided, as a file, to time the same decode without values.
//!
//! # Format
//!
//! Lines of JSON. The first is the head: format and version, sizes of the model's body, and what was decoded. Each
//! further line is one generated position, in order from the first, with the masks of every gate of the step table
//! (`hw/arch`, `step`); bit i of a mask stands for slot i. Lists of masks are run-length coded as `[mask, count]`:
//!
//! ```text
//! {"format":"fastcar-decisions","version":1,"layers":4,...,"period":64,"rows":1,"paired":false,"method":"replay","gate":"tas","attention":"dense","gates":4}
//! {"position":0,"tokens":[[17]],"allow":[[0,4]],"replay":[[0,4]],"blocks":[]}
//! {"position":1,"tokens":[[3]],"allow":[[1,4]],"replay":[[0,1],[1,3]],"blocks":[]}
//! ```
//!
//! `tokens` has each row's input, one per code: its address in the embedding takes its time. `allow` has the slots that may skip, `replay` those that do. `blocks` has, in delta decode, a list per gate: for each
//! input block the slots in which it is active. Everything else follows from the model's sizes, the policy and the
//! position: prompts are dense, and block lists of sparse attention are the policy's.

use super::{Batch, Scenario, Statistics};
use crate::compile::{DELTAS_PER_LAYER, gates};
use crate::image::Shape;
use crate::policy::{Gate, Method, TasForm};
use crate::session::{ObservedRun, ProgramIndex, Session};
use fastcar_arch::num::window::MAX_BLOCKS;
use fastcar_arch::program::MAX_GATES;
use fastcar_arch::step::{ACTIVE, PAIRED, StepTable};
use fastcar_golden::Decisions;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::{Path, PathBuf};

const FORMAT: &str = "fastcar-decisions";
const VERSION: u32 = 1;

/// Why decisions cannot be recorded, read or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// The file cannot be read.
    #[error("decisions file {}: {source}", path.display())]
    Io {
        /// Path.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// A line that is not what the format says.
    #[error("decisions file, line {line}: {message}")]
    Line {
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// Written by another version, or no recording.
    #[error(
        "decisions file: format '{format}' version {version}; this program reads '{FORMAT}' version {VERSION}"
    )]
    Version {
        /// Format found.
        format: String,
        /// Version found.
        version: u32,
    },
    /// Rows that do not advance together.
    #[error(
        "position {position}: {found}; decisions are recorded of rows that start together with prompts of one length, so record fewer sequences"
    )]
    Uneven {
        /// Generated position.
        position: u32,
        /// What differs.
        found: String,
    },
    /// The recording is of something else.
    #[error("the decisions were recorded with {what} {found}, the run has {asked}: choose the recorded one")]
    Mismatch {
        /// What differs.
        what: &'static str,
        /// In the recording.
        found: String,
        /// In the run.
        asked: String,
    },
    /// Positions that were not recorded.
    #[error(
        "positions {}..{} are asked for, the recording has {}..{}: choose among these",
        asked.start, asked.end, found.start, found.end
    )]
    Positions {
        /// Positions asked for.
        asked: Range<u32>,
        /// Positions recorded.
        found: Range<u32>,
    },
}

/// What was recorded.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordingHead {
    format: String,
    version: u32,
    /// Layers of the body.
    pub layers: u32,
    /// Width of the body.
    pub hidden: u32,
    /// Width of its MLPs.
    pub ffn: u32,
    /// Query heads.
    pub heads: u32,
    /// Key/value heads.
    pub kv_heads: u32,
    /// Width of a head.
    pub head_dim: u32,
    /// Tokens of the prompt.
    pub prompt: u32,
    /// Positions of a frame; 0 for a model without frames.
    pub period: u32,
    /// Rows that advance together.
    pub rows: u32,
    /// Whether they are guided pairs.
    pub paired: bool,
    /// `dense`, `replay` or `delta`.
    pub method: String,
    /// What decides on a replay: `tas`, `tas-paper`, `input-delta` or `host`; empty for other methods.
    pub gate: String,
    /// Attended tokens, as in a policy file.
    pub attention: String,
    /// Gates of a step.
    pub gates: u32,
}

/// Masks, run-length coded: (mask, how often in a row).
type Runs = Vec<(u32, u32)>;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    position: u32,
    tokens: Vec<Vec<u32>>,
    allow: Runs,
    replay: Runs,
    blocks: Vec<Runs>,
}

/// The decisions of a decode, position by position.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recording {
    head: RecordingHead,
    positions: Vec<Position>,
}

/// Takes the decisions of a session down.
pub struct Recorder {
    recording: Recording,
}

impl Recorder {
    /// For a session whose prompts have `prompt` tokens. Its backend must take decisions down.
    #[must_use]
    pub fn new(session: &Session, prompt: u32) -> Self {
        let image = session.model().image();
        let Shape { layers, hidden, ffn, heads, kv_heads, head_dim, .. } = image.body.shape;
        let head = RecordingHead {
            format: FORMAT.to_owned(),
            version: VERSION,
            layers,
            hidden,
            ffn,
            heads,
            kv_heads,
            head_dim,
            prompt,
            period: image.period.unwrap_or(0),
            rows: session.options().slots,
            paired: false,
            method: method_name(session.policy().method()).to_owned(),
            gate: gate_name(session.policy().method()).to_owned(),
            attention: session.policy().attention().to_string(),
            gates: gates(session.policy(), layers),
        };
        Self { recording: Recording { head, positions: Vec::new() } }
    }

    /// Takes down a run at a generated position; others, and runs without details, are passed over.
    ///
    /// # Errors
    /// [`RecordingError::Uneven`].
    pub fn observe(&mut self, run: &ObservedRun<'_>) -> Result<(), RecordingError> {
        let (ProgramIndex::Body(_), Some(details)) = (run.program, run.details) else { return Ok(()) };
        let Recording { head, positions } = &mut self.recording;
        let mut slots = run.table.slots.iter().filter(|s| s.has(ACTIVE));
        let Some(position) = slots.clone().next().and_then(|s| s.pos.checked_sub(head.prompt)) else {
            return Ok(());
        };
        let uneven = |found: String| Err(RecordingError::Uneven { position, found });
        if slots.clone().count() as u32 != head.rows {
            return uneven(format!("{} of {} rows advance", slots.count(), head.rows));
        }
        if let Some(other) = slots.find(|s| s.pos != position + head.prompt) {
            return uneven(format!("rows are at tokens {} and {}", position + head.prompt, other.pos));
        }
        if position as usize != positions.len() {
            return uneven(format!("it follows position {}", positions.len()));
        }
        let paired = run.table.mask(PAIRED);
        if paired != 0 && paired != run.table.mask(ACTIVE) {
            return uneven("some rows are guided and some are not".to_owned());
        }
        head.paired = paired != 0;
        let delta = head.method == "delta";
        let allow: Vec<u32> = run.table.gates.iter().map(|g| g.allow).collect();
        let blocks = details.decisions.blocks.iter().filter(|_| delta);
        let tokens = run.table.slots.iter().map(|s| trim(&s.token)).collect();
        positions.push(Position {
            position,
            tokens,
            allow: shrink(&allow),
            replay: shrink(&details.decisions.replay),
            blocks: blocks.map(|b| shrink(b)).collect(),
        });
        Ok(())
    }

    /// The recording.
    #[must_use]
    pub fn finish(self) -> Recording {
        self.recording
    }
}

impl Recording {
    /// What was recorded.
    #[must_use]
    pub fn head(&self) -> &RecordingHead {
        &self.head
    }

    /// Generated positions that were recorded.
    #[must_use]
    pub fn positions(&self) -> Range<u32> {
        0..self.positions.len() as u32
    }

    /// The rows that advanced together.
    #[must_use]
    pub fn batch(&self) -> Batch {
        Batch { rows: self.head.rows, paired: self.head.paired }
    }

    /// As the text of a file.
    ///
    /// # Errors
    /// None that this type can have; those of the writer.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        let mut text = serde_json::to_string(&self.head)? + "\n";
        for position in &self.positions {
            text += &serde_json::to_string(position)?;
            text.push('\n');
        }
        Ok(text)
    }

    /// From the text of a file.
    ///
    /// # Errors
    /// [`RecordingError::Version`] or [`RecordingError::Line`].
    pub fn from_text(text: &str) -> Result<Self, RecordingError> {
        let refuse = |line, message: String| RecordingError::Line { line, message };
        let mut lines = text.lines().enumerate().map(|(i, text)| (i + 1, text));
        let (_, first) = lines.next().ok_or_else(|| refuse(1, "the file is empty".to_owned()))?;
        let head: RecordingHead =
            serde_json::from_str(first).map_err(|e| refuse(1, format!("no head of a recording: {e}")))?;
        if (&head.format[..], head.version) != (FORMAT, VERSION) {
            return Err(RecordingError::Version { format: head.format, version: head.version });
        }
        head.check().map_err(|message| refuse(1, message))?;
        let mut positions: Vec<Position> = Vec::new();
        for (line, text) in lines {
            let position: Position =
                serde_json::from_str(text).map_err(|e| refuse(line, format!("no position: {e}")))?;
            position.check(&head, positions.len()).map_err(|message| refuse(line, message))?;
            positions.push(position);
        }
        Ok(Self { head, positions })
    }

    /// From a file.
    ///
    /// # Errors
    /// As [`Recording::from_text`], or the file cannot be read.
    pub fn load(path: &Path) -> Result<Self, RecordingError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| RecordingError::Io { path: path.to_owned(), source })?;
        Self::from_text(&text)
    }

    /// Ratios that drawn decisions would need to resemble these.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let replay = ReplayCounts::of(self);
        Statistics {
            replay: replay.share(),
            profile: replay.profile(),
            correlation: replay.correlation(),
            active_blocks: std::array::from_fn(|matrix| self.active_share(matrix)),
            seed: 0,
        }
    }

    /// Share of active blocks of the inputs of one kind of matrix, where a predecessor exists.
    fn active_share(&self, matrix: usize) -> f64 {
        let (mut active, mut all) = (0u64, 0u64);
        for position in &self.positions {
            let allow = expand(&position.allow);
            let of_kind = position.blocks.iter().zip(&allow).skip(matrix);
            for (blocks, allow) in of_kind.step_by(DELTAS_PER_LAYER as usize) {
                for &(mask, count) in blocks {
                    active += u64::from((mask & allow).count_ones()) * u64::from(count);
                    all += u64::from(allow.count_ones()) * u64::from(count);
                }
            }
        }
        if all == 0 { 1.0 } else { active as f64 / all as f64 }
    }

    /// Whether a scenario is what was recorded.
    pub(super) fn check(&self, scenario: &Scenario) -> Result<(), RecordingError> {
        let head = &self.head;
        let shape = &scenario.workload.model().body.shape;
        let same = |what, found: &dyn std::fmt::Display, asked: &dyn std::fmt::Display| {
            let (found, asked) = (found.to_string(), asked.to_string());
            if found == asked { Ok(()) } else { Err(RecordingError::Mismatch { what, found, asked }) }
        };
        same("method", &head.method, &method_name(scenario.policy.method()))?;
        same("layers", &head.layers, &shape.layers)?;
        same("width", &head.hidden, &shape.hidden)?;
        same("MLP width", &head.ffn, &shape.ffn)?;
        same("heads", &head.heads, &shape.heads)?;
        same("key/value heads", &head.kv_heads, &shape.kv_heads)?;
        same("head width", &head.head_dim, &shape.head_dim)?;
        same("frame period", &head.period, &scenario.workload.period().unwrap_or(0))?;
        same("prompt tokens", &head.prompt, &scenario.workload.prompt())?;
        same("rows", &head.rows, &scenario.batch.rows)?;
        same("guided pairs", &head.paired, &scenario.batch.paired)?;
        let (asked, found) = (scenario.range(), self.positions());
        if asked.end > found.end {
            return Err(RecordingError::Positions { asked, found });
        }
        same("gate", &head.gate, &gate_name(scenario.policy.method()))?;
        same("attention", &head.attention, scenario.policy.attention())
    }

    /// Sets tokens and the slots that may skip, as they were at a position.
    pub(super) fn enter(&self, position: u32, table: &mut StepTable) {
        let Some(recorded) = self.positions.get(position as usize) else { return };
        for (gate, allow) in table.gates.iter_mut().zip(expand(&recorded.allow)) {
            gate.allow = allow;
        }
        for (slot, tokens) in table.slots.iter_mut().zip(&recorded.tokens) {
            slot.token = std::array::from_fn(|i| tokens.get(i).copied().unwrap_or(0));
        }
    }

    /// What was decided at a position.
    pub(super) fn decide(&self, position: u32) -> Option<Decisions> {
        let recorded = self.positions.get(position as usize)?;
        let mut blocks: Vec<Vec<u32>> = recorded.blocks.iter().map(expand).collect();
        blocks.resize(self.head.gates as usize, Vec::new());
        Some(Decisions { replay: expand(&recorded.replay), blocks, ..Decisions::default() })
    }
}

impl RecordingHead {
    fn check(&self) -> Result<(), String> {
        let per_layer = match &self.method[..] {
            "dense" => 0,
            "replay" => 1,
            "delta" => DELTAS_PER_LAYER,
            other => return Err(format!("method is '{other}': it is dense, replay or delta")),
        };
        if self.gates > MAX_GATES || u64::from(self.gates) != u64::from(self.layers) * u64::from(per_layer) {
            let (gates, layers) = (self.gates, self.layers);
            return Err(format!("{gates} gates: {layers} layers have {per_layer} each, at most {MAX_GATES}"));
        }
        if !(1..=32).contains(&self.rows) {
            return Err(format!("rows is {}: it lies between 1 and 32", self.rows));
        }
        Ok(())
    }

    fn slots(&self) -> u32 {
        u32::MAX >> (32 - self.rows)
    }
}

impl Position {
    /// Whether the lists have the lengths that the head says, before they are expanded.
    fn check(&self, head: &RecordingHead, expected: usize) -> Result<(), String> {
        if self.position as usize != expected {
            return Err(format!("position {} stands where {expected} belongs", self.position));
        }
        if self.tokens.len() != head.rows as usize || self.tokens.iter().any(|t| t.len() > 4) {
            return Err(format!("tokens are not those of {} rows with at most 4 codes", head.rows));
        }
        let sum = |runs: &Runs| runs.iter().map(|r| u64::from(r.1)).sum::<u64>();
        for (name, runs) in [("allow", &self.allow), ("replay", &self.replay)] {
            if sum(runs) != u64::from(head.gates) {
                return Err(format!("{name} has {} gates, the head says {}", sum(runs), head.gates));
            }
        }
        let lists = if head.method == "delta" { head.gates as usize } else { 0 };
        if self.blocks.len() != lists {
            return Err(format!("blocks has {} lists, the head says {lists}", self.blocks.len()));
        }
        if let Some(found) = self.blocks.iter().map(sum).find(|&n| n > MAX_BLOCKS as u64) {
            return Err(format!("{found} blocks of one input: at most {MAX_BLOCKS}"));
        }
        let mut masks = self.blocks.iter().chain([&self.allow, &self.replay]).flatten();
        match masks.find(|r| r.0 & !head.slots() != 0) {
            Some((mask, _)) => Err(format!("mask {mask:#x} names slots beyond the {} rows", head.rows)),
            None => Ok(()),
        }
    }
}

/// Replays, layer by layer.
struct ReplayCounts {
    /// Rows times positions, those of the first frame included.
    decisions: u64,
    layers: Vec<LayerReplays>,
}

#[derive(Clone, Copy, Default)]
struct LayerReplays {
    /// Rows that could replay and rows that did.
    eligible: u64,
    replays: u64,
    /// Pairs that could and pairs that did both.
    pairs: u64,
    joint: u64,
}

impl ReplayCounts {
    fn of(recording: &Recording) -> Self {
        let head = &recording.head;
        let layers = if head.method == "replay" { head.layers } else { 0 };
        let mut out = Self {
            decisions: u64::from(head.rows) * recording.positions.len() as u64,
            layers: vec![LayerReplays::default(); layers as usize],
        };
        for position in &recording.positions {
            let masks = expand(&position.allow).into_iter().zip(expand(&position.replay));
            for (layer, (allow, replay)) in out.layers.iter_mut().zip(masks) {
                layer.eligible += u64::from(allow.count_ones());
                layer.replays += u64::from(replay.count_ones());
                if head.paired {
                    layer.pairs += pairs(allow);
                    layer.joint += pairs(replay);
                }
            }
        }
        out
    }

    fn share(&self) -> f64 {
        let replays: u64 = self.layers.iter().map(|l| l.replays).sum();
        ratio(replays, self.decisions * self.layers.len() as u64)
    }

    /// Ratio of each layer where a replay was possible.
    fn profile(&self) -> Vec<f64> {
        if self.layers.iter().all(|l| l.replays == 0) {
            return Vec::new();
        }
        self.layers.iter().map(|l| ratio(l.replays, l.eligible)).collect()
    }

    /// The share c of second rows that follow the first row's draw: with ratio p, both rows of a pair replay with
    /// probability c p + (1 - c) p^2; summed over the layers.
    fn correlation(&self) -> f64 {
        let (mut excess, mut room) = (0.0, 0.0);
        for layer in self.layers.iter().filter(|l| l.pairs > 0) {
            let p = ratio(layer.replays, layer.eligible);
            excess += ratio(layer.joint, layer.pairs) - p * p;
            room += p - p * p;
        }
        if room > 0.0 { (excess / room).clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// Pairs whose rows are both in a mask.
fn pairs(mask: u32) -> u64 {
    u64::from((mask & mask >> 1 & 0x5555_5555).count_ones())
}

fn ratio(part: u64, all: u64) -> f64 {
    part as f64 / (all as f64).max(1.0)
}

fn method_name(method: &Method) -> &'static str {
    match method {
        Method::Dense => "dense",
        Method::Replay { .. } => "replay",
        Method::Delta { .. } => "delta",
    }
}

/// Gates whose commands, and so cycles, differ.
fn gate_name(method: &Method) -> &'static str {
    match method {
        Method::Replay { gate: Gate::Tas { form: TasForm::Code, .. }, .. } => "tas",
        Method::Replay { gate: Gate::Tas { form: TasForm::Paper, .. }, .. } => "tas-paper",
        Method::Replay { gate: Gate::InputDelta { .. }, .. } => "input-delta",
        Method::Replay { .. } => "host",
        Method::Dense | Method::Delta { .. } => "",
    }
}

/// Without zeros at the end.
fn trim(tokens: &[u32]) -> Vec<u32> {
    let length = tokens.iter().rposition(|&t| t != 0).map_or(0, |last| last + 1);
    tokens[..length].to_vec()
}

fn shrink(masks: &[u32]) -> Runs {
    masks.chunk_by(|a, b| a == b).map(|run| (run[0], run.len() as u32)).collect()
}

fn expand(runs: &Runs) -> Vec<u32> {
    runs.iter().flat_map(|&(mask, count)| std::iter::repeat_n(mask, count as usize)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = r#"{"format":"fastcar-decisions","version":1,"layers":2,"hidden":64,"ffn":96,"heads":2,"kv_heads":2,"head_dim":32,"prompt":4,"period":2,"rows":2,"paired":true,"method":"replay","gate":"tas","attention":"dense","gates":2}"#;

    fn refused(text: &str) -> String {
        Recording::from_text(text).map_or_else(|e| e.to_string(), |r| format!("accepted: {r:?}"))
    }

    fn with(line: &str) -> String {
        refused(&format!("{HEAD}\n{line}"))
    }

    #[test]
    fn text_comes_back() -> Result<(), Box<dyn std::error::Error>> {
        let lines = r#"{"position":0,"tokens":[[7],[]],"allow":[[0,2]],"replay":[[0,2]],"blocks":[]}
{"position":1,"tokens":[[7],[]],"allow":[[3,2]],"replay":[[3,1],[1,1]],"blocks":[]}"#;
        let text = format!("{HEAD}\n{lines}\n");
        let recording = Recording::from_text(&text)?;
        assert_eq!((recording.to_text()?, recording.positions()), (text, 0..2));
        let decisions = recording.decide(1).map(|d| (d.replay, d.blocks));
        assert_eq!(decisions, Some((vec![3, 1], vec![Vec::new(), Vec::new()])));
        assert_eq!(recording.decide(2), None);
        Ok(())
    }

    #[test]
    fn statistics_count_what_is_there() -> Result<(), RecordingError> {
        // Layer 0: both rows replay in one of two eligible positions; layer 1: one row, then the other.
        let lines = r#"{"position":0,"tokens":[[7],[]],"allow":[[0,2]],"replay":[[0,2]],"blocks":[]}
{"position":1,"tokens":[[7],[]],"allow":[[3,2]],"replay":[[3,1],[1,1]],"blocks":[]}
{"position":2,"tokens":[[7],[]],"allow":[[3,2]],"replay":[[0,1],[2,1]],"blocks":[]}"#;
        let found = Recording::from_text(&format!("{HEAD}\n{lines}"))?.statistics();
        assert!((found.replay - 4.0 / 12.0).abs() < 1e-12, "{found:?}");
        assert_eq!(found.profile, [0.5, 0.5]);
        // Joint shares 1/2 and 0 about p^2 = 1/4 cancel out.
        assert_eq!((found.correlation, found.active_blocks), (0.0, [1.0; 4]));
        let delta = HEAD.replace("replay", "delta").replace("\"gates\":2", "\"gates\":8");
        let allow = r#"{"position":0,"tokens":[[7],[]],"allow":[[1,8]],"replay":[[0,8]],"blocks":["#;
        let blocks = "[[1,1],[0,3]],[[3,2]],[[2,2]],[[0,1]],[[1,3],[0,1]],[[1,2]],[[1,2]],[[1,1]]]}";
        let found = Recording::from_text(&format!("{delta}\n{allow}{blocks}"))?.statistics();
        assert_eq!(found.active_blocks, [0.5, 1.0, 0.5, 0.5]);
        assert_eq!((found.replay, found.profile.len()), (0.0, 0));
        Ok(())
    }

    #[test]
    fn hostile_files_are_refused() {
        assert_eq!(refused(""), "decisions file, line 1: the file is empty");
        assert!(refused("{}").starts_with("decisions file, line 1: no head of a recording: missing field"));
        assert_eq!(
            refused(&HEAD.replace("\"version\":1", "\"version\":9")),
            "decisions file: format 'fastcar-decisions' version 9; this program reads 'fastcar-decisions' version 1"
        );
        let gates = HEAD.replace("\"gates\":2", "\"gates\":4000000000");
        assert!(refused(&gates).contains("4000000000 gates: 2 layers have 1 each, at most"));
        assert!(refused(&HEAD.replace("\"rows\":2", "\"rows\":0")).contains("between 1 and 32"));
        assert!(refused(&HEAD.replace("\"replay\"", "\"psychic\"")).contains("it is dense, replay or delta"));
        assert!(with("x").starts_with("decisions file, line 2: no position: "));
        let position = |n: u32, allow: &str, blocks: &str| {
            with(&format!(
                r#"{{"position":{n},"tokens":[[],[]],"allow":{allow},"replay":[[0,2]],"blocks":{blocks}}}"#
            ))
        };
        assert!(position(0, "[[0,2]]", "[]").starts_with("accepted"));
        let tokens =
            r#"{"position":0,"tokens":[[1,2,3,4,5],[]],"allow":[[0,2]],"replay":[[0,2]],"blocks":[]}"#;
        assert!(with(tokens).ends_with("tokens are not those of 2 rows with at most 4 codes"));
        assert!(position(1, "[[0,2]]", "[]").ends_with("line 2: position 1 stands where 0 belongs"));
        let bomb = "[[0,4294967295],[0,4294967295]]";
        assert!(position(0, bomb, "[]").ends_with("allow has 8589934590 gates, the head says 2"));
        assert!(position(0, "[[4,2]]", "[]").ends_with("mask 0x4 names slots beyond the 2 rows"));
        assert!(position(0, "[[0,2]]", "[[[0,1]]]").ends_with("blocks has 1 lists, the head says 0"));
        let delta = HEAD.replace("replay", "delta").replace("\"gates\":2", "\"gates\":8");
        let blocks = r#""blocks":[[],[],[],[],[],[],[],[[1,4294967295]]]"#;
        let text = format!(
            "{delta}\n{{\"position\":0,\"tokens\":[[],[]],\"allow\":[[0,8]],\"replay\":[[0,8]],{blocks}}}"
        );
        assert!(
            refused(&text).ends_with("4294967295 blocks of one input: at most 2048"),
            "{}",
            refused(&text)
        );
    }
}
