//! Tests that need an environment of their own.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// Set in the process that runs one test.
const ALONE: &str = "FASTCAR_TEST_ALONE";
/// Far more than any test takes; a test that hangs must not hang them all.
const LIMIT: Duration = Duration::from_secs(240);

/// The simulator's platform: built as a library because this crate depends on it, beside the tests.
pub fn platform() -> PathBuf {
    let library = std::env::current_exe().unwrap().with_file_name("libfastcar_icd.so");
    assert!(library.is_file(), "{} is missing: cargo builds it with these tests", library.display());
    library
}

/// Whether this process is the one that runs the body of a test. If not, runs the test in a process of its own with
/// these variables, which must succeed. All other variables of the platform are unset there.
pub fn alone(test: &str, variables: &[(&str, &str)]) -> bool {
    alone_within(test, variables, LIMIT)
}

/// Whether this process is the one that runs the body of a test.
#[allow(dead_code, reason = "not every program with this module asks")]
pub fn in_child(test: &str) -> bool {
    std::env::var_os(ALONE).is_some_and(|name| name == test)
}

/// As [`alone`], for a test that may take so long; it may be an ignored one.
pub fn alone_within(test: &str, variables: &[(&str, &str)], limit: Duration) -> bool {
    if in_child(test) {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--include-ignored"]).env(ALONE, test);
    for name in ["SIM_DEVICES", "SIM_MODE", "SIM_LINK", "SIM_AS_XRT", "SIM_FAULT", "SIM_LOCK", "DEVICE"] {
        command.env_remove(format!("FASTCAR_{name}"));
    }
    command
        .env("OPENCL_DYLIB_PATH", platform())
        .env("FASTCAR_SIM_DEVICES", "tiny,edge")
        .env("FASTCAR_SIM_MODE", "functional");
    command.envs(variables.iter().copied());
    let log = tempfile::NamedTempFile::new().unwrap();
    let file = log.reopen().unwrap();
    command.stdout(file.try_clone().unwrap()).stderr(file);
    let mut child = command.spawn().unwrap();
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if started.elapsed() > limit {
            child.kill().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let said = std::fs::read_to_string(log.path()).unwrap();
    assert!(status.is_some_and(|s| s.success()), "{test}: {status:?}\n{said}");
    assert!(said.contains("1 passed"), "{test} did not run\n{said}");
    if limit > LIMIT {
        println!("{said}");
    }
    false
}
