//! `attn_query_buffer`: the queries that a channel's keys meet.
//!
//! # Purpose
//!
//! Keeps the queries of two heads of keys: of the one whose keys are streamed, and of the next one. They come block by block, and go pass by pass as the beats of keys need them.
//!
//! # Interface
//!
//! Queries come by a *pipe*. The *row* of a block of a query is that of its pass over the keys times the blocks of a head, plus its number in the head. With two lanes rows are read in pairs: those
//! of a beat; heads of one block, of which two tokens share a beat, have each row in both places of a pair.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `query_valid_i`, `query_i` | in | 1, [`QueryBuffer::query_bits`] | a block comes, see [`Query`] |
//! | `bank_i`, `row_i`, `pass_i` | in | 1, [`QueryBuffer::read_bits`], [`QueryBuffer::pass_bits`] | which of the two heads' queries, which row, or pair of rows, and which pass is asked for |
//! | `act_o` | out | columns x lanes x 264 | the blocks, in the same cycle; column 0's low, in a column the first |
//! | `largest_o` | out | columns x 8 | the largest scale byte of each column's query in the pass |
//!
//! # Timing
//!
//! A block that comes in cycle c may be asked for from c + 1 on.
//!
//! # Numeric contract
//!
//! None: bits are bits.
//!
//! # Cost
//!
//! Distributed memory: for each column two heads of [`query_rows`] rows. Figures: `tests/baselines/rtl/attn_query_buffer.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_attn.rs`: `channels_*`, within the channel.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{attn::QueryBuffer, rtl::Block};
//!
//! let queries = QueryBuffer::new(&AccelConfig::preset("u55c")?)?;
//! assert_eq!((queries.module()?.name(), queries.rows()), ("attn_query_buffer_c4_l2_r32", 32));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::{BYTE, Shape};
use crate::cmd::fields::cut;
use crate::pe::cluster::ACT_BITS;
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Wire, index_width};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::timing::query_rows;
use std::sync::Arc;

/// A block of a query.
#[derive(Clone, Copy, Debug)]
pub struct Query<T> {
    /// Elements and scale byte; in the lowest bits.
    pub act: T,
    /// The largest scale byte of the query's blocks so far: that of the last one counts.
    pub largest: T,
    /// Where it stands among the column's blocks.
    pub row: T,
    /// The pass over the keys that its query belongs to.
    pub pass: T,
    /// The column that meets it.
    pub column: T,
    /// Which of the two heads' it is.
    pub bank: T,
    /// With two lanes: the head has one block.
    pub narrow: T,
}

impl<'m> Query<Wire<'m>> {
    /// All in one word.
    #[must_use]
    pub fn word(&self, m: &'m Builder) -> Wire<'m> {
        m.pack(&[self.act, self.largest, self.row, self.pass, self.column, self.bank, self.narrow])
    }
}

/// The queries of a channel. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryBuffer {
    columns: u32,
    lanes: u32,
    rows: u32,
    passes: u32,
}

impl QueryBuffer {
    /// For the clusters of a configuration.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(config: &AccelConfig) -> Result<Self, RtlError> {
        let shape = Shape::of(config)?;
        let rows = query_rows(config).max(shape.lanes).next_power_of_two();
        Ok(Self { columns: shape.columns, lanes: shape.lanes, rows, passes: shape.key_passes() })
    }

    /// Rows of a head's queries, at most.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Widths of a query's parts.
    #[must_use]
    pub fn query(&self) -> Query<u32> {
        Query {
            act: ACT_BITS,
            largest: BYTE,
            row: index_width(self.rows.into()),
            pass: self.pass_bits(),
            column: index_width(self.columns.into()),
            bank: 1,
            narrow: 1,
        }
    }

    /// Width of a block of a query.
    #[must_use]
    pub fn query_bits(&self) -> u32 {
        let Query { act, largest, row, pass, column, bank, narrow } = self.query();
        act + largest + row + pass + column + bank + narrow
    }

    /// Width of the number of a pass over the keys.
    #[must_use]
    pub fn pass_bits(&self) -> u32 {
        index_width(self.passes.into())
    }

    /// Width of `row_i`.
    #[must_use]
    pub fn read_bits(&self) -> u32 {
        index_width((self.rows / self.lanes).into())
    }

    fn query_of<'m>(&self, word: Wire<'m>) -> Query<Wire<'m>> {
        let (mut take, widths) = (cut(word), self.query());
        Query {
            act: take(widths.act),
            largest: take(widths.largest),
            row: take(widths.row),
            pass: take(widths.pass),
            column: take(widths.column),
            bank: take(widths.bank),
            narrow: take(widths.narrow),
        }
    }
}

impl Block for QueryBuffer {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let (columns, lanes, rows) = (self.columns, self.lanes, self.rows);
        let m = Builder::new(format!("attn_query_buffer_c{columns}_l{lanes}_r{rows}"));
        let valid = m.input("query_valid_i", 1);
        let query = self.query_of(m.input("query_i", self.query_bits()));
        let bank = m.input("bank_i", 1);
        let address = bank.cat(m.input("row_i", self.read_bits()));
        let row = match lanes {
            1 => query.row,
            _ => {
                let pair = query.row.slice(lanes.ilog2(), query.row.width() - lanes.ilog2());
                query.narrow.mux(query.row.trunc(self.read_bits()), pair.zext(self.read_bits()))
            }
        };
        let place = query.bank.cat(row);
        let of_query = query.bank.cat(query.pass);
        let asked = bank.cat(m.input("pass_i", self.pass_bits()));
        let (mut acts, mut largest) = (Vec::new(), Vec::new());
        for column in 0..columns {
            for lane in 0..lanes {
                let name = format!("queries_{column}_{lane}");
                let memory = m.memory(&name, ACT_BITS, 1 << place.width(), RamStyle::Distributed);
                let here = if lanes == 1 {
                    m.lit(1, 1)
                } else {
                    query.narrow | query.row.bit(0).eq(u64::from(lane))
                };
                memory.write(valid & query.column.eq(u64::from(column)) & here, place, query.act);
                acts.push(memory.read(address));
            }
            // The last block of a query has the largest of all.
            let name = format!("largest_{column}");
            let memory = m.memory(&name, BYTE, 1 << of_query.width(), RamStyle::Distributed);
            memory.write(valid & query.column.eq(u64::from(column)), of_query, query.largest);
            largest.push(memory.read(asked));
        }
        m.output("act_o", m.pack(&acts));
        m.output("largest_o", m.pack(&largest));
        m.finish()
    }
}
