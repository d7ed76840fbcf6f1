//! Compares the memory model with published measurements, and says what an access costs the host.
//!
//! `cargo run -p fastcar-sim --example shuhai --release`

mod measure;

use fastcar_arch::units::Hertz;
use fastcar_sim::dram::{Dir, Dram, Tick};
use fastcar_sim::memory::{MemorySpec, MemorySystem};
use measure::{Measured, comparisons, ports, sequential, table};
use std::time::Instant;

const READS: u64 = 10_000_000;
const SIZE: u64 = 256 << 20;

/// Host time of a sequential read of 1 KB through a port, in nanoseconds: a burst of 16 beats each 16 cycles, about what
/// the memory can do.
fn cost_of_a_burst() -> Measured<f64> {
    let mut memory = MemorySystem::new(&MemorySpec::named("hbm2")?, &ports(1, 64, SIZE, 250_000_000)?, 0)?;
    let start = Instant::now();
    let mut end = 0;
    for index in 0..READS {
        let arrival = memory.read(0, index * 16, sequential(index, SIZE)).ok_or("the port is stuck")?;
        end = arrival.last().max(end);
    }
    let nanoseconds = start.elapsed().as_nanos() as f64 / READS as f64;
    if end < READS * 16 { Err("the reads ended too early".into()) } else { Ok(nanoseconds) }
}

/// Host time of the DRAM's share of it.
fn cost_of_an_access() -> Measured<f64> {
    let spec = MemorySpec::named("hbm2")?;
    let mut dram = Dram::new(&spec.fields().channel, Hertz(250_000_000), 0)?;
    let start = Instant::now();
    let mut end = Tick(0);
    for index in 0..READS {
        end = dram.serve(Tick::from_cycle(index * 16), index * 1024 % SIZE, 1024, Dir::Read).last.max(end);
    }
    let nanoseconds = start.elapsed().as_nanos() as f64 / READS as f64;
    if end < Tick::from_cycle(READS * 16) {
        Err("the accesses ended too early".into())
    } else {
        Ok(nanoseconds)
    }
}

fn main() -> Measured<()> {
    print!("{}", table(&comparisons()?));
    println!("\nHost time of a read of 1 KB: {:.0} ns", cost_of_a_burst()?);
    println!("of that in the DRAM: {:.0} ns", cost_of_an_access()?);
    Ok(())
}
