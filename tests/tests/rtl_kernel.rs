//! The kernel as a host sees it: whole runs through the registers, and the files that it is generated as.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "shared with the tests of the core")]
#[path = "rtl_core/masked.rs"]
mod masked;
#[allow(dead_code, reason = "shared with the tests of the core")]
#[path = "rtl_core/products.rs"]
mod products;
#[allow(dead_code, reason = "shared with the tests of the core")]
#[path = "rtl_core/programs.rs"]
mod programs;

#[path = "rtl_kernel/files.rs"]
mod files;
#[path = "rtl_kernel/runs.rs"]
mod runs;
