//! `fastcar devices`: the OpenCL devices there are.

use crate::device_args::DeviceArgs;
use crate::output;
use crate::table::{pairs, size, table};
use anyhow::Result;
use fastcar_host::opencl::image::DeviceImage;
use fastcar_host::opencl::platform::{DeviceEntry, choose, devices};
use fastcar_xclbin::tables::Bank;
use serde_json::{Value, json};

/// Arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    device: DeviceArgs,
    /// List the devices of the system's OpenCL library, even if the simulator would be used
    #[arg(long)]
    system: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    /// The device whose library is used; none for the system's.
    pub fn device(&self) -> Option<&DeviceArgs> {
        (!self.system).then_some(&self.device)
    }
}

/// Runs the command.
///
/// # Errors
/// There is no OpenCL library, platform or device, or the image is none of this accelerator.
pub fn run(args: &Args) -> Result<()> {
    let all = devices()?;
    let image = args.device.image().map(|path| DeviceImage::open(path)).transpose()?;
    let chosen = image.as_ref().map(|image| chosen(args, &all, image)).transpose()?;
    if args.json {
        let image = image.as_ref().map(|image| image_entry(image, chosen));
        return output::print_json(&json!({ "devices": all, "image": image }));
    }
    let mut rows = vec![HEADING.map(str::to_owned).to_vec()];
    rows.extend(all.iter().map(row));
    let image = image.as_ref().map_or_else(String::new, |image| image_text(image, chosen));
    output::print(&format!("{}{image}", table(&rows)))
}

const HEADING: [&str; 7] = ["device", "number", "place", "memory", "available", "platform", "version"];

fn row(d: &DeviceEntry) -> Vec<String> {
    vec![
        d.name.clone(),
        d.index.to_string(),
        format!("{}:{}", d.platform_index, d.device_index),
        size(d.memory_bytes),
        if d.available { "yes" } else { "no" }.to_owned(),
        d.platform.clone(),
        d.version.clone(),
    ]
}

/// The device that an image would be loaded on.
fn chosen<'a>(args: &Args, all: &'a [DeviceEntry], image: &DeviceImage) -> Result<&'a DeviceEntry> {
    Ok(choose(all, args.device.options().device.as_deref(), image.info().config.name())?)
}

fn image_entry(image: &DeviceImage, device: Option<&DeviceEntry>) -> Value {
    let info = image.info();
    let bank = |b: &Bank| json!({ "name": b.tag.to_string(), "bytes": b.kib * 1024 });
    json!({
        "kind": info.kind,
        "preset": info.config.name(),
        "identity": info.identity,
        "device": device.map(|d| d.index),
        "banks": info.banks.iter().map(bank).collect::<Vec<_>>(),
    })
}

fn image_text(image: &DeviceImage, device: Option<&DeviceEntry>) -> String {
    let info = image.info();
    let facts = pairs(&[
        (
            "image",
            format!("{}, preset {}, identity {}", info.kind, info.config.name(), info.identity.short()),
        ),
        ("device", device.map_or_else(String::new, |d| format!("{} ({})", d.index, d.name))),
        ("banks", banks(&info.banks)),
    ]);
    format!("\n{facts}")
}

/// Runs of banks of one size, each by its first and last name.
fn banks(all: &[Bank]) -> String {
    let run = |run: &[Bank]| {
        let size = size(run[0].kib * 1024);
        match run {
            [one] => format!("{} of {size}", one.tag),
            several => format!("{} to {} of {size} each", run[0].tag, several[several.len() - 1].tag),
        }
    };
    all.chunk_by(|a, b| a.kib == b.kib).map(run).collect::<Vec<_>>().join(", ")
}
