//! The locks of the engine and how long a thread looks before it sleeps, in one place, so that a test can put
//! scheduled locks in theirs.

use rustix::thread::sched_getcpu;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicUsize, Ordering};
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How long to look: about what it costs to put a thread to sleep on one CPU and to wake it up from another. A host
/// that issues step after step is back before; for all else it is nothing.
const LOOK: Duration = Duration::from_micros(50);
/// Looks between two looks at the clock.
const LOOKS: u32 = 16;

/// The CPU that a thread was seen on last.
pub(crate) struct Spot(AtomicUsize);

impl Default for Spot {
    /// Not seen yet.
    fn default() -> Self {
        Self(AtomicUsize::new(usize::MAX))
    }
}

impl Spot {
    /// This thread's CPU.
    pub(crate) fn mark(&self) {
        self.0.store(sched_getcpu(), Ordering::Relaxed);
    }

    /// Whether that is this CPU, or not known yet.
    fn is_here(&self) -> bool {
        let cpu = self.0.load(Ordering::Relaxed);
        cpu == usize::MAX || cpu == sched_getcpu()
    }
}

/// Looks for a while whether something is so, before the caller sleeps until another thread has made it so.
///
/// It does not where that thread needs this CPU to get on: where it was seen here last, so always where there is no
/// other CPU. To yield between looks instead would not do: other programs that want the CPU would have it for a whole
/// slice, some milliseconds, whereas a thread that sleeps gets it back as soon as it is woken.
pub(crate) fn look(other: &Spot, mut seen: impl FnMut() -> bool) {
    if other.is_here() {
        return;
    }
    let begin = Instant::now();
    while begin.elapsed() < LOOK {
        for _ in 0..LOOKS {
            if seen() {
                return;
            }
            spin_loop();
        }
    }
}
