//! A command's fields, by the names of the command set.

use crate::rtl::{RtlError, Wire};
use fastcar_arch::field::FieldInfo;
use fastcar_arch::isa::{COMMAND_BYTES, Command, CommandInfo};

/// Bits of a command.
pub const COMMAND_BITS: u32 = 8 * COMMAND_BYTES as u32;

/// An encoded command as wires.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'m> {
    word: Wire<'m>,
}

impl<'m> Fields<'m> {
    /// The fields of a word of [`COMMAND_BITS`], its first byte low.
    #[must_use]
    pub fn new(word: Wire<'m>) -> Self {
        Self { word }
    }

    /// A byte.
    #[must_use]
    pub fn byte(&self, offset: usize) -> Wire<'m> {
        self.word.slice(8 * offset as u32, 8)
    }

    /// Whether it is a command of this mnemonic.
    ///
    /// # Errors
    /// [`RtlError::Parameter`] when there is none.
    pub fn is(&self, mnemonic: &'static str) -> Result<Wire<'m>, RtlError> {
        Ok(self.byte(0).eq(u64::from(info(mnemonic)?.opcode)))
    }

    /// Whether it is one of these.
    ///
    /// # Errors
    /// As [`Fields::is`].
    pub fn is_any(&self, mnemonics: &[&'static str]) -> Result<Wire<'m>, RtlError> {
        let each = mnemonics.iter().map(|mnemonic| self.is(mnemonic)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.word.builder().pack(&each).any())
    }

    /// Which slots it runs for.
    #[must_use]
    pub fn pred(&self) -> Wire<'m> {
        self.word.slice(8, 2)
    }

    /// A field of a command of this mnemonic, in its stored width.
    ///
    /// # Errors
    /// [`RtlError::Parameter`] when there is no such command or field.
    pub fn field(&self, mnemonic: &'static str, name: &'static str) -> Result<Wire<'m>, RtlError> {
        let found = info(mnemonic)?.fields.iter().find(|field| field.name == name);
        let field = found.ok_or_else(|| unknown(name))?;
        Ok(self.of(field))
    }

    pub(super) fn of(&self, field: &FieldInfo) -> Wire<'m> {
        self.word.slice(8 * field.offset as u32, 8 * field.bytes as u32)
    }
}

fn info(mnemonic: &'static str) -> Result<&'static CommandInfo, RtlError> {
    Command::TABLE.iter().find(|info| info.mnemonic == mnemonic).ok_or_else(|| unknown(mnemonic))
}

fn unknown(what: &'static str) -> RtlError {
    RtlError::Parameter { block: "command", parameter: what, asked: 0, allowed: "a name of the command set" }
}

/// Cuts a word into parts of given widths, from its low end on.
pub(crate) fn cut<'m>(word: Wire<'m>) -> impl FnMut(u32) -> Wire<'m> {
    let mut low = 0;
    move |width| {
        low += width;
        word.slice(low - width, width)
    }
}
