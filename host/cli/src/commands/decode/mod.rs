//! `fastcar decode`: prompts to videos.

mod args;
mod pictures;
mod plan;
mod report;
mod run;
mod text;

pub use args::Args;

use crate::exit::{Usage, usage};
use crate::output::{self, Staged};
use crate::progress::Ui;
use crate::source::{Opened, open};
use anyhow::Result;
use fastcar_host::model::Codebook;
use fastcar_host::policy::{Method, Policy};
use plan::Plan;
use report::Report;
use run::Run;
use std::path::PathBuf;

/// Everything that was decoded.
struct Runs {
    /// Under the policy asked for.
    policy: Run,
    /// Under the dense policy.
    dense: Option<Run>,
    /// Under the policy asked for, with the dense run's tokens given.
    along_dense: Option<Run>,
}

/// Runs the command.
///
/// # Errors
/// Bad input, a failing device, files that cannot be written, or an interruption.
pub fn run(args: &Args) -> Result<()> {
    let policy = args.policy.build()?;
    let sampling = args.sampling();
    sampling.check().map_err(|e| Usage(e.to_string()))?;
    if args.compare_dense && *policy.method() == Method::Dense {
        return usage("--compare-dense compares a policy with the dense one, and the policy is dense: choose --policy replay or delta");
    }
    output::prepare_folder(&args.out)?;
    let ui = Ui::new(args.quiet, args.json);
    let opened = open(&args.model, &args.machine, args.assets.as_deref(), ui)?;
    let plan = Plan::new(args, opened.model()?, sampling)?;
    policy.check_layers(opened.packed.image().body.shape.layers as usize)?;
    let runs = decode(args, &opened, &policy, &plan, ui)?;
    let codebook = opened.model()?.codebook().ok();
    let mut report = Report::new(args, &opened, &policy, &plan, &runs, codebook.as_ref())?;
    report.files = write(args, &report, &plan, &runs, codebook.as_ref())?;
    if args.json { output::print_json(&report) } else { output::print(&text::text(&report)) }
}

fn decode(args: &Args, opened: &Opened, policy: &Policy, plan: &Plan, ui: Ui) -> Result<Runs> {
    let session = |policy: &Policy| run::session(args.backend, opened, policy, plan);
    let mut dense = None;
    if args.compare_dense {
        dense = Some(run::run(session(&Policy::dense())?, plan, None, "dense", ui)?);
    }
    let free = run::run(session(policy)?, plan, None, "decoding", ui)?;
    let along = |dense: &Run| run::run(session(policy)?, plan, Some(&dense.tokens), "along dense", ui);
    let along_dense = dense.as_ref().map(along).transpose()?;
    Ok(Runs { policy: free, dense, along_dense })
}

/// Writes all files, or none.
fn write(
    args: &Args,
    report: &Report,
    plan: &Plan,
    runs: &Runs,
    codebook: Option<&Codebook>,
) -> Result<Vec<PathBuf>> {
    let name = args.name.clone().unwrap_or_else(|| plan.file_name());
    let path = |ending: &str| args.out.join(format!("{name}.{ending}"));
    let mut staged = Staged::default();
    if let Some(pictures) = codebook.map(|c| pictures::draw(report, plan, runs, c)).transpose()?.flatten() {
        staged.add(&path("gif"), &pictures.gif)?;
        staged.add(&path("png"), &pictures.png)?;
    }
    staged.add(&path("tokens.json"), format!("{}\n", serde_json::to_string(&report.tokens_file())?).as_bytes())?;
    crate::interrupt::check(|| "before the files had their names".to_owned())?;
    staged.commit()
}
