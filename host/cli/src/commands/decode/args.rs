//! The flags of `fastcar decode`.

use super::watch::SimArgs;
use crate::device_args::DeviceArgs;
use crate::policy_args::PolicyArgs;
use crate::source::ModelArgs;
use clap::ValueEnum;
use fastcar_arch::units::Bytes;
use fastcar_host::sampler::Sampling;
use std::path::PathBuf;

/// What executes the programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum BackendKind {
    /// The bit-exact functional model, in this process: no cycles.
    Golden,
    /// The cycle-accurate simulator, in this process: the same bits, and how long they take.
    Sim,
    /// The generated hardware in Verilator, in this process: the bits and the cycles of the Verilog.
    Rtl,
    /// An OpenCL device: a card, or the simulator's platform.
    #[value(name = "opencl")]
    OpenCl,
}

/// A prompt as token numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenList(pub Vec<u32>);

/// Arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Prompt; repeat it for several videos at once
    #[arg(
        long,
        value_name = "TEXT",
        required_unless_present_any = ["first_frame", "prompt_tokens"],
        conflicts_with_all = ["first_frame", "prompt_tokens"]
    )]
    pub prompt: Vec<String>,
    /// Prompt as token numbers, for models without a tokenizer; repeat it for several
    #[arg(long, value_name = "N,N,..", value_parser = token_list, conflicts_with = "first_frame")]
    pub prompt_tokens: Vec<TokenList>,
    /// Take prompt and first frame from the model's held-out video N; repeat it for several videos at once
    #[arg(long, value_name = "heldout:N", value_parser = heldout)]
    pub first_frame: Vec<usize>,
    /// Frames to generate, a given first one included [default: as the model's videos]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub frames: Option<u32>,
    /// Positions to generate instead of whole frames
    #[arg(long, value_name = "N", conflicts_with = "frames")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub positions: Option<u32>,
    /// What executes the programs
    #[arg(long, value_enum, default_value_t = BackendKind::Golden)]
    pub backend: BackendKind,
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Keep only what fits of the layers' weights in device memory, and copy the rest step by step
    #[arg(long)]
    pub streamed: bool,
    /// Memory that a streamed decode may use on each channel, in bytes, or with a unit as 512MiB [default: all]
    #[arg(long, value_name = "SIZE", requires = "streamed", value_parser = size, allow_negative_numbers = true)]
    pub device_memory: Option<Bytes>,
    #[command(flatten)]
    pub sim: SimArgs,
    /// Leave snapshots in this file, from which a decode that is interrupted or loses its device can go on; removed when
    /// the decode is complete
    #[arg(long, value_name = "FILE", help_heading = "Snapshots")]
    pub snapshot: Option<PathBuf>,
    /// Positions from one snapshot to the next [default: 64]; an interrupted decode leaves one in any case
    #[arg(long, value_name = "N", help_heading = "Snapshots", requires = "snapshot")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub snapshot_every: Option<u32>,
    /// Go on from this snapshot; all other flags are those of the decode that left it
    #[arg(long, value_name = "FILE", help_heading = "Snapshots")]
    pub resume: Option<PathBuf>,
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// Also decode densely, and say how far the policy's videos are from the dense ones
    #[arg(long, help_heading = "Policy")]
    pub compare_dense: bool,
    /// Guide with this scale: logits are uncond + SCALE * (cond - uncond)
    #[arg(long, value_name = "SCALE", help_heading = "Sampling")]
    #[arg(value_parser = finite, allow_hyphen_values = true)]
    pub cfg: Option<f32>,
    /// Draw tokens at this temperature instead of taking the most likely one
    #[arg(long, value_name = "T", help_heading = "Sampling", allow_hyphen_values = true)]
    temperature: Option<f32>,
    /// Draw among the K most likely tokens
    #[arg(long, value_name = "K", help_heading = "Sampling", requires = "temperature")]
    top_k: Option<usize>,
    /// Draw among the fewest most likely tokens that together have probability P
    #[arg(long, value_name = "P", help_heading = "Sampling", requires = "temperature")]
    top_p: Option<f32>,
    /// Seed of the draws, the same for every prompt [default: 0]
    #[arg(long, value_name = "S", help_heading = "Sampling", requires = "temperature")]
    seed: Option<u64>,
    /// Folder for NAME.gif, NAME.png and NAME.tokens.json
    #[arg(long, value_name = "DIR", help_heading = "Output", default_value = "out")]
    pub out: PathBuf,
    /// Name of the files [default: from the prompt]
    #[arg(long, value_name = "NAME", help_heading = "Output", value_parser = file_name)]
    pub name: Option<String>,
    /// Print JSON
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// Show no progress
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,
}

impl Args {
    /// The OpenCL device, where one is used.
    pub fn device(&self) -> Option<&DeviceArgs> {
        (self.backend == BackendKind::OpenCl).then_some(&self.device)
    }

    /// The sampling settings.
    pub fn sampling(&self) -> Sampling {
        Sampling {
            temperature: self.temperature.unwrap_or(0.0),
            top_k: self.top_k.unwrap_or(0),
            top_p: self.top_p.unwrap_or(1.0),
            seed: self.seed.unwrap_or(0),
        }
    }
}

fn token_list(text: &str) -> Result<TokenList, String> {
    let tokens: Result<Vec<u32>, _> = text.split(',').map(|t| t.trim().parse()).collect();
    tokens.map(TokenList).map_err(|_| "must be token numbers with commas between them".to_owned())
}

fn heldout(text: &str) -> Result<usize, String> {
    let number = text.strip_prefix("heldout:").and_then(|n| n.parse().ok());
    number.ok_or_else(|| "must be heldout:N, with N the number of a held-out video from 0".to_owned())
}

fn size(text: &str) -> Result<Bytes, String> {
    const UNITS: [(&str, u64); 4] = [("", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = UNITS.iter().find(|(name, _)| *name == unit.trim_start());
    let bytes = unit.and_then(|(_, bytes)| number.parse::<u64>().ok()?.checked_mul(*bytes));
    bytes
        .map(Bytes)
        .ok_or_else(|| "must be a whole number of bytes, KiB, MiB or GiB, as 4096 or 512MiB".to_owned())
}

fn finite(text: &str) -> Result<f32, String> {
    let scale = text.parse::<f32>().ok().filter(|s| s.is_finite());
    scale.ok_or_else(|| "must be a finite number".to_owned())
}

fn file_name(text: &str) -> Result<String, String> {
    let plain = !text.is_empty() && !text.contains('/') && text != "." && text != "..";
    if plain {
        Ok(text.to_owned())
    } else {
        Err("must be a plain file name; the folder goes to --out".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units_or_none() {
        let cases = [("0", 0), ("4096", 4096), ("3KiB", 3 << 10), ("512 MiB", 512 << 20), ("2GiB", 2 << 30)];
        assert_eq!(cases.map(|(text, _)| size(text)), cases.map(|(_, bytes)| Ok(Bytes(bytes))));
        for wrong in
            ["", "-5", "10KB", "1.5GiB", "MiB", "1mib", "18446744073709551616", "18014398509481984KiB"]
        {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
