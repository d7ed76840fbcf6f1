//! The part: what the ports say, held.

use super::super::lane;
use super::super::sequence::{HEAD_BITS, REST_BITS};
use super::super::{Field, Op, Shape, WORD, held};
use crate::rtl::{Builder, Instance, Wire};
use fastcar_arch::isa::Epilogue;

/// Width of `epilogue_i`.
const EPILOGUE: u32 = 2;

/// The part.
pub(super) struct Part<'m> {
    pub(super) start: Wire<'m>,
    /// By code, whether it is the command.
    pub(super) ops: Vec<Field<'m>>,
    pub(super) slot: Field<'m>,
    pub(super) to: Field<'m>,
    pub(super) from: Field<'m>,
    pub(super) block: Field<'m>,
    pub(super) lines: Field<'m>,
    pub(super) rest: Field<'m>,
    pub(super) head_lines: Field<'m>,
    pub(super) accumulate: Field<'m>,
    pub(super) access: Field<'m>,
    pub(super) inv_words: Field<'m>,
    pub(super) eps: Field<'m>,
    pub(super) delta: Field<'m>,
    pub(super) ring: Field<'m>,
    pub(super) bias: Field<'m>,
    pub(super) shared: Field<'m>,
    pub(super) pair: Field<'m>,
    pub(super) gelu: Field<'m>,
    pub(super) base: Field<'m>,
    pub(super) nan: Field<'m>,
    pub(super) fp4: Field<'m>,
    /// Both vectors of an addition begin in the same bank.
    pub(super) same: Field<'m>,
}

impl<'m> Part<'m> {
    /// The ports, which go to the sequence too.
    pub(super) fn new(m: &'m Builder, shape: &Shape, sequence: &Instance<'m>) -> Self {
        let start = m.input("start_i", 1);
        let port = |name: &str, width| m.input(&format!("{name}_i"), width);
        let hold = |name: &str, value| held(m, name, start, value);
        let field = |name: &str, width| hold(name, port(name, width));
        let op = port("op", Op::BITS);
        let lines = port("lines", shape.lines_bits());
        let rest = port("rest", REST_BITS);
        let head_lines = port("head_lines", HEAD_BITS);
        let access = port("access", 1);
        let (to, from) = (port("to_line", shape.line_bits()), port("from_line", shape.line_bits()));
        let whole = shape.within() == 0;
        let same = if whole { !(to.bit(0) ^ from.bit(0)) } else { m.lit(1, 1) };
        let pad = if whole { op.eq(Op::Add.code()) & same & lines.bit(0) } else { m.lit(1, 0) };
        let shared = port("shared", 1);
        let epilogue = port("epilogue", EPILOGUE);
        let (pair, gelu) = (epilogue.eq(Epilogue::SwiGlu as u64), epilogue.eq(Epilogue::Gelu as u64));
        let ports = [
            ("start", start),
            ("op", op),
            ("lines", lines),
            ("rest", rest),
            ("head_lines", head_lines),
            ("record", access),
            ("shared", shared),
            ("halves", pair),
            ("pad", pad),
        ];
        for (name, value) in ports {
            sequence.set(&format!("{name}_i"), value);
        }
        let command = |which: &Op| hold(&format!("op_{}", which.code()), op.eq(which.code()));
        Self {
            start,
            ops: Op::ALL.iter().map(command).collect(),
            slot: field("slot", shape.slot_bits()),
            to: hold("to_line", to),
            from: hold("from_line", from),
            block: field("block", shape.block_bits()),
            lines: hold("lines", lines),
            rest: hold("rest", rest),
            head_lines: hold("head_lines", head_lines),
            accumulate: field("accumulate", 1),
            access: hold("access", access),
            inv_words: field("inv_words", WORD),
            eps: field("eps", WORD),
            delta: field("delta", 1),
            ring: field("ring", 1),
            bias: field("bias", 1),
            shared: hold("shared", shared),
            pair: hold("pair_of_rows", pair),
            gelu: hold("gelu", gelu),
            base: field("base", lane::BASE),
            nan: field("nan", 1),
            fp4: field("fp4", 1),
            same: hold("same_bank", same),
        }
    }

    fn any(&self, ops: &[Op], which: impl Fn(&Field<'m>) -> Wire<'m>) -> Wire<'m> {
        let each: Vec<_> = ops.iter().map(|op| which(&self.ops[*op as usize])).collect();
        self.start.builder().tree(&each, |a, b| a | b)
    }

    /// Whether the part that begins or is under way is one of these.
    pub(super) fn is(&self, ops: &[Op]) -> Wire<'m> {
        self.any(ops, |field| field.now)
    }

    /// Whether the parts that are in the pipeline are of one of these.
    pub(super) fn was(&self, ops: &[Op]) -> Wire<'m> {
        self.any(ops, |field| field.was)
    }
}
