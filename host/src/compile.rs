//! From a packed model and a policy to the step programs.
//!
//! A program is compiled once and holds for every step: positions, tokens and gate masks come from the step table.
//! On-chip vectors are placed by hand, since a layer's dataflow is fixed: `x` is the residual stream, `n` a
//! normalised or attended vector, `wide` what the widest matrices make, `y` the MLP output.

use crate::image::{Input, Layer, Matrix, Norm, Shape, Table, Tile, Transformer, tile_rows};
use crate::packed::PackedModel;
use crate::policy::{Gate, Method, PairCoupling, Policy, TasForm, for_layer};
use fastcar_arch::config::{AccelConfig, LINE_WORDS};
use fastcar_arch::isa::{self, AbBlock, Addr, Command, Epilogue, IndexBy, NormKind, Pred, VbLine};
use fastcar_arch::layout::{KvLayout, MemoryFull, MemoryMap, RecordLayout};
use fastcar_arch::program::{Limits, Program, ProgramError};
use fastcar_arch::units::Bytes;

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
    /// Thresholds that do not fit the layers.
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
}

/// Compiles.
///
/// # Errors
/// [`CompileError`] when the policy does not fit the model, or the model not the configuration.
pub fn compile(
    model: &PackedModel,
    policy: &Policy,
    options: CompileOptions,
) -> Result<Compiled, CompileError> {
    let config = model.config();
    let image = model.image();
    check(config, &image.body.shape, policy, options)?;
    let mut map = MemoryMap::new(config);
    map.allocate("constants", model.constants())?;
    let state_start = map.used().get();

    let body = State::allocate(config, &mut map, "", &image.body.shape, policy, options)?;
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
        let mut emitter = Emitter::new(&image.body.shape, policy.method(), options, &body);
        emitter.input(input, None);
        emitter.layers(&image.body);
        match hidden {
            Some(hidden) => emitter.hidden(&image.body, hidden),
            None => emitter.logits(&image.body, &logits),
        }
        let gates = gates(policy, image.body.shape.layers);
        programs.push(emitter.program(config, gates, input)?);
    }

    let mut depth = Vec::new();
    if let (Some(transformer), Some(hidden)) = (depth_transformer, hidden) {
        let options = CompileOptions { positions: depth_inputs.len() as u32, period: 0, ..options };
        let dense = Policy::dense();
        check(config, &transformer.shape, &dense, options)?;
        let state = State::allocate(config, &mut map, "depth.", &transformer.shape, &dense, options)?;
        for input in depth_inputs {
            let mut emitter = Emitter::new(&transformer.shape, dense.method(), options, &state);
            emitter.input(input, Some(hidden));
            if let Some(table) = transformer.positions {
                emitter.load(emitter.at.x, IndexBy::Position, true, table);
            }
            emitter.layers(transformer);
            emitter.logits(transformer, &logits);
            depth.push(emitter.program(config, 0, input)?);
        }
    }
    Ok(Compiled { map, state_start, body: programs, depth, logits })
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
    let lines = Places::fixed_lines(shape) + lines(shape.qkv_rows().max(shape.ffn));
    limit("lines of the vector buffer that a layer needs", lines, preset.clone(), config.vb_lines())?;
    let blocks = Places::query_block(shape) + shape.attended() / LINE_WORDS;
    limit("blocks of the activation buffer that a layer needs", blocks, preset.clone(), config.ab_blocks())?;
    limit("slots", options.slots, preset.clone(), config.slots())?;
    limit("positions", options.positions, preset, config.score_tokens())?;
    limit("positions", options.positions, "the model".to_owned(), shape.max_positions)?;
    policy.check_layers(shape.layers as usize)?;
    match policy.method() {
        Method::Replay { .. } if options.period == 0 => Err(CompileError::NoPeriod { method: "replay" }),
        Method::Delta { .. } if options.period == 0 => Err(CompileError::NoPeriod { method: "delta" }),
        _ => Ok(()),
    }
}

/// A record per slot and ring position.
#[derive(Clone, Copy, Debug)]
struct Ring {
    addr: u64,
    slot_stride: u64,
    index_stride: u64,
}

/// Reference rings of one linear layer in delta decode: its input, and its output per tile.
#[derive(Clone, Debug)]
struct DeltaRings {
    input: Ring,
    outputs: Vec<Ring>,
}

/// Addresses of the per-sequence state, by layer.
struct State {
    kv: Vec<u64>,
    kv_stride: u64,
    outputs: Vec<Ring>,
    references: Vec<Ring>,
    deltas: Vec<[DeltaRings; 4]>,
}

impl State {
    fn allocate(
        config: &AccelConfig,
        map: &mut MemoryMap,
        prefix: &str,
        shape: &Shape,
        policy: &Policy,
        options: CompileOptions,
    ) -> Result<Self, CompileError> {
        let layers = shape.layers;
        let kv = KvLayout::new(config, shape.kv_heads, shape.head_dim, options.positions);
        let kv_stride = kv.local_bytes().get();
        let mut state = Self {
            kv: Vec::new(),
            kv_stride,
            outputs: Vec::new(),
            references: Vec::new(),
            deltas: Vec::new(),
        };
        for layer in 0..layers {
            let size = Bytes(kv_stride * u64::from(options.slots));
            state.kv.push(map.allocate(format!("{prefix}kv.{layer}"), size)?);
        }
        let mut rings = Rings { config, map, options };
        match policy.method() {
            Method::Dense => {}
            Method::Replay { gate, .. } => {
                for layer in 0..layers {
                    state.outputs.push(rings.vector(format!("ring.{layer}"), shape.hidden)?);
                    if matches!(gate, Gate::InputDelta { .. }) {
                        state.references.push(rings.act(format!("ring_input.{layer}"), shape.hidden)?);
                    }
                }
            }
            Method::Delta { .. } => {
                for layer in 0..layers {
                    state.deltas.push(rings.layer(layer, shape)?);
                }
            }
        }
        Ok(state)
    }
}

/// Allocates rings.
struct Rings<'a> {
    config: &'a AccelConfig,
    map: &'a mut MemoryMap,
    options: CompileOptions,
}

impl Rings<'_> {
    fn ring(&mut self, name: String, index_stride: Bytes) -> Result<Ring, CompileError> {
        let index_stride = index_stride.get();
        let slot_stride = index_stride * u64::from(self.options.period);
        let addr = self.map.allocate(name, Bytes(slot_stride * u64::from(self.options.slots)))?;
        Ok(Ring { addr, slot_stride, index_stride })
    }

    fn vector(&mut self, name: String, words: u32) -> Result<Ring, CompileError> {
        self.ring(name, RecordLayout::new(self.config).vector_bytes(words.into()))
    }

    fn act(&mut self, name: String, words: u32) -> Result<Ring, CompileError> {
        self.ring(name, RecordLayout::new(self.config).act_bytes(u64::from(words) / 32))
    }

    fn layer(&mut self, layer: u32, shape: &Shape) -> Result<[DeltaRings; 4], CompileError> {
        Ok([
            self.linear(format!("delta.{layer}.qkv"), shape.hidden, shape.qkv_rows())?,
            self.linear(format!("delta.{layer}.o"), shape.attended(), shape.hidden)?,
            self.linear(format!("delta.{layer}.up"), shape.hidden, shape.up_rows())?,
            self.linear(format!("delta.{layer}.down"), shape.ffn, shape.hidden)?,
        ])
    }

    fn linear(&mut self, name: String, inputs: u32, rows: u32) -> Result<DeltaRings, CompileError> {
        let input = self.vector(format!("{name}.x"), inputs)?;
        let tiles = tile_rows(self.config, rows, u32::MAX);
        let outputs =
            tiles.map(|(_, rows)| self.vector(format!("{name}.y"), rows)).collect::<Result<_, _>>()?;
        Ok(DeltaRings { input, outputs })
    }
}

/// Places of a layer's vectors in VB and AB.
#[derive(Clone, Copy, Debug)]
struct Places {
    x: VbLine,
    n: VbLine,
    y: VbLine,
    wide: VbLine,
    act: AbBlock,
    query: AbBlock,
}

fn lines(words: u32) -> u32 {
    words.div_ceil(LINE_WORDS)
}

impl Places {
    /// Lines below the wide vectors.
    fn fixed_lines(shape: &Shape) -> u32 {
        2 * lines(shape.hidden) + lines(shape.hidden.max(shape.attended()))
    }

    /// The queries' first block: behind the widest operand.
    fn query_block(shape: &Shape) -> u32 {
        lines(shape.hidden.max(shape.ffn).max(shape.attended()))
    }

    fn new(shape: &Shape) -> Self {
        let x = lines(shape.hidden);
        let n = lines(shape.hidden.max(shape.attended()));
        Self {
            x: VbLine(0),
            n: VbLine(x as u16),
            y: VbLine((x + n) as u16),
            wide: VbLine(Self::fixed_lines(shape) as u16),
            act: AbBlock(0),
            query: AbBlock(Self::query_block(shape) as u16),
        }
    }
}

/// Words of the widest vector that VB holds beside a transformer's own: what a tile of its head may make.
pub(crate) fn wide_room(config: &AccelConfig, shape: &Shape) -> u32 {
    config.vb_lines().saturating_sub(Places::fixed_lines(shape)) * LINE_WORDS
}

/// Emits a transformer's commands.
struct Emitter<'a> {
    shape: &'a Shape,
    method: &'a Method,
    options: CompileOptions,
    state: &'a State,
    at: Places,
    commands: Vec<Command>,
}

impl<'a> Emitter<'a> {
    fn new(shape: &'a Shape, method: &'a Method, options: CompileOptions, state: &'a State) -> Self {
        Self { shape, method, options, state, at: Places::new(shape), commands: Vec::new() }
    }

    fn emit(&mut self, command: impl Into<Command>) {
        self.commands.push(command.into());
    }

    /// Closes the program and checks it.
    fn program(mut self, config: &AccelConfig, gates: u32, input: &Input) -> Result<Program, CompileError> {
        self.emit(isa::End::default());
        let tokens = input.tables.iter().map(|t| t.entries).min().unwrap_or(1);
        let CompileOptions { slots, positions, period, .. } = self.options;
        let limits = Limits { slots, positions, ring: period, tokens, gates };
        Program::new(config, limits, self.commands)
            .map_err(|source| CompileError::Program { preset: config.name().to_owned(), source })
    }

    fn load(&mut self, dst: VbLine, index: IndexBy, accumulate: bool, table: Table) {
        self.emit(isa::Load {
            pred: Pred::All,
            dst,
            index,
            accumulate,
            words: table.words,
            addr: Addr(table.addr),
            slot_stride: 0,
            index_stride: table.stride,
        });
    }

    /// The input vector into `x`: sums of table rows or the hidden state, then the projector.
    fn input(&mut self, input: &Input, hidden: Option<SlotRecords>) {
        const BY: [IndexBy; 4] = [IndexBy::Token0, IndexBy::Token1, IndexBy::Token2, IndexBy::Token3];
        let Places { x, wide, .. } = self.at;
        let first = if input.projector.is_empty() { x } else { wide };
        for (k, &table) in input.tables.iter().enumerate() {
            self.load(first, BY[k], k > 0, table);
        }
        if let (true, Some(hidden)) = (input.tables.is_empty(), hidden) {
            self.emit(isa::Load {
                pred: Pred::All,
                dst: first,
                index: IndexBy::None,
                accumulate: false,
                words: hidden.words,
                addr: Addr(hidden.addr),
                slot_stride: hidden.stride,
                index_stride: 0,
            });
        }
        for (i, matrix) in input.projector.iter().enumerate() {
            let last = i + 1 == input.projector.len();
            let (dst, epilogue) = if last { (x, Epilogue::None) } else { (wide, Epilogue::Gelu) };
            self.dense(Pred::All, matrix, wide, dst, epilogue, false);
        }
    }

    fn layers(&mut self, transformer: &Transformer) {
        for (index, layer) in transformer.layers.iter().enumerate() {
            self.layer(index, layer, transformer.rope);
        }
    }

    fn layer(&mut self, index: usize, layer: &Layer, rope: Option<Table>) {
        self.attention(index, layer, rope);
        match self.method {
            Method::Dense => self.mlp(layer),
            Method::Delta { .. } => self.mlp_delta(index, layer),
            Method::Replay { gate, coupling, .. } => self.mlp_replay(index, layer, gate, *coupling),
        }
    }

    fn attention(&mut self, index: usize, layer: &Layer, rope: Option<Table>) {
        let Places { x, n, wide, .. } = self.at;
        let Shape { heads, kv_heads, head_dim, .. } = *self.shape;
        let line = |words: u32| VbLine(wide.0 + lines(words) as u16);
        let attended = self.shape.attended();
        let (key, value) = (line(attended), line(attended + kv_heads * head_dim));

        self.norm(Pred::All, &layer.input_norm, x, n);
        self.linear(index, 0, &layer.qkv, n, wide, Epilogue::None, false);
        self.gate_early(index, true);
        if let Some(table) = rope {
            self.emit(isa::Rope {
                pred: Pred::All,
                vec: wide,
                heads: (heads + kv_heads) as u16,
                head_dim: head_dim as u16,
                table: Addr(table.addr),
                index_stride: table.stride,
            });
        }
        self.quantise_query();
        self.gate_early(index, false);
        self.emit(isa::KvAppend {
            pred: Pred::All,
            key,
            value,
            kv_heads: kv_heads as u16,
            head_dim: head_dim as u16,
            addr: Addr(self.state.kv[index]),
            slot_stride: self.state.kv_stride,
        });
        self.emit(isa::Attn {
            pred: Pred::All,
            src: self.at.query,
            dst: n,
            heads: heads as u16,
            head_dim: head_dim as u16,
            kv_heads: kv_heads as u16,
            scale: attention_scale(head_dim).into(),
            addr: Addr(self.state.kv[index]),
            slot_stride: self.state.kv_stride,
            list: Addr(0),
            list_stride: 0,
            list_entries: 0,
        });
        self.linear(index, 1, &layer.o, n, x, Epilogue::None, true);
    }

    /// TAS needs only the queries and one cached key row, so the decision stands before attention begins.
    fn gate_early(&mut self, index: usize, before_rope: bool) {
        let Method::Replay { gate: Gate::Tas { form, thresholds }, coupling, .. } = self.method else {
            return;
        };
        if before_rope != (*form == TasForm::Code) {
            return;
        }
        if before_rope {
            self.quantise_query();
        }
        let Shape { heads, kv_heads, head_dim, .. } = *self.shape;
        self.emit(isa::GateTas {
            pred: Pred::All,
            src: self.at.query,
            gate: index as u16,
            heads: heads as u16,
            head_dim: head_dim as u16,
            kv_heads: kv_heads as u16,
            coupling: (*coupling).into(),
            addr: Addr(self.state.kv[index]),
            slot_stride: self.state.kv_stride,
            period: self.options.period,
            threshold: for_layer(thresholds, index).into(),
            scale: tas_scale(heads, head_dim).into(),
        });
    }

    fn quantise_query(&mut self) {
        let blocks = lines(self.shape.attended()) as u16;
        self.emit(isa::Quant { pred: Pred::All, src: self.at.wide, dst: self.at.query, blocks });
    }

    fn mlp(&mut self, layer: &Layer) {
        let Places { x, n, wide, .. } = self.at;
        self.norm(Pred::All, &layer.post_norm, x, n);
        self.dense(Pred::All, &layer.up, n, wide, self.epilogue(), false);
        self.dense(Pred::All, &layer.down, wide, x, Epilogue::None, true);
    }

    fn mlp_delta(&mut self, index: usize, layer: &Layer) {
        let Places { x, n, wide, .. } = self.at;
        self.norm(Pred::All, &layer.post_norm, x, n);
        self.linear(index, 2, &layer.up, n, wide, self.epilogue(), false);
        self.linear(index, 3, &layer.down, wide, x, Epilogue::None, true);
    }

    fn mlp_replay(&mut self, index: usize, layer: &Layer, gate: &Gate, coupling: PairCoupling) {
        let Places { x, n, wide, y, act, .. } = self.at;
        let words = self.shape.hidden;
        if let Gate::InputDelta { thresholds } = gate {
            self.norm(Pred::All, &layer.post_norm, x, n);
            self.gate_late(index, for_layer(thresholds, index), coupling);
        } else {
            if !matches!(gate, Gate::Tas { .. }) {
                self.emit(isa::GateHost { pred: Pred::All, gate: index as u16 });
            }
            self.norm(Pred::Compute, &layer.post_norm, x, n);
            self.emit(isa::Quant { pred: Pred::Compute, src: n, dst: act, blocks: lines(words) as u16 });
        }
        self.product(Pred::Compute, &layer.up, wide, self.epilogue(), false);
        self.dense(Pred::Compute, &layer.down, wide, y, Epilogue::None, false);

        let Ring { addr, slot_stride, index_stride } = self.state.outputs[index];
        let (addr, ring) = (Addr(addr), IndexBy::Ring);
        self.emit(isa::Store {
            pred: Pred::Compute,
            src: y,
            index: ring,
            words,
            addr,
            slot_stride,
            index_stride,
        });
        self.emit(isa::Load {
            pred: Pred::Replay,
            dst: y,
            index: ring,
            accumulate: false,
            words,
            addr,
            slot_stride,
            index_stride,
        });
        self.emit(isa::Add { pred: Pred::All, dst: x, src: y, words });
    }

    /// The input-delta gate decides on the MLP's own input, and keeps that input where it computes.
    fn gate_late(&mut self, index: usize, threshold: f32, coupling: PairCoupling) {
        let Places { n, act, .. } = self.at;
        let blocks = lines(self.shape.hidden) as u16;
        let Ring { addr, slot_stride, index_stride } = self.state.references[index];
        self.emit(isa::Quant { pred: Pred::All, src: n, dst: act, blocks });
        self.emit(isa::GateDelta {
            pred: Pred::All,
            src: act,
            gate: index as u16,
            blocks,
            coupling: coupling.into(),
            addr: Addr(addr),
            slot_stride,
            index_stride,
            threshold: (threshold * threshold).into(),
        });
        self.emit(isa::StoreAct {
            pred: Pred::Compute,
            src: act,
            index: IndexBy::Ring,
            blocks,
            addr: Addr(addr),
            slot_stride,
            index_stride,
        });
    }

    fn epilogue(&self) -> Epilogue {
        if self.shape.gelu { Epilogue::Gelu } else { Epilogue::SwiGlu }
    }

    fn norm(&mut self, pred: Pred, norm: &Norm, src: VbLine, dst: VbLine) {
        let words = self.shape.hidden;
        let kind = if self.shape.layer_norm { NormKind::Layer } else { NormKind::Rms };
        self.emit(isa::Norm {
            pred,
            src,
            dst,
            kind,
            words,
            eps: self.shape.eps.into(),
            gamma: Addr(norm.gamma),
            beta: Addr(norm.beta.unwrap_or(0)),
            inv_words: ((1.0 / f64::from(words)) as f32).into(),
        });
    }

    /// A linear layer for every slot: dense, or by its changed blocks in delta decode (`which` counts the linear
    /// inputs of a layer).
    #[allow(clippy::too_many_arguments, reason = "the operands of one linear layer")]
    fn linear(
        &mut self,
        index: usize,
        which: usize,
        matrix: &Matrix,
        src: VbLine,
        dst: VbLine,
        epilogue: Epilogue,
        accumulate: bool,
    ) {
        let Method::Delta { thresholds, .. } = self.method else {
            return self.dense(Pred::All, matrix, src, dst, epilogue, accumulate);
        };
        let tau = for_layer(thresholds, index).all()[which];
        let rings = self.state.deltas[index][which].clone();
        self.emit(isa::Delta {
            pred: Pred::All,
            src,
            dst: self.at.act,
            gate: (index * DELTAS_PER_LAYER as usize + which) as u16,
            blocks: matrix.blocks as u16,
            tau_sq: ((f64::from(tau) * f64::from(tau) / f64::from(matrix.blocks)) as f32).into(),
            addr: Addr(rings.input.addr),
            slot_stride: rings.input.slot_stride,
            index_stride: rings.input.index_stride,
        });
        for (tile, ring) in
            self.matvecs(Pred::All, matrix, dst, epilogue, accumulate).into_iter().zip(rings.outputs)
        {
            self.emit(isa::Matvec {
                delta: true,
                ring: Addr(ring.addr),
                slot_stride: ring.slot_stride,
                index_stride: ring.index_stride,
                ..tile
            });
        }
    }

    /// Quantises a vector and multiplies.
    fn dense(
        &mut self,
        pred: Pred,
        matrix: &Matrix,
        src: VbLine,
        dst: VbLine,
        epilogue: Epilogue,
        accumulate: bool,
    ) {
        self.emit(isa::Quant { pred, src, dst: self.at.act, blocks: matrix.blocks as u16 });
        self.product(pred, matrix, dst, epilogue, accumulate);
    }

    /// Multiplies what is in the activation buffer.
    fn product(&mut self, pred: Pred, matrix: &Matrix, dst: VbLine, epilogue: Epilogue, accumulate: bool) {
        for tile in self.matvecs(pred, matrix, dst, epilogue, accumulate) {
            self.emit(tile);
        }
    }

    /// One command per tile of a matrix, its results consecutive from `dst`.
    fn matvecs(
        &self,
        pred: Pred,
        matrix: &Matrix,
        dst: VbLine,
        epilogue: Epilogue,
        accumulate: bool,
    ) -> Vec<isa::Matvec> {
        let rows_per_word = if epilogue == Epilogue::SwiGlu { 2 } else { 1 };
        let place = |tile: &Tile| VbLine(dst.0 + lines(tile.first_row / rows_per_word) as u16);
        let command =
            |tile| isa::Matvec { epilogue, accumulate, ..self.matvec(pred, matrix, tile, place(tile)) };
        matrix.tiles.iter().map(command).collect()
    }

    /// The command of one tile, its results from `dst`.
    fn matvec(&self, pred: Pred, matrix: &Matrix, tile: &Tile, dst: VbLine) -> isa::Matvec {
        isa::Matvec {
            pred,
            src: self.at.act,
            dst,
            format: matrix.format.into(),
            blocks: matrix.blocks as u16,
            scale_max: matrix.scale_max,
            rows: tile.rows,
            addr: Addr(tile.addr),
            bias: Addr(tile.bias.unwrap_or(0)),
            has_bias: tile.bias.is_some(),
            ..isa::Matvec::default()
        }
    }

    /// Final norm and hidden state, for the slots whose output is wanted.
    fn hidden(&mut self, transformer: &Transformer, records: SlotRecords) {
        let Places { x, n, .. } = self.at;
        self.norm(Pred::Output, &transformer.final_norm, x, n);
        self.store(n, records);
    }

    /// Final norm, head and logits, for the slots whose output is wanted.
    fn logits(&mut self, transformer: &Transformer, records: &[SlotRecords]) {
        let Places { x, n, wide, act, .. } = self.at;
        let Some(head) = &transformer.head else { return };
        self.norm(Pred::Output, &transformer.final_norm, x, n);
        self.emit(isa::Quant { pred: Pred::Output, src: n, dst: act, blocks: head.blocks as u16 });
        for (tile, &record) in head.tiles.iter().zip(records) {
            self.emit(self.matvec(Pred::Output, head, tile, wide));
            self.store(wide, record);
        }
    }

    fn store(&mut self, src: VbLine, records: SlotRecords) {
        self.emit(isa::Store {
            pred: Pred::Output,
            src,
            index: IndexBy::None,
            words: records.words,
            addr: Addr(records.addr),
            slot_stride: records.stride,
            index_stride: 0,
        });
    }
}

/// `log2(e) / sqrt(head_dim)` as binary32: attention scores in base 2.
fn attention_scale(head_dim: u32) -> f32 {
    (std::f64::consts::LOG2_E / f64::from(head_dim).sqrt()) as f32
}

/// `1 / (heads * sqrt(head_dim))` as binary32: the mean over heads of the scaled dot products.
fn tas_scale(heads: u32, head_dim: u32) -> f32 {
    (1.0 / (f64::from(heads) * f64::from(head_dim).sqrt())) as f32
}
