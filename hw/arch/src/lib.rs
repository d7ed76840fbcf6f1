//! The contract of the fastcar accelerator: number formats, command set, configuration, memory layouts, registers,
//! board schema and identity. Simulator, generator and host all import it; it depends on none of them and does no
//! input or output.

pub mod asm;
pub mod board;
pub mod config;
pub mod docs;
pub mod field;
pub mod identity;
pub mod isa;
pub mod layout;
pub mod num;
pub mod program;
pub mod regs;
pub mod resources;
pub mod step;
pub mod timing;
pub mod units;
