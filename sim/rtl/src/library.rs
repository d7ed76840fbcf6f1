//! From a design to a shared library, made once per text.

use crate::cache::{held_folder, key};
use crate::error::{BenchError, at};
use crate::tools::{run, system_tool};
use fastcar_hw::rtl::Design;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// A step on the way to a library.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Building {
    /// Verilator makes C++ of the Verilog.
    Verilating,
    /// The compiler makes a library of that.
    Compiling,
}

impl Building {
    /// All, in order.
    pub const ALL: [Self; 2] = [Self::Verilating, Self::Compiling];
}

impl fmt::Display for Building {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Verilating => "verilating",
            Self::Compiling => "compiling",
        })
    }
}

/// Told of the steps; of none where the library is there already.
pub trait Progress {
    /// A step begins.
    fn begins(&self, step: Building);
}

/// Nobody is told.
impl Progress for () {
    fn begins(&self, _: Building) {}
}

/// Raised when the libraries of before are not to be used any more.
const VERSION: &str = "1";

/// Flags of Verilator: unknown values are drawn anew in every run, or zero, as the run asks.
const VERILATOR: [&str; 8] =
    ["--cc", "-O3", "-Wno-lint", "-Wno-style", "--x-assign", "unique", "--x-initial", "unique"];

/// Flags of the compiler. Several libraries with classes of their own live in one process.
const COMPILER: [&str; 7] =
    ["-O2", "-fPIC", "-std=gnu++17", "-fvisibility=hidden", "-fno-gnu-unique", "-w", "-pthread"];

/// The library of a design.
pub(crate) fn library(design: &Design, trace: bool, progress: &dyn Progress) -> Result<PathBuf, BenchError> {
    let version = run(system_tool("verilator")?, ["--version"], Path::new("."))?;
    let shim = shim(design, trace);
    let texts = design.modules().iter().map(|(_, text)| text.as_str());
    let key = key(texts.chain([VERSION, &version, &shim]).chain(VERILATOR).chain(COMPILER));
    let held = held_folder(design.top(), &key)?;
    let library = held.folder.join("dut.so");
    if !library.is_file() {
        progress.begins(Building::Verilating);
        verilate(design, &held.folder, trace)?;
        progress.begins(Building::Compiling);
        compile(&held.folder, &shim, &runtime(&version, trace)?, trace)?;
    }
    Ok(library)
}

/// Verilator's own part, compiled once.
fn runtime(version: &str, trace: bool) -> Result<Runtime, BenchError> {
    let include =
        PathBuf::from(run(system_tool("verilator")?, ["--getenv", "VERILATOR_ROOT"], Path::new("."))?.trim())
            .join("include");
    let held = held_folder(
        "runtime",
        &key([VERSION, version, if trace { "trace" } else { "" }].into_iter().chain(COMPILER)),
    )?;
    let mut sources = vec!["verilated", "verilated_threads"];
    if trace {
        sources.push("verilated_vcd_c");
    }
    let mut objects = Vec::new();
    for name in sources {
        let object = held.folder.join(format!("{name}.o"));
        if !object.is_file() {
            let partial = held.folder.join(format!("{name}.partial"));
            let arguments = [
                format!("-I{}", include.display()),
                "-c".into(),
                include.join(format!("{name}.cpp")).display().to_string(),
                "-o".into(),
                partial.display().to_string(),
            ];
            run(system_tool("g++")?, COMPILER.into_iter().map(String::from).chain(arguments), &held.folder)?;
            fs::rename(&partial, &object).map_err(at(&object))?;
        }
        objects.push(object);
    }
    Ok(Runtime { include, objects })
}

struct Runtime {
    include: PathBuf,
    objects: Vec<PathBuf>,
}

/// From Verilog to C++.
fn verilate(design: &Design, folder: &Path, trace: bool) -> Result<(), BenchError> {
    design.write(folder)?;
    let mut arguments: Vec<String> = VERILATOR.map(String::from).into();
    arguments.extend(
        ["--prefix", "Vdut", "--Mdir", "obj", "--top-module", design.top(), "-f", "files.f"]
            .map(String::from),
    );
    if trace {
        arguments.push("--trace".into());
    }
    run(system_tool("verilator")?, arguments, folder)?;
    Ok(())
}

/// From C++ to the library.
fn compile(folder: &Path, shim: &str, runtime: &Runtime, trace: bool) -> Result<(), BenchError> {
    let path = folder.join("shim.cpp");
    fs::write(&path, shim).map_err(at(&path))?;
    let mut all = String::from("#include \"shim.cpp\"\n");
    for source in sources(&folder.join("obj"))? {
        all.push_str(&format!("#include \"obj/{source}\"\n"));
    }
    let path = folder.join("all.cpp");
    fs::write(&path, all).map_err(at(&path))?;
    let flags = [
        "-shared",
        "-Wl,-Bsymbolic",
        "-DVM_COVERAGE=0",
        "-DVM_SC=0",
        "-I.",
        "-Iobj",
        "all.cpp",
        "-o",
        "partial.so",
    ];
    let traced = format!("-DVM_TRACE={}", u8::from(trace));
    let include = format!("-I{}", runtime.include.display());
    let objects = runtime.objects.iter().map(|object| object.display().to_string());
    let all = COMPILER.into_iter().chain(flags).map(String::from).chain([traced, include]).chain(objects);
    run(system_tool("g++")?, all, folder)?;
    let done = folder.join("dut.so");
    fs::rename(folder.join("partial.so"), &done).map_err(at(&done))
}

/// What Verilator has written, in order.
fn sources(folder: &Path) -> Result<Vec<String>, BenchError> {
    let entries = fs::read_dir(folder).map_err(at(folder))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".cpp")).collect();
    names.sort_unstable();
    Ok(names)
}

/// What Verilator calls a port: words of C++ get a prefix.
fn member(port: &str) -> String {
    if port == "interrupt" { format!("__SYM__{port}") } else { port.into() }
}

/// The functions that Rust calls.
fn shim(design: &Design, trace: bool) -> String {
    let ports: String = (0..)
        .zip(design.ports())
        .map(|(index, port)| format!("        case {index}: return &dut->top.{};\n", member(&port.name)))
        .collect();
    let (include, member, functions) = if trace {
        ("#include \"verilated_vcd_c.h\"\n", "    VerilatedVcdC wave;\n", TRACE)
    } else {
        ("", "", "")
    };
    format!(
        "#include \"Vdut.h\"\n{include}#include \"verilated.h\"\n\
         #define API extern \"C\" __attribute__((visibility(\"default\")))\n\
         struct Dut {{\n    VerilatedContext context;\n    Vdut top;\n{member}    Dut(int random, int seed) : context(), top((context.randReset(random), context.randSeed(seed), &context)) {{}}\n}};\n\
         API void *rtl_new(int random, int seed) {{ return new Dut(random, seed); }}\n\
         API void rtl_delete(Dut *dut) {{ delete dut; }}\n\
         API void rtl_eval(Dut *dut) {{ dut->top.eval(); }}\n\
         API void *rtl_port(Dut *dut, int index) {{\n    switch (index) {{\n{ports}        default: return nullptr;\n    }}\n}}\n{functions}"
    )
}

const TRACE: &str = "API void rtl_open(Dut *dut, const char *file) { dut->context.traceEverOn(true); dut->top.trace(&dut->wave, 99); dut->wave.open(file); }\n\
    API void rtl_dump(Dut *dut, uint64_t time) { dut->wave.dump(time); }\n\
    API void rtl_close(Dut *dut) { dut->wave.close(); }\n";
