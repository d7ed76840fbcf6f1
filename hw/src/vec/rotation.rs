//! `vector_rotation`: words, their partners, and the cosine and sine that go with them.
//!
//! # Purpose
//!
//! A rotation takes word i of a head and the one half a head away. The partner of a head's first words comes half a head later, so
//! words wait here; and so do the position's cosines and sines.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `table_write_i` | in | 1 | write a group of the table on this edge |
//! | `table_row_i` | in | [`Rotation::row_bits`] | which, with the part's parity above |
//! | `table_words_i` | in | 32 x lanes | cosines, then sines |
//! | `head_write_i` | in | 1 | write a group of a head on this edge |
//! | `head_row_i` | in | [`Rotation::row_bits`] | which, with the head's parity above |
//! | `head_words_i` | in | 32 x lanes | its words |
//! | `table_parity_i`, `head_parity_i` | in | 1 | which table, which head to read |
//! | `group_i` | in | [`Rotation::row_bits`] - 1 | which group of the head |
//! | `half_i` | in | [`Rotation::half_bits`] | half a head, in chunks of [`Rotation::chunk`] words |
//! | `own_o`, `partner_o`, `cos_o`, `sin_o` | out | 32 x lanes | the group's words, their partners, and what they are multiplied by |
//! | `first_o` | out | lanes / chunk | the chunk belongs to the first half of the head |
//!
//! # Timing
//!
//! Two cycles from `group_i` to all outputs. Words written on an edge can be read by a `group_i` of that cycle, and later: they are read a
//! cycle after.
//!
//! # Numeric contract
//!
//! None: bits are bits.
//!
//! # Cost
//!
//! Two tables and two heads, the heads' and the tables' words twice: they are read at two places. With 32 lanes half a head may be half a
//! group; there each half of the lanes has its own copies. Figures: `tests/baselines/rtl/vec_rotation.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_vec.rs`: `words_meet_their_partners`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::vec::{Rotation, Shape};
//!
//! let rotation = Rotation::new(Shape::new(32, 32, 2048, 1024, 65_536)?);
//! assert_eq!((rotation.chunk(), rotation.chunks()), (16, 2));
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::{Shape, WORD, style};
use crate::rtl::{Block, Builder, Module, RtlError, Wire};
use fastcar_arch::config::LINE_WORDS;
use std::sync::Arc;

/// Half of the shortest head.
const HALF_LINE: u32 = LINE_WORDS / 2;

/// Words and their partners. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    shape: Shape,
}

/// A memory that is written by groups and read by chunks.
struct Store<'m> {
    write: Wire<'m>,
    row: Wire<'m>,
    words: Wire<'m>,
}

impl Rotation {
    /// The rotation of a unit.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        Self { shape }
    }

    /// Words that stay together: half a head is a whole number of chunks.
    #[must_use]
    pub fn chunk(&self) -> u32 {
        self.shape.lanes.min(HALF_LINE)
    }

    /// Chunks in a group.
    #[must_use]
    pub fn chunks(&self) -> u32 {
        self.shape.lanes / self.chunk()
    }

    /// Width of a row of the stores: a group of the longest head, and which of two.
    #[must_use]
    pub fn row_bits(&self) -> u32 {
        self.shape.head_groups().ilog2() + 1
    }

    /// Width of the number of chunks in half a head.
    #[must_use]
    pub fn half_bits(&self) -> u32 {
        self.row_bits() - 1 + self.chunks().ilog2()
    }

    /// A chunk of a store, two cycles later.
    fn read<'m>(
        &self,
        m: &'m Builder,
        name: &str,
        store: &Store<'m>,
        parity: Wire<'m>,
        chunk: Wire<'m>,
    ) -> Wire<'m> {
        let (width, depth) = (self.chunk() * WORD, 1 << self.row_bits());
        let select = self.chunks().ilog2();
        let row = m.register(&format!("{name}_row"), parity.cat(chunk.slice(select, chunk.width() - select)));
        let words: Vec<_> = (0..)
            .zip(store.words.chunks(width))
            .map(|(bank, words): (u32, _)| {
                let memory = m.memory(&format!("{name}_bank_{bank}"), width, depth, style(depth));
                memory.write(store.write, store.row, words);
                memory.read_registered(&format!("{name}_words_{bank}"), m.lit(1, 1), row)
            })
            .collect();
        if select == 0 {
            return words[0];
        }
        let which = m.register(&format!("{name}_which_1"), chunk.trunc(select));
        m.register(&format!("{name}_which_2"), which).choose(&words)
    }
}

impl Block for Rotation {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("vec_rotation_l{}_g{}", self.shape.lanes, self.shape.head_groups()));
        let store = |name: &str| Store {
            write: m.input(&format!("{name}_write_i"), 1),
            row: m.input(&format!("{name}_row_i"), self.row_bits()),
            words: m.input(&format!("{name}_words_i"), self.shape.group_width()),
        };
        let (table, head) = (store("table"), store("head"));
        let (which_table, which_head) = (m.input("table_parity_i", 1), m.input("head_parity_i", 1));
        let group = m.input("group_i", self.row_bits() - 1);
        let half = m.input("half_i", self.half_bits());
        let select = self.chunks().ilog2();
        let (mut own, mut partner, mut cos, mut sin, mut firsts) = (vec![], vec![], vec![], vec![], vec![]);
        for place in 0..self.chunks() {
            let name = |what: &str| format!("{what}_{place}");
            let chunk = if select == 0 { group } else { group.cat(m.lit(select, u64::from(place))) };
            let first = chunk.lt(half);
            let (up, down) = (chunk + half, chunk - half);
            let (other, angle) = (first.mux(up, down), first.mux(chunk, down));
            own.push(self.read(&m, &name("own"), &head, which_head, chunk));
            partner.push(self.read(&m, &name("partner"), &head, which_head, other));
            cos.push(self.read(&m, &name("cos"), &table, which_table, angle));
            sin.push(self.read(&m, &name("sin"), &table, which_table, first.mux(up, chunk)));
            let first = m.register(&name("first_1"), first);
            firsts.push(m.register(&name("first_2"), first));
        }
        m.output("own_o", m.pack(&own));
        m.output("partner_o", m.pack(&partner));
        m.output("cos_o", m.pack(&cos));
        m.output("sin_o", m.pack(&sin));
        m.output("first_o", m.pack(&firsts));
        m.finish()
    }
}
