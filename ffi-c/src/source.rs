//! The token source: any number of cores depend on one.

use crate::handle::{self, Failure, Guarded, place, seed_of};
use crate::input::Now;
use crate::output::{Output, Slice};
use crate::{RESPASS_NEVER_US, ResultCode};
use respass_core::{FetchedToken, IssuedToken, Secret, TokenFailure, TokenSource, TokenState, UnixTime};
use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::time::Duration;

/// Owns when to ask a credential for tokens, and what its answers are worth.
#[derive(Debug)]
pub struct Source(Guarded<TokenSource>);

/// What a source has for its cores: a token, or why there is none.
#[derive(Debug)]
pub enum Token {
    /// A token.
    Issued(IssuedToken),
    /// Why there is none.
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

fn change(
    source: Option<&mut Source>,
    body: impl FnOnce(&mut TokenSource) -> Result<(), Failure>,
) -> ResultCode {
    source.map_or_else(|| Failure::null().code, |source| source.0.call(body))
}

/// A source that asks nothing until somebody subscribes. `seed` points at 32 bytes from the system's random source.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_source_new(
    seed: *const u8,
    now: Now,
    source: Option<&mut MaybeUninit<*mut Source>>,
) -> ResultCode {
    handle::make(|| {
        let place = place(source)?;
        let seed = seed_of(block!(seed, 32)?);
        let value = TokenSource::new(seed, now.into());
        place.write(Box::into_raw(Box::new(Source(Guarded::new(value)))));
        Ok(())
    })
}

/// Releases the source. Tokens that it issued stay good.
#[unsafe(no_mangle)]
pub extern "C" fn respass_source_free(source: Option<Box<Source>>) {
    handle::free(source);
}

/// Why the latest call on this source failed: borrowed until the next non-const call on it.
#[unsafe(no_mangle)]
pub extern "C" fn respass_source_error_text(
    source: Option<&Source>,
    text: Option<&mut MaybeUninit<Slice>>,
) -> ResultCode {
    let Some(source) = source else { return Failure::null().code };
    handle::make(|| {
        place(text)?.write(Slice::of(source.0.error().as_bytes()));
        Ok(())
    })
}

/// One more core depends on this source.
#[unsafe(no_mangle)]
pub extern "C" fn respass_source_subscribe(source: Option<&mut Source>) -> ResultCode {
    change(source, |source| {
        source.subscribe();
        Ok(())
    })
}

/// One core less. With none left, nothing is asked any more.
#[unsafe(no_mangle)]
pub extern "C" fn respass_source_unsubscribe(source: Option<&mut Source>) -> ResultCode {
    change(source, |source| {
        source.unsubscribe();
        Ok(())
    })
}

/// A core wants a token newer than generation `newer_than`. `token` is to be freed with `respass_token_free`; it is
/// NULL where there is none yet: then an output of the source brings it.
#[unsafe(no_mangle)]
pub extern "C" fn respass_source_request(
    source: Option<&mut Source>,
    newer_than: u64,
    now: Now,
    token: Option<&mut MaybeUninit<*mut Token>>,
) -> ResultCode {
    change(source, |source| {
        let place = place(token)?;
        let token = source.request(newer_than, now.into());
        place
            .write(token.map_or(std::ptr::null_mut(), |token| Box::into_raw(Box::new(Token::Issued(token)))));
        Ok(())
    })
}

/// Releases a token of `respass_source_request`. Tokens of outputs belong to the output.
#[unsafe(no_mangle)]
pub extern "C" fn respass_token_free(token: Option<Box<Token>>) {
    handle::free(token);
}

/// The credential returned a token. Of the times, those that it did not state are 0: the moment the token ends and
/// the moment to ask for the next (since 1970), and the time that it has left.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_source_fetched(
    source: Option<&mut Source>,
    token: *const c_char,
    token_len: usize,
    expires_on_us: u64,
    expires_in_us: u64,
    refresh_on_us: u64,
    now: Now,
) -> ResultCode {
    change(source, |source| {
        let known = |us: u64| Some(us).filter(|&us| us > 0);
        let fetched = FetchedToken {
            text: Secret::new(bytes!(token, token_len)?.to_vec()),
            expires_on: known(expires_on_us).map(UnixTime::from_micros),
            expires_in: known(expires_in_us).map(Duration::from_micros),
            refresh_on: known(refresh_on_us).map(UnixTime::from_micros),
        };
        source.handle_fetched(fetched, now.into());
        Ok(())
    })
}

/// The credential failed. `text` must hold no secret. `status` is the token endpoint's HTTP status and
/// `retry_after_us` how long it asked to wait, 0 where not known. `is_permanent`: repeating the question cannot help.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_source_failed(
    source: Option<&mut Source>,
    text: *const c_char,
    text_len: usize,
    status: u16,
    retry_after_us: u64,
    is_permanent: bool,
    now: Now,
) -> ResultCode {
    change(source, |source| {
        let failure = TokenFailure {
            text: String::from_utf8_lossy(bytes!(text, text_len)?).into_owned(),
            status: Some(status).filter(|&status| status > 0),
            retry_after: Some(retry_after_us).filter(|&us| us > 0).map(Duration::from_micros),
            is_permanent,
        };
        source.handle_failed(failure, now.into());
        Ok(())
    })
}

/// Time has passed. Safe to call at any moment.
#[unsafe(no_mangle)]
pub extern "C" fn respass_source_timeout(source: Option<&mut Source>, now: Now) -> ResultCode {
    change(source, |source| {
        source.handle_timeout(now.into());
        Ok(())
    })
}

/// What to do next; the kind is RESPASS_OUTPUT_KIND_NONE where nothing is left. What `output` held before is not
/// looked at: clear it first.
#[unsafe(no_mangle)]
pub extern "C" fn respass_source_next_output(
    source: Option<&mut Source>,
    output: Option<&mut MaybeUninit<Output>>,
) -> ResultCode {
    change(source, |source| {
        place(output)?.write(Output::of_source(source.poll_output()));
        Ok(())
    })
}

/// When `respass_source_timeout` wants to be called, on the monotonic clock; `RESPASS_NEVER_US` where it does not.
#[unsafe(no_mangle)]
pub extern "C" fn respass_source_next_wakeup(
    source: Option<&Source>,
    wakeup_us: Option<&mut MaybeUninit<u64>>,
) -> ResultCode {
    let Some(source) = source else { return Failure::null().code };
    source.0.look(|source| {
        let wakeup = source.poll_timeout();
        place(wakeup_us)?.write(wakeup.map_or(RESPASS_NEVER_US, |at| at.as_micros()));
        Ok(())
    })
}

const fn may_move_between_threads<T: Send>() {}
const _: () = may_move_between_threads::<Source>();
const _: () = may_move_between_threads::<Token>();
