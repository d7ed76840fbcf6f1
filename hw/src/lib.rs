//! Hardware generator of the fastcar accelerator: from an [`AccelConfig`](fastcar_arch::config::AccelConfig) to Verilog,
//! packaging and a manifest.
//!
//! The crate is a place in the workspace so far: nothing is generated yet. It will share the types of `fastcar-arch`
//! with the functional model, and none of its code.
