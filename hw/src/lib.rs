//! Hardware of the fastcar accelerator, from an [`AccelConfig`](fastcar_arch::config::AccelConfig) to Verilog.
//!
//! * [`rtl`] describes circuits: a small set of types in which every block is written, simulated and printed.
//! * [`prim`] holds what every design needs: registers in a row, FIFOs, memories, arbiters, stream plumbing.
//! * [`array`](mod@array) holds what feeds the MAC array.
//! * [`attn`] holds attention in a cluster: scores and weights.
//! * [`axi`] holds the ports to the outside.
//! * [`cmd`] holds the command processor.
//! * [`core`](mod@core) puts the units together.
//! * [`drs`] holds dynamic resource scheduling.
//! * [`gate`] holds the scores of past keys.
//! * [`pe`] holds the arithmetic of the MAC array.
//! * [`func`] holds functions by table and what softmax does to a score.
//! * [`mod@generate`] writes the kernel of a configuration into a folder.
//! * [`kernel`] puts control registers around the core.
//! * [`mx`] holds conversion to and from the block formats.
//! * [`vec`](mod@vec) holds the vector unit's data path.
//! * [`walk`] holds the walkers: from commands to runs of beats.
//!
//! Types of `fastcar-arch` are shared with the functional model, code is not. How to write a block, how to test it and how names
//! come about is told in `docs/hw.md`.

pub mod array;
pub mod attn;
pub mod axi;
pub mod cmd;
pub mod core;
pub mod drs;
pub mod fp;
pub mod func;
pub mod gate;
pub mod generate;
pub mod kernel;
pub mod mx;
pub mod pe;
pub mod port;
pub mod prim;
pub mod rtl;
pub mod vec;
pub mod walk;
