//! Programs: what passes the check cannot leave its bounds, and each refusal names the operand.

mod common;

use common::any_command;
use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa::{self, *};
use fastcar_arch::layout::{KvLayout, ListLayout, WeightLayout};
use fastcar_arch::num::sumsq::MAX_TERMS;
use fastcar_arch::num::window::MAX_BLOCKS;
use fastcar_arch::program::{Limits, Program, ProgramError};
use fastcar_arch::step::{ACTIVE, NO_RING, StepTable};
use fastcar_arch::units::Bytes;
use insta::assert_snapshot;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

const LIMITS: Limits = Limits { slots: 4, positions: 256, ring: 16, tokens: 100, gates: 2 };

fn tiny() -> AccelConfig {
    AccelConfig::preset("tiny").expect("it is valid")
}

/// As `tiny`, with buffers so large that only the bounds of the numbers remain.
fn roomy() -> AccelConfig {
    let mut fields = tiny().fields().clone();
    (fields.vb_lines, fields.ab_blocks, fields.acc_rows) = (65_536, 65_536, 65_536);
    fields.write_beats = 1 << 20;
    AccelConfig::new(fields).expect("it is valid")
}

fn program(config: &AccelConfig, commands: &[Command]) -> Result<Program, ProgramError> {
    let end = End::default().into();
    Program::new(config, LIMITS, commands.iter().copied().chain([end]).collect())
}

/// A command alone, or behind what fills the operand of a product.
fn check(config: &AccelConfig, command: impl Into<Command>) -> Result<Program, ProgramError> {
    match command.into() {
        Command::Matvec(c) => program(config, &[operand_of(c), c.into()]),
        Command::GateTas(c) => {
            let (dst, blocks) = (c.src, c.heads.wrapping_mul(c.head_dim / 32));
            program(config, &[Quant { dst, blocks, ..Quant::default() }.into(), c.into()])
        }
        command => program(config, &[command]),
    }
}

fn operand_of(Matvec { src: dst, blocks, delta: masked, .. }: Matvec) -> Command {
    match masked {
        true => Delta { dst, blocks, addr: Addr(1 << 19), ..delta() }.into(),
        false => Quant { dst, blocks, ..Quant::default() }.into(),
    }
}

fn reach(command: impl Into<Command>) -> u64 {
    check(&tiny(), command).expect("the command is valid").reach().get()
}

fn refusal(command: impl Into<Command>) -> String {
    program(&tiny(), &[command.into()]).expect_err("the command is refused").to_string()
}

const LOAD: Load = Load {
    pred: Pred::All,
    dst: VbLine(0),
    index: IndexBy::Position,
    accumulate: false,
    words: 64,
    addr: Addr(4096),
    slot_stride: 65_536,
    index_stride: 256,
};

fn store_act() -> StoreAct {
    let (addr, slot_stride, index_stride) = (Addr(0), 2048, 80);
    StoreAct { index: IndexBy::Ring, blocks: 2, addr, slot_stride, index_stride, ..StoreAct::default() }
}

fn norm() -> Norm {
    let (gamma, beta) = (Addr(16), Addr(1 << 20));
    Norm { words: 64, gamma, beta, kind: NormKind::Layer, ..Norm::default() }
}

fn delta() -> Delta {
    Delta { blocks: 2, addr: Addr(32), slot_stride: 8192, index_stride: 256, gate: 1, ..Delta::default() }
}

fn matvec() -> Matvec {
    let strides = Matvec { slot_stride: 1 << 16, index_stride: 1 << 12, ..Matvec::default() };
    Matvec { rows: 64, blocks: 2, addr: Addr(0), bias: Addr(1 << 16), ring: Addr(1 << 20), ..strides }
}

fn attn() -> Attn {
    let heads = Attn { heads: 4, kv_heads: 2, head_dim: 32, ..Attn::default() };
    Attn { slot_stride: 1 << 16, list: Addr(1 << 20), list_stride: 1 << 10, ..heads }
}

fn gate_tas() -> GateTas {
    GateTas { heads: 4, kv_heads: 2, head_dim: 32, period: 16, slot_stride: 1 << 16, ..GateTas::default() }
}

/// Records of `tiny` lie on one channel, in beats of 16 bytes.
fn beats(bytes: u64) -> u64 {
    bytes.next_multiple_of(16)
}

#[test]
fn reach_is_the_last_byte_of_the_last_slot_and_index() {
    let config = tiny();
    assert_eq!(reach(LOAD), 4096 + 3 * 65_536 + 255 * 256 + 256);
    assert_eq!(reach(Load { index: IndexBy::None, ..LOAD }), 4096 + 3 * 65_536 + 256);
    assert_eq!(reach(Load { index: IndexBy::Token2, ..LOAD }), 4096 + 3 * 65_536 + 99 * 256 + 256);
    assert_eq!(reach(Load { words: 1, index: IndexBy::Ring, ..LOAD }), 4096 + 3 * 65_536 + 15 * 256 + 16);
    assert_eq!(reach(store_act()), 3 * 2048 + 15 * 80 + beats(66));
    assert_eq!(reach(norm()), (1 << 20) + 256);
    assert_eq!(reach(Norm { kind: NormKind::Rms, ..norm() }), 16 + 256);
    assert_eq!(reach(delta()), 32 + 3 * 8192 + 15 * 256 + 256);
    assert_eq!(reach(Quant { blocks: 1, ..Quant::default() }), 0);
    let weights = WeightLayout::new(&config, 64, 2, WeightFormat::Int8).local_bytes().get();
    assert_eq!(reach(matvec()), weights);
    assert_eq!(reach(Matvec { has_bias: true, ..matvec() }), (1 << 16) + 256);
    assert_eq!(reach(Matvec { delta: true, ..matvec() }), (1 << 20) + (3 << 16) + (15 << 12) + 256);
    let cache = KvLayout::new(&config, 2, 32, LIMITS.positions).local_bytes().get();
    assert_eq!(reach(attn()), (3 << 16) + cache);
    let lists = ListLayout::new(&config, 2, 8).local_bytes().get();
    assert_eq!(reach(Attn { list_entries: 8, ahead: true, ..attn() }), (1 << 20) + (3 << 10) + lists);
    assert_eq!(reach(gate_tas()), (3 << 16) + cache);
}

#[test]
fn reach_is_the_largest_of_the_program() {
    let commands = vec![norm().into(), LOAD.into(), End::default().into()];
    let program = Program::new(&tiny(), LIMITS, commands.clone()).unwrap();
    assert_eq!(program.reach(), Bytes((1 << 20) + 256));
    assert_eq!((program.commands(), program.limits()), (&commands[..], LIMITS));
    assert_eq!(Program::from_bytes(&tiny(), LIMITS, &isa::encode(&commands)), Ok(program));
    let nothing = Program::new(&tiny(), LIMITS, vec![End::default().into()]).unwrap();
    assert_eq!(nothing.reach(), Bytes(0));
}

#[test]
fn a_program_ends_with_its_only_end() {
    let error = |commands: Vec<Command>| Program::new(&tiny(), LIMITS, commands).unwrap_err().to_string();
    let end = Command::from(End::default());
    assert_snapshot!(error(vec![]), @"a program ends with its only 'end': found 0 of 0 commands before the first 'end'");
    assert_snapshot!(error(vec![LOAD.into()]), @"a program ends with its only 'end': found 1 of 1 commands before the first 'end'");
    assert_snapshot!(error(vec![end, LOAD.into(), end]), @"a program ends with its only 'end': found 0 of 3 commands before the first 'end'");
}

#[test]
fn bytes_that_do_not_decode_are_refused() {
    let error = Program::from_bytes(&tiny(), LIMITS, &[0xEE; 64]).unwrap_err();
    assert_snapshot!(error, @"opcode 0xee is not defined; docs/isa.md lists the commands of ISA version 3");
    assert!(matches!(
        Program::from_bytes(&tiny(), LIMITS, &[0; 63]),
        Err(ProgramError::Isa(IsaError::Length { .. }))
    ));
}

#[test]
fn limits_of_the_configuration_hold() {
    let error = |limits| Program::new(&tiny(), limits, vec![End::default().into()]).unwrap_err().to_string();
    assert_snapshot!(error(Limits { slots: 5, ..LIMITS }), @"step table: program limit 'slots' is 5, the limit is 4");
    assert_snapshot!(error(Limits { slots: 0, ..LIMITS }), @"step table: program limit 'slots' (at least 1) is 0, the limit is 4");
    assert_snapshot!(error(Limits { positions: 1025, ..LIMITS }), @"step table: program limit 'positions' is 1025, the limit is 1024");
    assert_snapshot!(error(Limits { positions: 0, ..LIMITS }), @"step table: program limit 'positions' (at least 1) is 0, the limit is 1024");
    assert_snapshot!(error(Limits { ring: 1025, ..LIMITS }), @"step table: program limit 'ring' is 1025, the limit is 1024");
    assert_snapshot!(error(Limits { tokens: 0, ..LIMITS }), @"step table: program limit 'tokens' (at least 1) is 0, the limit is 16777216");
    assert_snapshot!(error(Limits { gates: 1025, ..LIMITS }), @"step table: program limit 'gates' is 1025, the limit is 1024");
    let none = Limits { ring: 0, gates: 0, ..LIMITS };
    assert!(Program::new(&tiny(), none, vec![End::default().into()]).is_ok());
}

#[test]
fn buffers_hold() {
    let (line, block) = (VbLine, AbBlock);
    assert_eq!(reach(Load { dst: line(62), ..LOAD }), reach(LOAD));
    assert_snapshot!(refusal(Load { dst: line(63), ..LOAD }), @"command 0 (load): dst is 65, the limit is 64");
    assert_snapshot!(refusal(Load { words: 0, ..LOAD }), @"command 0 (load): words is 0; it must be a multiple of 1 and not 0");
    assert_snapshot!(refusal(Load { words: u32::MAX, ..LOAD }), @"command 0 (load): dst is 134217728, the limit is 64");
    assert_snapshot!(refusal(Store { src: line(64), words: 1, ..Store::default() }), @"command 0 (store): src is 65, the limit is 64");
    assert_snapshot!(refusal(StoreAct { src: block(63), ..store_act() }), @"command 0 (store_act): src is 65, the limit is 64");
    assert_snapshot!(refusal(StoreAct { blocks: 0, ..store_act() }), @"command 0 (store_act): blocks is 0; it must be a multiple of 1 and not 0");
    assert_snapshot!(refusal(Norm { src: line(63), ..norm() }), @"command 0 (norm): src is 65, the limit is 64");
    assert_snapshot!(refusal(Norm { dst: line(63), ..norm() }), @"command 0 (norm): dst is 65, the limit is 64");
    assert_snapshot!(refusal(Quant { src: line(64), blocks: 1, ..Quant::default() }), @"command 0 (quant): src is 65, the limit is 64");
    assert_snapshot!(refusal(Quant { dst: block(64), blocks: 1, ..Quant::default() }), @"command 0 (quant): dst is 65, the limit is 64");
    assert_snapshot!(refusal(Add { src: line(64), words: 1, ..Add::default() }), @"command 0 (add): src is 65, the limit is 64");
    assert_snapshot!(refusal(Add { dst: line(64), words: 1, ..Add::default() }), @"command 0 (add): dst is 65, the limit is 64");
    assert_snapshot!(refusal(Rope { vec: line(63), heads: 2, head_dim: 32, ..Rope::default() }), @"command 0 (rope): vec is 65, the limit is 64");
    assert_snapshot!(refusal(Delta { src: line(63), ..delta() }), @"command 0 (delta): src is 65, the limit is 64");
    assert_snapshot!(refusal(Delta { dst: block(63), ..delta() }), @"command 0 (delta): dst is 65, the limit is 64");
    assert_snapshot!(refusal(Matvec { src: block(63), ..matvec() }), @"command 0 (matvec): src is 65, the limit is 64");
    assert_snapshot!(refusal(Matvec { dst: line(63), ..matvec() }), @"command 0 (matvec): dst is 65, the limit is 64");
    assert_snapshot!(refusal(Attn { src: block(61), ..attn() }), @"command 0 (attn): src is 65, the limit is 64");
    assert_snapshot!(refusal(Attn { dst: line(61), ..attn() }), @"command 0 (attn): dst is 65, the limit is 64");
    assert_snapshot!(refusal(GateTas { src: block(61), ..gate_tas() }), @"command 0 (gate_tas): src is 65, the limit is 64");
    let append = KvAppend { kv_heads: 2, head_dim: 32, slot_stride: 1 << 16, ..KvAppend::default() };
    assert_snapshot!(refusal(KvAppend { key: line(63), ..append }), @"command 0 (kv_append): key is 65, the limit is 64");
    assert_snapshot!(refusal(KvAppend { value: line(63), ..append }), @"command 0 (kv_append): value is 65, the limit is 64");
    let input = GateDelta { blocks: 2, index_stride: 80, ..GateDelta::default() };
    assert_snapshot!(refusal(GateDelta { src: block(63), ..input }), @"command 0 (gate_delta): src is 65, the limit is 64");
}

#[test]
fn shapes_hold() {
    let tas = gate_tas();
    assert_snapshot!(refusal(Norm { words: 48, ..norm() }), @"command 0 (norm): words is 48; it must be a multiple of 32 and not 0");
    assert_snapshot!(refusal(Rope { heads: 1, head_dim: 48, ..Rope::default() }), @"command 0 (rope): head_dim is 48; it must be a multiple of 32 and not 0");
    assert_snapshot!(refusal(Rope { heads: 0, head_dim: 32, ..Rope::default() }), @"command 0 (rope): kv_heads is 0; it must be a multiple of 1 and not 0");
    assert_snapshot!(refusal(Attn { heads: 40, kv_heads: 1, ..attn() }), @"command 0 (attn): accumulator rows of a head is 1280, the limit is 1024");
    assert_snapshot!(refusal(Attn { heads: 1, kv_heads: 1, head_dim: 544, ..attn() }), @"command 0 (attn): query blocks of a column is 17, the limit is 16");
    assert_snapshot!(refusal(Attn { head_dim: 1056, ..attn() }), @"command 0 (attn): head_dim is 1056, the limit is 1024");
    assert_snapshot!(refusal(Attn { kv_heads: 0, ..attn() }), @"command 0 (attn): kv_heads is 0; it must be a multiple of 1 and not 0");
    assert_snapshot!(refusal(Attn { heads: 3, ..attn() }), @"command 0 (attn): heads is 3; it must be a multiple of 2 and not 0");
    assert_snapshot!(refusal(Attn { list_entries: 1, ..attn() }), @"command 0 (attn): ahead is 0; it must be 1 with block lists, because a channel keeps the entries of lists for its read-ahead stream");
    let listed = |kv_heads| Attn { heads: 16, kv_heads, list_entries: 17, ahead: true, ..attn() };
    assert_snapshot!(refusal(listed(8)), @"command 0 (attn): list_entries is 17, the limit is 16");
    assert_snapshot!(refusal(listed(16)), @"command 0 (attn): places of heads with lists on a channel is 16, the limit is 8");
    assert_snapshot!(refusal(GateTas { period: 0, ..tas }), @"command 0 (gate_tas): period is 0; it must be a multiple of 1 and not 0");
    assert_snapshot!(refusal(GateTas { gate: 2, ..tas }), @"command 0 (gate_tas): gate + 1 is 3, the limit is 2");
    assert_snapshot!(refusal(GateHost { gate: u16::MAX, ..GateHost::default() }), @"command 0 (gate_host): gate + 1 is 65536, the limit is 2");
    assert_snapshot!(refusal(GateDelta { gate: 2, ..GateDelta::default() }), @"command 0 (gate_delta): gate + 1 is 3, the limit is 2");
    assert_snapshot!(refusal(Delta { gate: 2, ..delta() }), @"command 0 (delta): gate + 1 is 3, the limit is 2");
    assert_snapshot!(refusal(Matvec { rows: 0, ..matvec() }), @"command 0 (matvec): rows is 0; it must be a multiple of 1 and not 0");
    assert_snapshot!(refusal(Matvec { rows: 1025, ..matvec() }), @"command 0 (matvec): rows is 1025, the limit is 1024");
    assert_snapshot!(refusal(Matvec { rows: u32::MAX, ..matvec() }), @"command 0 (matvec): rows is 4294967295, the limit is 1024");
    assert_snapshot!(refusal(Matvec { rows: 33, epilogue: Epilogue::SwiGlu, ..matvec() }), @"command 0 (matvec): rows is 33; it must be a multiple of 2 and not 0");
    assert_snapshot!(refusal(Matvec { scale_max: 255, ..matvec() }), @"command 0 (matvec): scale_max is 255, the limit is 254");
    assert_snapshot!(refusal(Matvec { blocks: 0, ..matvec() }), @"command 0 (matvec): blocks is 0; it must be a multiple of 1 and not 0");
}

#[test]
fn rows_of_the_fullest_channel_fit_its_accumulators() {
    let mut fields = tiny().fields().clone();
    (fields.channels, fields.acc_rows) = (4, 16);
    let config = AccelConfig::new(fields).unwrap();
    assert!(check(&config, Matvec { rows: 64, ..matvec() }).is_ok());
    let error = check(&config, Matvec { rows: 65, ..matvec() }).unwrap_err();
    assert_snapshot!(error, @"command 1 (matvec): rows is 65, the limit is 64");
}

#[test]
fn bounds_of_the_numbers_hold() {
    let error = |command: Command| check(&roomy(), command).unwrap_err().to_string();
    let terms = MAX_TERMS as u32;
    assert!(check(&roomy(), Norm { words: terms, ..norm() }).is_ok());
    let text = error(Norm { words: terms + 32, ..norm() }.into());
    assert_eq!(text, format!("command 0 (norm): words is {}, the limit is {terms}", terms + 32));
    let strides = Delta { slot_stride: 1 << 21, index_stride: 1 << 16, ..delta() };
    assert!(check(&roomy(), Delta { blocks: (terms / 32) as u16, ..strides }).is_ok());
    let text = error(Delta { blocks: (terms / 32) as u16 + 1, ..strides }.into());
    assert_eq!(text, format!("command 0 (delta): blocks * 32 is {}, the limit is {terms}", terms + 32));
    let gate = GateDelta { index_stride: 1 << 16, ..GateDelta::default() };
    let text = error(GateDelta { blocks: (terms / 32) as u16 + 1, ..gate }.into());
    assert_eq!(text, format!("command 0 (gate_delta): blocks * 32 is {}, the limit is {terms}", terms + 32));
    let text = error(Matvec { blocks: MAX_BLOCKS as u16 + 1, ..matvec() }.into());
    assert_eq!(text, format!("command 1 (matvec): blocks is {}, the limit is {MAX_BLOCKS}", MAX_BLOCKS + 1));
    let heads = MAX_BLOCKS as u16 + 1;
    let text = error(GateTas { heads, kv_heads: 1, ..gate_tas() }.into());
    assert_eq!(
        text,
        format!("command 1 (gate_tas): heads * head_dim / 32 is {heads}, the limit is {MAX_BLOCKS}")
    );
}

#[test]
fn memory_operands_stay_in_the_channel() {
    let capacity = tiny().channel_capacity().get();
    let last = capacity - reach(LOAD) + LOAD.addr.0;
    assert_eq!(reach(Load { addr: Addr(last), ..LOAD }), capacity);
    assert_snapshot!(refusal(Load { addr: Addr(last + 16), ..LOAD }), @"command 0 (load): end of the memory operand is 268435472, the limit is 268435456");
    let far = Addr(capacity);
    let refused: [Command; 14] = [
        Store { addr: far, words: 1, ..Store::default() }.into(),
        StoreAct { addr: far, ..store_act() }.into(),
        Norm { gamma: far, ..norm() }.into(),
        Norm { beta: far, ..norm() }.into(),
        Rope { table: far, heads: 1, head_dim: 32, ..Rope::default() }.into(),
        Delta { addr: far, ..delta() }.into(),
        Matvec { addr: far, ..matvec() }.into(),
        Matvec { bias: far, has_bias: true, ..matvec() }.into(),
        Matvec { ring: far, delta: true, ..matvec() }.into(),
        KvAppend { addr: far, kv_heads: 1, head_dim: 32, ..KvAppend::default() }.into(),
        Attn { addr: far, ..attn() }.into(),
        Attn { list: far, list_entries: 1, ahead: true, ..attn() }.into(),
        GateTas { addr: far, ..gate_tas() }.into(),
        GateDelta { addr: far, blocks: 1, ..GateDelta::default() }.into(),
    ];
    for command in refused {
        let text = refusal(command);
        assert!(text.contains("end of the memory operand is 268"), "{text}");
    }
    for command in [
        Command::from(Load { addr: Addr(u64::MAX - 15), ..LOAD }),
        Command::from(Load { slot_stride: u64::MAX - 15, ..LOAD }),
        Command::from(Load { index_stride: u64::MAX - 15, ..LOAD }),
    ] {
        assert!(refusal(command).contains("is 18446744073709551615, the limit is 268435456"));
    }
}

#[test]
fn unused_addresses_lie_anywhere_on_a_beat() {
    let far = Addr(u64::MAX - 63);
    assert!(check(&tiny(), Norm { kind: NormKind::Rms, beta: far, ..norm() }).is_ok());
    assert!(check(&tiny(), Matvec { bias: far, ring: far, ..matvec() }).is_ok());
    assert!(check(&tiny(), Attn { list: far, ..attn() }).is_ok());
    // The hardware looks at all of a command's fields.
    assert_snapshot!(refusal(Matvec { bias: Addr(8), ..matvec() }), @"command 0 (matvec): bias is 8; it must be a multiple of 16 and not 0");
    assert_snapshot!(refusal(Attn { list_stride: 4, ..attn() }), @"command 0 (attn): list_stride is 4; it must be a multiple of 16 and not 0");
}

#[test]
fn memory_operands_are_aligned_to_beats() {
    assert_snapshot!(refusal(Load { addr: Addr(8), ..LOAD }), @"command 0 (load): addr is 8; it must be a multiple of 16 and not 0");
    assert_snapshot!(refusal(Load { slot_stride: 17, ..LOAD }), @"command 0 (load): slot_stride is 17; it must be a multiple of 16 and not 0");
    assert_snapshot!(refusal(Load { index_stride: 100, ..LOAD }), @"command 0 (load): index_stride is 100; it must be a multiple of 16 and not 0");
}

#[test]
fn errors_name_the_command() {
    let commands = vec![LOAD.into(), norm().into(), Add::default().into(), End::default().into()];
    let error = Program::new(&tiny(), LIMITS, commands).unwrap_err();
    assert_snapshot!(error, @"command 2 (add): words is 0; it must be a multiple of 1 and not 0");
}

fn step(change: impl FnOnce(&mut StepTable)) -> Result<(), String> {
    let program = Program::new(&tiny(), LIMITS, vec![End::default().into()]).expect("it is valid");
    let mut table = StepTable::new(4, 2);
    table.slots[1].flags = ACTIVE;
    change(&mut table);
    program.check_step(&table).map_err(|e| e.to_string())
}

#[test]
fn step_tables_within_the_limits_pass() {
    assert_eq!(step(|_| {}), Ok(()));
    assert_eq!(step(|t| t.slots.clear()), Ok(()));
    assert_eq!(step(|t| (t.slots[1].pos, t.slots[1].ring, t.slots[1].token) = (255, 15, [99; 4])), Ok(()));
    assert_eq!(step(|t| t.slots[1].ring = NO_RING), Ok(()));
    // What an idle slot holds does not matter.
    assert_eq!(step(|t| (t.slots[0].pos, t.slots[0].token) = (u32::MAX, [u32::MAX; 4])), Ok(()));
}

#[test]
fn step_tables_beyond_the_limits_are_refused() {
    let refused = |change: fn(&mut StepTable)| step(change).unwrap_err();
    assert_snapshot!(refused(|t| t.slots.push(t.slots[0])), @"step table: number of slots is 5, the limit is 4");
    assert_snapshot!(refused(|t| t.gates.truncate(1)), @"step table: number of gates is 1, the limit is 2");
    assert_snapshot!(refused(|t| t.gates.push(t.gates[0])), @"step table: number of gates is 3, the limit is 2");
    assert_snapshot!(refused(|t| t.slots[1].pos = 256), @"step table: slot 1: pos is 256, the limit is 255");
    assert_snapshot!(refused(|t| t.slots[1].ring = 16), @"step table: slot 1: ring is 16, the limit is 15");
    assert_snapshot!(refused(|t| t.slots[1].token[3] = 100), @"step table: slot 1: token is 100, the limit is 99");
}

/// Any list of commands is either refused or stays within memory; both happen, for most commands.
#[test]
fn arbitrary_programs_never_panic() {
    let (config, mut runner) = (roomy(), TestRunner::deterministic());
    let strategy = any_command();
    let (mut passed, mut refused) = (std::collections::BTreeSet::new(), 0);
    for _ in 0..20_000 {
        let command = strategy.new_tree(&mut runner).unwrap().current();
        match check(&config, command) {
            Ok(program) => {
                assert!(program.reach() <= config.channel_capacity());
                passed.insert(command.info().mnemonic);
            }
            Err(_) => refused += 1,
        }
    }
    assert!(passed.len() >= 10 && refused > 5000, "{passed:?} passed, {refused} were refused");
}

proptest! {
    #[test]
    fn arbitrary_lists_and_limits_never_panic(
        commands in proptest::collection::vec(any_command(), 0..6),
        limits in any::<[u32; 5]>(),
        shift in 0u32..32,
        preset in 0..AccelConfig::PRESETS.len(),
    ) {
        let config = AccelConfig::preset(AccelConfig::PRESETS[preset]).unwrap();
        let [slots, positions, ring, tokens, gates] = limits.map(|l| l >> shift);
        let mut commands = commands;
        commands.push(End::default().into());
        let _ = Program::new(&config, Limits { slots, positions, ring, tokens, gates }, commands.clone());
        let _ = Program::new(&config, LIMITS, commands);
    }

    #[test]
    fn arbitrary_bytes_never_panic(raw in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Program::from_bytes(&tiny(), LIMITS, &raw);
    }
}
