//! Parts of buffers.

use super::{RW, write};
use crate::opencl::api::{Outcome, create, made};
use crate::opencl::cases::{Case, NULL, case};
use crate::opencl::world::{PAGE, World};
use opencl_sys::*;
use std::ptr::null;

/// Makes a part of a buffer of two pages.
fn part(w: &World, flags: cl_mem_flags, origin: usize, size: usize) -> Outcome {
    let (whole, region) = (w.buffer_of(RW, 2 * PAGE)?, cl_buffer_region { origin, size });
    let region = (&raw const region).cast();
    create!(w, clCreateSubBuffer(whole, flags, CL_BUFFER_CREATE_TYPE_REGION, region))
}

pub(super) fn parts() -> Vec<Case> {
    const REGIONS: [(&str, cl_mem_flags, usize, usize); 9] = [
        ("first_page", RW, 0, PAGE),
        ("second_page", RW, PAGE, PAGE),
        ("no_flags", 0, PAGE, PAGE),
        ("narrower", CL_MEM_READ_ONLY, PAGE, PAGE),
        ("unaligned", RW, 7, 64),
        ("aligned_to_64", RW, 64, 64),
        ("empty", RW, 0, 0),
        ("too_long", RW, PAGE, 2 * PAGE),
        ("beyond", RW, 4 * PAGE, PAGE),
    ];
    let regions = REGIONS.into_iter().map(|(name, flags, origin, size)| {
        case(format!("buffer.part.{name}"), move |w| part(w, flags, origin, size))
    });
    let mut cases: Vec<Case> = regions.collect();
    static WHOLE: cl_buffer_region = cl_buffer_region { origin: 0, size: PAGE };
    cases.extend([
        case("buffer.part.host_flag", |w| part(w, RW | CL_MEM_COPY_HOST_PTR, 0, PAGE)),
        case("buffer.part.of_null", |w| {
            let region = (&raw const WHOLE).cast();
            create!(w, clCreateSubBuffer(NULL, RW, CL_BUFFER_CREATE_TYPE_REGION, region))
        }),
        case("buffer.part.of_a_part", |w| {
            let (whole, region) = (w.buffer_of(RW, 2 * PAGE)?, (&raw const WHOLE).cast());
            let part = made!(w, clCreateSubBuffer(whole, RW, CL_BUFFER_CREATE_TYPE_REGION, region));
            create!(w, clCreateSubBuffer(part, RW, CL_BUFFER_CREATE_TYPE_REGION, region))
        }),
        case("buffer.part.null_region", |w| {
            create!(w, clCreateSubBuffer(w.buffer()?, RW, CL_BUFFER_CREATE_TYPE_REGION, null()))
        }),
        case("buffer.part.unknown_kind", |w| {
            create!(w, clCreateSubBuffer(w.buffer()?, RW, 0x7777, (&raw const WHOLE).cast()))
        }),
        case("buffer.part.wider_than_parent", |w| {
            let (whole, region) = (w.buffer_of(CL_MEM_READ_ONLY, 2 * PAGE)?, (&raw const WHOLE).cast());
            create!(w, clCreateSubBuffer(whole, RW, CL_BUFFER_CREATE_TYPE_REGION, region))
        }),
        case("buffer.part.write", |w| {
            w.program()?;
            let region = cl_buffer_region { origin: PAGE, size: PAGE };
            let (whole, region) = (w.placed_with(RW, 2 * PAGE)?, (&raw const region).cast());
            let part = made!(w, clCreateSubBuffer(whole, RW, CL_BUFFER_CREATE_TYPE_REGION, region));
            write(w, part)
        }),
        case("buffer.part.write_beyond", |w| {
            w.program()?;
            let region = cl_buffer_region { origin: 0, size: 32 };
            let (whole, region) = (w.placed_with(RW, 2 * PAGE)?, (&raw const region).cast());
            let part = made!(w, clCreateSubBuffer(whole, RW, CL_BUFFER_CREATE_TYPE_REGION, region));
            write(w, part)
        }),
    ]);
    cases
}
