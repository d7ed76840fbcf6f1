//! Assembly text of whole programs: one command a line, `#` to the end of a line is a comment.
//!
//! A line is what [`Command`]'s `Display` writes: a mnemonic, then every operand as `name=value` in any order.
//! [`disassemble`] appends the command's position as a comment, which [`assemble`] skips, so that text can be
//! edited without renumbering and `assemble(disassemble(p)) == p` for every list of commands.
//!
//! ```
//! use fastcar_arch::asm::{assemble, disassemble};
//!
//! let program = assemble("# one vector sum\nadd pred=all dst=0 src=4 words=128\nend pred=all\n")?;
//! assert_eq!(disassemble(&program), "add pred=all dst=0 src=4 words=128  # 0\nend pred=all  # 1\n");
//! # Ok::<(), fastcar_arch::asm::AsmError>(())
//! ```

use crate::isa::{Addr, Command, IsaError, NormKind};
use crate::layout::Region;
use std::fmt::Write;

/// A line that is no command.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}: {error}")]
pub struct AsmError {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong with it.
    #[source]
    pub error: IsaError,
}

/// Reads assembly text.
///
/// # Errors
/// [`AsmError`] for the first line that is neither a command nor blank.
pub fn assemble(text: &str) -> Result<Vec<Command>, AsmError> {
    let code = |line: &str| line.split('#').next().unwrap_or_default().trim().to_owned();
    let lines = text.lines().map(code).enumerate().filter(|(_, line)| !line.is_empty());
    lines.map(|(at, line)| line.parse().map_err(|error| AsmError { line: at + 1, error })).collect()
}

/// Writes assembly text; the comment behind each command is its position.
#[must_use]
pub fn disassemble(commands: &[Command]) -> String {
    disassemble_with(commands, |_| None)
}

/// Writes assembly text; the comment behind each command is its position, and what its addresses are where `name`
/// knows.
#[must_use]
pub fn disassemble_with(commands: &[Command], name: impl Fn(Addr) -> Option<String>) -> String {
    let mut out = String::new();
    for (index, command) in commands.iter().enumerate() {
        let _ = write!(out, "{command}  # {index}");
        for (operand, addr) in addresses(command) {
            if let Some(name) = name(addr) {
                let _ = write!(out, " {operand}: {}", name.replace(['\n', '\r'], " "));
            }
        }
        out.push('\n');
    }
    out
}

/// Names an address after the region it lies in: `kv_cache+0x40`.
pub fn in_regions(regions: &[Region]) -> impl Fn(Addr) -> Option<String> {
    |addr| {
        let region =
            regions.iter().find(|r| addr.0.checked_sub(r.start).is_some_and(|at| at < r.size.get()))?;
        let offset = addr.0 - region.start;
        Some(if offset == 0 { region.name.clone() } else { format!("{}+0x{offset:x}", region.name) })
    }
}

/// The memory operands of a command that it uses: operand name and address.
fn addresses(command: &Command) -> Vec<(&'static str, Addr)> {
    match command {
        Command::Load(c) => vec![("addr", c.addr)],
        Command::Store(c) => vec![("addr", c.addr)],
        Command::StoreAct(c) => vec![("addr", c.addr)],
        Command::Norm(c) => used([("gamma", c.gamma, true), ("beta", c.beta, c.kind == NormKind::Layer)]),
        Command::Rope(c) => vec![("table", c.table)],
        Command::Delta(c) => vec![("addr", c.addr)],
        Command::Matvec(c) => {
            used([("addr", c.addr, true), ("bias", c.bias, c.has_bias), ("ring", c.ring, c.delta)])
        }
        Command::KvAppend(c) => vec![("addr", c.addr)],
        Command::Attn(c) => used([("addr", c.addr, true), ("list", c.list, c.list_entries > 0)]),
        Command::GateTas(c) => vec![("addr", c.addr)],
        Command::GateDelta(c) => vec![("addr", c.addr)],
        Command::End(_) | Command::Quant(_) | Command::Add(_) | Command::GateHost(_) => Vec::new(),
    }
}

fn used<const N: usize>(operands: [(&'static str, Addr, bool); N]) -> Vec<(&'static str, Addr)> {
    operands.into_iter().filter(|o| o.2).map(|(name, addr, _)| (name, addr)).collect()
}
