//! Whole runs through the registers: memory, cycles and counters are the bare core's, the simulator's, and golden's.

use crate::products::{product_run, weights};
use crate::programs::{Run, any_run, appending, deciding, for_nobody, memory, storing};
use fastcar_arch::config::{AccelConfig, ConfigFields};
use fastcar_arch::isa::{self, Command, End};
use fastcar_arch::regs::error_code;
use fastcar_golden::Golden;
use fastcar_hw::axi::Handshake;
use fastcar_sim::memory::{MemorySpec, MemorySystem};
use fastcar_sim::{Advance, Policy, SimOptions, Timer};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Board, Counted, Cover, Failed, Random, skipped};

/// A kernel and, if it is there, the bare core that has to do the same.
struct Bench {
    config: AccelConfig,
    kernel: Board,
    core: Option<Board>,
    random: Random,
}

/// What runs are made of.
const KINDS: [&str; 5] = ["end alone", "records", "keys and values", "gates", "products"];

impl Bench {
    /// A kernel of a preset beside its core.
    fn new(preset: &str, handshake: Handshake, seed: u64) -> Result<Self, Box<dyn std::error::Error>> {
        let config = AccelConfig::preset(preset)?;
        let mut core = Board::new(&config)?;
        core.set_policy(Policy::Compact);
        Ok(Self { core: Some(core), ..Self::alone(config, handshake, seed)? })
    }

    fn alone(
        config: AccelConfig,
        handshake: Handshake,
        seed: u64,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let kernel = Board::kernel(&config, handshake, seed)?;
        Ok(Self { config, kernel, core: None, random: Random::new(seed) })
    }

    /// Runs a program from the same memory on all.
    fn agrees(&mut self, run: &Run) -> TestResult {
        let Run { program, table, at } = run;
        let Self { config, random, .. } = self;
        let memory_seed = random.below(3);
        let options = SimOptions {
            policy: Policy::Compact,
            advance: Advance::Step,
            memory_seed,
            ..SimOptions::default()
        };
        let mut image = memory(random, config);
        weights(random, config, &mut image);
        let mut golden = Golden::new(config.clone(), image.clone());
        let (report, decisions) = golden.run_recorded(program, table)?;
        let report = report.to_bytes();
        let timer = Timer::new(config.clone(), options)?;
        let expected: Counted = timer.run_placed(program, table, &decisions, *at)?.counters.into();
        let spec = MemorySpec::for_config(config)?;
        let told = || {
            format!(
                "{}: {:?} {:?}, {at:?}, seed {memory_seed}",
                config.name(),
                program.commands(),
                table.slots
            )
        };
        for board in self.core.iter_mut().chain([&mut self.kernel]) {
            (0..config.channels() as usize).for_each(|c| board.write(c, 0, image.channel(c)));
            let found = board.run(program, table, *at, MemorySystem::new(&spec, config, memory_seed)?);
            let found = found.unwrap_or_else(|error| panic!("{error}; {}", told()));
            assert_eq!(found, expected, "{}", told());
            let written = board.bytes(0).get(at.report as usize..).unwrap_or_default();
            assert!(written.starts_with(&report), "report: {}", told());
        }
        for c in 0..config.channels() as usize {
            let (found, expected) = (self.kernel.bytes(c), golden.memory().channel(c));
            let differs = expected.iter().zip(found).position(|(a, b)| a != b);
            assert_eq!(differs, None, "channel {c}: {}", told());
            assert!(self.core.iter().all(|core| core.bytes(c) == found), "channel {c}: {}", told());
        }
        Ok(())
    }

    /// Runs of all kinds.
    fn runs(&mut self, count: u64) -> TestResult {
        let mut cover = Cover::new(&KINDS);
        for _ in 0..count {
            let (kind, length) = (self.random.below(KINDS.len() as u64), self.random.below(24));
            let (random, config) = (&mut self.random, &self.config);
            let run = match kind {
                0 => any_run(random, config, 0, for_nobody),
                1 => any_run(random, config, length, storing),
                2 => any_run(random, config, length, appending),
                3 => any_run(random, config, length, deciding),
                _ => product_run(random, config, length),
            };
            cover.hit(KINDS[kind as usize], true);
            self.agrees(&run)?;
        }
        cover.assert(1);
        Ok(())
    }
}

#[test]
fn runs_of_the_smallest_kernel_are_the_cores() -> TestResult {
    if skipped() {
        return Ok(());
    }
    Bench::new("tiny", Handshake::Chain, 1)?.runs(40)
}

/// Two channels, followed by `ap_ctrl_hs`.
#[test]
fn runs_of_a_kernel_with_two_channels_are_the_simulators() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let tiny = AccelConfig::preset("tiny")?;
    let fields = ConfigFields { name: "pair".to_owned(), channels: 2, ..tiny.fields().clone() };
    Bench::alone(AccelConfig::new(fields)?, Handshake::Single, 2)?.runs(30)
}

#[test]
#[ignore = "the edge kernel takes minutes to compile; run with --ignored"]
fn runs_in_the_long_run() -> TestResult {
    if skipped() {
        return Ok(());
    }
    Bench::new("edge", Handshake::Chain, 3)?.runs(300)?;
    Bench::new("tiny", Handshake::Chain, 5)?.runs(1000)
}

/// What a program can be wrong in: its bytes, how many commands it is said to have, the error, at which command.
fn wrong_programs(random: &mut Random) -> Vec<(Vec<u8>, u64, &'static str, u64)> {
    let end = Command::from(End::default());
    let good = isa::encode(&[for_nobody(random), for_nobody(random), end]);
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let early = isa::encode(&[end, for_nobody(random), end]);
    let size = isa::COMMAND_BYTES;
    vec![
        (with(size, 0x7F), 3, "opcode", 1),
        (with(0, 0xFF), 3, "opcode", 0),
        (with(3 * size - 1, 1), 3, "operand", 2),
        (good.clone(), 2, "no_end", 1),
        (early, 3, "no_end", 0),
    ]
}

/// A wrong program ends its run as a right one does; the error says where. The next run is as if nothing had been.
#[test]
fn wrong_programs_end_with_an_error() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut bench = Bench::new("tiny", Handshake::Chain, 4)?;
    for (bytes, commands, error, at) in wrong_programs(&mut bench.random) {
        let run = any_run(&mut bench.random, &bench.config, 0, for_nobody);
        let spec = MemorySpec::for_config(&bench.config)?;
        for board in bench.core.iter_mut().chain([&mut bench.kernel]) {
            board.write(0, run.at.step, &run.table.to_bytes(run.program.limits()));
            board.write(0, run.at.program, &bytes);
        }
        let found = bench.kernel.run_raw(commands, run.at, MemorySystem::new(&spec, &bench.config, 0)?)?;
        if let Some(core) = &mut bench.core {
            let expected = core.run_raw(commands, run.at, MemorySystem::new(&spec, &bench.config, 0)?)?;
            assert_eq!(found, expected, "{error} at {at}");
        }
        let failed = |code: u32| Failed { code: code.into(), command: at, ..Failed::default() };
        assert_eq!(found.error, error_code(error).map(failed), "{error} at {at}");
        assert_eq!(found.commands, at, "commands before the wrong one");
        let length = bench.random.below(8);
        let next = product_run(&mut bench.random, &bench.config, length);
        bench.agrees(&next)?;
    }
    Ok(())
}
