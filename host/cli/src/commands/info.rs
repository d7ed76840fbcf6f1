//! `fastcar info`: what a model folder, a packed file or a file of decisions holds.

use crate::constants::{WeightTotals, formats};
use crate::output;
use crate::table::{pairs, percent, size, table};
use anyhow::{Context, Result, bail};
use fastcar_arch::identity::Identity;
use fastcar_arch::layout::Region;
use fastcar_host::compile::{CompileOptions, compile, most_positions};
use fastcar_host::model::{Architecture, Model, TransformerSpec, VideoConfig};
use fastcar_host::packed::PackedModel;
use fastcar_host::policy::Policy;
use fastcar_host::simulate::Recording;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Model folder, packed file, or decisions that `fastcar decode --record` wrote
    path: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// The path is neither a model folder, nor a packed file, nor one of decisions.
pub fn run(args: &Args) -> Result<()> {
    let path = &args.path;
    if !path.exists() {
        bail!("{} does not exist: give a model folder, a packed file or recorded decisions", path.display());
    }
    if !path.is_dir() && is_text(path)? {
        let recording = Recording::load(path)?;
        return if args.json {
            output::print_json(&recording_json(&recording))
        } else {
            output::print(&recording_text(&recording))
        };
    }
    match (path.is_dir(), args.json) {
        (true, true) => output::print_json(&folder_json(&Model::open(path)?)),
        (true, false) => output::print(&folder_text(&Model::open(path)?)),
        (false, true) => output::print_json(&packed_json(&PackedModel::open(path)?)?),
        (false, false) => output::print(&packed_text(path, &PackedModel::open(path)?)?),
    }
}

/// Whether a file begins like JSON: decisions do, packed files do not.
fn is_text(path: &Path) -> Result<bool> {
    let mut first = [0];
    let read = File::open(path).and_then(|mut file| file.read(&mut first));
    Ok(read.with_context(|| format!("cannot read {}", path.display()))? == 1 && first == *b"{")
}

fn recording_text(recording: &Recording) -> String {
    let (head, found) = (recording.head(), recording.statistics());
    let Range { start, end } = recording.positions();
    let rows = format!("{}{}", head.rows, if head.paired { ", guided pairs" } else { "" });
    let mut rows = vec![
        ("decisions", format!("{} of {} gates a position", head.method, head.gates)),
        ("layers", format!("{} of width {}, MLP {}", head.layers, head.hidden, head.ffn)),
        (
            "positions",
            format!("{start}..{end} behind a prompt of {}, frames of {}", head.prompt, head.period),
        ),
        ("rows", rows),
    ];
    let list = |shares: &[f64]| shares.iter().map(|&s| percent(s)).collect::<Vec<_>>().join(" ");
    match &head.method[..] {
        "replay" => {
            rows.push(("replays", format!("{} of all layers and positions", percent(found.replay))));
            rows.push(("by layer", format!("{} where possible", list(&found.profile))));
            if head.paired {
                rows.push(("correlation", format!("{:.3} of the rows of a pair", found.correlation)));
            }
        }
        "delta" => rows.push((
            "active blocks",
            format!("{} of the inputs of qkv, o, up, down", list(&found.active_blocks)),
        )),
        _ => {}
    }
    pairs(&rows)
}

fn recording_json(recording: &Recording) -> Value {
    let found = recording.statistics();
    json!({
        "kind": "decisions",
        "head": recording.head(),
        "positions": recording.positions().len(),
        "replay": found.replay,
        "profile": found.profile,
        "correlation": found.correlation,
        "active_blocks": found.active_blocks,
    })
}

fn architecture(model: &Model) -> &'static str {
    match model.architecture() {
        Architecture::Llama => "LLaMA",
        Architecture::VilaU => "VILA-U",
        _ => "other",
    }
}

/// Layers, embedding and head; a tied head counts once.
fn parameters(spec: &TransformerSpec) -> u64 {
    let vocabulary = (spec.vocab() * spec.hidden()) as u64;
    let tables = u64::from(spec.has_embedding()) + u64::from(!spec.tied_head());
    spec.layer_parameters() + tables * vocabulary
}

fn folder_text(model: &Model) -> String {
    let spec = model.body().spec();
    let mut rows = vec![
        ("model", model.dir().display().to_string()),
        ("architecture", architecture(model).to_owned()),
        ("layers", format!("{} of width {}, MLP {}", spec.layers(), spec.hidden(), spec.ffn())),
        (
            "attention",
            format!("{} heads of {}, {} for keys and values", spec.heads(), spec.head_dim(), spec.kv_heads()),
        ),
        ("vocabulary", spec.vocab().to_string()),
        ("positions", format!("at most {}", spec.max_positions())),
        ("parameters", format!("{:.2} million", parameters(spec) as f64 / 1e6)),
    ];
    rows.extend(model.vila_u().map(|v| {
        let depth = v.depth().spec();
        (
            "depth",
            format!(
                "{} layers of width {}, {} codes a position",
                depth.layers(),
                depth.hidden(),
                v.config().code_depth()
            ),
        )
    }));
    rows.extend(model.frame_period().map(|p| ("frame period", format!("{p} positions"))));
    rows.extend(model.video().map(|v| ("video", video_text(v))));
    rows.extend(model.video().map(|v| ("guidance", guidance_text(v).to_owned())));
    rows.extend(prompt_text(model).map(|words| ("prompt", words)));
    rows.extend(model.heldout().ok().map(|h| ("held-out", format!("{} videos", h.clips().len()))));
    pairs(&rows)
}

fn video_text(video: &VideoConfig) -> String {
    let [grid_h, grid_w] = video.grid();
    let [patch_h, patch_w] = video.patch();
    let (width, height, tokens) = (grid_w * patch_w, grid_h * patch_h, video.tokens_per_frame());
    let codes = video.codes();
    format!(
        "{} frames of {width}x{height} in {tokens} patches of {patch_w}x{patch_h}, {codes} codes",
        video.frames()
    )
}

fn guidance_text(video: &VideoConfig) -> &'static str {
    if video.null_prompt().is_some() { "yes: --cfg works" } else { "no null_prompt: --cfg does not work" }
}

/// Length and words of a prompt; many words are a language, not a list.
fn prompt_text(model: &Model) -> Option<String> {
    let words = model.prompt_tokenizer().ok()?.words();
    let length = model.video().map_or(String::new(), |v| format!("{} tokens; ", v.prompt_tokens()));
    let known = if words.len() > 64 { format!("{} words", words.len()) } else { words.join(" ") };
    Some(format!("{length}{known}"))
}

fn folder_json(model: &Model) -> Value {
    let spec = model.body().spec();
    json!({
        "kind": "model",
        "model": model.dir(),
        "architecture": architecture(model),
        "layers": spec.layers(),
        "hidden": spec.hidden(),
        "ffn": spec.ffn(),
        "heads": spec.heads(),
        "kv_heads": spec.kv_heads(),
        "head_dim": spec.head_dim(),
        "vocabulary": spec.vocab(),
        "max_positions": spec.max_positions(),
        "parameters": parameters(spec),
        "frame_period": model.frame_period(),
        "video": model.video().map(|v| json!({
            "frames": v.frames(),
            "grid": v.grid(),
            "patch": v.patch(),
            "channels": v.channels(),
            "codes": v.codes(),
            "prompt_tokens": v.prompt_tokens(),
            "guided": v.null_prompt().is_some(),
        })),
        "prompt_words": model.prompt_tokenizer().ok().map(|t| t.words()),
        "heldout": model.heldout().ok().map(|h| h.clips().len()),
    })
}

/// Memory as a dense decode of all slots and the longest sequence uses it.
fn memory(packed: &PackedModel) -> Result<Vec<Region>> {
    let (config, image) = (packed.config(), packed.image());
    let positions = most_positions(config, &image.body.shape);
    let options = CompileOptions { slots: config.slots(), positions, period: image.period.unwrap_or(0) };
    Ok(compile(packed.plan(), &Policy::dense(), options)?.map.regions().to_vec())
}

fn packed_text(path: &Path, packed: &PackedModel) -> Result<String> {
    let (config, shape) = (packed.config(), &packed.image().body.shape);
    let totals = WeightTotals::of(packed.image());
    let facts = pairs(&[
        ("file", path.display().to_string()),
        ("preset", config.name().to_owned()),
        ("identity", Identity::of(config).to_string()),
        ("fingerprint", packed.fingerprint()),
        ("layers", format!("{} of width {}, MLP {}", shape.layers, shape.hidden, shape.ffn)),
        (
            "weights",
            format!(
                "{} in {}, {:.2} bits each",
                totals.weights,
                formats(packed.image()),
                totals.bits_per_weight()
            ),
        ),
        ("frame period", packed.image().period.map_or("none".to_owned(), |p| format!("{p} positions"))),
    ]);
    let mut rows = vec![["region", "start", "bytes per channel"].map(str::to_owned).to_vec()];
    let regions = memory(packed)?;
    rows.extend(
        regions.iter().map(|r| vec![r.name.clone(), format!("0x{:x}", r.start), r.size.get().to_string()]),
    );
    let used = regions.last().map_or(0, |r| r.start + r.size.get());
    let capacity = size(config.channel_capacity().get());
    let note = format!(
        "{} of {capacity} on each of {} channels (dense, {} slots)\n",
        size(used),
        config.channels(),
        config.slots()
    );
    Ok(format!("{facts}\n{}{note}", table(&rows)))
}

fn packed_json(packed: &PackedModel) -> Result<Value> {
    let (config, image) = (packed.config(), packed.image());
    let totals = WeightTotals::of(image);
    let regions = memory(packed)?;
    let region = |r: &Region| json!({ "name": r.name, "start": r.start, "bytes_per_channel": r.size.get() });
    Ok(json!({
        "kind": "packed",
        "preset": config.name(),
        "identity": Identity::of(config),
        "fingerprint": packed.fingerprint(),
        "config": config.fields(),
        "shape": image.body.shape,
        "frame_period": image.period,
        "weights_format": formats(image),
        "weights": totals.weights,
        "bits_per_weight": totals.bits_per_weight(),
        "constant_bytes_per_channel": packed.constants().get(),
        "memory": regions.iter().map(region).collect::<Vec<_>>(),
    }))
}
