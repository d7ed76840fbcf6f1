//! `mx_dequantiser`: elements of an MXINT8 block to binary32.
//!
//! # Purpose
//!
//! The change that a delta command has quantised moves its reference; a gate that compares activations takes both as blocks. Each needs the
//! elements as numbers again.
//!
//! # Interface
//!
//! A *pipe*.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears `valid` only |
//! | `valid_i` | in | 1 | operands are sampled on this edge |
//! | `scale_i` | in | 8 | scale of the block |
//! | `elems_i` | in | 8 x lanes | elements, lane 0 in the low byte |
//! | `valid_o` | out | 1 | there is a result |
//! | `words_o` | out | 32 x lanes | binary32, lane 0 in the low word |
//!
//! # Timing
//!
//! Latency [`Dequantiser::latency`]: 1, one group of lanes a cycle.
//!
//! # Numeric contract
//!
//! [`Int8Block::dequantise`](fastcar_arch::num::Int8Block::dequantise) bit for bit: exact, save that values below 2^-126 become
//! zeros of their sign, -128 under the
//! largest scale is -infinity, and every element under scale 255 is the canonical NaN.
//!
//! # Cost
//!
//! Look-up tables only: eight bits' magnitude, leading zeros and shift, an adder of 9 bits a lane.
//!
//! # Verification
//!
//! `tests/tests/rtl_mx.rs`: `every_element_under_every_scale`, `cells_and_depth_are_held`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::mx::Dequantiser;
//!
//! assert_eq!(Dequantiser::new(32)?.latency(), 1);
//! assert!(Dequantiser::new(3).is_err());
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::lanes;
use crate::func::later_valid;
use crate::rtl::{Block, Builder, Module, RtlError, Wire};
use std::sync::Arc;

/// Bits of an element, and of a magnitude: -128 has eight.
const ELEMENT: u32 = 8;
/// What the exponent field is above scale and place of the leading one: an element counts in units of 2^-6.
const UNIT: u64 = 6;

/// Elements to binary32. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dequantiser {
    lanes: u32,
}

impl Dequantiser {
    /// A number of elements at a time.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(number: u32) -> Result<Self, RtlError> {
        Ok(Self { lanes: lanes("dequantiser", number)? })
    }

    /// Cycles from elements to words.
    #[must_use]
    pub fn latency(&self) -> u32 {
        1
    }
}

/// The word of an element.
fn word<'m>(m: &'m Builder, scale: Wire<'m>, element: Wire<'m>) -> Wire<'m> {
    let sign = element.msb();
    let magnitude = element.signed(sign, m.lit(1, 0)).named("magnitude");
    // The place of the leading one, and the bits below it at the top.
    let places: Vec<_> = (1..ELEMENT).rev().map(|at| (magnitude.bit(at), u64::from(at))).collect();
    let place_cases: Vec<_> = places.iter().map(|&(bit, at)| (bit, m.lit(4, at))).collect();
    let place = m.select(m.lit(4, 0), &place_cases);
    let mantissa_cases: Vec<_> = places
        .iter()
        .map(|&(bit, at)| (bit, (magnitude << (ELEMENT - 1 - at as u32)).trunc(ELEMENT - 1)))
        .collect();
    let mantissa = m.select(m.lit(ELEMENT - 1, 0), &mantissa_cases);
    let field = (scale.zext(10) + place.zext(10) - UNIT).named("field");
    let nan = scale.all();
    // Zero elements, and fields of zero and below.
    let vanishes = element.is_zero() | field.msb() | !field.trunc(9).any();
    let finite = m.concat(&[field.trunc(8), mantissa]) & (!vanishes).repeat(ELEMENT + ELEMENT - 1);
    let quiet = m.concat(&[m.lit(9, 0x1FF), m.lit(6, 0)]);
    m.concat(&[sign & !nan, nan.mux(quiet, finite), m.lit(16, 0)])
}

impl Block for Dequantiser {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("mx_dequantiser_n{}", self.lanes));
        let valid = m.input("valid_i", 1);
        let scale = m.input("scale_i", 8);
        let elements = m.input("elems_i", ELEMENT * self.lanes).chunks(ELEMENT);
        let words: Vec<_> = elements.into_iter().map(|element| word(&m, scale, element)).collect();
        m.output("valid_o", later_valid(&m, "valid", valid, self.latency()));
        m.output("words_o", m.register("words", m.pack(&words)));
        m.finish()
    }
}
