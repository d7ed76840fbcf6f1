//! Ctrl-C in the middle of a decode.

use crate::{TestResult, fastcar, model, names};
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

/// Starts a long decode, sends a signal once it decodes, and checks that it leaves nothing behind.
fn stopped_by(signal: &str) -> TestResult {
    let dir = tempfile::tempdir()?;
    let prompts = ["--prompt", "0 up plain"].repeat(8);
    let mut command = fastcar();
    command.args(["decode", "--model"]).arg(model()).arg("--out").arg(dir.path()).args(prompts);
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    let mut messages = BufReader::new(child.stderr.take().ok_or("no standard error")?);
    let mut line = String::new();
    while !line.starts_with("decoding:") {
        line.clear();
        assert!(messages.read_line(&mut line)? > 0, "ended before it decoded");
    }
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status()?.success());
    let mut rest = String::new();
    messages.read_to_string(&mut rest)?;
    assert_eq!(child.wait()?.code(), Some(130), "{rest}");
    assert!(rest.starts_with("error: interrupted while decoding, at position "), "{rest}");
    assert!(rest.contains("of 512 (frame ") && rest.contains("nothing was written"), "{rest}");
    assert_eq!(names(dir.path()), [""; 0]);
    Ok(())
}

#[test]
fn ctrl_c_stops_and_leaves_no_file() -> TestResult {
    stopped_by("-INT")
}

#[test]
fn sigterm_stops_as_well() -> TestResult {
    stopped_by("-TERM")
}
