//! `fastcar generate`.

use crate::{TestResult, fastcar, names, stderr, stdout};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::identity::Identity;
use fastcar_arch::resources::Resources;
use serde_json::Value;
use std::path::Path;
use std::process::Output;

fn generate(folder: &Path, args: &[&str]) -> std::io::Result<Output> {
    fastcar().arg("generate").arg("--out").arg(folder).args(args).output()
}

/// Runs the command, which must refuse with a code and a message with these parts.
fn refused(folder: &Path, args: &[&str], code: i32, parts: &[&str]) -> TestResult {
    let output = generate(folder, args)?;
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    assert!(text.contains("error: ") && !text.contains("panicked"), "{text}");
    assert!(parts.iter().all(|part| text.contains(part)), "{args:?}: {text}");
    assert!(stdout(&output).is_empty());
    Ok(())
}

#[test]
fn a_preset_is_generated_and_summed_up() -> TestResult {
    let dir = tempfile::tempdir()?;
    let folder = dir.path().join("u50");
    let output = generate(&folder, &["--preset", "u50"])?;
    let (text, said) = (stdout(&output), stderr(&output));
    assert!(output.status.success(), "{said}");
    assert!(said.contains("building the kernel of u50") && said.contains("writing: "), "{said}");
    let config = AccelConfig::preset("u50")?;
    let (identity, lut) = (Identity::of(&config).short(), Resources::of(&config).total().lut);
    let (lut, clock) = (format!("{lut} LUT ("), format!("{} MHz", config.clock().get() / 1_000_000));
    for part in ["estimate on u50", &identity, &lut, "URAM (", &clock, "MiB"] {
        assert!(text.contains(part), "no {part} in:\n{text}");
    }
    let files = names(&folder);
    assert!(text.contains(&format!("{} and the manifest", files.len() - 1)), "{text}");
    Ok(())
}

#[test]
fn the_manifest_is_printed_as_json_and_files_have_configurations_too() -> TestResult {
    let dir = tempfile::tempdir()?;
    let (folder, other) = (dir.path().join("a"), dir.path().join("b"));
    let printed: Value = serde_json::from_slice(&generate(&folder, &["--preset", "tiny", "--json"])?.stdout)?;
    let written: Value = serde_json::from_slice(&std::fs::read(folder.join("manifest.json"))?)?;
    assert_eq!(printed, written);
    let toml = dir.path().join("tiny.toml");
    std::fs::write(&toml, AccelConfig::preset("tiny")?.to_toml())?;
    let output = generate(&other, &["--preset", &toml.to_string_lossy(), "--board", "zcu104", "--quiet"])?;
    assert!(output.status.success() && stderr(&output).is_empty(), "{}", stderr(&output));
    assert!(stdout(&output).contains("estimate on zcu104"));
    assert_eq!(names(&folder), names(&other));
    for name in names(&folder) {
        assert!(std::fs::read(folder.join(&name))? == std::fs::read(other.join(&name))?, "{name}");
    }
    Ok(())
}

#[test]
fn what_is_not_generated() -> TestResult {
    let dir = tempfile::tempdir()?;
    let folder = dir.path().join("kernel");
    refused(&folder, &["--preset", "huge"], 2, &["no preset is named 'huge'", "tiny, edge, u50"])?;
    refused(&folder, &["--preset", "none.toml"], 1, &["cannot read configuration file none.toml"])?;
    refused(&folder, &["--preset", "tiny", "--board", "abacus"], 1, &["abacus"])?;
    refused(&folder, &[], 2, &["--preset"])?;
    let toml = dir.path().join("bad.toml");
    std::fs::write(&toml, AccelConfig::preset("edge")?.to_toml().replace("channels = 4", "channels = 3"))?;
    refused(&folder, &["--preset", &toml.to_string_lossy()], 1, &["bad.toml is refused", "power of two"])?;
    refused(&toml, &["--preset", "tiny"], 1, &["bad.toml: it is no folder; name another with --out"])?;
    refused(&toml.join("x"), &["--preset", "tiny"], 1, &["Not a directory"])?;
    assert_eq!(names(dir.path()), ["bad.toml"]);
    Ok(())
}

#[test]
fn files_are_replaced_when_told() -> TestResult {
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join("notes.txt"), "mine")?;
    refused(dir.path(), &["--preset", "tiny"], 1, &["holds notes.txt", "--force"])?;
    let output = generate(dir.path(), &["--preset", "tiny", "--force"])?;
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(std::fs::read_to_string(dir.path().join("notes.txt"))?, "mine");
    assert!(names(dir.path()).contains(&"fastcar.v".to_owned()));
    Ok(())
}
