//! Buffers on banks, by AMD's extension.

use super::{RW, memory, write};
use crate::opencl::api::{Outcome, create, made};
use crate::opencl::cases::{Case, NULL, case};
use crate::opencl::world::{CL_MEM_EXT_PTR_XILINX, ExtPtr, PAGE, World};
use opencl_sys::*;

/// Creates a buffer with the extension's place.
fn placed(w: &World, flags: cl_mem_flags, mut place: ExtPtr) -> Outcome {
    let flags = RW | CL_MEM_EXT_PTR_XILINX | flags;
    create!(w, clCreateBuffer(w.context()?, flags, PAGE, (&raw mut place).cast()))
}

/// Creates a buffer on a bank of a loaded image.
fn on_bank(w: &World, flags: u32) -> Outcome {
    w.program()?;
    placed(w, 0, ExtPtr { flags, ..ExtPtr::bank(0) })
}

pub(super) fn banks() -> Vec<Case> {
    const BANKS: [(&str, u32); 7] = [
        ("first", 0x8000_0000),
        ("last", 0x8000_0003),
        ("beyond_last", 0x8000_0004),
        ("far_beyond", 0x8000_FFFF),
        ("legacy_first", 1),
        ("legacy_second", 2),
        ("legacy_none", 0),
    ];
    let banks = BANKS
        .into_iter()
        .map(|(name, flags)| case(format!("buffer.bank.{name}"), move |w| on_bank(w, flags)));
    let mut cases: Vec<Case> = banks.collect();
    cases.extend([
        case("buffer.bank.before_program", |w| placed(w, 0, ExtPtr::bank(1))),
        case("buffer.bank.null_place", |w| {
            create!(w, clCreateBuffer(w.context()?, RW | CL_MEM_EXT_PTR_XILINX, PAGE, NULL))
        }),
        case("buffer.bank.sign_extended_flag", |w| {
            w.program()?;
            let (mut place, flags) = (ExtPtr::bank(1), RW | 0xFFFF_FFFF_8000_0000);
            create!(w, clCreateBuffer(w.context()?, flags, PAGE, (&raw mut place).cast()))
        }),
        case("buffer.bank.use_host", |w| {
            w.program()?;
            placed(w, CL_MEM_USE_HOST_PTR, ExtPtr { host: memory(0), ..ExtPtr::bank(1) })
        }),
        case("buffer.bank.copy_host", |w| {
            w.program()?;
            placed(w, CL_MEM_COPY_HOST_PTR, ExtPtr { host: memory(0), ..ExtPtr::bank(1) })
        }),
        case("buffer.bank.use_host_null", |w| {
            w.program()?;
            placed(w, CL_MEM_USE_HOST_PTR, ExtPtr::bank(1))
        }),
        case("buffer.bank.host_unasked", |w| {
            w.program()?;
            placed(w, 0, ExtPtr { host: memory(0), ..ExtPtr::bank(1) })
        }),
        case("buffer.bank.of_argument", |w| {
            let kernel = w.kernel()?;
            placed(w, 0, ExtPtr { flags: 5, kernel, ..ExtPtr::bank(0) })
        }),
        case("buffer.bank.of_number_argument", |w| {
            let kernel = w.kernel()?;
            placed(w, 0, ExtPtr { flags: 1, kernel, ..ExtPtr::bank(0) })
        }),
        case("buffer.bank.of_unknown_argument", |w| {
            let kernel = w.kernel()?;
            placed(w, 0, ExtPtr { flags: 99, kernel, ..ExtPtr::bank(0) })
        }),
        case("buffer.bank.write_after_program", |w| {
            let buffer = w.bank(1)?;
            w.program()?;
            write(w, buffer)
        }),
        case("buffer.bank.write_on_last", |w| {
            w.program()?;
            let buffer = w.bank(3)?;
            write(w, buffer)
        }),
        case("buffer.bank.write_beyond_last", |w| {
            w.program()?;
            let buffer = w.bank(4)?;
            write(w, buffer)
        }),
        case("buffer.bank.write_bigger_than_bank", |w| {
            w.program()?;
            let (mut place, size) = (ExtPtr::bank(0), (1 << 29) + PAGE);
            let flags = RW | CL_MEM_EXT_PTR_XILINX;
            let buffer = made!(w, clCreateBuffer(w.context()?, flags, size, (&raw mut place).cast()));
            write(w, buffer)
        }),
    ]);
    cases
}
