//! `fork`, `join`: one stream to several consumers, several streams into one.
//!
//! # Purpose
//!
//! `fork` gives every word to each of `ways` consumers, each of which takes it when it likes. `join` waits for a word from each of its
//! producers and hands them on as one.
//!
//! # Interface
//!
//! | port | dir | width in `fork` | in `join` |
//! |---|---|---|---|
//! | `in_valid_i`, `in_data_i`, `in_ready_o` | | 1, width, 1 | `in<k>_...`, the same |
//! | `out_valid_o`, `out_data_o`, `out_ready_i` | | `out<k>_...`: 1, width, 1 | 1, width x ways (producer 0 low), 1 |
//!
//! # Timing
//!
//! Latency 0, one word per cycle. `fork` remembers who has taken the word, so that no consumer waits for another; the producer's word is
//! taken with the last of them.
//!
//! # Numeric contract
//!
//! None.
//!
//! # Cost
//!
//! `fork`: a register per consumer. `join`: gates.
//!
//! # Verification
//!
//! `tests/tests/rtl_primitives/streams.rs::forks_give_every_word_to_each`, `joins_wait_for_all`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{prim::{Fork, Join}, rtl::Block};
//!
//! assert_eq!(Fork::new(8, 3)?.module()?.name(), "fork_w8_n3");
//! assert_eq!(Join::new(8, 3)?.module()?.name(), "join_w8_n3");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::{data_width, within};
use crate::rtl::{Block, Builder, Module, RtlError, Stream};
use std::sync::Arc;

/// One stream to several consumers. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fork {
    width: u32,
    ways: u32,
}

/// Several streams into one. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Join {
    width: u32,
    ways: u32,
}

fn checked(block: &'static str, width: u32, ways: u32) -> Result<(u32, u32), RtlError> {
    Ok((data_width(block, width)?, within(block, "ways", ways, 2..=64, "2 to 64")?))
}

impl Fork {
    /// To a number of consumers.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(width: u32, ways: u32) -> Result<Self, RtlError> {
        checked("fork", width, ways).map(|(width, ways)| Self { width, ways })
    }
}

impl Join {
    /// From a number of producers.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(width: u32, ways: u32) -> Result<Self, RtlError> {
        checked("join", width, ways).map(|(width, ways)| Self { width, ways })
    }
}

impl Block for Fork {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("fork_w{}_n{}", self.width, self.ways));
        let input = m.stream_in("in", self.width);
        let mut all = m.lit(1, 1);
        for way in 0..self.ways {
            let done = m.reg(&format!("done_{way}"), 1).reset(0);
            let output = m.stream(&format!("out{way}_ready"), input.valid & !done.q(), input.data);
            m.stream_out(&format!("out{way}"), output);
            let has = done.q() | output.ready.wire();
            done.set_when(input.valid, has & !input.ready.wire());
            all = all & has;
        }
        input.ready.set(all);
        m.finish()
    }
}

impl Block for Join {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("join_w{}_n{}", self.width, self.ways));
        let inputs: Vec<Stream<'_>> =
            (0..self.ways).map(|way| m.stream_in(&format!("in{way}"), self.width)).collect();
        let valid = inputs.iter().map(|input| input.valid).fold(m.lit(1, 1), |a, b| a & b);
        let data: Vec<_> = inputs.iter().map(|input| input.data).collect();
        let output = m.stream("out_ready", valid, m.pack(&data));
        m.stream_out("out", output);
        for input in inputs {
            input.ready.set(output.passes());
        }
        m.finish()
    }
}
