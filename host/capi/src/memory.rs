//! What C hands over: pointers checked, and what lies behind them copied or borrowed for the call.
//!
//! A pointer that is not NULL and is aligned is believed: that it leads to what its type says is the caller's part of
//! the bargain, stated at the head of the C interface.
#![allow(unsafe_code, reason = "this is where pointers of C are followed")]

use crate::status::{Failure, fastcar_status};
use std::ffi::{CStr, OsStr, c_char};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Larger than any structure of ours will be: a larger size was never set.
const SIZE_LIMIT: usize = 4096;

/// A structure that begins with its size in bytes as the caller knows it, so that later versions can add fields.
///
/// # Safety
/// It is `repr(C)`, its first field is `size: usize`, and bytes of zero are a value of it.
pub unsafe trait Sized: Copy {
    /// Its name in C.
    const NAME: &'static str;
    /// Offset of the last field of the first version: every caller's structure reaches farther.
    const LAST: usize;
}

/// Declares structures that can grow, each with the last field of its first version.
macro_rules! sized {
    ($($type:ident to $last:ident),* $(,)?) => {$(
        const _: () = assert!(std::mem::offset_of!($type, size) == 0);
        // SAFETY: the structure is `repr(C)` with its size first, and its fields are numbers and pointers.
        unsafe impl $crate::memory::Sized for $type {
            const NAME: &'static str = stringify!($type);
            const LAST: usize = std::mem::offset_of!($type, $last);
        }
    )*};
}
pub(crate) use sized;

fn check<T>(pointer: *const T, what: &str) -> Result<(), Failure> {
    if pointer.is_null() {
        return Err(Failure::invalid(format!("{what} is NULL")));
    }
    if !pointer.is_aligned() {
        return Err(Failure::invalid(format!("{what} is at an address that its type cannot have")));
    }
    Ok(())
}

/// An object behind a handle.
pub unsafe fn handle<'a, T>(pointer: *const T, what: &str) -> Result<&'a T, Failure> {
    check(pointer, what)?;
    // SAFETY: a handle leads to an object that this library made and that is not closed during the call.
    Ok(unsafe { &*pointer })
}

/// Where a handle goes: NULL until there is one.
pub unsafe fn empty<'a, T>(out: *mut *mut T, what: &str) -> Result<&'a mut *mut T, Failure> {
    check(out, what)?;
    // SAFETY: the caller has room for a pointer there, for the time of the call.
    unsafe {
        out.write(std::ptr::null_mut());
        Ok(&mut *out)
    }
}

/// Makes a handle of an object.
pub fn give<T>(out: &mut *mut T, object: T) {
    *out = Box::into_raw(Box::new(object));
}

/// Takes a handle's object back; none for NULL.
pub unsafe fn take<T>(pointer: *mut T) -> Option<Box<T>> {
    // SAFETY: the handle came from [`give`], and is closed once.
    (!pointer.is_null()).then(|| unsafe { Box::from_raw(pointer) })
}

/// Where a number goes.
pub struct Place<T>(*mut T);

impl<T: Copy> Place<T> {
    /// Checks the pointer before anything is done.
    pub unsafe fn new(out: *mut T, what: &str) -> Result<Self, Failure> {
        check(out, what)?;
        Ok(Self(out))
    }

    /// Hands the number over.
    pub fn set(&self, value: T) {
        // SAFETY: the caller has room for a number there.
        unsafe { self.0.write(value) };
    }
}

/// Text, or none for NULL.
pub unsafe fn optional<'a>(text: *const c_char, what: &str) -> Result<Option<&'a str>, Failure> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: text ends in NUL and does not change during the call.
    let text = unsafe { CStr::from_ptr(text) };
    let refuse = |e| Failure::invalid(format!("{what} '{}' is not UTF-8: {e}", text.to_string_lossy()));
    text.to_str().map(Some).map_err(refuse)
}

/// Text that has to be there.
pub unsafe fn text<'a>(text: *const c_char, what: &str) -> Result<&'a str, Failure> {
    // SAFETY: as the caller's.
    unsafe { optional(text, what) }?.ok_or_else(|| Failure::invalid(format!("{what} is NULL")))
}

/// A path, which may be any bytes; none for NULL.
pub unsafe fn optional_path<'a>(path: *const c_char) -> Option<&'a Path> {
    // SAFETY: text ends in NUL and does not change during the call.
    (!path.is_null()).then(|| Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes())))
}

/// A path that has to be there.
pub unsafe fn path<'a>(path: *const c_char, what: &str) -> Result<&'a Path, Failure> {
    // SAFETY: as the caller's.
    unsafe { optional_path(path) }.ok_or_else(|| Failure::invalid(format!("{what} is NULL")))
}

/// An array of the caller's.
pub unsafe fn slice<'a, T>(first: *const T, count: usize, what: &str) -> Result<&'a [T], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    check(first, what)?;
    if count > isize::MAX as usize / size_of::<T>() {
        return Err(Failure::invalid(format!("{what} has {count} elements, more than any memory holds")));
    }
    // SAFETY: the caller has so many elements there, which do not change during the call.
    Ok(unsafe { std::slice::from_raw_parts(first, count) })
}

/// The caller's array for results: how many it takes, and where their number goes.
pub struct Room<T> {
    first: *mut T,
    capacity: usize,
    count: *mut usize,
    what: &'static str,
}

impl<T: Copy> Room<T> {
    /// Checks the pointers. Without an array (NULL and 0) only the number is asked for.
    pub unsafe fn new(
        first: *mut T,
        capacity: usize,
        count: *mut usize,
        what: &'static str,
    ) -> Result<Self, Failure> {
        if capacity > 0 {
            check(first, what)?;
        }
        check(count, "count")?;
        Ok(Self { first, capacity, count, what })
    }

    /// Says how many elements there are; whether there is an array for them.
    pub fn fits(&self, needed: usize) -> Result<bool, Failure> {
        // SAFETY: the caller has room for a number there.
        unsafe { self.count.write(needed) };
        let asked_only = self.first.is_null();
        if asked_only || needed <= self.capacity {
            return Ok(!asked_only);
        }
        let (what, capacity) = (self.what, self.capacity);
        let message = format!("{what} has room for {capacity} elements, {needed} are needed");
        Err(Failure::new(fastcar_status::FASTCAR_BUFFER_TOO_SMALL, message))
    }

    /// Hands over the elements and their number.
    pub fn fill(&self, values: &[T]) -> Result<(), Failure> {
        if self.fits(values.len())? {
            // SAFETY: the caller has room for `capacity` elements there, which are at least as many.
            unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), self.first, values.len()) };
        }
        Ok(())
    }
}

/// The size that a caller's structure says it has.
unsafe fn size_of_caller<T: Sized>(from: *const T) -> Result<usize, Failure> {
    check(from, T::NAME)?;
    // SAFETY: every such structure begins with its size, which the caller has set.
    let size = unsafe { from.cast::<usize>().read() };
    if size <= T::LAST || size > SIZE_LIMIT {
        let (name, own) = (T::NAME, size_of::<T>());
        let message =
            format!("{name}.size is {size}: set it to sizeof({name}), which is {own} in this version");
        return Err(Failure::invalid(message));
    }
    Ok(size)
}

/// A caller's structure, of an older version (what it lacks is zero) or of a newer one (if what is unknown is zero).
pub unsafe fn read<T: Sized>(from: *const T) -> Result<T, Failure> {
    // SAFETY: as the caller's.
    let size = unsafe { size_of_caller(from) }?;
    let (bytes, own) = (from.cast::<u8>(), size_of::<T>());
    for i in own..size {
        // SAFETY: the structure has `size` bytes, and a caller that knows more fields has set them all.
        if unsafe { bytes.add(i).read() } != 0 {
            let (name, version) = (T::NAME, env!("CARGO_PKG_VERSION"));
            let message = format!(
                "{name} has a field at byte {i} that libfastcar {version} does not know: leave it 0, or use a later library"
            );
            return Err(Failure::invalid(message));
        }
    }
    let mut out = MaybeUninit::<T>::zeroed();
    // SAFETY: both have that many bytes, and zero is a value of every field that is not copied.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes, out.as_mut_ptr().cast::<u8>(), size.min(own));
        Ok(out.assume_init())
    }
}

/// As [`read`]; all zero for NULL.
pub unsafe fn read_or_default<T: Sized>(from: *const T) -> Result<T, Failure> {
    if from.is_null() {
        // SAFETY: bytes of zero are a value of it.
        return Ok(unsafe { MaybeUninit::<T>::zeroed().assume_init() });
    }
    // SAFETY: as the caller's.
    unsafe { read(from) }
}

/// The caller's structure for results.
pub struct Results<T> {
    to: *mut T,
    size: usize,
}

impl<T: Sized> Results<T> {
    /// Checks the structure before anything is done.
    pub unsafe fn new(to: *mut T) -> Result<Self, Failure> {
        // SAFETY: as the caller's.
        Ok(Self { to, size: unsafe { size_of_caller(to) }? })
    }

    /// Hands over as much as the caller knows; what only the caller knows becomes zero. The size stays.
    pub fn write(&self, value: &T) {
        let head = size_of::<usize>();
        let known = self.size.min(size_of::<T>());
        let from = std::ptr::from_ref(value).cast::<u8>();
        let to = self.to.cast::<u8>();
        // SAFETY: both have `known` bytes, the caller's has `size`.
        unsafe {
            std::ptr::copy_nonoverlapping(from.add(head), to.add(head), known - head);
            to.add(known).write_bytes(0, self.size - known);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    #[derive(Clone, Copy, PartialEq, Debug)]
    struct old {
        size: usize,
        first: u64,
    }

    #[repr(C)]
    #[derive(Clone, Copy, PartialEq, Debug)]
    struct new {
        size: usize,
        first: u64,
        second: u64,
    }

    sized!(old to first, new to first);

    #[test]
    fn an_older_structure_reads_as_zero_where_it_has_nothing() {
        let from = old { size: size_of::<old>(), first: 5 };
        // SAFETY: the structure says its size.
        let found = unsafe { read(std::ptr::from_ref(&from).cast::<new>()) };
        assert_eq!(found.ok(), Some(new { size: 16, first: 5, second: 0 }));
    }

    #[test]
    fn a_newer_structure_is_read_if_its_new_fields_are_zero() {
        let mut from = new { size: size_of::<new>(), first: 5, second: 0 };
        // SAFETY: the structure says its size.
        let known = unsafe { read(std::ptr::from_ref(&from).cast::<old>()) };
        assert_eq!(known.ok(), Some(old { size: 24, first: 5 }));
        from.second = 1 << 40;
        // SAFETY: as above.
        let refused = unsafe { read(std::ptr::from_ref(&from).cast::<old>()) };
        let message = format!("{refused:?}");
        assert!(message.contains("old has a field at byte 21 that libfastcar"), "{message}");
    }

    #[test]
    fn results_stay_within_the_callers_structure() {
        let value = new { size: 0, first: 1, second: 2 };
        let mut both = [old { size: size_of::<old>(), first: 9 }, old { size: 7, first: 7 }];
        // SAFETY: the structure says its size.
        let results = unsafe { Results::new(both.as_mut_ptr().cast::<new>()) };
        results.unwrap().write(&value);
        assert_eq!(both, [old { size: 16, first: 1 }, old { size: 7, first: 7 }]);
        let mut wide = new { size: size_of::<new>(), first: 9, second: 9 };
        // SAFETY: as above.
        let results = unsafe { Results::new(std::ptr::from_mut(&mut wide).cast::<old>()) };
        results.unwrap().write(&old { size: 0, first: 3 });
        assert_eq!(wide, new { size: 24, first: 3, second: 0 });
    }
}
