//! EMBEDDED_METADATA: kernels with their ports, arguments and instances, as XML.

mod read;
mod write;

use crate::error::XclbinError;

/// Section of this module in messages.
const KIND: &str = "EMBEDDED_METADATA";

/// Most bytes of XML.
pub const MAX_BYTES: usize = 1 << 20;
/// Most nested elements.
pub const MAX_DEPTH: usize = 32;

/// What the XML says of the image.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Metadata {
    /// Name of the project that made the image.
    pub project: String,
    /// Name of the platform.
    pub platform: String,
    /// What the image is made for: `bitstream`, `hw_em` or `csim`.
    pub target: String,
    /// Clocks of the kernels.
    pub clocks: Vec<KernelClock>,
    /// Kernels.
    pub kernels: Vec<Kernel>,
}

/// A clock of the kernels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KernelClock {
    /// Name: `DATA_CLK`.
    pub port: String,
    /// Frequency with its unit: `300MHz`.
    pub frequency: String,
}

/// A kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kernel {
    /// Name.
    pub name: String,
    /// Control protocol: `ap_ctrl_chain`.
    pub protocol: String,
    /// Work items of a group.
    pub work_group: u64,
    /// Whether it has an interrupt.
    pub interrupt: bool,
    /// Bus ports.
    pub ports: Vec<Port>,
    /// Arguments.
    pub arguments: Vec<Argument>,
    /// Instances (compute units).
    pub instances: Vec<Instance>,
}

/// Which way a port goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PortMode {
    /// The kernel reads and writes memory.
    Master,
    /// The host reads and writes the kernel.
    Slave,
    /// Anything else, as the XML has it: streams.
    Other(String),
}

impl PortMode {
    /// As the XML has it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Master => "master",
            Self::Slave => "slave",
            Self::Other(text) => text,
        }
    }
}

/// A bus port of a kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Port {
    /// Name.
    pub name: String,
    /// Which way it goes.
    pub mode: PortMode,
    /// Bytes of address space.
    pub range: u64,
    /// Width of its data bus in bits.
    pub data_bits: u32,
}

/// How a kernel takes an argument.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Qualifier(pub u32);

impl Qualifier {
    /// By value.
    pub const SCALAR: Self = Self(0);
    /// A pointer to device memory.
    pub const GLOBAL: Self = Self(1);
}

/// An argument of a kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Argument {
    /// Name.
    pub name: String,
    /// How the kernel takes it.
    pub qualifier: Qualifier,
    /// Number, as `clSetKernelArg` counts; none for arguments that the runtime sets.
    pub id: Option<u32>,
    /// Port that it goes through.
    pub port: String,
    /// Bytes in the kernel's registers.
    pub size: u64,
    /// Offset in the kernel's registers.
    pub offset: u64,
    /// Offset in the host's record of arguments.
    pub host_offset: u64,
    /// Bytes on the host.
    pub host_size: u64,
    /// Type in C.
    pub ty: String,
}

/// An instance of a kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Instance {
    /// Name.
    pub name: String,
    /// Where its registers are.
    pub remaps: Vec<Remap>,
}

/// A port of an instance on the control bus.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remap {
    /// Port.
    pub port: String,
    /// First address.
    pub base: u64,
    /// Bytes; none where the XML leaves it to the port's own range.
    pub range: Option<u64>,
}

impl Kernel {
    /// The `kernel.xml` that the vendor's packager reads; `vlnv` names the packaged block: vendor, library, name and version.
    ///
    /// # Errors
    /// None that a kernel of ours could cause.
    pub fn to_kernel_xml(&self, vlnv: &str) -> Result<Vec<u8>, XclbinError> {
        write::write_kernel(self, vlnv).map_err(|e| refuse(e.to_string()))
    }
}

impl Metadata {
    /// Reads the XML.
    ///
    /// # Errors
    /// Not XML, larger or deeper than [`MAX_BYTES`] and [`MAX_DEPTH`], or an element lacks what it must have.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, XclbinError> {
        read::read(bytes)
    }

    /// The XML.
    ///
    /// # Errors
    /// A text has characters that do not survive in XML.
    pub fn to_bytes(&self) -> Result<Vec<u8>, XclbinError> {
        let bytes = write::write(self).map_err(|e| refuse(e.to_string()))?;
        if Self::from_bytes(&bytes)? == *self {
            return Ok(bytes);
        }
        Err(refuse("a text has characters that do not survive in XML".to_owned()))
    }

    /// A kernel by name.
    #[must_use]
    pub fn kernel(&self, name: &str) -> Option<&Kernel> {
        self.kernels.iter().find(|k| k.name == name)
    }
}

fn refuse(message: String) -> XclbinError {
    XclbinError::Metadata { kind: KIND, message }
}
