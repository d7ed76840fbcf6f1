//! `fastcar quality`.

/// Arguments.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// Always, for now.
pub fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!("`fastcar quality` is not part of this build")
}
