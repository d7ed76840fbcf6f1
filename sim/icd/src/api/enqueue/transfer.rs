//! Bytes from the host, to it, and from buffer to buffer. A range of bytes is a box of one row.

use super::{Target, check_host_access, check_pointer};
use crate::api::host::Raw;
use crate::api::info;
use crate::api::memory::MemObject;
use crate::api::rect::{Area, Rect};
use crate::engine::Unit;
use crate::refusal::{Answer, Refusal};
use opencl_sys as cl;
use opencl_sys::{cl_bool, cl_command_type, cl_mem};
use std::ffi::c_void;
use std::sync::Arc;

/// A part of a buffer.
pub(in crate::api) struct Part {
    mem: cl_mem,
    area: Area,
}

/// Memory of the host.
pub(in crate::api) struct Host {
    pointer: *mut c_void,
    area: Area,
    /// Whether the caller waits for the end of the transfer.
    blocking: bool,
}

impl Host {
    pub(in crate::api) fn of(pointer: *const c_void, area: Area, blocking: cl_bool) -> Self {
        Self { pointer: pointer.cast_mut(), area, blocking: blocking != 0 }
    }

    /// The bytes behind the pointer.
    pub(in crate::api) fn line(pointer: *const c_void, size: usize, blocking: cl_bool) -> Self {
        Self::of(pointer, Area::Line { offset: 0, size }, blocking)
    }
}

impl Part {
    pub(in crate::api) fn of(mem: cl_mem, area: Area) -> Self {
        Self { mem, area }
    }

    /// A range of bytes.
    pub(in crate::api) fn line(mem: cl_mem, offset: usize, size: usize) -> Self {
        Self::of(mem, Area::Line { offset, size })
    }

    /// The buffer, and the box of it, which lies within.
    ///
    /// # Safety
    /// As [`Area::read`].
    unsafe fn find(&self, target: &Target, what: &str) -> Answer<(Arc<MemObject>, Rect)> {
        let mem = target.memory(self.mem)?;
        // SAFETY: as the caller promises.
        let rect = unsafe { self.area.read(what)? };
        rect.check(mem.buffer.size())?;
        Ok((mem, rect))
    }
}

/// From a buffer to the host.
///
/// # Safety
/// The host's memory may be written, and nothing else uses it until the command has ended.
pub(in crate::api) unsafe fn read(target: Target, kind: cl_command_type, from: Part, to: Host) -> Answer<()> {
    // SAFETY: the caller's numbers.
    let ((mem, from), rows) = unsafe { (from.find(&target, "buffer")?, to.area.read("host")?) };
    check_pointer(to.pointer)?;
    check_host_access(&mem, cl::CL_MEM_HOST_WRITE_ONLY)?;
    let (host, time) = (Raw(to.pointer), target.to_host(from.bytes()));
    let copy = move || {
        mem.buffer.with(|bytes| {
            for (from_row, to_row) in from.rows().zip(rows.rows()) {
                // SAFETY: the caller gives memory for all rows and leaves it alone until the command has ended.
                unsafe { host.offset(to_row).write(&bytes[from_row..from_row + from.width()]) };
            }
        });
    };
    // SAFETY: as the caller promises.
    unsafe { target.transfer(kind, Unit::FromDevice, time, to.blocking, copy) }
}

/// From the host to a buffer.
///
/// # Safety
/// The host's memory may be read, and nothing writes it until the command has ended.
pub(in crate::api) unsafe fn write(
    target: Target,
    kind: cl_command_type,
    from: Host,
    to: Part,
) -> Answer<()> {
    // SAFETY: the caller's numbers.
    let ((mem, to), rows) = unsafe { (to.find(&target, "buffer")?, from.area.read("host")?) };
    check_pointer(from.pointer)?;
    check_host_access(&mem, cl::CL_MEM_HOST_READ_ONLY)?;
    let (host, time) = (Raw(from.pointer), target.to_device(to.bytes()));
    let copy = move || {
        mem.buffer.with(|bytes| {
            for (to_row, from_row) in to.rows().zip(rows.rows()) {
                // SAFETY: the caller gives all rows and does not change them until the command has ended.
                unsafe { host.offset(from_row).read(&mut bytes[to_row..to_row + to.width()]) };
            }
        });
    };
    // SAFETY: as the caller promises.
    unsafe { target.transfer(kind, Unit::ToDevice, time, from.blocking, copy) }
}

/// From buffer to buffer. It goes through the host, as it does without a DMA engine between banks: down and up again.
///
/// # Safety
/// As [`Area::read`].
pub(in crate::api) unsafe fn copy(target: Target, kind: cl_command_type, from: Part, to: Part) -> Answer<()> {
    // SAFETY: as the caller promises.
    let ((src, from), (dst, to)) = unsafe { (from.find(&target, "source")?, to.find(&target, "target")?) };
    let (a, b) = (src.buffer.origin() as usize, dst.buffer.origin() as usize);
    // Source and target of a copy within a buffer, or between its parts, may not overlap.
    if src.buffer.shares(&dst.buffer) && from.moved(a).overlaps(to.moved(b)) {
        return Err(Refusal::new(cl::CL_MEM_COPY_OVERLAP, "source and target of the copy overlap"));
    }
    let time = target.to_host(from.bytes()).then(target.to_device(from.bytes()));
    let copy = move || {
        let width = from.width();
        let mut rows = Vec::with_capacity(from.bytes() as usize);
        src.buffer.with(|bytes| from.rows().for_each(|row| rows.extend_from_slice(&bytes[row..row + width])));
        dst.buffer.with(|bytes| {
            for (row, at) in rows.chunks_exact(width).zip(to.rows()) {
                bytes[at..at + width].copy_from_slice(row);
            }
        });
    };
    // SAFETY: as the caller promises.
    unsafe { target.transfer(kind, Unit::FromDevice, time, false, copy) }
}

/// A pattern over a range of a buffer.
///
/// # Safety
/// The pattern has as many bytes as it says.
pub(in crate::api) unsafe fn fill(
    target: Target,
    to: Part,
    pattern: *const c_void,
    pattern_size: usize,
) -> Answer<()> {
    // SAFETY: a range has no numbers of the caller's to read.
    let (mem, to) = unsafe { to.find(&target, "buffer")? };
    check_pointer(pattern)?;
    let (offset, size) = (to.start(), to.width());
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
            let range = bytes[offset..offset + size].chunks_exact_mut(pattern.len());
            range.for_each(|part| part.copy_from_slice(&pattern));
        });
    };
    // SAFETY: as the caller promises.
    unsafe { target.transfer(cl::CL_COMMAND_FILL_BUFFER, Unit::ToDevice, time, false, copy) }
}
