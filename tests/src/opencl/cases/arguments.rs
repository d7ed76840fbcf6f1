//! Kernel arguments: sizes, values, banks.

use super::{Case, NULL, case, garbage};
use crate::opencl::api::{Outcome, must, status};
use crate::opencl::world::{CHANNEL0, COMMANDS, World};
use opencl_sys::*;
use std::ptr::null;

pub(super) fn cases() -> Vec<Case> {
    [numbers(), pointers(), on_banks()].into_iter().flatten().collect()
}

/// Sets an argument from eight bytes.
fn set(w: &World, index: cl_uint, size: usize) -> Outcome {
    let value = 1_u64;
    status!(w, clSetKernelArg(w.kernel()?, index, size, (&raw const value).cast()))
}

fn numbers() -> Vec<Case> {
    const SIZES: [(&str, usize); 5] =
        [("exact", 4), ("empty", 0), ("too_small", 2), ("too_big", 8), ("absurd", 1 << 40)];
    let sizes = SIZES
        .into_iter()
        .map(|(name, size)| case(format!("argument.number.{name}"), move |w| set(w, COMMANDS, size)));
    let mut cases: Vec<Case> = sizes.collect();
    cases.extend([
        case("argument.number.null_value", |w| status!(w, clSetKernelArg(w.kernel()?, COMMANDS, 4, null()))),
        case("argument.number.twice", |w| {
            set(w, COMMANDS, 4)?;
            set(w, COMMANDS, 4)
        }),
        case("argument.index.beyond", |w| set(w, 8, 8)),
        case("argument.index.far_beyond", |w| set(w, u32::MAX, 8)),
        case("argument.null_kernel", |w| {
            let value = 1_u32;
            status!(w, clSetKernelArg(NULL, COMMANDS, 4, (&raw const value).cast()))
        }),
        case("argument.garbage_kernel", |w| {
            let value = 1_u32;
            status!(w, clSetKernelArg(garbage(), COMMANDS, 4, (&raw const value).cast()))
        }),
        case("argument.svm", |w| status!(w, clSetKernelArgSVMPointer(w.kernel()?, 0, null()))),
    ]);
    cases
}

fn pointers() -> Vec<Case> {
    const SIZES: [(&str, usize); 4] = [("empty", 0), ("too_small", 4), ("too_big", 16), ("exact", 8)];
    let sizes = SIZES.into_iter().map(|(name, size)| {
        case(format!("argument.pointer.{name}"), move |w| {
            let value = [w.buffer()?, NULL];
            status!(w, clSetKernelArg(w.kernel()?, 0, size, value.as_ptr().cast()))
        })
    });
    let mut cases: Vec<Case> = sizes.collect();
    cases.extend([
        case("argument.pointer.null_value", |w| status!(w, clSetKernelArg(w.kernel()?, 0, 8, null()))),
        case("argument.pointer.null_buffer", |w| {
            let buffer = NULL;
            status!(w, clSetKernelArg(w.kernel()?, 0, 8, (&raw const buffer).cast()))
        }),
        case("argument.pointer.garbage_buffer", |w| {
            let buffer = garbage();
            status!(w, clSetKernelArg(w.kernel()?, 0, 8, (&raw const buffer).cast()))
        }),
        case("argument.pointer.queue", |w| {
            let queue = w.queue()?;
            status!(w, clSetKernelArg(w.kernel()?, 0, 8, (&raw const queue).cast()))
        }),
        case("argument.pointer.foreign_buffer", |w| {
            let buffer = w.foreign_buffer()?;
            status!(w, clSetKernelArg(w.kernel()?, 0, 8, (&raw const buffer).cast()))
        }),
        case("argument.pointer.twice", |w| {
            set_on(w, 0, 0)?;
            set_on(w, 0, 0)
        }),
        case("argument.pointer.one_buffer_in_two_arguments", |w| {
            let (kernel, buffer) = (w.kernel()?, w.buffer()?);
            w.set_buffer(kernel, 0, buffer)?;
            status!(w, clSetKernelArg(kernel, 2, 8, (&raw const buffer).cast()))
        }),
    ]);
    cases
}

/// Sets a pointer argument to a page on a bank.
fn set_on(w: &World, index: cl_uint, bank: u32) -> Outcome {
    let (kernel, buffer) = (w.kernel()?, w.bank(bank)?);
    status!(w, clSetKernelArg(kernel, index, 8, (&raw const buffer).cast()))
}

fn on_banks() -> Vec<Case> {
    const PLACES: [(&str, cl_uint, u32); 11] = [
        ("program_on_0", 0, 0),
        ("program_on_1", 0, 1),
        ("step_on_0", 2, 0),
        ("step_on_3", 2, 3),
        ("report_on_0", 3, 0),
        ("report_on_2", 3, 2),
        ("channel0_on_0", CHANNEL0, 0),
        ("channel0_on_1", CHANNEL0, 1),
        ("channel1_on_1", CHANNEL0 + 1, 1),
        ("channel3_on_3", CHANNEL0 + 3, 3),
        ("channel3_on_0", CHANNEL0 + 3, 0),
    ];
    let places = PLACES
        .into_iter()
        .map(|(name, index, bank)| case(format!("argument.bank.{name}"), move |w| set_on(w, index, bank)));
    let mut cases: Vec<Case> = places.collect();
    cases.extend([
        case("argument.bank.unplaced_channel2", |w| {
            let (kernel, buffer) = (w.kernel()?, w.buffer()?);
            status!(w, clSetKernelArg(kernel, CHANNEL0 + 2, 8, (&raw const buffer).cast()))
        }),
        case("argument.bank.placed_by_use_elsewhere", |w| {
            let (kernel, buffer) = (w.kernel()?, w.buffer()?);
            w.set_buffer(kernel, CHANNEL0 + 2, buffer)?;
            status!(w, clSetKernelArg(kernel, 0, 8, (&raw const buffer).cast()))
        }),
        case("argument.bank.placed_by_write_elsewhere", |w| {
            let (kernel, buffer, data) = (w.kernel()?, w.buffer()?, [0_u8; 64]);
            let (queue, from) = (w.queue()?, data.as_ptr().cast());
            let no_event = std::ptr::null_mut();
            must!(w, clEnqueueWriteBuffer(queue, buffer, CL_TRUE, 0, 64, from, 0, null(), no_event));
            status!(w, clSetKernelArg(kernel, CHANNEL0 + 2, 8, (&raw const buffer).cast()))
        }),
    ]);
    cases
}
