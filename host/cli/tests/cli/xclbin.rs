//! `fastcar xclbin`.

use crate::{TestResult, fastcar, names, stderr, stdout};
use fastcar_arch::config::AccelConfig;
use fastcar_xclbin::image::{FastcarImage, ImageInfo, ImageKind};
use fastcar_xclbin::{Section, SectionKind, Text, Xclbin};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Output;

fn xclbin(args: &[&str], files: &[&Path]) -> std::io::Result<Output> {
    fastcar().arg("xclbin").args(args).args(files).output()
}

/// Makes the image of a preset.
fn packed(dir: &Path, preset: &str) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let path = dir.join(format!("{preset}.xclbin"));
    let output = xclbin(&["pack", "--preset", preset, "--out"], &[&path])?;
    assert!(output.status.success(), "{}", stderr(&output));
    Ok(path)
}

/// Writes what the vendor's linker would: the preset's kernel, a bitstream, and no account of the project's.
fn linked(dir: &Path, preset: &str) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let image = FastcarImage::simulator(&AccelConfig::preset(preset)?)?;
    let mut xclbin = Xclbin::new(image.xclbin().header);
    let ours = image.xclbin().sections().iter().filter(|s| s.kind != SectionKind::USER_METADATA);
    ours.cloned().try_for_each(|section| xclbin.insert(section))?;
    let bitstream = Section { kind: SectionKind::BITSTREAM, name: Text::default(), bytes: vec![0x55; 4096] };
    xclbin.insert(bitstream)?;
    let path = dir.join("linked.xclbin");
    std::fs::write(&path, xclbin.to_bytes())?;
    Ok(path)
}

/// Runs a sub-command that must refuse, with code 1 and a message with these parts.
fn refused(args: &[&str], files: &[&Path], parts: &[&str]) -> TestResult {
    let output = xclbin(args, files)?;
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {text}");
    assert!(text.starts_with("error: ") && !text.contains("panicked"), "{text}");
    assert!(parts.iter().all(|part| text.contains(part)), "{args:?}: {text}");
    assert!(stdout(&output).is_empty());
    Ok(())
}

#[test]
fn info_shows_the_whole_image() -> TestResult {
    let dir = tempfile::tempdir()?;
    let path = packed(dir.path(), "tiny")?;
    let output = xclbin(&["info"], &[&path])?;
    let info = ImageInfo::read(&Xclbin::from_bytes(&std::fs::read(&path)?)?)?;
    let text = stdout(&output)
        .replace(&path.display().to_string(), "FILE")
        .replace(&info.identity.to_string(), "IDENTITY")
        .replace(&info.uuid.to_string(), "UUID");
    insta::assert_snapshot!(text);
    Ok(())
}

#[test]
fn info_as_json_names_what_a_program_needs() -> TestResult {
    let dir = tempfile::tempdir()?;
    let path = packed(dir.path(), "u55c")?;
    let info: Value = serde_json::from_slice(&xclbin(&["info", "--json"], &[&path])?.stdout)?;
    let config = AccelConfig::preset("u55c")?;
    assert_eq!(info["image"]["identity"], fastcar_arch::identity::Identity::of(&config).to_string());
    assert_eq!(info["image"]["config"], serde_json::to_value(config.fields())?);
    assert_eq!((&info["refusal"], &info["image"]["kind"]), (&Value::Null, &Value::from("simulator")));
    assert_eq!(info["bytes"].as_u64(), Some(std::fs::metadata(&path)?.len()));
    let arguments = info["kernels"][0]["arguments"].as_array().ok_or("no arguments")?;
    assert_eq!(arguments.len(), 36);
    assert_eq!((&arguments[9]["name"], &arguments[9]["banks"]), (&"CHANNEL5".into(), &vec![5].into()));
    assert_eq!((&arguments[1]["name"], &arguments[1]["banks"]), (&"COMMANDS".into(), &Value::Array(vec![])));
    assert_eq!(
        (&info["memory"][31]["tag"], &info["memory"][31]["kib"]),
        (&"HBM[31]".into(), &524_288.into())
    );
    assert_eq!(info["clocks"][0]["mhz"], 300);
    Ok(())
}

#[test]
fn info_describes_the_images_of_others() -> TestResult {
    let dir = tempfile::tempdir()?;
    let path = linked(dir.path(), "tiny")?;
    let output = xclbin(&["info"], &[&path])?;
    let text = stdout(&output);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        text.contains("this is no fastcar image but a bitstream") && text.contains("BITSTREAM"),
        "{text}"
    );
    let json: Value = serde_json::from_slice(&xclbin(&["info", "--json"], &[&path])?.stdout)?;
    assert_eq!(json["image"], Value::Null);
    assert!(json["refusal"].as_str().is_some_and(|r| r.contains("no fastcar image")), "{json}");
    Ok(())
}

#[test]
fn equal_configurations_give_equal_files() -> TestResult {
    let dir = tempfile::tempdir()?;
    let path = packed(dir.path(), "edge")?;
    let toml = dir.path().join("edge.toml");
    std::fs::write(&toml, AccelConfig::preset("edge")?.to_toml())?;
    let other = dir.path().join("other.xclbin");
    let args = ["pack", "--preset", &toml.to_string_lossy(), "--json", "--out"];
    let report: Value = serde_json::from_slice(&xclbin(&args, &[&other])?.stdout)?;
    assert_eq!(std::fs::read(&path)?, std::fs::read(&other)?);
    assert_eq!((&report["preset"], &report["kind"]), (&"edge".into(), &"simulator".into()));
    let dated = dir.path().join("dated.xclbin");
    xclbin(&["pack", "--preset", "edge", "--timestamp", "77", "--out"], &[&dated])?;
    assert_eq!(Xclbin::from_bytes(&std::fs::read(&dated)?)?.header.timestamp, 77);
    Ok(())
}

#[test]
fn a_bitstream_is_packed() -> TestResult {
    let dir = tempfile::tempdir()?;
    let (linked, out) = (linked(dir.path(), "tiny")?, dir.path().join("out.xclbin"));
    let output = xclbin(&["pack", "--preset", "tiny", "--bitstream"], &[&linked, Path::new("--out"), &out])?;
    assert!(output.status.success(), "{}", stderr(&output));
    let xclbin = Xclbin::from_bytes(&std::fs::read(&out)?)?;
    assert_eq!(ImageInfo::read(&xclbin)?.kind, ImageKind::Bitstream);
    assert_eq!(xclbin.get(SectionKind::BITSTREAM), Some(&[0x55; 4096][..]));
    Ok(())
}

#[test]
fn files_that_are_no_image() -> TestResult {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("x.xclbin");
    refused(&["info"], &[&path], &["cannot read", "x.xclbin", "No such file"])?;
    refused(&["info"], &[dir.path()], &["it is no file; give an .xclbin"])?;
    refused(&["info"], &[Path::new("/dev/zero")], &["it is no file; give an .xclbin"])?;
    std::fs::write(&path, [0x7f; 5000])?;
    refused(&["info"], &[&path], &["x.xclbin is refused", "because: not an xclbin: the first bytes are"])?;
    std::fs::write(&path, [])?;
    refused(&["info"], &[&path], &["not an xclbin: 0 bytes"])?;
    let whole = std::fs::read(packed(dir.path(), "tiny")?)?;
    std::fs::write(&path, &whole[..whole.len() - 8])?;
    let lengths = format!("{} bytes long and its header says {}", whole.len() - 8, whole.len());
    refused(&["info"], &[&path], &[&lengths, "cut short"])?;
    std::fs::File::create(&path)?.set_len(1 << 31)?;
    refused(&["info"], &[&path], &["2147483648 bytes long"])
}

#[test]
fn what_cannot_be_packed() -> TestResult {
    let dir = tempfile::tempdir()?;
    let (linked, out) = (linked(dir.path(), "tiny")?, dir.path().join("out.xclbin"));
    let bitstream = |file: &Path, preset: &str, parts: &[&str]| {
        let files = [file, Path::new("--preset"), Path::new(preset), Path::new("--out"), &out];
        refused(&["pack", "--bitstream"], &files, parts)
    };
    bitstream(&linked, "edge", &["linked.xclbin is refused", "does not fit configuration 'edge'", "port"])?;
    bitstream(&dir.path().join("none"), "tiny", &["cannot read", "No such file"])?;
    let simulated = packed(dir.path(), "tiny")?;
    bitstream(&simulated, "tiny", &["holds no bitstream", "the vendor's linker"])?;

    let pack = |preset: &str, out: &Path, parts: &[&str]| {
        refused(&["pack", "--preset", preset, "--out"], &[out], parts)
    };
    pack("huge", &out, &["--preset huge is neither a preset nor a file", "tiny, edge, u50"])?;
    pack("tiny", &simulated, &["exists already: give --force"])?;
    pack("tiny", dir.path(), &["it is a folder"])?;
    let toml = dir.path().join("bad.toml");
    std::fs::write(&toml, AccelConfig::preset("edge")?.to_toml().replace("channels = 4", "channels = 3"))?;
    pack(&toml.to_string_lossy(), &out, &["bad.toml is refused", "channels = 3", "power of two"])?;
    assert_eq!(names(dir.path()), ["bad.toml", "linked.xclbin", "tiny.xclbin"]);
    Ok(())
}

#[test]
fn texts_of_a_file_cannot_steer_the_terminal() -> TestResult {
    let dir = tempfile::tempdir()?;
    let path = packed(dir.path(), "tiny")?;
    let mut xclbin = Xclbin::from_bytes(&std::fs::read(&path)?)?;
    xclbin.header.platform = Text::new("platform", "\u{1b}[2Jgone\n")?;
    std::fs::write(&path, xclbin.to_bytes())?;
    let text = stdout(&self::xclbin(&["info"], &[&path])?);
    assert!(!text.contains('\u{1b}') && text.contains("\\u{1b}[2Jgone\\n"), "{text}");
    Ok(())
}
