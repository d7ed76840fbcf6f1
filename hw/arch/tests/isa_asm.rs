//! Assembly text of whole programs.

mod common;

use common::any_command;
use fastcar_arch::asm::{assemble, disassemble, disassemble_with, in_regions};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa::*;
use fastcar_arch::layout::MemoryMap;
use fastcar_arch::units::Bytes;
use insta::assert_snapshot;
use proptest::prelude::*;

proptest! {
    #[test]
    fn text_assembles_to_the_program(commands in proptest::collection::vec(any_command(), 0..12)) {
        prop_assert_eq!(assemble(&disassemble(&commands)), Ok(commands.clone()));
        let named = disassemble_with(&commands, |a| Some(format!("x # {}\nend", a.0)));
        prop_assert_eq!(assemble(&named), Ok(commands));
    }

    #[test]
    fn any_text_assembles_without_panic(text in "\\PC{0,200}") {
        let _ = assemble(&text);
    }
}

#[test]
fn comments_and_blank_lines_are_skipped() {
    let text = "# head\n\n   \nend pred=all # tail\r\n#end\n";
    assert_eq!(assemble(text), Ok(vec![End::default().into()]));
    assert_eq!(assemble(""), Ok(vec![]));
}

#[test]
fn errors_name_the_line() {
    let error = |text: &str| assemble(text).unwrap_err().to_string();
    assert_snapshot!(error("# one\n\nend pred=all\nhalt"), @"line 4: command 'halt' is not defined; docs/isa.md lists the commands of ISA version 3");
    assert_snapshot!(error("gate_host pred=all # gate=0"), @"line 1: gate_host: operand 'gate' is missing");
    assert_eq!(assemble("nop").unwrap_err().line, 1);
}

#[test]
fn addresses_are_named_where_they_are_used() {
    let mut map = MemoryMap::new(&AccelConfig::preset("tiny").unwrap());
    let weights = map.allocate("weights", Bytes(8192)).unwrap();
    let ring = map.allocate("ring", Bytes(4096)).unwrap();
    let matvec =
        Matvec { addr: Addr(weights), bias: Addr(weights + 64), ring: Addr(ring), ..Matvec::default() };
    let program = [
        matvec.into(),
        Matvec { delta: true, has_bias: true, ..matvec }.into(),
        Norm { gamma: Addr(weights + 4096), ..Norm::default() }.into(),
        Store { addr: Addr(1 << 20), ..Store::default() }.into(),
    ];
    let comments: Vec<String> = disassemble_with(&program, in_regions(map.regions()))
        .lines()
        .map(|line| line.split("  ").nth(1).unwrap().to_owned())
        .collect();
    let expected = [
        "# 0 addr: weights",
        "# 1 addr: weights bias: weights+0x40 ring: ring",
        "# 2 gamma: weights+0x1000",
        "# 3",
    ];
    assert_eq!(comments, expected);
}

#[test]
fn every_address_operand_can_be_named() {
    let nonzero = |info: &CommandInfo| {
        let mut raw = [0; COMMAND_BYTES];
        raw[0] = info.opcode;
        for field in info.fields {
            raw[field.offset] = 1;
        }
        Command::decode(&raw).unwrap()
    };
    for info in Command::TABLE {
        let addresses = info.fields.iter().filter(|f| f.kind == "Addr");
        let text = disassemble_with(&[nonzero(info)], |_| Some("somewhere".to_owned()));
        assert_eq!(text.matches(": somewhere").count(), addresses.count(), "{text}");
    }
}
