//! The oracle's residual codes and depth transformer against a decoder in binary64 that recomputes
//! everything.
#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use fastcar_host::model::testing::{Random, VilaUSpec};
use fastcar_host::model::{Linear, LinearRole, LinearView, Model, NormRole, NormWeights};
use fastcar_host::oracle::{Gate, Oracle, OracleError, Replay, TasForm};

fn model(spec: &VilaUSpec) -> Model {
    let dir = tempfile::tempdir().unwrap();
    spec.write(dir.path()).unwrap();
    Model::open(dir.path()).unwrap()
}

fn apply(m: &Linear, x: &[f64]) -> Vec<f64> {
    let bias = m.bias.clone().unwrap_or_else(|| vec![0.0; m.rows]);
    let row = |r: &[f32]| r.iter().zip(x).map(|(&w, v)| f64::from(w) * v).sum::<f64>();
    m.weight.chunks(m.cols).zip(bias).map(|(r, b)| row(r) + f64::from(b)).collect()
}

fn load(view: LinearView<'_>) -> Linear {
    view.load().unwrap()
}

fn layer_norm(x: &[f64], w: &NormWeights) -> Vec<f64> {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    let beta = w.beta.as_ref().unwrap();
    x.iter()
        .zip(w.gamma.iter().zip(beta))
        .map(|(v, (&g, &b))| (v - mean) / (variance + 1e-5).sqrt() * f64::from(g) + f64::from(b))
        .collect()
}

/// The Gaussian's distribution function by numerical integration, so that it shares nothing with the oracle's
/// `erf`.
fn gelu(x: f64) -> f64 {
    let steps = 4000;
    let h = x / f64::from(steps);
    let density = |t: f64| (-t * t / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let area: f64 = (0..steps).map(|i| density((f64::from(i) + 0.5) * h) * h).sum();
    x * (0.5 + area)
}

fn sum(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(x, y)| x + y).collect()
}

/// Embeddings of the codes, one by one.
fn embeddings(model: &Model, codes: &[u32]) -> Vec<Vec<f64>> {
    let v = model.vila_u().unwrap();
    (codes.iter().enumerate())
        .map(|(d, &c)| {
            let table = load(v.code_embedding(d).unwrap());
            table.weight[c as usize * table.cols..][..table.cols].iter().map(|&x| f64::from(x)).collect()
        })
        .collect()
}

fn plain_depth_logits(model: &Model, hidden: &[f32], codes: &[u32]) -> Vec<Vec<f64>> {
    let v = model.vila_u().unwrap();
    let hidden: Vec<f64> = hidden.iter().map(|&x| f64::from(x)).collect();
    let mut xs = vec![apply(&load(v.input_from_body().unwrap()), &hidden)];
    let mut total = vec![0.0; v.config().code_width()];
    for e in &embeddings(model, codes)[..codes.len() - 1] {
        total = sum(&total, e);
        xs.push(apply(&load(v.input_from_codes().unwrap()), &total));
    }
    let depth = v.depth();
    let positions = depth.positions().unwrap().unwrap();
    let width = depth.spec().hidden();
    for (t, x) in xs.iter_mut().enumerate() {
        let p: Vec<f64> = positions[t * width..][..width].iter().map(|&v| f64::from(v)).collect();
        *x = sum(x, &p);
    }
    let (heads, dim) = (depth.spec().heads(), depth.spec().head_dim());
    for l in 0..depth.spec().layers() {
        let w = depth.layer(l).unwrap();
        let m = |role| load(w.linear(role).unwrap());
        let first = w.norm(NormRole::Input).unwrap();
        let second = w.norm(NormRole::PostAttention).unwrap();
        let all = |role| xs.iter().map(|x| apply(&m(role), &layer_norm(x, &first))).collect::<Vec<_>>();
        let (q, k, v) = (all(LinearRole::Q), all(LinearRole::K), all(LinearRole::V));
        for t in 0..xs.len() {
            let mut attended = vec![0.0; width];
            for h in 0..heads {
                let at = h * dim..(h + 1) * dim;
                let weight = |p: usize| {
                    let s: f64 = q[t][at.clone()].iter().zip(&k[p][at.clone()]).map(|(a, b)| a * b).sum();
                    (s / (dim as f64).sqrt()).exp()
                };
                let total: f64 = (0..=t).map(weight).sum();
                for (p, value) in v.iter().enumerate().take(t + 1) {
                    for c in at.clone() {
                        attended[c] += weight(p) / total * value[c];
                    }
                }
            }
            xs[t] = sum(&xs[t], &apply(&m(LinearRole::O), &attended));
            let inner: Vec<f64> =
                apply(&m(LinearRole::Fc1), &layer_norm(&xs[t], &second)).into_iter().map(gelu).collect();
            xs[t] = sum(&xs[t], &apply(&m(LinearRole::Fc2), &inner));
        }
    }
    let (norm, head) = (depth.final_norm().unwrap(), load(depth.head().unwrap()));
    xs.iter().map(|x| apply(&head, &layer_norm(x, &norm))).collect()
}

fn assert_close(found: &[f32], expected: &[f64]) {
    let scale = expected.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!((f64::from(*a) - b).abs() <= 2e-5 * scale, "{a} and {b}, scale {scale}");
    }
}

#[test]
fn depth_logits_equal_the_plain_decoder() {
    for shared_codebook in [true, false] {
        let model = model(&VilaUSpec { shared_codebook, ..VilaUSpec::default() });
        let oracle = Oracle::new(&model).unwrap();
        let mut random = Random::new(5);
        for _ in 0..3 {
            let hidden = random.vector(64, 1.0);
            let codes: Vec<u32> = (0..4).map(|_| random.below(40) as u32).collect();
            let found = oracle.depth_logits(&hidden, &codes).unwrap();
            let expected = plain_depth_logits(&model, &hidden, &codes);
            assert_eq!(found.len(), 4);
            found.iter().zip(&expected).for_each(|(f, e)| assert_close(f, e));

            // One code at a time is the same.
            let mut sequence = oracle.depth(&hidden).unwrap();
            assert_eq!(sequence.logits(), found[0]);
            for (d, &code) in codes[..3].iter().enumerate() {
                assert_eq!(sequence.push(code).unwrap(), found[d + 1]);
            }
            assert!(matches!(sequence.push(codes[3]), Err(OracleError::Positions { limit: 4 })));
        }
    }
}

#[test]
fn the_next_input_is_the_projected_sum_of_codes() {
    for (projector, code_width) in [("linear", 32), ("mlp2x_gelu", 32), ("identity", 64)] {
        let model =
            model(&VilaUSpec { projector, code_width, shared_codebook: false, ..VilaUSpec::default() });
        let oracle = Oracle::new(&model).unwrap();
        let codes = [3, 39, 0, 17];
        let mut x = embeddings(&model, &codes).iter().fold(vec![0.0; code_width], |a, b| sum(&a, b));
        for (i, layer) in model.vila_u().unwrap().projector().unwrap().iter().enumerate() {
            if i > 0 {
                x = x.into_iter().map(gelu).collect();
            }
            x = apply(&layer.load().unwrap(), &x);
        }
        assert_close(&oracle.code_embedding(&codes).unwrap(), &x);
    }
}

#[test]
fn a_video_is_decoded_position_by_position() {
    let spec = VilaUSpec::default();
    let model = model(&spec);
    let oracle = Oracle::new(&model).unwrap();
    let gate = Gate::Tas { form: TasForm::Code, thresholds: vec![Some(f32::NEG_INFINITY); 2] };
    let mut body = oracle.sequence_with(Replay::new(model.frame_period().unwrap(), gate).unwrap()).unwrap();
    body.prefill(&[5, 6, 7]).unwrap();
    let mut video = Vec::new();
    for position in 0..12 {
        let mut depth = oracle.depth(body.hidden()).unwrap();
        let mut codes = Vec::new();
        loop {
            let best = depth.logits().iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
            codes.push(best as u32);
            if codes.len() == 4 {
                break;
            }
            depth.push(best as u32).unwrap();
        }
        body.advance(&oracle.code_embedding(&codes).unwrap(), &mut ()).unwrap();
        // The token fed at step 4 is the first of the second frame.
        assert!(body.decisions().iter().all(|d| d.replayed == (position >= 4)));
        video.push(codes);
    }
    assert_eq!((video.len(), body.position()), (12, 15));
}

#[test]
fn refusals() {
    let model = model(&VilaUSpec::default());
    let oracle = Oracle::new(&model).unwrap();
    let hidden = vec![0.0; 64];
    let say = |e: OracleError| e.to_string();
    assert_eq!(
        say(oracle.depth_logits(&hidden, &[1, 2, 40, 3]).unwrap_err()),
        "code 40 at depth 2 is outside the codebook of 40; pass a code from 0 to 39"
    );
    assert_eq!(
        say(oracle.code_embedding(&[1, 2, 3]).unwrap_err()),
        "3 codes were given where a position has 4; pass them all, first depth first"
    );
    assert!(matches!(oracle.depth(&hidden[..63]), Err(OracleError::Width { found: 63, hidden: 64 })));
    assert!(matches!(oracle.depth_logits(&hidden, &[0; 5]), Err(OracleError::CodeCount { .. })));
}
