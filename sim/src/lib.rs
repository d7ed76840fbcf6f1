//! Cycle-accurate simulator of the fastcar accelerator.
