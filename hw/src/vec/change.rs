//! When a block of `delta` is where, in cycles from its last group.

use super::{READ, Scalar, Shape};
use crate::fp::{Adder, Greater};
use crate::func::cycles;
use fastcar_arch::timing::{DEQUANT_LATENCY, SUMSQ_LATENCY};

/// Cycles of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    shape: Shape,
}

impl Change {
    pub(super) fn new(shape: Shape) -> Self {
        Self { shape }
    }

    /// Two groups' differences side by side are a row: as many as squares are added up of in a cycle. Where a line is a single group, so
    /// is a row.
    pub(super) fn row_groups(self) -> u32 {
        self.shape.groups().min(2)
    }

    /// Rows of a block.
    pub(super) fn rows(self) -> u32 {
        self.shape.groups() / self.row_groups()
    }

    /// To the last words less their references.
    pub(super) fn differences() -> u32 {
        READ + Adder.latency()
    }

    /// To the block's largest exponent, with which its first row goes where squares are added up. It is found where that of two groups is.
    pub(super) fn squares(self) -> u32 {
        Self::differences() + self.shape.compare_cycles(2)
    }

    /// To the block's distance.
    pub(super) fn distance(self) -> u32 {
        let sum = cycles(SUMSQ_LATENCY) + self.shape.lanes.ilog2();
        self.squares() + self.rows() - 1 + sum + Scalar::number_latency()
    }

    /// To whether the block is active; the first group of its reference leaves.
    pub(super) fn active(self) -> u32 {
        self.distance() + Greater::LATENCY
    }

    /// To the block; the last group of its reference leaves.
    pub(super) fn result(self) -> u32 {
        self.active() + self.shape.groups() - 1
    }

    /// To the block's reference and change where they are added up, first group.
    pub(super) fn moves(self) -> u32 {
        self.active() - Adder.latency()
    }

    /// To the elements of its first group.
    pub(super) fn elements(self) -> u32 {
        self.moves() - cycles(DEQUANT_LATENCY)
    }

    /// Cycles for which the squares of a part's words wait, so that they do not meet those of the last block of the part before: of the
    /// words that are read `first` cycles after the part began.
    pub(super) fn wait(self, first: u32) -> u32 {
        (self.squares() + self.rows()).saturating_sub(first + 1)
    }
}
