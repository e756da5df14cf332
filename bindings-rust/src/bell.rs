//! A waker for each socket: so that the driver polls those that have something, and not all of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// The driver's own waker, which may be another in each poll.
#[derive(Clone, Default)]
pub(crate) struct DriverWaker(Arc<Mutex<Option<Waker>>>);

impl DriverWaker {
    pub(crate) fn set(&self, waker: &Waker) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = known.as_ref().is_some_and(|known| known.will_wake(waker));
        let old = if is_known { None } else { known.replace(waker.clone()) };
        // The lock goes first: dropping a waker may call anything.
        drop(known);
        drop(old);
    }

    fn wake(&self) {
        let waker = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Rung where a socket may have become ready.
pub(crate) struct Bell {
    is_rung: AtomicBool,
    driver: DriverWaker,
}

impl Bell {
    /// One that is rung already: its socket was never looked at.
    pub(crate) fn new(driver: &DriverWaker) -> Arc<Bell> {
        Arc::new(Bell { is_rung: AtomicBool::new(true), driver: driver.clone() })
    }

    pub(crate) fn take(&self) -> bool {
        self.is_rung.swap(false, Ordering::AcqRel)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Bell>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Bell>) {
        self.is_rung.store(true, Ordering::Release);
        self.driver.wake();
    }
}
