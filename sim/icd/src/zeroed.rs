//! Zeroed memory of a size that the host may not have.
#![allow(
    unsafe_code,
    reason = "the allocator's interface: no safe call gives zero pages and reports their lack"
)]

use std::alloc::{Layout, alloc_zeroed};

/// That many zeroed bytes, or nothing where the host has not as many. Pages are taken only when they are written.
pub(crate) fn zeroed(bytes: usize) -> Option<Vec<u8>> {
    if bytes == 0 {
        return Some(Vec::new());
    }
    let layout = Layout::array::<u8>(bytes).ok()?;
    // SAFETY: the layout is not of size 0.
    let start = unsafe { alloc_zeroed(layout) };
    if start.is_null() {
        return None;
    }
    // SAFETY: the bytes are of the global allocator, with the layout of an array of `bytes` u8, and all initialised.
    Some(unsafe { Vec::from_raw_parts(start, bytes, bytes) })
}
