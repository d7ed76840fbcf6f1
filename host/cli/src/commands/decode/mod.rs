//! `fastcar decode`: prompts to videos.

mod args;
mod device;
#[cfg(feature = "hardware")]
mod hardware;
mod pictures;
mod plan;
mod report;
mod resume;
mod run;
mod simulated;
mod text;
mod watch;

pub use args::Args;
use args::BackendKind;

use crate::exit::{Usage, usage};
use crate::interrupt;
use crate::output::{self, Staged};
use crate::progress::Ui;
use crate::source::Opened;
use anyhow::Result;
use fastcar_host::backend::{Backend, GoldenBackend};
use fastcar_host::model::{Codebook, Model};
use fastcar_host::policy::Policy;
use plan::Plan;
use report::Report;
use resume::Keeper;
use run::{Begin, Run};
use std::path::PathBuf;
use watch::Watch;

/// Everything that was decoded.
struct Runs {
    /// Under the policy asked for.
    policy: Run,
    /// Under the dense policy.
    dense: Option<Run>,
    /// Under the policy asked for, with the dense run's tokens given.
    along_dense: Option<Run>,
    /// The device, where one was used.
    device: Option<device::Opened>,
}

/// Runs the command.
///
/// # Errors
/// Bad input, a failing device, files that cannot be written, or an interruption.
pub fn run(args: &Args) -> Result<()> {
    let policy = args.policy.build()?;
    let sampling = args.sampling();
    sampling.check().map_err(|e| Usage(e.to_string()))?;
    if args.compare_dense && policy == Policy::dense() {
        return usage(
            "--compare-dense compares a policy with the dense one, and the policy is dense: \
             choose --policy replay or delta, or --attention",
        );
    }
    args.sim.check(args.backend)?;
    if args.device().is_none() {
        args.device.refuse()?;
    }
    if args.streamed && !matches!(args.backend, BackendKind::Golden | BackendKind::OpenCl) {
        return usage(
            "--streamed goes with --backend golden or opencl: the simulator's report counts one run a position",
        );
    }
    output::prepare_folder(&args.out)?;
    let ui = Ui::new(args.quiet, args.json);
    let source = args.model.find()?;
    let plan = Plan::new(args, source.model()?, sampling)?;
    let spec = source.model()?.body().spec();
    policy.check_layers(spec.layers())?;
    policy.check_heads(spec.kv_heads())?;
    let codebook = codebook(source.model()?)?;
    let begin = Begin { snapshot: resume::load(args, &plan)?, keeper: Keeper::new(args)?, given: None };
    let opened = args.model.load(source, args.streamed, ui)?;
    let runs = decode(args, &opened, &policy, &plan, begin, ui)?;
    let context = report::Context { opened: &opened, policy: &policy, plan: &plan, runs: &runs };
    let mut report = Report::new(args, &context, codebook.as_ref())?;
    report.files = write(args, &report, &plan, &runs, codebook.as_ref(), ui)?;
    args.snapshot.iter().try_for_each(|path| resume::remove(path))?;
    if args.json { output::print_json(&report) } else { output::print(&text::text(&report)) }
}

/// The picture patches, for models that have some.
fn codebook(model: &Model) -> Result<Option<Codebook>> {
    let named = model.video().and_then(|v| v.codebook()).is_some();
    Ok(named.then(|| model.codebook()).transpose()?)
}

fn decode(
    args: &Args,
    opened: &Opened,
    policy: &Policy,
    plan: &Plan,
    begin: Begin<'_>,
    ui: Ui,
) -> Result<Runs> {
    // What a decode is compared with needs its values only: every backend has the same ones. A device also tells how
    // long the dense decode took.
    let beside = |policy: &Policy, given: Option<&[Vec<Vec<u32>>]>, stage: &str| {
        let backend: Box<dyn Backend> = match (args.device(), given) {
            (Some(device), None) => device::open(&device.options(), &opened.packed, ui)?.0,
            _ => Box::new(GoldenBackend::new()),
        };
        let session = run::session(args, backend, opened, policy, plan)?;
        run::run(session, Watch::default(), plan, Begin { given, ..Begin::default() }, stage, ui)
    };
    let dense = args.compare_dense.then(|| beside(&Policy::dense(), None, "dense")).transpose()?;
    let (backend, device) = watch::backend(args, &opened.packed, ui)?;
    let session = run::session(args, backend, opened, policy, plan)?;
    let watch = Watch::new(args, &session, plan)?;
    let free = run::run(session, watch, plan, begin, "decoding", ui)?;
    let along = |dense: &Run| beside(policy, Some(&dense.tokens), "along dense");
    let along_dense = dense.as_ref().map(along).transpose()?;
    Ok(Runs { policy: free, dense, along_dense, device })
}

/// Writes all files, or none.
fn write(
    args: &Args,
    report: &Report,
    plan: &Plan,
    runs: &Runs,
    codebook: Option<&Codebook>,
    ui: Ui,
) -> Result<Vec<PathBuf>> {
    let name = args.name.clone().unwrap_or_else(|| plan.file_name());
    let path = |ending: &str| args.out.join(format!("{name}.{ending}"));
    let mut staged = Staged::default();
    match codebook.map(|c| pictures::draw(report, plan, runs, c)).transpose()?.flatten() {
        Some(pictures) => {
            staged.add(&path("gif"), &pictures.gif)?;
            staged.add(&path("png"), &pictures.png)?;
        }
        None => ui.note("no pictures: the model has no picture patches, or not one frame is whole"),
    }
    if let (Some(path), Some(recording)) = (args.sim.record(), &runs.policy.watched.recording) {
        staged.add(path, recording.to_text()?.as_bytes())?;
    }
    if let (Some(path), Some(trace)) = (args.sim.trace(), &runs.policy.watched.trace) {
        staged.add(path, serde_json::to_string(trace)?.as_bytes())?;
    }
    let tokens = format!("{}\n", serde_json::to_string(&report.tokens_file())?);
    staged.add(&path("tokens.json"), tokens.as_bytes())?;
    interrupt::check(|| "before the files had their names".to_owned())?;
    staged.commit()
}
