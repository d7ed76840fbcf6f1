//! The typeface of every picture: Hack, whose bytes are part of the program, so that no picture depends on
//! the fonts of a machine.

use anyhow::{Result, anyhow};
use plotters::style::{FontStyle, register_font};
use std::sync::OnceLock;

/// Family name to ask `plotters` for: `(font::FAMILY, 18).into_font()`.
pub const FAMILY: &str = "fastcar";

/// Makes [`FAMILY`] known to `plotters`; call it before drawing text. Cheap when repeated.
///
/// # Errors
/// The bytes are no font, which no build of this program has.
pub fn register() -> Result<()> {
    static DONE: OnceLock<bool> = OnceLock::new();
    let load = || register_font(FAMILY, FontStyle::Normal, epaint_default_fonts::HACK_REGULAR).is_ok();
    if *DONE.get_or_init(load) { Ok(()) } else { Err(anyhow!("the built-in font does not load")) }
}
