//! What Yosys makes of blocks on an UltraScale+ device: the cells that they are meant to be.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::num::mx::BLOCK;
use fastcar_hw::pe::DotLane;
use fastcar_hw::prim::{DelayLine, Ram};
use fastcar_hw::rtl::{Block, RamStyle, emit};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Cells, gather, skipped, synthesise};

fn count(cells: &Cells, prefix: &str) -> u64 {
    cells.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, count)| count).sum()
}

#[test]
fn memories_and_shift_registers_are_what_was_asked_for() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let parts = [
        ("small", Ram::new(8, 32, RamStyle::Distributed, 0)?.module()?),
        ("block", Ram::new(72, 512, RamStyle::Block, 2)?.module()?),
        ("ultra", Ram::new(72, 4096, RamStyle::Ultra, 2)?.module()?),
        ("shift", DelayLine::new(4, 16)?.module()?),
    ];
    let cells = synthesise(&emit(&gather("cells", &parts)?)?)?;
    assert_eq!(count(&cells, "URAM288"), 1, "{cells:?}");
    assert_eq!(count(&cells, "RAMB36"), 1, "{cells:?}");
    assert!(count(&cells, "RAM32") >= 1, "{cells:?}");
    assert_eq!(count(&cells, "SRL16"), 4, "{cells:?}");
    Ok(())
}

/// One DSP block per product: this is what the resource model counts for an array that packs nothing.
#[test]
fn dot_lane_takes_a_dsp_block_per_product() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let cells = synthesise(&emit(&DotLane::new(BLOCK as u32)?.module()?)?)?;
    assert_eq!(count(&cells, "DSP48E2"), BLOCK as u64, "{cells:?}");
    Ok(())
}
