//! `fastcar xclbin info`.

use super::{json, open, text};
use crate::output;
use anyhow::{Context, Result};
use fastcar_xclbin::Xclbin;
use fastcar_xclbin::image::{ImageError, ImageInfo};
use fastcar_xclbin::view::View;
use std::path::{Path, PathBuf};

/// Arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Image to describe, the project's or anybody's
    #[arg(value_name = "FILE.xclbin")]
    path: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What there is to say about a file.
pub struct Found<'a> {
    /// The file.
    pub path: &'a Path,
    /// Its bytes.
    pub bytes: u64,
    /// The container.
    pub xclbin: Xclbin,
    /// Its sections, read.
    pub view: View,
    /// What it is for this project, or why it is nothing.
    pub image: Result<ImageInfo, ImageError>,
}

/// Runs the command. A container without the project's metadata is described all the same.
///
/// # Errors
/// The file is no container, or its sections contradict each other.
pub fn run(args: &Args) -> Result<()> {
    let path = &args.path;
    let (xclbin, bytes) = open(path)?;
    let view = View::read(&xclbin).with_context(|| format!("{} is refused", path.display()))?;
    let image = ImageInfo::read(&xclbin);
    let found = Found { path, bytes, xclbin, view, image };
    if args.json { output::print_json(&json::of(&found)) } else { output::print(&text::of(&found)) }
}
