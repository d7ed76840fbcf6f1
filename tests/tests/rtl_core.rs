//! The whole core against the simulator: cycles and counters of runs, on the simulator's memories.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa::{
    AbBlock, Add, Addr, Command, End, IndexBy, Load, Norm, NormKind, Pred, Quant, Rope, VbLine,
};
use fastcar_arch::program::{Limits, Program};
use fastcar_arch::regs::error_code;
use fastcar_arch::step::{ACTIVE, OUTPUT, SlotEntry, StepTable};
use fastcar_golden::Decisions;
use fastcar_hw::rtl::emit;
use fastcar_sim::memory::{MemorySpec, MemorySystem};
use fastcar_sim::{Advance, Placement, SimOptions, Timer};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Board, Counted, Cover, Random, accept, skipped};

/// What the simulator says of a run, in the words of the board.
fn simulated(
    config: &AccelConfig,
    program: &Program,
    table: &StepTable,
    at: Placement,
    seed: u64,
) -> Result<Counted, Box<dyn std::error::Error>> {
    let options = SimOptions { advance: Advance::Step, memory_seed: seed, ..SimOptions::default() };
    let timer = Timer::new(config.clone(), options)?;
    let c = timer.run_placed(program, table, &Decisions::default(), at)?.counters;
    Ok(Counted {
        cycles: c.cycles,
        commands: c.commands,
        command: (c.units[0].busy, c.units[0].stalled),
        stalled: (c.units[1].stalled, c.units[2].stalled),
        bytes: c.read_bytes.into_iter().zip(c.write_bytes).collect(),
        error: None,
    })
}

/// A command for no slot: no gate has decided, so nobody replays.
fn for_nobody(random: &mut Random) -> Command {
    let (first, second) = (random.below(8) as u16, random.below(8) as u16);
    if random.chance(50) {
        Add { pred: Pred::Replay, dst: VbLine(first), src: VbLine(second), words: 64 }.into()
    } else {
        Quant { pred: Pred::Replay, src: VbLine(first), dst: AbBlock(second), blocks: 2 }.into()
    }
}

/// A command of the vector unit that reads records or the buffers, and writes no memory.
fn reading(random: &mut Random) -> Command {
    let line = |random: &mut Random| VbLine(random.below(32) as u16);
    let words = |random: &mut Random| [1, 32, 33, 100, 512, 1 + random.below(512) as u32][random.below(6) as usize];
    let (first, second) = (line(random), line(random));
    match random.below(6) {
        0 | 1 => {
            let (index, stride) = [(IndexBy::None, 0), (IndexBy::Position, 4096), (IndexBy::Ring, 4096)]
                [random.below(3) as usize];
            let load = Load { dst: first, index, index_stride: stride, words: words(random), ..Load::default() };
            Load { addr: Addr(0x20_0000), slot_stride: 1 << 18, accumulate: random.chance(50), ..load }.into()
        }
        2 => Add { dst: first, src: second, words: words(random), ..Add::default() }.into(),
        3 => {
            let kind = if random.chance(50) { NormKind::Rms } else { NormKind::Layer };
            let (gamma, beta) = (Addr(0x1000), Addr(if kind == NormKind::Layer { 0x2000 } else { 0 }));
            let words = 32 * (1 + random.below(16) as u32);
            let norm = Norm { src: first, dst: first, kind, words, ..Norm::default() };
            Norm { gamma, beta, ..norm }.into()
        }
        4 => {
            let rope = Rope { vec: first, heads: 1 + random.below(4) as u16, head_dim: 32, ..Rope::default() };
            Rope { table: Addr(0x4000), index_stride: 4096, ..rope }.into()
        }
        _ => Quant { src: first, dst: AbBlock(random.below(16) as u16), blocks: 1 + random.below(16) as u16, ..Quant::default() }.into(),
    }
}

/// A program of commands, a step table with some slots, and places for them.
fn any_run(
    random: &mut Random,
    config: &AccelConfig,
    length: u64,
    any: fn(&mut Random) -> Command,
) -> (Program, StepTable, Placement) {
    let mut commands: Vec<Command> = (0..length).map(|_| any(random)).collect();
    commands.push(End::default().into());
    let slots = 1 + random.below(config.slots().into()) as u32;
    let limits = Limits { slots, positions: 32, ring: 8, tokens: 1, gates: 0 };
    let program = Program::new(config, limits, commands).unwrap();
    let mut table = StepTable::new(slots as usize, 0);
    for slot in &mut table.slots {
        let idle = SlotEntry::idle();
        let ring = if random.chance(60) { random.below(8) as u32 } else { idle.ring };
        let flags = random.below(4) as u32 & (ACTIVE | OUTPUT);
        *slot = SlotEntry { flags, pos: random.below(32) as u32, ring, ..idle };
    }
    // Anywhere: across bursts and rows, before or behind each other.
    let pages = (1 << 25) + random.below(64) * 4096;
    let program_at = pages + random.below(64) * 64;
    let at = Placement { program: program_at, step: pages + 65_536 + random.below(64) * 64, report: 0 };
    (program, table, at)
}

/// A run that is the simulator's, cycle for cycle.
fn agrees(
    board: &mut Board,
    random: &mut Random,
    config: &AccelConfig,
    (program, table, at): &(Program, StepTable, Placement),
) -> TestResult {
    let memory_seed = random.below(3);
    let expected = simulated(config, program, table, *at, memory_seed)?;
    let spec = MemorySpec::for_config(config)?;
    let memory = MemorySystem::new(&spec, config, memory_seed)?;
    let found = board.run(program, table, *at, memory);
    let commands = program.commands();
    assert_eq!(found, expected, "{}: {commands:?} {table:?}, {at:?}, seed {memory_seed}", config.name());
    Ok(())
}

fn runs(preset: &str, count: u64, seed: u64) -> TestResult {
    if skipped() {
        return Ok(());
    }
    let config = AccelConfig::preset(preset)?;
    let mut board = Board::new(&config)?;
    let mut random = Random::new(seed);
    let mut cover =
        Cover::new(&["end alone", "one burst", "two bursts", "more than the buffer", "all slots"]);
    for _ in 0..count {
        let length = [0, 1, 14, 15, 16, 40, random.below(260)][random.below(7) as usize];
        let run = any_run(&mut random, &config, length, for_nobody);
        agrees(&mut board, &mut random, &config, &run)?;
        let (commands, table) = (run.0.commands().len(), run.1);
        cover.hit("end alone", commands == 1);
        cover.hit("one burst", commands == 16);
        cover.hit("two bursts", commands == 17);
        cover.hit("more than the buffer", commands > 64);
        cover.hit("all slots", table.slots.len() == config.slots() as usize);
    }
    cover.assert(1);
    Ok(())
}

#[test]
fn the_smallest_core_takes_the_simulators_cycles() -> TestResult {
    runs("tiny", 80, 1)
}

#[test]
fn the_edge_core_takes_the_simulators_cycles() -> TestResult {
    runs("edge", 60, 2)
}

fn records(preset: &str, count: u64, seed: u64) -> TestResult {
    if skipped() {
        return Ok(());
    }
    let config = AccelConfig::preset(preset)?;
    let mut board = Board::new(&config)?;
    let mut random = Random::new(seed);
    for _ in 0..count {
        let length = [1, 2, 3, 6, random.below(40)][random.below(5) as usize];
        let run = any_run(&mut random, &config, length, reading);
        agrees(&mut board, &mut random, &config, &run)?;
    }
    Ok(())
}

#[test]
fn records_are_read_in_the_simulators_cycles() -> TestResult {
    records("tiny", 60, 4)
}

#[test]
fn tools_accept_the_core() -> TestResult {
    if skipped() {
        return Ok(());
    }
    accept(&emit(&Board::module(&AccelConfig::preset("tiny")?)?)?)?;
    Ok(())
}

/// A command that is none ends the run with its code and place, and the next run is not disturbed.
#[test]
fn wrong_programs_end_with_an_error() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let config = AccelConfig::preset("tiny")?;
    let mut board = Board::new(&config)?;
    let mut random = Random::new(3);
    let (program, table, at) = any_run(&mut random, &config, 3, for_nobody);
    board.write(0, at.step, &table.to_bytes(program.limits()));
    let mut raw =
        fastcar_arch::isa::encode(&[for_nobody(&mut random), for_nobody(&mut random), End::default().into()]);
    raw[64] = 0x7F;
    board.write(0, at.program, &raw);
    let spec = MemorySpec::for_config(&config)?;
    let found = board.run_raw(3, at, MemorySystem::new(&spec, &config, 0)?);
    assert_eq!(found.error, error_code("opcode").map(|code| (code.into(), 1)));
    Ok(())
}
