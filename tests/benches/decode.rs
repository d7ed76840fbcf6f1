//! Tokens per second on the shipped model: the functional model of the machine beside a plain binary32 loop.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fastcar_host::image::Format;
use fastcar_host::model::Model;
use fastcar_host::oracle::Oracle;
use fastcar_host::pack::PackOptions;
use fastcar_host::policy::{Gate, Policy};
use fastcar_tests::{forced, golden_session, moving_digits, packed};
use std::hint::black_box;

/// Tokens of a measured run: two frames.
const TOKENS: usize = 128;

fn decode(c: &mut Criterion) {
    let model = Model::open(moving_digits()).expect("shipped model");
    let heldout = model.heldout().expect("held-out clips");
    let clip = &heldout.clips()[0];
    let tokens = &clip.tokens[..TOKENS];
    let codes = model.video().map_or(0, |v| v.codes()) as u32;
    let mut group = c.benchmark_group("decode");
    group.sample_size(10);

    let oracle = Oracle::new(&model).expect("oracle");
    group.throughput(Throughput::Elements(TOKENS as u64));
    group.bench_function("binary32 loop", |b| {
        b.iter(|| {
            let mut sequence = oracle.sequence();
            sequence.prefill(&clip.prompt).expect("prompt");
            for &token in tokens {
                black_box(sequence.step(token).expect("step"));
            }
        });
    });
    for (name, weights) in [("mxint8", Format::MxInt8), ("mxfp4", Format::MxFp4)] {
        let packed = packed(&model, "edge", PackOptions { weights, head: None }).expect("packed");
        let replay = Policy::replay(Gate::Always).expect("policy");
        for (policy_name, policy, slots) in
            [("dense", Policy::dense(), 1), ("dense", Policy::dense(), 8), ("replay", replay, 1)]
        {
            group.throughput(Throughput::Elements(TOKENS as u64 * u64::from(slots)));
            let id = BenchmarkId::new(format!("golden {name} {policy_name}"), slots);
            group.bench_function(id, |b| {
                b.iter(|| {
                    let mut session = golden_session(&packed, policy.clone(), slots, 160).expect("session");
                    for _ in 0..slots {
                        session.start(forced(clip.prompt.clone(), tokens, 0..codes)).expect("start");
                    }
                    assert_eq!(session.generate().count(), TOKENS * slots as usize);
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
