//! What the pages show blocks doing.

mod array;
mod attn;
mod axi;
mod cmd;
mod core;
mod drs;
mod fp;
mod mx;
mod pe;
mod port;
mod prim;
mod vec;
mod walk;

use fastcar_hw::rtl::{Module, RtlError};
use std::ops::Range;
use std::sync::Arc;

/// A port that is shown: in the cycles in which another is set, if one is named; all bits of it or some.
pub struct Row {
    pub port: &'static str,
    pub valid: Option<&'static str>,
    pub part: Option<Range<u32>>,
}

/// A simulation behind a reset: what inputs are given in each cycle (zero when nothing is said), and which ports are shown, in all cycles but some.
pub struct Scene {
    pub block: &'static str,
    pub title: &'static str,
    pub module: Result<Arc<Module>, RtlError>,
    pub cycles: usize,
    pub left_out: Range<usize>,
    pub inputs: Vec<(&'static str, Vec<u128>)>,
    pub rows: Vec<Row>,
}

/// A scene without inputs and rows.
fn scene(
    block: &'static str,
    title: &'static str,
    module: Result<Arc<Module>, RtlError>,
    cycles: usize,
) -> Scene {
    Scene { block, title, module, cycles, left_out: 0..0, inputs: Vec::new(), rows: Vec::new() }
}

impl Scene {
    /// An input that is not shown.
    fn given(self, port: &'static str, values: &[u64]) -> Self {
        self.wide(port, &values.iter().map(|value| u128::from(*value)).collect::<Vec<_>>())
    }

    /// The same of more than 64 bits.
    fn wide(mut self, port: &'static str, values: &[u128]) -> Self {
        self.inputs.push((port, values.to_vec()));
        self
    }

    /// An input of one cycle, or the same in all, that is not shown.
    fn at(self, port: &'static str, cycle: usize, value: u64) -> Self {
        let mut values = vec![0; cycle];
        values.push(value);
        self.given(port, &values)
    }

    fn held(self, port: &'static str, value: u64) -> Self {
        let values = vec![value; self.cycles];
        self.given(port, &values)
    }

    /// Cycles in which nothing happens are not drawn.
    fn without(mut self, cycles: Range<usize>) -> Self {
        self.left_out = cycles;
        self
    }

    /// An input in every cycle.
    fn always(self, port: &'static str, value: u64) -> Self {
        self.held(port, value).shown(&[port])
    }

    fn input(self, port: &'static str, values: &[u64]) -> Self {
        self.given(port, values).shown(&[port])
    }

    /// An input that counts while another is set.
    fn with(self, port: &'static str, valid: &'static str, values: &[u64]) -> Self {
        self.given(port, values).counts(port, valid)
    }

    /// Outputs, and inputs that were given before.
    fn shown(mut self, ports: &[&'static str]) -> Self {
        self.rows.extend(ports.iter().map(|port| Row { port, valid: None, part: None }));
        self
    }

    /// An output that counts while another is set.
    fn counts(mut self, port: &'static str, valid: &'static str) -> Self {
        self.rows.push(Row { port, valid: Some(valid), part: None });
        self
    }

    /// Some bits of a port, in cycles in which another is set.
    fn part(mut self, port: &'static str, bits: Range<u32>, valid: Option<&'static str>) -> Self {
        self.rows.push(Row { port, valid, part: Some(bits) });
        self
    }

    /// A stream in.
    fn stream(self, valid: &[u64], data: &[u64]) -> Self {
        self.input("in_valid_i", valid).with("in_data_i", "in_valid_i", data)
    }
}

/// All scenes.
pub fn scenes() -> Vec<Scene> {
    let areas = [
        array::scenes(),
        attn::scenes(),
        axi::scenes(),
        cmd::scenes(),
        core::scenes(),
        drs::scenes(),
        fp::scenes(),
        mx::scenes(),
        pe::scenes(),
        port::scenes(),
        prim::scenes(),
        vec::scenes(),
        walk::scenes(),
    ];
    areas.into_iter().flatten().collect()
}

/// A number as binary32.
fn float(value: f32) -> u64 {
    value.to_bits().into()
}

/// Fields of a word as widths and values, the first in the lowest bits.
fn packed(fields: &[(u32, u128)]) -> u128 {
    fields.iter().rev().fold(0, |word, (width, value)| word << width | value)
}
