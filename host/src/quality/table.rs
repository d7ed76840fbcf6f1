//! Sweeps as CSV, written and read.
//!
//! One row per measured policy. Columns, shares from 0 to 1 throughout and `inf` for the PSNR of identical videos; a
//! field is empty where nothing could be measured:
//!
//! | column | meaning |
//! |---|---|
//! | `family` | `dense`, or how it is decided what is skipped |
//! | `target_traffic` | weight traffic that was asked for |
//! | `traffic` | weight bytes over dense, along the dense decode's tokens |
//! | `replay_ratio` | share of (layer, position) replayed; in delta decode share of weight bytes not needed |
//! | `joint_ratio` | the same where all rows of a sequence replayed |
//! | `agreement` | choices equal to the dense decode's, along its tokens |
//! | `accuracy` | choices equal to the true video, along its tokens |
//! | `free_traffic` | weight bytes over dense, free-running |
//! | `free_agreement` | tokens equal to the dense video, free-running |
//! | `psnr_dense_db`, `ssim_dense` | free-running video against the dense video |
//! | `psnr_true_db`, `ssim_true` | free-running video against the true video |
//! | `clips` | clips measured |
//! | `thresholds` | of the policy: per layer separated by spaces, of delta decode `qkv:o:gate_up:down` |
//!
//! All shares and pictures leave out the first frame, which is given and dense.

use super::{Fidelity, Point};
use crate::policy::{Gate, Method, Policy};
use std::fmt::Write as _;

/// The columns.
pub const HEADER: &str = "family,target_traffic,traffic,replay_ratio,joint_ratio,agreement,accuracy,free_traffic,\
                          free_agreement,psnr_dense_db,ssim_dense,psnr_true_db,ssim_true,clips,thresholds";

/// What a reader needs of a row.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// Family.
    pub family: String,
    /// Weight traffic along the dense decode's tokens.
    pub traffic: f64,
    /// Agreement along the dense decode's tokens.
    pub agreement: f64,
    /// Weight traffic free-running.
    pub free_traffic: f64,
    /// PSNR against the dense video in dB.
    pub psnr_dense_db: Option<f64>,
    /// PSNR against the true video in dB.
    pub psnr_true_db: Option<f64>,
}

/// Text that is no table.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line} of the table: {reason}")]
pub struct TableError {
    line: usize,
    reason: String,
}

/// Points as CSV.
#[must_use]
pub fn to_csv(points: &[Point]) -> String {
    let mut out = format!("{HEADER}\n");
    for p in points {
        let m = &p.measured;
        let (dense, truth) = (fidelity(m.against_dense), fidelity(m.against_truth));
        let accuracy = number(m.accuracy);
        let _ = writeln!(
            out,
            "{},{:.4},{:.4},{:.4},{:.4},{:.4},{accuracy},{:.4},{:.4},{dense},{truth},{},{}",
            p.family,
            p.target,
            m.traffic,
            m.replay_ratio,
            m.joint_ratio,
            m.agreement,
            m.free_traffic,
            m.free_agreement,
            m.clips,
            thresholds(&p.policy),
        );
    }
    out
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |v| format!("{v:.4}"))
}

fn fidelity(f: Option<Fidelity>) -> String {
    let psnr = f.map_or_else(String::new, |f| format!("{:.3}", f.psnr_db));
    format!("{psnr},{}", number(f.and_then(|f| f.ssim)))
}

/// A policy's numbers as text without commas.
#[must_use]
pub fn thresholds(policy: &Policy) -> String {
    let list = |values: &[f32]| values.iter().map(f32::to_string).collect::<Vec<_>>().join(" ");
    match policy.method() {
        Method::Replay { gate: Gate::Tas { thresholds, .. } | Gate::InputDelta { thresholds }, .. } => {
            list(thresholds)
        }
        Method::Replay { gate: Gate::Random { ratio, .. } | Gate::Budget { ratio }, .. } => ratio.to_string(),
        Method::Delta { thresholds, .. } => {
            let four = |t: &crate::policy::DeltaThresholds| t.all().map(|x| x.to_string()).join(":");
            thresholds.iter().map(four).collect::<Vec<_>>().join(" ")
        }
        Method::Dense | Method::Replay { .. } => String::new(),
    }
}

/// Reads what [`to_csv`] wrote.
///
/// # Errors
/// [`TableError`] naming the first line that does not fit.
pub fn from_csv(text: &str) -> Result<Vec<Row>, TableError> {
    let mut lines = text.lines().enumerate();
    if lines.next().map(|(_, first)| first) != Some(HEADER) {
        return Err(TableError { line: 1, reason: format!("it must be {HEADER}") });
    }
    lines.map(|(i, line)| row(line).map_err(|reason| TableError { line: i + 1, reason })).collect()
}

fn row(line: &str) -> Result<Row, String> {
    let names: Vec<&str> = HEADER.split(',').collect();
    let fields: Vec<&str> = line.split(',').collect();
    if fields.len() != names.len() {
        return Err(format!("{} fields, expected {}", fields.len(), names.len()));
    }
    let text = |name: &str| names.iter().position(|n| *n == name).map_or("", |i| fields[i]);
    let value =
        |name: &str| text(name).parse::<f64>().map_err(|_| format!("{name} = '{}' is no number", text(name)));
    let maybe = |name: &str| if text(name).is_empty() { Ok(None) } else { value(name).map(Some) };
    Ok(Row {
        family: text("family").to_owned(),
        traffic: value("traffic")?,
        agreement: value("agreement")?,
        free_traffic: value("free_traffic")?,
        psnr_dense_db: maybe("psnr_dense_db")?,
        psnr_true_db: maybe("psnr_true_db")?,
    })
}

/// A family's agreement at a traffic, between its two nearest rows; none outside them.
#[must_use]
pub fn agreement_at(rows: &[Row], family: &str, traffic: f64) -> Option<f64> {
    let mut curve: Vec<(f64, f64)> =
        rows.iter().filter(|r| r.family == family).map(|r| (r.traffic, r.agreement)).collect();
    curve.sort_by(|a, b| a.0.total_cmp(&b.0));
    let pair = curve.windows(2).find(|w| w[0].0 <= traffic && traffic <= w[1].0)?;
    let share = (traffic - pair[0].0) / (pair[1].0 - pair[0].0).max(f64::MIN_POSITIVE);
    Some(pair[0].1 + (pair[1].1 - pair[0].1) * share)
}
