//! The objects that a case needs, made when it asks for them.

use super::api::{Api, Stop, call, done, made, must};
use fastcar_arch::isa::{self, Command};
use fastcar_arch::program::Limits;
use fastcar_arch::step::StepTable;
use opencl_sys::*;
use std::cell::OnceCell;
use std::ffi::c_void;
use std::ptr;

/// Flag of AMD's extension: `host_ptr` points at an [`ExtPtr`].
pub const CL_MEM_EXT_PTR_XILINX: cl_mem_flags = 1 << 31;
/// Flag in [`ExtPtr::flags`]: the rest of the flags is an index into the image's memory topology.
pub const XCL_MEM_TOPOLOGY: u32 = 1 << 31;

/// AMD's `cl_mem_ext_ptr_t`: a buffer's memory bank, or the kernel argument whose bank it takes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ExtPtr {
    /// Bank with [`XCL_MEM_TOPOLOGY`], a bit per bank without it, or an argument's index with `kernel`.
    pub flags: u32,
    /// Host memory of the buffer.
    pub host: *mut c_void,
    /// Kernel of the argument.
    pub kernel: cl_kernel,
}

impl ExtPtr {
    /// A bank of the memory topology.
    #[must_use]
    pub fn bank(bank: u32) -> Self {
        Self { flags: bank | XCL_MEM_TOPOLOGY, host: ptr::null_mut(), kernel: ptr::null_mut() }
    }
}

/// Bytes of the buffers here: a whole page.
pub const PAGE: usize = 4096;

/// A library, an image, and what was made of them. A case runs once and its process ends: nothing is released.
pub struct World {
    api: Api,
    image: Vec<u8>,
    device: OnceCell<cl_device_id>,
    context: OnceCell<cl_context>,
    queue: OnceCell<cl_command_queue>,
    program: OnceCell<cl_program>,
    kernel: OnceCell<cl_kernel>,
}

/// The made object, or makes it.
fn once(cell: &OnceCell<*mut c_void>, make: impl FnOnce() -> Result<*mut c_void, Stop>) -> Made {
    if let Some(made) = cell.get() {
        return Ok(*made);
    }
    let made = make()?;
    Ok(*cell.get_or_init(|| made))
}

/// An object, or why there is none.
pub type Made = Result<*mut c_void, Stop>;

impl World {
    /// A world without objects.
    #[must_use]
    pub fn new(api: Api, image: Vec<u8>) -> Self {
        let (device, context, queue) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Self { api, image, device, context, queue, program: OnceCell::new(), kernel: OnceCell::new() }
    }

    pub(super) fn api(&self) -> &Api {
        &self.api
    }

    /// The platform.
    pub(super) fn platform(&self) -> cl_platform_id {
        self.api.platform()
    }

    /// The image's bytes.
    pub(super) fn image(&self) -> &[u8] {
        &self.image
    }

    /// The first device.
    pub(super) fn device(&self) -> Made {
        once(&self.device, || {
            let mut device = ptr::null_mut();
            let count = ptr::null_mut();
            must!(self, clGetDeviceIDs(self.platform(), CL_DEVICE_TYPE_ALL, 1, &raw mut device, count));
            Ok(device)
        })
    }

    /// A context of the first device, always the same.
    pub(super) fn context(&self) -> Made {
        once(&self.context, || self.new_context())
    }

    /// Another context of the first device.
    pub(super) fn new_context(&self) -> Made {
        let device = self.device()?;
        Ok(made!(self, clCreateContext(ptr::null(), 1, &raw const device, None, ptr::null_mut())))
    }

    /// A queue without properties, always the same.
    pub(super) fn queue(&self) -> Made {
        once(&self.queue, || self.queue_with(0))
    }

    /// A new queue.
    pub(super) fn queue_with(&self, properties: cl_command_queue_properties) -> Made {
        Ok(made!(self, clCreateCommandQueue(self.context()?, self.device()?, properties)))
    }

    /// A queue of another context.
    pub(super) fn foreign_queue(&self) -> Made {
        Ok(made!(self, clCreateCommandQueue(self.new_context()?, self.device()?, 0)))
    }

    /// The image as a program, always the same.
    pub(super) fn program(&self) -> Made {
        once(&self.program, || self.new_program(self.context()?))
    }

    /// The image as a new program.
    pub(super) fn new_program(&self, context: cl_context) -> Made {
        let (device, size, mut binary) = (self.device()?, self.image.len(), self.image.as_ptr());
        let (sizes, binaries) = (&raw const size, &raw mut binary);
        let ok = ptr::null_mut();
        Ok(made!(self, clCreateProgramWithBinary(context, 1, &raw const device, sizes, binaries, ok)))
    }

    /// The kernel, always the same, without arguments.
    pub(super) fn kernel(&self) -> Made {
        once(&self.kernel, || self.new_kernel())
    }

    /// A new kernel without arguments.
    pub(super) fn new_kernel(&self) -> Made {
        Ok(made!(self, clCreateKernel(self.program()?, c"fastcar".as_ptr())))
    }

    /// A page on the first bank of a loaded image.
    pub(super) fn placed(&self) -> Made {
        self.placed_with(CL_MEM_READ_WRITE, PAGE)
    }

    /// A buffer on the first bank of a loaded image.
    pub(super) fn placed_with(&self, flags: cl_mem_flags, size: usize) -> Made {
        self.program()?;
        self.on_bank(0, flags, size)
    }

    /// A page that the runtime is to place.
    pub(super) fn buffer(&self) -> Made {
        self.buffer_of(CL_MEM_READ_WRITE, PAGE)
    }

    /// A buffer that the runtime is to place.
    pub(super) fn buffer_of(&self, flags: cl_mem_flags, size: usize) -> Made {
        Ok(made!(self, clCreateBuffer(self.context()?, flags, size, ptr::null_mut())))
    }

    /// A page of another context.
    pub(super) fn foreign_buffer(&self) -> Made {
        Ok(made!(self, clCreateBuffer(self.new_context()?, CL_MEM_READ_WRITE, PAGE, ptr::null_mut())))
    }

    /// A page on a bank.
    pub(super) fn bank(&self, bank: u32) -> Made {
        self.on_bank(bank, CL_MEM_READ_WRITE, PAGE)
    }

    fn on_bank(&self, bank: u32, flags: cl_mem_flags, size: usize) -> Made {
        let mut place = ExtPtr::bank(bank);
        let flags = flags | CL_MEM_EXT_PTR_XILINX;
        Ok(made!(self, clCreateBuffer(self.context()?, flags, size, (&raw mut place).cast())))
    }

    /// Sets a pointer argument.
    pub(super) fn set_buffer(&self, kernel: cl_kernel, index: u32, buffer: cl_mem) -> Result<cl_int, Stop> {
        let value = (&raw const buffer).cast();
        Ok(call!(self, clSetKernelArg(kernel, index, size_of::<cl_mem>(), value)))
    }

    /// The kernel with all arguments set: a program that ends at once, and pages on the other arguments' banks.
    pub(super) fn armed(&self) -> Made {
        let kernel = self.kernel()?;
        let limits = Limits { slots: 1, positions: 32, ring: 1, tokens: 1, gates: 0 };
        let program = isa::encode(&[Command::End(isa::End::default())]);
        self.arm(kernel, 0, self.holding(&program)?)?;
        let (commands, size): (cl_uint, _) = (1, size_of::<cl_uint>());
        must!(self, clSetKernelArg(kernel, COMMANDS, size, (&raw const commands).cast()));
        self.arm(kernel, 2, self.holding(&StepTable::new(1, 0).to_bytes(limits))?)?;
        self.arm(kernel, 3, self.bank(0)?)?;
        let mut count: cl_uint = 0;
        let none = ptr::null_mut();
        must!(self, clGetKernelInfo(kernel, CL_KERNEL_NUM_ARGS, size, (&raw mut count).cast(), none));
        for index in CHANNEL0..count {
            self.arm(kernel, index, self.bank(index - CHANNEL0)?)?;
        }
        Ok(kernel)
    }

    fn arm(&self, kernel: cl_kernel, index: u32, buffer: cl_mem) -> Result<(), Stop> {
        done("clSetKernelArg", self.set_buffer(kernel, index, buffer)?)
    }

    /// A page on the first bank that starts with these bytes.
    fn holding(&self, bytes: &[u8]) -> Made {
        let (buffer, from) = (self.placed()?, bytes.as_ptr().cast());
        let (queue, none) = (self.queue()?, ptr::null_mut());
        must!(self, clEnqueueWriteBuffer(queue, buffer, CL_TRUE, 0, bytes.len(), from, 0, ptr::null(), none));
        Ok(buffer)
    }

    /// A user event that has not ended.
    pub(super) fn user_event(&self) -> Made {
        Ok(made!(self, clCreateUserEvent(self.context()?)))
    }

    /// The event of a buffer write on a queue; the write has ended.
    pub(super) fn write_event(&self, queue: cl_command_queue) -> Made {
        let (data, mut event) = ([0_u8; 64], ptr::null_mut());
        let (from, out) = (data.as_ptr().cast(), &raw mut event);
        must!(
            self,
            clEnqueueWriteBuffer(queue, self.placed()?, CL_TRUE, 0, data.len(), from, 0, ptr::null(), out)
        );
        Ok(event)
    }

    /// The event of a run on a queue that has ended.
    pub(super) fn run_event(&self, queue: cl_command_queue) -> Made {
        let mut event = ptr::null_mut();
        must!(self, clEnqueueTask(queue, self.armed()?, 0, ptr::null(), &raw mut event));
        must!(self, clFinish(queue));
        Ok(event)
    }
}

/// Index of the argument that is a number.
pub(super) const COMMANDS: cl_uint = 1;
/// Index of the first channel's argument.
pub(super) const CHANNEL0: cl_uint = 4;
