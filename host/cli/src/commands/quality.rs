//! `fastcar quality`: what policies cost in pictures, as a table, a CSV file and a plot.

use crate::exit::{Interrupted, usage};
use crate::output::{self, Staged};
use crate::plot::{self, Line, Panel};
use crate::policy_args::AttentionArgs;
use crate::progress::Ui;
use crate::render;
use crate::source::{ModelArgs, Opened};
use crate::table;
use anyhow::{Context, Result};
use fastcar_host::backend::GoldenBackend;
use fastcar_host::model::Model;
use fastcar_host::policy::Method;
use fastcar_host::quality::{Bench, Family, Fidelity, Measurement, Point, QualityError, Scene, sweep};
use fastcar_host::quality::{sweep::targets, table as csv};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Held-out videos to measure on, from the first
    #[arg(long, value_name = "N", default_value_t = 8)]
    clips: usize,
    /// Policies: delta, input-delta, tas, tas-paper, random or budget; then +per-layer (input-delta and both tas), +ageN,
    /// +QKV:O:GATE_UP:DOWN (delta: relative thresholds) as wanted
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "delta,delta+0.5:0.7:1:1,input-delta,tas,tas-paper,tas+age2,random,budget"
    )]
    policies: Vec<Family>,
    #[command(flatten)]
    attention: AttentionArgs,
    /// Points of each curve
    #[arg(long, value_name = "N", default_value_t = 7)]
    points: usize,
    /// Weight traffic of the first point, over dense
    #[arg(long, value_name = "T", default_value_t = 0.95)]
    from: f64,
    /// Weight traffic of the last point
    #[arg(long, value_name = "T", default_value_t = 0.35)]
    to: f64,
    /// Folder for quality.csv and quality.png
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// The model has no held-out videos or does not fit, the folder cannot be written, or the user interrupts.
pub fn run(args: Args) -> Result<()> {
    args.check()?;
    output::prepare_folder(&args.out)?;
    let ui = Ui::new(args.quiet, args.json);
    let opened = args.model.open(ui)?;
    let bench = bench(&opened, heldout(opened.model()?, args.clips)?, &args.attention, ui)?;
    let targets = targets(args.from, args.to, args.points);
    let bar = ui.bar("measuring", (args.policies.len() * targets.len()) as u64 + 1, "points");
    let points = sweep(&bench, &args.policies, &targets, &bar).map_err(|e| explain(e, "while measuring"))?;
    drop(bar);
    let [csv, png] = ["quality.csv", "quality.png"].map(|name| args.out.join(name));
    let mut staged = Staged::default();
    staged.add(&csv, csv::to_csv(&points).as_bytes())?;
    staged.add(&png, &render::png(&plot::draw(&heading(&opened, &bench), &panels(&points))?)?)?;
    staged.commit()?;
    if args.json { output::print_json(&Report::new(&points, csv, png)) } else { print(&points, &csv, &png) }
}

impl Args {
    fn check(&self) -> Result<()> {
        let share = |x: f64| x > 0.0 && x <= 1.0;
        if !share(self.from) || !share(self.to) || self.to > self.from {
            return usage("--from and --to are weight traffics above 0 and at most 1, --from the larger");
        }
        if self.points == 0 || self.clips == 0 {
            return usage("--points and --clips must be at least 1");
        }
        Ok(())
    }
}

/// The first held-out videos of a model.
///
/// # Errors
/// There are none, or fewer.
pub fn heldout(model: &Model, count: usize) -> Result<Vec<Scene>> {
    let heldout = model.heldout()?;
    if count > heldout.clips().len() {
        return usage(format!(
            "--clips {count} is too many: the model has {} held-out videos",
            heldout.clips().len()
        ));
    }
    Ok(heldout.clips()[..count].iter().cloned().map(Scene::from).collect())
}

/// The bench of a model, with its dense decode, and the attention under which policies are measured.
///
/// # Errors
/// The model makes no videos, does not fit, or the user interrupts.
pub fn bench(opened: &Opened, scenes: Vec<Scene>, attention: &AttentionArgs, ui: Ui) -> Result<Bench> {
    let model = opened.model()?;
    let video = model.video().context("the model makes no videos: its config.json has no fastcar_video")?;
    let codebook = video.codebook().is_some().then(|| model.codebook()).transpose()?;
    let bar = ui.bar("dense decode", scenes.len() as u64, "videos");
    let machines = Box::new(|| Box::new(GoldenBackend::new()) as _);
    let bench = Bench::new(Arc::clone(&opened.packed), machines, video, codebook, scenes, &bar)
        .map_err(|e| explain(e, "in the dense decode"))?;
    Ok(bench.with_attention(attention.attention().unwrap_or_default()))
}

/// An interruption becomes what the command line knows as one.
pub fn explain(error: QualityError, place: &str) -> anyhow::Error {
    match error {
        QualityError::Cancelled => Interrupted { place: place.to_owned() }.into(),
        other => other.into(),
    }
}

#[derive(Serialize)]
struct Report<'a> {
    csv: PathBuf,
    plot: PathBuf,
    points: Vec<JsonPoint<'a>>,
}

#[derive(Serialize)]
struct JsonPoint<'a> {
    family: &'a str,
    target_traffic: f64,
    thresholds: String,
    #[serde(flatten)]
    measured: &'a Measurement,
}

impl<'a> Report<'a> {
    fn new(points: &'a [Point], csv: PathBuf, plot: PathBuf) -> Self {
        let point = |p: &'a Point| JsonPoint {
            family: &p.family,
            target_traffic: p.target,
            thresholds: csv::thresholds(&p.policy),
            measured: &p.measured,
        };
        Self { csv, plot, points: points.iter().map(point).collect() }
    }
}

fn print(points: &[Point], csv: &Path, png: &Path) -> Result<()> {
    let head =
        ["policy", "traffic", "replayed", "agreement", "accuracy", "free-running", "PSNR dense", "PSNR true"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(points.iter().map(|p| {
        let mut row = vec![p.family.clone()];
        row.extend(cells(&p.measured));
        row
    }));
    output::print(&format!(
        "{}\n{}",
        table::table(&rows),
        table::pairs(&[("table", csv.display().to_string()), ("plot", png.display().to_string())])
    ))
}

/// A measurement's cells, in the order of the table's heading.
fn cells(m: &Measurement) -> [String; 7] {
    let psnr = |f: Option<Fidelity>| f.map_or_else(|| "-".to_owned(), |f| format!("{:.2} dB", f.psnr_db));
    [
        format!("{:.3}", m.traffic),
        table::percent(m.replay_ratio),
        format!("{:.4}", m.agreement),
        m.accuracy.map_or_else(|| "-".to_owned(), |a| format!("{a:.4}")),
        format!("{:.4}", m.free_agreement),
        psnr(m.against_dense),
        psnr(m.against_truth),
    ]
}

/// A measurement in words.
pub fn describe(m: &Measurement) -> Vec<(&'static str, String)> {
    let [traffic, ratio, agreement, accuracy, free, dense, truth] = cells(m);
    vec![
        ("weight traffic", format!("{traffic} of dense; free-running {:.3}", m.free_traffic)),
        ("skipped", ratio),
        ("agreement", format!("{agreement} with the dense decode; free-running {free}")),
        ("accuracy", format!("{accuracy} along the true videos")),
        ("PSNR", format!("{dense} against the dense videos, {truth} against the true ones")),
        ("clips", m.clips.to_string()),
    ]
}

fn heading(opened: &Opened, bench: &Bench) -> String {
    let format = crate::constants::formats(opened.packed.image());
    let attention = match bench.attention() {
        dense if dense.is_dense() => String::new(),
        sparse => format!(", attention {sparse}"),
    };
    format!("{}, {format} weights, {} held-out videos{attention}", opened.name, bench.clips())
}

fn panels(points: &[Point]) -> Vec<Panel> {
    let (dense, curves): (Vec<_>, Vec<_>) = points.iter().partition(|p| *p.policy.method() == Method::Dense);
    let truth = dense.first().and_then(|p| p.measured.against_truth).map(|f| f.psnr_db);
    let decibels = |f: Option<Fidelity>| f.map(|f| f.psnr_db);
    let agreement =
        panel("Tokens equal to the dense decode's", "share, along the dense decode's tokens", &curves, |m| {
            Some((m.traffic, m.agreement))
        });
    let against_dense =
        panel("Video against the dense video", "PSNR in dB (upper edge: identical)", &curves, |m| {
            Some((m.free_traffic, decibels(m.against_dense)?))
        });
    let mut against_truth = panel("Video against the true video", "PSNR in dB", &curves, |m| {
        Some((m.free_traffic, decibels(m.against_truth)?))
    });
    against_truth.level = truth.map(|db| (db, "dense".to_owned()));
    against_truth.y.end = truth.map_or(against_truth.y.end, |db| against_truth.y.end.max((db + 2.0).ceil()));
    let pictures =
        [against_dense, against_truth].into_iter().filter(|p| p.lines.iter().any(|l| !l.points.is_empty()));
    std::iter::once(agreement).chain(pictures).collect()
}

/// A panel with ranges to fit its points.
fn panel(
    title: &str,
    y_name: &str,
    points: &[&Point],
    of: impl Fn(&Measurement) -> Option<(f64, f64)>,
) -> Panel {
    let mut lines: Vec<Line> = Vec::new();
    for point in points {
        if lines.last().is_none_or(|l| l.name != point.family) {
            lines.push(Line { name: point.family.clone(), points: Vec::new() });
        }
        if let (Some(line), Some(at)) = (lines.last_mut(), of(&point.measured)) {
            line.points.push(at);
        }
    }
    let all = || lines.iter().flat_map(|l| &l.points);
    let x_low = all().map(|p| p.0).fold(0.9, f64::min);
    let finite = || all().map(|p| p.1).filter(|y| y.is_finite());
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(0.0, f64::max));
    let y = if high <= 1.0 {
        (low * 20.0).floor() / 20.0..1.005
    } else {
        (low - 1.0).floor()..(high + 2.0).ceil()
    };
    Panel {
        title: title.to_owned(),
        x_name: "weight traffic over dense".to_owned(),
        y_name: y_name.to_owned(),
        x: (x_low * 10.0).floor() / 10.0..1.0,
        y: if y.start < y.end { y } else { 0.0..1.0 },
        level: None,
        lines,
    }
}
