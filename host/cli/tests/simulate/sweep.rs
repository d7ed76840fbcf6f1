//! Grids.

use crate::{TestResult, fastcar, stdout};
use serde_json::Value;
use std::path::Path;

fn sweep(dir: &Path, args: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = fastcar();
    command.current_dir(dir).args(["sweep", "--workload", "tiny", "--quiet"]).args(args);
    command.assert()
}

/// Heading and cells of a file without quoted cells.
fn csv(path: &Path) -> Result<Vec<Vec<String>>, std::io::Error> {
    let text = std::fs::read_to_string(path)?;
    Ok(text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect())
}

#[test]
fn table_and_plot_are_written_and_misfits_are_rows() -> TestResult {
    let dir = tempfile::tempdir()?;
    let grid = ["--preset", "tiny,edge", "--batch", "1,4,8", "--replay", "0,cap", "--sample", "4"];
    let files = ["--baseline", "--out", "a.csv", "--plot", "a.png", "--plot-y", "speedup"];
    let text = stdout(sweep(dir.path(), &[&grid[..], &files].concat()));
    assert!(text.contains("4 positions of each video simulated") && text.contains("a.png"), "{text}");
    let rows = csv(&dir.path().join("a.csv"))?;
    assert_eq!(rows.len(), 1 + 2 * 3 * 2);
    let column = |name: &str| rows[0].iter().position(|c| c == name).ok_or(format!("no column {name}"));
    let (preset, batch, error) = (column("preset")?, column("batch")?, column("error")?);
    for row in &rows[1..] {
        let misfit = row[preset] == "tiny" && row[batch] == "8";
        assert_eq!(row[error].contains("batch is 8: preset 'tiny' has 1 to 4 slots"), misfit, "{row:?}");
        assert_eq!(row[column("speedup")?].is_empty(), misfit, "{row:?}");
    }
    let picture = std::fs::read(dir.path().join("a.png"))?;
    assert!(picture.starts_with(b"\x89PNG") && picture.len() > 5000);
    Ok(())
}

#[test]
fn a_point_is_what_simulate_finds() -> TestResult {
    let dir = tempfile::tempdir()?;
    let grid =
        ["--preset", "tiny", "--delta", "0.25,0.5", "--set", "main_beats=256,512", "--policy", "static"];
    let found: Value = serde_json::from_str(&stdout(sweep(dir.path(), &[&grid[..], &["--json"]].concat())))?;
    let points = found["points"].as_array().ok_or("no points")?;
    assert_eq!(points.len(), 4);
    for point in points {
        let text = |key: &str| point[key].as_str().unwrap_or_default();
        let field = format!("main_beats={}", text("main_beats"));
        let args = ["--delta", text("delta"), "--set", &field, "--policy", "static", "--no-baseline"];
        let one = crate::json(&args)?;
        assert_eq!(point["positions_per_second"], one["result"]["positions_per_second"], "{args:?}");
        assert_eq!(point["share_of_peak"], one["result"]["share_of_peak"], "{args:?}");
    }
    Ok(())
}

#[test]
fn nothing_is_written_where_the_plot_cannot_be() -> TestResult {
    let dir = tempfile::tempdir()?;
    let refused = |args: &[&str], part: &str| {
        let assert = sweep(dir.path(), &[&["--preset", "tiny", "--sample", "1"], args].concat()).code(2);
        let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(text.contains(part), "{text}");
    };
    refused(&["--plot", "a.png"], "no flag of the grid has two numbers");
    refused(&["--batch", "1,2", "--plot", "a.png", "--plot-y", "beauty"], "positions_per_second");
    refused(&["--batch", "1,2", "--plot", "a.png", "--plot-x", "policy"], "fewer than two points");
    refused(&["--plot-x", "batch"], "--plot");
    assert_eq!(std::fs::read_dir(dir.path())?.count(), 0);
    Ok(())
}
