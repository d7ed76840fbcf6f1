//! One file per sub-command: its arguments and its run.

pub mod calibrate;
pub mod decode;
pub mod devices;
pub mod disasm;
pub mod generate;
pub mod info;
pub mod pack;
pub mod presets;
pub mod quality;
pub mod simulate;
pub mod sweep;
pub mod targets;
pub mod xclbin;
