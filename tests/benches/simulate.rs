//! Simulated cycles per second in timing mode: one position of each preset's workload, burst by burst and, on the
//! smallest, cycle by cycle.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fastcar_arch::config::{AccelConfig, ConfigFields};
use fastcar_host::pack::PackOptions;
use fastcar_host::policy::{Gate, Policy};
use fastcar_host::simulate::{Batch, Scenario, Simulation, Statistics};
use fastcar_host::workload::Workload;
use fastcar_sim::{Advance, SimOptions};
use std::hint::black_box;

fn simulation(preset: &str, workload: &str, policy: Policy, replay: f64, advance: Advance) -> Simulation {
    let workload = Workload::named(workload).expect("workload").body_only();
    let generated = workload.generated();
    let scenario = Scenario {
        workload,
        config: roomy(preset),
        formats: PackOptions::default(),
        policy,
        sim: SimOptions { advance, ..SimOptions::default() },
        batch: Batch { rows: 1, paired: false },
        statistics: Statistics { replay, ..Statistics::default() },
        positions: Some(generated / 2..generated),
    };
    scenario.prepare().expect("scenario")
}

/// The preset, with room for the scores of both passes over the keys of `llama-1b` on `edge`.
fn roomy(preset: &str) -> AccelConfig {
    let fields = AccelConfig::preset(preset).expect("preset").fields().clone();
    AccelConfig::new(ConfigFields { score_tokens: 8192, ..fields }).expect("configuration")
}

fn simulate(c: &mut Criterion) {
    let mut group = c.benchmark_group("simulate");
    group.sample_size(10);
    let replay = || Policy::replay(Gate::Always).expect("policy");
    let cases = [
        ("tiny/tiny", "dense", simulation("tiny", "tiny", Policy::dense(), 0.0, Advance::Bulk)),
        ("tiny/tiny", "step by step", simulation("tiny", "tiny", Policy::dense(), 0.0, Advance::Step)),
        ("edge/llama-1b", "dense", simulation("edge", "llama-1b", Policy::dense(), 0.0, Advance::Bulk)),
        ("u55c/vila-u-7b", "dense", simulation("u55c", "vila-u-7b", Policy::dense(), 0.0, Advance::Bulk)),
        ("u55c/vila-u-7b", "replay 0.8", simulation("u55c", "vila-u-7b", replay(), 0.8, Advance::Bulk)),
    ];
    for (machine, what, simulation) in &cases {
        let position = simulation.scenario().workload.generated() / 2;
        let cycles = simulation.position(position).expect("position").0.counters.cycles;
        group.throughput(Throughput::Elements(cycles));
        group.bench_with_input(BenchmarkId::new(*machine, what), simulation, |b, s| {
            b.iter(|| black_box(s.position(position).expect("position")));
        });
    }
    group.finish();
}

criterion_group!(benches, simulate);
criterion_main!(benches);
