//! The command line: sub-commands and what they share in `--help`.

use crate::commands::{
    calibrate, decode, devices, disasm, generate, info, pack, presets, quality, simulate, sweep, targets,
    xclbin,
};
use crate::device_args::DeviceArgs;
use crate::interrupt;
use anyhow::Result;
use clap::{Parser, Subcommand};

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    a file, the model or the device refused; standard error says what to do
  2    the command line is wrong
  130  interrupted (Ctrl-C or SIGTERM); no file is left half written";

/// Decode video on the fastcar accelerator, and prepare models for it.
#[derive(Parser)]
#[command(name = "fastcar", version, after_help = EXIT_CODES, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Generate videos: GIF, contact sheet, tokens, and what the policy saved.
    #[command(after_help = EXIT_CODES)]
    Decode(Box<decode::Args>),
    /// Lay a model's weights out for one accelerator configuration.
    #[command(after_help = EXIT_CODES)]
    Pack(pack::Args),
    /// Describe a model folder or a packed file.
    #[command(after_help = EXIT_CODES)]
    Info(info::Args),
    /// Print a model's step programs as assembly text.
    #[command(after_help = EXIT_CODES)]
    Disasm(Box<disasm::Args>),
    /// List the accelerator configurations.
    Presets(presets::Args),
    /// Write the hardware of one accelerator configuration: Verilog, kernel.xml, C header, manifest.
    #[command(after_help = EXIT_CODES)]
    Generate(generate::Args),
    /// Measure quality against weight traffic over policies.
    Quality(Box<quality::Args>),
    /// Choose a policy's thresholds for a model.
    Calibrate(Box<calibrate::Args>),
    /// List the OpenCL devices: the simulator's, or the system's.
    #[command(after_help = EXIT_CODES)]
    Devices(devices::Args),
    /// Time a video on the simulated machine: cycles, bandwidth, what each unit did.
    #[command(after_help = EXIT_CODES)]
    Simulate(Box<simulate::Args>),
    /// Simulate every point of a grid: a CSV file and a plot.
    #[command(after_help = EXIT_CODES)]
    Sweep(Box<sweep::Args>),
    /// Simulate what the machine is meant to reach: a table of bounds, targets and figures.
    #[command(after_help = EXIT_CODES)]
    Targets(targets::Args),
    /// Describe FPGA images (.xclbin), and make them.
    #[command(after_help = EXIT_CODES)]
    Xclbin(xclbin::Args),
}

impl Command {
    /// The OpenCL device of commands that use one.
    fn device(&self) -> Option<&DeviceArgs> {
        match self {
            Self::Decode(args) => args.device(),
            Self::Devices(args) => args.device(),
            _ => None,
        }
    }
}

/// Parses the command line and runs it.
///
/// # Errors
/// Whatever stops the command; [`crate::exit::report`] turns it into text and exit code.
pub fn run() -> Result<()> {
    let cli = Cli::parse();
    if let Some(device) = cli.command.device() {
        device.settle()?;
    }
    interrupt::install()?;
    match cli.command {
        Command::Decode(args) => decode::run(&args),
        Command::Pack(args) => pack::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Disasm(args) => disasm::run(&args),
        Command::Presets(args) => presets::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Quality(args) => quality::run(*args),
        Command::Calibrate(args) => calibrate::run(*args),
        Command::Devices(args) => devices::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Sweep(args) => sweep::run(&args),
        Command::Targets(args) => targets::run(&args),
        Command::Xclbin(args) => xclbin::run(&args),
    }
}
