//! Arithmetic of the MAC array: what one cluster does to each beat of weights, keys or values.
//!
//! [`BlockDot`] makes the products of a beat and adds those of a block, [`WindowTerm`] aligns block sums,
//! [`Accumulators`] adds the terms up, and [`Cluster`] puts them together for all columns.

pub mod accumulators;
pub mod block_dot;
mod chain;
pub mod cluster;
mod codes;
pub mod dot_lane;
pub mod dsp;
mod value_sums;
pub mod window_term;

pub use accumulators::Accumulators;
pub use block_dot::{BlockDot, DotShape};
pub use cluster::Cluster;
pub use dot_lane::DotLane;
pub use window_term::WindowTerm;
