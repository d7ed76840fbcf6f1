//! The table as text, as a page and as JSON.

use super::Finding;
use super::rows::Measure;
use crate::table::table;
use serde_json::{Value, json};

const HEADING: [&str; 6] = ["what", "figure", "bound", "target", "found", "met"];

fn number(measure: Measure, x: f64) -> String {
    match measure {
        Measure::PositionsPerSecond => format!("{x:.1}"),
        Measure::ShareOfPeak => format!("{:.1} %", x * 100.0),
        Measure::WallSeconds => format!("{x:.0}"),
        _ => format!("{x:.3}"),
    }
}

fn cells(f: &Finding) -> [String; 6] {
    let measure = f.row.measure;
    let some = |x: Option<f64>| x.map_or_else(|| "-".to_owned(), |x| number(measure, x));
    let side = if measure.more_is_better() { "≥" } else { "≤" };
    [
        f.row.name.to_owned(),
        measure.unit().to_owned(),
        some(f.bound),
        f.row.target.map_or_else(|| "-".to_owned(), |x| format!("{side} {}", number(measure, x))),
        number(measure, f.found),
        f.met().map_or("-", |met| if met { "yes" } else { "no" }).to_owned(),
    ]
}

/// For a terminal.
pub fn text(findings: &[Finding]) -> String {
    let rows: Vec<Vec<String>> = std::iter::once(HEADING.map(str::to_owned).to_vec())
        .chain(findings.iter().map(|f| cells(f).to_vec()))
        .collect();
    table(&rows)
}

/// Figures with their command lines.
pub fn json(findings: &[Finding]) -> Vec<Value> {
    let entry = |f: &Finding| {
        json!({
            "name": f.row.name,
            "figure": f.row.measure.unit(),
            "bound": f.bound,
            "target": f.row.target,
            "found": f.found,
            "met": f.met(),
            "simulate": f.row.run,
            "versus": f.row.versus,
        })
    };
    findings.iter().map(entry).collect()
}

fn line(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// As a page of Markdown. `checks` are short runs with the cycles that they take.
pub fn markdown(findings: &[Finding], checks: &[(&str, u64)], sample: u32) -> String {
    let mut out = format!(
        "# Performance table\n\n\
         Made by `make bench-table`; do not edit. Every figure is simulated in timing mode: cycles of the machine of a\n\
         preset at its clock, on its memory, with drawn decisions (seed 0). Each run simulates {sample} evenly spaced\n\
         positions of its video, except where a wall time is measured, and both runs of a comparison the same ones.\n\
         Bounds are computed from the same runs: the bytes of weights, keys and values that the decisions leave to be\n\
         read, at the memory's peak bandwidth. `fastcar simulate` with the arguments of the second table repeats a run.\n\
         Ideal passes of an MLP are ceil(active / columns) for each matrix, a beat a cycle: with one pass, memory is slower\n\
         than the array, and the ratio shows that. Wall times are those of {} threads of the machine that made this page.\n\n",
        rayon::current_num_threads()
    );
    out += &line(&HEADING.map(str::to_owned));
    out += "|---|---|---|---|---|---|\n";
    findings.iter().for_each(|f| out += &line(&cells(f)));
    out += "\n## Runs\n\n| what | arguments of `fastcar simulate` | compared with |\n|---|---|---|\n";
    for Finding { row, .. } in findings {
        let versus = row.versus.map_or_else(|| "-".to_owned(), |v| format!("`{v}`"));
        out += &line(&[row.name.to_owned(), format!("`{}`", row.run), versus]);
    }
    out += "\n## Checks\n\n\
            A test repeats these runs and compares the cycles of their generated positions.\n\n\
            | arguments of `fastcar simulate` | cycles |\n|---|---|\n";
    checks.iter().for_each(|(run, cycles)| out += &line(&[format!("`{run}`"), cycles.to_string()]));
    out
}
