//! `fastcar decode --snapshot` and `--resume`: what is interrupted or loses its device goes on, with the same tokens.

use crate::{TestResult, fastcar, model, names, stderr};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Two guided videos under a policy with state of its own.
const DECODE: [&str; 14] = [
    "--prompt",
    "7 left stripes",
    "--prompt",
    "3 up dots",
    "--cfg",
    "1.5",
    "--policy",
    "delta",
    "--threshold",
    "0.3",
    "--temperature",
    "1",
    "--name",
    "a",
];

fn decode(out: &Path, frames: &str, args: &[&str]) -> Command {
    let mut command = fastcar();
    for name in ["DEVICE", "SIM_DEVICES", "SIM_MODE", "SIM_FAULT"] {
        command.env_remove(format!("FASTCAR_{name}"));
    }
    command.env_remove("OPENCL_DYLIB_PATH");
    command.args(["decode", "--frames", frames, "--model"]).arg(model());
    command.args(DECODE).args(args).arg("--out").arg(out);
    command
}

/// The sequences of a whole decode, without the figures of its run.
fn sequences(out: &Path, frames: &str, args: &[&str]) -> Result<Value, Box<dyn std::error::Error>> {
    let output = decode(out, frames, args).arg("--json").output()?;
    assert!(output.status.success(), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout)?;
    Ok(report["sequences"].clone())
}

fn file(dir: &Path, name: &str) -> String {
    dir.join(name).to_string_lossy().into_owned()
}

#[test]
fn an_interrupted_decode_goes_on() -> TestResult {
    let dir = tempfile::tempdir()?;
    let (out, kept) = (dir.path().join("out"), file(dir.path(), "kept"));
    let mut command = decode(&out, "8", &["--snapshot", &kept]);
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    let mut messages = BufReader::new(child.stderr.take().ok_or("no standard error")?);
    let mut line = String::new();
    while !line.starts_with("decoding:") {
        line.clear();
        assert!(messages.read_line(&mut line)? > 0, "ended before it decoded");
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status()?.success());
    let mut rest = String::new();
    messages.read_to_string(&mut rest)?;
    assert_eq!(child.wait()?.code(), Some(130), "{rest}");
    let expected = format!(" positions: the same command with --resume {kept} goes on\n");
    assert!(rest.starts_with("error: interrupted while decoding, at position "), "{rest}");
    assert!(rest.contains(&format!("; snapshot {kept} holds ")) && rest.ends_with(&expected), "{rest}");
    assert_eq!((names(&out), names(dir.path())), (vec![], vec!["kept".to_owned(), "out".to_owned()]));

    let whole = sequences(&out, "8", &[])?;
    assert_eq!(sequences(&out, "8", &["--resume", &kept])?, whole);
    assert_eq!(names(dir.path()), ["kept", "out"], "what is gone on from stays");
    assert_eq!(sequences(&out, "8", &["--resume", &kept, "--snapshot", &kept])?, whole);
    assert_eq!(names(dir.path()), ["out"], "what is complete needs no snapshot");
    Ok(())
}

#[test]
fn a_decode_that_loses_its_device_goes_on_elsewhere() -> TestResult {
    let dir = tempfile::tempdir()?;
    let (out, kept) = (dir.path().join("out"), file(dir.path(), "kept"));
    let whole = sequences(&out, "2", &[])?;
    let card = ["--backend", "opencl", "--snapshot", &kept, "--snapshot-every", "12"];
    let lost = |args: &[&str], fault: &str| -> std::io::Result<Output> {
        let mut command = decode(&out, "2", &[&card[..], &["--quiet"], args].concat());
        command.envs([("FASTCAR_SIM_MODE", "functional"), ("FASTCAR_SIM_FAULT", fault)]).output()
    };
    let output = lost(&[], "lost@3")?;
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let none = format!("error: the decode stopped at position 0; there was no snapshot yet for {kept}\n");
    assert!(text.starts_with(&none) && text.contains("\n  because: opencl: clEnqueue"), "{text}");
    // Prompts of 4 tokens: run 80 would give position 77.
    let text = stderr(&lost(&[], "lost@80")?);
    let begin = format!("error: the decode stopped at position 76; snapshot {kept} holds 72 positions: ");
    assert!(text.starts_with(&begin), "{text}");
    assert_eq!(sequences(&out, "2", &["--resume", &kept])?, whole);
    // Once more on a card, which is lost in its turn.
    let text = stderr(&lost(&["--resume", &kept], "lost@30")?);
    let begin = format!("error: the decode stopped at position 101; snapshot {kept} holds 96 positions: ");
    assert!(text.starts_with(&begin), "{text}");
    assert_eq!(sequences(&out, "2", &["--backend", "opencl", "--resume", &kept])?, whole);
    Ok(())
}

#[test]
fn what_cannot_go_on_is_refused() -> TestResult {
    let dir = tempfile::tempdir()?;
    let (out, kept) = (dir.path().join("out"), file(dir.path(), "kept"));
    let other = file(dir.path(), "other");
    std::fs::write(&other, "my only copy")?;
    let output = decode(&out, "1", &["--backend", "opencl", "--snapshot", &kept, "--snapshot-every", "8"])
        .envs([("FASTCAR_SIM_MODE", "functional"), ("FASTCAR_SIM_FAULT", "lost@30")])
        .output()?;
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let folder = file(dir.path(), "none/kept");
    let damaged = file(dir.path(), "damaged");
    std::fs::write(&damaged, &std::fs::read(&kept)?[..5000])?;
    let cases: [(&str, &[&str], i32, &str); 12] = [
        ("2", &["--resume", &kept], 1, "kept is of another decode: give the prompts, lengths and sampling"),
        ("1", &["--prompt", "0 up plain", "--resume", &kept], 1, "is of another decode"),
        ("1", &["--attention", "local40", "--resume", &kept], 1, "was taken under another policy"),
        (
            "1",
            &["--attention", "local40", "--resume", &kept],
            1,
            "cannot resume: give policy and attention as",
        ),
        (
            "1",
            &["--weights", "mxint8", "--resume", &kept],
            1,
            "give --model, --preset, --weights and --head as",
        ),
        (
            "1",
            &["--resume", &damaged],
            1,
            "because: not a snapshot of this version: the hash of its contents",
        ),
        (
            "1",
            &["--resume", &damaged],
            1,
            "damaged: give a file that --snapshot has left, or decode from the",
        ),
        ("1", &["--resume", &other], 1, "not a snapshot of this version: shorter than its head"),
        ("1", &["--resume", &folder], 1, "No such file"),
        ("1", &["--backend", "sim", "--resume", &kept], 2, "--resume goes with --backend golden or opencl"),
        ("1", &["--snapshot", &other], 2, "other: it exists and is no snapshot; choose another name"),
        ("1", &["--snapshot", &folder], 2, "kept: its folder does not exist"),
    ];
    for (frames, args, code, expected) in cases {
        let output = decode(&out, frames, args).output()?;
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{expected}: {}", stderr(&output));
    }
    assert_eq!(std::fs::read(&other)?, b"my only copy");
    assert_eq!(names(&out), [""; 0]);
    Ok(())
}
