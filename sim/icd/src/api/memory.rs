//! Memory objects.

use super::handle;
use super::host::{HostSide, Raw};
use super::info::{self, Place};
use super::table::MemNotify;
use crate::context::Context;
use crate::kernel::Kernel;
use crate::memory::{ALIGNMENT, Buffer};
use crate::refusal::{Answer, Refusal};
use opencl_sys as cl;
use opencl_sys::{cl_buffer_create_type, cl_buffer_region, cl_context, cl_map_flags, cl_mem, cl_mem_flags};
use opencl_sys::{cl_kernel, cl_mem_properties, cl_uint};
use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The vendor's flag: `host_ptr` points to a [`MemExtension`]. C callers shift a signed 1, so higher bits come with it.
const EXTENSION: cl_mem_flags = 1 << 31;
/// The bits that flags have.
const FLAG_BITS: cl_mem_flags = 0xffff_ffff;
/// In a [`MemExtension`]: the other bits are the index of a bank in the image's memory topology.
const TOPOLOGY: u32 = 1 << 31;
/// In a [`MemExtension`] without [`TOPOLOGY`]: one bit for each of the first banks.
const LEGACY_BANKS: u32 = 0xf;

const ACCESS: cl_mem_flags = cl::CL_MEM_READ_WRITE | cl::CL_MEM_WRITE_ONLY | cl::CL_MEM_READ_ONLY;
const HOST_ACCESS: cl_mem_flags =
    cl::CL_MEM_HOST_WRITE_ONLY | cl::CL_MEM_HOST_READ_ONLY | cl::CL_MEM_HOST_NO_ACCESS;
const HOST_POINTER: cl_mem_flags =
    cl::CL_MEM_USE_HOST_PTR | cl::CL_MEM_ALLOC_HOST_PTR | cl::CL_MEM_COPY_HOST_PTR;

/// The vendor's account of where a buffer lies.
#[derive(Clone, Copy)]
#[repr(C)]
struct MemExtension {
    flags: u32,
    host_ptr: *mut c_void,
    /// A kernel, whose argument `flags` then numbers.
    param: *mut c_void,
}

/// A part of a buffer that is mapped.
#[derive(Clone, Copy)]
pub(super) struct Mapping {
    pub(super) start: Raw,
    pub(super) offset: usize,
    pub(super) size: usize,
    pub(super) flags: cl_map_flags,
}

/// A buffer or sub-buffer as the application knows it.
pub(super) struct MemObject {
    pub(super) buffer: Arc<Buffer>,
    pub(super) context: Arc<Context>,
    pub(super) flags: cl_mem_flags,
    /// The host's side of the whole buffer, shared with its parts: pages once it is mapped.
    host: Arc<OnceLock<HostSide>>,
    mappings: Mutex<Vec<Mapping>>,
    is_part: bool,
}

impl MemObject {
    /// The host's side of this object.
    pub(super) fn host_side(&self) -> Answer<Raw> {
        if self.host.get().is_none() {
            let pages = HostSide::pages(self.buffer.whole_size() as usize)?;
            // Where two threads map for the first time, the pages of one of them are dropped unused.
            let _ = self.host.set(pages);
        }
        let none = || Refusal::new(cl::CL_MAP_FAILURE, "the buffer has no memory on the host");
        let side = self.host.get().ok_or_else(none)?;
        Ok(side.start().offset(self.buffer.origin() as usize))
    }

    /// The caller's memory, if the object uses that.
    pub(super) fn callers_memory(&self) -> Option<Raw> {
        match self.host.get() {
            Some(side @ HostSide::Caller(_)) => Some(side.start().offset(self.buffer.origin() as usize)),
            _ => None,
        }
    }

    pub(super) fn mappings(&self) -> MutexGuard<'_, Vec<Mapping>> {
        self.mappings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_flags(flags: cl_mem_flags) -> Answer<()> {
    let refuse = |reason: &str| Err(Refusal::value(format!("memory flags {flags:#x}: {reason}")));
    if flags & !(ACCESS | HOST_ACCESS | HOST_POINTER | EXTENSION) != 0 {
        return refuse("a bit is not known");
    }
    // Access of kernels, and access of the host: one kind each.
    if (flags & ACCESS).count_ones() > 1 || (flags & HOST_ACCESS).count_ones() > 1 {
        return refuse("more than one kind of access is asked for");
    }
    // Memory of the caller is used as it is: neither copied nor allocated.
    if flags & cl::CL_MEM_USE_HOST_PTR != 0 && flags & HOST_POINTER != cl::CL_MEM_USE_HOST_PTR {
        return refuse("CL_MEM_USE_HOST_PTR excludes CL_MEM_ALLOC_HOST_PTR and CL_MEM_COPY_HOST_PTR");
    }
    Ok(())
}

/// The bank that an extension asks for; none where the first kernel argument is to settle it.
fn bank_of(extension: &MemExtension) -> Answer<Option<u32>> {
    let flags = extension.flags;
    if !extension.param.is_null() {
        let kernel: cl_kernel = extension.param;
        let kernel = handle::get::<Kernel>(kernel)?;
        return kernel.bank(flags & !TOPOLOGY).map(Some);
    }
    if flags & TOPOLOGY != 0 {
        return Ok(Some(flags & !TOPOLOGY));
    }
    match flags & LEGACY_BANKS {
        0 => Ok(None),
        bits => Ok(Some(bits.trailing_zeros())),
    }
}

/// The caller's memory and the bank, from an extension where the flags announce one.
unsafe fn extension(flags: cl_mem_flags, host_ptr: *mut c_void) -> Answer<(*mut c_void, Option<u32>)> {
    if flags & EXTENSION == 0 {
        return Ok((host_ptr, None));
    }
    // SAFETY: with this flag the pointer is null or points to an extension.
    let extension = unsafe { host_ptr.cast::<MemExtension>().as_ref() };
    let extension = extension.ok_or_else(|| {
        Refusal::new(cl::CL_INVALID_HOST_PTR, "CL_MEM_EXT_PTR_XILINX without an extension to point to")
    })?;
    Ok((extension.host_ptr, bank_of(extension)?))
}

pub(super) unsafe fn create(
    context: cl_context,
    flags: cl_mem_flags,
    size: usize,
    host_ptr: *mut c_void,
) -> Answer<cl_mem> {
    let object = handle::get::<Context>(context)?;
    let flags = flags & FLAG_BITS;
    check_flags(flags)?;
    // SAFETY: what the specification and the vendor's extension ask of the caller.
    let (host_ptr, bank) = unsafe { extension(flags, host_ptr)? };
    // A pointer is given exactly where a flag uses one.
    let uses_pointer = flags & (cl::CL_MEM_USE_HOST_PTR | cl::CL_MEM_COPY_HOST_PTR) != 0;
    if uses_pointer == host_ptr.is_null() {
        let text = format!("memory flags {flags:#x} and host pointer {host_ptr:p}: one needs the other");
        return Err(Refusal::new(cl::CL_INVALID_HOST_PTR, text));
    }
    let buffer = allocate(&object, size as u64, bank)?;
    if uses_pointer {
        // SAFETY: the caller gives `size` bytes to read.
        buffer.with(|bytes| unsafe { Raw(host_ptr).read(bytes) });
    }
    let host = OnceLock::new();
    if flags & cl::CL_MEM_USE_HOST_PTR != 0 {
        let _ = host.set(HostSide::Caller(Raw(host_ptr)));
    }
    let mem = MemObject {
        buffer: Arc::new(buffer),
        context: object,
        flags,
        host: Arc::new(host),
        mappings: Mutex::default(),
        is_part: false,
    };
    Ok(handle::create(Arc::new(mem), &[context]))
}

/// A buffer for a context; in its bank already, if there is one and only one device.
fn allocate(context: &Context, size: u64, bank: Option<u32>) -> Answer<Buffer> {
    let largest = context.devices.iter().filter_map(|d| d.banks().capacities().max()).max().unwrap_or(0);
    // A size is above 0 and at most what one of the devices can give at once.
    if size == 0 || size > largest {
        let text = format!("{size} bytes: a buffer has 1 to {largest} bytes on these devices");
        return Err(Refusal::new(cl::CL_INVALID_BUFFER_SIZE, text));
    }
    if let Some(bank) = bank {
        context.devices.iter().try_for_each(|d| d.banks().check(bank))?;
    }
    let buffer = Buffer::new(size, bank)?;
    if let Some(device) = context.single() {
        buffer.reside(device.index, &device.banks())?;
    }
    Ok(buffer)
}

pub(super) unsafe fn create_with_properties(
    context: cl_context,
    properties: *const cl_mem_properties,
    flags: cl_mem_flags,
    size: usize,
    host_ptr: *mut c_void,
) -> Answer<cl_mem> {
    // SAFETY: null, or a list that ends with a 0.
    if let Some(&name) = unsafe { properties.as_ref() }
        && name != 0
    {
        let text = format!("memory property {name:#x} is not supported");
        return Err(Refusal::new(cl::CL_INVALID_PROPERTY, text));
    }
    // SAFETY: the same arguments.
    unsafe { create(context, flags, size, host_ptr) }
}

pub(super) unsafe fn create_sub(
    buffer: cl_mem,
    flags: cl_mem_flags,
    kind: cl_buffer_create_type,
    region: *const c_void,
) -> Answer<cl_mem> {
    let whole = handle::get::<MemObject>(buffer)?;
    // A part of a part is not allowed.
    if whole.is_part {
        return Err(Refusal::new(cl::CL_INVALID_MEM_OBJECT, "a sub-buffer has no sub-buffers"));
    }
    let flags = flags & FLAG_BITS;
    check_flags(flags)?;
    let kept = inherited(whole.flags, flags)?;
    // The only kind there is, with a region.
    if kind != cl::CL_BUFFER_CREATE_TYPE_REGION || region.is_null() {
        return Err(Refusal::value(format!("sub-buffer of type {kind:#x}, region at {region:p}")));
    }
    // SAFETY: with this type the pointer points to a region.
    let cl_buffer_region { origin, size } = unsafe { region.cast::<cl_buffer_region>().read_unaligned() };
    let (origin, size, limit) = (origin as u64, size as u64, whole.buffer.size());
    if size == 0 {
        return Err(Refusal::new(cl::CL_INVALID_BUFFER_SIZE, "a sub-buffer of 0 bytes"));
    }
    if origin.checked_add(size).is_none_or(|end| end > limit) {
        let text = format!("a sub-buffer of {size} bytes from byte {origin} of a buffer of {limit}");
        return Err(Refusal::value(text));
    }
    // The origin is a multiple of what the device says of its addresses.
    if !origin.is_multiple_of(ALIGNMENT) {
        let text = format!("a sub-buffer from byte {origin}: it must begin at a multiple of {ALIGNMENT}");
        return Err(Refusal::new(cl::CL_MISALIGNED_SUB_BUFFER_OFFSET, text));
    }
    let part = MemObject {
        buffer: Arc::new(whole.buffer.part(origin, size)),
        context: whole.context.clone(),
        flags: kept,
        host: whole.host.clone(),
        mappings: Mutex::default(),
        is_part: true,
    };
    let context = handle::parent::<Context>(buffer);
    Ok(handle::create(Arc::new(part), &[context, buffer]))
}

/// The flags of a part: what is not said is as for the whole, and nothing may be allowed that is not there.
fn inherited(whole: cl_mem_flags, part: cl_mem_flags) -> Answer<cl_mem_flags> {
    let refuse = || {
        let text = format!("sub-buffer flags {part:#x} do not go with the buffer's {whole:#x}");
        Err(Refusal::value(text))
    };
    if part & (HOST_POINTER | EXTENSION) != 0 {
        return refuse();
    }
    let clash = |narrow, wide| whole & narrow != 0 && part & wide != 0;
    let (reads, writes) = (cl::CL_MEM_READ_ONLY, cl::CL_MEM_WRITE_ONLY);
    let (host_reads, host_writes) = (cl::CL_MEM_HOST_READ_ONLY, cl::CL_MEM_HOST_WRITE_ONLY);
    let clashes = clash(reads, writes | cl::CL_MEM_READ_WRITE)
        || clash(writes, reads | cl::CL_MEM_READ_WRITE)
        || clash(host_reads, host_writes)
        || clash(host_writes, host_reads)
        || clash(cl::CL_MEM_HOST_NO_ACCESS, host_reads | host_writes);
    if clashes {
        return refuse();
    }
    let choose = |mask| if part & mask == 0 { whole & mask } else { part & mask };
    Ok(choose(ACCESS) | choose(HOST_ACCESS) | whole & HOST_POINTER)
}

pub(super) unsafe fn retain(mem: cl_mem) -> Answer<()> {
    handle::retain::<MemObject>(mem)
}

pub(super) unsafe fn release(mem: cl_mem) -> Answer<()> {
    handle::release::<MemObject>(mem)
}

pub(super) unsafe fn set_destructor_callback(
    mem: cl_mem,
    notify: MemNotify,
    user_data: *mut c_void,
) -> Answer<()> {
    let object = handle::get::<MemObject>(mem)?;
    let function = notify.ok_or_else(|| Refusal::value("no function to call"))?;
    let (mem, data) = (Raw(mem), Raw(user_data));
    object.buffer.on_drop(Box::new(move || {
        let (mem, data) = (mem, data);
        // SAFETY: the caller's function, with its own data. The handle only names what is gone.
        unsafe { function(mem.0, data.0) };
    }));
    Ok(())
}

pub(super) unsafe fn info(
    handle: cl_mem,
    query: cl_uint,
    size: usize,
    value: *mut c_void,
    size_ret: *mut usize,
) -> Answer<()> {
    let mem = handle::get::<MemObject>(handle)?;
    let bytes = match query {
        cl::CL_MEM_TYPE => info::u32(cl::CL_MEM_OBJECT_BUFFER),
        cl::CL_MEM_FLAGS => info::u64(mem.flags),
        cl::CL_MEM_SIZE => info::size(mem.buffer.size() as usize),
        cl::CL_MEM_HOST_PTR => {
            info::handle(mem.callers_memory().map_or(std::ptr::null_mut(), |pointer| pointer.0))
        }
        cl::CL_MEM_MAP_COUNT => info::u32(mem.mappings().len() as u32),
        cl::CL_MEM_REFERENCE_COUNT => info::u32(handle::references(handle)),
        cl::CL_MEM_CONTEXT => info::handle(handle::parent::<Context>(handle)),
        cl::CL_MEM_ASSOCIATED_MEMOBJECT => info::handle(handle::parent::<MemObject>(handle)),
        cl::CL_MEM_OFFSET => info::size(mem.buffer.origin() as usize),
        _ => return Err(info::unknown(query)),
    };
    // SAFETY: what the specification asks of the caller.
    unsafe { Place { size, value, size_ret }.give(&bytes) }
}
