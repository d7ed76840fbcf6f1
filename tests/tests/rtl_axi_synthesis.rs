//! What the AXI ports of the supported configurations cost, and how deep their logic is.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::config::AccelConfig;
use fastcar_hw::axi::{BurstPort, Control, Handshake, ReadMaster, WriteMaster};
use fastcar_hw::rtl::{Block, emit};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{accept, hold, skipped};

const PRESETS: [&str; 3] = ["tiny", "edge", "u55c"];
/// Bits of a tag that name the queue and the wave of a burst.
const TAG: u32 = 4;

#[test]
fn masters_cost_what_is_written_down() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut modules = Vec::new();
    for preset in PRESETS {
        let config = AccelConfig::preset(preset)?;
        modules.push(ReadMaster::new(BurstPort::reads(&config, TAG)?).module()?);
        modules.push(WriteMaster::new(BurstPort::writes(&config, TAG)?).module()?);
    }
    for module in &modules {
        accept(&emit(module)?)?;
    }
    hold("axi_masters", &modules)?;
    Ok(())
}

#[test]
fn registers_cost_what_is_written_down() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut modules = Vec::new();
    // With 32 channels synthesis takes many minutes; it is the same circuit with more counters.
    for preset in ["tiny", "edge"] {
        modules.push(Control::new(&AccelConfig::preset(preset)?, Handshake::Chain).module()?);
    }
    for module in &modules {
        accept(&emit(module)?)?;
    }
    hold("axi_control", &modules)?;
    Ok(())
}
