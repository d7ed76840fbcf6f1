//! The packer: from a checkpoint to constants laid out for one configuration.
//!
//! Matrices are quantised to MX blocks along the input dimension and placed by [`fastcar_arch::layout`]; vectors stay
//! binary32. Work runs in parallel over rows; the result does not depend on the number of threads.

use crate::image::{Format, Image, Input, Layer, Matrix, Norm, Table, Transformer};
use crate::model::{
    Linear, LinearRole, LinearView, Model, NormRole, NormWeights, Transformer as Source, VilaU,
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
            Some(head) => self.matrix(head, &source.head()?.load()?),
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
        let load = |role| weights.linear(role)?.load();
        let qkv = stack(&[load(LinearRole::Q)?, load(LinearRole::K)?, load(LinearRole::V)?]);
        let (up, down) = if gelu {
            (load(LinearRole::Fc1)?, load(LinearRole::Fc2)?)
        } else {
            (interleave(&load(LinearRole::Gate)?, &load(LinearRole::Up)?), load(LinearRole::Down)?)
        };
        self.norm(&planned.input_norm, &weights.norm(NormRole::Input)?);
        self.matrix(&mut planned.qkv, &qkv)?;
        self.matrix(&mut planned.o, &load(LinearRole::O)?)?;
        self.norm(&planned.post_norm, &weights.norm(NormRole::PostAttention)?);
        self.matrix(&mut planned.up, &up)?;
        self.matrix(&mut planned.down, &down)
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
        planned.iter_mut().zip(views).try_for_each(|(matrix, view)| self.matrix(matrix, &view.load()?))
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

    /// Quantises a matrix and writes its tiles.
    fn matrix(&mut self, planned: &mut Matrix, source: &Linear) -> Result<(), PackError> {
        if self.progress.cancelled() {
            return Err(PackError::Cancelled);
        }
        let format = planned.format;
        let quantised: Vec<Row> =
            source.weight.par_chunks(source.cols).map(|row| Row::new(row, format)).collect();
        planned.scale_max = quantised.iter().flat_map(|r| &r.scales).copied().max().unwrap_or(0);
        for tile in &planned.tiles {
            let layout = WeightLayout::new(&self.config, tile.rows, planned.blocks, format.into());
            let range = tile.first_row as usize..(tile.first_row + tile.rows) as usize;
            self.place(&layout, tile.addr, &quantised[range.clone()]);
            if let (Some(addr), Some(bias)) = (tile.bias, &source.bias) {
                self.record(addr, &bias[range]);
            }
        }
        self.done += source.weight.len() as u64;
        self.progress.advance(self.done.min(self.total), self.total);
        Ok(())
    }

    /// Writes a tile's rows, each channel on its own.
    fn place(&mut self, layout: &WeightLayout, addr: u64, rows: &[Row]) {
        self.channels.par_iter_mut().enumerate().for_each(|(channel, bytes)| {
            for row in layout.rows_of(channel) {
                let source = &rows[row as usize];
                for (block, &scale) in source.scales.iter().enumerate() {
                    let (at, elements) = layout.place(row, block as u64);
                    bytes[(addr + at.offset) as usize] = scale;
                    let size = source.elements.len() / source.scales.len();
                    let start = (addr + elements.offset) as usize;
                    bytes[start..start + size].copy_from_slice(&source.elements[block * size..][..size]);
                }
            }
        });
    }
}

/// A quantised matrix row.
struct Row {
    scales: Vec<u8>,
    elements: Vec<u8>,
}

impl Row {
    fn new(row: &[f32], format: Format) -> Self {
        let (blocks, _) = row.as_chunks::<BLOCK>();
        let mut out =
            Self { scales: Vec::with_capacity(blocks.len()), elements: Vec::with_capacity(row.len()) };
        for block in blocks {
            match format {
                Format::MxInt8 => {
                    let q = mx::quantise_int8(block);
                    out.scales.push(q.scale.0);
                    out.elements.extend(q.elems.iter().map(|&e| e as u8));
                }
                Format::MxFp4 => {
                    let q = best_fp4(block);
                    out.scales.push(q.scale.0);
                    out.elements.extend(q.codes);
                }
            }
        }
        out
    }
}

/// The MXFP4 block of least squared error among the format's own scale and the next larger: with the format's own,
/// the top of the range (6 to 8) saturates, which a weight may not be able to afford.
fn best_fp4(block: &[f32; BLOCK]) -> mx::Fp4Block {
    let own = mx::quantise_fp4(block);
    let larger = mx::quantise_fp4_with_scale(block, E8M0(own.scale.0.saturating_add(1).min(254)));
    if squared_error(block, &larger) < squared_error(block, &own) { larger } else { own }
}

fn squared_error(block: &[f32; BLOCK], q: &mx::Fp4Block) -> f64 {
    let diff = |(&x, y): (&f32, f64)| (f64::from(x) - y) * (f64::from(x) - y);
    block.iter().zip(q.dequantise_f64()).map(diff).sum()
}

/// Matrices of one width on top of each other.
fn stack(parts: &[Linear]) -> Linear {
    let rows = parts.iter().map(|p| p.rows).sum();
    let weight = parts.iter().flat_map(|p| p.weight.iter().copied()).collect();
    let bias = parts.iter().any(|p| p.bias.is_some()).then(|| parts.iter().flat_map(bias_or_zero).collect());
    Linear { rows, cols: parts[0].cols, weight, bias }
}

fn bias_or_zero(part: &Linear) -> Vec<f32> {
    part.bias.clone().unwrap_or_else(|| vec![0.0; part.rows])
}

/// Rows of two matrices in turn: gate 0, up 0, gate 1, up 1, ...
fn interleave(gate: &Linear, up: &Linear) -> Linear {
    let rows = gate.weight.chunks_exact(gate.cols).zip(up.weight.chunks_exact(up.cols));
    let weight = rows.flat_map(|(g, u)| g.iter().chain(u).copied()).collect();
    let bias = (gate.bias.is_some() || up.bias.is_some()).then(|| {
        let pairs = bias_or_zero(gate).into_iter().zip(bias_or_zero(up));
        pairs.flat_map(|(g, u)| [g, u]).collect()
    });
    Linear { rows: gate.rows + up.rows, cols: gate.cols, weight, bias }
}
