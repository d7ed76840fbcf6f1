//! What `fastcar decode` writes and prints.

use crate::{TestResult, fastcar, model, names, pack, run, stderr, stdout};
use fastcar_host::model::testing::VilaUSpec;
use image::AnimationDecoder;
use image::codecs::gif::GifDecoder;
use serde_json::Value;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// Sizes of an animation's frames.
fn gif_sizes(path: &Path) -> Result<Vec<(u32, u32)>, Box<dyn std::error::Error>> {
    let decoder = GifDecoder::new(BufReader::new(File::open(path)?))?;
    let frames = decoder.into_frames().collect_frames()?;
    Ok(frames.iter().map(|f| f.buffer().dimensions()).collect())
}

fn json(args: &[&str]) -> Result<Value, Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let output = run("decode", [args, &["--json", "--out", &dir.path().to_string_lossy()]].concat())?;
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[test]
fn writes_an_animation_and_a_contact_sheet() -> TestResult {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("new/folder");
    let output =
        run("decode", ["--prompt", "7 left stripes", "--frames", "2", "--out", &out.to_string_lossy()])?;
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(names(&out), ["7-left-stripes.gif", "7-left-stripes.png", "7-left-stripes.tokens.json"]);
    assert_eq!(gif_sizes(&out.join("7-left-stripes.gif"))?, [(256, 256); 2]);
    let sheet = image::open(out.join("7-left-stripes.png"))?.into_rgb8();
    // Two tiles of 128 with a gap of 8 beside each other; heading, frame numbers, tile.
    assert!(sheet.width() > 2 * 128 + 8 && sheet.height() > 128 + 56, "{:?}", sheet.dimensions());
    let tokens: Value = serde_json::from_reader(File::open(out.join("7-left-stripes.tokens.json"))?)?;
    assert_eq!(tokens["sequences"][0]["tokens"].as_array().map(Vec::len), Some(128));
    assert!(stdout(&output).contains("7 left stripes"), "{}", stdout(&output));
    Ok(())
}

#[test]
fn comparisons_stand_side_by_side() -> TestResult {
    let dir = tempfile::tempdir()?;
    let policy = ["--policy", "replay", "--gate", "budget", "--ratio", "0.5", "--compare-dense"];
    let clips = ["--first-frame", "heldout:0", "--first-frame", "heldout:3", "--frames", "2", "--name", "a"];
    let output = run("decode", [&policy[..], &clips, &["--out", &dir.path().to_string_lossy()]].concat())?;
    assert!(output.status.success(), "{}", stderr(&output));
    // Truth, dense, replay and what was skipped; two sequences below a heading.
    assert_eq!(gif_sizes(&dir.path().join("a.gif"))?, [(4 * 256 + 3 * 8, 32 + 2 * 256 + 8); 2]);
    assert!(image::open(dir.path().join("a.png"))?.height() > 8 * 128);
    let text = stdout(&output);
    assert!(text.contains("PSNR to truth") && text.contains("agrees with dense"), "{text}");
    Ok(())
}

#[test]
fn the_same_seed_gives_the_same_tokens() -> TestResult {
    let tokens = |seed: &str| -> Result<Value, Box<dyn std::error::Error>> {
        let args = [
            "--prompt",
            "3 up dots",
            "--frames",
            "2",
            "--temperature",
            "1.0",
            "--top-k",
            "50",
            "--seed",
            seed,
        ];
        Ok(json(&args)?["sequences"][0]["tokens"].clone())
    };
    let (a, b, other) = (tokens("5")?, tokens("5")?, tokens("6")?);
    assert_eq!(a, b);
    assert_ne!(a, other);
    Ok(())
}

#[test]
fn a_sequence_does_not_depend_on_its_neighbours() -> TestResult {
    let args =
        ["--prompt", "3 up dots", "--frames", "2", "--cfg", "2", "--policy", "delta", "--threshold", "0.3"];
    let alone = json(&args)?;
    let both = json(&[&["--prompt", "5 down plain"], &args[..]].concat())?;
    assert_eq!(alone["sequences"][0], both["sequences"][1]);
    Ok(())
}

#[test]
fn json_reports_what_was_saved() -> TestResult {
    let args = [
        "--first-frame",
        "heldout:1",
        "--frames",
        "3",
        "--cfg",
        "1.5",
        "--policy",
        "replay",
        "--compare-dense",
    ];
    let report = json(&[&args[..], &["--gate", "always"]].concat())?;
    let sequence = &report["sequences"][0];
    for key in ["replay_ratio", "r_joint"] {
        assert_eq!((&sequence[key], &report["total"][key]), (&Value::from(1.0), &Value::from(1.0)), "{key}");
    }
    assert_eq!(report["total"]["replay_ratio_by_layer"], serde_json::json!([1.0, 1.0, 1.0, 1.0]));
    let traffic = sequence["weight_traffic"].as_f64().unwrap_or_default();
    assert!(traffic > 0.2 && traffic < 0.5, "all MLPs replayed, all attention computed: {traffic}");
    assert!(sequence["against_dense"]["token_agreement"].is_f64());
    assert!(sequence["against_truth"]["frames"]["psnr_db"].is_f64());
    assert!(report["timings"]["tokens_per_second"].as_f64().is_some_and(|t| t > 0.0));
    assert_eq!(report["preset"], "edge");
    Ok(())
}

#[test]
fn sparse_attention_goes_with_any_policy() -> TestResult {
    let video = ["--prompt", "4 right bars", "--frames", "3", "--compare-dense"];
    let decode = |args: &[&str]| json(&[&video[..], args].concat());
    let text = "prompt+frame-stride1~4";
    let alone = decode(&["--attention", text])?;
    assert_eq!(alone["policy"]["attention"]["layers"], serde_json::json!([text]));
    let agreement = |report: &Value| report["sequences"][0]["against_dense"]["token_agreement"].as_f64();
    assert!(agreement(&alone).is_some_and(|a| a > 0.5 && a < 1.0), "{alone}");
    assert_eq!(alone["sequences"][0]["weight_traffic"], Value::from(1.0), "weights are all read");

    let everything = decode(&["--attention", "local9999"])?;
    assert_eq!(agreement(&everything), Some(1.0), "a window over everything is dense attention");
    let policy = model().join("policy-input-delta.toml");
    let replaying = decode(&["--policy-file", &policy.to_string_lossy(), "--attention", text])?;
    assert_eq!(replaying["policy"]["attention"], alone["policy"]["attention"], "beside the file's policy");
    assert!(replaying["total"]["replay_ratio"].as_f64().is_some_and(|r| r > 0.1 && r < 1.0));
    Ok(())
}

#[test]
fn a_gate_that_never_replays_is_dense() -> TestResult {
    let args = [
        "--prompt",
        "4 right bars",
        "--frames",
        "2",
        "--policy",
        "replay",
        "--gate",
        "never",
        "--compare-dense",
    ];
    let sequence = json(&args)?["sequences"][0].clone();
    assert_eq!(sequence["against_dense"]["token_agreement"], 1.0);
    assert_eq!(sequence["against_dense"]["frames"], serde_json::json!({ "mse": 0.0, "psnr_db": null }));
    assert_eq!(sequence["weight_traffic"], 1.0);
    Ok(())
}

#[test]
fn a_packed_file_decodes_like_its_folder() -> TestResult {
    let dir = tempfile::tempdir()?;
    let file = pack(dir.path(), "edge")?;
    let args = [
        "--prompt",
        "9 down-left waves",
        "--positions",
        "40",
        "--json",
        "--out",
        &dir.path().to_string_lossy(),
    ];
    let output =
        fastcar().args(["decode", "--model"]).arg(&file).arg("--assets").arg(model()).args(args).output()?;
    assert!(output.status.success(), "{}", stderr(&output));
    let packed: Value = serde_json::from_slice(&output.stdout)?;
    let folder = json(&args[..4])?;
    assert_eq!(packed["sequences"], folder["sequences"]);
    assert_eq!(packed["fingerprint"], folder["fingerprint"]);
    Ok(())
}

/// A VILA-U model has no tokenizer of its own folder and no pictures; its four codes per position come as tokens.
#[test]
fn vila_u_decodes_its_codes() -> TestResult {
    let dir = tempfile::tempdir()?;
    VilaUSpec::default().write(dir.path())?;
    let (model, out) = (dir.path().to_string_lossy(), dir.path().join("out"));
    let out = out.to_string_lossy();
    let policy = ["--policy", "replay", "--gate", "always", "--frames", "3"];
    let prompt = ["--prompt-tokens", "3,9,27", "--prompt-tokens", "5,6"];
    let args = [&["decode", "--model", &model, "--json", "--out", &out][..], &policy, &prompt].concat();
    let output = fastcar().args(args).output()?;
    assert!(output.status.success(), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout)?;
    for sequence in report["sequences"].as_array().ok_or("no sequences")? {
        let tokens = sequence["tokens"].as_array().ok_or("no tokens")?;
        // Three frames of two by two positions.
        assert_eq!(tokens.len(), 12);
        assert!(tokens.iter().all(|codes| codes.as_array().is_some_and(|c| c.len() == 4)));
        assert_eq!(sequence["replay_ratio"].as_f64(), Some(1.0));
    }
    Ok(())
}

/// Weights copied step by step give the same video; the simulator's report has no place for it.
#[test]
fn a_streamed_decode_gives_the_same_tokens() -> TestResult {
    let clip = ["--prompt", "7 left stripes", "--positions", "70"];
    let tokens = |args: &[&str]| {
        let dir = tempfile::tempdir()?;
        let out = dir.path().to_string_lossy().into_owned();
        let output = run("decode", [args, &clip, &["--name", "a", "--out", &out]].concat())?;
        assert!(output.status.success(), "{}", stderr(&output));
        let file = File::open(dir.path().join("a.tokens.json"))?;
        Ok::<Value, Box<dyn std::error::Error>>(serde_json::from_reader(file)?)
    };
    let resident = tokens(&[])?;
    assert_eq!(tokens(&["--streamed", "--device-memory", "400000"])?["sequences"], resident["sequences"]);
    let refused = run("decode", [&["--streamed", "--backend", "sim"][..], &clip].concat())?;
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("--backend golden or opencl"), "{}", stderr(&refused));
    assert_eq!(tokens(&["--streamed", "--device-memory", "400KiB"])?["sequences"], resident["sequences"]);
    let refused = |size: &str| run("decode", [&["--streamed", "--device-memory", size][..], &clip].concat());
    let cases: [(&str, i32, &[&str]); 4] = [
        ("4KiB", 1, &["error: --device-memory 4096 bytes is too little", "  because: memory map: region"]),
        (
            "1GiB",
            2,
            &["error: --device-memory 1073741824 bytes: a channel of preset edge has 536870912 bytes"],
        ),
        ("10KB", 2, &["'10KB'", "bytes, KiB, MiB or GiB"]),
        ("-5", 2, &["'-5'", "bytes, KiB, MiB or GiB"]),
    ];
    for (size, code, expected) in cases {
        let output = refused(size)?;
        assert_eq!(output.status.code(), Some(code), "{size}");
        assert!(expected.iter().all(|e| stderr(&output).contains(e)), "{}", stderr(&output));
    }
    Ok(())
}
