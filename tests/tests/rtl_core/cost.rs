//! What the blocks between the units come to: cells, and levels of look-up tables.

use fastcar_arch::config::AccelConfig;
use fastcar_hw::core::{
    Activations, Commits, ControlReads, Masks, Parts, Progress, RecordRows, Report, Segments,
};
use fastcar_hw::rtl::{Block, Module, RtlError};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Figures, hold, skipped};
use std::sync::Arc;

/// The most levels of look-up tables between registers.
const MOST_LEVELS: u32 = 8;

/// The blocks of a core, as it has them.
fn blocks(config: &AccelConfig) -> Result<Vec<Arc<Module>>, RtlError> {
    let (slots, channels) = (config.slots(), config.channels());
    let reads = ControlReads::new(config);
    let blocks: [&dyn Block; 9] = [
        &reads,
        &Segments::new(reads.run_bits(), channels, ControlReads::AHEAD)?.some(),
        &Activations::new(config),
        &Commits::new(config)?,
        &Masks::new(config, &["finder", "sender", "walker"], &["queue", "walker"])?,
        &Parts::new(slots)?,
        &Progress::new(slots, &["product", "gate"])?,
        &RecordRows::new(config.fields().beat_bytes, channels)?,
        &Report::new(config)?,
    ];
    blocks.iter().map(|block| block.module()).collect()
}

#[test]
fn cells_and_depth_of_the_blocks_are_held() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut modules = Vec::new();
    for preset in ["tiny", "edge"] {
        modules.extend(blocks(&AccelConfig::preset(preset)?)?);
    }
    hold("core", &modules)?;
    for module in &modules {
        let levels = Figures::of(module)?.levels;
        assert!(levels <= MOST_LEVELS, "{}: {levels} levels", module.name());
    }
    Ok(())
}
