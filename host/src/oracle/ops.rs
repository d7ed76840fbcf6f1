//! The arithmetic of the oracle: binary32, loops that compilers vectorise, nothing bit-exact.

use rayon::prelude::*;
use std::ops::Range;

use crate::model::{Linear, Norm, NormWeights};

/// Multiply-accumulates from which a matrix is spread over threads.
const PARALLEL_MACS: usize = 1 << 21;

/// Partial sums of a dot product: enough for two vector registers of any width in use.
const LANES: usize = 32;

/// `a . b`, in [`LANES`] partial sums.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (a_wide, a_rest) = a.as_chunks::<LANES>();
    let (b_wide, b_rest) = b.as_chunks::<LANES>();
    for (x, y) in a_wide.iter().zip(b_wide) {
        for i in 0..LANES {
            sums[i] += x[i] * y[i];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            sums[i] += sums[i + width];
        }
        width /= 2;
    }
    sums[0] + rest
}

/// `|a|^2` in binary64.
pub(super) fn sum_squares(a: &[f32]) -> f64 {
    a.iter().map(|&x| f64::from(x) * f64::from(x)).sum()
}

/// `out = W x + b`.
pub(super) fn linear(layer: &Linear, x: &[f32], out: &mut Vec<f32>) {
    out.resize(layer.rows, 0.0);
    let rows = layer.weight.chunks_exact(layer.cols);
    if layer.weight.len() >= PARALLEL_MACS {
        out.par_iter_mut()
            .zip(layer.weight.par_chunks_exact(layer.cols))
            .for_each(|(o, row)| *o = dot(row, x));
    } else {
        for (o, row) in out.iter_mut().zip(rows) {
            *o = dot(row, x);
        }
    }
    if let Some(bias) = &layer.bias {
        add(out, bias);
    }
}

/// `a += b`.
pub(super) fn add(a: &mut [f32], b: &[f32]) {
    for (x, y) in a.iter_mut().zip(b) {
        *x += y;
    }
}

/// `out = norm(x)`.
pub(super) fn normalise(kind: Norm, weights: &NormWeights, x: &[f32], out: &mut Vec<f32>) {
    out.clear();
    let n = x.len() as f64;
    match kind {
        Norm::Rms { eps } => {
            let scale = 1.0 / (sum_squares(x) / n + f64::from(eps)).sqrt();
            let scale = scale as f32;
            out.extend(x.iter().zip(&weights.gamma).map(|(v, g)| g * (v * scale)));
        }
        Norm::Layer { eps } => {
            let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
            let variance = x.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
            let scale = 1.0 / (variance + f64::from(eps)).sqrt();
            out.extend(
                x.iter().zip(&weights.gamma).map(|(&v, &g)| ((f64::from(v) - mean) * scale) as f32 * g),
            );
        }
    }
    if let Some(beta) = &weights.beta {
        add(out, beta);
    }
}

/// Cosine and sine of the rotary encoding at one position, for half a head.
pub(super) struct Rotation {
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Rotation {
    /// The angles are rounded to binary32 before their cosine is taken, as the reference implementation does:
    /// at position 1,000 that rounding is visible in the fourth digit.
    pub(super) fn new(frequencies: &[f32], position: usize) -> Self {
        let angles = frequencies.iter().map(|f| f64::from(position as f32 * f));
        Self {
            cos: angles.clone().map(|a| a.cos() as f32).collect(),
            sin: angles.map(|a| a.sin() as f32).collect(),
        }
    }

    /// The inverse frequencies of a head.
    pub(super) fn frequencies(theta: f32, head_dim: usize) -> Vec<f32> {
        (0..head_dim / 2)
            .map(|i| {
                let exponent = (2 * i) as f32 / head_dim as f32;
                1.0 / f64::from(theta).powf(f64::from(exponent)) as f32
            })
            .collect()
    }

    /// Rotates every head of `x`: element `i` pairs with element `i + head_dim / 2`.
    pub(super) fn apply(&self, x: &mut [f32]) {
        let half = self.cos.len();
        for head in x.chunks_exact_mut(2 * half) {
            let (low, high) = head.split_at_mut(half);
            for i in 0..half {
                let (a, b) = (low[i], high[i]);
                low[i] = a * self.cos[i] - b * self.sin[i];
                high[i] = b * self.cos[i] + a * self.sin[i];
            }
        }
    }
}

/// Softmax attention of every query head over the tokens that its key/value head reads.
pub(super) fn attend(
    q: &[f32],
    (keys, values): (&[f32], &[f32]),
    [heads, kv_heads, head_dim]: [usize; 3],
    read: &[Vec<Range<u32>>],
    scores: &mut Vec<f32>,
    out: &mut Vec<f32>,
) {
    let stride = kv_heads * head_dim;
    let scale = 1.0 / (head_dim as f32).sqrt();
    out.clear();
    out.resize(heads * head_dim, 0.0);
    for (h, (q, out)) in q.chunks_exact(head_dim).zip(out.chunks_exact_mut(head_dim)).enumerate() {
        let kv_head = h / (heads / kv_heads);
        let rows =
            || read[kv_head].iter().flat_map(|r| r.clone()).map(|t| t as usize * stride + kv_head * head_dim);
        scores.clear();
        scores.extend(rows().map(|at| dot(q, &keys[at..at + head_dim]) * scale));
        let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut total = 0.0f32;
        for s in scores.iter_mut() {
            *s = (*s - top).exp();
            total += *s;
        }
        let inverse = 1.0 / total;
        for (p, at) in scores.iter().zip(rows()) {
            let weight = p * inverse;
            for (o, v) in out.iter_mut().zip(&values[at..at + head_dim]) {
                *o += weight * v;
            }
        }
    }
}

/// `silu(gate) * up`, into `gate`.
pub(super) fn swiglu(gate: &mut [f32], up: &[f32]) {
    for (g, u) in gate.iter_mut().zip(up) {
        *g = *g / (1.0 + (-*g).exp()) * u;
    }
}

/// The exact GELU.
pub(super) fn gelu(x: &mut [f32]) {
    for v in x {
        *v *= 0.5 * (1.0 + libm::erff(*v * std::f32::consts::FRAC_1_SQRT_2));
    }
}
