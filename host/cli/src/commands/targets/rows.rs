//! The rows of the table: what is asked, of which command line, and what is to be reached.

/// What a row compares, and in which unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Measure {
    /// Generated positions a second; the bound reads what is needed at peak bandwidth.
    PositionsPerSecond,
    /// Share of peak bandwidth that is used.
    ShareOfPeak,
    /// Time of the other run over this one's; the bound is the ratio of what both need to read.
    Speedup,
    /// Time over what the needed bytes and the rings take at peak bandwidth.
    OverTraffic,
    /// MLP phase over its passes, ceil(active / columns) each, without a bubble.
    MlpOverIdeal,
    /// MLP phase of the other run over this one's; the bound is that of passes without a bubble.
    MlpGain,
    /// Time of a whole step of the other run over this one's.
    StepGain,
    /// Seconds of wall time that every position of a video takes to simulate.
    WallSeconds,
}

impl Measure {
    /// Whether a larger figure is better.
    pub fn more_is_better(self) -> bool {
        !matches!(self, Self::OverTraffic | Self::MlpOverIdeal | Self::WallSeconds)
    }

    /// Name of the figure.
    pub fn unit(self) -> &'static str {
        match self {
            Self::PositionsPerSecond => "positions/s",
            Self::ShareOfPeak => "share",
            Self::Speedup => "speed-up",
            Self::OverTraffic | Self::MlpOverIdeal | Self::MlpGain | Self::StepGain => "ratio",
            Self::WallSeconds => "seconds",
        }
    }
}

/// One line of the table.
#[derive(Debug)]
pub struct Row {
    /// What.
    pub name: &'static str,
    /// Figure.
    pub measure: Measure,
    /// To be reached, where something is.
    pub target: Option<f64>,
    /// Arguments of `fastcar simulate`.
    pub run: &'static str,
    /// Arguments of the run that it is compared with.
    pub versus: Option<&'static str>,
}

const fn row(
    name: &'static str,
    measure: Measure,
    target: Option<f64>,
    run: &'static str,
    versus: Option<&'static str>,
) -> Row {
    Row { name, measure, target, run, versus }
}

/// Runs of few positions whose cycles stand on the page, for a test to repeat.
pub const CHECKS: &[&str] = &[
    "--preset u55c --workload vila-u-7b --body-only --prompt 1 --replay 0.8 --positions 1024..1025",
    "--preset u55c --workload vila-u-7b --body-only --prompt 1 --delta 0.5 --positions 1024..1025",
    "--preset edge --workload llama-1b --set score_tokens=8192 --prompt 1 --positions 1024..1025",
];

/// All, in order.
pub const ROWS: &[Row] = &[
    row(
        "dense, batch 1, u55c",
        Measure::PositionsPerSecond,
        Some(112.0),
        "--preset u55c --workload vila-u-7b --body-only",
        None,
    ),
    row(
        "dense, batch 1, u55c: share of peak bandwidth",
        Measure::ShareOfPeak,
        Some(0.91),
        "--preset u55c --workload vila-u-7b --body-only",
        None,
    ),
    row(
        "dense, batch 1, u280",
        Measure::PositionsPerSecond,
        Some(112.0),
        "--preset u280 --workload vila-u-7b --body-only",
        None,
    ),
    row(
        "dense, batch 1, u280: share of peak bandwidth",
        Measure::ShareOfPeak,
        Some(0.91),
        "--preset u280 --workload vila-u-7b --body-only",
        None,
    ),
    row(
        "replay 0.5",
        Measure::Speedup,
        Some(1.4),
        "--preset u55c --workload vila-u-7b --body-only --replay 0.5",
        Some("--preset u55c --workload vila-u-7b --body-only"),
    ),
    row(
        "replay 0.8",
        Measure::Speedup,
        Some(1.9),
        "--preset u55c --workload vila-u-7b --body-only --replay 0.8",
        Some("--preset u55c --workload vila-u-7b --body-only"),
    ),
    row(
        "replay at its cap",
        Measure::Speedup,
        Some(2.05),
        "--preset u55c --workload vila-u-7b --body-only --replay cap",
        Some("--preset u55c --workload vila-u-7b --body-only"),
    ),
    row(
        "replay at its cap, attention sink4+local16",
        Measure::Speedup,
        Some(2.3),
        "--preset u55c --workload vila-u-7b --body-only --replay cap --attention sink4+local16",
        Some("--preset u55c --workload vila-u-7b --body-only"),
    ),
    row(
        "replay 0.8, gate input-delta (late)",
        Measure::Speedup,
        None,
        "--preset u55c --workload vila-u-7b --body-only --replay 0.8 --gate input-delta",
        Some("--preset u55c --workload vila-u-7b --body-only"),
    ),
    row(
        "delta, active share 0.75: time over traffic bound, rings counted",
        Measure::OverTraffic,
        Some(1.1),
        "--preset u55c --workload vila-u-7b --body-only --delta 0.75 --positions 256..2048",
        None,
    ),
    row(
        "delta, active share 0.75",
        Measure::Speedup,
        None,
        "--preset u55c --workload vila-u-7b --body-only --delta 0.75 --positions 256..2048",
        Some("--preset u55c --workload vila-u-7b --body-only --positions 256..2048"),
    ),
    row(
        "delta, active share 0.5: time over traffic bound, rings counted",
        Measure::OverTraffic,
        Some(1.1),
        "--preset u55c --workload vila-u-7b --body-only --delta 0.5 --positions 256..2048",
        None,
    ),
    row(
        "delta, active share 0.5",
        Measure::Speedup,
        None,
        "--preset u55c --workload vila-u-7b --body-only --delta 0.5 --positions 256..2048",
        Some("--preset u55c --workload vila-u-7b --body-only --positions 256..2048"),
    ),
    row(
        "delta, active share 0.35: time over traffic bound, rings counted",
        Measure::OverTraffic,
        Some(1.1),
        "--preset u55c --workload vila-u-7b --body-only --delta 0.35 --positions 256..2048",
        None,
    ),
    row(
        "delta, active share 0.35",
        Measure::Speedup,
        None,
        "--preset u55c --workload vila-u-7b --body-only --delta 0.35 --positions 256..2048",
        Some("--preset u55c --workload vila-u-7b --body-only --positions 256..2048"),
    ),
    row(
        "guided pair, replay 0.8, rows decide alone",
        Measure::Speedup,
        None,
        "--preset u55c --workload vila-u-7b --body-only --batch cfg --replay 0.8",
        Some("--preset u55c --workload vila-u-7b --body-only --batch cfg"),
    ),
    row(
        "guided pair, replay 0.8, rows must agree",
        Measure::Speedup,
        None,
        "--preset u55c --workload vila-u-7b --body-only --batch cfg --replay 0.8 --coupled",
        Some("--preset u55c --workload vila-u-7b --body-only --batch cfg"),
    ),
    row(
        "guided pair, replay 0.8, one decision for both",
        Measure::Speedup,
        Some(1.75),
        "--preset u55c --workload vila-u-7b --body-only --batch cfg --replay 0.8 --coupling mean",
        Some("--preset u55c --workload vila-u-7b --body-only --batch cfg"),
    ),
    row(
        "batch 32, 4 columns, replay 0.5: MLP phase over ideal passes, compact",
        Measure::MlpOverIdeal,
        Some(1.05),
        "--preset u55c --workload vila-u-7b --body-only --frames 2 --positions 256..512 --batch 32 --columns 4 --replay 0.5 --policy compact",
        None,
    ),
    row(
        "batch 32, 4 columns, replay 0.5: MLP phase, static over compact",
        Measure::MlpGain,
        Some(1.3),
        "--preset u55c --workload vila-u-7b --body-only --frames 2 --positions 256..512 --batch 32 --columns 4 --replay 0.5 --policy compact",
        Some(
            "--preset u55c --workload vila-u-7b --body-only --frames 2 --positions 256..512 --batch 32 --columns 4 --replay 0.5 --policy static",
        ),
    ),
    row(
        "batch 32, 4 columns, replay 0.5: whole step, static over compact",
        Measure::StepGain,
        None,
        "--preset u55c --workload vila-u-7b --body-only --frames 2 --positions 256..512 --batch 32 --columns 4 --replay 0.5 --policy compact",
        Some(
            "--preset u55c --workload vila-u-7b --body-only --frames 2 --positions 256..512 --batch 32 --columns 4 --replay 0.5 --policy static",
        ),
    ),
    row(
        "batch 32, 4 columns, replay 0.5: whole step, static over overlap",
        Measure::StepGain,
        None,
        "--preset u55c --workload vila-u-7b --body-only --frames 2 --positions 256..512 --batch 32 --columns 4 --replay 0.5 --policy overlap",
        Some(
            "--preset u55c --workload vila-u-7b --body-only --frames 2 --positions 256..512 --batch 32 --columns 4 --replay 0.5 --policy static",
        ),
    ),
    row(
        "batch 32, 8 columns, replay 0.5: MLP phase over ideal passes, compact",
        Measure::MlpOverIdeal,
        Some(1.05),
        "--preset u55c --workload vila-u-7b --body-only --frames 2 --positions 256..512 --batch 32 --columns 8 --replay 0.5 --policy compact",
        None,
    ),
    row(
        "batch 32, 8 columns, replay 0.5: MLP phase, static over compact",
        Measure::MlpGain,
        Some(1.3),
        "--preset u55c --workload vila-u-7b --body-only --frames 2 --positions 256..512 --batch 32 --columns 8 --replay 0.5 --policy compact",
        Some(
            "--preset u55c --workload vila-u-7b --body-only --frames 2 --positions 256..512 --batch 32 --columns 8 --replay 0.5 --policy static",
        ),
    ),
    row(
        "batch 32, 8 columns, replay 0.5: whole step, static over compact",
        Measure::StepGain,
        None,
        "--preset u55c --workload vila-u-7b --body-only --frames 2 --positions 256..512 --batch 32 --columns 8 --replay 0.5 --policy compact",
        Some(
            "--preset u55c --workload vila-u-7b --body-only --frames 2 --positions 256..512 --batch 32 --columns 8 --replay 0.5 --policy static",
        ),
    ),
    row(
        "batch 32, 8 columns, replay 0.5: whole step, static over overlap",
        Measure::StepGain,
        None,
        "--preset u55c --workload vila-u-7b --body-only --frames 2 --positions 256..512 --batch 32 --columns 8 --replay 0.5 --policy overlap",
        Some(
            "--preset u55c --workload vila-u-7b --body-only --frames 2 --positions 256..512 --batch 32 --columns 8 --replay 0.5 --policy static",
        ),
    ),
    row(
        "batch 10, 2 columns, replay 0.5: MLP phase over ideal passes, compact",
        Measure::MlpOverIdeal,
        Some(1.05),
        "--preset u55c --workload vila-u-7b --body-only --positions 256..2048 --batch 10 --columns 2 --replay 0.5 --policy compact",
        None,
    ),
    row(
        "batch 10, 2 columns, replay 0.5: MLP phase, static over compact",
        Measure::MlpGain,
        None,
        "--preset u55c --workload vila-u-7b --body-only --positions 256..2048 --batch 10 --columns 2 --replay 0.5 --policy compact",
        Some(
            "--preset u55c --workload vila-u-7b --body-only --positions 256..2048 --batch 10 --columns 2 --replay 0.5 --policy static",
        ),
    ),
    row(
        "batch 10, 2 columns, replay 0.5: whole step, static over compact",
        Measure::StepGain,
        None,
        "--preset u55c --workload vila-u-7b --body-only --positions 256..2048 --batch 10 --columns 2 --replay 0.5 --policy compact",
        Some(
            "--preset u55c --workload vila-u-7b --body-only --positions 256..2048 --batch 10 --columns 2 --replay 0.5 --policy static",
        ),
    ),
    row(
        "batch 10, 2 columns, replay 0.5: whole step, static over overlap",
        Measure::StepGain,
        None,
        "--preset u55c --workload vila-u-7b --body-only --positions 256..2048 --batch 10 --columns 2 --replay 0.5 --policy overlap",
        Some(
            "--preset u55c --workload vila-u-7b --body-only --positions 256..2048 --batch 10 --columns 2 --replay 0.5 --policy static",
        ),
    ),
    row(
        "batch 10, 2 columns, replay 0.8: MLP phase over ideal passes, compact",
        Measure::MlpOverIdeal,
        Some(1.05),
        "--preset u55c --workload vila-u-7b --body-only --positions 256..2048 --batch 10 --columns 2 --replay 0.8 --policy compact",
        None,
    ),
    row(
        "batch 10, 2 columns, replay 0.8: MLP phase, static over compact",
        Measure::MlpGain,
        None,
        "--preset u55c --workload vila-u-7b --body-only --positions 256..2048 --batch 10 --columns 2 --replay 0.8 --policy compact",
        Some(
            "--preset u55c --workload vila-u-7b --body-only --positions 256..2048 --batch 10 --columns 2 --replay 0.8 --policy static",
        ),
    ),
    row(
        "batch 10, 2 columns, replay 0.8: whole step, static over compact",
        Measure::StepGain,
        None,
        "--preset u55c --workload vila-u-7b --body-only --positions 256..2048 --batch 10 --columns 2 --replay 0.8 --policy compact",
        Some(
            "--preset u55c --workload vila-u-7b --body-only --positions 256..2048 --batch 10 --columns 2 --replay 0.8 --policy static",
        ),
    ),
    row(
        "batch 10, 2 columns, replay 0.8: whole step, static over overlap",
        Measure::StepGain,
        None,
        "--preset u55c --workload vila-u-7b --body-only --positions 256..2048 --batch 10 --columns 2 --replay 0.8 --policy overlap",
        Some(
            "--preset u55c --workload vila-u-7b --body-only --positions 256..2048 --batch 10 --columns 2 --replay 0.8 --policy static",
        ),
    ),
    row(
        "dense, batch 1, edge, llama-1b: share of peak bandwidth",
        Measure::ShareOfPeak,
        Some(0.9),
        "--preset edge --workload llama-1b --set score_tokens=8192",
        None,
    ),
    row(
        "whole video, batch 1, replay 0.8: wall time",
        Measure::WallSeconds,
        Some(120.0),
        "--preset u55c --workload vila-u-7b --body-only --replay 0.8",
        None,
    ),
    row(
        "whole video, guided pair with residual codes, replay 0.8: wall time",
        Measure::WallSeconds,
        Some(300.0),
        "--preset u55c --workload vila-u-7b --batch cfg --replay 0.8",
        None,
    ),
];
