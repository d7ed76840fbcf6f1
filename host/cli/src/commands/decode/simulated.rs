//! What a decode took on the simulator, as figures.

use crate::table::{pairs, percent, table};
use fastcar_arch::regs::UNITS;
use fastcar_host::simulate::SessionReport;
use fastcar_sim::{Counters, Traffic};
use serde::Serialize;
use std::collections::BTreeMap;

/// Cycles and what follows from them: over the generated positions, body and codes, unless said otherwise.
#[derive(Serialize)]
pub struct Simulated {
    drs: String,
    memory: String,
    clock_hz: u64,
    peak_bytes_per_second: u64,
    cycles: u64,
    milliseconds: f64,
    prompt_cycles: u64,
    body_cycles: u64,
    codes_cycles: u64,
    /// Of all sequences together.
    positions_per_second: f64,
    /// Cycles of a dense decode of the same positions on the same machine.
    dense_cycles: u64,
    /// These over `cycles`.
    speed_up_over_dense: f64,
    share_of_peak_bandwidth: f64,
    /// Time that the bytes needed take at peak bandwidth over the time taken.
    share_of_roofline: f64,
    read_bytes: u64,
    written_bytes: u64,
    bytes_by_class: BTreeMap<&'static str, u64>,
    units: Vec<UnitShares>,
    mac_starved: f64,
    replays: u64,
    computes: u64,
    passes: u64,
    blocks_streamed: u64,
    blocks_skipped: u64,
    frames: Vec<FrameCycles>,
}

/// Shares of the cycles; they sum to 1.
#[derive(Serialize)]
pub struct UnitShares {
    unit: String,
    busy: f64,
    stalled: f64,
    idle: f64,
}

impl UnitShares {
    /// From a unit's cycles.
    pub fn new(unit: &str, busy: u64, stalled: u64, cycles: u64) -> Self {
        Self {
            unit: unit.to_owned(),
            busy: share(busy, cycles),
            stalled: share(stalled, cycles),
            idle: share(cycles.saturating_sub(busy + stalled), cycles),
        }
    }
}

/// Units as a table.
pub fn units_text(units: &[UnitShares]) -> String {
    let mut rows = vec![["unit", "busy", "stalled", "idle"].map(str::to_owned).to_vec()];
    let row = |u: &UnitShares| vec![u.unit.clone(), percent(u.busy), percent(u.stalled), percent(u.idle)];
    rows.extend(units.iter().map(row));
    table(&rows)
}

/// A frame, or what was generated of it.
#[derive(Serialize)]
struct FrameCycles {
    cycles: u64,
    speed_up_over_dense: f64,
}

impl Simulated {
    /// From what was measured; `sequences` advance together, `period` positions are a frame.
    pub fn new(
        report: &SessionReport,
        (drs, memory): (String, String),
        sequences: usize,
        period: Option<u32>,
    ) -> Self {
        let totals = &report.totals;
        let mut all = totals.body.counters.clone();
        all += &totals.codes.counters;
        let cycles = all.cycles;
        let frames = period.map_or_else(Vec::new, |p| report.frames(p));
        let frame = |(cycles, speed_up): (u64, f64)| FrameCycles { cycles, speed_up_over_dense: speed_up };
        Self {
            drs,
            memory,
            clock_hz: totals.clock.get(),
            peak_bytes_per_second: totals.peak_bytes_per_second,
            cycles,
            milliseconds: totals.seconds(cycles) * 1e3,
            prompt_cycles: totals.prompt.counters.cycles,
            body_cycles: totals.body.counters.cycles,
            codes_cycles: totals.codes.counters.cycles,
            positions_per_second: totals.positions_per_second() * sequences as f64,
            dense_cycles: report.positions.iter().map(|p| p.dense).sum(),
            speed_up_over_dense: report.speed_up(),
            share_of_peak_bandwidth: totals.share_of_peak(),
            share_of_roofline: totals.share_of_roofline(),
            read_bytes: all.read_bytes.iter().sum(),
            written_bytes: all.write_bytes.iter().sum(),
            bytes_by_class: Traffic::ALL.iter().map(|t| (t.1, all.traffic[t.0 as usize])).collect(),
            units: units(&all),
            mac_starved: share(all.mac_starved, cycles),
            replays: all.replays,
            computes: all.computes,
            passes: all.passes,
            blocks_streamed: all.blocks_streamed,
            blocks_skipped: all.blocks_skipped,
            frames: frames.into_iter().map(frame).collect(),
        }
    }

    /// As tables.
    pub fn text(&self) -> String {
        let mhz = self.clock_hz as f64 / 1e6;
        let peak = self.peak_bytes_per_second as f64 / 1e9;
        let facts = pairs(&[
            (
                "simulated",
                format!("clock {mhz:.0} MHz, memory {} {peak:.1} GB/s, DRS {}", self.memory, self.drs),
            ),
            (
                "cycles",
                format!(
                    "{} = {:.2} ms, {:.0} positions/s; the prompt {}",
                    self.cycles, self.milliseconds, self.positions_per_second, self.prompt_cycles
                ),
            ),
            (
                "speed-up",
                format!(
                    "{:.2}x over the dense decode ({} cycles)",
                    self.speed_up_over_dense, self.dense_cycles
                ),
            ),
            (
                "bandwidth",
                format!(
                    "{} of peak, {} of the roofline bound",
                    percent(self.share_of_peak_bandwidth),
                    percent(self.share_of_roofline)
                ),
            ),
        ]);
        format!("{facts}\n{}{}", units_text(&self.units), self.frames_text())
    }

    fn frames_text(&self) -> String {
        if self.frames.is_empty() {
            return String::new();
        }
        let mut rows = vec![vec!["frame".to_owned()], vec!["cycles".to_owned()], vec!["speed-up".to_owned()]];
        for (i, frame) in self.frames.iter().enumerate() {
            rows[0].push(i.to_string());
            rows[1].push(frame.cycles.to_string());
            rows[2].push(format!("{:.2}x", frame.speed_up_over_dense));
        }
        format!("\n{}", table(&rows))
    }
}

fn units(all: &Counters) -> Vec<UnitShares> {
    let unit = |(unit, c): (&fastcar_arch::regs::Unit, &fastcar_sim::UnitCycles)| {
        UnitShares::new(unit.name, c.busy, c.stalled, all.cycles)
    };
    UNITS.iter().zip(&all.units).map(unit).collect()
}

fn share(part: u64, all: u64) -> f64 {
    part as f64 / (all as f64).max(1.0)
}
