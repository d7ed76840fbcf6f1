//! Memory of the host: pointers that go along with commands, and the host's side of a buffer.

use crate::refusal::{Answer, Refusal};
use opencl_sys as cl;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ffi::c_void;

/// Alignment of memory that buffers are mapped to: of a page, and of any type.
const PAGE: usize = 4096;

/// A pointer of the caller on its way to another thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Raw(pub(super) *mut c_void);

// SAFETY: a number; whoever follows it answers for what it points to.
unsafe impl Send for Raw {}
// SAFETY: as above.
unsafe impl Sync for Raw {}

impl Raw {
    /// So many bytes further on.
    pub(super) fn offset(self, bytes: usize) -> Self {
        Self(self.0.wrapping_byte_add(bytes))
    }

    /// Copies bytes to where it points.
    ///
    /// # Safety
    /// It points to as many bytes that may be written and that nothing else uses.
    pub(super) unsafe fn write(self, bytes: &[u8]) {
        // SAFETY: as the caller promises; device memory and memory of the host are never the same.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.0.cast(), bytes.len()) };
    }

    /// Copies bytes from where it points.
    ///
    /// # Safety
    /// It points to as many bytes that may be read and that nothing writes.
    pub(super) unsafe fn read(self, bytes: &mut [u8]) {
        // SAFETY: as above.
        unsafe { std::ptr::copy_nonoverlapping(self.0.cast(), bytes.as_mut_ptr(), bytes.len()) };
    }
}

/// Where a buffer is mapped to: memory of the caller, or pages of the platform.
pub(super) enum HostSide {
    /// The caller's, as CL_MEM_USE_HOST_PTR asks.
    Caller(Raw),
    /// The platform's.
    Pages { start: Raw, layout: Layout },
}

impl HostSide {
    /// Zeroed pages.
    pub(super) fn pages(bytes: usize) -> Answer<Self> {
        let none =
            || Refusal::new(cl::CL_OUT_OF_HOST_MEMORY, format!("the host has no {bytes} bytes to map"));
        let layout = Layout::from_size_align(bytes.max(1), PAGE).map_err(|_| none())?;
        // SAFETY: the layout is not of size 0.
        let start = unsafe { alloc_zeroed(layout) };
        if start.is_null() {
            return Err(none());
        }
        Ok(Self::Pages { start: Raw(start.cast()), layout })
    }

    pub(super) fn start(&self) -> Raw {
        match self {
            Self::Caller(start) | Self::Pages { start, .. } => *start,
        }
    }
}

impl Drop for HostSide {
    fn drop(&mut self) {
        if let Self::Pages { start, layout } = self {
            // SAFETY: allocated with this layout, and dropped once.
            unsafe { dealloc(start.0.cast(), *layout) };
        }
    }
}
