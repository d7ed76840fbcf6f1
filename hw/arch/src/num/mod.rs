//! Number formats and arithmetic: the rules that fix every output bit.
//!
//! `docs/numerics.md` states the rules in prose, exactly enough to write a second implementation from it. This
//! module is the first one, and the hardware, the golden model and the simulator are held to it bit for bit.
//!
//! | module      | holds                                                                      |
//! |-------------|----------------------------------------------------------------------------|
//! | [`mx`]      | the MX block formats: E8M0 scales, MXINT8 and MXFP4 blocks, conversion      |
//! | [`dot`]     | exact integer dot products of two blocks                                    |
//! | [`window`]  | the 48-bit accumulator that block sums are added into                       |
//! | [`fp`]      | binary32 arithmetic with subnormals flushed, and integer to binary32        |
//! | [`sumsq`]   | sums and sums of squares that do not depend on the order of their terms     |
//! | [`func`]    | exp2, reciprocal, rsqrt, sigmoid, normal CDF: tables and their evaluation   |
//! | [`softmax`] | the base-2 softmax with integer weights                                     |
//!
//! Every sum is a sum of integers, so no result depends on the order or the grouping of its terms. Everything
//! else acts on one element, or two.

pub mod dot;
pub mod fp;
pub mod func;
pub mod mx;
pub mod softmax;
pub mod sumsq;
pub mod window;

pub use dot::{dot_fp4, dot_int8};
pub use fp::scaled_int_to_f32;
pub use mx::{
    BLOCK, E8M0, Fp4Block, Int8Block, e2m1_to_half_units, quantise_fp4, quantise_fp4_row,
    quantise_fp4_with_scale, quantise_int8, quantise_int8_row, quantise_int8_with_scale,
};
