//! Identity: a hash of everything that two parts of the system must agree on to understand each other.
//!
//! It stands in the register map of a built accelerator, in its manifest and in packed weights. Whoever loads one
//! against the other compares identities and refuses a stranger. Documentation texts are not part of it; the
//! configuration, the command set, the layouts, the registers and the function tables are.

use crate::config::{AccelConfig, KV_BLOCK_TOKENS, LINE_WORDS, ROW_GRANULE};
use crate::isa::{COMMAND_BYTES, Command, ENUMS, ISA_VERSION};
use crate::layout::{LAYOUT_VERSION, PAGE_BYTES};
use crate::num::{func, sumsq, window};
use crate::regs::{REGISTER_VERSION, RegisterMap};
use crate::step::{GateEntry, GateReport, SLOT_BYTES};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Write};
use std::str::FromStr;

/// Identity of a configuration under this version of the contract: a BLAKE3 hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Identity([u8; 32]);

/// Text that is no identity.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("identity '{found}': must be 64 hexadecimal digits")]
pub struct IdentityError {
    /// The text found.
    pub found: String,
}

impl Identity {
    /// The identity of a configuration.
    #[must_use]
    pub fn of(config: &AccelConfig) -> Self {
        Self(*blake3::hash(contract(config).as_bytes()).as_bytes())
    }

    /// An identity read from elsewhere.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The hash as the identity registers hold it: byte 0 in the low byte of word 0.
    #[must_use]
    pub fn words(&self) -> [u32; 8] {
        let (words, _) = self.0.as_chunks::<4>();
        std::array::from_fn(|i| u32::from_le_bytes(words[i]))
    }

    /// The identity that the identity registers hold.
    #[must_use]
    pub fn from_words(words: [u32; 8]) -> Self {
        Self(std::array::from_fn(|i| words[i / 4].to_le_bytes()[i % 4]))
    }

    /// The first 12 hexadecimal digits, for names and messages.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({self})")
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let digit = |i: usize| char::from(text.as_bytes()[i]).to_digit(16);
        if text.len() != 64 || (0..64).any(|i| digit(i).is_none()) {
            return Err(IdentityError { found: text.to_owned() });
        }
        let byte = |i: usize| digit(2 * i).unwrap_or(0) << 4 | digit(2 * i + 1).unwrap_or(0);
        Ok(Self(std::array::from_fn(|i| byte(i) as u8)))
    }
}

impl From<Identity> for String {
    fn from(identity: Identity) -> Self {
        identity.to_string()
    }
}

impl TryFrom<String> for Identity {
    type Error = IdentityError;

    fn try_from(text: String) -> Result<Self, IdentityError> {
        text.parse()
    }
}

/// The hashed text: one fact a line, in a fixed order. Public so that two builds that disagree can be compared.
#[must_use]
pub fn contract(config: &AccelConfig) -> String {
    let mut out = String::from("fastcar contract 1\n");
    let _ = writeln!(out, "[config]\n{}", config.to_toml());
    commands(&mut out);
    layouts(&mut out);
    numbers(&mut out);
    registers(&mut out, config);
    out
}

fn commands(out: &mut String) {
    let _ = writeln!(out, "[isa] version {ISA_VERSION} bytes {COMMAND_BYTES}");
    for command in Command::TABLE {
        let _ = writeln!(out, "command {} {}", command.opcode, command.mnemonic);
        for field in command.fields {
            let _ = writeln!(out, "field {} {} {} {}", field.offset, field.bytes, field.name, field.kind);
        }
    }
    for (value, text, _) in ENUMS.iter().flat_map(|e| e.rows) {
        let _ = writeln!(out, "value {value} {text}");
    }
}

fn layouts(out: &mut String) {
    let (gate, report) = (size_of::<GateEntry>(), size_of::<GateReport>());
    let _ = writeln!(out, "[layout] version {LAYOUT_VERSION} line {LINE_WORDS} kv {KV_BLOCK_TOKENS}");
    let _ = writeln!(
        out,
        "granule {ROW_GRANULE} page {PAGE_BYTES} slot {SLOT_BYTES} gate {gate} report {report}"
    );
}

fn numbers(out: &mut String) {
    let (acc, frac, blocks) = (window::ACC_BITS, window::FRAC_BITS, window::MAX_BLOCKS);
    let _ = writeln!(
        out,
        "[numbers] window {acc} {frac} {blocks} sums {} {}",
        sumsq::FRAC_BITS,
        sumsq::MAX_TERMS
    );
    for table in func::tables() {
        let (index, offset) = (table.index_bits, table.offset_bits);
        let _ =
            writeln!(out, "table {} {index} {offset} {} {} {}", table.name, table.k1, table.k2, table.hash());
    }
}

fn registers(out: &mut String, config: &AccelConfig) {
    let _ = writeln!(out, "[registers] version {REGISTER_VERSION}");
    for register in RegisterMap::new(config).registers() {
        let _ = writeln!(out, "register {} {} {}", register.offset, register.bits, register.name);
        for field in register.fields {
            let _ = writeln!(out, "bits {} {} {} {}", field.low, field.width, field.name, field.access);
        }
    }
}
