//! How a call ended: a status, and a message that the thread can ask for.
#![allow(unsafe_code, reason = "exported names are declared as unsafe attributes")]

use fastcar_arch::config::ConfigError;
use fastcar_host::backend::BackendError;
use fastcar_host::compile::CompileError;
use fastcar_host::model::ModelError;
use fastcar_host::opencl::OpenClError;
use fastcar_host::packed::PackError;
use fastcar_host::policy::PolicyError;
use fastcar_host::session::{SessionError, SnapshotError};
use std::any::Any;
use std::cell::RefCell;
use std::error::Error;
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use fastcar_status::*;

/// How a call ended. Later versions may add values at the end.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum fastcar_status {
    /// It did what it says.
    FASTCAR_OK = 0,
    /// An argument or a field cannot be: a NULL pointer, a wrong size, text that is not UTF-8, an unknown name, a
    /// request that the model cannot serve.
    FASTCAR_INVALID_ARGUMENT = 1,
    /// The caller's array is too small; nothing was done, and the count says how many elements are needed.
    FASTCAR_BUFFER_TOO_SMALL = 2,
    /// A file cannot be read or written.
    FASTCAR_IO = 3,
    /// A file is no model, or a damaged or unsupported one.
    FASTCAR_MODEL = 4,
    /// A policy's text is wrong, or the policy does not fit the model.
    FASTCAR_POLICY = 5,
    /// The model, or slots and positions, do not fit the accelerator or its memory.
    FASTCAR_DOES_NOT_FIT = 6,
    /// Weights, image or snapshot were made for another accelerator or model.
    FASTCAR_IDENTITY = 7,
    /// There is no OpenCL library, platform or device; none or several are the one asked for; another process has it.
    FASTCAR_NO_DEVICE = 8,
    /// The image is missing, damaged, or not one of this accelerator.
    FASTCAR_IMAGE = 9,
    /// The device or its runtime failed.
    FASTCAR_DEVICE_FAILED = 10,
    /// The device hangs, or an earlier failure left it in an unknown state: close the session and open another.
    FASTCAR_DEVICE_LOST = 11,
    /// No slot is free: finish or cancel a sequence.
    FASTCAR_FULL = 12,
    /// The sequence is not in the session: it was finished or cancelled, or never started.
    FASTCAR_UNKNOWN_SEQUENCE = 13,
    /// A file is no snapshot, or a damaged one.
    FASTCAR_SNAPSHOT = 14,
    /// A progress callback asked to stop.
    FASTCAR_CANCELLED = 15,
    /// Another thread is in a call with the same session.
    FASTCAR_BUSY = 16,
    /// What is asked for does not exist here: a tokenizer, a null prompt, a device's time.
    FASTCAR_NOT_AVAILABLE = 17,
    /// A defect of the library, which was caught; a session that it struck answers this from then on. Close it.
    FASTCAR_PANIC = 18,
}

impl fastcar_status {
    const ALL: [(Self, &'static CStr); 19] = [
        (FASTCAR_OK, c"FASTCAR_OK"),
        (FASTCAR_INVALID_ARGUMENT, c"FASTCAR_INVALID_ARGUMENT"),
        (FASTCAR_BUFFER_TOO_SMALL, c"FASTCAR_BUFFER_TOO_SMALL"),
        (FASTCAR_IO, c"FASTCAR_IO"),
        (FASTCAR_MODEL, c"FASTCAR_MODEL"),
        (FASTCAR_POLICY, c"FASTCAR_POLICY"),
        (FASTCAR_DOES_NOT_FIT, c"FASTCAR_DOES_NOT_FIT"),
        (FASTCAR_IDENTITY, c"FASTCAR_IDENTITY"),
        (FASTCAR_NO_DEVICE, c"FASTCAR_NO_DEVICE"),
        (FASTCAR_IMAGE, c"FASTCAR_IMAGE"),
        (FASTCAR_DEVICE_FAILED, c"FASTCAR_DEVICE_FAILED"),
        (FASTCAR_DEVICE_LOST, c"FASTCAR_DEVICE_LOST"),
        (FASTCAR_FULL, c"FASTCAR_FULL"),
        (FASTCAR_UNKNOWN_SEQUENCE, c"FASTCAR_UNKNOWN_SEQUENCE"),
        (FASTCAR_SNAPSHOT, c"FASTCAR_SNAPSHOT"),
        (FASTCAR_CANCELLED, c"FASTCAR_CANCELLED"),
        (FASTCAR_BUSY, c"FASTCAR_BUSY"),
        (FASTCAR_NOT_AVAILABLE, c"FASTCAR_NOT_AVAILABLE"),
        (FASTCAR_PANIC, c"FASTCAR_PANIC"),
    ];
}

/// The name of a status, "FASTCAR_IO"; "unknown status" for a number that is none.
///
/// The text is the library's and lives as long as it. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn fastcar_status_name(status: i32) -> *const c_char {
    let found = fastcar_status::ALL.iter().find(|(known, _)| *known as i32 == status);
    found.map_or(c"unknown status", |(_, name)| name).as_ptr()
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// What the last call that failed on this thread has to say: what was asked, what was found, the limit, the way out,
/// with all causes. Empty if none has failed.
///
/// The text is the library's and lives until the next call that fails on this thread; calls that succeed leave it.
/// Any thread, each its own text.
#[unsafe(no_mangle)]
pub extern "C" fn fastcar_last_error() -> *const c_char {
    // A thread on its way out has no message.
    LAST.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// Why a call fails.
#[derive(Debug)]
pub struct Failure {
    status: fastcar_status,
    message: String,
}

impl Failure {
    pub fn new(status: fastcar_status, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(FASTCAR_INVALID_ARGUMENT, message)
    }

    /// An error, and each of its causes that says something new.
    fn of(status: fastcar_status, error: &dyn Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = error.source();
        }
        Self { status, message }
    }
}

/// Runs a call's body: its failure becomes status and message, a panic stops here.
pub fn guard(body: impl FnOnce() -> Result<(), Failure>) -> fastcar_status {
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return FASTCAR_OK,
        Ok(Err(failure)) => failure,
        Err(panic) => {
            let text = panic_text(&*panic);
            Failure::new(FASTCAR_PANIC, format!("a defect of libfastcar: {text}; please report it"))
        }
    };
    let text = CString::new(failure.message.replace('\0', "\u{fffd}")).unwrap_or_default();
    // A thread on its way out keeps no message.
    let _ = LAST.try_with(|last| last.replace(text));
    failure.status
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message")
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::of(FASTCAR_INVALID_ARGUMENT, &error)
    }
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        Self::of(of_model(&error), &error)
    }
}

impl From<PackError> for Failure {
    fn from(error: PackError) -> Self {
        let status = match &error {
            PackError::Model(error) => of_model(error),
            PackError::Plan(_) => FASTCAR_DOES_NOT_FIT,
            PackError::Io { .. } => FASTCAR_IO,
            PackError::Identity { .. } => FASTCAR_IDENTITY,
            PackError::Assets { .. } => FASTCAR_INVALID_ARGUMENT,
            PackError::Cancelled => FASTCAR_CANCELLED,
            _ => FASTCAR_MODEL,
        };
        Self::of(status, &error)
    }
}

impl From<PolicyError> for Failure {
    fn from(error: PolicyError) -> Self {
        let status = if matches!(error, PolicyError::Io { .. }) { FASTCAR_IO } else { FASTCAR_POLICY };
        Self::of(status, &error)
    }
}

impl From<OpenClError> for Failure {
    fn from(error: OpenClError) -> Self {
        Self::of(of_opencl(&error), &error)
    }
}

impl From<SnapshotError> for Failure {
    fn from(error: SnapshotError) -> Self {
        Self::of(of_snapshot(&error), &error)
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        let status = match &error {
            SessionError::Compile(CompileError::Policy(_) | CompileError::NoPeriod { .. }) => FASTCAR_POLICY,
            SessionError::Compile(_) => FASTCAR_DOES_NOT_FIT,
            SessionError::Sampling(_) | SessionError::Request { .. } => FASTCAR_INVALID_ARGUMENT,
            SessionError::Full { .. } => FASTCAR_FULL,
            SessionError::Unknown { .. } => FASTCAR_UNKNOWN_SEQUENCE,
            SessionError::Snapshot(error) => of_snapshot(error),
            SessionError::Backend(error) => of_backend(error),
            _ => FASTCAR_DEVICE_FAILED,
        };
        Self::of(status, &error)
    }
}

fn of_model(error: &ModelError) -> fastcar_status {
    match error {
        ModelError::Io { .. } => FASTCAR_IO,
        ModelError::UnknownWord { .. } | ModelError::PromptLength { .. } => FASTCAR_INVALID_ARGUMENT,
        _ => FASTCAR_MODEL,
    }
}

fn of_snapshot(error: &SnapshotError) -> fastcar_status {
    match error {
        SnapshotError::Model { .. } => FASTCAR_IDENTITY,
        SnapshotError::Policy { .. } => FASTCAR_POLICY,
        SnapshotError::File { .. } => FASTCAR_IO,
        _ => FASTCAR_SNAPSHOT,
    }
}

fn of_backend(error: &BackendError) -> fastcar_status {
    error.source().and_then(|e| e.downcast_ref()).map_or(FASTCAR_DEVICE_FAILED, of_opencl)
}

fn of_opencl(error: &OpenClError) -> fastcar_status {
    match error {
        OpenClError::Library { .. }
        | OpenClError::NoPlatform
        | OpenClError::NoDevice { .. }
        | OpenClError::UnknownDevice { .. }
        | OpenClError::AmbiguousDevice { .. }
        | OpenClError::InUse { .. } => FASTCAR_NO_DEVICE,
        OpenClError::ImageFile { .. } => FASTCAR_IO,
        OpenClError::Container { .. } | OpenClError::Image { .. } | OpenClError::NoImage { .. } => {
            FASTCAR_IMAGE
        }
        OpenClError::Identity { .. } => FASTCAR_IDENTITY,
        OpenClError::Memory { .. } | OpenClError::Taken { .. } => FASTCAR_DOES_NOT_FIT,
        OpenClError::Timeout { .. } | OpenClError::Lost { .. } => FASTCAR_DEVICE_LOST,
        OpenClError::Cancelled { .. } => FASTCAR_CANCELLED,
        _ => FASTCAR_DEVICE_FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> String {
        // SAFETY: the text is this thread's until the next failure on it.
        unsafe { CStr::from_ptr(fastcar_last_error()) }.to_string_lossy().into_owned()
    }

    #[test]
    fn every_status_has_its_name() {
        for (i, (status, name)) in fastcar_status::ALL.iter().enumerate() {
            assert_eq!(*status as usize, i);
            assert_eq!(format!("{status:?}").as_str(), name.to_str().unwrap_or_default());
        }
        // SAFETY: the text lives as long as the library.
        let unknown = unsafe { CStr::from_ptr(fastcar_status_name(-1)) };
        assert_eq!(unknown, c"unknown status");
    }

    #[test]
    fn a_panic_becomes_a_status_and_a_success_leaves_the_message() {
        assert_eq!(guard(|| panic!("at {}", 7)), FASTCAR_PANIC);
        assert_eq!(message(), "a defect of libfastcar: at 7; please report it");
        assert_eq!(guard(|| Ok(())), FASTCAR_OK);
        assert_eq!(message(), "a defect of libfastcar: at 7; please report it");
        assert_eq!(guard(|| Err(Failure::invalid("a\0b"))), FASTCAR_INVALID_ARGUMENT);
        assert_eq!(message(), "a\u{fffd}b");
    }

    #[test]
    fn messages_are_of_their_thread() {
        assert_eq!(guard(|| Err(Failure::invalid("here"))), FASTCAR_INVALID_ARGUMENT);
        let other = std::thread::spawn(message).join();
        assert_eq!(other.ok().as_deref(), Some(""));
        assert_eq!(message(), "here");
    }
}
