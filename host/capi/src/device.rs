//! The OpenCL devices there are.
#![allow(unsafe_code, reason = "functions that C calls with pointers, and a function of C that is called")]

use crate::status::{Failure, fastcar_status, guard};
use fastcar_host::opencl::platform::{self, DeviceEntry};
use std::ffi::{CString, c_char, c_void};

/// An OpenCL device. `size` is the structure's in the library: later versions may have more fields.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fastcar_device {
    /// Bytes of this structure.
    pub size: usize,
    /// Its number: a way to name it in fastcar_session_options.device.
    pub index: usize,
    /// Its name.
    pub name: *const c_char,
    /// Its platform's name.
    pub platform: *const c_char,
    /// The OpenCL version that its platform names.
    pub version: *const c_char,
    /// Bytes of its memory.
    pub memory_bytes: u64,
    /// 1 if it takes work; 0 for instance while another process holds it.
    pub available: u32,
}

/// Told of a device; its texts live until the function returns. Returns 0 to go on, anything else to see no more. It may
/// leave only by returning (no longjmp, no exception).
pub type fastcar_device_callback =
    Option<unsafe extern "C" fn(user: *mut c_void, device: *const fastcar_device) -> i32>;

/// Calls a function for every OpenCL device of every platform.
///
/// The library asked is the one that the environment variable OPENCL_DYLIB_PATH names when a device is first looked
/// for, otherwise the system's. FASTCAR_NO_DEVICE says that there is none. Any thread; the function is called in it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fastcar_devices(
    callback: fastcar_device_callback,
    user: *mut c_void,
) -> fastcar_status {
    guard(|| {
        let callback = callback.ok_or_else(|| Failure::invalid("callback is NULL"))?;
        for entry in platform::devices()? {
            let texts = [&entry.name, &entry.platform, &entry.version].map(|text| c_text(text));
            let device = described(&entry, &texts);
            // SAFETY: the caller gave this function with this pointer for this call.
            if unsafe { callback(user, &device) } != 0 {
                break;
            }
        }
        Ok(())
    })
}

fn described(entry: &DeviceEntry, [name, platform, version]: &[CString; 3]) -> fastcar_device {
    fastcar_device {
        size: size_of::<fastcar_device>(),
        index: entry.index,
        name: name.as_ptr(),
        platform: platform.as_ptr(),
        version: version.as_ptr(),
        memory_bytes: entry.memory_bytes,
        available: entry.available.into(),
    }
}

/// Text for C, up to a NUL in it.
pub fn c_text(text: &str) -> CString {
    let end = text.find('\0').unwrap_or(text.len());
    CString::new(&text[..end]).unwrap_or_default()
}
