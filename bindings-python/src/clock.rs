//! Reads the two clocks that the core wants to be told.

use pyo3::prelude::*;
use respass::{Instant, Now, UnixTime};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

static START: OnceLock<std::time::Instant> = OnceLock::new();

static IS_STOPPED: AtomicBool = AtomicBool::new(false);
static STOPPED_MONOTONIC: AtomicU64 = AtomicU64::new(0);
static STOPPED_UNIX: AtomicU64 = AtomicU64::new(0);

/// Stops both clocks of this process at these readings, in microseconds: for tests that play days in a moment.
#[pyfunction]
pub(crate) fn stop_clocks(monotonic_us: u64, unix_us: u64) {
    STOPPED_MONOTONIC.store(monotonic_us, Ordering::Relaxed);
    STOPPED_UNIX.store(unix_us, Ordering::Relaxed);
    IS_STOPPED.store(true, Ordering::Release);
}

/// Both clocks now; the monotonic one counts from the first call.
pub(crate) fn now() -> Now {
    if IS_STOPPED.load(Ordering::Acquire) {
        return Now {
            monotonic: Instant::from_micros(STOPPED_MONOTONIC.load(Ordering::Relaxed)),
            unix: UnixTime::from_micros(STOPPED_UNIX.load(Ordering::Relaxed)),
        };
    }
    let start = START.get_or_init(std::time::Instant::now);
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now {
        monotonic: Instant::from_micros(micros(start.elapsed())),
        unix: UnixTime::from_micros(micros(unix)),
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A time given by Python in seconds; `None` where it is no such time.
pub(crate) fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}
