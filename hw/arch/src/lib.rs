//! The contract of the fastcar accelerator.

pub mod num;
