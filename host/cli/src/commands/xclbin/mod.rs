//! `fastcar xclbin`: FPGA images.

mod info;
mod json;
mod pack;
mod text;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use fastcar_xclbin::Xclbin;
use fastcar_xclbin::metadata::{Argument, Kernel};
use fastcar_xclbin::view::View;
use std::collections::BTreeSet;
use std::path::Path;

/// Most bytes of an image: several times what the largest FPGA takes.
const MAX_BYTES: u64 = 1 << 30;

/// Arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Show header, sections, kernels, memory, clocks and identity of an image.
    Info(info::Args),
    /// Make the image of a configuration: for the simulator, or around a bitstream.
    Pack(pack::Args),
}

/// Runs the command.
///
/// # Errors
/// A file cannot be read or written, or is refused.
pub fn run(args: &Args) -> Result<()> {
    match &args.command {
        Command::Info(args) => info::run(args),
        Command::Pack(args) => pack::run(args),
    }
}

/// Reads a container from a file.
fn open(path: &Path) -> Result<(Xclbin, u64)> {
    let failed = || format!("cannot read {}", path.display());
    let metadata = std::fs::metadata(path).with_context(failed)?;
    if !metadata.is_file() {
        bail!("cannot read {}: it is no file; give an .xclbin", path.display());
    }
    if metadata.len() > MAX_BYTES {
        bail!(
            "{} is {} bytes long: no image takes more than {MAX_BYTES}; give an .xclbin",
            path.display(),
            metadata.len()
        );
    }
    let bytes = std::fs::read(path).with_context(failed)?;
    let xclbin = Xclbin::from_bytes(&bytes).with_context(|| format!("{} is refused", path.display()))?;
    Ok((xclbin, bytes.len() as u64))
}

/// Banks that an argument of a kernel reaches, in order.
fn banks_of(view: &View, kernel: &Kernel, argument: &Argument) -> Vec<u32> {
    let of_kernel = |ip: u32| {
        let ip = view.ips.get(ip as usize).and_then(|ip| ip.kernel());
        ip.is_some_and(|(name, _)| name == kernel.name)
    };
    let reached = view.connections.iter().filter(|c| Some(c.argument) == argument.id && of_kernel(c.ip));
    reached.map(|c| c.bank).collect::<BTreeSet<_>>().into_iter().collect()
}
