//! Number formats and arithmetic.
