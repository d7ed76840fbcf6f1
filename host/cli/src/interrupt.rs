//! Ctrl-C and SIGTERM: the first asks the command to stop at its next step, the second stops it at once.

use crate::exit::Interrupted;
use anyhow::{Context, Result};
use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Installs the handler.
///
/// # Errors
/// The system refuses.
pub fn install() -> Result<()> {
    let handler = || {
        if REQUESTED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    };
    ctrlc::set_handler(handler).context("the Ctrl-C handler cannot be installed")
}

/// Whether a stop was asked for.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// Fails when a stop was asked for; `place` says where.
///
/// # Errors
/// [`Interrupted`].
pub fn check(place: impl FnOnce() -> String) -> Result<()> {
    if requested() { Err(Interrupted { place: place() }.into()) } else { Ok(()) }
}
