//! The table of targets, and its page.

use crate::{TestResult, fastcar, stdout};
use serde_json::Value;

const PAGE: &str = include_str!("../../../../docs/performance-table.md");

/// Cells of the table below a heading of the page.
fn cells(heading: &str) -> Vec<Vec<&'static str>> {
    let section = PAGE.split("\n## ").find(|s| s.starts_with(heading)).unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

#[test]
fn the_page_is_current() -> TestResult {
    let checks = cells("Checks");
    assert_eq!(checks.len(), 3);
    for check in checks {
        let [arguments, cycles] = check[..] else { return Err(format!("{check:?}").into()) };
        let arguments = arguments.trim_matches('`').split(' ');
        let run =
            fastcar().arg("simulate").args(arguments.clone()).args(["--no-baseline", "--json"]).assert();
        let found: Value = serde_json::from_str(&stdout(run))?;
        let place = "run `make bench-table`: docs/performance-table.md is of another machine";
        assert_eq!(
            found["result"]["cycles"].to_string(),
            cycles,
            "{place}: {:?}",
            arguments.collect::<Vec<_>>()
        );
    }
    Ok(())
}

#[test]
fn the_page_has_every_row_of_the_command() -> TestResult {
    let output = fastcar().args(["targets", "--videos", "--only", "no such row"]).assert().code(2);
    let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    let names: Vec<&str> = text.lines().skip(1).map(str::trim).collect();
    let on_page: Vec<&str> = cells("Runs").iter().map(|row| row[0]).collect();
    assert!(names.len() > 20);
    assert_eq!(on_page, names);
    Ok(())
}

#[test]
fn a_row_has_bound_target_and_figure() -> TestResult {
    let run = fastcar().args(["targets", "--sample", "2", "--only", "edge", "--json", "--quiet"]).assert();
    let found: Value = serde_json::from_str(&stdout(run))?;
    let row = &found[0];
    assert_eq!(
        (&row["bound"], &row["target"], &row["figure"]),
        (&Value::from(1.0), &Value::from(0.9), &Value::from("share"))
    );
    let share = row["found"].as_f64().ok_or("no figure")?;
    assert!((0.5..1.0).contains(&share), "{share}");
    assert_eq!(row["met"], Value::from(share >= 0.9));
    Ok(())
}
