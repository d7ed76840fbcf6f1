//! Memory operands as families: what is written is apart from everything else, and each refusal names both commands.

mod common;

use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa::*;
use fastcar_arch::layout::{KvLayout, ListLayout, RecordLayout, WeightLayout};
use fastcar_arch::program::{Access, Family, FamilyKind, Limits, LocalRange, Operand, Program, ProgramError};
use fastcar_arch::units::Bytes;
use insta::assert_snapshot;
use proptest::prelude::*;
use std::cell::Cell;

const LIMITS: Limits = Limits { slots: 4, positions: 64, ring: 8, tokens: 4, gates: 4 };
/// Larger than any operand of these tests.
const APART: u64 = 1 << 20;

fn tiny() -> AccelConfig {
    AccelConfig::preset("tiny").expect("it is valid")
}

fn program(limits: Limits, commands: &[Command]) -> Result<Program, ProgramError> {
    let mut commands = commands.to_vec();
    number_gates(&mut commands);
    commands.push(End::default().into());
    Program::new(&tiny(), limits, commands)
}

/// Gives each command that uses a gate one of its own.
fn number_gates(commands: &mut [Command]) {
    let gates = commands.iter_mut().filter_map(|command| match command {
        Command::Delta(c) => Some(&mut c.gate),
        Command::GateTas(c) => Some(&mut c.gate),
        Command::GateDelta(c) => Some(&mut c.gate),
        _ => None,
    });
    (0..).zip(gates).for_each(|(number, gate)| *gate = number);
}

/// With what fills the operands of products, and queries of one block a head, before each of them.
fn filled(commands: &[Command]) -> Vec<Command> {
    let with_fill = |&command: &Command| match command {
        Command::Matvec(c) if c.delta => vec![delta(230 << 20).into(), command],
        Command::Matvec(c) => vec![Quant { blocks: c.blocks, ..Quant::default() }.into(), command],
        Command::GateTas(c) => vec![Quant { blocks: c.heads, ..Quant::default() }.into(), command],
        _ => vec![command],
    };
    commands.iter().flat_map(with_fill).collect()
}

fn refusal(commands: &[Command]) -> String {
    program(LIMITS, commands).expect_err("the program is refused").to_string()
}

fn load(addr: u64) -> Load {
    let (addr, index) = (Addr(addr), IndexBy::Ring);
    Load { addr, index, words: 64, slot_stride: 4096, index_stride: 256, ..Load::default() }
}

fn store(addr: u64) -> Store {
    let (addr, index) = (Addr(addr), IndexBy::Ring);
    Store { addr, index, words: 64, slot_stride: 4096, index_stride: 256, ..Store::default() }
}

fn store_act(addr: u64) -> StoreAct {
    let (addr, index) = (Addr(addr), IndexBy::Ring);
    StoreAct { addr, index, blocks: 2, slot_stride: 4096, index_stride: 80, ..StoreAct::default() }
}

fn gate_delta(addr: u64) -> GateDelta {
    GateDelta { addr: Addr(addr), blocks: 2, slot_stride: 4096, index_stride: 80, ..GateDelta::default() }
}

fn delta(addr: u64) -> Delta {
    Delta { addr: Addr(addr), blocks: 2, slot_stride: 4096, index_stride: 256, ..Delta::default() }
}

/// Weights far from everything else.
fn matvec() -> Matvec {
    Matvec { rows: 64, blocks: 2, addr: Addr(200 << 20), ..Matvec::default() }
}

fn delta_matvec(ring: u64) -> Matvec {
    Matvec { delta: true, ring: Addr(ring), slot_stride: 4096, index_stride: 256, ..matvec() }
}

fn kv_append(addr: u64) -> KvAppend {
    KvAppend { addr: Addr(addr), kv_heads: 2, head_dim: 32, slot_stride: 1 << 16, ..KvAppend::default() }
}

fn attn(addr: u64) -> Attn {
    Attn { addr: Addr(addr), heads: 4, kv_heads: 2, head_dim: 32, slot_stride: 1 << 16, ..Attn::default() }
}

fn gate_tas(addr: u64) -> GateTas {
    let heads = GateTas { heads: 4, kv_heads: 2, head_dim: 32, period: 8, ..GateTas::default() };
    GateTas { addr: Addr(addr), slot_stride: 1 << 16, ..heads }
}

/// Every operand that writes, at an address.
fn writers(addr: u64) -> Vec<Command> {
    vec![
        store(addr).into(),
        store_act(addr).into(),
        delta(addr).into(),
        delta_matvec(addr).into(),
        kv_append(addr).into(),
    ]
}

/// Every operand that only reads, at an address.
fn readers(addr: u64) -> Vec<Command> {
    let (at, far) = (Addr(addr), Addr(210 << 20));
    vec![
        load(addr).into(),
        gate_delta(addr).into(),
        attn(addr).into(),
        gate_tas(addr).into(),
        Norm { words: 64, gamma: at, ..Norm::default() }.into(),
        Norm { words: 64, gamma: far, beta: at, kind: NormKind::Layer, ..Norm::default() }.into(),
        Rope { heads: 1, head_dim: 32, table: at, index_stride: 128, ..Rope::default() }.into(),
        Matvec { addr: at, ..matvec() }.into(),
        Matvec { bias: at, has_bias: true, ..matvec() }.into(),
        Attn { list: at, list_entries: 2, list_stride: 64, ahead: true, ..attn(220 << 20) }.into(),
    ]
}

#[test]
fn what_is_written_is_apart_from_what_is_used() {
    let others = |addr| [writers(addr), readers(addr)].concat();
    let mut same = 0;
    for (w, writer) in writers(APART).into_iter().enumerate() {
        for (o, (near, far)) in others(APART + 16).into_iter().zip(others(3 * APART)).enumerate() {
            for commands in [[writer, near], [near, writer]] {
                let error = program(LIMITS, &filled(&commands)).unwrap_err();
                assert!(matches!(error, ProgramError::Overlap { .. }), "writer {w}, other {o}: {error}");
            }
            for commands in [[writer, far], [far, writer]] {
                assert!(program(LIMITS, &filled(&commands)).is_ok(), "writer {w}, other {o}");
            }
        }
        // At the same address only what is described alike may stand.
        same += others(APART)
            .into_iter()
            .filter(|&other| program(LIMITS, &filled(&[writer, other])).is_ok())
            .count();
    }
    // Vectors: three writers with three writers and a load. MXINT8: its writer and the gate. Cache: append, attn, TAS.
    assert_eq!(same, 3 * 4 + 2 + 3);
}

#[test]
fn neighbours_may_touch() {
    // Records of 256 bytes, eight a slot, slots 4096 bytes apart.
    let end = APART + 3 * 4096 + 8 * 256;
    assert!(program(LIMITS, &[store(APART).into(), load(end).into()]).is_ok());
    assert!(program(LIMITS, &[load(end).into(), store(APART).into()]).is_ok());
    assert!(program(LIMITS, &[store(APART).into(), load(end - 16).into()]).is_err());
    // Readers may share what they like.
    assert!(program(LIMITS, &filled(&[readers(APART), readers(APART + 16)].concat())).is_ok());
}

#[test]
fn overlaps_name_both_commands_and_ranges() {
    assert_snapshot!(refusal(&[load(APART).into(), store(APART + 256).into()]), @"command 1 (store) writes local bytes 0x100100..0x103900, which overlap 0x100000..0x103800 of command 0 (load): what a program writes is either apart from every other operand or the same records, with equal address, strides, size and layout; move one of the two, or give both the same description");
    assert_snapshot!(refusal(&filled(&[delta_matvec(200 << 20).into()])), @"command 1 (matvec) writes local bytes 0xc800000..0xc803800, which overlap 0xc800000..0xc801080 of command 1 (matvec): what a program writes is either apart from every other operand or the same records, with equal address, strides, size and layout; move one of the two, or give both the same description");
    let nested: [Command; 3] = [
        Norm { words: 32, gamma: Addr(APART + 1024), ..Norm::default() }.into(),
        load(2 * APART).into(),
        kv_append(APART).into(),
    ];
    assert!(refusal(&nested).contains("command 0 (norm)"), "{}", refusal(&nested));
    // The furthest written family counts, not the last: a read behind a short writer, under a long one.
    let under: [Command; 3] =
        [kv_append(APART).into(), store(8 * APART).into(), load(APART + (3 << 16)).into()];
    assert!(refusal(&under).starts_with("command 0 (kv_append)"), "{}", refusal(&under));
}

#[test]
fn a_different_description_is_a_different_family() {
    let same = |command: Command| program(LIMITS, &[store(APART).into(), command]).is_ok();
    assert!(same(load(APART).into()));
    assert!(!same(Load { words: 63, ..load(APART) }.into()), "size");
    assert!(!same(Load { slot_stride: 8192, ..load(APART) }.into()), "slot stride");
    assert!(!same(Load { slot_stride: 0, ..load(APART) }.into()), "slots share a record");
    assert!(!same(Load { index_stride: 512, ..load(APART) }.into()), "index stride");
    assert!(!same(Load { index: IndexBy::None, ..load(APART) }.into()), "one index");
    assert!(!same(Load { index: IndexBy::Position, ..load(APART) }.into()), "other indices");
    let cache = |command: Command| program(LIMITS, &[kv_append(APART).into(), command]).is_ok();
    assert!(cache(attn(APART).into()) && cache(Attn { heads: 8, ..attn(APART) }.into()));
    assert!(
        !cache(Attn { kv_heads: 1, head_dim: 64, heads: 2, ..attn(APART) }.into()),
        "layout of equal size"
    );
    // A constant is never written, not even where it is described alike.
    let one = Limits { slots: 1, ..LIMITS };
    let gamma = Norm { words: 64, gamma: Addr(APART), ..Norm::default() };
    let vector = Store { index: IndexBy::None, ..store(APART) };
    assert!(program(one, &[vector.into(), gamma.into()]).is_err());
}

#[test]
fn strides_that_are_never_taken_do_not_matter() {
    let one = Limits { slots: 1, ..LIMITS };
    let loose = Load { slot_stride: 16, ..load(APART) };
    assert!(program(one, &[store(APART).into(), loose.into()]).is_ok());
    assert!(program(LIMITS, &[store(APART).into(), loose.into()]).is_err());
    let fixed = Store { index: IndexBy::None, index_stride: 16, ..store(APART) };
    let read = Load { index: IndexBy::None, index_stride: 48, ..load(APART) };
    assert!(program(LIMITS, &[fixed.into(), read.into()]).is_ok());
}

#[test]
fn records_of_slots_and_indices_are_apart() {
    let records = |slot_stride, index_stride| {
        program(LIMITS, &[Store { slot_stride, index_stride, ..store(0) }.into()])
            .map(|_| ())
            .map_err(|e| e.to_string())
    };
    assert_eq!(records(8 * 256, 256), Ok(()), "a slot after the other");
    assert_eq!(records(256, 4 * 256), Ok(()), "an index after the other");
    assert_eq!(records(4096, 512), Ok(()), "with gaps");
    assert_snapshot!(records(8 * 256 - 16, 256).unwrap_err(), @"command 0 (store): records of 256 bytes each would overlap at slot_stride 2032 (slots: 4) and index_stride 256 (indices: 8); one stride must be at least a record, the other at least the span of the records under the first");
    for (slot_stride, index_stride) in
        [(4096, 240), (4096, 0), (0, 256), (240, 4 * 256), (256, 4 * 256 - 16), (256, 256)]
    {
        assert!(records(slot_stride, index_stride).is_err(), "{slot_stride}, {index_stride}");
    }
    // Whoever only reads may read a record twice.
    assert!(program(LIMITS, &[Load { slot_stride: 0, ..load(0) }.into()]).is_ok());
    let cache = KvLayout::new(&tiny(), 2, 32, LIMITS.positions).local_bytes().get();
    assert!(program(LIMITS, &[KvAppend { slot_stride: cache, ..kv_append(0) }.into()]).is_ok());
    assert!(program(LIMITS, &[KvAppend { slot_stride: cache - 16, ..kv_append(0) }.into()]).is_err());
}

#[test]
fn operands_are_numbered_by_family() {
    use Access::{Read, ReadWrite, Write};
    let bias = Matvec { bias: Addr(8 * APART), has_bias: true, ..delta_matvec(3 * APART) };
    let commands: [Command; 8] = [
        kv_append(APART).into(),
        Quant { dst: AbBlock(8), blocks: 4, ..Quant::default() }.into(),
        Attn { list: Addr(5 * APART), list_entries: 2, list_stride: 64, ahead: true, ..attn(APART) }.into(),
        delta(2 * APART).into(),
        bias.into(),
        store(3 * APART).into(),
        GateTas { src: AbBlock(8), ..gate_tas(APART) }.into(),
        load(3 * APART).into(),
    ];
    let program = program(LIMITS, &commands).unwrap();
    let found: Vec<Vec<(u32, Access, IndexBy, &str)>> = (0..10)
        .map(|i| program.operands(i).map(|o: Operand| (o.family, o.access, o.index, o.field)).collect())
        .collect();
    let (position, ring, none) = (IndexBy::Position, IndexBy::Ring, IndexBy::None);
    let expected = [
        vec![(0, Write, position, "addr")],
        vec![],
        vec![(0, Read, position, "addr"), (1, Read, none, "list")],
        vec![(2, ReadWrite, ring, "addr")],
        vec![(3, Read, none, "addr"), (4, Read, none, "bias"), (5, ReadWrite, ring, "ring")],
        vec![(5, Write, ring, "addr")],
        vec![(0, Read, position, "addr")],
        vec![(5, Read, ring, "addr")],
        vec![],
        vec![],
    ];
    assert_eq!(found, expected);
    let config = tiny();
    let record = RecordLayout::new(&config);
    let fixed = |kind, addr, bytes, local_bytes| Family {
        kind,
        addr: Addr(addr),
        slot_stride: 0,
        index_stride: 0,
        indices: 1,
        bytes,
        local_bytes,
    };
    let cache = KvLayout::new(&config, 2, 32, LIMITS.positions).local_bytes();
    let weights = WeightLayout::new(&config, 64, 2, WeightFormat::Int8).local_bytes();
    let cache = fixed(FamilyKind::Kv { kv_heads: 2, head_dim: 32 }, APART, cache, cache);
    let lists = ListLayout::new(&config, 2, 2).local_bytes();
    let list = fixed(FamilyKind::Constant, 5 * APART, lists, lists);
    let ring = |addr| Family {
        slot_stride: 4096,
        index_stride: 256,
        indices: 8,
        ..fixed(FamilyKind::Vector, addr, Bytes(256), record.vector_bytes(64))
    };
    let expected = [
        Family { slot_stride: 1 << 16, ..cache },
        Family { slot_stride: 64, ..list },
        ring(2 * APART),
        fixed(FamilyKind::Constant, 200 << 20, weights, weights),
        fixed(FamilyKind::Constant, 8 * APART, Bytes(256), record.vector_bytes(64)),
        ring(3 * APART),
    ];
    assert_eq!(program.families(), expected);
}

/// One record as bytes: where it starts and ends, and all that tells descriptions apart.
#[derive(Clone, PartialEq, Debug)]
struct Naive {
    range: LocalRange,
    description: (u64, u64, u64, u32, u64),
    writes: bool,
}

/// Every record of a random vector operand of `tiny`, whose one channel holds a record's bytes in order.
fn naive(limits: Limits, command: &Command) -> Vec<Naive> {
    let (index, words, addr, slot_stride, index_stride, writes) = match command {
        Command::Load(c) => (c.index, c.words, c.addr.0, c.slot_stride, c.index_stride, false),
        Command::Store(c) => (c.index, c.words, c.addr.0, c.slot_stride, c.index_stride, true),
        other => panic!("{other} is not used here"),
    };
    let indices = if index == IndexBy::Ring { limits.ring } else { 1 };
    let size = u64::from(words * 4).next_multiple_of(16);
    let record = |slot: u64, i: u64| {
        let start = addr + slot * slot_stride + i * index_stride;
        let strides =
            (if limits.slots == 1 { 0 } else { slot_stride }, if indices == 1 { 0 } else { index_stride });
        let description = (addr, strides.0, strides.1, indices, u64::from(words));
        Naive { range: LocalRange { start, end: start + size }, description, writes }
    };
    (0..u64::from(limits.slots)).flat_map(|s| (0..u64::from(indices)).map(move |i| record(s, i))).collect()
}

fn meet(a: LocalRange, b: LocalRange) -> bool {
    a.start < b.end && b.start < a.end
}

fn whole(records: &[Naive]) -> LocalRange {
    let start = records.iter().map(|r| r.range.start).min().unwrap_or(0);
    LocalRange { start, end: records.iter().map(|r| r.range.end).max().unwrap_or(0) }
}

/// Vector operands close to each other, often alike.
fn near_operands() -> impl Strategy<Value = Vec<Command>> {
    let one = (0u64..24, 1u32..12, 0u64..12, 0u64..6, any::<bool>(), any::<bool>()).prop_map(
        |(addr, words, slot, index, ring, write)| {
            let by = if ring { IndexBy::Ring } else { IndexBy::None };
            let (addr, slot_stride, index_stride) = (Addr(addr * 16), slot * 16, index * 16);
            if write {
                Store { addr, words, slot_stride, index_stride, index: by, ..Store::default() }.into()
            } else {
                Load { addr, words, slot_stride, index_stride, index: by, ..Load::default() }.into()
            }
        },
    );
    let twin = |command: Command| match command {
        Command::Store(s) => Load {
            addr: s.addr,
            words: s.words,
            slot_stride: s.slot_stride,
            index_stride: s.index_stride,
            index: s.index,
            ..Load::default()
        }
        .into(),
        other => other,
    };
    (proptest::collection::vec(one, 1..5), any::<bool>()).prop_map(move |(mut commands, twins)| {
        if twins {
            commands.push(twin(commands[0]));
        }
        commands
    })
}

/// Against a model that looks at every byte: what is accepted is safe, and what is refused breaks the rule.
#[test]
fn the_rule_is_its_naive_model() {
    let (accepted, shared, refused, records) = (Cell::new(0), Cell::new(0), Cell::new(0), Cell::new(0));
    let limits = prop_oneof![Just((1, 1)), Just((1, 3)), Just((2, 1)), Just((2, 3)), Just((3, 2))];
    let config = ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(commands in near_operands(), (slots, ring) in limits)| {
        let limits = Limits { slots, ring, ..LIMITS };
        let operands: Vec<Vec<Naive>> = commands.iter().map(|c| naive(limits, c)).collect();
        let all: Vec<&Naive> = operands.iter().flatten().collect();
        let pairs = || (0..all.len()).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| (all[i], all[j]));
        match program(limits, &commands) {
            Ok(_) => {
                accepted.set(accepted.get() + 1);
                for (a, b) in pairs().filter(|(a, b)| (a.writes || b.writes) && meet(a.range, b.range)) {
                    prop_assert_eq!(a.range, b.range);
                    prop_assert_eq!(a.description, b.description);
                    shared.set(shared.get() + 1);
                }
            }
            Err(ProgramError::Overlap { writer, written, other, used, .. }) => {
                refused.set(refused.get() + 1);
                let (a, b) = (&operands[writer], &operands[other]);
                prop_assert_eq!((whole(a), whole(b)), (written, used));
                prop_assert!(meet(written, used) && a[0].writes && a[0].description != b[0].description);
            }
            Err(ProgramError::Records { index, .. }) => {
                records.set(records.get() + 1);
                let own = &operands[index];
                let sharing = own.iter().enumerate().any(|(i, a)| own[..i].iter().any(|b| meet(a.range, b.range)));
                // Records that interleave without sharing a byte are refused as well: neither stride spans the other.
                let (_, slot, index_stride, indices, _) = own[0].description;
                let size = own[0].range.end - own[0].range.start;
                let spans = slot >= (u64::from(indices) - 1) * index_stride + size
                    || index_stride >= (u64::from(slots) - 1) * slot + size;
                prop_assert!(own[0].writes && (sharing || !spans));
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    });
    let seen = [accepted.get(), shared.get(), refused.get(), records.get()];
    assert!(seen.iter().all(|&n| n > 500), "accepted, shared, overlap, records: {seen:?}");
}

/// Thousands of commands are checked in a moment, in whatever order they lie in memory.
#[test]
fn long_programs_are_checked_quickly() {
    let commands: Vec<Command> = (0..20_000u64)
        .flat_map(|i| {
            let addr = i * 7919 % 20_000 * 8192;
            let small = |c: Store| Store { slot_stride: 2048, index_stride: 256, ..c };
            let read = Load { slot_stride: 2048, index_stride: 256, ..load(addr) };
            [small(store(addr)).into(), read.into()]
        })
        .collect();
    let start = std::time::Instant::now();
    let checked = program(LIMITS, &commands).unwrap();
    assert_eq!(checked.families().len(), 20_000);
    // A comparison of each with each would take minutes.
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}
