//! Benches in Python: cocotb on Icarus, for the models of AXI that cocotbext-axi has.

use super::tools::venv_tool;
use fastcar_hw::rtl::Design;
use fastcar_rtl::{BenchError, at, held_folder, key, run, system_tool};
use std::fs;
use std::path::Path;

/// Icarus measures time in nanoseconds.
const TIMESCALE: &str = "+timescale+1ns/1ps\n";

/// Runs a bench against a design: `script` is a Python module with tests of cocotb, `facts` what it is told (`facts.json` beside it).
/// All of its tests have to run and to pass.
///
/// # Errors
/// A test that fails or does not run; tools that are missing.
pub fn cocotb(design: &Design, script: &str, facts: &serde_json::Value, seed: u64) -> Result<(), BenchError> {
    let (facts, seed) = (facts.to_string(), seed.to_string());
    let texts = design.modules().iter().map(|(_, text)| text.as_str());
    let held = held_folder("cocotb", &key(texts.chain([script, &facts, &seed])))?;
    let folder = held.folder.as_path();
    let passed = folder.join("passed");
    if passed.is_file() {
        return Ok(());
    }
    design.write(folder)?;
    for (name, text) in [("bench.py", script), ("facts.json", &facts), ("timescale.f", TIMESCALE)] {
        let path = folder.join(name);
        fs::write(&path, text).map_err(at(&path))?;
    }
    let compile = ["-g2012", "-s", design.top(), "-o", "sim.vvp", "-f", "timescale.f"].map(String::from);
    run(system_tool("iverilog")?, compile.into_iter().chain(design.files()), folder)?;
    let said = simulate(design.top(), &seed, folder)?;
    check(script, folder, said)?;
    fs::write(&passed, "").map_err(at(&passed))
}

/// What cocotb says about where its parts are.
fn config(option: &[&str], folder: &Path) -> Result<String, BenchError> {
    let arguments = ["-m", "cocotb_tools.config"].iter().chain(option);
    Ok(run(venv_tool("python3")?, arguments, folder)?.trim().into())
}

fn simulate(top: &str, seed: &str, folder: &Path) -> Result<String, BenchError> {
    let library = config(&["--lib-entry", "vpi", "icarus"], folder)?;
    let users = [config(&["--libpython"], folder)?, config(&["--pygpi-entry-point"], folder)?].join(";");
    let results = folder.join("results.xml");
    if results.is_file() {
        fs::remove_file(&results).map_err(at(&results))?;
    }
    let mut command = system_tool("vvp")?;
    command
        .env("PYGPI_PYTHON_BIN", venv_tool("python3")?.get_program())
        .env("GPI_USERS", users)
        .env("COCOTB_TEST_MODULES", "bench")
        .env("COCOTB_TOPLEVEL", top)
        .env("COCOTB_RANDOM_SEED", seed)
        .env("COCOTB_RESULTS_FILE", &results)
        .env("COCOTB_LOG_LEVEL", "WARNING")
        .env("PYTHONPATH", folder)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    run(command, ["-m", &library, "sim.vvp", "-none"], folder)
}

/// As many results as the bench has tests, and none that is bad: the simulator's own status says nothing about them.
fn check(script: &str, folder: &Path, said: String) -> Result<(), BenchError> {
    let text = fs::read_to_string(folder.join("results.xml")).unwrap_or_default();
    let count = |what: &str| text.matches(what).count();
    let tests = script.matches("@cocotb.test(").count();
    let bad = count("<failure") + count("<error") + count("<skipped");
    if tests > 0 && count("<testcase") == tests && bad == 0 {
        return Ok(());
    }
    Err(BenchError::Failed { what: "cocotb".into(), folder: folder.into(), output: said + &text })
}
