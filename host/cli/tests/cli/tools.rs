//! `fastcar pack`, `info`, `disasm` and `presets`.

use crate::{TestResult, fastcar, model, pack, run, stderr, stdout};
use fastcar_arch::asm::assemble;
use fastcar_arch::isa::decode;
use serde_json::Value;

#[test]
fn pack_replaces_a_file_only_when_told() -> TestResult {
    let dir = tempfile::tempdir()?;
    let file = pack(dir.path(), "tiny")?;
    let name = file.to_string_lossy().into_owned();
    let again = run("pack", ["--preset", "tiny", "-o", &name])?;
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("exists already: give --force"), "{}", stderr(&again));
    let forced = run("pack", ["--preset", "tiny", "-o", &name, "--force", "--weights", "mxint8", "--json"])?;
    let report: Value = serde_json::from_slice(&forced.stdout)?;
    assert_eq!(report["bits_per_weight"], 8.25);
    assert_eq!(report["bytes"].as_u64(), Some(std::fs::metadata(&file)?.len()));
    Ok(())
}

#[test]
fn info_describes_folders_and_packed_files() -> TestResult {
    let dir = tempfile::tempdir()?;
    let info = |path: &std::path::Path| fastcar().args(["info", "--json"]).arg(path).output();
    let folder: Value = serde_json::from_slice(&info(&model())?.stdout)?;
    assert_eq!((&folder["layers"], &folder["frame_period"]), (&Value::from(4), &Value::from(64)));
    assert!(folder["prompt_words"].as_array().is_some_and(|w| w.contains(&Value::from("stripes"))));
    let file = pack(dir.path(), "tiny")?;
    let packed: Value = serde_json::from_slice(&info(&file)?.stdout)?;
    assert_eq!((&packed["kind"], &packed["preset"]), (&Value::from("packed"), &Value::from("tiny")));
    assert_eq!(packed["memory"][0]["name"], "constants");
    let text = stdout(&fastcar().arg("info").arg(&file).output()?);
    assert!(text.contains("kv.3") && text.contains("fingerprint"), "{text}");
    let nothing = fastcar().args(["info", "/nowhere"]).output()?;
    assert!(nothing.status.code() == Some(1) && stderr(&nothing).contains("/nowhere does not exist"));
    Ok(())
}

#[test]
fn a_listing_assembles_to_the_program_that_it_shows() -> TestResult {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("body.bin");
    let args = ["--policy", "replay", "--threshold", "0.2,0.3,inf,-1", "--emit", &file.to_string_lossy()];
    let output = run("disasm", args)?;
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    let program = decode(&std::fs::read(&file)?)?;
    assert_eq!(assemble(&text)?, program);
    assert!(
        ["layer.0.qkv", "kv.3", "ring.0", "head", "rope"].iter().all(|name| text.contains(name)),
        "{text}"
    );
    let binary = fastcar().args(["disasm", "--binary"]).arg(&file).output()?;
    assert_eq!(assemble(&stdout(&binary))?, program);
    Ok(())
}

#[test]
fn disasm_refuses_what_is_no_program() -> TestResult {
    let other = run("disasm", ["--program", "depth0"])?;
    assert!(
        other.status.code() == Some(1) && stderr(&other).contains("its programs are body"),
        "{}",
        stderr(&other)
    );
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("noise");
    std::fs::write(&file, [0xff; 100])?;
    let noise = fastcar().args(["disasm", "--binary"]).arg(&file).output()?;
    assert!(
        noise.status.code() == Some(1) && stderr(&noise).contains("is not an encoded program"),
        "{}",
        stderr(&noise)
    );
    let neither = fastcar().arg("disasm").output()?;
    assert_eq!(neither.status.code(), Some(2));
    Ok(())
}

#[test]
fn presets_are_listed() -> TestResult {
    let presets: Value = serde_json::from_slice(&fastcar().args(["presets", "--json"]).output()?.stdout)?;
    let names: Vec<&str> =
        presets.as_array().into_iter().flatten().filter_map(|p| p["config"]["name"].as_str()).collect();
    assert_eq!(names, fastcar_arch::config::AccelConfig::PRESETS);
    let text = stdout(&fastcar().arg("presets").output()?);
    assert_eq!(text.lines().count(), 1 + names.len(), "{text}");
    Ok(())
}

#[test]
fn help_names_the_exit_codes() -> TestResult {
    for args in [&["--help"][..], &["decode", "--help"], &["pack", "--help"]] {
        let output = fastcar().args(args).output()?;
        assert!(
            output.status.success() && stdout(&output).contains("130  interrupted"),
            "{}",
            stdout(&output)
        );
    }
    assert_eq!(fastcar().arg("fly").output()?.status.code(), Some(2));
    Ok(())
}

#[test]
fn a_reader_that_stops_early_is_no_error() -> TestResult {
    let mut child = fastcar()
        .args(["disasm", "--model"])
        .arg(model())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()?;
    drop(child.stdout.take());
    let output = child.wait_with_output()?;
    assert!(output.status.success() && stderr(&output).is_empty(), "{}", stderr(&output));
    Ok(())
}
