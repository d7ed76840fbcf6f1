//! The oracle against a decoder written another way, and the semantics of replay.
#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use fastcar_host::model::testing::{LlamaSpec, Random};
use fastcar_host::model::{LinearRole, Model, NormRole};
use fastcar_host::oracle::{Decision, Gate, Hooks, Oracle, OracleError, Replay, Sequence, Tap, TasForm};

fn model(spec: &LlamaSpec) -> Model {
    let dir = tempfile::tempdir().unwrap();
    spec.write(dir.path()).unwrap();
    // The mapping outlives the directory entry.
    Model::open(dir.path()).unwrap()
}

fn small() -> LlamaSpec {
    LlamaSpec { layers: 3, heads: 4, kv_heads: 2, rope_theta: 100.0, ..LlamaSpec::default() }
}

fn tokens(n: usize, seed: u64) -> Vec<u32> {
    let mut random = Random::new(seed);
    (0..n).map(|_| random.below(64) as u32).collect()
}

fn assert_close(a: &[f32], b: &[f32], tolerance: f32) {
    assert_eq!(a.len(), b.len());
    let scale = b.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    for (i, (x, y)) in a.iter().zip(b).enumerate() {
        assert!((x - y).abs() <= tolerance * scale, "element {i}: {x} and {y}, scale {scale}");
    }
}

/// A LLaMA in binary64, without caches: every sequence from the start. `replay` says which (layer, position)
/// take the MLP output of one period before.
mod plain {
    use super::*;

    type M = Vec<Vec<f64>>;

    fn matvec(model: &Model, layer: usize, role: LinearRole, x: &[f64]) -> Vec<f64> {
        let m = model.weights(layer).unwrap().linear(role).unwrap().load().unwrap();
        let mut y: Vec<f64> = m
            .weight
            .chunks(m.cols)
            .map(|row| row.iter().zip(x).map(|(&w, v)| f64::from(w) * v).sum())
            .collect();
        if let Some(bias) = m.bias {
            y.iter_mut().zip(bias).for_each(|(y, b)| *y += f64::from(b));
        }
        y
    }

    fn rms(x: &[f64], gamma: &[f32]) -> Vec<f64> {
        let mean = x.iter().map(|v| v * v).sum::<f64>() / x.len() as f64;
        x.iter().zip(gamma).map(|(v, &g)| v / (mean + 1e-5).sqrt() * f64::from(g)).collect()
    }

    fn rotate(x: &[f64], position: usize, theta: f64, head_dim: usize) -> Vec<f64> {
        let mut y = x.to_vec();
        for head in y.chunks_mut(head_dim) {
            let old = head.to_vec();
            for (i, v) in head.iter_mut().enumerate() {
                let half = head_dim / 2;
                let angle = position as f64 * theta.powf(-((2 * (i % half)) as f64) / head_dim as f64);
                let partner = if i < half { -old[i + half] } else { old[i - half] };
                *v = old[i] * angle.cos() + partner * angle.sin();
            }
        }
        y
    }

    pub struct Run {
        pub logits: M,
        /// By layer and position, where there is a position one period earlier.
        pub tas: Vec<Vec<[Option<f64>; 2]>>,
    }

    pub fn run(model: &Model, tokens: &[u32], period: usize, replay: &dyn Fn(usize, usize) -> bool) -> Run {
        let spec = *model.body().spec();
        let (heads, kv, dim) = (spec.heads(), spec.kv_heads(), spec.head_dim());
        let theta = f64::from(spec.rope_theta().unwrap());
        let embedding = model.body().embedding().unwrap().unwrap().load().unwrap();
        let mut xs: M = tokens
            .iter()
            .map(|&t| embedding.weight[t as usize * 64..][..64].iter().map(|&v| f64::from(v)).collect())
            .collect();
        let mut tas = Vec::new();
        for l in 0..spec.layers() {
            let weights = model.weights(l).unwrap();
            let input = weights.norm(NormRole::Input).unwrap().gamma;
            let post = weights.norm(NormRole::PostAttention).unwrap().gamma;
            let normed: M = xs.iter().map(|x| rms(x, &input)).collect();
            let raw: M = normed.iter().map(|x| matvec(model, l, LinearRole::Q, x)).collect();
            let q: M = raw.iter().enumerate().map(|(t, x)| rotate(x, t, theta, dim)).collect();
            let k: M = (normed.iter().enumerate())
                .map(|(t, x)| rotate(&matvec(model, l, LinearRole::K, x), t, theta, dim))
                .collect();
            let v: M = normed.iter().map(|x| matvec(model, l, LinearRole::V, x)).collect();
            let score = |q: &[f64], k: &[f64], h: usize| -> f64 {
                let g = h / (heads / kv);
                (0..dim).map(|c| q[h * dim + c] * k[g * dim + c]).sum::<f64>() / (dim as f64).sqrt()
            };
            let mean = |q: &[f64], k: &[f64]| (0..heads).map(|h| score(q, k, h)).sum::<f64>() / heads as f64;
            tas.push(
                (0..xs.len())
                    .map(|t| {
                        let past = t.checked_sub(period);
                        [&raw, &q].map(|q| past.map(|p| mean(&q[t], &k[p])))
                    })
                    .collect(),
            );
            let mut outputs: M = Vec::new();
            for t in 0..xs.len() {
                let mut attended = vec![0.0; heads * dim];
                for h in 0..heads {
                    let weights: Vec<f64> = (0..=t).map(|p| score(&q[t], &k[p], h).exp()).collect();
                    let total: f64 = weights.iter().sum();
                    for (p, w) in weights.iter().enumerate() {
                        for c in 0..dim {
                            attended[h * dim + c] += w / total * v[p][h / (heads / kv) * dim + c];
                        }
                    }
                }
                let o = matvec(model, l, LinearRole::O, &attended);
                xs[t].iter_mut().zip(o).for_each(|(x, o)| *x += o);
                let y = if replay(l, t) {
                    outputs[t - period].clone()
                } else {
                    let m = rms(&xs[t], &post);
                    let gate = matvec(model, l, LinearRole::Gate, &m);
                    let up = matvec(model, l, LinearRole::Up, &m);
                    let inner: Vec<f64> =
                        gate.iter().zip(up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
                    matvec(model, l, LinearRole::Down, &inner)
                };
                xs[t].iter_mut().zip(&y).for_each(|(x, y)| *x += y);
                outputs.push(y);
            }
        }
        let norm = model.body().final_norm().unwrap().gamma;
        let head = model.body().head().unwrap().load().unwrap();
        let logits = xs
            .iter()
            .map(|x| {
                let x = rms(x, &norm);
                head.weight
                    .chunks(64)
                    .map(|r| r.iter().zip(&x).map(|(&w, v)| f64::from(w) * v).sum())
                    .collect()
            })
            .collect();
        Run { logits, tas }
    }
}

fn single(row: &[f64]) -> Vec<f32> {
    row.iter().map(|&v| v as f32).collect()
}

fn no_thresholds(layers: usize) -> Gate {
    Gate::Tas { form: TasForm::Code, thresholds: vec![None; layers] }
}

fn tas_gate(threshold: f32) -> Gate {
    Gate::Tas { form: TasForm::Code, thresholds: vec![Some(threshold); 3] }
}

fn delta_gate(threshold: f32) -> Gate {
    Gate::InputDelta { thresholds: vec![Some(threshold); 3] }
}

#[test]
fn dense_steps_equal_the_plain_decoder() {
    for spec in [
        small(),
        LlamaSpec { attention_bias: true, mlp_bias: true, tied: true, ..small() },
        LlamaSpec { heads: 2, kv_heads: 1, head_dim: 96, ..small() },
    ] {
        let model = model(&spec);
        let oracle = Oracle::new(&model).unwrap();
        let tokens = tokens(40, 3);
        let expected = plain::run(&model, &tokens, 8, &|_, _| false);
        let mut sequence = oracle.sequence();
        for (&token, row) in tokens.iter().zip(&expected.logits) {
            assert_close(sequence.step(token).unwrap(), &single(row), 2e-5);
        }
        // A prompt at once, and vectors in place of tokens, are the same computation.
        let mut other = oracle.sequence();
        other.prefill(&tokens[..20]).unwrap();
        let table = model.body().embedding().unwrap().unwrap().load().unwrap();
        for &t in &tokens[20..] {
            other.step_embedding(&table.weight[t as usize * 64..][..64]).unwrap();
        }
        assert_eq!(other.logits(), sequence.logits());
        assert_eq!((other.hidden(), other.position()), (sequence.hidden(), 40));
    }
}

/// Runs a prompt and then the rest; gives logits and decisions of every step of the rest.
fn run(sequence: &mut Sequence<'_>, prompt: &[u32], rest: &[u32]) -> Vec<(Vec<f32>, Vec<Decision>)> {
    sequence.prefill(prompt).unwrap();
    rest.iter()
        .map(|&t| {
            let logits = sequence.step(t).unwrap().to_vec();
            (logits, sequence.decisions().to_vec())
        })
        .collect()
}

#[test]
fn scores_and_replayed_logits_equal_the_plain_decoder() {
    let model = model(&small());
    let oracle = Oracle::new(&model).unwrap();
    let (prompt, rest) = (tokens(5, 8), tokens(40, 9));
    let all: Vec<u32> = prompt.iter().chain(&rest).copied().collect();
    for (form, column) in [(TasForm::Code, 0), (TasForm::Paper, 1)] {
        // A dense layer between two that replay.
        let gate = Gate::Tas { form, thresholds: vec![Some(0.1), None, Some(-0.2)] };
        let mut sequence = oracle.sequence_with(Replay::new(8, gate).unwrap()).unwrap();
        let steps = run(&mut sequence, &prompt, &rest);
        let replayed = |l: usize, t: usize| t >= 5 && steps[t - 5].1[l].replayed;
        let expected = plain::run(&model, &all, 8, &replayed);
        let mut count = [0; 3];
        for (i, (logits, decisions)) in steps.iter().enumerate() {
            assert_close(logits, &single(&expected.logits[5 + i]), 2e-5);
            for (l, d) in decisions.iter().enumerate() {
                assert_eq!(d.eligible, i >= 8);
                assert_eq!(d.score.is_some(), i >= 8);
                if let Some(score) = d.score {
                    let exact = expected.tas[l][5 + i][column].unwrap();
                    assert!((f64::from(score) - exact).abs() < 1e-4, "{score} {exact}");
                    let threshold = [0.1, f32::INFINITY, -0.2][l];
                    assert_eq!(d.replayed, score > threshold);
                }
                count[l] += usize::from(d.replayed);
            }
        }
        assert_eq!(count[1], 0);
        assert!(count[0] > 2 && count[0] < 30 && count[2] > 2, "{count:?}: the thresholds decide nothing");
    }
}

#[test]
fn the_forms_differ_by_the_rotation_alone() {
    let model = model(&small());
    let oracle = Oracle::new(&model).unwrap();
    let rest = tokens(12, 4);
    let score = |form| {
        let gate = Gate::Dense { form };
        let mut s = oracle.sequence_with(Replay::new(8, gate).unwrap()).unwrap();
        let steps = run(&mut s, &[], &rest);
        steps.last().unwrap().1[0].score.unwrap()
    };
    assert_ne!(score(TasForm::Code), score(TasForm::Paper));
}

#[test]
fn extreme_thresholds() {
    let model = model(&small());
    let oracle = Oracle::new(&model).unwrap();
    let (prompt, rest) = (tokens(3, 1), tokens(30, 2));
    let dense = {
        let mut s = oracle.sequence();
        run(&mut s, &prompt, &rest)
    };
    for (all, none) in [
        (tas_gate(f32::NEG_INFINITY), tas_gate(f32::INFINITY)),
        (delta_gate(f32::INFINITY), delta_gate(0.0)),
        (tas_gate(f32::NEG_INFINITY), delta_gate(-1.0)),
        (tas_gate(f32::NEG_INFINITY), no_thresholds(3)),
        (tas_gate(f32::NEG_INFINITY), tas_gate(f32::NAN)),
        (tas_gate(f32::NEG_INFINITY), Gate::Dense { form: TasForm::Code }),
    ] {
        let mut s = oracle.sequence_with(Replay::new(10, all).unwrap()).unwrap();
        for (i, (_, decisions)) in run(&mut s, &prompt, &rest).iter().enumerate() {
            for d in decisions {
                assert_eq!((d.eligible, d.replayed), (i >= 10, i >= 10));
                assert_eq!(d.age as usize, i / 10, "the chain grows by one each frame");
            }
        }
        let mut s = oracle.sequence_with(Replay::new(10, none).unwrap()).unwrap();
        let computed = run(&mut s, &prompt, &rest);
        assert!(computed.iter().flat_map(|(_, d)| d).all(|d| !d.replayed && d.age == 0));
        for ((a, _), (b, _)) in computed.iter().zip(&dense) {
            assert_eq!(a, b, "without replay nothing changes");
        }
    }
}

/// Collects what a tap shows.
struct Watch {
    tap: Tap,
    seen: Vec<Vec<f32>>,
    force: Option<bool>,
    asked: usize,
}

impl Watch {
    fn new(tap: Tap) -> Self {
        Self { tap, seen: Vec::new(), force: None, asked: 0 }
    }
}

impl Hooks for Watch {
    fn tap(&mut self, layer: usize, tap: Tap, values: &[f32]) {
        if tap == self.tap {
            assert_eq!(layer, self.seen.len() % 3);
            self.seen.push(values.to_vec());
        }
    }

    fn decide(&mut self, _: usize, decision: &Decision) -> Option<bool> {
        assert!(decision.eligible);
        self.asked += 1;
        self.force
    }
}

#[test]
fn replayed_outputs_are_stored_again() {
    let model = model(&small());
    let oracle = Oracle::new(&model).unwrap();
    let rest = tokens(24, 5);
    let policy = Replay::new(6, tas_gate(f32::NEG_INFINITY)).unwrap();
    let mut s = oracle.sequence_with(policy).unwrap();
    let mut outputs: Vec<Vec<Vec<f32>>> = Vec::new();
    for &t in &rest {
        let mut watch = Watch::new(Tap::MlpOutput);
        s.step_with(t, &mut watch).unwrap();
        outputs.push(watch.seen);
    }
    // All later frames use what the first frame computed.
    for t in 6..24 {
        assert_eq!(outputs[t], outputs[t % 6]);
    }
    for t in 1..6 {
        assert_ne!(outputs[t], outputs[t - 1]);
    }

    // A position that computes in between passes on what it computed.
    let mut s = oracle.sequence_with(Replay::new(6, tas_gate(f32::NEG_INFINITY)).unwrap()).unwrap();
    let mut outputs: Vec<Vec<Vec<f32>>> = Vec::new();
    for (i, &t) in rest.iter().enumerate() {
        let mut watch = Watch::new(Tap::MlpOutput);
        watch.force = (i == 8).then_some(false);
        s.step_with(t, &mut watch).unwrap();
        assert_eq!(
            s.decisions()[1].age as usize,
            if i == 8 {
                0
            } else if i % 6 == 2 && i > 8 {
                (i - 8) / 6
            } else {
                i / 6
            }
        );
        outputs.push(watch.seen);
    }
    assert_ne!(outputs[8], outputs[2]);
    assert_eq!(outputs[14], outputs[8]);
    assert_eq!(outputs[20], outputs[8]);
    assert_eq!(outputs[21], outputs[3]);
}

#[test]
fn hooks_overrule_the_gate_only_where_it_may_decide() {
    let model = model(&small());
    let oracle = Oracle::new(&model).unwrap();
    let rest = tokens(20, 6);
    for (gate, force) in [(tas_gate(f32::INFINITY), true), (delta_gate(f32::INFINITY), false)] {
        let mut s = oracle.sequence_with(Replay::new(10, gate).unwrap()).unwrap();
        for (i, &t) in rest.iter().enumerate() {
            let mut watch = Watch::new(Tap::LayerOutput);
            watch.force = Some(force);
            s.step_with(t, &mut watch).unwrap();
            assert_eq!((watch.asked, watch.seen.len()), (if i < 10 { 0 } else { 3 }, 3));
            assert!(s.decisions().iter().all(|d| d.replayed == (force && i >= 10)));
        }
    }
}

#[test]
fn identical_frames_are_replayed_exactly() {
    // One token, repeated: whatever attention weighs, it averages equal values, so the MLP's input is the same at
    // every position but for the rounding of the average.
    let model = model(&small());
    let oracle = Oracle::new(&model).unwrap();
    let mut dense = oracle.sequence();
    let mut replayed = oracle.sequence_with(Replay::new(1, tas_gate(f32::NEG_INFINITY)).unwrap()).unwrap();
    let mut near = oracle.sequence_with(Replay::new(1, delta_gate(1e-5)).unwrap()).unwrap();
    for i in 0..30 {
        let expected = dense.step(17).unwrap().to_vec();
        assert_close(replayed.step(17).unwrap(), &expected, 1e-5);
        assert_close(near.step(17).unwrap(), &expected, 1e-5);
        if i > 0 {
            assert!(replayed.decisions().iter().all(|d| d.replayed));
            assert!(near.decisions().iter().all(|d| d.replayed && d.score.unwrap() < 1e-6));
        }
    }
}

#[test]
fn input_delta_measures_from_the_input_that_was_computed() {
    let model = model(&small());
    let oracle = Oracle::new(&model).unwrap();
    let rest = tokens(40, 12);
    let mut s = oracle.sequence_with(Replay::new(8, delta_gate(1.2)).unwrap()).unwrap();
    // By layer and place in the frame: the input at which the output in use was computed.
    let mut reference = vec![vec![Vec::new(); 8]; 3];
    let mut count = [0; 2];
    for (i, &t) in rest.iter().enumerate() {
        let mut watch = Watch::new(Tap::MlpInput);
        s.step_with(t, &mut watch).unwrap();
        for (l, d) in s.decisions().iter().enumerate() {
            let input = &watch.seen[l];
            if i >= 8 {
                let square = |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
                let change: Vec<f32> = input.iter().zip(&reference[l][i % 8]).map(|(a, b)| a - b).collect();
                let expected = (square(&change) / square(input)).sqrt();
                assert!((f64::from(d.score.unwrap()) - expected).abs() < 1e-5);
                assert_eq!(d.replayed, d.score.unwrap() < 1.2);
                count[usize::from(d.replayed)] += 1;
            }
            if !d.replayed {
                reference[l][i % 8] = input.clone();
            }
        }
    }
    assert!(count[0] > 5 && count[1] > 5, "{count:?}: the threshold decides nothing");
}

#[test]
fn an_age_limit_recomputes() {
    let model = model(&small());
    let oracle = Oracle::new(&model).unwrap();
    for limit in [0, 1, 2] {
        let policy = Replay::new(4, tas_gate(f32::NEG_INFINITY)).unwrap().with_max_age(limit);
        let mut s = oracle.sequence_with(policy).unwrap();
        for (i, (_, decisions)) in run(&mut s, &tokens(2, 1), &tokens(32, 2)).iter().enumerate() {
            let age = (i / 4) as u32 % (limit + 1);
            assert!(
                decisions.iter().all(|d| d.age == age && d.replayed == (age > 0)),
                "step {i}, limit {limit}"
            );
        }
    }
}

#[test]
fn a_clone_is_a_snapshot() {
    let model = model(&small());
    let oracle = Oracle::new(&model).unwrap();
    let rest = tokens(30, 21);
    let mut s = oracle.sequence_with(Replay::new(5, tas_gate(0.0)).unwrap()).unwrap();
    run(&mut s, &tokens(4, 20), &rest[..12]);
    let mut copy = s.clone();
    for &t in &rest[12..] {
        let a = s.step(t).unwrap().to_vec();
        assert_eq!(a, copy.step(t).unwrap());
        assert_eq!(s.decisions(), copy.decisions());
    }
}

#[test]
fn refusals() {
    let model = model(&LlamaSpec { max_positions: 4, ..small() });
    let oracle = Oracle::new(&model).unwrap();
    let say = |r: Result<&[f32], OracleError>| r.unwrap_err().to_string();
    let mut s = oracle.sequence();
    assert_eq!(say(s.step(64)), "token 64 is outside the vocabulary of 64; pass a token from 0 to 63");
    assert_eq!(
        say(s.step_embedding(&[0.0; 63])),
        "an input of 63 values was given where the model's width is 64; pass one whole vector"
    );
    assert_eq!(s.position(), 0);
    s.prefill(&[1, 2]).unwrap();
    assert_eq!(
        say(s.prefill(&[1])),
        "the prompt came at position 2, after the video began; a sequence takes its prompt first"
    );
    s.step(1).unwrap();
    s.step(1).unwrap();
    assert_eq!(
        say(s.step(1)),
        "the sequence already has 4 positions, the model's limit; start another sequence"
    );
    assert_eq!(
        Replay::new(0, no_thresholds(3)).unwrap_err().to_string(),
        "the frame period is 0; it must be the number of positions of a frame, at least 1"
    );
    assert_eq!(
        oracle.sequence_with(Replay::new(1, no_thresholds(2)).unwrap()).unwrap_err().to_string(),
        "2 thresholds were given for 3 layers; give one per layer, None for a dense one"
    );
    assert_eq!(
        oracle.code_embedding(&[]).unwrap_err().to_string(),
        "the model has no residual codes; only VILA-U models have a depth transformer"
    );
}

#[test]
fn weights_that_are_not_finite_are_refused_on_loading() {
    use fastcar_host::model::testing::WeightFormat;
    let dir = tempfile::tempdir().unwrap();
    let spec = small();
    spec.write(dir.path()).unwrap();
    let mut tensors = spec.tensors();
    let mut values = vec![0.5; 64];
    values[9] = f32::NAN;
    tensors.floats("model.layers.2.input_layernorm.weight", &[64], WeightFormat::F32, &values);
    tensors.write(dir.path(), 1).unwrap();
    let error = Oracle::new(&Model::open(dir.path()).unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tensor model.layers.2.input_layernorm.weight holds NaN at element 9; weights must be finite, the \
         checkpoint is damaged or was saved after training diverged"
    );
}

/// Tokens per second at the size of the shipped video model; printed, with a floor far below what is
/// expected.
#[test]
fn throughput() {
    let spec = LlamaSpec {
        layers: 4,
        hidden: 128,
        heads: 4,
        kv_heads: 4,
        ffn: 352,
        vocab: 288,
        max_positions: 1024,
        ..LlamaSpec::default()
    };
    let model = model(&spec);
    let oracle = Oracle::new(&model).unwrap();
    let mut s = oracle.sequence();
    let begun = std::time::Instant::now();
    for t in 0..516 {
        s.step(t % 256).unwrap();
    }
    let rate = 516.0 / begun.elapsed().as_secs_f64();
    println!("{rate:.0} tokens per second over 516 positions, 4 layers of width 128");
    assert!(rate > 100.0, "{rate}");
}
