//! `fastcar xclbin pack`.

use super::open;
use crate::commands::pack::check_target;
use crate::output;
use crate::table::{pairs, size};
use anyhow::{Context, Result};
use fastcar_arch::config::{AccelConfig, ConfigError};
use fastcar_xclbin::image::FastcarImage;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Accelerator configuration: a preset's name or a TOML file
    #[arg(long, value_name = "NAME|FILE.toml")]
    preset: String,
    /// Image that the vendor's linker wrote: check it and add the metadata [default: make one for the simulator]
    #[arg(long, value_name = "FILE.xclbin")]
    bitstream: Option<PathBuf>,
    /// File to write
    #[arg(short, long, value_name = "FILE.xclbin")]
    out: PathBuf,
    /// Time of making to record, in seconds since 1970; equal inputs give equal files
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    timestamp: u64,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// The configuration or the bitstream's image is refused, or the file exists or cannot be written.
pub fn run(args: &Args) -> Result<()> {
    check_target(&args.out, args.force)?;
    let config = config(&args.preset)?;
    let image = match &args.bitstream {
        None => FastcarImage::simulator(&config)?.with_timestamp(args.timestamp),
        Some(path) => bitstream(path, &config, args.timestamp)?,
    };
    let bytes = image.to_bytes();
    output::write_file(&args.out, &bytes)?;
    let info = image.info();
    if args.json {
        return output::print_json(&json!({
            "file": args.out,
            "kind": info.kind,
            "preset": info.config.name(),
            "identity": info.identity,
            "platform": info.platform,
            "uuid": info.uuid.to_string(),
            "bytes": bytes.len(),
        }));
    }
    output::print(&pairs(&[
        ("file", args.out.display().to_string()),
        ("size", size(bytes.len() as u64)),
        ("image", format!("for the {}", info.kind)),
        ("preset", format!("{}, identity {}", info.config.name(), info.identity.short())),
        ("uuid", info.uuid.to_string()),
    ]))
}

/// The vendor's image with the metadata; a time of making that it has is kept unless another is given.
fn bitstream(path: &Path, config: &AccelConfig, timestamp: u64) -> Result<FastcarImage> {
    let (xclbin, _) = open(path)?;
    let image = FastcarImage::bitstream(xclbin, config);
    let image = image.with_context(|| format!("{} is refused", path.display()))?;
    Ok(if timestamp == 0 { image } else { image.with_timestamp(timestamp) })
}

/// A preset by its name, else the configuration in a file.
fn config(name: &str) -> Result<AccelConfig> {
    let unknown = match AccelConfig::preset(name) {
        Ok(config) => return Ok(config),
        Err(e) => e,
    };
    if matches!(unknown, ConfigError::UnknownPreset { .. }) && !Path::new(name).is_file() {
        return Err(unknown).with_context(|| format!("--preset {name} is neither a preset nor a file"));
    }
    let text =
        std::fs::read_to_string(name).with_context(|| format!("cannot read configuration file {name}"))?;
    AccelConfig::from_toml(&text).with_context(|| format!("configuration file {name} is refused"))
}
