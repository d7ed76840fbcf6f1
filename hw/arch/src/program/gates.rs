//! Which gates of the step table commands use: each has one entry in the report.

use super::ProgramError;
use super::family::CommandRef;
use crate::isa::Command;
use std::collections::BTreeMap;

/// The command that uses each gate.
#[derive(Default)]
pub(super) struct Gates {
    users: BTreeMap<u16, CommandRef>,
}

impl Gates {
    /// Follows a command.
    ///
    /// # Errors
    /// [`ProgramError::GateTwice`].
    pub(super) fn follow(&mut self, by: CommandRef, command: &Command) -> Result<(), ProgramError> {
        let gate = match command {
            Command::GateTas(c) => c.gate,
            Command::GateDelta(c) => c.gate,
            Command::GateHost(c) => c.gate,
            Command::Delta(c) => c.gate,
            _ => return Ok(()),
        };
        match self.users.insert(gate, by) {
            None => Ok(()),
            Some(first) => Err(ProgramError::GateTwice {
                index: by.index,
                command: by.mnemonic,
                gate,
                first: first.index,
                first_command: first.mnemonic,
            }),
        }
    }
}
