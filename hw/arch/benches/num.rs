//! Throughput of the numeric contract's hot paths on one core.

use fastcar_arch::num::{self, BLOCK, dot_fp4, dot_int8, fp, func, softmax, sumsq, window};
use std::hint::black_box;
use std::time::Instant;

/// Runs `f` over and over for a while and prints the time per element; one call handles `elements`.
fn bench<T>(name: &str, elements: usize, mut f: impl FnMut() -> T) {
    const RUN_MS: u128 = 200;
    black_box(f());
    let start = Instant::now();
    let mut calls = 0u64;
    while start.elapsed().as_millis() < RUN_MS {
        for _ in 0..8 {
            black_box(f());
        }
        calls += 8;
    }
    let ns = start.elapsed().as_nanos() as f64 / (calls as f64 * elements as f64);
    println!("{name:<24} {ns:8.3} ns per element {:10.1} M elements per second", 1e3 / ns);
}

/// Numbers of mixed sign and size, the same on every run.
fn inputs(n: usize) -> Vec<f32> {
    (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761) as i32) as f32 * 1e-9).collect()
}

fn main() {
    const N: usize = 4096;
    let x = inputs(N);
    let int8 = num::quantise_int8_row(&x);
    let fp4 = num::quantise_fp4_row(&x);
    let base = |w: &[num::E8M0], a: &[num::E8M0]| {
        window::Base::new(num::E8M0::max_of(w.iter().copied()), num::E8M0::max_of(a.iter().copied()))
    };
    let int8_scales: Vec<_> = int8.iter().map(|b| b.scale).collect();
    let fp4_scales: Vec<_> = fp4.iter().map(|b| b.scale).collect();
    let (base8, base4) = (base(&int8_scales, &int8_scales), base(&fp4_scales, &int8_scales));
    let block: &[f32; BLOCK] = x.first_chunk().expect("a block of inputs");
    let mut out = vec![0f32; N];

    bench("quantise_int8", BLOCK, || num::quantise_int8(black_box(block)));
    bench("quantise_fp4", BLOCK, || num::quantise_fp4(black_box(block)));
    bench("dequantise int8", BLOCK, || black_box(&int8[0]).dequantise());
    bench("dequantise fp4", BLOCK, || black_box(&fp4[0]).dequantise());
    bench("dot_int8", BLOCK, || dot_int8(black_box(&int8[0].elems), black_box(&int8[1].elems)));
    bench("dot_fp4", BLOCK, || dot_fp4(black_box(&fp4[0].codes), black_box(&int8[1].elems)));
    bench("window::row_int8", N, || window::row_int8(black_box(&int8), black_box(&int8), base8));
    bench("window::row_fp4", N, || window::row_fp4(black_box(&fp4), black_box(&int8), base4));
    bench("fp::add_slice", N, || fp::add_slice(&mut out, black_box(&x), &x));
    bench("fp::mul_slice", N, || fp::mul_slice(&mut out, black_box(&x), &x));
    bench("sum_squares", N, || sumsq::sum_squares(black_box(&x)));
    bench("scaled_int_to_f32", N, || {
        x.iter().map(|v| num::scaled_int_to_f32(i64::from(v.to_bits()), -30)).sum::<f32>()
    });
    bench("recip", N, || x.iter().map(|&v| func::recip(v)).sum::<f32>());
    bench("rsqrt", N, || x.iter().map(|&v| func::rsqrt(v.abs())).sum::<f32>());
    bench("silu", N, || x.iter().map(|&v| func::silu(v)).sum::<f32>());
    bench("gelu", N, || x.iter().map(|&v| func::gelu(v)).sum::<f32>());
    bench("prob", N, || {
        x.iter().map(|v| u64::from(softmax::prob(u64::from(v.to_bits() & 0xF_FFFF), 1))).sum::<u64>()
    });
}
