//! One question to a credential, which any thread may answer.

use crate::ResultCode;
use crate::handle::{self, place};
use crate::source::Source;
use respass_core::{FetchedToken, Secret, TokenFailure, UnixTime};
use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// One question to a credential. Any thread may answer it, once; that ends it.
pub struct TokenRequest {
    _opaque: [u8; 0],
}

// A child of fork that answered would write to its parent's descriptors.
object!(TokenRequest, Question, 6, std::mem::forget);

/// Told that a request was answered, on the thread that answered it. May not call anything on that request.
pub type Wake = Option<extern "C" fn(data: *mut c_void)>;

/// Where answers wait until their source's thread looks.
#[derive(Debug, Default)]
pub(crate) struct Inbox(Mutex<Vec<Answer>>);

type Answer = Result<FetchedToken, TokenFailure>;

impl Inbox {
    pub(crate) fn take(&self) -> Vec<Answer> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, answer: Answer) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
    }
}

/// Who is told that the inbox has something.
#[derive(Debug)]
pub(crate) struct HostWake {
    function: Wake,
    data: AtomicPtr<c_void>,
}

impl HostWake {
    pub(crate) fn new(function: Wake, data: *mut c_void) -> HostWake {
        HostWake { function, data: AtomicPtr::new(data) }
    }

    pub(crate) fn call(&self) {
        if let Some(function) = self.function {
            function(self.data.load(Ordering::Relaxed));
        }
    }
}

/// A question that has no answer yet. Dropped without one, it has failed.
pub(crate) struct Question {
    inbox: Arc<Inbox>,
    wake: Box<dyn Fn() + Send>,
    is_answered: bool,
}

impl Question {
    pub(crate) fn new(inbox: Arc<Inbox>, wake: impl Fn() + Send + 'static) -> Question {
        Question { inbox, wake: Box::new(wake), is_answered: false }
    }

    fn answer(&mut self, answer: Answer) {
        self.is_answered = true;
        self.inbox.put(answer);
        (self.wake)();
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if !self.is_answered {
            self.answer(Err(TokenFailure::transient(
                "the credential gave its request back without an answer",
            )));
        }
    }
}

pub(crate) fn fetched_of(
    token: &[u8],
    expires_on_us: u64,
    expires_in_us: u64,
    refresh_on_us: u64,
) -> FetchedToken {
    let known = |us: u64| Some(us).filter(|&us| us > 0);
    FetchedToken {
        text: Secret::new(token.to_vec()),
        expires_on: known(expires_on_us).map(UnixTime::from_micros),
        expires_in: known(expires_in_us).map(Duration::from_micros),
        refresh_on: known(refresh_on_us).map(UnixTime::from_micros),
    }
}

pub(crate) fn failure_of(text: &[u8], status: u16, retry_after_us: u64, is_permanent: bool) -> TokenFailure {
    TokenFailure {
        text: String::from_utf8_lossy(text).into_owned(),
        status: Some(status).filter(|&status| status > 0),
        retry_after: Some(retry_after_us).filter(|&us| us > 0).map(Duration::from_micros),
        is_permanent,
    }
}

/// A request for a source that said RESPASS_OUTPUT_KIND_FETCH, to be answered later or by another thread. `wake`,
/// where it is not NULL, is called on the thread that answers; it is to make the source's thread call
/// `respass_source_timeout`.
#[unsafe(no_mangle)]
pub extern "C" fn respass_token_request_new(
    source: *const Source,
    wake: Wake,
    wake_data: *mut c_void,
    request: Option<&mut MaybeUninit<*mut TokenRequest>>,
) -> ResultCode {
    enter!(source => {
        let place = place(request)?;
        let wake = HostWake::new(wake, wake_data);
        let question = Question::new(source.inbox.clone(), move || wake.call());
        place.write(handle::insert::<TokenRequest>(question));
    })
}

/// Gives a request back without an answer, which is a failure that may pass.
#[unsafe(no_mangle)]
pub extern "C" fn respass_token_request_free(request: *mut TokenRequest) {
    handle::free(request);
}

/// The credential returned a token. This ends the request. Of the times, those that it did not state are 0: the moment
/// the token ends and the moment to ask for the next (since 1970), and the time that it has left.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_token_request_resolve(
    request: *mut TokenRequest,
    token: *const c_char,
    token_len: usize,
    expires_on_us: u64,
    expires_in_us: u64,
    refresh_on_us: u64,
) -> ResultCode {
    enter!({
        let fetched = fetched_of(bytes!(token, token_len)?, expires_on_us, expires_in_us, refresh_on_us);
        handle::take(request)?.answer(Ok(fetched));
    })
}

/// The credential failed. This ends the request. `text` must hold no secret. `status` is the token endpoint's HTTP
/// status and `retry_after_us` how long it asked to wait, 0 where not known. `is_permanent`: repeating the question
/// cannot help.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_token_request_fail(
    request: *mut TokenRequest,
    text: *const c_char,
    text_len: usize,
    status: u16,
    retry_after_us: u64,
    is_permanent: bool,
) -> ResultCode {
    enter!({
        let failure = failure_of(bytes!(text, text_len)?, status, retry_after_us, is_permanent);
        handle::take(request)?.answer(Err(failure));
    })
}
