//! The token source alone: what it asks, when, and what it makes of the answers.

use respass::{
    FetchedToken, Instant, IssuedToken, Now, Secret, SourceOutput, TokenFailure, TokenSource, TokenState,
    UnixTime,
};
use respass_tests::simulator::{EPOCH, SECOND, credential};
use std::time::Duration;

/// A source, its clocks, and what came out of it.
struct Bench {
    source: TokenSource,
    now: Now,
    fetches: usize,
    issued: Vec<IssuedToken>,
    failures: Vec<TokenFailure>,
    states: Vec<TokenState>,
}

impl Bench {
    fn new() -> Bench {
        let now =
            Now { monotonic: Instant::from_micros(SECOND), unix: UnixTime::from_micros(EPOCH + SECOND) };
        let mut source = TokenSource::new([5; 32], now);
        source.subscribe();
        Bench { source, now, fetches: 0, issued: vec![], failures: vec![], states: vec![] }
    }

    fn with_token(life: u64) -> Bench {
        let mut bench = Bench::new();
        bench.request(0);
        bench.give(&bench.token(1, life));
        bench
    }

    fn request(&mut self, newer_than: u64) -> Option<IssuedToken> {
        let token = self.source.request(newer_than, self.now);
        self.drain();
        token
    }

    /// A token of so many seconds from now.
    fn token(&self, number: u64, life: u64) -> String {
        credential::issue("oid-1", number, self.now.unix.as_micros() - EPOCH, life * SECOND).0
    }

    fn give(&mut self, text: &str) {
        let text = Secret::new(text.as_bytes().to_vec());
        let token = FetchedToken { text, expires_on: None, expires_in: None, refresh_on: None };
        self.source.handle_fetched(token, self.now);
        self.drain();
    }

    fn fail(&mut self, failure: TokenFailure) {
        self.source.handle_failed(failure, self.now);
        self.drain();
    }

    fn advance(&mut self, duration: Duration) {
        self.now.monotonic = self.now.monotonic + duration;
        self.now.unix = self.now.unix + duration;
        self.source.handle_timeout(self.now);
        self.drain();
    }

    /// Seconds until the next question, if it comes within `limit` of them.
    fn seconds_to_question(&mut self, limit: u64) -> Option<u64> {
        let before = self.fetches;
        for second in 0..limit * 10 {
            if self.fetches > before {
                return Some(second / 10);
            }
            self.advance(Duration::from_millis(100));
        }
        None
    }

    fn drain(&mut self) {
        while let Some(output) = self.source.poll_output() {
            match output {
                SourceOutput::Fetch => self.fetches += 1,
                SourceOutput::Issued(token) => self.issued.push(token),
                SourceOutput::Failed(failure) => self.failures.push(failure),
                SourceOutput::State(state) => self.states.push(state),
                other => panic!("unknown output {other:?}"),
            }
        }
    }
}

#[test]
fn nothing_is_asked_before_somebody_wants_a_token_and_many_wishes_are_one_question() {
    let mut bench = Bench::new();
    bench.advance(Duration::from_secs(100));
    assert_eq!(bench.fetches, 0);
    for _ in 0..50 {
        bench.request(0);
    }
    assert_eq!(bench.fetches, 1);
    bench.give(&bench.token(1, 3600));
    assert_eq!(bench.issued.len(), 1);
    assert!(bench.request(0).is_some(), "the next client is served from what is here");
    assert_eq!(bench.fetches, 1);
}

#[test]
fn with_no_subscriber_left_nothing_is_asked_and_the_next_one_starts_it_again() {
    let mut bench = Bench::with_token(3600);
    bench.source.unsubscribe();
    assert_eq!(bench.seconds_to_question(4000), None);
    bench.source.subscribe();
    bench.request(0);
    assert_eq!(bench.fetches, 2);
}

#[test]
fn a_failure_is_told_and_the_question_repeated_no_sooner_than_a_second_and_for_ever() {
    let mut bench = Bench::new();
    bench.request(0);
    for round in 0..200 {
        bench.fail(TokenFailure::transient("no route"));
        bench.request(0);
        let wait = bench.seconds_to_question(40).unwrap_or_else(|| panic!("round {round}: no question"));
        assert!((1..=31).contains(&wait), "round {round}: {wait} s");
    }
    assert_eq!(bench.failures.len(), 200);
}

#[test]
fn retry_after_and_the_statuses_set_the_pace() {
    let failure = |status, retry_after: Option<u64>| TokenFailure {
        status: Some(status),
        retry_after: retry_after.map(Duration::from_secs),
        ..TokenFailure::transient("refused")
    };
    for (failure, range) in [
        (failure(429, Some(60)), 60..=62),
        (failure(410, None), 8..=12),
        (failure(500, None), 1..=3),
        (TokenFailure::permanent("no such identity"), 15..=31),
    ] {
        let mut bench = Bench::new();
        bench.request(0);
        bench.fail(failure.clone());
        let wait = bench.seconds_to_question(100).expect("asked again");
        assert!(range.contains(&wait), "{failure:?}: {wait} s");
    }
}

#[test]
fn a_question_unanswered_for_half_a_minute_is_late_and_one_other_stands_in_for_it() {
    let mut bench = Bench::new();
    bench.request(0);
    bench.advance(Duration::from_secs(29));
    assert_eq!((bench.fetches, bench.failures.len()), (1, 0));
    bench.advance(Duration::from_secs(1));
    assert_eq!(bench.failures.len(), 1);
    assert!(bench.seconds_to_question(10).is_some());
    assert_eq!(bench.seconds_to_question(600), None, "never a third");
    let late = bench.token(1, 3600);
    bench.give(&late);
    assert_eq!(bench.issued.len(), 1, "a late answer counts");
}

#[test]
fn a_token_that_looks_expired_is_tried_once() {
    let mut bench = Bench::new();
    bench.request(0);
    let dead = credential::issue("oid-1", 1, 0, SECOND).0;
    bench.now.unix = bench.now.unix + Duration::from_secs(86_400);
    bench.give(&dead);
    assert_eq!(bench.issued.len(), 1, "the clock here may be wrong: the server shall tell");
    let generation = bench.issued[0].generation();
    bench.request(generation);
    for _ in 0..20 {
        bench.seconds_to_question(100).expect("asked again");
        bench.give(&dead);
    }
    assert!(
        bench.issued.iter().all(|token| token.generation() == generation),
        "not offered as another token"
    );
}

#[test]
fn a_token_that_ended_here_is_offered_once_more_if_it_is_all_there_is() {
    let mut bench = Bench::with_token(60);
    let text = bench.token(1, 60);
    bench.give(&text);
    let mut generations = std::collections::BTreeSet::new();
    for _ in 0..3000 {
        bench.advance(Duration::from_secs(1));
        if bench.fetches > bench.issued.len() + 1 {
            bench.give(&text);
        }
        generations.extend(bench.issued.iter().map(IssuedToken::generation));
    }
    assert!(generations.len() <= 2, "{generations:?}");
}

#[test]
fn after_a_passing_refusal_the_source_is_left_alone_again() {
    let mut bench = Bench::with_token(3600);
    let text = bench.token(1, 3600);
    bench.request(1);
    let mut questions = 0;
    for _ in 0..1500 {
        bench.advance(Duration::from_secs(1));
        if bench.fetches > questions + 1 {
            questions = bench.fetches - 1;
            bench.give(&text);
        }
    }
    assert!(bench.fetches <= 12, "{} questions in 25 minutes", bench.fetches);
}

#[test]
fn a_lost_question_does_not_stand_in_the_way_of_the_next() {
    let mut bench = Bench::new();
    bench.request(0);
    bench.advance(Duration::from_secs(30));
    bench.seconds_to_question(10).expect("the stand-in");
    bench.give(&bench.token(1, 3600));
    bench.advance(Duration::from_secs(60));
    let before = bench.fetches;
    bench.request(1);
    assert_eq!(bench.fetches, before + 1, "asked at once");
}

#[test]
fn an_older_token_never_replaces_a_newer_one() {
    let mut bench = Bench::with_token(3600);
    bench.seconds_to_question(4000).expect("asked again");
    bench.give(&bench.token(2, 60));
    assert_eq!(bench.issued.len(), 1);
    assert_eq!(bench.source.current().map(IssuedToken::generation), Some(1));
}

#[test]
fn relative_life_counts_before_absolute_times() {
    let mut bench = Bench::new();
    bench.request(0);
    let text = bench.token(1, 3600);
    bench.now.unix = bench.now.unix + Duration::from_secs(7200);
    let token = FetchedToken {
        text: Secret::new(text.into_bytes()),
        expires_on: None,
        expires_in: Some(Duration::from_secs(3500)),
        refresh_on: None,
    };
    bench.source.handle_fetched(token, bench.now);
    bench.drain();
    assert_eq!(bench.issued[0].expires_at().since(bench.now.monotonic), Duration::from_secs(3500));
}

#[test]
fn a_source_that_falls_silent_goes_from_renewing_to_late_to_expired() {
    let mut bench = Bench::with_token(3600);
    bench.advance(Duration::from_secs(2900));
    bench.advance(Duration::from_secs(520));
    bench.advance(Duration::from_secs(180));
    assert_eq!(
        bench.states,
        [TokenState::Fresh, TokenState::Renewing, TokenState::Late, TokenState::Expired]
    );
}

#[test]
fn a_suspend_is_followed_by_a_question_at_once() {
    let mut bench = Bench::with_token(3600);
    bench.now.unix = bench.now.unix + Duration::from_secs(1000);
    bench.advance(Duration::from_secs(1));
    assert_eq!(bench.fetches, 2);
    assert!(bench.request(0).is_some());
}

#[test]
fn a_token_that_ended_during_a_suspend_is_not_handed_out() {
    let mut bench = Bench::with_token(3600);
    bench.now.unix = bench.now.unix + Duration::from_secs(7200);
    bench.advance(Duration::from_secs(1));
    assert!(bench.request(0).is_none());
}

#[test]
fn absurd_times_are_survived() {
    let claims = |exp: i64, iat: i64| {
        use base64::Engine;
        let payload = format!(r#"{{"oid":"o","exp":{exp},"iat":{iat},"nbf":{iat}}}"#);
        format!("e30.{}.c2ln", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(payload))
    };
    let times = [i64::MIN, -1, 0, 1, 1_800_000_000, 1_800_003_600, i64::MAX / 1_000_000, i64::MAX];
    let relative = [None, Some(Duration::ZERO), Some(Duration::from_micros(1)), Some(Duration::MAX)];
    let now = Now { monotonic: Instant::from_micros(SECOND), unix: UnixTime::from_micros(EPOCH) };
    for exp in times {
        for iat in times {
            for expires_in in relative {
                let mut source = TokenSource::new([1; 32], now);
                source.subscribe();
                source.request(0, now);
                let token = FetchedToken {
                    text: Secret::new(claims(exp, iat).into_bytes()),
                    expires_on: Some(UnixTime::from_secs(iat)),
                    expires_in,
                    refresh_on: Some(UnixTime::from_secs(exp)),
                };
                source.handle_fetched(token, now);
                while source.poll_output().is_some() {}
                let next = source.poll_timeout().expect("a question or a change of state");
                let wait = next.since(now.monotonic);
                assert!(
                    !wait.is_zero() && wait <= Duration::from_secs(366 * 86_400),
                    "{exp} {iat}: {wait:?}"
                );
            }
        }
    }
}

#[test]
fn a_secret_whose_end_nobody_states_is_kept_for_ever_and_asked_for_every_few_minutes() {
    let mut bench = Bench::new();
    bench.request(0);
    bench.give("a-password-from-a-vault");
    assert_eq!(bench.issued[0].expires_on(), None);
    for _ in 0..300 {
        let wait = bench.seconds_to_question(700).expect("asked again");
        assert!((290..=490).contains(&wait), "{wait}");
        bench.give("a-password-from-a-vault");
    }
    assert_eq!(bench.issued.len(), 1, "the same text is not issued twice");
    assert_eq!(bench.source.state(), TokenState::Fresh);
    assert!(bench.request(0).is_some(), "it is as good as on the first day");
    bench.seconds_to_question(700);
    bench.give("rotated");
    assert_eq!(bench.issued.len(), 2);
    bench.seconds_to_question(700);
    bench.give(&bench.token(1, 3600));
    assert!(bench.issued[2].expires_on().is_some(), "a token with an end takes over");
}
