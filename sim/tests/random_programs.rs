//! Both ways to advance on random programs of every command, small machines whose buffers are often full, and memories of
//! every kind: every counter and every span is the same.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::config::{AccelConfig, ConfigFields};
use fastcar_arch::isa::{
    AbBlock, Add, Addr, Attn, Command, Delta, End, GateDelta, GateHost, GateTas, IndexBy, KvAppend, Load,
    Matvec, Norm, Pred, Quant, Rope, Store, StoreAct, VbLine, WeightFormat,
};
use fastcar_arch::program::{Limits, Program};
use fastcar_arch::step::{ACTIVE, GateEntry, PAIRED, SlotEntry, StepTable};
use fastcar_arch::timing::WRITERS;
use fastcar_arch::units::Bytes;
use fastcar_golden::Decisions;
use fastcar_sim::memory::MemorySpec;
use fastcar_sim::{Advance, Policy, SimOptions, Timer, Timing};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::cell::RefCell;
use std::collections::BTreeSet;

/// Blocks of a `delta`: two groups of masks and a half.
const BLOCKS: u16 = 40;
/// Where the queries of past keys are.
const QUERIES: AbBlock = AbBlock(112);
const ROWS: u32 = 64;
/// Beats of the reference that a `delta` writes, over all channels: a write buffer holds its part.
const REFERENCE_BEATS: u32 = BLOCKS as u32 * 8;

/// A command in short; addresses follow from what it is.
#[derive(Clone, Copy, Debug)]
enum Short {
    Load { ring: bool, pred: u8 },
    Store { ring: bool, pred: u8 },
    StoreAct,
    Norm,
    Quant { high: bool },
    Add { pred: u8 },
    Rope,
    Delta,
    Matvec { high: bool, ahead: bool, masked: bool, pred: u8 },
    Append,
    Attn { ahead: bool },
    GateTas,
    GateDelta,
    GateHost,
}

fn shorts() -> impl Strategy<Value = Short> {
    let pred = 0u8..3;
    prop_oneof![
        2 => (any::<bool>(), pred.clone()).prop_map(|(ring, pred)| Short::Load { ring, pred }),
        4 => (any::<bool>(), pred.clone()).prop_map(|(ring, pred)| Short::Store { ring, pred }),
        2 => Just(Short::StoreAct),
        1 => Just(Short::Norm),
        2 => any::<bool>().prop_map(|high| Short::Quant { high }),
        1 => pred.clone().prop_map(|pred| Short::Add { pred }),
        1 => Just(Short::Rope),
        2 => Just(Short::Delta),
        3 => (any::<[bool; 3]>(), pred).prop_map(|([high, ahead, masked], pred)| {
            Short::Matvec { high, ahead, masked, pred }
        }),
        2 => Just(Short::Append),
        2 => any::<bool>().prop_map(|ahead| Short::Attn { ahead }),
        3 => Just(Short::GateTas),
        1 => Just(Short::GateDelta),
        1 => Just(Short::GateHost),
    ]
}

fn pred(of: u8) -> Pred {
    [Pred::All, Pred::Compute, Pred::Replay][usize::from(of)]
}

/// The command, with a gate of its own if it decides or compares, and masked if masks are there.
fn command(short: Short, gate: u16, masks: bool) -> Command {
    let (slot_stride, index_stride) = (1 << 18, 1 << 14);
    let kv = Addr(1 << 25);
    let kv_stride = 1 << 18;
    match short {
        Short::Load { ring, pred: p } => {
            let (addr, index) =
                if ring { (0x40_0000, IndexBy::Ring) } else { (0x80_0000, IndexBy::Position) };
            let load =
                Load { words: 512, addr: Addr(addr), index, slot_stride, index_stride, ..Load::default() };
            Load { pred: pred(p), ..load }.into()
        }
        Short::Store { ring, pred: p } => {
            let (addr, index) = if ring { (0x40_0000, IndexBy::Ring) } else { (0x100_0000, IndexBy::None) };
            let index_stride = if ring { index_stride } else { 0 };
            let store =
                Store { words: 512, addr: Addr(addr), index, slot_stride, index_stride, ..Store::default() };
            Store { pred: pred(p), ..store }.into()
        }
        Short::StoreAct => {
            let record = StoreAct {
                blocks: BLOCKS,
                addr: Addr(0x140_0000),
                index: IndexBy::Ring,
                ..StoreAct::default()
            };
            StoreAct { slot_stride, index_stride, ..record }.into()
        }
        Short::Norm => Norm { words: 512, gamma: Addr(0x1000), ..Norm::default() }.into(),
        Short::Quant { high } => {
            Quant { dst: AbBlock(if high { 64 } else { 0 }), blocks: BLOCKS, ..Quant::default() }.into()
        }
        Short::Add { pred: p } => Add { pred: pred(p), dst: VbLine(0), src: VbLine(16), words: 512 }.into(),
        Short::Rope => {
            Rope { heads: 4, head_dim: 32, index_stride: 256, table: Addr(0x8000), ..Rope::default() }.into()
        }
        Short::Delta => {
            let delta = Delta { blocks: BLOCKS, gate, addr: Addr(0x180_0000), ..Delta::default() };
            Delta { slot_stride, index_stride, ..delta }.into()
        }
        Short::Matvec { high, ahead, masked, pred: p } => {
            let masked = masked && masks;
            let matvec = Matvec {
                pred: pred(p),
                src: AbBlock(if high && !masked { 64 } else { 0 }),
                dst: VbLine(64),
                blocks: BLOCKS,
                rows: ROWS,
                addr: Addr(0x2_0000),
                scale_max: 127,
                format: WeightFormat::Int8,
                ahead: ahead && !masked,
                delta: masked,
                ..Matvec::default()
            };
            match masked {
                false => matvec.into(),
                true => Matvec { ring: Addr(0x1c0_0000), slot_stride, index_stride, ..matvec }.into(),
            }
        }
        Short::Append => {
            let append = KvAppend { kv_heads: 2, head_dim: 32, value: VbLine(2), ..KvAppend::default() };
            KvAppend { addr: kv, slot_stride: kv_stride, ..append }.into()
        }
        Short::Attn { ahead } => {
            let attn = Attn { dst: VbLine(8), heads: 4, kv_heads: 2, head_dim: 32, ahead, ..Attn::default() };
            Attn { addr: kv, slot_stride: kv_stride, ..attn }.into()
        }
        Short::GateTas => {
            let tas = GateTas { gate, heads: 4, kv_heads: 2, head_dim: 32, period: 16, ..GateTas::default() };
            GateTas { src: QUERIES, addr: kv, slot_stride: kv_stride, ..tas }.into()
        }
        Short::GateDelta => {
            let record = GateDelta { gate, blocks: BLOCKS, addr: Addr(0x140_0000), ..GateDelta::default() };
            GateDelta { slot_stride, index_stride, ..record }.into()
        }
        Short::GateHost => GateHost { gate, ..GateHost::default() }.into(),
    }
}

/// A program: the commands, and before a product whose operand nothing has filled what fills it.
fn program(config: &AccelConfig, shorts: &[Short]) -> Program {
    let (mut masks, mut filled) = (false, [false; 2]);
    let mut commands: Vec<Command> = Vec::new();
    for (short, gate) in shorts.iter().zip(gates(shorts)) {
        let command = command(*short, gate, masks);
        match command {
            Command::Delta(_) => (masks, filled[0]) = (true, true),
            Command::Quant(c) => {
                filled[usize::from(c.dst.0 > 0)] = true;
                masks &= c.dst.0 > 0;
            }
            Command::Matvec(c) if !std::mem::replace(&mut filled[usize::from(c.src.0 > 0)], true) => {
                commands.push(Quant { dst: c.src, blocks: BLOCKS, ..Quant::default() }.into());
            }
            Command::GateTas(_) => {
                commands.push(Quant { dst: QUERIES, blocks: 4, ..Quant::default() }.into())
            }
            _ => {}
        }
        commands.push(command);
    }
    commands.push(End::default().into());
    let gates = gate_count(shorts) as u32;
    let limits = Limits { slots: config.slots(), positions: 256, ring: 16, tokens: 16, gates };
    Program::new(config, limits, commands).unwrap()
}

/// The number of each command's gate, if it has one: of those that do before it.
fn gates(shorts: &[Short]) -> impl Iterator<Item = u16> {
    shorts.iter().scan(0, |next, short| {
        let gate = *next;
        *next += u16::from(has_gate(short));
        Some(gate)
    })
}

fn has_gate(short: &Short) -> bool {
    matches!(short, Short::Delta | Short::GateTas | Short::GateDelta | Short::GateHost)
}

fn gate_count(shorts: &[Short]) -> usize {
    shorts.iter().filter(|short| has_gate(short)).count()
}

#[derive(Clone, Debug)]
struct Case {
    shorts: Vec<Short>,
    change: ConfigFields,
    memory: &'static str,
    memory_seed: u64,
    policy: Policy,
    slots: Vec<(bool, u32, bool)>,
    allow: u32,
    replay: [u32; 2],
    blocks: Vec<u32>,
}

fn fields() -> impl Strategy<Value = ConfigFields> {
    let few = prop::sample::select(vec![128u32, 256, 512]);
    let buffers = (few.clone(), few.clone(), few.clone(), few);
    let machine = (0u32..3, prop::sample::select(vec![4u32, 16]), 1u32..9, 0u32..2);
    (buffers, machine).prop_map(|((main, ahead, record, write), (channels, lanes, bursts, columns))| {
        let mut fields = AccelConfig::preset("tiny").unwrap().fields().clone();
        (fields.channels, fields.vector_lanes, fields.read_bursts) = (1 << channels, lanes, bursts);
        (fields.main_beats, fields.ahead_beats) = (main, ahead);
        fields.record_beats = record;
        fields.write_beats = write.max(REFERENCE_BEATS >> channels);
        (fields.columns, fields.vb_lines, fields.ab_blocks) = (1 << columns, 256, 128);
        fields.channel_bytes = 1 << 27;
        fields
    })
}

fn cases() -> impl Strategy<Value = Case> {
    let memory = (prop::sample::select(vec!["ideal", "hbm2", "ddr4-2400"]), 0u64..4);
    let policy = prop::sample::select(vec![Policy::Static, Policy::Compact, Policy::Overlap]);
    let slots = prop::collection::vec((prop::bool::weighted(0.8), 0u32..256, prop::bool::weighted(0.7)), 4);
    let masks = prop_oneof![0u32..16, Just(0u32)];
    let blocks = prop::collection::vec(masks, usize::from(BLOCKS));
    let decisions = (0u32..16, [0u32..16, 0u32..16], blocks);
    // One program in four has many stores in a row, which fill the scoreboard.
    let store = Short::Store { ring: false, pred: 0 };
    let stores = prop_oneof![3 => Just(0usize), 1 => 17usize..40].prop_map(move |count| vec![store; count]);
    let shorts = (prop::collection::vec(shorts(), 1..60), stores, any::<prop::sample::Index>()).prop_map(
        |(mut shorts, stores, at)| {
            let at = at.index(shorts.len());
            shorts.splice(at..at, stores);
            shorts
        },
    );
    (shorts, fields(), memory, policy, slots, decisions).prop_map(
        |(shorts, change, (memory, memory_seed), policy, slots, (allow, replay, blocks))| Case {
            shorts,
            change,
            memory,
            memory_seed,
            policy,
            slots,
            allow,
            replay,
            blocks,
        },
    )
}

fn run(case: &Case, advance: Advance) -> Timing {
    let config = AccelConfig::new(case.change.clone()).unwrap();
    let program = program(&config, &case.shorts);
    let gates = gate_count(&case.shorts);
    let mut table = StepTable::new(case.slots.len(), gates);
    for (slot, &(active, pos, ring)) in table.slots.iter_mut().zip(&case.slots) {
        if active {
            let idle = SlotEntry::idle();
            let ring = if ring { pos % 16 } else { idle.ring };
            *slot = SlotEntry { flags: ACTIVE | PAIRED, pos, ring, ..idle };
        }
    }
    let active = table.mask(ACTIVE);
    table.gates.iter_mut().for_each(|g| *g = GateEntry { allow: case.allow & active, force: 0 });
    let decisions = Decisions {
        replay: case.replay.iter().cycle().take(gates).map(|r| r & case.allow & active).collect(),
        blocks: vec![case.blocks.iter().map(|b| b & active).collect(); gates],
        ..Decisions::default()
    };
    let memory = Some(MemorySpec::named(case.memory).unwrap());
    let (policy, memory_seed) = (case.policy, case.memory_seed);
    let options = SimOptions { policy, advance, memory, memory_seed, trace: true, ..SimOptions::default() };
    Timer::new(config, options).unwrap().run(&program, &table, &decisions, Bytes(1 << 26)).unwrap()
}

/// Commands that write and are dispatched and not acknowledged, at most, in a wave.
fn writers(timing: &Timing, wave: usize) -> usize {
    let of_wave = || timing.spans.iter().filter(|s| s.wave == wave);
    let written =
        |command| of_wave().filter(|s| s.unit == "WRITE" && s.command == command).map(|s| s.end).max();
    let dispatched = of_wave().filter(|s| s.unit == "COMMAND");
    let spans: Vec<(u64, u64)> = dispatched.filter_map(|s| Some((s.start, written(s.command)?))).collect();
    let at = |cycle| spans.iter().filter(|s| s.0 <= cycle && cycle < s.1).count();
    spans.iter().map(|s| at(s.0)).max().unwrap_or(0)
}

/// What of the rules a run has come by.
fn seen(timing: &Timing) -> BTreeSet<&'static str> {
    let mut seen = BTreeSet::new();
    let spans = |unit: &'static str| timing.spans.iter().filter(move |s| s.unit == unit);
    for (name, is) in [
        ("as many writers as may be", writers(timing, 0) == WRITERS),
        ("keys of several slots", spans("GATE").count() > 1),
        ("two waves", timing.spans.iter().any(|s| s.wave == 1)),
        ("masked blocks left out", timing.counters.blocks_skipped > 0),
        ("replay", timing.counters.replays > 0),
        ("array starves", timing.counters.mac_starved > 0),
    ] {
        if is {
            seen.insert(name);
        }
    }
    seen
}

#[test]
fn bulk_and_step_agree() {
    let found = RefCell::new(BTreeSet::new());
    let cases_ = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(cases_)
        .run(&cases(), |case| {
            let bulk = run(&case, Advance::Bulk);
            prop_assert_eq!(&bulk, &run(&case, Advance::Step));
            prop_assert!((0..2).all(|wave| writers(&bulk, wave) <= WRITERS));
            found.borrow_mut().extend(seen(&bulk));
            Ok(())
        })
        .unwrap();
    assert_eq!(found.borrow().len(), 6, "not all has come up: {:?}", found.borrow());
}

/// A stream's next item may be known long before it may be read: the cycles between are no stall of the reader.
#[test]
fn a_wait_for_an_item_that_is_not_ready_is_not_counted() {
    let change = ConfigFields {
        slots: 4,
        vector_lanes: 4,
        vb_lines: 256,
        ab_blocks: 128,
        channel_bytes: 1 << 27,
        main_beats: 128,
        ahead_beats: 128,
        record_beats: 128,
        write_beats: 128,
        read_bursts: 4,
        ..AccelConfig::preset("tiny").unwrap().fields().clone()
    };
    let case = Case {
        shorts: vec![
            Short::GateTas,
            Short::Matvec { high: false, ahead: false, masked: false, pred: 1 },
            Short::Append,
            Short::Quant { high: false },
            Short::Load { ring: false, pred: 1 },
            Short::Matvec { high: false, ahead: true, masked: false, pred: 0 },
        ],
        change,
        memory: "ideal",
        memory_seed: 0,
        policy: Policy::Static,
        slots: vec![(false, 0, false), (false, 0, false), (true, 16, false), (false, 0, false)],
        allow: 4,
        replay: [0, 0],
        blocks: vec![0; usize::from(BLOCKS)],
    };
    assert_eq!(run(&case, Advance::Bulk), run(&case, Advance::Step));
}
