//! `fp::align`: a number as an integer under a given exponent, one a cycle.
//!
//! # Purpose
//!
//! What makes sums of binary32 numbers independent of order: each becomes an integer first.
//!
//! # Interface
//!
//! A pipe.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears `valid` only |
//! | `valid_i` | in | 1 | operands are sampled on this edge |
//! | `x_i` | in | 32 | number x |
//! | `emax_i` | in | 8 | largest field; x has no larger one |
//! | `square_i` | in | 1 | to be squared: gives -\|x'\| in place of x' |
//! | `valid_o` | out | 1 | there is a result |
//! | `aligned_o` | out | [`ALIGNED_BITS`] | x', signed |
//!
//! # Timing
//!
//! Latency [`Align::LATENCY`], one result per cycle: distance; shift; round. It is a part of
//! [`fastcar_arch::timing::SUMSQ_LATENCY`].
//!
//! # Numeric contract
//!
//! [`fastcar_arch::num::sumsq::align`], bit for bit; 0 where `emax` is 255. |x'| is at most 2^17, which takes 19 bits with a sign;
//! -|x'| takes 18, so that a DSP block can square it.
//!
//! # Cost
//!
//! Look-up tables and registers alone: a shifter of 24 bits and two carry chains. Figures:
//! `tests/baselines/rtl/fp_align.toml`.
//!
//! # Verification
//!
//! Testpoint `hw.fp.align` of `docs/verification.md`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{fp::Align, rtl::Block};
//!
//! assert_eq!((Align::LATENCY, Align.module()?.name()), (3, "fp_align"));
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::{FIELD, Parts, SIGNIFICAND, WORD, add_carry, hold, hold_valid, rounds_up, shift_and_lost};
use crate::rtl::{Block, Builder, Module, RtlError};
use fastcar_arch::num::sumsq::FRAC_BITS;
use std::sync::Arc;

/// Width of an aligned number: -2^17 to 2^17.
pub const ALIGNED_BITS: u32 = FRAC_BITS as u32 + 3;
/// Bits of a significand that are kept where the field is `emax`.
const KEPT: u32 = FRAC_BITS as u32 + 1;

/// The alignment. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Align;

impl Align {
    /// Cycles from operands to their result.
    pub const LATENCY: u32 = 3;
}

impl Block for Align {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new("fp_align");
        let valid = m.input("valid_i", 1);
        let (x, emax) = (Parts::of(m.input("x_i", WORD)), m.input("emax_i", FIELD));
        let negate = x.sign | m.input("square_i", 1);
        let nothing = x.zero | emax.all();
        let distance = emax - x.field;
        // A shift by 31 leaves nothing of 24 bits, nor of the half that rounds.
        let far = distance.slice(5, FIELD - 5).any();
        let distance = m.register("distance", far.repeat(5) | distance.trunc(5));
        let significand =
            m.register("significand", !nothing.repeat(SIGNIFICAND) & m.lit(1, 1).cat(x.mantissa));
        let (shifted, lost) = shift_and_lost(significand, distance);
        let dropped = SIGNIFICAND - KEPT;
        let kept = m.register("kept", shifted.slice(dropped, KEPT));
        let half = m.register("half", shifted.bit(dropped - 1));
        let rest = m.register("rest", shifted.trunc(dropped - 1).any() | lost);
        let negate = hold(&m, "negate", 2, negate)?;
        // -(k + up) = !k + !up.
        let up = rounds_up(kept.bit(0), half, rest) ^ negate;
        let zeros = m.lit(ALIGNED_BITS, 0);
        let signed = kept.zext(ALIGNED_BITS) ^ negate.repeat(ALIGNED_BITS);
        m.output("valid_o", hold_valid(&m, "valid", Self::LATENCY, valid));
        m.output("aligned_o", m.register("aligned", add_carry(signed, zeros, up)));
        m.finish()
    }
}
