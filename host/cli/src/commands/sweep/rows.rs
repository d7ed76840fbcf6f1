//! What stands in a row of the CSV file.

use super::grid::keys;
use crate::commands::simulate::setup::Point;
use fastcar_host::simulate::Report;

/// Figures of a point by column.
pub const FIGURES: [&str; 15] = [
    "positions_simulated",
    "cycles_per_position",
    "milliseconds_per_position",
    "positions_per_second",
    "video_seconds",
    "moved_bytes_per_position",
    "share_of_peak",
    "share_of_roofline",
    "replayed_share",
    "passes_per_position",
    "mlp_cycles_per_position",
    "mlp_efficiency",
    "mac_busy_share",
    "speedup",
    "speedup_bound",
];

/// A point and what became of it.
pub struct Row {
    /// Names and values of the flags.
    pub keys: Vec<(String, String)>,
    /// Figures in the order of [`FIGURES`], or why there are none.
    pub figures: Result<[Option<f64>; 15], String>,
}

impl Row {
    /// Of a run, and of the dense run of the same machine where there is one. `cap` is the share that can replay, where
    /// the point replays all of it.
    pub fn new(
        point: &Point,
        cap: Option<f64>,
        run: Result<&Report, String>,
        dense: Option<&Report>,
    ) -> Self {
        let mut keys = keys(point);
        if let (Some(cap), Some((_, value))) = (cap, keys.iter_mut().find(|k| k.0 == "replay")) {
            *value = cap.to_string();
        }
        Self { keys, figures: run.map(|r| figures(r, dense)) }
    }

    /// A flag's value or a figure, as a number where it is one.
    pub fn number(&self, column: &str) -> Option<f64> {
        if let Some(at) = FIGURES.iter().position(|f| *f == column) {
            return self.figures.as_ref().ok()?[at];
        }
        match self.key(column)? {
            "cfg" => Some(2.0),
            text => text.parse().ok(),
        }
    }

    /// A flag's value.
    pub fn key(&self, name: &str) -> Option<&str> {
        self.keys.iter().find(|k| k.0 == name).map(|k| k.1.as_str())
    }
}

fn figures(r: &Report, dense: Option<&Report>) -> [Option<f64>; 15] {
    let mut c = r.body.counters.clone();
    c += &r.codes.counters;
    let positions = r.body.steps.max(1) as f64;
    let cycles = r.decode_cycles() as f64;
    let decided = (c.replays + c.computes) as f64;
    let ratio = |a: u64, b: u64| (b > 0).then(|| a as f64 / b as f64);
    [
        Some(r.body.steps as f64),
        Some(cycles / positions),
        Some(r.seconds(r.decode_cycles()) * 1e3 / positions),
        Some(r.positions_per_second()),
        Some(r.video_seconds()),
        Some(c.bytes() as f64 / positions),
        Some(r.share_of_peak()),
        Some(r.share_of_roofline()),
        (decided > 0.0).then(|| c.replays as f64 / decided),
        Some(c.passes as f64 / positions),
        Some(c.mlp_cycles as f64 / positions),
        ratio(c.mlp_work, c.mlp_cycles),
        ratio(c.units[3].busy, c.cycles),
        dense.map(|d| d.decode_cycles() as f64 / cycles),
        dense.map(|d| d.bound_seconds() / r.bound_seconds()),
    ]
}

/// The rows as CSV, errors in a column of their own.
pub fn csv(rows: &[Row]) -> String {
    let keys = rows.first().map(|row| row.keys.iter().map(|k| k.0.as_str()).collect()).unwrap_or_default();
    let heading: Vec<&str> = [keys, FIGURES.to_vec(), vec!["error"]].concat();
    let mut out = heading.join(",") + "\n";
    for row in rows {
        let mut cells: Vec<String> = row.keys.iter().map(|k| quoted(&k.1)).collect();
        match &row.figures {
            Ok(figures) => {
                cells.extend(figures.iter().map(|x| x.map_or_else(String::new, |x| x.to_string())));
                cells.push(String::new());
            }
            Err(error) => {
                cells.extend(FIGURES.map(|_| String::new()));
                cells.push(quoted(error));
            }
        }
        out += &(cells.join(",") + "\n");
    }
    out
}

/// A cell, in quotes where it needs them.
fn quoted(text: &str) -> String {
    let text = text.trim().replace('\n', " ");
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_with_commas_and_quotes_are_quoted() {
        assert_eq!(quoted("dense,local4"), "\"dense,local4\"");
        assert_eq!(quoted("preset 'x' is \"y\"\nz"), "\"preset 'x' is \"\"y\"\" z\"");
        assert_eq!(quoted("plain"), "plain");
    }
}
