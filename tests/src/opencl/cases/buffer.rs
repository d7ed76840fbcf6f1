//! Buffers: flags, host memory, properties, lives; banks and parts in modules of their own.

mod banks;
mod parts;

use super::{Case, NULL, case, garbage};
use crate::opencl::api::{Outcome, Show, create, done, info, made, must, status};
use crate::opencl::world::{PAGE, World};
use opencl_sys::*;
use std::ffi::c_void;
use std::ptr::{null, null_mut};

const RW: cl_mem_flags = CL_MEM_READ_WRITE;

pub(super) fn cases() -> Vec<Case> {
    [creation(), host_memory(), banks::banks(), parts::parts(), properties(), lives()]
        .into_iter()
        .flatten()
        .collect()
}

fn creation() -> Vec<Case> {
    const FLAGS: [(&str, cl_mem_flags); 12] = [
        ("read_write", RW),
        ("read_only", CL_MEM_READ_ONLY),
        ("write_only", CL_MEM_WRITE_ONLY),
        ("no_flags", 0),
        ("read_only_and_write_only", CL_MEM_READ_ONLY | CL_MEM_WRITE_ONLY),
        ("read_write_and_read_only", RW | CL_MEM_READ_ONLY),
        ("unknown_flag", RW | 1 << 20),
        ("alloc_host_ptr", RW | CL_MEM_ALLOC_HOST_PTR),
        ("host_read_only", RW | CL_MEM_HOST_READ_ONLY),
        ("host_write_only", RW | CL_MEM_HOST_WRITE_ONLY),
        ("host_no_access", RW | CL_MEM_HOST_NO_ACCESS),
        ("host_read_only_and_no_access", RW | CL_MEM_HOST_READ_ONLY | CL_MEM_HOST_NO_ACCESS),
    ];
    const SIZES: [(&str, usize); 4] =
        [("empty", 0), ("one_byte", 1), ("too_big", 1 << 45), ("absurd", usize::MAX)];
    let flags = FLAGS.into_iter().map(|(name, flags)| {
        case(format!("buffer.create.{name}"), move |w| {
            create!(w, clCreateBuffer(w.context()?, flags, PAGE, NULL))
        })
    });
    let sizes = SIZES.into_iter().map(|(name, size)| {
        case(format!("buffer.create.{name}"), move |w| {
            create!(w, clCreateBuffer(w.context()?, RW, size, NULL))
        })
    });
    let mut cases: Vec<Case> = flags.chain(sizes).collect();
    cases.extend([
        case("buffer.create.null_context", |w| create!(w, clCreateBuffer(NULL, RW, PAGE, NULL))),
        case("buffer.create.garbage_context", |w| create!(w, clCreateBuffer(garbage(), RW, PAGE, NULL))),
        case("buffer.create.bigger_than_a_bank", |w| {
            w.program()?;
            create!(w, clCreateBuffer(w.context()?, RW, (1 << 29) + PAGE, NULL))
        }),
    ]);
    cases
}

/// Host memory on a page boundary, or `offset` bytes behind one.
fn memory(offset: usize) -> *mut c_void {
    let room = Box::leak(vec![0_u8; 4 * PAGE].into_boxed_slice());
    let start = room.as_ptr().align_offset(PAGE);
    room[start + offset..].as_mut_ptr().cast()
}

fn host_memory() -> Vec<Case> {
    vec![
        case("buffer.host.use", |w| {
            create!(w, clCreateBuffer(w.context()?, RW | CL_MEM_USE_HOST_PTR, PAGE, memory(0)))
        }),
        case("buffer.host.use_unaligned", |w| {
            create!(w, clCreateBuffer(w.context()?, RW | CL_MEM_USE_HOST_PTR, PAGE, memory(8)))
        }),
        case("buffer.host.use_null", |w| {
            create!(w, clCreateBuffer(w.context()?, RW | CL_MEM_USE_HOST_PTR, PAGE, NULL))
        }),
        case("buffer.host.copy", |w| {
            create!(w, clCreateBuffer(w.context()?, RW | CL_MEM_COPY_HOST_PTR, PAGE, memory(8)))
        }),
        case("buffer.host.copy_null", |w| {
            create!(w, clCreateBuffer(w.context()?, RW | CL_MEM_COPY_HOST_PTR, PAGE, NULL))
        }),
        case("buffer.host.unasked", |w| create!(w, clCreateBuffer(w.context()?, RW, PAGE, memory(0)))),
        case("buffer.host.use_and_alloc", |w| {
            let flags = RW | CL_MEM_USE_HOST_PTR | CL_MEM_ALLOC_HOST_PTR;
            create!(w, clCreateBuffer(w.context()?, flags, PAGE, memory(0)))
        }),
        case("buffer.host.use_and_copy", |w| {
            let flags = RW | CL_MEM_USE_HOST_PTR | CL_MEM_COPY_HOST_PTR;
            create!(w, clCreateBuffer(w.context()?, flags, PAGE, memory(0)))
        }),
    ]
}

fn write(w: &World, buffer: cl_mem) -> Outcome {
    let data = [0_u8; 64];
    let from = data.as_ptr().cast();
    status!(w, clEnqueueWriteBuffer(w.queue()?, buffer, CL_TRUE, 0, 64, from, 0, null(), null_mut()))
}

fn properties() -> Vec<Case> {
    const PROPERTIES: [(&str, cl_mem_info, Show); 10] = [
        ("type", CL_MEM_TYPE, Show::Number),
        ("flags", CL_MEM_FLAGS, Show::Number),
        ("size", CL_MEM_SIZE, Show::Number),
        ("host_ptr", CL_MEM_HOST_PTR, Show::Number),
        ("map_count", CL_MEM_MAP_COUNT, Show::Number),
        ("reference_count", CL_MEM_REFERENCE_COUNT, Show::Number),
        ("context", CL_MEM_CONTEXT, Show::Size),
        ("associated", CL_MEM_ASSOCIATED_MEMOBJECT, Show::Number),
        ("offset", CL_MEM_OFFSET, Show::Number),
        ("unknown", 0x9999, Show::Nothing),
    ];
    let info = PROPERTIES.into_iter().map(|(name, param, show)| {
        case(format!("buffer.info.{name}"), move |w| info!(w, show, clGetMemObjectInfo(w.buffer()?, param)))
    });
    let mut cases: Vec<Case> = info.collect();
    cases.extend([
        case("buffer.info.null", |w| info!(w, Show::Number, clGetMemObjectInfo(NULL, CL_MEM_SIZE))),
        case("buffer.info.garbage", |w| info!(w, Show::Number, clGetMemObjectInfo(garbage(), CL_MEM_SIZE))),
        case("buffer.info.too_small", |w| {
            let (mut byte, buffer) = (0_u8, w.buffer()?);
            let value = (&raw mut byte).cast();
            status!(w, clGetMemObjectInfo(buffer, CL_MEM_SIZE, 1, value, null_mut()))
        }),
        case("buffer.info.offset_of_a_part", |w| {
            let region = cl_buffer_region { origin: PAGE, size: PAGE };
            let (whole, region) = (w.buffer_of(RW, 2 * PAGE)?, (&raw const region).cast());
            let part = made!(w, clCreateSubBuffer(whole, RW, CL_BUFFER_CREATE_TYPE_REGION, region));
            info!(w, Show::Number, clGetMemObjectInfo(part, CL_MEM_OFFSET))
        }),
        case("buffer.info.flags_of_a_bank", |w| {
            info!(w, Show::Nothing, clGetMemObjectInfo(w.bank(1)?, CL_MEM_FLAGS))
        }),
        case("buffer.info.image_info", |w| {
            info!(w, Show::Nothing, clGetImageInfo(w.buffer()?, CL_IMAGE_WIDTH))
        }),
    ]);
    cases
}

unsafe extern "C" fn destroyed(_: cl_mem, _: *mut c_void) {}

fn lives() -> Vec<Case> {
    vec![
        case("buffer.retain", |w| status!(w, clRetainMemObject(w.buffer()?))),
        case("buffer.retain.null", |w| status!(w, clRetainMemObject(NULL))),
        case("buffer.release", |w| status!(w, clReleaseMemObject(w.buffer()?))),
        case("buffer.release.null", |w| status!(w, clReleaseMemObject(NULL))),
        case("buffer.release.garbage", |w| status!(w, clReleaseMemObject(garbage()))),
        case("buffer.release.twice", |w| {
            let buffer = w.buffer()?;
            must!(w, clReleaseMemObject(buffer));
            status!(w, clReleaseMemObject(buffer))
        }),
        case("buffer.release.whole_before_part", |w| {
            let region = cl_buffer_region { origin: 0, size: PAGE };
            let (whole, region) = (w.buffer_of(RW, 2 * PAGE)?, (&raw const region).cast());
            let part = made!(w, clCreateSubBuffer(whole, RW, CL_BUFFER_CREATE_TYPE_REGION, region));
            must!(w, clReleaseMemObject(whole));
            status!(w, clReleaseMemObject(part))
        }),
        case("buffer.release.while_an_argument", |w| {
            let (kernel, buffer) = (w.kernel()?, w.bank(0)?);
            done("clSetKernelArg", w.set_buffer(kernel, 0, buffer)?)?;
            status!(w, clReleaseMemObject(buffer))
        }),
        case("buffer.write_released", |w| {
            let buffer = w.placed()?;
            must!(w, clReleaseMemObject(buffer));
            write(w, buffer)
        }),
        case("buffer.destructor", |w| {
            status!(w, clSetMemObjectDestructorCallback(w.buffer()?, Some(destroyed), NULL))
        }),
        case("buffer.destructor.null", |w| {
            status!(w, clSetMemObjectDestructorCallback(w.buffer()?, None, NULL))
        }),
        case("buffer.destructor.null_buffer", |w| {
            status!(w, clSetMemObjectDestructorCallback(NULL, Some(destroyed), NULL))
        }),
    ]
}
