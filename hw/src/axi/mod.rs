//! AXI.

pub mod lite;

pub use lite::AxiLite;
