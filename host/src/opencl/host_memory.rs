//! Host memory that a device reads from or writes to while the program goes on.
#![allow(unsafe_code, reason = "a trait promises what calls of OpenCL rely on")]

use bytemuck::{Pod, Zeroable};
use fastcar_arch::layout::PAGE_BYTES;
use std::sync::Arc;

/// Bytes that a device may read for as long as it likes: whoever holds the source keeps them in place.
pub(super) type Source = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Bytes that a device may read.
///
/// # Safety
/// They stay where they are, and what they are, when their owner is moved.
pub(super) unsafe trait Steady {
    fn steady(&self) -> &[u8];
}

// SAFETY: what is shared is neither moved nor changed.
unsafe impl Steady for Source {
    fn steady(&self) -> &[u8] {
        (**self).as_ref()
    }
}

// SAFETY: the pages are on the heap.
unsafe impl Steady for HostBuffer {
    fn steady(&self) -> &[u8] {
        self.bytes()
    }
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(4096))]
struct Page([u8; PAGE_BYTES as usize]);

/// Page-aligned memory, kept from step to step: a runtime pins it once and copies nothing in between.
pub(super) struct HostBuffer {
    pages: Vec<Page>,
    bytes: usize,
}

impl HostBuffer {
    /// Zeroed memory.
    pub(super) fn new(bytes: usize) -> Self {
        Self { pages: vec![Page::zeroed(); bytes.div_ceil(size_of::<Page>())], bytes }
    }

    /// The same memory for another number of bytes; what it holds is unspecified.
    pub(super) fn resized(mut self, bytes: usize) -> Self {
        let pages = bytes.div_ceil(size_of::<Page>());
        if pages > self.pages.len() {
            self.pages.resize(pages, Page::zeroed());
        }
        self.bytes = bytes;
        self
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.pages)[..self.bytes]
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.pages)[..self.bytes]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_start_on_pages_and_keep_their_memory() {
        let mut buffer = HostBuffer::new(5000);
        buffer.bytes_mut()[4999] = 7;
        let at = buffer.bytes().as_ptr();
        assert_eq!((at as usize % PAGE_BYTES as usize, buffer.bytes().len()), (0, 5000));
        let mut buffer = buffer.resized(8192);
        assert_eq!((buffer.bytes().as_ptr(), buffer.bytes_mut().len()), (at, 8192));
        assert_eq!(HostBuffer::new(0).resized(1).bytes(), [0]);
    }
}
