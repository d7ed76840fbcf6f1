//! The gate unit: the walk over past keys, and their scores.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "rtl_gate/score.rs"]
mod score;
#[path = "rtl_gate/walk.rs"]
mod walk;

use fastcar_arch::config::AccelConfig;
use fastcar_hw::gate::{Keys, Score};
use fastcar_hw::rtl::Block;
use fastcar_hw::walk::PastWalker;
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{hold, skipped};

/// A machine of few parts with beats of so many bytes.
fn machine(channels: u32, beat_bytes: u32) -> AccelConfig {
    let mut fields = AccelConfig::preset("tiny").unwrap().fields().clone();
    fields.name = format!("gate_c{channels}_b{beat_bytes}");
    (fields.channels, fields.beat_bytes, fields.vector_lanes) = (channels, beat_bytes, 32);
    (fields.slots, fields.ab_blocks) = (8, 64);
    AccelConfig::new(fields).unwrap()
}

#[test]
fn costs_are_held() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let presets: Result<Vec<_>, _> =
        ["tiny", "edge", "u55c"].iter().map(|name| AccelConfig::preset(name)).collect();
    let presets = presets?;
    let mut modules = Vec::new();
    for config in &presets {
        modules.push(PastWalker::new(config).module()?);
        modules.push(Keys::new(config).module()?);
    }
    for config in [&presets[0], &presets[1], &machine(4, 64)] {
        modules.push(Score::new(config).module()?);
    }
    hold("gate", &modules)?;
    Ok(())
}
