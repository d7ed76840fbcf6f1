//! The calls of OpenCL that the accelerator needs, made safe.
//!
//! Two rules carry it. Memory that a command reads or writes is moved into the [`Pending`] command and comes back
//! when the command has ended; a command that is given up keeps it for ever, since the device may still use it. And
//! what a vendor's runtime crashes on cannot be said here: an image comes as a checked one, a launch has every
//! argument set.
#![allow(unsafe_code, reason = "OpenCL is a C interface; every call of it that needs care is in this file")]

use super::host_memory::{HostBuffer, Steady};
use super::image::DeviceImage;
use super::owned::Owned;
use super::status::failure;
use super::{OpenClError, platform::DeviceEntry};
use fastcar_arch::units::Bytes;
use fastcar_xclbin::image::KERNEL;
use opencl3::command_queue::{
    CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, CL_QUEUE_PROFILING_ENABLE, CommandQueue,
};
use opencl3::context::Context;
use opencl3::error_codes::ClError;
use opencl3::event::{CL_COMPLETE, Event, cl_event};
use opencl3::kernel::Kernel;
use opencl3::memory::{Buffer, CL_MEM_READ_WRITE, ClMem};
use opencl3::program::{Program, build_program};
use opencl3::types::{CL_NON_BLOCKING, cl_mem};
use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::ptr;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// A memory object's extended pointer names its bank (a Xilinx extension; no header of the specification has it).
const CL_MEM_EXT_PTR_XILINX: u64 = 1 << 31;
/// In an extended pointer's flags: the low bits are an index of the memory topology.
const TOPOLOGY_INDEX: u32 = 1 << 31;

/// `cl_mem_ext_ptr_t`.
#[repr(C)]
struct ExtendedPointer {
    flags: u32,
    host: *mut c_void,
    param: *mut c_void,
}

const _: () = assert!(size_of::<ExtendedPointer>() == 24);

/// One device with an image loaded.
pub(super) struct Card {
    objects: ManuallyDrop<Objects>,
    abandoned: bool,
}

/// Released from first to last.
struct Objects {
    kernel: Owned<Kernel>,
    program: Owned<Program>,
    queue: Owned<CommandQueue>,
    context: Owned<Context>,
}

impl Drop for Card {
    fn drop(&mut self) {
        if !self.abandoned {
            // SAFETY: dropped here only, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.objects) };
        }
    }
}

/// Memory on one bank of a device.
pub(super) struct BankBuffer {
    buffer: Owned<Buffer<u8>>,
    bytes: u64,
}

impl BankBuffer {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Card {
    /// Opens a device and loads an image.
    pub(super) fn open(device: &DeviceEntry, image: &DeviceImage) -> Result<Self, OpenClError> {
        let (id, name) = (device.handle.id(), &device.name);
        let fail = |call, context: String| move |e: ClError| failure(call, e.0, context);
        let context = Context::from_device(&device.handle)
            .map(Owned::new)
            .map_err(fail("clCreateContext", format!("device '{name}'")))?;
        let place = format!("{} on device '{name}'", image.origin());
        // SAFETY: `id` is the device that the context was made for, and the image was parsed and checked.
        let program = unsafe { Program::create_from_binary(&context, &[id], &[image.bytes()]) }
            .map(Owned::new)
            .map_err(fail("clCreateProgramWithBinary", place.clone()))?;
        build_program(program.get(), &[id], c"", None, ptr::null_mut())
            .map_err(|code| failure("clBuildProgram", code, place.clone()))?;
        let kernel = kernel(&program, &place)?;
        // One queue, out of order: every dependency is said by an event, so what is independent (the channels of a
        // load, the two directions) may overlap as far as the runtime has engines for it, and no order is promised
        // that would have to be undone. `clCreateCommandQueueWithProperties` is missing from XRT's table.
        let properties = CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE | CL_QUEUE_PROFILING_ENABLE;
        // SAFETY: `id` is the device that the context was made for.
        let queue = unsafe { CommandQueue::create(&context, id, properties) }
            .map(Owned::new)
            .map_err(fail("clCreateCommandQueue", format!("device '{name}'")))?;
        let objects = Objects { kernel, program, queue, context };
        Ok(Self { objects: ManuallyDrop::new(objects), abandoned: false })
    }

    /// Forgets all arguments: a runtime may keep the buffers among them for as long as the kernel.
    pub(super) fn forget_arguments(&mut self) -> Result<(), OpenClError> {
        self.objects.kernel = kernel(&self.objects.program, "the loaded image")?;
        Ok(())
    }

    /// What the runtime has to say about a failed run, if anything: the simulator's platform gives its reasons in the
    /// program's build log.
    pub(super) fn log(&self) -> Option<String> {
        let device = self.objects.context.default_device();
        let log = self.objects.program.get_build_log(device).ok()?;
        Some(log.trim().to_owned()).filter(|log| !log.is_empty())
    }

    /// Leaves a device that hangs to the end of the process: its runtime may wait for it when it is released.
    pub(super) fn abandon(&mut self) {
        self.abandoned = true;
    }

    /// Allocates memory on a bank, which must have room for it.
    pub(super) fn allocate(&self, bank: u32, size: Bytes, what: &str) -> Result<BankBuffer, OpenClError> {
        let mut pointer =
            ExtendedPointer { flags: bank | TOPOLOGY_INDEX, host: ptr::null_mut(), param: ptr::null_mut() };
        let flags = CL_MEM_READ_WRITE | CL_MEM_EXT_PTR_XILINX;
        // SAFETY: with this flag the host pointer is an extended pointer, read during the call; its own host pointer
        // is NULL, so the runtime keeps no memory of ours.
        let buffer = unsafe {
            Buffer::create(
                &self.objects.context,
                flags,
                size.get() as usize,
                (&raw mut pointer).cast::<c_void>(),
            )
        };
        let context = || format!("{what}, {size} on memory bank {bank}");
        let buffer = buffer.map_err(|e| failure("clCreateBuffer", e.0, context()))?;
        Ok(BankBuffer { buffer: Owned::new(buffer), bytes: size.get() })
    }

    /// Gives the kernel a buffer.
    pub(super) fn set_buffer(&self, index: u32, to: &BankBuffer, name: &str) -> Result<(), OpenClError> {
        let handle: cl_mem = to.buffer.get();
        // SAFETY: a memory object argument is passed as a pointer to its handle.
        self.argument(index, name, unsafe { self.objects.kernel.set_arg(index, &handle) })
    }

    /// Gives the kernel a number.
    pub(super) fn set_number(&self, index: u32, to: u32, name: &str) -> Result<(), OpenClError> {
        // SAFETY: a scalar argument is passed as a pointer to its value; the runtime checks its size.
        self.argument(index, name, unsafe { self.objects.kernel.set_arg(index, &to) })
    }

    fn argument(&self, index: u32, name: &str, result: opencl3::Result<()>) -> Result<(), OpenClError> {
        result.map_err(|e| failure("clSetKernelArg", e.0, format!("argument {index} ({name})")))
    }

    /// Starts the kernel once `after` has ended.
    pub(super) fn launch(&self, after: &[cl_event]) -> Result<Pending<()>, OpenClError> {
        // SAFETY: all arguments are set (`Device` sets them while loading and before each launch), and the runtime
        // retains the buffers until the command has ended.
        let event = unsafe { self.objects.queue.enqueue_task(self.objects.kernel.get(), after) };
        self.pending("clEnqueueTask", event, "a run of the kernel", ())
    }

    /// Starts to write a part of a source.
    pub(super) fn write<S: Steady>(
        &self,
        to: &mut BankBuffer,
        at: u64,
        source: S,
        part: Range<usize>,
    ) -> Result<Pending<S>, OpenClError> {
        let bytes = &source.steady()[part];
        debug_assert!(at + bytes.len() as u64 <= to.bytes);
        // SAFETY: `bytes` lies in `source`, which moves into the pending command and stays in place until the
        // command has ended.
        let event = unsafe {
            self.objects.queue.enqueue_write_buffer(&mut to.buffer, CL_NON_BLOCKING, at as usize, bytes, &[])
        };
        self.pending("clEnqueueWriteBuffer", event, "a transfer to the device", source)
    }

    /// Starts to fill host memory from a buffer once `after` has ended.
    pub(super) fn read(
        &self,
        from: &BankBuffer,
        at: u64,
        mut into: HostBuffer,
        after: &[cl_event],
    ) -> Result<Pending<HostBuffer>, OpenClError> {
        let bytes = into.bytes_mut();
        debug_assert!(at + bytes.len() as u64 <= from.bytes);
        // SAFETY: `bytes` is heap memory of `into`, which moves into the pending command and stays in place until
        // the command has ended.
        let event = unsafe {
            self.objects.queue.enqueue_read_buffer(&from.buffer, CL_NON_BLOCKING, at as usize, bytes, after)
        };
        self.pending("clEnqueueReadBuffer", event, "a transfer from the device", into)
    }

    /// Starts to zero a range whose ends are multiples of [`ZERO_GRANULE`].
    pub(super) fn zero(
        &self,
        buffer: &mut BankBuffer,
        range: Range<u64>,
    ) -> Result<Pending<()>, OpenClError> {
        debug_assert!(range.end <= buffer.bytes);
        // The specification has the pattern copied during the call; XRT reads it when the command is executed.
        static PATTERN: [u8; ZERO_GRANULE as usize] = [0; ZERO_GRANULE as usize];
        let (at, size) = (range.start as usize, (range.end - range.start) as usize);
        // SAFETY: the pattern is there for as long as the program.
        let event =
            unsafe { self.objects.queue.enqueue_fill_buffer(&mut buffer.buffer, &PATTERN, at, size, &[]) };
        self.pending("clEnqueueFillBuffer", event, "zeroing memory", ())
    }

    /// Hands everything that was started to the device.
    pub(super) fn flush(&self) -> Result<(), OpenClError> {
        self.objects.queue.flush().map_err(|e| failure("clFlush", e.0, "the command queue"))
    }

    fn pending<M>(
        &self,
        call: &'static str,
        event: opencl3::Result<Event>,
        what: &'static str,
        memory: M,
    ) -> Result<Pending<M>, OpenClError> {
        let event = event.map(Owned::new).map_err(|e| failure(call, e.0, what))?;
        Ok(Pending { event, memory: ManuallyDrop::new(memory), call, what })
    }
}

fn kernel(program: &Program, place: &str) -> Result<Owned<Kernel>, OpenClError> {
    Kernel::create(program, KERNEL).map(Owned::new).map_err(|e| failure("clCreateKernel", e.0, place))
}

/// What [`Card::zero`] counts in.
pub(super) const ZERO_GRANULE: u64 = 64;

/// When a command ran, in nanoseconds of the device's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Span {
    pub(super) fn nanoseconds(self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

/// Why a wait gave nothing.
pub(super) enum Unfinished {
    /// The command failed.
    Failed { call: &'static str, what: &'static str, code: i32 },
    /// The command has not ended in time.
    Late { what: &'static str },
}

/// A command that was started, and the host memory that it uses. Dropped before its end, it keeps the memory for
/// ever: the device may still use it.
pub(super) struct Pending<M> {
    event: Owned<Event>,
    memory: ManuallyDrop<M>,
    call: &'static str,
    what: &'static str,
}

impl<M> Pending<M> {
    /// For the wait lists of later commands.
    pub(super) fn event(&self) -> cl_event {
        self.event.get()
    }

    /// Waits for the end, until a deadline if there is one; gives the memory back, and the command's times.
    pub(super) fn wait(self, deadline: Option<Instant>) -> Result<(M, Times), Unfinished> {
        let Self { event, memory, call, what } = self;
        let Some(status) = ended(&event, deadline) else { return Err(Unfinished::Late { what }) };
        // Ended, so the device is done with the memory, whatever the status is.
        let memory = ManuallyDrop::into_inner(memory);
        // The point of synchronisation: a callback alone does not promise that the memory is as the command left it.
        let synchronised = event.wait();
        if status < 0 {
            return Err(Unfinished::Failed { call, what, code: status });
        }
        synchronised.map_err(|e| Unfinished::Failed { call: "clWaitForEvents", what, code: e.0 })?;
        Ok((memory, Times(event)))
    }
}

/// The times of a command that has ended.
pub(super) struct Times(Owned<Event>);

impl Times {
    /// When it ran, where the runtime keeps times.
    pub(super) fn span(&self) -> Option<Span> {
        let start = self.0.profiling_command_start().ok()?;
        Some(Span { start, end: self.0.profiling_command_end().ok()? })
    }
}

/// Told by the runtime when a command has ended.
#[derive(Default)]
struct Signal {
    status: Mutex<Option<i32>>,
    changed: Condvar,
}

impl Signal {
    /// Waits at most so long for the status.
    fn wait(&self, time: Duration) -> Option<i32> {
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(status, time, |status| status.is_none());
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn tell(&self, status: i32) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
        self.changed.notify_all();
    }
}

extern "C" fn notify(_: cl_event, status: i32, signal: *mut c_void) {
    // SAFETY: the pointer came from `Arc::into_raw` in `ended`, which gave this one callback one reference.
    let signal = unsafe { Arc::from_raw(signal.cast_const().cast::<Signal>()) };
    signal.tell(status);
}

/// How often a command is asked for its status beside the callback, in case a runtime drops one.
const POLL: Duration = Duration::from_millis(100);
/// How long a command is asked again and again before this thread sleeps: about what waking it would take.
const LOOK: Duration = Duration::from_micros(50);

/// Waits for a command's end and gives its status; none if it has not ended in time. `clWaitForEvents` knows no
/// timeout, so the runtime calls back.
fn ended(event: &Event, deadline: Option<Instant>) -> Option<i32> {
    let end = || event.command_execution_status().ok().map(|s| s.0).filter(|&s| s <= CL_COMPLETE);
    if let Some(status) = end().or_else(|| look(end)) {
        return Some(status);
    }
    let signal = Arc::new(Signal::default());
    let raw = Arc::into_raw(Arc::clone(&signal)).cast_mut().cast::<c_void>();
    if event.set_callback(CL_COMPLETE, notify, raw).is_err() {
        // SAFETY: refused, so nobody else has the reference.
        drop(unsafe { Arc::from_raw(raw.cast_const().cast::<Signal>()) });
    }
    loop {
        let left = deadline.map_or(POLL, |d| d.saturating_duration_since(Instant::now()).min(POLL));
        // The lock is given back before the runtime is asked: it may hold a lock of its own while it calls back.
        if let Some(status) = signal.wait(left).or_else(end) {
            return Some(status);
        }
        if left.is_zero() {
            return None;
        }
    }
}

/// Asks again and again for a while, without giving the processor away: who gets it may keep it for long. Where there is
/// but one, whoever does the work needs it.
fn look(end: impl Fn() -> Option<i32>) -> Option<i32> {
    static SEVERAL: OnceLock<bool> = OnceLock::new();
    if !SEVERAL.get_or_init(|| std::thread::available_parallelism().is_ok_and(|n| n.get() > 1)) {
        return None;
    }
    let started = Instant::now();
    while started.elapsed() < LOOK {
        std::hint::spin_loop();
        if let Some(status) = end() {
            return Some(status);
        }
    }
    None
}
