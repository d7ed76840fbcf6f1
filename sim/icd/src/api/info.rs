//! Answers to queries: bytes of a value, into the memory that the caller gives.

use crate::refusal::{Answer, Refusal};
use std::ffi::{CStr, c_char, c_void};

/// Where the value of a query goes.
pub(super) struct Place {
    pub(super) size: usize,
    pub(super) value: *mut c_void,
    pub(super) size_ret: *mut usize,
}

impl Place {
    /// Gives the value.
    ///
    /// # Safety
    /// `value`, if not null, is writable for `size` bytes; `size_ret`, if not null, for a word.
    pub(super) unsafe fn give(self, bytes: &[u8]) -> Answer<()> {
        if !self.value.is_null() {
            // A value is refused whose size is larger than the memory given for it.
            if self.size < bytes.len() {
                let (found, needed) = (self.size, bytes.len());
                return Err(Refusal::value(format!(
                    "the value has {needed} bytes, room is given for {found}"
                )));
            }
            // SAFETY: writable for at least as many bytes, as the caller promises and the test has shown.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.value.cast(), bytes.len()) };
        }
        if !self.size_ret.is_null() {
            // SAFETY: writable, as the caller promises.
            unsafe { self.size_ret.write_unaligned(bytes.len()) };
        }
        Ok(())
    }
}

/// A query for something that there is not.
pub(super) fn unknown(query: u32) -> Refusal {
    Refusal::value(format!("query {query:#x} is not supported"))
}

pub(super) fn text(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

pub(super) fn u32(value: u32) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

pub(super) fn i32(value: i32) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

pub(super) fn u64(value: u64) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

pub(super) fn size(value: usize) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

pub(super) fn sizes(values: &[usize]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_ne_bytes()).collect()
}

pub(super) fn handle(value: *mut c_void) -> Vec<u8> {
    size(value.expose_provenance())
}

pub(super) fn handles(values: &[*mut c_void]) -> Vec<u8> {
    values.iter().flat_map(|v| handle(*v)).collect()
}

/// The elements of a list.
///
/// # Safety
/// `start` points to `count` elements, or is null.
pub(super) unsafe fn list<'a, T>(start: *const T, count: usize) -> &'a [T] {
    if start.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: as the caller promises.
    unsafe { std::slice::from_raw_parts(start, count) }
}

/// Writes a value where the caller wants one.
///
/// # Safety
/// `place` is null or writable.
pub(super) unsafe fn set<T>(place: *mut T, value: T) {
    if !place.is_null() {
        // SAFETY: writable, as the caller promises.
        unsafe { place.write(value) };
    }
}

/// A text of the caller.
///
/// # Safety
/// `text` is null or ends with a zero byte.
pub(super) unsafe fn str<'a>(text: *const c_char) -> Answer<&'a str> {
    if text.is_null() {
        return Err(Refusal::value("a null pointer is given for a text"));
    }
    // SAFETY: as the caller promises.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map_err(|_| Refusal::value("the text is not UTF-8"))
}
