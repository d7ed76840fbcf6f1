//! `fastcar pack`: a model folder to a packed file.

use crate::constants::{WeightTotals, formats};
use crate::interrupt;
use crate::output;
use crate::progress::Ui;
use crate::source::{MachineArgs, pack_folder};
use crate::table::{pairs, size};
use anyhow::{Result, bail};
use fastcar_arch::identity::Identity;
use fastcar_host::model::Model;
use fastcar_host::packed::PackedModel;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Model folder: config.json and *.safetensors
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    #[command(flatten)]
    machine: MachineArgs,
    /// File to write
    #[arg(short, long, value_name = "FILE.fcar")]
    output: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
    /// Pack a model that may be larger than the card's memory; it can then only be decoded with --streamed
    #[arg(long)]
    streamed: bool,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was written.
#[derive(Serialize)]
struct Report {
    file: PathBuf,
    preset: String,
    identity: Identity,
    fingerprint: String,
    weights_format: String,
    bytes: u64,
    weights: u64,
    bits_per_weight: f64,
    seconds: f64,
    weights_per_second: f64,
}

/// Runs the command.
///
/// # Errors
/// The model does not open or fit, the file exists or cannot be written, or the user interrupts.
pub fn run(args: &Args) -> Result<()> {
    check_target(&args.output, args.force)?;
    let ui = Ui::new(args.quiet, args.json);
    let started = Instant::now();
    let packed = pack_folder(&Model::open(&args.model)?, &args.machine, args.streamed, ui)?;
    interrupt::check(|| "before writing".to_owned())?;
    packed.save(&args.output)?;
    let report = Report::new(&args.output, &packed, started.elapsed().as_secs_f64())?;
    if args.json { output::print_json(&report) } else { output::print(&report.text()) }
}

/// Checks that a file may be written, before the work for it begins.
///
/// # Errors
/// The file exists and is not to be replaced, or its folder cannot be written.
pub fn check_target(path: &Path, force: bool) -> Result<()> {
    if path.is_dir() {
        bail!("cannot write {}: it is a folder; name a file", path.display());
    }
    if path.exists() && !force {
        bail!("{} exists already: give --force to replace it, or another name", path.display());
    }
    output::prepare_folder(output::folder_of(path))
}

impl Report {
    fn new(path: &Path, packed: &PackedModel, seconds: f64) -> Result<Self> {
        let totals = WeightTotals::of(packed.image());
        Ok(Self {
            file: path.to_owned(),
            preset: packed.config().name().to_owned(),
            identity: Identity::of(packed.config()),
            fingerprint: packed.fingerprint(),
            weights_format: formats(packed.image()),
            bytes: std::fs::metadata(path)?.len(),
            weights: totals.weights,
            bits_per_weight: totals.bits_per_weight(),
            seconds,
            weights_per_second: totals.weights as f64 / seconds,
        })
    }

    fn text(&self) -> String {
        pairs(&[
            ("file", self.file.display().to_string()),
            ("size", size(self.bytes)),
            ("preset", format!("{}, identity {}", self.preset, self.identity.short())),
            (
                "weights",
                format!("{} in {}, {:.2} bits each", self.weights, self.weights_format, self.bits_per_weight),
            ),
            (
                "time",
                format!(
                    "{:.2} s, {:.1} million weights a second",
                    self.seconds,
                    self.weights_per_second / 1e6
                ),
            ),
        ])
    }
}
