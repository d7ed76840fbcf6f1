//! `fastcar simulate`: how long a video takes on a machine, and why, without weights and without values.

mod human;
mod json;
mod recorded;
pub mod run;
pub mod setup;
pub mod values;

use crate::exit::usage;
use crate::output;
use crate::progress::Ui;
use crate::source::Weights;
use anyhow::Result;
use fastcar_host::attention::Attention;
use fastcar_host::simulate::{Report, Scenario, SimulateError, Simulation};
use fastcar_sim::{Policy as Scheduling, SimOptions, chrome_trace};
use recorded::Recorded;
use run::{Steps, explain, steps};
use setup::{Fixed, Point, Skip};
use std::path::{Path, PathBuf};
use std::time::Instant;
use values::{ActiveShares, ReplayShare, Rows, Setting, setting};

/// Arguments.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Accelerator configuration by name (tiny, edge, u50, u55c, u280), or a TOML file
    #[arg(long, value_name = "NAME|FILE.toml", default_value = "u55c")]
    preset: String,
    /// Columns of the MAC array
    #[arg(long, value_name = "N")]
    columns: Option<u32>,
    /// Kernel clock in MHz
    #[arg(long, value_name = "F")]
    clock_mhz: Option<u32>,
    /// Any other field of the configuration, as in main_beats=4096
    #[arg(long, value_name = "FIELD=N", value_parser = setting)]
    set: Vec<Setting>,
    /// Format of the layers' weights
    #[arg(long, value_enum, default_value = "mxfp4")]
    weights: Weights,
    /// Rows decoded together: a number, or cfg for one guided sequence (two rows)
    #[arg(long, value_name = "N|cfg", default_value = "1")]
    batch: Rows,
    /// Share of all (layer, position) that replay the MLP, the first frame included; cap for all that can
    #[arg(long, value_name = "R|cap", conflicts_with = "delta")]
    replay: Option<ReplayShare>,
    /// Delta decode: share of active input blocks behind the first frame, or four as QKV:O:UP:DOWN
    #[arg(long, value_name = "A")]
    delta: Option<ActiveShares>,
    /// Decisions that `fastcar decode --record FILE` wrote, instead of drawn ones: method, rows, prompt and positions
    /// are the recorded ones
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["replay", "delta", "batch", "guided", "correlation", "profile", "seed"]
    )]
    decisions: Option<PathBuf>,
    /// How slots share the columns: static, compact or overlap
    #[arg(long, value_name = "POLICY", default_value = "compact")]
    policy: Scheduling,
    /// Tokens that attention reads, as in sink4+local256 or prompt+frame-stride1~8
    #[arg(long, value_name = "PATTERN", default_value = "dense")]
    attention: Attention,
    #[command(flatten)]
    fixed: Fixed,
    /// Do not simulate the dense run that the speed-up is measured against
    #[arg(long)]
    no_baseline: bool,
    /// Write what the units did at one position as Chrome trace events, which ui.perfetto.dev opens
    #[arg(long, value_name = "FILE.json")]
    trace: Option<PathBuf>,
    /// Generated position to trace [default: the middle one]
    #[arg(long, value_name = "P", requires = "trace")]
    trace_position: Option<u32>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was simulated and found.
pub struct Outcome {
    /// As asked.
    pub scenario: Scenario,
    /// Where its decisions are from, unless they are drawn.
    pub recorded: Option<Recorded>,
    /// Fields of the preset that were set.
    pub settings: Vec<Setting>,
    /// Positions simulated at most.
    pub sample: Option<u32>,
    /// What was found.
    pub report: Report,
    /// The dense run of the same machine, where there is one beside.
    pub dense: Option<Report>,
    /// Wall time of the run itself.
    pub wall_seconds: f64,
}

/// Runs the command.
///
/// # Errors
/// The scenario makes no sense or does not fit, a fault of the machine, a file that cannot be written, or the user
/// interrupts.
pub fn run(args: &Args) -> Result<()> {
    let ui = Ui::new(args.fixed.quiet, args.json);
    let task = args.task()?;
    if let Some(path) = &args.trace {
        args.check_trace(&task.scenario)?;
        output::prepare_folder(output::folder_of(path))?;
    }
    let outcome = simulate(args, task, ui)?;
    if let Some(path) = &args.trace {
        trace(&outcome, args.traced(&outcome.scenario), path)?;
        ui.note(&format!("trace: {}", path.display()));
    }
    if args.json {
        output::print_json(&json::outcome(&outcome))
    } else {
        output::print(&human::text(&outcome))
    }
}

/// What is to be simulated.
struct Task {
    point: Point,
    scenario: Scenario,
    recorded: Option<Recorded>,
}

impl Task {
    /// Nothing skipped, everything attended, else the same.
    fn dense(&self, fixed: &Fixed) -> Result<Scenario> {
        let (fixed, point) = (fixed.without_replays(), self.point.dense());
        match &self.recorded {
            Some(recorded) => recorded.scenario(&fixed, &point),
            None => fixed.scenario(&point),
        }
    }
}

/// Compiles the programs of a scenario, for recorded decisions or drawn ones.
fn prepare(scenario: Scenario, recorded: Option<&Recorded>) -> Result<Simulation, SimulateError> {
    match recorded {
        Some(recorded) => recorded.prepare(scenario),
        None => scenario.prepare(),
    }
}

impl Args {
    /// Preset and columns, weights and batch, and so on.
    pub fn point(&self) -> Point {
        let number = |field: &str, value: u64| Setting { field: field.to_owned(), value };
        let columns = self.columns.map(|n| number("columns", n.into()));
        let clock = self.clock_mhz.map(|f| number("clock_hz", u64::from(f) * 1_000_000));
        Point {
            preset: self.preset.clone(),
            settings: columns.into_iter().chain(clock).chain(self.set.iter().cloned()).collect(),
            weights: self.weights,
            rows: self.batch,
            skip: match (self.replay, self.delta) {
                (Some(share), _) => Skip::Replay(share),
                (None, Some(shares)) => Skip::Delta(shares),
                (None, None) => Skip::Dense,
            },
            scheduling: self.policy,
            attention: self.attention.clone(),
        }
    }

    fn task(&self) -> Result<Task> {
        let Some(path) = &self.decisions else {
            let point = self.point();
            return Ok(Task { scenario: self.fixed.scenario(&point)?, point, recorded: None });
        };
        let recorded = Recorded::load(path)?;
        let point = recorded.point(self.point());
        let scenario = recorded.scenario(&self.fixed, &point)?;
        Ok(Task { point, scenario, recorded: Some(recorded) })
    }

    /// What stays the same where points vary.
    pub fn fixed(&self) -> &Fixed {
        &self.fixed
    }

    fn traced(&self, scenario: &Scenario) -> u32 {
        let range = scenario.range();
        self.trace_position.unwrap_or(range.start.midpoint(range.end))
    }

    fn check_trace(&self, scenario: &Scenario) -> Result<()> {
        let (position, range) = (self.traced(scenario), scenario.range());
        if !range.contains(&position) {
            return usage(format!(
                "--trace-position {position} is not among the simulated positions {}..{}",
                range.start, range.end
            ));
        }
        Ok(())
    }
}

fn simulate(args: &Args, task: Task, ui: Ui) -> Result<Outcome> {
    let sample = args.fixed.sample;
    let started = Instant::now();
    let simulation = prepare(task.scenario.clone(), task.recorded.as_ref()).map_err(explain)?;
    let bar = Steps::new(ui, "simulating", steps(&task.scenario, sample));
    let report = run::run_prepared(&simulation, sample, &bar).map_err(explain)?;
    drop(bar);
    let wall_seconds = started.elapsed().as_secs_f64();
    let dense = if args.no_baseline || task.point.is_dense() {
        None
    } else {
        let scenario = task.dense(&args.fixed)?;
        let bar = Steps::new(ui, "dense baseline", steps(&scenario, sample));
        Some(run::run(scenario, sample, &bar).map_err(explain)?)
    };
    let Task { point, scenario, recorded } = task;
    Ok(Outcome { scenario, recorded, settings: point.settings, sample, report, dense, wall_seconds })
}

/// Simulates one position once more, and writes what the units did.
fn trace(outcome: &Outcome, position: u32, path: &Path) -> Result<()> {
    let scenario = &outcome.scenario;
    let sim = SimOptions { trace: true, ..scenario.sim.clone() };
    let simulation = prepare(Scenario { sim, ..scenario.clone() }, outcome.recorded.as_ref())?;
    let (_, spans) = simulation.position(position)?;
    let Some(program) = simulation.program() else { return usage("--trace: the workload has no program") };
    let config = &scenario.config;
    let title = format!("fastcar {}: {}, position {position}", config.name(), scenario.workload.name());
    let document = chrome_trace(&title, config.clock(), program, &spans);
    output::write_file(path, document.to_string().as_bytes())
}
