//! Which version of the library this is.
#![allow(unsafe_code, reason = "exported names are declared as unsafe attributes")]

use std::ffi::{CStr, c_char};

const TEXT: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(text) => text,
    Err(_) => panic!("a version has no NUL"),
};

/// One part of the version as a number.
const fn number(digits: &str) -> u32 {
    match u32::from_str_radix(digits, 10) {
        Ok(number) => number,
        Err(_) => panic!("a part of a version is a number"),
    }
}

/// The version of the library that runs, as text: "0.1.0". FASTCAR_VERSION is that of the header.
///
/// The text is the library's and lives as long as it. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn fastcar_version() -> *const c_char {
    TEXT.as_ptr()
}

/// The same as a number to compare with FASTCAR_VERSION_NUMBER: 1000000 * major + 1000 * minor + patch.
///
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn fastcar_version_number() -> u32 {
    number(env!("CARGO_PKG_VERSION_MAJOR")) * 1_000_000
        + number(env!("CARGO_PKG_VERSION_MINOR")) * 1_000
        + number(env!("CARGO_PKG_VERSION_PATCH"))
}
