//! Arithmetic of the MAC array.

pub mod dot_lane;

pub use dot_lane::DotLane;
