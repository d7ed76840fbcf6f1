//! The packer: from a checkpoint to constants laid out for one configuration.
//!
//! Matrices are quantised to MX blocks along the input dimension and placed by [`fastcar_arch::layout`]; vectors stay
//! binary32. Work runs in parallel over rows; the result does not depend on the number of threads.

use crate::compile::wide_room;
use crate::image::{Format, Image, Input, Layer, Matrix, Norm, Shape, Table, Tile, Transformer, tile_rows};
use crate::model::{
    Linear, LinearRole, LinearView, Model, NormRole, NormWeights, Transformer as Source, VilaU,
};
use crate::packed::{PackError, PackedModel};
use crate::rope;
use fastcar_arch::config::AccelConfig;
use fastcar_arch::layout::{MemoryMap, RecordLayout, WeightLayout};
use fastcar_arch::num::mx::{self, BLOCK, E8M0};
use fastcar_arch::units::Bytes;
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

/// Packs a model for a configuration.
///
/// # Errors
/// [`PackError`]: the checkpoint has a bad value, or the constants do not fit the card's memory.
pub fn pack(
    model: &Model,
    config: &AccelConfig,
    options: PackOptions,
    progress: &dyn Progress,
) -> Result<PackedModel, PackError> {
    let mut packer = Packer::new(config, options, progress, weights(model));
    let body = packer.transformer(model.body(), model.vila_u().is_none())?;
    let mut inputs = Vec::new();
    if let Some(embedding) = model.body().embedding()? {
        let table = packer.table(&embedding.weight_f32()?, embedding.cols())?;
        inputs.push(Input { tables: vec![table], projector: Vec::new() });
    }
    let depth = match model.vila_u() {
        Some(vila) => {
            let codes = packer.code_tables(vila)?;
            let projector = packer.matrices(&vila.projector()?)?;
            inputs.push(Input { tables: codes.clone(), projector });
            Some(packer.depth(vila, &codes)?)
        }
        None => None,
    };
    let period = model.frame_period().map(|p| p as u32);
    let image = Image { body, inputs, depth, period };
    Ok(PackedModel::from_memory(config.clone(), image, packer.finish()))
}

/// Weights of all matrices, for progress.
fn weights(model: &Model) -> u64 {
    let of = |t: &Source| t.spec().layer_parameters() + (t.spec().vocab() * t.spec().hidden()) as u64;
    of(model.body()) + model.vila_u().map_or(0, |v| of(v.depth()))
}

struct Packer<'a> {
    config: &'a AccelConfig,
    options: PackOptions,
    progress: &'a dyn Progress,
    map: MemoryMap,
    records: RecordLayout,
    channels: Vec<Vec<u8>>,
    done: u64,
    total: u64,
}

impl<'a> Packer<'a> {
    fn new(config: &'a AccelConfig, options: PackOptions, progress: &'a dyn Progress, total: u64) -> Self {
        let channels = vec![Vec::new(); config.channels() as usize];
        let (map, records) = (MemoryMap::new(config), RecordLayout::new(config));
        Self { config, options, progress, map, records, channels, done: 0, total }
    }

    fn finish(self) -> Vec<Vec<u8>> {
        self.channels
    }

    fn allocate(&mut self, bytes: Bytes) -> Result<u64, PackError> {
        let addr = self.map.allocate("constants", bytes)?;
        let used = self.map.used().get() as usize;
        self.channels.iter_mut().for_each(|c| c.resize(used, 0));
        Ok(addr)
    }

    /// A body whose hidden state goes to a depth transformer needs no head of its own.
    fn transformer(&mut self, source: &Source, with_head: bool) -> Result<Transformer, PackError> {
        let spec = source.spec();
        let shape = Shape::from(spec);
        let mut layers = Vec::new();
        for index in 0..spec.layers() {
            layers.push(self.layer(source, index)?);
        }
        let final_norm = self.norm(&source.final_norm()?)?;
        let positions = spec.max_positions().min(self.config.score_tokens() as usize);
        let rope = match spec.rope_theta() {
            Some(theta) => {
                Some(self.table(&rope::table(theta, spec.head_dim(), positions), spec.head_dim())?)
            }
            None => None,
        };
        let learned = match source.positions()? {
            Some(vectors) => Some(self.table(&vectors, spec.hidden())?),
            None => None,
        };
        let head = if with_head { Some(self.head(source, &shape)?) } else { None };
        Ok(Transformer { shape, layers, final_norm, rope, positions: learned, head })
    }

    fn head(&mut self, source: &Source, shape: &Shape) -> Result<Matrix, PackError> {
        let format = self.options.head.unwrap_or(Format::MxInt8);
        self.matrix(&source.head()?.load()?, format, wide_room(self.config, shape))
    }

    fn layer(&mut self, source: &Source, index: usize) -> Result<Layer, PackError> {
        let weights = source.layer(index)?;
        let load = |role| weights.linear(role)?.load();
        let format = self.options.weights;
        let qkv = stack(&[load(LinearRole::Q)?, load(LinearRole::K)?, load(LinearRole::V)?]);
        let (up, down) = if Shape::from(source.spec()).gelu {
            (load(LinearRole::Fc1)?, load(LinearRole::Fc2)?)
        } else {
            (interleave(&load(LinearRole::Gate)?, &load(LinearRole::Up)?), load(LinearRole::Down)?)
        };
        Ok(Layer {
            input_norm: self.norm(&weights.norm(NormRole::Input)?)?,
            qkv: self.matrix(&qkv, format, u32::MAX)?,
            o: self.matrix(&load(LinearRole::O)?, format, u32::MAX)?,
            post_norm: self.norm(&weights.norm(NormRole::PostAttention)?)?,
            up: self.matrix(&up, format, u32::MAX)?,
            down: self.matrix(&down, format, u32::MAX)?,
        })
    }

    fn norm(&mut self, weights: &NormWeights) -> Result<Norm, PackError> {
        let gamma = self.vector(&weights.gamma)?;
        let beta = weights.beta.as_ref().map(|b| self.vector(b)).transpose()?;
        Ok(Norm { gamma, beta })
    }

    fn vector(&mut self, words: &[f32]) -> Result<u64, PackError> {
        let addr = self.allocate(self.records.vector_bytes(words.len() as u64))?;
        self.write_record(addr, words);
        Ok(addr)
    }

    fn write_record(&mut self, addr: u64, words: &[f32]) {
        let bytes: &[u8] = bytemuck::cast_slice(words);
        for (place, range) in self.records.pieces(bytes.len() as u64) {
            let start = (addr + place.offset) as usize;
            self.channels[place.channel][start..start + range.len()].copy_from_slice(&bytes[range]);
        }
    }

    /// A table of records of `words` words each.
    fn table(&mut self, rows: &[f32], words: usize) -> Result<Table, PackError> {
        let stride = self.records.vector_bytes(words as u64).get();
        let entries = rows.len() / words;
        let addr = self.allocate(Bytes(stride * entries as u64))?;
        for (i, row) in rows.chunks_exact(words).enumerate() {
            self.write_record(addr + i as u64 * stride, row);
        }
        Ok(Table { addr, stride, entries: entries as u32, words: words as u32 })
    }

    fn matrices(&mut self, views: &[LinearView<'_>]) -> Result<Vec<Matrix>, PackError> {
        views.iter().map(|v| self.matrix(&v.load()?, self.options.weights, u32::MAX)).collect()
    }

    fn code_tables(&mut self, vila: &VilaU) -> Result<Vec<Table>, PackError> {
        (0..vila.config().code_depth())
            .map(|depth| {
                let codes = vila.code_embedding(depth)?;
                self.table(&codes.rows_f32(0..vila.config().codes())?, codes.cols())
            })
            .collect()
    }

    /// The depth transformer, and its input at each code: first from the hidden state, then from the codes so far.
    fn depth(&mut self, vila: &VilaU, codes: &[Table]) -> Result<(Transformer, Vec<Input>), PackError> {
        let transformer = self.transformer(vila.depth(), true)?;
        let mut projectors = self.matrices(&[vila.input_from_body()?, vila.input_from_codes()?])?;
        let from_codes = projectors.pop().into_iter().collect::<Vec<_>>();
        let mut inputs = vec![Input { tables: Vec::new(), projector: projectors }];
        for chosen in 1..codes.len() {
            inputs.push(Input { tables: codes[..chosen].to_vec(), projector: from_codes.clone() });
        }
        Ok((transformer, inputs))
    }

    /// Quantises and places a matrix, cut into tiles of at most `room` rows.
    fn matrix(&mut self, source: &Linear, format: Format, room: u32) -> Result<Matrix, PackError> {
        if self.progress.cancelled() {
            return Err(PackError::Cancelled);
        }
        let blocks = source.cols / BLOCK;
        let quantised: Vec<Row> =
            source.weight.par_chunks(source.cols).map(|row| Row::new(row, format)).collect();
        let scale_max = quantised.iter().flat_map(|r| &r.scales).copied().max().unwrap_or(0);
        let mut tiles = Vec::new();
        for (first_row, rows) in tile_rows(self.config, source.rows as u32, room) {
            let layout = WeightLayout::new(self.config, rows, blocks as u32, format.into());
            let addr = self.allocate(layout.local_bytes())?;
            let range = first_row as usize..(first_row + rows) as usize;
            self.place(&layout, addr, &quantised[range.clone()]);
            let bias = source.bias.as_ref().map(|b| self.vector(&b[range])).transpose()?;
            tiles.push(Tile { first_row, rows, addr, bias });
        }
        self.done += source.weight.len() as u64;
        self.progress.advance(self.done.min(self.total), self.total);
        Ok(Matrix { rows: source.rows as u32, blocks: blocks as u32, format, scale_max, tiles })
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
