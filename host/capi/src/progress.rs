//! Progress of long calls, told to a function of the caller's.
#![allow(unsafe_code, reason = "a function of C is called")]

use fastcar_host::opencl::LoadWatch;
use fastcar_host::pack::Progress;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};

/// Told how far a call is: `done` of `total` weights or bytes. Returns 0 to go on, anything else to stop; the call then
/// ends with FASTCAR_CANCELLED and nothing is left of it.
///
/// It is called during the call that it was given to, in the thread of that call. It may call this library, may not
/// close what the call uses, and may leave only by returning (no longjmp, no exception).
pub type fastcar_progress = Option<unsafe extern "C" fn(user: *mut c_void, done: u64, total: u64) -> i32>;

/// A function of the caller's with what it is to be told.
pub struct Watch {
    function: fastcar_progress,
    user: *mut c_void,
    stop: AtomicBool,
}

// SAFETY: the functions are called only within the call that was given them, in its thread; a watch that outlives the
// call, in a backend that may move to another thread, is silent.
unsafe impl Send for Watch {}
// SAFETY: as above; the work that is shared among threads does not report by itself.
unsafe impl Sync for Watch {}

impl Watch {
    pub fn new(function: fastcar_progress, user: *mut c_void) -> Self {
        Self { function, user, stop: AtomicBool::new(false) }
    }

    fn tell(&self, done: u64, total: u64) {
        let Some(function) = self.function else { return };
        // SAFETY: the caller gave this function with this pointer for this call.
        if unsafe { function(self.user, done, total) } != 0 {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Progress for Watch {
    fn advance(&self, done: u64, total: u64) {
        self.tell(done, total);
    }

    fn cancelled(&self) -> bool {
        self.stopped()
    }
}

impl LoadWatch for Watch {
    fn advance(&self, done: u64, total: u64) {
        self.tell(done, total);
    }

    fn cancelled(&self) -> bool {
        self.stopped()
    }
}
