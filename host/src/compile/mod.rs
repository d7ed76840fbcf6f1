//! From a model's plan and a policy to the step programs.
//!
//! A program is compiled once and holds for every step: positions, tokens and gate masks come from the step table.
//! On-chip vectors are placed by hand (`places`), since a layer's dataflow is fixed; what a sequence keeps between
//! steps is allocated behind the constants (`state`); commands come tile by tile (`emit`).

mod emit;
mod lists;
mod passes;
mod places;
mod state;
mod streamed;

pub use lists::ListRecords;
pub use passes::{Part, Pass};
pub(crate) use places::wide_room;
pub use state::Kept;
pub use streamed::compile_streamed;

use crate::image::{Image, Input, Matrix, Shape, Tile, Transformer};
use crate::plan::Plan;
use crate::policy::{Method, Policy};
use emit::Emitter;
use fastcar_arch::config::AccelConfig;
use fastcar_arch::layout::{MemoryFull, MemoryMap, RecordLayout};
use fastcar_arch::program::{Program, ProgramError};
use fastcar_arch::timing::key_passes;
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
    /// Constants that do not stand layer after layer, as the packer lays them.
    #[error(
        "the packed model's layers do not follow each other, so that they cannot be streamed: pack it again"
    )]
    Order,
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
    /// Programs of the body.
    pub body: Vec<Program>,
    /// Which of these a step runs, one after the other, by the body's input: prompt tokens, then, where they differ,
    /// generated positions. One each, unless the weights are streamed.
    pub passes: Vec<Vec<Pass>>,
    /// What of the constants lies in memory all the time, and where.
    pub resident: Vec<Part>,
    /// One program per code of a position, for models with a depth transformer.
    pub depth: Vec<Program>,
    /// Where the logits of a slot lie, in order.
    pub logits: Vec<SlotRecords>,
    /// What a slot keeps from one step to the next.
    pub kept: Vec<Kept>,
    /// Block lists that the host writes before a step, where attention is sparse; layers with the same patterns share
    /// one.
    pub lists: Vec<ListRecords>,
}

/// Compiles.
///
/// # Errors
/// [`CompileError`] when the policy does not fit the model, or the model not the configuration.
pub fn compile(plan: &Plan, policy: &Policy, options: CompileOptions) -> Result<Compiled, CompileError> {
    let config = plan.config();
    let source = Source { config, image: plan.image(), policy, options };
    source.check()?;
    let mut map = MemoryMap::new(config);
    map.allocate("constants", plan.constants())?;
    let state_start = map.used().get();
    let storage = Storage::allocate(&source, &mut map)?;
    let program = |input: &Input| {
        let mut emitter = source.body(&storage);
        emitter.input(input, None);
        emitter.layers();
        source.finish(&mut emitter, &storage);
        emitter.program(source.gates(), tokens(input))
    };
    let body = plan.image().inputs.iter().map(program).collect::<Result<Vec<_>, _>>()?;
    let passes = (0..body.len()).map(|program| vec![Pass::resident(program)]).collect();
    let resident = vec![Part { source: 0..plan.constants().get(), to: 0 }];
    let depth = source.depth_programs(&storage)?;
    let kept = storage.kept();
    let Storage { body: State { lists, .. }, logits, .. } = storage;
    Ok(Compiled { map, state_start, body, passes, resident, depth, logits, kept, lists })
}

/// What is compiled.
struct Source<'a> {
    config: &'a AccelConfig,
    image: &'a Image,
    policy: &'a Policy,
    options: CompileOptions,
}

/// What sequences keep in memory, and where results go.
struct Storage {
    body: State,
    depth: Option<State>,
    /// From the body to the depth transformer.
    hidden: Option<SlotRecords>,
    logits: Vec<SlotRecords>,
}

impl Storage {
    fn allocate(source: &Source<'_>, map: &mut MemoryMap) -> Result<Self, CompileError> {
        let Source { config, image, policy, options } = *source;
        let body = State::allocate(config, map, "", &image.body, policy, options)?;
        let depth = image.depth.as_ref().map(|d| &d.0);
        let hidden = match depth {
            Some(_) => Some(slot_records(config, map, "hidden", image.body.shape.hidden, options.slots)?),
            None => None,
        };
        let head = depth.unwrap_or(&image.body).head.as_ref();
        let logits = head.map_or(Ok(Vec::new()), |head| logit_records(config, map, head, options.slots))?;
        let dense = Policy::dense();
        let state =
            |t: &Transformer| State::allocate(config, map, "depth.", t, &dense, source.depth_options());
        let depth = depth.map(state).transpose()?;
        Ok(Self { body, depth, hidden, logits })
    }

    /// Not what a step writes before it reads it: the depth transformer's cache and its input.
    fn kept(&self) -> Vec<Kept> {
        self.body.kept().chain(self.logits.iter().copied().map(Kept::Record)).collect()
    }
}

impl Source<'_> {
    fn check(&self) -> Result<(), CompileError> {
        check(self.config, &self.image.body.shape, self.policy, self.options)?;
        match &self.image.depth {
            Some((depth, _)) => check(self.config, &depth.shape, &Policy::dense(), self.depth_options()),
            None => Ok(()),
        }
    }

    /// Gates of the body's step tables.
    fn gates(&self) -> u32 {
        gates(self.policy, self.image.body.shape.layers)
    }

    /// The depth transformer's sequences are as long as a position has codes.
    fn depth_options(&self) -> CompileOptions {
        let positions = self.image.depth.as_ref().map_or(0, |d| d.1.len() as u32);
        CompileOptions { positions, period: 0, ..self.options }
    }

    fn body<'b>(&'b self, storage: &'b Storage) -> Emitter<'b> {
        Emitter::new(self.config, &self.image.body, self.policy.method(), self.options, &storage.body)
    }

    /// The body's end: the hidden state for a depth transformer, or logits.
    fn finish(&self, emitter: &mut Emitter<'_>, storage: &Storage) {
        match storage.hidden {
            Some(hidden) => emitter.hidden(hidden),
            None => emitter.logits(&storage.logits),
        }
    }

    /// One program per code of a position. The depth transformer is always dense.
    fn depth_programs(&self, storage: &Storage) -> Result<Vec<Program>, CompileError> {
        let (Some((transformer, inputs)), Some(state)) = (&self.image.depth, &storage.depth) else {
            return Ok(Vec::new());
        };
        let dense = Policy::dense();
        let program = |input: &Input| {
            let mut emitter =
                Emitter::new(self.config, transformer, dense.method(), self.depth_options(), state);
            emitter.input(input, storage.hidden);
            emitter.positions();
            emitter.layers();
            emitter.logits(&storage.logits);
            emitter.program(0, tokens(input))
        };
        inputs.iter().map(program).collect()
    }
}

/// Tokens that an input can look up.
fn tokens(input: &Input) -> u32 {
    input.tables.iter().map(|t| t.entries).min().unwrap_or(1)
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

/// Positions of the longest sequences that a transformer has on a configuration.
#[must_use]
pub fn most_positions(config: &AccelConfig, shape: &Shape) -> u32 {
    scored_positions(config, shape).min(shape.max_positions)
}

/// Positions whose scores have room, in every pass over the keys.
fn scored_positions(config: &AccelConfig, shape: &Shape) -> u32 {
    config.score_tokens() / key_passes(config, shape.heads / shape.kv_heads)
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
    let buffer = format!("the score buffer of {preset}");
    limit("positions", options.positions, buffer, scored_positions(config, shape))?;
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
