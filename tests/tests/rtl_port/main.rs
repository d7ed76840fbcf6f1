//! A channel's port beside the simulator's, cycle by cycle, on the simulator's memories.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bench;
mod buffer;
mod halt;
mod stalls;

use bench::{BINS, Bench, Mutant, Pace};
use fastcar_arch::config::AccelConfig;
use fastcar_hw::port::{Port, WRITER_BITS};
use fastcar_hw::rtl::{Bits, Block, emit};
use fastcar_sim::dram::Dir;
use fastcar_sim::memory::{Fault, MemorySpec};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Cover, Rtl, accept, hold, skipped};

const QUEUES: [&str; 4] = ["control", "record", "main", "ahead"];
const BASE: u64 = 0x12_3456_7000;
const NUMBERS: u64 = 1 << WRITER_BITS;

const PACES: [Pace; 5] = [
    // All queues have their turn, consumers keep up.
    Pace { reads: [1, 1, 2, 500], writes: 20, taken: 100, pace: 1, drain: 2 },
    // Consumers do not.
    Pace { reads: [1, 2, 500, 500], writes: 2, taken: 70, pace: 6, drain: 1 },
    // Many writes, few reads.
    Pace { reads: [1, 1, 1, 1], writes: 600, taken: 90, pace: 2, drain: 1 },
    // Reads all the time, writes between.
    Pace { reads: [1, 2, 500, 500], writes: 50, taken: 100, pace: 1, drain: 10 },
    // Short of work.
    Pace { reads: [2, 1, 3, 3], writes: 5, taken: 50, pace: 3, drain: 3 },
];

/// The contents of a beat.
fn contents(beat: u64, at: u64) -> Bits {
    let words: Vec<u64> =
        (0..beat / 8).map(|i| (at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ i << 56 ^ at).collect();
    Bits::from_limbs(8 * beat as u32, &words)
}

/// A segment as the module takes it: first beat, beats, and what stands above them, in so many bits.
fn segment_word(config: &AccelConfig, (first, beats, note): (u64, u64, u64), note_bits: u32) -> Bits {
    let bits = (config.channel_capacity().get() / config.beat().get()).ilog2();
    let word = u128::from(first) | (u128::from(beats) << bits) | (u128::from(note) << (2 * bits));
    Bits::from_limbs(128, &[word as u64, (word >> 64) as u64]).slice(0, 2 * bits + note_bits)
}

/// Bits above a segment of a queue that name a writer to wait for.
fn guard_bits(queue: &str) -> u32 {
    if matches!(queue, "record" | "main") { WRITER_BITS + 1 } else { 0 }
}

/// All inputs as nobody asks for anything, and a reset.
fn idle(dut: &mut Rtl) {
    let inputs: Vec<_> = dut.inputs().map(|(name, width)| (name.to_string(), width)).collect();
    for (name, width) in inputs {
        dut.set(&name, Bits::zero(width));
    }
    for ready in ["axi_arready_i", "axi_awready_i", "axi_wready_i"] {
        dut.set(ready, true);
    }
    dut.set("base_i", BASE);
    dut.set("start_i", false);
    dut.reset();
}

fn dut(config: &AccelConfig) -> Result<Rtl, Box<dyn std::error::Error>> {
    Ok(Rtl::build(&Port::new(config)?.module()?)?)
}

/// Runs of every pace on a memory.
fn runs(
    dut: &mut Rtl,
    config: &AccelConfig,
    memory: (&str, u64),
    cycles: u64,
    cover: &mut Cover,
) -> Result<(u64, u64), String> {
    let spec = MemorySpec::named(memory.0).unwrap();
    let mut moved = (0, 0);
    for (n, pace) in PACES.iter().enumerate() {
        idle(dut);
        let mut bench = Bench::new(memory.1 * 10 + n as u64, config, &spec, Mutant::None, &[]);
        bench.run(dut, cycles, pace, cover).map_err(|e| format!("{memory:?}, pace {n}: {e}"))?;
        moved = (moved.0 + bench.moved.0, moved.1 + bench.moved.1);
    }
    Ok(moved)
}

fn beside_the_model(preset: &str, memories: &[(&str, u64)], cycles: u64) -> TestResult {
    if skipped() {
        return Ok(());
    }
    let config = AccelConfig::preset(preset)?;
    accept(&emit(&Port::new(&config)?.module()?)?)?;
    let mut dut = dut(&config)?;
    let mut cover = Cover::new(&BINS);
    for &memory in memories {
        let (read, written) = runs(&mut dut, &config, memory, cycles, &mut cover)?;
        assert!(
            read > cycles / 2 && written > cycles / 2,
            "{memory:?}: {read} beats read, {written} written"
        );
    }
    cover.assert(20);
    Ok(())
}

#[test]
fn the_smallest_port_is_the_models() -> TestResult {
    beside_the_model("tiny", &[("ideal", 0), ("hbm2", 1), ("ddr4-2400", 2), ("ddr4-2400", 3)], 6000)
}

#[test]
fn the_cards_port_is_the_models() -> TestResult {
    beside_the_model("u55c", &[("hbm2-8h", 4), ("hbm2-8h", 5)], 12_000)
}

#[test]
fn the_edge_port_is_the_models() -> TestResult {
    beside_the_model("edge", &[("ddr4-2400", 6)], 6000)
}

/// Two million cycles on every memory: `cargo test -p fastcar-tests --test rtl_port -- --ignored` (some minutes).
#[test]
#[ignore = "some minutes of processor time"]
fn ten_million_cycles_are_the_models() -> TestResult {
    let memories = [("ideal", 11), ("hbm2", 12), ("hbm2-8h", 13), ("ddr4-2400", 14), ("ddr4-2400", 15)];
    beside_the_model("tiny", &memories, 400_000)
}

/// What is wrong is found, in some pace, before long.
#[test]
fn mutants_are_found() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let config = AccelConfig::preset("tiny")?;
    let spec = MemorySpec::named("hbm2")?;
    let mut dut = dut(&config)?;
    let mut cover = Cover::new(&BINS);
    let mutants =
        [Mutant::Room, Mutant::Bursts, Mutant::Priority, Mutant::Guard, Mutant::Drain, Mutant::Writer];
    for mutant in mutants {
        let found = PACES.iter().find_map(|pace| {
            idle(&mut dut);
            Bench::new(7, &config, &spec, mutant, &[]).run(&mut dut, 6000, pace, &mut cover).err()
        });
        println!("{mutant:?}: {}", found.as_deref().unwrap_or("not found"));
        assert!(found.is_some(), "{mutant:?} was not found");
    }
    Ok(())
}

/// Errors of the memory: beats and acknowledgements come all the same, the first of either direction is kept.
#[test]
fn the_first_fault_is_kept() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let config = AccelConfig::preset("tiny")?;
    let spec = MemorySpec::named("hbm2")?;
    let mut dut = dut(&config)?;
    let mut cover = Cover::new(&BINS);
    let fault = |dir, range| Fault::SlaveError { port: 0, dir, range };
    let faults = [fault(Dir::Read, 0..1 << 16), fault(Dir::Write, 1 << 14..1 << 18)];
    let ecc = [Fault::Ecc { port: 0, range: 0..1 << 16 }];
    for (seed, faults) in [(8, &faults[..]), (9, &ecc[..])] {
        idle(&mut dut);
        let mut bench = Bench::new(seed, &config, &spec, Mutant::None, faults);
        bench.run(&mut dut, 4000, &PACES[0], &mut cover)?;
        assert_eq!(bench.errors.map(|error| error.is_some()), [true, faults.len() > 1]);
    }
    Ok(())
}

/// The crate's own simulation of the whole port.
#[test]
fn the_native_simulation_agrees() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let config = AccelConfig::preset("tiny")?;
    let mut dut = Rtl::beside_native(&Port::new(&config)?.module()?)?;
    idle(&mut dut);
    let spec = MemorySpec::named("ddr4-2400")?;
    let mut bench = Bench::new(10, &config, &spec, Mutant::None, &[]);
    bench.run(&mut dut, 1500, &PACES[3], &mut Cover::new(&BINS))?;
    Ok(())
}

#[test]
fn cells_and_depth_are_held() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let port = |preset| -> Result<_, Box<dyn std::error::Error>> {
        Ok(Port::new(&AccelConfig::preset(preset)?)?.module()?)
    };
    hold("port", &[port("tiny")?, port("edge")?, port("u55c")?])?;
    Ok(())
}
