//! The outcome as JSON: stable keys, each with its unit.

use super::Outcome;
use super::human::method;
use super::recorded::Recorded;
use crate::commands::simulate::values::Rows;
use fastcar_arch::identity::Identity;
use fastcar_arch::regs::UNITS;
use fastcar_host::image::Format;
use fastcar_host::simulate::{Phase, Report};
use fastcar_sim::Traffic;
use serde_json::{Map, Value, json};

/// Everything.
pub fn outcome(o: &Outcome) -> Value {
    let mut all = json!({
        "conditions": conditions(o),
        "result": report(&o.report),
        "wall_seconds": o.wall_seconds,
    });
    if let Some(dense) = &o.dense {
        all["dense"] = report(dense);
        all["speedup"] = json!(o.speedup(dense));
        all["speedup_bound"] = json!(o.speedup_bound(dense));
    }
    all
}

impl Outcome {
    /// How much faster the generated positions are than with nothing skipped.
    pub fn speedup(&self, dense: &Report) -> f64 {
        dense.decode_cycles() as f64 / self.report.decode_cycles() as f64
    }

    /// How much faster they would be if both runs only waited for memory.
    pub fn speedup_bound(&self, dense: &Report) -> f64 {
        dense.bound_seconds() / self.report.bound_seconds()
    }
}

/// Name of a weight format.
pub fn format_name(format: Format) -> &'static str {
    match format {
        Format::MxInt8 => "mxint8",
        Format::MxFp4 => "mxfp4",
    }
}

fn conditions(o: &Outcome) -> Value {
    let s = &o.scenario;
    let range = s.range();
    json!({
        "preset": s.config.name(),
        "config": s.config.fields(),
        "identity": Identity::of(&s.config),
        "set": o.settings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "workload": s.workload.name(),
        "prompt_tokens": s.workload.prompt(),
        "frame_positions": s.workload.period(),
        "first_position": range.start,
        "end_position": range.end,
        "sample_positions": o.sample,
        "weights": format_name(s.formats.weights),
        "head": format_name(s.formats.head.unwrap_or(Format::MxInt8)),
        "batch": Rows(s.batch).to_string(),
        "rows": s.batch.rows,
        "paired": s.batch.paired,
        "method": method(s),
        "replay_share": s.statistics.replay,
        "active_block_shares": s.statistics.active_blocks,
        "correlation": s.statistics.correlation,
        "seed": o.recorded.is_none().then_some(s.statistics.seed),
        "decisions": o.recorded.as_ref().map(Recorded::json),
        "attention": s.policy.attention().to_string(),
        "policy": s.sim.policy.to_string(),
        "memory": o.memory_name(),
        "memory_seed": s.sim.memory_seed,
        "peak_bytes_per_second": o.report.peak_bytes_per_second,
        "clock_hz": o.report.clock.get(),
    })
}

fn report(r: &Report) -> Value {
    let [prompt, body, codes] = r.phase_seconds();
    let positions = r.body.steps.max(1) as f64;
    json!({
        "cycles": r.decode_cycles(),
        "cycles_per_position": r.decode_cycles() as f64 / positions,
        "milliseconds_per_position": r.seconds(r.decode_cycles()) * 1e3 / positions,
        "positions_per_second": r.positions_per_second(),
        "video_seconds": r.video_seconds(),
        "prompt_seconds": prompt,
        "body_seconds": body,
        "codes_seconds": codes,
        "bound_positions_per_second": positions / r.bound_seconds(),
        "share_of_peak": r.share_of_peak(),
        "share_of_roofline": r.share_of_roofline(),
        "prompt": phase(&r.prompt),
        "body": phase(&r.body),
        "codes": phase(&r.codes),
        "body_cycles_by_position": r.cycles,
    })
}

fn phase(p: &Phase) -> Value {
    let c = &p.counters;
    let traffic: Map<String, Value> = Traffic::ALL
        .iter()
        .map(|(kind, name)| (format!("{name}_bytes"), c.traffic[*kind as usize].into()))
        .collect();
    let units: Map<String, Value> = UNITS
        .iter()
        .zip(&c.units)
        .map(|(unit, u)| {
            let idle = c.cycles.saturating_sub(u.busy + u.stalled);
            let cycles = json!({ "busy_cycles": u.busy, "stalled_cycles": u.stalled, "idle_cycles": idle });
            (unit.name.to_lowercase(), cycles)
        })
        .collect();
    json!({
        "steps": p.steps,
        "cycles": c.cycles,
        "commands": c.commands,
        "replays": c.replays,
        "computes": c.computes,
        "passes": c.passes,
        "blocks_streamed": c.blocks_streamed,
        "blocks_skipped": c.blocks_skipped,
        "mac_starved_cycles": c.mac_starved,
        "mlp_cycles": c.mlp_cycles,
        "mlp_work_cycles": c.mlp_work,
        "needed_bytes": p.needed_bytes,
        "moved_bytes": c.bytes(),
        "traffic": traffic,
        "read_bytes_by_channel": c.read_bytes,
        "write_bytes_by_channel": c.write_bytes,
        "units": units,
    })
}
