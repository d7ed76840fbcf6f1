//! Which OpenCL library this process uses: settled once, before the first call.
//!
//! `OPENCL_DYLIB_PATH` names libraries, the first that loads is used; an empty name is the executable itself, where
//! the simulator's platform may be linked in. Without the variable it is the system's loader.
#![allow(
    unsafe_code,
    reason = "loading a library runs its initialisers, and the environment is of the whole process"
)]

use super::OpenClError;
use std::sync::OnceLock;

/// Variable that names the library.
pub const LIBRARY_VARIABLE: &str = "OPENCL_DYLIB_PATH";
/// Variable that names the simulated devices.
pub const SIMULATED_VARIABLE: &str = "FASTCAR_SIM_DEVICES";

/// Uses the platform that is linked into this executable, with these simulated devices unless the user has chosen
/// some. Call it first thing: later, other threads may be reading the environment.
///
/// # Errors
/// [`OpenClError::LinkedTooLate`].
pub fn use_linked_in(devices: &str) -> Result<(), OpenClError> {
    let missing = std::env::var_os(SIMULATED_VARIABLE).is_none();
    if std::env::var_os(LIBRARY_VARIABLE).is_some_and(|v| v.is_empty()) && !missing {
        return Ok(());
    }
    let threads = std::fs::read_dir("/proc/self/task").map_or(usize::MAX, Iterator::count);
    if threads != 1 {
        return Err(OpenClError::LinkedTooLate { threads });
    }
    // SAFETY: this is the only thread, so nobody reads or writes the environment meanwhile.
    unsafe {
        std::env::set_var(LIBRARY_VARIABLE, "");
        if missing {
            std::env::set_var(SIMULATED_VARIABLE, devices);
        }
    }
    Ok(())
}

/// Whether `OPENCL_DYLIB_PATH` chooses a library.
#[must_use]
pub fn is_chosen() -> bool {
    std::env::var_os(LIBRARY_VARIABLE).is_some()
}

/// Makes sure that a library named by `OPENCL_DYLIB_PATH` is the one that answers: the binding would silently fall
/// back to the system's.
pub(super) fn check() -> Result<(), OpenClError> {
    static CHECKED: OnceLock<Option<(String, String)>> = OnceLock::new();
    match CHECKED.get_or_init(refusals) {
        Some((asked, reason)) => Err(OpenClError::Library { asked: asked.clone(), reason: reason.clone() }),
        None => Ok(()),
    }
}

/// What the variable asks for and why none of it loads; nothing where it is not set or something loads.
fn refusals() -> Option<(String, String)> {
    let asked = std::env::var_os(LIBRARY_VARIABLE)?.to_string_lossy().into_owned();
    let mut reasons = Vec::new();
    for path in asked.split(';') {
        // SAFETY: the binding loads the same library right afterwards: its initialisers run either way, and the
        // user named it as the OpenCL library.
        match unsafe { libloading::Library::new(path) } {
            Ok(library) => {
                // Kept open: unloading a runtime that is about to be used is asking for trouble.
                std::mem::forget(library);
                return None;
            }
            Err(e) => {
                reasons.push(std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string))
            }
        }
    }
    Some((asked, reasons.join("; ")))
}
