//! Where a layer's vectors stand on chip.

use crate::image::Shape;
use fastcar_arch::config::{AccelConfig, LINE_WORDS};
use fastcar_arch::isa::{AbBlock, VbLine};
use fastcar_arch::timing::MASK_BLOCKS;

/// Places of a layer's vectors in VB and AB. No operand of a product lies where another is still read: a product may
/// stream while the next one's operand is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    /// The residual stream.
    pub(super) x: VbLine,
    /// A normalised or attended vector.
    pub(super) n: VbLine,
    /// The MLP's output.
    pub(super) y: VbLine,
    /// What the widest matrices make.
    pub(super) wide: VbLine,
    /// Operand of the products that start from the residual stream or from attention.
    pub(super) act: AbBlock,
    /// Operand of the MLP's last product.
    pub(super) mid: AbBlock,
    /// Queries that attention reads.
    pub(super) query: AbBlock,
    /// Queries before rotation, for a gate.
    pub(super) raw_query: AbBlock,
}

/// Lines of a vector: also its blocks, since both are 32 words.
pub(super) fn lines(words: u32) -> u32 {
    words.div_ceil(LINE_WORDS)
}

impl Places {
    pub(super) fn new(shape: &Shape) -> Self {
        let x = lines(shape.hidden);
        let n = lines(shape.hidden.max(shape.attended()));
        let mid = Self::mid(shape);
        let query = mid + lines(shape.ffn);
        Self {
            x: VbLine(0),
            n: VbLine(x as u16),
            y: VbLine((x + n) as u16),
            wide: VbLine(Self::fixed_lines(shape) as u16),
            act: AbBlock(0),
            mid: AbBlock(mid as u16),
            query: AbBlock(query as u16),
            raw_query: AbBlock((query + lines(shape.attended())) as u16),
        }
    }

    /// First block of the MLP's inner vector: behind `act`, and where the block masks of a `delta` may begin.
    fn mid(shape: &Shape) -> u32 {
        lines(shape.hidden.max(shape.attended())).next_multiple_of(MASK_BLOCKS)
    }

    /// Lines below the wide vectors.
    fn fixed_lines(shape: &Shape) -> u32 {
        2 * lines(shape.hidden) + lines(shape.hidden.max(shape.attended()))
    }

    /// Lines of VB that a layer needs.
    pub(super) fn lines(shape: &Shape) -> u32 {
        Self::fixed_lines(shape) + lines(shape.qkv_rows().max(shape.ffn))
    }

    /// Blocks of AB that a layer needs.
    pub(super) fn blocks(shape: &Shape) -> u32 {
        Self::mid(shape) + lines(shape.ffn) + 2 * lines(shape.attended())
    }
}

/// Words that VB holds beside a transformer's own vectors: room for the results of its head.
pub(crate) fn wide_room(config: &AccelConfig, shape: &Shape) -> u32 {
    config.vb_lines().saturating_sub(Places::fixed_lines(shape)) * LINE_WORDS
}
