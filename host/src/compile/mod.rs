//! From a model's plan and a policy to the step programs.
//!
//! A program is compiled once and holds for every step: positions, tokens and gate masks come from the step table.
//! On-chip vectors are placed by hand (`places`), since a layer's dataflow is fixed; what a sequence keeps between
//! steps is allocated behind the constants (`state`); commands come tile by tile (`emit`).

mod emit;
mod lists;
mod places;
mod state;

pub use lists::ListRecords;
pub(crate) use places::wide_room;

use crate::image::{Input, Matrix, Shape, Tile, Transformer};
use crate::plan::Plan;
use crate::policy::{Method, Policy};
use emit::Emitter;
use fastcar_arch::config::AccelConfig;
use fastcar_arch::layout::{MemoryFull, MemoryMap, RecordLayout};
use fastcar_arch::program::{Program, ProgramError};
use fastcar_arch::units::Bytes;
use places::Places;
use state::State;

/// What a compilation needs beside the model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompileOptions {
    /// Slots with memory of their own.
    pub slots: u32,
    /// Positions of a sequence.
    pub positions: u32,
    /// Tokens in a frame; 0 for a model without frames, which decodes densely.
    pub period: u32,
}

/// Why a model does not compile.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The state does not fit the card's memory.
    #[error(transparent)]
    Memory(#[from] MemoryFull),
    /// A command does not fit the configuration.
    #[error("model does not fit preset '{preset}': {source}")]
    Program {
        /// Configuration name.
        preset: String,
        /// The command and its limit.
        source: ProgramError,
    },
    /// A number does not fit the configuration.
    #[error("{what} is {found}: {place} allows 1 to {limit}")]
    Limit {
        /// What was asked.
        what: &'static str,
        /// How much.
        found: u64,
        /// Whose limit.
        place: String,
        /// The limit.
        limit: u64,
    },
    /// A replay or delta policy for a model without frames.
    #[error(
        "policy '{method}' needs a frame period, and the model has none (no fastcar_video in its config.json); use the dense policy"
    )]
    NoPeriod {
        /// The policy.
        method: &'static str,
    },
    /// Thresholds or attention patterns that do not fit layers and heads.
    #[error(transparent)]
    Policy(#[from] crate::policy::PolicyError),
}

/// A vector record per slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotRecords {
    /// Record of slot 0.
    pub addr: u64,
    /// Local bytes from one slot to the next.
    pub stride: u64,
    /// Words of a record.
    pub words: u32,
}

/// The programs of a model under a policy, and the memory they use.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// Regions: the model's constants, then the state.
    pub map: MemoryMap,
    /// First local byte of the state; everything below is constant.
    pub state_start: u64,
    /// One program per input of the body: prompt tokens, then, where they differ, generated positions.
    pub body: Vec<Program>,
    /// One program per code of a position, for models with a depth transformer.
    pub depth: Vec<Program>,
    /// Where the logits of a slot lie, in order.
    pub logits: Vec<SlotRecords>,
    /// Block lists that the host writes before a step, where attention is sparse; layers with the same patterns share
    /// one.
    pub lists: Vec<ListRecords>,
}

/// Compiles.
///
/// # Errors
/// [`CompileError`] when the policy does not fit the model, or the model not the configuration.
pub fn compile(plan: &Plan, policy: &Policy, options: CompileOptions) -> Result<Compiled, CompileError> {
    let (config, image) = (plan.config(), plan.image());
    check(config, &image.body.shape, policy, options)?;
    let mut map = MemoryMap::new(config);
    map.allocate("constants", plan.constants())?;
    let state_start = map.used().get();

    let body = State::allocate(config, &mut map, "", &image.body, policy, options)?;
    let (depth_transformer, depth_inputs) = match &image.depth {
        Some((transformer, inputs)) => (Some(transformer), &inputs[..]),
        None => (None, &[][..]),
    };
    let hidden = match depth_transformer {
        Some(_) => Some(slot_records(config, &mut map, "hidden", image.body.shape.hidden, options.slots)?),
        None => None,
    };
    let head = depth_transformer.unwrap_or(&image.body).head.as_ref();
    let logits = head.map_or(Ok(Vec::new()), |head| logit_records(config, &mut map, head, options.slots))?;

    let mut programs = Vec::new();
    for input in &image.inputs {
        let mut emitter = Emitter::new(config, &image.body, policy.method(), options, &body);
        emitter.input(input, None);
        emitter.layers();
        match hidden {
            Some(hidden) => emitter.hidden(hidden),
            None => emitter.logits(&logits),
        }
        programs.push(emitter.program(gates(policy, image.body.shape.layers), input)?);
    }
    let depth = match (depth_transformer, hidden) {
        (Some(transformer), Some(hidden)) => {
            let ends = Ends { hidden, logits: &logits };
            depth_programs(config, &mut map, transformer, depth_inputs, options, ends)?
        }
        _ => Vec::new(),
    };
    Ok(Compiled { map, state_start, body: programs, depth, logits, lists: body.lists })
}

/// Where a depth transformer's programs read from and write to.
struct Ends<'a> {
    hidden: SlotRecords,
    logits: &'a [SlotRecords],
}

/// One program per code of a position. The depth transformer is always dense: its sequences are as long as a position
/// has codes.
fn depth_programs(
    config: &AccelConfig,
    map: &mut MemoryMap,
    transformer: &Transformer,
    inputs: &[Input],
    options: CompileOptions,
    ends: Ends<'_>,
) -> Result<Vec<Program>, CompileError> {
    let options = CompileOptions { positions: inputs.len() as u32, period: 0, ..options };
    let dense = Policy::dense();
    check(config, &transformer.shape, &dense, options)?;
    let state = State::allocate(config, map, "depth.", transformer, &dense, options)?;
    let program = |input: &Input| {
        let mut emitter = Emitter::new(config, transformer, dense.method(), options, &state);
        emitter.input(input, Some(ends.hidden));
        emitter.positions();
        emitter.layers();
        emitter.logits(ends.logits);
        emitter.program(0, input)
    };
    inputs.iter().map(program).collect()
}

fn slot_records(
    config: &AccelConfig,
    map: &mut MemoryMap,
    name: &str,
    words: u32,
    slots: u32,
) -> Result<SlotRecords, MemoryFull> {
    let stride = RecordLayout::new(config).vector_bytes(words.into()).get();
    let addr = map.allocate(name, Bytes(stride * u64::from(slots)))?;
    Ok(SlotRecords { addr, stride, words })
}

/// One record per tile of the head.
fn logit_records(
    config: &AccelConfig,
    map: &mut MemoryMap,
    head: &Matrix,
    slots: u32,
) -> Result<Vec<SlotRecords>, MemoryFull> {
    let record =
        |(i, tile): (usize, &Tile)| slot_records(config, map, &format!("logits.{i}"), tile.rows, slots);
    head.tiles.iter().enumerate().map(record).collect()
}

/// Gates of a policy's step tables.
#[must_use]
pub fn gates(policy: &Policy, layers: u32) -> u32 {
    match policy.method() {
        Method::Dense => 0,
        Method::Replay { .. } => layers,
        Method::Delta { .. } => layers * DELTAS_PER_LAYER,
    }
}

/// Linear inputs of a layer: qkv, o, gate and up, down.
pub const DELTAS_PER_LAYER: u32 = 4;

fn check(
    config: &AccelConfig,
    shape: &Shape,
    policy: &Policy,
    options: CompileOptions,
) -> Result<(), CompileError> {
    let limit = |what, found: u32, place: String, limit: u32| {
        if found <= limit && found > 0 {
            return Ok(());
        }
        Err(CompileError::Limit { what, found: found.into(), place, limit: limit.into() })
    };
    let preset = format!("preset '{}'", config.name());
    let (lines, blocks) = (Places::lines(shape), Places::blocks(shape));
    limit("lines of the vector buffer that a layer needs", lines, preset.clone(), config.vb_lines())?;
    limit("blocks of the activation buffer that a layer needs", blocks, preset.clone(), config.ab_blocks())?;
    limit("slots", options.slots, preset.clone(), config.slots())?;
    limit("positions", options.positions, preset, config.score_tokens())?;
    limit("positions", options.positions, "the model".to_owned(), shape.max_positions)?;
    policy.check_layers(shape.layers as usize)?;
    policy.check_heads(shape.kv_heads as usize)?;
    let needs = match policy.method() {
        Method::Replay { .. } => Some("replay"),
        Method::Delta { .. } => Some("delta"),
        Method::Dense => policy.attention().needs_frames().then_some("frame-stride"),
    };
    match needs {
        Some(method) if options.period == 0 => Err(CompileError::NoPeriod { method }),
        _ => Ok(()),
    }
}
