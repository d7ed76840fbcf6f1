//! Command set: encoding, decoding and text are inverse to each other, and refuse everything else.

mod common;

use common::{any_command, command_of};
use fastcar_arch::field::{Field, FieldInfo};
use fastcar_arch::isa::{self, *};
use insta::assert_snapshot;
use proptest::prelude::*;

const PRIMITIVES: [(&str, usize); 9] = [
    ("u8", 1),
    ("u16", 2),
    ("u32", 4),
    ("u64", 8),
    ("bool", 1),
    ("VbLine", 2),
    ("AbBlock", 2),
    ("Addr", 8),
    ("F32Bits", 4),
];

fn error(raw: &[u8; COMMAND_BYTES]) -> String {
    Command::decode(raw).expect_err("the command is refused").to_string()
}

fn text_error(line: &str) -> String {
    line.parse::<Command>().expect_err("the line is refused").to_string()
}

/// Bytes of a command with every field zero.
fn zeroed(info: &CommandInfo) -> [u8; COMMAND_BYTES] {
    let mut raw = [0; COMMAND_BYTES];
    raw[0] = info.opcode;
    raw
}

#[test]
fn every_command_survives_bytes_and_text() {
    for info in Command::TABLE {
        proptest!(ProptestConfig::with_cases(100), |(command in command_of(info))| {
            prop_assert_eq!(Command::decode(&command.encode()), Ok(command));
            prop_assert_eq!(command.to_string().parse(), Ok(command));
            prop_assert_eq!(command.info().opcode, command.encode()[0]);
            prop_assert_eq!(command.pred() as u8, command.encode()[1]);
        });
    }
}

proptest! {
    #[test]
    fn programs_survive_bytes(commands in proptest::collection::vec(any_command(), 0..20)) {
        prop_assert_eq!(isa::decode(&isa::encode(&commands)), Ok(commands));
    }

    #[test]
    fn any_bytes_decode_without_panic(raw in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = isa::decode(&raw);
    }

    #[test]
    fn what_decodes_encodes_to_the_same_bytes(opcode in 0u8..0x45, tail in any::<[u8; 63]>(), mask in any::<u64>()) {
        let mut raw = [0; COMMAND_BYTES];
        raw[0] = opcode;
        for (i, byte) in tail.iter().enumerate() {
            raw[i + 1] = if mask >> i & 1 == 1 { byte & 1 } else { 0 };
        }
        if let Ok(command) = Command::decode(&raw) {
            prop_assert_eq!(command.encode(), raw);
        }
    }

    #[test]
    fn any_text_parses_without_panic(line in "[a-z_]{0,9}( [a-z_]{0,6}=?[0-9a-fx-]{0,5}){0,4}") {
        let _ = line.parse::<Command>();
    }
}

#[test]
fn fields_do_not_overlap() {
    for info in Command::TABLE {
        let mut owner: [Option<&str>; COMMAND_BYTES] = [None; COMMAND_BYTES];
        (owner[0], owner[1]) = (Some("opcode"), Some("pred"));
        for field in info.fields {
            for slot in &mut owner[field.offset..field.offset + field.bytes] {
                assert_eq!(*slot, None, "{}.{}", info.mnemonic, field.name);
                *slot = Some(field.name);
            }
        }
    }
}

#[test]
fn fields_are_aligned_and_described() {
    let size_of = |f: &FieldInfo| match PRIMITIVES.iter().find(|p| p.0 == f.kind) {
        Some(&(_, bytes)) => bytes,
        None => ENUMS.iter().find(|e| e.name == f.kind).map(|_| 1).expect("a known type"),
    };
    for info in Command::TABLE {
        assert!(!info.doc.trim().is_empty());
        for field in info.fields {
            let place = format!("{}.{}", info.mnemonic, field.name);
            assert_eq!(field.bytes, size_of(field), "{place}");
            assert_eq!(field.offset % field.bytes, 0, "{place}");
            assert!(!field.doc.trim().is_empty(), "{place}");
        }
    }
}

#[test]
fn opcodes_and_mnemonics_ascend_and_are_unique() {
    assert!(Command::TABLE.is_sorted_by(|a, b| a.opcode < b.opcode));
    let mut mnemonics: Vec<&str> = Command::TABLE.iter().map(|c| c.mnemonic).collect();
    mnemonics.sort_unstable();
    mnemonics.dedup();
    assert_eq!(mnemonics.len(), Command::TABLE.len());
}

#[test]
fn enumerations_list_their_values_in_order() {
    fn check<T: Field + std::fmt::Debug>(info: &EnumInfo, all: &[T]) {
        assert_eq!(info.name, T::KIND);
        assert_eq!(info.rows.len(), all.len());
        for (i, ((value, text, _), variant)) in info.rows.iter().zip(all).enumerate() {
            assert_eq!(usize::from(*value), i);
            assert_eq!((T::get(&[*value]), T::parse(text)), (Ok(*variant), Ok(*variant)));
            assert_eq!(variant.show(), *text);
        }
        assert!(T::get(&[info.rows.len() as u8]).is_err());
    }
    check(&Pred::INFO, Pred::ALL);
    check(&IndexBy::INFO, IndexBy::ALL);
    check(&WeightFormat::INFO, WeightFormat::ALL);
    check(&Epilogue::INFO, Epilogue::ALL);
    check(&NormKind::INFO, NormKind::ALL);
    check(&Coupling::INFO, Coupling::ALL);
    assert_eq!(ENUMS.len(), 6);
}

#[test]
fn every_reserved_byte_is_refused() {
    let mut refused = 0;
    for info in Command::TABLE {
        let used =
            |at: usize| at < 2 || info.fields.iter().any(|f| (f.offset..f.offset + f.bytes).contains(&at));
        for offset in (0..COMMAND_BYTES).filter(|&at| !used(at)) {
            let mut raw = zeroed(info);
            raw[offset] = 1;
            let expected = IsaError::Reserved { command: info.mnemonic, offset, found: 1 };
            assert_eq!(Command::decode(&raw), Err(expected));
            refused += 1;
        }
    }
    assert!(refused > 100);
}

#[test]
fn every_undefined_opcode_is_refused() {
    for opcode in 0..=u8::MAX {
        let known = Command::TABLE.iter().any(|c| c.opcode == opcode);
        let mut raw = [0; COMMAND_BYTES];
        raw[0] = opcode;
        assert_eq!(Command::decode(&raw).is_ok(), known, "0x{opcode:02x}");
    }
}

#[test]
fn byte_errors_say_what_is_wrong() {
    let mut raw = [0; COMMAND_BYTES];
    raw[0] = 0x77;
    assert_snapshot!(error(&raw), @"opcode 0x77 is not defined; docs/isa.md lists the commands of ISA version 3");
    (raw[0], raw[1]) = (0, 9);
    assert_snapshot!(error(&raw), @"end.pred: found 0x09, allowed is one of all, compute, replay, output");
    (raw[1], raw[63]) = (0, 5);
    assert_snapshot!(error(&raw), @"end: reserved byte 63 is 0x05; it must be 0");
    (raw[0], raw[63], raw[5]) = (1, 0, 2);
    assert_snapshot!(error(&raw), @"load.accumulate: found 2, allowed is 0 or 1");
    let length = isa::decode(&[0; 65]).unwrap_err();
    assert_snapshot!(length, @"a program of 65 bytes is not a whole number of 64-byte commands");
}

#[test]
fn text_errors_say_what_is_wrong() {
    assert_snapshot!(text_error("jump pred=all"), @"command 'jump' is not defined; docs/isa.md lists the commands of ISA version 3");
    assert_snapshot!(text_error(""), @"command '' is not defined; docs/isa.md lists the commands of ISA version 3");
    assert_snapshot!(text_error("add pred=all dst=0 src=1"), @"add: operand 'words' is missing");
    assert_snapshot!(text_error("add pred=all dst=70000 src=1 words=1"), @"add.dst: found 70000, allowed is an integer from 0 to 65535");
    assert_snapshot!(text_error("add pred=all dst=-1 src=1 words=1"), @"add.dst: found -1, allowed is an integer from 0 to 65535");
    assert_snapshot!(text_error("add pred=all dst=1 dst=2 src=1 words=1"), @"add: 'dst=2' is not one of its operands (pred, dst, src, words), each once, as name=value");
    assert_snapshot!(text_error("add pred=all to=2"), @"add: 'to=2' is not one of its operands (pred, dst, src, words), each once, as name=value");
    assert_snapshot!(text_error("add all"), @"add: 'all' is not one of its operands (pred, dst, src, words), each once, as name=value");
    assert_snapshot!(text_error("add pred=some dst=1 src=1 words=1"), @"add.pred: found some, allowed is one of all, compute, replay, output");
}

#[test]
fn operands_come_in_any_order_and_in_hexadecimal() {
    let command: Command = "  add words=0x80 src=4\tdst=0 pred=replay ".parse().unwrap();
    assert_eq!(command, Add { pred: Pred::Replay, dst: VbLine(0), src: VbLine(4), words: 128 }.into());
}

#[test]
fn constants_keep_their_bits() {
    for bits in [0, 0x8000_0000, 0x7F80_0001, 0xFFFF_FFFF, 1] {
        let command: Command = Norm { eps: F32Bits(bits), ..Norm::default() }.into();
        assert_eq!(Command::decode(&command.encode()), Ok(command));
        assert_eq!(command.to_string().parse(), Ok(command));
        assert_eq!(F32Bits(bits).get().to_bits(), bits);
    }
    assert_eq!(F32Bits::from(1.5).get(), 1.5);
}
