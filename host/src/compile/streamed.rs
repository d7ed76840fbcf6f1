//! Programs for models whose weights do not fit the device: each layer in two passes, its weights in windows.
//!
//! What a step needs in any case (embeddings, head, the depth transformer) and as many layers as there is room for stay
//! in memory. The other layers' weights are copied into windows, two for attention and two for the MLP, so that one can
//! be filled while the other is used. Between two passes the residual stream and the MLP's normalised input stand in
//! memory, since on-chip buffers are undefined at the start of a run. A gate decides in the attention pass; the MLP pass
//! repeats the decision by the step table's masks (`gate_host`), so that the weights of a replayed MLP need not come at
//! all. The bits are those of the resident programs.

use super::emit::Between;
use super::passes::{Part, Pass};
use super::{CompileError, CompileOptions, Compiled, Source, State, Storage, slot_records, tokens};
use crate::image::{Addresses, Image};
use crate::plan::Plan;
use crate::policy::{Method, Policy};
use fastcar_arch::layout::{MemoryMap, PAGE_BYTES};
use fastcar_arch::units::Bytes;
use std::ops::Range;

/// Most windows of a kind: one is filled while the other is used.
const WINDOWS: usize = 2;

/// Compiles for a device that offers `memory` bytes on each channel.
///
/// # Errors
/// [`CompileError`], also when not even the windows and what stays in memory fit.
pub fn compile_streamed(
    plan: &Plan,
    policy: &Policy,
    options: CompileOptions,
    memory: Bytes,
) -> Result<Compiled, CompileError> {
    let config = plan.config();
    let source = Source { config, image: plan.image(), policy, options };
    source.check()?;
    let layers = layer_ranges(plan)?;
    let state = state_bytes(&source)?;
    let mut map = MemoryMap::with_capacity(memory.min(config.channel_capacity()));
    let placed = Placed::new(plan, &layers, &mut map, state)?;
    let state_start = map.used().get();

    let mut image = plan.image().clone();
    image.relocate(&mut |addr| placed.device(addr));
    let source = Source { image: &image, ..source };
    let storage = Storage::allocate(&source, &mut map)?;
    let between = between(&source, &mut map)?;
    let mut body = Vec::new();
    let passes = passes(&source, &storage, between, &placed, &mut body)?;
    let depth = source.depth_programs(&storage)?;
    let kept = storage.kept();
    let Storage { body: State { lists, .. }, logits, .. } = storage;
    Ok(Compiled { map, state_start, body, passes, resident: placed.resident, depth, logits, kept, lists })
}

/// Records that hold what goes from pass to pass.
fn between(source: &Source<'_>, map: &mut MemoryMap) -> Result<Between, CompileError> {
    let (hidden, slots) = (source.image.body.shape.hidden, source.options.slots);
    Ok(Between {
        stream: slot_records(source.config, map, "stream", hidden, slots)?,
        input: slot_records(source.config, map, "mlp_input", hidden, slots)?,
    })
}

/// What everything but constants takes.
fn state_bytes(source: &Source<'_>) -> Result<u64, CompileError> {
    let mut map = MemoryMap::with_capacity(Bytes(u64::MAX));
    Storage::allocate(source, &mut map)?;
    between(source, &mut map)?;
    Ok(map.used().get())
}

/// The constants of a layer's two passes: its attention with both norms, and its MLP.
struct LayerRanges {
    attention: Range<u64>,
    mlp: Range<u64>,
}

/// Where the packer has put the body's layers: one after the other, before what stays in memory.
fn layer_ranges(plan: &Plan) -> Result<Vec<LayerRanges>, CompileError> {
    let body = &plan.image().body;
    let starts = body.layers.iter().map(|l| l.input_norm.gamma).chain([body.final_norm.gamma]);
    let starts: Vec<u64> = starts.collect();
    let ranges = body.layers.iter().enumerate().map(|(i, layer)| {
        let middle = layer.up.tiles.first().map_or(starts[i], |t| t.addr);
        LayerRanges { attention: starts[i]..middle, mlp: middle..starts[i + 1] }
    });
    let ranges: Vec<LayerRanges> = ranges.collect();
    let ordered = ranges.iter().all(|r| r.attention.start < r.mlp.start && r.mlp.start < r.mlp.end);
    let last = ranges.last().map_or(0, |r| r.mlp.end);
    match ordered && last <= plan.constants().get() {
        true => Ok(ranges),
        false => Err(CompileError::Order),
    }
}

/// Where constants lie in device memory.
struct Placed {
    resident: Vec<Part>,
    /// By layer: attention, MLP. None where the layer stays in memory.
    windows: Vec<Option<[Part; 2]>>,
}

impl Placed {
    fn new(
        plan: &Plan,
        layers: &[LayerRanges],
        map: &mut MemoryMap,
        state: u64,
    ) -> Result<Self, CompileError> {
        let (first, end) =
            (layers.first().map_or(0, |l| l.attention.start), layers.last().map_or(0, |l| l.mlp.end));
        let mut resident = Vec::new();
        for source in [0..first, end..plan.constants().get()] {
            if !source.is_empty() {
                let to = map.allocate("constants", Bytes(source.end - source.start))?;
                resident.push(Part { source, to });
            }
        }
        let (kept, windows) = Self::kept(layers, map, state);
        let (own, streamed) = layers.split_at(kept);
        for layer in own {
            let source = layer.attention.start..layer.mlp.end;
            let to = map.allocate("layer", Bytes(source.end - source.start))?;
            resident.push(Part { source, to });
        }
        let mut parts: Vec<Option<[Part; 2]>> = vec![None; kept];
        if !streamed.is_empty() {
            let attention = allocate(map, "window.attention", windows, largest(streamed, |l| &l.attention))?;
            let mlp = allocate(map, "window.mlp", windows, largest(streamed, |l| &l.mlp))?;
            let part = |source: &Range<u64>, to: u64| Part { source: source.clone(), to };
            parts.extend(streamed.iter().enumerate().map(|(i, layer)| {
                Some([part(&layer.attention, attention[i % windows]), part(&layer.mlp, mlp[i % windows])])
            }));
        }
        Ok(Self { resident, windows: parts })
    }

    /// Layers that can stay in memory beside the state and the windows of the others, and windows of a kind: two, or one
    /// where two do not fit.
    fn kept(layers: &[LayerRanges], map: &MemoryMap, state: u64) -> (usize, usize) {
        let needed = |kept: usize, windows: usize| {
            let (own, rest) = layers.split_at(kept);
            let own: u64 = own.iter().map(|l| pages(&(l.attention.start..l.mlp.end))).sum();
            let window = largest(rest, |l| &l.attention) + largest(rest, |l| &l.mlp);
            map.used().get() + state + own + windows as u64 * window
        };
        let fits = |windows: usize| {
            (0..=layers.len()).rev().find(|&kept| needed(kept, windows) <= map.capacity().get())
        };
        (1..=WINDOWS).rev().find_map(|windows| Some((fits(windows)?, windows))).unwrap_or((0, 1))
    }

    /// Where a constant lies when a pass uses it.
    fn device(&self, addr: u64) -> u64 {
        let parts = self.resident.iter().chain(self.windows.iter().flatten().flatten());
        let own = parts.into_iter().find(|part| part.source.contains(&addr));
        own.map_or(addr, |part| part.to + addr - part.source.start)
    }
}

/// Bytes of a range in whole pages.
fn pages(range: &Range<u64>) -> u64 {
    (range.end - range.start).next_multiple_of(PAGE_BYTES)
}

/// Bytes of the largest of some layers' ranges.
fn largest(layers: &[LayerRanges], of: fn(&LayerRanges) -> &Range<u64>) -> u64 {
    layers.iter().map(|layer| pages(of(layer))).max().unwrap_or(0)
}

fn allocate(map: &mut MemoryMap, name: &str, windows: usize, bytes: u64) -> Result<Vec<u64>, CompileError> {
    (0..windows).map(|i| Ok(map.allocate(format!("{name}.{i}"), Bytes(bytes))?)).collect()
}

/// The passes of every input of the body. They differ in the first only.
fn passes(
    source: &Source<'_>,
    storage: &Storage,
    between: Between,
    placed: &Placed,
    body: &mut Vec<fastcar_arch::program::Program>,
) -> Result<Vec<Vec<Pass>>, CompileError> {
    let image: &Image = source.image;
    let gated = matches!(source.policy.method(), Method::Replay { .. });
    let most = image.inputs.iter().map(tokens).max().unwrap_or(1);
    let mut common = Vec::new();
    for layer in 0..image.body.layers.len() {
        let [attention, mlp] = match &placed.windows[layer] {
            Some(parts) => parts.clone().map(Some),
            None => [None, None],
        };
        if layer > 0 {
            let mut emitter = source.body(storage);
            emitter.resume(between);
            emitter.attention_pass(layer, between);
            common.push(Pass { weights: attention, ..Pass::resident(body.len()) });
            body.push(emitter.program(source.gates(), most)?);
        }
        let mut emitter = source.body(storage);
        emitter.mlp_pass(layer, between);
        if layer + 1 == image.body.layers.len() {
            source.finish(&mut emitter, storage);
        } else {
            emitter.suspend(between);
        }
        let decided = gated.then_some(layer as u16);
        common.push(Pass { program: body.len(), weights: mlp, decided });
        body.push(emitter.program(source.gates(), most)?);
    }
    let mut passes = Vec::new();
    for input in &image.inputs {
        let mut emitter = source.body(storage);
        emitter.input(input, None);
        emitter.attention_pass(0, between);
        let weights = placed.windows.first().and_then(|w| w.as_ref()).map(|w| w[0].clone());
        let first = Pass { weights, ..Pass::resident(body.len()) };
        body.push(emitter.program(source.gates(), tokens(input))?);
        passes.push(std::iter::once(first).chain(common.iter().cloned()).collect());
    }
    Ok(passes)
}
