//! A fault in the generated Verilog, put in to see whether a test catches it.

use crate::error::BenchError;
use fastcar_hw::rtl::{Bits, Design};
use std::fmt;
use std::str::FromStr;

/// Set to a fault, as in `late dot_lane.dot_o`, it is put into every design that is made a library of.
pub const FAULT: &str = "RTL_FAULT";

/// A design with the fault runs: on the terminal, before the fault.
pub const FAULT_RUNS: &str = "a fault runs: ";

/// A design with the fault cannot run: on the terminal, before the reason.
pub const FAULT_FAILED: &str = "a fault cannot run: ";

/// What can be wrong with a signal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FaultKind {
    /// A cycle late.
    Late,
    /// Zero every fourth time that it is not: a beat is lost.
    Dropped,
    /// The highest bit is inverted.
    Sign,
    /// All bits are one for ever.
    Stuck,
    /// The lowest bit is one for ever: half of all values are off by one unit in the last place.
    Rounding,
}

impl FaultKind {
    /// All.
    pub const ALL: [Self; 5] = [Self::Late, Self::Dropped, Self::Sign, Self::Stuck, Self::Rounding];

    /// What gives the wire `name_faulty` its value, from the wire `name_sound`.
    fn logic(self, name: &str, range: &str, width: u32) -> String {
        let (sound, faulty) = (format!("{name}_sound"), format!("{name}_faulty"));
        let combinational = |value: String| format!("    wire {range}{faulty} = {value};\n");
        match self {
            Self::Late => {
                format!("    reg {range}{faulty};\n    always @(posedge clk_i) {faulty} <= {sound};\n")
            }
            Self::Dropped => format!(
                "    reg [1:0] {name}_count;\n    initial {name}_count = 2'd0;\n\
                 \x20   always @(posedge clk_i) if (|{sound}) {name}_count <= {name}_count + 2'd1;\n{}",
                combinational(format!("((&{name}_count) ? {} : {sound})", Bits::zero(width)))
            ),
            Self::Sign => {
                let top = Bits::from_u64(width, 1).shl(u64::from(width) - 1);
                combinational(format!("({sound} ^ {top})"))
            }
            Self::Stuck => combinational(format!("({sound} | {})", Bits::ones(width))),
            Self::Rounding => combinational(format!("({sound} | {})", Bits::from_u64(width, 1))),
        }
    }

    fn needs_clock(self) -> bool {
        matches!(self, Self::Late | Self::Dropped)
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Late => "late",
            Self::Dropped => "dropped",
            Self::Sign => "sign",
            Self::Stuck => "stuck",
            Self::Rounding => "rounding",
        })
    }
}

/// A fault of one kind, at an output or a named wire of every module of a name, whatever its parameters: as if the generator
/// had made it so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    kind: FaultKind,
    module: String,
    signal: String,
}

impl Fault {
    /// A fault at `module.signal`.
    ///
    /// # Errors
    /// [`BenchError::Fault`] where the place is none.
    pub fn new(kind: FaultKind, place: &str) -> Result<Self, BenchError> {
        let word = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_');
        let (module, signal) = place
            .split_once('.')
            .filter(|(module, signal)| word(module) && word(signal))
            .ok_or_else(|| BenchError::Fault {
                fault: format!("{kind} {place}"),
                what: "the place is no module.signal",
            })?;
        Ok(Self { kind, module: module.into(), signal: signal.into() })
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        self.kind
    }

    /// Module and signal, with a point between them.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}.{}", self.module, self.signal)
    }

    /// The fault that [`FAULT`] names.
    pub(crate) fn of_environment() -> Result<Option<Self>, BenchError> {
        let given = std::env::var(FAULT).ok().filter(|text| !text.is_empty());
        given.map(|text| text.parse()).transpose()
    }

    /// The design with the fault; nothing if it has no such module that gives such a signal a value, with a clock if the fault
    /// needs one.
    #[must_use]
    pub fn put(&self, design: &Design) -> Option<Design> {
        let modules = design.modules().iter().filter(|(name, _)| self.is_of(name));
        modules.fold(None, |faulty, (name, text)| match self.text(text) {
            Some(text) => Some(faulty.unwrap_or_else(|| design.clone()).with_text(name, text)),
            None => faulty,
        })
    }

    /// Whether a module is of the name, with parameters behind it or none.
    fn is_of(&self, name: &str) -> bool {
        name.strip_prefix(&self.module).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    }

    /// A module's text with the fault.
    fn text(&self, text: &str) -> Option<String> {
        let range = text.lines().find_map(|line| self.declared(line))?;
        let can_be = !self.kind.needs_clock() || text.contains("input wire clk_i");
        (can_be && text.lines().any(|line| self.value(line).is_some())).then_some(())?;
        let lines = text.lines().map(|line| match self.value(line) {
            Some(value) => self.instead(range, value, line.trim_start().starts_with("assign")),
            None => format!("{line}\n"),
        });
        Some(lines.collect())
    }

    /// The range that a line declares the signal with: empty for one bit.
    fn declared<'a>(&self, line: &'a str) -> Option<&'a str> {
        let line = line.trim_start();
        let rest = line.strip_prefix("output ").unwrap_or(line).strip_prefix("wire ")?;
        let name_at = if rest.starts_with('[') { rest.find("] ")? + 2 } else { 0 };
        let (range, rest) = rest.split_at(name_at);
        (rest.split([',', ';', ' ']).next()? == self.signal).then_some(range)
    }

    /// What a line gives the signal.
    fn value<'a>(&self, line: &'a str) -> Option<&'a str> {
        let (target, value) = line.trim_start().split_once(" = ")?;
        let (kind, name) = target.rsplit_once(' ')?;
        let gives = name == self.signal && (kind == "assign" || kind.starts_with("wire"));
        value.strip_suffix(';').filter(|_| gives)
    }

    /// Lines instead of one that gives the signal its value, beside its declaration or together with it.
    fn instead(&self, range: &str, value: &str, declared: bool) -> String {
        let name = &self.signal;
        let width = range.trim_start_matches('[').split(':').next().and_then(|high| high.parse::<u32>().ok());
        let logic = self.kind.logic(name, range, width.map_or(1, |high| high + 1));
        let target = if declared { "assign ".into() } else { format!("wire {range}") };
        format!("    wire {range}{name}_sound = {value};\n{logic}    {target}{name} = {name}_faulty;\n")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.place())
    }
}

impl FromStr for FaultKind {
    type Err = BenchError;

    fn from_str(text: &str) -> Result<Self, BenchError> {
        let found = Self::ALL.into_iter().find(|kind| kind.to_string() == text);
        found.ok_or_else(|| BenchError::Fault { fault: text.into(), what: "there is no such kind" })
    }
}

impl FromStr for Fault {
    type Err = BenchError;

    fn from_str(text: &str) -> Result<Self, BenchError> {
        let (kind, place) = text.split_once(' ').unwrap_or((text, ""));
        Self::new(kind.parse()?, place)
    }
}
