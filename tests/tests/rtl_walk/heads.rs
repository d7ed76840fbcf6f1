//! Keys and values of attention: their jobs, the slots' caches, the channels' runs and what they mean.

#[path = "heads/channel.rs"]
mod channel;
#[path = "heads/middle.rs"]
mod middle;
#[path = "heads/queue.rs"]
mod queue;
#[path = "heads/task.rs"]
mod task;
#[path = "heads/way.rs"]
mod way;

use crate::weights::{MACHINES, machine};
use channel::{Channel, Walk};
use fastcar_hw::rtl::{Block, Module, emit};
use fastcar_hw::walk::heads::Items;
use fastcar_hw::walk::{CacheWalker, HeadQueue, Heads, Turns, WeightWalker};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Cover, Random, Rtl, accept, gather, hold, skipped};
use middle::{Middle, Slots};
use queue::{Queue, Waits};
use std::sync::Arc;
use way::{Stream, Way};

const STREAMS: [(&str, Items); 2] = [("main", Items::All), ("ahead", Items::Older)];

type Made<T> = Result<T, Box<dyn std::error::Error>>;

/// Modules of every machine in one.
fn gathered(name: &str, parts: &[(String, Arc<Module>)]) -> Made<Arc<Module>> {
    let parts: Vec<_> = parts.iter().map(|(name, module)| (name.as_str(), module.clone())).collect();
    Ok(gather(name, &parts)?)
}

fn channels() -> Made<Arc<Module>> {
    let mut parts = Vec::new();
    for name in MACHINES {
        for (stream, items) in STREAMS {
            parts.push((format!("{name}_{stream}"), Walk(machine(name), items).module()?));
        }
    }
    gathered("head_walkers", &parts)
}

/// Queues and slots.
fn middles() -> Made<Arc<Module>> {
    let mut parts = Vec::new();
    for name in MACHINES {
        parts.push((format!("{name}_middle"), Middle(machine(name)).module()?));
        parts.push((format!("{name}_queue"), Queue(machine(name)).module()?));
    }
    gathered("head_middles", &parts)
}

fn ways(machines: &[&str]) -> Made<Arc<Module>> {
    let mut parts = Vec::new();
    for name in machines {
        for (stream, items) in STREAMS {
            parts.push((format!("{name}_{stream}"), Stream(machine(name), items).module()?));
        }
    }
    gathered(&format!("head_ways_{}", machines.join("_")), &parts)
}

fn walk(dut: &mut Rtl, cycles: u64, seed: u64) -> Cover {
    let mut random = Random::new(seed);
    let mut cover = Cover::new(&Channel::BINS);
    let all = MACHINES.iter().flat_map(|name| STREAMS.map(|stream| (name, stream.1)));
    let mut channels: Vec<_> = all.map(|(name, items)| Channel::new(name, items, &mut random)).collect();
    dut.reset();
    for _ in 0..cycles {
        channels.iter_mut().for_each(|channel| channel.cycle(dut, &mut random, &mut cover));
        dut.tick();
    }
    cover
}

fn tell(dut: &mut Rtl, cycles: u64, seed: u64) -> Cover {
    let mut random = Random::new(seed);
    let mut cover = Cover::new(&Slots::BINS);
    let mut walkers = MACHINES.map(|name| Slots::new(name, &mut random));
    dut.reset();
    for _ in 0..cycles {
        walkers.iter_mut().for_each(|walker| walker.cycle(dut, &mut random, &mut cover));
        dut.tick();
    }
    cover
}

fn wait(dut: &mut Rtl, cycles: u64, seed: u64) -> Cover {
    let mut random = Random::new(seed);
    let mut cover = Cover::new(&Waits::BINS);
    let mut queues = MACHINES.map(Waits::new);
    dut.reset();
    for _ in 0..cycles {
        queues.iter_mut().for_each(|queue| queue.cycle(dut, &mut random, &mut cover));
        dut.tick();
    }
    cover
}

fn come(dut: &mut Rtl, machines: &[&str], cycles: u64, seed: u64) -> Cover {
    let mut random = Random::new(seed);
    let mut cover = Cover::new(&Way::BINS);
    let all = machines.iter().flat_map(|name| STREAMS.map(|stream| (name, stream.1)));
    let mut ways: Vec<_> = all.map(|(name, items)| Way::new(name, items, &mut random)).collect();
    dut.reset();
    for _ in 0..cycles {
        ways.iter_mut().for_each(|way| way.cycle(dut, &mut random, &mut cover));
        dut.tick();
    }
    cover
}

#[test]
fn caches_are_told() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let module = middles()?;
    accept(&emit(&module)?)?;
    tell(&mut Rtl::build_random(&module, 12)?, 12_000, 12).assert(50);
    Ok(())
}

#[test]
fn attention_becomes_jobs() -> TestResult {
    if skipped() {
        return Ok(());
    }
    wait(&mut Rtl::build_random(&middles()?, 13)?, 12_000, 13).assert(50);
    Ok(())
}

/// The machines of the normal test.
const WAYS: [&str; 4] = ["tiny", "edge", "odd", "narrow"];

#[test]
fn heads_come_in_time() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let module = ways(&WAYS)?;
    accept(&emit(&module)?)?;
    come(&mut Rtl::build_random(&module, 14)?, &WAYS, 12_000, 14).assert(50);
    Ok(())
}

#[test]
fn heads_are_walked() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let module = channels()?;
    accept(&emit(&module)?)?;
    walk(&mut Rtl::build_random(&module, 11)?, 20_000, 11).assert(20);
    Ok(())
}

#[test]
fn cells_of_heads_are_as_before() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut modules = Vec::new();
    for preset in crate::PRESETS {
        let config = machine(preset);
        for (_, items) in STREAMS {
            modules.push(Heads::new(&config, items).module()?);
        }
        modules.push(CacheWalker::new(&config).module()?);
    }
    let config = machine("u55c");
    let jobs = [WeightWalker::new(&config)?.job_bits(), CacheWalker::new(&config).job_bits()];
    modules.push(Turns::new(jobs[0], jobs[1])?.module()?);
    modules.push(HeadQueue::new(&machine("u55c")).module()?);
    hold("walk_heads", &modules)?;
    Ok(())
}

#[test]
fn native_simulation_agrees() -> TestResult {
    if skipped() {
        return Ok(());
    }
    walk(&mut Rtl::beside_native(&channels()?)?, 200, 15);
    let mut dut = Rtl::beside_native(&middles()?)?;
    tell(&mut dut, 200, 15);
    wait(&mut dut, 200, 15);
    come(&mut Rtl::beside_native(&ways(&["odd"])?)?, &["odd"], 200, 15);
    Ok(())
}

/// ```sh
/// cargo test --release -p fastcar-tests --test rtl_walk -- --ignored
/// ```
#[test]
#[ignore = "some minutes"]
fn heads_in_the_long_run() -> TestResult {
    if skipped() {
        return Ok(());
    }
    // At two streams of six machines: ten million cycles of walks; at six machines each, as many of slots and of queues.
    walk(&mut Rtl::build_random(&channels()?, 16)?, 850_000, 16).assert(1_000);
    let mut dut = Rtl::build_random(&middles()?, 17)?;
    tell(&mut dut, 1_700_000, 17).assert(5_000);
    wait(&mut dut, 1_700_000, 18).assert(5_000);
    // Ten million cycles of the whole way at two streams of four machines, and the largest machine.
    come(&mut Rtl::build_random(&ways(&WAYS)?, 19)?, &WAYS, 1_300_000, 19).assert(5_000);
    come(&mut Rtl::build_random(&ways(&["u55c"])?, 20)?, &["u55c"], 100_000, 20).assert(50);
    Ok(())
}
