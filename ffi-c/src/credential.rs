//! Who a blocking client logs in as, and the token source that clients of one credential share.

use crate::clock;
use crate::config::Config;
use crate::handle::{self, Failure, place};
use crate::request::{Inbox, Question, TokenRequest};
use crate::source::News;
use crate::{RESPASS_NEVER_US, ResultCode};
use respass_core::{IssuedToken, Now, Secret, SourceOutput, TokenSource};
use std::ffi::{c_char, c_void};
use std::fmt;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Who logs in, for `respass_config_set_credential`. Clients that are opened with the same credential share its
/// tokens.
pub struct Credential {
    _opaque: [u8; 0],
}

object!(Credential, Login, 9);

#[derive(Clone, Debug)]
pub(crate) enum Login {
    Password { username: String, password: Arc<Secret> },
    Tokens(Arc<Tokens>),
}

/// Asked for a token, on the thread of a call of a client that wants one. The request is the callback's: it, or
/// somebody later on any thread, ends it by `respass_token_request_resolve`, `_fail` or `_free`. The client that asks
/// is busy meanwhile.
pub type TokenCallback = Option<extern "C" fn(data: *mut c_void, request: *mut TokenRequest)>;

/// A token source with its callback and the clients that depend on it.
pub(crate) struct Tokens {
    callback: extern "C" fn(*mut c_void, *mut TokenRequest),
    data: AtomicPtr<c_void>,
    inbox: Arc<Inbox>,
    shared: Mutex<Shared>,
    /// When somebody should look, on the monotonic clock.
    wakeup_us: AtomicU64,
}

struct Shared {
    source: TokenSource,
    clients: Vec<Weak<Mailbox>>,
}

/// What the source has for one client.
struct Mailbox {
    news: Mutex<Vec<News>>,
    has_news: AtomicBool,
    /// A byte here ends its wait.
    bell: UnixStream,
}

impl Mailbox {
    fn ring(&self) {
        // Full is as good as rung.
        let _ = (&self.bell).write(&[1]);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Tokens {
    fn new(
        callback: extern "C" fn(*mut c_void, *mut TokenRequest),
        data: *mut c_void,
    ) -> std::io::Result<Tokens> {
        let source = TokenSource::new(clock::seed()?, clock::now());
        Ok(Tokens {
            callback,
            data: AtomicPtr::new(data),
            inbox: Arc::default(),
            shared: Mutex::new(Shared { source, clients: Vec::new() }),
            wakeup_us: AtomicU64::new(RESPASS_NEVER_US),
        })
    }

    /// Does what is due: takes answers in, asks, and tells the clients.
    fn tend(self: &Arc<Tokens>, now: Now) {
        loop {
            let mut questions = 0;
            {
                let shared = &mut *lock(&self.shared);
                for answer in self.inbox.take() {
                    match answer {
                        Ok(fetched) => shared.source.handle_fetched(fetched, now),
                        Err(failure) => shared.source.handle_failed(failure, now),
                    }
                }
                shared.source.handle_timeout(now);
                while let Some(output) = shared.source.poll_output() {
                    match output {
                        SourceOutput::Fetch => questions += 1,
                        SourceOutput::Issued(token) => shared.tell(|| News::Issued(token.clone())),
                        SourceOutput::Failed(failure) => shared.tell(|| News::Failed(failure.clone())),
                        _ => {}
                    }
                }
                let wakeup = shared.source.poll_timeout();
                let wakeup = wakeup.map_or(RESPASS_NEVER_US, |at| at.as_micros());
                self.wakeup_us.store(wakeup, Ordering::Relaxed);
            }
            if questions == 0 {
                return;
            }
            // Unlocked: the callback may answer at once.
            for _ in 0..questions {
                self.ask();
            }
        }
    }

    fn ask(self: &Arc<Tokens>) {
        let tokens = Arc::downgrade(self);
        let wake = move || {
            if let Some(tokens) = tokens.upgrade() {
                // Locked: who tends the source meanwhile missed the answer, and has yet to say when to look again.
                let mut shared = lock(&tokens.shared);
                tokens.wakeup_us.store(0, Ordering::Relaxed);
                shared.ring_all();
            }
        };
        let request = handle::insert(Question::new(self.inbox.clone(), wake));
        (self.callback)(self.data.load(Ordering::Relaxed), request);
    }
}

impl Shared {
    fn clients(&mut self) -> impl Iterator<Item = Arc<Mailbox>> {
        self.clients.retain(|client| client.strong_count() > 0);
        self.clients.iter().filter_map(Weak::upgrade)
    }

    fn tell(&mut self, news: impl Fn() -> News) {
        for client in self.clients() {
            lock(&client.news).push(news());
            client.has_news.store(true, Ordering::Relaxed);
            client.ring();
        }
    }

    fn ring_all(&mut self) {
        self.clients().for_each(|client| client.ring());
    }
}

/// One client's part in a token source.
pub(crate) struct Subscription {
    membership: Membership,
    mailbox: Arc<Mailbox>,
    /// Readable after somebody rang.
    pub(crate) bell: UnixStream,
}

impl Subscription {
    pub(crate) fn new(tokens: &Arc<Tokens>) -> std::io::Result<Subscription> {
        let (bell, rope) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        rope.set_nonblocking(true)?;
        let mailbox =
            Arc::new(Mailbox { news: Mutex::default(), has_news: AtomicBool::new(false), bell: rope });
        {
            let mut shared = lock(&tokens.shared);
            shared.source.subscribe();
            shared.clients.push(Arc::downgrade(&mailbox));
        }
        Ok(Subscription { membership: Membership(tokens.clone()), mailbox, bell })
    }

    /// Asks for a token newer than that generation. What does not come at once comes as news.
    pub(crate) fn request(&self, newer_than: u64, now: Now) -> Option<IssuedToken> {
        let Membership(tokens) = &self.membership;
        let token = lock(&tokens.shared).source.request(newer_than, now);
        tokens.tend(now);
        token
    }

    /// What came for this client. Does what is due for all of them on the way.
    pub(crate) fn news(&self, now: Now) -> Vec<News> {
        if self.wakeup_us() <= now.monotonic.as_micros() {
            self.membership.0.tend(now);
        }
        if !self.mailbox.has_news.swap(false, Ordering::Relaxed) {
            return Vec::new();
        }
        std::mem::take(&mut lock(&self.mailbox.news))
    }

    /// Makes the bell ring anew.
    pub(crate) fn silence(&self) {
        while (&self.bell).read(&mut [0; 64]).is_ok_and(|len| len > 0) {}
    }

    pub(crate) fn wakeup_us(&self) -> u64 {
        self.membership.0.wakeup_us.load(Ordering::Relaxed)
    }

    /// In a child of `fork`: closes the descriptors. What locks guard stays as it is: a thread of the parent may have
    /// held one.
    pub(crate) fn forsake(self) {
        let Subscription { membership, mailbox, bell: _ } = self;
        std::mem::forget(membership);
        match Arc::try_unwrap(mailbox) {
            Ok(Mailbox { news, has_news: _, bell: _ }) => std::mem::forget(news),
            Err(held) => std::mem::forget(held),
        }
    }
}

/// Counts as one who wants tokens.
struct Membership(Arc<Tokens>);

impl Drop for Membership {
    fn drop(&mut self) {
        lock(&self.0.shared).source.unsubscribe();
    }
}

/// A user with a password; an empty user name stands for the default user.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_credential_password(
    username: *const c_char,
    username_len: usize,
    password: *const c_char,
    password_len: usize,
    credential: Option<&mut MaybeUninit<*mut Credential>>,
) -> ResultCode {
    enter!({
        let place = place(credential)?;
        let username = text!(username, username_len)?.to_owned();
        let password = Arc::new(Secret::new(bytes!(password, password_len)?.to_vec()));
        place.write(handle::insert(Login::Password { username, password }));
    })
}

/// Tokens that a callback asks for. `data` is handed to it; both must live as long as a client of this credential.
#[unsafe(no_mangle)]
pub extern "C" fn respass_credential_callback(
    callback: TokenCallback,
    data: *mut c_void,
    credential: Option<&mut MaybeUninit<*mut Credential>>,
) -> ResultCode {
    enter!({
        let place = place(credential)?;
        let callback = callback.ok_or_else(Failure::null)?;
        place.write(handle::insert(Login::Tokens(Arc::new(Tokens::new(callback, data)?))));
    })
}

/// Releases the credential. Clients that were opened with it go on.
#[unsafe(no_mangle)]
pub extern "C" fn respass_credential_free(credential: *mut Credential) {
    handle::free(credential);
}

/// Who `respass_open` logs in. A user name that `respass_config_set_token` gave stays for tokens.
#[unsafe(no_mangle)]
pub extern "C" fn respass_config_set_credential(
    config: *mut Config,
    credential: *const Credential,
) -> ResultCode {
    enter!(mut config => handle::look(credential, |login| {
        config.tokens = None;
        match login {
            Login::Password { username, password } => {
                let (username, password) = (username.clone(), password.clone());
                config.core.credential = respass_core::Credential::Password { username, password };
            }
            Login::Tokens(tokens) => {
                config.tokens = Some(tokens.clone());
                if !matches!(config.core.credential, respass_core::Credential::Token { .. }) {
                    config.core.credential = respass_core::Credential::Token { username: None };
                }
            }
        }
        Ok(())
    })?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::respass_token_request_free;
    use std::ptr::null_mut;
    use std::time::Duration;

    static ASKED: AtomicPtr<TokenRequest> = AtomicPtr::new(null_mut());

    extern "C" fn keep(_data: *mut c_void, request: *mut TokenRequest) {
        ASKED.store(request, Ordering::Relaxed);
    }

    /// Somebody who tends the source took the inbox, and says now when to look again; the answer came in between.
    #[test]
    fn an_answer_that_comes_while_somebody_tends_the_source_is_looked_for_at_once() {
        let tokens = Arc::new(Tokens::new(keep, null_mut()).expect("a seed"));
        tokens.ask();
        let tending = lock(&tokens.shared);
        std::thread::scope(|scope| {
            let answering = scope.spawn(|| respass_token_request_free(ASKED.load(Ordering::Relaxed)));
            // As far as it comes while the source is held.
            std::thread::sleep(Duration::from_millis(200));
            assert!(!answering.is_finished());
            assert_eq!(tokens.inbox.take().len(), 1);
            tokens.wakeup_us.store(RESPASS_NEVER_US, Ordering::Relaxed);
            drop(tending);
        });
        assert_eq!(tokens.wakeup_us.load(Ordering::Relaxed), 0);
    }
}
