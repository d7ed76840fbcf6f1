//! The fastcar simulator as an OpenCL platform.
//!
//! A host program finds accelerators here as it would find cards: platform, devices, an image (`.xclbin`) that makes a
//! device an accelerator, buffers in its memory banks, and a kernel whose run executes a command program with the bits
//! of the functional model and the cycles of the simulator. Three ways lead here:
//!
//! - a loader (ocl-icd, Khronos) that reads an `.icd` file with the path of the library; `OCL_ICD_VENDORS` names its
//!   folder;
//! - the library itself, opened by its path: it exports the whole interface;
//! - linked into a program: [`link()`] keeps the interface's symbols, and the program exports them
//!   (`--export-dynamic`).
//!
//! What is implemented is what the vendor's runtime (XRT) has, with its extensions for memory banks. All else answers
//! the status that the specification names for it.
//!
//! # Environment
//!
//! | variable | meaning |
//! |---|---|
//! | `FASTCAR_SIM_DEVICES` | presets, separated by commas; `tiny*2,u55c` makes three devices. Default `u55c` |
//! | `FASTCAR_SIM_MODE` | what a run does: `values` (default): values and cycles; `functional`: values, no time; `timing`: the cycles of a dense run, memory untouched but for a report of zeros; `instant`: nothing, no time |
//! | `FASTCAR_SIM_LINK` | how long transfers take: `gen3x16` (default), `gen4x8`, `none` (no time); figures in `sim/icd/data/links.toml` |
//! | `FASTCAR_SIM_FAULT` | what goes wrong at a device's N-th run: `hang@N`, `lost@N`, `slverr@N` |
//! | `FASTCAR_SIM_AS_XRT` | 1: platform and vendor are named as in XRT ("Xilinx", OpenCL 1.0) |
//! | `FASTCAR_SIM_LOG` | 1: a line for every refused call and failed command, with the numbers |
//!
//! They are read once. One that makes no sense is reported on standard error, and there is then no platform.
//!
//! # Time
//!
//! Profiling times are simulated nanoseconds: a run takes its cycles, a transfer latency and bytes at the link's
//! rate. Each device has one DMA engine each way and one compute unit, which overlap as order and dependencies allow.
//! The host takes no time: it stands at the latest end that it has waited for. Time on the wall is whatever it takes.
//!
//! # Failure
//!
//! Where an image has several banks, a buffer has none until a flag or the first kernel argument gives it one; before
//! that it cannot be used. A kernel argument of another bank is refused.
//!
//! A run is refused before it changes anything if its program or step table is not valid or reaches beyond its buffers:
//! its event gets the status CL_OUT_OF_RESOURCES, and the reason in words is in the log, in the program's build log
//! and given to the context's callback. A lost device fails every command with CL_DEVICE_NOT_AVAILABLE.

mod api;
mod context;
mod device;
mod engine;
mod kernel;
mod link;
mod memory;
mod platform;
mod program;
mod refusal;
mod run;
mod settings;
mod sync;
mod zeroed;

/// Keeps the exported functions of the interface when this crate is linked into a program, and says how many there are.
#[must_use]
pub fn link() -> usize {
    std::hint::black_box(api::keep()).len()
}

/// Objects that the application has not released: contexts, queues, buffers, programs, kernels, events.
#[must_use]
pub fn live_handles() -> usize {
    api::live()
}
