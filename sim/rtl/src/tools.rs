//! The tools that make a library of a design.

use crate::error::{BenchError, at};
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

const APT: &str = "apt-get install verilator iverilog g++";

/// A tool of the system.
///
/// # Errors
/// [`BenchError::Missing`].
pub fn system_tool(name: &str) -> Result<Command, BenchError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    found.map(Command::new).ok_or_else(|| BenchError::Missing { tool: name.into(), install: APT })
}

/// Runs a tool in a folder and returns what it says.
///
/// # Errors
/// [`BenchError::Failed`] with the last lines of that.
pub fn run(
    mut command: Command,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    folder: &Path,
) -> Result<String, BenchError> {
    command.args(arguments).current_dir(folder);
    let output = command.output().map_err(at(folder))?;
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    if output.status.success() {
        return Ok(text);
    }
    let what = command.get_program().to_string_lossy().into_owned();
    Err(BenchError::Failed { what, folder: folder.into(), output: last_lines(&text, 60) })
}

/// The last lines of a text.
fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
