//! Reads the two clocks that the core wants to be told.

use respass::{Instant, Now, UnixTime};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

static START: OnceLock<std::time::Instant> = OnceLock::new();

/// Both clocks now; the monotonic one counts from the first call.
pub(crate) fn now() -> Now {
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
