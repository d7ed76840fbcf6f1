//! Transfers and runs.

use crate::cases;
use crate::common::CHANNEL;
use crate::world::{World, event};
use opencl_sys::*;
use std::ptr::{null, null_mut};

/// A blocking read, with an event.
fn read(w: &World, mem: cl_mem, offset: usize, size: usize) -> cl_int {
    // SAFETY: the host's bytes are as many as the largest buffer's.
    event(w, |e| unsafe {
        (w.rig.cl.clEnqueueReadBuffer)(w.rig.queue, mem, CL_TRUE, offset, size, w.host(), 0, null(), e)
    })
}

fn write(w: &World, mem: cl_mem, offset: usize, size: usize) -> cl_int {
    // SAFETY: as above.
    event(w, |e| unsafe {
        (w.rig.cl.clEnqueueWriteBuffer)(w.rig.queue, mem, CL_TRUE, offset, size, w.host(), 0, null(), e)
    })
}

/// A copy, waited for.
fn copy(w: &World, from: (cl_mem, usize), to: (cl_mem, usize), size: usize) -> cl_int {
    // SAFETY: no wait list.
    event(w, |e| unsafe {
        (w.rig.cl.clEnqueueCopyBuffer)(w.rig.queue, from.0, to.0, from.1, to.1, size, 0, null(), e)
    })
}

fn fill(w: &World, pattern: usize, offset: usize, size: usize) -> cl_int {
    // SAFETY: the host's bytes are more than any pattern.
    event(w, |e| unsafe {
        let mem = w.rig.buffers[3];
        (w.rig.cl.clEnqueueFillBuffer)(w.rig.queue, mem, w.host(), pattern, offset, size, 0, null(), e)
    })
}

/// Maps and unmaps; the first status that is none of success.
fn map(w: &World, mem: cl_mem, flags: u64, offset: usize, size: usize) -> cl_int {
    let (cl, mut code) = (&w.rig.cl, 99);
    // SAFETY: no wait lists; what is mapped is unmapped.
    unsafe {
        let queue = w.rig.queue;
        let none = null_mut();
        let pointer =
            (cl.clEnqueueMapBuffer)(queue, mem, CL_TRUE, flags, offset, size, 0, null(), none, &raw mut code);
        assert_eq!(pointer.is_null(), code != 0);
        if code == 0 {
            code = (cl.clEnqueueUnmapMemObject)(queue, mem, pointer, 0, null(), null_mut());
        }
    }
    code
}

/// A box of 2 rows of 8 bytes, read.
fn rect(w: &World, origin: [usize; 3], region: [usize; 3], pitch: usize) -> cl_int {
    // SAFETY: the host's bytes hold the boxes of the cases that are not refused.
    event(w, |e| unsafe {
        (w.rig.cl.clEnqueueReadBufferRect)(
            w.rig.queue,
            w.rig.buffers[3],
            CL_TRUE,
            origin.as_ptr(),
            [0usize; 3].as_ptr(),
            region.as_ptr(),
            pitch,
            0,
            0,
            0,
            w.host(),
            0,
            null(),
            e,
        )
    })
}

/// A copy of a box within a buffer.
fn copy_rect(w: &World, from: [usize; 3], to: [usize; 3]) -> cl_int {
    let mem = w.rig.buffers[3];
    // SAFETY: three numbers each.
    event(w, |e| unsafe {
        (w.rig.cl.clEnqueueCopyBufferRect)(
            w.rig.queue,
            mem,
            mem,
            from.as_ptr(),
            to.as_ptr(),
            [8usize, 4, 1].as_ptr(),
            64,
            0,
            64,
            0,
            0,
            null(),
            e,
        )
    })
}

fn migrate(w: &World, list: &[cl_mem], flags: u64) -> cl_int {
    // SAFETY: the list is as long as it says.
    event(w, |e| unsafe {
        let count = list.len() as u32;
        (w.rig.cl.clEnqueueMigrateMemObjects)(w.rig.queue, count, list.as_ptr(), flags, 0, null(), e)
    })
}

/// A run over so many work items.
fn range(w: &World, dimensions: u32, global: &[usize], local: &[usize], offset: &[usize]) -> cl_int {
    let list = |l: &[usize]| if l.is_empty() { null() } else { l.as_ptr() };
    // SAFETY: lists of as many numbers as there are dimensions, or null.
    event(w, |e| unsafe {
        let kernel = w.rig.kernel;
        let (offset, global, local) = (list(offset), list(global), list(local));
        (w.rig.cl.clEnqueueNDRangeKernel)(
            w.rig.queue,
            kernel,
            dimensions,
            offset,
            global,
            local,
            0,
            null(),
            e,
        )
    })
}

fn task(w: &World, queue: cl_command_queue, kernel: cl_kernel, list: &[cl_event]) -> cl_int {
    // SAFETY: the list is as long as it says.
    event(w, |e| unsafe {
        let start = if list.is_empty() { null() } else { list.as_ptr() };
        (w.rig.cl.clEnqueueTask)(queue, kernel, list.len() as u32, start, e)
    })
}

const READ: u64 = CL_MAP_READ;
const WRITE: u64 = CL_MAP_WRITE;
const INVALIDATE: u64 = CL_MAP_WRITE_INVALIDATE_REGION;

cases! {
    "clEnqueueReadBuffer: all" CL_SUCCESS |w, _| read(w, w.rig.buffers[3], 0, CHANNEL);
    "clEnqueueReadBuffer: the last byte" CL_SUCCESS |w, _| read(w, w.rig.buffers[3], CHANNEL - 1, 1);
    "clEnqueueReadBuffer: one too many" CL_INVALID_VALUE |w, _| read(w, w.rig.buffers[3], 1, CHANNEL);
    "clEnqueueReadBuffer: far beyond" CL_INVALID_VALUE |w, _| read(w, w.rig.buffers[3], usize::MAX, 2);
    "clEnqueueReadBuffer: nothing" CL_INVALID_VALUE |w, _| read(w, w.rig.buffers[3], 0, 0);
    "clEnqueueReadBuffer: a part" CL_SUCCESS |w, _| read(w, w.part, 0, 4096);
    "clEnqueueReadBuffer: more than the part" CL_INVALID_VALUE |w, _| read(w, w.part, 0, 4097);
    "clEnqueueReadBuffer: null buffer" CL_INVALID_MEM_OBJECT |w, _| read(w, null_mut(), 0, 1);
    "clEnqueueReadBuffer: dead buffer" CL_INVALID_MEM_OBJECT |w, _| read(w, w.dead, 0, 1);
    "clEnqueueReadBuffer: a stranger's buffer" CL_INVALID_CONTEXT |w, _| read(w, w.other_buffer, 0, 1);
    "clEnqueueReadBuffer: not for the host to read" CL_INVALID_OPERATION |w, _| read(w, w.write_only, 0, 1);
    "clEnqueueReadBuffer: for the host to read" CL_SUCCESS |w, _| read(w, w.read_only, 0, 1);
    "clEnqueueReadBuffer: null pointer" CL_INVALID_VALUE |w, cl| (cl.clEnqueueReadBuffer)(w.rig.queue, w.part, CL_TRUE, 0, 1, null_mut(), 0, null(), null_mut());
    "clEnqueueReadBuffer: null queue" CL_INVALID_COMMAND_QUEUE |w, cl| (cl.clEnqueueReadBuffer)(null_mut(), w.part, CL_TRUE, 0, 1, w.host(), 0, null(), null_mut());
    "clEnqueueReadBuffer: a list without a number" CL_INVALID_EVENT_WAIT_LIST |w, cl| (cl.clEnqueueReadBuffer)(w.rig.queue, w.part, CL_TRUE, 0, 1, w.host(), 0, &raw const w.done_event, null_mut());
    "clEnqueueReadBuffer: a number without a list" CL_INVALID_EVENT_WAIT_LIST |w, cl| (cl.clEnqueueReadBuffer)(w.rig.queue, w.part, CL_TRUE, 0, 1, w.host(), 1, null(), null_mut());
    "clEnqueueReadBuffer: a dead event" CL_INVALID_EVENT_WAIT_LIST |w, cl| (cl.clEnqueueReadBuffer)(w.rig.queue, w.part, CL_TRUE, 0, 1, w.host(), 1, &raw const w.dead_event, null_mut());
    "clEnqueueReadBuffer: a stranger's event" CL_INVALID_CONTEXT |w, cl| (cl.clEnqueueReadBuffer)(w.rig.queue, w.part, CL_TRUE, 0, 1, w.host(), 1, &raw const w.other_event, null_mut());
    "clEnqueueReadBuffer: behind a failed event" CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST |w, cl| (cl.clEnqueueReadBuffer)(w.rig.queue, w.part, CL_TRUE, 0, 1, w.host(), 1, &raw const w.failed_event, null_mut());
    "clEnqueueWriteBuffer: a part" CL_SUCCESS |w, _| write(w, w.part, 0, 4096);
    "clEnqueueWriteBuffer: one too many" CL_INVALID_VALUE |w, _| write(w, w.part, 1, 4096);
    "clEnqueueWriteBuffer: not for the host to write" CL_INVALID_OPERATION |w, _| write(w, w.read_only, 0, 1);
    "clEnqueueWriteBuffer: for the host to write" CL_SUCCESS |w, _| write(w, w.write_only, 0, 1);
    "clEnqueueWriteBuffer: a stranger's queue" CL_INVALID_CONTEXT |w, cl| (cl.clEnqueueWriteBuffer)(w.other_queue, w.part, CL_TRUE, 0, 1, w.host(), 0, null(), null_mut());
    "clEnqueueReadBufferRect: a box" CL_SUCCESS |w, _| rect(w, [8, 1, 0], [8, 2, 1], 64);
    "clEnqueueReadBufferRect: a short pitch" CL_INVALID_VALUE |w, _| rect(w, [0; 3], [8, 2, 1], 4);
    "clEnqueueReadBufferRect: no region" CL_INVALID_VALUE |w, _| rect(w, [0; 3], [8, 0, 1], 0);
    "clEnqueueReadBufferRect: too tall" CL_INVALID_VALUE |w, _| rect(w, [0; 3], [8, 5000, 1], 64);
    "clEnqueueCopyBuffer: to another" CL_SUCCESS |w, _| copy(w, (w.rig.buffers[0], 0), (w.write_only, 8), 100);
    "clEnqueueCopyBuffer: within" CL_SUCCESS |w, _| copy(w, (w.write_only, 0), (w.write_only, 100), 100);
    "clEnqueueCopyBuffer: onto itself" CL_MEM_COPY_OVERLAP |w, _| copy(w, (w.write_only, 0), (w.write_only, 99), 100);
    "clEnqueueCopyBuffer: onto a part" CL_MEM_COPY_OVERLAP |w, _| copy(w, (w.rig.buffers[3], 4000), (w.part, 0), 100);
    "clEnqueueCopyBuffer: beside a part" CL_SUCCESS |w, _| copy(w, (w.rig.buffers[3], 3996), (w.part, 0), 100);
    "clEnqueueCopyBuffer: beyond" CL_INVALID_VALUE |w, _| copy(w, (w.part, 4000), (w.write_only, 0), 100);
    "clEnqueueCopyBuffer: from a stranger" CL_INVALID_CONTEXT |w, _| copy(w, (w.other_buffer, 0), (w.write_only, 0), 100);
    "clEnqueueCopyBufferRect: beside" CL_SUCCESS |w, _| copy_rect(w, [0, 100, 0], [8, 100, 0]);
    "clEnqueueCopyBufferRect: onto itself" CL_MEM_COPY_OVERLAP |w, _| copy_rect(w, [0, 100, 0], [4, 101, 0]);
    "clEnqueueFillBuffer: words" CL_SUCCESS |w, _| fill(w, 4, 4096 * 8, 64);
    "clEnqueueFillBuffer: an odd pattern" CL_INVALID_VALUE |w, _| fill(w, 3, 0, 9);
    "clEnqueueFillBuffer: a large pattern" CL_INVALID_VALUE |w, _| fill(w, 256, 0, 256);
    "clEnqueueFillBuffer: no pattern" CL_INVALID_VALUE |w, _| fill(w, 0, 0, 64);
    "clEnqueueFillBuffer: a rest" CL_INVALID_VALUE |w, _| fill(w, 4, 0, 63);
    "clEnqueueFillBuffer: not aligned" CL_INVALID_VALUE |w, _| fill(w, 4, 2, 64);
    "clEnqueueMapBuffer: to read" CL_SUCCESS |w, _| map(w, w.rig.buffers[3], READ, 100, 200);
    "clEnqueueMapBuffer: to write" CL_SUCCESS |w, _| map(w, w.write_only, WRITE, 0, CHANNEL);
    "clEnqueueMapBuffer: to write anew" CL_SUCCESS |w, _| map(w, w.write_only, INVALIDATE, 0, 10);
    "clEnqueueMapBuffer: a part" CL_SUCCESS |w, _| map(w, w.part, READ | WRITE, 0, 4096);
    "clEnqueueMapBuffer: unknown flag" CL_INVALID_VALUE |w, _| map(w, w.part, 1 << 7, 0, 10);
    "clEnqueueMapBuffer: read and thrown away" CL_INVALID_VALUE |w, _| map(w, w.part, READ | INVALIDATE, 0, 10);
    "clEnqueueMapBuffer: beyond" CL_INVALID_VALUE |w, _| map(w, w.part, READ, 4090, 10);
    "clEnqueueMapBuffer: not for the host to read" CL_INVALID_OPERATION |w, _| map(w, w.write_only, READ, 0, 10);
    "clEnqueueMapBuffer: not for the host to write" CL_INVALID_OPERATION |w, _| map(w, w.read_only, WRITE, 0, 10);
    "clEnqueueMapBuffer: dead" CL_INVALID_MEM_OBJECT |w, _| map(w, w.dead, READ, 0, 10);
    "clEnqueueUnmapMemObject: not mapped" CL_INVALID_VALUE |w, cl| (cl.clEnqueueUnmapMemObject)(w.rig.queue, w.part, w.host(), 0, null(), null_mut());
    "clEnqueueMigrateMemObjects: to the device" CL_SUCCESS |w, _| migrate(w, &[w.part, w.rig.buffers[0]], 0);
    "clEnqueueMigrateMemObjects: to the host" CL_SUCCESS |w, _| migrate(w, &[w.part], CL_MIGRATE_MEM_OBJECT_HOST);
    "clEnqueueMigrateMemObjects: without contents" CL_SUCCESS |w, _| migrate(w, &[w.part], CL_MIGRATE_MEM_OBJECT_CONTENT_UNDEFINED);
    "clEnqueueMigrateMemObjects: none" CL_INVALID_VALUE |w, _| migrate(w, &[], 0);
    "clEnqueueMigrateMemObjects: unknown flag" CL_INVALID_VALUE |w, _| migrate(w, &[w.part], 8);
    "clEnqueueMigrateMemObjects: a dead one" CL_INVALID_MEM_OBJECT |w, _| migrate(w, &[w.part, w.dead], 0);
    "clEnqueueNativeKernel: no native kernels" CL_INVALID_OPERATION |w, cl| (cl.clEnqueueNativeKernel)(w.rig.queue, null_mut(), null_mut(), 0, 0, null_mut(), null_mut(), 0, null(), null_mut());

    "clEnqueueTask: a run" CL_SUCCESS |w, _| task(w, w.rig.queue, w.rig.kernel, &[]);
    "clEnqueueTask: behind an event" CL_SUCCESS |w, _| task(w, w.rig.queue, w.rig.kernel, &[w.done_event]);
    "clEnqueueTask: behind a failed event" CL_SUCCESS |w, _| task(w, w.rig.queue, w.rig.kernel, &[w.failed_event]);
    "clEnqueueTask: a dead event" CL_INVALID_EVENT_WAIT_LIST |w, _| task(w, w.rig.queue, w.rig.kernel, &[w.dead_event]);
    "clEnqueueTask: a stranger's queue" CL_INVALID_CONTEXT |w, _| task(w, w.other_queue, w.rig.kernel, &[]);
    "clEnqueueTask: arguments missing" CL_INVALID_KERNEL_ARGS |w, _| task(w, w.rig.queue, w.bare_kernel, &[]);
    "clEnqueueTask: null kernel" CL_INVALID_KERNEL |w, _| task(w, w.rig.queue, null_mut(), &[]);
    "clEnqueueTask: null queue" CL_INVALID_COMMAND_QUEUE |w, _| task(w, null_mut(), w.rig.kernel, &[]);
    "clEnqueueNDRangeKernel: one item" CL_SUCCESS |w, _| range(w, 1, &[1], &[1], &[]);
    "clEnqueueNDRangeKernel: one item, all said" CL_SUCCESS |w, _| range(w, 3, &[1; 3], &[1; 3], &[0; 3]);
    "clEnqueueNDRangeKernel: no dimensions" CL_INVALID_WORK_DIMENSION |w, _| range(w, 0, &[1], &[1], &[]);
    "clEnqueueNDRangeKernel: four dimensions" CL_INVALID_WORK_DIMENSION |w, _| range(w, 4, &[1; 4], &[1; 4], &[]);
    "clEnqueueNDRangeKernel: no group size" CL_INVALID_WORK_GROUP_SIZE |w, _| range(w, 1, &[1], &[], &[]);
    "clEnqueueNDRangeKernel: large groups" CL_INVALID_WORK_GROUP_SIZE |w, _| range(w, 1, &[2], &[2], &[]);
    "clEnqueueNDRangeKernel: no size" CL_INVALID_GLOBAL_WORK_SIZE |w, _| range(w, 1, &[], &[], &[]);
    "clEnqueueNDRangeKernel: two items" CL_INVALID_GLOBAL_WORK_SIZE |w, _| range(w, 1, &[2], &[1], &[]);
    "clEnqueueNDRangeKernel: no items" CL_INVALID_GLOBAL_WORK_SIZE |w, _| range(w, 2, &[1, 0], &[1, 1], &[]);
    "clEnqueueNDRangeKernel: an offset" CL_INVALID_GLOBAL_OFFSET |w, _| range(w, 1, &[1], &[1], &[1]);
}
