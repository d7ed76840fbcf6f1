//! Functions by table, and what softmax does to a score.
//!
//! Every block here is a **pipe**: `valid` travels with the data, one operand a cycle, no back-pressure.

pub mod exp2;
pub mod score;
pub(crate) mod shift;
pub mod table;
pub mod unit;

pub use exp2::Exp2;
pub use score::{MaxInt, ScoreFixed};
pub use table::{Function, Store, Table};
pub use unit::FuncUnit;

use crate::prim::DelayLine;
use crate::rtl::{Builder, RtlError, Wire};

/// Cycles as the constants of hardware have them.
pub(crate) const fn cycles(of: u64) -> u32 {
    of as u32
}

/// Data some cycles later, without reset.
#[track_caller]
pub(crate) fn later<'m>(
    m: &'m Builder,
    name: &str,
    value: Wire<'m>,
    cycles: u32,
) -> Result<Wire<'m>, RtlError> {
    Ok(DelayLine::new(value.width(), cycles)?.build(m, name, value))
}

/// `valid` some cycles later, zero after reset.
#[track_caller]
pub(crate) fn later_valid<'m>(m: &'m Builder, name: &str, valid: Wire<'m>, cycles: u32) -> Wire<'m> {
    (0..cycles).fold(valid, |valid, cycle| m.register_valid(&format!("{name}_{cycle}"), valid))
}
