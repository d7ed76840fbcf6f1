//! `command_check`: whether 64 bytes are a command.
//!
//! # Purpose
//!
//! Refuses what the command set does not define, before anything is done with it.
//!
//! # Interface
//!
//! A *pipe*.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | clears `valid` only |
//! | `valid_i`, `command_i` | in | 1, 512 | a command, its first byte low |
//! | `valid_o` | out | 1 | the verdict is there |
//! | `opcode_o` | out | 1 | no command has this opcode |
//! | `operand_o` | out | 1 | one has, but a field holds an undefined value, a length of 0, an address or stride that is no multiple of a beat; or a byte that no field uses is not 0 |
//!
//! # Timing
//!
//! [`Check::LATENCY`] cycles, one command a cycle.
//!
//! # Numeric contract
//!
//! As [`Command::decode`] and [`Command::misfit`]: opcodes, fields, enumerations and reserved bytes are taken from the same tables.
//!
//! # Cost
//!
//! Some 200 look-up tables.
//!
//! # Verification
//!
//! `tests/tests/rtl_cmd.rs::commands_are_checked`: every command with every byte changed, against the decoder.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{cmd::Check, rtl::Block};
//!
//! assert_eq!(Check::new(16)?.module()?.name(), "command_check_b16");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::fields::{COMMAND_BITS, Fields};
use crate::rtl::{Block, Builder, Module, RtlError, Wire};
use fastcar_arch::isa::{COMMAND_BYTES, Command, CommandInfo, ENUMS, Pred};
use std::sync::Arc;

/// The check of a command. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    beat: u32,
}

impl Check {
    /// Cycles from a command to its verdict.
    pub const LATENCY: u32 = 3;

    /// For beats of so many bytes.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(beat: u32) -> Result<Self, RtlError> {
        Ok(Self { beat: super::beat_bytes("command check", beat)? })
    }
}

/// Number of values that a field of this type may have; none where every value is one.
fn values(kind: &str) -> Option<u64> {
    match kind {
        "bool" => Some(2),
        _ => ENUMS.iter().find(|known| known.name == kind).map(|known| known.rows.len() as u64),
    }
}

/// Bytes that no field of a command uses.
fn reserved(info: &CommandInfo) -> impl Iterator<Item = usize> + '_ {
    let used = |byte: &usize| info.fields.iter().any(|f| (f.offset..f.offset + f.bytes).contains(byte));
    (2..COMMAND_BYTES).filter(move |byte| !used(byte))
}

/// Whether a field of the command has no defined value, or is a length or a place that does not fit.
fn undefined<'m>(m: &'m Builder, info: &CommandInfo, fields: &Fields<'m>, beat: u32) -> Wire<'m> {
    let checked = info.fields.iter().filter_map(|field| {
        let value = fields.of(field);
        match values(field.kind) {
            Some(count) => Some(value.ge(count)),
            None if field.is_length() => Some(value.is_zero()),
            None if field.is_place() => Some(value.trunc(beat.ilog2()).any()),
            None => None,
        }
    });
    let pred = fields.byte(1).ge(Pred::ALL.len() as u64);
    m.pack(&checked.chain([pred]).collect::<Vec<_>>()).any()
}

impl Block for Check {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("command_check_b{}", self.beat));
        let valid = ["looked_at", "compared"]
            .iter()
            .fold(m.input("valid_i", 1), |valid, stage| m.register_valid(stage, valid));
        let fields = Fields::new(m.input("command_i", COMMAND_BITS));
        let used: Vec<_> = (0..COMMAND_BYTES).map(|byte| fields.byte(byte).any()).collect();
        let used = m.register("used", m.pack(&used));

        let mut known = Vec::new();
        let mut wrong = Vec::new();
        for info in Command::TABLE {
            let name = info.mnemonic;
            let is = m.register(&format!("is_{name}"), fields.byte(0).eq(u64::from(info.opcode)));
            let value = m.register(&format!("undefined_{name}"), undefined(&m, info, &fields, self.beat));
            let extra: Vec<_> = reserved(info).map(|byte| used.bit(byte as u32)).collect();
            known.push(is);
            wrong.push(m.register(&format!("wrong_{name}"), is & (value | m.pack(&extra).any())));
        }
        m.output("valid_o", m.register_valid("checked", valid));
        let unknown = m.register("unknown", !m.pack(&known).any());
        m.output("opcode_o", m.register("no_opcode", unknown));
        m.output("operand_o", m.register("wrong_operand", m.pack(&wrong).any()));
        m.finish()
    }
}
