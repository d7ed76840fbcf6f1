//! One transformer in memory, and one step of it.

use super::ops::{self, Rotation};
use super::replay::{Decision, Replay, Ring, relative_distance, temporal_score};
use super::{Hooks, OracleError, Tap};
use crate::attention::{Attention, Place};
use crate::model::{
    Activation, Linear, LinearRole, ModelError, NormRole, NormWeights, Transformer, TransformerSpec,
};
use crate::policy::TasForm;
use std::ops::Range;

/// The weights of a transformer, all of them in binary32.
#[derive(Debug)]
pub(super) struct Net {
    pub(super) spec: TransformerSpec,
    layers: Vec<Layer>,
    final_norm: NormWeights,
    pub(super) embedding: Option<Linear>,
    /// `None` where the embedding serves.
    head: Option<Linear>,
    positions: Option<Vec<f32>>,
    frequencies: Option<Vec<f32>>,
}

#[derive(Debug)]
struct Layer {
    input_norm: NormWeights,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    post_norm: NormWeights,
    /// `None` in a GELU layer.
    gate: Option<Linear>,
    up: Linear,
    down: Linear,
}

/// What is skipped and what is read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rules<'a> {
    pub(super) replay: Option<&'a Replay>,
    /// Sparse attention, and the positions in a frame.
    pub(super) attention: Option<(&'a Attention, u32)>,
}

impl Rules<'_> {
    /// The tokens that each key/value head of a layer reads at a position.
    fn read(&self, layer: usize, kv_heads: usize, position: usize, prompt: usize) -> Vec<Vec<Range<u32>>> {
        let (token, prompt) = (position as u32, prompt as u32);
        match self.attention {
            None => vec![vec![0..token + 1]; kv_heads],
            Some((attention, period)) => {
                let place = Place { token, prompt, period };
                attention.patterns(layer, kv_heads).iter().map(|p| p.ranges(place)).collect()
            }
        }
    }
}

/// Keys and values of one layer, position after position.
#[derive(Debug, Clone, Default)]
struct Cache {
    keys: Vec<f32>,
    values: Vec<f32>,
}

/// What one sequence keeps between steps.
#[derive(Debug, Clone)]
pub(super) struct State {
    caches: Vec<Cache>,
    rings: Vec<Ring>,
    pub(super) position: usize,
    /// Length of the prompt, from its first token on.
    pub(super) prompt: usize,
    /// Where the video begins, once it has.
    pub(super) video_start: Option<usize>,
    /// After the final norm.
    pub(super) hidden: Vec<f32>,
    pub(super) decisions: Vec<Decision>,
}

/// Vectors of a step, kept to avoid allocating them again.
#[derive(Debug, Clone, Default)]
pub(super) struct Scratch {
    x: Vec<f32>,
    normed: Vec<f32>,
    q: Vec<f32>,
    raw_q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    scores: Vec<f32>,
    attended: Vec<f32>,
    out: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
}

impl Net {
    pub(super) fn load(transformer: &Transformer) -> Result<Self, ModelError> {
        let spec = *transformer.spec();
        let layers = (0..spec.layers())
            .map(|l| {
                let weights = transformer.layer(l)?;
                let load = |role| weights.linear(role)?.load();
                let (gate, up, down) = match spec.activation() {
                    Activation::SwiGlu => {
                        (Some(load(LinearRole::Gate)?), load(LinearRole::Up)?, load(LinearRole::Down)?)
                    }
                    Activation::Gelu => (None, load(LinearRole::Fc1)?, load(LinearRole::Fc2)?),
                };
                Ok(Layer {
                    input_norm: weights.norm(NormRole::Input)?,
                    q: load(LinearRole::Q)?,
                    k: load(LinearRole::K)?,
                    v: load(LinearRole::V)?,
                    o: load(LinearRole::O)?,
                    post_norm: weights.norm(NormRole::PostAttention)?,
                    gate,
                    up,
                    down,
                })
            })
            .collect::<Result<_, ModelError>>()?;
        Ok(Self {
            spec,
            layers,
            final_norm: transformer.final_norm()?,
            embedding: transformer.embedding()?.map(|e| e.load()).transpose()?,
            head: if spec.tied_head() { None } else { Some(transformer.head()?.load()?) },
            positions: transformer.positions()?,
            frequencies: spec.rope_theta().map(|theta| Rotation::frequencies(theta, spec.head_dim())),
        })
    }

    pub(super) fn state(&self) -> State {
        State {
            caches: vec![Cache::default(); self.spec.layers()],
            rings: vec![Ring::default(); self.spec.layers()],
            position: 0,
            prompt: 0,
            video_start: None,
            hidden: Vec::new(),
            decisions: vec![Decision::DENSE; self.spec.layers()],
        }
    }

    /// The input vector of a token.
    pub(super) fn embed(&self, token: u32) -> Result<&[f32], OracleError> {
        let Some(table) = &self.embedding else {
            return Err(OracleError::NoEmbedding { transformer: self.spec.name() });
        };
        let at = token as usize;
        if at >= table.rows {
            return Err(OracleError::Token { token, vocab: table.rows });
        }
        Ok(&table.weight[at * table.cols..(at + 1) * table.cols])
    }

    /// The head applied to the final hidden vector.
    pub(super) fn logits(&self, hidden: &[f32], out: &mut Vec<f32>) {
        match (&self.head, &self.embedding) {
            (Some(head), _) | (None, Some(head)) => ops::linear(head, hidden, out),
            // A transformer without an embedding is never tied.
            (None, None) => out.clear(),
        }
    }

    /// Runs one position.
    pub(super) fn step(
        &self,
        state: &mut State,
        scratch: &mut Scratch,
        input: &[f32],
        rules: Rules<'_>,
        hooks: &mut dyn Hooks,
    ) -> Result<(), OracleError> {
        let spec = &self.spec;
        if input.len() != spec.hidden() {
            return Err(OracleError::Width { found: input.len(), hidden: spec.hidden() });
        }
        if state.position >= spec.max_positions() {
            return Err(OracleError::Positions { limit: spec.max_positions() });
        }
        let position = state.position;
        let s = scratch;
        s.x.clear();
        s.x.extend_from_slice(input);
        if let Some(positions) = &self.positions {
            let at = position * spec.hidden();
            ops::add(&mut s.x, &positions[at..at + spec.hidden()]);
        }
        let rotation = self.frequencies.as_ref().map(|f| Rotation::new(f, position));
        // Where in the video; the prompt runs without a policy.
        let video = rules.replay.map(|replay| (replay, position - state.video_start.unwrap_or(0)));

        for (l, layer) in self.layers.iter().enumerate() {
            ops::normalise(spec.norm(), &layer.input_norm, &s.x, &mut s.normed);
            hooks.tap(l, Tap::AttentionInput, &s.normed);
            ops::linear(&layer.q, &s.normed, &mut s.q);
            ops::linear(&layer.k, &s.normed, &mut s.k);
            ops::linear(&layer.v, &s.normed, &mut s.v);
            s.raw_q.clone_from(&s.q);
            if let Some(rotation) = &rotation {
                rotation.apply(&mut s.q);
                rotation.apply(&mut s.k);
            }
            hooks.tap(l, Tap::RawQuery, &s.raw_q);
            hooks.tap(l, Tap::Query, &s.q);
            hooks.tap(l, Tap::Key, &s.k);
            hooks.tap(l, Tap::Value, &s.v);
            let cache = &mut state.caches[l];
            cache.keys.extend_from_slice(&s.k);
            cache.values.extend_from_slice(&s.v);
            let dims = [spec.heads(), spec.kv_heads(), spec.head_dim()];
            let read = rules.read(l, spec.kv_heads(), position, state.prompt);
            ops::attend(&s.q, (&cache.keys, &cache.values), dims, &read, &mut s.scores, &mut s.attended);
            hooks.tap(l, Tap::Attended, &s.attended);
            ops::linear(&layer.o, &s.attended, &mut s.out);
            ops::add(&mut s.x, &s.out);
            hooks.tap(l, Tap::AfterAttention, &s.x);

            ops::normalise(spec.norm(), &layer.post_norm, &s.x, &mut s.normed);
            hooks.tap(l, Tap::MlpInput, &s.normed);
            let Some((replay, at)) = video else {
                state.decisions[l] = Decision::DENSE;
                layer.mlp(&s.normed, &mut s.gate, &mut s.up, &mut s.out);
                hooks.tap(l, Tap::MlpOutput, &s.out);
                ops::add(&mut s.x, &s.out);
                hooks.tap(l, Tap::LayerOutput, &s.x);
                continue;
            };

            let period = replay.period();
            let eligible = at >= period;
            let cell = state.rings[l].cell(at % period);
            let score = eligible.then(|| match replay.tas_form() {
                Some(form) => {
                    let width = spec.kv_heads() * spec.head_dim();
                    let from = (position - period) * width;
                    let q = match form {
                        TasForm::Code => &s.raw_q,
                        TasForm::Paper => &s.q,
                    };
                    temporal_score(q, &cache.keys[from..from + width], spec.head_dim())
                }
                None => relative_distance(&s.normed, &cell.reference),
            });
            let mut decision = Decision { eligible, score, replayed: false, age: 0 };
            if let Some(score) = score {
                decision.replayed = replay.wants(l, score, cell.age);
                decision.replayed = hooks.decide(l, &decision).unwrap_or(decision.replayed);
            }
            if decision.replayed {
                // The cell already holds the output: it becomes the next frame's, with its reference.
                cell.age += 1;
                decision.age = cell.age;
            } else {
                layer.mlp(&s.normed, &mut s.gate, &mut s.up, &mut cell.output);
                cell.reference.clone_from(&s.normed);
                cell.age = 0;
            }
            state.decisions[l] = decision;
            hooks.tap(l, Tap::MlpOutput, &cell.output);
            ops::add(&mut s.x, &cell.output);
            hooks.tap(l, Tap::LayerOutput, &s.x);
        }
        ops::normalise(spec.norm(), &self.final_norm, &s.x, &mut state.hidden);
        state.position += 1;
        Ok(())
    }
}

impl Layer {
    fn mlp(&self, x: &[f32], gate: &mut Vec<f32>, up: &mut Vec<f32>, out: &mut Vec<f32>) {
        ops::linear(&self.up, x, up);
        match &self.gate {
            Some(matrix) => {
                ops::linear(matrix, x, gate);
                ops::swiglu(gate, up);
                ops::linear(&self.down, gate, out);
            }
            None => {
                ops::gelu(up);
                ops::linear(&self.down, up, out);
            }
        }
    }
}
