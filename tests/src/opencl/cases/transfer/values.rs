//! Whether bytes arrive: what was written is read again in every way.

use super::maps::mapped;
use super::{queue, read_into, write_from};
use crate::opencl::api::{Answer, Outcome, Stop, done, made, must};
use crate::opencl::cases::{Case, case};
use crate::opencl::world::{CL_MEM_EXT_PTR_XILINX, ExtPtr, PAGE, World};
use opencl_sys::*;
use std::ptr::{null, null_mut};

/// The status, and whether the bytes are those expected.
fn same(status: cl_int, found: &[u8], expected: &[u8]) -> Answer {
    let value = if found == expected { "the bytes" } else { "other bytes" };
    Answer { status, value: value.to_owned() }
}

/// Bytes that differ from place to place.
fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|i| (i * 7 + 3) as u8).collect()
}

/// Writes a pattern over a page.
fn filled(w: &World) -> Result<(cl_mem, Vec<u8>), Stop> {
    let (buffer, data) = (w.placed()?, pattern(PAGE));
    done("clEnqueueWriteBuffer", write_from(w, buffer, 0, PAGE, data.as_ptr().cast())?.status)?;
    Ok((buffer, data))
}

/// What a buffer holds.
fn holds(w: &World, buffer: cl_mem, expected: &[u8]) -> Outcome {
    let mut data = vec![0; expected.len()];
    let answer = read_into(w, buffer, 0, data.len(), data.as_mut_ptr().cast())?;
    Ok(same(answer.status, &data, expected))
}

pub(super) fn values() -> Vec<Case> {
    vec![
        case("transfer.value.write_and_read", |w| {
            let (buffer, data) = filled(w)?;
            holds(w, buffer, &data)
        }),
        case("transfer.value.write_at_offset", |w| {
            let (buffer, mut data) = filled(w)?;
            data[100..110].fill(0xCC);
            must_write(w, buffer, 100, &[0xCC; 10])?;
            holds(w, buffer, &data)
        }),
        case("transfer.value.copy", |w| {
            let (from, data) = filled(w)?;
            let to = w.placed()?;
            let queue = queue(w)?;
            must!(w, clEnqueueCopyBuffer(queue, from, to, 0, 0, PAGE, 0, null(), null_mut()));
            holds(w, to, &data)
        }),
        case("transfer.value.copy_host_ptr", |w| {
            let mut data = pattern(PAGE);
            let mut place = ExtPtr { host: data.as_mut_ptr().cast(), ..ExtPtr::bank(0) };
            let flags = CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR | CL_MEM_EXT_PTR_XILINX;
            w.program()?;
            let buffer = made!(w, clCreateBuffer(w.context()?, flags, PAGE, (&raw mut place).cast()));
            holds(w, buffer, &data)
        }),
        case("transfer.value.map_and_write", |w| {
            let (buffer, mut data) = filled(w)?;
            let place = mapped(w, buffer, CL_MAP_WRITE | CL_MAP_READ)?;
            // SAFETY: the map gave a page of memory to read and write.
            let page = unsafe { std::slice::from_raw_parts_mut(place.cast::<u8>(), PAGE) };
            page[5..9].fill(0xDD);
            data[5..9].fill(0xDD);
            must!(w, clEnqueueUnmapMemObject(queue(w)?, buffer, place, 0, null(), null_mut()));
            must!(w, clFinish(queue(w)?));
            holds(w, buffer, &data)
        }),
        case("transfer.value.map_and_read", |w| {
            let (buffer, data) = filled(w)?;
            let place = mapped(w, buffer, CL_MAP_READ)?;
            // SAFETY: the map gave a page of memory to read.
            let page = unsafe { std::slice::from_raw_parts(place.cast::<u8>(), PAGE) };
            Ok(same(CL_SUCCESS, page, &data))
        }),
        case("transfer.value.fill", |w| {
            let (buffer, mut data) = filled(w)?;
            data[64..128].fill(0xAB);
            let (byte, queue) = (0xAB_u8, queue(w)?);
            let pattern = (&raw const byte).cast();
            must!(w, clEnqueueFillBuffer(queue, buffer, pattern, 1, 64, 64, 0, null(), null_mut()));
            holds(w, buffer, &data)
        }),
    ]
}

fn must_write(w: &World, buffer: cl_mem, offset: usize, data: &[u8]) -> Result<(), Stop> {
    let answer = write_from(w, buffer, offset, data.len(), data.as_ptr().cast())?;
    done("clEnqueueWriteBuffer", answer.status)
}
