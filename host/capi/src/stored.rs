//! Sessions in files: a decode that goes on in another process, on another device.
#![allow(unsafe_code, reason = "functions that C calls with pointers")]

use crate::memory::{empty, give, handle, path, read};
use crate::model::fastcar_model;
use crate::session::{backend, fastcar_session, fastcar_session_options};
use crate::status::{fastcar_status, guard};
use fastcar_arch::units::Bytes;
use fastcar_host::session::{Session, Snapshot};
use std::ffi::c_char;
use std::sync::Arc;

/// Writes the state of a session between two steps: sequences and device memory, without the model's weights. A file
/// that is there is replaced once all is written; nothing is left when the call fails.
///
/// Any thread, one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fastcar_session_snapshot(
    session: *mut fastcar_session,
    file: *const c_char,
) -> fastcar_status {
    guard(|| {
        // SAFETY: pointers are as the head of the interface wants them.
        let (session, file) = unsafe { (handle(session, "session")?, path(file, "file")?) };
        session.with(|session| Ok(session.snapshot()?))?.save(file)?;
        Ok(())
    })
}

/// Opens a session where a snapshot left off, on this or another device; its sequences keep their numbers
/// (fastcar_session_sequences). Policy, slots and positions stand in the snapshot: those of the options are not read.
///
/// `*session` is the caller's, for fastcar_session_close; NULL when the call fails. Model, options and texts may go after
/// the call. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fastcar_session_restore(
    model: *const fastcar_model,
    file: *const c_char,
    options: *const fastcar_session_options,
    session: *mut *mut fastcar_session,
) -> fastcar_status {
    guard(|| {
        // SAFETY: pointers are as the head of the interface wants them.
        let (out, model, file, options) = unsafe {
            (empty(session, "session")?, handle(model, "model")?, path(file, "file")?, read(options)?)
        };
        let snapshot = Snapshot::load(file)?;
        // SAFETY: the texts of the options, too.
        let backend = unsafe { backend(&options, model) }?;
        let packed = Arc::clone(&model.packed);
        let restored = match options.streamed_bytes {
            0 => Session::restore(backend, packed, &snapshot)?,
            bytes => Session::restore_streamed(backend, packed, &snapshot, Bytes(bytes))?,
        };
        give(out, fastcar_session::new(restored, model.allowed()));
        Ok(())
    })
}
