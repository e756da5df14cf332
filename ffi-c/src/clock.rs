//! Both clocks, and chance, from the system.

use respass_core::{Instant, Now, UnixTime};
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::fs::File;
use std::io::{self, Read};

/// Both clocks now.
pub(crate) fn now() -> Now {
    let monotonic = micros(clock_gettime(ClockId::Monotonic));
    Now {
        monotonic: Instant::from_micros(monotonic),
        unix: UnixTime::from_micros(micros(clock_gettime(ClockId::Realtime))),
    }
}

/// Both clocks after those that were read before, some milliseconds late at most and much cheaper: good enough to
/// begin a command's time limit.
pub(crate) fn about_now(before: Now) -> Now {
    #[cfg(target_os = "linux")]
    let monotonic = Instant::from_micros(micros(clock_gettime(ClockId::MonotonicCoarse)));
    #[cfg(not(target_os = "linux"))]
    let monotonic = Instant::from_micros(micros(clock_gettime(ClockId::Monotonic)));
    Now { monotonic, unix: before.unix + monotonic.since(before.monotonic) }
}

fn micros(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000) + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000
}

/// For jitter and nonces.
pub(crate) fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(seed)
}
