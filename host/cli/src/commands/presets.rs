//! `fastcar presets`: the accelerator configurations.

use crate::output;
use crate::table::{size, table};
use anyhow::Result;
use fastcar_arch::config::AccelConfig;
use fastcar_arch::identity::Identity;
use serde_json::json;

/// Arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(args: &Args) -> Result<()> {
    let presets = AccelConfig::PRESETS.into_iter().map(AccelConfig::preset).collect::<Result<Vec<_>, _>>()?;
    if args.json {
        let entry = |c: &AccelConfig| {
            let (config, identity, bandwidth) = (c.fields(), Identity::of(c), bandwidth(c));
            json!({ "config": config, "identity": identity, "bytes_per_second": bandwidth })
        };
        return output::print_json(&presets.iter().map(entry).collect::<Vec<_>>());
    }
    let heading = [
        "preset",
        "channels",
        "bits",
        "memory",
        "bandwidth",
        "clock",
        "slots",
        "columns",
        "lanes",
        "context",
        "identity",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(presets.iter().map(row));
    output::print(&table(&rows))
}

/// What the channels' data buses carry at the kernel clock, in bytes per second.
fn bandwidth(config: &AccelConfig) -> u64 {
    u64::from(config.channels()) * config.beat().get() * config.clock().get()
}

fn row(config: &AccelConfig) -> Vec<String> {
    vec![
        config.name().to_owned(),
        config.channels().to_string(),
        (config.beat().get() * 8).to_string(),
        size(u64::from(config.channels()) * config.channel_capacity().get()),
        format!("{:.1} GB/s", bandwidth(config) as f64 / 1e9),
        format!("{} MHz", config.clock().get() / 1_000_000),
        config.slots().to_string(),
        config.columns().to_string(),
        config.vector_lanes().to_string(),
        config.score_tokens().to_string(),
        Identity::of(config).short(),
    ]
}
