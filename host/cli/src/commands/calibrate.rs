//! `fastcar calibrate`: a policy file whose thresholds meet a target.

use super::quality::{bench, describe, explain, heldout};
use crate::exit::usage;
use crate::output;
use crate::policy_args::AttentionArgs;
use crate::progress::Ui;
use crate::source::{ModelArgs, Opened};
use crate::table::pairs;
use anyhow::{Result, bail};
use clap::ValueEnum;
use fastcar_host::calibrate::{CalibrateError, Calibration, Target, calibrate, calibrate_factors};
use fastcar_host::policy::{DeltaThresholds, TasForm};
use fastcar_host::quality::{Family, Kind, Measurement, Scene, table};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What decides about skipping.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum MethodKind {
    /// Replay by the Temporal Attention Score, queries before RoPE.
    Tas,
    /// The same with queries after RoPE, as in the paper's formula.
    TasPaper,
    /// Replay by the change of the MLP input.
    InputDelta,
    /// Delta decode.
    Delta,
}

/// What the policy is to reach.
#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
struct TargetArgs {
    /// Share of (layer, position) to replay, or of weight bytes that delta decode leaves out
    #[arg(long, value_name = "R")]
    target_ratio: Option<f64>,
    /// Weight traffic over dense
    #[arg(long, value_name = "T")]
    target_traffic: Option<f64>,
    /// Least traffic with this share of the dense decode's choices
    #[arg(long, value_name = "A")]
    floor_agreement: Option<f64>,
    /// Least traffic with this PSNR against the dense video
    #[arg(long, value_name = "DB")]
    floor_psnr: Option<f64>,
}

/// Arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// What decides about skipping
    #[arg(long, value_enum)]
    method: MethodKind,
    #[command(flatten)]
    target: TargetArgs,
    /// Held-out videos to calibrate on, from the first [default: 4]
    #[arg(long, value_name = "N", conflicts_with = "prompt")]
    clips: Option<usize>,
    /// Calibrate on videos of this prompt instead; repeat it for several
    #[arg(long, value_name = "TEXT")]
    prompt: Vec<String>,
    /// A threshold per layer, each at the same share of that layer's scores
    #[arg(long)]
    per_layer: bool,
    /// Search relative thresholds of delta decode's four linear inputs; about 13 times the time
    #[arg(long)]
    factors: bool,
    /// Compute a position again after so many frames in a row were skipped
    #[arg(long, value_name = "N")]
    max_age: Option<u32>,
    #[command(flatten)]
    attention: AttentionArgs,
    /// Policy file to write
    #[arg(short, long, value_name = "FILE.toml")]
    output: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl TargetArgs {
    fn target(&self) -> Result<Target> {
        let found = [
            self.target_ratio.map(Target::Ratio),
            self.target_traffic.map(Target::Traffic),
            self.floor_agreement.map(Target::Agreement),
            self.floor_psnr.map(Target::PsnrDb),
        ];
        let Some(target) = found.into_iter().flatten().next() else {
            return usage(
                "one of --target-ratio, --target-traffic, --floor-agreement and --floor-psnr is needed",
            );
        };
        match target.check() {
            Ok(()) => Ok(target),
            Err(e) => usage(e.to_string()),
        }
    }
}

impl Args {
    fn family(&self) -> Result<Family> {
        let kind = match self.method {
            MethodKind::Tas => Kind::Tas(TasForm::Code),
            MethodKind::TasPaper => Kind::Tas(TasForm::Paper),
            MethodKind::InputDelta => Kind::InputDelta,
            MethodKind::Delta => Kind::Delta(DeltaThresholds::uniform(1.0)),
        };
        let delta = self.method == MethodKind::Delta;
        if self.per_layer && delta {
            return usage(
                "--per-layer belongs to methods tas, tas-paper and input-delta: delta decode takes --factors",
            );
        }
        if self.factors && !delta {
            return usage("--factors belongs to method delta: the others take --per-layer");
        }
        if self.max_age == Some(0) {
            return usage("--max-age must be at least 1: leave it out for no bound");
        }
        Ok(Family { kind, per_layer: self.per_layer, max_age: self.max_age })
    }

    fn check_output(&self) -> Result<()> {
        if self.output.exists() && !self.force {
            bail!("{} exists already: give --force to replace it, or another name", self.output.display());
        }
        output::prepare_folder(output::folder_of(&self.output))
    }

    fn scenes(&self, opened: &Opened) -> Result<Vec<Scene>> {
        let model = opened.model()?;
        if self.prompt.is_empty() {
            return match self.clips {
                Some(0) => usage("--clips must be at least 1"),
                clips => heldout(model, clips.unwrap_or(4)),
            };
        }
        let tokenizer = model.prompt_tokenizer()?;
        self.prompt.iter().map(|p| Ok(Scene { prompt: tokenizer.encode(p)?, truth: None })).collect()
    }
}

/// Runs the command.
///
/// # Errors
/// The target cannot be reached, the model does not fit, the file exists or cannot be written, or the user interrupts.
pub fn run(args: Args) -> Result<()> {
    let (target, family) = (args.target.target()?, args.family()?);
    args.check_output()?;
    let ui = Ui::new(args.quiet, args.json);
    let opened = args.model.open(ui)?;
    let bench = bench(&opened, args.scenes(&opened)?, &args.attention, ui)?;
    let bar = ui.bar("calibrating", target.expected_trials().into(), "trial policies, about");
    let search = if args.factors { calibrate_factors } else { calibrate };
    let found = search(&bench, &family, target, &bar).map_err(|e| match e {
        CalibrateError::Quality(e) => explain(e, "while calibrating"),
        other => other.into(),
    })?;
    drop(bar);
    output::write_file(&args.output, found.policy.to_toml()?.as_bytes())?;
    if args.json {
        output::print_json(&Report::new(&found, &args.output, target))
    } else {
        print(&found, &args.output)
    }
}

#[derive(Serialize)]
struct Report<'a> {
    file: &'a Path,
    family: String,
    target: Target,
    thresholds: String,
    trials: u32,
    measured: &'a Measurement,
}

impl<'a> Report<'a> {
    fn new(found: &'a Calibration, file: &'a Path, target: Target) -> Self {
        let thresholds = table::thresholds(&found.policy);
        Self {
            file,
            family: found.family.to_string(),
            target,
            thresholds,
            trials: found.trials,
            measured: &found.measured,
        }
    }
}

fn print(found: &Calibration, file: &Path) -> Result<()> {
    let mut rows =
        vec![("policy", found.family.to_string()), ("thresholds", table::thresholds(&found.policy))];
    rows.extend(describe(&found.measured));
    rows.push(("trials", found.trials.to_string()));
    rows.push(("file", format!("{}; use it with `fastcar decode --policy-file`", file.display())));
    output::print(&pairs(&rows))
}
