//! The tools that look at Verilog, and where they are kept.

use crate::opencl::platforms::not_run;
use fastcar_hw::rtl::RtlError;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Why a test of the hardware cannot run, or what a tool has to say about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RtlTestError {
    /// The circuit is wrong.
    #[error(transparent)]
    Rtl(#[from] RtlError),
    /// A tool is missing.
    #[error("{tool} is missing: {install} (or run scripts/setup-test.sh; SKIP_RTL=1 leaves these tests out)")]
    Missing {
        /// Tool.
        tool: String,
        /// How it is installed.
        install: &'static str,
    },
    /// A tool has failed.
    #[error("{what} failed, see {}:\n{output}", folder.display())]
    Failed {
        /// What it was to do.
        what: String,
        /// Where it ran.
        folder: PathBuf,
        /// What it says.
        output: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// File.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A library that was made cannot be loaded.
    #[error("{}: {source}", path.display())]
    Load {
        /// Library.
        path: PathBuf,
        /// What the loader says.
        source: libloading::Error,
    },
}

/// Attaches a path to an error of the system.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> RtlTestError + '_ {
    move |source| RtlTestError::File { path: path.into(), source }
}

/// Whether the tests of the hardware are left out (`SKIP_RTL=1`); said on the terminal.
#[must_use]
pub fn skipped() -> bool {
    let skip = std::env::var_os("SKIP_RTL").is_some_and(|value| value == "1");
    if skip {
        not_run("SKIP_RTL=1: a test of the hardware");
    }
    skip
}

const APT: &str = "apt-get install verilator iverilog g++";
const PIP: &str =
    "pip install --requirement tests/src/rtl/requirements.txt in the tests' virtual environment";

/// A tool of the system.
pub(super) fn system_tool(name: &str) -> Result<Command, RtlTestError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    found.map(Command::new).ok_or_else(|| RtlTestError::Missing { tool: name.into(), install: APT })
}

/// A tool of the tests' virtual environment, with its neighbours in the path.
pub(super) fn venv_tool(name: &str) -> Result<Command, RtlTestError> {
    let bin = target_folder().join("test-setup/venv/bin");
    let file = bin.join(name);
    if !file.is_file() {
        return Err(RtlTestError::Missing { tool: file.display().to_string(), install: PIP });
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(bin).chain(std::env::split_paths(&path));
    let mut command = Command::new(file);
    command.env("PATH", std::env::join_paths(paths).unwrap_or(path));
    Ok(command)
}

/// Cargo's target folder: the one that the running test lies in.
pub(super) fn target_folder() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    // Cargo marks a folder that it has made itself; the script that installs the tools may have been there before.
    let marks = ["CACHEDIR.TAG", "test-setup"];
    let marked = program.ancestors().find(|folder| marks.iter().any(|mark| folder.join(mark).exists()));
    marked.map_or_else(std::env::temp_dir, Path::to_path_buf)
}

/// Runs a tool in a folder and returns what it says.
pub(super) fn run(
    mut command: Command,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    folder: &Path,
) -> Result<String, RtlTestError> {
    command.args(arguments).current_dir(folder);
    let output = command.output().map_err(at(folder))?;
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    if output.status.success() {
        return Ok(text);
    }
    let what = command.get_program().to_string_lossy().into_owned();
    Err(RtlTestError::Failed { what, folder: folder.into(), output: last_lines(&text, 60) })
}

/// The last lines of a text.
fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
