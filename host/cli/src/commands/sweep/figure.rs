//! The plot of a sweep: one figure over one flag, a curve for each combination of the others.

use super::rows::{FIGURES, Row};
use crate::exit::usage;
use crate::plot::{self, Line, Panel};
use anyhow::Result;
use image::RgbImage;
use std::collections::BTreeSet;

/// Names of the flags that have more than one value.
fn varying(rows: &[Row]) -> Vec<String> {
    let names = rows.first().map(|row| row.keys.iter().map(|k| k.0.clone()).collect::<Vec<_>>());
    let several = |name: &String| rows.iter().filter_map(|r| r.key(name)).collect::<BTreeSet<_>>().len() > 1;
    names.unwrap_or_default().into_iter().filter(several).collect()
}

/// The flag to go along: the first that varies in numbers.
///
/// # Errors
/// There is none, or the one asked for has no numbers.
fn horizontal(rows: &[Row], asked: Option<&str>) -> Result<String> {
    let numeric = |name: &str| rows.iter().filter(|r| r.number(name).is_some()).count() > 1;
    let found = match asked {
        Some(name) => numeric(name).then(|| name.to_owned()),
        None => varying(rows).into_iter().find(|name| numeric(name)),
    };
    match (found, asked) {
        (Some(name), _) => Ok(name),
        (None, Some(name)) => usage(format!("--plot-x {name}: fewer than two points have a number there")),
        (None, None) => {
            usage("--plot: no flag of the grid has two numbers to plot over; choose with --plot-x")
        }
    }
}

/// Draws one column over another.
///
/// # Errors
/// A column is not there or has no numbers.
pub fn draw(title: &str, rows: &[Row], x: Option<&str>, y: &str) -> Result<RgbImage> {
    if !FIGURES.contains(&y) {
        return usage(format!("--plot-y {y} is no figure; the figures are {}", FIGURES.join(", ")));
    }
    let x = horizontal(rows, x)?;
    let lines = lines(rows, &x, y);
    if lines.is_empty() {
        return usage(format!("--plot: no point has both {x} and {y}"));
    }
    let panel = Panel {
        title: format!("{y} over {x}"),
        x_name: x,
        y_name: y.to_owned(),
        x: range(&lines, |p| p.0),
        y: range(&lines, |p| p.1),
        level: None,
        lines,
    };
    plot::draw(title, &[panel])
}

fn lines(rows: &[Row], x: &str, y: &str) -> Vec<Line> {
    let others: Vec<String> = varying(rows).into_iter().filter(|name| name != x).collect();
    let mut lines: Vec<Line> = Vec::new();
    for row in rows {
        let Some(point) = row.number(x).zip(row.number(y)) else { continue };
        let name = others.iter().filter_map(|key| {
            let value = row.key(key).filter(|v| !v.is_empty())?;
            Some(format!("{key} {value}"))
        });
        let name = name.collect::<Vec<_>>().join(", ");
        let name = if name.is_empty() { y.to_owned() } else { name };
        match lines.iter_mut().find(|line| line.name == name) {
            Some(line) => line.points.push(point),
            None => lines.push(Line { name, points: vec![point] }),
        }
    }
    lines.iter_mut().for_each(|line| line.points.sort_by(|a, b| a.0.total_cmp(&b.0)));
    lines
}

/// Of all points, with a margin; one value has some room on both sides.
fn range(lines: &[Line], of: impl Fn(&(f64, f64)) -> f64) -> std::ops::Range<f64> {
    let values = || lines.iter().flat_map(|l| &l.points).map(&of);
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    let margin = if high > low { (high - low) * 0.05 } else { low.abs().max(1.0) * 0.1 };
    low - margin..high + margin
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(batch: &str, policy: &str, speed: Option<f64>) -> Row {
        let keys = vec![("batch".to_owned(), batch.to_owned()), ("policy".to_owned(), policy.to_owned())];
        let mut figures = [None; FIGURES.len()];
        figures[3] = speed;
        Row { keys, figures: if speed.is_some() { Ok(figures) } else { Err("does not fit".to_owned()) } }
    }

    #[test]
    fn curves_go_along_the_first_number_and_are_named_by_the_rest() -> Result<()> {
        let rows = [
            row("8", "static", Some(3.0)),
            row("cfg", "static", Some(1.0)),
            row("8", "compact", Some(4.0)),
            row("32", "compact", None),
        ];
        let x = horizontal(&rows, None)?;
        let found: Vec<_> = lines(&rows, &x, FIGURES[3]).into_iter().map(|l| (l.name, l.points)).collect();
        let expected = [
            ("policy static".to_owned(), vec![(2.0, 1.0), (8.0, 3.0)]),
            ("policy compact".to_owned(), vec![(8.0, 4.0)]),
        ];
        assert_eq!((x.as_str(), found.as_slice()), ("batch", &expected[..]));
        assert!(horizontal(&rows, Some("policy")).is_err());
        assert!(draw("t", &rows, None, "beauty").is_err());
        Ok(())
    }
}
