//! Buffers as memory of the host: mapped, and moved as a whole.

use super::{Target, check_host_access};
use crate::api::host::Raw;
use crate::api::info;
use crate::api::memory::{Mapping, MemObject};
use crate::api::rect::Rect;
use crate::engine::{Time, Unit};
use crate::refusal::{Answer, Refusal};
use opencl_sys as cl;
use opencl_sys::{
    cl_bool, cl_command_queue, cl_event, cl_map_flags, cl_mem, cl_mem_migration_flags, cl_uint,
};
use std::ffi::c_void;

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

#[allow(clippy::too_many_arguments, reason = "the function of the interface has as many")]
pub(in crate::api) unsafe fn map(
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
    Rect::line(offset, size)?.check(mem.buffer.size())?;
    check_map(&mem, flags)?;
    let start = mem.host_side()?.offset(offset);
    let fetch = flags & cl::CL_MAP_WRITE_INVALIDATE_REGION == 0;
    let time = if fetch { target.to_host(size as u64) } else { Time::from(0) };
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

/// # Safety
/// What was mapped may be read, and nothing writes it until the command has ended.
pub(in crate::api) unsafe fn unmap(target: Target, mem: cl_mem, pointer: *mut c_void) -> Answer<()> {
    let mem = target.memory(mem)?;
    // The pointer is one that a map has given.
    let mapping = take_mapping(&mem, Raw(pointer));
    let none = || Refusal::value(format!("{pointer:p} is not where this buffer is mapped"));
    let Mapping { start, offset, size, flags } = mapping.ok_or_else(none)?;
    let writes = flags & (cl::CL_MAP_WRITE | cl::CL_MAP_WRITE_INVALIDATE_REGION) != 0;
    let time = if writes { target.to_device(size as u64) } else { Time::from(0) };
    let copy = move || {
        if writes {
            // SAFETY: the host's side is as large as the buffer; the caller is done with it.
            mem.buffer.with(|bytes| unsafe { start.read(&mut bytes[offset..offset + size]) });
        }
    };
    // SAFETY: as above.
    unsafe { target.transfer(cl::CL_COMMAND_UNMAP_MEM_OBJECT, Unit::ToDevice, time, false, copy) }
}

/// # Safety
/// `list` is null or points to as many handles.
pub(in crate::api) unsafe fn migrate(
    target: Target,
    objects: cl_uint,
    list: *const cl_mem,
    flags: cl_mem_migration_flags,
) -> Answer<()> {
    const KNOWN: cl_mem_migration_flags =
        cl::CL_MIGRATE_MEM_OBJECT_HOST | cl::CL_MIGRATE_MEM_OBJECT_CONTENT_UNDEFINED;
    if objects == 0 || list.is_null() || flags & !KNOWN != 0 {
        return Err(Refusal::value(format!(
            "{objects} memory objects at {list:p}, migration flags {flags:#x}"
        )));
    }
    // SAFETY: as the caller promises.
    let list = unsafe { info::list(list, objects as usize) };
    let memory = list.iter().map(|m| target.memory(*m)).collect::<Answer<Vec<_>>>()?;
    let to_host = flags & cl::CL_MIGRATE_MEM_OBJECT_HOST != 0;
    let moves = flags & cl::CL_MIGRATE_MEM_OBJECT_CONTENT_UNDEFINED == 0;
    let bytes = if moves { memory.iter().map(|m| m.buffer.size()).sum() } else { 0 };
    let (unit, time) = match (moves, to_host) {
        (false, _) => (Unit::ToDevice, Time::from(0)),
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
