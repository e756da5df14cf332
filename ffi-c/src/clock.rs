//! Both clocks, and chance, from the system.

use respass_core::{Instant, Now, UnixTime};
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

/// Both clocks now.
pub(crate) fn now() -> Now {
    let monotonic = micros(clock_gettime(ClockId::Monotonic));
    Now {
        monotonic: Instant::from_micros(monotonic),
        unix: UnixTime::from_micros(micros(clock_gettime(ClockId::Realtime))),
    }
}

/// Both clocks for a driver that reads them all the time: the wall clock is looked at now and then, and goes with the
/// monotonic one meanwhile.
pub(crate) struct Clock {
    now: Now,
    /// When the wall clock was looked at.
    looked_at: Instant,
    /// What the clock that is cheaper to read said last.
    #[cfg(target_os = "linux")]
    tick: Timespec,
}

/// A jump of the wall clock is seen so much later at most.
const LOOK_AFTER: Duration = Duration::from_millis(10);

impl Clock {
    pub(crate) fn new() -> Clock {
        let now = now();
        Clock {
            now,
            looked_at: now.monotonic,
            #[cfg(target_os = "linux")]
            tick: Timespec::default(),
        }
    }

    pub(crate) fn now(&mut self) -> Now {
        self.at(clock_gettime(ClockId::Monotonic))
    }

    /// Some milliseconds late at most, and cheaper: good enough to begin a command's time limit.
    pub(crate) fn about_now(&mut self) -> Now {
        #[cfg(target_os = "linux")]
        {
            let tick = clock_gettime(ClockId::MonotonicCoarse);
            if tick != self.tick {
                self.at(tick);
                self.tick = tick;
            }
            self.now
        }
        #[cfg(not(target_os = "linux"))]
        self.now()
    }

    fn at(&mut self, monotonic: Timespec) -> Now {
        let monotonic = Instant::from_micros(micros(monotonic));
        if monotonic.since(self.looked_at) >= LOOK_AFTER {
            *self = Clock::new();
        } else {
            let unix = self.now.unix + monotonic.since(self.now.monotonic);
            self.now = Now { monotonic: monotonic.max(self.now.monotonic), unix };
        }
        self.now
    }
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
