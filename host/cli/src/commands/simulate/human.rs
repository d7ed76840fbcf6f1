//! The outcome for people: conditions first, then time, then where it went.

use super::Outcome;
use super::json::format_name;
use super::values::ActiveShares;
use crate::table::{pairs, percent, size, table};
use fastcar_arch::regs::UNITS;
use fastcar_host::policy::{Gate, Method, PairCoupling};
use fastcar_host::simulate::{Phase, Report, Scenario};
use fastcar_sim::Traffic;
use fastcar_sim::memory::MemorySpec;

/// Everything.
pub fn text(o: &Outcome) -> String {
    let mut out = pairs(&conditions(o));
    out += &format!("\n{}", pairs(&time(o)));
    if let Some(dense) = &o.dense {
        out += &format!("\n{}", pairs(&against(o, dense)));
    }
    let mut phase = o.report.body.clone();
    phase += &o.report.codes;
    out += &format!("\nper position, body and codes\n{}", pairs(&work(&phase, &o.report)));
    out += &format!("\n{}\n{}", units(&phase), traffic(&phase, &o.report));
    out
}

impl Outcome {
    /// Name of the memory.
    pub fn memory_name(&self) -> String {
        let own = || MemorySpec::for_config(&self.scenario.config).ok();
        let spec = self.scenario.sim.memory.clone().or_else(own);
        spec.map_or_else(String::new, |s| s.name().to_owned())
    }
}

/// Recorded ratios are quotients of counts: four digits behind the point say enough to people.
fn four_digits(ratio: f64) -> f64 {
    (ratio * 1e4).round() / 1e4
}

/// What is skipped, in words.
pub fn method(s: &Scenario) -> String {
    match s.policy.method() {
        Method::Dense => "dense".to_owned(),
        Method::Replay { gate, coupling, .. } => {
            let gate = if matches!(gate, Gate::InputDelta { .. }) { "input-delta" } else { "tas" };
            let coupling = match coupling {
                _ if !s.batch.paired => String::new(),
                PairCoupling::Independent => {
                    format!(", rows decide alone (correlation {})", four_digits(s.statistics.correlation))
                }
                PairCoupling::BothAgree => {
                    format!(", rows must agree (correlation {})", four_digits(s.statistics.correlation))
                }
                PairCoupling::Mean => ", one decision for both rows".to_owned(),
            };
            format!("replay {:.4}, gate {gate}{coupling}", s.statistics.replay)
        }
        Method::Delta { .. } => {
            format!("delta, active blocks {}", ActiveShares(s.statistics.active_blocks.map(four_digits)))
        }
    }
}

fn conditions(o: &Outcome) -> Vec<(&'static str, String)> {
    let (s, c) = (&o.scenario, &o.scenario.config);
    let set: String = o.settings.iter().map(|s| format!(", {s}")).collect();
    let range = s.range();
    let whole = range == (0..s.workload.generated());
    let mut positions = match whole {
        true => format!("all {}", range.end),
        false => format!("{}..{} of {}", range.start, range.end, s.workload.generated()),
    };
    if o.report.body.steps < u64::from(o.report.positions) {
        positions += &format!("; {} of them simulated, evenly spaced", o.report.body.steps);
    }
    let pair = if s.batch.paired { ", guided pairs" } else { "" };
    let mut rows = vec![
        (
            "machine",
            format!(
                "{}{set}: {} channels, {} columns, {} MHz",
                c.name(),
                c.channels(),
                c.columns(),
                c.clock().get() as f64 / 1e6
            ),
        ),
        (
            "memory",
            format!("{}, {:.1} GB/s at most", o.memory_name(), o.report.peak_bytes_per_second as f64 / 1e9),
        ),
        (
            "workload",
            format!(
                "{}, {} weights, prompt of {}",
                s.workload.name(),
                format_name(s.formats.weights),
                s.workload.prompt()
            ),
        ),
        ("positions", positions),
        ("batch", format!("{} rows{pair}", s.batch.rows)),
        ("method", format!("{}; attention {}", method(s), s.policy.attention())),
        ("policy", s.sim.policy.to_string()),
    ];
    match &o.recorded {
        Some(recorded) => {
            rows.extend(recorded.rows());
            rows.push(("seed", format!("memory {}", s.sim.memory_seed)));
        }
        None => {
            let seeds = format!("decisions {}, memory {}", s.statistics.seed, s.sim.memory_seed);
            rows.push(("seeds", seeds));
        }
    }
    rows
}

fn time(o: &Outcome) -> Vec<(&'static str, String)> {
    let r = &o.report;
    let positions = r.body.steps.max(1) as f64;
    let cycles = r.decode_cycles() as f64 / positions;
    let [prompt, body, codes] = r.phase_seconds();
    vec![
        (
            "per position",
            format!("{cycles:.0} cycles, {:.3} ms", r.seconds(r.decode_cycles()) * 1e3 / positions),
        ),
        ("positions/s", format!("{:.2}", r.positions_per_second())),
        (
            "seconds",
            format!("{:.3}: prompt {prompt:.3}, body {body:.3}, codes {codes:.3}", r.video_seconds()),
        ),
        ("share of peak", format!("{} of the memory's bandwidth", percent(r.share_of_peak()))),
        (
            "share of bound",
            format!(
                "{} of {:.2} positions/s, where every byte needed comes at peak bandwidth",
                percent(r.share_of_roofline()),
                positions / r.bound_seconds()
            ),
        ),
        ("simulated in", format!("{:.1} s", o.wall_seconds)),
    ]
}

fn against(o: &Outcome, dense: &Report) -> Vec<(&'static str, String)> {
    vec![
        (
            "dense",
            format!(
                "{:.2} positions/s, {:.3} seconds, {} of peak",
                dense.positions_per_second(),
                dense.video_seconds(),
                percent(dense.share_of_peak())
            ),
        ),
        ("speed-up", format!("{:.3} (bound {:.3})", o.speedup(dense), o.speedup_bound(dense))),
    ]
}

fn work(phase: &Phase, r: &Report) -> Vec<(&'static str, String)> {
    let c = &phase.counters;
    let each = |n: u64| format!("{:.1}", n as f64 / r.body.steps.max(1) as f64);
    let share = |part: u64, all: u64| percent(part as f64 / (all as f64).max(1.0));
    vec![
        (
            "decisions",
            format!(
                "{} replay, {} compute ({} replay)",
                each(c.replays),
                each(c.computes),
                share(c.replays, c.replays + c.computes)
            ),
        ),
        ("passes", each(c.passes)),
        (
            "weight blocks",
            format!("{} streamed, {} skipped", each(c.blocks_streamed), each(c.blocks_skipped)),
        ),
        (
            "MLP phase",
            format!("{} of its cycles are needed by its products", share(c.mlp_work, c.mlp_cycles)),
        ),
        (
            "MAC starved",
            format!("{} of all cycles wait for beats of a product", share(c.mac_starved, c.cycles)),
        ),
    ]
}

/// Busy, stalled and idle in tenths of a percent that sum to 100.
fn units(phase: &Phase) -> String {
    let c = &phase.counters;
    let mut rows = vec![["unit", "busy %", "stalled %", "idle %"].map(str::to_owned).to_vec()];
    let tenths = |cycles: u64| (cycles as f64 * 1000.0 / (c.cycles as f64).max(1.0)).round() as u64;
    for (unit, u) in UNITS.iter().zip(&c.units) {
        let busy = tenths(u.busy);
        let stalled = tenths(u.stalled).min(1000 - busy.min(1000));
        let idle = 1000_u64.saturating_sub(busy + stalled);
        let cell = |t: u64| format!("{}.{}", t / 10, t % 10);
        rows.push(vec![unit.name.to_lowercase(), cell(busy), cell(stalled), cell(idle)]);
    }
    table(&rows)
}

fn traffic(phase: &Phase, r: &Report) -> String {
    let c = &phase.counters;
    let each = |bytes: u64| size(bytes / r.body.steps.max(1));
    let all: u64 = c.traffic.iter().sum();
    let mut rows = vec![["traffic", "per position", "share"].map(str::to_owned).to_vec()];
    for (kind, name) in Traffic::ALL {
        let bytes = c.traffic[kind as usize];
        rows.push(vec![name.replace('_', " "), each(bytes), percent(bytes as f64 / (all as f64).max(1.0))]);
    }
    let sums = c.read_bytes.iter().zip(&c.write_bytes).map(|(r, w)| r + w);
    let channels: Vec<(u64, usize)> = sums.enumerate().map(|(i, b)| (b, i)).collect();
    let ends = channels.iter().min().zip(channels.iter().max_by_key(|c| (c.0, std::cmp::Reverse(c.1))));
    let line = ends.map(|(low, high)| {
        let [low, high] = [low, high].map(|&(bytes, channel)| format!("{} (channel {channel})", each(bytes)));
        format!("channels: least {low}, most {high} per position\n")
    });
    table(&rows) + &line.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastcar_sim::Counters;

    #[test]
    fn units_sum_to_a_hundred() {
        let mut counters = Counters { cycles: 3, ..Counters::default() };
        counters.units[0].busy = 1;
        counters.units[0].stalled = 1;
        counters.units[1].busy = 3;
        let text = units(&Phase { steps: 1, counters, needed_bytes: 0 });
        let sums = text.lines().skip(1).map(|line| {
            let cells = line.split_whitespace().skip(1);
            cells.map(|cell| (cell.parse::<f64>().unwrap_or(f64::NAN) * 10.0).round()).sum::<f64>()
        });
        assert!(sums.clone().count() == UNITS.len() && sums.clone().all(|sum| sum == 1000.0), "{text}");
    }
}
