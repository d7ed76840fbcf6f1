//! `attn_scale_bytes`: the scale bytes of a block of the cache, for the beats of its keys.
//!
//! # Purpose
//!
//! Keeps the scale bytes that come ahead of a block's keys, those of the keys and those of the values, gives each beat of keys its own, and finds the largest of each token's
//! keys before the token's first beat.
//!
//! # Interface
//!
//! A *part* is what a beat of elements needs: a byte for each lane; where a block takes two beats, both need the same one. Lane 0 is low.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | no block |
//! | `open_i`, `open_part_i` | in | 1, [`ScaleBytes::part_bits`] | a block's first scale beat comes in the next cycle or later; the part of its first token's first beat |
//! | `valid_i`, `data_i` | in | 1, 8 x beat | a scale beat |
//! | `half_i`, `word_i` | in | 1, [`ScaleBytes::word_bits`] | it holds bytes of values; its number among those of its half |
//! | `narrow_i` | in | 1 | two lanes: the one beat holds both halves |
//! | `last_part_i` | in | [`BLOCKS`] | parts of a token, less one; stays while the block lasts |
//! | `part_i` | in | [`ScaleBytes::part_bits`] | a part is asked for |
//! | `key_o`, `value_o` | out | lanes x 8 | its bytes, in the same cycle |
//! | `narrow_key_o` | out | lanes x 8 | two lanes: the same of narrow heads' keys, earlier in the cycle |
//! | `next_i` | in | 1 | the next token's first beat is taken; the first time the first token's |
//! | `largest_o` | out | 8 | the largest byte of the token's keys, from the next cycle on; not of narrow heads, of which a lane's byte is a token's |
//!
//! # Timing
//!
//! A scale beat that comes in cycle c can be asked for from c + 1 on. The largest keeps pace with a beat a cycle: with all scale beats in consecutive cycles, the last in cycle c, `next_i` may
//! come in c for a block's first token, wherever in the block that is, and for each token behind as many cycles later as a token has parts.
//!
//! # Numeric contract
//!
//! [`E8M0::max_of`](fastcar_arch::num::mx::E8M0::max_of): the byte of NaN is the largest.
//!
//! # Cost
//!
//! Distributed memory: the keys' bytes twice, the values' once, for the longest heads; three choices of a part of a beat. Figures:
//! `tests/baselines/rtl/attn_scale_bytes.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_attn.rs`: `scale_bytes_keep_pace`.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{attn::ScaleBytes, rtl::Block};
//!
//! let bytes = ScaleBytes::new(&AccelConfig::preset("u55c")?)?;
//! assert_eq!((bytes.module()?.name(), bytes.part_bits()), ("attn_scale_bytes_b64", 9));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::span_walk::BLOCKS;
use super::{BYTE, Shape, larger};
use crate::rtl::{Block, Builder, Memory, Module, RamStyle, RtlError, Wire, index_width};
use fastcar_arch::config::{AccelConfig, KV_BLOCK_TOKENS, LINE_WORDS};
use fastcar_arch::program::MAX_HEAD_DIM;
use std::sync::Arc;

/// Scale bytes of the keys, and of the values, of a block of the longest heads.
const MOST: u32 = KV_BLOCK_TOKENS * MAX_HEAD_DIM / LINE_WORDS;

/// Scale bytes of a block. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleBytes {
    beat: u32,
    lanes: u32,
}

impl ScaleBytes {
    /// For the beats of a configuration.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(config: &AccelConfig) -> Result<Self, RtlError> {
        Ok(Self { beat: config.fields().beat_bytes, lanes: Shape::of(config)?.lanes })
    }

    /// Width of the number of a part in a block.
    #[must_use]
    pub fn part_bits(&self) -> u32 {
        (MOST / self.lanes).ilog2()
    }

    /// Width of the number of a scale beat among those of its half.
    #[must_use]
    pub fn word_bits(&self) -> u32 {
        index_width((MOST / self.beat).into())
    }

    /// Width of the number of a part in a beat.
    fn place_bits(&self) -> u32 {
        (self.beat / self.lanes).ilog2()
    }

    /// The beat that a part lies in.
    fn word<'m>(&self, part: Wire<'m>) -> Wire<'m> {
        part.slice(self.place_bits(), self.word_bits())
    }

    /// A part of a half's bytes.
    fn part<'m>(&self, memory: Memory<'m>, part: Wire<'m>) -> Wire<'m> {
        let beat = memory.read(self.word(part));
        part.trunc(self.place_bits()).choose(&beat.chunks(self.lanes * BYTE))
    }
}

/// The largest so far and of a part's bytes; all comparisons side by side.
fn with_part<'m>(largest: Wire<'m>, bytes: &[Wire<'m>]) -> Wire<'m> {
    let Some(&second) = bytes.get(1) else { return larger(largest, bytes[0]) };
    let [first_is, second_is] = [bytes[0], second].map(|byte| largest.lt(byte));
    bytes[0].lt(second).mux(second_is.mux(second, largest), first_is.mux(bytes[0], largest))
}

/// Finds the largest byte of one token after the other, ahead of their beats.
fn largest<'m>(s: &ScaleBytes, m: &'m Builder, keys: Memory<'m>, written: Wire<'m>, open: Wire<'m>) {
    let (part, within) = (m.reg("scan", s.part_bits()), m.reg("scanned", BLOCKS));
    let (done, largest) = (m.reg("done", 1).reset(1), m.reg("so_far", BYTE));
    let steps = (!done.q() & s.word(part.q()).zext(written.width()).lt(written)).named("steps");
    let ends = (steps & within.q().eq(m.input("last_part_i", BLOCKS))).named("ends");
    part.update(&[(open, m.input("open_part_i", s.part_bits())), (steps, part.q() + 1)]);
    within.update(&[(open | ends, m.lit(BLOCKS, 0)), (steps, within.q() + 1)]);

    let with = with_part(largest.q(), &s.part(keys, part.q()).chunks(BYTE));
    let next = m.input("next_i", 1);
    largest.update(&[(open | next, m.lit(BYTE, 0)), (steps, with)]);
    done.update(&[(open | next, m.lit(1, 0)), (ends, m.lit(1, 1))]);
    let out = m.reg("largest", BYTE);
    out.set_when(next, done.q().mux(largest.q(), with));
    m.output("largest_o", out.q());
}

impl Block for ScaleBytes {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("attn_scale_bytes_b{}", self.beat));
        let (valid, data) = (m.input("valid_i", 1), m.input("data_i", BYTE * self.beat));
        let (half, word) = (m.input("half_i", 1), m.input("word_i", self.word_bits()));
        let memory = |name: &str| m.memory(name, data.width(), 1 << self.word_bits(), RamStyle::Distributed);
        // One for the beats, one for what finds the largest ahead of them.
        let [keys, ahead, values] = ["keys", "keys_ahead", "values"].map(memory);
        for keys in [keys, ahead] {
            keys.write(valid & !half, word, data);
        }
        if self.lanes == 1 {
            values.write(valid & half, word, data);
        } else {
            let narrow = m.input("narrow_i", 1);
            values.write(valid & (half | narrow), word, narrow.mux(data >> (data.width() / 2), data));
        }
        let asked = m.input("part_i", self.part_bits());
        m.output("key_o", self.part(keys, asked));
        if self.lanes > 1 {
            // Half of a beat has all of them, which makes a shorter way to the windows' bases.
            let half = keys.read(self.word(asked)).trunc(data.width() / 2);
            let place = asked.trunc(self.place_bits() - 1);
            m.output("narrow_key_o", place.choose(&half.chunks(self.lanes * BYTE)));
        }
        m.output("value_o", self.part(values, asked));

        let open = m.input("open_i", 1);
        let written = m.reg("written", self.word_bits() + 1).reset(0);
        written.update(&[(open, m.lit(written.q().width(), 0)), (valid & !half, written.q() + 1)]);
        largest(self, &m, ahead, written.q(), open);
        m.finish()
    }
}
