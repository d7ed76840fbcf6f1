//! What can be wrong with a circuit.

use std::fmt;
use std::panic::Location;
use std::path::PathBuf;

/// Place in the Rust source that asked for what cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    file: &'static str,
    line: u32,
}

impl Place {
    /// The caller of the function that asks; functions on the way need `#[track_caller]`.
    #[track_caller]
    pub(crate) fn here() -> Self {
        let caller = Location::caller();
        Self { file: caller.file(), line: caller.line() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Why a circuit cannot be built, emitted or simulated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RtlError {
    /// A block was asked for with a parameter that it cannot have.
    #[error("{block}: {parameter} is {asked}; it must be {allowed}")]
    Parameter {
        /// Kind of block.
        block: &'static str,
        /// Parameter's name.
        parameter: &'static str,
        /// Value asked for.
        asked: u64,
        /// What it can be, in words.
        allowed: &'static str,
    },
    /// Operands of different widths.
    #[error("{place}: {op} of {left} and {right} bits; extend or slice one of them to the other's width")]
    Width {
        /// Operation.
        op: &'static str,
        /// Width that the left operand, port or register has.
        left: u32,
        /// Width that was found instead.
        right: u32,
        /// Where.
        place: Place,
    },
    /// A width that no signal can have.
    #[error("{place}: a signal of {asked} bits; a signal has 1 to {max} bits", max = crate::rtl::MAX_WIDTH)]
    NoSuchWidth {
        /// Width asked for.
        asked: u64,
        /// Where.
        place: Place,
    },
    /// A part of a signal that is not there.
    #[error("{place}: bits {low} to {high} of a signal of {width} bits")]
    Slice {
        /// Lowest bit.
        low: u32,
        /// Highest bit.
        high: u64,
        /// Width that there is.
        width: u32,
        /// Where.
        place: Place,
    },
    /// A number that does not fit.
    #[error("{place}: the number {value} does not fit {width} bits")]
    Literal {
        /// The number.
        value: u64,
        /// Width it should have.
        width: u32,
        /// Where.
        place: Place,
    },
    /// An operand that belongs to another module.
    #[error("{place}: an operand belongs to module {other}, not to {module}; connect modules through ports")]
    Foreign {
        /// Module that is being built.
        module: String,
        /// Module that the operand belongs to.
        other: String,
        /// Where.
        place: Place,
    },
    /// A list of operands with nothing in it.
    #[error("{place}: {op} of no operands")]
    Empty {
        /// Operation.
        op: &'static str,
        /// Where.
        place: Place,
    },
    /// A name that Verilog cannot have.
    #[error(
        "module {module}: the name {name:?} is not a Verilog identifier (letters, digits, underscores, no keyword)"
    )]
    Name {
        /// Module.
        module: String,
        /// The name.
        name: String,
    },
    /// A name that is taken.
    #[error("module {module}: the name {name} is used twice")]
    NameTwice {
        /// Module.
        module: String,
        /// The name.
        name: String,
    },
    /// Two different modules of one name.
    #[error("two different modules are named {name}; whatever tells them apart belongs into the name")]
    ModuleTwice {
        /// The name.
        name: String,
    },
    /// A port that a module does not have.
    #[error("{place}: module {module} has no {direction} {port}; it has {has}")]
    NoSuchPort {
        /// Module.
        module: String,
        /// Input or output.
        direction: &'static str,
        /// Port asked for.
        port: String,
        /// Ports that there are.
        has: String,
        /// Where.
        place: Place,
    },
    /// Something that needs a value and has none.
    #[error("module {module}: {what} is never given a value")]
    Undriven {
        /// Module.
        module: String,
        /// Register, wire or input.
        what: String,
    },
    /// Something that has two values.
    #[error("{place}: {what} is given a value twice")]
    DrivenTwice {
        /// Register, wire or input.
        what: String,
        /// Where.
        place: Place,
    },
    /// A value that depends on itself within a cycle.
    #[error("{module}: combinational loop through {path}")]
    Loop {
        /// Module that was to be simulated.
        module: String,
        /// Signals of the loop.
        path: String,
    },
    /// A file that could not be written.
    #[error("cannot write {}: {reason}", path.display())]
    Write {
        /// File or folder.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
}
