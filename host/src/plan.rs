//! Where a model's constants lie on a card, from its sizes alone.
//!
//! [`Plan::new`] lays a [`ModelShape`] out for a configuration without looking at a weight: the packer fills the bytes
//! in afterwards, and a run that needs no values ([`crate::workload`]) goes without them. Both compile to the same
//! programs.
//!
//! # Tiles
//!
//! A matrix is cut into **tiles** of rows, one `matvec` each, for two reasons. The accumulator RAM holds a window per
//! row, and half of it is for the next tile, so that streaming goes on while the last tile's rows are converted. And
//! what follows a tile (epilogues, rotating, storing its rows) runs while the next one streams, so matrices with work
//! behind them are cut finer. Tiles have whole granules of rows on every channel, and whole beats of scales where there
//! are rows enough, so that cutting pads nothing but, at most, a matrix's last beat. Values do not depend on the cut:
//! scale and window belong to the whole matrix.

use crate::compile::wide_room;
use crate::image::{Format, Image, Input, Layer, Matrix, Norm, Shape, Table, Tile, Transformer};
use crate::model::{LinearRole, LinearView, Model, ModelError, Transformer as Source, VilaU};
use crate::pack::PackOptions;
use fastcar_arch::config::{AccelConfig, LINE_WORDS, ROW_GRANULE};
use fastcar_arch::layout::{MemoryFull, MemoryMap, RecordLayout, WeightLayout};
use fastcar_arch::units::Bytes;

/// Sizes of a linear layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinearShape {
    /// Outputs.
    pub rows: u32,
    /// Inputs, a multiple of 32.
    pub cols: u32,
    /// Whether it has a bias.
    pub bias: bool,
}

/// Which matrices of a layer have biases.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LayerBiases {
    /// Any of the query, key and value projections.
    pub qkv: bool,
    /// Output projection.
    pub o: bool,
    /// First matrix, or either of the first two, of the MLP.
    pub up: bool,
    /// Last matrix of the MLP.
    pub down: bool,
}

/// Sizes of an output head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeadShape {
    /// Logits.
    pub rows: u32,
    /// Whether it has a bias.
    pub bias: bool,
}

/// Sizes of a transformer.
#[derive(Clone, PartialEq, Debug)]
pub struct TransformerShape {
    /// Layers, widths and kinds.
    pub shape: Shape,
    /// Biases, one entry per layer.
    pub biases: Vec<LayerBiases>,
    /// Rotary positions; learned position vectors otherwise.
    pub rope: bool,
    /// Output head; none where the last hidden vector goes elsewhere or nowhere.
    pub head: Option<HeadShape>,
}

/// Sizes of what turns a body's output into residual codes, as in VILA-U.
#[derive(Clone, PartialEq, Debug)]
pub struct CodeShape {
    /// The transformer that runs once per code.
    pub depth: TransformerShape,
    /// Codes of a position, 1 to 4.
    pub codes: u32,
    /// Entries of a codebook.
    pub entries: u32,
    /// Width of a code's embedding.
    pub width: u32,
    /// Linear layers from the sum of a position's embeddings to the body.
    pub projector: Vec<LinearShape>,
}

/// Sizes of a model: everything that its layout depends on.
#[derive(Clone, PartialEq, Debug)]
pub struct ModelShape {
    /// The transformer that runs once per position.
    pub body: TransformerShape,
    /// Entries of the body's token embedding.
    pub vocabulary: u32,
    /// Residual codes, where positions have them.
    pub codes: Option<CodeShape>,
    /// Positions in a frame, where the model makes video.
    pub period: Option<u32>,
}

/// Why a model cannot be laid out.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The constants do not fit the card's memory.
    #[error(transparent)]
    Memory(#[from] MemoryFull),
    /// Sizes that no program can be made for.
    #[error("the model's sizes cannot be laid out: {reason}")]
    Shape {
        /// Which, and what is allowed.
        reason: String,
    },
}

/// A model's constants laid out for one configuration: what a program is compiled from.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    pub(crate) config: AccelConfig,
    pub(crate) image: Image,
    pub(crate) constants: Bytes,
}

impl Plan {
    /// Lays a model out.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn new(config: &AccelConfig, model: &ModelShape, formats: PackOptions) -> Result<Self, PlanError> {
        Self::within(config, model, formats, MemoryMap::new(config))
    }

    /// As [`Plan::new`], for a model that may be larger than the card's memory: only streamed sessions can use it.
    ///
    /// # Errors
    /// [`PlanError::Shape`].
    pub fn streamed(
        config: &AccelConfig,
        model: &ModelShape,
        formats: PackOptions,
    ) -> Result<Self, PlanError> {
        Self::within(config, model, formats, MemoryMap::with_capacity(Bytes(u64::MAX)))
    }

    fn within(
        config: &AccelConfig,
        model: &ModelShape,
        formats: PackOptions,
        map: MemoryMap,
    ) -> Result<Self, PlanError> {
        let mut planner = Planner { config, formats, map, records: RecordLayout::new(config) };
        model.check().map_err(|reason| PlanError::Shape { reason })?;
        let image = planner.model(model)?;
        image.check_parts().map_err(|reason| PlanError::Shape { reason })?;
        Ok(Self { config: config.clone(), image, constants: planner.map.used() })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &AccelConfig {
        &self.config
    }

    /// What lies where. Without weights every `scale_max` is 0.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Bytes of constants on each channel.
    #[must_use]
    pub fn constants(&self) -> Bytes {
        self.constants
    }
}

impl ModelShape {
    /// The sizes of a model on disk; reads no weights.
    ///
    /// # Errors
    /// Those of tensors that are missing or misshapen, which opening has excluded.
    pub fn of(model: &Model) -> Result<Self, ModelError> {
        let codes = model.vila_u().map(CodeShape::of).transpose()?;
        let body = TransformerShape::of(model.body(), codes.is_none())?;
        let vocabulary = model.body().spec().vocab() as u32;
        Ok(Self { body, vocabulary, codes, period: model.frame_period().map(|p| p as u32) })
    }

    /// What is not a size of the image, which is checked when it stands.
    fn check(&self) -> Result<(), String> {
        let transformers = std::iter::once(&self.body).chain(self.codes.as_ref().map(|c| &c.depth));
        for t in transformers {
            t.shape.check()?;
            if t.biases.len() != t.shape.layers as usize {
                return Err(format!("biases are given for {} of {} layers", t.biases.len(), t.shape.layers));
            }
        }
        let Some(codes) = &self.codes else { return Ok(()) };
        if !(1..=4).contains(&codes.codes) {
            return Err(format!("a position has {} codes, 1 to 4 are possible", codes.codes));
        }
        let widths = codes.projector.iter().map(|l| l.cols).chain([codes.width]);
        match widths.into_iter().find(|w| *w == 0 || !w.is_multiple_of(LINE_WORDS)) {
            Some(width) => Err(format!("a code width is {width}, not a multiple of {LINE_WORDS}")),
            None => Ok(()),
        }
    }
}

impl TransformerShape {
    /// Without biases in the layers.
    #[must_use]
    pub fn plain(shape: Shape, rope: bool, head: Option<HeadShape>) -> Self {
        Self { shape, biases: vec![LayerBiases::default(); shape.layers as usize], rope, head }
    }

    fn of(source: &Source, with_head: bool) -> Result<Self, ModelError> {
        let spec = source.spec();
        let shape = Shape::from(spec);
        let biases = (0..spec.layers()).map(|l| LayerBiases::of(source, l, shape.gelu));
        let head = source.head()?;
        let head = HeadShape { rows: head.rows() as u32, bias: head.has_bias() };
        Ok(Self {
            shape,
            biases: biases.collect::<Result<_, _>>()?,
            rope: spec.rope_theta().is_some(),
            head: with_head.then_some(head),
        })
    }
}

impl LayerBiases {
    fn of(source: &Source, layer: usize, gelu: bool) -> Result<Self, ModelError> {
        use LinearRole as R;
        let weights = source.layer(layer)?;
        let any = |roles: &[R]| {
            roles
                .iter()
                .try_fold(false, |any, &role| Ok::<_, ModelError>(any | weights.linear(role)?.has_bias()))
        };
        let (up, down): (&[R], R) = if gelu { (&[R::Fc1], R::Fc2) } else { (&[R::Gate, R::Up], R::Down) };
        Ok(Self { qkv: any(&[R::Q, R::K, R::V])?, o: any(&[R::O])?, up: any(up)?, down: any(&[down])? })
    }
}

impl CodeShape {
    fn of(vila: &VilaU) -> Result<Self, ModelError> {
        let config = vila.config();
        Ok(Self {
            depth: TransformerShape::of(vila.depth(), true)?,
            codes: config.code_depth() as u32,
            entries: config.codes() as u32,
            width: config.code_width() as u32,
            projector: vila.projector()?.iter().map(LinearShape::from).collect(),
        })
    }
}

impl From<&LinearView<'_>> for LinearShape {
    fn from(view: &LinearView<'_>) -> Self {
        Self { rows: view.rows() as u32, cols: view.cols() as u32, bias: view.has_bias() }
    }
}

/// How a matrix is cut.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// Tiles to aim for.
    tiles: u32,
    /// Most rows of a tile.
    rows: u32,
}

/// Nothing follows before the last row: one tile, unless the accumulators need more.
const WHOLE: Cut = Cut { tiles: 1, rows: u32::MAX };
/// Work follows each tile. Of four tiles a quarter of that work is left over when the stream ends.
const FOLLOWED: Cut = Cut { tiles: 4, rows: u32::MAX };
/// Nothing but the results' way to the vector buffer follows each tile: with two, that of the first is hidden.
const HALVES: Cut = Cut { tiles: 2, rows: u32::MAX };
/// A tile has at least this many rows on each channel (unless the matrix has fewer): below, what a command costs
/// beside its stream is no longer small.
const LEAST_CHANNEL_ROWS: u32 = 64;
/// A tile's results are whole lines, also where two rows make one word.
const LINE_ROWS: u32 = 2 * LINE_WORDS;

/// The tiles of `rows` rows: (first row, rows), as even as whole units allow.
fn tiles(config: &AccelConfig, rows: u32, cut: Cut) -> Vec<(u32, u32)> {
    let half = config.acc_rows() / 2 / ROW_GRANULE * ROW_GRANULE;
    let room = (half * config.channels()).min(cut.rows);
    // Channels, granule and beat are powers of two, so the larger unit is a multiple of the smaller. Where there are
    // rows enough, a tile's rows fill whole beats of scales on every channel, and the remainder is the last tile.
    let granules = (config.channels() * ROW_GRANULE).max(LINE_ROWS);
    let beats = granules.max(config.channels() * config.beat().get() as u32);
    let even = if rows >= cut.tiles.saturating_mul(beats) && beats <= room { beats } else { granules };
    let unit = if cut.rows < even { LINE_ROWS } else { even };
    let units = rows.div_ceil(unit);
    let most = (room / unit).max(1);
    let least = (LEAST_CHANNEL_ROWS * config.channels()).div_ceil(unit);
    let count = cut.tiles.min(units / least).max(units.div_ceil(most)).max(1);
    let start = |i: u32| (i * (units / count) + i.min(units % count)) * unit;
    (0..count).map(|i| (start(i), start(i + 1).min(rows) - start(i))).collect()
}

/// The tiles of stacked query, key and value projections: cut where one ends and the next begins, so that each is gone
/// on with at once; as one matrix where the borders lie inside a granule.
fn qkv_tiles(config: &AccelConfig, shape: &Shape) -> Vec<(u32, u32)> {
    let parts = [shape.attended(), shape.kv_words(), shape.kv_words()];
    let unit = (config.channels() * ROW_GRANULE).max(LINE_ROWS);
    if parts.iter().any(|rows| !rows.is_multiple_of(unit)) {
        return tiles(config, shape.qkv_rows(), WHOLE);
    }
    let mut start = 0;
    let mut all = Vec::new();
    for rows in parts {
        all.extend(tiles(config, rows, WHOLE).into_iter().map(|(first, rows)| (start + first, rows)));
        start += rows;
    }
    all
}

/// Hands out addresses.
struct Planner<'a> {
    config: &'a AccelConfig,
    formats: PackOptions,
    map: MemoryMap,
    records: RecordLayout,
}

type Planned<T> = Result<T, MemoryFull>;

impl Planner<'_> {
    fn model(&mut self, model: &ModelShape) -> Planned<Image> {
        let hidden = model.body.shape.hidden;
        let body = self.transformer(&model.body)?;
        let embedding = self.table(model.vocabulary, hidden)?;
        let mut inputs = vec![Input { tables: vec![embedding], projector: Vec::new() }];
        let depth = match &model.codes {
            Some(codes) => {
                let tables = (0..codes.codes).map(|_| self.table(codes.entries, codes.width));
                let tables = tables.collect::<Planned<Vec<_>>>()?;
                let projector = codes.projector.iter().map(|l| self.linear(*l));
                let projector = projector.collect::<Planned<Vec<_>>>()?;
                inputs.push(Input { tables: tables.clone(), projector });
                Some(self.depth(codes, hidden, &tables)?)
            }
            None => None,
        };
        Ok(Image { body, inputs, depth, period: model.period })
    }

    /// The depth transformer, and its input at each code: first from the hidden state, then from the codes so far.
    fn depth(
        &mut self,
        codes: &CodeShape,
        hidden: u32,
        tables: &[Table],
    ) -> Planned<(Transformer, Vec<Input>)> {
        let transformer = self.transformer(&codes.depth)?;
        let rows = codes.depth.shape.hidden;
        let from_body = self.linear(LinearShape { rows, cols: hidden, bias: true })?;
        let mut inputs = vec![Input { tables: Vec::new(), projector: vec![from_body] }];
        if tables.len() > 1 {
            let from_codes = self.linear(LinearShape { rows, cols: codes.width, bias: true })?;
            let input =
                |chosen| Input { tables: tables[..chosen].to_vec(), projector: vec![from_codes.clone()] };
            inputs.extend((1..tables.len()).map(input));
        }
        Ok((transformer, inputs))
    }

    fn transformer(&mut self, source: &TransformerShape) -> Planned<Transformer> {
        let shape = source.shape;
        let layers = source.biases.iter().map(|b| self.layer(&shape, *b)).collect::<Planned<Vec<_>>>()?;
        let final_norm = self.norm(&shape)?;
        let (mut rope, mut positions) = (None, None);
        if source.rope {
            // No program admits more positions than the score buffer has tokens.
            let entries = shape.max_positions.min(self.config.score_tokens());
            rope = Some(self.table(entries, shape.head_dim)?);
        } else {
            positions = Some(self.table(shape.max_positions, shape.hidden)?);
        }
        let head = source.head.map(|h| self.head(&shape, h)).transpose()?;
        Ok(Transformer { shape, layers, final_norm, rope, positions, head })
    }

    fn head(&mut self, shape: &Shape, head: HeadShape) -> Planned<Matrix> {
        let format = self.formats.head.unwrap_or(Format::MxInt8);
        let linear = LinearShape { rows: head.rows, cols: shape.hidden, bias: head.bias };
        // Two tiles at least have room at a time: one is stored while the next is made.
        let cut = Cut { rows: wide_room(self.config, shape) / 2, ..FOLLOWED };
        self.matrix(linear, format, tiles(self.config, head.rows, cut))
    }

    fn layer(&mut self, shape: &Shape, biases: LayerBiases) -> Planned<Layer> {
        let Shape { hidden, ffn, .. } = *shape;
        let linear = |rows, cols, bias| LinearShape { rows, cols, bias };
        let format = self.formats.weights;
        let up = tiles(self.config, shape.up_rows(), FOLLOWED);
        Ok(Layer {
            input_norm: self.norm(shape)?,
            qkv: self.matrix(
                linear(shape.qkv_rows(), hidden, biases.qkv),
                format,
                qkv_tiles(self.config, shape),
            )?,
            o: self.linear(linear(hidden, shape.attended(), biases.o))?,
            post_norm: self.norm(shape)?,
            up: self.matrix(linear(shape.up_rows(), hidden, biases.up), format, up)?,
            down: self.linear(linear(hidden, ffn, biases.down))?,
        })
    }

    fn norm(&mut self, shape: &Shape) -> Planned<Norm> {
        let gamma = self.vector(shape.hidden)?;
        let beta = shape.layer_norm.then(|| self.vector(shape.hidden)).transpose()?;
        Ok(Norm { gamma, beta })
    }

    fn linear(&mut self, linear: LinearShape) -> Planned<Matrix> {
        self.matrix(linear, self.formats.weights, tiles(self.config, linear.rows, HALVES))
    }

    fn matrix(&mut self, linear: LinearShape, format: Format, cut: Vec<(u32, u32)>) -> Planned<Matrix> {
        let blocks = linear.cols / LINE_WORDS;
        let mut tiles = Vec::with_capacity(cut.len());
        for (first_row, rows) in cut {
            let layout = WeightLayout::new(self.config, rows, blocks, format.into());
            let addr = self.allocate(layout.local_bytes())?;
            let bias = linear.bias.then(|| self.vector(rows)).transpose()?;
            tiles.push(Tile { first_row, rows, addr, bias });
        }
        Ok(Matrix { rows: linear.rows, blocks, format, scale_max: 0, tiles })
    }

    fn vector(&mut self, words: u32) -> Planned<u64> {
        self.allocate(self.records.vector_bytes(words.into()))
    }

    fn table(&mut self, entries: u32, words: u32) -> Planned<Table> {
        let stride = self.records.vector_bytes(words.into()).get();
        let addr = self.allocate(Bytes(stride * u64::from(entries)))?;
        Ok(Table { addr, stride, entries, words })
    }

    fn allocate(&mut self, bytes: Bytes) -> Planned<u64> {
        self.map.allocate("constants", bytes)
    }
}
