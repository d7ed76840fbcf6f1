//! What a packed model holds and where: the symbol table that the compiler turns into command operands.
//!
//! Addresses are channel-local bytes inside the constants that the packer laid out ([`crate::pack`]).

use crate::model::{Activation, Norm as NormSpec, TransformerSpec};
use fastcar_arch::isa::WeightFormat;
use serde::{Deserialize, Serialize};

/// Storage format of a weight matrix, as text in manifests.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// MXINT8: 8.25 bits a weight.
    MxInt8,
    /// MXFP4: 4.25 bits a weight.
    #[default]
    MxFp4,
}

impl From<Format> for WeightFormat {
    fn from(f: Format) -> Self {
        match f {
            Format::MxInt8 => Self::Int8,
            Format::MxFp4 => Self::Fp4,
        }
    }
}

/// A run of a matrix's rows that fits the accumulator RAM: one `matvec` command.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tile {
    /// First row.
    pub first_row: u32,
    /// Rows.
    pub rows: u32,
    /// Weights.
    pub addr: u64,
    /// Vector record of the rows' bias.
    pub bias: Option<u64>,
}

/// A weight matrix.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Matrix {
    /// Output size.
    pub rows: u32,
    /// Input size / 32.
    pub blocks: u32,
    /// Storage format.
    pub format: Format,
    /// Largest scale byte of the whole matrix: the same whatever the tiles, so that no bit depends on them.
    pub scale_max: u8,
    /// The rows in order.
    pub tiles: Vec<Tile>,
}

/// Records of one size, looked up by an index.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Table {
    /// First record.
    pub addr: u64,
    /// Local bytes from one record to the next.
    pub stride: u64,
    /// Number of records.
    pub entries: u32,
    /// Words of a record.
    pub words: u32,
}

/// A normalisation's vectors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Norm {
    /// Gamma.
    pub gamma: u64,
    /// Beta, for a layer norm.
    pub beta: Option<u64>,
}

/// One transformer layer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Layer {
    /// Before attention.
    pub input_norm: Norm,
    /// Query, key and value projections, stacked in this order.
    pub qkv: Matrix,
    /// Output projection.
    pub o: Matrix,
    /// Before the MLP.
    pub post_norm: Norm,
    /// Gate and up projections with rows interleaved, or the first linear layer of a GELU MLP.
    pub up: Matrix,
    /// Down projection.
    pub down: Matrix,
}

/// Sizes of a transformer, as far as commands depend on them.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Shape {
    /// Layers.
    pub layers: u32,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Query heads.
    pub heads: u32,
    /// Key/value heads.
    pub kv_heads: u32,
    /// Width of a head.
    pub head_dim: u32,
    /// Width of the MLP.
    pub ffn: u32,
    /// Layer norm (with beta) instead of RMSNorm.
    pub layer_norm: bool,
    /// The norms' constant under the root.
    pub eps: f32,
    /// GELU MLP instead of SwiGLU.
    pub gelu: bool,
    /// Longest sequence.
    pub max_positions: u32,
}

impl Shape {
    /// Words that attention makes.
    #[must_use]
    pub fn attended(&self) -> u32 {
        self.heads * self.head_dim
    }

    /// Words of a token's keys, and of its values.
    #[must_use]
    pub fn kv_words(&self) -> u32 {
        self.kv_heads * self.head_dim
    }

    /// Rows of the stacked query, key and value projections.
    #[must_use]
    pub fn qkv_rows(&self) -> u32 {
        self.attended() + 2 * self.kv_words()
    }

    /// Rows of the first MLP matrix.
    #[must_use]
    pub fn up_rows(&self) -> u32 {
        if self.gelu { self.ffn } else { 2 * self.ffn }
    }
}

impl From<&TransformerSpec> for Shape {
    fn from(spec: &TransformerSpec) -> Self {
        let (layer_norm, eps) = match spec.norm() {
            NormSpec::Rms { eps } => (false, eps),
            NormSpec::Layer { eps } => (true, eps),
        };
        Self {
            layers: spec.layers() as u32,
            hidden: spec.hidden() as u32,
            heads: spec.heads() as u32,
            kv_heads: spec.kv_heads() as u32,
            head_dim: spec.head_dim() as u32,
            ffn: spec.ffn() as u32,
            layer_norm,
            eps,
            gelu: spec.activation() == Activation::Gelu,
            max_positions: spec.max_positions() as u32,
        }
    }
}

/// A transformer's layers and closing norm.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Transformer {
    /// Sizes and kinds.
    pub shape: Shape,
    /// Layers in order.
    pub layers: Vec<Layer>,
    /// After the last layer.
    pub final_norm: Norm,
    /// RoPE cosines and sines by position.
    pub rope: Option<Table>,
    /// Learned vectors by position, added to the input.
    pub positions: Option<Table>,
    /// Logits.
    pub head: Option<Matrix>,
}

/// One way in which an input vector comes about: table rows summed (table k by the slot's token k), or the body's
/// hidden state, then linear layers with GELU between them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Input {
    /// Tables to sum; none starts from the hidden state.
    pub tables: Vec<Table>,
    /// Linear layers behind the sum.
    pub projector: Vec<Matrix>,
}

/// A model's constants.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Image {
    /// The transformer that runs once per position.
    pub body: Transformer,
    /// Its inputs: prompt tokens first, then, where they differ, generated positions.
    pub inputs: Vec<Input>,
    /// The transformer that runs once per code of a position, and its input at each code.
    pub depth: Option<(Transformer, Vec<Input>)>,
    /// Tokens in a frame, where the model makes video.
    pub period: Option<u32>,
}

impl Image {
    /// Checks that the parts fit each other, for an image from outside: what the compiler multiplies and indexes with
    /// must make sense. Addresses are checked with the commands that carry them.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.check_parts()?;
        let last = self.depth.as_ref().map_or(&self.body, |d| &d.0);
        if last.head.is_some() { Ok(()) } else { Err("there is no head".to_owned()) }
    }

    /// As [`Image::check`], for an image that may do without a head: a plan to be timed.
    pub(crate) fn check_parts(&self) -> Result<(), String> {
        self.body.check("body")?;
        let bad_input = |i: &Input| i.tables.is_empty() || i.check(self.body.shape.hidden).is_err();
        if !(1..=2).contains(&self.inputs.len()) || self.inputs.iter().any(bad_input) {
            return Err("the body's inputs do not fit it".to_owned());
        }
        if self.period == Some(0) {
            return Err("a frame has no positions".to_owned());
        }
        let Some((depth, inputs)) = &self.depth else { return Ok(()) };
        depth.check("depth transformer")?;
        let bad_input = |i: &Input| i.check(depth.shape.hidden).is_err();
        if !(1..=4).contains(&inputs.len()) || inputs.iter().any(bad_input) {
            return Err("the depth transformer's inputs do not fit it".to_owned());
        }
        Ok(())
    }
}

impl Input {
    fn check(&self, hidden: u32) -> Result<(), ()> {
        let tables = self.tables.len() <= 4 && self.tables.iter().all(|t| t.entries > 0 && t.words > 0);
        let width = match self.projector.last() {
            Some(last) => last.rows == hidden && self.projector.iter().all(Matrix::is_whole),
            None => self.tables.iter().all(|t| t.words == hidden),
        };
        if tables && width { Ok(()) } else { Err(()) }
    }
}

impl Transformer {
    fn check(&self, name: &str) -> Result<(), String> {
        self.shape.check().map_err(|reason| format!("{name}: {reason}"))?;
        let Shape { layers, hidden, ffn, .. } = self.shape;
        let (attended, qkv, up) = (self.shape.attended(), self.shape.qkv_rows(), self.shape.up_rows());
        let fits =
            |m: &Matrix, rows: u32, inputs: u32| m.is_whole() && m.rows == rows && m.blocks == inputs / 32;
        let layer = |l: &Layer| {
            let attention = fits(&l.qkv, qkv, hidden) && fits(&l.o, hidden, attended);
            attention && fits(&l.up, up, hidden) && fits(&l.down, hidden, ffn)
        };
        let head = self.head.as_ref().is_none_or(|h| h.is_whole() && h.rows > 0 && h.blocks == hidden / 32);
        if self.layers.len() != layers as usize || !self.layers.iter().all(layer) || !head {
            return Err(format!("{name}: its matrices do not have the sizes it states"));
        }
        Ok(())
    }
}

impl Shape {
    /// What the compiler multiplies and divides by.
    pub(crate) fn check(&self) -> Result<(), String> {
        let sizes =
            [("hidden", self.hidden, 1 << 16), ("head_dim", self.head_dim, 1024), ("ffn", self.ffn, 1 << 18)];
        if let Some((what, found, limit)) =
            sizes.iter().find(|(_, n, limit)| *n == 0 || n % 32 != 0 || n > limit)
        {
            return Err(format!("{what} is {found}, not a multiple of 32 from 32 to {limit}"));
        }
        let heads = (1..=1024).contains(&self.heads) && (1..=self.heads).contains(&self.kv_heads);
        if !heads || !self.heads.is_multiple_of(self.kv_heads) {
            return Err(format!("{} heads cannot share {} for keys and values", self.heads, self.kv_heads));
        }
        if !(1..=1024).contains(&self.layers) || self.max_positions == 0 {
            return Err(format!("{} layers, {} positions", self.layers, self.max_positions));
        }
        Ok(())
    }
}

impl Matrix {
    /// Whether the tiles are the rows, in order and without a gap, each starting on a line of results (also where two
    /// rows make one word).
    fn is_whole(&self) -> bool {
        let end = self.tiles.iter().try_fold(0u32, |at, t| {
            let fits = t.first_row == at && t.rows > 0 && at.is_multiple_of(64);
            fits.then(|| at.checked_add(t.rows)).flatten()
        });
        end == Some(self.rows) && self.blocks > 0 && self.blocks <= 1 << 13
    }
}

/// Every address of a part of an image, to be changed.
pub(crate) trait Addresses {
    /// Replaces each address.
    fn relocate(&mut self, to: &mut dyn FnMut(u64) -> u64);
}

impl Addresses for Matrix {
    fn relocate(&mut self, to: &mut dyn FnMut(u64) -> u64) {
        for tile in &mut self.tiles {
            tile.addr = to(tile.addr);
            tile.bias = tile.bias.map(&mut *to);
        }
    }
}

impl Addresses for Norm {
    fn relocate(&mut self, to: &mut dyn FnMut(u64) -> u64) {
        self.gamma = to(self.gamma);
        self.beta = self.beta.map(to);
    }
}

impl Addresses for Table {
    fn relocate(&mut self, to: &mut dyn FnMut(u64) -> u64) {
        self.addr = to(self.addr);
    }
}

impl Addresses for Layer {
    fn relocate(&mut self, to: &mut dyn FnMut(u64) -> u64) {
        let parts: [&mut dyn Addresses; 6] = [
            &mut self.input_norm,
            &mut self.qkv,
            &mut self.o,
            &mut self.post_norm,
            &mut self.up,
            &mut self.down,
        ];
        parts.into_iter().for_each(|part| part.relocate(to));
    }
}

impl Addresses for Transformer {
    fn relocate(&mut self, to: &mut dyn FnMut(u64) -> u64) {
        self.layers.iter_mut().for_each(|layer| layer.relocate(to));
        self.final_norm.relocate(to);
        self.rope.iter_mut().chain(&mut self.positions).for_each(|table| table.relocate(to));
        self.head.iter_mut().for_each(|head| head.relocate(to));
    }
}

impl Addresses for Input {
    fn relocate(&mut self, to: &mut dyn FnMut(u64) -> u64) {
        self.tables.iter_mut().for_each(|table| table.relocate(to));
        self.projector.iter_mut().for_each(|matrix| matrix.relocate(to));
    }
}

impl Addresses for Image {
    fn relocate(&mut self, to: &mut dyn FnMut(u64) -> u64) {
        self.body.relocate(to);
        self.inputs.iter_mut().for_each(|input| input.relocate(to));
        if let Some((transformer, inputs)) = &mut self.depth {
            transformer.relocate(to);
            inputs.iter_mut().for_each(|input| input.relocate(to));
        }
    }
}
