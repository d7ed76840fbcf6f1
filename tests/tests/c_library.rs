//! libfastcar as C programs use it: the guide's example, everything that it refuses, and what lives and dies with it.
//! Linked with the shared library that lies beside this test, and run in processes of their own.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_host::model::Model;
use fastcar_host::model::testing::VideoSpec;
use fastcar_host::pack::PackOptions;
use fastcar_host::policy::{Gate, Policy};
use fastcar_host::sampler::Sampling;
use fastcar_host::session::Request;
use fastcar_tests::opencl::image;
use fastcar_tests::opencl::platforms::{Platform, not_run, simulator_library, tool};
use fastcar_tests::{golden_session, moving_digits, packed};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// As strict as it gets: programs of users are compiled with other flags than ours.
const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The folder of the shared library: Cargo writes that of a dependency beside the test.
fn library_folder() -> PathBuf {
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    assert!(folder.join("libfastcar.so").exists(), "is fastcar-capi still a dependency of the tests?");
    folder
}

fn text(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}\n{out}{err}", output.status)
}

/// Compiles a program as the guide says; what comes out is in the folder.
fn compile(compiler: &Path, standard: &str, source: &Path, folder: &Path) -> PathBuf {
    let program = folder.join("program");
    let mut command = Command::new(compiler);
    command.arg(standard).args(STRICT).arg(source).arg("-o").arg(&program);
    command.arg("-I").arg(root().join("host/capi/include"));
    command.arg("-L").arg(library_folder()).arg("-lfastcar");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    program
}

/// A program of `tests/clients/c`; none where the machine has no compiler and may lack one.
fn client(name: &str) -> Option<(TempDir, PathBuf)> {
    let compiler = tool(Path::new("/usr/bin/cc")).unwrap()?;
    let folder = tempfile::tempdir().unwrap();
    let source = root().join("tests/clients/c").join(name);
    let program = compile(&compiler, "-std=c11", &source, folder.path());
    Some((folder, program))
}

/// A process with these variables of the platform and no others.
fn process(program: &Path, environment: &[(&str, &str)]) -> Command {
    let mut command = Platform::with(PathBuf::new(), []).command(program);
    command.env("LD_LIBRARY_PATH", library_folder()).envs(environment.iter().copied());
    command
}

/// The simulator's platform with these devices.
fn simulated<'a>(library: &'a Path, devices: &'a str) -> [(&'a str, &'a str); 2] {
    [("OPENCL_DYLIB_PATH", library.to_str().unwrap()), ("FASTCAR_SIM_DEVICES", devices)]
}

/// What the example prints when it decodes with a session of this process.
fn example_output() -> String {
    let model = Model::open(moving_digits()).unwrap();
    let packed = packed(&model, "edge", PackOptions::default()).unwrap();
    let video = model.video().unwrap();
    let first = video.code_offset() as u32;
    let mut session =
        golden_session(&packed, Policy::replay(Gate::Budget { ratio: 0.5 }).unwrap(), 1, 200).unwrap();
    let request = Request {
        prompt: model.prompt_tokenizer().unwrap().encode("7 left stripes").unwrap(),
        guidance: None,
        positions: 128,
        sampling: Sampling::GREEDY,
        allowed: first..first + video.codes() as u32,
        given: Vec::new(),
    };
    let id = session.start(request).unwrap();
    let mut out = String::new();
    for generated in session.generate() {
        let generated = generated.unwrap();
        writeln!(out, "position {}: tokens {:?}", generated.position, generated.tokens).unwrap();
    }
    let ratio = session.finish(id).unwrap().replay_ratio();
    writeln!(out, "{:.1} % of the MLPs replayed", 100.0 * ratio).unwrap();
    out
}

#[test]
fn the_example_decodes_what_a_rust_program_does() {
    let Some((_folder, program)) = client("decode.c") else { return };
    let expected = example_output();
    assert_eq!(expected.lines().count(), 129);
    let library = simulator_library().unwrap();
    let run = |backend: &[&str], environment: &[(&str, &str)]| {
        let output = process(&program, environment).arg(moving_digits()).args(backend).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(run(&["golden"], &[]), expected);
    assert_eq!(run(&["sim"], &[]), expected);
    assert_eq!(run(&[], &simulated(&library, "edge")), expected);
}

#[test]
fn the_example_says_what_is_wrong() {
    let Some((_folder, program)) = client("decode.c") else { return };
    let run = |arguments: &[&str]| process(&program, &[]).args(arguments).output().unwrap();
    let output = run(&["nowhere"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(
        text(&output).contains("error: FASTCAR_IO: cannot open nowhere/config.json"),
        "{}",
        text(&output)
    );
    assert_eq!(run(&[]).status.code(), Some(2));
}

/// The small video model that the C tests know.
fn small_model() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    VideoSpec::default().write(folder.path()).unwrap();
    folder
}

/// Runs a test program with the small model; the statuses that it saw.
fn run_test(program: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> BTreeSet<String> {
    let (model, scratch) = (small_model(), tempfile::tempdir().unwrap());
    std::fs::write(scratch.path().join("edge.xclbin"), image("edge").unwrap()).unwrap();
    let mut command = process(program, environment);
    command.arg(model.path()).arg(scratch.path()).args(arguments);
    let output = command.output().unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{arguments:?}: {said}");
    println!("{arguments:?}: {said}");
    let statuses = said.lines().find_map(|l| l.strip_prefix("statuses:")).unwrap();
    statuses.split_whitespace().map(str::to_owned).collect()
}

/// The statuses in the header.
fn statuses() -> BTreeSet<String> {
    let header = std::fs::read_to_string(root().join("host/capi/include/fastcar.h")).unwrap();
    let names = header.lines().filter_map(|l| l.trim().split_once(" = ").map(|(name, _)| name));
    names.filter(|name| name.starts_with("FASTCAR_")).map(str::to_owned).collect()
}

#[test]
fn every_status_is_answered_where_it_should_be() {
    let Some((_folder, refusals)) = client("refusals.c") else { return };
    let Some((_folder, lifetimes)) = client("lifetimes.c") else { return };
    let library = simulator_library().unwrap();
    let mut seen = run_test(&refusals, &["here"], &[]);
    seen.extend(run_test(&refusals, &["opencl"], &simulated(&library, "tiny,edge,u50")));
    seen.extend(run_test(&refusals, &["none"], &[("OPENCL_DYLIB_PATH", "/nowhere/libOpenCL.so")]));
    for (mode, fault) in [("failing", "slverr@2"), ("hanging", "hang@2")] {
        let mut environment = simulated(&library, "tiny").to_vec();
        environment.push(("FASTCAR_SIM_FAULT", fault));
        seen.extend(run_test(&refusals, &[mode], &environment));
    }
    seen.extend(run_test(&lifetimes, &["golden", "threads"], &[]));
    // A defect to provoke would have to be there: `host/capi/src/session.rs` tests what becomes of one.
    assert!(seen.insert("FASTCAR_PANIC".to_owned()));
    let missing: Vec<String> = statuses().difference(&seen).cloned().collect();
    assert!(missing.is_empty() && seen.len() == 19, "not answered in any test: {missing:?}");
}

#[test]
fn backends_agree_and_snapshots_go_on() {
    let Some((_folder, program)) = client("lifetimes.c") else { return };
    let library = simulator_library().unwrap();
    run_test(&program, &["sim", "results"], &[]);
    run_test(&program, &["opencl", "results"], &simulated(&library, "tiny"));
    run_test(&program, &["opencl", "threads"], &simulated(&library, "tiny"));
}

#[test]
fn nothing_stays_behind() {
    let Some((_folder, program)) = client("lifetimes.c") else { return };
    let library = simulator_library().unwrap();
    run_test(&program, &["golden", "leaks"], &[]);
    run_test(&program, &["opencl", "leaks"], &simulated(&library, "tiny"));
}

#[test]
fn the_header_is_cpp_too() {
    let compiler = Path::new("/usr/bin/c++");
    if !compiler.exists() {
        return not_run("the header in C++: there is no /usr/bin/c++");
    }
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("program.cpp");
    let program = "#include <fastcar.h>\n\
                   int main() { return fastcar_version_number() == FASTCAR_VERSION_NUMBER ? 0 : 1; }\n";
    std::fs::write(&source, program).unwrap();
    let program = compile(compiler, "-std=c++11", &source, folder.path());
    let output = process(&program, &[]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}
