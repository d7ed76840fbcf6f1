//! Reader and writer of .xclbin (axlf) containers, and what fastcar puts into them.
//!
//! [`Xclbin`] is the container: a header and named sections of bytes. [`tables`], [`metadata`] and [`keyvalue`] read
//! and write what stands in the sections that a runtime looks at, and [`view::View`] reads them all and checks that
//! they agree. [`image`] is what makes a container an image of this accelerator: its identity and configuration,
//! with the kernel, arguments and memory banks that its register map asks for.
//!
//! Whatever comes from a file is untrusted: sizes, counts, offsets and texts are checked before they are used, and
//! nothing is allocated for them that the file does not have the bytes for.

mod container;
mod error;
pub mod image;
pub mod keyvalue;
pub mod metadata;
mod raw;
pub mod tables;
mod text;
pub mod view;

pub use container::{Header, Mode, Section, SectionKind, Uuid, Version, Xclbin};
pub use error::XclbinError;
pub use text::Text;
