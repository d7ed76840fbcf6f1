//! The `fastcar` command as a user runs it.

mod decode;
#[cfg(feature = "hardware")]
mod generate;
mod interrupt;
mod measure;
mod opencl;
mod refusals;
mod resume;
mod simulated;
mod tools;
mod xclbin;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// The command, without arguments.
fn fastcar() -> Command {
    Command::new(env!("CARGO_BIN_EXE_fastcar"))
}

/// Folder of the shipped model.
fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/models/moving-digits")
}

/// Runs a sub-command on the shipped model.
fn run<A: AsRef<OsStr>>(command: &str, args: impl IntoIterator<Item = A>) -> std::io::Result<Output> {
    fastcar().arg(command).arg("--model").arg(model()).args(args).output()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Names in a folder, in order; none where it does not exist.
fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Packs the shipped model.
fn pack(dir: &Path, preset: &str) -> std::io::Result<PathBuf> {
    let path = dir.join(format!("{preset}.fcar"));
    let output = run("pack", ["--preset", preset, "-o", &path.to_string_lossy()])?;
    assert!(output.status.success(), "{}", stderr(&output));
    Ok(path)
}
