//! Shared by the contract's tests: random commands, and committed files that a test can rewrite.
#![allow(dead_code, reason = "each test binary uses its part")]

use fastcar_arch::field::FieldInfo;
use fastcar_arch::isa::{COMMAND_BYTES, Command, CommandInfo, ENUMS};
use proptest::prelude::*;
use std::path::PathBuf;

/// Random commands of one kind: every field any value of its type, often zero or all ones.
pub fn command_of(info: &'static CommandInfo) -> impl Strategy<Value = Command> {
    let selectors = proptest::collection::vec(0u8..8, info.fields.len());
    (any::<[u8; COMMAND_BYTES]>(), selectors).prop_map(move |(noise, selectors)| {
        let mut raw = [0; COMMAND_BYTES];
        (raw[0], raw[1]) = (info.opcode, noise[1] % 4);
        for (field, selector) in info.fields.iter().zip(selectors) {
            let range = field.offset..field.offset + field.bytes;
            match selector {
                0 => {}
                1 => raw[range].fill(0xFF),
                // Aligned addresses and small powers of two are what passes a check.
                2..=4 if field.bytes == 8 => raw[range.start + 1] = noise[range.start],
                2..=4 => raw[range.start] = 1 << (noise[range.start] % 8),
                _ => raw[range.clone()].copy_from_slice(&noise[range]),
            }
            raw[field.offset] = narrow(field, raw[field.offset]);
        }
        Command::decode(&raw).expect("every field holds a value of its type")
    })
}

/// Random commands of all kinds.
pub fn any_command() -> impl Strategy<Value = Command> {
    (0..Command::TABLE.len()).prop_flat_map(|i| command_of(&Command::TABLE[i]))
}

/// A byte that a one-byte field may hold; other fields may hold anything.
fn narrow(field: &FieldInfo, byte: u8) -> u8 {
    let rows = ENUMS.iter().find(|e| e.name == field.kind).map(|e| e.rows.len());
    match (rows, field.kind) {
        (Some(rows), _) => byte % rows as u8,
        (None, "bool") => byte & 1,
        _ => byte,
    }
}

/// Compares text with a committed file, or writes the file when `FASTCAR_BLESS` is set.
pub fn committed(path: &str, text: &str, command: &str) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    if std::env::var_os("FASTCAR_BLESS").is_some() {
        std::fs::write(&file, text).expect("the file can be written");
        return;
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    let differing = found.lines().zip(text.lines()).position(|(a, b)| a != b);
    let line = differing.unwrap_or_else(|| found.lines().count().min(text.lines().count())) + 1;
    assert!(found == text, "{path} is out of date from line {line} on; write it again with: {command}");
}
