//! Measurements of a memory as a benchmark on the card makes them, through the ports alone, and the table that sets
//! them beside published ones.

use fastcar_arch::config::{AccelConfig, ConfigFields};
use fastcar_sim::dram::Cycle;
use fastcar_sim::memory::{Burst, MemorySpec, MemorySystem};
use std::collections::VecDeque;
use std::error::Error;
use std::fmt::Write;

/// Result of a measurement.
pub type Measured<T> = Result<T, Box<dyn Error>>;

/// Bytes that a master keeps in flight at a port: far more than latency times rate, so that latency limits nothing.
const IN_FLIGHT_BYTES: u64 = 32 << 10;
/// Bursts of a run at each port: hundreds of refreshes.
const BURSTS: u64 = 20_000;
/// Capacity of a port in the measurements on HBM2 and on DDR4.
const HBM2_BYTES: u64 = 256 << 20;
const DDR4_BYTES: u64 = 512 << 20;

/// A machine that is nothing but ports. It has lanes for any number of them.
pub fn ports(channels: u32, beat_bytes: u32, channel_bytes: u64, clock_hz: u64) -> Measured<AccelConfig> {
    let fields = AccelConfig::preset("tiny")?.fields().clone();
    Ok(AccelConfig::new(ConfigFields {
        channels,
        beat_bytes,
        channel_bytes,
        clock_hz,
        vector_lanes: 32,
        ..fields
    })?)
}

/// Reads `count` bursts through every port as fast as it goes, `burst(port, index)` each port's `index`-th, and returns
/// the rate over all ports, in bytes a second from the first request to the last beat.
pub fn stream(
    spec: &MemorySpec,
    config: &AccelConfig,
    count: u64,
    burst: impl Fn(u32, u64) -> Burst,
) -> Measured<f64> {
    let mut memory = MemorySystem::new(spec, config, 1)?;
    let mut masters = vec![Master::default(); config.channels() as usize];
    let (mut end, mut bytes) = (0, 0);
    loop {
        let waiting = masters.iter().enumerate().filter(|(_, master)| master.index < count);
        let Some((port, _)) = waiting.min_by_key(|(_, master)| master.next) else { break };
        let request = burst(port as u32, masters[port].index);
        let arrival = memory.read(port as u32, masters[port].next, request).ok_or("the port is stuck")?;
        masters[port].issued(request, arrival.last());
        end = end.max(arrival.last() + 1);
        bytes += u64::from(request.bytes);
    }
    Ok(bytes as f64 / end as f64 * config.clock().get() as f64)
}

/// A port's master: how far it is, and what it has in flight.
#[derive(Clone, Default)]
struct Master {
    index: u64,
    next: Cycle,
    in_flight: VecDeque<(Cycle, u64)>,
    bytes: u64,
}

impl Master {
    fn issued(&mut self, burst: Burst, last: Cycle) {
        self.index += 1;
        self.next += 1;
        self.in_flight.push_back((last, burst.bytes.into()));
        self.bytes += u64::from(burst.bytes);
        while self.bytes > IN_FLIGHT_BYTES {
            let Some((last, bytes)) = self.in_flight.pop_front() else { break };
            self.next = self.next.max(last + 1);
            self.bytes -= bytes;
        }
    }
}

/// Latency of an idle read in nanoseconds, from the address handshake to the beat.
pub struct Latency {
    /// The row is open.
    pub hit: f64,
    /// No row is open in the bank.
    pub closed: f64,
    /// Another row is open in the bank.
    pub miss: f64,
}

/// Reads single beats, far apart. `conflict` is an address in the bank of address 0, but in another row.
pub fn latency(spec: &MemorySpec, config: &AccelConfig, conflict: u64) -> Measured<Latency> {
    let mut memory = MemorySystem::new(spec, config, 0)?;
    let bytes = config.beat().get() as u32;
    let mut read = |issue: Cycle, addr| -> Measured<f64> {
        let arrival = memory.read(0, issue, Burst { addr, bytes }).ok_or("the port is stuck")?;
        Ok((arrival.start() - issue) as f64 * 1e9 / config.clock().get() as f64)
    };
    // At first no row is open, and the first refresh is microseconds away.
    let closed = read(0, 0)?;
    let hit = read(200, 0)?;
    let miss = read(400, conflict)?;
    Ok(Latency { hit, closed, miss })
}

/// Bursts of 1 KB one after the other.
pub fn sequential(index: u64, size: u64) -> Burst {
    Burst { addr: index * 1024 % size, bytes: 1024 }
}

/// Two sequential streams of 1 KB bursts in turns, the second `distance` after the first.
pub fn two_streams(index: u64, distance: u64, size: u64) -> Burst {
    let start = index % 2 * distance;
    Burst { addr: (start + index / 2 * 1024) % size, bytes: 1024 }
}

/// Bursts at pseudo-random multiples of 1 KB.
pub fn scattered(index: u64, bytes: u32, size: u64) -> Burst {
    let hash = (index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    Burst { addr: (hash % size) & !1023, bytes }
}

/// One line of the comparison.
pub struct Comparison {
    /// What is measured, on what.
    pub what: &'static str,
    /// What is published, and where.
    pub published: &'static str,
    /// What the model gives.
    pub ours: f64,
    /// Unit of `ours`.
    pub unit: &'static str,
    /// Between what bounds `ours` is taken to agree.
    pub agrees: std::ops::RangeInclusive<f64>,
}

/// All comparisons.
pub fn comparisons() -> Measured<Vec<Comparison>> {
    let mut rows = hbm2_rates()?;
    rows.extend(ddr4_rates()?);
    rows.extend(latencies()?);
    Ok(rows)
}

fn hbm2_rates() -> Measured<Vec<Comparison>> {
    let spec = MemorySpec::named("hbm2")?;
    let card =
        stream(&spec, &ports(32, 32, HBM2_BYTES, 450_000_000)?, BURSTS, |_, i| sequential(i, HBM2_BYTES))?;
    let u280 = AccelConfig::preset("u280")?;
    let machine = stream(&spec, &u280, BURSTS, |_, i| sequential(i, HBM2_BYTES))?;
    let (one, peak) = (ports(1, 64, HBM2_BYTES, 250_000_000)?, 14.375e9);
    let share = |burst: &dyn Fn(u64) -> Burst| -> Measured<f64> {
        Ok(stream(&spec, &one, BURSTS, |_, i| burst(i))? / peak * 100.0)
    };
    // Every distance of two streams in the sixteen bursts after which the banks repeat.
    let distances = (0..16).map(|k| (100 << 20) + k * 1024);
    let pairs: Vec<f64> =
        distances.map(|d| share(&|i| two_streams(i, d, HBM2_BYTES))).collect::<Measured<_>>()?;
    let mean = pairs.iter().sum::<f64>() / pairs.len() as f64;
    let (worst, best) = pairs.iter().fold((f64::MAX, 0.0), |(w, b): (f64, f64), p| (w.min(*p), b.max(*p)));
    // Four accesses of 64 bytes to each row, all rows in one bank: three of four hit.
    let rows = share(&|i| Burst { addr: i * 16384 * 16 % HBM2_BYTES, bytes: 256 })?;
    let random = share(&|i| scattered(i, 64, HBM2_BYTES))?;
    const SHUHAI: &str = "425 of 460 GB/s (arXiv 2005.04324, U280)";
    const HALF: &str = "at most 50 (arXiv 2005.04324: hit rates below 75 % halve the rate)";
    let percent =
        |what, published, ours, agrees| Comparison { what, published, ours, unit: "% of peak", agrees };
    Ok(vec![
        Comparison {
            what: "HBM2, sequential reads, 32 ports of 32 B at 450 MHz",
            published: SHUHAI,
            ours: card / 1e9,
            unit: "GB/s",
            agrees: 423.2..=427.8,
        },
        percent("the same, as a share", "92.4 (the same)", card / 460e9 * 100.0, 92.0..=93.0),
        percent(
            "HBM2, sequential reads, preset u280 (64 B at 250 MHz)",
            "-",
            machine / 460e9 * 100.0,
            92.0..=93.0,
        ),
        percent("HBM2, two sequential streams in turns of 1 KB, mean over distances", "-", mean, 87.0..=93.0),
        percent("the same, in different banks", "-", best, 92.0..=93.0),
        percent("the same, always in the same bank", "-", worst, 65.0..=75.0),
        percent("HBM2, rows of one bank, 256 B of each", HALF, rows, 0.0..=50.0),
        percent("HBM2, scattered reads of 64 B", HALF, random, 0.0..=50.0),
    ])
}

fn ddr4_rates() -> Measured<Vec<Comparison>> {
    let spec = MemorySpec::named("ddr4-2400")?;
    let edge = AccelConfig::preset("edge")?;
    let peak = 19.2e9;
    let one = stream(&spec, &edge, BURSTS, |_, i| sequential(i, DDR4_BYTES))?;
    let two = stream(&spec, &edge, BURSTS, |_, i| two_streams(i, 100 << 20, DDR4_BYTES))?;
    let wide =
        stream(&spec, &ports(1, 64, DDR4_BYTES, 450_000_000)?, BURSTS, |_, i| sequential(i, DDR4_BYTES))?;
    let percent = |what, published, ours, agrees| Comparison {
        what,
        published,
        ours: ours / peak * 100.0,
        unit: "% of peak",
        agrees,
    };
    Ok(vec![
        percent(
            "DDR4-2400, sequential reads, preset edge (4 ports of 16 B at 300 MHz)",
            "93 and 94 reached by a whole decoder on ZCU104 and KV260 (Hummingbird); refresh alone leaves 96.7",
            one,
            93.5..=96.7,
        ),
        percent("the same, two streams in each port", "-", two, 93.5..=96.7),
        percent("DDR4-2400, sequential reads, one wide port", "-", wide, 90.0..=96.7),
    ])
}

fn latencies() -> Measured<Vec<Comparison>> {
    let hbm2 = latency(&MemorySpec::named("hbm2")?, &ports(1, 32, HBM2_BYTES, 450_000_000)?, 1 << 15)?;
    let ddr4 = latency(&MemorySpec::named("ddr4-2400")?, &ports(1, 64, DDR4_BYTES, 300_000_000)?, 1 << 14)?;
    let nanoseconds =
        |what, published, ours, agrees| Comparison { what, published, ours, unit: "ns", agrees };
    Ok(vec![
        nanoseconds("HBM2, idle read, row open", "106.7 (arXiv 2005.04324)", hbm2.hit, 104.0..=109.0),
        nanoseconds("HBM2, idle read, no row open", "122.2 (the same)", hbm2.closed, 118.0..=126.0),
        nanoseconds("HBM2, idle read, other row open", "128.9 to 137.8 (the same)", hbm2.miss, 128.0..=138.0),
        nanoseconds("DDR4-2400, idle read, row open", "73.3 (the same)", ddr4.hit, 71.0..=75.5),
        nanoseconds("DDR4-2400, idle read, no row open", "90.0 (the same)", ddr4.closed, 87.0..=93.0),
        nanoseconds("DDR4-2400, idle read, other row open", "106.6 (the same)", ddr4.miss, 102.0..=110.0),
    ])
}

/// The comparisons as a Markdown table.
pub fn table(rows: &[Comparison]) -> String {
    let mut text = "| what | published | ours | taken to agree |\n|---|---|---|---|\n".to_owned();
    for row in rows {
        let (low, high) = (row.agrees.start(), row.agrees.end());
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "| {} | {} | {:.1} {} | {low:.1} to {high:.1} |",
            row.what, row.published, row.ours, row.unit
        );
    }
    text
}
