//! `docs/opencl-status.md`, from the recording and the list of differences.

use super::differences::{DIFFERENCES, Difference};
use super::record::Row;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The command that writes the page again.
pub const BLESS: &str = "FASTCAR_BLESS=1 cargo test -p fastcar-tests --test xrt page";

const HEAD: &str = "\
# The simulator's OpenCL platform beside AMD's runtime

Generated from `tests/src/opencl/differences.rs`; `tests/tests/xrt.rs` fails when this page or the list is not true.

The same calls are made on both through the table of functions that every OpenCL loader uses, each in a process of its own, and
status and, where it makes sense, what came back are compared:

| | XRT | simulator |
|---|---|---|
| library | `libxilinxopencl.so.2`, XRT 2.13.0 (Debian 12, `libxrt1` 202210.2.13.466) | `libfastcar_icd.so` of this tree |
| device | the no-op device (`XCL_EMULATION_MODE=noop`): all of the runtime, but kernels compute nothing and copies on the device copy nothing | `FASTCAR_SIM_MODE=instant`, `FASTCAR_SIM_AS_XRT=1` |
| image | the image of preset `edge` that `fastcar xclbin pack` writes | the same |
| answers | recorded in `tests/vectors/xrt-2.13-status.csv` | found by each test run |

Where `libxrt1` is installed, each test run also compares the runtime with its recording; where it is not, the test says that this did
not run. Later versions of XRT have no no-op device any more.
";

/// The page.
#[must_use]
pub fn markdown(recorded: &[Row]) -> String {
    let differing: usize = DIFFERENCES.iter().map(|d| d.cases.len()).sum();
    let (all, same) = (recorded.len(), recorded.len().saturating_sub(differing));
    let mut out = format!("{HEAD}\n{all} calls are compared; {same} are answered alike.\n\n");
    out.push_str("| area | calls | alike |\n|---|---|---|\n");
    for (area, (calls, alike)) in areas(recorded) {
        let _ = writeln!(out, "| {area} | {calls} | {alike} |");
    }
    out.push_str("\n## Differences\n");
    for difference in DIFFERENCES {
        section(&mut out, difference, recorded);
    }
    out
}

/// Calls, and calls answered alike, of each area.
fn areas(recorded: &[Row]) -> BTreeMap<&str, (usize, usize)> {
    let mut areas = BTreeMap::new();
    for row in recorded {
        let area: &mut (usize, usize) =
            areas.entry(row.case.split('.').next().unwrap_or_default()).or_default();
        let differs = DIFFERENCES.iter().any(|d| d.cases.iter().any(|c| c.0 == row.case));
        area.0 += 1;
        area.1 += usize::from(!differs);
    }
    areas
}

fn section(out: &mut String, difference: &Difference, recorded: &[Row]) {
    let _ = write!(out, "\n### {}\n\n{}", difference.title, difference.reason);
    if difference.undefined {
        out.push_str(
            " XRT's answers here depend on what lies in memory and are not compared with a live runtime.",
        );
    }
    out.push_str("\n\n| call | XRT | simulator |\n|---|---|---|\n");
    for (case, answer) in difference.cases {
        let row = recorded.iter().find(|row| row.case == *case);
        let theirs = row.map(|row| shown(&row.status, &row.value)).unwrap_or_default();
        let (status, value) = answer.split_once(',').unwrap_or((answer, ""));
        let _ = writeln!(out, "| `{case}` | {theirs} | {} |", shown(status, value));
    }
}

/// An answer in a cell.
fn shown(status: &str, value: &str) -> String {
    if value.is_empty() { format!("`{status}`") } else { format!("`{status}`, {value}") }
}
