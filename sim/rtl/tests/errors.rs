//! What is said when something is wrong.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_rtl::{BenchError, RunError, at, run, system_tool};
use std::io;
use std::path::Path;

#[test]
fn tools_that_are_missing_or_fail_are_named() {
    let missing = system_tool("no-such-verilator").unwrap_err();
    assert_eq!(
        missing.to_string(),
        "no-such-verilator is missing: apt-get install verilator iverilog g++ (scripts/setup-test.sh installs all that the tests use)"
    );
    let folder = tempfile::tempdir().unwrap();
    let failed = run(system_tool("sh").unwrap(), ["-c", "echo first; echo last >&2; exit 3"], folder.path());
    let BenchError::Failed { what, output, .. } = failed.unwrap_err() else { panic!("another error") };
    assert!(what.ends_with("sh"), "{what}");
    assert_eq!(output, "first\nlast");
}

#[test]
fn files_and_folders_are_named() {
    let error = at(Path::new("/here/dut.so"))(io::Error::from(io::ErrorKind::NotFound));
    assert_eq!(error.to_string(), "/here/dut.so: entity not found");
    assert_eq!(
        BenchError::NoCache.to_string(),
        "there is no folder for compiled hardware: set FASTCAR_CACHE to one, or HOME"
    );
}

#[test]
fn what_the_hardware_must_not_do_is_named() {
    let texts = [
        RunError::Hung { cycle: 7 },
        RunError::Bus { channel: 1, cycle: 9, what: "data without an address".into() },
        RunError::Registers { what: "they do not answer".into() },
    ]
    .map(|error| error.to_string());
    assert_eq!(
        texts,
        [
            "the run does not end: nothing has crossed a channel since its cycle 7",
            "channel 1, cycle 9: data without an address",
            "registers: they do not answer"
        ]
    );
}
