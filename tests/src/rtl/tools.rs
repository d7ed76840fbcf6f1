//! The tests' own tools, and how their tests are left out.

use crate::opencl::platforms::not_run;
use fastcar_rtl::{BenchError, target_folder};
use std::process::Command;

/// Whether the tests of the hardware are left out (`SKIP_RTL=1`); said on the terminal.
#[must_use]
pub fn skipped() -> bool {
    let skip = std::env::var_os("SKIP_RTL").is_some_and(|value| value == "1");
    if skip {
        not_run("SKIP_RTL=1: a test of the hardware");
    }
    skip
}

const PIP: &str =
    "pip install --requirement tests/src/rtl/requirements.txt in the tests' virtual environment";

/// A tool of the tests' virtual environment, with its neighbours in the path.
pub(super) fn venv_tool(name: &str) -> Result<Command, BenchError> {
    let bin = target_folder().ok_or(BenchError::NoCache)?.join("test-setup/venv/bin");
    let file = bin.join(name);
    if !file.is_file() {
        return Err(BenchError::Missing { tool: file.display().to_string(), install: PIP });
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(bin).chain(std::env::split_paths(&path));
    let mut command = Command::new(file);
    command.env("PATH", std::env::join_paths(paths).unwrap_or(path));
    Ok(command)
}
