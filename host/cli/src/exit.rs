//! Exit codes, and how errors read.

use anyhow::{Error, Result};
use fastcar_host::opencl::OpenClError;
use fastcar_host::packed::PackError;
use std::process::ExitCode;

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const INTERRUPTED: u8 = 130;

/// The command line contradicts itself or asks for what no model could do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Shorthand for a [`Usage`] error.
pub fn usage<T>(message: impl Into<String>) -> Result<T> {
    Err(Usage(message.into()).into())
}

/// Stopped by a signal.
#[derive(Debug, thiserror::Error)]
#[error("interrupted {place}; nothing was written")]
pub struct Interrupted {
    /// Where it stopped: "at position 3 of 512".
    pub place: String,
}

/// Stopped by a signal, with something left to go on from.
#[derive(Debug, thiserror::Error)]
#[error("interrupted {place}; {left}")]
pub struct Suspended {
    /// Where it stopped.
    pub place: String,
    /// What is left, and how to go on.
    pub left: String,
}

/// Prints an error and gives its exit code.
pub fn report(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("{}", text(&error));
            ExitCode::from(code(&error))
        }
    }
}

fn code(error: &Error) -> u8 {
    let cancelled = |e: &PackError| matches!(e, PackError::Cancelled);
    let unloaded = |e: &OpenClError| matches!(e, OpenClError::Cancelled { .. });
    if error.is::<Interrupted>()
        || error.is::<Suspended>()
        || error.downcast_ref().is_some_and(cancelled)
        || error.chain().any(|e| e.downcast_ref().is_some_and(unloaded))
    {
        return INTERRUPTED;
    }
    if error.is::<Usage>() { USAGE } else { FAILED }
}

/// The error, then each of its causes that says something new on a line of its own.
fn text(error: &Error) -> String {
    let mut out = format!("error: {error}\n");
    for cause in error.chain().skip(1).map(ToString::to_string) {
        let cause = cause.trim_end();
        if !out.contains(cause) {
            out.push_str(&format!("  because: {cause}\n"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};
    use fastcar_host::backend::BackendError;
    use fastcar_host::session::SessionError;

    #[test]
    fn causes_stand_on_lines_of_their_own_and_once() {
        let error = anyhow!("disk full").context("cannot write a.gif: disk full").context("no pictures");
        assert_eq!(text(&error), "error: no pictures\n  because: cannot write a.gif: disk full\n");
    }

    #[test]
    fn codes_survive_context() {
        let interrupted = Interrupted { place: "at position 1".to_owned() };
        assert_eq!(code(&Err::<(), _>(interrupted).context("decode").unwrap_err()), INTERRUPTED);
        assert_eq!(code(&usage::<()>("x").unwrap_err()), USAGE);
        assert_eq!(code(&Error::from(PackError::Cancelled)), INTERRUPTED);
        let unloaded = BackendError::new("opencl", OpenClError::Cancelled { done: 1, total: 2 });
        assert_eq!(code(&Error::from(SessionError::from(unloaded))), INTERRUPTED);
        assert_eq!(code(&anyhow!("x")), FAILED);
    }
}
