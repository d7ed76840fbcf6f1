//! Whole runs through the registers: memory, cycles and counters are the bare core's, the simulator's, and golden's.

use crate::products::{product_run, weights};
use crate::programs::{Run, any_run, appending, deciding, for_nobody, memory, storing};
use fastcar_arch::config::{AccelConfig, ConfigFields};
use fastcar_arch::isa::{self, Add, Addr, Command, End, Load, Store};
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
        (isa::encode(&[Command::from(Add { words: 0, ..Add::default() }), end]), 2, "operand", 0),
        (
            isa::encode(&[Command::from(Load { addr: Addr(8), words: 1, ..Load::default() }), end]),
            2,
            "operand",
            0,
        ),
        (
            isa::encode(&[Command::from(Store { slot_stride: 4, words: 1, ..Store::default() }), end]),
            2,
            "operand",
            0,
        ),
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

impl Bench {
    /// Starts a run of products on the kernel, and lets it go on for some cycles.
    fn begin(&mut self) -> Result<Run, Box<dyn std::error::Error>> {
        let Self { config, random, kernel, .. } = self;
        let run = product_run(random, config, 6);
        let image = memory(random, config);
        (0..config.channels() as usize).for_each(|c| kernel.write(c, 0, image.channel(c)));
        kernel.write(0, run.at.step, &run.table.to_bytes(run.program.limits()));
        kernel.write(0, run.at.program, &isa::encode(run.program.commands()));
        let memory = MemorySystem::new(&MemorySpec::for_config(config)?, config, 0)?;
        kernel.begin(run.program.commands().len() as u64, run.at, memory)?;
        (0..random.below(4000)).try_for_each(|_| kernel.clock())?;
        Ok(run)
    }

    /// A run is as if nothing had been before it.
    fn goes_on(&mut self) -> TestResult {
        let next = product_run(&mut self.random, &self.config, 4);
        self.agrees(&next)
    }
}

/// A run that the host ends, anywhere in it, ends with its error on a bus that is quiet; one that is over is not touched.
#[test]
fn the_host_ends_runs() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut bench = Bench::alone(AccelConfig::preset("tiny")?, Handshake::Chain, 6)?;
    let mut cover = Cover::new(&["ended", "too late"]);
    for _ in 0..30 {
        let run = bench.begin()?;
        bench.kernel.write_register("ABORT", 1)?;
        let found = bench.kernel.end()?;
        let commands = run.program.commands().len() as u64;
        match found.error {
            Some(error) => {
                assert_eq!(Some(error.code), error_code("aborted").map(u64::from));
                assert!(error.command < commands && found.commands <= commands);
            }
            None => assert_eq!(found.commands, commands),
        }
        cover.hit("ended", found.error.is_some());
        cover.hit("too late", found.error.is_none());
        assert_eq!(bench.kernel.read_register("ABORT")?, 0);
        bench.goes_on()?;
    }
    cover.assert(1);
    Ok(())
}

/// A run in which nothing moves for longer than the host has patience; with none of it, or enough, the run goes to its end.
#[test]
fn the_watchdog_ends_runs() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut bench = Bench::alone(AccelConfig::preset("tiny")?, Handshake::Single, 7)?;
    for (patience, ends) in [(12, true), (0, false), (1 << 16, false), (20, true)] {
        bench.kernel.write_register("WATCHDOG", patience)?;
        bench.begin()?;
        let found = bench.kernel.end()?;
        let stuck = error_code("stuck").filter(|_| ends).map(u64::from);
        assert_eq!(found.error.map(|error| error.code), stuck, "{patience} cycles");
        bench.kernel.write_register("WATCHDOG", 1 << 20)?;
        bench.goes_on()?;
    }
    Ok(())
}

/// A reset anywhere in a run leaves nothing of it, and no half burst: the memories begin anew too.
#[test]
fn a_reset_ends_runs() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut bench = Bench::alone(AccelConfig::preset("tiny")?, Handshake::Chain, 8)?;
    for _ in 0..20 {
        bench.begin()?;
        bench.kernel.reset();
        assert_eq!(bench.kernel.read_register("CTRL")?, 1 << 2, "no run is under way");
        assert_eq!(bench.kernel.read_register("ERROR")?, 0);
        bench.goes_on()?;
    }
    Ok(())
}
