//! AXI: masters to the memory channels, registers for the host.

pub mod bursts;
pub mod control;
pub mod lite;
pub mod read;
pub mod write;

pub use bursts::BurstPort;
pub use control::{Control, Handshake};
pub use lite::AxiLite;
pub use read::ReadMaster;
pub use write::WriteMaster;
