//! A Verilated module.
#![allow(unsafe_code, reason = "the library that Verilator makes has a C interface")]

use super::library::library;
use super::tools::{RtlTestError, at, target_folder};
use super::wave::Wave;
use fastcar_hw::rtl::{Bits, Design, Module, Simulator, emit};
use libloading::{Library, Symbol};
use std::collections::BTreeMap;
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
    at: *mut u8,
    width: u32,
    input: bool,
}

/// A module in Verilator. Ports are set and read by name; a name that is not there fails the test.
pub struct Rtl {
    name: String,
    dut: *mut c_void,
    eval: Eval,
    delete: Eval,
    pins: BTreeMap<String, Pin>,
    clock: Option<*mut u8>,
    native: Option<Simulator>,
    tracing: Option<Tracing>,
    settled: bool,
    cycle: u64,
    wave: Wave,
}

impl Rtl {
    /// A module whose registers begin with zero.
    ///
    /// # Errors
    /// What is wrong with the module; tools that are missing or fail.
    pub fn build(module: &Arc<Module>) -> Result<Self, RtlTestError> {
        Self::open(module, None)
    }

    /// A module whose registers begin with random values.
    ///
    /// # Errors
    /// As [`Rtl::build`].
    pub fn build_random(module: &Arc<Module>, seed: u32) -> Result<Self, RtlTestError> {
        Self::open(module, Some(seed))
    }

    /// A module with the crate's own simulation beside it: every output is compared in every cycle.
    ///
    /// # Errors
    /// As [`Rtl::build`].
    pub fn beside_native(module: &Arc<Module>) -> Result<Self, RtlTestError> {
        let mut rtl = Self::build(module)?;
        rtl.native = Some(Simulator::new(module)?);
        Ok(rtl)
    }

    /// A design whose registers begin with zero, by the name of its clock.
    ///
    /// # Errors
    /// Tools that are missing or fail.
    pub fn of_design(design: &Design, clock: &str) -> Result<Self, RtlTestError> {
        Self::open_design(design, clock, None)
    }

    fn open(module: &Arc<Module>, seed: Option<u32>) -> Result<Self, RtlTestError> {
        Self::open_design(&emit(module)?, "clk_i", seed)
    }

    fn open_design(design: &Design, clock: &str, seed: Option<u32>) -> Result<Self, RtlTestError> {
        let trace = std::env::var_os("RTL_TRACE").map(PathBuf::from);
        let path = library(design, trace.is_some())?;
        let load = |source| RtlTestError::Load { path: path.clone(), source };
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
        let mut pins: BTreeMap<String, Pin> = (0..)
            .zip(design.ports())
            .map(|(index, port)| {
                (port.name.clone(), Pin { at: at(index), width: port.width, input: port.input })
            })
            .collect();
        let clock = pins.remove(clock).map(|pin| pin.at);
        let wave = Wave::new(pins.iter().map(|(name, pin)| (name.clone(), pin.width)));
        let name = design.top().to_string();
        let mut rtl = Self {
            name,
            dut,
            eval,
            delete,
            pins,
            clock,
            native: None,
            tracing: None,
            settled: false,
            cycle: 0,
            wave,
        };
        if let Some(folder) = trace {
            rtl.open_trace(library, &folder, &path)?;
        }
        Ok(rtl)
    }

    fn open_trace(
        &mut self,
        library: &'static Library,
        folder: &Path,
        path: &Path,
    ) -> Result<(), RtlTestError> {
        std::fs::create_dir_all(folder).map_err(at(folder))?;
        let file = folder.join(self.wave_name());
        let load = |source| RtlTestError::Load { path: path.into(), source };
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

    fn pin(&self, name: &str, input: bool) -> &Pin {
        let pin = self.pins.get(name).filter(|pin| pin.input == input);
        pin.unwrap_or_else(|| {
            let has: Vec<_> = self.pins.iter().filter(|p| p.1.input == input).map(|p| p.0.as_str()).collect();
            panic!("{} has no {} {name}; it has {has:?}", self.name, if input { "input" } else { "output" })
        })
    }

    /// Sets an input.
    pub fn set(&mut self, name: &str, value: impl Value) {
        let pin = self.pin(name, true);
        let bits = value.bits(pin.width);
        write_port(pin, &bits);
        self.settled = false;
        if let Some(native) = &mut self.native {
            native.set(name, bits).unwrap_or_else(|error| panic!("{error}"));
        }
    }

    /// An output as bits.
    pub fn bits(&mut self, name: &str) -> Bits {
        self.settle();
        read_port(self.pin(name, false))
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
        self.bits(name).any()
    }

    /// Inputs of the module, without the clock.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, u32)> {
        self.pins.iter().filter(|(_, pin)| pin.input).map(|(name, pin)| (name.as_str(), pin.width))
    }

    /// Cycles so far.
    #[must_use]
    pub fn cycle(&self) -> u64 {
        self.cycle
    }

    fn settle(&mut self) {
        if !std::mem::replace(&mut self.settled, true) {
            // SAFETY: the object lives as long as this one.
            unsafe { (self.eval)(self.dut) };
        }
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
        let pins = &self.pins;
        self.wave.record(pins.values().map(read_port));
        if let Some(clock) = self.clock {
            for level in [1, 0] {
                // SAFETY: the clock is a port of one byte of the object, which lives as long as this one.
                unsafe {
                    clock.write(level);
                    (self.eval)(self.dut);
                }
                self.dump(2 * self.cycle + u64::from(level == 0));
            }
        }
        if let Some(native) = &mut self.native {
            native.tick();
        }
        self.cycle += 1;
    }

    fn dump(&self, time: u64) {
        if let Some(tracing) = &self.tracing {
            // SAFETY: the object lives as long as this one, and its trace is open.
            unsafe { (tracing.dump)(self.dut, time) };
        }
    }

    fn compare(&mut self) {
        let Some(native) = &mut self.native else { return };
        for (name, pin) in self.pins.iter().filter(|(_, pin)| !pin.input) {
            let (found, expected) =
                (read_port(pin), native.get(name).unwrap_or_else(|error| panic!("{error}")));
            assert_eq!(
                found, expected,
                "{}.{name} in cycle {}: Verilator, native simulation",
                self.name, self.cycle
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

fn write_port(pin: &Pin, bits: &Bits) {
    let mut bytes: Vec<u8> = bits.limbs().iter().flat_map(|limb| limb.to_le_bytes()).collect();
    bytes.resize(bytes_of(pin.width), 0);
    // SAFETY: the port has as many bytes, and nothing else refers to them.
    unsafe { pin.at.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
}

fn read_port(pin: &Pin) -> Bits {
    // SAFETY: the port has as many bytes, and nothing changes them meanwhile.
    let bytes = unsafe { std::slice::from_raw_parts(pin.at, bytes_of(pin.width)) };
    Bits::from_bytes(pin.width, bytes)
}

impl Drop for Rtl {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let file = target_folder().join("rtl").join(self.wave_name());
            match self.wave.write(&file, &self.name) {
                Ok(()) => eprintln!("{}: the last cycles are in {}", self.name, file.display()),
                Err(error) => eprintln!("{}: {error}", file.display()),
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
