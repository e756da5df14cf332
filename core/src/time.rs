//! Two clocks as plain numbers. The core cannot read a clock: every moment is an argument.

use std::ops::Add;
use std::time::Duration;

/// A moment of the monotonic clock, in microseconds since an arbitrary start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(u64);

impl Instant {
    /// A moment later than any that a driver can report.
    pub const FAR_FUTURE: Instant = Instant(u64::MAX);

    /// The moment `us` microseconds after the clock's start.
    pub const fn from_micros(us: u64) -> Instant {
        Instant(us)
    }

    /// Microseconds since the clock's start.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to here; zero where `earlier` is later.
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// This moment moved back by `duration`; never before the clock's start.
    pub fn before(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_sub(micros(duration)))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_add(micros(duration)))
    }
}

/// A moment of the wall clock, in microseconds since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixTime(u64);

impl UnixTime {
    /// The moment `us` microseconds after 1970.
    pub const fn from_micros(us: u64) -> UnixTime {
        UnixTime(us)
    }

    /// The moment `seconds` after 1970; moments before 1970 count as 1970.
    pub fn from_secs(seconds: i64) -> UnixTime {
        UnixTime(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000))
    }

    /// Microseconds since 1970.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole seconds since 1970.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The time from `earlier` to here; zero where `earlier` is later.
    pub fn since(self, earlier: UnixTime) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for UnixTime {
    type Output = UnixTime;

    fn add(self, duration: Duration) -> UnixTime {
        UnixTime(self.0.saturating_add(micros(duration)))
    }
}

/// Both clocks, read by the driver at the same moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Drives every timer. May stand still while the machine is suspended.
    pub monotonic: Instant,
    /// Compared with token claims and certificates only.
    pub unix: UnixTime,
}

/// Sees both clocks at every call: keeps the monotonic one from running backwards, and tells when the wall clock
/// has run ahead of it (the machine was suspended, or the clock was set).
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClockWatch {
    latest: Now,
}

impl ClockWatch {
    /// A smaller lead of the wall clock is drift or scheduling.
    const JUMP_MIN: Duration = Duration::from_secs(5);

    pub(crate) fn new(now: Now) -> ClockWatch {
        ClockWatch { latest: now }
    }

    /// The wall time last seen.
    pub(crate) fn unix(&self) -> UnixTime {
        self.latest.unix
    }

    /// Whether this is the moment of the last call.
    pub(crate) fn has_seen(&self, now: Now) -> bool {
        self.latest == now
    }

    /// The time to go by, and how far the wall clock jumped ahead since the last call, if it did.
    pub(crate) fn observe(&mut self, now: Now) -> (Now, Option<Duration>) {
        let monotonic = now.monotonic.max(self.latest.monotonic);
        let elapsed = monotonic.since(self.latest.monotonic);
        let ahead = now.unix.since(self.latest.unix).saturating_sub(elapsed);
        self.latest = Now { monotonic, unix: now.unix };
        (self.latest, (ahead > Self::JUMP_MIN).then_some(ahead))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(monotonic_s: u64, unix_s: i64) -> Now {
        Now { monotonic: Instant::from_micros(monotonic_s * 1_000_000), unix: UnixTime::from_secs(unix_s) }
    }

    #[test]
    fn monotonic_time_that_goes_backwards_is_clamped() {
        let mut watch = ClockWatch::new(now(100, 1000));
        assert_eq!(watch.observe(now(90, 1000)).0.monotonic, Instant::from_micros(100_000_000));
    }

    #[test]
    fn a_suspend_is_seen_as_a_jump_and_a_backward_step_is_not() {
        let mut watch = ClockWatch::new(now(100, 1000));
        assert_eq!(watch.observe(now(101, 1000 + 10_801)).1, Some(Duration::from_secs(10_800)));
        assert_eq!(watch.observe(now(102, 500)).1, None);
        assert_eq!(watch.observe(now(112, 510)).1, None);
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Instant::from_micros(5).before(Duration::from_secs(1)), Instant::from_micros(0));
        assert_eq!(Instant::FAR_FUTURE + Duration::from_secs(1), Instant::FAR_FUTURE);
        assert_eq!(UnixTime::from_secs(i64::MIN).as_secs(), 0);
        assert_eq!(UnixTime::from_secs(i64::MAX).as_micros(), u64::MAX);
    }
}
