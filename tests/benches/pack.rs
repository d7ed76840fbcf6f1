//! Bytes of float16 weights packed a second, on one thread: from the mapped checkpoint to constants laid out.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fastcar_arch::config::AccelConfig;
use fastcar_host::image::Format;
use fastcar_host::model::Model;
use fastcar_host::model::testing::{LlamaSpec, WeightFormat};
use fastcar_host::pack::{PackOptions, pack};
use std::hint::black_box;

fn packing(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a folder");
    let spec = LlamaSpec {
        layers: 2,
        hidden: 1024,
        heads: 8,
        kv_heads: 8,
        head_dim: 128,
        ffn: 2816,
        vocab: 256,
        format: WeightFormat::F16,
        ..LlamaSpec::default()
    };
    spec.write(dir.path()).expect("a checkpoint");
    let model = Model::open(dir.path()).expect("a model");
    let config = AccelConfig::preset("u55c").expect("a preset");
    let parameters = model.body().spec().layer_parameters() + 256 * 1024;
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    let mut group = c.benchmark_group("pack");
    group.sample_size(10).throughput(Throughput::Bytes(2 * parameters as u64));
    for (name, weights) in [("mxint8", Format::MxInt8), ("mxfp4", Format::MxFp4)] {
        let options = PackOptions { weights, head: None };
        group.bench_function(name, |b| {
            b.iter(|| one.install(|| black_box(pack(&model, &config, options, &()).expect("packed"))));
        });
    }
    group.finish();
}

criterion_group!(benches, packing);
criterion_main!(benches);
