//! The `fastcar` command: decode videos, pack models, look into both.

mod cli;
mod commands;
mod constants;
mod device_args;
mod exit;
mod interrupt;
mod metrics;
mod output;
mod plot;
mod policy_args;
mod progress;
mod render;
mod source;
mod table;

use std::process::ExitCode;

fn main() -> ExitCode {
    exit::report(cli::run())
}
