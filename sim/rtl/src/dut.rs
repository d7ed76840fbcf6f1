//! A Verilated module.
#![allow(unsafe_code, reason = "the library that Verilator makes has a C interface")]

use crate::cache::cache_folder;
use crate::error::{BenchError, at};
use crate::fault::{FAULT_FAILED, FAULT_RUNS, Fault};
use crate::library::{Effort, Progress, library};
use crate::wave::Wave;
use fastcar_hw::rtl::{Bits, Design, Module, Simulator, emit};
use libloading::{Library, Symbol};
use std::ffi::{CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What a port can be given and compared with.
pub trait Value {
    /// As bits of a width.
    fn bits(self, width: u32) -> Bits;
}

impl Value for Bits {
    fn bits(self, width: u32) -> Bits {
        assert_eq!(self.width(), width, "a value of {} bits for a port of {width}", self.width());
        self
    }
}

impl Value for &Bits {
    fn bits(self, width: u32) -> Bits {
        self.clone().bits(width)
    }
}

impl Value for u64 {
    fn bits(self, width: u32) -> Bits {
        assert!(width >= u64::BITS || self >> width == 0, "{self} does not fit a port of {width} bits");
        Bits::from_u64(width, self)
    }
}

/// A literal: negative ones in two's complement.
impl Value for i32 {
    fn bits(self, width: u32) -> Bits {
        u64::try_from(self).map_or_else(|_| i64::from(self).bits(width), |value| value.bits(width))
    }
}

/// A signed number.
impl Value for i64 {
    fn bits(self, width: u32) -> Bits {
        let bits = Bits::from_i64(width, self);
        assert_eq!(bits.to_i64(), Some(self), "{self} does not fit a port of {width} bits");
        bits
    }
}

impl Value for bool {
    fn bits(self, width: u32) -> Bits {
        Bits::from_u64(1, u64::from(self)).bits(width)
    }
}

type New = unsafe extern "C" fn(c_int, c_int) -> *mut c_void;
type PortOf = unsafe extern "C" fn(*mut c_void, c_int) -> *mut u8;
type Eval = unsafe extern "C" fn(*mut c_void);
type Open = unsafe extern "C" fn(*mut c_void, *const c_char);
type Dump = unsafe extern "C" fn(*mut c_void, u64);

struct Tracing {
    dump: Dump,
    close: Eval,
}

struct Pin {
    name: String,
    at: *mut u8,
    width: u32,
    input: bool,
}

/// An input, found once by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Input(usize);

/// An output, found once by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Output(usize);

/// A module in Verilator. Ports are set and read by name, or, where that is done in every cycle, by [`Input`] and [`Output`]; a
/// name that is not there is a panic.
pub struct Rtl {
    name: String,
    dut: *mut c_void,
    eval: Eval,
    delete: Eval,
    /// By name.
    pins: Vec<Pin>,
    clock: Option<*mut u8>,
    native: Option<Simulator>,
    /// Whether a fault was put in.
    faulty: bool,
    tracing: Option<Tracing>,
    /// Whether outputs follow from the inputs as they are.
    settled: bool,
    /// Whether the model has seen the clock fall.
    fallen: bool,
    cycle: u64,
    wave: Wave,
}

// SAFETY: the object and what the pointers lead to belong to this one alone; what Verilator keeps by thread serves `$finish`,
// functions in C and several threads, which no design here has.
unsafe impl Send for Rtl {}

impl Rtl {
    /// A module whose registers begin with zero.
    ///
    /// # Errors
    /// What is wrong with the module; tools that are missing or fail.
    pub fn build(module: &Arc<Module>) -> Result<Self, BenchError> {
        Self::open(&emit(module)?, "clk_i", None, &())
    }

    /// A module whose registers begin with random values.
    ///
    /// # Errors
    /// As [`Rtl::build`].
    pub fn build_random(module: &Arc<Module>, seed: u32) -> Result<Self, BenchError> {
        Self::open(&emit(module)?, "clk_i", Some(seed), &())
    }

    /// A module with the crate's own simulation beside it: every output is compared in every cycle.
    ///
    /// # Errors
    /// As [`Rtl::build`].
    pub fn beside_native(module: &Arc<Module>) -> Result<Self, BenchError> {
        let mut rtl = Self::build(module)?;
        // A fault stands for one of the generator, which the simulation would have as well: a test has to do without.
        rtl.native = if rtl.faulty { None } else { Some(Simulator::new(module)?) };
        Ok(rtl)
    }

    /// A design whose registers begin with zero, by the name of its clock.
    ///
    /// # Errors
    /// Tools that are missing or fail.
    pub fn of_design(design: &Design, clock: &str, progress: &dyn Progress) -> Result<Self, BenchError> {
        Self::open(design, clock, None, progress)
    }

    fn open(
        design: &Design,
        clock: &str,
        seed: Option<u32>,
        progress: &dyn Progress,
    ) -> Result<Self, BenchError> {
        let trace = std::env::var_os("RTL_TRACE").map(PathBuf::from);
        let fault = Fault::of_environment()?;
        let (path, faulty) = match &fault {
            Some(fault) => Self::faulty_library(design, fault, trace.is_some(), progress)
                .inspect_err(|error| eprintln!("{FAULT_FAILED}{error}"))?,
            None => (library(design, trace.is_some(), Effort::Full, progress)?, false),
        };
        let load = |source| BenchError::Load { path: path.clone(), source };
        // SAFETY: the library is the one that was made above from the shim; its initialisers are Verilator's.
        let library = unsafe { Library::new(&path) }.map_err(load)?;
        // It stays loaded: its thread-local values outlive this object.
        let library: &'static Library = Box::leak(Box::new(library));
        // SAFETY: the names and types are those of the shim.
        let (new, port, eval, delete) = unsafe {
            let new = library.get::<New>(b"rtl_new").map_err(load)?;
            let port = library.get::<PortOf>(b"rtl_port").map_err(load)?;
            let eval = *library.get::<Eval>(b"rtl_eval").map_err(load)?;
            (new, port, eval, *library.get::<Eval>(b"rtl_delete").map_err(load)?)
        };
        // 2 draws what is unknown, from a seed that is not zero; 0 makes it zero.
        let (random, seed) = seed.map_or((0, 1), |seed| (2, (seed & 0x7fff_fffe) as c_int + 1));
        // SAFETY: this makes an object and has no conditions.
        let dut = unsafe { new(random, seed) };
        // SAFETY: for every index of the design's ports this gives an address within the object.
        let at = |index| unsafe { port(dut, index) };
        let mut pins: Vec<Pin> = (0..)
            .zip(design.ports())
            .map(|(index, port)| Pin {
                name: port.name.clone(),
                at: at(index),
                width: port.width,
                input: port.input,
            })
            .collect();
        pins.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let clock = pins.iter().position(|pin| pin.name == clock).map(|place| pins.remove(place).at);
        let wave = Wave::new(pins.iter().map(|pin| (pin.name.clone(), pin.width, bytes_of(pin.width))));
        let name = design.top().to_string();
        fault.iter().filter(|_| faulty).for_each(|fault| eprintln!("{FAULT_RUNS}{fault}"));
        let mut rtl = Self {
            name,
            dut,
            eval,
            delete,
            pins,
            clock,
            native: None,
            faulty,
            tracing: None,
            settled: false,
            fallen: false,
            cycle: 0,
            wave,
        };
        if let Some(folder) = trace {
            rtl.open_trace(library, &folder, &path)?;
        }
        Ok(rtl)
    }

    /// The library of a design with a fault, and whether the design has a place for it.
    fn faulty_library(
        design: &Design,
        fault: &Fault,
        trace: bool,
        progress: &dyn Progress,
    ) -> Result<(PathBuf, bool), BenchError> {
        Ok(match fault.put(design) {
            Some(faulty) => (library(&faulty, trace, Effort::Little, progress)?, true),
            None => (library(design, trace, Effort::Full, progress)?, false),
        })
    }

    fn open_trace(
        &mut self,
        library: &'static Library,
        folder: &Path,
        path: &Path,
    ) -> Result<(), BenchError> {
        std::fs::create_dir_all(folder).map_err(at(folder))?;
        let file = folder.join(self.wave_name());
        let load = |source| BenchError::Load { path: path.into(), source };
        let text = CString::new(file.display().to_string()).unwrap_or_default();
        // SAFETY: the names and types are those of the shim, whose object this is; the file's name ends with a zero.
        unsafe {
            let open: Symbol<Open> = library.get(b"rtl_open").map_err(load)?;
            open(self.dut, text.as_ptr());
            let dump = *library.get::<Dump>(b"rtl_dump").map_err(load)?;
            let close = *library.get::<Eval>(b"rtl_close").map_err(load)?;
            self.tracing = Some(Tracing { dump, close });
        }
        Ok(())
    }

    /// A file name that no other device of the same module has.
    fn wave_name(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        format!("{}-{}-{}.vcd", self.name, std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// Writes the last cycles of the ports to a file, which it names.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_wave(&self) -> Result<PathBuf, BenchError> {
        let file = cache_folder()?.join("rtl").join(self.wave_name());
        self.wave.write(&file, &self.name).map_err(at(&file))?;
        Ok(file)
    }

    /// An input, to be set again and again.
    #[must_use]
    pub fn input(&self, name: &str) -> Input {
        Input(self.place(name, true))
    }

    /// An output, to be read again and again.
    #[must_use]
    pub fn output(&self, name: &str) -> Output {
        Output(self.place(name, false))
    }

    fn place(&self, name: &str, input: bool) -> usize {
        let place = self.pins.binary_search_by(|pin| pin.name.as_str().cmp(name)).ok();
        place.filter(|&place| self.pins[place].input == input).unwrap_or_else(|| {
            let has: Vec<_> =
                self.pins.iter().filter(|p| p.input == input).map(|p| p.name.as_str()).collect();
            panic!("{} has no {} {name}; it has {has:?}", self.name, if input { "input" } else { "output" })
        })
    }

    /// Sets an input.
    pub fn set(&mut self, name: &str, value: impl Value) {
        let input = self.input(name);
        let bits = value.bits(self.pins[input.0].width);
        self.put(input, &bytes_in(&bits));
    }

    /// Sets an input of at most 64 bits.
    pub fn put_word(&mut self, input: Input, value: u64) {
        let width = self.pins[input.0].width;
        assert!(width >= u64::BITS || value >> width == 0, "{value} does not fit a port of {width} bits");
        self.put(input, &value.to_le_bytes());
    }

    /// Sets an input to bytes, the lowest first; missing ones are zero.
    pub fn put(&mut self, input: Input, bytes: &[u8]) {
        self.settled &= !write_port(&self.pins[input.0], bytes);
        if let Some(native) = &mut self.native {
            let Pin { name, width, .. } = &self.pins[input.0];
            let bits = Bits::from_bytes(*width, bytes);
            native.set(name, bits).unwrap_or_else(|error| panic!("{error}"));
        }
    }

    /// An output as bits.
    pub fn bits(&mut self, name: &str) -> Bits {
        let output = self.output(name);
        let width = self.pins[output.0].width;
        Bits::from_bytes(width, self.bytes(output))
    }

    /// An output's bytes, the lowest first, with zeros behind the last.
    pub fn bytes(&mut self, output: Output) -> &[u8] {
        self.settle();
        port_bytes(&self.pins[output.0])
    }

    /// An output of at most 64 bits.
    pub fn word(&mut self, output: Output) -> u64 {
        let bytes = self.bytes(output);
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(word)
    }

    /// An output of at most 64 bits.
    pub fn get(&mut self, name: &str) -> u64 {
        self.bits(name).to_u64().unwrap_or_else(|| panic!("{name} does not fit 64 bits"))
    }

    /// An output as a signed number of at most 64 bits.
    pub fn get_signed(&mut self, name: &str) -> i64 {
        self.bits(name).to_i64().unwrap_or_else(|| panic!("{name} does not fit 64 bits"))
    }

    /// Whether a one-bit output is set.
    pub fn is_set(&mut self, name: &str) -> bool {
        let output = self.output(name);
        self.word(output) != 0
    }

    /// Inputs of the module, without the clock.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, u32)> {
        self.pins.iter().filter(|pin| pin.input).map(|pin| (pin.name.as_str(), pin.width))
    }

    /// Cycles so far.
    #[must_use]
    pub fn cycle(&self) -> u64 {
        self.cycle
    }

    fn settle(&mut self) {
        if !std::mem::replace(&mut self.settled, true) {
            self.evaluate();
            // The clock is low between two edges.
            self.fallen = true;
        }
    }

    fn evaluate(&self) {
        // SAFETY: the object lives as long as this one.
        unsafe { (self.eval)(self.dut) };
    }

    /// Two cycles of reset with the inputs as they are.
    pub fn reset(&mut self) {
        self.set("rst_i", true);
        self.tick();
        self.tick();
        self.set("rst_i", false);
    }

    /// A rising edge of the clock; a module without one only settles.
    pub fn tick(&mut self) {
        self.settle();
        self.compare();
        self.wave.record(self.pins.iter().map(port_bytes));
        if let Some(clock) = self.clock {
            if !self.fallen {
                self.evaluate();
            }
            self.clock_to(clock, 1);
            self.evaluate();
            self.dump(2 * self.cycle);
            // What the fall has to say is nothing; the model sees it with the next inputs.
            self.clock_to(clock, 0);
            self.fallen = false;
            if self.tracing.is_some() {
                self.evaluate();
                self.fallen = true;
                self.dump(2 * self.cycle + 1);
            }
        }
        if let Some(native) = &mut self.native {
            native.tick();
        }
        self.cycle += 1;
    }

    fn clock_to(&self, clock: *mut u8, level: u8) {
        // SAFETY: the clock is a port of one byte of the object, which lives as long as this one.
        unsafe { clock.write(level) };
    }

    fn dump(&self, time: u64) {
        if let Some(tracing) = &self.tracing {
            // SAFETY: the object lives as long as this one, and its trace is open.
            unsafe { (tracing.dump)(self.dut, time) };
        }
    }

    fn compare(&mut self) {
        let Some(native) = &mut self.native else { return };
        for pin in self.pins.iter().filter(|pin| !pin.input) {
            let found = Bits::from_bytes(pin.width, port_bytes(pin));
            let expected = native.get(&pin.name).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(
                found, expected,
                "{}.{} in cycle {}: Verilator, native simulation",
                self.name, pin.name, self.cycle
            );
        }
    }
}

/// Bytes that Verilator keeps a port in: 1, 2, 4, 8, or words of 4.
fn bytes_of(width: u32) -> usize {
    match width {
        0..=8 => 1,
        9..=16 => 2,
        17..=32 => 4,
        33..=64 => 8,
        _ => 4 * width.div_ceil(32) as usize,
    }
}

fn bytes_in(bits: &Bits) -> Vec<u8> {
    bits.limbs().iter().flat_map(|limb| limb.to_le_bytes()).collect()
}

/// Writes a port, and says whether that changes it. Bytes beyond the port are zero.
fn write_port(pin: &Pin, bytes: &[u8]) -> bool {
    // SAFETY: the port has as many bytes, and nothing else refers to them.
    let port = unsafe { std::slice::from_raw_parts_mut(pin.at, bytes_of(pin.width)) };
    let (given, missing) = port.split_at_mut(bytes.len().min(bytes_of(pin.width)));
    let bytes = &bytes[..given.len()];
    let changes = given != bytes || missing.iter().any(|&byte| byte != 0);
    given.copy_from_slice(bytes);
    missing.fill(0);
    changes
}

fn port_bytes(pin: &Pin) -> &[u8] {
    // SAFETY: the port has as many bytes, and nothing changes them while a shared reference to the device lives.
    unsafe { std::slice::from_raw_parts(pin.at, bytes_of(pin.width)) }
}

impl Drop for Rtl {
    fn drop(&mut self) {
        if std::thread::panicking() {
            match self.write_wave() {
                Ok(file) => eprintln!("{}: the last cycles are in {}", self.name, file.display()),
                Err(error) => eprintln!("{}: {error}", self.name),
            }
        }
        if let Some(tracing) = &self.tracing {
            // SAFETY: the object's trace is open.
            unsafe { (tracing.close)(self.dut) };
        }
        // SAFETY: the object was made by `rtl_new` of the same library and is not used again.
        unsafe { (self.delete)(self.dut) };
    }
}
