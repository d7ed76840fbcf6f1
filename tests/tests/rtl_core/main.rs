//! The whole core against the simulator: cycles and counters of runs, on the simulator's memories.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cost;
mod faults;
mod heads;
mod masked;
mod products;
mod programs;
mod scores;

use fastcar_arch::config::{AccelConfig, ConfigFields};
use fastcar_arch::isa::End;
use fastcar_arch::program::Program;
use fastcar_arch::regs::error_code;
use fastcar_arch::step::StepTable;
use fastcar_golden::{Decisions, Golden};
use fastcar_hw::rtl::emit;
use fastcar_sim::memory::{MemorySpec, MemorySystem};
use fastcar_sim::{Advance, Placement, Policy, SimOptions, Timer};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Board, Counted, Cover, Failed, Random, accept, skipped};
use products::{product_run, weights};
use programs::{Any, Run, any_run, appending, deciding, for_nobody, memory, reading, storing};
use scores::scoring_run;

/// What the simulator says of a run, in the words of the board.
fn simulated(
    config: &AccelConfig,
    program: &Program,
    table: &StepTable,
    at: Placement,
    decisions: &Decisions,
    (policy, seed): (Policy, u64),
) -> Result<Counted, Box<dyn std::error::Error>> {
    let options = SimOptions { policy, advance: Advance::Step, memory_seed: seed, ..SimOptions::default() };
    let timer = Timer::new(config.clone(), options)?;
    Ok(timer.run_placed(program, table, decisions, at)?.counters.into())
}

/// A run under either policy, which it says, that takes the simulator's cycles, and leaves in memory what golden leaves there.
fn agrees(
    board: &mut Board,
    random: &mut Random,
    config: &AccelConfig,
    run: &Run,
) -> Result<(Policy, Decisions), Box<dyn std::error::Error>> {
    let Run { program, table, at } = run;
    let memory_seed = random.below(3);
    let policy = if random.chance(70) { Policy::Compact } else { Policy::Static };
    let mut image = memory(random, config);
    weights(random, config, &mut image);
    heads::caches(random, config, program.limits().positions, &mut image);
    heads::lists(random, config, table, &mut image);
    let mut golden = Golden::new(config.clone(), image.clone());
    let (report, decisions) = golden.run_recorded(program, table)?;
    let expected = simulated(config, program, table, *at, &decisions, (policy, memory_seed))?;
    let channels = 0..config.channels() as usize;
    channels.clone().for_each(|channel| board.write(channel, 0, image.channel(channel)));
    let report = report.to_bytes();
    board.write(0, at.report, &vec![0xA5; report.len()]);
    let spec = MemorySpec::for_config(config)?;
    board.set_policy(policy);
    let told = || {
        let commands = program.commands();
        format!("{}: {commands:?} {table:?}, {at:?}, {policy:?}, seed {memory_seed}", config.name())
    };
    let found = board.run(program, table, *at, MemorySystem::new(&spec, config, memory_seed)?);
    let found = found.unwrap_or_else(|error| panic!("{error}; {}", told()));
    assert_eq!(found, expected, "{}", told());
    let written = &board.bytes(0)[at.report as usize..][..report.len()];
    let differs = report.iter().zip(written).position(|(a, b)| a != b);
    assert_eq!(differs, None, "report: {}", told());
    for channel in channels {
        let (found, expected) = (board.bytes(channel), golden.memory().channel(channel));
        let differs = expected.iter().zip(found).position(|(a, b)| a != b);
        assert_eq!(differs, None, "channel {channel}: {}", told());
    }
    Ok((policy, decisions))
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
        let (commands, table) = (run.program.commands().len(), run.table);
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

fn agree(preset: &str, any: Any, count: u64, seed: u64) -> TestResult {
    if skipped() {
        return Ok(());
    }
    let config = AccelConfig::preset(preset)?;
    let mut board = Board::new(&config)?;
    let mut random = Random::new(seed);
    for _ in 0..count {
        let length = [1, 2, 3, 6, random.below(40)][random.below(5) as usize];
        let run = any_run(&mut random, &config, length, any);
        agrees(&mut board, &mut random, &config, &run)?;
    }
    Ok(())
}

#[test]
fn records_are_read() -> TestResult {
    agree("tiny", reading, 40, 4)?;
    agree("edge", reading, 20, 5)
}

#[test]
fn records_are_written() -> TestResult {
    agree("tiny", storing, 80, 6)?;
    agree("edge", storing, 30, 7)
}

fn products_agree(preset: &str, count: u64, seed: u64) -> TestResult {
    if skipped() {
        return Ok(());
    }
    let config = AccelConfig::preset(preset)?;
    let mut board = Board::new(&config)?;
    let mut random = Random::new(seed);
    let mut cover = products::cover();
    for _ in 0..count {
        let length = [1, 2, 4, random.below(20)][random.below(4) as usize];
        let run = product_run(&mut random, &config, length);
        let (policy, _) = agrees(&mut board, &mut random, &config, &run)?;
        products::hit(&mut cover, &config, &run, policy);
    }
    cover.assert(1);
    Ok(())
}

#[test]
fn products_are_made() -> TestResult {
    products_agree("tiny", 60, 8)?;
    products_agree("edge", 40, 9)
}

fn heads_agree(config: &AccelConfig, count: u64, seed: u64) -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut board = Board::new(config)?;
    let mut random = Random::new(seed);
    let mut cover = heads::cover();
    for _ in 0..count {
        let length = [1, 2, 4, random.below(16)][random.below(4) as usize];
        let run = heads::heads_run(&mut random, config, length);
        let (_, decisions) = agrees(&mut board, &mut random, config, &run)?;
        heads::hit(&mut cover, config, &run, &decisions);
    }
    cover.assert(1);
    Ok(())
}

#[test]
fn heads_of_one_channel_attend() -> TestResult {
    heads_agree(&AccelConfig::preset("tiny")?, 60, 14)
}

/// The smallest machine, with four channels.
fn four() -> Result<AccelConfig, Box<dyn std::error::Error>> {
    let tiny = AccelConfig::preset("tiny")?.fields().clone();
    Ok(AccelConfig::new(ConfigFields {
        name: "four".to_owned(),
        channels: 4,
        channel_bytes: 1 << 26,
        ..tiny
    })?)
}

#[test]
fn heads_of_four_channels_attend() -> TestResult {
    heads_agree(&four()?, 60, 18)
}

#[test]
fn heads_of_channels_attend() -> TestResult {
    heads_agree(&AccelConfig::preset("edge")?, 40, 15)
}

/// A wrong block list ends the run, and the error names its command; the next run is not disturbed.
fn wrong_lists_end_runs(preset: &str, seed: u64) -> TestResult {
    if skipped() {
        return Ok(());
    }
    let config = AccelConfig::preset(preset)?;
    let mut board = Board::new(&config)?;
    let mut random = Random::new(seed);
    let faults = heads::faults(&config);
    let mut cover = Cover::new(&faults);
    for count in 0..12 * faults.len() {
        let fault = faults[count % faults.len()];
        let run = heads::listed_run(&mut random, &config);
        let Run { program, table, at } = &run;
        let mut image = memory(&mut random, &config);
        heads::caches(&mut random, &config, program.limits().positions, &mut image);
        heads::lists(&mut random, &config, table, &mut image);
        let position = heads::spoil(&mut random, &config, &run, fault, &mut image);
        // Where the slot, or this channel's part of its cache, allows it, it is not wrong.
        if Golden::new(config.clone(), image.clone()).run(program, table).is_ok() {
            continue;
        }
        (0..config.channels() as usize).for_each(|channel| board.write(channel, 0, image.channel(channel)));
        board.write(0, at.step, &table.to_bytes(program.limits()));
        board.write(0, at.program, &fastcar_arch::isa::encode(program.commands()));
        let spec = MemorySpec::for_config(&config)?;
        let memory = MemorySystem::new(&spec, &config, 0)?;
        let found = board.run_raw(program.commands().len() as u64, *at, memory)?;
        let code = error_code("block_list").map(u64::from);
        let expected = code.map(|code| Failed { code, command: position as u64, ..Failed::default() });
        assert_eq!(found.error, expected, "{fault}: {program:?} {table:?}");
        cover.hit(fault, true);
        if random.chance(20) {
            let next = heads::heads_run(&mut random, &config, 2);
            agrees(&mut board, &mut random, &config, &next)?;
        }
    }
    cover.assert(1);
    Ok(())
}

#[test]
fn wrong_lists_of_one_channel_end_runs() -> TestResult {
    wrong_lists_end_runs("tiny", 16)
}

#[test]
fn wrong_lists_of_channels_end_runs() -> TestResult {
    wrong_lists_end_runs("edge", 17)
}

fn masked_products_agree(preset: &str, count: u64, seed: u64) -> TestResult {
    if skipped() {
        return Ok(());
    }
    let config = AccelConfig::preset(preset)?;
    let mut board = Board::new(&config)?;
    let mut random = Random::new(seed);
    let mut cover = masked::cover();
    for _ in 0..count {
        let length = 1 + random.below(6);
        let run = masked::run(&mut random, &config, length);
        let (_, decisions) = agrees(&mut board, &mut random, &config, &run)?;
        masked::hit(&mut cover, &run, &decisions);
    }
    cover.assert(1);
    Ok(())
}

#[test]
fn masked_products_are_made() -> TestResult {
    masked_products_agree("tiny", 60, 14)?;
    masked_products_agree("edge", 40, 15)
}

#[test]
fn gates_decide() -> TestResult {
    agree("tiny", deciding, 80, 10)?;
    agree("edge", deciding, 40, 11)
}

fn scores_agree(preset: &str, count: u64, seed: u64) -> TestResult {
    if skipped() {
        return Ok(());
    }
    let config = AccelConfig::preset(preset)?;
    let mut board = Board::new(&config)?;
    let mut random = Random::new(seed);
    let mut cover = scores::cover();
    for _ in 0..count {
        let length = [1, 2, 4, random.below(16)][random.below(4) as usize];
        let run = scoring_run(&mut random, &config, length);
        agrees(&mut board, &mut random, &config, &run)?;
        scores::hit(&mut cover, &config, &run);
    }
    cover.assert(1);
    Ok(())
}

#[test]
fn past_keys_of_one_channel_are_scored() -> TestResult {
    scores_agree("tiny", 80, 14)
}

#[test]
fn past_keys_of_channels_are_scored() -> TestResult {
    scores_agree("edge", 50, 15)
}

#[test]
fn keys_and_values_are_appended() -> TestResult {
    agree("tiny", appending, 80, 8)?;
    agree("edge", appending, 40, 9)
}

#[test]
fn tools_accept_the_core() -> TestResult {
    if skipped() {
        return Ok(());
    }
    accept(&emit(&Board::module(&AccelConfig::preset("tiny")?)?)?)?;
    Ok(())
}

/// A command that is none ends the run with its code and place, a wrong step table with its; the next run is not disturbed.
#[test]
fn wrong_programs_end_with_an_error() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let config = AccelConfig::preset("tiny")?;
    let mut board = Board::new(&config)?;
    let mut random = Random::new(3);
    let Run { program, table, at } = any_run(&mut random, &config, 3, for_nobody);
    board.write(0, at.step, &table.to_bytes(program.limits()));
    let mut raw =
        fastcar_arch::isa::encode(&[for_nobody(&mut random), for_nobody(&mut random), End::default().into()]);
    raw[64] = 0x7F;
    board.write(0, at.program, &raw);
    let spec = MemorySpec::for_config(&config)?;
    let found = board.run_raw(3, at, MemorySystem::new(&spec, &config, 0)?)?;
    let opcode = error_code("opcode").map(u64::from);
    assert_eq!(found.error, opcode.map(|code| Failed { code, command: 1, ..Failed::default() }));
    agrees(&mut board, &mut random, &config, &Run { program, table, at })?;

    // More slots than there are.
    let Run { program, table, at } = any_run(&mut random, &config, 3, for_nobody);
    board.write(0, at.program, &fastcar_arch::isa::encode(program.commands()));
    board.write(0, at.step, &table.to_bytes(program.limits()));
    board.write(0, at.step, &(config.slots() + 1).to_le_bytes());
    let found = board.run_raw(3, at, MemorySystem::new(&spec, &config, 0)?)?;
    assert_eq!(found.error.map(|error| error.code), error_code("step_table").map(u64::from));
    agrees(&mut board, &mut random, &config, &Run { program, table, at })?;
    Ok(())
}

#[test]
fn faults_of_memory_end_runs() -> TestResult {
    faults::end_runs("tiny", 40, 12)?;
    faults::end_runs("edge", 30, 13)
}
