//! The token source: any number of cores depend on one.

use crate::handle::{self, place, seed_of};
use crate::input::Now;
use crate::output::{Output, Slice};
use crate::request::{Inbox, failure_of, fetched_of};
use crate::{RESPASS_NEVER_US, ResultCode};
use respass_core::{IssuedToken, TokenFailure, TokenSource, TokenState};
use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::sync::Arc;

/// Owns when to ask a credential for tokens, and what its answers are worth.
pub struct Source {
    _opaque: [u8; 0],
}

object!(Source, Box<Supply>, 3);

#[derive(Debug)]
pub(crate) struct Supply {
    source: TokenSource,
    /// Answers of credentials, from any thread.
    pub(crate) inbox: Arc<Inbox>,
}

impl Supply {
    fn take_in(&mut self, now: respass_core::Now) {
        for answer in self.inbox.take() {
            match answer {
                Ok(fetched) => self.source.handle_fetched(fetched, now),
                Err(failure) => self.source.handle_failed(failure, now),
            }
        }
    }
}

/// What a source has for its cores: a token, or why there is none.
pub struct Token {
    _opaque: [u8; 0],
}

object!(Token, News, 4);

#[derive(Debug)]
pub(crate) enum News {
    Issued(IssuedToken),
    Failed(TokenFailure),
}

/// How the supply of tokens stands.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// One that this version has no number for.
    Other = 0,
    /// No token was obtained yet.
    Empty = 1,
    /// The token is good and the next question is not due.
    Fresh = 2,
    /// The next token is being asked for, in good time.
    Renewing = 3,
    /// The next token should be here by now.
    Late = 4,
    /// The token has ended and there is no other.
    Expired = 5,
}

impl State {
    pub(crate) fn of(state: TokenState) -> State {
        match state {
            TokenState::Empty => State::Empty,
            TokenState::Fresh => State::Fresh,
            TokenState::Renewing => State::Renewing,
            TokenState::Late => State::Late,
            TokenState::Expired => State::Expired,
            _ => State::Other,
        }
    }
}

/// A source that asks nothing until somebody subscribes. `seed` points at 32 bytes from the system's random source.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_source_new(
    seed: *const u8,
    now: Now,
    source: Option<&mut MaybeUninit<*mut Source>>,
) -> ResultCode {
    enter!({
        let place = place(source)?;
        let seed = seed_of(block!(seed, 32)?);
        let supply = Supply { source: TokenSource::new(seed, now.into()), inbox: Arc::default() };
        place.write(handle::insert::<Source>(Box::new(supply)));
    })
}

/// Releases the source. Tokens that it issued stay good.
#[unsafe(no_mangle)]
pub extern "C" fn respass_source_free(source: *mut Source) {
    handle::free(source);
}

/// Why the latest call on this source failed: borrowed until the next non-const call on it.
#[unsafe(no_mangle)]
pub extern "C" fn respass_source_error_text(
    source: *const Source,
    text: Option<&mut MaybeUninit<Slice>>,
) -> ResultCode {
    handle::code(handle::failure_text(source, |latest| {
        place(text)?.write(Slice::of(latest.as_bytes()));
        Ok(())
    }))
}

/// One more core depends on this source.
#[unsafe(no_mangle)]
pub extern "C" fn respass_source_subscribe(source: *mut Source) -> ResultCode {
    enter!(mut source => source.source.subscribe())
}

/// One core less. With none left, nothing is asked any more.
#[unsafe(no_mangle)]
pub extern "C" fn respass_source_unsubscribe(source: *mut Source) -> ResultCode {
    enter!(mut source => source.source.unsubscribe())
}

/// A core wants a token newer than generation `newer_than`. `token` is to be freed with `respass_token_free`; it is
/// NULL where there is none yet: then an output of the source brings it.
#[unsafe(no_mangle)]
pub extern "C" fn respass_source_request(
    source: *mut Source,
    newer_than: u64,
    now: Now,
    token: Option<&mut MaybeUninit<*mut Token>>,
) -> ResultCode {
    enter!(mut source => {
        let place = place(token)?;
        source.take_in(now.into());
        let token = source.source.request(newer_than, now.into());
        place.write(token.map_or(std::ptr::null_mut(), |token| handle::insert::<Token>(News::Issued(token))));
    })
}

/// Releases a token of `respass_source_request`. Tokens of outputs belong to the output.
#[unsafe(no_mangle)]
pub extern "C" fn respass_token_free(token: *mut Token) {
    handle::free(token);
}

/// The credential returned a token. Of the times, those that it did not state are 0: the moment the token ends and
/// the moment to ask for the next (since 1970), and the time that it has left.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_source_fetched(
    source: *mut Source,
    token: *const c_char,
    token_len: usize,
    expires_on_us: u64,
    expires_in_us: u64,
    refresh_on_us: u64,
    now: Now,
) -> ResultCode {
    enter!(mut source => {
        let fetched = fetched_of(bytes!(token, token_len)?, expires_on_us, expires_in_us, refresh_on_us);
        source.source.handle_fetched(fetched, now.into());
    })
}

/// The credential failed. `text` must hold no secret. `status` is the token endpoint's HTTP status and
/// `retry_after_us` how long it asked to wait, 0 where not known. `is_permanent`: repeating the question cannot help.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_source_failed(
    source: *mut Source,
    text: *const c_char,
    text_len: usize,
    status: u16,
    retry_after_us: u64,
    is_permanent: bool,
    now: Now,
) -> ResultCode {
    enter!(mut source => {
        let failure = failure_of(bytes!(text, text_len)?, status, retry_after_us, is_permanent);
        source.source.handle_failed(failure, now.into());
    })
}

/// Time has passed, or a request was answered. Safe to call at any moment.
#[unsafe(no_mangle)]
pub extern "C" fn respass_source_timeout(source: *mut Source, now: Now) -> ResultCode {
    enter!(mut source => {
        source.take_in(now.into());
        source.source.handle_timeout(now.into());
    })
}

/// What to do next; the kind is RESPASS_OUTPUT_KIND_NONE where nothing is left. What `output` held before is not
/// looked at: clear it first.
#[unsafe(no_mangle)]
pub extern "C" fn respass_source_next_output(
    source: *mut Source,
    output: Option<&mut MaybeUninit<Output>>,
) -> ResultCode {
    enter!(mut source => {
        place(output)?.write(Output::of_source(source.source.poll_output()));
    })
}

/// When `respass_source_timeout` wants to be called, on the monotonic clock; `RESPASS_NEVER_US` where it does not.
#[unsafe(no_mangle)]
pub extern "C" fn respass_source_next_wakeup(
    source: *const Source,
    wakeup_us: Option<&mut MaybeUninit<u64>>,
) -> ResultCode {
    enter!(source => {
        let wakeup = source.source.poll_timeout();
        place(wakeup_us)?.write(wakeup.map_or(RESPASS_NEVER_US, |at| at.as_micros()));
    })
}
