//! Bad input: each case with its exit code and what the message says.

use crate::{TestResult, fastcar, model, names, pack, run, stderr};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

/// Decodes into a fresh folder and checks code and message; nothing may be written.
fn refused(args: &[&str], code: i32, parts: &[&str]) -> TestResult {
    let dir = tempfile::tempdir()?;
    let output = run("decode", [args, &["--quiet", "--out", &dir.path().to_string_lossy()]].concat())?;
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    assert!(parts.iter().all(|part| text.contains(part)), "{args:?}: {text}");
    assert!(text.starts_with("error: ") && !text.contains("panicked"), "{text}");
    assert_eq!(names(dir.path()), [""; 0]);
    Ok(())
}

#[test]
fn prompts() -> TestResult {
    refused(&["--prompt", "7 left zebra"], 1, &["\"zebra\" is not in the vocabulary", "known words: 0 1 2"])?;
    refused(&["--prompt", "7 left"], 1, &["makes 3 tokens", "takes exactly 4"])?;
    refused(
        &["--first-frame", "heldout:9999"],
        1,
        &["held-out video 9999 does not exist", "counted from 0"],
    )?;
    refused(&["--first-frame", "first"], 2, &["must be heldout:N"])?;
    refused(&[], 2, &["--prompt"])
}

#[test]
fn lengths() -> TestResult {
    refused(&["--prompt", "7 left dots", "--frames", "0"], 2, &["0 is not in 1.."])?;
    refused(&["--prompt", "7 left dots", "--frames", "17"], 1, &["positions is 1092", "the model", "1024"])?;
    refused(&["--prompt", "7 left dots", "--frames", "4294967295"], 1, &["more than any sequence holds"])?;
    refused(&["--prompt", "7 left dots", "--positions", "4294967295"], 1, &["positions is 4294967295"])?;
    let crowd: Vec<&str> = ["--prompt", "7 left dots"].repeat(9);
    refused(&crowd, 1, &["slots is 9", "preset 'edge'", "8"])
}

#[test]
fn policies() -> TestResult {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("policy.toml");
    std::fs::write(&path, "version = 1\nkind = \"replay\"\ngate = \"tas\"\nthresholds = [0.1, 0.2, 0.3]\n")?;
    let file = path.to_string_lossy();
    let prompt = ["--prompt", "7 left dots"];
    let decode = |args: &[&str], code, parts: &[&str]| refused(&[&prompt[..], args].concat(), code, parts);
    decode(&["--policy-file", &file], 1, &["has 3 entries", "each of the model's 4 layers"])?;
    decode(&["--policy-file", "/nowhere.toml"], 1, &["/nowhere.toml", "No such file"])?;
    decode(&["--policy-file", &file, "--threshold", "1"], 2, &["cannot be used with"])?;
    decode(&["--policy", "replay", "--threshold", "1,2"], 1, &["has 2 entries"])?;
    decode(&["--policy", "replay", "--threshold", "nan"], 2, &["a number, -inf or inf"])?;
    decode(&["--policy", "delta", "--threshold", "-1"], 2, &["policy.thresholds = -1", "at least 0"])?;
    decode(&["--policy", "replay"], 2, &["needs --threshold"])?;
    decode(&["--threshold", "1"], 2, &["--policy replay"])?;
    decode(
        &["--policy", "replay", "--gate", "budget", "--ratio", "2"],
        2,
        &["policy.ratio = 2", "from 0 to 1"],
    )?;
    decode(
        &["--policy", "replay", "--gate", "always", "--ratio", "1"],
        2,
        &["belongs to gate random or budget"],
    )?;
    decode(&["--compare-dense"], 2, &["the policy is dense", "or --attention"])?;
    decode(&["--attention", "sink4"], 2, &["does not reach the position's own token"])?;
    decode(&["--attention", "window16"], 2, &["'window16' is not one of dense, sinkN, localN"])?;
    decode(&["--attention", "local8/local9"], 1, &["policy.attention.layers has 2 entries", "4 layers"])?;
    decode(
        &["--attention", "local1,local2,local3,local4,local5"],
        1,
        &["deals 5 patterns", "4 key/value heads"],
    )?;
    decode(&["--temperature", "-1"], 2, &["temperature is -1", "at least 0"])?;
    decode(&["--seed", "1"], 2, &["--temperature"])
}

#[test]
fn machines() -> TestResult {
    let prompt = ["--prompt", "7 left dots"];
    refused(
        &[&prompt[..], &["--preset", "huge"]].concat(),
        2,
        &["no preset is named 'huge'", "tiny, edge, u50"],
    )?;
    refused(&[&prompt[..], &["--config", "/nowhere.toml"]].concat(), 1, &["/nowhere.toml", "No such file"])?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("config.toml");
    std::fs::write(
        &path,
        include_str!("../../../../hw/arch/presets/edge.toml").replace("channels = 4", "channels = 3"),
    )?;
    refused(
        &[&prompt[..], &["--config", &path.to_string_lossy()]].concat(),
        1,
        &["config.toml is refused", "channels = 3", "power of two"],
    )
}

/// Decodes a packed file.
fn decode_file(file: &Path, args: &[&str]) -> Result<(Option<i32>, String), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let mut command = fastcar();
    command
        .args(["decode", "--quiet", "--prompt", "7 left dots", "--model"])
        .arg(file)
        .arg("--out")
        .arg(dir.path())
        .args(args);
    let output = command.output()?;
    assert_eq!(names(dir.path()), [""; 0]);
    Ok((output.status.code(), stderr(&output)))
}

#[test]
fn packed_files() -> TestResult {
    let dir = tempfile::tempdir()?;
    let file = pack(dir.path(), "edge")?;
    let folder = model();
    let assets = ["--assets", &folder.to_string_lossy()];

    let (code, text) = decode_file(&file, &[])?;
    assert!(code == Some(1) && text.contains("--assets DIR"), "{text}");
    let (code, text) = decode_file(&file, &[&assets[..], &["--preset", "u50"]].concat())?;
    assert!(
        code == Some(1) && text.contains("packed for identity") && text.contains("--preset u50"),
        "{text}"
    );
    let (code, text) = decode_file(&file, &[&assets[..], &["--weights", "mxint8"]].concat())?;
    assert!(code == Some(2) && text.contains("this model is packed"), "{text}");

    let writer = std::fs::OpenOptions::new().read(true).write(true).open(&file)?;
    let mut byte = [0];
    writer.read_exact_at(&mut byte, 10_000)?;
    writer.write_all_at(&[byte[0] ^ 4], 10_000)?;
    let (code, text) = decode_file(&file, &assets)?;
    assert!(
        code == Some(1) && text.contains("section 0 is damaged") && text.contains("run `fastcar pack` again"),
        "{text}"
    );

    writer.set_len(writer.metadata()?.len() / 2)?;
    let (code, text) = decode_file(&file, &assets)?;
    assert!(code == Some(1) && text.contains("not a packed model"), "{text}");
    Ok(())
}

#[test]
fn folders_that_cannot_be_written() -> TestResult {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("file");
    std::fs::write(&file, "")?;
    for out in [file.as_path(), &file.join("below"), Path::new("/proc/fastcar")] {
        let output = run("decode", ["--prompt", "7 left dots", "--out", &out.to_string_lossy()])?;
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(
            text.contains("cannot write into folder") && text.contains("--out") && text.contains("because:"),
            "{text}"
        );
        assert!(!text.contains("packing"), "the folder is tried before any work: {text}");
    }
    Ok(())
}

/// A limit on file sizes stands for a full disk: writing fails half way.
#[test]
fn a_full_disk() -> TestResult {
    let dir = tempfile::tempdir()?;
    let limited = "trap '' XFSZ; ulimit -f 8; exec \"$@\"";
    let mut command = Command::new("sh");
    command
        .args(["-c", limited, "sh", env!("CARGO_BIN_EXE_fastcar"), "decode", "--quiet", "--model"])
        .arg(model());
    command.args(["--prompt", "7 left dots", "--frames", "2", "--out"]).arg(dir.path());
    let output = command.output()?;
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("7-left-dots.") && text.contains("free space") && text.contains("File too large"),
        "{text}"
    );
    assert_eq!(names(dir.path()), [""; 0]);
    Ok(())
}

#[test]
fn a_folder_in_place_of_a_file() -> TestResult {
    let dir = tempfile::tempdir()?;
    std::fs::create_dir(dir.path().join("a.png"))?;
    let args =
        ["--prompt", "7 left dots", "--frames", "1", "--name", "a", "--out", &dir.path().to_string_lossy()];
    let output = run("decode", args)?;
    assert!(
        output.status.code() == Some(1) && stderr(&output).contains("a.png: it is a folder"),
        "{}",
        stderr(&output)
    );
    assert_eq!(names(dir.path()), ["a.png"]);
    Ok(())
}

#[test]
fn no_guidance_without_a_null_prompt() -> TestResult {
    let dir = tempfile::tempdir()?;
    for entry in std::fs::read_dir(model())?.flatten().filter(|e| e.path().is_file()) {
        std::fs::copy(entry.path(), dir.path().join(entry.file_name()))?;
    }
    let path = dir.path().join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    config["fastcar_video"].as_object_mut().ok_or("no fastcar_video")?.remove("null_prompt");
    std::fs::write(&path, config.to_string())?;
    let (code, text) = decode_file(dir.path(), &["--cfg", "2"])?;
    assert!(
        code == Some(1) && text.contains("fastcar_video.null_prompt") && text.contains("leave --cfg out"),
        "{text}"
    );
    Ok(())
}
