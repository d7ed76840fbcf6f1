//! Host programs that are not ours, on the simulator's platform: clinfo, pyopencl, and C with plain OpenCL headers.
//! The C program also runs on AMD's runtime, as far as a device that computes nothing lets it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_host::model::Model;
use fastcar_tests::moving_digits;
use fastcar_tests::opencl::platforms::{Platform, not_run, simulator_library, tool, vendors};
use fastcar_tests::opencl::{PRESET, bundle};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use tempfile::TempDir;

/// Exit status of a client whose logits are not the expected ones.
const DIFFERENT: i32 = 3;

/// The step's files, written once.
fn step() -> &'static Path {
    static STEP: OnceLock<TempDir> = OnceLock::new();
    let folder = STEP.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        bundle::write(folder.path(), &Model::open(moving_digits()).unwrap(), PRESET).unwrap();
        folder
    });
    folder.path()
}

/// A program with the loader's environment for one driver.
fn client(program: &Path, scratch: &Path, platform: &Platform) -> Command {
    let mut command = platform.command(program);
    command.env("OCL_ICD_VENDORS", vendors(scratch, &platform.library).unwrap());
    command
}

/// The simulator's platform as a user gets it: under its own name, with values and cycles.
fn simulator() -> Platform {
    Platform::with(simulator_library().unwrap(), [("FASTCAR_SIM_DEVICES", PRESET)])
}

fn text(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}\n{out}{err}", output.status)
}

#[test]
fn clinfo_lists_the_platform_without_errors() {
    let Some(clinfo) = tool(Path::new("/usr/bin/clinfo")).unwrap() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let output = client(&clinfo, scratch.path(), &simulator()).output().unwrap();
    let listing = text(&output);
    assert!(output.status.success() && output.stderr.is_empty(), "{listing}");
    let value = |name: &str| -> Vec<&str> {
        let lines = listing.lines().filter_map(|l| l.trim_start().strip_prefix(name));
        lines.filter(|rest| rest.starts_with("  ")).map(str::trim).collect()
    };
    assert_eq!(value("Number of platforms"), ["1"], "{listing}");
    assert!(value("Platform Name").contains(&"fastcar simulator"), "{listing}");
    assert!(value("Platform Vendor").contains(&"fastcar"), "{listing}");
    assert_eq!(value("Number of devices"), ["1"], "{listing}");
    assert!(value("Device Name").contains(&format!("{PRESET} (simulated)").as_str()), "{listing}");
    assert!(value("Device Type").contains(&"Accelerator"), "{listing}");
    // A query that fails is listed as `<function:line: what : error -30>`.
    let errors: Vec<&str> = listing.lines().filter(|l| l.contains("error -")).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

#[test]
fn clinfo_lists_several_devices() {
    let Some(clinfo) = tool(Path::new("/usr/bin/clinfo")).unwrap() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let mut command = client(&clinfo, scratch.path(), &simulator());
    let output = command.arg("--list").env("FASTCAR_SIM_DEVICES", "tiny*2,u55c").output().unwrap();
    let listing = text(&output);
    let devices = |name: &str| listing.lines().filter(|l| l.ends_with(name)).count();
    assert_eq!((devices("tiny (simulated)"), devices("u55c (simulated)")), (2, 1), "{listing}");
}

#[test]
fn pyopencl_decodes_a_step() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let Some(python) = tool(&target.join("test-setup/venv/bin/python")).unwrap() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/python/decode_step.py");
    let mut command = client(&python, scratch.path(), &simulator());
    // Compiled Python and pyopencl's cache stay out of the sources and the home folder.
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("XDG_CACHE_HOME", scratch.path());
    let output = command.arg(script).arg(step()).arg("fastcar simulator").output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    println!("pyopencl: {}", text(&output));
    assert!(text(&output).contains("as expected"), "{}", text(&output));
}

/// The C program, compiled once; none where the machine has no compiler and may lack one.
fn decode_step() -> Option<PathBuf> {
    static PROGRAM: OnceLock<Option<(TempDir, PathBuf)>> = OnceLock::new();
    let made = PROGRAM.get_or_init(|| {
        let compiler = tool(Path::new("/usr/bin/cc")).unwrap()?;
        tool(Path::new("/usr/include/CL/cl.h")).unwrap()?;
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("decode_step");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/c/decode_step.c");
        let mut command = Command::new(compiler);
        command.args(["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&program).arg(source);
        // Without the loader's development package there is no libOpenCL.so to link with, only this file.
        let output = command.arg("-l:libOpenCL.so.1").output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        Some((folder, program))
    });
    made.as_ref().map(|(_, program)| program.clone())
}

/// Nanoseconds that the program says the run took.
fn device_time(output: &str) -> u64 {
    let words = output.lines().find_map(|l| l.strip_prefix("run: ")).unwrap();
    words.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn c_program_decodes_a_step() {
    let Some(program) = decode_step() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let run = |folder: &Path| {
        client(&program, scratch.path(), &simulator()).arg(folder).arg("fastcar simulator").output().unwrap()
    };
    let output = run(step());
    assert!(output.status.success(), "{}", text(&output));
    // A dense step reads every weight once, so it cannot be faster than the memory: 1.7 MB at 4 x 19.2 GB/s.
    println!("C: {}", text(&output));
    let time = device_time(&text(&output));
    assert!((10_000..10_000_000).contains(&time), "{time} ns");

    // The comparison can fail: one bit of one expected logit is another.
    let other = copy_of(step());
    let mut logits = std::fs::read(other.path().join("logits.bin")).unwrap();
    *logits.last_mut().unwrap() ^= 1;
    std::fs::write(other.path().join("logits.bin"), logits).unwrap();
    let output = run(other.path());
    assert_eq!(output.status.code(), Some(DIFFERENT), "{}", text(&output));
}

fn copy_of(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

/// AMD's runtime loads the image, takes buffers and arguments, starts the kernel and reads the logits, which its no-op
/// device has left as they were: the same program works on a card's runtime up to the data.
#[test]
fn c_program_gets_as_far_as_the_data_on_xrt() {
    let Some(program) = decode_step() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let Some(xrt) = Platform::xrt(scratch.path()).unwrap() else {
        return not_run("the C program on XRT: XRT 2.13 (libxrt1 of Debian 12) is not installed");
    };
    let output = client(&program, scratch.path(), &xrt).arg(step()).arg("Xilinx").output().unwrap();
    assert_eq!(output.status.code(), Some(DIFFERENT), "{}", text(&output));
    assert!(text(&output).contains("logits differ from byte"), "{}", text(&output));
}
