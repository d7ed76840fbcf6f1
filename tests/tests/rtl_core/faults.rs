//! Memory that answers with errors.

use crate::agrees;
use crate::products::{END, product_run};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::regs::error_code;
use fastcar_golden::Golden;
use fastcar_sim::dram::Dir;
use fastcar_sim::memory::{Fault, MemorySpec, MemorySystem};
use fastcar_sim::{Advance, Policy, SimError, SimOptions, Timer};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Board, Cover, Random, skipped};

/// A part of a channel whose reads or writes fail: some bytes, or all from some place on.
fn any(random: &mut Random, config: &AccelConfig) -> Fault {
    // Leaning on low addresses, where records are.
    let most = (2 * END) >> random.below(6);
    let start = random.below(most) / 64 * 64;
    let end = if random.chance(50) { start + 64 + random.below(0x4_0000) } else { 3 * END };
    let (port, dir) =
        (random.below(config.channels().into()) as u32, [Dir::Read, Dir::Write][random.below(2) as usize]);
    Fault::SlaveError { port, dir, range: start..end }
}

/// A run that meets an error ends with it, on a bus that is quiet, and the next run is not disturbed.
pub fn end_runs(preset: &str, count: u64, seed: u64) -> TestResult {
    if skipped() {
        return Ok(());
    }
    let config = AccelConfig::preset(preset)?;
    let mut board = Board::new(&config)?;
    let mut random = Random::new(seed);
    let mut cover = Cover::new(&["read", "write", "none", "step table or program"]);
    for _ in 0..count {
        let run = product_run(&mut random, &config, 6);
        let fault = any(&mut random, &config);
        let options = SimOptions {
            policy: Policy::Static,
            advance: Advance::Step,
            faults: vec![fault.clone()],
            ..SimOptions::default()
        };
        let image = crate::programs::memory(&mut random, &config);
        let (_, decisions) = Golden::new(config.clone(), image).run_recorded(&run.program, &run.table)?;
        let expected =
            Timer::new(config.clone(), options)?.run_placed(&run.program, &run.table, &decisions, run.at);
        let mut memory = MemorySystem::new(&MemorySpec::for_config(&config)?, &config, 0)?;
        memory.inject(fault)?;
        board.set_policy(Policy::Static);
        let found = board.run(&run.program, &run.table, run.at, memory)?;
        match (expected, found.error) {
            (Err(SimError::Fault { channel, status, command, .. }), Some(error)) => {
                assert_eq!(Some(error.code), error_code(status).map(u64::from));
                assert_eq!((error.channel, error.response), (channel.into(), 2));
                cover.hit(if status == "read" { "read" } else { "write" }, true);
                cover.hit("step table or program", command + 1 == run.program.commands().len());
            }
            (Ok(_), None) => cover.hit("none", true),
            (expected, found) => panic!("{:?} {expected:?}, but {found:?}", run.program.commands()),
        }
        let next = product_run(&mut random, &config, 3);
        agrees(&mut board, &mut random, &config, &next)?;
    }
    cover.assert(1);
    Ok(())
}
