//! `fastcar sweep`: every point of a grid of machines and policies, as a CSV file and a plot.

mod figure;
mod grid;
mod rows;

use crate::commands::simulate::run::{self as simulation, Steps, steps};
use crate::commands::simulate::setup::{Fixed, Point, Skip};
use crate::commands::simulate::values::ReplayShare;
use crate::exit::{Interrupted, usage};
use crate::interrupt;
use crate::output::{self, Staged};
use crate::progress::Ui;
use crate::render;
use crate::table::{pairs, table};
use anyhow::Result;
use fastcar_host::simulate::{Report, Scenario};
use grid::{Grid, keys};
use rayon::prelude::*;
use rows::{FIGURES, Row};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    grid: Grid,
    #[command(flatten)]
    fixed: Fixed,
    /// Also simulate each machine with nothing skipped, for the columns speedup and speedup_bound
    #[arg(long)]
    baseline: bool,
    /// File for the table
    #[arg(long, value_name = "FILE.csv", default_value = "sweep.csv")]
    out: PathBuf,
    /// Also draw a plot
    #[arg(long, value_name = "FILE.png")]
    plot: Option<PathBuf>,
    /// Flag along the plot's horizontal axis [default: the first that varies in numbers]
    #[arg(long, value_name = "FLAG", requires = "plot")]
    plot_x: Option<String>,
    /// Column along the plot's vertical axis
    #[arg(long, value_name = "COLUMN", requires = "plot", default_value = "positions_per_second")]
    plot_y: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Most points of a grid.
const MOST_POINTS: usize = 10_000;

/// Runs the command.
///
/// # Errors
/// Flags that do not belong together, a file that cannot be written, or the user interrupts. A point that cannot be
/// simulated is a row with the reason.
pub fn run(args: &Args) -> Result<()> {
    let ui = Ui::new(args.fixed.quiet, args.json);
    for path in std::iter::once(&args.out).chain(&args.plot) {
        output::prepare_folder(output::folder_of(path))?;
    }
    let points = args.grid.points();
    if points.len() > MOST_POINTS {
        return usage(format!("the grid has {} points, at most {MOST_POINTS} are simulated", points.len()));
    }
    let rows = simulate(args, &points, ui)?;
    let mut staged = Staged::default();
    staged.add(&args.out, rows::csv(&rows).as_bytes())?;
    if let Some(path) = &args.plot {
        let title = heading(args);
        let image = figure::draw(&title, &rows, args.plot_x.as_deref(), &args.plot_y)?;
        staged.add(path, &render::png(&image)?)?;
    }
    staged.commit()?;
    if args.json { output::print_json(&json(args, &rows)) } else { output::print(&text(args, &rows)) }
}

fn heading(args: &Args) -> String {
    let sample = match args.fixed.sample {
        Some(count) => format!(", {count} positions of each video simulated"),
        None => String::new(),
    };
    format!("{}{sample}", args.fixed.workload)
}

/// A point's run, or why there is none.
type Outcome = Result<Report, String>;

/// Simulates all points, and with them the dense runs of their machines, each once.
fn simulate(args: &Args, points: &[Point], ui: Ui) -> Result<Vec<Row>> {
    let mut scenarios: BTreeMap<String, Result<Scenario, String>> = BTreeMap::new();
    for point in points {
        let scenario = args.fixed.scenario(point).map_err(|e| e.to_string());
        scenarios.insert(name(point), scenario);
        if args.baseline {
            let dense = point.dense();
            let scenario = args.fixed.without_replays().scenario(&dense).map_err(|e| e.to_string());
            scenarios.insert(name(&dense), scenario);
        }
    }
    let total = scenarios.values().flatten().map(|s| steps(s, args.fixed.sample)).sum();
    let bar = Steps::new(ui, &format!("sweeping {} points", points.len()), total);
    let run = |(name, scenario): (String, Result<Scenario, String>)| -> (String, Outcome) {
        let run = |s| simulation::run(s, args.fixed.sample, &bar).map_err(|e| e.to_string());
        (name, scenario.and_then(run))
    };
    let reports: BTreeMap<String, Outcome> = scenarios.into_par_iter().map(run).collect();
    if interrupt::requested() {
        return Err(Interrupted { place: "while sweeping".to_owned() }.into());
    }
    let row = |point: &Point| {
        let dense =
            reports.get(&name(&point.dense())).and_then(|r| r.as_ref().ok()).filter(|_| args.baseline);
        let own = reports.get(&name(point)).map(|r| r.as_ref().map_err(Clone::clone));
        let caps = point.skip == Skip::Replay(ReplayShare::Cap);
        let cap = caps.then(|| args.fixed.scenario(point).ok().map(|s| s.replay_limit())).flatten();
        own.map(|own| Row::new(point, cap, own, dense))
    };
    Ok(points.iter().filter_map(row).collect())
}

/// All that tells a point from others.
fn name(point: &Point) -> String {
    let all: Vec<String> = keys(point).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    all.join(" ")
}

const SHOWN: [&str; 5] =
    ["positions_per_second", "share_of_peak", "share_of_roofline", "mlp_efficiency", "speedup"];

fn text(args: &Args, rows: &[Row]) -> String {
    let names = rows.first().map(|r| r.keys.iter().map(|k| k.0.clone()).collect()).unwrap_or_default();
    let mut lines: Vec<Vec<String>> = vec![[names, SHOWN.map(str::to_owned).to_vec()].concat()];
    for row in rows {
        let mut cells: Vec<String> =
            row.keys.iter().map(|k| if k.1.is_empty() { "-".to_owned() } else { k.1.clone() }).collect();
        cells.extend(SHOWN.map(|column| row.number(column).map_or("-".to_owned(), |x| format!("{x:.3}"))));
        cells.extend(row.figures.as_ref().err().map(|error| format!("error: {error}")));
        lines.push(cells);
    }
    let mut files = vec![("workload", heading(args)), ("table", args.out.display().to_string())];
    files.extend(args.plot.iter().map(|path| ("plot", path.display().to_string())));
    format!("{}\n{}", table(&lines), pairs(&files))
}

fn json(args: &Args, rows: &[Row]) -> serde_json::Value {
    let entry = |row: &Row| {
        let mut entry: serde_json::Map<String, serde_json::Value> =
            row.keys.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        match &row.figures {
            Ok(figures) => {
                entry.extend(FIGURES.iter().zip(figures).map(|(name, x)| ((*name).to_owned(), (*x).into())))
            }
            Err(error) => drop(entry.insert("error".to_owned(), error.clone().into())),
        }
        serde_json::Value::from(entry)
    };
    serde_json::json!({
        "workload": args.fixed.workload,
        "sample_positions": args.fixed.sample,
        "csv": args.out,
        "plot": args.plot,
        "points": rows.iter().map(entry).collect::<Vec<_>>(),
    })
}
