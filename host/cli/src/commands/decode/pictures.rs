//! The animation and the contact sheet of a decode.

use super::Runs;
use super::plan::Plan;
use super::report::{Report, frames};
use crate::render::gif::{Columns, animate};
use crate::render::sheet::{Block, Row, sheet};
use crate::render::tint::tint;
use crate::render::{image_of, png};
use anyhow::Result;
use fastcar_host::model::{Codebook, Frame};
use fastcar_host::policy::{Method, Policy};
use fastcar_host::session::DecodeStats;
use image::RgbImage;

/// Encoded files.
pub struct Pictures {
    /// Animation.
    pub gif: Vec<u8>,
    /// Contact sheet.
    pub png: Vec<u8>,
}

/// One sequence's videos.
struct Videos {
    truth: Option<Vec<RgbImage>>,
    dense: Option<Vec<RgbImage>>,
    policy: Vec<RgbImage>,
    skipped: Option<Vec<RgbImage>>,
}

/// Draws both; none where not a single frame is whole.
///
/// # Errors
/// Tokens that cannot be rendered, or an encoder's failure.
pub fn draw(report: &Report, plan: &Plan, runs: &Runs, codebook: &Codebook) -> Result<Option<Pictures>> {
    let all = (0..plan.sequences.len())
        .map(|i| videos(report, plan, runs, i, codebook))
        .collect::<Result<Vec<_>>>()?;
    if all.iter().any(|v| v.policy.is_empty()) {
        return Ok(None);
    }
    let columns = animation(&report.policy, &all);
    let block = |(videos, sequence): (Videos, _)| block(&report.policy, videos, sequence);
    let blocks: Vec<Block> = all.into_iter().zip(&report.sequences).map(block).collect();
    let png = png(&sheet(&blocks, legend(&report.policy))?)?;
    Ok(Some(Pictures { gif: animate(&columns)?, png }))
}

fn videos(report: &Report, plan: &Plan, runs: &Runs, i: usize, codebook: &Codebook) -> Result<Videos> {
    let images = |frames: &[Frame]| frames.iter().map(image_of).collect::<Vec<_>>();
    let policy = images(&frames(plan, &runs.policy.tokens[i], codebook)?);
    let dense = runs
        .dense
        .as_ref()
        .map(|run| Ok::<_, anyhow::Error>(images(&frames(plan, &run.tokens[i], codebook)?)));
    let truth = plan.sequences[i]
        .truth
        .as_ref()
        .map(|clip| images(&clip.frames[..clip.frames.len().min(policy.len())]));
    let skips = *report.policy.method() != Method::Dense;
    let skipped = skips.then(|| skip_maps(&policy, &runs.policy.stats[i], codebook.video().grid()));
    Ok(Videos { truth, dense: dense.transpose()?, policy, skipped })
}

/// Every frame tinted by what was skipped while its tokens were processed.
fn skip_maps(video: &[RgbImage], stats: &DecodeStats, grid: [usize; 2]) -> Vec<RgbImage> {
    let shares: Vec<Option<f32>> = stats.positions.iter().map(|p| p.eligible.then_some(p.skipped)).collect();
    let period = grid[0] * grid[1];
    let of = |frame: usize| shares.get(frame * period..).map_or(&[][..], |s| &s[..period.min(s.len())]);
    video.iter().enumerate().map(|(i, picture)| tint(picture, grid, of(i))).collect()
}

/// The word for a policy's row.
fn name(policy: &Policy) -> &'static str {
    match policy.method() {
        Method::Dense if policy.attention().is_dense() => "dense",
        Method::Dense => "sparse",
        Method::Replay { .. } => "replay",
        Method::Delta { .. } => "delta",
    }
}

fn legend(policy: &Policy) -> Option<&'static str> {
    match policy.method() {
        Method::Dense => None,
        Method::Replay { .. } => Some("of the patch's layers replayed   grey: no replay possible yet"),
        Method::Delta { .. } => Some("of the patch's weights not read   grey: no skipping possible yet"),
    }
}

fn animation(policy: &Policy, all: &[Videos]) -> Columns {
    let row = |v: &Videos| {
        let named = [
            ("truth", v.truth.clone()),
            ("dense", v.dense.clone()),
            (name(policy), Some(v.policy.clone())),
            ("skipped", v.skipped.clone()),
        ];
        named.into_iter().filter_map(|(name, video)| video.map(|video| (name.to_owned(), video))).unzip()
    };
    let (names, rows): (Vec<Vec<String>>, Vec<Vec<Vec<RgbImage>>>) = all.iter().map(row).unzip();
    Columns { names: names.into_iter().next().unwrap_or_default(), rows }
}

fn block(policy: &Policy, videos: Videos, sequence: &super::report::SequenceReport) -> Block {
    let Videos { truth, dense, policy: own, skipped } = videos;
    let rows = [("truth", truth), ("dense", dense), (name(policy), Some(own)), ("skipped", skipped)];
    let rows = rows
        .into_iter()
        .filter_map(|(label, tiles)| tiles.map(|tiles| Row { label: label.to_owned(), tiles }));
    Block {
        title: sequence.title(),
        facts: sequence.savings_text().unwrap_or_default(),
        rows: rows.collect(),
    }
}
