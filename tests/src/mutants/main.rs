//! `make mutants`: every fault of `tests/mutants.toml` is put into the hardware, and its test has to fail.

use clap::Parser;
use fastcar_rtl::cache_folder;
use fastcar_tests::mutants::{Mutant, Outcome, Test, mutants, passes, try_mutant};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Instant;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Puts faults into the hardware and sees whether tests catch them.
#[derive(Parser)]
#[command(name = "mutants")]
struct Arguments {
    /// Only blocks whose name contains this, as in `fp/adder`.
    #[arg(long, value_name = "NAME")]
    block: Option<String>,
    /// Those as well whose test compiles a whole core: some minutes each.
    #[arg(long)]
    slow: bool,
    /// The result as JSON.
    #[arg(long)]
    json: bool,
    /// How many are tried at a time.
    #[arg(long, value_name = "N", default_value_t = default_jobs())]
    jobs: usize,
}

fn default_jobs() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// A mutant, and what has become of it.
#[derive(Serialize)]
struct Tried {
    block: String,
    fault: String,
    test: String,
    outcome: Outcome,
    seconds: f64,
    /// What the test said.
    log: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether all are caught.
fn run(arguments: &Arguments) -> Result<bool, Failure> {
    let mutants = chosen(arguments)?;
    let programs = programs(&mutants)?;
    let logs = cache_folder()?.join("mutants");
    std::fs::create_dir_all(&logs)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(arguments.jobs).build()?;
    let tried = pool.install(|| try_all(&mutants, &programs, &logs))?;
    let caught = tried.iter().filter(|one| one.outcome == Outcome::Caught).count();
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&tried)?);
    } else {
        print_table(&tried);
    }
    eprintln!("{caught} of {} caught", tried.len());
    Ok(caught == tried.len())
}

fn chosen(arguments: &Arguments) -> Result<Vec<Mutant>, Failure> {
    let mut mutants = mutants()?;
    if let Some(name) = &arguments.block {
        mutants.retain(|mutant| mutant.block.contains(name));
    }
    let all = mutants.len();
    mutants.retain(|mutant| arguments.slow || !mutant.slow);
    if mutants.is_empty() {
        return Err("no mutant of that block".into());
    }
    if mutants.len() < all {
        eprintln!("left out, as they need a whole core (--slow): {}", all - mutants.len());
    }
    Ok(mutants)
}

/// The test programs, built by Cargo, by their names.
fn programs(mutants: &[Mutant]) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let names: BTreeSet<&str> = mutants.iter().map(|mutant| mutant.test.program.as_str()).collect();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["test", "--workspace", "--no-run", "--message-format=json-render-diagnostics"]);
    command.args(names.iter().flat_map(|name| ["--test", name]));
    let out = command.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit()).output()?;
    if !out.status.success() {
        return Err("the tests do not build".into());
    }
    let program = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let name = message["target"]["name"].as_str()?.to_owned();
        Some((name, message["executable"].as_str()?.into()))
    };
    Ok(String::from_utf8(out.stdout)?.lines().filter_map(program).collect())
}

/// Tries the tests as they are, then with the faults.
fn try_all(
    mutants: &[Mutant],
    programs: &BTreeMap<String, PathBuf>,
    logs: &Path,
) -> Result<Vec<Tried>, Failure> {
    let program = |test: &Test| programs.get(&test.program).ok_or(format!("no program {}", test.program));
    let tests: BTreeSet<&Test> = mutants.iter().map(|mutant| &mutant.test).collect();
    let bar = bar("tests without a fault", tests.len())?;
    let sound: Result<BTreeMap<&Test, bool>, Failure> = tests
        .into_par_iter()
        .map(|test| {
            let log = logs.join(format!("{}.{}.log", test.program, test.name.replace("::", ".")));
            let passes = passes(program(test)?, test, &log)?;
            bar.inc(1);
            Ok((test, passes))
        })
        .collect();
    let sound = sound?;
    bar.finish_and_clear();
    let bar = self::bar("mutants", mutants.len())?;
    let tried = mutants.par_iter().map(|mutant| {
        let result = tried(program(&mutant.test)?, mutant, sound[&mutant.test], logs)?;
        bar.inc(1);
        if result.outcome != Outcome::Caught {
            bar.suspend(|| eprintln!("{}: {} {:?}", result.block, result.fault, result.outcome));
        }
        Ok(result)
    });
    let tried = tried.collect();
    bar.finish_and_clear();
    tried
}

fn tried(program: &Path, mutant: &Mutant, sound: bool, logs: &Path) -> io::Result<Tried> {
    let begin = Instant::now();
    let fault = mutant.fault.to_string();
    let log = logs.join(format!("{} {fault}.log", mutant.block).replace(['/', ' '], "."));
    let outcome = if sound { try_mutant(program, mutant, &log)? } else { Outcome::TestFails };
    let seconds = begin.elapsed().as_secs_f64();
    let test = mutant.test.to_string();
    Ok(Tried { block: mutant.block.clone(), fault, test, outcome, seconds, log })
}

fn bar(what: &'static str, count: usize) -> Result<ProgressBar, Failure> {
    let style = ProgressStyle::with_template("{msg} [{bar:40}] {pos}/{len} {elapsed} (left: {eta})")?;
    Ok(ProgressBar::new(count as u64).with_style(style).with_message(what))
}

fn print_table(tried: &[Tried]) {
    for Tried { block, fault, test, outcome, seconds, .. } in tried {
        let outcome = format!("{outcome:?}");
        println!("{outcome:10} {seconds:6.1} s  {block:22} {fault:44} {test}");
    }
    for one in tried.iter().filter(|one| one.outcome != Outcome::Caught) {
        println!("not caught, see {}", one.log.display());
    }
}
