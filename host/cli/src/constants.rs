//! The constants of a packed model by name, and what its weights take.

use fastcar_host::image::{Format, Image, Input, Matrix, Norm, Table, Transformer};
use std::collections::BTreeMap;

/// Count and storage of a model's matrices.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct WeightTotals {
    /// Weights.
    pub weights: u64,
    /// Bits that they take, scales included.
    pub bits: u64,
}

impl WeightTotals {
    /// Over all matrices of a model.
    pub fn of(image: &Image) -> Self {
        let depth = image.depth.iter().flat_map(|(t, inputs)| matrices(t).chain(projectors(inputs)));
        let all = matrices(&image.body).chain(projectors(&image.inputs)).chain(depth);
        all.fold(Self::default(), |sum, m| {
            let blocks = u64::from(m.rows) * u64::from(m.blocks);
            Self { weights: sum.weights + blocks * 32, bits: sum.bits + blocks * block_bits(m.format) }
        })
    }

    /// Mean bits of a weight.
    pub fn bits_per_weight(&self) -> f64 {
        self.bits as f64 / (self.weights as f64).max(1.0)
    }
}

fn block_bits(format: Format) -> u64 {
    match format {
        Format::MxInt8 => 33 * 8,
        Format::MxFp4 => 17 * 8,
    }
}

fn matrices(t: &Transformer) -> impl Iterator<Item = &Matrix> {
    t.layers.iter().flat_map(|l| [&l.qkv, &l.o, &l.up, &l.down]).chain(&t.head)
}

fn projectors(inputs: &[Input]) -> impl Iterator<Item = &Matrix> {
    inputs.iter().flat_map(|i| &i.projector)
}

/// The format of a model's weights as text: the layers', and the head's where it differs.
pub fn formats(image: &Image) -> String {
    let name = |f: Format| match f {
        Format::MxInt8 => "mxint8",
        Format::MxFp4 => "mxfp4",
    };
    let last = image.depth.as_ref().map_or(&image.body, |d| &d.0);
    let layers = image.body.layers.first().map_or("none", |l| name(l.qkv.format));
    match last.head.as_ref().map(|h| name(h.format)) {
        Some(head) if head != layers => format!("{layers}, head {head}"),
        _ => layers.to_owned(),
    }
}

/// Names of constants by address.
pub struct Names(BTreeMap<u64, String>);

impl Names {
    /// Of a packed model.
    pub fn of(image: &Image) -> Self {
        let mut names = Self(BTreeMap::new());
        names.transformer("", &image.body);
        names.inputs("input", &image.inputs);
        if let Some((transformer, inputs)) = &image.depth {
            names.transformer("depth.", transformer);
            names.inputs("depth.input", inputs);
        }
        names
    }

    /// The constant that starts at an address or holds it.
    pub fn at(&self, addr: u64) -> Option<String> {
        let (&start, name) = self.0.range(..=addr).next_back()?;
        Some(if start == addr { name.clone() } else { format!("{name}+0x{:x}", addr - start) })
    }

    fn set(&mut self, addr: u64, name: String) {
        self.0.entry(addr).or_insert(name);
    }

    fn transformer(&mut self, prefix: &str, t: &Transformer) {
        for (i, layer) in t.layers.iter().enumerate() {
            self.norm(&format!("{prefix}layer.{i}.input_norm"), &layer.input_norm);
            self.norm(&format!("{prefix}layer.{i}.post_norm"), &layer.post_norm);
            for (name, matrix) in
                [("qkv", &layer.qkv), ("o", &layer.o), ("up", &layer.up), ("down", &layer.down)]
            {
                self.matrix(&format!("{prefix}layer.{i}.{name}"), matrix);
            }
        }
        self.norm(&format!("{prefix}final_norm"), &t.final_norm);
        self.table(&format!("{prefix}rope"), t.rope.as_ref());
        self.table(&format!("{prefix}positions"), t.positions.as_ref());
        t.head.iter().for_each(|head| self.matrix(&format!("{prefix}head"), head));
    }

    fn inputs(&mut self, prefix: &str, inputs: &[Input]) {
        for (i, input) in inputs.iter().enumerate() {
            for (k, table) in input.tables.iter().enumerate() {
                self.table(&format!("{prefix}.{i}.table.{k}"), Some(table));
            }
            for (k, matrix) in input.projector.iter().enumerate() {
                self.matrix(&format!("{prefix}.{i}.projector.{k}"), matrix);
            }
        }
    }

    fn matrix(&mut self, name: &str, matrix: &Matrix) {
        for (i, tile) in matrix.tiles.iter().enumerate() {
            let name = if matrix.tiles.len() == 1 { name.to_owned() } else { format!("{name}.tile.{i}") };
            tile.bias.iter().for_each(|&bias| self.set(bias, format!("{name}.bias")));
            self.set(tile.addr, name);
        }
    }

    fn norm(&mut self, name: &str, norm: &Norm) {
        self.set(norm.gamma, format!("{name}.gamma"));
        norm.beta.iter().for_each(|&beta| self.set(beta, format!("{name}.beta")));
    }

    fn table(&mut self, name: &str, table: Option<&Table>) {
        table.iter().for_each(|t| self.set(t.addr, name.to_owned()));
    }
}
