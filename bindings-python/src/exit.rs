//! The end of the process. Python ends a daemon thread as soon as it wants the interpreter again; where native code
//! has called Python code, that would unwind through native frames, which aborts the process. So, from an exit handler
//! on, no other thread goes into such calls any more.

use pyo3::prelude::*;
use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// Which thread ends the process, and since when.
static EXIT: OnceLock<(ThreadId, Instant)> = OnceLock::new();
/// Threads that call Python code from native code.
static INSIDE: AtomicUsize = AtomicUsize::new(0);

thread_local!(static DEPTH: Cell<usize> = const { Cell::new(0) });

/// The end waits no longer for calls that have begun.
const CALLS_MAX: Duration = Duration::from_secs(1);
/// Threads are held no longer: another exit handler may wait for them.
const HOLD_MAX: Duration = Duration::from_secs(2);

/// While it lives, this thread may call Python code.
pub(crate) struct Inside;

impl Inside {
    pub(crate) fn enter(py: Python<'_>) -> Inside {
        if DEPTH.get() == 0 {
            if let Some(&(ender, since)) = EXIT.get()
                && ender != thread::current().id()
            {
                py.detach(|| thread::sleep(HOLD_MAX.saturating_sub(since.elapsed())));
            }
            INSIDE.fetch_add(1, Ordering::Relaxed);
        }
        DEPTH.set(DEPTH.get() + 1);
        Inside
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
        if DEPTH.get() == 0 {
            INSIDE.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// An exit handler: from here on, other threads are held.
#[pyfunction]
pub(crate) fn exiting(py: Python<'_>) {
    let (_, since) = *EXIT.get_or_init(|| (thread::current().id(), Instant::now()));
    py.detach(|| {
        while INSIDE.load(Ordering::Relaxed) > 0 && since.elapsed() < CALLS_MAX {
            thread::sleep(Duration::from_millis(1));
        }
    });
}

/// In a child of `fork`: only this thread is left.
pub(crate) fn forget_others() {
    INSIDE.store(usize::from(DEPTH.get() > 0), Ordering::Relaxed);
}
