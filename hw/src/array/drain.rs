//! `drain`: gives out one row of a cluster's sums a cycle.
//!
//! # Purpose
//!
//! A cluster keeps sums in words of several rows for each column. This block stands beside it, asks it for a word and chooses the row that the middle
//! asked for.
//!
//! # Interface
//!
//! *Pipes*: rows are asked for and come; `R` are the rows of a word ([`Cluster::rows`]).
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears `valid` only |
//! | `request_valid_i` | in | 1 | a row is asked for; with it: |
//! | `request_column_i`, `request_word_i`, `request_row_i` | in | log2(columns), [`Cluster::word_width`], log2(R) | of which column, in which word, which row of the word |
//! | `drain_valid_o`, `drain_address_o` | out | 1, [`Cluster::address_width`] | to the cluster: a word is asked for |
//! | `drain_valid_i`, `drain_sum_i` | in | 1, columns x R x 48 | from the cluster: the word, column 0's rows low |
//! | `row_valid_o`, `row_o` | out | 1, 48 | the row |
//!
//! Where there is only one column, or one row in a word, its number has a bit that is 0.
//!
//! # Timing
//!
//! A row a cycle, [`Drain::latency`] cycles after it was asked for, which is [`DRAIN_LATENCY`]. The cluster is asked in the same cycle and answers
//! [`Cluster::drain_latency`] cycles later.
//!
//! # Numeric contract
//!
//! None: bits are bits.
//!
//! # Cost
//!
//! A choice among the words' rows, and a register of the row.
//!
//! # Verification
//!
//! `tests/tests/rtl_results.rs`: with [`Results`](super::Results), beside a model of each cycle, at four sizes; cells and depth.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{array::Drain, rtl::Block};
//!
//! let drain = Drain::new(&AccelConfig::preset("u55c")?)?;
//! assert_eq!(drain.module()?.name(), "drain_c4_r4_w9_a9");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::pe::Cluster;
use crate::prim::DelayLine;
use crate::rtl::{Block, Builder, Module, RtlError, index_width};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::num::window::ACC_BITS;
use fastcar_arch::timing::DRAIN_LATENCY;
use std::sync::Arc;

/// Cycles from a word to the row that is chosen from it.
const CHOICE: u32 = 1;

/// The way of rows out of a cluster. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    cluster: Cluster,
    columns: u32,
}

impl Drain {
    /// For the clusters of a configuration.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(config: &AccelConfig) -> Result<Self, RtlError> {
        let cluster = Cluster::new(config)?;
        if u64::from(cluster.drain_latency() + CHOICE) != DRAIN_LATENCY {
            return Err(RtlError::Parameter {
                block: "drain",
                parameter: "DRAIN_LATENCY",
                asked: DRAIN_LATENCY,
                allowed: "a cycle more than a cluster takes to give a word",
            });
        }
        Ok(Self { cluster, columns: config.columns() })
    }

    /// Cycles from the question for a row to the row.
    #[must_use]
    pub fn latency(&self) -> u32 {
        self.cluster.drain_latency() + CHOICE
    }

    /// Width of a column's number.
    #[must_use]
    pub fn column_width(&self) -> u32 {
        index_width(self.columns.into())
    }

    /// Width of a word's number.
    #[must_use]
    pub fn word_width(&self) -> u32 {
        self.cluster.word_width()
    }

    /// Width of the number of a row in its word.
    #[must_use]
    pub fn row_width(&self) -> u32 {
        index_width(self.rows().into())
    }

    /// Rows of a word: a power of two.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.cluster.rows()
    }
}

impl Block for Drain {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let (columns, rows, word) = (self.columns, self.rows(), self.word_width());
        let address = self.cluster.address_width();
        let m = Builder::new(format!("drain_c{columns}_r{rows}_w{word}_a{address}"));
        m.output("drain_valid_o", m.input("request_valid_i", 1));
        m.output("drain_address_o", m.input("request_word_i", word).trunc(address));

        let late = |name: &str, width: u32| -> Result<_, RtlError> {
            let line = DelayLine::new(width, self.cluster.drain_latency())?;
            Ok(line.build(&m, name, m.input(&format!("request_{name}_i"), width)))
        };
        let (column, row) = (late("column", self.column_width())?, late("row", self.row_width())?);
        let sums = m.input("drain_sum_i", columns * rows * ACC_BITS).chunks(ACC_BITS);
        let of_columns: Vec<_> = sums.chunks(rows as usize).map(|word| row.choose(word)).collect();
        m.output("row_valid_o", m.register_valid("row_valid", m.input("drain_valid_i", 1)));
        m.output("row_o", m.register("row_data", column.choose(&of_columns)));
        m.finish()
    }
}
