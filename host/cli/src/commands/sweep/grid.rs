//! The grid: which flags vary, and its points.

use crate::commands::simulate::setup::{Point, Skip};
use crate::commands::simulate::values::{ActiveShares, ReplayShare, Rows, Setting, Settings};
use crate::source::Weights;
use clap::ValueEnum;
use fastcar_host::attention::Attention;
use fastcar_sim::Policy as Scheduling;

/// The flags that take several values; every combination is a point.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Grid")]
pub struct Grid {
    /// Accelerator configurations by name, or TOML files
    #[arg(long, value_name = "NAME|FILE.toml,..", value_delimiter = ',', default_value = "u55c")]
    pub preset: Vec<String>,
    /// Columns of the MAC array
    #[arg(long, value_name = "N,..", value_delimiter = ',')]
    pub columns: Vec<u32>,
    /// Kernel clocks in MHz
    #[arg(long, value_name = "F,..", value_delimiter = ',')]
    pub clock_mhz: Vec<u32>,
    /// Values of any other field of the configuration, as in main_beats=1024,2048; may be given for several fields
    #[arg(long, value_name = "FIELD=N,..")]
    pub set: Vec<Settings>,
    /// Formats of the layers' weights
    #[arg(long, value_enum, value_delimiter = ',', default_value = "mxfp4")]
    pub weights: Vec<Weights>,
    /// Rows decoded together: numbers, or cfg for one guided sequence
    #[arg(long, value_name = "N|cfg,..", value_delimiter = ',', default_value = "1")]
    pub batch: Vec<Rows>,
    /// Shares of all (layer, position) that replay; cap for all that can; none where neither this nor --delta is given
    #[arg(long, value_name = "R|cap,..", value_delimiter = ',')]
    pub replay: Vec<ReplayShare>,
    /// Delta decode: shares of active blocks; points beside those of --replay
    #[arg(long, value_name = "A,..", value_delimiter = ',')]
    pub delta: Vec<ActiveShares>,
    /// How slots share the columns
    #[arg(long, value_name = "POLICY,..", value_delimiter = ',', default_value = "compact")]
    pub policy: Vec<Scheduling>,
    /// Tokens that attention reads; give the flag once for each pattern
    #[arg(long, value_name = "PATTERN", default_value = "dense")]
    pub attention: Vec<Attention>,
}

impl Grid {
    /// Every combination, the last flag varying fastest.
    pub fn points(&self) -> Vec<Point> {
        let mut points: Vec<Point> = self.preset.iter().map(|preset| first(preset)).collect();
        for settings in self.settings() {
            points = cross(&points, &settings, |point, setting| point.settings.push(setting.clone()));
        }
        points = cross(&points, &self.weights, |point, &weights| point.weights = weights);
        points = cross(&points, &self.batch, |point, &rows| point.rows = rows);
        points = cross(&points, &self.skips(), |point, &skip| point.skip = skip);
        points = cross(&points, &self.policy, |point, &policy| point.scheduling = policy);
        cross(&points, &self.attention, |point, attention| point.attention = attention.clone())
    }

    /// The values of every field that is set, field by field.
    fn settings(&self) -> Vec<Vec<Setting>> {
        let all = |field: &str, values: &mut dyn Iterator<Item = u64>| -> Vec<Setting> {
            values.map(|value| Setting { field: field.to_owned(), value }).collect()
        };
        let columns = all("columns", &mut self.columns.iter().map(|&n| n.into()));
        let clocks = all("clock_hz", &mut self.clock_mhz.iter().map(|&f| u64::from(f) * 1_000_000));
        let others = self.set.iter().map(|s| all(&s.field, &mut s.values.iter().copied()));
        [columns, clocks].into_iter().chain(others).filter(|values| !values.is_empty()).collect()
    }

    fn skips(&self) -> Vec<Skip> {
        let replays = self.replay.iter().map(|&share| Skip::Replay(share));
        let skips: Vec<Skip> = replays.chain(self.delta.iter().map(|&shares| Skip::Delta(shares))).collect();
        if skips.is_empty() { vec![Skip::Dense] } else { skips }
    }
}

/// A point before its other values are set.
fn first(preset: &str) -> Point {
    Point {
        preset: preset.to_owned(),
        settings: Vec::new(),
        weights: Weights::Mxfp4,
        rows: Rows(fastcar_host::simulate::Batch { rows: 1, paired: false }),
        skip: Skip::Dense,
        scheduling: Scheduling::default(),
        attention: Attention::dense(),
    }
}

/// Every point with every value.
fn cross<T>(points: &[Point], values: &[T], set: impl Fn(&mut Point, &T)) -> Vec<Point> {
    let with = |point: &Point, value: &T| {
        let mut point = point.clone();
        set(&mut point, value);
        point
    };
    points
        .iter()
        .flat_map(|point| values.iter().map(|value| with(point, value)).collect::<Vec<_>>())
        .collect()
}

/// What tells a point from the others: name and value of each flag.
pub fn keys(point: &Point) -> Vec<(String, String)> {
    let (replay, delta) = match point.skip {
        Skip::Dense => (String::new(), String::new()),
        Skip::Replay(share) => (share.to_string(), String::new()),
        Skip::Delta(shares) => (String::new(), shares.to_string()),
    };
    let weights = point.weights.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default();
    let mut keys = vec![("preset".to_owned(), point.preset.clone())];
    keys.extend(point.settings.iter().map(|s| (s.field.clone(), s.value.to_string())));
    let rest = [
        ("weights", weights),
        ("batch", point.rows.to_string()),
        ("replay", replay),
        ("delta", delta),
        ("policy", point.scheduling.to_string()),
        ("attention", point.attention.to_string()),
    ];
    keys.extend(rest.map(|(name, value)| (name.to_owned(), value)));
    keys
}
