//! The packer: from a checkpoint to constants laid out for one configuration.
//!
//! Matrices are quantised to MX blocks along the input dimension and placed by [`fastcar_arch::layout`]; vectors stay
//! binary32. Work runs in parallel over rows; the result does not depend on the number of threads.

use crate::image::{Format, Image, Input, Layer, Matrix, Norm, Table, Transformer};
use crate::model::{
    LinearRole, LinearView, Model, ModelError, NormRole, NormWeights, Transformer as Source, VilaU,
};
use crate::packed::{PackError, PackedModel};
use crate::plan::{ModelShape, Plan};
use crate::rope;
use fastcar_arch::config::AccelConfig;
use fastcar_arch::layout::{RecordLayout, WeightLayout};
use fastcar_arch::num::mx::{self, BLOCK, E8M0};
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the packer is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PackOptions {
    /// Format of the layers' matrices.
    pub weights: Format,
    /// Format of the output head; MXINT8 where not given: it is small and decides every token.
    pub head: Option<Format>,
}

/// Told how far the packer is, and asked whether to go on.
pub trait Progress: Sync {
    /// `done` of `total` weights are packed.
    fn advance(&self, done: u64, total: u64);
    /// Whether to stop.
    fn cancelled(&self) -> bool {
        false
    }
}

/// No progress shown, never cancelled.
impl Progress for () {
    fn advance(&self, _: u64, _: u64) {}
}

/// Cancelled by a flag, for instance from a signal handler.
impl Progress for AtomicBool {
    fn advance(&self, _: u64, _: u64) {}
    fn cancelled(&self) -> bool {
        self.load(Ordering::Relaxed)
    }
}

/// Packs a model for a configuration: fills its plan with its weights.
///
/// # Errors
/// [`PackError`]: the checkpoint has a bad value, or the constants do not fit the card's memory.
pub fn pack(
    model: &Model,
    config: &AccelConfig,
    options: PackOptions,
    progress: &dyn Progress,
) -> Result<PackedModel, PackError> {
    fill(model, Plan::new(config, &ModelShape::of(model)?, options)?, progress)
}

/// As [`pack`], for a model that may be larger than the card's memory: only streamed sessions can use it.
///
/// # Errors
/// As [`pack`].
pub fn pack_streamed(
    model: &Model,
    config: &AccelConfig,
    options: PackOptions,
    progress: &dyn Progress,
) -> Result<PackedModel, PackError> {
    fill(model, Plan::streamed(config, &ModelShape::of(model)?, options)?, progress)
}

fn fill(model: &Model, mut plan: Plan, progress: &dyn Progress) -> Result<PackedModel, PackError> {
    let mut packer = Packer::new(&plan, progress, weights(model));
    packer.image(&mut plan.image, model)?;
    let channels = packer.channels;
    Ok(PackedModel::from_memory(plan, channels))
}

/// Weights of all matrices, for progress.
fn weights(model: &Model) -> u64 {
    let of = |t: &Source| t.spec().layer_parameters() + (t.spec().vocab() * t.spec().hidden()) as u64;
    of(model.body()) + model.vila_u().map_or(0, |v| of(v.depth()))
}

/// Fills in what a plan has places for.
struct Packer<'a> {
    config: AccelConfig,
    progress: &'a dyn Progress,
    records: RecordLayout,
    channels: Vec<Vec<u8>>,
    done: u64,
    total: u64,
}

impl<'a> Packer<'a> {
    fn new(plan: &Plan, progress: &'a dyn Progress, total: u64) -> Self {
        let config = plan.config().clone();
        let channels = vec![vec![0; plan.constants().get() as usize]; config.channels() as usize];
        let records = RecordLayout::new(&config);
        Self { config, progress, records, channels, done: 0, total }
    }

    fn image(&mut self, image: &mut Image, model: &Model) -> Result<(), PackError> {
        self.transformer(&mut image.body, model.body())?;
        if let (Some(embedding), Some(input)) = (model.body().embedding()?, image.inputs.first()) {
            self.table(&input.tables[0], &embedding.weight_f32()?);
        }
        if let (Some(vila), Some((depth, inputs))) = (model.vila_u(), &mut image.depth) {
            if let Some(input) = image.inputs.last_mut() {
                self.code_tables(&input.tables, vila)?;
                self.projector(&mut input.projector, &vila.projector()?)?;
            }
            self.transformer(depth, vila.depth())?;
            self.depth_inputs(inputs, vila)?;
        }
        Ok(())
    }

    fn transformer(&mut self, planned: &mut Transformer, source: &Source) -> Result<(), PackError> {
        let (spec, gelu) = (source.spec(), planned.shape.gelu);
        for (index, layer) in planned.layers.iter_mut().enumerate() {
            self.layer(layer, source, index, gelu)?;
        }
        self.norm(&planned.final_norm, &source.final_norm()?);
        if let (Some(table), Some(theta)) = (&planned.rope, spec.rope_theta()) {
            self.table(table, &rope::table(theta, spec.head_dim(), table.entries as usize));
        }
        if let (Some(table), Some(vectors)) = (&planned.positions, source.positions()?) {
            self.table(table, &vectors);
        }
        match &mut planned.head {
            Some(head) => self.matrix(head, &Rows::of(source.head()?)),
            None => Ok(()),
        }
    }

    fn layer(
        &mut self,
        planned: &mut Layer,
        source: &Source,
        index: usize,
        gelu: bool,
    ) -> Result<(), PackError> {
        let weights = source.layer(index)?;
        let view = |role| weights.linear(role);
        let qkv = Rows::stacked(vec![view(LinearRole::Q)?, view(LinearRole::K)?, view(LinearRole::V)?]);
        let (up, down) = if gelu {
            (Rows::of(view(LinearRole::Fc1)?), view(LinearRole::Fc2)?)
        } else {
            (Rows::interleaved(view(LinearRole::Gate)?, view(LinearRole::Up)?), view(LinearRole::Down)?)
        };
        self.norm(&planned.input_norm, &weights.norm(NormRole::Input)?);
        self.matrix(&mut planned.qkv, &qkv)?;
        self.matrix(&mut planned.o, &Rows::of(view(LinearRole::O)?))?;
        self.norm(&planned.post_norm, &weights.norm(NormRole::PostAttention)?);
        self.matrix(&mut planned.up, &up)?;
        self.matrix(&mut planned.down, &Rows::of(down))
    }

    fn norm(&mut self, planned: &Norm, weights: &NormWeights) {
        self.record(planned.gamma, &weights.gamma);
        if let (Some(addr), Some(beta)) = (planned.beta, &weights.beta) {
            self.record(addr, beta);
        }
    }

    fn record(&mut self, addr: u64, words: &[f32]) {
        let bytes: &[u8] = bytemuck::cast_slice(words);
        for (place, range) in self.records.pieces(bytes.len() as u64) {
            let start = (addr + place.offset) as usize;
            self.channels[place.channel][start..start + range.len()].copy_from_slice(&bytes[range]);
        }
    }

    fn table(&mut self, planned: &Table, rows: &[f32]) {
        for (i, row) in rows.chunks_exact(planned.words as usize).enumerate() {
            self.record(planned.addr + i as u64 * planned.stride, row);
        }
    }

    fn projector(&mut self, planned: &mut [Matrix], views: &[LinearView<'_>]) -> Result<(), PackError> {
        planned.iter_mut().zip(views).try_for_each(|(matrix, view)| self.matrix(matrix, &Rows::of(*view)))
    }

    fn code_tables(&mut self, planned: &[Table], vila: &VilaU) -> Result<(), PackError> {
        for (depth, table) in planned.iter().enumerate() {
            self.table(table, &vila.code_embedding(depth)?.rows_f32(0..table.entries as usize)?);
        }
        Ok(())
    }

    /// The first code starts from the hidden state; all later ones share one matrix.
    fn depth_inputs(&mut self, inputs: &mut [Input], vila: &VilaU) -> Result<(), PackError> {
        let Some((first, later)) = inputs.split_first_mut() else { return Ok(()) };
        self.projector(&mut first.projector, &[vila.input_from_body()?])?;
        if let Some((second, rest)) = later.split_first_mut() {
            self.projector(&mut second.projector, &[vila.input_from_codes()?])?;
            rest.iter_mut().for_each(|input| input.projector.clone_from(&second.projector));
        }
        Ok(())
    }

    /// Quantises a matrix and writes its tiles, each channel's rows on their own.
    fn matrix(&mut self, planned: &mut Matrix, source: &Rows<'_>) -> Result<(), PackError> {
        if self.progress.cancelled() {
            return Err(PackError::Cancelled);
        }
        let bias = source.bias()?;
        planned.scale_max = 0;
        for tile in &planned.tiles {
            let layout = WeightLayout::new(&self.config, tile.rows, planned.blocks, planned.format.into());
            let chunk = Chunk { layout, addr: tile.addr, first_row: tile.first_row, format: planned.format };
            let channels = self.channels.par_iter_mut().enumerate();
            let largest = channels.map(|(channel, bytes)| chunk.place(channel, source, bytes));
            let largest = largest.try_reduce(|| 0, |a, b| Ok(a.max(b)))?;
            planned.scale_max = planned.scale_max.max(largest);
            if let (Some(addr), Some(bias)) = (tile.bias, &bias) {
                self.record(addr, &bias[tile.first_row as usize..][..tile.rows as usize]);
            }
        }
        self.done += (source.rows() * source.cols()) as u64;
        self.progress.advance(self.done.min(self.total), self.total);
        Ok(())
    }
}

/// Rows of a matrix in the order in which the machine wants them, still in their files.
struct Rows<'a> {
    parts: Vec<LinearView<'a>>,
    interleaved: bool,
}

impl<'a> Rows<'a> {
    fn of(view: LinearView<'a>) -> Self {
        Self::stacked(vec![view])
    }

    /// Matrices of one width on top of each other.
    fn stacked(parts: Vec<LinearView<'a>>) -> Self {
        Self { parts, interleaved: false }
    }

    /// Rows of two matrices in turn: gate 0, up 0, gate 1, up 1, ...
    fn interleaved(gate: LinearView<'a>, up: LinearView<'a>) -> Self {
        Self { parts: vec![gate, up], interleaved: true }
    }

    fn rows(&self) -> usize {
        self.parts.iter().map(LinearView::rows).sum()
    }

    fn cols(&self) -> usize {
        self.parts[0].cols()
    }

    /// The part that a row comes from, and which of its rows it is.
    fn locate(&self, row: usize) -> (usize, usize) {
        if self.interleaved {
            return (row % self.parts.len(), row / self.parts.len());
        }
        let (mut part, mut row) = (0, row);
        while part + 1 < self.parts.len() && row >= self.parts[part].rows() {
            row -= self.parts[part].rows();
            part += 1;
        }
        (part, row)
    }

    fn read(&self, row: usize, out: &mut [f32]) -> Result<(), ModelError> {
        let (part, row) = self.locate(row);
        self.parts[part].row_f32(row, out)
    }

    /// Zero where a part has none and another has.
    fn bias(&self) -> Result<Option<Vec<f32>>, ModelError> {
        if !self.parts.iter().any(LinearView::has_bias) {
            return Ok(None);
        }
        let own = |part: &LinearView<'_>| Ok(part.bias_f32()?.unwrap_or_else(|| vec![0.0; part.rows()]));
        let parts = self.parts.iter().map(own).collect::<Result<Vec<_>, ModelError>>()?;
        let word = |row| {
            let (part, row) = self.locate(row);
            parts[part][row]
        };
        Ok(Some((0..self.rows()).map(word).collect()))
    }
}

/// A tile on its way to the channels.
struct Chunk {
    layout: WeightLayout,
    addr: u64,
    first_row: u32,
    format: Format,
}

impl Chunk {
    /// Quantises the rows of a channel and writes them; returns the largest scale byte.
    fn place(&self, channel: usize, source: &Rows<'_>, bytes: &mut [u8]) -> Result<u8, ModelError> {
        let run = self.layout.block_run().get() as usize;
        let mut words = vec![0.0; source.cols()];
        let mut largest = 0;
        for row in self.layout.rows_of(channel) {
            source.read(self.first_row as usize + row as usize, &mut words)?;
            let (scale, elements) = self.layout.place(row, 0);
            let mut scale_at = (self.addr + scale.offset) as usize;
            let mut elements_at = (self.addr + elements.offset) as usize;
            for block in words.as_chunks::<BLOCK>().0 {
                let scale = self.write(block, &mut bytes[elements_at..]);
                bytes[scale_at] = scale;
                largest = largest.max(scale);
                (scale_at, elements_at) = (scale_at + run, elements_at + run);
            }
        }
        Ok(largest)
    }

    /// Writes a block's elements and returns its scale byte.
    fn write(&self, block: &[f32; BLOCK], to: &mut [u8]) -> u8 {
        match self.format {
            Format::MxInt8 => {
                let q = mx::quantise_int8(block);
                to[..BLOCK].copy_from_slice(bytemuck::cast_slice(&q.elems));
                q.scale.0
            }
            Format::MxFp4 => {
                let q = best_fp4(block);
                to[..BLOCK / 2].copy_from_slice(&q.codes);
                q.scale.0
            }
        }
    }
}

/// The MXFP4 block of least squared error among the format's own scale and the next larger: with the format's own,
/// the top of the range (6 to 8) saturates, which a weight may not be able to afford.
fn best_fp4(block: &[f32; BLOCK]) -> mx::Fp4Block {
    let own = mx::quantise_fp4(block);
    let larger = mx::quantise_fp4_with_scale(block, E8M0(own.scale.0.saturating_add(1).min(254)));
    // Each sum in order, so that the choice does not depend on how a compiler splits it; side by side, so that one does
    // not wait for the other.
    let errors = squared_errors(block, &own).into_iter().zip(squared_errors(block, &larger));
    let (of_own, of_larger) = errors.fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
    if of_larger < of_own { larger } else { own }
}

fn squared_errors(block: &[f32; BLOCK], q: &mx::Fp4Block) -> [f64; BLOCK] {
    let mut errors = q.dequantise_f64();
    for (error, &x) in errors.iter_mut().zip(block) {
        let difference = f64::from(x) - *error;
        *error = difference * difference;
    }
    errors
}
