//! The locks of the engine, in one place, so that a test can put scheduled ones in theirs.

pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
