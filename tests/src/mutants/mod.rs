//! Faults that tests have to catch: the table `tests/mutants.toml`, and how one is tried.
//!
//! A fault is put into the Verilog that a test compiles ([`fastcar_rtl::Fault`]), in every module of its name. It is caught if
//! the test fails with it, passes without it, and ran on hardware that had it: a tool that fails, or a place that is in no design
//! of the test, is an outcome of its own.

mod page;

pub use page::page;

use fastcar_rtl::{BenchError, FAULT, FAULT_FAILED, FAULT_RUNS, Fault, FaultKind};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

/// The table.
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/mutants.toml");

/// How long a test may take: several times the slowest.
const LIMIT: Duration = Duration::from_secs(1800);

/// A test by its program's name and its own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Test {
    /// Program, as in `rtl_fp`.
    pub program: String,
    /// Name within it.
    pub name: String,
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.program, self.name)
    }
}

/// A fault, and the test that has to catch it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mutant {
    /// The block, as in `pe/dot_lane`: the page below `docs/blocks`.
    pub block: String,
    /// What is put where.
    pub fault: Fault,
    /// The test.
    pub test: Test,
    /// Whether the test compiles a whole core.
    pub slow: bool,
}

/// A block of the table: a test, and a place for each kind of fault.
#[derive(Deserialize)]
struct Row {
    test: String,
    #[serde(default)]
    slow: bool,
    #[serde(flatten)]
    places: BTreeMap<String, String>,
}

/// What has become of a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The test fails.
    Caught,
    /// The test passes all the same.
    Survived,
    /// No hardware of the test had it.
    NotThere,
    /// A tool failed on the hardware that had it.
    ToolFailed,
    /// The test did not end.
    Endless,
    /// The test does not pass without it, or is none.
    TestFails,
}

/// Why the table is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// It cannot be read.
    #[error("tests/mutants.toml: {0}")]
    File(#[from] io::Error),
    /// It is no table.
    #[error("tests/mutants.toml: {0}")]
    Text(#[from] toml::de::Error),
    /// A fault is none.
    #[error("tests/mutants.toml, {block}: {source}")]
    Fault {
        /// Block.
        block: String,
        /// Why.
        source: Box<BenchError>,
    },
    /// A test has no name.
    #[error("tests/mutants.toml, {block}: '{test}' is not program::test")]
    Test {
        /// Block.
        block: String,
        /// What stands there.
        test: String,
    },
}

/// All mutants, by block and kind.
///
/// # Errors
/// [`TableError`].
pub fn mutants() -> Result<Vec<Mutant>, TableError> {
    let rows: BTreeMap<String, Row> = toml::from_str(&std::fs::read_to_string(TABLE)?)?;
    let mutants: Result<Vec<_>, _> = rows.into_iter().map(|(block, row)| of_block(&block, &row)).collect();
    Ok(mutants?.into_iter().flatten().collect())
}

fn of_block(block: &str, row: &Row) -> Result<Vec<Mutant>, TableError> {
    let no_test = || TableError::Test { block: block.into(), test: row.test.clone() };
    let (program, name) = row.test.split_once("::").ok_or_else(no_test)?;
    let test = Test { program: program.into(), name: name.into() };
    let fault = |kind: &str, place| Fault::new(kind.parse::<FaultKind>()?, place);
    let places = row.places.iter();
    let mutants = places.map(|(kind, place)| {
        let fault = fault(kind, place)
            .map_err(|source| TableError::Fault { block: block.into(), source: source.into() })?;
        Ok(Mutant { block: block.into(), fault, test: test.clone(), slow: row.slow })
    });
    mutants.collect()
}

/// Runs a mutant's test with its fault; the test's own words go to a file.
///
/// # Errors
/// The program does not start, the file cannot be written.
pub fn try_mutant(program: &Path, mutant: &Mutant, log: &Path) -> io::Result<Outcome> {
    let status = run(program, &mutant.test, Some(&mutant.fault), log)?;
    let said = String::from_utf8_lossy(&std::fs::read(log)?).into_owned();
    Ok(match status {
        None => Outcome::Endless,
        Some(_) if said.contains(FAULT_FAILED) => Outcome::ToolFailed,
        Some(_) if !said.contains(FAULT_RUNS) => Outcome::NotThere,
        Some(status) if status.success() => Outcome::Survived,
        // What ends otherwise, as by a signal, is no test that has failed.
        Some(_) if said.contains("test result: FAILED. 0 passed; 1 failed") => Outcome::Caught,
        Some(_) => Outcome::ToolFailed,
    })
}

/// Whether there is just one such test, and it passes without a fault.
///
/// # Errors
/// As [`try_mutant`].
pub fn passes(program: &Path, test: &Test, log: &Path) -> io::Result<bool> {
    let status = run(program, test, None, log)?;
    let said = String::from_utf8_lossy(&std::fs::read(log)?).into_owned();
    Ok(status.is_some_and(|status| status.success()) && said.contains("test result: ok. 1 passed"))
}

/// Runs a test of a program; nothing if it does not end.
fn run(program: &Path, test: &Test, fault: Option<&Fault>, log: &Path) -> io::Result<Option<ExitStatus>> {
    let mut command = Command::new(program);
    command.args([test.name.as_str(), "--exact", "--include-ignored", "--nocapture"]);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("SKIP_RTL").env_remove(FAULT);
    command.envs(fault.map(|fault| (FAULT, fault.to_string())));
    let out = File::create(log)?;
    let mut child = command.stderr(out.try_clone()?).stdout(out).spawn()?;
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if begin.elapsed() > LIMIT {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
}
