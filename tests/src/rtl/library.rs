//! From a design to a shared library, made once per text.

use super::tools::{RtlTestError, at, run, system_tool, target_folder};
use fastcar_hw::rtl::Design;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Raised when the libraries of before are not to be used any more.
const VERSION: &str = "1";

/// Flags of Verilator: unknown values are drawn anew in every run, or zero, as the run asks.
const VERILATOR: [&str; 8] =
    ["--cc", "-O3", "-Wno-lint", "-Wno-style", "--x-assign", "unique", "--x-initial", "unique"];

/// Flags of the compiler. Several libraries with classes of their own live in one process.
const COMPILER: [&str; 7] =
    ["-O2", "-fPIC", "-std=gnu++17", "-fvisibility=hidden", "-fno-gnu-unique", "-w", "-pthread"];

/// Holds a folder for this process; freed when dropped.
pub(super) struct Held {
    pub folder: PathBuf,
    _lock: File,
}

/// A folder below the target folder that no other process works in.
pub(super) fn held_folder(kind: &str, key: &str) -> Result<Held, RtlTestError> {
    let folder = target_folder().join("rtl").join(format!("{kind}-{key}"));
    fs::create_dir_all(&folder).map_err(at(&folder))?;
    let path = folder.join("lock");
    let lock = File::create(&path).map_err(at(&path))?;
    lock.lock().map_err(at(&path))?;
    Ok(Held { folder, _lock: lock })
}

/// Short name for texts.
pub(super) fn key<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in texts {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex().as_str()[..16].to_string()
}

/// The library of a design.
pub(super) fn library(design: &Design, trace: bool) -> Result<PathBuf, RtlTestError> {
    let version = run(system_tool("verilator")?, ["--version"], Path::new("."))?;
    let shim = shim(design, trace);
    let texts = design.modules().iter().map(|(_, text)| text.as_str());
    let key = key(texts.chain([VERSION, &version, &shim]).chain(VERILATOR).chain(COMPILER));
    let held = held_folder(design.top(), &key)?;
    let library = held.folder.join("dut.so");
    if !library.is_file() {
        let runtime = runtime(&version, trace)?;
        compile(design, &held.folder, &shim, &runtime, trace)?;
    }
    Ok(library)
}

/// Verilator's own part, compiled once.
fn runtime(version: &str, trace: bool) -> Result<Runtime, RtlTestError> {
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

fn compile(
    design: &Design,
    folder: &Path,
    shim: &str,
    runtime: &Runtime,
    trace: bool,
) -> Result<(), RtlTestError> {
    design.write(folder)?;
    let path = folder.join("shim.cpp");
    fs::write(&path, shim).map_err(at(&path))?;
    let mut arguments: Vec<String> = VERILATOR.map(String::from).into();
    arguments.extend(
        ["--prefix", "Vdut", "--Mdir", "obj", "--top-module", design.top(), "-f", "files.f"]
            .map(String::from),
    );
    if trace {
        arguments.push("--trace".into());
    }
    run(system_tool("verilator")?, arguments, folder)?;
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
fn sources(folder: &Path) -> Result<Vec<String>, RtlTestError> {
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
