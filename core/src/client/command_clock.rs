//! The clock that command deadlines are on: it stands still while commands cannot be blamed for waiting.

use crate::time::Instant;
use std::time::Duration;

/// Runs with the monotonic clock, but for pauses: connecting, login, waiting for a token, re-authentication. In
/// microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CommandClock {
    paused_total: u64,
    pause: Option<Pause>,
}

#[derive(Clone, Copy, Debug)]
struct Pause {
    since: Instant,
    /// The clock runs again from here on, whatever is still being waited for.
    until: Instant,
}

impl CommandClock {
    /// The clock's reading in microseconds.
    #[inline]
    pub(crate) fn read(&self, now: Instant) -> u64 {
        now.as_micros().saturating_sub(self.paused_total).saturating_sub(self.paused_for(now))
    }

    /// When the clock will read `deadline`, if nothing else pauses it.
    pub(crate) fn when(&self, deadline: u64, now: Instant) -> Instant {
        let left = deadline.saturating_sub(self.read(now));
        let from = self.pause.map_or(now, |pause| pause.until.max(now));
        Instant::from_micros(from.as_micros().saturating_add(left))
    }

    /// Stands still from now on, for `allowance` at most.
    pub(crate) fn pause(&mut self, allowance: Duration, now: Instant) {
        self.resume(now);
        self.pause = Some(Pause { since: now, until: now + allowance });
    }

    /// Runs again. How long it stood still.
    pub(crate) fn resume(&mut self, now: Instant) -> Duration {
        let paused = self.paused_for(now);
        self.paused_total = self.paused_total.saturating_add(paused);
        self.pause = None;
        Duration::from_micros(paused)
    }

    #[inline]
    fn paused_for(&self, now: Instant) -> u64 {
        self.pause.map_or(0, |pause| now.min(pause.until).as_micros().saturating_sub(pause.since.as_micros()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_pause_is_not_counted_but_for_what_exceeds_its_allowance() {
        let mut clock = CommandClock::default();
        clock.pause(Duration::from_secs(10), at(100));
        assert_eq!(clock.read(at(105)), 100_000_000);
        assert_eq!(clock.read(at(130)), 120_000_000);
        assert_eq!(clock.resume(at(130)), Duration::from_secs(10));
        assert_eq!(clock.read(at(131)), 121_000_000);
    }

    #[test]
    fn a_deadline_during_a_pause_is_expected_after_its_end() {
        let mut clock = CommandClock::default();
        let deadline = clock.read(at(100)) + 5_000_000;
        assert_eq!(clock.when(deadline, at(101)), at(105));
        clock.pause(Duration::from_secs(10), at(101));
        assert_eq!(clock.when(deadline, at(103)), at(115));
    }
}
