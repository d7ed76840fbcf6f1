//! Copies, rectangles, fills.

use super::queue;
use crate::opencl::api::{Outcome, must, status};
use crate::opencl::cases::{Case, NULL, case};
use crate::opencl::world::{PAGE, World};
use opencl_sys::*;
use std::ptr::{null, null_mut};

/// Copies between pages: offsets and size.
const COPIES: [(&str, usize, usize, usize); 6] = [
    ("all", 0, 0, PAGE),
    ("part", 64, 128, 64),
    ("empty", 0, 0, 0),
    ("from_beyond", PAGE, 0, 64),
    ("to_beyond", 0, PAGE - 32, 64),
    ("too_long", 0, 0, 2 * PAGE),
];

pub(super) fn copies() -> Vec<Case> {
    let copies = COPIES.into_iter().map(|(name, from, to, size)| {
        case(format!("transfer.copy.{name}"), move |w| {
            let (source, target, queue) = (w.placed()?, w.placed()?, queue(w)?);
            status!(w, clEnqueueCopyBuffer(queue, source, target, from, to, size, 0, null(), null_mut()))
        })
    });
    let mut cases: Vec<Case> = copies.collect();
    cases.extend([
        case("transfer.copy.overlapping", |w| {
            let (buffer, queue) = (w.placed()?, queue(w)?);
            status!(w, clEnqueueCopyBuffer(queue, buffer, buffer, 0, 32, 64, 0, null(), null_mut()))
        }),
        case("transfer.copy.inside", |w| {
            let (buffer, queue) = (w.placed()?, queue(w)?);
            status!(w, clEnqueueCopyBuffer(queue, buffer, buffer, 0, 128, 64, 0, null(), null_mut()))
        }),
        case("transfer.copy.null_source", |w| {
            let (buffer, queue) = (w.placed()?, queue(w)?);
            status!(w, clEnqueueCopyBuffer(queue, NULL, buffer, 0, 0, 64, 0, null(), null_mut()))
        }),
        case("transfer.copy.null_target", |w| {
            let (buffer, queue) = (w.placed()?, queue(w)?);
            status!(w, clEnqueueCopyBuffer(queue, buffer, NULL, 0, 0, 64, 0, null(), null_mut()))
        }),
        case("transfer.copy.between_banks", |w| {
            w.program()?;
            let (source, target, queue) = (w.bank(0)?, w.bank(3)?, queue(w)?);
            must!(w, clEnqueueCopyBuffer(queue, source, target, 0, 0, PAGE, 0, null(), null_mut()));
            status!(w, clFinish(queue))
        }),
    ]);
    cases
}

/// Writes a rectangle of a page.
fn rectangle(w: &World, origin: [usize; 3], region: [usize; 3], pitch: usize) -> Outcome {
    let (queue, buffer, data) = (queue(w)?, w.placed()?, vec![0_u8; PAGE]);
    let (at, zero, size) = (origin.as_ptr(), [0_usize; 3], region.as_ptr());
    let (zero, from, none) = (zero.as_ptr(), data.as_ptr().cast(), null_mut());
    status!(
        w,
        clEnqueueWriteBufferRect(
            queue,
            buffer,
            CL_TRUE,
            at,
            zero,
            size,
            pitch,
            0,
            pitch,
            0,
            from,
            0,
            null(),
            none
        )
    )
}

pub(super) fn rectangles() -> Vec<Case> {
    vec![
        case("transfer.rectangle.write", |w| rectangle(w, [0, 0, 0], [16, 4, 1], 64)),
        case("transfer.rectangle.beyond", |w| rectangle(w, [0, 63, 0], [16, 4, 1], 64)),
        case("transfer.rectangle.empty", |w| rectangle(w, [0, 0, 0], [0, 4, 1], 64)),
        case("transfer.rectangle.pitch_too_small", |w| rectangle(w, [0, 0, 0], [16, 4, 1], 8)),
        case("transfer.rectangle.read", |w| {
            let (queue, buffer, mut data) = (queue(w)?, w.placed()?, vec![0_u8; PAGE]);
            let (zero, region) = ([0_usize; 3], [16_usize, 4, 1]);
            let (zero, size, to) = (zero.as_ptr(), region.as_ptr(), data.as_mut_ptr().cast());
            let none = null_mut();
            status!(
                w,
                clEnqueueReadBufferRect(
                    queue,
                    buffer,
                    CL_TRUE,
                    zero,
                    zero,
                    size,
                    64,
                    0,
                    64,
                    0,
                    to,
                    0,
                    null(),
                    none
                )
            )
        }),
        case("transfer.rectangle.copy", |w| {
            let (queue, from, to) = (queue(w)?, w.placed()?, w.placed()?);
            let (zero, region) = ([0_usize; 3], [16_usize, 4, 1]);
            let (zero, size, none) = (zero.as_ptr(), region.as_ptr(), null_mut());
            status!(
                w,
                clEnqueueCopyBufferRect(queue, from, to, zero, zero, size, 64, 0, 64, 0, 0, null(), none)
            )
        }),
    ]
}

pub(super) fn fills() -> Vec<Case> {
    const FILLS: [(&str, usize, usize, usize); 6] = [
        ("bytes", 1, 0, PAGE),
        ("words", 4, 64, 64),
        ("pattern_empty", 0, 0, 64),
        ("pattern_of_three", 3, 0, 63),
        ("offset_not_a_multiple", 4, 2, 64),
        ("beyond", 4, PAGE, 64),
    ];
    let fills = FILLS.into_iter().map(|(name, width, offset, size)| {
        case(format!("transfer.fill.{name}"), move |w| {
            let (buffer, queue, data) = (w.placed()?, queue(w)?, [7_u8; 16]);
            let pattern = data.as_ptr().cast();
            status!(
                w,
                clEnqueueFillBuffer(queue, buffer, pattern, width, offset, size, 0, null(), null_mut())
            )
        })
    });
    fills
        .chain([case("transfer.fill.null_pattern", |w| {
            let (buffer, queue) = (w.placed()?, queue(w)?);
            status!(w, clEnqueueFillBuffer(queue, buffer, null(), 4, 0, 64, 0, null(), null_mut()))
        })])
        .collect()
}
