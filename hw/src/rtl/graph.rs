//! A module as data: what [`Builder`](super::Builder) makes, and what is printed and simulated.

use super::bits::Bits;
use super::{Block, RtlError};
use std::cmp::Ordering;
use std::sync::Arc;

pub(crate) type Id = u32;

/// A port of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Name.
    pub name: String,
    /// Width in bits.
    pub width: u32,
    /// Whether it is an input.
    pub input: bool,
}

/// What a memory is to be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RamStyle {
    /// Look-up tables: small, may be read without a register.
    Distributed,
    /// Block RAM: the read needs a register.
    Block,
    /// UltraRAM: the read needs a register, better two; 72 bits wide and 4,096 deep.
    Ultra,
}

impl RamStyle {
    /// Value of the attribute `ram_style`, and the letter that names of modules have for it.
    #[must_use]
    pub fn attribute(self) -> &'static str {
        match self {
            Self::Distributed => "distributed",
            Self::Block => "block",
            Self::Ultra => "ultra",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unary {
    Not,
    Any,
    All,
    Parity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    Add,
    Sub,
    And,
    Or,
    Xor,
    Mul,
    MulSigned,
    Eq,
    Ne,
    Lt,
    Le,
    LtSigned,
    LeSigned,
    Shl,
    Shr,
    Sar,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Const(Bits),
    Input(u32),
    Reg(u32),
    Output { instance: u32, port: u32 },
    Read { memory: u32, address: Id },
    Later(u32),
    Unary(Unary, Id),
    Binary(Binary, Id, Id),
    Slice(Id, u32),
    Concat(Vec<Id>),
    Zext(Id),
    Sext(Id),
    Mux(Id, Id, Id),
}

impl Node {
    /// The nodes that it is computed from, within the cycle and the module.
    pub(crate) fn operands(&self) -> Vec<Id> {
        match self {
            Self::Const(_) | Self::Input(_) | Self::Reg(_) | Self::Output { .. } | Self::Later(_) => {
                Vec::new()
            }
            Self::Read { address: a, .. }
            | Self::Unary(_, a)
            | Self::Slice(a, _)
            | Self::Zext(a)
            | Self::Sext(a) => {
                vec![*a]
            }
            Self::Binary(_, a, b) => vec![*a, *b],
            Self::Mux(c, a, b) => vec![*c, *a, *b],
            Self::Concat(parts) => parts.clone(),
        }
    }

    /// Value of an operation, given its operands' in order; nothing for a node that is no operation.
    pub(crate) fn value(&self, width: u32, operands: &[&Bits]) -> Option<Bits> {
        Some(match (self, operands) {
            (Self::Const(bits), _) => bits.clone(),
            (Self::Unary(op, _), [a]) => op.value(a),
            (Self::Binary(op, ..), [a, b]) => op.value(a, b),
            (Self::Slice(_, low), [a]) => a.slice(*low, width),
            (Self::Concat(_), parts) => {
                Bits::concat(&parts.iter().map(|&part| part.clone()).collect::<Vec<_>>())
            }
            (Self::Zext(_), [a]) => a.zext(width),
            (Self::Sext(_), [a]) => a.sext(width),
            (Self::Mux(..), [c, a, b]) => if c.any() { *a } else { *b }.clone(),
            _ => return None,
        })
    }
}

impl Unary {
    fn value(self, a: &Bits) -> Bits {
        match self {
            Self::Not => a.not(),
            Self::Any => Bits::bit_of(a.any()),
            Self::All => Bits::bit_of(a.all()),
            Self::Parity => Bits::bit_of(a.parity()),
        }
    }
}

impl Binary {
    fn value(self, a: &Bits, b: &Bits) -> Bits {
        // A count beyond 64 bits shifts everything out.
        let count = || b.to_u64().unwrap_or(u64::MAX);
        match self {
            Self::Add => a.add(b),
            Self::Sub => a.sub(b),
            Self::And => a.and(b),
            Self::Or => a.or(b),
            Self::Xor => a.xor(b),
            Self::Mul => a.mul(b),
            Self::MulSigned => a.mul_signed(b),
            Self::Eq => Bits::bit_of(a == b),
            Self::Ne => Bits::bit_of(a != b),
            Self::Lt => Bits::bit_of(a.compare(b) == Ordering::Less),
            Self::Le => Bits::bit_of(a.compare(b) != Ordering::Greater),
            Self::LtSigned => Bits::bit_of(a.compare_signed(b) == Ordering::Less),
            Self::LeSigned => Bits::bit_of(a.compare_signed(b) != Ordering::Greater),
            Self::Shl => a.shl(count()),
            Self::Shr => a.shr(count()),
            Self::Sar => a.sar(count()),
        }
    }
}

/// A node with what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub node: Node,
    pub width: u32,
    pub name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RegData {
    pub name: String,
    pub width: u32,
    pub next: Option<Id>,
    pub enable: Option<Id>,
    pub reset: Option<Bits>,
    pub attributes: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WriteData {
    pub enable: Id,
    pub address: Id,
    pub data: Id,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemoryData {
    pub name: String,
    pub width: u32,
    pub depth: u32,
    pub style: RamStyle,
    /// What it begins with; empty for a memory that begins with anything.
    pub contents: Vec<Bits>,
    pub write: Option<WriteData>,
}

#[derive(Clone, Debug)]
pub(crate) struct InstanceData {
    pub name: String,
    pub module: Arc<Module>,
    /// One per port of the module; nothing for outputs, the clock and the reset.
    pub inputs: Vec<Option<Id>>,
    /// What resets it beside the reset of the module that it stands in.
    pub reset: Option<Id>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LaterData {
    pub name: String,
    pub value: Option<Id>,
}

/// A finished module: checked, and not to be changed.
#[derive(Clone, Debug, Default)]
pub struct Module {
    pub(crate) name: String,
    pub(crate) ports: Vec<Port>,
    pub(crate) items: Vec<Item>,
    pub(crate) regs: Vec<RegData>,
    pub(crate) memories: Vec<MemoryData>,
    pub(crate) instances: Vec<InstanceData>,
    pub(crate) laters: Vec<LaterData>,
    /// One per port; nothing for inputs.
    pub(crate) outputs: Vec<Option<Id>>,
    pub(crate) clocked: bool,
    pub(crate) resettable: bool,
    /// What stands for it where the macro is defined.
    pub(crate) primitive: Option<Primitive>,
}

/// A macro, and the same circuit as instances of a device's own cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Primitive {
    pub when: &'static str,
    pub text: String,
}

/// Name of the clock of every clocked module.
pub(crate) const CLOCK: &str = "clk_i";
/// Name of the reset, synchronous and active high, of every module that has one.
pub(crate) const RESET: &str = "rst_i";

impl Module {
    /// Its name, which also tells its configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its ports without clock and reset, in the order in which they were declared.
    #[must_use]
    pub fn ports(&self) -> &[Port] {
        &self.ports
    }

    /// Whether it has a clock, `clk_i`.
    #[must_use]
    pub fn is_clocked(&self) -> bool {
        self.clocked
    }

    /// Whether it has a reset, `rst_i`.
    #[must_use]
    pub fn has_reset(&self) -> bool {
        self.resettable
    }

    pub(crate) fn port_index(&self, name: &str, input: bool) -> Option<usize> {
        self.ports.iter().position(|port| port.input == input && port.name == name)
    }
}

impl Block for Arc<Module> {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        Ok(Arc::clone(self))
    }
}
