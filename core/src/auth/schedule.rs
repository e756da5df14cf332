//! When to ask for the next token: pure functions of lifetimes and a random draw.

use crate::rng::Rng;
use std::time::Duration;

/// A connection re-authenticates at least this long before its token's end, where the source lets it: the service
/// asks for three minutes; tokens too short for that get a quarter of their life.
pub(crate) fn lead(life: Duration) -> Duration {
    Duration::from_secs(180).min(life / 4)
}

/// Without a newer token a connection stops this long before its token's end, so that no command is cut in flight.
pub(crate) fn close_margin(life: Duration) -> Duration {
    Duration::from_secs(30).min(Duration::from_secs(1).max(life / 20))
}

/// How long after a new token arrived to ask for the next one. `refresh_on` is the source's own earliest moment,
/// counted from the arrival.
pub(crate) fn first_question(life: Duration, refresh_on: Option<Duration>, rng: &mut Rng) -> Duration {
    let end = (life * 8 / 10).min(life.saturating_sub(lead(life) * 12 / 10));
    let (low, high) = match refresh_on {
        None => (life / 2, end),
        Some(earliest) => {
            let earliest = earliest.min(end);
            (earliest, end.min(earliest.saturating_add(life * 3 / 10)))
        }
    };
    rng.between(low, high.max(low))
}

/// SDK caches give the same token again until about this long before its end.
const CACHE_WINDOW_START: Duration = Duration::from_secs(295);
/// The last moment of that window that leaves room to re-authenticate in time.
const CACHE_WINDOW_END: Duration = Duration::from_secs(190);

/// How long to wait after the source gave the token that it had given before, with `remaining` life left.
pub(crate) fn question_after_same(remaining: Duration, rng: &mut Rng) -> Duration {
    if remaining > CACHE_WINDOW_START {
        return rng.between(remaining - CACHE_WINDOW_START, remaining - CACHE_WINDOW_END);
    }
    let pace = QUESTION_GAP_MIN.max(Duration::from_secs(30).min(remaining / 4));
    rng.between((pace * 3 / 4).max(QUESTION_GAP_MIN), (pace * 5 / 4).max(QUESTION_GAP_MIN))
}

/// How long to wait after the source gave the token that a client has no use for any more: it was refused, or ends.
pub(crate) fn question_after_unwanted(remaining: Duration, failures: u32, rng: &mut Rng) -> Duration {
    let backoff = question_after_failure(failures, None, false, None, rng);
    let ceiling = if remaining.is_zero() { Duration::from_secs(5) } else { remaining / 4 };
    backoff.min(ceiling).max(QUESTION_GAP_MIN)
}

/// Whether giving the same token again is a failure by now, not a cache doing its work.
pub(crate) fn is_same_token_late(remaining: Duration) -> bool {
    remaining <= CACHE_WINDOW_START
}

/// No two questions are closer together.
pub(crate) const QUESTION_GAP_MIN: Duration = Duration::from_secs(1);

/// How long to wait after the `failures`-th failure in a row (from 1): full jitter, never below a second; the
/// status decides the pace (the endpoints' own rules) and `retry_after` is obeyed.
pub(crate) fn question_after_failure(
    failures: u32,
    status: Option<u16>,
    is_permanent: bool,
    retry_after: Option<Duration>,
    rng: &mut Rng,
) -> Duration {
    let backoff = match status {
        // The metadata service is being updated: it asks for patience of up to 70 s.
        Some(410) => rng.between(Duration::from_secs(8), Duration::from_secs(12)),
        // Nothing that passes by itself, yet configuration is repaired and assignments propagate.
        _ if is_permanent => rng.between(Duration::from_secs(15), Duration::from_secs(30)),
        _ => {
            let ceiling = Duration::from_secs(1 << failures.clamp(1, 5)).min(Duration::from_secs(30));
            rng.between(Duration::ZERO, ceiling)
        }
    };
    backoff.max(QUESTION_GAP_MIN).max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX))
}

/// A server that asks for more patience than this is asked again anyway.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn draws(mut draw: impl FnMut(&mut Rng) -> Duration) -> (u64, u64) {
        let mut rng = Rng::new([3; 32]);
        let all: Vec<u64> = (0..5000).map(|_| draw(&mut rng).as_secs()).collect();
        (*all.iter().min().expect("draws"), *all.iter().max().expect("draws"))
    }

    #[test]
    fn an_hourly_token_is_asked_for_between_half_and_four_fifths_of_its_life() {
        let (low, high) = draws(|rng| first_question(HOUR, None, rng));
        assert!((1800..1850).contains(&low) && (2830..=2880).contains(&high), "{low} {high}");
    }

    #[test]
    fn a_short_token_leaves_its_lead_untouched() {
        for seconds in [2, 5, 20, 60, 120, 600, 1200] {
            let life = Duration::from_secs(seconds);
            let mut rng = Rng::new([4; 32]);
            for _ in 0..500 {
                let asked = first_question(life, None, &mut rng);
                assert!(asked >= life / 2 && life - asked >= lead(life) * 12 / 10, "{life:?} {asked:?}");
            }
        }
    }

    #[test]
    fn the_sources_own_moment_is_the_earliest() {
        let (low, high) = draws(|rng| first_question(HOUR, Some(Duration::from_secs(1500)), rng));
        assert!((1500..1550).contains(&low) && (2530..=2580).contains(&high), "{low} {high}");
        let (low, high) = draws(|rng| first_question(HOUR, Some(HOUR * 2), rng));
        assert_eq!((low, high), (2880, 2880));
    }

    #[test]
    fn after_the_same_token_the_caches_own_window_is_aimed_at() {
        let (low, high) = draws(|rng| question_after_same(HOUR, rng));
        assert!(low >= 3600 - 295 && high <= 3600 - 190 && high - low > 100, "{low} {high}");
    }

    #[test]
    fn questions_are_never_closer_than_a_second() {
        let mut rng = Rng::new([5; 32]);
        for seconds in 0..400 {
            let remaining = Duration::from_millis(seconds * 50);
            assert!(question_after_same(remaining, &mut rng) >= QUESTION_GAP_MIN);
        }
        for failures in 0..100 {
            let wait = question_after_failure(failures, Some(500), false, None, &mut rng);
            assert!((1..=30).contains(&wait.as_secs()), "{wait:?}");
        }
    }

    #[test]
    fn retry_after_is_obeyed_up_to_a_limit() {
        let mut rng = Rng::new([6; 32]);
        let wait = |seconds, rng: &mut Rng| {
            question_after_failure(1, Some(429), false, Some(Duration::from_secs(seconds)), rng).as_secs()
        };
        assert!(wait(60, &mut rng) >= 60);
        assert_eq!(wait(u64::MAX, &mut rng), 300);
    }
}
