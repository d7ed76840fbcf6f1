//! Commands.
#![allow(clippy::too_many_arguments, reason = "the functions of the interface have as many")]

use super::event::{failed_wait, wait_list};
use super::handle::{self, EventObject};
use super::host::Raw;
use super::info;
use super::memory::{Mapping, MemObject};
use super::rect::Rect;
use crate::context::{Context, Queue};
use crate::engine::{Command, Event, Nanos, Unit, Work};
use crate::kernel::Kernel;
use crate::memory::Buffer;
use crate::refusal::{Answer, Refusal};
use opencl_sys as cl;
use opencl_sys::{cl_bool, cl_command_queue, cl_event, cl_kernel, cl_map_flags, cl_mem};
use opencl_sys::{cl_command_type, cl_mem_migration_flags, cl_uint};
use std::ffi::c_void;
use std::sync::Arc;

/// A command queue, what the command waits for and where its event goes.
struct Target {
    queue: Arc<Queue>,
    handle: cl_command_queue,
    list: Vec<Arc<Event>>,
    event: *mut cl_event,
}

impl Target {
    /// Checks queue and wait list.
    ///
    /// # Safety
    /// `events` points to `count` handles, or is null; `event` is null or writable.
    unsafe fn new(
        handle: cl_command_queue,
        count: cl_uint,
        events: *const cl_event,
        event: *mut cl_event,
    ) -> Answer<Self> {
        let queue = handle::get::<Queue>(handle)?;
        // SAFETY: as the caller promises.
        let list = unsafe { wait_list(&queue.context, count, events)? };
        Ok(Self { queue, handle, list, event })
    }

    /// A buffer of the queue's context, in the memory of its device.
    fn memory(&self, mem: cl_mem) -> Answer<Arc<MemObject>> {
        let mem = handle::get::<MemObject>(mem)?;
        if !Arc::ptr_eq(&mem.context, &self.queue.context) {
            let text = "the buffer belongs to another context than the queue";
            return Err(Refusal::new(cl::CL_INVALID_CONTEXT, text));
        }
        let device = &self.queue.device;
        mem.buffer.settle_on_only(&device.banks())?;
        mem.buffer.reside(device.index, &device.banks())?;
        Ok(mem)
    }

    /// Enqueues; waits, if that is asked for; and gives the event.
    ///
    /// # Safety
    /// As [`Target::new`].
    unsafe fn submit(self, kind: cl_command_type, command: Command, blocking: bool) -> Answer<()> {
        let queue = &self.queue;
        let event = queue.engine.submit(queue.line, command, &self.list);
        if blocking {
            failed_wait(queue.engine.wait(std::slice::from_ref(&event)))?;
        }
        if !self.event.is_null() {
            let (context, profiles) = (queue.context.clone(), queue.profiles());
            let object = EventObject { event, context, command: kind, profiles };
            let parents = [handle::parent::<Context>(self.handle), self.handle];
            // SAFETY: writable, as the caller promises.
            unsafe { self.event.write(handle::create(Arc::new(object), &parents)) };
        }
        Ok(())
    }

    /// Enqueues a transfer.
    ///
    /// # Safety
    /// As [`Target::new`].
    unsafe fn transfer(
        self,
        kind: cl_command_type,
        unit: Unit,
        time: Nanos,
        blocking: bool,
        copy: impl FnOnce() + Send + 'static,
    ) -> Answer<()> {
        let work = self.queue.device.transfer(time, copy);
        // SAFETY: as the caller promises.
        unsafe { self.submit(kind, Command::Run(unit, work), blocking) }
    }

    fn to_device(&self, bytes: u64) -> Nanos {
        self.queue.device.link.to_device(bytes)
    }

    fn to_host(&self, bytes: u64) -> Nanos {
        self.queue.device.link.to_host(bytes)
    }
}

/// The range lies within the buffer and is not empty.
fn check_range(buffer: &Buffer, offset: usize, size: usize) -> Answer<()> {
    let found = buffer.size();
    let end = offset.checked_add(size).map(|end| end as u64);
    if size > 0 && end.is_some_and(|end| end <= found) {
        return Ok(());
    }
    Err(Refusal::value(format!("{size} bytes from byte {offset} of a buffer of {found} bytes")))
}

fn check_pointer(pointer: *const c_void) -> Answer<()> {
    if pointer.is_null() { Err(Refusal::value("a null pointer for the host's memory")) } else { Ok(()) }
}

/// The host may not read, or write, a buffer that was made so.
fn check_host_access(mem: &MemObject, forbidden: cl::cl_mem_flags) -> Answer<()> {
    if mem.flags & (forbidden | cl::CL_MEM_HOST_NO_ACCESS) == 0 {
        return Ok(());
    }
    let text = format!("the buffer's flags {:#x} forbid this access of the host", mem.flags);
    Err(Refusal::new(cl::CL_INVALID_OPERATION, text))
}

pub(super) unsafe fn read_buffer(
    queue: cl_command_queue,
    mem: cl_mem,
    blocking: cl_bool,
    offset: usize,
    size: usize,
    pointer: *mut c_void,
    count: cl_uint,
    events: *const cl_event,
    event: *mut cl_event,
) -> Answer<()> {
    // SAFETY: what the specification asks of the caller.
    let target = unsafe { Target::new(queue, count, events, event)? };
    let mem = target.memory(mem)?;
    check_range(&mem.buffer, offset, size)?;
    check_pointer(pointer)?;
    check_host_access(&mem, cl::CL_MEM_HOST_WRITE_ONLY)?;
    let (host, time) = (Raw(pointer), target.to_host(size as u64));
    let copy = move || {
        // SAFETY: the caller gives `size` bytes and leaves them alone until the command has ended.
        mem.buffer.with(|bytes| unsafe { host.write(&bytes[offset..offset + size]) });
    };
    // SAFETY: as above.
    unsafe { target.transfer(cl::CL_COMMAND_READ_BUFFER, Unit::FromDevice, time, blocking != 0, copy) }
}

pub(super) unsafe fn write_buffer(
    queue: cl_command_queue,
    mem: cl_mem,
    blocking: cl_bool,
    offset: usize,
    size: usize,
    pointer: *const c_void,
    count: cl_uint,
    events: *const cl_event,
    event: *mut cl_event,
) -> Answer<()> {
    // SAFETY: what the specification asks of the caller.
    let target = unsafe { Target::new(queue, count, events, event)? };
    let mem = target.memory(mem)?;
    check_range(&mem.buffer, offset, size)?;
    check_pointer(pointer)?;
    check_host_access(&mem, cl::CL_MEM_HOST_READ_ONLY)?;
    let (host, time) = (Raw(pointer.cast_mut()), target.to_device(size as u64));
    let copy = move || {
        // SAFETY: the caller gives `size` bytes and does not change them until the command has ended.
        mem.buffer.with(|bytes| unsafe { host.read(&mut bytes[offset..offset + size]) });
    };
    // SAFETY: as above.
    unsafe { target.transfer(cl::CL_COMMAND_WRITE_BUFFER, Unit::ToDevice, time, blocking != 0, copy) }
}

/// A box of a buffer, from the caller's triples.
///
/// # Safety
/// `origin` and `region` are null or point to three numbers.
unsafe fn rect(
    what: &str,
    origin: *const usize,
    region: *const usize,
    row_pitch: usize,
    slice_pitch: usize,
) -> Answer<Rect> {
    // SAFETY: as the caller promises.
    let triple = |p: *const usize| unsafe { p.cast::<[usize; 3]>().as_ref() }.copied();
    let (Some(origin), Some(region)) = (triple(origin), triple(region)) else {
        return Err(Refusal::value(format!("{what}: a null pointer for origin or region")));
    };
    Rect::new(what, origin, region, row_pitch, slice_pitch)
}

pub(super) unsafe fn read_buffer_rect(
    queue: cl_command_queue,
    mem: cl_mem,
    blocking: cl_bool,
    origin: *const usize,
    host_origin: *const usize,
    region: *const usize,
    row_pitch: usize,
    slice_pitch: usize,
    host_row_pitch: usize,
    host_slice_pitch: usize,
    pointer: *mut c_void,
    count: cl_uint,
    events: *const cl_event,
    event: *mut cl_event,
) -> Answer<()> {
    // SAFETY: what the specification asks of the caller.
    let (target, here, there) = unsafe {
        let target = Target::new(queue, count, events, event)?;
        let here = rect("buffer", origin, region, row_pitch, slice_pitch)?;
        (target, here, rect("host", host_origin, region, host_row_pitch, host_slice_pitch)?)
    };
    let mem = target.memory(mem)?;
    check_range(&mem.buffer, 0, here.end())?;
    check_pointer(pointer)?;
    check_host_access(&mem, cl::CL_MEM_HOST_WRITE_ONLY)?;
    let (host, time) = (Raw(pointer), target.to_host(here.bytes()));
    let copy = move || {
        mem.buffer.with(|bytes| {
            for (from, to) in here.rows().zip(there.rows()) {
                // SAFETY: the caller gives memory for the whole box and leaves it alone until the command has ended.
                unsafe { host.offset(to).write(&bytes[from..from + here.width()]) };
            }
        });
    };
    // SAFETY: as above.
    unsafe { target.transfer(cl::CL_COMMAND_READ_BUFFER_RECT, Unit::FromDevice, time, blocking != 0, copy) }
}

pub(super) unsafe fn write_buffer_rect(
    queue: cl_command_queue,
    mem: cl_mem,
    blocking: cl_bool,
    origin: *const usize,
    host_origin: *const usize,
    region: *const usize,
    row_pitch: usize,
    slice_pitch: usize,
    host_row_pitch: usize,
    host_slice_pitch: usize,
    pointer: *const c_void,
    count: cl_uint,
    events: *const cl_event,
    event: *mut cl_event,
) -> Answer<()> {
    // SAFETY: what the specification asks of the caller.
    let (target, here, there) = unsafe {
        let target = Target::new(queue, count, events, event)?;
        let here = rect("buffer", origin, region, row_pitch, slice_pitch)?;
        (target, here, rect("host", host_origin, region, host_row_pitch, host_slice_pitch)?)
    };
    let mem = target.memory(mem)?;
    check_range(&mem.buffer, 0, here.end())?;
    check_pointer(pointer)?;
    check_host_access(&mem, cl::CL_MEM_HOST_READ_ONLY)?;
    let (host, time) = (Raw(pointer.cast_mut()), target.to_device(here.bytes()));
    let copy = move || {
        mem.buffer.with(|bytes| {
            for (to, from) in here.rows().zip(there.rows()) {
                // SAFETY: the caller gives the whole box and does not change it until the command has ended.
                unsafe { host.offset(from).read(&mut bytes[to..to + here.width()]) };
            }
        });
    };
    // SAFETY: as above.
    unsafe { target.transfer(cl::CL_COMMAND_WRITE_BUFFER_RECT, Unit::ToDevice, time, blocking != 0, copy) }
}

/// A copy on the card goes through the host, as it does without a DMA engine between banks: down and up again.
fn copy_time(target: &Target, bytes: u64) -> Nanos {
    target.to_host(bytes).saturating_add(target.to_device(bytes))
}

pub(super) unsafe fn copy_buffer(
    queue: cl_command_queue,
    src: cl_mem,
    dst: cl_mem,
    src_offset: usize,
    dst_offset: usize,
    size: usize,
    count: cl_uint,
    events: *const cl_event,
    event: *mut cl_event,
) -> Answer<()> {
    // SAFETY: what the specification asks of the caller.
    let target = unsafe { Target::new(queue, count, events, event)? };
    let (src, dst) = (target.memory(src)?, target.memory(dst)?);
    check_range(&src.buffer, src_offset, size)?;
    check_range(&dst.buffer, dst_offset, size)?;
    let start = |mem: &MemObject, offset: usize| mem.buffer.origin() + offset as u64;
    let apart = start(&src, src_offset).abs_diff(start(&dst, dst_offset));
    // Source and target of a copy within a buffer, or between its parts, may not overlap.
    if src.buffer.shares(&dst.buffer) && apart < size as u64 {
        let text = format!("{size} bytes are copied to {apart} bytes from where they are");
        return Err(Refusal::new(cl::CL_MEM_COPY_OVERLAP, text));
    }
    let time = copy_time(&target, size as u64);
    let copy = move || {
        let bytes = src.buffer.with(|bytes| bytes[src_offset..src_offset + size].to_vec());
        dst.buffer.with(|target| target[dst_offset..dst_offset + size].copy_from_slice(&bytes));
    };
    // SAFETY: as above.
    unsafe { target.transfer(cl::CL_COMMAND_COPY_BUFFER, Unit::FromDevice, time, false, copy) }
}

pub(super) unsafe fn copy_buffer_rect(
    queue: cl_command_queue,
    src: cl_mem,
    dst: cl_mem,
    src_origin: *const usize,
    dst_origin: *const usize,
    region: *const usize,
    src_row_pitch: usize,
    src_slice_pitch: usize,
    dst_row_pitch: usize,
    dst_slice_pitch: usize,
    count: cl_uint,
    events: *const cl_event,
    event: *mut cl_event,
) -> Answer<()> {
    // SAFETY: what the specification asks of the caller.
    let (target, from, to) = unsafe {
        let target = Target::new(queue, count, events, event)?;
        let from = rect("source", src_origin, region, src_row_pitch, src_slice_pitch)?;
        (target, from, rect("target", dst_origin, region, dst_row_pitch, dst_slice_pitch)?)
    };
    let (src, dst) = (target.memory(src)?, target.memory(dst)?);
    check_range(&src.buffer, 0, from.end())?;
    check_range(&dst.buffer, 0, to.end())?;
    let (a, b) = (src.buffer.origin() as usize, dst.buffer.origin() as usize);
    if src.buffer.shares(&dst.buffer) && from.moved(a).overlaps(to.moved(b)) {
        return Err(Refusal::new(cl::CL_MEM_COPY_OVERLAP, "the boxes of the copy overlap"));
    }
    let time = copy_time(&target, from.bytes());
    let copy = move || {
        let width = from.width();
        let rows: Vec<u8> =
            src.buffer.with(|bytes| from.rows().flat_map(|r| bytes[r..r + width].to_vec()).collect());
        dst.buffer.with(|bytes| {
            for (row, at) in rows.chunks_exact(width).zip(to.rows()) {
                bytes[at..at + width].copy_from_slice(row);
            }
        });
    };
    // SAFETY: as above.
    unsafe { target.transfer(cl::CL_COMMAND_COPY_BUFFER_RECT, Unit::FromDevice, time, false, copy) }
}

pub(super) unsafe fn fill_buffer(
    queue: cl_command_queue,
    mem: cl_mem,
    pattern: *const c_void,
    pattern_size: usize,
    offset: usize,
    size: usize,
    count: cl_uint,
    events: *const cl_event,
    event: *mut cl_event,
) -> Answer<()> {
    // SAFETY: what the specification asks of the caller.
    let target = unsafe { Target::new(queue, count, events, event)? };
    let mem = target.memory(mem)?;
    check_range(&mem.buffer, offset, size)?;
    check_pointer(pattern)?;
    // A pattern is as large as a type of OpenCL C, and fits the range without a rest.
    let fits = pattern_size.is_power_of_two() && pattern_size <= 128;
    if !fits || !offset.is_multiple_of(pattern_size) || !size.is_multiple_of(pattern_size) {
        let text = format!(
            "a pattern of {pattern_size} bytes for {size} from byte {offset}: it has 1, 2, 4, ... 128 bytes, and both are \
             multiples of that"
        );
        return Err(Refusal::value(text));
    }
    // SAFETY: the caller gives a pattern of this size.
    let pattern = unsafe { info::list(pattern.cast::<u8>(), pattern_size) }.to_vec();
    let time = target.to_device(size as u64);
    let copy = move || {
        mem.buffer.with(|bytes| {
            bytes[offset..offset + size]
                .chunks_exact_mut(pattern.len())
                .for_each(|c| c.copy_from_slice(&pattern));
        });
    };
    // SAFETY: as above.
    unsafe { target.transfer(cl::CL_COMMAND_FILL_BUFFER, Unit::ToDevice, time, false, copy) }
}

/// Flags that are known and go together, and an access that the buffer allows.
fn check_map(mem: &MemObject, flags: cl_map_flags) -> Answer<()> {
    const INVALIDATE: cl_map_flags = cl::CL_MAP_WRITE_INVALIDATE_REGION;
    const KNOWN: cl_map_flags = cl::CL_MAP_READ | cl::CL_MAP_WRITE | INVALIDATE;
    // To throw the contents away goes with neither reading nor writing them.
    if flags & !KNOWN != 0 || flags & INVALIDATE != 0 && flags != INVALIDATE {
        return Err(Refusal::value(format!("map flags {flags:#x}")));
    }
    if flags & cl::CL_MAP_READ != 0 {
        check_host_access(mem, cl::CL_MEM_HOST_WRITE_ONLY)?;
    }
    if flags & (cl::CL_MAP_WRITE | INVALIDATE) != 0 {
        check_host_access(mem, cl::CL_MEM_HOST_READ_ONLY)?;
    }
    Ok(())
}

pub(super) unsafe fn map(
    queue: cl_command_queue,
    mem: cl_mem,
    blocking: cl_bool,
    flags: cl_map_flags,
    offset: usize,
    size: usize,
    count: cl_uint,
    events: *const cl_event,
    event: *mut cl_event,
) -> Answer<*mut c_void> {
    // SAFETY: what the specification asks of the caller.
    let target = unsafe { Target::new(queue, count, events, event)? };
    let mem = target.memory(mem)?;
    check_range(&mem.buffer, offset, size)?;
    check_map(&mem, flags)?;
    let start = mem.host_side()?.offset(offset);
    let fetch = flags & cl::CL_MAP_WRITE_INVALIDATE_REGION == 0;
    let time = if fetch { target.to_host(size as u64) } else { 0 };
    let object = mem.clone();
    let copy = move || {
        if fetch {
            // SAFETY: the host's side is as large as the buffer, and not used until the command has ended.
            object.buffer.with(|bytes| unsafe { start.write(&bytes[offset..offset + size]) });
        }
    };
    mem.mappings().push(Mapping { start, offset, size, flags });
    // SAFETY: as above.
    let done =
        unsafe { target.transfer(cl::CL_COMMAND_MAP_BUFFER, Unit::FromDevice, time, blocking != 0, copy) };
    if let Err(refusal) = done {
        take_mapping(&mem, start);
        return Err(refusal);
    }
    Ok(start.0)
}

/// The latest mapping at an address, taken away.
fn take_mapping(mem: &MemObject, start: Raw) -> Option<Mapping> {
    let mut mappings = mem.mappings();
    let at = mappings.iter().rposition(|m| m.start == start)?;
    Some(mappings.remove(at))
}

pub(super) unsafe fn unmap(
    queue: cl_command_queue,
    mem: cl_mem,
    pointer: *mut c_void,
    count: cl_uint,
    events: *const cl_event,
    event: *mut cl_event,
) -> Answer<()> {
    // SAFETY: what the specification asks of the caller.
    let target = unsafe { Target::new(queue, count, events, event)? };
    let mem = target.memory(mem)?;
    // The pointer is one that a map has given.
    let mapping = take_mapping(&mem, Raw(pointer));
    let none = || Refusal::value(format!("{pointer:p} is not where this buffer is mapped"));
    let Mapping { start, offset, size, flags } = mapping.ok_or_else(none)?;
    let writes = flags & (cl::CL_MAP_WRITE | cl::CL_MAP_WRITE_INVALIDATE_REGION) != 0;
    let time = if writes { target.to_device(size as u64) } else { 0 };
    let copy = move || {
        if writes {
            // SAFETY: the host's side is as large as the buffer; the caller is done with it.
            mem.buffer.with(|bytes| unsafe { start.read(&mut bytes[offset..offset + size]) });
        }
    };
    // SAFETY: as above.
    unsafe { target.transfer(cl::CL_COMMAND_UNMAP_MEM_OBJECT, Unit::ToDevice, time, false, copy) }
}

pub(super) unsafe fn migrate(
    queue: cl_command_queue,
    objects: cl_uint,
    list: *const cl_mem,
    flags: cl_mem_migration_flags,
    count: cl_uint,
    events: *const cl_event,
    event: *mut cl_event,
) -> Answer<()> {
    const KNOWN: cl_mem_migration_flags =
        cl::CL_MIGRATE_MEM_OBJECT_HOST | cl::CL_MIGRATE_MEM_OBJECT_CONTENT_UNDEFINED;
    // SAFETY: what the specification asks of the caller.
    let target = unsafe { Target::new(queue, count, events, event)? };
    if objects == 0 || list.is_null() || flags & !KNOWN != 0 {
        return Err(Refusal::value(format!(
            "{objects} memory objects at {list:p}, migration flags {flags:#x}"
        )));
    }
    // SAFETY: as above.
    let list = unsafe { info::list(list, objects as usize) };
    let memory = list.iter().map(|m| target.memory(*m)).collect::<Answer<Vec<_>>>()?;
    let to_host = flags & cl::CL_MIGRATE_MEM_OBJECT_HOST != 0;
    let moves = flags & cl::CL_MIGRATE_MEM_OBJECT_CONTENT_UNDEFINED == 0;
    let bytes = if moves { memory.iter().map(|m| m.buffer.size()).sum() } else { 0 };
    let (unit, time) = match (moves, to_host) {
        (false, _) => (Unit::ToDevice, 0),
        (true, false) => (Unit::ToDevice, target.to_device(bytes)),
        (true, true) => (Unit::FromDevice, target.to_host(bytes)),
    };
    let copy = move || {
        // Contents that the host can see are those in memory of the caller.
        let seen = memory.iter().filter_map(|m| Some((m, m.callers_memory()?)));
        for (mem, host) in seen.filter(|_| moves) {
            mem.buffer.with(|bytes| {
                if to_host {
                    // SAFETY: the caller's memory is as large as the buffer and left alone until the command has ended.
                    unsafe { host.write(bytes) }
                } else {
                    // SAFETY: as above.
                    unsafe { host.read(bytes) }
                }
            });
        }
    };
    // SAFETY: as above.
    unsafe { target.transfer(cl::CL_COMMAND_MIGRATE_MEM_OBJECTS, unit, time, false, copy) }
}

/// The work of a run of a kernel on the queue's device.
fn prepare(target: &Target, kernel: cl_kernel) -> Answer<Work> {
    let kernel = handle::get::<Kernel>(kernel)?;
    let device = &target.queue.device;
    if !Arc::ptr_eq(&kernel.program.context, &target.queue.context) {
        let text = "the kernel belongs to another context than the queue";
        return Err(Refusal::new(cl::CL_INVALID_CONTEXT, text));
    }
    if !kernel.program.devices.iter().any(|d| Arc::ptr_eq(d, device)) {
        let text = format!("the kernel's program is not loaded on device {}", device.index);
        return Err(Refusal::new(cl::CL_INVALID_PROGRAM_EXECUTABLE, text));
    }
    let program = kernel.program.clone();
    let report = move |text: &str| {
        program.note(text);
        program.context.notify(text);
    };
    Ok(device.launch(kernel.launch(device)?, report))
}

pub(super) unsafe fn task(
    queue: cl_command_queue,
    kernel: cl_kernel,
    count: cl_uint,
    events: *const cl_event,
    event: *mut cl_event,
) -> Answer<()> {
    // SAFETY: what the specification asks of the caller.
    let target = unsafe { Target::new(queue, count, events, event)? };
    let work = prepare(&target, kernel)?;
    // SAFETY: as above.
    unsafe { target.submit(cl::CL_COMMAND_TASK, Command::Run(Unit::Kernel, work), false) }
}

pub(super) unsafe fn nd_range_kernel(
    queue: cl_command_queue,
    kernel: cl_kernel,
    work_dim: cl_uint,
    offset: *const usize,
    global: *const usize,
    local: *const usize,
    count: cl_uint,
    events: *const cl_event,
    event: *mut cl_event,
) -> Answer<()> {
    // SAFETY: what the specification asks of the caller.
    let target = unsafe { Target::new(queue, count, events, event)? };
    handle::get::<Kernel>(kernel)?;
    if !(1..=3).contains(&work_dim) {
        let text = format!("{work_dim} dimensions: there are 1 to 3");
        return Err(Refusal::new(cl::CL_INVALID_WORK_DIMENSION, text));
    }
    // SAFETY: as above: `work_dim` numbers each, or null.
    let numbers = |start: *const usize| unsafe { info::list(start, work_dim as usize) };
    let (offset, global, local) = (numbers(offset), numbers(global), numbers(local));
    let size = |text: String| Err(Refusal::new(cl::CL_INVALID_GLOBAL_WORK_SIZE, text));
    if global.is_empty() || global.contains(&0) {
        return size(format!("global work size {global:?}: must be given, and above 0"));
    }
    let work = prepare(&target, kernel)?;
    // The kernel has a fixed size of work groups, so that size has to be given.
    if local.is_empty() || local.iter().any(|&n| n != 1) {
        let text = format!("work-group size {local:?}: must be given, and 1");
        return Err(Refusal::new(cl::CL_INVALID_WORK_GROUP_SIZE, text));
    }
    // A run is one work item: others would overwrite its report.
    if global.iter().any(|&n| n != 1) {
        return size(format!("global work size {global:?}: a run is one work item"));
    }
    if offset.iter().any(|&n| n != 0) {
        let text = format!("global work offset {offset:?}: must be 0");
        return Err(Refusal::new(cl::CL_INVALID_GLOBAL_OFFSET, text));
    }
    // SAFETY: as above.
    unsafe { target.submit(cl::CL_COMMAND_NDRANGE_KERNEL, Command::Run(Unit::Kernel, work), false) }
}

pub(super) unsafe fn marker(queue: cl_command_queue, event: *mut cl_event) -> Answer<()> {
    // SAFETY: what the specification asks of the caller.
    let target = unsafe { Target::new(queue, 0, std::ptr::null(), event)? };
    // This marker is nothing but its event.
    if event.is_null() {
        return Err(Refusal::value("a marker without a place for its event"));
    }
    // SAFETY: as above.
    unsafe { target.submit(cl::CL_COMMAND_MARKER, Command::Marker, false) }
}

pub(super) unsafe fn barrier(queue: cl_command_queue) -> Answer<()> {
    // SAFETY: no pointers are given.
    unsafe { barrier_with_list(queue, 0, std::ptr::null(), std::ptr::null_mut()) }
}

pub(super) unsafe fn wait_for_events(
    queue: cl_command_queue,
    count: cl_uint,
    events: *const cl_event,
) -> Answer<()> {
    handle::get::<Queue>(queue)?;
    if count == 0 || events.is_null() {
        return Err(Refusal::value("no events to wait for"));
    }
    // SAFETY: what the specification asks of the caller. What follows in the queue waits for these events.
    unsafe { barrier_with_list(queue, count, events, std::ptr::null_mut()) }
}

pub(super) unsafe fn marker_with_list(
    queue: cl_command_queue,
    count: cl_uint,
    events: *const cl_event,
    event: *mut cl_event,
) -> Answer<()> {
    // SAFETY: what the specification asks of the caller.
    unsafe { Target::new(queue, count, events, event)?.submit(cl::CL_COMMAND_MARKER, Command::Marker, false) }
}

pub(super) unsafe fn barrier_with_list(
    queue: cl_command_queue,
    count: cl_uint,
    events: *const cl_event,
    event: *mut cl_event,
) -> Answer<()> {
    // SAFETY: what the specification asks of the caller.
    unsafe {
        Target::new(queue, count, events, event)?.submit(cl::CL_COMMAND_BARRIER, Command::Barrier, false)
    }
}
