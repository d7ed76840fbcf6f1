//! From a design to a shared library, made once per text.

use crate::cache::{held_folder, key};
use crate::error::{BenchError, at};
use crate::tools::{run, system_tool};
use fastcar_hw::rtl::Design;
use std::fmt;
use std::fs;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;

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

/// Flags of the compiler. All of a large model's text is gone through in every cycle, more than a processor has near at hand: the smaller it is,
/// the faster it runs. Several libraries with classes of their own live in one process.
const COMPILER: [&str; 8] = [
    "-Os",
    "-march=native",
    "-fPIC",
    "-std=gnu++17",
    "-fvisibility=hidden",
    "-fno-gnu-unique",
    "-w",
    "-pthread",
];

/// What is run once, as when a model begins, is most of the text of a large one: not worth a minute of the compiler. It wins over the flag before it.
const ONCE: &str = "-O0";

/// Bytes of such text from which on it is compiled for itself.
const LARGE: u64 = 1 << 20;

/// What the compiler is to do for a library.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// All: it will run for long.
    Full,
    /// Little: it runs until the first failure.
    Little,
}

/// The library of a design.
pub(crate) fn library(
    design: &Design,
    trace: bool,
    effort: Effort,
    progress: &dyn Progress,
) -> Result<PathBuf, BenchError> {
    let version = version()?;
    let shim = shim(design, trace);
    let texts = design.modules().iter().map(|(_, text)| text.as_str());
    let key = key(texts.chain([VERSION, version, &shim]).chain(VERILATOR).chain(COMPILER).chain([ONCE]));
    let held = held_folder(design.top(), &key)?;
    let library = held.folder.join("dut.so");
    if !library.is_file() {
        progress.begins(Building::Verilating);
        verilate(design, &held.folder, trace)?;
        progress.begins(Building::Compiling);
        compile(&held.folder, &shim, &runtime(version, trace)?, trace, effort)?;
    }
    Ok(library)
}

/// Of the tools, and of the machine that they compile for.
fn version() -> Result<&'static str, BenchError> {
    static FOUND: OnceLock<String> = OnceLock::new();
    if let Some(version) = FOUND.get() {
        return Ok(version);
    }
    let verilator = run(system_tool("verilator")?, ["--version"], Path::new("."))?;
    let machine = run(system_tool("g++")?, ["-march=native", "-Q", "--help=target"], Path::new("."))?;
    Ok(FOUND.get_or_init(|| verilator + &machine))
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
fn compile(
    folder: &Path,
    shim: &str,
    runtime: &Runtime,
    trace: bool,
    effort: Effort,
) -> Result<(), BenchError> {
    let path = folder.join("shim.cpp");
    fs::write(&path, shim).map_err(at(&path))?;
    let (once, always) = sources(&folder.join("obj"))?;
    let size: u64 = once.iter().map(|source| source.1).sum();
    let apart = size >= LARGE;
    let (mut all, mut rest) = (String::from("#include \"shim.cpp\"\n"), String::new());
    let include = |text: &mut String, sources: &[Source]| {
        sources.iter().for_each(|(source, _)| text.push_str(&format!("#include \"obj/{source}\"\n")));
    };
    include(&mut all, &always);
    include(if apart { &mut rest } else { &mut all }, &once);
    let defines = ["-DVM_COVERAGE=0".into(), "-DVM_SC=0".into(), format!("-DVM_TRACE={}", u8::from(trace))];
    let include = format!("-I{}", runtime.include.display());
    let flags: Vec<String> = COMPILER.map(String::from).into_iter().chain(defines).chain([include]).collect();
    let object = |name: &str, text: &str, more: &[&str]| {
        let path = folder.join(format!("{name}.cpp"));
        fs::write(&path, text).map_err(at(&path))?;
        let own =
            ["-I.", "-Iobj", "-c", &format!("{name}.cpp"), "-o", &format!("{name}.o")].map(String::from);
        let more = more.iter().map(|flag| (*flag).to_owned());
        run(system_tool("g++")?, flags.iter().cloned().chain(more).chain(own), folder)
    };
    // Both at once: either takes minutes.
    thread::scope(|scope| {
        let once = apart.then(|| scope.spawn(|| object("once", &rest, &[ONCE])));
        let always = object("all", &all, if effort == Effort::Full { &[] } else { &[ONCE] });
        once.map_or(Ok(String::new()), |thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))?;
        always
    })?;
    let objects = ["all.o", "once.o"].into_iter().take(if apart { 2 } else { 1 }).map(String::from);
    let objects = objects.chain(runtime.objects.iter().map(|object| object.display().to_string()));
    let link = ["-shared", "-Wl,-Bsymbolic", "-o", "partial.so"].map(String::from);
    run(system_tool("g++")?, flags.iter().cloned().chain(link).chain(objects), folder)?;
    let done = folder.join("dut.so");
    fs::rename(folder.join("partial.so"), &done).map_err(at(&done))
}

/// What Verilator has written, in order, with its bytes: what runs once, and the rest.
fn sources(folder: &Path) -> Result<(Vec<Source>, Vec<Source>), BenchError> {
    let entries = fs::read_dir(folder).map_err(at(folder))?;
    let sizes = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        Some((entry.file_name().into_string().ok()?, entry.metadata().ok()?.len()))
    });
    let mut sources: Vec<Source> = sizes.filter(|(name, _)| name.ends_with(".cpp")).collect();
    sources.sort_unstable();
    Ok(sources.into_iter().partition(|(name, _)| name.ends_with("__Slow.cpp")))
}

/// Name and bytes.
type Source = (String, u64);

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
