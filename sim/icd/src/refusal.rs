//! Why a call is refused.

use opencl_sys as cl;
use std::sync::OnceLock;

/// A status of OpenCL, and what was wrong in words.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Refusal {
    /// The status, below 0.
    pub(crate) status: i32,
    /// What was asked, what was found, what would do.
    pub(crate) text: String,
}

impl Refusal {
    pub(crate) fn new(status: i32, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    /// An argument outside what the call allows.
    pub(crate) fn value(text: impl Into<String>) -> Self {
        Self::new(cl::CL_INVALID_VALUE, text)
    }
}

/// What a call answers.
pub(crate) type Answer<T> = Result<T, Refusal>;

/// Prints a line where `FASTCAR_SIM_LOG` is 1.
pub(crate) fn log(line: impl FnOnce() -> String) {
    static ON: OnceLock<bool> = OnceLock::new();
    if *ON.get_or_init(|| std::env::var("FASTCAR_SIM_LOG").is_ok_and(|v| v.trim() == "1")) {
        eprintln!("fastcar simulator: {}", line());
    }
}
