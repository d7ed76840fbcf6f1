//! A transformer's commands.
//!
//! The order is that of the data, tile by tile: what can follow a tile of a matrix (rotating and caching queries, keys
//! and values, quantising the MLP's inner vector) stands right behind it, so that it runs while the next tile streams.
//! Decisions stand as early as their inputs: a gate that asks the host before the layer begins, TAS as soon as the
//! queries are there, and the replayed output is fetched right behind the decision.

use super::places::{Places, lines};
use super::state::{Ring, State};
use super::{CompileError, CompileOptions, DELTAS_PER_LAYER, SlotRecords};
use crate::image::{Input, Layer, Matrix, Norm, Shape, Table, Tile, Transformer};
use crate::policy::{Gate, Method, PairCoupling, TasForm, for_layer};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa::{self, AbBlock, Addr, Command, Epilogue, IndexBy, NormKind, Pred, VbLine};
use fastcar_arch::program::{Limits, Program};

/// The linear inputs of a layer, as thresholds and rings of delta decode count them.
const QKV: usize = 0;
const O: usize = 1;
const UP: usize = 2;
const DOWN: usize = 3;

/// Emits a transformer's commands.
pub(super) struct Emitter<'a> {
    config: &'a AccelConfig,
    transformer: &'a Transformer,
    shape: &'a Shape,
    method: &'a Method,
    options: CompileOptions,
    state: &'a State,
    at: Places,
    /// Gates decide for another pass, which carries the decision out.
    decides_only: bool,
    commands: Vec<Command>,
}

/// Records that hold what goes from an attention pass to an MLP pass and on: the residual stream, and the MLP's
/// normalised input.
#[derive(Clone, Copy)]
pub(super) struct Between {
    pub(super) stream: SlotRecords,
    pub(super) input: SlotRecords,
}

/// A product of a matrix with an operand in AB.
#[derive(Clone, Copy)]
struct Product<'a> {
    pred: Pred,
    matrix: &'a Matrix,
    src: AbBlock,
    dst: VbLine,
    epilogue: Epilogue,
    accumulate: bool,
    /// Fetched through the read-ahead queue.
    ahead: bool,
    /// Delta decode: the output references, by tile.
    references: Option<&'a [Ring]>,
}

impl<'a> Product<'a> {
    fn new(pred: Pred, matrix: &'a Matrix, src: AbBlock, dst: VbLine) -> Self {
        let (epilogue, accumulate, ahead, references) = (Epilogue::None, false, false, None);
        Self { pred, matrix, src, dst, epilogue, accumulate, ahead, references }
    }

    /// Lines from `dst` to where row `row` is, or ends up with its neighbour.
    fn line_of(&self, row: u32) -> u32 {
        lines(if self.epilogue == Epilogue::SwiGlu { row / 2 } else { row })
    }

    /// The command of tile `index`, its results in their place behind `dst`.
    fn tile(&self, index: usize) -> isa::Matvec {
        let Self { pred, matrix, src, epilogue, accumulate, ahead, .. } = *self;
        let tile: &Tile = &matrix.tiles[index];
        let command = isa::Matvec {
            pred,
            src,
            dst: VbLine(self.dst.0 + self.line_of(tile.first_row) as u16),
            format: matrix.format.into(),
            epilogue,
            blocks: matrix.blocks as u16,
            accumulate,
            scale_max: matrix.scale_max,
            rows: tile.rows,
            addr: Addr(tile.addr),
            bias: Addr(tile.bias.unwrap_or(0)),
            has_bias: tile.bias.is_some(),
            ahead,
            ..isa::Matvec::default()
        };
        match self.references.and_then(|rings| rings.get(index)) {
            Some(&Ring { addr, slot_stride, index_stride }) => {
                isa::Matvec { delta: true, ring: Addr(addr), slot_stride, index_stride, ..command }
            }
            None => command,
        }
    }
}

impl<'a> Emitter<'a> {
    pub(super) fn new(
        config: &'a AccelConfig,
        transformer: &'a Transformer,
        method: &'a Method,
        options: CompileOptions,
        state: &'a State,
    ) -> Self {
        let shape = &transformer.shape;
        let (at, commands) = (Places::new(shape), Vec::new());
        Self { config, transformer, shape, method, options, state, at, decides_only: false, commands }
    }

    fn emit(&mut self, command: impl Into<Command>) {
        self.commands.push(command.into());
    }

    /// Closes the program and checks it.
    pub(super) fn program(mut self, gates: u32, tokens: u32) -> Result<Program, CompileError> {
        self.emit(isa::End::default());
        let CompileOptions { slots, positions, period, .. } = self.options;
        let limits = Limits { slots, positions, ring: period, tokens, gates };
        let preset = || self.config.name().to_owned();
        Program::new(self.config, limits, self.commands)
            .map_err(|source| CompileError::Program { preset: preset(), source })
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
    pub(super) fn input(&mut self, input: &Input, hidden: Option<SlotRecords>) {
        const BY: [IndexBy; 4] = [IndexBy::Token0, IndexBy::Token1, IndexBy::Token2, IndexBy::Token3];
        let Places { x, wide, act, .. } = self.at;
        let first = if input.projector.is_empty() { x } else { wide };
        for (k, (&table, by)) in input.tables.iter().zip(BY).enumerate() {
            self.load(first, by, k > 0, table);
        }
        if let (true, Some(hidden)) = (input.tables.is_empty(), hidden) {
            self.load_record(first, hidden);
        }
        for (i, matrix) in input.projector.iter().enumerate() {
            let last = i + 1 == input.projector.len();
            let (dst, epilogue) = if last { (x, Epilogue::None) } else { (wide, Epilogue::Gelu) };
            self.quant(Pred::All, wide, act, matrix.blocks);
            self.product(Product { epilogue, ..Product::new(Pred::All, matrix, act, dst) });
        }
    }

    /// Adds the learned position vectors to the input, where there are some.
    pub(super) fn positions(&mut self) {
        if let Some(table) = self.transformer.positions {
            self.load(self.at.x, IndexBy::Position, true, table);
        }
    }

    pub(super) fn layers(&mut self) {
        for (index, layer) in self.transformer.layers.iter().enumerate() {
            let Places { x, n, act, .. } = self.at;
            self.attention(index, layer);
            match self.method {
                Method::Replay { gate: Gate::InputDelta { thresholds }, coupling, .. } => {
                    self.norm(Pred::All, &layer.post_norm, x, n);
                    self.gate_late(index, for_layer(thresholds, index), *coupling);
                    self.mlp_replay(index, layer);
                }
                Method::Replay { .. } => {
                    self.norm(Pred::Compute, &layer.post_norm, x, n);
                    self.quant(Pred::Compute, n, act, layer.up.blocks);
                    self.mlp_replay(index, layer);
                }
                method => {
                    self.norm(Pred::All, &layer.post_norm, x, n);
                    if matches!(method, Method::Delta { .. }) {
                        self.mlp_delta(index, layer);
                    } else {
                        self.mlp(layer);
                    }
                }
            }
        }
    }

    /// A layer up to its MLP, as a pass of its own: what the MLP pass needs is left in memory.
    pub(super) fn attention_pass(&mut self, index: usize, between: Between) {
        let Places { x, n, .. } = self.at;
        let layer = &self.transformer.layers[index];
        self.decides_only = true;
        self.attention(index, layer);
        self.norm(Pred::All, &layer.post_norm, x, n);
        if let Method::Replay { gate: Gate::InputDelta { thresholds }, coupling, .. } = self.method {
            self.gate_late(index, for_layer(thresholds, index), *coupling);
        }
        self.decides_only = false;
        self.suspend(between);
        self.store(Pred::All, n, between.input);
    }

    /// A layer's MLP, as a pass of its own.
    pub(super) fn mlp_pass(&mut self, index: usize, between: Between) {
        let Places { n, act, .. } = self.at;
        let layer = &self.transformer.layers[index];
        self.resume(between);
        self.load_record(n, between.input);
        match self.method {
            Method::Dense => self.mlp(layer),
            Method::Delta { .. } => self.mlp_delta(index, layer),
            Method::Replay { gate, .. } => {
                self.emit(isa::GateHost { pred: Pred::All, gate: index as u16 });
                self.load_replayed(index);
                self.quant(Pred::Compute, n, act, layer.up.blocks);
                if matches!(gate, Gate::InputDelta { .. }) {
                    self.keep_input(index);
                }
                self.mlp_replay(index, layer);
            }
        }
    }

    /// Fetches the residual stream that another pass has left.
    pub(super) fn resume(&mut self, between: Between) {
        self.load_record(self.at.x, between.stream);
    }

    /// Leaves the residual stream for another pass.
    pub(super) fn suspend(&mut self, between: Between) {
        self.store(Pred::All, self.at.x, between.stream);
    }

    fn load_record(&mut self, dst: VbLine, records: SlotRecords) {
        self.emit(isa::Load {
            pred: Pred::All,
            dst,
            index: IndexBy::None,
            accumulate: false,
            words: records.words,
            addr: Addr(records.addr),
            slot_stride: records.stride,
            index_stride: 0,
        });
    }

    fn attention(&mut self, index: usize, layer: &Layer) {
        let Places { x, n, wide, act, .. } = self.at;
        self.gate_host(index);
        self.norm(Pred::All, &layer.input_norm, x, n);
        self.operand(index, QKV, n, act, &layer.qkv);
        // What a decision or a mask may still hold up stays in the main queue; attention's own weights need none.
        let ahead = !matches!(self.method, Method::Delta { .. });
        let references = self.references(index, QKV);
        let product = Product { ahead, references, ..Product::new(Pred::All, &layer.qkv, act, wide) };
        let key = self.shape.attended();
        let value = key + self.shape.kv_words();
        let mut done = 0;
        for (i, tile) in layer.qkv.tiles.iter().enumerate() {
            self.emit(product.tile(i));
            let end = tile.first_row + tile.rows;
            let completes = |last: u32| (done + 1..=end).contains(&last);
            if completes(key) {
                self.query(index);
            }
            if completes(value) {
                self.rope(key, self.shape.kv_heads);
            }
            done = end;
        }
        self.attend(index, key, value);
        self.operand(index, O, n, act, &layer.o);
        let references = self.references(index, O);
        let product = Product::new(Pred::All, &layer.o, act, x);
        self.product(Product { accumulate: true, references, ..product });
    }

    /// What follows the queries: rotation, the operand of attention, and TAS, which needs only them and one cached key
    /// row, so that the decision stands before attention begins.
    fn query(&mut self, index: usize) {
        let Places { wide, query, raw_query, .. } = self.at;
        let blocks = lines(self.shape.attended());
        let form = match self.method {
            Method::Replay { gate: Gate::Tas { form, .. }, .. } => Some(*form),
            _ => None,
        };
        if form == Some(TasForm::Code) {
            self.quant(Pred::All, wide, raw_query, blocks);
            self.gate_tas(index, raw_query);
        }
        self.rope(0, self.shape.heads);
        self.quant(Pred::All, wide, query, blocks);
        if form == Some(TasForm::Paper) {
            self.gate_tas(index, query);
        }
    }

    /// Rotates heads that start at a word of the wide vector.
    fn rope(&mut self, first_word: u32, heads: u32) {
        let Some(table) = self.transformer.rope else { return };
        self.emit(isa::Rope {
            pred: Pred::All,
            vec: VbLine(self.at.wide.0 + lines(first_word) as u16),
            heads: heads as u16,
            head_dim: self.shape.head_dim as u16,
            table: Addr(table.addr),
            index_stride: table.stride,
        });
    }

    /// Caches keys and values, which stand at these words of the wide vector, and attends.
    fn attend(&mut self, index: usize, key: u32, value: u32) {
        let Shape { heads, kv_heads, head_dim, .. } = *self.shape;
        let line = |word: u32| VbLine(self.at.wide.0 + lines(word) as u16);
        let (addr, slot_stride) = (Addr(self.state.kv[index]), self.state.kv_stride);
        self.emit(isa::KvAppend {
            pred: Pred::All,
            key: line(key),
            value: line(value),
            kv_heads: kv_heads as u16,
            head_dim: head_dim as u16,
            addr,
            slot_stride,
        });
        let attn = isa::Attn {
            pred: Pred::All,
            src: self.at.query,
            dst: self.at.n,
            heads: heads as u16,
            head_dim: head_dim as u16,
            kv_heads: kv_heads as u16,
            scale: attention_scale(head_dim).into(),
            addr,
            slot_stride,
            ahead: true,
            ..isa::Attn::default()
        };
        self.emit(match self.state.list_of[index].map(|list| &self.state.lists[list]) {
            Some(list) => isa::Attn {
                list: Addr(list.addr),
                list_stride: list.stride,
                list_entries: list.layout.entries() as u16,
                ..attn
            },
            None => attn,
        });
    }

    /// A decision by the host alone stands before the layer begins.
    fn gate_host(&mut self, index: usize) {
        let Method::Replay { gate, .. } = self.method else { return };
        if !matches!(gate, Gate::Tas { .. } | Gate::InputDelta { .. }) {
            self.emit(isa::GateHost { pred: Pred::All, gate: index as u16 });
            self.load_replayed(index);
        }
    }

    fn gate_tas(&mut self, index: usize, src: AbBlock) {
        let Method::Replay { gate: Gate::Tas { thresholds, .. }, coupling, .. } = self.method else { return };
        let Shape { heads, kv_heads, head_dim, .. } = *self.shape;
        self.emit(isa::GateTas {
            pred: Pred::All,
            src,
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
        self.load_replayed(index);
    }

    /// Fetches the outputs of the slots that replay: nothing else touches `y` before the MLP ends.
    fn load_replayed(&mut self, index: usize) {
        if self.decides_only {
            return;
        }
        let Ring { addr, slot_stride, index_stride } = self.state.outputs[index];
        self.emit(isa::Load {
            pred: Pred::Replay,
            dst: self.at.y,
            index: IndexBy::Ring,
            accumulate: false,
            words: self.shape.hidden,
            addr: Addr(addr),
            slot_stride,
            index_stride,
        });
    }

    fn mlp(&mut self, layer: &Layer) {
        let Places { x, n, act, .. } = self.at;
        self.quant(Pred::All, n, act, layer.up.blocks);
        self.mlp_products(Pred::All, layer, x, true);
    }

    fn mlp_delta(&mut self, index: usize, layer: &Layer) {
        let Places { x, n, wide, act, mid, .. } = self.at;
        self.operand(index, UP, n, act, &layer.up);
        let (epilogue, references) = (self.epilogue(), self.references(index, UP));
        self.product(Product { epilogue, references, ..Product::new(Pred::All, &layer.up, act, wide) });
        // Which blocks changed is relative to the whole vector, so this cannot follow each tile.
        self.operand(index, DOWN, wide, mid, &layer.down);
        let references = self.references(index, DOWN);
        let product = Product::new(Pred::All, &layer.down, mid, x);
        self.product(Product { accumulate: true, references, ..product });
    }

    /// The MLP of the slots that compute, kept for their replays, and everybody's output.
    fn mlp_replay(&mut self, index: usize, layer: &Layer) {
        let Places { x, y, .. } = self.at;
        let words = self.shape.hidden;
        self.mlp_products(Pred::Compute, layer, y, false);
        let Ring { addr, slot_stride, index_stride } = self.state.outputs[index];
        self.emit(isa::Store {
            pred: Pred::Compute,
            src: y,
            index: IndexBy::Ring,
            words,
            addr: Addr(addr),
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
        self.quant(Pred::All, n, act, blocks.into());
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
        if !self.decides_only {
            self.load_replayed(index);
            self.keep_input(index);
        }
    }

    /// Keeps the inputs of the slots that compute, for the input-delta gate to compare with.
    fn keep_input(&mut self, index: usize) {
        let blocks = lines(self.shape.hidden) as u16;
        let Ring { addr, slot_stride, index_stride } = self.state.references[index];
        self.emit(isa::StoreAct {
            pred: Pred::Compute,
            src: self.at.act,
            index: IndexBy::Ring,
            blocks,
            addr: Addr(addr),
            slot_stride,
            index_stride,
        });
    }

    /// Both products of an MLP whose input is in the activation buffer. The inner vector is quantised tile by tile.
    fn mlp_products(&mut self, pred: Pred, layer: &Layer, dst: VbLine, accumulate: bool) {
        let Places { wide, act, mid, .. } = self.at;
        let up = Product { epilogue: self.epilogue(), ..Product::new(pred, &layer.up, act, wide) };
        for (i, tile) in layer.up.tiles.iter().enumerate() {
            self.emit(up.tile(i));
            let [before, end] =
                [tile.first_row, tile.first_row + tile.rows].map(|row| up.line_of(row) as u16);
            let (src, dst) = (VbLine(wide.0 + before), AbBlock(mid.0 + before));
            self.emit(isa::Quant { pred, src, dst, before, blocks: end - before });
        }
        self.product(Product { accumulate, ..Product::new(pred, &layer.down, mid, dst) });
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

    fn quant(&mut self, pred: Pred, src: VbLine, dst: AbBlock, blocks: u32) {
        self.emit(isa::Quant { pred, src, dst, blocks: blocks as u16, ..isa::Quant::default() });
    }

    /// Makes the operand of a linear layer: the vector itself, or its change in delta decode.
    fn operand(&mut self, index: usize, which: usize, src: VbLine, dst: AbBlock, matrix: &Matrix) {
        let Method::Delta { thresholds, .. } = self.method else {
            return self.quant(Pred::All, src, dst, matrix.blocks);
        };
        let tau = f64::from(for_layer(thresholds, index).all()[which]);
        let Ring { addr, slot_stride, index_stride } = self.state.deltas[index][which].input;
        self.emit(isa::Delta {
            pred: Pred::All,
            src,
            dst,
            gate: (index * DELTAS_PER_LAYER as usize + which) as u16,
            blocks: matrix.blocks as u16,
            tau_sq: ((tau * tau / f64::from(matrix.blocks)) as f32).into(),
            addr: Addr(addr),
            slot_stride,
            index_stride,
        });
    }

    /// Output references of a linear layer in delta decode.
    fn references(&self, index: usize, which: usize) -> Option<&'a [Ring]> {
        self.state.deltas.get(index).map(|layer| &layer[which].outputs[..])
    }

    fn product(&mut self, product: Product<'_>) {
        for index in 0..product.matrix.tiles.len() {
            self.emit(product.tile(index));
        }
    }

    /// Final norm and hidden state, for the slots whose output is wanted.
    pub(super) fn hidden(&mut self, records: SlotRecords) {
        let Places { x, n, .. } = self.at;
        self.norm(Pred::Output, &self.transformer.final_norm, x, n);
        self.store(Pred::Output, n, records);
    }

    /// Final norm, head and logits, for the slots whose output is wanted. Each tile's results get lines of their own
    /// while there are some, so that they are stored while the next tile streams.
    pub(super) fn logits(&mut self, records: &[SlotRecords]) {
        let Places { x, n, wide, act, .. } = self.at;
        let Some(head) = &self.transformer.head else { return };
        self.norm(Pred::Output, &self.transformer.final_norm, x, n);
        self.quant(Pred::Output, n, act, head.blocks);
        let mut line = u32::from(wide.0);
        for (i, (tile, &record)) in head.tiles.iter().zip(records).enumerate() {
            if line + lines(tile.rows) > self.config.vb_lines() {
                line = wide.0.into();
            }
            let dst = VbLine(line as u16);
            self.emit(isa::Matvec { dst, ..Product::new(Pred::Output, head, act, dst).tile(i) });
            self.store(Pred::Output, dst, record);
            line += lines(tile.rows);
        }
    }

    fn store(&mut self, pred: Pred, src: VbLine, records: SlotRecords) {
        self.emit(isa::Store {
            pred,
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
