//! The token source: any number of cores depend on one.

use crate::{milliseconds, now};
use napi_derive::napi;
use respass::{
    FetchedToken, IssuedToken, Secret, SourceOutput, TokenFailure, TokenSource, TokenState, UnixTime,
};
use std::time::Duration;

/// What a source has for its cores: a token, or why there is none. Opaque to JavaScript.
#[napi]
pub struct Token(pub(crate) News);

#[napi]
impl Token {
    /// Why there is no token, where that is so.
    #[napi(getter, catch_unwind)]
    pub fn failure(&self) -> Option<String> {
        match &self.0 {
            News::Issued(_) => None,
            News::Failed(failure) => Some(failure.text.clone()),
        }
    }
}

pub(crate) enum News {
    Issued(IssuedToken),
    Failed(TokenFailure),
}

/// What `Source.poll` found. Mirrored in `lib/source.js`.
#[derive(Clone, Copy)]
enum Kind {
    None = 0,
    Fetch = 1,
    Token = 2,
    State = 3,
}

/// Owns when to ask a credential for tokens, and what its answers are worth.
#[napi]
pub struct Source {
    source: TokenSource,
    token: Option<News>,
    state: &'static str,
}

/// How the supply of tokens stands.
#[napi(object, object_from_js = false)]
pub struct SourceStatus {
    /// empty, fresh, renewing, late or expired.
    pub state: String,
    /// When the next question is due, in milliseconds since 1970.
    pub refresh_on_ms: Option<f64>,
}

#[napi]
impl Source {
    /// A source that asks nothing until somebody subscribes.
    #[napi(constructor, catch_unwind)]
    pub fn new(seed: &[u8], monotonic_us: f64, unix_us: f64) -> napi::Result<Source> {
        let source = TokenSource::new(seed_of(seed)?, now(monotonic_us, unix_us));
        Ok(Source { source, token: None, state: name(TokenState::Empty) })
    }

    /// One more core depends on this source.
    #[napi(catch_unwind)]
    pub fn subscribe(&mut self) {
        self.source.subscribe();
    }

    /// One core less.
    #[napi(catch_unwind)]
    pub fn unsubscribe(&mut self) {
        self.source.unsubscribe();
    }

    /// A token newer than a generation, where there is one.
    #[napi(catch_unwind)]
    pub fn request(&mut self, newer_than: f64, monotonic_us: f64, unix_us: f64) -> Option<Token> {
        let token = self.source.request(newer_than as u64, now(monotonic_us, unix_us));
        token.map(|token| Token(News::Issued(token)))
    }

    /// The credential returned a token.
    #[napi(catch_unwind)]
    pub fn fetched(
        &mut self,
        text: String,
        expires_on_ms: Option<f64>,
        refresh_on_ms: Option<f64>,
        monotonic_us: f64,
        unix_us: f64,
    ) {
        let moment = |ms: f64| UnixTime::from_micros((ms * 1e3) as u64);
        let fetched = FetchedToken {
            text: Secret::new(text.into_bytes()),
            expires_on: expires_on_ms.map(moment),
            expires_in: None,
            refresh_on: refresh_on_ms.map(moment),
        };
        self.source.handle_fetched(fetched, now(monotonic_us, unix_us));
    }

    /// The credential failed.
    #[napi(catch_unwind)]
    pub fn failed(
        &mut self,
        text: String,
        status: Option<u16>,
        retry_after_ms: Option<f64>,
        is_permanent: bool,
        monotonic_us: f64,
        unix_us: f64,
    ) {
        let retry_after = retry_after_ms.map(|ms| Duration::from_millis(ms as u64));
        let failure = TokenFailure { text, status, retry_after, is_permanent };
        self.source.handle_failed(failure, now(monotonic_us, unix_us));
    }

    /// Time has passed.
    #[napi(catch_unwind)]
    pub fn timeout(&mut self, monotonic_us: f64, unix_us: f64) {
        self.source.handle_timeout(now(monotonic_us, unix_us));
    }

    /// What to do next.
    #[napi(catch_unwind)]
    pub fn poll(&mut self) -> u32 {
        let kind = match self.source.poll_output() {
            None => Kind::None,
            Some(SourceOutput::Fetch) => Kind::Fetch,
            Some(SourceOutput::Issued(token)) => {
                self.token = Some(News::Issued(token));
                Kind::Token
            }
            Some(SourceOutput::Failed(failure)) => {
                self.token = Some(News::Failed(failure));
                Kind::Token
            }
            Some(other) => {
                if let SourceOutput::State(state) = other {
                    self.state = name(state);
                }
                Kind::State
            }
        };
        kind as u32
    }

    /// What `poll` found.
    #[napi(catch_unwind)]
    pub fn take_token(&mut self) -> Option<Token> {
        self.token.take().map(Token)
    }

    /// How the supply stands: empty, fresh, renewing, late or expired.
    #[napi(getter, catch_unwind)]
    pub fn state(&self) -> &str {
        self.state
    }

    /// How the supply stands now.
    #[napi(catch_unwind)]
    pub fn status(&self, monotonic_us: f64, unix_us: f64) -> SourceStatus {
        let now = now(monotonic_us, unix_us);
        let refresh_on = self.source.next_question_at().map(|at| now.unix + at.since(now.monotonic));
        SourceStatus {
            state: name(self.source.state()).to_owned(),
            refresh_on_ms: refresh_on.map(milliseconds),
        }
    }

    /// When `timeout` wants to be called; infinity where it does not.
    #[napi(catch_unwind)]
    pub fn wakeup(&self) -> f64 {
        self.source.poll_timeout().map_or(f64::INFINITY, |at| at.as_micros() as f64)
    }
}

fn name(state: TokenState) -> &'static str {
    match state {
        TokenState::Empty => "empty",
        TokenState::Fresh => "fresh",
        TokenState::Renewing => "renewing",
        TokenState::Late => "late",
        TokenState::Expired => "expired",
        _ => "unknown",
    }
}

pub(crate) fn seed_of(bytes: &[u8]) -> napi::Result<[u8; 32]> {
    bytes.try_into().map_err(|_| napi::Error::from_reason("a seed has 32 bytes"))
}
