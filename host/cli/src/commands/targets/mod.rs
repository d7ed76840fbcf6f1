//! `fastcar targets`: what the machine is meant to reach, what bounds it, and what it reaches.

mod page;
mod rows;

use crate::commands::simulate::{self, run as simulation};
use crate::exit::usage;
use crate::output;
use crate::progress::Ui;
use anyhow::{Context, Result};
use clap::Parser;
use fastcar_host::simulate::Report;
use fastcar_sim::Traffic;
use rows::{Measure, ROWS, Row};
use simulation::{Steps, explain, steps};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

/// Arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Simulate N evenly spaced positions of each run, which stand for all
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    sample: u32,
    /// Also simulate every position of whole videos, and say how long that takes
    #[arg(long)]
    videos: bool,
    /// Only rows whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Write the table as a page
    #[arg(long, value_name = "FILE.md")]
    markdown: Option<PathBuf>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A row with its figures.
struct Finding {
    row: &'static Row,
    bound: Option<f64>,
    found: f64,
}

impl Finding {
    fn met(&self) -> Option<bool> {
        self.row.target.map(|target| match self.row.measure.more_is_better() {
            true => self.found >= target,
            false => self.found <= target,
        })
    }
}

/// Runs the command.
///
/// # Errors
/// A run fails, the file cannot be written, or the user interrupts.
pub fn run(args: &Args) -> Result<()> {
    let ui = Ui::new(args.quiet, args.json);
    if let Some(path) = &args.markdown {
        output::prepare_folder(output::folder_of(path))?;
    }
    let wanted = |row: &&Row| {
        (args.videos || row.measure != Measure::WallSeconds)
            && args.only.as_ref().is_none_or(|text| row.name.contains(text))
    };
    let rows: Vec<&'static Row> = ROWS.iter().filter(wanted).collect();
    if rows.is_empty() {
        let names: Vec<&str> = ROWS.iter().map(|r| r.name).collect();
        return usage(format!("--only: no such row; the rows are\n  {}", names.join("\n  ")));
    }
    let bench = Bench { sample: args.sample, ui, done: RefCell::default() };
    let findings = rows.into_iter().map(|row| bench.find(row)).collect::<Result<Vec<_>>>()?;
    if let Some(path) = &args.markdown {
        let checks = bench.checks()?;
        output::write_file(path, page::markdown(&findings, &checks, args.sample).as_bytes())?;
        ui.note(&format!("table: {}", path.display()));
    }
    if args.json { output::print_json(&page::json(&findings)) } else { output::print(&page::text(&findings)) }
}

/// Runs what the rows ask for, each command line once.
struct Bench {
    sample: u32,
    ui: Ui,
    done: RefCell<BTreeMap<String, Report>>,
}

/// The part of `fastcar simulate` that a row's command line is read by.
#[derive(Parser)]
#[command(no_binary_name = true)]
struct CommandLine {
    #[command(flatten)]
    args: simulate::Args,
}

impl Bench {
    fn find(&self, row: &'static Row) -> Result<Finding> {
        let (bound, found) = self.figures(row).with_context(|| format!("row '{}'", row.name))?;
        Ok(Finding { row, bound, found })
    }

    /// Bound and figure of a row.
    fn figures(&self, row: &Row) -> Result<(Option<f64>, f64)> {
        if row.measure == Measure::WallSeconds {
            let started = Instant::now();
            self.simulate(row.run, None)?;
            return Ok((None, started.elapsed().as_secs_f64()));
        }
        let run = self.report(row.run)?;
        let versus = row.versus.map(|line| self.report(line)).transpose()?;
        let body = &run.body.counters;
        Ok(match (row.measure, versus) {
            (Measure::PositionsPerSecond, _) => {
                (Some(run.body.steps as f64 / run.bound_seconds()), run.positions_per_second())
            }
            (Measure::ShareOfPeak, _) => (Some(1.0), run.share_of_peak()),
            (Measure::Speedup, Some(dense)) => (
                Some(dense.bound_seconds() / run.bound_seconds()),
                dense.decode_cycles() as f64 / run.decode_cycles() as f64,
            ),
            (Measure::OverTraffic, _) => {
                (Some(1.0), run.seconds(run.decode_cycles()) / traffic_seconds(&run))
            }
            (Measure::MlpOverIdeal, _) => (Some(1.0), body.mlp_cycles as f64 / body.mlp_work as f64),
            (Measure::MlpGain, Some(other)) => {
                let other = &other.body.counters;
                let ratio = |a: u64, b: u64| a as f64 / b as f64;
                (Some(ratio(other.mlp_cycles, body.mlp_work)), ratio(other.mlp_cycles, body.mlp_cycles))
            }
            (Measure::StepGain, Some(other)) => {
                (None, other.decode_cycles() as f64 / run.decode_cycles() as f64)
            }
            (Measure::Speedup | Measure::MlpGain | Measure::StepGain | Measure::WallSeconds, _) => {
                anyhow::bail!("the row compares with nothing")
            }
        })
    }

    /// The report of a command line, over a sample of its positions.
    fn report(&self, line: &str) -> Result<Report> {
        if let Some(report) = self.done.borrow().get(line) {
            return Ok(report.clone());
        }
        let report = self.simulate(line, Some(self.sample))?;
        self.done.borrow_mut().insert(line.to_owned(), report.clone());
        Ok(report)
    }

    fn simulate(&self, line: &str, sample: Option<u32>) -> Result<Report> {
        let args = CommandLine::try_parse_from(line.split_whitespace())?.args;
        let scenario = args.fixed().scenario(&args.point())?;
        let sample = args.fixed().sample.or(sample);
        let bar = Steps::new(self.ui, line, steps(&scenario, sample));
        simulation::run(scenario, sample, &bar).map_err(explain)
    }

    /// Runs that are short enough for a test to repeat, with the cycles that they take.
    fn checks(&self) -> Result<Vec<(&'static str, u64)>> {
        rows::CHECKS.iter().map(|line| Ok((*line, self.report(line)?.decode_cycles()))).collect()
    }
}

/// Seconds that everything needed takes at peak bandwidth, rings included.
fn traffic_seconds(run: &Report) -> f64 {
    let traffic = &run.body.counters.traffic;
    let rings = traffic[Traffic::RingRead as usize] + traffic[Traffic::RingWrite as usize];
    run.bound_seconds() + rings as f64 / run.peak_bytes_per_second as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_line_is_one_of_simulate() -> Result<()> {
        let lines = ROWS.iter().flat_map(|row| std::iter::once(row.run).chain(row.versus));
        for line in lines.chain(rows::CHECKS.iter().copied()) {
            let args = CommandLine::try_parse_from(line.split_whitespace())?.args;
            args.fixed().scenario(&args.point())?.prepare().map_err(explain)?;
        }
        Ok(())
    }

    #[test]
    fn rows_that_compare_have_something_to_compare_with() {
        for row in ROWS {
            let compares = matches!(row.measure, Measure::Speedup | Measure::MlpGain | Measure::StepGain);
            assert_eq!(row.versus.is_some(), compares, "{}", row.name);
        }
    }

    #[test]
    fn targets_are_met_from_their_own_side() {
        let row = |measure| ROWS.iter().find(|r| r.measure == measure && r.target.is_some());
        let finding = |measure, factor: f64| {
            let row = row(measure)?;
            Finding { row, bound: None, found: row.target? * factor }.met()
        };
        assert_eq!(finding(Measure::Speedup, 1.01), Some(true));
        assert_eq!(finding(Measure::Speedup, 0.99), Some(false));
        assert_eq!(finding(Measure::OverTraffic, 0.99), Some(true));
        assert_eq!(finding(Measure::OverTraffic, 1.01), Some(false));
    }
}
