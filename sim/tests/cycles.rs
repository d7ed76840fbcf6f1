//! The rules of docs/cycles.md on small programs: what a unit takes is what `arch::timing` declares, to the cycle, found
//! as the difference between programs that differ in one command.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::config::{AccelConfig, ConfigFields};
use fastcar_arch::isa::{
    AbBlock, Add, Addr, Attn, Command, Delta, End, GateHost, GateTas, IndexBy, KvAppend, Load, Matvec, Norm,
    Pred, Quant, Rope, Store, VbLine, WeightFormat,
};
use fastcar_arch::layout::WeightLayout;
use fastcar_arch::program::{Limits, Program};
use fastcar_arch::step::{ACTIVE, GateEntry, SlotEntry, StepTable};
use fastcar_arch::timing::{self, vector_time};
use fastcar_arch::units::Bytes;
use fastcar_golden::Decisions;
use fastcar_sim::dram::Dir;
use fastcar_sim::memory::{Fault, MemorySpec, MemorySystem};
use fastcar_sim::{Advance, Placement, Policy, SimError, SimOptions, Timer, Timing};

const GATES: u32 = 2;
const WORDS: u32 = 128;
const BLOCKS: u16 = 4;

fn config(change: impl FnOnce(&mut ConfigFields)) -> AccelConfig {
    let mut fields = AccelConfig::preset("tiny").unwrap().fields().clone();
    change(&mut fields);
    AccelConfig::new(fields).unwrap()
}

fn ideal() -> SimOptions {
    SimOptions { memory: Some(MemorySpec::named("ideal").unwrap()), ..SimOptions::default() }
}

fn program(config: &AccelConfig, mut commands: Vec<Command>) -> Program {
    commands.push(End::default().into());
    let limits = Limits { slots: config.slots(), positions: 256, ring: 16, tokens: 16, gates: GATES };
    Program::new(config, limits, commands).unwrap()
}

fn table(slots: u32, pos: u32, allow: u32) -> StepTable {
    let mut table = StepTable::new(slots as usize, GATES as usize);
    for slot in &mut table.slots {
        *slot = SlotEntry { flags: ACTIVE, pos, ring: 3, ..SlotEntry::idle() };
    }
    table.gates.iter_mut().for_each(|g| *g = GateEntry { allow, force: 0 });
    table
}

fn nothing() -> Decisions {
    Decisions { replay: vec![0; 2], blocks: vec![Vec::new(); 2], ..Decisions::default() }
}

/// Times a program with both ways of advancing, which must agree in everything.
fn time(config: &AccelConfig, options: &SimOptions, commands: &[Command], table: &StepTable) -> Timing {
    time_with(config, options, commands, table, &nothing()).unwrap()
}

fn time_with(
    config: &AccelConfig,
    options: &SimOptions,
    commands: &[Command],
    table: &StepTable,
    decisions: &Decisions,
) -> Result<Timing, SimError> {
    let program = program(config, commands.to_vec());
    let run = |advance| {
        let timer = Timer::new(config.clone(), SimOptions { advance, ..options.clone() })?;
        timer.run(&program, table, decisions, Bytes(0))
    };
    let bulk = run(Advance::Bulk)?;
    assert_eq!(bulk, run(Advance::Step)?, "bulk and step");
    Ok(bulk)
}

fn cycles(config: &AccelConfig, commands: &[Command], slots: u32) -> u64 {
    time(config, &ideal(), commands, &table(slots, 200, 0)).cycles()
}

fn quant(src: u16, dst: u16) -> Command {
    Quant { src: VbLine(src), dst: AbBlock(dst), blocks: BLOCKS, ..Quant::default() }.into()
}

/// The operand of a product with so many blocks.
fn operand(blocks: u16) -> Command {
    Quant { blocks, ..Quant::default() }.into()
}

/// A command that runs for no slot: it makes programs as long as others are.
fn skipped() -> Command {
    Add { pred: Pred::Replay, dst: VbLine(0), src: VbLine(8), words: WORDS }.into()
}

fn add() -> Command {
    Add { dst: VbLine(0), src: VbLine(8), words: WORDS, ..Add::default() }.into()
}

fn matvec(rows: u32, blocks: u16, addr: u64) -> Matvec {
    let scale_max = 127;
    Matvec {
        dst: VbLine(8),
        blocks,
        rows,
        addr: Addr(addr),
        scale_max,
        format: WeightFormat::Int8,
        ..Matvec::default()
    }
}

fn attn() -> Attn {
    let heads = Attn {
        heads: 2,
        kv_heads: 2,
        head_dim: 32,
        addr: Addr(1 << 20),
        slot_stride: 1 << 17,
        ..Attn::default()
    };
    Attn { dst: VbLine(8), ..heads }
}

/// Commands without records take their issue time and latency, one after the other; slots of one follow without a gap.
#[test]
fn vector_commands_take_what_is_declared() {
    for config in [config(|_| ()), config(|f| f.vector_lanes = 16)] {
        for command in [quant(0, 0), add()] {
            let declared = vector_time(&config, &command).unwrap();
            for slots in [1, 4] {
                let twice = cycles(&config, &[command, command, skipped()], slots);
                let thrice = cycles(&config, &[command, command, command], slots);
                // A command for no slot is gone a cycle after the results before it.
                let expected = u64::from(slots) * declared.issue + declared.latency - 1;
                assert_eq!(thrice - twice, expected, "{command} for {slots} slots");
            }
        }
    }
}

/// A norm waits for its record, which is fetched ahead: with one before it, it takes its declared time and no more.
#[test]
fn records_come_before_they_are_needed() {
    let config = config(|_| ());
    let norm = |gamma| Norm { words: WORDS, gamma: Addr(gamma), ..Norm::default() }.into();
    let declared = vector_time(&config, &norm(0)).unwrap();
    let two = cycles(&config, &[norm(0), norm(4096), skipped()], 1);
    let three = cycles(&config, &[norm(0), norm(4096), norm(8192)], 1);
    // The one for no slot is gone a cycle after the results before it.
    assert_eq!(three - two, declared.issue + declared.latency - 1);
    let load: Command =
        Load { words: WORDS, index: IndexBy::Ring, index_stride: 1024, ..Load::default() }.into();
    let rope: Command = Rope { heads: 4, head_dim: 32, index_stride: 256, ..Rope::default() }.into();
    for command in [load, rope] {
        assert!(cycles(&config, &[command], 1) > cycles(&config, &[], 1), "{command}");
    }
}

/// A product takes a cycle a beat and pass; its result is behind the array's latency and the vector unit's.
#[test]
fn products_take_a_cycle_a_beat_and_pass() {
    let config = config(|_| ());
    // A clock slower than the memory: the array is the bottleneck.
    let beats = |m: &Matvec| {
        let of_row = WeightLayout::elem_bytes_of(m.format) / 16;
        u64::from(m.blocks) * (of_row * u64::from(m.rows) + u64::from(m.rows) / 16)
    };
    let large = matvec(64, 60, 1 << 16);
    let small = Matvec { format: WeightFormat::Fp4, ..large };
    let cycles_of = |product: Matvec, slots| cycles(&config, &[operand(60), product.into()], slots);
    for (slots, passes) in [(1, 1), (2, 1), (3, 2), (4, 2)] {
        let difference = cycles_of(large, slots) - cycles_of(small, slots);
        assert_eq!(difference, passes * (beats(&large) - beats(&small)), "{slots} slots");
    }
    let timing = time(&config, &ideal(), &[operand(60), large.into()], &table(4, 0, 0));
    assert_eq!((timing.counters.passes, timing.counters.blocks_streamed), (2, 60));
    assert_eq!(timing.counters.units[3].busy, 2 * beats(&large));
}

/// Fixed columns cost passes where the active slots share one; packed ones do not.
#[test]
fn scheduling_policies_differ_in_passes() {
    let config = config(|f| f.columns = 2);
    let mut slots = table(4, 0, 0);
    slots.slots[1] = SlotEntry::idle();
    slots.slots[3] = SlotEntry::idle();
    let product = [operand(60), matvec(64, 60, 1 << 16).into()];
    let passes = |policy| {
        let options = SimOptions { policy, ..ideal() };
        time(&config, &options, &product, &slots).counters.passes
    };
    assert_eq!((passes(Policy::Static), passes(Policy::Compact)), (2, 1), "slots 0 and 2 share column 0");
}

/// Passes that the accumulators cannot hold are made in rounds, each of which streams the weights.
#[test]
fn few_accumulators_mean_rounds() {
    let product = [operand(4), matvec(512, 4, 1 << 16).into()];
    let blocks = |acc_rows| {
        let config = config(|f| (f.acc_rows, f.columns) = (acc_rows, 1));
        let timing = time(&config, &ideal(), &product, &table(4, 0, 0));
        (timing.counters.blocks_streamed, timing.counters.passes)
    };
    assert_eq!(blocks(2048), (4, 4));
    assert_eq!(blocks(1024), (8, 4));
    assert_eq!(blocks(512), (16, 4));
}

/// A product waits for the operand that is quantised for it, and the next `quant` there for the product.
#[test]
fn operands_are_waited_for() {
    let config = config(|_| ());
    let product: Command = matvec(64, BLOCKS, 1 << 16).into();
    // Long enough not to vanish behind the first read of the weights.
    let long = Quant { blocks: 32, dst: AbBlock(32), ..Quant::default() }.into();
    let behind = cycles(&config, &[long, operand(BLOCKS), product], 1);
    let beside = cycles(&config, &[operand(BLOCKS), long, product], 1);
    assert!(behind > beside + 100, "{behind} against {beside}");
    let elsewhere = cycles(&config, &[operand(BLOCKS), product, quant(16, 16)], 1);
    let overwritten = cycles(&config, &[operand(BLOCKS), product, quant(16, 0)], 1);
    assert!(elsewhere <= overwritten, "{elsewhere} against {overwritten}");
}

/// Only the block that is being written waits for the write; the blocks before it are read ahead.
#[test]
fn attention_waits_for_its_own_token_only() {
    let config = config(|_| ());
    let append: Command = KvAppend {
        kv_heads: 2,
        head_dim: 32,
        key: VbLine(0),
        value: VbLine(2),
        addr: Addr(1 << 20),
        slot_stride: 1 << 17,
        ..KvAppend::default()
    }
    .into();
    let attend = |pos| {
        let table = table(1, pos, 0);
        let both = time(&config, &ideal(), &[append, attn().into()], &table).cycles();
        both - time(&config, &ideal(), &[attn().into()], &table).cycles()
    };
    // One block: everything waits. Seven: the first six hide most of the wait.
    assert!(attend(5) > attend(220), "{} against {}", attend(5), attend(220));
}

/// Replayed slots make no product; a gate's decision takes its declared time.
#[test]
fn gates_steer_what_follows() {
    let config = config(|_| ());
    let gate: Command = GateHost { gate: 0, ..GateHost::default() }.into();
    let mlp: Command = Matvec { pred: Pred::Compute, ..matvec(64, 60, 1 << 16) }.into();
    let table = table(2, 200, 3);
    let run = |replay| {
        let decisions = Decisions { replay: vec![replay, 0], ..nothing() };
        time_with(&config, &ideal(), &[operand(60), gate, mlp], &table, &decisions).unwrap().counters
    };
    let (none, one, both) = (run(0), run(1), run(3));
    assert_eq!((none.replays, one.replays, both.replays), (0, 1, 2));
    assert_eq!((none.computes, one.computes, both.computes), (2, 1, 0));
    assert_eq!(none.traffic[0], one.traffic[0], "one slot needs the weights as well");
    assert_eq!((both.traffic[0], both.passes), (0, 0), "nobody needs the weights");
    assert!(both.cycles < one.cycles && one.cycles <= none.cycles);
    assert_eq!(one.units[5].busy, timing::SETTLE);
}

/// A score needs the keys of one token a head, a cycle a beat.
#[test]
fn scores_read_one_token() {
    let config = config(|_| ());
    let gate = GateTas { heads: 2, kv_heads: 2, head_dim: 32, period: 16, gate: 1, ..GateTas::default() };
    let gate: Command = GateTas { addr: Addr(1 << 20), slot_stride: 1 << 17, ..gate }.into();
    let scored = time(&config, &ideal(), &[operand(2), gate], &table(1, 200, 1)).counters;
    let barred = time(&config, &ideal(), &[operand(2), gate], &table(1, 200, 0)).counters;
    // Per head a beat of scales and two beats of 16 elements.
    assert_eq!(scored.traffic[1], 2 * 3 * 16);
    assert_eq!(barred.traffic[1], 0, "nothing is read where nothing can replay");
    assert_eq!(scored.units[5].busy - barred.units[5].busy, 6);
}

/// Delta decode streams the blocks that are active in some slot, each as often as its fullest column needs.
#[test]
fn masks_select_blocks() {
    let config = config(|f| f.columns = 1);
    let delta: Command =
        Delta { blocks: 8, index_stride: 2048, slot_stride: 1 << 16, ..Delta::default() }.into();
    let ring = Matvec {
        ring: Addr(1 << 21),
        slot_stride: 1 << 16,
        index_stride: 1024,
        delta: true,
        ..matvec(64, 8, 1 << 20)
    };
    let run = |masks: [u32; 8]| {
        let decisions = Decisions { blocks: vec![masks.to_vec(), Vec::new()], ..nothing() };
        time_with(&config, &ideal(), &[delta, ring.into()], &table(2, 200, 3), &decisions).unwrap().counters
    };
    let beats = 2 * 64 + 4;
    for (masks, streamed, busy) in
        [([0; 8], 0, 0), ([1; 8], 8, 8), ([3; 8], 8, 16), ([0, 1, 2, 3, 0, 0, 3, 0], 4, 6)]
    {
        let counters = run(masks);
        assert_eq!(
            (counters.blocks_streamed, counters.blocks_skipped),
            (streamed, 8 - streamed),
            "{masks:?}"
        );
        assert_eq!(counters.units[3].busy, busy * beats, "{masks:?}");
        assert_eq!(counters.traffic[0], streamed * beats * 16, "{masks:?}");
    }
    let wrong = Decisions { blocks: vec![vec![1; 7], Vec::new()], ..nothing() };
    let refused = time_with(&config, &ideal(), &[delta, ring.into()], &table(2, 200, 3), &wrong).unwrap_err();
    assert_eq!(refused.to_string(), "decisions: number of blocks of a delta command is 7, the program has 8");
}

/// The first and one past the last cycle of a unit's work on a command.
fn span(timing: &Timing, unit: &str, command: usize) -> (u64, u64) {
    let own = || timing.spans.iter().filter(|s| s.unit == unit && s.command == command);
    let (first, last) = (own().map(|s| s.start).min(), own().map(|s| s.end).max());
    (first.unwrap(), last.unwrap())
}

/// A masked stream begins with the blocks whose masks are known, while the later ones of the last slot are compared,
/// with references and without.
#[test]
fn masked_streams_begin_with_the_first_masks() {
    let config = config(|f| (f.record_beats, f.write_beats, f.ab_blocks, f.vb_lines) = (4096, 512, 128, 128));
    let options = SimOptions { trace: true, ..ideal() };
    let blocks = 4 * timing::MASK_BLOCKS as u16;
    let delta =
        Delta { dst: AbBlock(64), blocks, index_stride: 1 << 14, slot_stride: 1 << 18, ..Delta::default() };
    let ring = Matvec {
        src: AbBlock(64),
        dst: VbLine(blocks),
        ring: Addr(1 << 21),
        slot_stride: 1 << 16,
        index_stride: 1024,
        delta: true,
        ..matvec(64, blocks, 1 << 20)
    };
    // The quantisation takes long enough for the references to come.
    let quant = Quant { blocks: 64, ..Quant::default() }.into();
    let commands = [quant, quant, delta.into(), ring.into()];
    let declared = vector_time(&config, &delta.into()).unwrap();
    for (slots, allow) in [(1, 0), (1, 1), (3, 0), (3, 7), (3, 3)] {
        for group in 0..4 {
            let mut masks = vec![0; usize::from(blocks)];
            masks[(16 * group + 7) as usize] = 1;
            let decisions = Decisions { blocks: vec![masks, Vec::new()], ..nothing() };
            let timing =
                time_with(&config, &options, &commands, &table(slots, 200, allow), &decisions).unwrap();
            let last =
                timing.spans.iter().filter(|s| s.unit == "VECTOR" && s.command == 2).map(|s| s.start).max();
            let taken = timing::masked_words(group + 1, blocks.into()) / u64::from(config.vector_lanes());
            let known = last.unwrap() + declared.lead + taken + declared.latency + timing::MASK_LATENCY;
            let reads = timing.spans.iter().filter(|s| s.unit == "READ" && s.command == 3);
            // Groups without active blocks are not read; the references are, and earlier.
            let found: Vec<u64> = reads.map(|s| s.start).filter(|&at| at > last.unwrap()).collect();
            assert_eq!(
                found,
                [known + timing::MASK_ADDRESS],
                "{slots} slots, references {allow:b}, group {group}"
            );
        }
    }
}

/// From the middle of the machine to a channel and back: the first address, the last beat in the vector unit, a write
/// queued and acknowledged.
#[test]
fn channels_are_some_cycles_away() {
    let config = config(|_| ());
    let options = SimOptions { trace: true, ..ideal() };
    let load: Command = Load { words: WORDS, addr: Addr(4096), ..Load::default() }.into();
    let store: Command =
        Store { words: WORDS, addr: Addr(1 << 20), slot_stride: 1024, ..Store::default() }.into();
    let timing = time(&config, &options, &[load, store], &table(1, 0, 0));
    let (dispatched, (addressed, read)) = (span(&timing, "COMMAND", 0).1, span(&timing, "READ", 0));
    assert_eq!(addressed, dispatched + timing::ADDRESS);
    // A beat a cycle comes and is taken.
    let taken = span(&timing, "VECTOR", 0).1;
    assert_eq!(taken, read + timing::HOP + 1);
    let stored = span(&timing, "VECTOR", 1).1 + vector_time(&config, &store).unwrap().latency;
    let (queued, written) = span(&timing, "WRITE", 1);
    assert_eq!(queued, stored + timing::WRITE_QUEUE);
    let alone = {
        let spec = MemorySpec::named("ideal").unwrap();
        let mut memory = MemorySystem::new(&spec, &config, 0).unwrap();
        let burst = memory.split(1 << 20, u64::from(WORDS) * 4).next().unwrap();
        memory.write(0, queued + timing::PORT_ISSUE, burst).unwrap().response
    };
    assert_eq!(written, alone + timing::PORT_RETURN + timing::HOP);
}

/// Writes wait for a gap between the reads, unless the buffer fills or somebody waits for them.
#[test]
fn writes_wait_for_gaps() {
    let options = SimOptions { trace: true, ..ideal() };
    let stream = matvec(64, 64, 1 << 20).into();
    let store: Command =
        Store { words: 1024, addr: Addr(1 << 21), slot_stride: 4096, ..Store::default() }.into();
    let load = |addr| Load { words: 1024, addr: Addr(addr), slot_stride: 4096, ..Load::default() }.into();
    let run = |write_beats: u32, addr: u64| {
        let config = config(|f| (f.write_beats, f.main_beats) = (write_beats, 8192));
        let timing = time(&config, &options, &[operand(64), store, stream, load(addr)], &table(1, 200, 0));
        let ((from, until), (queued, written)) = (span(&timing, "READ", 2), span(&timing, "WRITE", 1));
        assert!(from < queued && queued + 1000 < until, "the stream lasts longer than the store");
        // All addresses but those of the last bursts have gone out.
        written + 1000 < until
    };
    let beats = 1024 * 4 / 16;
    assert!(!run(2 * beats, 1 << 22), "not more than half of the buffer: behind the stream");
    assert!(run(2 * beats - 2, 1 << 22), "more than half");
    assert!(run(2 * beats, 1 << 21), "the load waits for it");
}

/// Records that are larger than the buffers that they come through still flow, and so do those that fill the write buffer.
#[test]
fn nothing_is_too_large_for_its_buffer() {
    let config = config(|f| {
        (f.record_beats, f.write_beats, f.main_beats, f.ahead_beats, f.read_bursts) = (128, 512, 128, 128, 1)
    });
    let words = 64 * 32;
    let load: Command = Load { words, ..Load::default() }.into();
    let store: Command =
        Store { words, addr: Addr(1 << 20), slot_stride: 1 << 14, ..Store::default() }.into();
    let timing = time(&config, &SimOptions::default(), &[load, store, load, store], &table(4, 0, 0));
    assert_eq!(
        timing.counters.read_bytes[0] - time(&config, &ideal(), &[], &table(4, 0, 0)).counters.read_bytes[0],
        2 * 4 * 8192 + 4 * 64
    );
    assert_eq!(timing.counters.write_bytes[0], 2 * 4 * 8192 + GATES as u64 * 320);
}

/// Bytes by kind are the bytes by channel, and no unit has more cycles than there are.
#[test]
fn counters_add_up() {
    for preset in AccelConfig::PRESETS {
        let config = AccelConfig::preset(preset).unwrap();
        let commands = [quant(0, 0), matvec(640, BLOCKS, 1 << 16).into(), attn().into(), quant(8, 8)];
        let timing = time(&config, &SimOptions::default(), &commands, &table(3, 200, 0));
        let c = &timing.counters;
        assert_eq!(c.traffic.iter().sum::<u64>(), c.bytes(), "{preset}");
        assert!(c.units.iter().all(|u| u.busy + u.stalled <= c.cycles), "{preset}: {:?}", c.units);
        assert_eq!(c.units[1].busy, c.read_bytes[0] / config.beat().get(), "{preset}");
        assert_eq!(c.commands, 5);
    }
}

#[test]
fn faults_end_the_run_with_command_and_channel() {
    let config = config(|_| ());
    let weights = (1 << 16)..(1 << 16) + 64;
    let store: Command =
        Store { words: WORDS, addr: Addr(1 << 20), slot_stride: 1024, ..Store::default() }.into();
    let commands = [quant(0, 0), matvec(64, BLOCKS, 1 << 16).into(), store];
    let run = |fault| {
        let options = SimOptions { faults: vec![fault], ..ideal() };
        let timer = Timer::new(config.clone(), options).unwrap();
        timer.run(&program(&config, commands.to_vec()), &table(1, 0, 0), &nothing(), Bytes(0)).unwrap_err()
    };
    let read = run(Fault::SlaveError { port: 0, dir: Dir::Read, range: weights.clone() });
    assert!(
        matches!(
            read,
            SimError::Fault { command: 1, mnemonic: "matvec", direction: "read", status: "read", .. }
        ),
        "{read}"
    );
    let ecc = run(Fault::Ecc { port: 0, range: weights });
    assert!(matches!(ecc, SimError::Fault { command: 1, channel: 0, .. }), "{ecc}");
    let write = run(Fault::SlaveError { port: 0, dir: Dir::Write, range: 1 << 20..(1 << 20) + 16 });
    assert!(
        matches!(write, SimError::Fault { command: 2, mnemonic: "store", direction: "write", .. }),
        "{write}"
    );
    let stuck = run(Fault::Stuck { port: 0, from: 100 });
    assert!(stuck.to_string().starts_with("watchdog: nothing has moved since cycle"), "{stuck}");
    assert!(stuck.to_string().contains("channel 0:"), "a state dump: {stuck}");
}

#[test]
fn no_room_behind_the_data_is_refused() {
    let config = config(|_| ());
    let timer = Timer::new(config.clone(), ideal()).unwrap();
    let capacity = config.channel_capacity().get();
    let full = timer.run(&program(&config, Vec::new()), &table(1, 0, 0), &nothing(), Bytes(capacity - 4096));
    let refused = full.unwrap_err().to_string();
    assert!(
        refused.starts_with("program, step table and report need 12288 bytes behind the data"),
        "{refused}"
    );
}

/// Program, step table and report may lie anywhere on channel 0, on multiples of 64.
#[test]
fn a_run_is_placed() {
    let config = config(|_| ());
    let (program, table) = (program(&config, vec![add()]), table(1, 200, 0));
    let timer = Timer::new(config.clone(), ideal()).unwrap();
    let placed = |placement| timer.run_placed(&program, &table, &nothing(), placement);
    let behind = timer.run(&program, &table, &nothing(), Bytes(0)).unwrap();
    let place = Placement { program: 0x10_0000, step: 0x20_0040, report: 0x30_0080 };
    assert_eq!(placed(place).unwrap(), behind, "the ideal memory has no rows to cross");
    let end = config.channel_capacity().get();
    for (wrong, what) in [
        (Placement { program: 32, ..place }, "program"),
        (Placement { step: end - 64, ..place }, "step table"),
        (Placement { report: u64::MAX - 63, ..place }, "report"),
    ] {
        let error = placed(wrong).unwrap_err();
        assert!(matches!(error, SimError::Placement { what: found, .. } if found == what), "{error}");
    }
}
