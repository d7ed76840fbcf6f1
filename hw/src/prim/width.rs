//! `wider`, `narrower`: the same stream in larger or smaller words.
//!
//! # Purpose
//!
//! Joins parts whose words differ in width by a whole factor, `ratio`.
//!
//! # Interface
//!
//! Streams with `last`, which ends a packet. On the wide side `keep` has a bit per narrow word: ones from bit 0 on, at least one; only
//! the last word of a packet may have fewer than all.
//!
//! | port | dir | width in `wider` | in `narrower` |
//! |---|---|---|---|
//! | `in_valid_i`, `in_ready_o`, `in_last_i` | | 1 | 1 |
//! | `in_data_i` | in | width | width x ratio, first word in the low bits |
//! | `in_keep_i` | in | - | ratio |
//! | `out_valid_o`, `out_ready_i`, `out_last_o` | | 1 | 1 |
//! | `out_data_o` | out | width x ratio | width |
//! | `out_keep_o` | out | ratio | - |
//!
//! # Timing
//!
//! Either takes or makes a narrow word per cycle without a gap. `wider` has its output in registers, valid one cycle after the word that fills
//! it or ends the packet; `narrower` has none, latency 0. In both `in_ready_o` depends on `out_ready_i`; a skid buffer cuts that.
//!
//! # Numeric contract
//!
//! None. What `wider` has in words that it does not keep is anything.
//!
//! # Cost
//!
//! `wider`: `width * ratio` registers. `narrower`: a multiplexer, `log2(ratio)` registers.
//!
//! # Verification
//!
//! `tests/tests/rtl_primitives/streams.rs::wider_words_are_their_narrow_ones`, `narrower_words_are_those_of_the_wide_ones`, `tests/tests/rtl_formal.rs::width_converters`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{prim::{Narrower, Wider}, rtl::Block};
//!
//! assert_eq!(Wider::new(64, 8)?.module()?.name(), "wider_w64_r8");
//! assert_eq!(Narrower::new(64, 8)?.module()?.name(), "narrower_w64_r8");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::within;
use crate::rtl::{Block, Builder, MAX_WIDTH, Module, RtlError, Wire, index_width};
use std::sync::Arc;

/// Narrow words in, wide words out. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wider {
    width: u32,
    ratio: u32,
}

/// Wide words in, narrow words out. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Narrower {
    width: u32,
    ratio: u32,
}

fn checked(block: &'static str, width: u32, ratio: u32) -> Result<(u32, u32), RtlError> {
    let ratio = within(block, "ratio", ratio, 2..=256, "2 to 256")?;
    let width = within(block, "width", width, 1..=MAX_WIDTH / 256, "1 to 4096 bits")?;
    Ok((width, ratio))
}

impl Wider {
    /// Words of `width` bits into words of `ratio` times as many.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(width: u32, ratio: u32) -> Result<Self, RtlError> {
        checked("wider", width, ratio).map(|(width, ratio)| Self { width, ratio })
    }
}

impl Narrower {
    /// Words of `ratio` times `width` bits into words of `width`.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(width: u32, ratio: u32) -> Result<Self, RtlError> {
        checked("narrower", width, ratio).map(|(width, ratio)| Self { width, ratio })
    }
}

impl Block for Wider {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Self { width, ratio } = *self;
        let m = Builder::new(format!("wider_w{width}_r{ratio}"));
        let input = m.stream_in("in", width);
        let last = m.input("in_last_i", 1);
        let valid = m.reg("valid", 1).reset(0);
        let out_last = m.reg("last", 1);
        // Number of the word that comes next.
        let lane = m.reg("lane", index_width(u64::from(ratio))).reset(0);
        let full = lane.q().eq(u64::from(ratio - 1)) | last;

        let lanes: Vec<Wire<'_>> = (0..ratio)
            .map(|n| {
                let word = m.reg(&format!("word_{n}"), width);
                word.set_when(input.passes() & lane.q().eq(u64::from(n)), input.data);
                word.q()
            })
            .collect();
        let keep: Vec<Wire<'_>> = (0..ratio)
            .map(|n| {
                let kept = m.reg(&format!("keep_{n}"), 1);
                let here = lane.q().eq(u64::from(n));
                // The first word of a wide one clears what the wide one before had.
                let first = lane.q().eq(0) & m.lit(1, u64::from(n != 0));
                kept.update(&[(input.passes() & (here | first), here)]);
                kept.q()
            })
            .collect();

        let output = m.stream("out_ready", valid.q(), m.pack(&lanes));
        m.stream_out("out", output);
        m.output("out_keep_o", m.pack(&keep));
        m.output("out_last_o", out_last.q());
        let free = !valid.q() | output.ready.wire();
        input.ready.set(free);
        let zero = m.lit(lane.q().width(), 0);
        lane.set_when(input.passes(), full.mux(zero, lane.q() + 1));
        valid.set_when(free, input.valid & full);
        out_last.set_when(input.passes(), last);
        m.finish()
    }
}

impl Block for Narrower {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Self { width, ratio } = *self;
        let m = Builder::new(format!("narrower_w{width}_r{ratio}"));
        let input = m.stream_in("in", width * ratio);
        let (keep, last) = (m.input("in_keep_i", ratio), m.input("in_last_i", 1));
        let passes = m.later("out_passes", 1);
        let lane = m.reg("lane", index_width(u64::from(ratio))).reset(0);

        // A word is the last of its wide one if the next is not kept.
        let ends: Vec<Wire<'_>> =
            (0..ratio).map(|n| if n + 1 < ratio { !keep.bit(n + 1) } else { m.lit(1, 1) }).collect();
        let end = lane.q().choose(&ends).named("final_word");
        let output = m.stream("out_ready", input.valid, lane.q().choose(&input.data.chunks(width)));
        m.stream_out("out", output);
        m.output("out_last_o", last & end);
        passes.set(output.passes());
        input.ready.set(output.ready.wire() & end);
        let zero = m.lit(lane.q().width(), 0);
        lane.set_when(passes.wire(), end.mux(zero, lane.q() + 1));
        m.finish()
    }
}
