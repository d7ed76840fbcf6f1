//! The simulator's platform against AMD's runtime: the same calls, the same answers, but for what
//! `docs/opencl-status.md` lists.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_tests::opencl::platforms::{Platform, not_run, simulator_library};
use fastcar_tests::opencl::record::{Row, from_csv, record};
use fastcar_tests::opencl::{PRESET, cases, differences, image, page};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const RUNNER: &str = env!("CARGO_BIN_EXE_opencl-status");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What XRT 2.13 answered.
fn recorded() -> Vec<Row> {
    let path = root().join("tests/vectors/xrt-2.13-status.csv");
    from_csv(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Every case on a platform.
fn answers(scratch: &TempDir, platform: &Platform) -> Vec<Row> {
    let file = scratch.path().join("image.xclbin");
    std::fs::write(&file, image(PRESET).unwrap()).unwrap();
    record(Path::new(RUNNER), platform, &file).unwrap()
}

/// Fails with a line per case that answers otherwise than expected.
fn same(expected: &[Row], found: &[Row]) {
    assert_eq!(expected.len(), found.len());
    let differs = |(a, b): &(&Row, &Row)| a != b;
    let line = |(a, b): (&Row, &Row)| {
        format!("{}: expected {} {}, found {} {}\n", a.case, a.status, a.value, b.status, b.value)
    };
    let lines: Vec<String> = expected.iter().zip(found).filter(differs).map(line).collect();
    assert!(lines.is_empty(), "{} cases answer otherwise:\n{}", lines.len(), lines.concat());
}

#[test]
fn recording_holds_every_case_once() {
    let names: Vec<String> = cases().into_iter().map(|c| c.name).collect();
    let unique: BTreeSet<&String> = names.iter().collect();
    assert_eq!(unique.len(), names.len(), "two cases have one name");
    assert!(names.len() >= 600, "only {} cases", names.len());
    let rows: Vec<String> = recorded().into_iter().map(|r| r.case).collect();
    assert_eq!(rows, names, "record again with the command in the recording's head");
}

#[test]
fn image_is_loaded_and_run_by_xrt() {
    let rows = recorded();
    let answer =
        |case: &str| rows.iter().find(|r| r.case == case).map(|r| (r.status.as_str(), r.value.as_str()));
    assert_eq!(answer("program.load"), Some(("CL_SUCCESS", "object")));
    assert_eq!(answer("program.info.kernel_names"), Some(("CL_SUCCESS", "'fastcar'")));
    assert_eq!(answer("kernel.create.unit"), Some(("CL_SUCCESS", "object")));
    assert_eq!(answer("argument.bank.channel3_on_3"), Some(("CL_SUCCESS", "")));
    assert_eq!(answer("launch.task.finish"), Some(("CL_SUCCESS", "")));
    assert_eq!(answer("event.info.status_of_a_run"), Some(("CL_SUCCESS", "0")));
}

#[test]
fn installed_xrt_answers_as_recorded() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(xrt) = Platform::xrt(scratch.path()).unwrap() else {
        return not_run("the comparison with a live XRT: XRT 2.13 (libxrt1 of Debian 12) is not installed");
    };
    let found = answers(&scratch, &xrt);
    // What XRT reads there is not its own: the answer may be another on another machine.
    let steady = |rows: &[Row]| -> Vec<Row> {
        rows.iter().filter(|row| !differences::undefined(&row.case)).cloned().collect()
    };
    same(&steady(&recorded()), &steady(&found));
}

#[test]
fn simulator_answers_as_xrt() {
    let scratch = tempfile::tempdir().unwrap();
    let found = answers(&scratch, &Platform::simulator(simulator_library().unwrap(), PRESET));
    same(&differences::expected(&recorded()).unwrap(), &found);
}

#[test]
fn page_of_differences_is_up_to_date() {
    let (file, text) = (root().join("docs/opencl-status.md"), page::markdown(&recorded()));
    if std::env::var_os("FASTCAR_BLESS").is_some() {
        std::fs::write(&file, &text).unwrap();
        return;
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == text, "{} is out of date; write it again with: {}", file.display(), page::BLESS);
}
