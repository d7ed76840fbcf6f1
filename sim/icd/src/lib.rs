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
//! | `FASTCAR_SIM_MODE` | what a run does: `values` (default): values and cycles; `functional`: values, no time; `timing`: the cycles of a dense run, memory untouched but for a report of zeros; `rtl`: values and cycles of the generated hardware in Verilator, see below; `instant`: nothing, no time |
//! | `FASTCAR_SIM_LINK` | how long transfers take: `gen3x16` (default), `gen4x8`, `none` (no time); figures in `sim/icd/data/links.toml` |
//! | `FASTCAR_SIM_FAULT` | what goes wrong at a device's N-th run: `hang@N`, `lost@N`, `slverr@N`; at its N-th command, run or transfer: `memory@N`. With `:D` behind it, only on device D |
//! | `FASTCAR_SIM_LOCK` | a folder in which processes agree which image each device runs. Without it every process has devices of its own |
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
//! The cycles of a run take program, step table and report where their buffers lie in their bank, but local byte 0 of
//! each channel as the first byte of its bank: there the host puts the channels' buffers, which are the first and
//! largest that it asks for. For a buffer elsewhere values are the same; cycles are those of a bank that begins with
//! it, so its rows and DRAM banks are others than on a card. The simulator knows channels by local addresses from end
//! to end, bursts, faults and the search for channels that do the same included, and an offset that only a few runs
//! have would have to be carried through all of it.
//!
//! # The hardware
//!
//! Built with the feature `rtl`, and with `FASTCAR_SIM_MODE=rtl`, a device runs every program on the Verilog of its image's
//! configuration: the kernel of `fastcar-hw` in Verilator, started and read by its registers, on the simulator's memories.
//! It is made when the image is loaded: Verilator and a C++ compiler take minutes for that, once for each configuration
//! (what they make is kept below the folder that `FASTCAR_CACHE` names, else where `fastcar_rtl` says). The buffer of CHANNEL0 has to begin its
//! bank, with program, step table and report behind it, as they do for the host. Programs with block lists end with the
//! hardware's error.
//!
//! # Several processes
//!
//! A card runs one image for all processes that use it. With `FASTCAR_SIM_LOCK` so does a simulated device: whoever
//! loads the image that it runs shares it, and another image is refused with CL_INVALID_PROGRAM, XRT's answer to the
//! driver's "device busy". The device is free when the last process has released its programs or has ended, however
//! it ended. Devices are known by their number, so all processes give the same list of them. Memory is each process's
//! own, with or without it.
//!
//! # Failure
//!
//! Where an image has several banks, a buffer has none until a flag or the first kernel argument gives it one; before
//! that it cannot be used. A kernel argument of another bank is refused.
//!
//! A run is refused before it changes anything if its program or step table is not valid or reaches beyond its buffers:
//! its event gets the status CL_OUT_OF_RESOURCES, and the reason in words is in the log, in the program's build log
//! and given to the context's callback. A lost device fails every command with CL_DEVICE_NOT_AVAILABLE. A command for
//! which there is no memory when it is to begin fails with CL_MEM_OBJECT_ALLOCATION_FAILURE, as it does in XRT, which
//! allocates late; it has changed nothing.

mod api;
mod claim;
mod context;
mod device;
mod engine;
mod hardware;
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
