//! `fastcar generate`: the kernel of a configuration, as Verilog and what goes with it.

use std::path::PathBuf;

/// Arguments.
#[derive(clap::Args, Debug)]
#[cfg_attr(
    not(feature = "hardware"),
    allow(dead_code, reason = "without the generator they are only understood")
)]
pub struct Args {
    /// Accelerator configuration: a preset's name or a TOML file
    #[arg(long, value_name = "NAME|FILE.toml")]
    preset: String,
    /// Folder to write; it is made if it is not there
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Show shares of this board's resources [default: the board of the preset's name, if there is one]
    #[arg(long)]
    board: Option<String>,
    /// Replace what was generated in the folder before; other files there stay
    #[arg(long)]
    force: bool,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// Print the manifest as JSON
    #[arg(long)]
    json: bool,
}

/// Says how to get the generator.
///
/// # Errors
/// Always.
#[cfg(not(feature = "hardware"))]
pub fn run(_: &Args) -> anyhow::Result<()> {
    Err(no_hardware())
}

/// What is missing without the feature `hardware`.
#[cfg(not(feature = "hardware"))]
pub fn no_hardware() -> anyhow::Error {
    anyhow::anyhow!(
        "this fastcar was built without the hardware generator: build it with the feature `hardware`, which is on by default \
         (`cargo build --release -p fastcar-cli`, without --no-default-features)"
    )
}

#[cfg(feature = "hardware")]
pub use built::run;

#[cfg(feature = "hardware")]
mod built {
    use super::Args;
    use crate::commands::simulate::setup::configuration;
    use crate::exit::Interrupted;
    use crate::interrupt;
    use crate::output;
    use crate::progress::{Bar, Ui};
    use crate::table::{pairs, percent, size};
    use anyhow::{Error, Result};
    use fastcar_arch::board::Board;
    use fastcar_arch::config::AccelConfig;
    use fastcar_arch::resources::{Resource, Resources};
    use fastcar_hw::generate::{Existing, GenerateError, Manifest, Progress, generate};
    use std::ops::ControlFlow;

    /// Runs the command.
    ///
    /// # Errors
    /// No such preset, file or board; the folder is refused or cannot be written; the user interrupts.
    pub fn run(args: &Args) -> Result<()> {
        let config = configuration(&args.preset, &[])?;
        let board = match &args.board {
            Some(name) => Some(Board::named(name)?),
            None => Board::named(config.name()).ok(),
        };
        let existing = if args.force { Existing::Replace } else { Existing::Keep };
        let ui = Ui::new(args.quiet, args.json);
        let mut bar = None;
        let mut progress = |at| show(ui, config.name(), &mut bar, at);
        let manifest = generate(&config, &args.out, existing, &mut progress).map_err(interrupted)?;
        drop(bar);
        if args.json {
            return output::print_json(&manifest);
        }
        output::print(&text(args, &config, &manifest, board.as_ref()))
    }

    fn show(ui: Ui, config: &str, bar: &mut Option<Bar>, at: Progress) -> ControlFlow<()> {
        match at {
            Progress::Building => ui.note(&format!("building the kernel of {config}")),
            Progress::Writing { done, total } => {
                bar.get_or_insert_with(|| ui.bar("writing", total as u64, "files")).set(done as u64);
            }
        }
        if interrupt::requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn interrupted(error: GenerateError) -> Error {
        match error {
            GenerateError::Stopped { .. } => {
                Interrupted { place: "before files were placed".to_owned() }.into()
            }
            error => error.into(),
        }
    }

    fn text(args: &Args, config: &AccelConfig, manifest: &Manifest, board: Option<&Board>) -> String {
        let verilog = manifest.files.iter().filter(|file| file.name.ends_with(".v"));
        let (modules, bytes) = verilog.fold((0, 0), |sum, file| (sum.0 + 1, sum.1 + file.bytes));
        let mut rows = vec![
            ("folder", args.out.display().to_string()),
            ("preset", format!("{}, identity {}", config.name(), manifest.identity.short())),
            ("kernel", format!("{}, {} channels", manifest.kernel, config.channels())),
            ("clock", format!("{} MHz", manifest.clock_hz / 1_000_000)),
            ("files", format!("{} and the manifest, {modules} of them modules", manifest.files.len())),
            ("Verilog", size(bytes)),
        ];
        let title = board.map_or("estimate".to_owned(), |board| format!("estimate on {}", board.name()));
        let estimate: Vec<String> = match board {
            Some(board) => {
                let uses = Resources::of(config).fit(board);
                uses.iter().map(|u| format!("{} {} ({})", u.used, u.resource, percent(u.share))).collect()
            }
            None => Resource::ALL.map(|r| format!("{} {r}", manifest.estimated_resources.get(r))).to_vec(),
        };
        rows.push((&title, estimate.join(", ")));
        pairs(&rows)
    }
}
