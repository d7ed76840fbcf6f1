//! The primitives, cycle by cycle beside models written for the purpose, under random traffic.
//!
//! One module holds all of them, so that they share one library; the crate's own simulation runs beside each test.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod control;
mod streams;

use fastcar_hw::prim::{
    Counter, CreditCounter, DelayLine, Fifo, Fork, Join, Narrower, Ram, RoundRobin, SkidBuffer, Wider,
};
use fastcar_hw::rtl::{Block, Module, RamStyle, RtlError, emit};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Rtl, accept, gather, skipped};
use std::sync::Arc;

/// Queues under test: width, depth, style, almost full, whether the output is to be in a register.
const FIFOS: [(&str, u32, u32, RamStyle, u32, bool); 10] = [
    ("fifo_one", 8, 1, RamStyle::Distributed, 1, false),
    ("fifo_five", 8, 5, RamStyle::Distributed, 3, false),
    ("fifo_wide", 130, 16, RamStyle::Distributed, 12, false),
    ("fifo_block_two", 8, 2, RamStyle::Block, 1, false),
    ("fifo_block_seven", 33, 7, RamStyle::Block, 7, false),
    ("fifo_ultra", 72, 64, RamStyle::Ultra, 50, false),
    ("fifo_one_registered", 8, 1, RamStyle::Distributed, 1, true),
    ("fifo_two_registered", 8, 2, RamStyle::Distributed, 2, true),
    ("fifo_five_registered", 8, 5, RamStyle::Distributed, 3, true),
    ("fifo_wide_registered", 130, 16, RamStyle::Distributed, 12, true),
];

/// Memories under test: width, depth, style, latency.
const RAMS: [(&str, u32, u32, RamStyle, u32); 4] = [
    ("ram_now", 9, 6, RamStyle::Distributed, 0),
    ("ram_one", 70, 16, RamStyle::Block, 1),
    ("ram_two", 16, 5, RamStyle::Block, 2),
    ("ram_three", 72, 64, RamStyle::Ultra, 3),
];

/// Delay lines under test: width, cycles.
const DELAYS: [(&str, u32, u32); 3] = [("delay_none", 5, 0), ("delay_one", 1, 1), ("delay_many", 65, 9)];
/// Limits of the counters under test.
const COUNTERS: [(&str, u32); 3] = [("counter_one", 1), ("counter_ten", 10), ("counter_sixteen", 16)];
/// Users of the arbiters under test.
const ARBITERS: [(&str, u32); 3] = [("arbiter_one", 1), ("arbiter_five", 5), ("arbiter_many", 33)];
/// Credits of the counters under test.
const CREDITS: [(&str, u32); 2] = [("credit_one", 1), ("credit_six", 6)];
/// Converters under test: width, ratio.
const RATIOS: [(u32, u32); 2] = [(8, 4), (33, 3)];
/// Ways of forks and joins.
const WAYS: u32 = 3;

/// All of them in one module.
fn all() -> Result<Arc<Module>, RtlError> {
    let mut parts: Vec<(String, Arc<Module>)> = Vec::new();
    let mut add =
        |name: &str, block: &dyn Block| block.module().map(|module| parts.push((name.into(), module)));
    for (name, width, depth, style, almost, registered) in FIFOS {
        let fifo = Fifo::new(width, depth, style)?.almost_full_at(almost)?;
        add(name, &if registered { fifo.registered() } else { fifo })?;
    }
    for (name, width, depth, style, latency) in RAMS {
        add(name, &Ram::new(width, depth, style, latency)?)?;
    }
    for (name, width, cycles) in DELAYS {
        add(name, &DelayLine::new(width, cycles)?)?;
    }
    for (name, limit) in COUNTERS {
        add(name, &Counter::new(limit)?)?;
    }
    for (name, users) in ARBITERS {
        add(name, &RoundRobin::new(users)?)?;
    }
    for (name, credits) in CREDITS {
        add(name, &CreditCounter::new(credits)?)?;
    }
    for (width, ratio) in RATIOS {
        add(&format!("wider_{width}"), &Wider::new(width, ratio)?)?;
        add(&format!("narrower_{width}"), &Narrower::new(width, ratio)?)?;
    }
    add("skid_small", &SkidBuffer::new(3)?)?;
    add("skid_wide", &SkidBuffer::new(100)?)?;
    add("fork", &Fork::new(8, WAYS)?)?;
    add("join", &Join::new(8, WAYS)?)?;
    let parts: Vec<_> = parts.iter().map(|(name, module)| (name.as_str(), Arc::clone(module))).collect();
    gather("primitives", &parts)
}

/// The module in Verilator with the native simulation beside it, after reset; none where these tests are left out.
fn dut() -> Option<Rtl> {
    if skipped() {
        return None;
    }
    let mut dut = Rtl::beside_native(&all().unwrap()).unwrap();
    dut.reset();
    Some(dut)
}

#[test]
fn every_tool_accepts_them() -> TestResult {
    if skipped() {
        return Ok(());
    }
    Ok(accept(&emit(&all()?)?)?)
}
