//! The machine that owns tokens: when to ask, one question at a time, what an answer is worth, and when to give up
//! (never, while anyone subscribes).
//!
//! One source serves any number of clients that share a credential. It hands out [`IssuedToken`]s; the host does the
//! asking when it sees [`SourceOutput::Fetch`].

use super::claims::Claims;
use super::schedule::{
    QUESTION_GAP_MIN, first_question, is_same_token_late, lead, question_after_failure, question_after_same,
    question_after_unwanted,
};
use crate::rng::Rng;
use crate::secret::Secret;
use crate::time::{ClockWatch, Instant, Now, UnixTime};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What the host's credential returned.
#[derive(Debug)]
pub struct FetchedToken {
    /// The token.
    pub text: Secret,
    /// Expiry as the credential states it; the token's own `exp` counts first.
    pub expires_on: Option<UnixTime>,
    /// Remaining life as the credential states it, where it does: free of clock errors, so it counts before all.
    pub expires_in: Option<Duration>,
    /// From when on the credential recommends to ask again.
    pub refresh_on: Option<UnixTime>,
}

impl FetchedToken {
    /// A token whose own claims tell its life.
    pub fn new(text: Secret) -> FetchedToken {
        FetchedToken { text, expires_on: None, expires_in: None, refresh_on: None }
    }
}

/// Why no token was obtained. The text is the host's own and must hold no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFailure {
    /// What went wrong.
    pub text: String,
    /// HTTP status of the token endpoint, where known.
    pub status: Option<u16>,
    /// How long the endpoint asked to wait.
    pub retry_after: Option<Duration>,
    /// Whether repeating the question can help. Where not, waiting commands fail at once; the source still asks
    /// again at a slow pace.
    pub is_permanent: bool,
}

impl TokenFailure {
    /// A failure that may pass.
    pub fn transient(text: impl Into<String>) -> TokenFailure {
        TokenFailure { text: text.into(), status: None, retry_after: None, is_permanent: false }
    }

    /// A failure that repeating the question does not cure.
    pub fn permanent(text: impl Into<String>) -> TokenFailure {
        TokenFailure { is_permanent: true, ..TokenFailure::transient(text) }
    }
}

/// A token with what is known of its life.
#[derive(Clone)]
pub struct IssuedToken {
    pub(crate) generation: u64,
    pub(crate) secret: Arc<Secret>,
    pub(crate) claims: Arc<Claims>,
    pub(crate) expires_at: Instant,
    /// Remaining life on arrival.
    pub(crate) life: Duration,
    /// It looked expired on arrival: either it is, or the local clock is wrong.
    pub(crate) is_doubtful: bool,
    /// `None`: nobody states an end. It is good until the server says otherwise.
    pub(crate) expires_on: Option<UnixTime>,
}

impl IssuedToken {
    /// Ascends with each token that the source issues.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The object id in the token.
    pub fn oid(&self) -> Option<&str> {
        self.claims.oid.as_deref()
    }

    /// When it ends, on the monotonic clock, as well as is known.
    pub fn expires_at(&self) -> Instant {
        self.expires_at
    }

    /// When it ends by its own claim (or the credential's), on the wall clock; `None` where neither states an end.
    pub fn expires_on(&self) -> Option<UnixTime> {
        self.expires_on
    }
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedToken")
            .field("generation", &self.generation)
            .field("oid", &self.claims.oid)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// How the supply of tokens stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenState {
    /// No token was obtained yet.
    Empty,
    /// The token is good and the next question is not due.
    Fresh,
    /// The next token is being asked for, in good time.
    Renewing,
    /// The next token should be here by now.
    Late,
    /// The token has ended and there is no other.
    Expired,
}

/// What a source wants done, in order.
#[derive(Debug)]
#[non_exhaustive]
pub enum SourceOutput {
    /// Ask the credential for a token and report with `handle_fetched` or `handle_failed`.
    Fetch,
    /// A token for every subscribed client: a new one, or the known one again where a newer one was asked for and
    /// there is none.
    Issued(IssuedToken),
    /// The question failed; every subscribed client should know.
    Failed(TokenFailure),
    /// The supply's state changed.
    State(TokenState),
}

/// See the module's description.
#[derive(Debug)]
pub struct TokenSource {
    rng: Rng,
    clock: ClockWatch,
    subscribers: usize,
    current: Option<IssuedToken>,
    generation: u64,
    state: TokenState,
    /// Questions without an answer. More than one only where the first went unanswered for `ANSWER_WAIT_MAX`.
    unanswered: u8,
    asked_at: Option<Instant>,
    /// When to ask next.
    next_at: Option<Instant>,
    failures: u32,
    /// The current token's text was tried although it looked expired; once is enough.
    doubt_was_tried: bool,
    /// A client asked for something newer than the current token: it was refused, or is about to end.
    is_newer_wanted: bool,
    outputs: VecDeque<SourceOutput>,
}

/// A question unanswered for so long is late: a second one may go out, and the first answer still counts.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(30);

/// After so many answers without anything newer, the usual schedule holds again.
const UNWANTED_ANSWERS_MAX: u32 = 6;

/// Life given to a token that looked expired and was accepted all the same.
const DOUBTFUL_LIFE_MAX: Duration = Duration::from_secs(600);

/// At least so much, whatever its claims say: enough to be tried.
const DOUBTFUL_LIFE_MIN: Duration = Duration::from_secs(10);

impl TokenSource {
    /// A source that asks nothing until somebody subscribes.
    pub fn new(seed: [u8; 32], now: Now) -> TokenSource {
        TokenSource {
            rng: Rng::new(seed),
            clock: ClockWatch::new(now),
            subscribers: 0,
            current: None,
            generation: 0,
            state: TokenState::Empty,
            unanswered: 0,
            asked_at: None,
            next_at: None,
            failures: 0,
            doubt_was_tried: false,
            is_newer_wanted: false,
            outputs: VecDeque::new(),
        }
    }

    /// One more client depends on this source.
    pub fn subscribe(&mut self) {
        self.subscribers += 1;
    }

    /// One client less; with none left, nothing is asked any more.
    pub fn unsubscribe(&mut self) {
        self.subscribers = self.subscribers.saturating_sub(1);
    }

    /// A client needs a token newer than the one of generation `newer_than` (0: any). Comes back at once where it
    /// is here, else as [`SourceOutput::Issued`].
    pub fn request(&mut self, newer_than: u64, now: Now) -> Option<IssuedToken> {
        let now = self.observe(now);
        let usable = |token: &&IssuedToken| token.generation > newer_than && token.expires_at > now.monotonic;
        if let Some(token) = self.current.as_ref().filter(usable) {
            return Some(token.clone());
        }
        self.is_newer_wanted = true;
        // A question that seems lost does not stand in the way of the next one.
        if self.unanswered == 0 || (self.can_ask() && self.next_at.is_some()) {
            // After a failure the pace already set holds: a crowd of clients must not shorten it.
            let paced = self.next_at.filter(|_| self.failures > 0);
            let earliest = self.asked_at.map_or(now.monotonic, |at| at + QUESTION_GAP_MIN);
            self.next_at = Some(paced.unwrap_or(earliest.max(now.monotonic)));
            self.ask_if_due(now.monotonic);
        }
        None
    }

    /// The token last issued.
    pub fn current(&self) -> Option<&IssuedToken> {
        self.current.as_ref()
    }

    /// How the supply stands.
    pub fn state(&self) -> TokenState {
        self.state
    }

    /// When the next question is due, if one is.
    pub fn next_question_at(&self) -> Option<Instant> {
        self.next_at
    }

    /// The credential returned a token.
    pub fn handle_fetched(&mut self, fetched: FetchedToken, now: Now) {
        let now = self.observe(now);
        self.unanswered = self.unanswered.saturating_sub(1);
        if let Err(failure) = check(fetched.text.expose()) {
            return self.fail(failure, now);
        }
        let claims = Claims::of(fetched.text.expose());
        let estimate = Estimate::of(&fetched, &claims, now);
        let is_same = self.current.as_ref().is_some_and(|current| current.secret.same_as(&fetched.text));
        let deserves_a_try = self.has_ended(now) && !self.doubt_was_tried;
        if is_same && !deserves_a_try {
            return self.handle_same(now);
        }
        let is_wanted = self.is_newer_wanted && !estimate.is_doubtful;
        let outlives = self.current.as_ref().is_none_or(|current| {
            let ends_later = now.monotonic + estimate.life > current.expires_at;
            // Where the local clock is in doubt, the claims decide.
            let claims_later = estimate.expires_on > current.expires_on;
            let has_no_end = current.expires_on.is_none();
            is_same || is_wanted || has_no_end || if estimate.is_doubtful { claims_later } else { ends_later }
        });
        if !outlives {
            // An older token than the one in use: a cache of another process, for one.
            return self.handle_same(now);
        }
        self.issue(fetched, claims, &estimate, is_same, now);
    }

    /// The credential failed.
    pub fn handle_failed(&mut self, failure: TokenFailure, now: Now) {
        let now = self.observe(now);
        self.unanswered = self.unanswered.saturating_sub(1);
        self.fail(failure, now);
    }

    /// Time has passed. Safe to call at any moment.
    pub fn handle_timeout(&mut self, now: Now) {
        let now = self.observe(now);
        if self.unanswered == 1 && self.is_answer_overdue(now.monotonic) && self.next_at.is_none() {
            self.fail(TokenFailure::transient("the credential has not answered for 30 s"), now);
        }
        self.ask_if_due(now.monotonic);
        self.update_state(now.monotonic);
    }

    /// What to do next; `None` where nothing is left to do.
    pub fn poll_output(&mut self) -> Option<SourceOutput> {
        self.outputs.pop_front()
    }

    /// When `handle_timeout` wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.subscribers == 0 {
            return None;
        }
        let question = self.next_at.filter(|_| self.can_ask());
        let overdue = self
            .asked_at
            .filter(|_| self.unanswered == 1 && self.next_at.is_none())
            .map(|asked| asked + ANSWER_WAIT_MAX);
        let change = self.current.as_ref().and_then(|token| match self.state {
            TokenState::Fresh | TokenState::Renewing => Some(token.expires_at.before(lead(token.life))),
            TokenState::Late => Some(token.expires_at),
            TokenState::Empty | TokenState::Expired => None,
        });
        [question, overdue, change].into_iter().flatten().min()
    }

    fn issue(&mut self, fetched: FetchedToken, claims: Claims, estimate: &Estimate, is_same: bool, now: Now) {
        self.generation += 1;
        self.failures = 0;
        self.is_newer_wanted = false;
        self.doubt_was_tried = estimate.is_doubtful || is_same;
        let refresh_on = fetched.refresh_on.map(|at| at.since(now.unix)).filter(|_| !estimate.is_doubtful);
        let paced_by = estimate.expires_on.map_or(UNSTATED_LIFE, |_| estimate.life);
        self.next_at =
            Some(now.monotonic + first_question(paced_by, refresh_on, &mut self.rng).max(QUESTION_GAP_MIN));
        let token = IssuedToken {
            generation: self.generation,
            secret: Arc::new(fetched.text),
            claims: Arc::new(claims),
            expires_at: now.monotonic + estimate.life,
            life: estimate.life,
            is_doubtful: estimate.is_doubtful,
            expires_on: estimate.expires_on,
        };
        self.current = Some(token.clone());
        self.outputs.push_back(SourceOutput::Issued(token));
        self.set_state(TokenState::Fresh);
    }

    /// The source gave what it had given before. Caches do, until shortly before the end.
    fn handle_same(&mut self, now: Now) {
        let remaining = self.remaining(now.monotonic);
        let is_failure = self.is_newer_wanted || is_same_token_late(remaining);
        self.failures = if is_failure { self.failures.saturating_add(1) } else { 0 };
        let has_no_end = self.current.as_ref().is_some_and(|token| token.expires_on.is_none());
        let wait = if self.is_newer_wanted {
            question_after_unwanted(remaining, self.failures, &mut self.rng)
        } else if has_no_end {
            first_question(UNSTATED_LIFE, None, &mut self.rng)
        } else {
            question_after_same(remaining, &mut self.rng)
        };
        self.next_at = Some(now.monotonic + wait);
        if let Some(token) = self.current.as_ref().filter(|_| self.is_newer_wanted) {
            // Whoever waits learns that there is nothing newer.
            self.outputs.push_back(SourceOutput::Issued(token.clone()));
            if self.failures >= UNWANTED_ANSWERS_MAX && !is_same_token_late(remaining) {
                // The refusal may have passed long since; whoever still needs another token will ask again.
                self.is_newer_wanted = false;
                self.failures = 0;
            }
        }
        self.update_state(now.monotonic);
    }

    fn fail(&mut self, failure: TokenFailure, now: Now) {
        self.failures = self.failures.saturating_add(1);
        let wait = question_after_failure(
            self.failures,
            failure.status,
            failure.is_permanent,
            failure.retry_after,
            &mut self.rng,
        );
        self.next_at = Some(now.monotonic + wait);
        self.outputs.push_back(SourceOutput::Failed(failure));
        self.update_state(now.monotonic);
    }

    fn can_ask(&self) -> bool {
        // The second question stands in for one that seems lost.
        self.unanswered < 2
    }

    fn is_answer_overdue(&self, now: Instant) -> bool {
        self.asked_at.is_some_and(|asked| now.since(asked) >= ANSWER_WAIT_MAX)
    }

    fn ask_if_due(&mut self, now: Instant) {
        if self.subscribers == 0 || !self.can_ask() || self.next_at.is_none_or(|at| at > now) {
            return;
        }
        self.next_at = None;
        self.asked_at = Some(now);
        self.unanswered += 1;
        self.outputs.push_back(SourceOutput::Fetch);
        self.update_state(now);
    }

    fn remaining(&self, now: Instant) -> Duration {
        self.current.as_ref().map_or(Duration::ZERO, |token| token.expires_at.since(now))
    }

    fn has_ended(&self, now: Now) -> bool {
        self.remaining(now.monotonic).is_zero()
    }

    fn update_state(&mut self, now: Instant) {
        let Some(token) = &self.current else { return };
        let remaining = token.expires_at.since(now);
        let state = if remaining.is_zero() {
            TokenState::Expired
        } else if remaining <= lead(token.life) {
            TokenState::Late
        } else if self.unanswered > 0 || self.failures > 0 {
            TokenState::Renewing
        } else {
            TokenState::Fresh
        };
        self.set_state(state);
    }

    fn set_state(&mut self, state: TokenState) {
        if self.state != state {
            self.state = state;
            self.outputs.push_back(SourceOutput::State(state));
        }
    }

    /// After a suspend the monotonic clock has missed time that the token has not: take the smaller estimate and
    /// ask at once.
    fn observe(&mut self, now: Now) -> Now {
        let (now, jump) = self.clock.observe(now);
        if let Some(jump) = jump
            && let Some(token) = &mut self.current
        {
            token.expires_at = token.expires_at.before(jump);
            if self.unanswered == 0 {
                let earliest = self.asked_at.map_or(now.monotonic, |at| at + QUESTION_GAP_MIN);
                self.next_at = Some(now.monotonic.max(earliest));
            }
        }
        now
    }
}

/// What a token's life is worth, seen from its arrival.
struct Estimate {
    life: Duration,
    is_doubtful: bool,
    expires_on: Option<UnixTime>,
}

impl Estimate {
    fn of(fetched: &FetchedToken, claims: &Claims, now: Now) -> Estimate {
        let expires_in = fetched.expires_in.map(|life| life.min(LIFE_MAX)).filter(|life| !life.is_zero());
        let stated = expires_in.map(|life| now.unix + life).or(fetched.expires_on);
        let expires_on = claims.exp.map(UnixTime::from_secs).or(stated);
        if let Some(life) = expires_in {
            return Estimate { life, is_doubtful: false, expires_on };
        }
        let Some(end) = expires_on else {
            return Estimate { life: LIFE_MAX, is_doubtful: false, expires_on };
        };
        // A clock that reads earlier than the issue is behind by at least the difference.
        let issued = claims.iat.map(UnixTime::from_secs);
        let here = issued.map_or(now.unix, |issued| now.unix.max(issued));
        let whole = issued.map_or(LIFE_MAX, |issued| end.since(issued).min(LIFE_MAX));
        let life = end.since(here).min(whole);
        if life.is_zero() {
            // Expired, or the clock here is wrong: the server will tell.
            let life = whole.clamp(DOUBTFUL_LIFE_MIN, DOUBTFUL_LIFE_MAX);
            return Estimate { life, is_doubtful: true, expires_on };
        }
        Estimate { life, is_doubtful: false, expires_on }
    }
}

/// Nothing is planned further ahead, whatever a token claims.
const LIFE_MAX: Duration = Duration::from_secs(366 * 86_400);

/// Where neither the token nor the credential states an end, it is asked for as if it lived so long: it may be a
/// password that somebody rotates.
const UNSTATED_LIFE: Duration = Duration::from_secs(600);

/// A server closes a connection that sends more than this before login (`ERR Protocol error: unauthenticated bulk
/// length`, measured on redis-server 7.0.15).
const TOKEN_LEN_MAX: usize = 16_384;

fn check(token: &[u8]) -> Result<(), TokenFailure> {
    let complaint = if token.is_empty() {
        "the credential returned an empty token".to_owned()
    } else if token.len() > TOKEN_LEN_MAX {
        format!("the token has {} bytes; a Redis server takes at most {TOKEN_LEN_MAX} at login", token.len())
    } else if token.iter().any(|byte| !(0x21..=0x7e).contains(byte)) {
        "the token holds control characters, blanks or bytes outside ASCII".to_owned()
    } else {
        return Ok(());
    };
    Err(TokenFailure::permanent(complaint))
}
