//! What the dispatcher has to know of a command beside its fields: which units it goes to, and which parts of the activation
//! buffer it touches.

use super::fields::Fields;
use crate::rtl::{Builder, RtlError, Wire};
use fastcar_arch::num::mx::BLOCK;

/// Bits of a block of the activation buffer, as commands name it.
pub const BLOCK_BITS: u32 = 16;
/// Cycles of the decoder, from a command that stays to its answer.
pub const LATENCY: u32 = 3;

/// The units that a command goes to, and what it does there.
#[derive(Clone, Copy, Debug)]
pub struct Classes<'m> {
    /// The vector unit.
    pub vector: Wire<'m>,
    /// The MAC array, with a long stream.
    pub product: Wire<'m>,
    /// Through the read-ahead queue.
    pub ahead: Wire<'m>,
    /// The gate unit.
    pub gate: Wire<'m>,
    /// May read records.
    pub records: Wire<'m>,
    /// Writes memory.
    pub writes: Wire<'m>,
    /// Streams weights by the masks of the last `delta`.
    pub masked: Wire<'m>,
    /// Makes masks.
    pub masks: Wire<'m>,
    /// Ends the program.
    pub end: Wire<'m>,
}

/// Number of [`Classes`].
pub const CLASSES: u32 = 9;

impl<'m> Classes<'m> {
    /// The classes of a command.
    pub(super) fn new(m: &'m Builder, c: &Fields<'m>) -> Result<Self, RtlError> {
        let flag = |command, name| Ok::<_, RtlError>(c.is(command)? & c.field(command, name)?.bit(0));
        let gate = c.is_any(&["gate_tas", "gate_delta", "gate_host"])?;
        let end = c.is("end")?;
        let masked = flag("matvec", "delta")?;
        let reads = c.is_any(&["load", "norm", "rope", "delta", "gate_tas", "gate_delta"])?;
        let keep = |name: &str, wire: Wire<'m>| m.register(&format!("is_{name}"), wire);
        Ok(Self {
            vector: keep("vector", !end & !c.is_any(&["gate_tas", "gate_host"])?),
            product: keep("product", c.is_any(&["matvec", "attn"])?),
            ahead: keep("ahead", flag("matvec", "ahead")? | flag("attn", "ahead")?),
            gate: keep("gate", gate),
            records: keep("records", reads | flag("matvec", "has_bias")? | masked),
            writes: keep("writes", c.is_any(&["store", "store_act", "delta", "kv_append"])? | masked),
            masked: keep("masked", masked),
            masks: keep("masks", c.is("delta")?),
            end: keep("end", end),
        })
    }

    /// All of them in one word.
    #[must_use]
    pub fn word(&self, m: &'m Builder) -> Wire<'m> {
        let Self { vector, product, ahead, gate, records, writes, masked, masks, end } = *self;
        m.pack(&[vector, product, ahead, gate, records, writes, masked, masks, end])
    }

    /// The classes of a word.
    #[must_use]
    pub fn of(word: Wire<'m>) -> Self {
        let bit = |index| word.bit(index);
        Self {
            vector: bit(0),
            product: bit(1),
            ahead: bit(2),
            gate: bit(3),
            records: bit(4),
            writes: bit(5),
            masked: bit(6),
            masks: bit(7),
            end: bit(8),
        }
    }
}

/// A part of the activation buffer.
#[derive(Clone, Copy, Debug)]
pub struct Part<'m> {
    /// Whether there is one.
    pub valid: Wire<'m>,
    /// First block.
    pub start: Wire<'m>,
    /// The block behind the last.
    pub end: Wire<'m>,
}

fn part<'m>(m: &'m Builder, name: &str, valid: Wire<'m>, start: Wire<'m>, blocks: Wire<'m>) -> Part<'m> {
    let width = BLOCK_BITS + 1;
    let start = start.trunc(BLOCK_BITS);
    let end = start.zext(width) + blocks.zext(width.max(blocks.width())).trunc(width);
    let keep = |what: &str, wire: Wire<'m>| m.register(&format!("{name}_{what}"), wire);
    Part { valid: keep("valid", valid), start: keep("start", start), end: keep("end", end) }
}

/// What a command fills in the vector unit.
pub(super) fn filled<'m>(m: &'m Builder, c: &Fields<'m>) -> Result<Part<'m>, RtlError> {
    let delta = c.is("delta")?;
    let start = delta.mux(c.field("delta", "dst")?, c.field("quant", "dst")?);
    let blocks = delta.mux(c.field("delta", "blocks")?, c.field("quant", "blocks")?);
    Ok(part(m, "filled", delta | c.is("quant")?, start, blocks))
}

/// What a command reads in the MAC array or in the gate unit.
pub(super) fn read<'m>(m: &'m Builder, c: &Fields<'m>) -> Result<Part<'m>, RtlError> {
    let (matvec, attn, tas) = (c.is("matvec")?, c.is("attn")?, c.is("gate_tas")?);
    let pick = |name| Ok::<_, RtlError>(attn.mux(c.field("attn", name)?, c.field("gate_tas", name)?));
    // The heads' words, a whole number of blocks: the product has a cycle of its own.
    let heads = m.register("heads", pick("heads")?);
    let dim = m.register("head_dim", pick("head_dim")?);
    let words = m.register("head_words", heads.mul_unsigned(dim));
    let of_heads = words.slice(BLOCK.ilog2(), BLOCK_BITS + 1);
    let of_matrix = c.field("matvec", "blocks")?.zext(BLOCK_BITS + 1);
    let start = matvec.mux(c.field("matvec", "src")?, pick("src")?);
    Ok(part(m, "read", matvec | attn | tas, start, matvec.mux(of_matrix, of_heads)))
}
