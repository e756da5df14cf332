//! Both clocks, and randomness: what the core cannot read by itself.

use respass::{Instant, Now, UnixTime};
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One start for the whole process: clients and token sources compare moments with each other.
static START: OnceLock<std::time::Instant> = OnceLock::new();

pub(crate) fn now() -> Now {
    // A clock before 1970 is wrong anyway; the core copes with wrong clocks.
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Now {
        monotonic: Instant::from_micros(micros(START.get_or_init(std::time::Instant::now).elapsed())),
        unix: UnixTime::from_micros(micros(unix)),
    }
}

/// The wall clock's time at a moment to come of the monotonic clock.
pub(crate) fn wall_time(at: Instant, now: Now) -> SystemTime {
    system_time(now.unix + at.since(now.monotonic))
}

pub(crate) fn system_time(time: UnixTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(time.as_micros())
}

/// For jitter and nonces. The standard library's hash keys come from the system's entropy and never repeat
/// within a process, which saves a dependency.
pub(crate) fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    for place in seed.as_chunks_mut::<8>().0 {
        *place = RandomState::new().hash_one(std::process::id()).to_le_bytes();
    }
    seed
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
