//! The interface as an application has it: its functions, found by name in this process or in the library, and a rig
//! with a device, an image and buffers.
#![allow(unsafe_code, reason = "calls of a C interface")]
#![allow(dead_code, reason = "each test uses a part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa::{Addr, Command, End, GateHost, Load, Pred, Store, VbLine};
use fastcar_arch::program::{Limits, Program};
use fastcar_arch::step::{ACTIVE, GateEntry, GateReport, SlotEntry, StepTable};
use fastcar_xclbin::image::FastcarImage;
use libloading::os::unix::Library;
use opencl_sys::*;
use std::ffi::{OsStr, c_void};
use std::path::PathBuf;
use std::ptr::{null, null_mut};

macro_rules! api {
    ($($name:ident($($ty:ty),*) -> $ret:ty;)*) => {
        /// The functions.
        #[allow(non_snake_case, reason = "named as the functions of the interface")]
        pub struct Cl {
            $(pub $name: unsafe extern "C" fn($($ty),*) -> $ret,)*
            _library: Library,
        }

        impl Cl {
            fn of(library: Library) -> Self {
                Self {
                    // SAFETY: the functions have the types of the specification.
                    $($name: unsafe { *library.get(stringify!($name).as_bytes()).unwrap() },)*
                    _library: library,
                }
            }
        }
    };
}

type Size = usize;
type Ptr = *mut c_void;
type Events = *const cl_event;

api! {
    clGetPlatformIDs(cl_uint, *mut cl_platform_id, *mut cl_uint) -> cl_int;
    clGetPlatformInfo(cl_platform_id, cl_uint, Size, Ptr, *mut Size) -> cl_int;
    clGetDeviceIDs(cl_platform_id, cl_bitfield, cl_uint, *mut cl_device_id, *mut cl_uint) -> cl_int;
    clGetDeviceInfo(cl_device_id, cl_uint, Size, Ptr, *mut Size) -> cl_int;
    clCreateContext(*const isize, cl_uint, *const cl_device_id, Ptr, Ptr, *mut cl_int) -> cl_context;
    clCreateContextFromType(*const isize, cl_bitfield, Ptr, Ptr, *mut cl_int) -> cl_context;
    clRetainContext(cl_context) -> cl_int;
    clReleaseContext(cl_context) -> cl_int;
    clGetContextInfo(cl_context, cl_uint, Size, Ptr, *mut Size) -> cl_int;
    clCreateCommandQueue(cl_context, cl_device_id, cl_bitfield, *mut cl_int) -> cl_command_queue;
    clCreateCommandQueueWithProperties(cl_context, cl_device_id, *const u64, *mut cl_int) -> cl_command_queue;
    clRetainCommandQueue(cl_command_queue) -> cl_int;
    clReleaseCommandQueue(cl_command_queue) -> cl_int;
    clGetCommandQueueInfo(cl_command_queue, cl_uint, Size, Ptr, *mut Size) -> cl_int;
    clFlush(cl_command_queue) -> cl_int;
    clFinish(cl_command_queue) -> cl_int;
    clCreateBuffer(cl_context, cl_bitfield, Size, Ptr, *mut cl_int) -> cl_mem;
    clCreateSubBuffer(cl_mem, cl_bitfield, cl_uint, *const c_void, *mut cl_int) -> cl_mem;
    clRetainMemObject(cl_mem) -> cl_int;
    clReleaseMemObject(cl_mem) -> cl_int;
    clGetMemObjectInfo(cl_mem, cl_uint, Size, Ptr, *mut Size) -> cl_int;
    clSetMemObjectDestructorCallback(cl_mem, Option<unsafe extern "C" fn(cl_mem, Ptr)>, Ptr) -> cl_int;
    clCreateProgramWithBinary(
        cl_context, cl_uint, *const cl_device_id, *const Size, *const *const u8, *mut cl_int, *mut cl_int
    ) -> cl_program;
    clCreateProgramWithSource(cl_context, cl_uint, Ptr, *const Size, *mut cl_int) -> cl_program;
    clBuildProgram(cl_program, cl_uint, *const cl_device_id, *const i8, Ptr, Ptr) -> cl_int;
    clRetainProgram(cl_program) -> cl_int;
    clReleaseProgram(cl_program) -> cl_int;
    clGetProgramInfo(cl_program, cl_uint, Size, Ptr, *mut Size) -> cl_int;
    clGetProgramBuildInfo(cl_program, cl_device_id, cl_uint, Size, Ptr, *mut Size) -> cl_int;
    clCreateKernel(cl_program, *const i8, *mut cl_int) -> cl_kernel;
    clCreateKernelsInProgram(cl_program, cl_uint, *mut cl_kernel, *mut cl_uint) -> cl_int;
    clRetainKernel(cl_kernel) -> cl_int;
    clReleaseKernel(cl_kernel) -> cl_int;
    clSetKernelArg(cl_kernel, cl_uint, Size, *const c_void) -> cl_int;
    clGetKernelInfo(cl_kernel, cl_uint, Size, Ptr, *mut Size) -> cl_int;
    clGetKernelArgInfo(cl_kernel, cl_uint, cl_uint, Size, Ptr, *mut Size) -> cl_int;
    clGetKernelWorkGroupInfo(cl_kernel, cl_device_id, cl_uint, Size, Ptr, *mut Size) -> cl_int;
    clEnqueueTask(cl_command_queue, cl_kernel, cl_uint, Events, *mut cl_event) -> cl_int;
    clEnqueueNDRangeKernel(
        cl_command_queue, cl_kernel, cl_uint, *const Size, *const Size, *const Size, cl_uint, Events, *mut cl_event
    ) -> cl_int;
    clEnqueueReadBuffer(
        cl_command_queue, cl_mem, cl_bool, Size, Size, Ptr, cl_uint, Events, *mut cl_event
    ) -> cl_int;
    clEnqueueWriteBuffer(
        cl_command_queue, cl_mem, cl_bool, Size, Size, *const c_void, cl_uint, Events, *mut cl_event
    ) -> cl_int;
    clEnqueueReadBufferRect(
        cl_command_queue, cl_mem, cl_bool, *const Size, *const Size, *const Size, Size, Size, Size, Size, Ptr,
        cl_uint, Events, *mut cl_event
    ) -> cl_int;
    clEnqueueWriteBufferRect(
        cl_command_queue, cl_mem, cl_bool, *const Size, *const Size, *const Size, Size, Size, Size, Size, *const c_void,
        cl_uint, Events, *mut cl_event
    ) -> cl_int;
    clEnqueueCopyBuffer(
        cl_command_queue, cl_mem, cl_mem, Size, Size, Size, cl_uint, Events, *mut cl_event
    ) -> cl_int;
    clEnqueueCopyBufferRect(
        cl_command_queue, cl_mem, cl_mem, *const Size, *const Size, *const Size, Size, Size, Size, Size, cl_uint,
        Events, *mut cl_event
    ) -> cl_int;
    clEnqueueFillBuffer(
        cl_command_queue, cl_mem, *const c_void, Size, Size, Size, cl_uint, Events, *mut cl_event
    ) -> cl_int;
    clEnqueueMapBuffer(
        cl_command_queue, cl_mem, cl_bool, cl_bitfield, Size, Size, cl_uint, Events, *mut cl_event, *mut cl_int
    ) -> Ptr;
    clEnqueueUnmapMemObject(cl_command_queue, cl_mem, Ptr, cl_uint, Events, *mut cl_event) -> cl_int;
    clEnqueueMigrateMemObjects(
        cl_command_queue, cl_uint, *const cl_mem, cl_bitfield, cl_uint, Events, *mut cl_event
    ) -> cl_int;
    clEnqueueMarker(cl_command_queue, *mut cl_event) -> cl_int;
    clEnqueueBarrier(cl_command_queue) -> cl_int;
    clEnqueueWaitForEvents(cl_command_queue, cl_uint, Events) -> cl_int;
    clEnqueueMarkerWithWaitList(cl_command_queue, cl_uint, Events, *mut cl_event) -> cl_int;
    clEnqueueBarrierWithWaitList(cl_command_queue, cl_uint, Events, *mut cl_event) -> cl_int;
    clWaitForEvents(cl_uint, Events) -> cl_int;
    clGetEventInfo(cl_event, cl_uint, Size, Ptr, *mut Size) -> cl_int;
    clGetEventProfilingInfo(cl_event, cl_uint, Size, Ptr, *mut Size) -> cl_int;
    clCreateUserEvent(cl_context, *mut cl_int) -> cl_event;
    clSetUserEventStatus(cl_event, cl_int) -> cl_int;
    clSetEventCallback(cl_event, cl_int, Option<unsafe extern "C" fn(cl_event, cl_int, Ptr)>, Ptr) -> cl_int;
    clRetainEvent(cl_event) -> cl_int;
    clReleaseEvent(cl_event) -> cl_int;
    clCreateImage2D(cl_context, cl_bitfield, Ptr, Size, Size, Size, Ptr, *mut cl_int) -> cl_mem;
    clCreateSampler(cl_context, cl_bool, cl_uint, cl_uint, *mut cl_int) -> cl_sampler;
    clEnqueueNativeKernel(
        cl_command_queue, Ptr, Ptr, Size, cl_uint, Ptr, Ptr, cl_uint, Events, *mut cl_event
    ) -> cl_int;
    clLinkProgram(cl_context, cl_uint, Ptr, Ptr, cl_uint, Ptr, Ptr, Ptr, *mut cl_int) -> cl_program;
    clCompileProgram(cl_program, cl_uint, Ptr, Ptr, cl_uint, Ptr, Ptr, Ptr, Ptr) -> cl_int;
    clGetExtensionFunctionAddress(*const i8) -> Ptr;
    clSVMAlloc(cl_context, cl_bitfield, Size, cl_uint) -> Ptr;
    clGetSupportedImageFormats(cl_context, cl_bitfield, cl_uint, cl_uint, Ptr, *mut cl_uint) -> cl_int;
    clSetCommandQueueProperty(cl_command_queue, cl_bitfield, cl_bool, Ptr) -> cl_int;
}

impl Cl {
    /// The platform that is linked into this process.
    pub fn linked() -> Self {
        assert!(fastcar_icd::link() > 100);
        Self::of(Library::this())
    }

    /// The platform as a library of its own.
    pub fn library() -> Self {
        Self::open(library_path().as_os_str())
    }

    /// Any OpenCL library.
    pub fn open(path: &OsStr) -> Self {
        // SAFETY: the initialisers of an OpenCL library ask nothing of the process.
        Self::of(unsafe { Library::new(path) }.unwrap())
    }
}

/// The library, which is built with the tests.
pub fn library_path() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let deps = exe.parent().unwrap();
    let found = [deps.join("libfastcar_icd.so"), deps.join("../libfastcar_icd.so")];
    found.into_iter().find(|p| p.exists()).expect("libfastcar_icd.so is built with the tests")
}

/// The vendor's account of where a buffer lies.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Extension {
    pub flags: u32,
    pub host_ptr: Ptr,
    pub param: Ptr,
}

/// `CL_MEM_EXT_PTR_XILINX`, and in an extension "index of a bank".
pub const EXTENSION: u64 = 1 << 31;
pub const TOPOLOGY: u32 = 1 << 31;

pub const LIMITS: Limits = Limits { slots: 4, positions: 64, ring: 1, tokens: 1, gates: 1 };
pub const WORDS: u32 = 64;
pub const INPUT: u64 = 0;
pub const OUTPUT: u64 = 0x1_0000;
pub const STRIDE: u64 = 0x1000;
/// Bytes of the channels' buffers.
pub const CHANNEL: usize = 1 << 18;

/// A program that copies a vector for every active slot and lets the host decide on a replay.
pub fn copying(config: &AccelConfig) -> Program {
    let commands: Vec<Command> = vec![
        Load { dst: VbLine(0), words: WORDS, addr: Addr(INPUT), slot_stride: STRIDE, ..Load::default() }
            .into(),
        GateHost { gate: 0, ..GateHost::default() }.into(),
        Store {
            pred: Pred::Compute,
            src: VbLine(0),
            words: WORDS,
            addr: Addr(OUTPUT),
            slot_stride: STRIDE,
            ..Store::default()
        }
        .into(),
        End::default().into(),
    ];
    Program::new(config, LIMITS, commands).unwrap()
}

/// A step of the first slots; slot 1 is made to replay where it is active.
pub fn step(config: &AccelConfig, active: usize) -> StepTable {
    let mut table = StepTable::new(config.slots().min(LIMITS.slots) as usize, 1);
    for slot in &mut table.slots[..active] {
        *slot = SlotEntry { flags: ACTIVE, pos: 5, ring: 0, ..SlotEntry::idle() };
    }
    table.gates[0] = GateEntry { allow: 2, force: 2 };
    table
}

/// Bytes of a report.
pub const REPORT: usize = size_of::<GateReport>();

/// A device with an image: context, queue, program, kernel and the buffers of a run.
pub struct Rig {
    pub cl: Cl,
    pub config: AccelConfig,
    pub platform: cl_platform_id,
    pub device: cl_device_id,
    pub context: cl_context,
    pub queue: cl_command_queue,
    pub program: cl_program,
    pub kernel: cl_kernel,
    /// PROGRAM, STEP, REPORT, CHANNEL0 and so on.
    pub buffers: Vec<cl_mem>,
}

/// The image of a preset.
pub fn image(preset: &str) -> Vec<u8> {
    FastcarImage::simulator(&AccelConfig::preset(preset).unwrap()).unwrap().to_bytes()
}

impl Rig {
    /// A rig on the first device, whose preset this is.
    pub fn new(cl: Cl, preset: &str, properties: u64) -> Self {
        Self::with_notify(cl, preset, properties, null_mut(), null_mut())
    }

    /// As [`Rig::new`], with a context that tells of errors.
    pub fn with_notify(cl: Cl, preset: &str, properties: u64, notify: Ptr, data: Ptr) -> Self {
        let config = AccelConfig::preset(preset).unwrap();
        let (mut platform, mut device, mut code) = (null_mut(), null_mut(), -1);
        // SAFETY: every call is as the specification asks.
        unsafe {
            assert_eq!((cl.clGetPlatformIDs)(1, &raw mut platform, null_mut()), 0);
            let kind = CL_DEVICE_TYPE_ACCELERATOR;
            assert_eq!((cl.clGetDeviceIDs)(platform, kind, 1, &raw mut device, null_mut()), 0);
            let context = (cl.clCreateContext)(null(), 1, &raw const device, notify, data, &raw mut code);
            assert_eq!(code, 0);
            let queue = (cl.clCreateCommandQueue)(context, device, properties, &raw mut code);
            assert_eq!(code, 0);
            let image = image(preset);
            let (length, bytes) = (image.len(), image.as_ptr());
            let mut status = -1;
            let program = (cl.clCreateProgramWithBinary)(
                context,
                1,
                &raw const device,
                &raw const length,
                &raw const bytes,
                &raw mut status,
                &raw mut code,
            );
            assert_eq!((status, code), (0, 0));
            let kernel = (cl.clCreateKernel)(program, c"fastcar".as_ptr(), &raw mut code);
            assert_eq!(code, 0);
            let buffers = Vec::new();
            let mut rig = Self { cl, config, platform, device, context, queue, program, kernel, buffers };
            rig.make_buffers();
            rig
        }
    }

    fn make_buffers(&mut self) {
        let channels = self.config.channels() as usize;
        let mut sizes = vec![(0, 1 << 16), (0, 1 << 14), (0, 1 << 14)];
        sizes.extend((0..channels).map(|c| (c as u32, CHANNEL)));
        self.buffers = sizes.into_iter().map(|(bank, size)| self.buffer(bank, size).unwrap()).collect();
        for (i, mem) in self.buffers.clone().iter().enumerate() {
            let index = if i == 0 { 0 } else { i as u32 + 1 };
            assert_eq!(self.set(index, mem), 0, "argument {index}");
        }
    }

    /// A buffer in a bank.
    pub fn buffer(&self, bank: u32, size: usize) -> Result<cl_mem, cl_int> {
        let mut extension = Extension { flags: TOPOLOGY | bank, host_ptr: null_mut(), param: null_mut() };
        let mut code = -1;
        let flags = CL_MEM_READ_WRITE | EXTENSION;
        // SAFETY: the extension is as the flag asks.
        let mem = unsafe {
            (self.cl.clCreateBuffer)(self.context, flags, size, (&raw mut extension).cast(), &raw mut code)
        };
        if code == 0 { Ok(mem) } else { Err(code) }
    }

    /// Sets an argument.
    pub fn set<T>(&self, index: u32, value: &T) -> cl_int {
        // SAFETY: the value is there.
        unsafe {
            (self.cl.clSetKernelArg)(self.kernel, index, size_of::<T>(), std::ptr::from_ref(value).cast())
        }
    }

    pub fn write(&self, mem: cl_mem, offset: usize, bytes: &[u8]) {
        // SAFETY: a blocking write of bytes that are there.
        let code = unsafe {
            (self.cl.clEnqueueWriteBuffer)(
                self.queue,
                mem,
                CL_TRUE,
                offset,
                bytes.len(),
                bytes.as_ptr().cast(),
                0,
                null(),
                null_mut(),
            )
        };
        assert_eq!(code, 0);
    }

    pub fn read(&self, mem: cl_mem, offset: usize, size: usize) -> Vec<u8> {
        let mut bytes = vec![0xee; size];
        // SAFETY: a blocking read into bytes that are there.
        let code = unsafe {
            (self.cl.clEnqueueReadBuffer)(
                self.queue,
                mem,
                CL_TRUE,
                offset,
                size,
                bytes.as_mut_ptr().cast(),
                0,
                null(),
                null_mut(),
            )
        };
        assert_eq!(code, 0);
        bytes
    }

    /// Writes a program and its number of commands.
    pub fn load(&self, program: &Program) {
        self.write(self.buffers[0], 0, &fastcar_arch::isa::encode(program.commands()));
        assert_eq!(self.set(1, &(program.commands().len() as u32)), 0);
    }

    /// Enqueues a run; its event.
    pub fn run(&self) -> Result<cl_event, cl_int> {
        let mut event = null_mut();
        // SAFETY: no wait list.
        match unsafe { (self.cl.clEnqueueTask)(self.queue, self.kernel, 0, null(), &raw mut event) } {
            0 => Ok(event),
            code => Err(code),
        }
    }

    /// Waits for an event; its status then.
    pub fn wait(&self, event: cl_event) -> cl_int {
        // SAFETY: one live event.
        let code = unsafe { (self.cl.clWaitForEvents)(1, &raw const event) };
        let status = self.status(event);
        assert_eq!(code == 0, status == 0, "wait {code}, status {status}");
        status
    }

    /// The status of an event.
    pub fn status(&self, event: cl_event) -> cl_int {
        let mut status = 99;
        let query = CL_EVENT_COMMAND_EXECUTION_STATUS;
        // SAFETY: room for a status.
        let code = unsafe { (self.cl.clGetEventInfo)(event, query, 4, (&raw mut status).cast(), null_mut()) };
        assert_eq!(code, 0);
        status
    }

    /// QUEUED, SUBMIT, START and END of an event.
    pub fn times(&self, event: cl_event) -> [u64; 4] {
        std::array::from_fn(|i| {
            let mut time = u64::MAX;
            let query = CL_PROFILING_COMMAND_QUEUED + i as u32;
            // SAFETY: room for a time.
            let code = unsafe {
                (self.cl.clGetEventProfilingInfo)(event, query, 8, (&raw mut time).cast(), null_mut())
            };
            assert_eq!(code, 0);
            time
        })
    }

    /// The program's build log.
    pub fn log(&self) -> String {
        let (mut bytes, mut size) = (vec![0u8; 1 << 16], 0);
        // SAFETY: room for the text.
        let code = unsafe {
            (self.cl.clGetProgramBuildInfo)(
                self.program,
                self.device,
                CL_PROGRAM_BUILD_LOG,
                bytes.len(),
                bytes.as_mut_ptr().cast(),
                &raw mut size,
            )
        };
        assert_eq!(code, 0);
        String::from_utf8(bytes[..size - 1].to_vec()).unwrap()
    }

    pub fn release_event(&self, event: cl_event) {
        // SAFETY: a live event.
        assert_eq!(unsafe { (self.cl.clReleaseEvent)(event) }, 0);
    }

    /// Releases everything.
    pub fn close(self) {
        // SAFETY: every object is released once.
        unsafe {
            for mem in self.buffers {
                assert_eq!((self.cl.clReleaseMemObject)(mem), 0);
            }
            assert_eq!((self.cl.clReleaseKernel)(self.kernel), 0);
            assert_eq!((self.cl.clReleaseProgram)(self.program), 0);
            assert_eq!((self.cl.clReleaseCommandQueue)(self.queue), 0);
            assert_eq!((self.cl.clReleaseContext)(self.context), 0);
        }
    }
}

/// Whether this is the process in which a test is to run: else it is run in one with these variables, and its output
/// shown. The platform reads its environment once, so tests that need different ones have processes of their own.
pub fn in_process_with(test: &str, environment: &[(&str, &str)]) -> bool {
    const MARK: &str = "FASTCAR_TEST_PROCESS";
    if std::env::var(MARK).is_ok_and(|v| v == test) {
        return true;
    }
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(MARK, test);
    for name in std::env::vars().map(|v| v.0).filter(|n| n.starts_with("FASTCAR_SIM_")) {
        command.env_remove(name);
    }
    let output = command.envs(environment.iter().copied()).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{test}:\n{out}\n{err}");
    assert!(out.contains("1 passed"), "{test} did not run:\n{out}");
    false
}
