//! `fastcar presets`: the accelerator configurations, what they take of an FPGA, and whether a board has it.

use crate::output;
use crate::table::{percent, size, table};
use anyhow::Result;
use fastcar_arch::board::Board;
use fastcar_arch::config::AccelConfig;
use fastcar_arch::identity::Identity;
use fastcar_arch::resources::{Resource, ResourceUse, Resources};
use serde_json::{Value, json};

/// Arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Show shares of this board's resources instead of numbers, and whether each preset fits it
    #[arg(long)]
    board: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// No board has that name, or standard output cannot be written.
pub fn run(args: &Args) -> Result<()> {
    let board = args.board.as_deref().map(Board::named).transpose()?;
    let presets = AccelConfig::PRESETS.into_iter().map(AccelConfig::preset).collect::<Result<Vec<_>, _>>()?;
    if args.json {
        let entries: Vec<Value> = presets.iter().map(|c| entry(c, board.as_ref())).collect();
        return output::print_json(&entries);
    }
    let mut heading: Vec<String> = HEADING.map(str::to_owned).to_vec();
    heading.extend(Resource::ALL.iter().map(Resource::to_string));
    heading.extend(board.as_ref().map(|b| format!("on {}", b.name())));
    let mut rows = vec![heading];
    rows.extend(presets.iter().map(|c| row(c, board.as_ref())));
    output::print(&table(&rows))
}

const HEADING: [&str; 11] = [
    "preset",
    "channels",
    "bits",
    "memory",
    "bandwidth",
    "clock",
    "slots",
    "columns",
    "lanes",
    "context",
    "identity",
];

/// What the channels' data buses carry at the kernel clock, in bytes per second.
fn bandwidth(config: &AccelConfig) -> u64 {
    u64::from(config.channels()) * config.beat().get() * config.clock().get()
}

fn entry(config: &AccelConfig, board: Option<&Board>) -> Value {
    let resources = Resources::of(config);
    let mut entry = json!({
        "config": config.fields(),
        "identity": Identity::of(config),
        "bytes_per_second": bandwidth(config),
        "resources": { "total": resources.total(), "blocks": resources.blocks },
    });
    if let Some(board) = board {
        let (uses, misfit) = (resources.fit(board), misfit(config, board));
        entry["board"] =
            json!({ "name": board.name(), "fits": misfit.is_none(), "misfit": misfit, "uses": uses });
    }
    entry
}

/// The first thing that the board does not have: a figure of its memory or clock, else a resource.
fn misfit(config: &AccelConfig, board: &Board) -> Option<String> {
    if let Err(e) = board.fits(config) {
        return Some(format!("{} {} > {}", e.figure, e.found, e.limit));
    }
    let beyond = |u: &ResourceUse| format!("{} {} > {}", u.resource, percent(u.share), percent(u.limit));
    Resources::of(config).fit(board).iter().find(|u| !u.fits()).map(beyond)
}

fn row(config: &AccelConfig, board: Option<&Board>) -> Vec<String> {
    let mut cells = vec![
        config.name().to_owned(),
        config.channels().to_string(),
        (config.beat().get() * 8).to_string(),
        size(u64::from(config.channels()) * config.channel_capacity().get()),
        format!("{:.1} GB/s", bandwidth(config) as f64 / 1e9),
        format!("{} MHz", config.clock().get() / 1_000_000),
        config.slots().to_string(),
        config.columns().to_string(),
        config.vector_lanes().to_string(),
        config.score_tokens().to_string(),
        Identity::of(config).short(),
    ];
    let resources = Resources::of(config);
    match board {
        None => cells.extend(Resource::ALL.map(|r| resources.total().get(r).to_string())),
        Some(board) => {
            cells.extend(resources.fit(board).iter().map(|u| percent(u.share)));
            cells.push(misfit(config, board).unwrap_or_else(|| "fits".to_owned()));
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    fn u280_on(board: &str) -> Result<(Vec<String>, Value)> {
        let (config, board) = (AccelConfig::preset("u280")?, Board::named(board)?);
        Ok((row(&config, Some(&board)), entry(&config, Some(&board))))
    }

    #[test]
    fn a_board_without_the_channels_is_no_fit() -> Result<()> {
        let (row, entry) = u280_on("zcu104")?;
        assert_eq!(row.last().map(String::as_str), Some("channels 32 > 4"));
        assert_eq!((&entry["board"]["fits"], &entry["board"]["name"]), (&json!(false), &json!("zcu104")));
        assert_eq!(entry["board"]["misfit"], json!("channels 32 > 4"));
        Ok(())
    }

    #[test]
    fn a_board_without_the_logic_is_no_fit() -> Result<()> {
        // Four columns on half a card's logic.
        let (row, entry) = u280_on("u50")?;
        let verdict = row.last().map_or("", String::as_str);
        assert!(verdict.starts_with("LUT ") && verdict.ends_with(" > 65.0 %"), "{verdict}");
        let share = entry["board"]["uses"][0]["share"].as_f64().unwrap_or(0.0);
        assert!(verdict.contains(&percent(share)), "{verdict}");
        assert_eq!(row.len(), HEADING.len() + Resource::ALL.len() + 1);
        Ok(())
    }

    #[test]
    fn numbers_stand_without_a_board() -> Result<()> {
        let config = AccelConfig::preset("tiny")?;
        let total = Resources::of(&config).total();
        let row = row(&config, None);
        assert_eq!(row[HEADING.len()..], Resource::ALL.map(|r| total.get(r).to_string()));
        let entry = entry(&config, None);
        assert_eq!(entry["resources"]["total"]["dsp"], json!(total.dsp));
        assert_eq!(entry.get("board"), None);
        Ok(())
    }
}
