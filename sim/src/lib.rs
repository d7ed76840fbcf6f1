//! Cycle-accurate simulator of the fastcar accelerator: the machine of `docs/ARCHITECTURE.md`, unit by unit, with the
//! values of [`fastcar_golden::Golden`] and the timing of `fastcar-arch`.
//!
//! The crate is a place in the workspace so far: nothing is simulated yet.
